//! Order events: once, twice, late, in any order. Each keeps what it says, and takes effect when what it needs is there.

use super::{
    Command, Event, Reply, State,
    draft::Draft,
    earn,
    facts::FactKind,
    order::{KeptReturn, OpenOrder, OrderLine, Placed, Record},
    read::{Cause, SignalKind},
    returns, sales, settle,
};
use crate::{
    checkout::LineQuantity,
    errors::{Code, Refusal},
    ids::OrderKey,
    line::{Line, Unit, check_lines},
    order_event::{CancelledBy, ChargedBy, DeliveredLine, Fault, OrderEvent, OrderFact},
    time::Timestamp,
};

/// Ended orders of one customer that are remembered: 20 MB. They leave after two years.
const MAX_ENDED: usize = 1_000_000;

/// Earnings of one customer that wait for support.
const MAX_REVIEWS: usize = 500;

/// Returns of one order, kept and booked.
const MAX_RETURNS: usize = 100;

/// Lines of all returns kept for one order, and of all weights that came before it was placed.
const MAX_KEPT_LINES: usize = 1000;

/// The rows of an ended order's record, and of the sales that offers were part of, where the command needs them.
pub(super) fn recalls(state: &State, command: &Command) -> Vec<u64> {
    let (key, cancelled) = match command {
        Command::Order(event) => (event.order.fingerprint(), matches!(event.fact, OrderFact::Cancelled { .. })),
        // A release tells the order's record which lot its cashback went into.
        Command::DecideReview { entry, release: true, .. } => {
            match state.ledger.reviews.iter().find(|review| review.entry == *entry) {
                Some(review) => (review.order.fingerprint(), false),
                None => return Vec::new(),
            }
        }
        // Of an order that was completed before: the capture brings it the points of its offers, and if it came back whole
        // since, what it takes goes back at once.
        Command::Capture { hold_id, order_id, .. } => {
            let Some(hold) = state.holds.iter().find(|hold| hold.hold_id == *hold_id) else { return Vec::new() };
            let key = OrderKey { shop_id: hold.cart.shop_id.clone(), order_id: order_id.clone() }.fingerprint();
            match state.fact(key) {
                Some(_) => (key, false),
                None => return Vec::new(),
            }
        }
        _ => return Vec::new(),
    };
    let record = state.fact(key).filter(|fact| fact.kind() == FactKind::Completed && !cancelled);
    let sales = state.marketing().map_or(&[][..], |marketing| &marketing.sales);
    let mut rows: Vec<u64> = sales.iter().filter(|sale| sale.key == key).map(|sale| sale.seq).collect();
    rows.extend(record.map(|fact| fact.seq()));
    rows.sort_unstable();
    rows.dedup();
    rows
}

