//! A clock that tests move.

use std::sync::atomic::{AtomicI64, Ordering};

use adal::clock::SystemClock;
use adal_actors::ports::Clock;
use adal_domain::time::Timestamp;

/// Monday, 14:00 in Almaty.
pub const START: &str = "2026-11-23T09:00:00Z";

/// The real time, for servers that run as processes of their own; RFC 3339.
pub fn real_now() -> String {
    SystemClock.now().to_string()
}

#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn new() -> Self {
        Self(AtomicI64::new(Timestamp::parse(START).unwrap().0))
    }

    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * Timestamp::SECOND, Ordering::SeqCst);
    }

    /// To the next 00:00 in Almaty, and a second more.
    pub fn next_day(&self) {
        let calendar = adal_domain::time::Calendar::new("Asia/Almaty").unwrap();
        let tomorrow = calendar.start(calendar.day(self.now()).plus(1));
        self.0.store(tomorrow.plus_seconds(1).0, Ordering::SeqCst);
    }

    pub fn days(&self, days: i64) {
        self.advance(days * 86_400);
    }

    /// RFC 3339, `seconds` from now.
    pub fn at(&self, seconds: i64) -> String {
        self.now().plus_seconds(seconds).to_string()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
