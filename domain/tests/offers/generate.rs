//! Made-up carts and catalogues: few ids, small numbers and many ties, since that is where engines differ.

use adal_domain::{
    checkout::Cart,
    offers::{Offer, OfferKind, Shopper, TypedCode, validate},
};
use proptest::{prelude::*, sample::select};
use serde_json::{Map, Value, json};

use crate::say::{self, Case, Named, id};

/// A document's field that may be left out.
type Field = (&'static str, Option<Value>);

fn object(fields: impl IntoIterator<Item = Field>) -> Value {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>().into()
}

fn maybe<T: std::fmt::Debug + Clone + Into<Value> + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<Value>> {
    prop::option::weighted(0.3, strategy.prop_map(Into::into)).boxed()
}

fn rarely(word: &'static str, value: Value, weight: f64) -> BoxedStrategy<Field> {
    prop::bool::weighted(weight).prop_map(move |given| (word, given.then(|| value.clone()))).boxed()
}

fn words(from: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::sample::subsequence(from, 0..=2).prop_map(|words| json!(words)).boxed()
}

fn line(most: i64) -> impl Strategy<Value = Value> {
    let price = prop_oneof![2 => select(&[0_i64, 1, 7, 100, 250, 1000][..]), 1 => 0_i64..3000];
    let quantity =
        prop_oneof![4 => (1..=most).prop_map(|q| (q, "piece")), 1 => (1_i64..3000).prop_map(|q| (q, "gram"))];
    (
        "[a-z][0-9]{0,2}",
        select(&["a", "b", "c", "d"][..]),
        prop::option::of(select(&["food", "toys", "tobacco"][..])),
        prop::option::of(select(&["x", "y"][..])),
        prop::sample::subsequence(&["sale", "new", "bio"][..], 0..=2),
        (quantity, prop::bool::weighted(0.2)),
        price,
        maybe(0_i64..800),
    )
        .prop_map(|(line_id, sku, category, brand, tags, ((quantity, unit), is_total), price, floor)| {
            object([
                ("line_id", Some(json!(line_id))),
                ("sku", Some(json!(sku))),
                ("category", category.map(Into::into)),
                ("brand", brand.map(Into::into)),
                ("tags", Some(json!(tags))),
                ("quantity", Some(json!(quantity))),
                ("unit", Some(json!(unit))),
                (if is_total { "line_total_minor" } else { "unit_price_minor" }, Some(json!(price))),
                ("min_price_minor", floor),
            ])
        })
}

pub fn carts(lines: std::ops::Range<usize>, most: i64) -> impl Strategy<Value = Cart> {
    (prop::collection::vec(line(most), lines), 0_i64..900, select(&["s1", "s2"][..]), select(&["app", "pos"][..]))
        .prop_map(|(mut lines, delivery, shop, channel)| {
            let mut seen = std::collections::HashSet::new();
            lines.retain(|line| seen.insert(line["line_id"].clone()));
            let mut cart = say::cart(json!(lines));
            cart.delivery_minor = delivery;
            cart.shop_id = serde_json::from_value(json!(shop)).unwrap();
            cart.channel = serde_json::from_value(json!(channel)).unwrap();
            cart
        })
}

fn selection() -> impl Strategy<Value = Value> {
    (
        maybe(words(&["a", "b", "c", "z"])),
        maybe(words(&["food", "toys"])),
        maybe(words(&["x", "y"])),
        maybe(words(&["sale", "new"])),
        maybe(words(&["s1", "s3"])),
        maybe(0_i64..1000),
        maybe(1000_i64..3000),
    )
        .prop_map(|(skus, categories, brands, tags, shops, least, most)| {
            object([
                ("skus", skus),
                ("categories", categories),
                ("brands", brands),
                ("tags", tags),
                ("shops", shops),
                ("min_unit_price_minor", least),
                ("max_unit_price_minor", most),
            ])
        })
}

fn selector() -> impl Strategy<Value = Value> {
    let some = (prop::collection::vec(selection(), 0..3), prop::collection::vec(selection(), 0..2))
        .prop_map(|(include, exclude)| json!({"include": include, "exclude": exclude}));
    prop_oneof![1 => Just(json!({})), 2 => some]
}

fn discount() -> impl Strategy<Value = Value> {
    let pieces = || {
        (maybe(1_i64..6), maybe(1_i64..4), maybe(select(&["cheapest", "dearest"][..])), maybe(2_i64..4)).prop_map(
            |(most, per_line, choose, group)| {
                vec![("max_pieces", most), ("max_pieces_per_line", per_line), ("choose", choose), ("group_of", group)]
            },
        )
    };
    let of =
        |kind: &'static str, fields: Vec<Field>| object(std::iter::once(("type", Some(json!(kind)))).chain(fields));
    let permyriad = || prop_oneof![Just(10_000_i64), 1_i64..10_000];
    prop_oneof![
        3 => (permyriad(), maybe(1_i64..500), pieces()).prop_map(move |(permyriad, most, pieces)| {
            of("percent", [vec![("permyriad", Some(json!(permyriad))), ("max_minor", most)], pieces].concat())
        }),
        3 => (1_i64..2000, select(&["selection", "piece", "line"][..]), pieces()).prop_map(move |(minor, per, pieces)| {
            of("amount", [vec![("minor", Some(json!(minor))), ("per", Some(json!(per)))], pieces].concat())
        }),
        2 => (1_i64..2000, pieces()).prop_map(move |(minor, pieces)| {
            of("fixed_price", [vec![("minor", Some(json!(minor)))], pieces].concat())
        }),
        4 => (1_i64..4, 1_i64..3, permyriad(), maybe(select(&["cheapest", "dearest"][..])), maybe(1_i64..3), maybe(selector()))
            .prop_map(move |(buy, get, permyriad, choose, times, buys)| of("buy_x_get_y", vec![
                ("buy", Some(json!(buy))), ("get", Some(json!(get))), ("permyriad", Some(json!(permyriad))),
                ("choose", choose), ("max_times", times), ("buy_selector", buys),
            ])),
        3 => (1_i64..5, prop_oneof![select(&[100_i64, 200, 500, 1000][..]), 1_i64..3000], maybe(1_i64..3))
            .prop_map(move |(quantity, minor, times)| of("bundle_price", vec![
            ("quantity", Some(json!(quantity))), ("minor", Some(json!(minor))), ("max_times", times),
        ])),
        1 => (select(&["a", "b", "z"][..]), 1_i64..4).prop_map(move |(sku, quantity)| of("free_item", vec![
            ("sku", Some(json!(sku))), ("quantity", Some(json!(quantity))),
        ])),
        1 => Just(json!({"type": "free_delivery"})),
        1 => (10_001_i64..50_000).prop_map(|permyriad| json!({"type": "points_multiplier", "permyriad": permyriad})),
        1 => (1_i64..50).prop_map(|points| json!({"type": "bonus_points", "points": points})),
    ]
}

fn conditions() -> impl Strategy<Value = Value> {
    let lines = (maybe(selector()), maybe(0_i64..3000), maybe(2000_i64..20_000), maybe(1_i64..6), maybe(1_i64..3));
    let rest = (
        rarely("shops", json!(["s1"]), 0.1),
        rarely("channels", json!(["app"]), 0.1),
        rarely("tiers", json!(["silver", "gold"]), 0.1),
        rarely("segments", json!(["vip"]), 0.1),
        rarely("first_order", json!(true), 0.1),
        rarely("nth_order", json!(2), 0.05),
        rarely("min_trust", json!(60), 0.1),
        rarely("account_age_days", json!(30), 0.1),
        rarely("windows", json!([{"days": ["mon"], "from": "15:00", "to": "16:00"}]), 0.1),
        rarely("windows", json!([{"from": "00:00", "to": "15:30"}]), 0.05),
    );
    (lines, rest).prop_map(|((selector, least, most, pieces, distinct), r)| {
        object([
            ("selector", selector),
            ("min_subtotal_minor", least),
            ("max_subtotal_minor", most),
            ("min_quantity", pieces),
            ("min_distinct", distinct),
            r.0,
            r.1,
            r.2,
            r.3,
            r.4,
            r.5,
            r.6,
            r.7,
            r.8,
            r.9,
        ])
    })
}

fn document() -> impl Strategy<Value = Value> {
    let stacking = (
        -1_i64..3,
        maybe(select(&["g", "h"][..])),
        prop::bool::weighted(0.1),
        select(&["discounted", "discounted", "initial"][..]),
    )
        .prop_map(|(priority, group, exclusive, base)| {
            object([
                ("priority", Some(json!(priority))),
                ("group", group),
                ("exclusive", Some(json!(exclusive))),
                ("base", Some(json!(base))),
            ])
        });
    let limits = prop_oneof![
        8 => Just(json!({})),
        1 => (1_i64..2000).prop_map(|budget| json!({"budget_minor": budget, "budget_group": "spring"})),
        1 => Just(json!({"total": 13})),
    ];
    (
        discount(),
        select(&["order", "order", "lines", "lines", "delivery"][..]),
        selector(),
        prop_oneof![2 => Just(json!({})).boxed(), 1 => conditions().boxed()],
        limits,
        stacking,
        rarely("status", json!("draft"), 0.03),
        rarely("ends_at", json!("2026-11-23T10:30:00Z"), 0.03),
        rarely("starts_at", json!("2026-11-23T10:30:00Z"), 0.05),
    )
        .prop_map(|(discount, target, selector, conditions, limits, stacking, status, ends, starts)| {
            object([
                ("name", Some(json!("made up"))),
                ("discount", Some(discount)),
                ("target", Some(json!(target))),
                ("selector", Some(selector)),
                ("conditions", Some(conditions)),
                ("limits", Some(limits)),
                ("stacking", Some(stacking)),
                status,
                ends,
                starts,
            ])
        })
}

/// An offer, if the document is one: contradictions are made up too, and passed over.
fn offers(most: usize) -> impl Strategy<Value = Vec<Named>> {
    prop::collection::vec((document(), any::<bool>()), 0..most).prop_map(|documents| {
        let named = |(i, (document, is_promo)): (usize, (Value, bool))| {
            let mut offer: Offer = serde_json::from_value(document).unwrap();
            let name = format!("o{}", i / 2);
            let kind = if is_promo { OfferKind::Promo } else { OfferKind::Campaign };
            if is_promo {
                offer.codes = vec![format!("CODE-{i}"), format!("{i}-EDOC")];
            }
            validate(&offer).is_ok().then(|| (id(&name), kind, offer.into()))
        };
        let mut seen = std::collections::HashSet::new();
        let mut all: Vec<Named> = documents.into_iter().enumerate().filter_map(named).collect();
        // Two of one id are one offer, written twice; that is not what is tried here.
        all.retain(|(id, kind, _)| seen.insert((id.clone(), *kind)));
        all
    })
}

fn shopper() -> impl Strategy<Value = Shopper> {
    let member = (
        select(&["bronze", "silver", "gold"][..]),
        0_i64..100,
        any::<bool>(),
        0_i64..2,
        0_i64..2,
        0_i64..60,
        prop::option::of(100_u32..500),
    )
        .prop_map(|(tier, trust, vip, completed, live, age, rate)| Shopper {
            customer_id: Some(serde_json::from_value(json!("c1")).unwrap()),
            tier: Some(serde_json::from_value(json!(tier)).unwrap()),
            trust: Some(trust),
            segments: if vip { vec![serde_json::from_value(json!("vip")).unwrap()] } else { vec![] },
            completed_orders: completed,
            live_orders: live,
            account_age_days: Some(age),
            earn_rate_permyriad: rate,
            ..Shopper::guest()
        });
    prop_oneof![1 => Just(Shopper::guest()), 4 => member]
}

fn codes() -> impl Strategy<Value = Vec<TypedCode>> {
    let code = (0..8, any::<bool>(), any::<bool>()).prop_map(|(i, other, lower)| {
        let code = if other { format!("{i}-EDOC") } else { format!("CODE-{i}") };
        TypedCode { typed: if lower { code.to_lowercase().replace('-', " ") } else { code }, offer: None }
    });
    let unique = (0..4).prop_map(|i| TypedCode { typed: format!("unique-{i}"), offer: Some(id(&format!("o{i}"))) });
    prop::collection::vec(prop_oneof![4 => code, 1 => unique], 0..6)
}

/// A whole case: at most so many lines, pieces of a line, and offers.
pub fn cases(lines: usize, pieces: i64, most_offers: usize) -> impl Strategy<Value = Case> {
    let cap = prop_oneof![4 => Just(10_000_u32), 1 => 0_u32..10_000];
    (offers(most_offers), carts(1..lines, pieces), shopper(), codes(), cap).prop_map(
        |(offers, cart, shopper, codes, cap)| {
            let mut case = Case::new(offers, cart);
            (case.shopper, case.codes) = (shopper, codes);
            case.policy.checkout.max_discount_permyriad = cap;
            case
        },
    )
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (id, kind, offer) in &self.offers {
            writeln!(f, "{} {id}: {}", kind.as_str(), serde_json::to_string(&**offer).unwrap())?;
        }
        writeln!(f, "cart: {}", serde_json::to_string(&self.cart).unwrap())?;
        writeln!(f, "shopper: {:?}", self.shopper)?;
        writeln!(f, "codes: {:?}, cap {}", self.codes, self.policy.checkout.max_discount_permyriad)
    }
}
