//! The checkout: a cart is priced into a quote; a hold keeps it; a capture takes it.
//!
//! `price` makes a quote of cart, customer, catalogue and time; `reprice` makes one of what was sold, or kept, of a held
//! cart; `reserve` says which promos keep what for it; `answer` is what callers see. Nothing here asks a store or a clock.

mod answer;
mod price;
mod reprice;
pub mod reserve;

use serde::{Deserialize, Serialize};

pub use self::{
    answer::{AppliedOffer, HoldRef, LineOffer, Quote, QuoteLine, RejectedOffer, Uncovered},
    price::{Facts, Priced, Pricing, burn_cap, cashback, quote, restricted},
    reprice::{Basis, HeldOffer, bonus, keep, reprice},
};
use crate::{
    errors::{Code, Refusal},
    ids::{CustomerId, LineId, ShopId, Word},
    line::{Line, check_lines},
    policy::Policy,
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
