//! Examples of what comes after a hold with offers, with their numbers: a smaller sale, an order that is not quite the cart
//! that was held, what counts as a first order, and a capture that comes after everything went back.

use adal_domain::{
    checkout::LineQuantity,
    line::Line,
    offers::{Condition, Reason},
    order_event::{ChargedBy, OrderFact},
    promo::Used,
};
use serde_json::{Value, json};

use crate::{
    checkout::Till,
    say::{Case, cart, offer},
};

/// So many pieces of so many minor units each.
fn line(name: &str, pieces: i64, minor: i64) -> Value {
    json!({"line_id": name, "sku": name, "quantity": pieces, "unit": "piece", "unit_price_minor": minor})
}

fn some(name: &str, quantity: i64) -> Vec<LineQuantity> {
    vec![LineQuantity { line_id: serde_json::from_value(json!(name)).unwrap(), quantity }]
}

fn placed(lines: &[Value]) -> OrderFact {
    let lines: Vec<Line> = serde_json::from_value(json!(lines)).unwrap();
    OrderFact::Placed { lines, total_minor: None, charged_by: ChargedBy::Ordered, link_keys: vec![] }
}

fn minors(used: Option<Vec<Used>>) -> Vec<(String, i64)> {
    used.unwrap_or_default().into_iter().map(|used| (used.promo.to_string(), used.minor)).collect()
}

#[test]
fn a_budget_pays_no_more_on_a_smaller_sale_than_it_has_kept() {
    // Of two pieces A leaves 20,000, of which B takes a tenth. Of one piece A falls away, and B would take 10,000.
    let first = offer(
        "a",
        json!({"discount": {"type": "percent", "permyriad": 9000}, "stacking": {"priority": 1},
               "conditions": {"min_subtotal_minor": 200_000}}),
    );
    let whole = line("milk", 2, 100_000);
    for (limits, promo) in [
        (json!({"budget_minor": 2000}), "b"),
        (json!({"budget_minor": 2000, "budget_group": "spring"}), "~budget/spring"),
    ] {
        let second = offer("b", json!({"discount": {"type": "percent", "permyriad": 1000}, "limits": limits}));
        let mut till = Till::new(Case::new(vec![first.clone(), second], cart(json!([whole]))));
        let (_, held, _) = till.hold("h").unwrap();
        assert_eq!((held.discount_minor, held.total_minor), (182_000, 18_000));
        let (sold, used) = till.capture(&held, Some(some("milk", 1)));
        assert_eq!((sold.discount_minor, sold.total_minor), (2000, 98_000));
        assert_eq!(minors(used), [(promo.to_owned(), 2000)], "what is given is what is taken");
    }
}

/// Half of the price of all that is held, and an order with a bag that was not.
fn with_a_bag() -> Till {
    let half = offer("a", json!({"discount": {"type": "percent", "permyriad": 1000}}));
    let mut till = Till::new(Case::new(vec![half], cart(json!([line("milk", 1, 100_000)]))));
    let (_, held, _) = till.hold("h").unwrap();
    till.capture(&held, None);
    till.order("placed", placed(&[line("milk", 1, 100_000), line("bag", 1, 5000)]));
    till.order("completed", OrderFact::Completed { paid_minor: 95_000 });
    till
}

#[test]
fn what_was_not_held_is_refunded_by_its_share() {
    // 95,000 were paid for 105,000: the bag's share of that is 4,523 (largest remainder), the milk's the rest.
    let mut till = with_a_bag();
    let bag = till.returned("bag", some("bag", 1), false);
    let milk = till.returned("milk", some("milk", 1), false);
    assert!((4523..=4524).contains(&bag), "{bag}");
    assert_eq!(bag + milk, 95_000);

    let mut till = with_a_bag();
    let milk = till.returned("milk", some("milk", 1), false);
    assert!((90_476..=90_477).contains(&milk), "the bag is kept, and paid: {milk}");
}

#[test]
fn more_than_was_sold_of_a_line_is_refunded_by_its_share() {
    let tenth = offer("a", json!({"discount": {"type": "percent", "permyriad": 1000}}));
    let mut till = Till::new(Case::new(vec![tenth], cart(json!([line("milk", 2, 100_000)]))));
    let (_, held, _) = till.hold("h").unwrap();
    till.capture(&held, None);
    till.order("placed", placed(&[line("milk", 3, 100_000)]));
    till.order("completed", OrderFact::Completed { paid_minor: 280_000 });
    assert_eq!(till.returned("one", some("milk", 1), false), 93_333);
}

#[test]
fn what_weighs_more_than_was_sold_is_refunded_by_what_it_weighs() {
    let tenth = offer("a", json!({"discount": {"type": "percent", "permyriad": 1000}}));
    let cheese =
        json!({"line_id": "cheese", "sku": "cheese", "quantity": 1000, "unit": "gram", "unit_price_minor": 100_000});
    let mut till = Till::new(Case::new(vec![tenth], cart(json!([cheese]))));
    let (_, held, _) = till.hold("h").unwrap();
    till.capture(&held, None);
    let heavier =
        json!({"line_id": "cheese", "sku": "cheese", "quantity": 1250, "unit": "gram", "unit_price_minor": 100_000});
    till.order("placed", placed(&[heavier]));
    till.order("completed", OrderFact::Completed { paid_minor: 112_500 });
    // A fifth of it: a fifth of what was paid.
    assert_eq!(till.returned("some", some("cheese", 250), false), 22_500);
}

