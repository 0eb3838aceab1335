//! Earning: cashback and underweight compensation when an order is completed, and what support decides on earnings that
//! passed a day's limit.

use super::{
    Event, Reply, cards,
    draft::Draft,
    event::ReviewEnd,
    facts::{Fact, FactKind},
    ledger::{EarnedBy, Pending, UnderReview},
    order::{Bonus, OpenOrder, Placed, Record, RecordLine},
    read::{Cause, SignalKind},
    returns, sales, settle,
    tier::AsOf,
    trust::scaled,
};
use crate::{
    amounts::{MINOR_PER_POINT, share_out},
    checkout::cashback,
    errors::{Code, Refusal},
    ids::{Actor, EntryId, LineId, OrderKey},
    line::Unit,
    order_event::ChargedBy,
    time::{Day, Timestamp},
};

/// Completes an order at its own time `at`, decided at `decided`: its points, its compensations, its fact.
pub(super) fn complete(
    draft: &mut Draft<'_>,
    open: &OpenOrder,
    placed: &Placed,
    at: Timestamp,
    decided: Timestamp,
    paid_minor: i64,
) {
    let mut record = record(draft, open, placed, at, paid_minor);
    if record.with_card {
        let as_of = AsOf { at, without: Some(record.order.fingerprint()) };
        record.rate_permyriad = draft.rate_permyriad(draft.tier(as_of).tier);
        record.cashback = cashback(record.money().1, record.rate_permyriad);
        record.expires = draft.day(decided).plus(1 + draft.context.policy.loyalty.lot_days);
        book_cashback(draft, &record, as_of, decided);
        book_bonuses(draft, &mut record, decided);
        for i in 0..record.lines.len() {
            compensate(draft, &mut record, i, decided);
        }
    }
    let cause = format!("order {} completed", record.order);
    draft.emit(Event::OrderCompleted { decided, record: Box::new(record) });
    draft.announce_trust(decided, &cause);
}

fn record(draft: &Draft<'_>, open: &OpenOrder, placed: &Placed, at: Timestamp, paid_minor: i64) -> Record {
    let totals: Vec<i64> = placed.lines.iter().map(|line| line.total_minor).collect();
    let lines = placed
        .lines
        .iter()
        .zip(share_out(paid_minor, &totals))
        .map(|(line, money_minor)| RecordLine {
            money_minor,
            delivered_g: delivered(&open.weighed, &line.line_id).filter(|_| line.unit == Unit::Gram),
            line: line.clone(),
            compensated: None,
            returned: 0,
            refunded_minor: 0,
        })
        .collect();
    Record {
        order: open.order.clone(),
        at,
        paid_minor,
        charged_by: placed.charged_by,
        with_card: draft.earns(),
        rate_permyriad: 0,
        cashback: 0,
        expires: draft.day(at),
        returns: Vec::new(),
        clawed_back: 0,
        lines,
        bonuses: Vec::new(),
    }
}

fn delivered(weighed: &[(LineId, i64)], id: &LineId) -> Option<i64> {
    weighed.iter().find(|(known, _)| known == id).map(|(_, grams)| *grams)
}

/// Cashback becomes pending, or goes under review whole where a limit of the day would be passed.
fn book_cashback(draft: &mut Draft<'_>, record: &Record, as_of: AsOf, decided: Timestamp) {
    if record.cashback == 0 {
        return;
    }
    let points = record.cashback;
    let day = draft.day(decided);
    let band = draft.limit_band(as_of);
    let limits = &draft.context.policy.limits;
    let (most_operations, most_points) = (scaled(limits.cashback_operations, band), scaled(limits.points_earned, band));
    let counters = draft.state.counters;
    let (operations, earned) = if counters.earn_day == day { (counters.operations, counters.earned) } else { (0, 0) };
    let passed = if operations + 1 > most_operations {
        Some(("cashback_operations", most_operations))
    } else if earned.saturating_add(points) > most_points {
        Some(("points_earned", most_points))
    } else {
        None
    };
    let order = &record.order;
    if let Some((limit, most)) = passed {
        let entry = draft.next_entry_id();
        let limit_name = limit.into();
        let detail =
            format!("{points} points of order {order} are under review: {limit} is {most} a day, entry {entry}");
        let review = UnderReview { entry, order: order.clone(), points, at: record.at, day, limit: limit_name };
        draft.emit(Event::UnderReview(review));
        draft.signal(SignalKind::EarningUnderReview, decided, Some(&order.shop_id), Some(order), &detail);
        return;
    }
    let activates = day.plus(1);
    let (order_key, expires) = (order.clone(), record.expires);
    draft.emit(Event::Pending(Pending { order: order_key, points, activates, expires, source: EarnedBy::Cashback }));
    draft.emit(Event::Counted { day, operations: 1, earned: points, burned: 0 });
    // The soft limit is half: said once, by the earning that passes it.
    if passes_half(operations, operations + 1, most_operations) {
        let detail = format!("{} cashback operations on one day, the limit is {most_operations}", operations + 1);
        draft.signal(SignalKind::CashbackOperations, decided, Some(&order.shop_id), Some(order), &detail);
    }
    if passes_half(earned, earned + points, most_points) {
        let detail = format!("{} points earned on one day, the limit is {most_points}", earned + points);
        draft.signal(SignalKind::PointsEarned, decided, Some(&order.shop_id), Some(order), &detail);
    }
}

