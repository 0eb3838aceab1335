//! Offers in holds and sales: how a hold with offers is made, ended and given back, and what promos are owed for it.
//!
//! The rules of the exchanges with promos stand in `promo::protocol`; each function here writes the row that makes its
//! effects true. It must never let a use count twice, nor come back for a sale that still stands.

use std::collections::HashMap;

use super::{
    Event, Reply,
    command::{HoldRequest, Lately, OfferedHold},
    draft::Draft,
    hold::{HeldOffers, Hold},
    holds::new_hold,
    marketing::{CountedUse, ListedUse, MAX_SEGMENTS, Marketing, is_counted, is_listed, sold_on},
    order::{KeptReturn, Record, RecordLine},
};
use crate::{
    amounts::mul_div_floor,
    checkout::{Facts, HeldOffer, LineQuantity, Quote, Uncovered, bonus, keep},
    errors::{Code, Refusal},
    ids::{Actor, ExchangeId, HoldId, LineId, OfferId, OrderKey, Word},
    line::Unit,
    offers::{Shopper, document::FundedBy},
    promo::{
        Used,
        book::{BookError, Part},
        is_code,
        protocol::{Ask, give_back_id},
    },
    time::{Day, Timestamp},
};

/// A hold that was priced with offers, if the customer is still as it was then.
///
/// # Errors
/// `busy`, unrecorded, where anything has changed: it is to be priced again, under another id.
pub(super) fn offered_hold(
    draft: &mut Draft<'_>,
    request: &HoldRequest,
    offered: &OfferedHold,
    facts: &Facts,
) -> Result<Hold, Refusal> {
    let nothing = Marketing::default();
    let marketing = draft.state.marketing().unwrap_or(&nothing);
    let calendar = &draft.context.calendar;
    for held in &offered.offers {
        let allowed = marketing.allows(&held.offer_id, &held.offer.limits, draft.now, calendar);
        allowed.map_err(|_| outdated("the uses of an offer"))?;
    }
    let exchange = exchange_of(&offered.hold_id)?;
    let step = marketing.book.hold(&exchange, offered.expires_at, offered.parts.clone(), draft.now).map_err(said)?;
    if !offered.parts.is_empty() {
        draft.step(step);
    }
    let more = counted(&offered.offers, draft.now);
    count(draft, more, Vec::new());
    let offers = HeldOffers {
        offers: offered.offers.clone(),
        shopper: facts.shopper.clone(),
        max_discount_permyriad: offered.max_discount_permyriad,
        at: offered.at,
        link_keys: offered.link_keys.clone(),
        addresses: offered.addresses.clone(),
    };
    let standing = facts.standing.clone();
    Ok(new_hold(draft, request, offered.hold_id.clone(), offered.expires_at, standing, Some(Box::new(offers))))
}

/// What the hold was priced with is no longer so.
pub(super) fn outdated(what: &str) -> Refusal {
    Refusal::new(Code::Busy, format!("{what} changed while the hold was made"))
}

fn said(error: BookError) -> Refusal {
    match error {
        BookError::TooLate | BookError::Over | BookError::Live | BookError::Busy => {
            Refusal::new(Code::Busy, error.to_string())
        }
        BookError::Unknown | BookError::Invalid(_) => Refusal::new(Code::Internal, error.to_string()),
    }
}

fn exchange_of(hold_id: &HoldId) -> Result<ExchangeId, Refusal> {
    ExchangeId::new(hold_id.as_str()).map_err(|rule| Refusal::new(Code::Internal, format!("hold_id: {rule}")))
}

/// Which offers' uses are counted here.
fn counted<'a>(offers: impl IntoIterator<Item = &'a HeldOffer>, at: Timestamp) -> Vec<CountedUse> {
    let limited = offers.into_iter().filter(|held| is_counted(&held.offer.limits));
    let count = |held: &HeldOffer| {
        let (offer_id, ever) = (held.offer_id.clone(), held.offer.limits.per_customer.is_some());
        CountedUse { offer_id, at, ever }
    };
    limited.map(count).collect()
}

fn count(draft: &mut Draft<'_>, more: Vec<CountedUse>, less: Vec<CountedUse>) {
    if !more.is_empty() || !less.is_empty() {
        draft.emit(Event::UsesCounted { more, less });
    }
}

