//! Clocks that tests move.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use adal_domain::time::Timestamp;
use tokio::time::Instant;

use crate::{
    ports::Clock,
    steady::{Belief, Doubt, Steady},
};

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

/// A machine of its own, whose wall clock can be set: the process's time by [`Steady`], in a runtime whose time is
/// paused. It goes on exactly as timers do.
#[derive(Debug)]
pub struct MachineClock {
    since: Instant,
    /// What the wall clock showed at the start, and by how much it was set since.
    wall: AtomicI64,
    steady: Mutex<Steady>,
}

impl MachineClock {
    /// A machine whose wall clock shows `at` now. Within a runtime.
    #[must_use]
    pub fn starting(at: Timestamp, belief: Belief) -> Self {
        let (wall, steady) = (AtomicI64::new(at.0), Mutex::new(Steady::new(belief)));
        let clock = Self { since: Instant::now(), wall, steady };
        drop(clock.look());
        clock
    }

    /// Sets the wall clock `seconds` ahead, or back.
    pub fn step(&self, seconds: i64) {
        self.wall.fetch_add(seconds.saturating_mul(Timestamp::SECOND), SeqCst);
    }

    fn look(&self) -> MutexGuard<'_, Steady> {
        let run = self.since.elapsed();
        let passed = i64::try_from(run.as_micros()).unwrap_or(i64::MAX);
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.see(Timestamp(self.wall.load(SeqCst).saturating_add(passed)), run);
        steady
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        self.look().now()
    }

    fn long_ago(&self, age: Duration) -> Timestamp {
        self.look().long_ago(age)
    }

    fn doubt(&self) -> Option<Doubt> {
        self.look().doubt()
    }
}
