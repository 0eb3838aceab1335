//! The promotion engine alone, in this process: how long an evaluation takes, and how that grows.
//!
//! The sizes take turns, so that what else the machine does falls on all of them. The figure of a turn is the median of
//! its evaluations.

use std::sync::Arc;

use adal_domain::{
    checkout::{Cart, Channel, check_cart},
    ids::{OfferId, ShopId},
    offers::{Asked, CompiledOffers, Offer, OfferKind, Shopper, evaluate, unlimited, validate},
    policy::Policy,
    time::{Calendar, Timestamp},
};
use serde_json::{Value, json};

use crate::{Done, bench::Bench, clock::Stopwatch, offers, report::median};

/// Evaluations of a turn.
const TIMES: usize = 400;
const TURNS: usize = 7;

/// Measures the rows.
pub fn run(bench: &mut Bench) -> Done {
    let (small, large) = (cart(100, false)?, cart(1000, false)?);
    let campaigns = offers::campaigns();
    let many: Vec<_> = campaigns.iter().cloned().chain(offers::misses(4950)).collect();
    let (few, many) = (compile(&campaigns)?, compile(&many)?);
    let took = medians(&[(&few, &small), (&few, &large), (&many, &small)])?;
    let [base, lines, offers] = took[..] else { return Err("not three figures".into()) };
    let report = &mut bench.report;
    let what = "offers, 100 lines x 50 campaigns of a mixed set, in process";
    report.goal(what, &format!("{base:.0} us"), "<= 100 us", base <= 100.0);
    let ratio = lines / base;
    let measured = format!("{ratio:.1}x ({base:.0} us to {lines:.0} us)");
    report.goal("offers, 100 to 1,000 lines", &measured, "<= 12x", ratio <= 12.0);
    let ratio = offers / base;
    let measured = format!("{ratio:.2}x ({base:.0} us to {offers:.0} us)");
    report.goal("offers, 50 to 5,000 campaigns whose selectors miss", &measured, "<= 2x", ratio <= 2.0);
    extremes(bench)
}

/// 50 offers that all count on each of 100 lines: what no catalogue is, and how bad it can get.
fn extremes(bench: &mut Bench) -> Done {
    let mut said = Vec::new();
    for (what, discount, floors) in [
        ("percent", json!({"type": "percent", "permyriad": 100}), false),
        ("percent with floors", json!({"type": "percent", "permyriad": 300}), true),
        ("2 for 1", json!({"type": "buy_x_get_y", "buy": 1, "get": 1, "permyriad": 500}), false),
        ("bundles", json!({"type": "bundle_price", "quantity": 3, "minor": 20_000}), false),
        ("nothing", json!({"type": "free_item", "sku": "none", "quantity": 1}), false),
    ] {
        let (set, cart) = (compile(&offers::on_every_line(&discount))?, cart(100, floors)?);
        let took = medians(&[(&set, &cart)])?.first().copied().unwrap_or(f64::NAN);
        said.push(format!("{what} {took:.0} us"));
    }
    bench.report.shown("offers, 50 that all count on each of 100 lines", &said.join(", "));
    Ok(())
}

fn cart(lines: usize, with_floors: bool) -> Done<Cart> {
    Ok(Cart {
        shop_id: ShopId::new("s1")?,
        channel: Channel::App,
        codes: Vec::new(),
        points_to_burn: 0,
        payment_method: None,
        delivery_method: None,
        delivery_minor: 150_000,
        lines: serde_json::from_value(Value::Array(offers::lines(lines, with_floors)))?,
    })
}

fn compile(offers: &[(String, Value)]) -> Done<CompiledOffers> {
    let mut read = Vec::with_capacity(offers.len());
    for (id, document) in offers {
        let offer: Offer = serde_json::from_value(document.clone())?;
        validate(&offer).map_err(|refusal| format!("{id}: {refusal}"))?;
        read.push((OfferId::new(id)?, OfferKind::Campaign, Arc::new(offer)));
    }
    Ok(CompiledOffers::compile(1, read))
}

/// Microseconds of an evaluation of each, in turns.
fn medians(of: &[(&CompiledOffers, &Cart)]) -> Done<Vec<f64>> {
    let mut turns = vec![Vec::with_capacity(TURNS); of.len()];
    for _ in 0..TURNS {
        for (turns, (set, cart)) in turns.iter_mut().zip(of) {
            turns.push(turn(set, cart)?);
        }
    }
    Ok(turns.into_iter().map(median).collect())
}

fn turn(set: &CompiledOffers, cart: &Cart) -> Done<f64> {
    let policy = Policy::default();
    let calendar = Calendar::new("Asia/Almaty").ok_or("no calendar")?;
    let subtotals = check_cart(cart, &policy).map_err(|refusal| refusal.to_string())?;
    let shopper = Shopper { earn_rate_permyriad: Some(300), ..Shopper::guest() };
    let asked = Asked {
        set,
        cart,
        subtotals: &subtotals,
        shopper: &shopper,
        codes: &[],
        uses: &unlimited,
        // A Monday, 15:30 in Almaty.
        now: Timestamp::parse("2026-11-23T10:30:00Z").ok_or("no time")?,
        calendar: &calendar,
        policy: &policy,
        explain: false,
    };
    let took = (0..TIMES).map(|_| {
        let watch = Stopwatch::start();
        std::hint::black_box(evaluate(std::hint::black_box(&asked)));
        watch.seconds() * 1e6
    });
    Ok(median(took.collect()))
}
