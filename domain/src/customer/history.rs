//! The ended orders of a customer, by their own time: the recent ones in the open, older ones laid away.
//!
//! Every decision is made on a copy of the state, and tier and trust are walks over all ended orders. Both would cost a
//! customer of thousands of orders far more than a new one. So, past what nearly all customers ever have, the older
//! facts stand in one allocation that all copies of the state share, with notes on how far a walk has come at every
//! [`STEP`]th of them.
//!
//! A note only remembers what the walk gives: it is made by whoever walks there first, holds for one policy and one
//! calendar, goes where a fact before it changes, and is neither stored nor compared. What is asked here is a function
//! of the facts and of the arguments, with notes or without. Copies are asked on several threads, so the notes stand
//! behind a lock; nothing but walking happens while it is held.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};
use thin_vec::ThinVec;

use super::{
    facts::{Fact, FactKind},
    tier::{AsOf, TierBase, TierWalk},
    trust::{OldFacts, TrustWalk},
};
use crate::time::{Calendar, Timestamp};

/// So many facts stay in the open before the first are laid away: more than a customer who shops every six days ever
/// has (facts are kept for some 800 days), for whom an allocation more would only be memory.
const OPEN: usize = 160;

/// Facts are laid away by so many, and a walk is noted at each so many.
const STEP: usize = 32;

/// The latest are not laid away: an event that is a little late finds its place among them.
const KEPT: usize = 16;

/// What facts that are forgotten leave.
pub type Aged = (TierBase, OldFacts);

/// See the module.
#[derive(Clone, Default)]
pub struct Facts {
    recent: ThinVec<Fact>,
    /// Absent for most.
    older: Option<Box<Older>>,
}

/// What came before the recent facts. Flat: what aged facts leave has a hole of 4 bytes, and most who have this have
/// nothing laid away.
#[derive(Clone, Default)]
struct Older {
    /// The default's day: no facts have aged.
    base: TierBase,
    old_paid_days: u32,
    old_counted: i64,
    old_paid_minor: i64,
    laid: Option<Arc<Laid>>,
}

/// Facts that are laid away, a multiple of [`STEP`], and what finds them.
#[derive(Clone, Default)]
pub(super) struct Laid {
    facts: Vec<Fact>,
    /// Of each fact 16 bits of its key: a search reads a tenth of the memory.
    tags: Vec<u16>,
    /// Where the orders stand that count against trust, in order.
    cancelled: Vec<usize>,
    tier: Notes<TierWalk>,
    trust: Notes<TrustWalk>,
}

/// A walk over facts in their order; its value after some of them is all that the next one needs.
pub(super) trait Walk: Copy {
    /// What it goes by.
    type Policy: Clone + PartialEq;

    /// Before the first fact.
    fn begin(aged: &Aged) -> Self;

    /// The `i`th fact.
    fn take(&mut self, i: usize, fact: &Fact, facts: Seen<'_>, calendar: &Calendar, policy: &Self::Policy);

    /// Where its notes stand.
    fn notes(laid: &Laid) -> &Notes<Self>;
}

impl Walk for TierWalk {
    type Policy = crate::policy::LoyaltyPolicy;

    fn begin(aged: &Aged) -> Self {
        Self::new(&aged.0)
    }

    fn take(&mut self, i: usize, fact: &Fact, facts: Seen<'_>, calendar: &Calendar, policy: &Self::Policy) {
        self.step(i, fact, facts, calendar, policy);
    }

    fn notes(laid: &Laid) -> &Notes<Self> {
        &laid.tier
    }
}

impl Walk for TrustWalk {
    type Policy = crate::policy::TrustPolicy;

    fn begin(aged: &Aged) -> Self {
        Self::new(&aged.1)
    }

    fn take(&mut self, _: usize, fact: &Fact, _: Seen<'_>, calendar: &Calendar, policy: &Self::Policy) {
        self.step(fact, calendar, policy);
    }

