//! The one place that reads the machine's clocks. Everything else takes its time from here, through the `Clock` port,
//! so that tests can move it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use adal_actors::{
    ports::Clock,
    steady::{Belief, Doubt, Event, Steady},
};
use adal_domain::time::Timestamp;
use metrics::{Gauge, counter, gauge};

/// The machine's wall clock, whatever it shows: for what is over in a moment. A server goes by [`SteadyClock`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is not set yet; entities never go back behind their last row.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The process's time: the wall clock, as far as [`Steady`] believes it. Shared by all threads; a look takes two readings
/// of the machine's clocks and a lock that nobody holds for longer.
#[derive(Debug)]
pub struct SteadyClock {
    began: Instant,
    steady: Mutex<Steady>,
    in_doubt: Gauge,
}

impl SteadyClock {
    /// Starts now. After the metrics recorder is installed.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start(belief: Belief) -> Self {
        let in_doubt = gauge!("adal_clock_in_doubt");
        let clock = Self { began: Instant::now(), steady: Mutex::new(Steady::new(belief)), in_doubt };
        drop(clock.look());
        clock
    }

    fn look(&self) -> MutexGuard<'_, Steady> {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: a thread that was stopped between the two readings would see a leap that was none.
        if let Some(event) = steady.see(SystemClock.now(), self.began.elapsed()) {
            self.tell(event);
        }
        steady
    }

    fn tell(&self, event: Event) {
        self.in_doubt.set(if matches!(event, Event::Doubted(_)) { 1.0 } else { 0.0 });
        let what = match event {
            Event::Doubted(doubt) => {
                tracing::error!("{doubt}: changes are answered 503 until it comes back or is believed");
                "doubted"
            }
            Event::Returned => {
                tracing::info!("the machine's clock is right again");
                "returned"
            }
            Event::Adopted(by) => {
                let seconds = by / Timestamp::SECOND;
                tracing::warn!(seconds, "the machine's clock has stayed where it leapt to, and is believed");
                "adopted"
            }
        };
        counter!("adal_clock_leaps_total", "what" => what).increment(1);
    }
}

impl Clock for SteadyClock {
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

/// How long something took, by the machine's monotonic clock. For metrics and logs alone: no rule depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "durations are measured here")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_whose_clock_is_left_alone_is_believed_and_followed() {
        let belief = Belief { max_step: Duration::from_secs(1), adopt_after: Duration::from_secs(1) };
        let clock = SteadyClock::start(belief);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(clock.doubt(), None);
            let off = clock.now().0 - SystemClock.now().0;
            assert!(off.abs() < 500_000, "{off} microseconds off");
        }
        assert!(clock.long_ago(Duration::from_secs(60)) < clock.now());
    }
}
