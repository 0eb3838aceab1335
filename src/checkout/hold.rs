//! Holding a cart: priced, reserved at promos, committed by the owner; steps 1 to 4 of the protocol.

use std::collections::BTreeMap;

use adal_domain::{
    checkout::{HeldOffer, RejectedOffer, reserve::Need},
    customer::{Command, HoldRequest, OfferedHold, check_ttl},
    entity::EntityKey,
    errors::{Code, Refusal},
    ids::{CustomerId, ExchangeId, OfferId},
    offers::{Limit, OfferKind, Reason},
    promo::is_code,
};

use super::{
    Asked, Identity, PricedCart, Told, answered, ask, let_go, meters, new_hold_id,
    price::{Trial, price},
    recorded, refuse,
    reserve::{NotKept, Prepared, needs_of, reserve},
};
use crate::{app::App, clock::Stopwatch, http::problem::Problem};

/// How often a hold is prepared anew because the customer changed, or an automatic offer ran out, meanwhile.
const ATTEMPTS: usize = 6;

/// How a hold is asked for, beside its cart.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Seconds; `None`: the policy's.
    pub ttl_s: Option<i64>,
    /// The total that the caller saw, minor units.
    pub expected_total_minor: Option<i64>,
}

/// What came of one attempt.
enum Attempt {
    /// An answer for good.
    Done(Result<Told, Problem>),
    /// The customer has changed since it was priced.
    Again,
    /// A campaign ran out, of this.
    Without(OfferId, Limit),
}

/// Prices a cart and holds what it needs, all or nothing.
///
/// # Errors
/// The rules' refusal, recorded under the request's key; or why nothing can be held now.
pub async fn hold(
    app: &App,
    owner: &EntityKey,
    identity: Identity,
    asked: Asked,
    terms: Terms,
) -> Result<Told, Problem> {
    let request = HoldRequest {
        cart: asked.cart.clone(),
        ttl_s: terms.ttl_s,
        expected_total_minor: terms.expected_total_minor,
        scan_step: asked.scan_step,
        no_burn: asked.no_burn,
        offered: None,
    };
    // What the whole catalogue says of a cart is a quote's matter: a hold keeps its quote in the journal.
    let asked = Asked { explain: false, ..asked };
    if app.policy.load().offers.is_empty() && asked.cart.codes.is_empty() {
        // Nothing to reserve: the owner prices it alone.
        return answered(ask(app, owner, Some(identity), Command::Hold(request)).await?);
    }
    if let Some(outcome) = recorded(app, owner, identity).await? {
        return answered(outcome);
    }
    let mut without = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        match attempt(app, owner, identity, &asked, &request, &without).await? {
            Attempt::Done(told) => return told,
            Attempt::Again => {}
            Attempt::Without(offer, limit) => {
                without.insert(offer, limit);
            }
        }
    }
    Err(Problem::new(Code::Busy, "the customer changes faster than the hold can be made; repeat it with the same key"))
}

async fn attempt(
    app: &App,
    owner: &EntityKey,
    identity: Identity,
    asked: &Asked,
    request: &HoldRequest,
    without: &BTreeMap<OfferId, Limit>,
) -> Result<Attempt, Problem> {
    let in_force = app.policy.load_full();
    let ttl_s = check_ttl(&in_force.policy, request.ttl_s);
    let watch = Stopwatch::start();
    let priced = price(app, asked, &Trial::default(), without).await?;
    meters::priced("hold", &watch);
    let (ttl_s, priced) = match (ttl_s, priced) {
        (Ok(ttl_s), Ok(priced)) => (ttl_s, priced),
        (Err(refusal), _) | (_, Err(refusal)) => return done(app, owner, identity, refusal).await,
    };
    // Before a code is looked at: whether one exists is no part of it. Not recorded, as it holds until they are on again.
    let is_off = |id: &CustomerId| !app.context(id.as_str()).promos;
    if !asked.cart.codes.is_empty() && asked.customer.as_ref().is_some_and(is_off) {
        let refusal = Refusal::new(Code::FeatureDisabled, "codes: promos are switched off (marketing.promos)");
        return done(app, owner, identity, refusal).await;
    }
    if let Some(rejected) = priced.priced.quote.rejected.iter().find(|rejected| rejected.code.is_some()) {
        return done(app, owner, identity, not_applicable(rejected)).await;
    }
    if priced.priced.applied.is_empty() {
        let told = ask(app, owner, Some(identity), Command::Hold(request.clone())).await?;
        return Ok(Attempt::Done(answered(told)));
    }
    let mut prepared = Prepared {
        hold_id: new_hold_id(priced.now)?,
        expires_at: priced.now.plus_seconds(ttl_s),
        asked: Vec::new(),
        parts: Vec::new(),
    };
    let offers: Vec<HeldOffer> = priced.priced.applied.iter().map(HeldOffer::from).collect();
    if let Some(failed) = keep(app, owner, &priced, &offers, &mut prepared).await? {
        return not_kept(app, owner, identity, &prepared, &offers, failed).await;
    }
    let hold = OfferedHold {
        hold_id: prepared.hold_id.clone(),
        at: priced.now,
        expires_at: prepared.expires_at,
        facts: priced.facts,
        quote: Box::new(priced.priced.quote),
        max_discount_permyriad: priced.in_force.policy.checkout.max_discount_permyriad,
        parts: prepared.parts.clone(),
        addresses: priced.marks.addresses_of(&offers),
        link_keys: priced.marks.link_keys,
        offers,
    };
    let command = Command::Hold(HoldRequest { offered: Some(Box::new(hold)), ..request.clone() });
    // Where the outcome is not known the caller repeats; what is reserved is settled by the promos' questions.
    let told = ask(app, owner, Some(identity), command).await?;
    // Another copy of the request may have been answered meanwhile: with another hold than this.
    if !matches!(&told, Ok(Told { replayed: false, .. })) {
        let_go(app, owner, &prepared).await;
    }
    if matches!(&told, Err((refusal, false)) if refusal.code == Code::Busy) {
        return Ok(Attempt::Again);
    }
    Ok(Attempt::Done(answered(told)))
}