/// A hold that has not run out ends without a sale: its uses are free again.
pub(super) fn release(draft: &mut Draft<'_>, hold: &Hold, at: Timestamp) {
    if hold.offers.is_none() {
        return;
    }
    let less = counted(hold.held_offers(), hold.at);
    count(draft, Vec::new(), less);
    let (Some(marketing), Some(exchange)) = (draft.state.marketing(), hold.exchange()) else { return };
    // Not there where no promo keeps anything for it.
    if let Ok(step) = marketing.book.release(&exchange, at) {
        draft.step(step);
    }
}

/// A hold that was prepared will not be made.
pub(super) fn refuse(
    draft: &mut Draft<'_>,
    hold_id: &HoldId,
    expires_at: Timestamp,
    promos: &[Box<str>],
    why: Option<&Refusal>,
) -> Result<Reply, Refusal> {
    if !promos.is_empty() {
        let exchange = exchange_of(hold_id)?;
        let nothing = Marketing::default();
        let book = &draft.state.marketing().unwrap_or(&nothing).book;
        let step = book.refuse(&exchange, promos, expires_at, draft.now).map_err(said)?;
        draft.step(step);
    }
    Ok(Reply::HoldRefused(why.cloned().map(Box::new)))
}

/// The answer to a promo's question.
pub(super) fn answer(draft: &mut Draft<'_>, ask: &Ask) -> Result<Reply, Refusal> {
    super::settle::settle(draft, draft.now);
    let nothing = Marketing::default();
    let book = &draft.state.marketing().unwrap_or(&nothing).book;
    let step = book.answer(ask, draft.now).map_err(said)?;
    draft.step(step);
    Ok(Reply::Woken)
}

/// Captures what a hold keeps of offers, as far as `sold` needs it; answers what of it is gone. To be called before the
/// hold ends.
pub(super) fn sell(
    draft: &mut Draft<'_>,
    hold: &Hold,
    order: &OrderKey,
    (sold, lines): (&Quote, Option<&[LineQuantity]>),
    late: Option<&Lately>,
) -> Result<Vec<Uncovered>, Refusal> {
    if hold.offers.is_none() {
        return Ok(Vec::new());
    }
    let now = draft.now;
    let offers = hold.held_offers();
    // Between the look at a live hold and this its time ran out: what promos still have is to be asked first.
    if hold.expired && late.is_none() {
        return Err(outdated("the hold's time"));
    }
    let given: Vec<(&HeldOffer, i64)> = offers.iter().filter_map(|held| Some((held, gave(sold, held)?))).collect();
    let (sold_with, gone) = match hold.expired {
        true => take_late(draft, hold, given, late)?,
        false => (take(draft, hold, given)?, Vec::new()),
    };
    let used = used_by(draft);
    // What was counted when it was held, and what counts now.
    let before = if hold.expired { Vec::new() } else { counted(offers, hold.at) };
    let after = counted(sold_with.iter().map(|(held, _)| *held), hold.at);
    let more = after.iter().filter(|one| !before.contains(one)).cloned().collect();
    let less = before.iter().filter(|one| !after.contains(one)).cloned().collect();
    count(draft, more, less);
    let (taken, took) = sold_with.into_iter().map(|(held, minor)| (held.offer_id.clone(), minor)).unzip();
    let (order, hold, quote) = (order.clone(), Box::new(hold.clone()), Box::new(sold.clone()));
    let (day, lines) = (Some(draft.day(now)), lines.map(<[_]>::to_vec));
    draft.emit(Event::Sold { order, at: now, day, hold, quote, lines, used, taken, took });
    Ok(gone)
}

/// What an offer gives in a quote, minor units; `None` where it does not count there.
fn gave(sold: &Quote, held: &HeldOffer) -> Option<i64> {
    sold.applied.iter().find(|applied| applied.offer_id == held.offer_id.as_str()).map(|applied| applied.discount_minor)
}

/// What each promo of a hold's parts takes off.
fn shares(parts: &[Part], given: &[(&HeldOffer, i64)]) -> Vec<(Box<str>, i64)> {
    let share = |part: &Part| {
        let of_part = given.iter().filter(|(held, _)| held.is_kept_at(&part.promo));
        let minors: Vec<i64> = of_part.map(|(_, minor)| *minor).collect();
        // A unique code has uses and no money.
        let minor = if is_code(&part.promo) { 0 } else { minors.iter().sum() };
        (!minors.is_empty()).then(|| (part.promo.clone(), minor.min(part.minor)))
    };
    parts.iter().filter_map(share).collect()
}

/// Offers of which a use is taken, with what each takes off, minor units.
type SoldWith<'a> = Vec<(&'a HeldOffer, i64)>;