    fn notes(laid: &Laid) -> &Notes<Self> {
        &laid.trust
    }
}

/// The facts that a walk sees, by place.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    laid: &'a [Fact],
    recent: &'a [Fact],
    without: Option<usize>,
}

impl Seen<'_> {
    /// The `i`th fact, unless it is left out.
    pub fn get(&self, i: usize) -> Option<&Fact> {
        if self.without == Some(i) {
            return None;
        }
        if i < self.laid.len() { self.laid.get(i) } else { self.recent.get(i - self.laid.len()) }
    }
}

/// The walk after each [`STEP`] of the facts laid away, as far as somebody walked.
pub(super) struct Notes<W: Walk>(Mutex<Option<Noted<W>>>);

#[derive(Clone)]
struct Noted<W: Walk> {
    policy: W::Policy,
    calendar: Calendar,
    walks: Vec<W>,
}

impl<W: Walk> Notes<W> {
    /// A walk is pushed whole or not at all: what a panic left is sound.
    fn lock(&self) -> MutexGuard<'_, Option<Noted<W>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The walk after the first `steps` of the facts.
    fn after(&self, steps: usize, begin: W, facts: Seen<'_>, calendar: &Calendar, policy: &W::Policy) -> W {
        let mut noted = self.lock();
        if noted.as_ref().is_none_or(|noted| noted.policy != *policy || noted.calendar != *calendar) {
            *noted = None;
        }
        let walks = &mut noted
            .get_or_insert_with(|| Noted { policy: policy.clone(), calendar: calendar.clone(), walks: Vec::new() })
            .walks;
        let mut walk = walks.last().copied().unwrap_or(begin);
        for step in walks.len()..steps {
            for i in step * STEP..(step + 1) * STEP {
                facts.get(i).into_iter().for_each(|fact| walk.take(i, fact, facts, calendar, policy));
            }
            walks.push(walk);
        }
        steps.checked_sub(1).and_then(|last| walks.get(last)).copied().unwrap_or(begin)
    }

    /// The fact at `place` is another: no walk past it is known.
    fn forget_from(&mut self, place: usize) {
        if let Some(noted) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            noted.walks.truncate(place / STEP);
        }
    }
}

impl<W: Walk> Default for Notes<W> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<W: Walk> Clone for Notes<W> {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.lock().clone()))
    }
}

const fn tag(key: u64) -> u16 {
    let [.., high, low] = key.to_be_bytes();
    u16::from_be_bytes([high, low])
}

impl Laid {
    fn position(&self, key: u64) -> Option<usize> {
        let tag = tag(key);
        // By blocks, and without a way out of one: so the compiler compares many tags at once.
        self.tags.chunks(4 * STEP).enumerate().rev().find_map(|(block, tags)| {
            if !tags.iter().fold(false, |found, known| found | (*known == tag)) {
                return None;
            }
            let from = block * 4 * STEP;
            (from..from + tags.len()).find(|i| self.facts[*i].key() == key)
        })
    }

    fn extend(&mut self, facts: impl ExactSizeIterator<Item = Fact>) {
        self.facts.reserve_exact(facts.len());
        self.tags.reserve_exact(facts.len());
        for fact in facts {
            if fact.kind() == FactKind::CancelledAfterPicking {
                self.cancelled.push(self.facts.len());
            }
            self.tags.push(tag(fact.key()));
            self.facts.push(fact);
        }
    }

    /// Puts a late fact to its place. There are as many as before: the last is given back.
    fn squeeze_in(&mut self, fact: Fact) -> Option<Fact> {
        let place = self.facts.partition_point(|known| known.at() <= fact.at());
        let last = self.facts.pop()?;
        self.tags.pop();
        self.facts.insert(place, fact);
        self.tags.insert(place, tag(fact.key()));
        self.cancelled.iter_mut().filter(|known| **known >= place).for_each(|known| *known += 1);
        self.cancelled.retain(|known| *known < self.facts.len());
        if fact.kind() == FactKind::CancelledAfterPicking {
            self.cancelled.insert(self.cancelled.partition_point(|known| *known < place), place);
        }
        self.forget_from(place);
        Some(last)
    }

