//! What a customer's state looks like to those who may see it: computed from a published state, as of a moment.

use serde::{Deserialize, Serialize};

use crate::{
    card::{Barcode, CardStatus},
    ids::{ApprovalId, CustomerId, EntryId, FlagName, HoldId, LineId, OrderId, ShopId},
    policy::Tier,
    time::Timestamp,
};

/// A card with its points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CardView {
    /// Whose.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub customer_id: CustomerId,
    /// EAN-13.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub barcode: Barcode,
    /// Active, blocked or closed.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub status: CardStatus,
    /// Why it is blocked or closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bronze to platinum.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub tier: Tier,
    /// Until when the tier is kept at least: the grace's end, where it runs out.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::time::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub tier_grace_until: Option<Timestamp>,
    /// Member since.
    #[serde(with = "crate::time::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// available + held, points.
    pub balance: i64,
    /// Points that can be spent.
    pub available: i64,
    /// Points in open holds.
    pub held: i64,
    /// Points earned and not yet active.
    pub pending: i64,
    /// Points earned past a limit, that support decides on.
    pub under_review: i64,
    /// Points that later earnings have to pay first.
    pub debt: i64,
    /// Points that expire in the next 30 days, by day.
    pub expiring: Vec<Expiring>,
}

/// Points that expire at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Expiring {
    /// How many.
    pub points: i64,
    /// When: 00:00 of a day of the shop.
    #[serde(with = "crate::time::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// Why points came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Cause {
    /// Cashback of an order became active.
    Cashback,
    /// The bonus points of an offer became active.
    OfferBonus,
    /// A weighed line was delivered short.
    UnderweightCompensation,
    /// By hand.
    Adjustment,
    /// Burned at a checkout.
    Burn,
    /// Given back by a return or a cancellation.
    GiveBack,
    /// Cashback taken back by a return.
    ClawBack,
    /// An earning paid a debt.
    DebtPayment,
    /// Points expired.
    Expiry,
}

impl Cause {
    /// The cause's name in metrics: the same as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cashback => "cashback",
            Self::OfferBonus => "offer_bonus",
            Self::UnderweightCompensation => "underweight_compensation",
            Self::Adjustment => "adjustment",
            Self::Burn => "burn",
            Self::GiveBack => "give_back",
            Self::ClawBack => "claw_back",
            Self::DebtPayment => "debt_payment",
            Self::Expiry => "expiry",
        }
    }
}

/// A line of the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatementEntry {
    /// The entry.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub entry: EntryId,
    /// When it took effect.
    #[serde(with = "crate::time::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Plus or minus.
    pub points: i64,
    /// The balance after it.
    pub balance_after: i64,
    /// Why.
    pub cause: Cause,
    /// Where, for entries of an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub shop_id: Option<ShopId>,
    /// Which order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub order_id: Option<OrderId>,
    /// Who pays for the points.
    pub funded_by: String,
    /// The reason given, for adjustments and reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The money refunded, minor units, for entries of a return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_minor: Option<i64>,
    /// The same for each line of the return.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LineRefund>,
}

/// What a return refunds in money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refund {
    /// In all, minor units.
    pub refund_minor: i64,
    /// For each line of the return, by line_id.
    pub lines: Vec<LineRefund>,
}

/// What a return refunds for a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineRefund {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub line_id: LineId,
    /// Minor units.
    pub refund_minor: i64,
}

/// An earning under review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReviewView {
    /// By which it is released or voided.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub entry: EntryId,
    /// Points.
    pub points: i64,
    /// When it was earned.
    #[serde(with = "crate::time::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Where.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub shop_id: ShopId,
    /// By which order.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub order_id: OrderId,
    /// Which limit it would have passed.
    pub limit: String,
}

/// The trust score and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrustView {
    /// Whose.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub customer_id: CustomerId,
    /// 0-100, 50 at first.
    pub score: i64,
    /// What the score means for limits and disputes.
    pub band: Band,
    /// Completed and cancelled orders.
    pub total_orders: u64,
    /// Completed orders.
    pub completed_orders: u64,
    /// Disputes opened.
    pub disputes_opened: u64,
    /// Disputes that a person decided for the customer.
    pub disputes_won_by_customer: u64,
    /// Disputes that a person decided for the seller.
    pub disputes_won_by_seller: u64,
    /// Standing and confirmed fraud flags.
    pub fraud_flags: Vec<String>,
    /// When a fact last changed.
    #[serde(with = "crate::time::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub last_updated: Option<Timestamp>,
    /// Changes of the score, newest first.
    pub history: Vec<TrustChange>,
}

