//! Clocks that tests move.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use adal_domain::time::Timestamp;
use tokio::time::Instant;

use crate::ports::Clock;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.0))
    }

    /// Moves it to `at`, backwards too: wall clocks do.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.0, SeqCst);
    }

    /// Moves it on by `seconds`.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds.saturating_mul(Timestamp::SECOND), SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(SeqCst))
    }
}

/// A clock that follows tokio's: in a runtime whose time is paused it goes on exactly as timers do.
#[derive(Debug)]
pub struct RuntimeClock {
    from: Timestamp,
    since: Instant,
}

impl RuntimeClock {
    /// A clock that shows `at` now. Within a runtime.
    #[must_use]
    pub fn starting(at: Timestamp) -> Self {
        Self { from: at, since: Instant::now() }
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.from.0.saturating_add(elapsed))
    }
}
