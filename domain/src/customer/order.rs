//! Orders: open ones wait in the state for what they need; of an ended one a fact stays (see `facts`), and its record
//! stands in the journal row that ended or last changed it.

use serde::{Deserialize, Serialize};

use crate::{
    amounts::{mul_div_floor, share_out},
    checkout::LineQuantity,
    ids::{LineId, OrderKey},
    line::Unit,
    offers::document::FundedBy,
    order_event::ChargedBy,
    time::{Day, Timestamp},
};

/// A line as an order keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Which.
    pub line_id: LineId,
    /// Pieces or grams ordered.
    pub quantity: i64,
    /// Which of the two.
    pub unit: Unit,
    /// Before discounts, minor units.
    pub total_minor: i64,
    /// Earns nothing, is not paid in points.
    pub restricted: bool,
}

/// What a placed order says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// When.
    pub at: Timestamp,
    /// The lines, by line_id.
    pub lines: Vec<OrderLine>,
    /// By which weight it is charged.
    pub charged_by: ChargedBy,
}

/// A return that waits for the order to be completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptReturn {
    /// The event's fingerprint.
    pub event: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub lines: Vec<LineQuantity>,
    /// The money refunded, where named.
    pub refund_minor: Option<i64>,
    /// Whether the shop is at fault: then offers are not priced anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_shop: bool,
}

/// An order that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOrder {
    /// Which.
    pub order: OrderKey,
    /// What was placed, when it has arrived.
    pub placed: Option<Placed>,
    /// What was delivered of weighed lines; the later arrival counts.
    pub weighed: Vec<(LineId, i64)>,
    /// When the latest of these was weighed.
    pub weighed_at: Option<Timestamp>,
    /// The completion (when, paid minor units) that waits for `placed`.
    pub completed: Option<(Timestamp, i64)>,
    /// Returns that wait for the completion, in order of arrival.
    pub returns: Vec<KeptReturn>,
}

impl OpenOrder {
    /// The latest time that an event of it bears.
    #[must_use]
    pub fn last_heard(&self) -> Timestamp {
        let placed = self.placed.as_ref().map(|placed| placed.at);
        let completed = self.completed.map(|(at, _)| at);
        let returned = self.returns.iter().map(|kept| kept.at).max();
        placed.max(completed).max(returned).max(self.weighed_at).unwrap_or_default()
    }

    /// An order of which something was heard.
    #[must_use]
    pub const fn new(order: OrderKey) -> Self {
        Self { order, placed: None, weighed: Vec::new(), weighed_at: None, completed: None, returns: Vec::new() }
    }
}

/// A line of a completed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLine {
    /// As ordered.
    #[serde(rename = "l")]
    pub line: OrderLine,
    /// Its share of the money paid, minor units.
    #[serde(rename = "m")]
    pub money_minor: i64,
    /// Grams delivered, where weighed.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub delivered_g: Option<i64>,
    /// Points of compensation, once booked.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub compensated: Option<i64>,
    /// Pieces or grams returned so far.
    #[serde(rename = "q", default, skip_serializing_if = "is_zero")]
    pub returned: i64,
    /// Money refunded so far, minor units.
    #[serde(rename = "r", default, skip_serializing_if = "is_zero")]
    pub refunded_minor: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(n: &i64) -> bool {
    *n == 0
}

impl RecordLine {
    /// What can be returned at most: what was delivered where it was weighed, else what was ordered.
    #[must_use]
    pub fn bought(&self) -> i64 {
        self.delivered_g.unwrap_or(self.line.quantity)
    }

    /// What a default refund divides by: what was delivered where that was charged, else what was ordered.
    #[must_use]
    pub fn charged(&self, by: ChargedBy) -> i64 {
        match (by, self.delivered_g) {
            (ChargedBy::Delivered, Some(grams)) if grams > 0 => grams,
            _ => self.line.quantity,
        }
    }

