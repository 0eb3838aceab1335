//! Returns and cancellations: what is given back, what is clawed back. All of it is cumulative per order, and only the
//! difference to what earlier returns did is booked, so three thirds make a whole.

use super::{
    Event,
    draft::Draft,
    earn,
    ledger::{EarnedBy, LotPart, Pending},
    order::{KeptReturn, Record},
    read::{Cause, LineRefund, Refund},
    sales,
};
use crate::{
    amounts::{mul_div_floor, share_out},
    errors::{Code, Refusal},
    ids::OrderKey,
    time::{Day, Timestamp},
};

/// Books a return of a completed order, decided at `at`.
///
/// # Errors
/// `line_unknown`, `return_too_large`, `refund_too_large`; nothing is booked then.
pub(super) fn take_back(
    draft: &mut Draft<'_>,
    mut record: Record,
    kept: &KeptReturn,
    at: Timestamp,
) -> Result<Refund, Refusal> {
    let repriced = sales::repriced(draft, &record, kept)?;
    let refunds = refunds(&record, kept, repriced)?;
    record.returns.push(kept.event);
    for ((i, quantity), refund) in refunds.lines.iter().zip(&refunds.minor) {
        record.lines[*i].returned += quantity;
        record.lines[*i].refunded_minor += refund;
    }
    let all_returned = record.is_all_returned();
    if all_returned && repriced.is_some() {
        level(&mut record);
    }
    let (money_kept, money) = record.kept();
    let order = record.order.clone();
    if all_returned {
        sales::give_back(draft, &order, at)?;
    }
    let refund = refunds.told(&record);
    draft.refund = Some(refund.clone());
    // Given back first, then clawed back: what comes back can pay what is taken.
    if let Some(burn) = draft.state.ledger.burn(order.fingerprint()) {
        let due = burn.points - kept_of(burn.points, money_kept, money) - burn.given_back;
        give_back(draft, &order, due, at);
    }
    let due = record.cashback - kept_of(record.cashback, money_kept, money) - record.clawed_back;
    if due > 0 {
        record.clawed_back += due;
        let left = due - claw_from_review_or_voided(draft, &record, due, at);
        claw_back(draft, &order, EarnedBy::Cashback, record.expires, left, at);
    }
    claw_bonuses_back(draft, &mut record, at);
    draft.refund = None;
    draft.emit(Event::OrderAmended { decided: at, record: Box::new(record) });
    draft.announce_trust(at, &format!("order {order} returned"));
    Ok(refund)
}

/// Where nothing is kept and all that was paid went back, each line has got its own back. Returns that were priced anew
/// may have given one line's money for another's: restricted goods would keep a part of the others' points.
fn level(record: &mut Record) {
    let own = record.refunds_of_all();
    if own.iter().sum::<i64>() == record.refunded() {
        record.lines.iter_mut().zip(own).for_each(|(line, own)| line.refunded_minor = own);
    }
}

/// Takes back what the returns booked so far leave nothing for of an order's bonuses.
pub(super) fn claw_bonuses_back(draft: &mut Draft<'_>, record: &mut Record, at: Timestamp) {
    let (money_kept, money) = record.kept();
    // Of an order that cost nothing no share of money says what is kept.
    let nothing_kept = record.is_all_returned();
    for bonus in &mut record.bonuses {
        let kept = if nothing_kept { 0 } else { kept_of(bonus.points, money_kept, money) };
        let due = bonus.points - kept - bonus.clawed_back;
        if due > 0 {
            bonus.clawed_back += due;
            claw_back(draft, &record.order, EarnedBy::Offer(bonus.funded_by), bonus.expires, due, at);
        }
    }
}

/// floor(points x kept / whole); all of it where there was nothing to keep.
fn kept_of(points: i64, kept: i64, whole: i64) -> i64 {
    if whole == 0 { points } else { mul_div_floor(points, kept, whole) }
}

/// The lines of a return by position, and the money refunded for each.
struct Refunds {
    lines: Vec<(usize, i64)>,
    minor: Vec<i64>,
}

