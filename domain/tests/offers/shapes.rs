//! The shape of an offer's document, and what it may say.

use adal_domain::{
    errors::Code,
    offers::{Offer, OfferKind, validate, validate_as, warnings},
};
use serde_json::{Value, json};

fn offer(extra: Value) -> Offer {
    let mut offer = json!({"name": "test", "discount": {"type": "percent", "permyriad": 1000}});
    offer.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(offer).unwrap()
}

fn refused(extra: Value, names: &[&str]) {
    let refusal = validate(&offer(extra.clone())).expect_err(&extra.to_string());
    assert_eq!(refusal.code, Code::OfferInvalid);
    for name in names {
        assert!(refusal.detail.contains(name), "{extra}: {} does not name {name}", refusal.detail);
    }
}

#[test]
fn values_out_of_their_bounds_name_the_field() {
    for (extra, field) in [
        (json!({"discount": {"type": "percent", "permyriad": 10_001}}), "discount.permyriad"),
        (json!({"discount": {"type": "percent", "permyriad": 0}}), "discount.permyriad"),
        (json!({"discount": {"type": "amount", "minor": 0}}), "discount.minor"),
        (json!({"discount": {"type": "amount", "minor": -1}}), "discount.minor"),
        (json!({"discount": {"type": "fixed_price", "minor": 0}}), "discount.minor"),
        (json!({"discount": {"type": "buy_x_get_y", "buy": 0, "get": 1}}), "discount.buy"),
        (json!({"discount": {"type": "bundle_price", "quantity": 3, "minor": 1, "max_times": 0}}), "max_times"),
        (json!({"discount": {"type": "free_item", "sku": "a", "quantity": 0}}), "discount.quantity"),
        (json!({"discount": {"type": "points_multiplier", "permyriad": 10_000}}), "discount.permyriad"),
        (json!({"discount": {"type": "bonus_points", "points": 0}}), "discount.points"),
        (json!({"discount": {"type": "percent", "permyriad": 1, "max_pieces": 0}}), "discount.max_pieces"),
        (json!({"discount": {"type": "percent", "permyriad": 1, "group_of": 1}}), "discount.group_of"),
        (json!({"name": " "}), "name"),
        (json!({"codes": ["--"]}), "codes[0]"),
        (json!({"codes": vec!["a"; 1001]}), "codes"),
        (json!({"limits": {"total": 0}}), "limits.total"),
        (json!({"limits": {"per_ip_in": {"uses": 0, "period": "day"}}}), "limits.per_ip_in.uses"),
        (json!({"conditions": {"min_trust": 101}}), "conditions.min_trust"),
        (json!({"conditions": {"segments": vec!["a"; 1001]}}), "conditions.segments"),
        (json!({"selector": {"include": vec![json!({}); 101]}}), "selector.include"),
        (json!({"selector": {"exclude": [{"tags": vec!["a"; 1001]}]}}), "selector.exclude[0].tags"),
        (json!({"selector": {"include": [{"skus": vec!["a"; 50_001]}]}}), "skus"),
        (json!({"stacking": {"priority": 2_000_000}}), "stacking.priority"),
    ] {
        refused(extra, &[field]);
    }
}

#[test]
fn a_contradiction_names_both_fields() {
    let starts = "2026-11-23T09:00:00Z";
    for (extra, fields) in [
        (json!({"starts_at": starts, "ends_at": starts}), ["starts_at", "ends_at"]),
        (json!({"codes": ["welcome-10", "WELCOMEl0"]}), ["codes[0]", "codes[1]"]),
        (json!({"conditions": {"windows": [{"from": "17:00", "to": "15:00"}]}}), ["windows[0].from", "windows[0].to"]),
        (
            json!({"conditions": {"min_subtotal_minor": 2, "max_subtotal_minor": 1}}),
            ["min_subtotal_minor", "max_subtotal_minor"],
        ),
        (json!({"conditions": {"first_order": true, "nth_order": 2}}), ["first_order", "nth_order"]),
        (
            json!({"selector": {"include": [{"min_unit_price_minor": 2, "max_unit_price_minor": 1}]}}),
            ["min_unit_price_minor", "max_unit_price_minor"],
        ),
        (json!({"target": "lines", "discount": {"type": "free_delivery"}}), ["target", "discount.type"]),
        (
            json!({"target": "delivery", "discount": {"type": "bundle_price", "quantity": 2, "minor": 1}}),
            ["target", "discount.type"],
        ),
        (
            json!({"target": "delivery", "discount": {"type": "amount", "minor": 1, "per": "piece"}}),
            ["target", "discount.per"],
        ),
        (
            json!({"target": "delivery", "discount": {"type": "percent", "permyriad": 1, "max_pieces": 1}}),
            ["target", "max_pieces"],
        ),
        (
            json!({"discount": {"type": "percent", "permyriad": 1, "max_pieces": 2, "group_of": 3}}),
            ["discount.max_pieces", "discount.group_of"],
        ),
        (
            json!({"discount": {"type": "amount", "minor": 1, "per": "line", "group_of": 3}}),
            ["discount.per", "discount.group_of"],
        ),
        (json!({"limits": {"budget_group": "spring"}}), ["limits.budget_group", "limits.budget_minor"]),
    ] {
        refused(extra, &fields);
    }
    let with_codes = offer(json!({"codes": ["A"]}));
    assert!(validate_as(OfferKind::Promo, &with_codes).is_ok());
    assert!(validate_as(OfferKind::Campaign, &with_codes).unwrap_err().detail.starts_with("codes"));
}