/// A refusal before anything was reserved: recorded by the owner, as the request's answer.
async fn done(app: &App, owner: &EntityKey, identity: Identity, refusal: Refusal) -> Result<Attempt, Problem> {
    if !refusal.is_recorded() {
        return Ok(Attempt::Done(Err(refusal.into())));
    }
    let now = app.now();
    let nothing = Prepared { hold_id: new_hold_id(now)?, expires_at: now, asked: Vec::new(), parts: Vec::new() };
    Ok(Attempt::Done(answered(refuse(app, owner, Some(identity), &nothing, Some(refusal)).await?)))
}

/// Why a hold with this code is refused, for those who may know.
fn not_applicable(rejected: &RejectedOffer) -> Refusal {
    meters::hold_rejected(rejected);
    let code = if rejected.reason == Code::CodeUnknown.as_str() { Code::CodeUnknown } else { Code::PromoNotApplicable };
    let typed = rejected.code.as_deref().unwrap_or_default();
    let condition = rejected.condition.as_deref().map(|condition| format!(" ({condition})")).unwrap_or_default();
    Refusal::new(code, format!("codes: {typed:?} does not apply: {}{condition}", rejected.reason))
}

/// Reserves what the offers need; answers what could not be.
async fn keep(
    app: &App,
    owner: &EntityKey,
    priced: &PricedCart,
    offers: &[HeldOffer],
    prepared: &mut Prepared,
) -> Result<Option<(Need, NotKept)>, Problem> {
    let exchange = ExchangeId::new(prepared.hold_id.as_str()).map_err(Problem::internal)?;
    let marks = &priced.marks;
    for need in needs_of(marks, offers, &priced.in_force.calendar, priced.now) {
        let request = marks.request(&need, &exchange, owner, prepared.expires_at, false);
        if let Err(failed) = reserve(app, &need, request, prepared).await {
            return Ok(Some((need, failed)));
        }
    }
    Ok(None)
}

/// A promo keeps nothing: a campaign is left out, a code that ran out fails the hold.
async fn not_kept(
    app: &App,
    owner: &EntityKey,
    identity: Identity,
    prepared: &Prepared,
    offers: &[HeldOffer],
    (need, failed): (Need, NotKept),
) -> Result<Attempt, Problem> {
    let limit = match failed {
        NotKept::Unknown(problem) => {
            let_go(app, owner, prepared).await;
            return Ok(Attempt::Done(Err(problem)));
        }
        NotKept::Gone(limit) => limit,
    };
    let held = offers.iter().find(|held| held.offer_id == need.offer);
    if held.is_none_or(|held| held.kind == OfferKind::Campaign) {
        let_go(app, owner, prepared).await;
        return Ok(Attempt::Without(need.offer, limit));
    }
    let reason = if is_code(&need.promo) { Reason::CodeUsed } else { Reason::LimitReached(limit) };
    let rejected = RejectedOffer {
        offer_id: Some(need.offer.to_string()),
        code: held.and_then(|held| held.code.clone()),
        reason: reason.as_str().to_owned(),
        condition: reason.condition().map(str::to_owned),
    };
    let told = refuse(app, owner, Some(identity), prepared, Some(not_applicable(&rejected))).await?;
    Ok(Attempt::Done(answered(told)))
}
