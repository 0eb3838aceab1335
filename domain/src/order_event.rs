//! What the shop's own systems say of an order: the wire form, which is also what the rules decide on.

use serde::{Deserialize, Serialize};

use crate::{
    amounts::MAX_ORDER_MINOR,
    checkout::LineQuantity,
    errors::{Code, Refusal},
    ids::{EventId, LineId, OrderKey},
    line::{Line, MAX_QUANTITY, check_lines},
    policy::Policy,
    time::Timestamp,
};

/// By which weight a weighed line was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ChargedBy {
    /// What was ordered: a shortfall is compensated.
    #[default]
    Ordered,
    /// What was delivered: the price has followed the weight already.
    Delivered,
}

/// Who cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CancelledBy {
    /// The customer.
    Customer,
    /// The shop.
    Shop,
    /// The system: a failed payment, say.
    System,
}

/// Whose fault a return is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Fault {
    /// A change of mind.
    #[default]
    Customer,
    /// The goods were not as sold.
    Shop,
}

/// What was delivered of a weighed line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveredLine {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub line_id: LineId,
    /// Grams, 0 to 10^9.
    pub delivered_g: i64,
}

/// What happened to the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OrderFact {
    /// The order was placed.
    Placed {
        /// At least one, at most 1,000.
        lines: Vec<Line>,
        /// Kept in the shop's systems, not used here.
        #[serde(default)]
        total_minor: Option<i64>,
        /// By which weight weighed lines are charged.
        #[serde(default)]
        charged_by: ChargedBy,
        /// Opaque hashes of phone or payment means.
        #[serde(default)]
        link_keys: Vec<String>,
    },
    /// Lines were weighed at delivery.
    Weighed {
        /// At least one.
        lines: Vec<DeliveredLine>,
    },
    /// The order was paid and delivered.
    Completed {
        /// All tenders but points, minor units.
        paid_minor: i64,
    },
    /// The order was cancelled.
    Cancelled {
        /// By whom.
        by: CancelledBy,
        /// Whether it had been picked.
        #[serde(default)]
        after_picking: bool,
    },
    /// Goods came back.
    Returned {
        /// At least one.
        lines: Vec<LineQuantity>,
        /// The money refunded, minor units; without it, the lines' share of what was paid.
        #[serde(default)]
        refund_minor: Option<i64>,
        /// Whose fault.
        #[serde(default)]
        fault: Fault,
    },
}

impl OrderFact {
    /// The type's name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "placed",
            Self::Weighed { .. } => "weighed",
            Self::Completed { .. } => "completed",
            Self::Cancelled { .. } => "cancelled",
            Self::Returned { .. } => "returned",
        }
    }
}

/// An order event for the customer that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// The event's id within its shop. The journal's own memory of ids lasts a day; a return, which adds up with those
    /// before it, is known by this for as long as its order is.
    pub event_id: EventId,
    /// Which order.
    pub order: OrderKey,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    pub fact: OrderFact,
}

/// The most link keys of an order or cart.
const MAX_LINK_KEYS: usize = 10;

/// Whether an order or a cart may carry these link keys.
///
/// # Errors
/// `invalid_field`.
pub fn check_link_keys(keys: &[String]) -> Result<(), Refusal> {
    if keys.len() > MAX_LINK_KEYS || keys.iter().any(|key| key.is_empty() || key.len() > 128) {
        return Err(Refusal::new(Code::InvalidField, "link_keys: at most 10, each 1-128 bytes"));
    }
    Ok(())
}

impl OrderEvent {
    /// Checks the event by itself: its time against the clock, its fields against their rules.
    ///
    /// # Errors
    /// `event_too_old`, `event_in_future`, `invalid_field`, `too_many_lines`, `duplicate_line`, `amount_too_large`.
    pub fn check(&self, policy: &Policy, now: Timestamp) -> Result<(), Refusal> {
        let oldest = Timestamp(now.0.saturating_sub(i64::from(policy.orders.remembered_days) * Timestamp::DAY));
        if self.at < oldest {
            let detail = format!("at: {} is more than {} days ago", self.at, policy.orders.remembered_days);
            return Err(Refusal::new(Code::EventTooOld, detail));
        }
        if self.at > now.plus_seconds(policy.orders.ahead_s) {
            let detail = format!("at: {} is more than {} s ahead of {now}", self.at, policy.orders.ahead_s);
            return Err(Refusal::new(Code::EventInFuture, detail));
        }
        match &self.fact {
            OrderFact::Placed { lines, total_minor, link_keys, .. } => {
                not_empty(lines)?;
                check_lines(lines, policy.checkout.max_lines)?;
                check_link_keys(link_keys)?;
                total_minor.map_or(Ok(()), |total| money("total_minor", total))
            }
            OrderFact::Weighed { lines } => {
                not_empty(lines)?;
                distinct(lines.iter().map(|line| &line.line_id), lines.len(), policy)?;
                match lines.iter().position(|line| !(0..=MAX_QUANTITY).contains(&line.delivered_g)) {
                    Some(i) => invalid(&format!("lines[{i}].delivered_g: must be 0 to {MAX_QUANTITY}")),
                    None => Ok(()),
                }
            }
            OrderFact::Completed { paid_minor } => money("paid_minor", *paid_minor),
            OrderFact::Cancelled { .. } => Ok(()),
            OrderFact::Returned { lines, refund_minor, .. } => {
                not_empty(lines)?;
                distinct(lines.iter().map(|line| &line.line_id), lines.len(), policy)?;
                if let Some(i) = lines.iter().position(|line| !(1..=MAX_QUANTITY).contains(&line.quantity)) {
                    return invalid(&format!("lines[{i}].quantity: must be 1 to {MAX_QUANTITY}"));
                }
                refund_minor.map_or(Ok(()), |refund| money("refund_minor", refund))
            }
        }
    }
}

fn invalid(detail: &str) -> Result<(), Refusal> {
    Err(Refusal::new(Code::InvalidField, detail))
}

fn not_empty<T>(lines: &[T]) -> Result<(), Refusal> {
    if lines.is_empty() { invalid("lines: at least one is needed") } else { Ok(()) }
}

fn money(field: &str, minor: i64) -> Result<(), Refusal> {
    if minor < 0 {
        invalid(&format!("{field}: must be 0 or more"))
    } else if minor > MAX_ORDER_MINOR {
        let detail = format!("{field}: at most {MAX_ORDER_MINOR}");
        Err(Refusal::new(Code::AmountTooLarge, detail).with_max(MAX_ORDER_MINOR))
    } else {
        Ok(())
    }
}

fn distinct<'a>(ids: impl Iterator<Item = &'a LineId>, count: usize, policy: &Policy) -> Result<(), Refusal> {
    if count > policy.checkout.max_lines {
        let detail = format!("lines: {count} given, at most {}", policy.checkout.max_lines);
        return Err(Refusal::new(Code::TooManyLines, detail));
    }
    let mut seen = std::collections::HashSet::with_capacity(count);
    for (i, id) in ids.enumerate() {
        if !seen.insert(id) {
            return Err(Refusal::new(Code::DuplicateLine, format!("lines[{i}].line_id: {id} comes twice")));
        }
    }
    Ok(())
}