#[test]
fn the_points_of_an_order_that_cost_nothing_go_back_with_it() {
    let bonus = offer("a", json!({"discount": {"type": "bonus_points", "points": 7}}));
    let mut till = Till::new(Case::new(vec![bonus], cart(json!([line("gift", 1, 0)]))));
    let (_, held, _) = till.hold("h").unwrap();
    till.capture(&held, None);
    till.order("placed", placed(&[line("gift", 1, 0)]));
    till.order("completed", OrderFact::Completed { paid_minor: 0 });
    assert_eq!(till.journal.state.ledger.pending(), 7);
    till.returned("all", some("gift", 1), false);
    assert_eq!(till.journal.state.ledger.pending(), 0);
}

#[test]
fn a_captured_hold_without_offers_is_an_order_too() {
    let welcome = offer(
        "a",
        json!({"discount": {"type": "percent", "permyriad": 1000},
               "conditions": {"first_order": true, "min_subtotal_minor": 100_000}}),
    );
    let mut till = Till::new(Case::new(vec![welcome], cart(json!([line("milk", 1, 50_000)]))));
    let (_, held, _) = till.hold("h").unwrap();
    assert_eq!(held.discount_minor, 0, "too little for the offer");
    till.capture(&held, None);
    till.case.cart = cart(json!([line("milk", 2, 50_000)]));
    till.case.explain = true;
    let quoted = |till: &Till| {
        let (priced, _) = till.quote().unwrap();
        (priced.quote.discount_minor, till.shopper().live_orders, till.shopper().completed_orders)
    };
    assert_eq!(quoted(&till), (0, 1, 0), "it was the first order, though none has come of it yet");
    let not_first = Reason::ConditionNotMet(Condition::FirstOrder);
    assert_eq!(not_first.condition(), Some("conditions.first_order"));
    till.order("placed", placed(&[line("milk", 1, 50_000)]));
    assert_eq!(quoted(&till), (0, 1, 0), "and is counted once when it comes");
    till.order("completed", OrderFact::Completed { paid_minor: 50_000 });
    assert_eq!(quoted(&till), (0, 0, 1));
    assert!(till.marketing().captured.is_empty());
    assert_eq!(till.journal.replayed(), till.journal.state);
}

#[test]
fn a_capture_after_the_order_came_back_whole_leaves_nothing_taken() {
    let once = offer(
        "a",
        json!({"discount": {"type": "percent", "permyriad": 1000}, "limits": {"per_customer": 1, "total": 5}}),
    );
    let mut case = Case::new(vec![once], cart(json!([line("milk", 1, 100_000)])));
    case.cart.points_to_burn = 100;
    let mut till = Till::new(case);
    let (_, held, _) = till.hold("h").unwrap();
    assert_eq!((held.discount_minor, held.points_burned), (10_000, 100));
    till.order("placed", placed(&[line("milk", 1, 100_000)]));
    till.order("completed", OrderFact::Completed { paid_minor: 80_000 });
    till.returned("all", some("milk", 1), false);
    let before = till.journal.state.ledger.available();
    till.capture(&held, None);
    let after = till.marketing();
    assert!(after.uses.is_empty(), "{:?}", after.uses);
    assert!(after.sales.is_empty(), "{:?}", after.sales);
    assert_eq!(after.book.returns.len(), 1, "the promo is told");
    assert_eq!(till.journal.state.ledger.available(), before + 100, "the points are there again");
    assert_eq!(till.journal.replayed(), till.journal.state);
}

/// Whatever is hashed, and in whatever order: on another machine, or after a change that was not meant to be one, this fails.
/// What it says then is a change that every caller sees who kept a `quote_id`.
#[test]
fn a_quote_is_the_same_bit_for_bit_on_every_platform() {
    let tenth = offer("tenth", json!({"discount": {"type": "percent", "permyriad": 1000}, "codes": ["TEN"]}));
    let yoghurt = offer(
        "yoghurt",
        json!({"discount": {"type": "buy_x_get_y", "buy": 1, "get": 1, "permyriad": 10_000},
               "selector": {"include": [{"skus": ["yoghurt"]}]}, "stacking": {"priority": 5}}),
    );
    let lines = json!([
        line("yoghurt", 3, 33_333),
        {"line_id": "plums", "sku": "plums", "quantity": 1357, "unit": "gram", "unit_price_minor": 89_900, "tags": ["fruit"]}
    ]);
    let mut case = Case::new(vec![tenth, yoghurt], cart(lines));
    case.codes = crate::say::typed(&["ten"]);
    case.cart.points_to_burn = 137;
    let (priced, _) = Till::new(case).quote().unwrap();
    let quote = priced.quote;
    let lines: Vec<_> =
        quote.lines.iter().map(|line| (line.line_id.as_str(), line.discount_minor, line.total_minor)).collect();
    assert_eq!(lines, [("yoghurt", 40_000, 55_158), ("plums", 12_199, 100_936)]);
    assert_eq!((quote.total_minor, quote.points_burned, quote.points_to_earn), (156_094, 137, 15));
    assert_eq!(quote.quote_id, "188dbbb3bfa0d387ad6f99758239b132");
}
