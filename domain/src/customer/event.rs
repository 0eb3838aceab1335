//! What happens to a customer. Each event carries every fact that `apply` needs: dates, rates and points are decided
//! once, and stand in the journal.

use serde::{Deserialize, Serialize};

use super::{
    command::CardChange,
    hold::{Hold, HoldEnd},
    ledger::{EarnedBy, Entry, LotPart, Pending, UnderReview},
    marketing::{CountedUse, ListedUse},
    order::{KeptReturn, Placed, Record},
    read::{ApprovalView, HoldView, SignalKind, StatementEntry, TrustChange},
    tier::TierBase,
    trust::OldFacts,
};
use crate::{
    card::Barcode,
    checkout::{LineQuantity, Quote},
    ids::{Actor, ApprovalId, EntryId, FlagName, HoldId, LineId, OfferId, OrderKey, ShopId, Word},
    order_event::CancelledBy,
    promo::{Used, book::BookEvent},
    time::{Day, Timestamp},
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The card was issued.
    CardIssued {
        /// Its barcode.
        barcode: Barcode,
        /// Member since.
        since: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// The card was blocked, unblocked, reissued or closed.
    CardChanged {
        /// How.
        change: CardChange,
        /// Why.
        reason: Box<str>,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
        /// The old and the new barcode, of a reissue.
        barcodes: Option<(Barcode, Barcode)>,
        /// No burns before this, of a reissue.
        burns_from: Option<Timestamp>,
    },
    /// The balance changed.
    Entry(Entry),
    /// Cashback was earned, not active yet.
    Pending(Pending),
    /// Pending cashback became active: the entry follows.
    PendingEnded {
        /// By which order.
        order: OrderKey,
        /// Points that leave: all of it at activation, less at a return.
        points: i64,
        /// What they are.
        #[serde(default, skip_serializing_if = "EarnedBy::is_cashback")]
        source: EarnedBy,
    },
    /// An earning passed a limit and waits for support.
    UnderReview(UnderReview),
    /// Support decided, or a return took it.
    ReviewEnded {
        /// Which.
        entry: EntryId,
        /// Points that leave the review.
        points: i64,
        /// Why.
        end: ReviewEnd,
        /// When.
        at: Timestamp,
    },
    /// A day's limits count an earning.
    Counted {
        /// The day.
        day: Day,
        /// Cashback operations.
        operations: i64,
        /// Points earned.
        earned: i64,
        /// Points burned.
        burned: i64,
    },
    /// A return could not take back all: later earnings pay it.
    Debt {
        /// By which order.
        order: OrderKey,
        /// Points.
        points: i64,
        /// When.
        at: Timestamp,
    },
    /// Points that expired unspent were counted as clawed back.
    ExpiredCounted {
        /// The day on which they had expired.
        day: Day,
        /// Points.
        points: i64,
    },
    /// Points that support voided were counted as clawed back.
    VoidedCounted {
        /// The order's fingerprint.
        key: u64,
        /// Points.
        points: i64,
    },
    /// An expired lot lives again.
    LotRevived {
        /// The day on which it had expired.
        expired: Day,
        /// Until 00:00 of this day.
        until: Day,
    },
    /// Points burned for an order were given back (some may be lost: their lot had its second life).
    BurnReturned {
        /// The order's fingerprint.
        key: u64,
        /// Points, lost ones included.
        points: i64,
        /// Of these, lost.
        lost: i64,
    },
    /// A cart's points are held.
    Held(Box<Hold>),
    /// A hold ended, or ran out.
    HoldEnded {
        /// Which.
        hold_id: HoldId,
        /// How.
        end: HoldEnd,
        /// When.
        at: Timestamp,
        /// Points that go back to their lots.
        back: Vec<LotPart>,
        /// As others see it from now on.
        view: Box<HoldView>,
    },
    /// The exchanges with promos moved on.
    Book(BookEvent),
    /// Uses of offers that are limited per customer count from now on, or no longer.
    UsesCounted {
        /// One more of each.
        more: Vec<CountedUse>,
        /// One less of each.
        less: Vec<CountedUse>,
    },
    /// A hold without offers was captured, for an order that has not come: it counts as one until that comes.
    CaptureCounted {
        /// The order's fingerprint.
        key: u64,
        /// When.
        at: Timestamp,
    },
    /// A hold with offers was captured: all that a later return of its order needs.
    Sold {
        /// The order.
        order: OrderKey,
        /// When.
        at: Timestamp,
        /// The day of that; absent in rows of before it was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        day: Option<Day>,
        /// The hold.
        hold: Box<Hold>,
        /// What was sold, of the hold's lines.
        quote: Box<Quote>,
        /// How much of the hold's lines, where it was less than all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<Vec<LineQuantity>>,
        /// What was taken from promos.
        used: Vec<Used>,
        /// The offers of which a use was taken: a smaller sale, or a late one, has not all that was held.
        #[serde(default)]
        taken: Vec<OfferId>,
        /// What each of these took off, minor units; absent in rows of before it was written.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        took: Vec<i64>,
    },
    /// The uses of a sale were given back, or its order can no longer be returned.
    SaleEnded {
        /// The order's fingerprint.
        key: u64,
        /// The offers whose uses came back.
        returned: Vec<OfferId>,
        /// The uses that are not listed any more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unlisted: Vec<ListedUse>,
        /// When.
        at: Timestamp,
    },
    /// The customer joined or left segments.
    SegmentsChanged {
        /// Joined.
        joined: Vec<Word>,
        /// Left.
        left: Vec<Word>,
        /// Who said so.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// Points were burned for an order: the entry stands beside.
    Burned {
        /// The order's fingerprint.
        key: u64,
        /// When.
        at: Timestamp,
        /// The lots that they came from.
        spent: Vec<LotPart>,
    },
    /// The order was placed.
    OrderPlaced {
        /// Which.
        order: OrderKey,
        /// What.
        placed: Placed,
        /// Opaque hashes of phone or payment means.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        link_keys: Vec<String>,
    },
    /// Lines of an open order were weighed.
    OrderWeighed {
        /// Which.
        order: OrderKey,
        /// When.
        at: Timestamp,
        /// Grams by line.
        lines: Vec<(LineId, i64)>,
    },
    /// An order that never ended was let go.
    OrderForgotten {
        /// Which.
        order: OrderKey,
    },
    /// A completion waits for `placed`.
    CompletionKept {
        /// Which.
        order: OrderKey,
        /// When it happened.
        at: Timestamp,
        /// Minor units.
        paid_minor: i64,
    },
    /// A return waits for the completion.
    ReturnKept {
        /// Which.
        order: OrderKey,
        /// What.
        kept: KeptReturn,
    },
    /// The order was completed.
    OrderCompleted {
        /// When it was decided: a late event is later than its own time.
        decided: Timestamp,
        /// The order as it ended.
        record: Box<Record>,
    },
    /// A completed order changed: a return, a weight that came later, or the lot of cashback that support released.
    OrderAmended {
        /// When it was decided.
        decided: Timestamp,
        /// The order as it stands now.
        record: Box<Record>,
    },
    /// The order was cancelled.
    OrderCancelled {
        /// Which.
        order: OrderKey,
        /// Its own time.
        at: Timestamp,
        /// When it was decided.
        decided: Timestamp,
        /// By whom.
        by: CancelledBy,
        /// Whether it had been picked.
        after_picking: bool,
    },
    /// An adjustment waits for a second person.
    AdjustmentAsked {
        /// Which.
        approval_id: ApprovalId,
        /// Plus or minus.
        points: i64,
        /// Why.
        reason: Box<str>,
        /// Who asked.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// The second person decided.
    AdjustmentDecided {
        /// As others see it from now on.
        view: Box<ApprovalView>,
        /// When.
        at: Timestamp,
    },
    /// A fraud flag was raised.
    FlagRaised {
        /// Its name.
        flag: FlagName,
        /// Why.
        reason: Box<str>,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// A fraud flag was confirmed or dismissed.
    FlagDecided {
        /// Its name.
        flag: FlagName,
        /// Confirmed or dismissed.
        confirmed: bool,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// The trust score changed.
    Trust {
        /// When.
        at: Timestamp,
        /// The score from then on.
        score: i64,
        /// Why.
        cause: Box<str>,
    },
    /// Something looks like fraud or a mistake.
    Signal {
        /// What.
        kind: SignalKind,
        /// When.
        at: Timestamp,
        /// Where.
        shop_id: Option<ShopId>,
        /// By which order.
        order: Option<OrderKey>,
        /// With the numbers.
        detail: Box<str>,
    },
    /// Facts too old to change left the memory; what they still say stays.
    FactsAged {
        /// Earlier facts go.
        before: Timestamp,
        /// Where the tier's walk begins from now on.
        tier: TierBase,
        /// What of them counts for trust.
        old: OldFacts,
    },
}

/// How an earning under review ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewEnd {
    /// It became points: the entry follows.
    Released {
        /// Why.
        reason: Box<str>,
        /// Who.
        by: Actor,
    },
    /// It did not.
    Voided {
        /// Why.
        reason: Box<str>,
        /// Who.
        by: Actor,
    },
    /// A return took it.
    ClawedBack,
}

impl Event {
    /// The statement's line, if this is one.
    #[must_use]
    pub fn statement_entry(&self) -> Option<StatementEntry> {
        let Self::Entry(entry) = self else { return None };
        Some(StatementEntry {
            entry: entry.entry.clone(),
            at: entry.at,
            points: entry.points,
            balance_after: entry.balance_after,
            cause: entry.cause,
            shop_id: entry.order.as_ref().map(|order| order.shop_id.clone()),
            order_id: entry.order.as_ref().map(|order| order.order_id.clone()),
            funded_by: entry.funded_by.unwrap_or_default().as_str().to_owned(),
            reason: entry.reason.as_deref().map(str::to_owned),
            refund_minor: entry.refund.as_ref().map(|refund| refund.refund_minor),
            lines: entry.refund.as_ref().map_or_else(Vec::new, |refund| refund.lines.clone()),
        })
    }

    /// The change of the trust score, if this is one.
    #[must_use]
    pub fn trust_change(&self) -> Option<TrustChange> {
        let Self::Trust { at, score, cause } = self else { return None };
        Some(TrustChange { at: *at, score: *score, cause: cause.to_string() })
    }

    /// The completed order's record, if this event carries one.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::OrderCompleted { record, .. } | Self::OrderAmended { record, .. } => Some(record),
            _ => None,
        }
    }
}
