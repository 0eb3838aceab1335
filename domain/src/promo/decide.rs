//! What may happen to a promo. Nothing here changes anything; every number that matters stands in the events.

use super::{
    Promo,
    command::{GiveBack, MAX_LINK_KEYS, Outcome, Refusal, Reply, Reserve, Token},
    counters::{Counted, Counter, Scope},
    event::{End, Event, Open, What},
    protocol,
    state::{State, Uses},
};
use crate::{
    amounts::MAX_ORDER_MINOR,
    entity::{Decision, Effect},
    ids::ExchangeId,
    time::{Day, Timestamp},
};

/// Reservations, and apart from them give-backs, that may be open at once.
pub(super) const MAX_OPEN: usize = 20_000;

/// Link keys and addresses that are counted at once.
pub(super) const MAX_COUNTERS: usize = 250_000;

/// Owners asked, and periods forgotten, in one decision: what one row may hold. The rest is due at once again.
const AT_ONCE: usize = 200;

/// Seconds that an owner has to end a hold by itself before it is asked, at first; each time twice as many, up to
/// [`ASK_AT_MOST_S`]. It is asked for as long as the exchange is open: nobody else knows what became of it.
const ASK_AFTER_S: i64 = 60;

/// Seconds between two questions, at most: 6 hours.
const ASK_AT_MOST_S: i64 = 6 * 3600;

/// Seconds after which an owner is asked even where the hold is said to last longer: a day.
const ASK_LATEST_S: i64 = 86_400;

fn decision(events: Vec<Event>, reply: Reply) -> Decision<Promo> {
    Decision { events, reply, effects: Vec::new() }
}

pub(super) fn reserve(
    state: &State,
    request: &Reserve,
    token: Token,
    now: Timestamp,
) -> Result<Decision<Promo>, Refusal> {
    match state.open.get(&request.exchange) {
        Some(Open { token, what: What::Reservation { minor, .. }, .. }) => {
            return Ok(decision(Vec::new(), Reply::Reserved { token: *token, minor: *minor }));
        }
        Some(_) => return Err(Refusal::Invalid(format!("exchange: {} is a give-back", request.exchange))),
        None => {}
    }
    let counted = request.counted();
    let minor = grant(state, request, &counted, now)?;
    let ask_by = request.expires_at.min(now.plus_seconds(ASK_LATEST_S));
    let open = Open {
        exchange: request.exchange.clone(),
        token,
        owner: request.owner.clone(),
        what: What::Reservation {
            minor,
            counted,
            total: request.limits.total,
            budget_minor: request.limits.budget_minor,
            expires_at: request.expires_at,
        },
        at: now,
        next_ask: ask_by.plus_seconds(ASK_AFTER_S),
        asked: 0,
    };
    Ok(decision(vec![Event::Opened(Box::new(open))], Reply::Reserved { token, minor }))
}

/// The money that a reservation gets.
pub(super) fn grant(
    state: &State,
    request: &Reserve,
    counted: &[(Counter, u32)],
    now: Timestamp,
) -> Result<i64, Refusal> {
    check(request)?;
    let over = |counter: &Counter| counter.until < Counter::FOREVER && counter.forgotten_at() <= now;
    if request.expires_at <= now || counted.iter().any(|(counter, _)| over(counter)) {
        return Err(Refusal::TooLate);
    }
    if state.open.size() - state.returns >= MAX_OPEN {
        return Err(Refusal::Busy);
    }
    let limits = &request.limits;
    let uses = state.held.uses.saturating_add(state.taken.uses);
    if limits.total.is_some_and(|total| uses >= total) {
        return Err(Refusal::Exhausted);
    }
    let reached = |counter: &Counter| match counter.scope {
        Scope::LinkKey => Refusal::LinkKey,
        Scope::Ip => Refusal::Ip,
    };
    let mut new = 0;
    for (counter, limit) in counted {
        let known = state.counters.get(counter);
        if known.map_or(0, Counted::uses) >= *limit {
            return Err(reached(counter));
        }
        new += usize::from(known.is_none());
        // What cannot be counted cannot be limited. Not `busy`: those that count for ever do not go away, and a campaign
        // would take every checkout with it that it applies to.
        if new > 0 && state.counters.size() + new > MAX_COUNTERS {
            return Err(reached(counter));
        }
    }
    let Some(budget_minor) = limits.budget_minor else { return Ok(request.minor) };
    let left_minor = state.budget_left(budget_minor);
    match (request.minor <= left_minor, request.as_far && left_minor > 0) {
        (true, _) => Ok(request.minor),
        (false, true) => Ok(left_minor),
        (false, false) => Err(Refusal::Budget { left_minor }),
    }
}

fn check(request: &Reserve) -> Result<(), Refusal> {
    if !(0..=MAX_ORDER_MINOR).contains(&request.minor) {
        return Err(Refusal::Invalid(format!("minor: must be 0 to {MAX_ORDER_MINOR}")));
    }
    if request.link_keys.len() > MAX_LINK_KEYS {
        return Err(Refusal::Invalid(format!("link_keys: at most {MAX_LINK_KEYS}")));
    }
    Ok(())
}

