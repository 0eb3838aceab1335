//! The customer: card, ledger, holds, orders and trust as one entity, decided by pure functions.
//!
//! Who owns what: `state` here is the whole; `ledger`, `order`, `facts`, `hold` hold its parts; `apply` is the only place
//! that changes it. What grows long (`history`, with its `notes`; `pile`) is shared by all copies of a state. Decisions
//! are made on a `draft`, a copy that events are applied to as they are decided, in `cards`, `adjust`, `earn`, `orders`,
//! `returns`, `holds`, `flags`; `settle` brings due activations and expiries first. `read` says what others may see.

pub mod command;
pub mod event;
pub mod facts;
pub mod history;
pub mod hold;
pub mod ledger;
pub mod marketing;
pub mod order;
pub mod pile;
pub mod read;
pub mod tier;
pub mod trust;

mod adjust;
mod apply;
mod cards;
mod draft;
mod earn;
mod flags;
mod holds;
mod notes;
mod orders;
mod returns;
mod sales;
mod settle;
mod standing;
mod stored;
mod views;
mod weight;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

pub use self::{
    command::{CardChange, Command, HoldRequest, Lately, OfferedHold, Reply},
    event::Event,
    holds::check_ttl,
    settle::Due,
};
use self::{
    draft::Draft, facts::Fact, history::Facts, hold::Hold, ledger::Ledger, marketing::Marketing, order::OpenOrder,
    trust::FraudFlag,
};
use crate::{
    card::Card,
    entity::{Count, Decision, Effect, Entity, EntityKind, Moment, ViewWrite},
    errors::Refusal,
    ids::{Actor, ApprovalId},
    policy::Policy,
    qr::Step,
    time::{Calendar, Day, Timestamp},
};

/// What decisions need from outside: the policy in force and the flags for this customer.
#[derive(Debug, Clone)]
pub struct Context {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its time zone.
    pub calendar: Calendar,
    /// The catalogue's revision.
    pub revision: u64,
    /// Flag `loyalty.earn`.
    pub earn: bool,
    /// Flag `loyalty.burn`.
    pub burn: bool,
    /// Flag `trust.limits`.
    pub trust_limits: bool,
    /// Flag `marketing.promos`.
    pub promos: bool,
    /// Flag `marketing.campaigns`.
    pub campaigns: bool,
}

/// A customer. How it is stored stands in `stored`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "stored::Stored<'static>")]
pub struct State {
    /// Whose.
    pub id: Box<str>,
    /// The card, once issued.
    pub card: Option<Box<Card>>,
    /// All points.
    pub ledger: Ledger,
    /// Holds that can still be captured.
    pub holds: ThinVec<Hold>,
    /// Pay scans whose step is used up, with the time until which they are remembered.
    pub used_steps: ThinVec<(Step, Timestamp)>,
    /// Orders that have not ended.
    pub open_orders: ThinVec<OpenOrder>,
    /// Ended orders, by their own time, equal times by arrival.
    pub facts: Facts,
    /// The latest time at which an order event took effect: no later one is decided before it.
    pub fact_time: Timestamp,
    /// What counts on the latest day with an earning, and on the latest with a burn.
    pub counters: Counters,
    /// Trust, and how many orders there were.
    pub standing: Standing,
    /// What most customers have nothing of.
    rare: Option<Box<Rare>>,
}

/// What most customers have nothing of: together behind one pointer, so that the others pay 8 bytes for all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rare {
    /// Adjustments that wait for a second person.
    approvals: Vec<Approval>,
    /// What is kept of offers.
    marketing: Marketing,
}

/// What lasts of trust beside the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The score as last announced.
    pub score: i64,
    /// When a fact or the score last changed; 0: never. Stored as an option, which would be 8 bytes more here: a published
    /// customer then takes 320 bytes of the allocator's, and not 256 (see the test).
    pub updated: Timestamp,
    /// Ended orders, all of them.
    pub total_orders: u32,
    /// Of these, completed.
    pub completed_orders: u32,
    /// Fraud flags that stand or were confirmed.
    pub flags: ThinVec<FraudFlag>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { score: 50, updated: Timestamp(0), total_orders: 0, completed_orders: 0, flags: ThinVec::new() }
    }
}

/// What a day's limits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// The latest day with an earning.
    pub earn_day: Day,
    /// Its cashback operations.
    pub operations: i64,
    /// Its points earned.
    pub earned: i64,
    /// The latest day with a burn.
    pub burn_day: Day,
    /// Its points burned.
    pub burned: i64,
}

/// An adjustment that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Which.
    pub approval_id: ApprovalId,
    /// Plus or minus.
    pub points: i64,
    /// Why.
    pub reason: Box<str>,
    /// Who asked.
    pub by: Actor,
}

