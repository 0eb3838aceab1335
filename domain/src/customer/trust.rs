//! The trust score: a function of terminal facts and the day alone.
//!
//! c completed orders of 1,000 tenge or more net of returns (at most 2 a day, counted to 40), x orders cancelled by the
//! customer after picking and l disputes lost by a person's decision in the last 365 days, w disputes won by one, f
//! confirmed fraud flags: R = 5c + 2 min(5w, 5 + c); S = 5 (2x + 5l + 15f); score = floor(100 (50 + R) / (100 + R + S));
//! at most 49 while a fraud flag stands and for 180 days after it was confirmed.

use serde::{Deserialize, Serialize};

use super::{
    facts::{Fact, FactKind},
    history::{Aged, Facts, Laid},
    notes::{Notes, Seen, Walk},
    read::Band,
    tier::AsOf,
};
use crate::{
    ids::FlagName,
    policy::TrustPolicy,
    time::{Calendar, Day, Timestamp},
};

/// A fraud flag that stands or was confirmed. A dismissed one leaves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FraudFlag {
    /// Its name.
    pub flag: FlagName,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// When it was confirmed.
    pub confirmed_at: Option<Timestamp>,
}

/// What of the facts that have left the memory still counts: they are too old to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OldFacts {
    /// Completed orders that count for the score.
    pub counted: i64,
    /// Money paid net, minor units.
    pub paid_minor: i64,
    /// Days with a payment.
    pub paid_days: u32,
}

/// What the score is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// c, not yet cut to 40.
    pub counted: i64,
    /// x.
    pub cancelled_after_picking: i64,
    /// l.
    pub lost: i64,
    /// w.
    pub won: i64,
    /// f.
    pub confirmed_flags: i64,
    /// Money paid net over all time, minor units.
    pub paid_minor: i64,
    /// Days with a payment.
    pub paid_days: usize,
}

/// Counts what stands at `as_of`.
#[must_use]
pub fn count(facts: &Facts, as_of: AsOf, calendar: &Calendar, policy: &TrustPolicy) -> Counts {
    let (walk, _) = facts.walk::<TrustWalk>(as_of, calendar, policy);
    let today = calendar.day(as_of.at);
    let cancelled = facts
        .cancelled_after_picking()
        .filter(|fact| as_of.counts(fact) && calendar.day(fact.at()).0 > today.0 - policy.window_days)
        .count();
    Counts {
        counted: walk.counted,
        cancelled_after_picking: i64::try_from(cancelled).unwrap_or(i64::MAX),
        paid_minor: walk.paid_minor,
        paid_days: walk.paid_days,
        ..Counts::default()
    }
}

/// The walk over facts by time: what counts whatever the day is that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrustWalk {
    counted: i64,
    paid_minor: i64,
    paid_days: usize,
    /// The last fact's day, how many of it count, and whether one was paid.
    day: Day,
    on_day: i64,
    paid_on_day: bool,
}

impl Walk for TrustWalk {
    type Policy = TrustPolicy;

    fn begin((_, old): &Aged) -> Self {
        Self {
            counted: old.counted,
            paid_minor: old.paid_minor,
            paid_days: old.paid_days as usize,
            day: Day(i32::MIN),
            on_day: 0,
            paid_on_day: false,
        }
    }

    fn take(&mut self, _: usize, fact: &Fact, _: Seen<'_>, calendar: &Calendar, policy: &TrustPolicy) {
        let day = calendar.day(fact.at());
        if day != self.day {
            (self.day, self.on_day, self.paid_on_day) = (day, 0, false);
        }
        if fact.kind() != FactKind::Completed {
            return;
        }
        self.paid_minor = self.paid_minor.saturating_add(fact.paid());
        if fact.paid() > 0 && !self.paid_on_day {
            self.paid_on_day = true;
            self.paid_days += 1;
        }
        if fact.paid() >= policy.counted_from_minor && self.on_day < policy.counted_a_day {
            self.on_day += 1;
            self.counted += 1;
        }
    }

