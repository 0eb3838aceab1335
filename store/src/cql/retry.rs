//! A statement that is repeated until it succeeds, or its time is over.

use std::time::Duration;

use metrics::counter;
use tokio::time::{Instant, sleep_until};

use super::db::Failed;

/// How long to wait before a repeat, at first and at most. A database that is away is not asked in a loop.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// Repeats `statement`, which must be idempotent, until it succeeds or `deadline` has passed. `Unknown` where any of the
/// tries may have been done or may yet be.
pub(super) async fn until<T, F>(
    deadline: Instant,
    what: &'static str,
    mut statement: impl FnMut() -> F,
) -> Result<T, Failed>
where
    F: Future<Output = Result<T, Failed>> + Send,
{
    let mut wait = BACKOFF.0;
    let mut unknown = false;
    loop {
        let failed = match statement().await {
            Ok(done) => return Ok(done),
            Err(failed @ Failed::Unreadable(_)) => return Err(failed),
            Err(failed) => failed,
        };
        unknown |= matches!(failed, Failed::Unknown(_));
        let next = Instant::now() + wait;
        if next >= deadline {
            return Err(match failed {
                Failed::NotDone(why) if unknown => Failed::Unknown(why),
                failed => failed,
            });
        }
        tracing::debug!(what, error = %failed, "trying again");
        counter!("adal_cql_retries_total", "what" => what).increment(1);
        sleep_until(next).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}
