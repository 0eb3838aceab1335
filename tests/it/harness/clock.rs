//! A clock that tests move.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use adal::clock::SystemClock;
use adal_actors::{ports::Clock, steady::Doubt};
use adal_domain::time::Timestamp;

/// Monday, 14:00 in Almaty.
pub const START: &str = "2026-11-23T09:00:00Z";

/// The real time, for servers that run as processes of their own; RFC 3339.
pub fn real_now() -> String {
    SystemClock.now().to_string()
}

#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
    doubted: AtomicBool,
}

impl ManualClock {
    pub fn new() -> Self {
        Self { now: AtomicI64::new(Timestamp::parse(START).unwrap().0), doubted: AtomicBool::new(false) }
    }

    pub fn advance(&self, seconds: i64) {
        self.now.fetch_add(seconds * Timestamp::SECOND, Ordering::SeqCst);
    }

    /// Whether the server takes it for wrong.
    pub fn doubt(&self, doubted: bool) {
        self.doubted.store(doubted, Ordering::SeqCst);
    }

    /// To the next 00:00 in Almaty, and a second more.
    pub fn next_day(&self) {
        let calendar = adal_domain::time::Calendar::new("Asia/Almaty").unwrap();
        let tomorrow = calendar.start(calendar.day(self.now()).plus(1));
        self.now.store(tomorrow.plus_seconds(1).0, Ordering::SeqCst);
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
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn doubt(&self) -> Option<Doubt> {
        self.doubted.load(Ordering::SeqCst).then_some(Doubt::Leapt(86_400 * Timestamp::SECOND))
    }
}