    fn forget_from(&mut self, place: usize) {
        self.tier.forget_from(place);
        self.trust.forget_from(place);
    }
}

impl Facts {
    fn laid(&self) -> Option<&Laid> {
        self.older.as_ref()?.laid.as_deref()
    }

    fn laid_facts(&self) -> &[Fact] {
        self.laid().map_or(&[], |laid| &laid.facts)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.laid_facts().len() + self.recent.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // The latest are never laid away.
        self.recent.is_empty()
    }

    /// All of them, by time.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.laid_facts().iter().chain(self.recent.iter())
    }

    /// The earliest.
    #[must_use]
    pub fn first(&self) -> Option<&Fact> {
        self.iter().next()
    }

    fn get(&self, place: usize) -> Option<&Fact> {
        let laid = self.laid_facts();
        if place < laid.len() { laid.get(place) } else { self.recent.get(place - laid.len()) }
    }

    fn position(&self, key: u64) -> Option<usize> {
        let recent = self.recent.iter().rposition(|fact| fact.key() == key);
        match recent {
            Some(place) => Some(self.laid_facts().len() + place),
            None => self.laid()?.position(key),
        }
    }

    /// The one with that key.
    #[must_use]
    pub fn find(&self, key: u64) -> Option<&Fact> {
        self.get(self.position(key)?)
    }

    /// Orders cancelled by the customer after picking, by time.
    pub fn cancelled_after_picking(&self) -> impl Iterator<Item = &Fact> {
        let laid = self.laid().into_iter().flat_map(|laid| laid.cancelled.iter().map(|place| &laid.facts[*place]));
        laid.chain(self.recent.iter().filter(|fact| fact.kind() == FactKind::CancelledAfterPicking))
    }

    /// What forgotten facts left, if there were any.
    #[must_use]
    pub fn aged(&self) -> Option<Aged> {
        let older = self.older.as_deref().filter(|older| older.base != TierBase::default())?;
        let (counted, paid_minor, paid_days) = (older.old_counted, older.old_paid_minor, older.old_paid_days);
        Some((older.base, OldFacts { counted, paid_minor, paid_days }))
    }

    /// A walk over the facts that count at `as_of`, and what it sees.
    pub(super) fn walk<W: Walk>(&self, as_of: AsOf, calendar: &Calendar, policy: &W::Policy) -> (W, Seen<'_>) {
        let without = as_of.without.and_then(|key| self.position(key));
        let until = self.count_until(as_of.at);
        let laid = self.laid_facts();
        let seen = Seen { laid, recent: &self.recent, without };
        let mut walk = W::begin(&self.aged().unwrap_or_default());
        // Notes are of all facts: they serve up to the one that is left out.
        let steps = laid.len().min(until).min(without.unwrap_or(usize::MAX)) / STEP;
        if let Some(laid) = self.laid().filter(|_| steps > 0) {
            let all = Seen { without: None, ..seen };
            walk = W::notes(laid).after(steps, walk, all, calendar, policy);
        }
        for i in steps * STEP..until {
            seen.get(i).into_iter().for_each(|fact| walk.take(i, fact, seen, calendar, policy));
        }
        (walk, seen)
    }

    /// How many are of `at` or earlier.
    fn count_until(&self, at: Timestamp) -> usize {
        let laid = self.laid_facts();
        match self.recent.last() {
            Some(last) if last.at() <= at => self.len(),
            _ if laid.last().is_none_or(|last| last.at() <= at) => {
                laid.len() + self.recent.partition_point(|fact| fact.at() <= at)
            }
            _ => laid.partition_point(|fact| fact.at() <= at),
        }
    }

    /// Puts a fact to its time; among equal times the later arrival stands behind.
    pub fn insert(&mut self, fact: Fact) {
        let is_late = self.laid_facts().last().is_some_and(|last| last.at() > fact.at());
        // Grown one by one: half-empty buffers are memory.
        self.recent.reserve_exact(1);
        if let Some(laid) = self.laid_mut().filter(|_| is_late) {
            let last = laid.squeeze_in(fact);
            last.into_iter().for_each(|last| self.recent.insert(0, last));
        } else {
            let place = self.recent.partition_point(|known| known.at() <= fact.at());
            self.recent.insert(place, fact);
        }
        self.lay_away();
    }

    /// The laid facts of this copy alone.
    fn laid_mut(&mut self) -> Option<&mut Laid> {
        self.older.as_mut()?.laid.as_mut().map(Arc::make_mut)
    }

    /// The order has other money, and its record stands in another row.
    pub fn amend(&mut self, key: u64, paid: i64, seq: u64) {
        let Some(place) = self.position(key) else { return };
        let laid = self.laid_facts().len();
        if place >= laid {
            self.recent[place - laid].update(paid, seq);
        } else if let Some(laid) = self.laid_mut() {
            laid.facts[place].update(paid, seq);
            laid.forget_from(place);
        }
    }

    /// Lets facts before a time go; `aged` is what they leave.
    pub fn age(&mut self, before: Timestamp, aged: Aged) {
        let kept = self.iter().filter(|fact| fact.at() >= before).copied().collect();
        *self = Self::new(kept);
        self.set_aged(aged);
    }

    /// Facts by time.
    fn new(facts: ThinVec<Fact>) -> Self {
        let mut all = Self { recent: facts, older: None };
        all.lay_away();
        all.recent.shrink_to_fit();
        all
    }

    /// What earlier facts left, where no walk has begun yet.
    pub(super) fn set_aged(&mut self, (base, old): Aged) {
        let older = self.older.get_or_insert_default();
        older.base = base;
        (older.old_counted, older.old_paid_minor, older.old_paid_days) = (old.counted, old.paid_minor, old.paid_days);
    }

    /// Lays the earlier of the recent facts away, once they are many.
    fn lay_away(&mut self) {
        let most = if self.laid().is_some() { KEPT + STEP } else { OPEN };
        if self.recent.len() > most {
            let going = (self.recent.len() - KEPT) / STEP * STEP;
            let laid = Arc::make_mut(self.older.get_or_insert_default().laid.get_or_insert_default());
            laid.extend(self.recent.drain(..going));
            self.recent.shrink_to_fit();
        }
    }

    /// About how many bytes they take beside the state.
    pub(super) fn weight(&self) -> usize {
        use std::mem::size_of;
        let fact = size_of::<Fact>();
        let note = size_of::<TierWalk>() + size_of::<TrustWalk>();
        let laid = self.laid().map_or(0, |laid| {
            let notes = laid.facts.len() / STEP * note + size_of::<Laid>();
            laid.facts.capacity() * (fact + size_of::<u16>()) + laid.cancelled.capacity() * size_of::<usize>() + notes
        });
        self.older.as_ref().map_or(0, |_| size_of::<Older>()) + laid + self.recent.capacity() * fact
    }
}

/// In any order.
impl FromIterator<Fact> for Facts {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        let mut all = Self::default();
        facts.into_iter().for_each(|fact| all.insert(fact));
        all
    }
}

/// The facts alone: what aged ones left is stored with the standing.
impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|fact| list.serialize_element(fact))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ThinVec::deserialize(deserializer).map(Self::new)
    }
}

/// How they are laid away makes no difference.
impl PartialEq for Facts {
    fn eq(&self, other: &Self) -> bool {
        self.aged() == other.aged() && self.iter().eq(other.iter())
    }
}

impl Eq for Facts {}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("aged", &self.aged()).field("facts", &self.iter().collect::<Vec<_>>()).finish()
    }
}