pub(super) fn give_back(
    state: &State,
    request: &GiveBack,
    token: Token,
    now: Timestamp,
) -> Result<Decision<Promo>, Refusal> {
    match state.open.get(&request.exchange) {
        Some(Open { token, what: What::GiveBack(_), .. }) => {
            return Ok(decision(Vec::new(), Reply::Asked { token: *token }));
        }
        Some(_) => return Err(Refusal::Invalid(format!("exchange: {} is a reservation", request.exchange))),
        None => {}
    }
    if request.used.counters.len() > 2 * MAX_LINK_KEYS + 1 {
        return Err(Refusal::Invalid(format!("counters: at most {}", 2 * MAX_LINK_KEYS + 1)));
    }
    if state.returns >= MAX_OPEN {
        return Err(Refusal::Busy);
    }
    let open = Open {
        exchange: request.exchange.clone(),
        token,
        owner: request.owner.clone(),
        what: What::GiveBack(request.used.clone()),
        at: now,
        next_ask: now.plus_seconds(ASK_AFTER_S),
        asked: 0,
    };
    let effects = vec![ask(state, &open)?];
    Ok(Decision { events: vec![Event::Opened(Box::new(open))], reply: Reply::Asked { token }, effects })
}

/// Where a use of that day stands in the report: the day, or (`Some(None)`) the days before those that are listed.
/// `None`: no such use was taken.
fn taken_on(state: &State, day: Day, minor: i64) -> Option<Option<Day>> {
    let wanted = Uses::one(minor);
    // The last use of a day takes all its money with it: else a day would keep money without a use.
    let fits = |of: &Uses| minor >= 0 && of.covers(wanted) && (of.uses > 1 || of.minor == minor);
    match state.by_day.get(&day) {
        Some(of) => fits(of).then_some(Some(day)),
        None => fits(&state.earlier).then_some(None),
    }
}

pub(super) fn end(state: &State, exchange: &ExchangeId, outcome: &Outcome, now: Timestamp) -> Decision<Promo> {
    let end = state.open.get(exchange).and_then(|open| outcome_of(state, open, outcome));
    let events = end.map(|end| Event::Ended { exchange: exchange.clone(), end, at: now });
    decision(events.into_iter().collect(), Reply::Ended)
}

/// What `outcome` makes of `open`; `None` where it speaks of another incarnation, or of another kind of exchange.
fn outcome_of(state: &State, open: &Open, outcome: &Outcome) -> Option<End> {
    match (outcome, &open.what) {
        (Outcome::Taken { token, minor, day }, What::Reservation { minor: reserved, .. }) if *token == open.token => {
            Some(End::Taken { minor: (*minor).clamp(0, *reserved), day: *day })
        }
        (Outcome::Released { token }, _) if token.is_none_or(|token| token == open.token) => Some(End::Released),
        (Outcome::Returned { token }, What::GiveBack(used)) if *token == open.token => {
            // No use is made of nothing, were an owner to give back what it did not take.
            let day = taken_on(state, used.day, used.minor);
            Some(day.map_or(End::Released, |day| End::Returned { minor: used.minor, day }))
        }
        _ => None,
    }
}

pub(super) fn wake(state: &State, now: Timestamp) -> Result<Decision<Promo>, Refusal> {
    let due = state.asks.keys().take_while(|(at, _)| *at <= now).take(AT_ONCE);
    let due: Vec<&Open> = due.filter_map(|(_, exchange)| state.open.get(exchange)).collect();
    let effects = due.iter().map(|open| ask(state, open)).collect::<Result<Vec<_>, _>>()?;
    let again = due.iter().map(|open| (open.exchange.clone(), now.plus_seconds(wait_s(open.asked)))).collect();
    let over = |counter: &&Counter| counter.until < Counter::FOREVER && counter.forgotten_at() <= now;
    let counters: Vec<Counter> = state.counters.keys().take_while(over).take(AT_ONCE).copied().collect();
    let mut events = Vec::new();
    if !due.is_empty() {
        events.push(Event::Asked { again, at: now });
    }
    if !counters.is_empty() {
        events.push(Event::PeriodsOver { counters, at: now });
    }
    Ok(Decision { events, reply: Reply::Woken, effects })
}

/// Seconds until the owner is asked again, after so many questions.
fn wait_s(asked: u32) -> i64 {
    ASK_AFTER_S.saturating_mul(2_i64.saturating_pow(asked.saturating_add(1))).min(ASK_AT_MOST_S)
}

fn ask(state: &State, open: &Open) -> Result<Effect, Refusal> {
    let expires_at = match &open.what {
        What::Reservation { expires_at, .. } => *expires_at,
        What::GiveBack(_) => open.at,
    };
    let ask = protocol::Ask { promo: state.id.clone(), exchange: open.exchange.clone(), token: open.token, expires_at };
    protocol::effect(&open.owner, &protocol::ToOwner::PromoAsks(ask)).map_err(Refusal::Invalid)
}
