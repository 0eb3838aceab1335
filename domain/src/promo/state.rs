//! What a promo knows, and what may be read of it.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use super::{
    command::{Refusal, Reserve},
    counters::{Counted, Counter},
    decide,
    event::{Open, What},
};
use crate::{
    ids::ExchangeId,
    time::{Day, Timestamp},
};

/// Days that the usage by day goes back.
pub const KEPT_DAYS: usize = 400;

/// A promo. Copies share what they have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct State {
    /// Which.
    pub id: Box<str>,
    /// Kept for holds: counted from the open reservations, at hand.
    pub held: Uses,
    /// Taken by captured holds, less what came back.
    pub taken: Uses,
    /// The greatest limits under which a use was accepted.
    pub accepted: Accepted,
    /// Open exchanges.
    pub(super) open: RedBlackTreeMapSync<ExchangeId, Open>,
    /// The same by when their owners are asked.
    pub(super) asks: RedBlackTreeMapSync<(Timestamp, ExchangeId), ()>,
    /// How many of them are give-backs.
    pub(super) returns: usize,
    /// Uses by link key and address.
    pub(super) counters: RedBlackTreeMapSync<Counter, Counted>,
    /// What was taken on each of the last days with a use, at most [`KEPT_DAYS`] of them.
    pub(super) by_day: RedBlackTreeMapSync<Day, Uses>,
    /// What was taken on earlier days.
    pub(super) earlier: Uses,
}

/// Uses and the money that they take off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Uses {
    /// How many.
    pub uses: u64,
    /// Minor units.
    pub minor: i64,
}

impl Uses {
    /// One use that takes `minor` off.
    #[must_use]
    pub const fn one(minor: i64) -> Self {
        Self { uses: 1, minor }
    }

    /// Whether `other` is part of this.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.uses >= other.uses && self.minor >= other.minor
    }
}

impl std::ops::AddAssign for Uses {
    fn add_assign(&mut self, other: Self) {
        self.uses = self.uses.saturating_add(other.uses);
        self.minor = self.minor.saturating_add(other.minor);
    }
}

impl std::ops::SubAssign for Uses {
    fn sub_assign(&mut self, other: Self) {
        self.uses = self.uses.saturating_sub(other.uses);
        self.minor = self.minor.saturating_sub(other.minor);
    }
}

impl std::iter::Sum for Uses {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

/// The greatest limits under which a use was accepted: what is held and taken never exceeds them. A limit that is absent
/// is the greatest number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Accepted {
    /// Uses in all.
    pub total: u64,
    /// The budget, minor units.
    pub budget_minor: i64,
}

/// What a promo's usage report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Uses taken.
    pub taken: u64,
    /// Uses held.
    pub held: u64,
    /// What was taken off, minor units.
    pub discount_minor: i64,
    /// By day, oldest first: the last days with a use.
    pub by_day: Vec<DayUses>,
}

/// What was taken on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayUses {
    /// The day of the captures.
    pub day: Day,
    /// Uses taken, less those that came back.
    pub taken: u64,
    /// What they took off, minor units.
    pub discount_minor: i64,
}

/// A promo as it is stored: what can be counted from the rest is left out.
#[derive(Serialize, Deserialize)]
struct Stored {
    id: Box<str>,
    taken: Uses,
    accepted: Accepted,
    #[serde(default)]
    open: Vec<Open>,
    #[serde(default)]
    counters: Vec<(Counter, Counted)>,
    #[serde(default)]
    by_day: Vec<(Day, Uses)>,
    #[serde(default)]
    earlier: Uses,
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        Self {
            open: state.open.values().cloned().collect(),
            counters: state.counters.iter().map(|(key, counted)| (*key, *counted)).collect(),
            by_day: state.by_day.iter().map(|(day, uses)| (*day, *uses)).collect(),
            id: state.id,
            taken: state.taken,
            accepted: state.accepted,
            earlier: state.earlier,
        }
    }
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let mut state = Self {
            taken: stored.taken,
            accepted: stored.accepted,
            counters: stored.counters.into_iter().collect(),
            by_day: stored.by_day.into_iter().collect(),
            earlier: stored.earlier,
            ..Self::new(&stored.id)
        };
        for open in stored.open {
            match open.held() {
                Some(uses) => state.held += uses,
                None => state.returns += 1,
            }
            state.asks.insert_mut((open.next_ask, open.exchange.clone()), ());
            state.open.insert_mut(open.exchange.clone(), open);
        }
        state
    }
}

impl Open {
    /// What it keeps from others; `None` for a give-back.
    #[must_use]
    pub const fn held(&self) -> Option<Uses> {
        match self.what {
            What::Reservation { minor, .. } => Some(Uses::one(minor)),
            What::GiveBack(_) => None,
        }
    }
}

