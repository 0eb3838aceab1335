//! The checkout: a cart is priced into a quote; a hold keeps it; a capture takes it. Points are the only thing held as
//! long as there is no offer; bodies and answers are the final ones.

use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::{
    amounts::{MINOR_PER_POINT, mul_div_floor, share_out},
    errors::{Code, Refusal},
    ids::{CustomerId, HoldId, LineId, ShopId, Word},
    line::{Line, check_lines},
    policy::Policy,
    time::Timestamp,
};

/// Where a cart is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Channel {
    /// At a till.
    Pos,
    /// In the shop's app.
    App,
    /// On the shop's site.
    Web,
}

/// What is priced: the cart without who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    /// Where it is bought.
    pub shop_id: ShopId,
    /// How it is paid.
    pub channel: Channel,
    /// Promo codes as typed.
    pub codes: Vec<String>,
    /// Points that the customer wants to burn.
    pub points_to_burn: i64,
    /// How it is paid, where known.
    pub payment_method: Option<Word>,
    /// How it is delivered, where known.
    pub delivery_method: Option<Word>,
    /// What delivery costs, minor units.
    pub delivery_minor: i64,
    /// The lines.
    pub lines: Vec<Line>,
}

/// What of a customer goes into a quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Who; `None`: a guest.
    pub customer_id: Option<CustomerId>,
    /// The cashback rate, permyriad; 0 where nothing is earned.
    pub rate_permyriad: u32,
    /// Points that can be spent now.
    pub available: i64,
    /// The share of subtotal less discounts that points may pay, permyriad.
    pub burn_share_permyriad: u32,
    /// Why no point can be burned at all now, if so.
    pub no_burn: Option<Code>,
    /// Points that may still be burned today.
    pub burn_left_today: i64,
}

impl Standing {
    /// A guest: earns nothing, burns nothing.
    #[must_use]
    pub const fn guest() -> Self {
        Self {
            customer_id: None,
            rate_permyriad: 0,
            available: 0,
            burn_share_permyriad: 0,
            no_burn: Some(Code::CardNotFound),
            burn_left_today: 0,
        }
    }
}

/// A priced cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quote {
    /// A hash of all inputs: same inputs, same quote, bit for bit.
    pub quote_id: String,
    /// The catalogue's revision that priced it.
    pub catalogue_revision: u64,
    /// Lines before discounts, minor units.
    pub subtotal_minor: i64,
    /// Discounts of the lines, minor units.
    pub discount_minor: i64,
    /// Delivery after discounts, minor units.
    pub delivery_minor: i64,
    /// Points that pay a part.
    pub points_burned: i64,
    /// What these points pay, minor units.
    pub points_burned_minor: i64,
    /// What is left to pay: subtotal - discount - points + delivery, minor units.
    pub total_minor: i64,
    /// Cashback that the order will give if it is paid as quoted, points.
    pub points_to_earn: i64,
    /// Per line, in the cart's order.
    pub lines: Vec<QuoteLine>,
    /// Offers that apply.
    pub applied: Vec<AppliedOffer>,
    /// Offers and codes that do not, and why.
    pub rejected: Vec<RejectedOffer>,
    /// The hold, where the quote is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldRef>,
}

/// A line of a quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuoteLine {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub line_id: LineId,
    /// Before discounts, minor units.
    pub subtotal_minor: i64,
    /// Discounts, minor units.
    pub discount_minor: i64,
    /// What points pay, minor units.
    pub points_minor: i64,
    /// What is left to pay, minor units.
    pub total_minor: i64,
    /// The offers that gave the discount.
    pub offers: Vec<LineOffer>,
}

/// An offer's part of a line's discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineOffer {
    /// The promo or campaign.
    pub offer_id: String,
    /// Minor units.
    pub discount_minor: i64,
}

/// An offer that applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppliedOffer {
    /// The promo or campaign.
    pub offer_id: String,
    /// `promo` or `campaign`.
    pub kind: String,
    /// The code, where one was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Minor units.
    pub discount_minor: i64,
    /// Points that it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// Who pays: platform, shop or brand.
    pub funded_by: String,
    /// Why, for people.
    pub explanation: String,
}

/// An offer or code that does not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RejectedOffer {
    /// The offer, where the code belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_id: Option<String>,
    /// The code as typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A stable word.
    pub reason: String,
    /// The condition that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// A hold, as a quote names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldRef {
    /// The hold.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub hold_id: HoldId,
    /// Until when it is held, RFC 3339.
    #[serde(with = "crate::time::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
}

/// What is taken less of at capture: a line and how much of it was sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineQuantity {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub line_id: LineId,
    /// Pieces or grams.
    pub quantity: i64,
}

/// What could not be taken at a late capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Uncovered {
    /// `points` (later also `promo` and `budget`).
    pub kind: String,
    /// Points that the sale was priced with and that are gone.
    pub points: i64,
    /// What they were worth, minor units.
    pub minor: i64,
}

