//! Scans at a till: who it is, whether points can be burned, and what slows a terminal down.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Server, cart};

fn scan(till: &Client, code: impl Into<Value>) -> Answer {
    till.post("/v1/pos/scan", &json!({"code": code.into()}))
}

#[test]
fn a_fresh_pay_code_identifies_and_may_burn() {
    let server = Server::start();
    server.member("c1", 300);
    let seen = scan(&server.till(), server.code("c1", "pay")).ok(200).body;
    assert_eq!((&seen["customer_id"], &seen["can_burn"]), (&json!("c1"), &json!(true)));
    assert!(seen.get("why_not").is_none(), "{seen}");
    assert_eq!(seen["card"]["available"], 300);
    assert_eq!(seen["offers"], json!([]));
    assert!(seen["scan_id"].as_str().unwrap().len() > 40);
}

#[test]
fn a_code_is_fresh_in_its_step_and_one_either_side_then_stale_for_a_day() {
    let server = Server::start();
    server.member("c1", 300);
    let code = server.code("c1", "pay");
    for (wait, can_burn) in [(0, true), (59, true), (1, false), (24 * 3600 - 60, false)] {
        server.clock.advance(wait);
        let seen = scan(&server.till(), code.as_str()).ok(200).body;
        assert_eq!(seen["can_burn"], can_burn, "{wait}");
        if !can_burn {
            assert_eq!(seen["why_not"], "qr_expired");
            assert_eq!(seen["card"]["available"], 300, "stale, it still identifies");
        }
    }
    server.clock.advance(1);
    scan(&server.till(), code).problem(422, "qr_expired");
}

#[test]
fn a_show_code_never_burns() {
    let server = Server::start();
    server.member("c1", 300);
    let seen = scan(&server.till(), server.code("c1", "show")).ok(200).body;
    assert_eq!((&seen["can_burn"], &seen["why_not"]), (&json!(false), &json!("qr_show_only")));
}

#[test]
fn a_printed_barcode_shows_neither_name_nor_balance() {
    let server = Server::start();
    let card = server.member("c1", 300);
    let seen = scan(&server.till(), card["barcode"].clone()).ok(200).body;
    assert_eq!((&seen["can_burn"], &seen["why_not"]), (&json!(false), &json!("qr_show_only")));
    let fields: Vec<_> = seen["card"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["barcode", "customer_id", "status", "tier"]);
    // Nowhere else either. Not looked for as text: a random token may have those digits.
    let fields: Vec<_> = seen.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["can_burn", "card", "customer_id", "offers", "scan_id", "why_not"]);
}

#[test]
fn a_blocked_card_is_identified_and_does_not_burn() {
    let server = Server::start();
    server.member("c1", 300);
    server.support().post("/v1/customers/c1/card/block", &json!({"reason": "x"})).ok(200);
    let seen = scan(&server.till(), server.code("c1", "pay")).ok(200).body;
    assert_eq!((&seen["can_burn"], &seen["why_not"]), (&json!(false), &json!("card_blocked")));
}

#[test]
fn a_pay_code_burns_once() {
    let server = Server::start();
    server.member("c1", 300);
    let (till, code) = (server.till(), server.code("c1", "pay"));
    let scan_id = scan(&till, code.as_str()).ok(200).body["scan_id"].clone();
    let mut body = cart("c1", 100_000, 100);
    body["scan_id"] = scan_id;
    let hold = till.post("/v1/checkout/holds", &body).ok(201).body["hold"]["hold_id"].as_str().unwrap().to_owned();
    till.post(&format!("/v1/checkout/holds/{hold}/capture"), &json!({"order_id": "o1"})).ok(200);
    let seen = scan(&till, code).ok(200).body;
    assert_eq!((&seen["can_burn"], &seen["why_not"]), (&json!(false), &json!("qr_used")));
    till.post("/v1/checkout/quotes", &body).problem(422, "qr_used");
    till.post("/v1/checkout/holds", &body).problem(422, "qr_used");
}