impl Refunds {
    fn told(&self, record: &Record) -> Refund {
        let lines = self
            .lines
            .iter()
            .zip(&self.minor)
            .map(|((i, _), minor)| LineRefund { line_id: record.lines[*i].line.line_id.clone(), refund_minor: *minor });
        Refund { refund_minor: self.minor.iter().sum(), lines: lines.collect() }
    }
}

/// `repriced`: what the whole return refunds where the offers of its sale are priced anew for what is kept.
fn refunds(record: &Record, kept: &KeptReturn, repriced: Option<i64>) -> Result<Refunds, Refusal> {
    let mut lines = Vec::with_capacity(kept.lines.len());
    for (i, wanted) in kept.lines.iter().enumerate() {
        let Some(position) = record.line(&wanted.line_id) else {
            let detail = format!("lines[{i}].line_id: the order has no line {}", wanted.line_id);
            return Err(Refusal::new(Code::LineUnknown, detail));
        };
        let left = record.lines[position].bought() - record.lines[position].returned;
        if wanted.quantity > left {
            let detail = format!("lines[{i}].quantity: {} returned, {left} left", wanted.quantity);
            return Err(Refusal::new(Code::ReturnTooLarge, detail).with_max(left));
        }
        lines.push((position, wanted.quantity));
    }
    // By line_id, so that the order of lines in the request changes nothing.
    lines.sort_unstable();
    let left = record.paid_minor - record.refunded();
    let defaults = default_refunds(record, &lines, left);
    let minor = match kept.refund_minor.or(repriced.map(|refund| refund.min(left))) {
        None => defaults,
        Some(refund) if refund > left => {
            let detail = format!("refund_minor: {refund} refunded, {left} left of what was paid");
            return Err(Refusal::new(Code::RefundTooLarge, detail).with_max(left));
        }
        Some(refund) => {
            let shares: Vec<i64> = lines.iter().map(|(i, _)| record.lines[*i].money_minor).collect();
            let weights = if defaults.iter().sum::<i64>() > 0 { defaults } else { shares };
            if weights.iter().sum::<i64>() > 0 {
                share_out(refund, &weights)
            } else {
                // Lines that nothing was paid for: the refund counts for the first, so that the sum stays exact.
                lines.iter().enumerate().map(|(n, _)| if n == 0 { refund } else { 0 }).collect()
            }
        }
    };
    Ok(Refunds { lines, minor })
}

/// floor(share x returned so far / charged) less what earlier returns refunded, together at most what is left.
fn default_refunds(record: &Record, lines: &[(usize, i64)], left: i64) -> Vec<i64> {
    let mut left = left;
    lines
        .iter()
        .map(|(i, quantity)| {
            let line = &record.lines[*i];
            let so_far = line.refund_of(line.returned + quantity, record.charged_by);
            let refund = (so_far - line.refunded_minor).clamp(0, left.max(0));
            left -= refund;
            refund
        })
        .collect()
}

/// A capture for an order that has come back whole: no later return gives back what it took.
///
/// # Errors
/// As [`sales::give_back`].
pub(super) fn give_back_if_whole(draft: &mut Draft<'_>, order: &OrderKey) -> Result<(), Refusal> {
    let now = draft.now;
    let Some(record) = earn::completed_record(draft, order, "what a late capture took") else { return Ok(()) };
    if record.is_all_returned() {
        sales::give_back(draft, order, now)?;
        give_all_back(draft, order, now);
    }
    Ok(())
}

/// Gives all captured points of a cancelled order back.
pub(super) fn give_all_back(draft: &mut Draft<'_>, order: &OrderKey, at: Timestamp) {
    if let Some(burn) = draft.state.ledger.burn(order.fingerprint()) {
        let due = burn.points - burn.given_back;
        give_back(draft, order, due, at);
    }
}

