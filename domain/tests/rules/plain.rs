//! Tier and trust once more, written from the rules' text, slow and plain: every day is walked, every order counted.

use std::collections::{BTreeMap, BTreeSet};

use adal_domain::{
    customer::facts::FactKind,
    policy::Tier,
    time::{Day, Timestamp},
};

use crate::say;

/// An ended order: its own time, the money kept, how it ended.
pub type EndedOrder = (Timestamp, i64, FactKind);

/// The tier of `now` by walking every single day: written from the rules' text, slow and plain.
pub fn tier(facts: &[EndedOrder], now: Timestamp) -> (Tier, Option<Day>) {
    let calendar = say::calendar();
    let from = [0, 10_000_000, 30_000_000, 100_000_000];
    let paid: Vec<(i32, i64)> = facts
        .iter()
        .filter(|(at, _, kind)| *at <= now && *kind == FactKind::Completed)
        .map(|(at, paid, _)| (calendar.day(*at).0, *paid))
        .collect();
    let Some((first, _)) = paid.first().copied() else { return (Tier::Bronze, None) };
    let (mut tier, mut reached, mut grace) = (0_usize, first, None);
    for day in first..=calendar.day(now).0 {
        let window = |upto: usize| -> i64 { paid[..upto].iter().filter(|(d, _)| *d > day - 365).map(|(_, p)| p).sum() };
        let before = paid.iter().filter(|(d, _)| *d < day).count();
        if tier > 0 && day >= reached + 365 {
            match grace {
                Some(begun) if day >= begun + 30 => (tier, reached, grace) = (tier - 1, day, None),
                Some(_) => {}
                None if window(before) < from[tier] => grace = Some(day),
                None => {}
            }
        }
        let today = paid.iter().filter(|(d, _)| *d == day).count();
        for upto in before + 1..=before + today {
            let sum = window(upto);
            let carried = (0..4).rfind(|tier| sum >= from[*tier]).unwrap();
            if carried > tier {
                (tier, reached, grace) = (carried, day, None);
            } else if carried == tier {
                grace = None;
            }
        }
    }
    (Tier::ALL[tier], grace.map(Day))
}

/// c, x and the payments, counted plainly.
pub fn counts(facts: &[EndedOrder], now: Timestamp) -> (i64, i64, i64, usize) {
    let calendar = say::calendar();
    let today = calendar.day(now);
    let mut clean: BTreeMap<Day, i64> = BTreeMap::new();
    let (mut late, mut paid, mut days) = (0, 0, BTreeSet::new());
    for (at, money, kind) in facts.iter().filter(|(at, ..)| *at <= now) {
        let day = calendar.day(*at);
        match kind {
            FactKind::Completed => {
                *clean.entry(day).or_default() += i64::from(*money >= 100_000);
                paid += money;
                if *money > 0 {
                    days.insert(day);
                }
            }
            FactKind::CancelledAfterPicking => late += i64::from(day.0 > today.0 - 365),
            FactKind::Cancelled => {}
        }
    }
    (clean.values().map(|n| (*n).min(2)).sum(), late, paid, days.len())
}