#[test]
fn wrong_signatures_slow_that_terminal_alone() {
    let server = Server::start();
    server.member("c1", 300);
    let (till, code) = (server.till(), server.code("c1", "pay"));
    let last = if code.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &code[..31]);
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(scan(&till, forged.as_str()));
    }
    answers[0].clone().problem(422, "qr_invalid");
    answers.last().unwrap().clone().problem(429, "terminal_slowed");
    scan(&till, code.as_str()).problem(429, "terminal_slowed");
    scan(&server.key("till2"), code).ok(200);
    assert_eq!(server.card("c1")["balance"], 300);
    server.clock.advance(3600);
    scan(&till, server.code("c1", "pay")).ok(200);
}

#[test]
fn a_wrong_product_under_the_scanner_does_not_slow_the_till() {
    let server = Server::start();
    for _ in 0..30 {
        scan(&server.till(), "4006381333931").problem(422, "qr_invalid");
    }
    for text in ["", "x", "https://example.com/?q=1", "2900000000000", &"A".repeat(5000)] {
        scan(&server.till(), text).problem(422, "qr_invalid");
    }
    // A barcode of ours that no card has.
    scan(&server.till(), "2912345678906").problem(404, "card_not_found");
}

#[test]
fn a_day_has_a_limit_of_scans() {
    let server = Server::with(|config| config.policy.limits.scans = 3);
    let card = server.member("c1", 0);
    for _ in 0..3 {
        scan(&server.till(), server.code("c1", "show")).ok(200);
    }
    scan(&server.till(), server.code("c1", "show")).problem(429, "scan_limit");
    scan(&server.till(), card["barcode"].clone()).ok(200);
    server.clock.next_day();
    scan(&server.till(), server.code("c1", "show")).ok(200);
}

#[test]
fn a_scan_writes_nothing() {
    let server = Server::start();
    server.member("c1", 0);
    let before = server.admin().get("/v1/customers/c1/state").ok(200).body["seq"].clone();
    scan(&server.till(), server.code("c1", "pay")).ok(200);
    assert_eq!(server.admin().get("/v1/customers/c1/state").ok(200).body["seq"], before);
}

#[test]
fn a_scan_names_the_campaigns_that_the_customer_would_be_given_here() {
    let server = Server::start();
    server.issue("c1");
    let put = |id: &str, extra: &Value| {
        let mut offer = json!({"name": id, "discount": {"type": "percent", "permyriad": 1000}});
        offer.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let kind = if extra.get("codes").is_some() { "promos" } else { "campaigns" };
        server.admin().put(&format!("/v1/{kind}/{id}"), &offer).ok(200);
    };
    let until = server.clock.at(86_400);
    put("all", &json!({"ends_at": until}));
    put("first", &json!({"stacking": {"priority": 5}, "limits": {"total": 1}}));
    put("code", &json!({"codes": ["X"]}));
    put("app", &json!({"conditions": {"channels": ["app"]}}));
    put("elsewhere", &json!({"conditions": {"shops": ["s2"]}}));
    put("vip", &json!({"conditions": {"segments": ["vip"]}}));
    let offers = || {
        let seen = scan(&server.till(), server.code("c1", "show")).ok(200).body;
        let named = seen["offers"].as_array().unwrap().iter().map(|one| one["offer_id"].as_str().unwrap().to_owned());
        (named.collect::<Vec<_>>(), seen["offers"].clone())
    };
    assert_eq!(offers().0, ["first", "all"]);
    assert_eq!(offers().1[1], json!({"offer_id": "all", "name": "all", "ends_at": until}));
    server.service().post("/v1/segments/vip/customers", &json!({"add": ["c1"]})).ok(200);
    server.till().post("/v1/checkout/holds", &cart("c1", 100_000, 0)).ok(201);
    assert_eq!(offers().0, ["all", "vip"], "the one use of the first is held");
    (0..30).for_each(|n| put(&format!("more-{n:02}"), &json!({})));
    assert_eq!(offers().0.len(), 20);
}