pub(super) fn take(draft: &mut Draft<'_>, event: &OrderEvent) -> Result<Reply, Refusal> {
    event.check(&draft.context.policy, draft.now)?;
    let key = event.order.fingerprint();
    let ended = draft.state.fact(key).map(|fact| (fact.kind(), fact.seq()));
    not_forgotten(draft, event)?;
    let before = draft.events.len();
    let mut refund = None;
    forget_open(draft);
    if ended.is_none() {
        has_room(draft, &event.order)?;
    }
    match (&event.fact, ended) {
        (OrderFact::Placed { lines, charged_by, link_keys, .. }, None) => {
            place(draft, event, lines, *charged_by, link_keys)?;
        }
        (OrderFact::Placed { lines, charged_by, .. }, Some((FactKind::Completed, seq))) => {
            let record = draft.record(key, seq)?;
            same_lines(draft, &record, lines, *charged_by)?;
        }
        // Nothing can come of an order that was cancelled before it was heard of; the event is taken all the same.
        (OrderFact::Placed { .. }, Some(_)) => return Ok(Reply::Order { changed: true, refund: None }),
        (OrderFact::Weighed { lines }, None) => weigh_open(draft, event, lines)?,
        (OrderFact::Weighed { lines }, Some((FactKind::Completed, seq))) => {
            let record = draft.record(key, seq)?;
            weigh_ended(draft, record, event.at, lines)?;
        }
        (OrderFact::Completed { paid_minor }, None) => complete(draft, event, *paid_minor)?,
        (OrderFact::Completed { paid_minor }, Some((FactKind::Completed, seq))) => {
            same_paid(&event.order, draft.record(key, seq)?.paid_minor, *paid_minor)?;
        }
        (OrderFact::Cancelled { by, after_picking }, None) => cancel(draft, event, *by, *after_picking)?,
        (OrderFact::Cancelled { .. }, Some((FactKind::Cancelled | FactKind::CancelledAfterPicking, _))) => {}
        (OrderFact::Returned { lines, refund_minor, fault }, None) => {
            keep_return(draft, event, kept_return(event, lines, *refund_minor, *fault))?;
        }
        (OrderFact::Returned { lines, refund_minor, fault }, Some((FactKind::Completed, seq))) => {
            let record = draft.record(key, seq)?;
            let kept = kept_return(event, lines, *refund_minor, *fault);
            if record.returns.contains(&kept.event) {
                return Ok(Reply::Order { changed: false, refund: None });
            }
            if record.returns.len() >= MAX_RETURNS {
                return Err(Refusal::new(Code::TooManyOpen, format!("an order takes at most {MAX_RETURNS} returns")));
            }
            let decided = decided(draft, event.at);
            settle::settle(draft, decided);
            refund = Some(Box::new(returns::take_back(draft, record, &kept, decided)?));
        }
        (OrderFact::Cancelled { .. }, Some((FactKind::Completed, _))) => {
            return Err(Refusal::new(Code::OrderEnded, format!("order {} was completed", event.order)));
        }
        (_, Some(_)) => {
            return Err(Refusal::new(Code::OrderCancelled, format!("order {} was cancelled", event.order)));
        }
    }
    if !draft.context.earn && draft.events[before..].iter().any(is_earning) {
        let detail =
            format!("loyalty.earn is off, and order {} earns: send the event again when it is on", event.order);
        return Err(Refusal::new(Code::FeatureDisabled, detail));
    }
    let under_review = draft.events[before..].iter().any(|event| matches!(event, Event::UnderReview(_)));
    if under_review && draft.state.ledger.reviews.len() > MAX_REVIEWS {
        let detail =
            format!("{MAX_REVIEWS} earnings are under review already: send the event again when some are decided");
        return Err(Refusal::new(Code::TooManyOpen, detail));
    }
    let changed = draft.events.len() > before;
    if changed {
        settle::age(draft);
    }
    Ok(Reply::Order { changed, refund })
}

/// Whether the customer can have one more order, if this is a new one.
fn has_room(draft: &Draft<'_>, order: &OrderKey) -> Result<(), Refusal> {
    let refuse = |what: String| Err(Refusal::new(Code::TooManyOpen, what));
    let most = draft.context.policy.orders.max_open;
    if draft.state.facts.len() >= MAX_ENDED {
        return refuse(format!("the customer has {MAX_ENDED} orders already"));
    }
    if draft.state.open_orders.len() >= most && open(draft, order).is_none() {
        return refuse(format!("the customer has {most} open orders already"));
    }
    Ok(())
}

/// Whether an order earns by this event: not by one that merely brings what an earlier order earned.
fn is_earning(event: &Event) -> bool {
    match event {
        Event::Pending(_) | Event::UnderReview(_) => true,
        Event::Entry(entry) => entry.cause == Cause::UnderweightCompensation,
        _ => false,
    }
}

/// An ended order is remembered for 400 days by the clock. Its fact stays longer, because tiers count it; were events
/// about it taken until then, they would be refused or not as memory happens to be freed. The same goes for one whose
/// completion has waited that long for `placed`: the tiers since then stand.
fn not_forgotten(draft: &Draft<'_>, event: &OrderEvent) -> Result<(), Refusal> {
    let days = draft.context.policy.orders.remembered_days;
    let oldest = draft.now.0.saturating_sub(i64::from(days) * Timestamp::DAY);
    let ended = draft.state.fact(event.order.fingerprint()).map(super::facts::Fact::at);
    let waiting = open(draft, &event.order).and_then(|open| open.completed).map(|(at, _)| at);
    match ended.or(waiting) {
        Some(at) if at.0 < oldest => {
            Err(Refusal::new(Code::EventTooOld, format!("order {} ended more than {days} days ago", event.order)))
        }
        _ => Ok(()),
    }
}

/// Open orders of which nothing was heard for 400 days are let go, and said: they would fill the customer's room for
/// good.
fn forget_open(draft: &mut Draft<'_>) {
    let oldest = draft.now.0.saturating_sub(i64::from(draft.context.policy.orders.remembered_days) * Timestamp::DAY);
    let stale: Vec<OrderKey> = draft
        .state
        .open_orders
        .iter()
        .filter(|open| open.last_heard().0 < oldest)
        .map(|open| open.order.clone())
        .collect();
    for order in stale {
        let detail = "the order never ended, and is forgotten";
        draft.signal(SignalKind::KeptEventRefused, draft.now, Some(&order.shop_id), Some(&order), detail);
        draft.emit(Event::OrderForgotten { order });
    }
}