impl State {
    /// A promo that nobody has used.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            held: Uses::default(),
            taken: Uses::default(),
            accepted: Accepted::default(),
            open: RedBlackTreeMapSync::new_sync(),
            asks: RedBlackTreeMapSync::new_sync(),
            returns: 0,
            counters: RedBlackTreeMapSync::new_sync(),
            by_day: RedBlackTreeMapSync::new_sync(),
            earlier: Uses::default(),
        }
    }

    /// How much a reservation at `now` would get, minor units: what a quote asks of the published state. Writes
    /// nothing, promises nothing.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn would_reserve(&self, request: &Reserve, now: Timestamp) -> Result<i64, Refusal> {
        decide::grant(self, request, &request.counted(), now)
    }

    /// What is left of a budget, minor units; 0 where more is held and taken than it has now.
    #[must_use]
    pub const fn budget_left(&self, budget_minor: i64) -> i64 {
        let used = self.held.minor.saturating_add(self.taken.minor);
        let left = budget_minor.saturating_sub(used);
        if left > 0 { left } else { 0 }
    }

    /// The usage report.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let by_day =
            self.by_day.iter().map(|(day, of)| DayUses { day: *day, taken: of.uses, discount_minor: of.minor });
        Usage {
            taken: self.taken.uses,
            held: self.held.uses,
            discount_minor: self.taken.minor,
            by_day: by_day.collect(),
        }
    }

    /// The open exchange of that id.
    #[must_use]
    pub fn open(&self, exchange: &ExchangeId) -> Option<&Open> {
        self.open.get(exchange)
    }

    /// How many exchanges are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.size()
    }

    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let ask = self.asks.first().map(|((at, _), ())| *at);
        let over = self.counters.first().map(|(counter, _)| *counter).filter(|c| c.until < Counter::FOREVER);
        ask.into_iter().chain(over.map(|counter| counter.forgotten_at())).min()
    }

    pub(super) fn weight(&self) -> usize {
        // An entry of a tree: its node, its counted box with key and value, and what the allocator adds.
        const NODE: usize = 96;
        let open = NODE * 2 + size_of::<Open>() + 3 * 40;
        let counter = NODE + size_of::<(Counter, Counted)>();
        let day = NODE + size_of::<(Day, Uses)>();
        size_of::<Self>()
            + self.id.len()
            + self.open.size() * open
            + self.counters.size() * counter
            + self.by_day.size() * day
    }

    pub(super) fn broken_invariants(&self) -> Vec<&'static str> {
        INVARIANTS.iter().filter(|(_, holds)| !holds(self)).map(|(name, _)| *name).collect()
    }
}

/// A named predicate.
type Invariant = (&'static str, fn(&State) -> bool);

/// What must always hold of a promo. The costly ones (they count everything) run where little is open: the loop asks
/// after every event in debug builds.
const INVARIANTS: [Invariant; 6] = [
    ("uses held and taken never exceed a limit", uses_are_within_limits),
    ("money held and taken never exceeds a budget", money_is_within_budget),
    ("no use, money or count is below zero", nothing_is_below_zero),
    ("what is held is what is open", held_is_what_is_open),
    ("what was taken is what was taken by day", taken_is_by_day),
    ("link keys and addresses are within their limits", counters_are_within_limits),
];

/// Above so many entries a predicate that counts them all is left to the tests.
const COUNTED: usize = 1000;

const fn uses_are_within_limits(state: &State) -> bool {
    state.held.uses.saturating_add(state.taken.uses) <= state.accepted.total
}

const fn money_is_within_budget(state: &State) -> bool {
    state.held.minor.saturating_add(state.taken.minor) <= state.accepted.budget_minor
}

fn nothing_is_below_zero(state: &State) -> bool {
    state.held.minor >= 0
        && state.taken.minor >= 0
        && state.earlier.minor >= 0
        && state.by_day.values().all(|of| of.minor >= 0 && of.uses > 0)
        && state.by_day.size() <= KEPT_DAYS
}

fn held_is_what_is_open(state: &State) -> bool {
    let open = &state.open;
    open.size() == state.asks.size()
        && (open.size() > COUNTED
            || (open.values().filter_map(Open::held).sum::<Uses>() == state.held
                && open.values().filter(|one| one.held().is_none()).count() == state.returns
                && open.values().all(|one| state.asks.contains_key(&(one.next_ask, one.exchange.clone())))))
}

fn taken_is_by_day(state: &State) -> bool {
    state.by_day.values().copied().chain([state.earlier]).sum::<Uses>() == state.taken
}

fn counters_are_within_limits(state: &State) -> bool {
    state.counters.size() > COUNTED
        || state.counters.values().all(|counted| counted.uses() > 0 && counted.uses() <= counted.most)
}
