//! The only place where a promo changes. Each event's arm moves what the event says; nothing is decided here.

use super::{
    counters::{Counted, Counter},
    event::{End, Event, Open, What},
    state::{KEPT_DAYS, State, Uses},
};
use crate::{
    ids::ExchangeId,
    time::{Day, Timestamp},
};

pub(super) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Opened(open) => opened(state, open),
        Event::Ended { exchange, end, .. } => ended(state, exchange, *end),
        Event::Asked { again, .. } => again.iter().for_each(|(exchange, next_ask)| asked(state, exchange, *next_ask)),
        Event::PeriodsOver { counters, .. } => counters.iter().for_each(|counter| {
            state.counters.remove_mut(counter);
        }),
    }
}

fn opened(state: &mut State, open: &Open) {
    match &open.what {
        What::Reservation { minor, counted, total, budget_minor, .. } => {
            state.held += Uses::one(*minor);
            let accepted = &mut state.accepted;
            accepted.total = accepted.total.max(total.unwrap_or(u64::MAX));
            accepted.budget_minor = accepted.budget_minor.max(budget_minor.unwrap_or(i64::MAX));
            for (counter, limit) in counted {
                count(state, counter, |counted| {
                    counted.held = counted.held.saturating_add(1);
                    counted.most = counted.most.max(*limit);
                });
            }
        }
        What::GiveBack(_) => state.returns += 1,
    }
    state.asks.insert_mut((open.next_ask, open.exchange.clone()), ());
    state.open.insert_mut(open.exchange.clone(), open.clone());
}

/// Changes a count; one that counts nothing any more goes.
fn count(state: &mut State, counter: &Counter, change: impl FnOnce(&mut Counted)) {
    let mut counted = state.counters.get(counter).copied().unwrap_or_default();
    change(&mut counted);
    if counted.uses() == 0 {
        state.counters.remove_mut(counter);
    } else {
        state.counters.insert_mut(*counter, counted);
    }
}

fn ended(state: &mut State, exchange: &ExchangeId, end: End) {
    let Some(open) = state.open.get(exchange).cloned() else { return };
    state.asks.remove_mut(&(open.next_ask, open.exchange));
    state.open.remove_mut(exchange);
    match &open.what {
        What::Reservation { minor, counted, .. } => {
            state.held -= Uses::one(*minor);
            let taken = matches!(end, End::Taken { .. });
            for (counter, _) in counted {
                count_if_kept(state, counter, |counted| {
                    counted.held = counted.held.saturating_sub(1);
                    counted.taken = counted.taken.saturating_add(u32::from(taken));
                });
            }
        }
        What::GiveBack(used) => {
            state.returns -= 1;
            if matches!(end, End::Returned { .. }) {
                for counter in &used.counters {
                    count_if_kept(state, counter, |counted| counted.taken = counted.taken.saturating_sub(1));
                }
            }
        }
    }
    match end {
        End::Taken { minor, day } => take(state, day, Uses::one(minor)),
        End::Returned { minor, day } => give_back(state, day, Uses::one(minor)),
        End::Released => {}
    }
}

/// A count of a period that is over for good is not there any more, and does not begin anew.
fn count_if_kept(state: &mut State, counter: &Counter, change: impl FnOnce(&mut Counted)) {
    if state.counters.contains_key(counter) {
        count(state, counter, change);
    }
}

fn take(state: &mut State, day: Day, uses: Uses) {
    state.taken += uses;
    let mut of_day = state.by_day.get(&day).copied().unwrap_or_default();
    of_day += uses;
    state.by_day.insert_mut(day, of_day);
    while state.by_day.size() > KEPT_DAYS
        && let Some((oldest, of_oldest)) = state.by_day.first().map(|(day, uses)| (*day, *uses))
    {
        state.earlier += of_oldest;
        state.by_day.remove_mut(&oldest);
    }
}

fn give_back(state: &mut State, day: Option<Day>, uses: Uses) {
    state.taken -= uses;
    let Some(day) = day else {
        state.earlier -= uses;
        return;
    };
    let mut of_day = state.by_day.get(&day).copied().unwrap_or_default();
    of_day -= uses;
    // No use is left without money: what is given back with a use is what it took.
    if of_day.uses == 0 {
        state.by_day.remove_mut(&day);
    } else {
        state.by_day.insert_mut(day, of_day);
    }
}

fn asked(state: &mut State, exchange: &ExchangeId, next_ask: Timestamp) {
    let Some(mut open) = state.open.get(exchange).cloned() else { return };
    state.asks.remove_mut(&(open.next_ask, open.exchange.clone()));
    open.next_ask = next_ask;
    open.asked = open.asked.saturating_add(1);
    state.asks.insert_mut((next_ask, open.exchange.clone()), ());
    state.open.insert_mut(exchange.clone(), open);
}
