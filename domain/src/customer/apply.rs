//! The only place where a customer changes. Each event's arm moves what the event says; nothing is decided here.

use super::{
    Approval, CardChange, Event, State,
    facts::{Fact, FactKind},
    hold::HoldEnd,
    ledger::Burn,
    marketing::Sale,
    order::{OpenOrder, Record},
    trust::FraudFlag,
};
use crate::{
    card::{Card, CardStatus},
    ids::OrderKey,
    order_event::CancelledBy,
    qr::Step,
    time::{Day, Timestamp},
};

/// Days that a burn is kept for returns: an order is returned for at most 400 days after it ended, and may have been
/// open for as long before.
const BURN_KEPT_DAYS: i64 = 800;

/// Days in which uses that were given back count against giving back more.
const RETURNS_COUNTED_DAYS: i64 = 31;

pub(super) fn apply(state: &mut State, event: &Event, seq: u64) {
    match event {
        Event::CardIssued { .. } | Event::CardChanged { .. } => card(state, event),
        Event::Entry(_)
        | Event::Pending(_)
        | Event::PendingEnded { .. }
        | Event::UnderReview(_)
        | Event::ReviewEnded { .. }
        | Event::Debt { .. }
        | Event::ExpiredCounted { .. }
        | Event::VoidedCounted { .. }
        | Event::LotRevived { .. } => ledger(state, event),
        Event::BurnReturned { .. } | Event::Burned { .. } => burn(state, event),
        Event::Counted { day, operations, earned, burned } => counted(state, *day, (*operations, *earned), *burned),
        Event::Held(_) | Event::HoldEnded { .. } => hold(state, event),
        Event::OrderPlaced { .. }
        | Event::OrderWeighed { .. }
        | Event::CompletionKept { .. }
        | Event::ReturnKept { .. } => open_order(state, event),
        Event::Book(_)
        | Event::UsesCounted { .. }
        | Event::CaptureCounted { .. }
        | Event::Sold { .. }
        | Event::SaleEnded { .. }
        | Event::SegmentsChanged { .. } => marketing(state, event, seq),
        Event::OrderForgotten { order } => state.open_orders.retain(|open| open.order != *order),
        Event::OrderCompleted { decided, record } => completed(state, *decided, record, seq),
        Event::OrderAmended { decided, record } => amended(state, *decided, record, seq),
        Event::OrderCancelled { order, at, decided, by, after_picking } => {
            let counts = *by == CancelledBy::Customer && *after_picking;
            let kind = if counts { FactKind::CancelledAfterPicking } else { FactKind::Cancelled };
            end_order(state, order, Fact::new(order.fingerprint(), *at, 0, seq, kind), *decided);
        }
        Event::AdjustmentAsked { approval_id, points, reason, by, .. } => state.rare_mut().approvals.push(Approval {
            approval_id: approval_id.clone(),
            points: *points,
            reason: reason.clone(),
            by: by.clone(),
        }),
        Event::AdjustmentDecided { view, .. } => {
            state.rare_mut().approvals.retain(|a| a.approval_id != view.approval_id);
            state.tidy();
        }
        Event::FlagRaised { .. } | Event::FlagDecided { .. } => flag(state, event),
        Event::Trust { at, score, .. } => {
            state.standing.score = *score;
            // The midnights up to this one are done: walked again, they would announce their old scores again.
            state.standing.updated = state.standing.updated.max(*at);
        }
        Event::Signal { .. } => {}
        Event::FactsAged { before, tier, old } => {
            state.facts.age(*before, (*tier, *old));
            // What belongs to orders that can no longer be returned.
            state.ledger.burns.retain(|burn| burn.at >= *before);
            let facts = &state.facts;
            state.ledger.voided.retain(|(key, _)| facts.find(*key).is_some());
            if state.marketing().is_some() {
                let marketing = &mut state.rare_mut().marketing;
                marketing.sales.retain(|sale| sale.at >= *before);
                marketing.captured.retain(|(_, at)| at >= before);
                state.tidy();
            }
        }
    }
}

fn marketing(state: &mut State, event: &Event, seq: u64) {
    let marketing = &mut state.rare_mut().marketing;
    match event {
        Event::Book(event) => marketing.book.apply(event),
        Event::UsesCounted { more, less } => {
            more.iter().for_each(|one| marketing.count(one));
            less.iter().for_each(|one| marketing.uncount(one));
        }
        Event::CaptureCounted { key, at } => marketing.note_captured(*key, *at),
        Event::Sold { order, at, .. } => {
            // Orders that old are not returned any more.
            marketing.sales.retain(|sale| at.micros_since(sale.at) < BURN_KEPT_DAYS * Timestamp::DAY);
            marketing.sales.push(Sale { key: order.fingerprint(), at: *at, seq });
        }
        Event::SaleEnded { key, returned, at, .. } => {
            marketing.sales.retain(|sale| sale.key != *key);
            marketing.returned.retain(|(_, then)| at.micros_since(*then) < RETURNS_COUNTED_DAYS * Timestamp::DAY);
            marketing.returned.extend(returned.iter().map(|id| (id.clone(), *at)));
        }
        Event::SegmentsChanged { joined, left, .. } => {
            marketing.segments.retain(|segment| !left.contains(segment));
            marketing.segments.extend(joined.iter().cloned());
            marketing.segments.sort_unstable();
            marketing.segments.dedup();
        }
        _ => {}
    }
    state.tidy();
}