/// The most codes of one cart.
pub const MAX_CODES: usize = 20;

/// Checks a cart as a whole; gives the subtotals of its lines.
///
/// # Errors
/// `cart_empty`, `invalid_field`, and what [`check_lines`] answers.
pub fn check_cart(cart: &Cart, policy: &Policy) -> Result<Vec<i64>, Refusal> {
    let invalid = |detail: &str| Err(Refusal::new(Code::InvalidField, detail));
    if cart.lines.is_empty() {
        return Err(Refusal::new(Code::CartEmpty, "lines: the cart has none"));
    }
    if cart.codes.len() > MAX_CODES {
        return invalid("codes: at most 20");
    }
    if cart.codes.iter().any(|code| code.is_empty() || code.len() > 64 || code.chars().any(char::is_control)) {
        return invalid("codes: each 1-64 bytes without control characters");
    }
    if cart.points_to_burn < 0 {
        return invalid("points_to_burn: must be 0 or more");
    }
    if !(0..=crate::amounts::MAX_ORDER_MINOR).contains(&cart.delivery_minor) {
        return invalid("delivery_minor: must be 0 to 100000000000");
    }
    Ok(check_lines(&cart.lines, policy.checkout.max_lines)?.into_iter().map(|m| m.0).collect())
}

/// Prices a cart. Pure: same inputs, same quote.
///
/// # Errors
/// What [`check_cart`] answers; `points_insufficient`, `points_over_share`, `burn_limit`, `burn_not_allowed` or the
/// standing's reason, where the points asked for cannot be burned; the most that can stands in `max`.
pub fn quote(
    cart: &Cart,
    standing: &Standing,
    policy: &Policy,
    revision: u64,
    now: Timestamp,
) -> Result<Quote, Refusal> {
    let subtotals = check_cart(cart, policy)?;
    let eligible = eligible_weights(&cart.lines, &subtotals, policy);
    let points = burnable(cart.points_to_burn, eligible.iter().sum(), standing)?;
    let mut quote = price(cart, &subtotals, &eligible, points, standing.rate_permyriad);
    quote.catalogue_revision = revision;
    quote.rejected = cart
        .codes
        .iter()
        .map(|code| RejectedOffer {
            offer_id: None,
            code: Some(code.clone()),
            reason: Code::CodeUnknown.as_str().to_owned(),
            condition: None,
        })
        .collect();
    quote.quote_id = hash_inputs(cart, standing, revision, now);
    Ok(quote)
}

/// What each line weighs for points: its subtotal, 0 where it is restricted.
fn eligible_weights(lines: &[Line], subtotals: &[i64], policy: &Policy) -> Vec<i64> {
    lines
        .iter()
        .zip(subtotals)
        .map(|(line, subtotal)| if line.is_restricted(&policy.restricted) { 0 } else { *subtotal })
        .collect()
}

/// The lines of a cart that are restricted by `policy`.
#[must_use]
pub fn restricted(cart: &Cart, policy: &Policy) -> Vec<LineId> {
    let lines = cart.lines.iter().filter(|line| line.is_restricted(&policy.restricted));
    lines.map(|line| line.line_id.clone()).collect()
}

/// The most points that may pay `eligible_minor` at a share.
#[must_use]
pub fn burn_cap(eligible_minor: i64, share_permyriad: u32) -> i64 {
    mul_div_floor(eligible_minor, i64::from(share_permyriad), 10_000 * MINOR_PER_POINT)
}

fn burnable(wanted: i64, eligible_minor: i64, standing: &Standing) -> Result<i64, Refusal> {
    if wanted == 0 {
        return Ok(0);
    }
    if let Some(code) = standing.no_burn {
        return Err(Refusal::new(code, "points_to_burn: no points can be burned here now").with_max(0));
    }
    let cap = burn_cap(eligible_minor, standing.burn_share_permyriad);
    let most = standing.available.min(cap).min(standing.burn_left_today).max(0);
    if wanted > standing.available {
        let detail = format!("points_to_burn: {wanted} asked for, {} available", standing.available);
        return Err(Refusal::new(Code::PointsInsufficient, detail).with_max(most));
    }
    if wanted > cap {
        let detail = format!("points_to_burn: {wanted} asked for, this cart allows {cap}");
        return Err(Refusal::new(Code::PointsOverShare, detail).with_max(most));
    }
    if wanted > standing.burn_left_today {
        let detail = format!("points_to_burn: {wanted} asked for, {} left today", standing.burn_left_today.max(0));
        return Err(Refusal::new(Code::BurnLimit, detail).with_max(most));
    }
    Ok(wanted)
}

