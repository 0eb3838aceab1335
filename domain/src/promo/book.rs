//! The owner's side of the exchanges with promos: what a customer or a guest keeps of them, as a part of its state.
//!
//! Owned by the owner's state, on its thread. Pure: each function says what would happen, as events for the owner's row
//! and effects that the same row owes; [`Book::apply`] is the only change. It must never let a release out without the
//! row that makes it true: whoever writes the effects of a [`Step`] writes its events in the same row, or none of both.
//! Why it is right stands in `protocol`.

use serde::{Deserialize, Serialize};

use super::{
    command::{Command, GiveBack, Outcome, Reserve, Token, Used},
    counters::Counter,
    protocol::{Ask, effect},
};
use crate::{
    entity::{Effect, EntityKey, EntityKind},
    ids::ExchangeId,
    time::{Day, Timestamp},
};

/// Holds, live or remembered, of one owner. A hold lasts an hour at most, so that this is a hundred attempts an hour.
const MAX_HOLDS: usize = 100;

/// Give-backs of one owner that its promos have not asked for yet: each order waits for as many as it used offers.
const MAX_RETURNS: usize = 1000;

/// What an owner knows of its exchanges with promos.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Book {
    /// Holds that have not ended and use promos.
    pub holds: Vec<Promised>,
    /// Holds that can never be held (again), until their time says so too.
    pub over: Vec<(ExchangeId, Timestamp)>,
    /// Give-backs that their promo has not asked for yet.
    pub returns: Vec<(ExchangeId, Used)>,
}

/// A live hold's reservations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promised {
    /// The hold.
    pub hold: ExchangeId,
    /// Until when it lasts.
    pub expires_at: Timestamp,
    /// Its reservations.
    pub parts: Vec<Part>,
}

/// One reservation of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// At which promo.
    pub promo: Box<str>,
    /// Its incarnation.
    pub token: Token,
    /// The money reserved, minor units.
    pub minor: i64,
    /// What the use counts in besides the total.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<Counter>,
    /// Until when it was asked for: the hold's own time.
    pub expires_at: Timestamp,
}

impl Part {
    /// What became of `request` at `promo`, which answered with `token` and `minor`.
    #[must_use]
    pub fn new(promo: &str, request: &Reserve, token: Token, minor: i64) -> Self {
        let counters = request.counted().into_iter().map(|(counter, _)| counter).collect();
        Self { promo: promo.into(), token, minor, counters, expires_at: request.expires_at }
    }
}

/// What happened to a book.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BookEvent {
    /// A hold was made.
    Held(Promised),
    /// A hold can never be made.
    Refused {
        /// Which.
        hold: ExchangeId,
        /// Until when it would have lasted.
        expires_at: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// A hold has ended.
    Ended {
        /// Which.
        hold: ExchangeId,
        /// What it took: for a later give-back. Empty where it took nothing.
        used: Vec<Used>,
        /// When.
        at: Timestamp,
    },
    /// A use is to come back.
    ReturnOwed {
        /// The give-back's id.
        exchange: ExchangeId,
        /// What.
        used: Used,
    },
    /// The promo asked for it and is told: it is owed no more.
    ReturnTold {
        /// The give-back's id.
        exchange: ExchangeId,
        /// Whose.
        promo: Box<str>,
    },
}

/// What a row of the owner gains: both, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// For the owner's state.
    pub events: Vec<BookEvent>,
    /// For the promos.
    pub effects: Vec<Effect>,
}

/// Why a book says no. Nothing of it has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The hold's time is over.
    #[error("the hold's time is over")]
    TooLate,
    /// The hold was refused, or has ended.
    #[error("the hold was refused or has ended")]
    Over,
    /// The hold is live.
    #[error("the hold is live")]
    Live,
    /// There is no such live hold.
    #[error("there is no such hold")]
    Unknown,
    /// Too much is remembered: later.
    #[error("too many holds or give-backs at once")]
    Busy,
    /// A fault of the caller.
    #[error("{0}")]
    Invalid(String),
}

