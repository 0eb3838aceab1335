//! Carts, offers and evaluations in few words.

use std::sync::Arc;

use adal_domain::{
    checkout::{Cart, check_cart},
    ids::OfferId,
    offers::{
        Applied, Asked, CompiledOffers, Offer, OfferKind, Offered, Reason, Reserved, Shopper, TypedCode, Use, evaluate,
    },
    policy::Policy,
    time::{Calendar, Timestamp},
};
use serde_json::{Value, json};

/// An offer with its id and kind.
pub type Named = (OfferId, OfferKind, Arc<Offer>);

pub fn id(text: &str) -> OfferId {
    OfferId::new(text).unwrap()
}

/// A campaign, or a promo where the document has codes.
pub fn offer(id: &str, document: Value) -> Named {
    let mut whole = json!({"name": id});
    whole.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
    let offer: Offer = serde_json::from_value(whole).unwrap_or_else(|e| panic!("{id}: {e}"));
    adal_domain::offers::validate(&offer).unwrap_or_else(|e| panic!("{id}: {e}"));
    let kind = if offer.codes.is_empty() { OfferKind::Campaign } else { OfferKind::Promo };
    (self::id(id), kind, Arc::new(offer))
}

/// A cart of these lines, bought in shop s1 in the app.
pub fn cart(lines: Value) -> Cart {
    serde_json::from_value(json!({
        "shop_id": "s1", "channel": "app", "codes": [], "points_to_burn": 0, "payment_method": null,
        "delivery_method": null, "delivery_minor": 0, "lines": lines
    }))
    .unwrap()
}

pub fn almaty() -> Calendar {
    Calendar::new("Asia/Almaty").unwrap()
}

/// A Monday, 15:30 in Almaty.
pub fn monday() -> Timestamp {
    Timestamp::parse("2026-11-23T10:30:00Z").unwrap()
}

pub fn typed(codes: &[&str]) -> Vec<TypedCode> {
    codes.iter().map(|code| TypedCode { typed: (*code).to_owned(), offer: None }).collect()
}

/// Everything that an evaluation needs, owned; all but cart and offers as most examples want it.
pub struct Case {
    pub offers: Vec<Named>,
    pub cart: Cart,
    pub shopper: Shopper,
    pub codes: Vec<TypedCode>,
    pub now: Timestamp,
    pub policy: Policy,
    pub explain: bool,
}

impl Case {
    pub fn new(offers: Vec<Named>, cart: Cart) -> Self {
        let (shopper, now, policy) = (Shopper::guest(), monday(), Policy::default());
        Self { offers, cart, shopper, codes: vec![], now, policy, explain: true }
    }

    pub fn subtotals(&self) -> Vec<i64> {
        check_cart(&self.cart, &self.policy).unwrap()
    }

    pub fn run_with(&self, uses: &dyn Fn(&Use<'_>) -> Result<(), Reason>) -> Offered {
        let set = CompiledOffers::compile(1, self.offers.iter().cloned());
        evaluate(&Asked {
            set: &set,
            cart: &self.cart,
            subtotals: &self.subtotals(),
            shopper: &self.shopper,
            codes: &self.codes,
            uses,
            now: self.now,
            calendar: &almaty(),
            policy: &self.policy,
            explain: self.explain,
        })
    }

    pub fn run(&self) -> Offered {
        self.run_with(&adal_domain::offers::unlimited)
    }
}

/// What a hold would keep of a quote's offers, as if no budget paid for them.
pub fn reserved(quote: &Offered) -> Vec<Reserved> {
    let of = |a: &Applied| Reserved {
        id: a.offer_id.clone(),
        kind: a.kind,
        offer: a.offer.clone(),
        code: a.code.clone(),
        most_minor: i64::MAX,
    };
    quote.applied.iter().map(of).collect()
}

/// The discounts of one campaign on these lines.
pub fn discounts(document: Value, lines: Value) -> Vec<i64> {
    Case::new(vec![offer("a", document)], cart(lines)).run().discounts
}

/// Why `id` does not count.
pub fn reason(offered: &Offered, id: &str) -> Option<Reason> {
    let found = offered.rejected.iter().find(|r| r.offer.as_ref().is_some_and(|(offer, _)| offer.as_str() == id));
    found.map(|rejected| rejected.reason)
}