fn card(state: &mut State, event: &Event) {
    match event {
        Event::CardIssued { barcode, since, at } => {
            state.card = Some(Box::new(Card {
                barcode: *barcode,
                status: CardStatus::Active,
                reason: None,
                issued_at: *at,
                since: *since,
                burns_from: None,
            }));
        }
        Event::CardChanged { change, reason, barcodes, burns_from, .. } => {
            let Some(card) = state.card.as_mut() else { return };
            match change {
                CardChange::Block => (card.status, card.reason) = (CardStatus::Blocked, Some(reason.clone())),
                CardChange::Unblock => (card.status, card.reason) = (CardStatus::Active, None),
                CardChange::Close => (card.status, card.reason) = (CardStatus::Closed, Some(reason.clone())),
                CardChange::Reissue => {
                    if let Some((_, new)) = barcodes {
                        card.barcode = *new;
                    }
                    card.burns_from = *burns_from;
                }
            }
        }
        _ => {}
    }
}

fn ledger(state: &mut State, event: &Event) {
    let ledger = &mut state.ledger;
    match event {
        Event::Entry(entry) => ledger.enter(entry),
        Event::Pending(pending) => ledger.pending.push(pending.clone()),
        Event::PendingEnded { order, points, source } => {
            ledger.pending.change(
                |pending| pending.order == *order && pending.source == *source,
                |pending| {
                    pending.points -= points;
                    pending.points > 0
                },
            );
        }
        Event::UnderReview(review) => {
            ledger.entries += 1;
            ledger.reviews.push(review.clone());
        }
        Event::ReviewEnded { entry, points, end, .. } => {
            let voided = &mut ledger.voided;
            ledger.reviews.change(
                |review| review.entry == *entry,
                |review| {
                    review.points -= points;
                    if matches!(end, super::event::ReviewEnd::Voided { .. }) {
                        voided.push((review.order.fingerprint(), *points));
                    }
                    review.points > 0
                },
            );
        }
        Event::Debt { points, .. } => ledger.debt = ledger.debt.saturating_add(*points),
        Event::ExpiredCounted { day, points } => ledger.note_expired(*day, -points),
        Event::VoidedCounted { key, points } => {
            for voided in ledger.voided.iter_mut().filter(|(order, _)| order == key) {
                voided.1 -= points;
            }
            ledger.voided.retain(|(_, points)| *points > 0);
        }
        Event::LotRevived { expired, until } => ledger.revived.push((*expired, *until)),
        _ => {}
    }
}

fn burn(state: &mut State, event: &Event) {
    let burns = &mut state.ledger.burns;
    match event {
        Event::BurnReturned { key, points, .. } => {
            if let Some(burn) = burns.iter_mut().find(|burn| burn.key == *key) {
                burn.given_back += points;
            }
        }
        Event::Burned { key, at, spent } => {
            // Orders that old are not returned any more, and a burn is at most a hold's life before its order.
            burns.retain(|burn| at.micros_since(burn.at) < BURN_KEPT_DAYS * Timestamp::DAY);
            let points: i64 = spent.iter().map(|part| part.points).sum();
            match burns.iter_mut().find(|burn| burn.key == *key) {
                Some(burn) => {
                    burn.points += points;
                    burn.spent.extend(spent);
                }
                None => burns.push(Burn { key: *key, at: *at, points, given_back: 0, spent: spent.clone() }),
            }
        }
        _ => {}
    }
}

/// A day's limits begin anew with its first count.
fn counted(state: &mut State, day: Day, (operations, earned): (i64, i64), burned: i64) {
    let counters = &mut state.counters;
    if operations != 0 || earned != 0 {
        if day != counters.earn_day {
            (counters.earn_day, counters.operations, counters.earned) = (day, 0, 0);
        }
        counters.operations += operations;
        counters.earned = counters.earned.saturating_add(earned);
    }
    if burned != 0 {
        if day != counters.burn_day {
            (counters.burn_day, counters.burned) = (day, 0);
        }
        counters.burned = counters.burned.saturating_add(burned);
    }
}