/// A late event is decided at its own time, or at the latest fact's before it if that is later.
fn decided(draft: &Draft<'_>, at: Timestamp) -> Timestamp {
    at.max(draft.state.fact_time)
}

fn open(draft: &Draft<'_>, order: &OrderKey) -> Option<OpenOrder> {
    draft.state.open_orders.iter().find(|open| open.order == *order).cloned()
}

fn place(
    draft: &mut Draft<'_>,
    event: &OrderEvent,
    lines: &[Line],
    charged_by: ChargedBy,
    link_keys: &[String],
) -> Result<(), Refusal> {
    let placed = Placed { at: event.at, lines: order_lines(draft, lines)?, charged_by };
    if let Some(known) = open(draft, &event.order).and_then(|open| open.placed) {
        return if known.lines == placed.lines && known.charged_by == placed.charged_by {
            Ok(())
        } else {
            Err(placed_otherwise(&event.order))
        };
    }
    draft.emit(Event::OrderPlaced { order: event.order.clone(), placed, link_keys: link_keys.to_vec() });
    drop_bad_weights(draft, &event.order);
    let completed = open(draft, &event.order).and_then(|open| open.completed);
    if let Some((at, paid_minor)) = completed {
        finish(draft, &event.order, at, paid_minor);
    }
    Ok(())
}

fn placed_otherwise(order: &OrderKey) -> Refusal {
    Refusal::new(Code::OrderPlacedOtherwise, format!("lines: order {order} was placed with other lines"))
}

fn order_lines(draft: &Draft<'_>, lines: &[Line]) -> Result<Vec<OrderLine>, Refusal> {
    let policy = &draft.context.policy;
    let totals = check_lines(lines, policy.checkout.max_lines)?;
    let mut lines: Vec<OrderLine> = lines
        .iter()
        .zip(totals)
        .map(|(line, total)| OrderLine {
            line_id: line.line_id.clone(),
            quantity: line.quantity,
            unit: line.unit,
            total_minor: total.0,
            restricted: line.is_restricted(&policy.restricted),
        })
        .collect();
    lines.sort_by(|a, b| a.line_id.cmp(&b.line_id));
    Ok(lines)
}

/// `placed` again, after the order was completed: the same lines say nothing new.
fn same_lines(draft: &Draft<'_>, record: &Record, lines: &[Line], charged_by: ChargedBy) -> Result<(), Refusal> {
    let lines = order_lines(draft, lines)?;
    // What was restricted then is not asked again: the policy may have changed since.
    let same = lines.len() == record.lines.len()
        && charged_by == record.charged_by
        && lines.iter().zip(&record.lines).all(|(new, known)| {
            let known = &known.line;
            new.line_id == known.line_id
                && new.quantity == known.quantity
                && new.unit == known.unit
                && new.total_minor == known.total_minor
        });
    if same { Ok(()) } else { Err(placed_otherwise(&record.order)) }
}

fn weigh_open(draft: &mut Draft<'_>, event: &OrderEvent, lines: &[DeliveredLine]) -> Result<(), Refusal> {
    let open = open(draft, &event.order);
    if let Some(placed) = open.as_ref().and_then(|open| open.placed.as_ref()) {
        for (i, line) in lines.iter().enumerate() {
            check_weighed(&placed.lines, i, line)?;
        }
    }
    let lines: Vec<_> = lines.iter().map(|line| (line.line_id.clone(), line.delivered_g)).collect();
    let known = open.as_ref().map_or(&[][..], |open| &open.weighed);
    if !known.is_empty() && lines.iter().all(|line| known.contains(line)) {
        return Ok(());
    }
    let new = lines.iter().filter(|(id, _)| !known.iter().any(|(known, _)| known == id)).count();
    if known.len() + new > MAX_KEPT_LINES {
        let detail = format!("lines: weights of at most {MAX_KEPT_LINES} lines are kept for an order");
        return Err(Refusal::new(Code::TooManyLines, detail));
    }
    draft.emit(Event::OrderWeighed { order: event.order.clone(), at: event.at, lines });
    Ok(())
}

