//! The ended orders of a customer, by their own time: the recent ones in the open, older ones laid away.
//!
//! Every decision is made on a copy of the state, and tier and trust are walks over all ended orders. Both would cost a
//! customer of thousands of orders far more than a new one. So, past what nearly all customers ever have, the older
//! facts stand in one allocation that all copies of the state share, with notes on how far a walk has come at every
//! `STEP`th of them.
//!
//! What is asked here is a function of the facts and of the arguments, with notes (see there) or without.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};
use thin_vec::ThinVec;

use super::{
    facts::{Fact, FactKind},
    notes::{Notes, STEP, Seen, Walk},
    tier::{AsOf, TierBase, TierWalk},
    trust::{OldFacts, TrustWalk},
};
use crate::time::{Calendar, Timestamp};

/// So many facts stay in the open before the first are laid away: more than a customer who shops every six days ever
/// has (facts are kept for some 800 days), for whom an allocation more would only be memory.
const OPEN: usize = 160;

/// Facts are laid away by so many: each time the allocation is made anew.
const AT_ONCE: usize = 2 * STEP;

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
    pub(super) tier: Notes<TierWalk>,
    pub(super) trust: Notes<TrustWalk>,
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
        if is_late {
            let last = self.laid_mut().and_then(|laid| laid.squeeze_in(fact));
            last.into_iter().for_each(|last| self.recent.insert(0, last));
        } else {
            let place = self.recent.partition_point(|known| known.at() <= fact.at());
            self.recent.insert(place, fact);
        }
        self.lay_away();
    }

    /// What is laid away, for this copy alone: all of it is copied where others share it.
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
        let most = if self.laid().is_some() { KEPT + AT_ONCE } else { OPEN };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        customer::{
            tier::{TierState, tier_at},
            trust::count,
        },
        policy::{Policy, Tier},
        time::Day,
    };

    const FIRST: i32 = 20_458;

    #[derive(Debug, Clone)]
    enum Op {
        /// Hours since the last, days late, what of the kinds, money.
        End(i64, i64, u8, i64),
        Amend(usize, i64),
        /// At so many days from the last, without one, by which policy.
        Ask(i64, Option<usize>, usize),
        /// A copy is kept, to be asked when the other has changed.
        Keep,
        /// What is older than so many days goes.
        Age(i64, i64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let late = prop_oneof![9 => Just(0_i64), 1 => 0_i64..400];
        let paid = prop_oneof![Just(0_i64), Just(99_999), Just(100_000), 100_000_i64..3_000_000];
        let days = prop_oneof![6 => 0_i64..3, 1 => -300_i64..0, 1 => 0_i64..900];
        let without = prop::option::weighted(0.3, any::<prop::sample::Index>().prop_map(|i| i.index(100_000)));
        prop_oneof![
            60 => (0_i64..40, late, 0_u8..10, paid.clone()).prop_map(|(a, b, c, d)| Op::End(a, b, c, d)),
            3 => (0_usize..100_000, paid).prop_map(|(i, paid)| Op::Amend(i, paid)),
            6 => (days, without, 0_usize..3).prop_map(|(a, b, c)| Op::Ask(a, b, c)),
            1 => Just(Op::Keep),
            1 => (300_i64..800, 0_i64..50).prop_map(|(days, old)| Op::Age(days, old)),
        ]
    }

    /// The same facts, none laid away: every walk over them begins at the first.
    fn plain(aged: Option<Aged>, facts: &[Fact]) -> Facts {
        let mut plain = Facts { recent: facts.iter().copied().collect(), older: None };
        aged.into_iter().for_each(|aged| plain.set_aged(aged));
        plain
    }

    fn policies() -> [(Policy, Calendar); 3] {
        let mut other = Policy::default();
        other.loyalty.tier_from_minor = [0, 2_000_000, 4_000_000, 9_000_000];
        (other.loyalty.tier_window_days, other.loyalty.tier_hold_days) = (20, 30);
        (other.trust.counted_from_minor, other.trust.counted_a_day, other.trust.window_days) = (50_000, 1, 40);
        let elsewhere = Policy { time_zone: "America/New_York".to_owned(), ..other.clone() };
        [Policy::default(), other, elsewhere].map(|policy| {
            let calendar = policy.calendar().unwrap();
            (policy, calendar)
        })
    }

    /// Asks both, which have to say the same.
    fn same(facts: &Facts, plain: &Facts, as_of: AsOf, (policy, calendar): &(Policy, Calendar)) {
        let tier = |facts| tier_at(facts, as_of, calendar, &policy.loyalty);
        let counts = |facts| count(facts, as_of, calendar, &policy.trust);
        assert_eq!((tier(facts), counts(facts)), (tier(plain), counts(plain)), "{as_of:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

        /// Late facts, returns, forgotten facts, policies in turn, copies that part: what is laid away and noted says
        /// what a walk over all facts says.
        #[test]
        fn what_is_laid_away_says_what_a_walk_over_all_facts_says(ops in prop::collection::vec(op(), 1..600)) {
            let policies = policies();
            let (mut facts, mut known, mut aged) = (Facts::default(), Vec::<Fact>::new(), None);
            let mut clock = policies[0].1.start(Day(FIRST));
            let mut copies = Vec::new();
            for (n, op) in (0_u64..).zip(&ops) {
                match op {
                    Op::End(hours, late, kind, paid) => {
                        clock = clock.plus_seconds(hours * 3600);
                        let kind = match kind {
                            0 => FactKind::Cancelled,
                            1 => FactKind::CancelledAfterPicking,
                            _ => FactKind::Completed,
                        };
                        // Keys of one tag, so that a search meets others of it.
                        let fact = Fact::new((n << 20) | (n % 3), clock.plus_seconds(-late * 86_400), *paid, n, kind);
                        facts.insert(fact);
                        known.insert(known.partition_point(|k| k.at() <= fact.at()), fact);
                    }
                    Op::Amend(i, paid) if !known.is_empty() => {
                        let i = i % known.len();
                        known[i].update(*paid, n);
                        facts.amend(known[i].key(), *paid, n);
                    }
                    Op::Ask(days, without, which) => {
                        let without = without.filter(|_| !known.is_empty()).map(|i| known[i % known.len()].key());
                        let rest: Vec<Fact> = known.iter().filter(|fact| Some(fact.key()) != without).copied().collect();
                        let as_of = AsOf { at: clock.plus_seconds(days * 86_400), without };
                        same(&facts, &plain(aged, &rest), as_of, &policies[*which]);
                    }
                    Op::Keep => copies.push((facts.clone(), plain(aged, &known))),
                    Op::Age(days, old) => {
                        let before = clock.plus_seconds(-days * 86_400);
                        let day = policies[0].1.day(before).plus(200);
                        let state = TierState { tier: Tier::Silver, reached: day.plus(-100), grace_from: None };
                        let old = OldFacts { counted: *old, paid_minor: old * 100_000, paid_days: 7 };
                        aged = Some((TierBase { day, state }, old));
                        facts.age(before, (TierBase { day, state }, old));
                        known.retain(|fact| fact.at() >= before);
                    }
                    Op::Amend(..) => {}
                }
            }
            copies.push((facts, plain(aged, &known)));
            for (facts, plain) in &copies {
                for days in [-100, 0, 400] {
                    policies.iter().for_each(|p| same(facts, plain, AsOf::new(clock.plus_seconds(days * 86_400)), p));
                }
                prop_assert_eq!(facts, plain);
                prop_assert!(facts.laid().is_none_or(|laid| laid.facts.len() % STEP == 0) && plain.laid().is_none());
                let late = |fact: &&Fact| fact.kind() == FactKind::CancelledAfterPicking;
                prop_assert!(facts.cancelled_after_picking().eq(plain.iter().filter(late)));
                for fact in plain.iter() {
                    prop_assert_eq!(facts.find(fact.key()), Some(fact));
                }
                prop_assert_eq!(facts.find(u64::MAX), None);
                let stored = rmp_serde::to_vec(facts).unwrap();
                prop_assert_eq!(&stored, &rmp_serde::to_vec(&plain.recent).unwrap(), "one list");
                let mut read: Facts = rmp_serde::from_slice(&stored).unwrap();
                plain.aged().into_iter().for_each(|aged| read.set_aged(aged));
                prop_assert_eq!(&read, facts);
            }
        }
    }

    #[test]
    fn most_customers_have_one_list_of_their_own_facts_and_thousands_are_shared() {
        let fact =
            |i: i64| Fact::new(i.unsigned_abs(), Timestamp::from_seconds(1_800_000_000 + i), 1, 1, FactKind::Completed);
        let mut facts: Facts = (0..160).map(fact).collect();
        assert!(facts.older.is_none());
        assert_eq!(size_of::<Facts>(), 16);
        // What an aged customer had before.
        assert_eq!(size_of::<Older>(), size_of::<Aged>());
        (160..5000).for_each(|i| facts.insert(fact(i)));
        let mut copy = facts.clone();
        copy.insert(fact(5000));
        assert!(std::ptr::eq(copy.laid().unwrap(), facts.laid().unwrap()), "one more does not part them");
        assert!(facts.recent.len() <= KEPT + AT_ONCE);
        assert!(facts.weight() < 5000 * (20 + 2 + 4));
    }
}