/// Gives burned points back into the lots that they came from, last spent first.
fn give_back(draft: &mut Draft<'_>, order: &OrderKey, points: i64, at: Timestamp) {
    let key = order.fingerprint();
    let Some(burn) = draft.state.ledger.burn(key) else { return };
    if points <= 0 {
        return;
    }
    let (mut skip, mut left) = (burn.given_back, points);
    let mut parts = Vec::new();
    for part in burn.spent.iter().rev() {
        let skipped = skip.min(part.points);
        skip -= skipped;
        let taken = left.min(part.points - skipped);
        left -= taken;
        if taken > 0 {
            parts.push(LotPart { points: taken, ..*part });
        }
    }
    let today = draft.day(at);
    let mut lots = Vec::new();
    let mut lost = 0;
    for part in parts {
        match living_lot(draft, part, today) {
            Some((expires, revived)) => lots.push(LotPart { expires, revived, points: part.points }),
            None => lost += part.points,
        }
    }
    draft.emit(Event::BurnReturned { key, points, lost });
    let given: i64 = lots.iter().map(|part| part.points).sum();
    draft.enter(at, given, Cause::GiveBack, Some(order), None, lots);
}

/// The lot into which points of `part` go back: their own, or its second life of 30 days, which begins with the first
/// points given back. `None`: that is over too.
fn living_lot(draft: &mut Draft<'_>, part: LotPart, today: Day) -> Option<(Day, bool)> {
    if part.expires > today {
        return Some((part.expires, part.revived));
    }
    if part.revived {
        return None;
    }
    let revived = draft.state.ledger.revived.iter().find(|(expired, _)| *expired == part.expires).copied();
    match revived {
        Some((_, until)) => (until > today).then_some((until, true)),
        None => {
            let until = today.plus(draft.context.policy.loyalty.revived_days);
            draft.emit(Event::LotRevived { expired: part.expires, until });
            Some((until, true))
        }
    }
}

/// What of cashback was never given: it is under review, or support voided it.
fn claw_from_review_or_voided(draft: &mut Draft<'_>, record: &Record, points: i64, at: Timestamp) -> i64 {
    let reviewed = earn::claw_from_review(draft, &record.order, points, at);
    reviewed + count_voided(draft, record, points - reviewed)
}

/// Takes points of an order back: from their own pending lot, from their own lot (what of it expired unspent counts),
/// from the lots that expire soonest, and the rest as a debt.
fn claw_back(draft: &mut Draft<'_>, order: &OrderKey, source: EarnedBy, expires: Day, points: i64, at: Timestamp) {
    let mut left = points;
    let its_own = |pending: &&Pending| pending.order == *order && pending.source == source;
    let pending = draft.state.ledger.pending.iter().find(its_own).map_or(0, |pending| pending.points).min(left);
    if pending > 0 {
        draft.emit(Event::PendingEnded { order: order.clone(), points: pending, source });
        left -= pending;
    }
    let own = draft.state.ledger.lot(expires, false).min(left);
    let mut lots = Vec::new();
    if own > 0 {
        lots.push(LotPart { expires, revived: false, points: own });
        left -= own;
    }
    let expired = draft.state.ledger.expired.iter().find(|(day, _)| *day == expires).map_or(0, |(_, p)| *p).min(left);
    if expired > 0 {
        draft.emit(Event::ExpiredCounted { day: expires, points: expired });
        left -= expired;
    }
    lots.extend(draft.state.ledger.soonest(left, Some((expires, false))));
    let taken: i64 = lots.iter().map(|part| part.points).sum();
    for part in &mut lots {
        part.points = -part.points;
    }
    draft.enter(at, -taken, Cause::ClawBack, Some(order), None, lots);
    let debt = left + own - taken;
    if debt > 0 {
        draft.emit(Event::Debt { order: order.clone(), points: debt, at });
    }
}

/// What support voided was never given: it counts as clawed back, once.
fn count_voided(draft: &mut Draft<'_>, record: &Record, points: i64) -> i64 {
    let key = record.order.fingerprint();
    let voided =
        draft.state.ledger.voided.iter().find(|(order, _)| *order == key).map_or(0, |(_, voided)| *voided).min(points);
    if voided > 0 {
        draft.emit(Event::VoidedCounted { key, points: voided });
    }
    voided
}