/// Prices lines with `points` burned.
fn price(cart: &Cart, subtotals: &[i64], eligible: &[i64], points: i64, rate_permyriad: u32) -> Quote {
    let by_line = share_points(&cart.lines, eligible, points);
    let subtotal_minor: i64 = subtotals.iter().sum();
    let points_minor = points * MINOR_PER_POINT;
    let total_minor = subtotal_minor - points_minor + cart.delivery_minor;
    let paid_eligible = unrestricted_share(&cart.lines, subtotals, eligible, total_minor);
    let lines = cart
        .lines
        .iter()
        .enumerate()
        .map(|(i, line)| QuoteLine {
            line_id: line.line_id.clone(),
            subtotal_minor: subtotals[i],
            discount_minor: 0,
            points_minor: by_line[i],
            total_minor: subtotals[i] - by_line[i],
            offers: Vec::new(),
        })
        .collect();
    Quote {
        quote_id: String::new(),
        catalogue_revision: 0,
        subtotal_minor,
        discount_minor: 0,
        delivery_minor: cart.delivery_minor,
        points_burned: points,
        points_burned_minor: points_minor,
        total_minor,
        points_to_earn: cashback(paid_eligible, rate_permyriad),
        lines,
        applied: Vec::new(),
        rejected: Vec::new(),
        hold: None,
    }
}

/// What of the money paid will earn: it is shared out over all lines by their totals, as the order's completion does.
fn unrestricted_share(lines: &[Line], subtotals: &[i64], eligible: &[i64], paid_minor: i64) -> i64 {
    let shares = share_by_line(lines, subtotals, paid_minor);
    shares.iter().zip(eligible).filter(|(_, weight)| **weight > 0).map(|(share, _)| *share).sum()
}

/// Points (in minor units) shared out over lines by largest remainder, ties by line_id; in the lines' own order.
fn share_points(lines: &[Line], eligible: &[i64], points: i64) -> Vec<i64> {
    share_by_line(lines, eligible, points * MINOR_PER_POINT)
}

fn share_by_line(lines: &[Line], weights: &[i64], minor: i64) -> Vec<i64> {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|a, b| lines[*a].line_id.cmp(&lines[*b].line_id));
    let weights: Vec<i64> = order.iter().map(|i| weights[*i]).collect();
    let shares = share_out(minor, &weights);
    let mut by_line = vec![0; lines.len()];
    for (position, share) in order.into_iter().zip(shares) {
        by_line[position] = share;
    }
    by_line
}

/// Cashback: floor(rate x money / 100 minor), in points.
#[must_use]
pub fn cashback(money_minor: i64, rate_permyriad: u32) -> i64 {
    mul_div_floor(money_minor, i64::from(rate_permyriad), 10_000 * MINOR_PER_POINT)
}

/// What a capture of fewer pieces or less weight costs: the hold's cart cut down to `lines` (those not named are not
/// sold) and repriced with the hold's own standing and its own restricted lines, whatever the policy says by now. The
/// points that pay it are those held, at most what the smaller cart allows.
///
/// # Errors
/// `capture_too_large` where a line or more of a line is named than was held, `invalid_field`.
pub fn reprice(
    cart: &Cart,
    held: &Quote,
    lines: Option<&[LineQuantity]>,
    standing: &Standing,
    restricted: &[LineId],
) -> Result<Quote, Refusal> {
    let Some(wanted) = lines else { return Ok(Quote { hold: None, ..held.clone() }) };
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
    // No limit of today's policy: what was held is sold.
    let subtotals: Vec<i64> = check_lines(&cut.lines, usize::MAX)?.into_iter().map(|minor| minor.0).collect();
    let weigh = |(line, subtotal): (&Line, &i64)| if restricted.contains(&line.line_id) { 0 } else { *subtotal };
    let eligible: Vec<i64> = cut.lines.iter().zip(&subtotals).map(weigh).collect();
    let points = held.points_burned.min(burn_cap(eligible.iter().sum(), standing.burn_share_permyriad));
    let mut quote = price(&cut, &subtotals, &eligible, points, standing.rate_permyriad);
    quote.catalogue_revision = held.catalogue_revision;
    quote.rejected.clone_from(&held.rejected);
    quote.quote_id.clone_from(&held.quote_id);
    Ok(quote)
}

/// A line with less of it: a unit price stays, a line total goes by its share, rounded down.
fn cut_line(line: &Line, quantity: i64) -> Line {
    let line_total_minor = line.line_total_minor.map(|total| mul_div_floor(total, quantity, line.quantity));
    Line { quantity, line_total_minor, ..line.clone() }
}

fn hash_inputs(cart: &Cart, standing: &Standing, revision: u64, now: Timestamp) -> String {
    // Lines, codes and tags in any order are the same cart.
    let mut canonical = cart.clone();
    canonical.lines.sort_by(|a, b| a.line_id.cmp(&b.line_id));
    canonical.lines.iter_mut().for_each(|line| line.tags.sort());
    canonical.codes.sort();
    let bytes = rmp_serde::to_vec_named(&(canonical, standing, revision, now)).unwrap_or_default();
    sha2::Sha256::digest(bytes)
        .iter()
        .take(16)
        .fold(String::with_capacity(32), |text, byte| text + &format!("{byte:02x}"))
}
