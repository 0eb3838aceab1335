//! Secrets of periods: one for each, whoever asks first.
//!
//! Written by a conditional insert, since an owner that is being deposed and its successor may ask at the same time: were
//! there two, the addresses counted under one would be nobody's under the other. Once such an insert has ended, applied or
//! not, a read finds what was decided. It goes by itself, by a TTL.

use std::time::Duration;

use adal_actors::ports::{PERIOD_KEY_KEPT_S, StoreError};
use adal_domain::time::Timestamp;
use tokio::time::Instant;

use super::{codes::told, db::Database, retry};

/// How long it is tried. A hold waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest life of a secret. A month's is the longest there is; a database refuses one of decades.
const LONGEST_S: i64 = 400 * 86_400;

/// See [`PeriodKeys`](adal_actors::ports::PeriodKeys).
pub(super) async fn key(
    db: &dyn Database,
    now: Timestamp,
    until: Timestamp,
    fresh: [u8; 32],
) -> Result<[u8; 32], StoreError> {
    if let Some(known) = db.period_key(until).await.map_err(told)? {
        return Ok(known);
    }
    let left_s = until.plus_seconds(PERIOD_KEY_KEPT_S).micros_since(now) / Timestamp::SECOND;
    // A period that is over has none any more, but for whoever's clock is behind.
    let ttl_s = i32::try_from(left_s.clamp(PERIOD_KEY_KEPT_S, LONGEST_S)).unwrap_or(i32::MAX);
    let deadline = Instant::now() + PATIENCE;
    retry::until(deadline, "period_key", || db.create_period_key(until, &fresh, ttl_s)).await.map_err(told)?;
    let kept = retry::until(deadline, "period_key", || db.period_key(until)).await.map_err(told)?;
    kept.ok_or_else(|| StoreError::Unavailable(format!("the secret of the period until {until} is gone").into()))
}
