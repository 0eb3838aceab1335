//! What is sold: offers with every limit that is shared, few uses of each, and small budgets.

use std::{collections::HashMap, sync::Arc};

use adal_domain::{
    checkout::reserve::{Marks, PeriodAddress, period_ends},
    customer::Context,
    ids::OfferId,
    offers::{CompiledOffers, NormalCode, Offer, OfferKind, TypedCode},
    policy::Policy,
    promo::{KeyHash, budget_id, code_id},
    time::{Calendar, Timestamp},
};

use crate::ask::print_of;

/// Uses of the shared code.
pub(super) const CODE_USES: u64 = 4;
/// Money of the campaign's own budget, minor units.
pub(super) const SPRING_MINOR: i64 = 40_000;
/// Money that two campaigns share, minor units.
pub(super) const GIFTS_MINOR: i64 = 12_000;
/// Unique codes.
pub(super) const UNIQUE: [&str; 3] = ["SOLO-1", "SOLO-2", "SOLO-3"];

const DOCUMENTS: [(&str, OfferKind, &str); 8] = [
    (
        "code",
        OfferKind::Promo,
        r#"{"name": "a tenth", "codes": ["TEN"], "discount": {"type": "percent", "permyriad": 1000},
            "limits": {"total": 4, "per_customer": 2}}"#,
    ),
    (
        "solo",
        OfferKind::Promo,
        r#"{"name": "for one", "discount": {"type": "amount", "minor": 700}, "limits": {"per_customer": 2}}"#,
    ),
    (
        "spring",
        OfferKind::Campaign,
        r#"{"name": "spring", "discount": {"type": "percent", "permyriad": 500},
            "limits": {"budget_minor": 40000}}"#,
    ),
    (
        "gift-a",
        OfferKind::Campaign,
        r#"{"name": "a gift", "discount": {"type": "amount", "minor": 2000},
            "limits": {"budget_minor": 12000, "budget_group": "gifts", "total": 5}}"#,
    ),
    (
        "gift-b",
        OfferKind::Campaign,
        r#"{"name": "another", "discount": {"type": "amount", "minor": 1000},
            "limits": {"budget_minor": 12000, "budget_group": "gifts"}}"#,
    ),
    (
        "daily",
        OfferKind::Campaign,
        r#"{"name": "once a day", "discount": {"type": "amount", "minor": 300},
            "limits": {"per_customer_in": {"uses": 1, "period": "day"}}}"#,
    ),
    (
        "home",
        OfferKind::Campaign,
        r#"{"name": "three from one address", "discount": {"type": "amount", "minor": 200},
            "limits": {"per_ip_in": {"uses": 3, "period": "month"}}}"#,
    ),
    ("free", OfferKind::Campaign, r#"{"name": "as often as you like", "discount": {"type": "amount", "minor": 100}}"#),
];

pub(super) fn documents() -> Vec<(OfferId, OfferKind, Arc<Offer>)> {
    let read = |(id, kind, text): (&str, OfferKind, &str)| {
        let offer: Offer = serde_json::from_str(text).unwrap_or_else(|error| panic!("{id}: {error}"));
        (OfferId::new(id).unwrap(), kind, Arc::new(offer))
    };
    DOCUMENTS.into_iter().map(read).collect()
}

pub(super) fn compiled() -> CompiledOffers {
    CompiledOffers::compile(1, documents())
}

/// The greatest uses and money of each promo that has a limit.
pub(super) fn limits() -> HashMap<String, (Option<u64>, Option<i64>)> {
    let mut limits = HashMap::from([
        ("code".to_owned(), (Some(CODE_USES), None)),
        ("spring".to_owned(), (None, Some(SPRING_MINOR))),
        ("gift-a".to_owned(), (Some(5), None)),
        (budget_id("gifts"), (None, Some(GIFTS_MINOR))),
    ]);
    limits.extend(UNIQUE.map(|code| {
        let hash = code_hash(&NormalCode::new(code).unwrap());
        (code_id("solo", hash), (Some(1), None))
    }));
    limits
}

pub(super) fn typed(code: &str) -> TypedCode {
    let offer = UNIQUE.contains(&code).then(|| OfferId::new("solo").unwrap());
    TypedCode { typed: code.to_owned(), offer }
}

pub(super) fn code_hash(code: &NormalCode) -> KeyHash {
    KeyHash(print_of(code.as_str().as_bytes()))
}

/// Uses of `home` from one address: its period outlasts the simulation.
pub(super) const HOME_USES: usize = 3;

/// Whether the customer lives where another one does, too.
pub(super) fn is_at_home(customer: &str) -> bool {
    matches!(customer, "shopper-0" | "shopper-2")
}

/// The first two customers share a phone, the first and the third an address; the last has none.
pub(super) fn marks_of(customer: &str, at: Timestamp) -> Marks {
    let link_keys = if matches!(customer, "shopper-0" | "shopper-1") { vec![KeyHash([7; 16])] } else { vec![] };
    let hash = if is_at_home(customer) { KeyHash([1; 16]) } else { KeyHash([2; 16]) };
    let addresses = period_ends(&calendar(), at).map(|until| PeriodAddress { until, hash });
    Marks { addresses: if customer == "shopper-3" { vec![] } else { addresses.to_vec() }, link_keys }
}

pub(super) fn calendar() -> Calendar {
    Policy::default().calendar().unwrap()
}

pub(super) fn context() -> Context {
    Context {
        policy: Arc::new(Policy::default()),
        calendar: calendar(),
        revision: 1,
        earn: true,
        burn: true,
        trust_limits: true,
        promos: true,
        campaigns: true,
    }
}
