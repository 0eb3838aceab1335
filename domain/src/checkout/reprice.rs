//! Repricing: what is sold, or kept, of a held cart costs what the hold's own offers, facts and moment make of it,
//! whatever catalogue and policy say by now.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Cart, LineQuantity, Quote, Standing,
    price::{Facts, Lines, burn_cap, burnable, price, quote_id},
};
use crate::{
    amounts::mul_div_floor,
    errors::{Code, Refusal},
    ids::{LineId, OfferId},
    line::{Line, check_lines},
    offers::{self, Applied, Offer, OfferKind, Offered, Repriced, Reserved, Shopper, document::FundedBy},
    time::{Calendar, Timestamp},
};

/// An offer that a hold keeps a use of, with its document as of the hold's revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOffer {
    /// The offer.
    pub offer_id: OfferId,
    /// Promo or campaign.
    pub kind: OfferKind,
    /// Its document.
    pub offer: Box<Offer>,
    /// The code as typed, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What it gives on lines and delivery, minor units.
    pub discount_minor: i64,
}

impl From<&Applied> for HeldOffer {
    fn from(applied: &Applied) -> Self {
        Self {
            offer_id: applied.offer_id.clone(),
            kind: applied.kind,
            offer: Box::new((*applied.offer).clone()),
            code: applied.code.clone(),
            discount_minor: applied.discount_minor,
        }
    }
}

/// What a hold was priced with.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    /// The whole cart.
    pub cart: &'a Cart,
    /// What of the customer decided about points.
    pub standing: &'a Standing,
    /// What of the customer decided about offers.
    pub shopper: &'a Shopper,
    /// The offers that counted, in the order in which they did.
    pub offers: &'a [HeldOffer],
    /// Lines that were restricted.
    pub restricted: &'a [LineId],
    /// The hold's moment.
    pub at: Timestamp,
    /// The shop's calendar.
    pub calendar: &'a Calendar,
    /// The cap of all discounts together, permyriad.
    pub max_discount_permyriad: u32,
}

impl Basis<'_> {
    /// Prices the whole cart, as its quote did.
    ///
    /// # Errors
    /// As [`quote`](super::quote).
    pub fn whole(&self, points: i64) -> Result<Quote, Refusal> {
        self.price(self.cart, |eligible| burnable(points, eligible, self.standing))
    }

    /// The id of the quote that this makes at a revision of the catalogue.
    #[must_use]
    pub fn quote_id(&self, revision: u64, now: Timestamp) -> String {
        let facts = Facts { standing: self.standing.clone(), shopper: self.shopper.clone() };
        let applied = self.offers.iter().map(|held| (&held.offer_id, held.discount_minor));
        quote_id(self.cart, &facts, applied, revision, now)
    }

    /// `points` is given the sum that points may pay a share of, minor units.
    fn price(&self, cart: &Cart, points: impl Fn(i64) -> Result<i64, Refusal>) -> Result<Quote, Refusal> {
        let (subtotals, offered) = self.offered(cart)?;
        let lines = Lines::new(&cart.lines, &subtotals, &offered, |line| self.restricted.contains(&line.line_id));
        Ok(price(&lines, &offered, points(lines.eligible())?, self.standing.rate_permyriad))
    }

    /// What the offers do to a cart, and its lines' subtotals.
    fn offered(&self, cart: &Cart) -> Result<(Vec<i64>, Offered), Refusal> {
        // No limit of today's policy: what was held is sold.
        let subtotals: Vec<i64> = check_lines(&cart.lines, usize::MAX)?.into_iter().map(|minor| minor.0).collect();
        let reserved: Vec<Reserved> = self
            .offers
            .iter()
            .map(|held| Reserved {
                id: held.offer_id.clone(),
                kind: held.kind,
                offer: Arc::new((*held.offer).clone()),
                code: held.code.clone(),
                most_minor: held.budget().map_or(i64::MAX, |_| held.discount_minor),
            })
            .collect();
        let offered = offers::reprice(&Repriced {
            cart,
            subtotals: &subtotals,
            reserved: &reserved,
            shopper: self.shopper,
            now: self.at,
            calendar: self.calendar,
            restricted: self.restricted,
            max_discount_permyriad: self.max_discount_permyriad,
        });
        Ok((subtotals, offered))
    }
}

