//! Burning: hold, then capture or release; a hold past its time can still be captured for 72 h, as far as points remain.
//! What offers add stands in `sales`.

use std::borrow::Cow;

use super::{
    Context, Event, Reply, State,
    command::{HoldRequest, Lately},
    draft::Draft,
    earn::{self, passes_half},
    facts::FactKind,
    hold::{HeldOffers, Hold, HoldEnd},
    ledger::LotPart,
    read::{Cause, SignalKind},
    returns, sales, settle,
    tier::AsOf,
    trust::scaled,
};
use crate::{
    checkout::{HoldRef, LineQuantity, Quote, Standing, Uncovered, check_cart, reprice, restricted},
    errors::{Code, Refusal},
    ids::{HoldId, OrderId, OrderKey},
    offers::Shopper,
    policy::Policy,
    qr::Step,
    time::Timestamp,
};

/// Parts of lots that burns of one customer remember for returns: 320 KB. A burn is kept for 800 days.
const MAX_BURN_PARTS: usize = 20_000;

/// Expired holds of one customer that a late capture still finds.
const MAX_EXPIRED: usize = 20;

pub(super) fn hold(draft: &mut Draft<'_>, request: &HoldRequest) -> Result<Reply, Refusal> {
    let now = draft.now;
    let policy = &draft.context.policy;
    check_cart(&request.cart, policy)?;
    let ttl_s = check_ttl(policy, request.ttl_s)?;
    if let (None, Some(code)) = (&request.offered, request.cart.codes.first()) {
        return Err(Refusal::new(Code::CodeUnknown, format!("codes: {code:?} is no code of ours")));
    }
    settle::settle(draft, now);
    replace_earlier(draft, request.scan_step);
    let open = draft.state.holds.iter().filter(|hold| !hold.expired).count();
    if open >= policy.checkout.open_holds {
        let detail = format!("{open} holds are open already: capture or release one first");
        return Err(Refusal::new(Code::TooManyHolds, detail));
    }
    forget_oldest(draft);
    if request.cart.points_to_burn > 0 {
        burns_have_room(draft)?;
    }
    let mut facts = draft.state.quote_facts(draft.context, now);
    if request.offered.as_ref().is_some_and(|offered| offered.facts != facts.print()) {
        return Err(sales::outdated("the customer's facts"));
    }
    if request.scan_step.is_some_and(|step| draft.state.is_step_used(step)) {
        facts.standing.no_burn = facts.standing.no_burn.or(Some(Code::QrUsed));
    }
    facts.standing.no_burn = facts.standing.no_burn.or(request.no_burn);
    let mut hold = match &request.offered {
        Some(offered) => sales::offered_hold(draft, request, offered, &facts)?,
        None => plain_hold(draft, request, facts.standing, ttl_s)?,
    };
    let mut priced = price_hold(draft, &hold, &facts.shopper)?;
    if let Some(offered) = &request.offered {
        priced.quote_id.clone_from(&offered.quote.quote_id);
        priced.rejected.clone_from(&offered.quote.rejected);
        priced.catalogue_revision = offered.quote.catalogue_revision;
    }
    if request.expected_total_minor.is_some_and(|expected| expected != priced.total_minor) {
        let detail = format!("expected_total_minor: the total is {}", priced.total_minor);
        let mut refusal = Refusal::new(Code::TotalChanged, detail);
        refusal.quote = Some(Box::new(priced));
        return Err(refusal);
    }
    priced.hold = Some(HoldRef { hold_id: hold.hold_id.clone(), expires_at: hold.expires_at });
    hold.parts = draft.state.ledger.soonest(priced.points_burned, None);
    hold.quote = priced.clone();
    draft.emit(Event::Held(Box::new(hold)));
    Ok(Reply::Held(Box::new(priced)))
}

impl State {
    /// The customer as a hold at `now` would find it: with what is due, and without the open hold of the same pay scan,
    /// whose place it takes. What a quote for that hold is made of.
    #[must_use]
    pub fn before_hold(&self, context: &Context, now: Timestamp, step: Option<Step>) -> Cow<'_, Self> {
        if !self.holds.iter().any(|hold| step.is_some() && hold.step == step && !hold.expired) {
            return self.settled(context, now).0;
        }
        let mut draft = Draft::new(self, context, now, 0, [0; 16], &[]);
        settle::settle(&mut draft, now);
        replace_earlier(&mut draft, step);
        Cow::Owned(draft.state)
    }
}

/// Seconds that a hold may last, by the policy.
///
/// # Errors
/// `invalid_field`, which names the bounds.
pub fn check_ttl(policy: &Policy, ttl_s: Option<i64>) -> Result<i64, Refusal> {
    let ttl_s = ttl_s.unwrap_or(policy.checkout.hold_ttl_s);
    let (least, most) = (policy.checkout.hold_ttl_min_s, policy.checkout.hold_ttl_max_s);
    if !(least..=most).contains(&ttl_s) {
        return Err(Refusal::new(Code::InvalidField, format!("ttl_s: must be {least} to {most}")));
    }
    Ok(ttl_s)
}