    /// What has been refunded by shares once `returned` of it came back: floor(share x returned / charged), minor units.
    #[must_use]
    pub fn refund_of(&self, returned: i64, by: ChargedBy) -> i64 {
        mul_div_floor(self.money_minor, returned, self.charged(by)).min(self.money_minor)
    }
}

/// A completed order: all that later events about it need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which.
    pub order: OrderKey,
    /// Its own time.
    pub at: Timestamp,
    /// Money paid, minor units.
    pub paid_minor: i64,
    /// By which weight it was charged.
    pub charged_by: ChargedBy,
    /// Whether it took effect with a card there: else it earns nothing, then or later.
    pub with_card: bool,
    /// The rate that it earned at, permyriad.
    pub rate_permyriad: u32,
    /// Cashback earned, points (pending, active, under review or voided).
    pub cashback: i64,
    /// The day on which that cashback's lot expires.
    pub expires: Day,
    /// The returns booked so far, by their events' fingerprints: one that comes again says nothing new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<u64>,
    /// Of the cashback, clawed back by returns so far.
    pub clawed_back: i64,
    /// The lines, by line_id.
    pub lines: Vec<RecordLine>,
    /// Points of the offers that it was sold with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bonuses: Vec<Bonus>,
}

/// Points that offers gave for an order, together for whoever pays for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bonus {
    /// Who pays.
    pub funded_by: FundedBy,
    /// Points given.
    pub points: i64,
    /// The day on which their lot expires.
    pub expires: Day,
    /// Of these, clawed back by returns so far.
    pub clawed_back: i64,
}

impl Record {
    /// The line of that id.
    #[must_use]
    pub fn line(&self, id: &LineId) -> Option<usize> {
        self.lines.binary_search_by(|line| line.line.line_id.cmp(id)).ok()
    }

    /// Money refunded so far, minor units.
    #[must_use]
    pub fn refunded(&self) -> i64 {
        self.lines.iter().map(|line| line.refunded_minor).sum()
    }

    /// Whether nothing of it is kept.
    #[must_use]
    pub fn is_all_returned(&self) -> bool {
        self.lines.iter().all(|line| line.returned >= line.bought())
    }

    /// What each line has refunded once all of it came back, minor units: together the money paid, but for what of a line
    /// charged by ordered weight was never delivered (that is compensated in points).
    #[must_use]
    pub fn refunds_of_all(&self) -> Vec<i64> {
        self.lines.iter().map(|line| line.refund_of(line.bought(), self.charged_by)).collect()
    }

    /// (kept, whole): the money of unrestricted lines that is kept after the returns so far, and all of it. Where no
    /// money was paid, line totals stand for it.
    #[must_use]
    pub fn kept(&self) -> (i64, i64) {
        let (kept, whole) = self.money();
        if whole > 0 {
            return (kept, whole);
        }
        self.unrestricted().fold((0, 0), |(kept, whole), line| {
            let total = line.line.total_minor;
            let back = mul_div_floor(total, line.returned, line.charged(self.charged_by)).min(total);
            (kept + total - back, whole + total)
        })
    }

    /// (kept, whole): the money of unrestricted lines alone.
    #[must_use]
    pub fn money(&self) -> (i64, i64) {
        let sums = |(w, r), line: &RecordLine| (w + line.money_minor, r + line.refunded_minor);
        let (whole, refunded) = self.unrestricted().fold((0, 0), sums);
        ((whole - refunded).max(0), whole)
    }

    fn unrestricted(&self) -> impl Iterator<Item = &RecordLine> {
        self.lines.iter().filter(|line| !line.line.restricted)
    }

    /// What points paid of each line, in minor units: shared out over unrestricted lines by their totals.
    #[must_use]
    pub fn points_by_line(&self, points: i64) -> Vec<i64> {
        let weights: Vec<i64> =
            self.lines.iter().map(|line| if line.line.restricted { 0 } else { line.line.total_minor }).collect();
        share_out(points * crate::amounts::MINOR_PER_POINT, &weights)
    }
}
