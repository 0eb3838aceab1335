//! How many bytes a customer's state takes, for the registry's bound on memory. A walk over the whole state: what grows
//! with what a customer did is counted, or the bound would be one in name alone.
//!
//! Counted is what is asked of the allocator, not what it rounds that up to. An id counts at every place where it stands,
//! as it is after a reload; in a state that has not been reloaded since, some are shared.

use std::mem::size_of;

use thin_vec::ThinVec;

use super::{
    Approval, Rare, State,
    history::Facts,
    hold::{HeldOffers, Hold},
    ledger::{Burn, LotPart, Pending, UnderReview},
    marketing::{Marketing, Sale},
    order::{KeptReturn, OpenOrder, OrderLine, Placed},
    pile::Pile,
};
use crate::{
    checkout::{AppliedOffer, Cart, Quote, QuoteLine, RejectedOffer},
    ids::OrderKey,
    line::Line,
    promo::book::{Book, Part, Promised},
};

/// The bytes of a state and of all that it points to.
pub(super) fn of(state: &State) -> usize {
    size_of::<State>() + state.heap()
}

/// What a value points to, in bytes; its own size is counted by whoever holds it.
trait Heap {
    fn heap(&self) -> usize;
}

/// The text of an id: behind two counts, in words.
const fn id(text: &str) -> usize {
    (16 + text.len()).next_multiple_of(8)
}

macro_rules! ids {
    ($($name:ident),+) => {$(
        impl Heap for crate::ids::$name {
            fn heap(&self) -> usize {
                id(self.as_str())
            }
        }
    )+};
}
ids!(CustomerId, ShopId, OrderId, LineId, Sku, Word, Actor, HoldId, ApprovalId, EntryId, FlagName, OfferId, ExchangeId);

/// Values that point to nothing.
macro_rules! flat {
    ($($type:ty),+) => {$(
        impl Heap for $type {
            fn heap(&self) -> usize {
                0
            }
        }
    )+};
}
flat!(
    super::ledger::Lot,
    LotPart,
    i64,
    u64,
    crate::time::Day,
    crate::time::Timestamp,
    crate::qr::Step,
    Sale,
    crate::promo::Counter
);

impl<T: Heap> Heap for Option<T> {
    fn heap(&self) -> usize {
        self.as_ref().map_or(0, T::heap)
    }
}

impl<T: Heap> Heap for Box<T> {
    fn heap(&self) -> usize {
        size_of::<T>() + (**self).heap()
    }
}

impl Heap for Box<str> {
    fn heap(&self) -> usize {
        self.len()
    }
}

impl Heap for String {
    fn heap(&self) -> usize {
        self.capacity()
    }
}

impl<A: Heap, B: Heap> Heap for (A, B) {
    fn heap(&self) -> usize {
        self.0.heap() + self.1.heap()
    }
}

impl<T: Heap> Heap for Vec<T> {
    fn heap(&self) -> usize {
        self.capacity() * size_of::<T>() + self.iter().map(T::heap).sum::<usize>()
    }
}

impl<T: Heap> Heap for ThinVec<T> {
    fn heap(&self) -> usize {
        // Its length and capacity stand before the values; an empty one points to nothing of its own.
        let header = if self.capacity() == 0 { 0 } else { 16 };
        header + self.capacity() * size_of::<T>() + self.iter().map(T::heap).sum::<usize>()
    }
}

/// What is long is not walked: this is asked after every row.
impl Heap for Facts {
    fn heap(&self) -> usize {
        self.weight()
    }
}

/// As long as the latest few of it are on average.
impl<T: Heap> Heap for Pile<T> {
    fn heap(&self) -> usize {
        const LOOKED_AT: usize = 8;
        let (looked, heap) =
            self.iter().take(LOOKED_AT).fold((0, 0), |(count, sum), item| (count + 1, sum + item.heap()));
        let header = if self.is_empty() { 0 } else { 16 };
        header + self.capacity() * size_of::<T>() + (self.len() * heap).checked_div(looked).unwrap_or(0)
    }
}

/// The documents of held offers, by a generous measure: they are few, and let go with their hold.
impl Heap for HeldOffers {
    fn heap(&self) -> usize {
        const DOCUMENT: usize = 1024;
        self.offers.capacity()
            * (size_of::<crate::checkout::HeldOffer>() + size_of::<crate::offers::Offer>() + DOCUMENT)
    }
}

/// The sum of some fields: those that point to something.
macro_rules! fields {
    ($($type:ty { $($field:ident),* })+) => {$(
        impl Heap for $type {
            fn heap(&self) -> usize {
                0 $(+ self.$field.heap())*
            }
        }
    )+};
}

fields! {
    State { id, card, ledger, holds, used_steps, open_orders, facts, standing, rare }
    Rare { approvals, marketing }
    crate::card::Card { reason }
    super::Ledger { lots, pending, reviews, voided, expired, revived, burns }
    Pending { order }
    UnderReview { entry, order, limit }
    Burn { spent }
    OrderKey { shop_id, order_id }
    OpenOrder { order, placed, weighed, returns }
    Placed { lines }
    OrderLine { line_id }
    KeptReturn { lines }
    crate::checkout::LineQuantity { line_id }
    Hold { hold_id, cart, restricted, quote, standing, parts, offers }
    Marketing { segments, uses, sales, returned, captured, book }
    super::marketing::OfferUses { offer_id, times }
    Book { holds, over, returns }
    Promised { hold, parts }
    Part { promo, counters }
    crate::promo::Used { promo, counters }
    Cart { shop_id, codes, payment_method, delivery_method, lines }
    Line { line_id, sku, category, brand, tags }
    Quote { quote_id, lines, applied, rejected, hold }
    QuoteLine { line_id, offers }
    crate::checkout::LineOffer { offer_id }
    AppliedOffer { offer_id, kind, code, funded_by, explanation }
    RejectedOffer { offer_id, code, reason, condition }
    crate::checkout::HoldRef { hold_id }
    crate::checkout::Standing { customer_id }
    Approval { approval_id, reason, by }
    super::FraudFlag { flag }
    super::Standing { flags }
}
