//! What a promo costs when much is open, and where it says that it is enough.

use super::*;
use crate::promo::decide::{MAX_COUNTERS, MAX_OPEN};

fn link(number: usize) -> KeyHash {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    KeyHash(hash)
}

/// Opens a reservation without looking at the invariants, which count everything.
fn open(state: &mut State, number: usize, keys: usize) -> Result<(), Refusal> {
    let limits = Limits { per_customer: Some(1), budget_minor: Some(i64::MAX), ..total(u64::MAX) };
    let link_keys = (0..keys).map(|key| link(number * keys + key)).collect();
    let request = Reserve { link_keys, ..limited(&format!("0199-0000-{number:026}"), limits) };
    tell(state, number as u64 + 1, &Command::Reserve(Box::new(request)))
}

fn tell(state: &mut State, seq: u64, command: &Command) -> Result<(), Refusal> {
    let moment = Moment::<Promo> { now: at(0), context: &(), seq, index: 0, entropy: [0; 16], recalled: &[] };
    let decision = Promo::decide(state, command, &moment)?;
    decision.events.iter().for_each(|event| Promo::apply(state, event, seq));
    Ok(())
}

#[test]
fn beyond_its_bounds_a_promo_is_busy_and_still_ends_what_is_open() {
    let mut state = State::new("p");
    for number in 0..MAX_OPEN {
        open(&mut state, number, 0).unwrap();
    }
    assert_eq!(open(&mut state, MAX_OPEN, 0), Err(Refusal::Busy));
    assert_eq!(open(&mut state, 7, 0), Ok(()), "a repeat is answered");
    let exchange = exchange(&format!("0199-0000-{:026}", 7));
    tell(&mut state, 1, &Command::End { exchange, outcome: Outcome::Released { token: None } }).unwrap();
    assert_eq!(open(&mut state, MAX_OPEN, 0), Ok(()));
}

#[test]
fn beyond_its_bound_no_new_key_is_counted() {
    let mut state = State::new("p");
    let counter = |number| crate::promo::Counter {
        until: crate::promo::Counter::FOREVER,
        scope: crate::promo::Scope::LinkKey,
        hash: link(number),
    };
    let counted = crate::promo::counters::Counted { held: 0, taken: 1, most: 1 };
    state.counters = (0..MAX_COUNTERS).map(|number| (counter(number), counted)).collect();
    assert_eq!(
        open(&mut state, MAX_COUNTERS, 1),
        Err(Refusal::LinkKey),
        "the offer is refused, and the checkout goes on"
    );
    assert_eq!(open(&mut state, MAX_COUNTERS, 0), Ok(()));
    // One that is counted already takes no more room.
    state.counters.insert_mut(counter(7), crate::promo::counters::Counted { taken: 0, ..counted });
    assert_eq!(open(&mut state, 7, 1), Ok(()));
}

/// `cargo test --release -p adal-domain promo::tests::cost -- --ignored --nocapture`
#[test]
#[ignore = "measures, and asserts a loose bound only"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn a_reservation_costs_about_the_same_with_10_open_as_with_10_000() {
    const ROUNDS: usize = 2000;
    let mut costs = Vec::new();
    for size in [10, 100, 1000, 10_000] {
        let mut head = State::new("p");
        (0..size).try_for_each(|number| open(&mut head, number, 2)).unwrap();
        // As in the loop: the head is published and shared, a batch works on a copy, and the copy becomes the head.
        for batch in [1, 100] {
            let mut spent = std::time::Duration::ZERO;
            let mut number = size;
            for _ in 0..ROUNDS / batch {
                let begun = std::time::Instant::now();
                let mut next = head.clone();
                for _ in 0..batch {
                    open(&mut next, number, 2).unwrap();
                    let oldest = exchange(&format!("0199-0000-{:026}", number - size));
                    let end = Command::End { exchange: oldest, outcome: Outcome::Released { token: None } };
                    tell(&mut next, 0, &end).unwrap();
                    number += 1;
                }
                head = next;
                spent += begun.elapsed();
            }
            let each = spent / u32::try_from(ROUNDS).unwrap();
            println!("{size:6} open, batches of {batch:3}: {each:?} for a reservation and an end");
            costs.push((batch, each));
            // Back to the same numbers for the next round.
            head = State::new("p");
            (0..size).try_for_each(|number| open(&mut head, number, 2)).unwrap();
        }
        let begun = std::time::Instant::now();
        let bytes = rmp_serde::to_vec_named(&head).unwrap().len();
        println!(
            "{size:6} open: a snapshot of {bytes} bytes in {:?}, {} bytes in memory",
            begun.elapsed(),
            Promo::weight(&head)
        );
    }
    let of = |batch| costs.iter().filter(move |(of, _)| *of == batch).map(|(_, each)| *each);
    for batch in [1, 100] {
        assert!(of(batch).next_back().unwrap() < of(batch).next().unwrap() * 10, "it grows with what is open");
    }
}
