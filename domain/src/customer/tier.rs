//! Tiers: what the payments of the last 365 days carry, how long a tier reached is kept, and how it is lost.
//!
//! The tier is a function of the facts (ended orders with what was paid for them, net of returns, at the orders' own
//! times) and of the day asked for; nothing else is stored. So a return undoes a tier that only its money had reached,
//! and a late event is decided with the tier of its own time.
//!
//! A tier reached on day D is kept until 00:00 of D + 365. From then on each midnight tests whether the window carries
//! it. Where it does not, 30 days of grace begin; an order that brings the money back ends them; at their end the tier
//! steps down by one, which is again a tier reached.

use serde::{Deserialize, Serialize};

use super::{
    facts::Fact,
    history::{Aged, Facts, Laid},
    notes::{Notes, Seen, Walk},
};
use crate::{
    policy::{LoyaltyPolicy, Tier},
    time::{Calendar, Day, Timestamp},
};

/// A tier as of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierState {
    /// Which.
    pub tier: Tier,
    /// The day on which it was reached.
    pub reached: Day,
    /// The day on which the running grace began.
    pub grace_from: Option<Day>,
}

impl Default for TierState {
    fn default() -> Self {
        Self { tier: Tier::Bronze, reached: Day(i32::MIN / 2), grace_from: None }
    }
}

/// Which facts count: those before a moment, one order left out.
#[derive(Debug, Clone, Copy)]
pub struct AsOf {
    /// Facts at this moment or earlier count (of equal times, those that are there arrived before).
    pub at: Timestamp,
    /// The order that is being decided: left out.
    pub without: Option<u64>,
}

impl AsOf {
    /// Everything up to `at`.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self { at, without: None }
    }

    /// Whether `fact` counts.
    #[must_use]
    pub fn counts(&self, fact: &Fact) -> bool {
        fact.at() <= self.at && self.without != Some(fact.key())
    }
}

/// Where the walk begins: the tier at 00:00 of a day before which no fact can change any more. Facts before it only
/// fill the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierBase {
    /// The day.
    pub day: Day,
    /// The tier at its 00:00.
    pub state: TierState,
}

impl Default for TierBase {
    fn default() -> Self {
        Self { day: Day(i32::MIN / 2), state: TierState::default() }
    }
}

/// The tier at `as_of`, from the facts and what aged ones left.
#[must_use]
pub fn tier_at(facts: &Facts, as_of: AsOf, calendar: &Calendar, policy: &LoyaltyPolicy) -> TierState {
    let (mut walk, seen) = facts.walk::<TierWalk>(as_of, calendar, policy);
    Step { walk: &mut walk, seen, calendar, policy }.midnights_until(calendar.day(as_of.at));
    walk.state
}

/// The walk over facts by time, midnight by midnight where midnights test.
#[derive(Debug, Clone, Copy)]
pub(super) struct TierWalk {
    state: TierState,
    /// Facts of earlier days only fill the window.
    base: Day,
    /// The first midnight not yet tested.
    next_midnight: Day,
    /// The window over the last day looked at: its first fact's place, the place after its last, the money of those.
    from: usize,
    until: usize,
    sum: i64,
}

impl Walk for TierWalk {
    type Policy = LoyaltyPolicy;

    fn begin((base, _): &Aged) -> Self {
        Self { state: base.state, base: base.day, next_midnight: base.day.plus(1), from: 0, until: 0, sum: 0 }
    }

    fn take(&mut self, i: usize, fact: &Fact, seen: Seen<'_>, calendar: &Calendar, policy: &LoyaltyPolicy) {
        let (day, base) = (calendar.day(fact.at()), self.base);
        let mut step = Step { walk: self, seen, calendar, policy };
        if day < base {
            step.add(i, fact.paid());
        } else {
            step.midnights_until(day);
            step.pay(i, day, fact.paid());
        }
    }

    fn notes(laid: &Laid) -> &Notes<Self> {
        &laid.tier
    }
}

/// A walk and all that a step of it needs.
struct Step<'a> {
    walk: &'a mut TierWalk,
    seen: Seen<'a>,
    calendar: &'a Calendar,
    policy: &'a LoyaltyPolicy,
}

