//! What can be asked of a customer, and what is answered.

use serde::{Deserialize, Serialize};

use crate::{
    card::Barcode,
    checkout::{Cart, HeldOffer, LineQuantity, Quote, Uncovered, reserve::PeriodAddress},
    customer::read::{CardView, FlagView, HoldView, Refund, SignalKind},
    errors::Refusal,
    ids::{Actor, ApprovalId, EntryId, FlagName, HoldId, OrderId, OrderKey, ShopId, Word},
    order_event::OrderEvent,
    promo::{KeyHash, book::Part, protocol::Ask},
    qr::Step,
    time::Timestamp,
};

/// A command. Who asked stands in `by` where a person or a service answers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Issue the card; the same card where there is one.
    IssueCard {
        /// Member since, for members of a former system.
        since: Option<Timestamp>,
        /// A barcode that no card has: the caller has looked. Without one it is drawn from the command's random bits.
        barcode: Option<Barcode>,
    },
    /// Change the card's status or give it a new barcode.
    ChangeCard {
        /// How.
        change: CardChange,
        /// For a reissue: a barcode that no card has.
        barcode: Option<Barcode>,
        /// Why, 1-200 characters.
        reason: String,
        /// Who.
        by: Actor,
    },
    /// Give or take points by hand. Above the policy's number a second person decides.
    Adjust {
        /// Plus or minus.
        points: i64,
        /// Why.
        reason: String,
        /// Who.
        by: Actor,
    },
    /// The second person's decision on an adjustment.
    DecideAdjustment {
        /// Which.
        approval_id: ApprovalId,
        /// Yes or no.
        approve: bool,
        /// Who.
        by: Actor,
    },
    /// Release an earning under review, or void it.
    DecideReview {
        /// Which.
        entry: EntryId,
        /// Release or void.
        release: bool,
        /// Why.
        reason: String,
        /// Who.
        by: Actor,
    },
    /// Raise a fraud flag.
    RaiseFlag {
        /// Its name.
        flag: FlagName,
        /// Why.
        reason: String,
        /// Who.
        by: Actor,
    },
    /// Confirm or dismiss a fraud flag.
    DecideFlag {
        /// Its name.
        flag: FlagName,
        /// Confirm or dismiss.
        confirm: bool,
        /// Who.
        by: Actor,
    },
    /// An order event.
    Order(OrderEvent),
    /// Hold what a cart needs.
    Hold(HoldRequest),
    /// Take what is held.
    Capture {
        /// Which.
        hold_id: HoldId,
        /// The order that it pays.
        order_id: OrderId,
        /// What was sold, where it is less than what was held.
        lines: Option<Vec<LineQuantity>>,
        /// What promos still had for it, where it is past its time.
        late: Option<Box<Lately>>,
    },
    /// A hold that was prepared will not be made: whatever promos keep for it is released.
    RefuseHold {
        /// Which.
        hold_id: HoldId,
        /// Until when it would have lasted.
        expires_at: Timestamp,
        /// The promos that may keep something for it.
        promos: Vec<Box<str>>,
        /// The answer, where this is one.
        why: Option<Box<Refusal>>,
    },
    /// A promo asks what became of an exchange.
    PromoAsks(Ask),
    /// Join or leave segments.
    ChangeSegments {
        /// Join.
        join: Vec<Word>,
        /// Leave.
        leave: Vec<Word>,
        /// Who says so.
        by: Actor,
    },
    /// Give back what is held.
    Release {
        /// Which.
        hold_id: HoldId,
    },
    /// Something that the edge counted looks like fraud or a mistake. For people to look at: it changes nothing else.
    Signal {
        /// What.
        kind: SignalKind,
        /// Where.
        shop_id: Option<ShopId>,
        /// By which order.
        order: Option<OrderKey>,
        /// With the numbers.
        detail: String,
    },
    /// A timer fired: do what is due.
    Wake,
}