fn check_weighed(known: &[OrderLine], i: usize, line: &DeliveredLine) -> Result<(), Refusal> {
    match known.iter().find(|known| known.line_id == line.line_id) {
        None => {
            let detail = format!("lines[{i}].line_id: the order has no line {}", line.line_id);
            Err(Refusal::new(Code::LineUnknown, detail))
        }
        Some(known) if known.unit != Unit::Gram => {
            Err(Refusal::new(Code::InvalidField, format!("lines[{i}].line_id: {} is not sold by weight", line.line_id)))
        }
        Some(_) => Ok(()),
    }
}

/// Weights that came before `placed` and turn out to be of no line sold by weight are left out, and said.
fn drop_bad_weights(draft: &mut Draft<'_>, order: &OrderKey) {
    let Some(open) = open(draft, order) else { return };
    let Some(placed) = &open.placed else { return };
    let bad = open.weighed.iter().any(|(id, delivered_g)| {
        check_weighed(&placed.lines, 0, &DeliveredLine { line_id: id.clone(), delivered_g: *delivered_g }).is_err()
    });
    if bad {
        let detail = "a weight that came before the order names a line that is not sold by weight";
        draft.signal(SignalKind::KeptEventRefused, draft.now, Some(&order.shop_id), Some(order), detail);
    }
}

/// Weights that come after the completion: compensated now, once, dated by the later of both.
fn weigh_ended(
    draft: &mut Draft<'_>,
    mut record: Record,
    at: Timestamp,
    lines: &[DeliveredLine],
) -> Result<(), Refusal> {
    let known: Vec<OrderLine> = record.lines.iter().map(|line| line.line.clone()).collect();
    for (i, line) in lines.iter().enumerate() {
        check_weighed(&known, i, line)?;
    }
    let decided = decided(draft, at.max(record.at));
    settle::settle(draft, decided);
    let before = record.clone();
    for line in lines {
        let Some(i) = record.line(&line.line_id) else { continue };
        // Once compensation is booked, or goods came back, the weight stands. Said again, it says nothing new.
        let known = &record.lines[i];
        let again = known.delivered_g == Some(line.delivered_g);
        if again || known.compensated.is_some() || known.returned > line.delivered_g {
            continue;
        }
        record.lines[i].delivered_g = Some(line.delivered_g);
        if record.with_card && draft.earns() {
            earn::compensate(draft, &mut record, i, decided);
        }
    }
    if record != before {
        draft.emit(Event::OrderAmended { decided, record: Box::new(record) });
    }
    Ok(())
}

fn complete(draft: &mut Draft<'_>, event: &OrderEvent, paid_minor: i64) -> Result<(), Refusal> {
    let open = open(draft, &event.order);
    if let Some((_, known)) = open.as_ref().and_then(|open| open.completed) {
        return same_paid(&event.order, known, paid_minor);
    }
    if open.is_some_and(|open| open.placed.is_some()) {
        finish(draft, &event.order, event.at, paid_minor);
    } else {
        draft.emit(Event::CompletionKept { order: event.order.clone(), at: event.at, paid_minor });
    }
    Ok(())
}

/// `completed` again: the same money says nothing new; the first one that arrived stands.
fn same_paid(order: &OrderKey, known: i64, paid_minor: i64) -> Result<(), Refusal> {
    if known == paid_minor {
        return Ok(());
    }
    let detail = format!("paid_minor: order {order} was completed with {known} paid, not {paid_minor}");
    Err(Refusal::new(Code::OrderEnded, detail))
}

/// Completes an order whose lines are known, then books the returns that waited for it.
fn finish(draft: &mut Draft<'_>, order: &OrderKey, at: Timestamp, paid_minor: i64) {
    let Some(mut open) = open(draft, order) else { return };
    let Some(placed) = open.placed.clone() else { return };
    let time = decided(draft, at);
    settle::settle(draft, time);
    // Weighed after the completion: dated by the later of both, whichever arrived first.
    let later = open.weighed_at.filter(|weighed_at| *weighed_at > at);
    let weights = if later.is_some() { std::mem::take(&mut open.weighed) } else { Vec::new() };
    earn::complete(draft, &open, &placed, at, time, paid_minor);
    if let Some(weighed_at) = later {
        weigh_kept(draft, &placed, order, weighed_at, &weights);
    }
    for kept in &open.returns {
        let time = decided(draft, kept.at);
        settle::settle(draft, time);
        let result = draft
            .record(order.fingerprint(), draft.seq)
            .and_then(|record| returns::take_back(draft, record, kept, time).map(drop));
        if let Err(refusal) = result {
            draft.signal(SignalKind::KeptEventRefused, time, Some(&order.shop_id), Some(order), &refusal.to_string());
        }
    }
}