    fn notes(laid: &Laid) -> &Notes<Self> {
        &laid.trust
    }
}

/// The formula. `capped`: a flag stands, or was confirmed less than 180 days ago.
#[must_use]
pub fn score(counts: &Counts, capped: bool, policy: &TrustPolicy) -> i64 {
    let c = counts.counted.min(policy.counted_at_most);
    let r = 5 * c + 2 * (5 * counts.won).min(5 + c);
    let s = 5 * (2 * counts.cancelled_after_picking + 5 * counts.lost + 15 * counts.confirmed_flags);
    let score = 100 * (50 + r) / (100 + r + s);
    if capped { score.min(policy.flag_cap) } else { score }
}

/// Whether a flag caps the score at `at`.
#[must_use]
pub fn is_capped(flags: &[FraudFlag], at: Timestamp, calendar: &Calendar, policy: &TrustPolicy) -> bool {
    let today = calendar.day(at);
    flags.iter().filter(|flag| flag.raised_at <= at).any(|flag| match flag.confirmed_at {
        None => true,
        Some(confirmed) => today < calendar.day(confirmed).plus(policy.flag_days),
    })
}

/// The band of a score. Priority also needs membership and payments (`has_standing`).
#[must_use]
pub const fn band(score: i64, has_standing: bool) -> Band {
    match score {
        ..30 => Band::Manual,
        30..50 => Band::Strict,
        50..=70 => Band::Standard,
        _ if has_standing => Band::Priority,
        _ => Band::Standard,
    }
}

/// A day's limit for a band: doubled, halved or quartered, at least 1. 0 is no limit at all.
#[must_use]
pub fn scaled(limit: i64, band: Band) -> i64 {
    match (limit, band) {
        (0, _) => i64::MAX,
        (limit, Band::Priority) => limit.saturating_mul(2),
        (limit, Band::Standard) => limit,
        (limit, Band::Strict) => (limit / 2).max(1),
        (limit, Band::Manual) => (limit / 4).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(counted: i64, won: i64, lost: i64, x: i64, f: i64) -> i64 {
        let counts = Counts { counted, won, lost, cancelled_after_picking: x, confirmed_flags: f, ..Counts::default() };
        score(&counts, false, &TrustPolicy::default())
    }

    #[test]
    fn it_starts_at_50_and_15_clean_orders_lead_above_70_and_three_losses_back() {
        assert_eq!(of(0, 0, 0, 0, 0), 50);
        assert_eq!(of(14, 0, 0, 0, 0), 70);
        assert_eq!(of(15, 0, 0, 0, 0), 71);
        assert_eq!(of(15, 0, 3, 0, 0), 50);
    }

    #[test]
    fn seventy_and_fifty_are_standard_and_thirty_is_strict() {
        assert_eq!(band(71, true), Band::Priority);
        assert_eq!(band(71, false), Band::Standard);
        assert_eq!(band(70, true), Band::Standard);
        assert_eq!(band(50, true), Band::Standard);
        assert_eq!(band(49, true), Band::Strict);
        assert_eq!(band(30, true), Band::Strict);
        assert_eq!(band(29, true), Band::Manual);
    }

    proptest! {
        #[test]
        fn it_stays_in_0_to_100_and_is_monotone(c in 0_i64..60, w in 0_i64..60, l in 0_i64..60, x in 0_i64..60, f in 0_i64..9) {
            let score = of(c, w, l, x, f);
            prop_assert!((0..=100).contains(&score));
            prop_assert!(of(c + 1, w, l, x, f) >= score);
            prop_assert!(of(c, w + 1, l, x, f) >= score);
            prop_assert!(of(c, w, l + 1, x, f) <= score);
            prop_assert!(of(c, w, l, x + 1, f) <= score);
            prop_assert!(of(c, w, l, x, f + 1) <= score);
        }
    }
}
