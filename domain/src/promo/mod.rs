//! The promo: whatever has a limit that many customers share, decided by pure functions.
//!
//! One kind of entity, three uses, told apart by the id alone:
//! - an offer (a promo or a campaign): its own id. Every limit that customers share counts here.
//! - a unique code: `<offer>/<hash of the code>`, see [`code_id`]. Reserved with a total of 1, beside its offer.
//! - a budget that several offers share: `~budget/<group>`, see [`budget_id`]. Reserved with the budget alone, beside
//!   each offer. Offers' ids have neither `/` nor `~`, so no id is two things.
//!
//! Who owns what: [`State`] is the whole; `apply` is the only place that changes it, and looks at no limit; `decide` says
//! what may happen. Limits come with each request, as of the revision that priced it: a promo knows no catalogue. It
//! must never end an exchange by itself: a use whose hold may yet be captured stays held until the hold's owner has said
//! what became of it. `protocol` says how that is asked and answered, and why it is right; `book` is the owner's side.
//!
//! The state shares structure with its copies (the loop copies it once per batch, and the country may type one code at
//! noon): a copy costs nothing, a change O(log n).

pub mod book;
pub mod command;
pub mod counters;
pub mod event;
pub mod protocol;
mod state;

mod apply;
mod decide;

#[cfg(test)]
mod tests;

pub use self::{
    command::{Command, GiveBack, InPeriod, Limits, MAX_LINK_KEYS, Outcome, Refusal, Reply, Reserve, Token, Used},
    counters::{Counter, KeyHash, Scope},
    event::Event,
    state::{DayUses, State, Usage, Uses},
};
use crate::{
    entity::{Count, Decision, Entity, EntityKind, Moment, ViewWrite},
    time::Timestamp,
};

/// The id of the unique code of `offer` whose hash is `hash`.
#[must_use]
pub fn code_id(offer: &str, hash: KeyHash) -> String {
    format!("{offer}/{}", crate::hex::encode(&hash.0))
}

/// The id of the budget that the offers of `group` share.
#[must_use]
pub fn budget_id(group: &str) -> String {
    format!("~budget/{group}")
}

/// Whether a promo's id is a unique code's.
#[must_use]
pub fn is_code(promo: &str) -> bool {
    !is_budget(promo) && promo.contains('/')
}

/// Whether a promo's id is that of a budget that several offers share.
#[must_use]
pub fn is_budget(promo: &str) -> bool {
    promo.starts_with('~')
}

/// The promo's rules for the loop.
#[derive(Debug, Clone)]
pub struct Promo;

impl Entity for Promo {
    const KIND: EntityKind = EntityKind::Promo;
    const FORMAT: u16 = 1;
    const KEEPS_MARKS: bool = false;

    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    type Context = ();

    fn initial(id: &str) -> State {
        State::new(id)
    }

    fn decide(state: &State, command: &Command, at: &Moment<'_, Self>) -> Result<Decision<Self>, Refusal> {
        let token = Token { seq: at.seq, index: at.index };
        match command {
            Command::Reserve(request) => decide::reserve(state, request, token, at.now),
            Command::GiveBack(request) => decide::give_back(state, request, token, at.now),
            Command::End { exchange, outcome } => Ok(decide::end(state, exchange, outcome, at.now)),
            Command::Wake => decide::wake(state, at.now),
        }
    }

    fn is_recorded(refusal: &Refusal) -> bool {
        // An effect that finds no room (a give-back) is owed until there is: recorded, it would be lost.
        !matches!(refusal, Refusal::Busy)
    }

    fn apply(state: &mut State, event: &Event, _seq: u64) {
        apply::apply(state, event);
    }

    fn next_wake(state: &State) -> Option<Timestamp> {
        state.next_wake()
    }

    fn wake() -> Command {
        Command::Wake
    }

    fn views(_: &str, _: &State, _: &Event, _: u64, _: u32) -> Vec<ViewWrite> {
        Vec::new()
    }

    fn count(event: &Event) -> Option<Count> {
        let (value, by) = match event {
            Event::Opened(_) => ("opened", 1),
            Event::Ended { end: event::End::Taken { .. }, .. } => ("taken", 1),
            Event::Ended { end: event::End::Released, .. } => ("released", 1),
            Event::Ended { end: event::End::Returned { .. }, .. } => ("returned", 1),
            Event::Asked { again, .. } => ("asked", again.len() as u64),
            Event::PeriodsOver { .. } => return None,
        };
        Some(Count { metric: "adal_promo_exchanges_total", label: "step", value, by })
    }

    fn weight(state: &State) -> usize {
        state.weight()
    }

    fn broken_invariants(state: &State) -> Vec<&'static str> {
        state.broken_invariants()
    }
}