/// Weights that arrived before the completion and are of a later time.
fn weigh_kept(
    draft: &mut Draft<'_>,
    placed: &Placed,
    order: &OrderKey,
    at: Timestamp,
    weights: &[(crate::ids::LineId, i64)],
) {
    let lines: Vec<DeliveredLine> = weights
        .iter()
        .map(|(id, delivered_g)| DeliveredLine { line_id: id.clone(), delivered_g: *delivered_g })
        .filter(|line| check_weighed(&placed.lines, 0, line).is_ok())
        .collect();
    let result = draft.record(order.fingerprint(), draft.seq).and_then(|record| weigh_ended(draft, record, at, &lines));
    if let Err(refusal) = result {
        draft.signal(SignalKind::KeptEventRefused, at, Some(&order.shop_id), Some(order), &refusal.to_string());
    }
}

fn cancel(draft: &mut Draft<'_>, event: &OrderEvent, by: CancelledBy, after_picking: bool) -> Result<(), Refusal> {
    if open(draft, &event.order).is_some_and(|open| open.completed.is_some()) {
        return Err(Refusal::new(Code::OrderEnded, format!("order {} was completed", event.order)));
    }
    let time = decided(draft, event.at);
    settle::settle(draft, time);
    returns::give_all_back(draft, &event.order, time);
    // Who lets a picked order go has used its offers.
    if !(by == CancelledBy::Customer && after_picking) {
        sales::give_back(draft, &event.order, time)?;
    }
    let order = event.order.clone();
    draft.emit(Event::OrderCancelled { order, at: event.at, decided: time, by, after_picking });
    draft.announce_trust(time, &format!("order {} cancelled", event.order));
    Ok(())
}

fn keep_return(draft: &mut Draft<'_>, event: &OrderEvent, kept: KeptReturn) -> Result<(), Refusal> {
    let open = open(draft, &event.order);
    let lines = &kept.lines;
    let earlier = open.as_ref().map_or(&[][..], |open| &open.returns);
    if earlier.iter().any(|known| known.event == kept.event) {
        return Ok(());
    }
    if let Some(placed) = open.as_ref().and_then(|open| open.placed.as_ref()) {
        check_kept(placed, earlier, lines)?;
    }
    let waiting: usize = earlier.iter().map(|known| known.lines.len()).sum();
    if earlier.len() >= MAX_RETURNS || waiting + lines.len() > MAX_KEPT_LINES {
        let detail = format!("at most {MAX_RETURNS} returns of {MAX_KEPT_LINES} lines wait for an order's completion");
        return Err(Refusal::new(Code::TooManyOpen, detail));
    }
    draft.emit(Event::ReturnKept { order: event.order.clone(), kept });
    Ok(())
}

fn kept_return(event: &OrderEvent, lines: &[LineQuantity], refund_minor: Option<i64>, fault: Fault) -> KeptReturn {
    KeptReturn {
        event: event.event_id.fingerprint(),
        at: event.at,
        lines: lines.to_vec(),
        refund_minor,
        by_shop: fault == Fault::Shop,
    }
}

/// A return before the completion, of an order whose lines are known: more than was ordered is refused at once.
fn check_kept(placed: &Placed, earlier: &[KeptReturn], lines: &[LineQuantity]) -> Result<(), Refusal> {
    for (i, wanted) in lines.iter().enumerate() {
        let Some(line) = placed.lines.iter().find(|line| line.line_id == wanted.line_id) else {
            let detail = format!("lines[{i}].line_id: the order has no line {}", wanted.line_id);
            return Err(Refusal::new(Code::LineUnknown, detail));
        };
        let returned: i64 = earlier
            .iter()
            .flat_map(|kept| &kept.lines)
            .filter(|l| l.line_id == wanted.line_id)
            .map(|l| l.quantity)
            .sum();
        // A weighed line may weigh more than was ordered: what was delivered is known at the completion.
        if line.unit == Unit::Piece && returned + wanted.quantity > line.quantity {
            let left = line.quantity - returned;
            let detail = format!("lines[{i}].quantity: {} returned, {left} left", wanted.quantity);
            return Err(Refusal::new(Code::ReturnTooLarge, detail).with_max(left));
        }
    }
    Ok(())
}