impl Step<'_> {
    fn add(&mut self, i: usize, minor: i64) {
        self.walk.until = i + 1;
        self.walk.sum = self.walk.sum.saturating_add(minor);
    }

    /// The sum of `day` and the days before it in the window. Days only go forward.
    fn sum_on(&mut self, day: Day) -> i64 {
        let walk = &mut *self.walk;
        while walk.from < walk.until {
            if let Some(first) = self.seen.get(walk.from) {
                if self.calendar.day(first.at()).0 > day.0 - self.policy.tier_window_days {
                    break;
                }
                walk.sum -= first.paid();
            }
            walk.from += 1;
        }
        walk.sum
    }

    fn carries(&self, sum: i64) -> bool {
        sum >= self.policy.tier_from_minor[self.walk.state.tier.rank()]
    }

    /// Tests every midnight up to the one that begins `day`.
    fn midnights_until(&mut self, day: Day) {
        let mut midnight = self.walk.next_midnight;
        while self.walk.state.tier > Tier::Bronze {
            // Until a tier's days are over no midnight tests anything.
            midnight = midnight.max(self.walk.state.reached.plus(self.policy.tier_hold_days));
            if midnight > day {
                break;
            }
            self.test(midnight);
            midnight = midnight.plus(1);
        }
        self.walk.next_midnight = self.walk.next_midnight.max(day.plus(1));
    }

    fn test(&mut self, midnight: Day) {
        let state = self.walk.state;
        match state.grace_from {
            Some(from) if midnight.0 >= from.0.saturating_add(self.policy.tier_grace_days) => {
                self.walk.state = TierState { tier: state.tier.below(), reached: midnight, grace_from: None };
            }
            Some(_) => {}
            None => {
                let sum = self.sum_on(midnight);
                if !self.carries(sum) {
                    self.walk.state.grace_from = Some(midnight);
                }
            }
        }
    }

    fn pay(&mut self, i: usize, day: Day, minor: i64) {
        self.add(i, minor);
        let sum = self.sum_on(day);
        let carried =
            Tier::ALL.into_iter().rfind(|tier| sum >= self.policy.tier_from_minor[tier.rank()]).unwrap_or_default();
        if carried > self.walk.state.tier {
            self.walk.state = TierState { tier: carried, reached: day, grace_from: None };
        } else if self.carries(sum) {
            self.walk.state.grace_from = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customer::facts::FactKind;

    const SILVER: i64 = 10_000_000;

    fn at(calendar: &Calendar, day: i32) -> Timestamp {
        calendar.start(Day(day)).plus_seconds(3600)
    }

    fn tier(paid: &[(i32, i64)], today: i32) -> TierState {
        let calendar = Calendar::new("Asia/Almaty").unwrap();
        let facts: Facts = paid
            .iter()
            .enumerate()
            .map(|(i, (day, minor))| Fact::new(i as u64, at(&calendar, *day), *minor, 1, FactKind::Completed))
            .collect();
        tier_at(&facts, AsOf::new(at(&calendar, today)), &calendar, &LoyaltyPolicy::default())
    }

    #[test]
    fn a_tier_is_reached_at_once_and_may_jump() {
        assert_eq!(tier(&[(20_000, SILVER - 1)], 20_000).tier, Tier::Bronze);
        assert_eq!(tier(&[(20_000, SILVER)], 20_000).tier, Tier::Silver);
        assert_eq!(tier(&[(20_000, 3 * SILVER)], 20_000).tier, Tier::Gold);
    }

    #[test]
    fn it_is_kept_365_days_then_30_days_of_grace_then_one_step_down_that_is_kept_again() {
        let gold = [(20_000, 3 * SILVER)];
        assert_eq!(tier(&gold, 20_364).grace_from, None);
        assert_eq!(tier(&gold, 20_365).grace_from, Some(Day(20_365)));
        assert_eq!(tier(&gold, 20_394).tier, Tier::Gold);
        let silver = tier(&gold, 20_395);
        assert_eq!((silver.tier, silver.reached), (Tier::Silver, Day(20_395)));
        assert_eq!(tier(&gold, 20_395 + 364 + 30).tier, Tier::Silver);
        assert_eq!(tier(&gold, 20_395 + 365 + 30).tier, Tier::Bronze);
    }

    #[test]
    fn money_regained_within_the_grace_ends_it_and_later_midnights_test_anew() {
        let paid = [(20_000, SILVER), (20_100, SILVER / 2), (20_370, SILVER / 2)];
        assert_eq!(tier(&paid, 20_369).grace_from, Some(Day(20_365)));
        assert_eq!(tier(&paid, 20_370).grace_from, None);
        // The half of day 20,100 leaves the window at the midnight of 20,465.
        assert_eq!(tier(&paid, 20_464).grace_from, None);
        assert_eq!(tier(&paid, 20_465).grace_from, Some(Day(20_465)));
        assert_eq!(tier(&paid, 20_495).tier, Tier::Bronze);
    }
}
