//! What can be asked of a promo, and what is answered.

use serde::{Deserialize, Serialize};

use super::counters::{Counter, KeyHash, Scope};
use crate::{
    entity::EntityKey,
    ids::ExchangeId,
    time::{Day, Timestamp},
};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Keep a use and its money for a hold.
    Reserve(Box<Reserve>),
    /// A taken use is to come back. It does so when the owner, asked, has confirmed it: see `protocol`.
    GiveBack(Box<GiveBack>),
    /// The owner's word on an open exchange.
    End {
        /// Which.
        exchange: ExchangeId,
        /// What became of it.
        outcome: Outcome,
    },
    /// A timer fired: ask what is overdue, forget the periods that are over.
    Wake,
}

/// A use to be kept for a hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reserve {
    /// The hold's id.
    pub exchange: ExchangeId,
    /// Whose hold it is: whom to ask what became of it.
    pub owner: EntityKey,
    /// What the offer takes off, minor units; 0 for one that gives points alone.
    pub minor: i64,
    /// Take what the budget still has where it does not cover `minor`: for a capture past its time, which is never
    /// refused. Else it is all or nothing.
    pub as_far: bool,
    /// The address that the hold came from, as a keyed hash whose key lives for the period; `None` at tills.
    pub ip: Option<KeyHash>,
    /// Keyed hashes of phone or payment means; at most [`MAX_LINK_KEYS`].
    pub link_keys: Vec<KeyHash>,
    /// Until when the hold lasts. The owner refuses to hold with it from then on.
    pub expires_at: Timestamp,
    /// The limits by the revision that priced the hold.
    pub limits: Limits,
}

/// The most link keys of one hold: what the interfaces take.
pub const MAX_LINK_KEYS: usize = 10;

/// What limits an offer, as far as customers share it. What is absent is not limited, and not counted (but for uses and
/// money, which always are).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Uses in all.
    pub total: Option<u64>,
    /// Uses by one link key.
    pub per_customer: Option<u32>,
    /// Uses by one link key in a period.
    pub per_customer_in: Option<InPeriod>,
    /// Uses from one address in a period.
    pub per_ip_in: Option<InPeriod>,
    /// Money that the offer may take off in all, minor units.
    pub budget_minor: Option<i64>,
}

/// Uses in the period that the hold falls into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InPeriod {
    /// How many.
    pub uses: u32,
    /// When the period ends: the next day, week or month begins, by the shop's calendar.
    pub until: Timestamp,
}

impl Reserve {
    /// What the use counts in, each with its limit. A link key that is named twice counts once.
    #[must_use]
    pub fn counted(&self) -> Vec<(Counter, u32)> {
        let limits = &self.limits;
        let mut keys = self.link_keys.clone();
        keys.sort_unstable();
        keys.dedup();
        let forever = limits.per_customer.map(|uses| InPeriod { uses, until: Counter::FOREVER });
        let of = |limit: Option<InPeriod>, scope, hash| {
            limit.map(|InPeriod { uses, until }| (Counter { until, scope, hash }, uses))
        };
        let links = keys.into_iter().flat_map(|hash| {
            [of(forever, Scope::LinkKey, hash), of(limits.per_customer_in, Scope::LinkKey, hash)].into_iter().flatten()
        });
        let ip = self.ip.and_then(|hash| of(limits.per_ip_in, Scope::Ip, hash));
        links.chain(ip).collect()
    }
}

/// A use that was taken, as its owner remembers it: all that a give-back needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Used {
    /// The promo's id.
    pub promo: Box<str>,
    /// What it took off, minor units.
    pub minor: i64,
    /// The day on which it was taken.
    pub day: Day,
    /// What it counts in besides the total.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<Counter>,
}

/// A taken use that is to come back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GiveBack {
    /// Its own id: never a hold's.
    pub exchange: ExchangeId,
    /// Whose: who is asked to confirm it.
    pub owner: EntityKey,
    /// What comes back.
    pub used: Used,
}

/// One incarnation of an exchange: the place in the promo's journal where it was opened. A copy of a request that comes
/// after the exchange has ended opens another one, which the owner's earlier words do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// The row.
    pub seq: u64,
    /// The command's index in it.
    pub index: u32,
}

/// What the owner says of an open exchange. Each follows from a row of the owner that stays true for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The hold was captured with this incarnation.
    Taken {
        /// Which incarnation.
        token: Token,
        /// What was taken, minor units: less than reserved at a partial capture. More counts as what was reserved.
        minor: i64,
        /// The day of the capture.
        day: Day,
    },
    /// It comes to nothing: the hold was refused, released or ran out; or the exchange is nobody's.
    Released {
        /// Which incarnation; `None`: any, of a hold that can never be captured.
        token: Option<Token>,
    },
    /// The give-back is confirmed, by this incarnation.
    Returned {
        /// Which incarnation.
        token: Token,
    },
}

/// What an accepted command answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The use is kept, until its owner ends it.
    Reserved {
        /// Which incarnation.
        token: Token,
        /// The money kept, minor units: less than asked for only where `as_far` allowed it.
        minor: i64,
    },
    /// The give-back waits for the owner's word: the promo asks for it.
    Asked {
        /// Which incarnation.
        token: Token,
    },
    /// The exchange has ended, now or before.
    Ended,
    /// What was due is done.
    Woken,
}

/// Why a promo refuses. Nothing of it is recorded, by the promo: the answer that lasts is the owner's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// All uses are held or taken.
    #[error("all uses are held or taken")]
    Exhausted,
    /// A link key has used it up.
    #[error("used as often as one customer may")]
    LinkKey,
    /// The address has used it up, for the period.
    #[error("used as often as one address may in the period")]
    Ip,
    /// The budget does not cover it.
    #[error("the budget has {left_minor} left")]
    Budget {
        /// What is left of it, minor units.
        left_minor: i64,
    },
    /// The hold's time, or its period, is over: it can come to nothing any more.
    #[error("the hold's time is over")]
    TooLate,
    /// Too many exchanges are open, or too many keys are counted: ask again later.
    #[error("too much is open at this promo")]
    Busy,
    /// The request breaks a rule of the protocol.
    #[error("{0}")]
    Invalid(String),
}