/// Takes what a live hold keeps: all that is given.
fn take<'a>(draft: &mut Draft<'_>, hold: &Hold, given: SoldWith<'a>) -> Result<SoldWith<'a>, Refusal> {
    let book = draft.state.marketing().map(|marketing| &marketing.book);
    if let (Some(book), Some(exchange)) = (book, hold.exchange())
        && let Some(live) = book.holds.iter().find(|live| live.hold == exchange)
    {
        let (day, now) = (draft.day(draft.now), draft.now);
        let step = book.capture(&exchange, &shares(&live.parts, &given), day, now).map_err(said)?;
        draft.step(step);
    }
    Ok(given)
}

/// Takes what promos still had for a hold past its time; answers whose uses were taken, and what is gone. Of an offer
/// that has no use left, or no money, nothing is taken at all.
fn take_late<'a>(
    draft: &mut Draft<'_>,
    hold: &Hold,
    given: SoldWith<'a>,
    late: Option<&Lately>,
) -> Result<(SoldWith<'a>, Vec<Uncovered>), Refusal> {
    let now = draft.now;
    let parts = late.map_or(&[][..], |late| &late.parts);
    let nothing = Marketing::default();
    let marketing = draft.state.marketing().unwrap_or(&nothing);
    let calendar = &draft.context.calendar;
    let asked = late.map_or(&[][..], |late| &late.asked);
    let mut money: Vec<(&str, i64)> = parts.iter().map(|part| (&*part.promo, part.minor)).collect();
    let (mut left, mut gone) = (Vec::new(), Vec::new());
    for (held, minor) in given {
        // A use counts in the period of its hold, whenever it is captured.
        let allowed = marketing.allows(&held.offer_id, &held.offer.limits, hold.at, calendar).is_ok();
        let is_left = allowed && held.has_all(asked.iter().map(AsRef::as_ref), parts.iter().map(|part| &*part.promo));
        let covered = if is_left { spend(&mut money, held, minor) } else { 0 };
        if is_left && (covered > 0 || minor == 0) {
            left.push((held, covered));
        }
        if !is_left || covered < minor {
            gone.push(Uncovered::offer(&held.offer_id, minor - covered));
        }
    }
    if let Some(late) = late.filter(|late| !late.parts.is_empty()) {
        let exchange = exchange_of(&late.hold_id)?;
        let day = draft.day(now);
        let book = &draft.state.rare_mut().marketing.book;
        let held = book.hold(&exchange, late.expires_at, late.parts.clone(), now).map_err(said)?;
        draft.step(held);
        let book = &draft.state.rare_mut().marketing.book;
        let sold = book.capture(&exchange, &shares(&late.parts, &left), day, now).map_err(said)?;
        draft.step(sold);
    }
    Ok((left, gone))
}

/// What of `minor` the budget that pays for an offer still has. It is spent then.
fn spend(money: &mut [(&str, i64)], held: &HeldOffer, minor: i64) -> i64 {
    let Some(budget) = held.budget() else { return minor };
    let left = money.iter_mut().find(|(promo, _)| *promo == budget);
    left.map_or(0, |(_, left)| {
        let spent = minor.min(*left);
        *left -= spent;
        spent
    })
}

/// What this decision took from promos, as its steps say.
fn used_by(draft: &Draft<'_>) -> Vec<Used> {
    let ends = draft.events.iter().filter_map(|event| match event {
        Event::Book(crate::promo::book::BookEvent::Ended { used, .. }) => Some(used.clone()),
        _ => None,
    });
    ends.flatten().collect()
}

