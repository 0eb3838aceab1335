//! The store's time. Waits are tokio's, so that simulations run ahead; buckets are of the machine's wall clock, and
//! whatever it says, a shard's bucket never runs backwards (see [`super::marks`]).

use std::time::{SystemTime, UNIX_EPOCH};

use adal_domain::time::Timestamp;

/// The machine's wall clock, or a test's.
pub trait WallClock: Send + Sync + 'static {
    /// What it shows. May leap.
    fn now(&self) -> Timestamp;
}

/// The machine's.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineClock;

impl WallClock for MachineClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}