/// A hold without offers, not yet priced.
fn plain_hold(draft: &Draft<'_>, request: &HoldRequest, standing: Standing, ttl_s: i64) -> Result<Hold, Refusal> {
    let hold_id = HoldId::new(&draft.uuid()).map_err(|e| Refusal::new(Code::Internal, e.to_string()))?;
    Ok(new_hold(draft, request, hold_id, draft.now.plus_seconds(ttl_s), standing, None))
}

/// A hold that is not yet priced.
pub(super) fn new_hold(
    draft: &Draft<'_>,
    request: &HoldRequest,
    hold_id: HoldId,
    expires_at: Timestamp,
    standing: Standing,
    offers: Option<Box<HeldOffers>>,
) -> Hold {
    Hold {
        hold_id,
        at: draft.now,
        expires_at,
        expired: false,
        step: request.scan_step,
        cart: request.cart.clone(),
        restricted: restricted(&request.cart, &draft.context.policy),
        quote: Quote::default(),
        standing,
        parts: Vec::new(),
        offers,
    }
}

fn price_hold(draft: &Draft<'_>, hold: &Hold, shopper: &Shopper) -> Result<Quote, Refusal> {
    let basis = hold.basis(&draft.context.calendar, shopper);
    let mut quote = basis.whole(hold.cart.points_to_burn)?;
    quote.catalogue_revision = draft.context.revision;
    quote.quote_id = basis.quote_id(draft.context.revision, draft.now);
    Ok(quote)
}

fn burns_have_room(draft: &Draft<'_>) -> Result<(), Refusal> {
    let parts: usize = draft.state.ledger.burns.iter().map(|burn| burn.spent.len()).sum();
    if parts < MAX_BURN_PARTS {
        return Ok(());
    }
    let detail = format!("points_to_burn: {MAX_BURN_PARTS} burns are kept for returns already");
    Err(Refusal::new(Code::TooManyOpen, detail).with_max(0))
}

/// Holds past their time keep their carts for a late capture: the oldest make room.
fn forget_oldest(draft: &mut Draft<'_>) {
    while draft.state.holds.iter().filter(|hold| hold.expired).count() >= MAX_EXPIRED {
        let oldest = draft.state.holds.iter().filter(|hold| hold.expired).min_by_key(|hold| hold.expires_at).cloned();
        let Some(hold) = oldest else { return };
        let now = draft.now;
        settle::end_hold(draft, &hold, HoldEnd::Forgotten, now, Vec::new());
    }
}

/// A (customer, step) is bound to one open hold: a new hold with it replaces the earlier one.
fn replace_earlier(draft: &mut Draft<'_>, step: Option<Step>) {
    let Some(step) = step else { return };
    let earlier = draft.state.holds.iter().find(|hold| hold.step == Some(step) && !hold.expired).cloned();
    if let Some(hold) = earlier {
        let (now, back) = (draft.now, hold.parts.clone());
        settle::end_hold(draft, &hold, HoldEnd::Replaced, now, back);
    }
}

fn find(draft: &Draft<'_>, hold_id: &HoldId) -> Result<Hold, Refusal> {
    draft
        .state
        .holds
        .iter()
        .find(|hold| hold.hold_id == *hold_id)
        .cloned()
        .ok_or_else(|| Refusal::new(Code::HoldEnded, format!("hold {hold_id} was captured, released or expired")))
}

pub(super) fn release(draft: &mut Draft<'_>, hold_id: &HoldId) -> Result<Reply, Refusal> {
    let now = draft.now;
    settle::settle(draft, now);
    let hold = find(draft, hold_id)?;
    if hold.expired {
        return Err(Refusal::new(Code::HoldEnded, format!("hold {hold_id} expired at {}", hold.expires_at)));
    }
    let view = hold.view_after(&HoldEnd::Released);
    settle::end_hold(draft, &hold, HoldEnd::Released, now, hold.parts.clone());
    Ok(Reply::Released(view))
}