/// What the offers of the order's captured hold give on top: active after the time in which it may be returned, and in no
/// day's limits.
fn book_bonuses(draft: &mut Draft<'_>, record: &mut Record, decided: Timestamp) {
    let loyalty = &draft.context.policy.loyalty;
    let activates = draft.day(decided).plus(loyalty.bonus_days);
    let expires = activates.plus(loyalty.lot_days);
    for (funded_by, points) in sales::bonuses(draft, record) {
        let (order, source) = (record.order.clone(), EarnedBy::Offer(funded_by));
        draft.emit(Event::Pending(Pending { order, points, activates, expires, source }));
        record.bonuses.push(Bonus { funded_by, points, expires, clawed_back: 0 });
    }
}

/// A capture that comes after its order was completed: what its offers give on top is booked now, dated by the capture. What
/// came back of the order meanwhile is off it at once. A sale is never refused for it: an order whose record cannot be
/// read gets nothing, and that is signalled.
pub(super) fn late_bonuses(draft: &mut Draft<'_>, order: &OrderKey) {
    let now = draft.now;
    // Of several carts the first one's offers count, as at a completion.
    if !sales::is_only_sale(draft, order.fingerprint()) {
        return;
    }
    let Some(mut record) = completed_record(draft, order, "bonus points of a late capture") else { return };
    let (kept, whole) = record.kept();
    if !record.with_card || !draft.earns() || record.is_all_returned() || (kept == 0 && whole > 0) {
        return;
    }
    book_bonuses(draft, &mut record, now);
    if !record.bonuses.is_empty() {
        returns::claw_bonuses_back(draft, &mut record, now);
        // Nothing of the order itself changed now: it counts as decided when the latest fact was.
        let decided = draft.state.fact_time;
        draft.emit(Event::OrderAmended { decided, record: Box::new(record) });
    }
}

/// The record of an order that was completed before its hold was captured; one that cannot be read is signalled.
pub(super) fn completed_record(draft: &mut Draft<'_>, order: &OrderKey, what: &str) -> Option<Record> {
    let (key, now) = (order.fingerprint(), draft.now);
    let seq = draft.state.fact(key).filter(|fact| fact.kind() == FactKind::Completed).map(Fact::seq)?;
    match draft.record(key, seq) {
        Ok(record) => Some(record),
        Err(refusal) => {
            let detail = format!("{what}: {refusal}");
            draft.signal(SignalKind::KeptEventRefused, now, Some(&order.shop_id), Some(order), &detail);
            None
        }
    }
}

/// Whether a step from `before` to `after` passes half of `limit`: the soft limit, said once.
pub(super) const fn passes_half(before: i64, after: i64, limit: i64) -> bool {
    before <= limit / 2 && after > limit / 2
}

/// Underweight compensation of one line, once: points at once, exempt from limits, never clawed back.
pub(super) fn compensate(draft: &mut Draft<'_>, record: &mut Record, i: usize, at: Timestamp) {
    let line = &record.lines[i];
    let (Some(delivered), Unit::Gram, None) = (line.delivered_g, line.line.unit, line.compensated) else { return };
    let ordered = line.line.quantity;
    let short = ordered - delivered;
    if record.charged_by == ChargedBy::Delivered || line.line.restricted || short <= 0 {
        return;
    }
    let loyalty = &draft.context.policy.loyalty;
    let over = |permyriad: u32| i128::from(short) * 10_000 > i128::from(ordered) * i128::from(permyriad);
    if !over(loyalty.underweight_above_permyriad) {
        return;
    }
    let order = record.order.clone();
    if delivered == 0 || over(loyalty.underweight_up_to_permyriad) {
        let detail = format!("line {}: {delivered} g of {ordered} g delivered", line.line.line_id);
        draft.signal(SignalKind::WeightOff, at, Some(&order.shop_id), Some(&order), &detail);
        return;
    }
    let (burned, given_back) =
        draft.state.ledger.burn(order.fingerprint()).map_or((0, 0), |burn| (burn.points, burn.given_back));
    let paid = line.money_minor + record.points_by_line(burned)[i];
    // All remedies for a line together never exceed what was paid for it, in money and in points.
    let left = paid - line.refunded_minor - record.points_by_line(given_back)[i];
    // Price paid per gram times the shortfall, rounded up to a point.
    let points = ceil_points(paid, short, ordered).min(left.max(0) / MINOR_PER_POINT);
    record.lines[i].compensated = Some(points);
    if points > 0 {
        let expires = draft.expiry_of(at);
        draft.earn(at, points, Cause::UnderweightCompensation, Some(&order), None, expires);
    }
}

