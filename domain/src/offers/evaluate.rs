//! The engine's two questions. `evaluate`: what do the catalogue's offers do to this cart? `reprice`: what do the offers
//! that were reserved do to what was sold of it? Both are pure: the same inputs give the same answer, bit for bit, and the
//! order of lines, codes and offers in a request makes no difference.

use std::sync::Arc;

use crate::{
    amounts::mul_div_floor,
    checkout::Cart,
    ids::{LineId, OfferId},
    offers::{
        basket::Basket,
        candidates::{Candidate, gather, rejected},
        compile::{CompiledOffers, clock},
        conditions::{Facts, check_circumstances, check_lines},
        discount::Gift,
        document::{Offer, OfferKind},
        outcome::{Applied, Offered, Reason, Rejected, Shopper, TypedCode},
        stacking::{Round, Table, Uses},
    },
    policy::Policy,
    time::{Calendar, Timestamp},
};

/// What an evaluation is of.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The catalogue's offers.
    pub set: &'a CompiledOffers,
    /// The cart; it has passed [`check_cart`](crate::checkout::check_cart). Its `codes` are not read.
    pub cart: &'a Cart,
    /// What that gave: the subtotals of its lines, in their order.
    pub subtotals: &'a [i64],
    /// Whose cart it is.
    pub shopper: &'a Shopper,
    /// The codes typed, unique ones with their offers.
    pub codes: &'a [TypedCode],
    /// Whether an offer's limits allow a use.
    pub uses: &'a Uses<'a>,
    /// The moment that times and windows are compared with.
    pub now: Timestamp,
    /// The shop's calendar.
    pub calendar: &'a Calendar,
    /// Restricted goods and the order's cap.
    pub policy: &'a Policy,
    /// Whether every offer of the catalogue is to say why it does not count.
    pub explain: bool,
}

/// What the catalogue's offers do to a cart.
#[must_use]
pub fn evaluate(asked: &Asked<'_>) -> Offered {
    let Asked { set, cart, policy, .. } = *asked;
    if set.is_empty() && asked.codes.is_empty() {
        return Offered::nothing(cart.lines.len(), cart.delivery_minor);
    }
    let basket = Basket::new(cart, asked.subtotals, &set.symbols, |line| line.is_restricted(&policy.restricted));
    let facts = Facts { cart, shopper: asked.shopper, now: asked.now, clock: clock(asked.calendar, asked.now) };
    let gathered = gather(set, &basket, &facts, asked.codes, asked.explain);
    let table = Table {
        basket: &basket,
        candidates: &gathered.candidates,
        delivery_minor: cart.delivery_minor,
        rate_permyriad: asked.shopper.earn_rate_permyriad,
        uses: asked.uses,
    };
    let round = table.play(cap(&basket, policy.checkout.max_discount_permyriad));
    answer(&table, round, gathered.rejected, asked.explain)
}

/// An offer that a hold has reserved.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// The offer.
    pub id: OfferId,
    /// Promo or campaign.
    pub kind: OfferKind,
    /// Its document, as of the hold's revision.
    pub offer: Arc<Offer>,
    /// The code as typed, where one was.
    pub code: Option<String>,
    /// What it may take off at most, minor units: what its budget keeps for it.
    pub most_minor: i64,
}

/// What a repricing is of.
#[derive(Clone, Copy)]
pub struct Repriced<'a> {
    /// What is sold, or kept, of the hold's cart.
    pub cart: &'a Cart,
    /// The subtotals of its lines, in their order.
    pub subtotals: &'a [i64],
    /// The offers reserved, in the order in which they were applied.
    pub reserved: &'a [Reserved],
    /// The shopper's facts, as of the hold.
    pub shopper: &'a Shopper,
    /// The hold's moment.
    pub now: Timestamp,
    /// The shop's calendar.
    pub calendar: &'a Calendar,
    /// The lines that were restricted when the hold was made.
    pub restricted: &'a [LineId],
    /// The order's cap of then, permyriad.
    pub max_discount_permyriad: u32,
}