impl Book {
    /// Step 3: the hold is made, with these reservations.
    ///
    /// # Errors
    /// `TooLate`, `Over`, `Live` (a repeat), `Busy`; `Invalid` where a part was reserved for another time: the promise
    /// that no late hold succeeds is about the time that the promo knows.
    pub fn hold(
        &self,
        hold: &ExchangeId,
        expires_at: Timestamp,
        parts: Vec<Part>,
        now: Timestamp,
    ) -> Result<Step, BookError> {
        if self.live(hold).is_some() {
            return Err(BookError::Live);
        }
        if self.is_over(hold) {
            return Err(BookError::Over);
        }
        if expires_at <= now {
            return Err(BookError::TooLate);
        }
        if let Some(part) = parts.iter().find(|part| part.expires_at != expires_at) {
            return Err(BookError::Invalid(format!("expires_at: {} was asked for another time", part.promo)));
        }
        self.room(now)?;
        let held = BookEvent::Held(Promised { hold: hold.clone(), expires_at, parts });
        Ok(Step { events: vec![held], effects: Vec::new() })
    }

    /// Step 4: the hold will never be made; `asked` are the promos that may keep something for it.
    ///
    /// # Errors
    /// `Live`: it was made, and is there. `Busy`: later, or never: the promos ask.
    pub fn refuse(
        &self,
        hold: &ExchangeId,
        asked: &[Box<str>],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Step, BookError> {
        if self.live(hold).is_some() {
            return Err(BookError::Live);
        }
        if self.is_over(hold) {
            // Told when it ended; what a promo keeps for it beyond that, it asks about.
            return Ok(Step::default());
        }
        self.room(now)?;
        let release = Outcome::Released { token: None };
        let effects = asked.iter().map(|promo| end(promo, hold, release)).collect::<Result<_, _>>()?;
        Ok(Step { events: vec![BookEvent::Refused { hold: hold.clone(), expires_at, at: now }], effects })
    }

    /// Step 5: the hold is captured; `sold` says what each promo took off, minor units. A promo that is not named is
    /// released: a smaller sale may not need it.
    ///
    /// # Errors
    /// `Unknown` where there is no such live hold; `Invalid` where it has no such promo or reserved less there.
    pub fn capture(
        &self,
        hold: &ExchangeId,
        sold: &[(Box<str>, i64)],
        day: Day,
        now: Timestamp,
    ) -> Result<Step, BookError> {
        let live = self.live(hold).ok_or(BookError::Unknown)?;
        for (promo, minor) in sold {
            if !live.parts.iter().any(|part| part.promo == *promo && (0..=part.minor).contains(minor)) {
                return Err(BookError::Invalid(format!("sold: {minor} is not reserved at {promo}")));
            }
        }
        let mut used = Vec::new();
        let mut effects = Vec::with_capacity(live.parts.len());
        for part in &live.parts {
            let outcome = match sold.iter().find(|(promo, _)| *promo == part.promo) {
                Some((_, minor)) => {
                    let (promo, counters) = (part.promo.clone(), part.counters.clone());
                    used.push(Used { promo, minor: *minor, day, counters });
                    Outcome::Taken { token: part.token, minor: *minor, day }
                }
                None => Outcome::Released { token: Some(part.token) },
            };
            effects.push(end(&part.promo, hold, outcome)?);
        }
        Ok(Step { events: vec![BookEvent::Ended { hold: hold.clone(), used, at: now }], effects })
    }

    /// Step 5: the hold is released, replaced, or has run out.
    ///
    /// # Errors
    /// `Unknown` where there is no such live hold.
    pub fn release(&self, hold: &ExchangeId, now: Timestamp) -> Result<Step, BookError> {
        self.live(hold).ok_or(BookError::Unknown)?;
        self.capture(hold, &[], Day(0), now)
    }

    /// Step 8: a use comes back to its promo. `exchange` is the give-back's own id (see
    /// [`give_back_id`](super::protocol::give_back_id)), `owner` who keeps this book.
    ///
    /// # Errors
    /// `Live` where it is under way, `Busy` where too many are.
    pub fn give_back(&self, exchange: &ExchangeId, used: Used, owner: &EntityKey) -> Result<Step, BookError> {
        if self.owed(exchange, &used.promo).is_some() {
            return Err(BookError::Live);
        }
        if self.returns.len() >= MAX_RETURNS {
            return Err(BookError::Busy);
        }
        let request = GiveBack { exchange: exchange.clone(), owner: owner.clone(), used: used.clone() };
        let effects = vec![to(&used.promo, &Command::GiveBack(Box::new(request)))?];
        Ok(Step { events: vec![BookEvent::ReturnOwed { exchange: exchange.clone(), used }], effects })
    }

    /// Steps 6 and 8: the answer to a promo's question. What is due by `now` (a hold that has run out) must be settled
    /// before.
    ///
    /// # Errors
    /// `Busy`: no answer now; the promo asks again.
    pub fn answer(&self, ask: &Ask, now: Timestamp) -> Result<Step, BookError> {
        let drop = Outcome::Released { token: Some(ask.token) };
        if let Some(used) = self.owed(&ask.exchange, &ask.promo) {
            let told = BookEvent::ReturnTold { exchange: ask.exchange.clone(), promo: used.promo.clone() };
            let effects = vec![end(&ask.promo, &ask.exchange, Outcome::Returned { token: ask.token })?];
            return Ok(Step { events: vec![told], effects });
        }
        if let Some(live) = self.live(&ask.exchange) {
            let ours = live.parts.iter().any(|part| part.promo == ask.promo && part.token == ask.token);
            let effects = if ours { Vec::new() } else { vec![end(&ask.promo, &ask.exchange, drop)?] };
            return Ok(Step { events: Vec::new(), effects });
        }
        let mut events = Vec::new();
        if ask.expires_at > now && !self.is_over(&ask.exchange) {
            self.room(now)?;
            events.push(BookEvent::Refused { hold: ask.exchange.clone(), expires_at: ask.expires_at, at: now });
        }
        Ok(Step { events, effects: vec![end(&ask.promo, &ask.exchange, drop)?] })
    }

    /// Applies one event.
    pub fn apply(&mut self, event: &BookEvent) {
        match event {
            BookEvent::Held(promised) => self.holds.push(promised.clone()),
            BookEvent::Refused { hold, expires_at, at } => self.close(hold, *expires_at, *at),
            BookEvent::Ended { hold, at, .. } => {
                if let Some(i) = self.holds.iter().position(|live| live.hold == *hold) {
                    let live = self.holds.remove(i);
                    self.close(hold, live.expires_at, *at);
                }
            }
            BookEvent::ReturnOwed { exchange, used } => self.returns.push((exchange.clone(), used.clone())),
            BookEvent::ReturnTold { exchange, promo } => {
                self.returns.retain(|(known, used)| known != exchange || used.promo != *promo);
            }
        }
    }

    /// Remembers that a hold cannot be made (again), for as long as its time would allow it.
    fn close(&mut self, hold: &ExchangeId, expires_at: Timestamp, at: Timestamp) {
        self.over.retain(|(_, until)| *until > at);
        if expires_at > at {
            self.over.push((hold.clone(), expires_at));
        }
    }

    fn live(&self, hold: &ExchangeId) -> Option<&Promised> {
        self.holds.iter().find(|live| live.hold == *hold)
    }

    fn is_over(&self, hold: &ExchangeId) -> bool {
        self.over.iter().any(|(known, _)| known == hold)
    }

    fn owed(&self, exchange: &ExchangeId, promo: &str) -> Option<&Used> {
        self.returns.iter().find(|(known, used)| known == exchange && *used.promo == *promo).map(|(_, used)| used)
    }

    /// Whether one more hold can be remembered, as live or as over.
    fn room(&self, now: Timestamp) -> Result<(), BookError> {
        let over = self.over.iter().filter(|(_, until)| *until > now).count();
        if self.holds.len() + over >= MAX_HOLDS { Err(BookError::Busy) } else { Ok(()) }
    }
}

/// What is owed to a promo: the end of an exchange.
fn end(promo: &str, exchange: &ExchangeId, outcome: Outcome) -> Result<Effect, BookError> {
    to(promo, &Command::End { exchange: exchange.clone(), outcome })
}

fn to(promo: &str, command: &Command) -> Result<Effect, BookError> {
    effect(&EntityKey::new(EntityKind::Promo, promo), command).map_err(BookError::Invalid)
}
