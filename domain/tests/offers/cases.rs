//! Examples too fine for the page.

use adal_domain::{
    amounts::MAX_ORDER_MINOR,
    ids::LineId,
    line::MAX_QUANTITY,
    offers::{CompiledOffers, Condition, NormalCode, Offered, Reason, Repriced, TypedCode, document::Locale, reprice},
};
use serde_json::{Value, json};

use crate::say::{Case, Named, almaty, cart, discounts, id, offer, reason, typed};

fn piece(line_id: &str, quantity: i64, price: i64) -> Value {
    json!({"line_id": line_id, "sku": line_id, "quantity": quantity, "unit": "piece", "unit_price_minor": price})
}

#[test]
fn odd_minor_units_go_by_the_largest_remainder_and_then_by_line_id() {
    let percent = json!({"discount": {"type": "percent", "permyriad": 3333}});
    assert_eq!(
        discounts(percent.clone(), json!([piece("b", 1, 100), piece("a", 1, 100), piece("c", 1, 100)])),
        [33, 34, 33]
    );
    assert_eq!(discounts(percent, json!([piece("b", 1, 100), piece("a", 1, 10)])), [34, 3]);
}

/// Of a line of 10 in 3 pieces (3, 3 and 4) and one of 3: dearest first 4, 3, 3, 3, so that the second and the fourth are
/// free.
#[test]
fn pieces_of_a_line_that_does_not_divide_add_up_to_it() {
    let mut odd = piece("a", 3, 0);
    odd.as_object_mut().unwrap().remove("unit_price_minor");
    odd["line_total_minor"] = json!(10);
    let two_for_one = json!({"discount": {"type": "buy_x_get_y", "buy": 1, "get": 1}});
    assert_eq!(discounts(two_for_one, json!([odd, piece("b", 1, 3)])), [5, 1]);
}

/// Half a kilogram for 150 costs 300 a kilogram, three pieces for 100 a third of that each.
#[test]
fn the_unit_price_of_a_line_sent_with_a_total_is_exact() {
    let line = |id: &str, quantity: i64, unit: &str| json!({"line_id": id, "sku": id, "quantity": quantity, "unit": unit, "line_total_minor": if unit == "gram" { 150 } else { 100 }});
    let lines = json!([line("a", 500, "gram"), line("b", 3, "piece")]);
    let between = |least: i64, most: i64| {
        let selection = json!({"min_unit_price_minor": least, "max_unit_price_minor": most});
        let percent = json!({"type": "percent", "permyriad": 10_000});
        discounts(json!({"discount": percent, "selector": {"include": [selection]}}), lines.clone())
    };
    assert_eq!(between(300, 300), [150, 0]);
    assert_eq!(between(33, 34), [0, 100]);
    assert_eq!(between(34, 299), [0, 0]);
}

/// Two pieces in both selections: one is bought, one got; with one it is neither.
#[test]
fn a_piece_is_bought_or_got_never_both() {
    let both = json!({"discount": {
        "type": "buy_x_get_y", "buy": 1, "get": 1, "buy_selector": {"include": [{"skus": ["a", "b"]}]}
    }, "selector": {"include": [{"skus": ["b", "c"]}]}});
    assert_eq!(discounts(both.clone(), json!([piece("b", 2, 100)])), [100]);
    assert_eq!(discounts(both.clone(), json!([piece("b", 1, 100)])), [0]);
    // Four pieces are two groups: `a` and a `b` are bought, since only so much of `b` may be got as leaves two to buy. The
    // 400 of the other `b` and of `c` are shared out over all four.
    assert_eq!(discounts(both, json!([piece("a", 1, 500), piece("b", 2, 100), piece("c", 1, 300)])), [200, 80, 120]);
}