/// What reserved offers, and no others, do to a smaller cart. They apply in the order in which they did (groups and
/// exclusive offers were settled then) as far as their conditions hold for it; no limit is asked, since the uses are
/// reserved, and so is the money: where an offer before it falls away, one could give more on less, but no budget pays
/// more than it has kept. Of the whole cart this is the quote.
#[must_use]
pub fn reprice(asked: &Repriced<'_>) -> Offered {
    let offers = asked.reserved.iter().map(|r| (r.id.clone(), r.kind, Arc::clone(&r.offer)));
    let set = CompiledOffers::compile(0, offers);
    let is_restricted = |line: &crate::line::Line| asked.restricted.contains(&line.line_id);
    let basket = Basket::new(asked.cart, asked.subtotals, &set.symbols, is_restricted);
    let facts =
        Facts { cart: asked.cart, shopper: asked.shopper, now: asked.now, clock: clock(asked.calendar, asked.now) };
    let (mut candidates, mut rejections) = (Vec::new(), Vec::new());
    for reserved in asked.reserved {
        let Some(number) = set.position(&reserved.id, reserved.kind) else { continue };
        let (compiled, code) = (&set.offers[number as usize], reserved.code.as_deref());
        let lines = basket.select(&compiled.selector);
        match check_circumstances(compiled, &facts).and_then(|()| check_lines(compiled, &basket, &lines)) {
            Ok(()) => candidates.push(Candidate { compiled, lines, code, most_minor: reserved.most_minor }),
            Err(reason) => rejections.push(rejected(compiled, code, reason)),
        }
    }
    let table = Table {
        basket: &basket,
        candidates: &candidates,
        delivery_minor: asked.cart.delivery_minor,
        rate_permyriad: asked.shopper.earn_rate_permyriad,
        uses: &|_| Ok(()),
    };
    let mut round = table.round(cap(&basket, asked.max_discount_permyriad));
    for candidate in 0..candidates.len() {
        table.apply(candidate, &mut round);
    }
    answer(&table, round, rejections, true)
}

/// What offers together may take off the lines. Restricted goods do not raise it.
fn cap(basket: &Basket<'_>, permyriad: u32) -> i64 {
    mul_div_floor(basket.whole.subtotal, i64::from(permyriad), 10_000)
}

fn answer(table: &Table<'_>, round: Round, mut rejections: Vec<Rejected>, explain: bool) -> Offered {
    let basket = table.basket;
    let mut discounts = vec![0; basket.len()];
    for (line, place) in basket.place.iter().enumerate() {
        discounts[*place] = basket.subtotal[line] - round.left.lines[line];
    }
    for (candidate, reason) in round.rejected {
        let Candidate { compiled, code, .. } = &table.candidates[candidate];
        if explain || code.is_some() {
            rejections.push(rejected(compiled, *code, reason));
        }
    }
    // Offers by id, then codes that belong to none.
    rejections.sort_by(|a, b| (a.offer.is_none(), &a.offer, &a.code).cmp(&(b.offer.is_none(), &b.offer, &b.code)));
    let applied = round.applied.into_iter().map(|(candidate, gift)| applied(table, candidate, gift)).collect();
    Offered {
        discount_minor: discounts.iter().sum(),
        discounts,
        delivery_minor: round.left.delivery,
        applied,
        rejected: rejections,
    }
}

fn applied(table: &Table<'_>, candidate: usize, gift: Gift) -> Applied {
    let Candidate { compiled, code, .. } = &table.candidates[candidate];
    let place = &table.basket.place;
    Applied {
        offer_id: compiled.id.clone(),
        kind: compiled.kind,
        offer: Arc::clone(&compiled.offer),
        code: code.map(str::to_owned),
        discount_minor: gift.minor(),
        delivery_minor: gift.delivery_minor,
        shares: gift.shares.into_iter().map(|(line, minor)| (place[line], minor)).collect(),
        bonus_points: gift.bonus_points,
        extra_permyriad: gift.extra_permyriad,
        multiplied: gift.multiplied.into_iter().map(|line| place[line]).collect(),
        pieces: gift.pieces,
        times: gift.times,
    }
}

/// Limits that allow every use: for a quote that is to show what the catalogue would give.
pub fn unlimited(_: &crate::offers::outcome::Use<'_>) -> Result<(), Reason> {
    Ok(())
}