/// Gives the uses of an order's sales back: it was cancelled, or returned in full. At most so often per offer and time as
/// the policy says; a use beyond stays taken.
///
/// # Errors
/// `internal` where the journal does not hold the sales; `busy` where too much is owed to promos already.
pub(super) fn give_back(draft: &mut Draft<'_>, order: &OrderKey, at: Timestamp) -> Result<(), Refusal> {
    let key = order.fingerprint();
    let (most, days) = (draft.context.policy.checkout.give_backs, draft.context.policy.checkout.give_back_days);
    let from = Timestamp(at.0.saturating_sub(days * Timestamp::DAY));
    let owner = draft.owner();
    let mut before: Vec<OfferId> = Vec::new();
    let mut unlisted: Vec<ListedUse> = Vec::new();
    for sale in draft.sales(key)? {
        let SaleRecord { hold, used, taken, day, .. } = sale;
        let marketing = draft.state.marketing().cloned().unwrap_or_default();
        let so_far =
            |id: &OfferId| marketing.returned_since(id, from) + before.iter().filter(|known| *known == id).count();
        let taken = hold.held_offers().iter().filter(|held| taken.contains(&held.offer_id));
        let (back, stays): (Vec<&HeldOffer>, Vec<_>) = taken.partition(|held| so_far(&held.offer_id) < most);
        let exchange = give_back_id(&hold.hold_id).map_err(|rule| Refusal::new(Code::Internal, rule.to_string()))?;
        // A budget that also paid for an offer whose use stays was spent for good: no part of a use comes back.
        let comes_back = |promo: &str| {
            back.iter().any(|held| held.is_kept_at(promo)) && !stays.iter().any(|held| held.is_kept_at(promo))
        };
        for held in back.iter().filter(|held| is_listed(&held.offer_id, &used)) {
            unlisted.push(ListedUse { hold_id: hold.hold_id.clone(), offer_id: held.offer_id.clone(), day });
        }
        for one in used.into_iter().filter(|used| comes_back(&used.promo)) {
            let book = &draft.state.rare_mut().marketing.book;
            let step = book.give_back(&exchange, one, &owner).map_err(said)?;
            draft.step(step);
        }
        let less = counted(back.iter().copied(), hold.at);
        count(draft, Vec::new(), less);
        before.extend(back.into_iter().map(|held| held.offer_id.clone()));
    }
    if draft.state.marketing().is_some_and(|marketing| marketing.is_sold(key)) {
        draft.emit(Event::SaleEnded { key, returned: before, unlisted, at });
    }
    Ok(())
}

/// What a return refunds in all, minor units, where its order had a captured hold with offers: what is kept is priced
/// with the hold's own offers, and the rest of the money paid for the lines comes back; where nothing is kept, all that is
/// left. `None` where the lines' shares decide: not one such hold, one that is not of all that was ordered (a bag that was
/// added, a substitute), a refund that is named, or the shop's fault.
///
/// # Errors
/// `internal` where the journal does not hold the sale.
pub(super) fn repriced(draft: &Draft<'_>, record: &Record, kept: &KeptReturn) -> Result<Option<i64>, Refusal> {
    if kept.refund_minor.is_some() {
        return Ok(None);
    }
    // Of several carts none is the order's own: what is kept of it is of no one cart.
    let sales = draft.sales(record.order.fingerprint())?;
    let [sale] = &sales[..] else { return Ok(None) };
    let before = |line: &RecordLine| line.bought() - line.returned;
    let after = |line: &RecordLine| {
        let back = kept.lines.iter().filter(|back| back.line_id == line.line.line_id);
        before(line) - back.map(|back| back.quantity).sum::<i64>()
    };
    // However returns were cut, whoever was at fault for which: what a whole return gives has been given then.
    if record.lines.iter().all(|line| after(line) <= 0) {
        let left = record.refunds_of_all().iter().sum::<i64>() - record.refunded();
        return Ok(Some(left.max(0)));
    }
    if kept.by_shop {
        return Ok(None);
    }
    let nobody = Shopper::guest();
    let basis = sale.hold.basis(&draft.context.calendar, &nobody);
    let of = |id: &LineId| record.line(id).map(|i| &record.lines[i]);
    let sold = sale.sold();
    let sold = |line: &RecordLine| sold.get(&line.line.line_id).copied().unwrap_or(0);
    // As much of each was sold; what is weighed may weigh more than was thought.
    let was_sold = |line: &RecordLine| sold(line) > 0 && (line.line.unit == Unit::Gram || line.bought() <= sold(line));
    if !record.lines.iter().all(was_sold) {
        return Ok(None);
    }
    // Of a line that weighs more than was sold, what is kept is that share of what was sold.
    let share = |line: &RecordLine, quantity: i64| {
        let (bought, sold) = (line.bought(), sold(line));
        if bought > sold { mul_div_floor(sold, quantity, bought) } else { quantity }
    };
    let whole = keep(&basis, |id| of(id).map_or(0, |line| share(line, line.bought())))?;
    let left = keep(&basis, |id| of(id).map_or(0, |line| share(line, after(line))))?;
    if whole == 0 {
        return Ok(None);
    }
    // Points paid their part of the price; they are given back by their own rule.
    let paid = (record.paid_minor - sale.quote.delivery_minor).max(0);
    let refund = paid - mul_div_floor(paid, left.min(whole), whole) - record.refunded();
    Ok(Some(refund.max(0)))
}