/// A change of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardChange {
    /// It earns, and does not burn.
    Block,
    /// Undo a block.
    Unblock,
    /// A new barcode and secret; burns wait 24 h.
    Reissue,
    /// For good.
    Close,
}

/// A cart to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRequest {
    /// The cart.
    pub cart: Cart,
    /// Seconds; `None`: the policy's.
    pub ttl_s: Option<i64>,
    /// The total that the caller saw, minor units.
    pub expected_total_minor: Option<i64>,
    /// The step of a fresh pay scan at this till; the edge has checked it.
    pub scan_step: Option<Step>,
    /// Why points cannot be burned at this till, where there is no such scan.
    pub no_burn: Option<crate::errors::Code>,
    /// The offers that the cart was priced with, and what promos keep for it; absent where no offer counts.
    #[serde(default)]
    pub offered: Option<Box<OfferedHold>>,
}

/// A hold that was priced with offers, and what promos keep for it: see `promo::protocol`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedHold {
    /// Its id: never used before.
    pub hold_id: HoldId,
    /// The moment that offers were evaluated for.
    pub at: Timestamp,
    /// Until when it is held.
    pub expires_at: Timestamp,
    /// The print of the customer's facts that it was priced with: on others it would cost something else.
    pub facts: String,
    /// The quote: what of it depends on the catalogue stands here, the rest is priced again.
    pub quote: Box<Quote>,
    /// The offers that count, in their order.
    pub offers: Vec<HeldOffer>,
    /// The cap of all discounts together, permyriad.
    pub max_discount_permyriad: u32,
    /// What promos keep.
    pub parts: Vec<Part>,
    /// Keyed hashes of phone or payment means, under which they keep it.
    #[serde(default)]
    pub link_keys: Vec<KeyHash>,
    /// The address, hashed for its periods, where an offer counts it.
    #[serde(default)]
    pub addresses: Vec<PeriodAddress>,
}

/// What a capture past its hold's time found at promos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lately {
    /// The exchange under which promos keep it.
    pub hold_id: HoldId,
    /// Until when.
    pub expires_at: Timestamp,
    /// The promos that were asked: one that keeps nothing has nothing left.
    #[serde(default)]
    pub asked: Vec<Box<str>>,
    /// What they keep.
    pub parts: Vec<Part>,
}

/// What an accepted command answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The card, and whether it was made by this command.
    Card {
        /// Whether it is new.
        created: bool,
        /// The card after the command.
        card: Box<CardView>,
    },
    /// The adjustment is in the ledger.
    Adjusted {
        /// Its entry.
        entry: EntryId,
        /// Points of the balance after it.
        balance: i64,
    },
    /// The adjustment waits for a second person.
    AwaitsApproval {
        /// Which.
        approval_id: ApprovalId,
    },
    /// The second person said no.
    Rejected {
        /// Which.
        approval_id: ApprovalId,
    },
    /// An earning under review was decided.
    Reviewed {
        /// Which.
        entry: EntryId,
        /// Released or voided.
        released: bool,
        /// Points of the balance after it.
        balance: i64,
    },
    /// A fraud flag after the command.
    Flag(FlagView),
    /// The event took its place; `changed` is false where it says nothing new.
    Order {
        /// Whether it changed anything.
        changed: bool,
        /// What it refunds, where it is a return that took effect; absent in rows of before it was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refund: Option<Box<Refund>>,
    },
    /// Held.
    Held(Box<Quote>),
    /// Captured.
    Captured {
        /// As sold.
        quote: Box<Quote>,
        /// What could not be taken any more.
        uncovered: Vec<Uncovered>,
        /// The order that it paid.
        order_id: OrderId,
        /// Where.
        shop_id: ShopId,
    },
    /// Released.
    Released(HoldView),
    /// The hold is not made, for good.
    HoldRefused(Option<Box<Refusal>>),
    /// The segments that the customer is in now.
    Segments(Vec<Word>),
    /// What was due is done.
    Woken,
    /// The signal is listed.
    Noted,
}