fn hold(state: &mut State, event: &Event) {
    match event {
        Event::Held(hold) => {
            for part in &hold.parts {
                state.ledger.move_lot(super::ledger::LotPart { points: -part.points, ..*part });
            }
            state.holds.push((**hold).clone());
        }
        Event::HoldEnded { hold_id, end, at, back, .. } => {
            for part in back {
                state.ledger.move_lot(*part);
            }
            if let Some(i) = state.holds.iter().position(|hold| hold.hold_id == *hold_id) {
                if *end == HoldEnd::Expired {
                    state.holds[i].expired = true;
                    state.holds[i].parts.clear();
                } else {
                    let hold = state.holds.remove(i);
                    if let (HoldEnd::Captured { .. }, Some(step)) = (end, hold.step) {
                        // A pay scan lives ten minutes; an hour outlasts every clock that we accept. A hold that can
                        // still be captured late keeps its step known.
                        let holds = &state.holds;
                        let held = |step: &Step| holds.iter().any(|hold| hold.step == Some(*step));
                        state.used_steps.retain(|(step, until)| until > at || held(step));
                        state.used_steps.push((step, at.plus_seconds(3600)));
                    }
                }
            }
            if state.holds.is_empty() {
                state.holds.shrink_to_fit();
            }
        }
        _ => {}
    }
}

/// The order of a captured hold has come: it is counted as an order.
fn forget_captured(state: &mut State, order: &OrderKey) {
    if state.marketing().is_some_and(|marketing| !marketing.captured.is_empty()) {
        let key = order.fingerprint();
        let captured = &mut state.rare_mut().marketing.captured;
        captured.retain(|(known, _)| *known != key);
        if captured.is_empty() {
            *captured = Vec::new();
        }
        state.tidy();
    }
}

fn open_order(state: &mut State, event: &Event) {
    match event {
        Event::OrderPlaced { order, placed, .. } => entry_of(state, order).placed = Some(placed.clone()),
        Event::OrderWeighed { order, at, lines } => {
            let open = entry_of(state, order);
            for (id, grams) in lines {
                match open.weighed.iter_mut().find(|(known, _)| known == id) {
                    Some(known) => known.1 = *grams,
                    None => open.weighed.push((id.clone(), *grams)),
                }
            }
            open.weighed_at = Some(open.weighed_at.map_or(*at, |before| before.max(*at)));
        }
        Event::CompletionKept { order, at, paid_minor } => entry_of(state, order).completed = Some((*at, *paid_minor)),
        Event::ReturnKept { order, kept } => entry_of(state, order).returns.push(kept.clone()),
        _ => {}
    }
}

fn entry_of<'a>(state: &'a mut State, order: &OrderKey) -> &'a mut OpenOrder {
    let i = match state.open_orders.iter().position(|open| open.order == *order) {
        Some(i) => i,
        None => {
            forget_captured(state, order);
            state.open_orders.push(OpenOrder::new(order.clone()));
            state.open_orders.len() - 1
        }
    };
    &mut state.open_orders[i]
}

fn completed(state: &mut State, decided: Timestamp, record: &Record, seq: u64) {
    let fact = Fact::new(record.order.fingerprint(), record.at, record.paid_minor, seq, FactKind::Completed);
    end_order(state, &record.order, fact, decided);
    state.standing.completed_orders += 1;
}

fn end_order(state: &mut State, order: &OrderKey, fact: Fact, decided: Timestamp) {
    state.open_orders.retain(|open| open.order != *order);
    forget_captured(state, order);
    if state.open_orders.is_empty() {
        state.open_orders.shrink_to_fit();
    }
    state.facts.insert(fact);
    state.standing.total_orders += 1;
    touch(state, decided);
}

fn amended(state: &mut State, decided: Timestamp, record: &Record, seq: u64) {
    state.facts.amend(record.order.fingerprint(), record.paid_minor - record.refunded(), seq);
    touch(state, decided);
}

fn touch(state: &mut State, decided: Timestamp) {
    state.fact_time = state.fact_time.max(decided);
    // A late event can be decided before a flag that was set at the clock.
    state.standing.updated = state.standing.updated.max(decided);
}

fn flag(state: &mut State, event: &Event) {
    let standing = &mut state.standing;
    match event {
        Event::FlagRaised { flag, at, .. } => {
            standing.flags.push(FraudFlag { flag: flag.clone(), raised_at: *at, confirmed_at: None });
            standing.updated = *at;
        }
        Event::FlagDecided { flag, confirmed, at, .. } => {
            if *confirmed {
                for known in standing.flags.iter_mut().filter(|known| known.flag == *flag) {
                    known.confirmed_at.get_or_insert(*at);
                }
            } else {
                standing.flags.retain(|known| known.flag != *flag || known.confirmed_at.is_some());
            }
            standing.updated = *at;
        }
        _ => {}
    }
}