/// Points beyond plain cashback that each offer gives for what was sold, with who pays for it: `rate_permyriad` is the
/// rate at which the order earns, `money` what was paid of each line by anything but points (0 for restricted goods),
/// minor units.
///
/// # Errors
/// As [`reprice`].
pub fn bonus(
    basis: &Basis<'_>,
    lines: Option<&[LineQuantity]>,
    rate_permyriad: u32,
    money: impl Fn(&LineId) -> i64,
) -> Result<Vec<(OfferId, FundedBy, i64)>, Refusal> {
    let cut = match lines {
        Some(wanted) => cut(basis.cart, wanted)?,
        None => basis.cart.clone(),
    };
    let (_, offered) = basis.offered(&cut)?;
    let money: Vec<i64> = cut.lines.iter().map(|line| money(&line.line_id)).collect();
    let given = offered.bonus(rate_permyriad, &money).by_offer;
    let of = |(applied, points): (&Applied, i64)| (applied.offer_id.clone(), applied.offer.funded_by, points);
    Ok(offered.applied.iter().zip(given).map(of).collect())
}

/// What a capture of fewer pieces or less weight costs: the hold's cart cut down to `lines` (those not named are not
/// sold). The points that pay it are those held, at most what the smaller cart allows.
///
/// # Errors
/// `capture_too_large` where a line or more of a line is named than was held, `invalid_field`, `cart_empty`.
pub fn reprice(basis: &Basis<'_>, held: &Quote, lines: Option<&[LineQuantity]>) -> Result<Quote, Refusal> {
    let Some(wanted) = lines else { return Ok(Quote { hold: None, ..held.clone() }) };
    let cut = cut(basis.cart, wanted)?;
    let points = |eligible| Ok(held.points_burned.min(burn_cap(eligible, basis.standing.burn_share_permyriad)));
    let mut quote = basis.price(&cut, points)?;
    quote.catalogue_revision = held.catalogue_revision;
    quote.rejected.clone_from(&held.rejected);
    quote.quote_id.clone_from(&held.quote_id);
    Ok(quote)
}

/// The cart cut down to `wanted`.
fn cut(cart: &Cart, wanted: &[LineQuantity]) -> Result<Cart, Refusal> {
    let mut cut = cart.clone();
    cut.lines.clear();
    for (i, want) in wanted.iter().enumerate() {
        let too_large = |detail: String, max: i64| Refusal::new(Code::CaptureTooLarge, detail).with_max(max);
        let Some(line) = cart.lines.iter().find(|line| line.line_id == want.line_id) else {
            return Err(too_large(format!("lines[{i}].line_id: the hold has no line {}", want.line_id), 0));
        };
        if want.quantity < 1 {
            return Err(Refusal::new(Code::InvalidField, format!("lines[{i}].quantity: must be 1 or more")));
        }
        if want.quantity > line.quantity {
            let detail = format!("lines[{i}].quantity: {} named, {} held", want.quantity, line.quantity);
            return Err(too_large(detail, line.quantity));
        }
        cut.lines.push(cut_line(line, want.quantity));
    }
    if cut.lines.is_empty() {
        return Err(Refusal::new(Code::CartEmpty, "lines: at least one is needed; release the hold to sell nothing"));
    }
    Ok(cut)
}

/// What is kept after a return would have cost, points and money together, without delivery, minor units: 0 where
/// nothing is kept. `kept` says how much of each line of the cart.
///
/// # Errors
/// Where the cart's lines break a rule: none that was sold does.
pub fn keep(basis: &Basis<'_>, kept: impl Fn(&LineId) -> i64) -> Result<i64, Refusal> {
    let mut cut = basis.cart.clone();
    cut.lines = basis
        .cart
        .lines
        .iter()
        .filter_map(|line| {
            let quantity = kept(&line.line_id).min(line.quantity);
            (quantity > 0).then(|| cut_line(line, quantity))
        })
        .collect();
    if cut.lines.is_empty() {
        return Ok(0);
    }
    let quote = basis.price(&cut, |_| Ok(0))?;
    Ok(quote.subtotal_minor - quote.discount_minor)
}

/// A line with less of it: a unit price stays, a line total goes by its share, rounded down.
fn cut_line(line: &Line, quantity: i64) -> Line {
    let line_total_minor = line.line_total_minor.map(|total| mul_div_floor(total, quantity, line.quantity));
    Line { quantity, line_total_minor, ..line.clone() }
}
