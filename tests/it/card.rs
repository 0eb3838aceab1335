//! Cards: issue, read, block, reissue, close.

use serde_json::json;

use crate::harness::Server;

#[test]
fn a_card_is_issued_once_and_then_found() {
    let server = Server::start();
    let service = server.service();
    let card = service.post("/v1/customers/c1/card", &json!({})).ok(201).body;
    assert_eq!(card["customer_id"], "c1");
    assert_eq!(card["status"], "active");
    assert_eq!(card["tier"], "bronze");
    let barcode = card["barcode"].as_str().unwrap();
    assert!(barcode.len() == 13 && barcode.starts_with("29"), "{barcode}");
    for field in ["balance", "available", "held", "pending", "under_review"] {
        assert_eq!(card[field], 0, "{field}");
    }
    let again = service.post("/v1/customers/c1/card", &json!({})).ok(200);
    assert_eq!(again.body["barcode"], card["barcode"]);
    assert!(!again.replayed(), "another key, not a repeat");
    assert_eq!(server.customer("c1").get("/v1/customers/c1/card").ok(200).body["barcode"], card["barcode"]);
    assert_eq!(server.till().get("/v1/customers/c1/card").ok(200).body["barcode"], card["barcode"]);
    service.get("/v1/customers/c2/card").problem(404, "card_not_found");
}

#[test]
fn members_of_a_former_system_keep_their_since() {
    let server = Server::start();
    let body = json!({"since": "2020-02-29T10:00:00+05:00"});
    let card = server.service().post("/v1/customers/c1/card", &body).ok(201).body;
    assert_eq!(card["since"], "2020-02-29T05:00:00Z");
    // An empty body is a body without fields.
    let bare = server.service().send("POST", "/v1/customers/c2/card", &[("Idempotency-Key", "k")], None).unwrap();
    assert_eq!(bare.ok(201).body["since"], crate::harness::Server::card(&server, "c2")["since"]);
}

#[test]
fn a_blocked_card_earns_and_does_not_burn_until_it_is_unblocked() {
    let server = Server::start();
    server.member("c1", 500);
    let reason = json!({"reason": "lost phone"});
    let blocked = server.support().post("/v1/customers/c1/card/block", &reason).ok(200).body;
    assert_eq!((&blocked["status"], &blocked["reason"]), (&json!("blocked"), &json!("lost phone")));
    let cart = crate::harness::app_cart("c1", 100_000, 100);
    server.service().post("/v1/checkout/holds", &cart).problem(409, "card_blocked");
    server.orders(&crate::harness::bought("c1", "o1", 1_000_000, &server.clock.at(0)));
    assert_eq!(server.card("c1")["pending"], 100);
    server.support().post("/v1/customers/c1/card/block", &reason).problem(409, "card_state_conflict");
    server.support().post("/v1/customers/c1/card/unblock", &reason).ok(200);
    server.service().post("/v1/checkout/holds", &cart).ok(201);
}

#[test]
fn a_reissued_card_has_a_new_barcode_and_waits_a_day_before_it_burns() {
    let server = Server::start();
    let old = server.member("c1", 500);
    let old_code = server.code("c1", "pay");
    let new = server.service().post("/v1/customers/c1/card/reissue", &json!({"reason": "lost"})).ok(200).body;
    assert_ne!(new["barcode"], old["barcode"]);
    assert_eq!(new["balance"], 500);
    for code in [&json!(old_code), &old["barcode"]] {
        server.till().post("/v1/pos/scan", &json!({"code": code})).problem(404, "card_not_found");
    }
    let scan = server.till().post("/v1/pos/scan", &json!({"code": server.code("c1", "pay")})).ok(200).body;
    assert_eq!((&scan["can_burn"], &scan["why_not"]), (&json!(false), &json!("burn_not_allowed")));
    server.clock.advance(24 * 3600);
    server.pay_scan(&server.till(), "c1");
}

#[test]
fn a_closed_card_is_closed_for_good() {
    let server = Server::start();
    let card = server.member("c1", 0);
    let reason = json!({"reason": "asked to"});
    assert_eq!(server.support().post("/v1/customers/c1/card/close", &reason).ok(200).body["status"], "closed");
    server.support().post("/v1/customers/c1/card/unblock", &reason).problem(409, "card_closed");
    server.till().post("/v1/pos/scan", &json!({"code": card["barcode"]})).problem(409, "card_closed");
    server.customer("c1").get("/v1/customers/c1/card/qr").problem(409, "card_closed");
    let again = server.service().post("/v1/customers/c1/card", &json!({}));
    assert!(again.status == 200 || again.status == 409, "{}", again.body);
}

#[test]
fn a_card_change_needs_a_reason_of_1_to_200_characters() {
    let server = Server::start();
    server.issue("c1");
    for reason in ["", &"x".repeat(201)] {
        server.support().post("/v1/customers/c1/card/block", &json!({"reason": reason})).problem(400, "invalid_field");
    }
    server.support().post("/v1/customers/c1/card/block", &json!({})).problem(400, "malformed");
    server.support().post("/v1/customers/c1/card/block", &json!({"reason": "ы".repeat(200)})).ok(200);
}

#[test]
fn what_was_done_is_there_after_a_restart() {
    let mut server = Server::start();
    let card = server.member("c1", 700);
    server.clock.advance(3600);
    let before = server.card("c1");
    server.restart();
    assert_eq!(server.card("c1"), before);
    assert_eq!(server.card("c1")["barcode"], card["barcode"]);
    assert_eq!(server.statement("c1").len(), 1);
}