#[test]
fn what_matches_nothing_is_a_warning() {
    for (extra, path) in [
        (json!({"selector": {"include": [{"skus": []}]}}), "selector: "),
        (json!({"selector": {"include": [{"skus": []}, {"skus": ["a"]}]}}), "selector.include[0].skus"),
        (json!({"selector": {"exclude": [{}]}}), "selector: "),
        (
            json!({"conditions": {"selector": {"include": [{"tags": ["a"]}], "exclude": [{"tags": ["a"]}]}}}),
            "conditions.selector",
        ),
        (json!({"conditions": {"shops": []}}), "conditions.shops"),
        (json!({"stacking": {"exclusive": true, "group": "a"}}), "stacking.exclusive"),
        (
            json!({"limits": {"per_customer": 1, "per_customer_in": {"uses": 1, "period": "week"}}}),
            "limits.per_customer_in",
        ),
    ] {
        let offer = offer(extra);
        validate(&offer).unwrap();
        assert!(warnings(&offer).iter().any(|warning| warning.contains(path)), "{path}: {:?}", warnings(&offer));
    }
    assert!(warnings(&offer(json!({"selector": {"include": [{"skus": ["a"]}]}}))).is_empty());
}

#[test]
fn what_is_left_out_is_not_written_again() {
    let documents = [
        json!({"name": "2 for 1", "discount": {"type": "buy_x_get_y", "buy": 1, "get": 1}}),
        json!({"name": {"ru": "а", "kk": "б", "en": "c"}, "discount": {"type": "free_delivery"}, "codes": ["A-1"]}),
        json!({
            "name": "all", "discount": {"type": "percent", "permyriad": 1000, "max_minor": 5, "choose": "dearest"},
            "target": "lines", "funded_by": "brand", "status": "draft",
            "selector": {"include": [{"skus": ["a"], "max_unit_price_minor": 7}], "exclude": [{"shops": []}]},
            "conditions": {
                "selector": {}, "min_subtotal_minor": 1, "tiers": ["gold"], "first_order": true, "channels": ["pos"],
                "windows": [{"days": ["mon", "sun"], "from": "15:00", "to": "24:00"}]
            },
            "limits": {"per_ip_in": {"uses": 3, "period": "week"}, "budget_minor": 1, "budget_group": "spring"},
            "stacking": {"priority": -3, "group": "g", "exclusive": true, "base": "initial"},
            "starts_at": "2026-11-23T09:00:00Z"
        }),
    ];
    for document in documents {
        let offer: Offer = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&offer).unwrap(), document);
        let packed = rmp_serde::to_vec_named(&offer).unwrap();
        assert_eq!(rmp_serde::from_slice::<Offer>(&packed).unwrap(), offer);
    }
}

#[test]
fn unknown_fields_are_refused_at_every_depth() {
    for extra in [
        json!({"x": 1}),
        json!({"discount": {"type": "free_delivery", "x": 1}}),
        json!({"discount": {"type": "percent", "permyriad": 1, "x": 1}}),
        json!({"discount": {"type": "bundle_price", "quantity": 1, "minor": 1, "max_pieces": 1}}),
        json!({"selector": {"include": [{"x": 1}]}}),
        json!({"conditions": {"windows": [{"from": "1:00", "to": "02:00"}]}}),
        json!({"conditions": {"windows": [{"from": "01:00", "to": "24:01"}]}}),
        json!({"limits": {"per_ip_in": {"uses": 1}}}),
        json!({"name": {"ru": "a"}}),
    ] {
        let mut offer = json!({"name": "test", "discount": {"type": "percent", "permyriad": 1000}});
        offer.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert!(serde_json::from_value::<Offer>(offer).is_err(), "{extra}");
    }
}