#[test]
fn the_largest_cart_and_the_largest_offers_do_not_overflow() {
    let most = MAX_ORDER_MINOR / MAX_QUANTITY;
    let lines = json!([piece("a", MAX_QUANTITY, most)]);
    for (discount, expected) in [
        (json!({"type": "amount", "minor": MAX_ORDER_MINOR, "per": "piece"}), MAX_ORDER_MINOR),
        (json!({"type": "percent", "permyriad": 10_000, "max_pieces": MAX_QUANTITY - 1}), MAX_ORDER_MINOR - most),
        (json!({"type": "buy_x_get_y", "buy": 1, "get": 1_000_000_000}), 0),
        (json!({"type": "buy_x_get_y", "buy": 1, "get": 999_999_999}), MAX_ORDER_MINOR - most),
        (json!({"type": "bundle_price", "quantity": 1, "minor": 1}), MAX_ORDER_MINOR - MAX_QUANTITY),
        (json!({"type": "fixed_price", "minor": 1, "max_pieces_per_line": 1_000_000_000}), MAX_ORDER_MINOR - 1),
        (json!({"type": "free_item", "sku": "a", "quantity": 1_000_000_000}), MAX_ORDER_MINOR),
    ] {
        let found = discounts(json!({"discount": discount}), lines.clone());
        assert_eq!(found, [expected], "{discount}");
    }
    let multiplier = offer("m", json!({"discount": {"type": "points_multiplier", "permyriad": 1_000_000}}));
    let mut case = Case::new(vec![multiplier], cart(lines));
    case.shopper.earn_rate_permyriad = Some(10_000);
    assert_eq!(case.run().bonus(10_000, &[MAX_ORDER_MINOR]).points, MAX_ORDER_MINOR / 100 * 99);
}

#[test]
fn points_of_several_multipliers_are_shared_out_by_what_each_adds() {
    let times = |permyriad: i64| json!({"discount": {"type": "points_multiplier", "permyriad": permyriad}});
    let outright = json!({"discount": {"type": "bonus_points", "points": 7}});
    let offers = vec![offer("a", times(20_000)), offer("b", times(30_000)), offer("c", outright)];
    let mut case = Case::new(offers, cart(json!([piece("a", 1, 10_000)])));
    case.shopper.earn_rate_permyriad = Some(100);
    let offered = case.run();
    // Cashback is floor(0.99) = 0, with all multipliers floor(3.96) = 3: three points more.
    let bonus = offered.bonus(100, &[9_900]);
    assert_eq!((bonus.points, bonus.by_offer), (3 + 7, vec![1, 2, 7]));
}

#[test]
fn without_explain_only_codes_are_answered() {
    let far =
        json!({"discount": {"type": "percent", "permyriad": 1000}, "conditions": {"min_subtotal_minor": 999_999}});
    let promo =
        json!({"discount": {"type": "percent", "permyriad": 1000}, "codes": ["X"], "conditions": {"tiers": ["gold"]}});
    let mut case = Case::new(vec![offer("far", far), offer("promo", promo)], cart(json!([piece("a", 1, 100)])));
    (case.explain, case.codes) = (false, typed(&["x", "nonsense"]));
    let rejected = case.run().rejected;
    let told: Vec<_> = rejected.iter().map(|r| (r.code.as_deref().unwrap(), r.reason)).collect();
    assert_eq!(told, [("x", Reason::ConditionNotMet(Condition::Tiers)), ("nonsense", Reason::CodeUnknown)]);
}

#[test]
fn a_unique_code_is_the_promos_that_the_caller_names() {
    let promo = || offer("promo", json!({"discount": {"type": "percent", "permyriad": 1000}, "codes": ["SHARED"]}));
    let mut case = Case::new(vec![promo()], cart(json!([piece("a", 1, 100)])));
    case.codes = vec![TypedCode { typed: "K7F3-XX".to_owned(), offer: Some(id("promo")) }];
    let offered = case.run();
    assert_eq!((offered.discounts[0], offered.applied[0].code.as_deref()), (10, Some("K7F3-XX")));
    case.codes[0].offer = Some(id("deleted"));
    assert_eq!(case.run().rejected.last().unwrap().reason, Reason::CodeUnknown);
    let seen = std::cell::RefCell::new(Vec::new());
    case.codes = typed(&["shared"]);
    case.run_with(&|asked| {
        seen.borrow_mut().push((asked.code.unwrap().to_owned(), asked.discount_minor));
        Err(Reason::CodeUsed)
    });
    assert_eq!(*seen.borrow(), [("shared".to_owned(), 10)], "limits are asked once, with the code as typed");
}