/// ceil(paid x short / ordered / 100), in points.
fn ceil_points(paid_minor: i64, short: i64, ordered: i64) -> i64 {
    let divisor = i128::from(ordered) * i128::from(MINOR_PER_POINT);
    let product = i128::from(paid_minor) * i128::from(short);
    i64::try_from((product + divisor - 1) / divisor).unwrap_or(i64::MAX)
}

/// Support releases an earning under review, or voids it.
pub(super) fn review(
    draft: &mut Draft<'_>,
    entry: &EntryId,
    release: bool,
    reason: &str,
    by: &Actor,
) -> Result<Reply, Refusal> {
    cards::check_reason(reason)?;
    let now = draft.now;
    settle::settle(draft, now);
    let Some(review) = draft.state.ledger.reviews.iter().find(|review| review.entry == *entry).cloned() else {
        return Err(missing_review(draft, entry));
    };
    let (why, who) = (reason.into(), by.clone());
    let end =
        if release { ReviewEnd::Released { reason: why, by: who } } else { ReviewEnd::Voided { reason: why, by: who } };
    draft.emit(Event::ReviewEnded { entry: entry.clone(), points: review.points, end, at: now });
    if release {
        // A release counts on its order's day: no order can be decided on a day before the latest counted one any more,
        // but the released earning may be the first of its day that counts.
        if review.day >= draft.state.counters.earn_day {
            draft.emit(Event::Counted { day: review.day, operations: 1, earned: review.points, burned: 0 });
        }
        let expires = draft.expiry_of(now);
        draft.earn(now, review.points, Cause::Cashback, Some(&review.order), Some((reason, by)), expires);
        note_own_lot(draft, &review.order, expires)?;
    }
    Ok(Reply::Reviewed { entry: entry.clone(), released: release, balance: draft.state.ledger.balance })
}

/// A return takes cashback from its own lot first: that of the release, not that of the order's next day.
fn note_own_lot(draft: &mut Draft<'_>, order: &OrderKey, expires: Day) -> Result<(), Refusal> {
    let key = order.fingerprint();
    // An order that is forgotten can no longer be returned.
    let Some(seq) = draft.state.fact(key).map(Fact::seq) else { return Ok(()) };
    let mut record = draft.record(key, seq)?;
    if record.expires != expires {
        record.expires = expires;
        // Nothing of the order changed at this time: it counts as decided when the latest fact was.
        let decided = draft.state.fact_time;
        draft.emit(Event::OrderAmended { decided, record: Box::new(record) });
    }
    Ok(())
}

fn missing_review(draft: &Draft<'_>, entry: &EntryId) -> Refusal {
    // Entries are numbered from 1: one that was given out and is not under review was decided, or is of another kind.
    let number = entry.as_str().strip_prefix('e').and_then(|digits| digits.parse::<u64>().ok());
    if number.is_some_and(|n| (1..=draft.state.ledger.entries).contains(&n)) {
        Refusal::new(Code::AlreadyDecided, format!("entry {entry} is not under review any more"))
    } else {
        Refusal::new(Code::NotFound, format!("entry {entry} does not exist"))
    }
}

/// Takes cashback of `order` out of review, up to `points`; what was taken.
pub(super) fn claw_from_review(draft: &mut Draft<'_>, order: &OrderKey, points: i64, at: Timestamp) -> i64 {
    let Some(review) = draft.state.ledger.reviews.iter().find(|review| review.order == *order).cloned() else {
        return 0;
    };
    let taken = points.min(review.points);
    draft.emit(Event::ReviewEnded { entry: review.entry, points: taken, end: ReviewEnd::ClawedBack, at });
    taken
}