/// What a score means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Band {
    /// Below 30: disputes by people only, limits a quarter, no burns.
    Manual,
    /// 30-49: stricter checks, limits halved.
    Strict,
    /// 50-70.
    Standard,
    /// Above 70, with a card of 30 days and 20,000 tenge paid on 5 days: limits doubled.
    Priority,
}

/// A change of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrustChange {
    /// When.
    #[serde(with = "crate::time::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// The score after it.
    pub score: i64,
    /// Why.
    pub cause: String,
}

/// A fraud flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FlagView {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub flag: FlagName,
    /// `raised`, `confirmed` or `dismissed`.
    pub state: String,
    /// The score after it.
    pub score: i64,
}

/// A hold's state: what `GET /v1/checkout/holds/{id}` answers, and what the view by id keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldView {
    /// The hold.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub hold_id: HoldId,
    /// Held, captured, released, expired or refused.
    pub state: HoldState,
    /// Whose; absent for guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub customer_id: Option<CustomerId>,
    /// Where.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub shop_id: ShopId,
    /// Until when it is held.
    #[serde(with = "crate::time::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    /// Points held, or taken by the capture.
    pub points: i64,
    /// What is to be paid, minor units.
    pub total_minor: i64,
    /// The order that a capture paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub order_id: Option<OrderId>,
}

/// Where a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum HoldState {
    /// Points and uses are kept for it.
    Held,
    /// Taken.
    Captured,
    /// Given back.
    Released,
    /// Its time ran out; for 72 h a capture may still come.
    Expired,
    /// Never came to be.
    Refused,
}

/// An adjustment that waits for a second person, or was decided: what the view by id keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApprovalView {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub approval_id: ApprovalId,
    /// Whose points.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub customer_id: CustomerId,
    /// `open`, `approved` or `rejected`.
    pub state: String,
    /// Plus or minus.
    pub points: i64,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub asked_by: String,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

/// Something that looks like fraud or a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignalView {
    /// What.
    pub kind: SignalKind,
    /// When.
    #[serde(with = "crate::time::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Whose.
    pub customer_id: String,
    /// Where, if at a shop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub shop_id: Option<ShopId>,
    /// By which order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub order_id: Option<OrderId>,
    /// With the numbers.
    pub detail: String,
}

/// The kinds of signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SignalKind {
    /// More than half of the day's cashback operations.
    CashbackOperations,
    /// More than half of the day's points earned.
    PointsEarned,
    /// More than half of the day's points burned.
    PointsBurned,
    /// An earning went under review.
    EarningUnderReview,
    /// A weighed line came more than 20 % short, or not at all.
    WeightOff,
    /// A late capture took less than it was priced with.
    CaptureUncovered,
    /// An event that was kept until it could take effect turned out impossible.
    KeptEventRefused,
    /// More than half of the day's scans of a card's QR code.
    Scans,
    /// One card was scanned often at one terminal on one day.
    TerminalScans,
    /// One customer's orders were often completed at one shop in one week.
    ShopOrders,
    /// An order of another customer was sent for this one.
    OrderOfTwoCustomers,
    /// So many wrong codes were typed that the customer is locked out for a while.
    WrongCodes,
}

impl SignalKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::CashbackOperations,
        Self::PointsEarned,
        Self::PointsBurned,
        Self::EarningUnderReview,
        Self::WeightOff,
        Self::CaptureUncovered,
        Self::KeptEventRefused,
        Self::Scans,
        Self::TerminalScans,
        Self::ShopOrders,
        Self::OrderOfTwoCustomers,
        Self::WrongCodes,
    ];

    /// The kind's name in lists and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CashbackOperations => "cashback_operations",
            Self::PointsEarned => "points_earned",
            Self::PointsBurned => "points_burned",
            Self::EarningUnderReview => "earning_under_review",
            Self::WeightOff => "weight_off",
            Self::CaptureUncovered => "capture_uncovered",
            Self::KeptEventRefused => "kept_event_refused",
            Self::Scans => "scans",
            Self::TerminalScans => "terminal_scans",
            Self::ShopOrders => "shop_orders",
            Self::OrderOfTwoCustomers => "order_of_two_customers",
            Self::WrongCodes => "wrong_codes",
        }
    }
}