pub(super) fn capture(
    draft: &mut Draft<'_>,
    hold_id: &HoldId,
    order_id: &OrderId,
    lines: Option<&[LineQuantity]>,
    late: Option<&Lately>,
) -> Result<Reply, Refusal> {
    let now = draft.now;
    settle::settle(draft, now);
    let hold = find(draft, hold_id)?;
    let order = OrderKey { shop_id: hold.cart.shop_id.clone(), order_id: order_id.clone() };
    let ended = draft.state.fact(order.fingerprint()).map(|fact| fact.kind());
    if ended.is_some_and(|kind| kind != FactKind::Completed) {
        return Err(Refusal::new(Code::OrderCancelled, format!("order {order} was cancelled")));
    }
    let nobody = Shopper::guest();
    let mut sold = reprice(&hold.basis(&draft.context.calendar, &nobody), &hold.quote, lines)?;
    sold.hold = None;
    let wanted = sold.points_burned;
    let used = hold.step.is_some_and(|step| draft.state.is_step_used(step));
    let spent = match (used, hold.expired) {
        // Another hold has burned with the same pay code: it burns once, and a printed sale is never refused.
        (true, _) => Vec::new(),
        (_, true) => late_parts(draft, wanted),
        (_, false) => first_parts(&hold.parts, wanted),
    };
    let points: i64 = spent.iter().map(|part| part.points).sum();
    let back = rest_of(&hold.parts, &spent);
    let end = HoldEnd::Captured { order_id: order_id.clone(), points, total_minor: sold.total_minor };
    let gone = sales::sell(draft, &hold, &order, (&sold, lines), late)?;
    settle::end_hold(draft, &hold, end, now, back);
    burn(draft, &order, &spent, hold.expired);
    if ended.is_some() {
        earn::late_bonuses(draft, &order);
        returns::give_back_if_whole(draft, &order)?;
    } else if hold.offers.is_none() {
        count_capture(draft, &order);
    }
    let uncovered = uncovered(draft, &order, wanted - points, gone);
    let shop_id = order.shop_id;
    Ok(Reply::Captured { quote: Box::new(sold), uncovered, order_id: order_id.clone(), shop_id })
}

/// A captured hold is the customer's order until that comes; with offers it is a sale, which is kept anyway.
fn count_capture(draft: &mut Draft<'_>, order: &OrderKey) {
    let is_open = draft.state.open_orders.iter().any(|open| open.order == *order);
    if !is_open && draft.state.customer_id().is_some() {
        let (key, at) = (order.fingerprint(), draft.now);
        draft.emit(Event::CaptureCounted { key, at });
    }
}

/// What a capture past its time can still take: as far as points remain, none where the card may not burn now.
fn late_parts(draft: &Draft<'_>, wanted: i64) -> Vec<LotPart> {
    let standing = draft.state.standing(draft.context, draft.now);
    if standing.no_burn.is_some() {
        return Vec::new();
    }
    draft.state.ledger.soonest(wanted.min(standing.burn_left_today.max(0)), None)
}

/// The first `points` of held parts.
fn first_parts(parts: &[LotPart], points: i64) -> Vec<LotPart> {
    let mut left = points;
    parts
        .iter()
        .map(|part| {
            let taken = left.min(part.points);
            left -= taken;
            LotPart { points: taken, ..*part }
        })
        .filter(|part| part.points > 0)
        .collect()
}

/// What of `held` is not `spent`.
fn rest_of(held: &[LotPart], spent: &[LotPart]) -> Vec<LotPart> {
    held.iter()
        .map(|part| {
            let taken =
                spent.iter().find(|s| (s.expires, s.revived) == (part.expires, part.revived)).map_or(0, |s| s.points);
            LotPart { points: part.points - taken, ..*part }
        })
        .filter(|part| part.points > 0)
        .collect()
}

fn burn(draft: &mut Draft<'_>, order: &OrderKey, spent: &[LotPart], late: bool) {
    let now = draft.now;
    let points: i64 = spent.iter().map(|part| part.points).sum();
    if points == 0 {
        return;
    }
    let day = draft.day(now);
    let before = if draft.state.counters.burn_day == day { draft.state.counters.burned } else { 0 };
    // Held points have left their lots already; a late capture takes them from the lots now.
    let lots =
        if late { spent.iter().map(|part| LotPart { points: -part.points, ..*part }).collect() } else { Vec::new() };
    draft.enter(now, -points, Cause::Burn, Some(order), None, lots);
    draft.emit(Event::Burned { key: order.fingerprint(), at: now, spent: spent.to_vec() });
    draft.emit(Event::Counted { day, operations: 0, earned: 0, burned: points });
    let limit = scaled(draft.context.policy.limits.points_burned, draft.limit_band(AsOf::new(now)));
    if passes_half(before, before + points, limit) {
        let detail = format!("{} points burned on one day, the limit is {limit}", before + points);
        draft.signal(SignalKind::PointsBurned, now, Some(&order.shop_id), Some(order), &detail);
    }
}

/// What a printed sale was priced with and is gone: points, and `gone` of the offers.
fn uncovered(draft: &mut Draft<'_>, order: &OrderKey, points: i64, gone: Vec<Uncovered>) -> Vec<Uncovered> {
    let now = draft.now;
    let mut uncovered = gone;
    if points > 0 {
        uncovered.insert(0, Uncovered::points(points));
    }
    for one in &uncovered {
        let detail = format!("a late capture found {one} less than it was priced with");
        draft.signal(SignalKind::CaptureUncovered, now, Some(&order.shop_id), Some(order), &detail);
    }
    uncovered
}