#[test]
fn a_switched_off_feature_gives_nothing_and_says_so() {
    let percent = json!({"type": "percent", "permyriad": 1000});
    let offers =
        vec![offer("auto", json!({"discount": percent})), offer("code", json!({"discount": percent, "codes": ["X"]}))];
    let mut case = Case::new(offers, cart(json!([piece("a", 1, 100)])));
    case.codes = typed(&["X"]);
    (case.shopper.campaigns, case.shopper.promos) = (false, true);
    let offered = case.run();
    assert_eq!((offered.discounts[0], reason(&offered, "auto")), (10, Some(Reason::FeatureDisabled)));
    (case.shopper.campaigns, case.shopper.promos, case.explain) = (true, false, false);
    let offered = case.run();
    assert_eq!((offered.discounts[0], reason(&offered, "code")), (10, Some(Reason::FeatureDisabled)));
}

#[test]
fn a_later_document_of_one_id_counts_and_codes_are_found_in_their_normal_form() {
    let percent =
        |permyriad: i64, code: &str| json!({"discount": {"type": "percent", "permyriad": permyriad}, "codes": [code]});
    let offers = [offer("b", percent(1, "OLD")), offer("b", percent(2, "NEW-1")), offer("a", percent(3, "newl"))];
    let set = CompiledOffers::compile(7, offers.clone());
    let of = |code: &str| set.promo_of(&NormalCode::new(code).unwrap()).map(|id| id.as_str().to_owned());
    assert_eq!((set.revision(), set.len(), of("old")), (7, 2, None));
    assert_eq!(of("new 1").as_deref(), Some("a"), "of two with one code the lesser id");
    assert_eq!(set.get(&id("b"), offers[0].1), Some(&offers[1].2));
}

#[test]
fn an_explanation_and_the_offers_of_a_line_come_with_the_answer() {
    let offers = vec![
        offer("two", json!({"discount": {"type": "buy_x_get_y", "buy": 1, "get": 1}})),
        offer("ten", json!({"discount": {"type": "percent", "permyriad": 1000}, "stacking": {"priority": -1}})),
    ];
    let offered = Case::new(offers, cart(json!([piece("b", 3, 100), piece("a", 1, 50)]))).run();
    assert_eq!(offered.applied[0].explanation(Locale::En), "two: 1 of 2 free, 2 times");
    assert_eq!(offered.by_line(), [vec![(0, 129), (1, 17)], vec![(0, 21), (1, 3)]]);
}

/// A hold of three pieces and a threshold: what is captured of it is priced with the offers held, as far as they apply.
#[test]
fn a_part_of_a_hold_is_priced_with_its_own_offers() {
    let offers: Vec<Named> = vec![
        offer("two", json!({"discount": {"type": "buy_x_get_y", "buy": 1, "get": 1}})),
        offer(
            "a50",
            json!({"discount": {"type": "amount", "minor": 50}, "conditions": {"min_subtotal_minor": 300}, "stacking": {"priority": -1}}),
        ),
    ];
    let mut case = Case::new(offers, cart(json!([piece("a", 3, 100), piece("b", 1, 100)])));
    let held = case.run();
    assert_eq!(held.discounts, [150 + 38, 50 + 12]);
    let reserved = crate::say::reserved(&held);
    let mut captured = |lines: Value, restricted: &[LineId]| -> Offered {
        case.cart = cart(lines);
        reprice(&Repriced {
            cart: &case.cart,
            subtotals: &case.subtotals(),
            reserved: &reserved,
            shopper: &case.shopper,
            now: case.now,
            calendar: &almaty(),
            restricted,
            max_discount_permyriad: 10_000,
        })
    };
    let part = captured(json!([piece("a", 2, 100)]), &[]);
    assert_eq!(part.discounts, [100]);
    assert_eq!(reason(&part, "a50"), Some(Reason::ConditionNotMet(Condition::MinSubtotal)));
    let one = captured(json!([piece("a", 1, 100)]), &[]);
    assert_eq!((one.discounts[0], reason(&one, "two")), (0, Some(Reason::NoEffect)));
    let none = captured(json!([piece("a", 3, 100)]), &[LineId::new("a").unwrap()]);
    assert_eq!((none.discounts[0], reason(&none, "two")), (0, Some(Reason::NoMatchingLines)));
}
