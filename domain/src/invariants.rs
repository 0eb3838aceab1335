//! What must always hold of a customer, as named predicates: the property tests, the simulation, `adal check` and debug
//! assertions share them.

use crate::customer::State;

/// A named predicate.
type Invariant = (&'static str, fn(&State) -> bool);

/// Every invariant of a single state.
pub const INVARIANTS: [Invariant; 9] = [
    ("balance = available + held", balance_is_available_and_held),
    ("no balance, lot, debt or pending is below zero", nothing_is_below_zero),
    ("lots are sorted by day, none empty", lots_are_sorted),
    ("a hold's points are those of its quote", holds_hold_what_they_quote),
    ("no more is given back than was burned", given_back_at_most_burned),
    ("facts are sorted by time, one an order", facts_are_sorted),
    ("completed orders are part of all orders", orders_add_up),
    ("the trust score is within 0 to 100", score_is_in_range),
    ("points need a card", points_need_a_card),
];

/// The names of the invariants that `state` breaks.
#[must_use]
pub fn broken(state: &State) -> Vec<&'static str> {
    INVARIANTS.iter().filter(|(_, holds)| !holds(state)).map(|(name, _)| *name).collect()
}

fn balance_is_available_and_held(state: &State) -> bool {
    let held: i64 = state.holds.iter().map(crate::customer::hold::Hold::points).sum();
    state.ledger.balance == state.ledger.available() + held
}

fn nothing_is_below_zero(state: &State) -> bool {
    let ledger = &state.ledger;
    ledger.balance >= 0
        && ledger.debt >= 0
        && ledger.pending.iter().all(|pending| pending.points > 0)
        && ledger.reviews.iter().all(|review| review.points > 0)
        && ledger.expired.iter().all(|(_, points)| *points > 0)
        && ledger.voided.iter().all(|(_, points)| *points > 0)
}

fn lots_are_sorted(state: &State) -> bool {
    let lots = &state.ledger.lots;
    lots.iter().all(|lot| lot.points() > 0) && lots.is_sorted_by_key(|lot| (lot.expires(), lot.is_revived()))
}

fn holds_hold_what_they_quote(state: &State) -> bool {
    state.holds.iter().all(|hold| {
        let held = hold.points();
        if hold.expired { held == 0 } else { held == hold.quote.points_burned }
    })
}

fn given_back_at_most_burned(state: &State) -> bool {
    state.ledger.burns.iter().all(|burn| {
        let spent: i64 = burn.spent.iter().map(|part| part.points).sum();
        spent == burn.points && (0..=burn.points).contains(&burn.given_back)
    })
}

fn facts_are_sorted(state: &State) -> bool {
    let mut keys: Vec<u64> = state.facts.iter().map(crate::customer::facts::Fact::key).collect();
    keys.sort_unstable();
    state.facts.iter().is_sorted_by_key(crate::customer::facts::Fact::at) && keys.is_sorted_by(|a, b| a < b)
}

fn orders_add_up(state: &State) -> bool {
    state.standing.completed_orders <= state.standing.total_orders
}

fn score_is_in_range(state: &State) -> bool {
    (0..=100).contains(&state.standing.score)
}

fn points_need_a_card(state: &State) -> bool {
    state.card.is_some() || (state.ledger.entries == 0 && state.ledger.pending.is_empty())
}
