//! What a checkout answers: the priced cart, line by line, with the offers that count and those that do not.

use serde::{Deserialize, Serialize};

use crate::{
    amounts::MINOR_PER_POINT,
    ids::{HoldId, LineId, OfferId},
    time::Timestamp,
};

/// A priced cart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// What could not be taken at a late capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Uncovered {
    /// `points`, or `offer`: a use or the money of one.
    pub kind: String,
    /// The offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_id: Option<String>,
    /// Points that the sale was priced with and that are gone.
    pub points: i64,
    /// What that was worth, minor units.
    pub minor: i64,
}

impl Uncovered {
    /// Points that are gone.
    #[must_use]
    pub fn points(points: i64) -> Self {
        Self { kind: "points".to_owned(), offer_id: None, points, minor: points * MINOR_PER_POINT }
    }

    /// An offer that gave `minor` and has no use, or not enough money, left.
    #[must_use]
    pub fn offer(offer_id: &OfferId, minor: i64) -> Self {
        Self { kind: "offer".to_owned(), offer_id: Some(offer_id.to_string()), points: 0, minor }
    }
}

impl std::fmt::Display for Uncovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.offer_id {
            Some(offer_id) => write!(f, "{} minor units of {offer_id}", self.minor),
            None => write!(f, "{} points", self.points),
        }
    }
}
