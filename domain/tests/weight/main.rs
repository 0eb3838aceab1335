//! What a state says it weighs, against what the allocator was asked for. A binary of its own with one test: whatever
//! else ran beside it would be counted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test ends where it finds what must not be; the helpers are shared"
)]

use std::alloc::System;

use adal_domain::{
    customer::{Customer, State},
    entity::Entity,
    ids::Word,
    line::{Line, Unit},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use self::{
    journal::{Journal, context},
    say::time,
};

#[path = "../rules/journal.rs"]
mod journal;
#[path = "../rules/say.rs"]
mod say;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The bytes that a state takes after a reload: its own, and what the allocator still holds for it.
fn measured(journal: &Journal) -> (State, usize) {
    let bytes = rmp_serde::to_vec_named(&journal.state).unwrap();
    let region = Region::new(ALLOCATOR);
    let state: State = rmp_serde::from_slice(&bytes).unwrap();
    let change = region.change();
    let held = i64::try_from(change.bytes_allocated).unwrap() - i64::try_from(change.bytes_deallocated).unwrap();
    (state, size_of::<State>() + usize::try_from(held).unwrap())
}

fn member() -> Journal {
    let mut journal = Journal::new(context());
    journal.run(time(1, 0), &say::card()).unwrap();
    journal
}

fn lines(count: usize) -> Vec<Line> {
    (0..count)
        .map(|n| {
            let mut line = say::line(&format!("line-{n}"), 1000, Unit::Gram, 50_000);
            line.category = Some(Word::new("fruit-and-vegetables").unwrap());
            line.tags = vec![Word::new("fresh").unwrap(), Word::new("local").unwrap()];
            line
        })
        .collect()
}

/// Each with one of the parts grown large.
fn states() -> Vec<(&'static str, Journal)> {
    let mut states = vec![("a new card", member())];

    let mut journal = member();
    for day in 1..300 {
        let order = format!("order-{day}");
        journal.run(time(day, 60), &say::placed(&order, time(day, 60), &lines(3))).unwrap();
        journal.run(time(day, 61), &say::completed(&order, time(day, 61), 150_000)).unwrap();
    }
    states.push(("a year of orders", journal));

    let mut journal = member();
    for n in 0..40 {
        let (order, at) = (format!("order-{n}"), time(1, 60 + n));
        let lines = lines(20);
        journal.run(at, &say::placed(&order, at, &lines)).unwrap();
        let weights: Vec<_> = lines.iter().map(|line| (line.line_id.as_str(), 950)).collect();
        journal.run(at, &say::weighed(&order, at, &weights)).unwrap();
        for line in &lines[..5] {
            journal.run(at, &say::returned(&order, at, &[(line.line_id.as_str(), 10)], None)).unwrap();
        }
    }
    states.push(("open orders with weights and returns", journal));

    let mut journal = member();
    journal.run(time(1, 1), &say::adjust(2000)).unwrap();
    for n in 0..12 {
        // Past their time they stay for a late capture.
        journal.run(time(1, 10 + 5 * n), &say::hold(&lines(30), 100, Some(30))).unwrap();
    }
    states.push(("holds", journal));

    let mut journal = member();
    for n in 0..20 {
        journal.run(time(1, 10 + n), &say::adjust(5000)).unwrap();
        journal.run(time(1, 10 + n), &say::raise(&format!("flag-number-{n}"))).unwrap();
    }
    assert_eq!(journal.state.approvals().len(), 20);
    states.push(("approvals and flags", journal));

    let mut journal = member();
    for n in 0..60 {
        let (order, at) = (format!("order-{n}"), time(1, 60 + n));
        journal.run(at, &say::placed(&order, at, &[say::piece("tv", 100_000)])).unwrap();
        journal.run(at, &say::completed(&order, at, 100_000)).unwrap();
    }
    assert!(journal.state.ledger.reviews.len() > 50);
    states.push(("earnings under review", journal));

    let mut journal = member();
    for day in 1..200 {
        journal.run(time(day, 1), &say::adjust(1)).unwrap();
    }
    for n in 0..30 {
        let at = time(200, 60 + n);
        let hold = match journal.run(at, &say::hold(&[say::piece("milk", 10_000)], 5, None)).unwrap() {
            adal_domain::customer::Reply::Held(quote) => quote.hold.unwrap().hold_id,
            other => panic!("{other:?}"),
        };
        journal.run(at, &say::capture(&hold, &format!("order-{n}"), None)).unwrap();
    }
    states.push(("lots and burns", journal));
    states
}

#[test]
fn a_state_weighs_what_it_takes_within_a_fifth() {
    // What is made once (the time zone, static names) is made before anything is counted.
    let states = states();
    let mut wrong = Vec::new();
    for (name, journal) in &states {
        let (state, taken) = measured(journal);
        let weight = Customer::weight(&state);
        println!("{name}: {weight} by itself, {taken} by the allocator");
        if weight.abs_diff(taken) * 5 > taken {
            wrong.push((*name, weight, taken));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
