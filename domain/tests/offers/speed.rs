//! How long an evaluation takes, and how that grows. Run by hand, alone, in a release build:
//! `cargo test -p adal-domain --release --test offers speed -- --ignored --nocapture`.

use adal_domain::{
    checkout::Cart,
    offers::{Asked, CompiledOffers, Shopper, evaluate, unlimited},
    policy::Policy,
};
use serde_json::{Value, json};

use crate::say::{Named, almaty, cart, monday, offer};

fn basket(lines: usize, with_floors: bool) -> Cart {
    let line = |i: usize| {
        let mut line = json!({
            "line_id": format!("l{i}"), "sku": format!("sku{i}"), "category": format!("c{}", i % 10),
            "brand": format!("b{}", i % 20), "tags": [format!("t{}", i % 5)], "quantity": 1 + i % 4, "unit": "piece",
            "unit_price_minor": 10_000 + 137 * i
        });
        if with_floors {
            line["min_price_minor"] = json!(5000 + 61 * (i % 7));
        }
        line
    };
    let mut cart = cart((0..lines).map(line).collect());
    cart.delivery_minor = 150_000;
    cart
}

/// 50 campaigns as a grocer runs them, all of which concern the cart.
fn campaigns() -> Vec<Named> {
    let document = |i: usize| -> Value {
        let category = json!({"include": [{"categories": [format!("c{}", i % 10)]}]});
        let brand = json!({"include": [{"brands": [format!("b{}", i % 20)]}], "exclude": [{"tags": ["t9"]}]});
        match i % 10 {
            0..=2 => {
                json!({"discount": {"type": "percent", "permyriad": 100 + i}, "selector": category, "target": "lines"})
            }
            3 | 4 => json!({"discount": {"type": "percent", "permyriad": 200 + i}, "selector": brand}),
            5 => json!({"discount": {"type": "buy_x_get_y", "buy": 2, "get": 1, "max_times": 2}, "selector": category}),
            6 => json!({"discount": {"type": "bundle_price", "quantity": 3, "minor": 25_000}, "selector": category}),
            7 => json!({"discount": {"type": "amount", "minor": 900}, "conditions": {"min_subtotal_minor": 1000}}),
            8 => json!({"discount": {"type": "points_multiplier", "permyriad": 20_000}, "selector": brand}),
            _ => json!({"discount": {"type": "percent", "permyriad": 50}, "conditions": {"min_distinct": 3}}),
        }
    };
    (0..50).map(|i| offer(&format!("o{i}"), document(i))).collect()
}

/// The hard case: each of 50 offers counts on every line.
fn on_every_line(discount: &Value) -> Vec<Named> {
    (0..50).map(|i| offer(&format!("o{i}"), json!({"discount": discount}))).collect()
}

fn misses(count: usize) -> impl Iterator<Item = Named> {
    (0..count).map(|i| {
        let selection = match i % 4 {
            0 => json!({"skus": (0..20).map(|k| format!("other{}", i * 7 + k)).collect::<Vec<_>>()}),
            1 => json!({"categories": [format!("far{i}")]}),
            2 => json!({"brands": [format!("far{}", i % 100)], "tags": ["t1"]}),
            _ => json!({"tags": [format!("far{i}"), "far"]}),
        };
        let percent = json!({"type": "percent", "permyriad": 1000});
        offer(&format!("far{i}"), json!({"discount": percent, "selector": {"include": [selection]}}))
    })
}

/// Nanoseconds of one evaluation: of many, the one that a tenth are quicker than; what else the machine does counts less.
#[expect(clippy::disallowed_methods, reason = "durations are what is measured")]
fn nanos(offers: Vec<Named>, cart: &Cart) -> u128 {
    let (set, policy, calendar) = (CompiledOffers::compile(1, offers), Policy::default(), almaty());
    let subtotals = adal_domain::checkout::check_cart(cart, &policy).unwrap();
    let shopper = Shopper { earn_rate_permyriad: Some(300), ..Shopper::guest() };
    let asked = Asked {
        set: &set,
        cart,
        subtotals: &subtotals,
        shopper: &shopper,
        codes: &[],
        uses: &unlimited,
        now: monday(),
        calendar: &calendar,
        policy: &policy,
        explain: false,
    };
    let mut took: Vec<u128> = (0..2000)
        .map(|_| {
            let start = std::time::Instant::now();
            std::hint::black_box(evaluate(std::hint::black_box(&asked)));
            start.elapsed().as_nanos()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 10]
}

#[test]
#[ignore = "measures; run alone in a release build"]
fn a_quote_takes_microseconds_and_grows_with_the_lines_alone() {
    let (small, large) = (basket(100, false), basket(1000, false));
    let base = nanos(campaigns(), &small);
    let lines = nanos(campaigns(), &large);
    let many = nanos(campaigns().into_iter().chain(misses(4950)).collect(), &small);
    println!("100 lines x 50 campaigns: {base} ns");
    println!("1,000 lines x 50 campaigns: {lines} ns, {:.1} times", lines as f64 / base as f64);
    println!("100 lines x 5,000 campaigns, 4,950 of which miss: {many} ns, {:.2} times", many as f64 / base as f64);
    for (what, discount, floors) in [
        ("percent", json!({"type": "percent", "permyriad": 100}), false),
        ("percent, floors", json!({"type": "percent", "permyriad": 300}), true),
        ("2 for 1", json!({"type": "buy_x_get_y", "buy": 1, "get": 1, "permyriad": 500}), false),
        ("bundles", json!({"type": "bundle_price", "quantity": 3, "minor": 20_000}), false),
        ("nothing", json!({"type": "free_item", "sku": "none", "quantity": 1}), false),
    ] {
        let took = nanos(on_every_line(&discount), &basket(100, floors));
        println!("100 lines x 50 offers on every line, {what}: {took} ns");
    }
    assert!(base <= 100_000, "100 lines x 50 offers: {base} ns");
    assert!(lines <= base * 12, "1,000 lines: {lines} ns");
    assert!(many <= base * 2, "5,000 offers: {many} ns");
}
