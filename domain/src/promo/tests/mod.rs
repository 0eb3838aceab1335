//! The promo alone: examples here, any interleaving in `properties`, the owner's side in `book`, what it costs in `cost`.

mod book;
mod cost;
mod examples;
mod properties;

use super::{
    Command, Event, GiveBack, InPeriod, KeyHash, Limits, Outcome, Promo, Refusal, Reply, Reserve, State, Token, Used,
};
use crate::{
    entity::{Effect, Entity, EntityKey, EntityKind, Moment},
    ids::ExchangeId,
    time::{Day, Timestamp},
};

/// 2026-01-05T04:00:00Z, and so many seconds later.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_767_585_600 + seconds)
}

fn exchange(id: &str) -> ExchangeId {
    ExchangeId::new(id).unwrap()
}

fn owner() -> EntityKey {
    EntityKey::new(EntityKind::Customer, "c1")
}

fn hash(of: u8) -> KeyHash {
    KeyHash([of; 16])
}

/// A hold of 15 minutes that takes 100 off, without limits.
fn hold(id: &str) -> Reserve {
    Reserve {
        exchange: exchange(id),
        owner: owner(),
        minor: 100,
        as_far: false,
        ip: None,
        link_keys: Vec::new(),
        expires_at: at(900),
        limits: Limits::default(),
    }
}

fn limited(id: &str, limits: Limits) -> Reserve {
    Reserve { limits, ..hold(id) }
}

fn total(uses: u64) -> Limits {
    Limits { total: Some(uses), ..Limits::default() }
}

/// A promo with its journal in memory.
#[derive(Debug, Clone)]
struct Journal {
    state: State,
    rows: Vec<Event>,
    seq: u64,
    /// What the last command owes.
    effects: Vec<Effect>,
}

impl Journal {
    fn new() -> Self {
        Self { state: State::new("p"), rows: Vec::new(), seq: 0, effects: Vec::new() }
    }

    fn tell(&mut self, now: Timestamp, command: &Command) -> Result<Reply, Refusal> {
        let moment =
            Moment::<Promo> { now, context: &(), seq: self.seq + 1, index: 0, entropy: [0; 16], recalled: &[] };
        let decision = Promo::decide(&self.state, command, &moment)?;
        for event in &decision.events {
            Promo::apply(&mut self.state, event, self.seq + 1);
        }
        assert_eq!(Promo::broken_invariants(&self.state), Vec::<&str>::new(), "after {command:?}");
        self.seq += u64::from(!decision.events.is_empty());
        self.rows.extend(decision.events);
        self.effects = decision.effects;
        Ok(decision.reply)
    }

    fn reserve(&mut self, request: Reserve) -> Result<(Token, i64), Refusal> {
        match self.tell(at(0), &Command::Reserve(Box::new(request)))? {
            Reply::Reserved { token, minor } => Ok((token, minor)),
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, id: &str, outcome: Outcome) {
        let end = Command::End { exchange: exchange(id), outcome };
        assert_eq!(self.tell(at(1), &end), Ok(Reply::Ended));
    }

    /// Reserves and takes all of it.
    fn take(&mut self, request: Reserve, day: Day) -> Used {
        let counters = request.counted().into_iter().map(|(counter, _)| counter).collect();
        let id = request.exchange.clone();
        let (token, minor) = self.reserve(request).unwrap();
        self.end(id.as_str(), Outcome::Taken { token, minor, day });
        Used { promo: "p".into(), minor, day, counters }
    }

    fn give_back(&mut self, id: &str, used: Used) -> Token {
        let request = GiveBack { exchange: exchange(id), owner: owner(), used };
        match self.tell(at(2), &Command::GiveBack(Box::new(request))).unwrap() {
            Reply::Asked { token } => token,
            other => panic!("{other:?}"),
        }
    }

    fn return_it(&mut self, id: &str, used: Used) {
        let token = self.give_back(id, used);
        self.end(id, Outcome::Returned { token });
    }
}

fn in_period(uses: u32, until: i64) -> Option<InPeriod> {
    Some(InPeriod { uses, until: at(until) })
}
