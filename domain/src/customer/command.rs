//! What can be asked of a customer, and what is answered.

use serde::{Deserialize, Serialize};

use crate::{
    card::Barcode,
    checkout::{Cart, LineQuantity, Quote, Uncovered},
    customer::read::{CardView, FlagView, HoldView, SignalKind},
    ids::{Actor, ApprovalId, EntryId, FlagName, HoldId, OrderId, OrderKey, ShopId},
    order_event::OrderEvent,
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
    /// What was due is done.
    Woken,
    /// The signal is listed.
    Noted,
}