/// Points that the offers of an order's captured hold give for what was paid, by who pays for them: those of which a use
/// was taken, for a use that is gone is never given. Nothing where there is no such hold, or its row cannot be read (which
/// is said, and costs nobody the order).
pub(super) fn bonuses(draft: &Draft<'_>, record: &Record) -> Vec<(FundedBy, i64)> {
    let sales = draft.sales(record.order.fingerprint()).unwrap_or_default();
    let Some(sale) = sales.first() else { return Vec::new() };
    let nobody = Shopper::guest();
    let money = |id: &LineId| {
        record.line(id).map_or(0, |i| if record.lines[i].line.restricted { 0 } else { record.lines[i].money_minor })
    };
    let basis = sale.hold.basis(&draft.context.calendar, &nobody);
    let given = bonus(&basis, sale.lines.as_deref(), record.rate_permyriad, money).unwrap_or_default();
    let mut by_funder: Vec<(FundedBy, i64)> = Vec::new();
    let taken = given.into_iter().filter(|(offer, _, _)| sale.taken.contains(offer));
    for (_, funded_by, points) in taken {
        match by_funder.iter_mut().find(|(known, _)| *known == funded_by) {
            Some(known) => known.1 = known.1.saturating_add(points),
            None => by_funder.push((funded_by, points)),
        }
    }
    by_funder.retain(|(_, points)| *points > 0);
    by_funder
}

/// Whether an order has one captured hold with offers.
pub(super) fn is_only_sale(draft: &Draft<'_>, key: u64) -> bool {
    draft.state.marketing().is_some_and(|marketing| marketing.sales.iter().filter(|sale| sale.key == key).count() == 1)
}

/// Joins and leaves segments.
pub(super) fn change_segments(
    draft: &mut Draft<'_>,
    join: &[Word],
    leave: &[Word],
    by: &Actor,
) -> Result<Reply, Refusal> {
    let now: Vec<Word> = draft.state.marketing().map(|m| m.segments.clone()).unwrap_or_default();
    let joined: Vec<Word> = join.iter().filter(|segment| !now.contains(segment)).cloned().collect();
    let left: Vec<Word> = leave.iter().filter(|segment| now.contains(segment)).cloned().collect();
    if now.len() + joined.len() - left.len() > MAX_SEGMENTS {
        return Err(Refusal::new(Code::TooManyOpen, format!("a customer is in at most {MAX_SEGMENTS} segments")));
    }
    if !joined.is_empty() || !left.is_empty() {
        draft.emit(Event::SegmentsChanged { joined, left, by: by.clone(), at: draft.now });
    }
    let segments = draft.state.marketing().map(|m| m.segments.clone()).unwrap_or_default();
    Ok(Reply::Segments(segments))
}

/// A captured hold with offers, as its row keeps it.
pub(super) struct SaleRecord {
    hold: Hold,
    quote: Quote,
    lines: Option<Vec<LineQuantity>>,
    used: Vec<Used>,
    taken: Vec<OfferId>,
    day: Day,
}

impl SaleRecord {
    /// How much of each line of the cart was sold.
    fn sold(&self) -> HashMap<&LineId, i64> {
        match &self.lines {
            Some(lines) => lines.iter().map(|line| (&line.line_id, line.quantity)).collect(),
            None => self.hold.cart.lines.iter().map(|line| (&line.line_id, line.quantity)).collect(),
        }
    }
}

impl Draft<'_> {
    /// The sales of an order, oldest first, read back from the journal rows that they name.
    fn sales(&self, key: u64) -> Result<Vec<SaleRecord>, Refusal> {
        let Some(marketing) = self.state.marketing() else { return Ok(Vec::new()) };
        let known = marketing.sales.iter().filter(|sale| sale.key == key);
        let mut rows: Vec<u64> = known.clone().map(|sale| sale.seq).collect();
        rows.dedup();
        let of_row = |seq: &u64| {
            let events = if *seq == self.seq { &self.events[..] } else { self.recalled_row(*seq).unwrap_or_default() };
            events.iter().filter_map(|event| sale_of(event, key))
        };
        let sales: Vec<SaleRecord> = rows.iter().flat_map(of_row).collect();
        if sales.len() != known.count() {
            return Err(Refusal::new(Code::Internal, format!("rows {rows:?} do not hold the order's sales")));
        }
        Ok(sales)
    }
}

fn sale_of(event: &Event, key: u64) -> Option<SaleRecord> {
    let Event::Sold { order, at, day, hold, quote, lines, used, taken, .. } = event else { return None };
    (order.fingerprint() == key).then(|| SaleRecord {
        day: sold_on(*day, *at),
        hold: (**hold).clone(),
        quote: (**quote).clone(),
        lines: lines.clone(),
        used: used.clone(),
        taken: taken.clone(),
    })
}
