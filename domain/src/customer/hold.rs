//! A hold: a priced cart, and the points kept for it.

use serde::{Deserialize, Serialize};

use super::{
    ledger::LotPart,
    read::{HoldState, HoldView},
};
use crate::{
    checkout::{Basis, Cart, HeldOffer, Quote, Standing, reserve::PeriodAddress},
    ids::{ExchangeId, HoldId, LineId, OrderId},
    offers::Shopper,
    promo::KeyHash,
    qr::Step,
    time::{Calendar, Timestamp},
};

/// A hold that can still be captured: open, or past its time for less than 72 h.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Which.
    pub hold_id: HoldId,
    /// When it was made.
    pub at: Timestamp,
    /// Until when it is held.
    pub expires_at: Timestamp,
    /// Whether its time has run out: its points went back.
    pub expired: bool,
    /// The step of the pay scan that allows the burn.
    pub step: Option<Step>,
    /// The cart.
    pub cart: Cart,
    /// Lines that points may not pay, by the policy that priced it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restricted: Vec<LineId>,
    /// As priced.
    pub quote: Quote,
    /// What of the customer it was priced with.
    pub standing: Standing,
    /// The points held, soonest to expire first; empty once expired.
    pub parts: Vec<LotPart>,
    /// The offers held with it, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offers: Option<Box<HeldOffers>>,
}

/// The offers of a hold, and what they were priced with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOffers {
    /// In the order in which they were applied.
    pub offers: Vec<HeldOffer>,
    /// What of the customer decided about them.
    pub shopper: Shopper,
    /// The cap of all discounts together, permyriad.
    pub max_discount_permyriad: u32,
    /// The moment that their times and windows were compared with.
    pub at: Timestamp,
    /// Keyed hashes of phone or payment means: a late capture reserves under them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_keys: Vec<KeyHash>,
    /// The address, hashed for the periods that it was held in, where an offer counts it: a late capture counts there
    /// again, though the periods and their keys may be over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<PeriodAddress>,
}

/// How a hold ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldEnd {
    /// Taken.
    Captured {
        /// The order that it paid.
        order_id: OrderId,
        /// Points taken.
        points: i64,
        /// What was to be paid, minor units.
        total_minor: i64,
    },
    /// Given back by the caller.
    Released,
    /// A later hold with the same pay scan took its place.
    Replaced,
    /// Its time ran out; it stays for a late capture.
    Expired,
    /// The time for a late capture ran out too.
    Forgotten,
}

impl Hold {
    /// What it was priced with.
    #[must_use]
    pub fn basis<'a>(&'a self, calendar: &'a Calendar, nobody: &'a Shopper) -> Basis<'a> {
        let offers = self.offers.as_deref();
        Basis {
            cart: &self.cart,
            standing: &self.standing,
            shopper: offers.map_or(nobody, |held| &held.shopper),
            offers: offers.map_or(&[], |held| &held.offers),
            restricted: &self.restricted,
            at: offers.map_or(self.at, |held| held.at),
            calendar,
            max_discount_permyriad: offers.map_or(10_000, |held| held.max_discount_permyriad),
        }
    }

    /// The offers held with it.
    #[must_use]
    pub fn held_offers(&self) -> &[HeldOffer] {
        self.offers.as_deref().map_or(&[], |held| &held.offers)
    }

    /// Its id at promos.
    #[must_use]
    pub fn exchange(&self) -> Option<ExchangeId> {
        ExchangeId::new(self.hold_id.as_str()).ok()
    }

    /// Points held now.
    #[must_use]
    pub fn points(&self) -> i64 {
        self.parts.iter().map(|part| part.points).sum()
    }

    /// As others see it.
    #[must_use]
    pub fn view(&self) -> HoldView {
        HoldView {
            hold_id: self.hold_id.clone(),
            state: if self.expired { HoldState::Expired } else { HoldState::Held },
            customer_id: self.standing.customer_id.clone(),
            shop_id: self.cart.shop_id.clone(),
            expires_at: self.expires_at,
            points: self.quote.points_burned,
            total_minor: self.quote.total_minor,
            order_id: None,
        }
    }

    /// As others see it once it has ended.
    #[must_use]
    pub fn view_after(&self, end: &HoldEnd) -> HoldView {
        let view = self.view();
        match end {
            HoldEnd::Captured { order_id, points, total_minor } => HoldView {
                state: HoldState::Captured,
                order_id: Some(order_id.clone()),
                points: *points,
                total_minor: *total_minor,
                ..view
            },
            HoldEnd::Released | HoldEnd::Replaced => HoldView { state: HoldState::Released, ..view },
            HoldEnd::Expired | HoldEnd::Forgotten => HoldView { state: HoldState::Expired, ..view },
        }
    }
}
