//! Trust: the score, what it stands on, flags.

use serde_json::json;

use crate::harness::{Server, bought};

#[test]
fn clean_orders_raise_the_score_and_each_change_says_why() {
    let server = Server::start();
    let start = server.trust("c1");
    assert_eq!((&start["score"], &start["band"], &start["history"]), (&json!(50), &json!("standard"), &json!([])));
    for day in 0..3 {
        server.orders(&bought("c1", &format!("o{day}"), 200_000, &server.clock.at(0)));
        server.clock.days(1);
    }
    let trust = server.trust("c1");
    // R = 5 * 3 + 2 * min(0, 8) = 15; floor(100 * 65 / 115) = 56.
    assert_eq!(
        (&trust["score"], &trust["completed_orders"], &trust["total_orders"]),
        (&json!(56), &json!(3), &json!(3))
    );
    let history = trust["history"].as_array().unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(history[0]["score"], 56);
    assert!(history.iter().all(|change| !change["cause"].as_str().unwrap().is_empty()));
    assert!(history[0]["at"].as_str() > history[1]["at"].as_str(), "newest first");
    assert_eq!(server.customer("c1").get("/v1/customers/c1/trust").ok(200).body, trust);
}

#[test]
fn a_cancellation_after_picking_costs_until_its_year_is_over() {
    let server = Server::start();
    let event = json!({"event_id": "x", "type": "cancelled", "order_id": "o1", "customer_id": "c1", "shop_id": "s1",
                       "at": server.clock.at(0), "by": "customer", "after_picking": true});
    server.orders(&[event]);
    // S = 10: floor(100 * 50 / 110).
    assert_eq!(server.trust("c1")["score"], 45);
    server.clock.days(366);
    let trust = server.trust("c1");
    assert_eq!(trust["score"], 50);
    assert_eq!(trust["history"][0]["score"], 50, "the midnight's change is due, and shown: {trust}");
    assert_eq!(trust["history"].as_array().unwrap().len(), 2);
}

#[test]
fn a_flag_caps_while_it_stands_and_leaves_nothing_when_dismissed() {
    let server = Server::start();
    let support = server.support();
    let raised =
        support.post("/v1/customers/c1/fraud-flags", &json!({"flag": "stolen-card", "reason": "chargeback"})).ok(200);
    assert_eq!((&raised.body["state"], &raised.body["score"]), (&json!("raised"), &json!(49)));
    assert_eq!(server.trust("c1")["fraud_flags"], json!(["stolen-card"]));
    let dismissed = support.post("/v1/customers/c1/fraud-flags/stolen-card/dismiss", &json!({})).ok(200).body;
    assert_eq!((&dismissed["state"], &dismissed["score"]), (&json!("dismissed"), &json!(50)));
    assert_eq!(server.trust("c1")["fraud_flags"], json!([]));
    support.post("/v1/customers/c1/fraud-flags/never-raised/confirm", &json!({})).problem(404, "not_found");
    support.post("/v1/customers/c1/fraud-flags", &json!({"flag": "a b", "reason": "x"})).problem(400, "invalid_field");
}

#[test]
fn a_confirmed_flag_counts_and_stops_burning() {
    let server = Server::start();
    server.member("c1", 500);
    let support = server.support();
    support.post("/v1/customers/c1/fraud-flags", &json!({"flag": "f", "reason": "x"})).ok(200);
    let confirmed = support.post("/v1/customers/c1/fraud-flags/f/confirm", &json!({})).ok(200).body;
    // S = 75: floor(100 * 50 / 175) = 28.
    assert_eq!((&confirmed["state"], &confirmed["score"]), (&json!("confirmed"), &json!(28)));
    let cart = crate::harness::app_cart("c1", 100_000, 100);
    let refused = server.service().post("/v1/checkout/holds", &cart);
    assert!(
        matches!((refused.status, refused.code()), (422, "burn_not_allowed" | "points_over_share")),
        "{}",
        refused.body
    );
    support.post("/v1/customers/c1/fraud-flags/f/dismiss", &json!({})).problem(409, "already_decided");
}
