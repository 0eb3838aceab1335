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

use super::facts::Fact;
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

/// The tier at `as_of`, from `base` and the facts by time.
#[must_use]
pub fn tier_at(base: &TierBase, facts: &[Fact], as_of: AsOf, calendar: &Calendar, policy: &LoyaltyPolicy) -> TierState {
    let window = Window::new(policy.tier_window_days);
    let mut walk = Walk { state: base.state, policy, window, next_midnight: base.day.plus(1) };
    for fact in facts.iter().filter(|fact| as_of.counts(fact)) {
        let day = calendar.day(fact.at());
        if day < base.day {
            walk.window.add(day, fact.paid());
            continue;
        }
        walk.midnights_until(day);
        walk.pay(day, fact.paid());
    }
    walk.midnights_until(calendar.day(as_of.at));
    walk.state
}

/// Money by day, and its sum over the window that ends on the last day looked at.
struct Window {
    days: i32,
    paid: std::collections::VecDeque<(Day, i64)>,
    sum: i64,
}

impl Window {
    fn new(days: i32) -> Self {
        Self { days, paid: std::collections::VecDeque::new(), sum: 0 }
    }

    fn add(&mut self, day: Day, minor: i64) {
        self.paid.push_back((day, minor));
        self.sum = self.sum.saturating_add(minor);
    }

    /// The sum of `day` and the days before it in the window. Days only go forward.
    fn sum_on(&mut self, day: Day) -> i64 {
        while let Some((first, minor)) = self.paid.front().copied() {
            if first.0 > day.0 - self.days {
                break;
            }
            self.sum -= minor;
            self.paid.pop_front();
        }
        self.sum
    }
}

struct Walk<'a> {
    state: TierState,
    policy: &'a LoyaltyPolicy,
    window: Window,
    /// The first midnight not yet tested.
    next_midnight: Day,
}

impl Walk<'_> {
    fn carries(&self, sum: i64) -> bool {
        sum >= self.policy.tier_from_minor[self.state.tier.rank()]
    }

    /// Tests every midnight up to the one that begins `day`.
    fn midnights_until(&mut self, day: Day) {
        let mut midnight = self.next_midnight;
        while self.state.tier > Tier::Bronze {
            // Until a tier's days are over no midnight tests anything.
            midnight = midnight.max(self.state.reached.plus(self.policy.tier_hold_days));
            if midnight > day {
                break;
            }
            self.test(midnight);
            midnight = midnight.plus(1);
        }
        self.next_midnight = self.next_midnight.max(day.plus(1));
    }

    fn test(&mut self, midnight: Day) {
        match self.state.grace_from {
            Some(from) if midnight.0 >= from.0.saturating_add(self.policy.tier_grace_days) => {
                self.state = TierState { tier: self.state.tier.below(), reached: midnight, grace_from: None };
            }
            Some(_) => {}
            None => {
                let sum = self.window.sum_on(midnight);
                if !self.carries(sum) {
                    self.state.grace_from = Some(midnight);
                }
            }
        }
    }

    fn pay(&mut self, day: Day, minor: i64) {
        self.window.add(day, minor);
        let sum = self.window.sum_on(day);
        let carried =
            Tier::ALL.into_iter().rfind(|tier| sum >= self.policy.tier_from_minor[tier.rank()]).unwrap_or_default();
        if carried > self.state.tier {
            self.state = TierState { tier: carried, reached: day, grace_from: None };
        } else if self.carries(sum) {
            self.state.grace_from = None;
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
        let facts: Vec<Fact> = paid
            .iter()
            .enumerate()
            .map(|(i, (day, minor))| Fact::new(i as u64, at(&calendar, *day), *minor, 1, FactKind::Completed))
            .collect();
        tier_at(&TierBase::default(), &facts, AsOf::new(at(&calendar, today)), &calendar, &LoyaltyPolicy::default())
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