impl State {
    /// A customer of whom nothing is known.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            card: None,
            ledger: Ledger::default(),
            holds: ThinVec::new(),
            used_steps: ThinVec::new(),
            open_orders: ThinVec::new(),
            facts: Facts::default(),
            fact_time: Timestamp(0),
            counters: Counters::default(),
            standing: Standing::default(),
            rare: None,
        }
    }

    /// Adjustments that wait for a second person.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        self.rare.as_deref().map_or(&[], |rare| &rare.approvals)
    }

    /// What is kept of offers; `None` for who never met one.
    #[must_use]
    pub fn marketing(&self) -> Option<&Marketing> {
        self.rare.as_deref().map(|rare| &rare.marketing)
    }

    /// To be changed; [`State::tidy`] follows.
    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Gives the place of what is empty back.
    fn tidy(&mut self) {
        self.rare.take_if(|rare| **rare == Rare::default());
    }

    /// The ended order with that fingerprint.
    #[must_use]
    pub fn fact(&self, key: u64) -> Option<&Fact> {
        self.facts.find(key)
    }
}

fn decide(
    state: &State,
    command: &Command,
    now: Timestamp,
    seq: u64,
    entropy: [u8; 16],
    context: &Context,
    recalled: &[(u64, Vec<Event>)],
) -> Result<(Vec<Event>, Vec<Effect>, Reply), Refusal> {
    let mut draft = Draft::new(state, context, now, seq, entropy, recalled);
    let reply = match command {
        Command::IssueCard { since, barcode } => cards::issue(&mut draft, *since, *barcode),
        Command::ChangeCard { change, barcode, reason, by } => cards::change(&mut draft, *change, *barcode, reason, by),
        Command::Adjust { points, reason, by } => adjust::ask(&mut draft, *points, reason, by),
        Command::DecideAdjustment { approval_id, approve, by } => adjust::decide(&mut draft, approval_id, *approve, by),
        Command::DecideReview { entry, release, reason, by } => earn::review(&mut draft, entry, *release, reason, by),
        Command::RaiseFlag { flag, reason, by } => flags::raise(&mut draft, flag, reason, by),
        Command::DecideFlag { flag, confirm, by } => flags::decide(&mut draft, flag, *confirm, by),
        Command::Order(event) => orders::take(&mut draft, event),
        Command::Hold(request) => holds::hold(&mut draft, request),
        Command::Capture { hold_id, order_id, lines, late } => {
            holds::capture(&mut draft, hold_id, order_id, lines.as_deref(), late.as_deref())
        }
        Command::RefuseHold { hold_id, expires_at, promos, why } => {
            sales::refuse(&mut draft, hold_id, *expires_at, promos, why.as_deref())
        }
        Command::PromoAsks(ask) => sales::answer(&mut draft, ask),
        Command::ChangeSegments { join, leave, by } => sales::change_segments(&mut draft, join, leave, by),
        Command::Release { hold_id } => holds::release(&mut draft, hold_id),
        Command::Signal { kind, shop_id, order, detail } => {
            draft.signal(*kind, now, shop_id.as_ref(), order.as_ref(), detail);
            Ok(Reply::Noted)
        }
        Command::Wake => {
            settle::settle(&mut draft, now);
            Ok(Reply::Woken)
        }
    }?;
    Ok((draft.events, draft.effects, reply))
}

/// The customer's rules for the loop.
#[derive(Debug, Clone)]
pub struct Customer;

/// A guest's checkout: the same rules, for someone without card, points or orders. Keyed by a hash of credential and
/// idempotency key.
#[derive(Debug, Clone)]
pub struct Guest;

macro_rules! entity {
    ($name:ident, $kind:expr) => {
        impl Entity for $name {
            const KIND: EntityKind = $kind;
            const FORMAT: u16 = 1;

            type State = State;
            type Command = Command;
            type Event = Event;
            type Reply = Reply;
            type Refusal = Refusal;
            type Context = Context;

            fn initial(id: &str) -> State {
                State::new(id)
            }

            fn recalls(state: &State, command: &Command) -> Vec<u64> {
                orders::recalls(state, command)
            }

            fn decide(state: &State, command: &Command, at: &Moment<'_, Self>) -> Result<Decision<Self>, Refusal> {
                let (events, effects, reply) =
                    decide(state, command, at.now, at.seq, at.entropy, at.context, at.recalled)?;
                Ok(Decision { events, reply, effects })
            }

            fn is_recorded(refusal: &Refusal) -> bool {
                refusal.is_recorded()
            }

            fn apply(state: &mut State, event: &Event, seq: u64) {
                apply::apply(state, event, seq);
            }

            fn next_wake(state: &State) -> Option<Timestamp> {
                settle::next_wake(state)
            }

            fn wake() -> Command {
                Command::Wake
            }

            fn views(id: &str, state: &State, event: &Event, seq: u64, index: u32) -> Vec<ViewWrite> {
                views::of(id, state, event, seq, index)
            }

            fn count(event: &Event) -> Option<Count> {
                views::count(event)
            }

            fn weight(state: &State) -> usize {
                weight::of(state)
            }

            fn broken_invariants(state: &State) -> Vec<&'static str> {
                crate::invariants::broken(state)
            }
        }
    };
}

entity!(Customer, EntityKind::Customer);
entity!(Guest, EntityKind::Guest);
