//! Time, as a benchmark needs it: how long something took, and what an event's `at` says. Nothing is decided by it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adal_domain::time::Timestamp;

/// When something began.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// From now on.
    #[expect(clippy::disallowed_methods, reason = "measures durations; no rule sees it")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long that was ago.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// In nanoseconds.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

/// The time of day, for what is sent to a server with a clock of its own.
#[expect(clippy::disallowed_methods, reason = "the client of a server with a clock of its own")]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or_default())
}
