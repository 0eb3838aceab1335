//! What happens to a promo. Each event carries every fact that `apply` needs; no limit is looked at again.

use serde::{Deserialize, Serialize};

use super::{
    command::{Token, Used},
    counters::Counter,
};
use crate::{
    entity::EntityKey,
    ids::ExchangeId,
    time::{Day, Timestamp},
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An exchange was opened.
    Opened(Box<Open>),
    /// The owner ended an exchange.
    Ended {
        /// Which.
        exchange: ExchangeId,
        /// What became of it.
        end: End,
        /// When.
        at: Timestamp,
    },
    /// Owners were asked what became of their exchanges.
    Asked {
        /// Which, and when each is asked about again.
        again: Vec<(ExchangeId, Timestamp)>,
        /// When.
        at: Timestamp,
    },
    /// Periods are over for good: their counts are forgotten.
    PeriodsOver {
        /// These.
        counters: Vec<Counter>,
        /// When.
        at: Timestamp,
    },
}

/// An open exchange.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Open {
    /// Which.
    pub exchange: ExchangeId,
    /// Its incarnation.
    pub token: Token,
    /// Whom to ask.
    pub owner: EntityKey,
    /// What it is.
    pub what: What,
    /// When it was opened.
    pub at: Timestamp,
    /// When its owner is asked next.
    pub next_ask: Timestamp,
    /// How often its owner was asked.
    pub asked: u32,
}

/// What an exchange is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A use is kept for a hold.
    Reservation {
        /// The money kept, minor units.
        minor: i64,
        /// What the use counts in, with the limit under which it was accepted.
        counted: Vec<(Counter, u32)>,
        /// The limit of all uses under which it was accepted.
        total: Option<u64>,
        /// The budget under which it was accepted, minor units.
        budget_minor: Option<i64>,
        /// Until when the hold lasts.
        expires_at: Timestamp,
    },
    /// A taken use comes back, once its owner has confirmed it.
    GiveBack(Used),
}

/// What became of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The use is taken.
    Taken {
        /// The money taken, minor units.
        minor: i64,
        /// The day of the capture.
        day: Day,
    },
    /// Nothing came of it.
    Released,
    /// A taken use came back.
    Returned {
        /// The money that came back, minor units.
        minor: i64,
        /// The day that it is taken from; `None`: from the days that are not listed any more.
        day: Option<Day>,
    },
}
