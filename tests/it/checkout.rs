//! The checkout: quotes, holds, captures, releases; at a till, in the app, for guests.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Server, app_cart, cart, piece};

fn hold(client: &Client, body: &Value) -> (String, Value) {
    let answer = client.post("/v1/checkout/holds", body).ok(201);
    (answer.body["hold"]["hold_id"].as_str().unwrap().to_owned(), answer.body)
}

fn capture(client: &Client, hold: &str, order: &str) -> Answer {
    client.post(&format!("/v1/checkout/holds/{hold}/capture"), &json!({"order_id": order}))
}

fn release(client: &Client, hold: &str) -> Answer {
    client.post(&format!("/v1/checkout/holds/{hold}/release"), &json!({}))
}

fn state(client: &Client, hold: &str) -> Value {
    client.get(&format!("/v1/checkout/holds/{hold}")).ok(200).body["state"].clone()
}

#[test]
fn a_quote_prices_and_writes_nothing() {
    let server = Server::start();
    server.member("c1", 500);
    let mut body = app_cart("c1", 100_000, 500);
    body["lines"] = json!([piece("a", 2, 30_000), piece("b", 1, 40_000)]);
    body["delivery_minor"] = json!(5_000);
    body["codes"] = json!(["NOPE"]);
    let quote = server.service().post("/v1/checkout/quotes", &body).ok(200).body;
    for (field, value) in [
        ("subtotal_minor", 100_000),
        ("discount_minor", 0),
        ("delivery_minor", 5_000),
        ("points_burned", 500),
        ("points_burned_minor", 50_000),
        ("total_minor", 55_000),
        ("points_to_earn", 5),
    ] {
        assert_eq!(quote[field], value, "{field}");
    }
    assert_eq!(
        (&quote["lines"][0]["points_minor"], &quote["lines"][1]["points_minor"]),
        (&json!(30_000), &json!(20_000))
    );
    assert_eq!(
        (&quote["rejected"][0]["code"], &quote["rejected"][0]["reason"]),
        (&json!("NOPE"), &json!("code_unknown"))
    );
    assert!(quote.get("hold").is_none());
    let again = server.service().post("/v1/checkout/quotes", &body).ok(200).body;
    assert_eq!(again, quote, "same inputs, same quote, bit for bit");
    assert_eq!(server.card("c1")["held"], 0);
    // Quotes take no key.
    server.service().send("POST", "/v1/checkout/quotes", &[], Some(&body)).unwrap().ok(200);
}

#[test]
fn a_hold_keeps_the_points_and_a_capture_takes_them() {
    let server = Server::start();
    server.member("c1", 500);
    let service = server.service();
    let (id, quote) = hold(&service, &app_cart("c1", 100_000, 300));
    assert_eq!(quote["hold"]["expires_at"], server.clock.at(900));
    let card = server.card("c1");
    assert_eq!((&card["balance"], &card["available"], &card["held"]), (&json!(500), &json!(200), &json!(300)));
    let done = capture(&service, &id, "o1").ok(200).body;
    assert_eq!((&done["hold_id"], &done["order_id"], &done["state"]), (&json!(id), &json!("o1"), &json!("captured")));
    assert_eq!(
        (&done["uncovered"], &done["points_burned"], &done["total_minor"]),
        (&json!([]), &json!(300), &json!(70_000))
    );
    let card = server.card("c1");
    assert_eq!((&card["balance"], &card["available"], &card["held"]), (&json!(200), &json!(200), &json!(0)));
    assert_eq!(state(&service, &id), "captured");
    let entry = &server.statement("c1")[0];
    assert_eq!((&entry["cause"], &entry["points"], &entry["order_id"]), (&json!("burn"), &json!(-300), &json!("o1")));
}

#[test]
fn a_capture_comes_once_and_never_after_a_release() {
    let server = Server::start();
    server.member("c1", 500);
    let service = server.service();
    let (id, _) = hold(&service, &app_cart("c1", 100_000, 100));
    capture(&service, &id, "o1").ok(200);
    let again = capture(&service, &id, "o2");
    assert_eq!((again.status, again.code()), (409, "hold_ended"), "{}", again.body);
    assert_eq!(server.card("c1")["balance"], 400);
    release(&service, &id).problem(409, "hold_ended");
    let (id, _) = hold(&service, &app_cart("c1", 100_000, 100));
    assert_eq!(release(&service, &id).ok(200).body["state"], "released");
    assert_eq!(server.card("c1")["held"], 0);
    capture(&service, &id, "o3").problem(409, "hold_ended");
    assert_eq!(state(&service, &id), "released");
}

#[test]
fn a_capture_of_less_is_repriced_and_of_more_refused() {
    let server = Server::start();
    server.member("c1", 500);
    let service = server.service();
    let mut body = app_cart("c1", 0, 500);
    body["lines"] = json!([piece("a", 2, 50_000), piece("b", 1, 20_000)]);
    let (id, _) = hold(&service, &body);
    let path = format!("/v1/checkout/holds/{id}/capture");
    let more = json!({"order_id": "o1", "lines": [{"line_id": "a", "quantity": 3}]});
    service.post(&path, &more).problem(422, "capture_too_large");
    let unknown = json!({"order_id": "o1", "lines": [{"line_id": "z", "quantity": 1}]});
    service.post(&path, &unknown).problem(422, "capture_too_large");
    let less = json!({"order_id": "o1", "lines": [{"line_id": "a", "quantity": 1}]});
    let done = service.post(&path, &less).ok(200).body;
    // Half of 500 tenge may be paid in points.
    assert_eq!(
        (&done["subtotal_minor"], &done["points_burned"], &done["total_minor"]),
        (&json!(50_000), &json!(250), &json!(25_000))
    );
    assert_eq!(server.card("c1")["balance"], 250);
}

#[test]
fn an_expired_hold_gives_back_and_can_be_captured_late_as_far_as_points_remain() {
    let server = Server::start();
    server.member("c1", 500);
    let service = server.service();
    let (id, _) = hold(&service, &app_cart("c1", 100_000, 500));
    server.clock.advance(901);
    assert_eq!(state(&service, &id), "expired");
    assert_eq!(server.card("c1")["available"], 500);
    // Meanwhile 300 of them go elsewhere.
    let (other, _) = hold(&service, &app_cart("c1", 100_000, 300));
    capture(&service, &other, "o2").ok(200);
    let late = capture(&service, &id, "o1").ok(200).body;
    assert_eq!(late["uncovered"][0]["kind"], "points", "{late}");
    assert_eq!(late["uncovered"][0]["points"], 300);
    let card = server.card("c1");
    assert_eq!((&card["balance"], &card["available"]), (&json!(0), &json!(0)));
    server.statement("c1");
    let signals = server.support().get("/v1/signals?kind=capture_uncovered").ok(200).body;
    assert_eq!(signals["items"].as_array().unwrap().len(), 1);
    // After 72 h it is over.
    server.member("c2", 500);
    let (id, _) = hold(&service, &app_cart("c2", 100_000, 100));
    server.clock.advance(900 + 72 * 3600 + 1);
    let too_late = capture(&service, &id, "o9");
    assert!(matches!(too_late.status, 404 | 409), "{}", too_late.body);
    assert_eq!(server.card("c2")["balance"], 500);
}

#[test]
fn burning_at_a_till_needs_a_fresh_pay_scan_there() {
    let server = Server::start();
    server.member("c1", 500);
    server.member("c2", 500);
    let till = server.till();
    let refused = |scan: Option<&str>, code: &str| {
        let mut body = cart("c1", 100_000, 100);
        body["scan_id"] = json!(scan);
        till.post("/v1/checkout/quotes", &body).problem(422, code);
        till.post("/v1/checkout/holds", &body).problem(422, code);
    };
    refused(None, "scan_required");
    refused(Some("00"), "scan_invalid");
    refused(Some(&server.pay_scan(&server.key("till2"), "c1")), "scan_invalid");
    refused(Some(&server.pay_scan(&till, "c2")), "scan_invalid");
    let show = till.post("/v1/pos/scan", &json!({"code": server.code("c1", "show")})).ok(200).body;
    refused(show["scan_id"].as_str(), "qr_show_only");
    let code = server.code("c1", "pay");
    server.clock.advance(120);
    let stale = till.post("/v1/pos/scan", &json!({"code": code})).ok(200).body;
    refused(stale["scan_id"].as_str(), "qr_expired");
    let good = server.pay_scan(&till, "c1");
    server.clock.advance(601);
    refused(Some(&good), "scan_invalid");
    // Without points no scan is needed.
    till.post("/v1/checkout/holds", &cart("c1", 100_000, 0)).ok(201);
    let mut body = cart("c1", 100_000, 100);
    body["scan_id"] = json!(server.pay_scan(&till, "c1"));
    till.post("/v1/checkout/holds", &body).ok(201);
}

#[test]
fn a_till_scans_and_holds_in_one_call() {
    let server = Server::start();
    let card = server.member("c1", 500);
    let till = server.till();
    let mut body = cart("c1", 100_000, 100);
    body.as_object_mut().unwrap().remove("customer_id");
    body["code"] = json!(server.code("c1", "pay"));
    let (id, quote) = hold(&till, &body);
    assert_eq!(quote["points_burned"], 100);
    assert_eq!(till.get(&format!("/v1/checkout/holds/{id}")).ok(200).body["customer_id"], "c1");
    body["code"] = card["barcode"].clone();
    till.post("/v1/checkout/quotes", &body).problem(422, "qr_show_only");
    body["points_to_burn"] = json!(0);
    assert_eq!(till.post("/v1/checkout/quotes", &body).ok(200).body["points_to_earn"], 10);
    body["customer_id"] = json!("c1");
    till.post("/v1/checkout/quotes", &body).problem(400, "invalid_field");
}

#[test]
fn a_code_burns_as_far_as_it_allows_on_every_channel() {
    let server = Server::start();
    let card = server.member("c1", 500);
    let service = server.service();
    for channel in ["app", "web", "pos"] {
        let mut body = cart("c1", 100_000, 100);
        body.as_object_mut().unwrap().remove("customer_id");
        body["channel"] = json!(channel);
        let mut refused = |code: Value, why: &str| {
            body["code"] = code;
            service.post("/v1/checkout/quotes", &body).problem(422, why);
            service.post("/v1/checkout/holds", &body).problem(422, why);
        };
        refused(json!(server.code("c1", "show")), "qr_show_only");
        refused(card["barcode"].clone(), "qr_show_only");
        let pay = server.code("c1", "pay");
        server.clock.advance(120);
        refused(json!(pay), "qr_expired");
        body["code"] = json!(server.code("c1", "pay"));
        // The step is bound to one open hold, and used up by its capture.
        let (first, _) = hold(&service, &body);
        let (second, _) = hold(&service, &body);
        assert_eq!((state(&service, &first), server.card("c1")["held"].clone()), (json!("released"), json!(100)));
        capture(&service, &second, &format!("o-{channel}")).ok(200);
        service.post("/v1/checkout/quotes", &body).problem(422, "qr_used");
        service.post("/v1/checkout/holds", &body).problem(422, "qr_used");
        server.clock.advance(60);
    }
}

#[test]
fn a_new_hold_with_the_same_scan_replaces_the_earlier_one() {
    let server = Server::start();
    server.member("c1", 500);
    let till = server.till();
    let mut body = cart("c1", 100_000, 100);
    body["scan_id"] = json!(server.pay_scan(&till, "c1"));
    let (first, _) = hold(&till, &body);
    body["points_to_burn"] = json!(200);
    let (second, _) = hold(&till, &body);
    assert_eq!(server.card("c1")["held"], 200);
    assert_eq!(state(&till, &first), "released");
    capture(&till, &first, "o1").problem(409, "hold_ended");
    capture(&till, &second, "o1").ok(200);
}

#[test]
fn points_have_their_limits() {
    let server = Server::start();
    server.member("c1", 1000);
    let service = server.service();
    let over = service.post("/v1/checkout/holds", &app_cart("c1", 100_000, 501)).problem(422, "points_over_share");
    assert_eq!(over.body["max"], 500);
    service.post("/v1/checkout/holds", &app_cart("c1", 1_000_000, 1001)).problem(422, "points_insufficient");
    let mut smoke = app_cart("c1", 100_000, 1);
    smoke["lines"][0]["tags"] = json!(["tobacco"]);
    service.post("/v1/checkout/holds", &smoke).problem(422, "points_over_share");
}

#[test]
fn a_customer_has_two_open_holds_at_most() {
    let server = Server::start();
    server.member("c1", 1000);
    let service = server.service();
    let (first, _) = hold(&service, &app_cart("c1", 100_000, 100));
    hold(&service, &app_cart("c1", 100_000, 100));
    service.post("/v1/checkout/holds", &app_cart("c1", 100_000, 100)).problem(422, "too_many_holds");
    release(&service, &first).ok(200);
    hold(&service, &app_cart("c1", 100_000, 100));
}

#[test]
fn another_total_than_expected_is_refused_with_the_new_quote() {
    let server = Server::start();
    server.member("c1", 1000);
    let mut body = app_cart("c1", 100_000, 100);
    body["expected_total_minor"] = json!(100_000);
    let refused = server.service().post("/v1/checkout/holds", &body).problem(422, "total_changed");
    assert_eq!(refused.body["quote"]["total_minor"], 90_000);
    body["expected_total_minor"] = json!(90_000);
    hold(&server.service(), &body);
}

#[test]
fn a_hold_lasts_as_long_as_it_says() {
    let server = Server::start();
    server.member("c1", 1000);
    let mut body = app_cart("c1", 100_000, 100);
    for ttl in [29, 3601, -1] {
        body["ttl_s"] = json!(ttl);
        server.service().post("/v1/checkout/holds", &body).problem(400, "invalid_field");
    }
    body["ttl_s"] = json!(30);
    let (id, quote) = hold(&server.service(), &body);
    assert_eq!(quote["hold"]["expires_at"], server.clock.at(30));
    server.clock.advance(30);
    assert_eq!(state(&server.service(), &id), "expired");
    server.service().post("/v1/checkout/quotes", &body).problem(400, "unknown_field");
}

#[test]
fn only_trusted_callers_are_told_why_a_code_does_not_apply() {
    let server = Server::start();
    server.member("c1", 0);
    let mut body = app_cart("c1", 100_000, 0);
    body["codes"] = json!(["NOPE"]);
    let reason = |client: &Client, body: &Value| {
        client.post("/v1/checkout/quotes", body).ok(200).body["rejected"][0]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(&server.customer("c1"), &body), "promo_not_applicable");
    assert_eq!(reason(&server.service(), &body), "code_unknown");
    body["dry_run"] = json!({});
    assert_eq!(reason(&server.admin(), &body), "code_unknown");
    let mut body = cart("c1", 100_000, 0);
    body["codes"] = json!(["NOPE"]);
    assert_eq!(reason(&server.till(), &body), "code_unknown");
}

#[test]
fn a_hold_with_a_code_that_does_not_apply_is_refused() {
    let server = Server::start();
    server.member("c1", 0);
    let mut body = app_cart("c1", 100_000, 0);
    body["codes"] = json!(["WELCOME10"]);
    let service = server.service().post("/v1/checkout/holds", &body).problem(422, "code_unknown");
    assert!(service.body["detail"].as_str().unwrap().contains("WELCOME10"), "{}", service.body);
    // The public gets one answer, whatever is wrong with a code; also when it is repeated.
    for replayed in [false, true] {
        let public = server.customer("c1").post_key("/v1/checkout/holds", &body, "k-1");
        assert_eq!(public.problem(422, "promo_not_applicable").replayed(), replayed);
    }
    let mut body = cart("c1", 100_000, 0);
    body["codes"] = json!(["WELCOME10"]);
    server.till().post("/v1/checkout/holds", &body).problem(422, "code_unknown");
}

#[test]
fn a_guest_quotes_and_holds_without_points() {
    let server = Server::start();
    let service = server.service();
    let mut body = app_cart("", 100_000, 0);
    body.as_object_mut().unwrap().remove("customer_id");
    assert_eq!(service.post("/v1/checkout/quotes", &body).ok(200).body["points_to_earn"], 0);
    let first = service.post_key("/v1/checkout/holds", &body, "guest-1").ok(201);
    let again = service.post_key("/v1/checkout/holds", &body, "guest-1").ok(201);
    assert_eq!(first.body, again.body);
    assert!(again.replayed());
    let id = first.body["hold"]["hold_id"].as_str().unwrap();
    let seen = service.get(&format!("/v1/checkout/holds/{id}")).ok(200).body;
    assert!(seen.get("customer_id").is_none(), "{seen}");
    server.customer("c1").get(&format!("/v1/checkout/holds/{id}")).problem(404, "hold_not_found");
    capture(&service, id, "o1").ok(200);
    assert_eq!(state(&service, id), "captured");
    let (id, _) = hold(&service, &body);
    assert!(release(&service, &id).ok(200).body.get("customer_id").is_none());
    body["points_to_burn"] = json!(1);
    let refused = service.post("/v1/checkout/holds", &body);
    assert!((400..500).contains(&refused.status), "{}", refused.body);
}

#[test]
fn who_may_check_out_where() {
    let server = Server::start();
    server.member("c1", 500);
    let (me, till) = (server.customer("c1"), server.till());
    till.post("/v1/checkout/quotes", &app_cart("c1", 100_000, 0)).problem(403, "forbidden");
    let mut foreign = cart("c1", 100_000, 0);
    foreign["shop_id"] = json!("s2");
    till.post("/v1/checkout/quotes", &foreign).problem(403, "forbidden");
    me.post("/v1/checkout/quotes", &cart("c1", 100_000, 0)).problem(403, "forbidden");
    me.post("/v1/checkout/quotes", &app_cart("c2", 100_000, 0)).problem(404, "not_found");
    let (id, quote) = hold(&me, &app_cart("c1", 100_000, 100));
    assert_eq!(quote["points_burned"], 100);
    // Without an id it is the caller's own cart.
    let mut own = app_cart("c1", 100_000, 0);
    own.as_object_mut().unwrap().remove("customer_id");
    assert_eq!(me.post("/v1/checkout/quotes", &own).ok(200).body["points_to_earn"], 10);
    for stranger in [server.customer("c2"), server.key("other till")] {
        stranger.get(&format!("/v1/checkout/holds/{id}")).problem(404, "hold_not_found");
        capture(&stranger, &id, "o1").problem(404, "hold_not_found");
        release(&stranger, &id).problem(404, "hold_not_found");
    }
    assert_eq!(state(&me, &id), "held");
}

#[test]
fn only_an_admin_tries_another_time_and_only_on_quotes() {
    let server = Server::start();
    server.issue("c1");
    server.orders(&crate::harness::bought("c1", "o1", 10_000_000, &server.clock.at(0)));
    let mut body = app_cart("c1", 100_000, 500);
    body["dry_run"] = json!({"at": server.clock.at(86_400)});
    assert_eq!(server.admin().post("/v1/checkout/quotes", &body).ok(200).body["points_burned"], 500);
    server.service().post("/v1/checkout/quotes", &body).problem(403, "forbidden");
    server.service().post("/v1/checkout/holds", &body).problem(400, "unknown_field");
    body["dry_run"] = json!({"drafts": [{"name": "x"}]});
    server.admin().post("/v1/checkout/quotes", &body).problem(400, "unknown_field");
    server.admin().post("/v1/checkout/quotes", &app_cart("c1", 100_000, 0)).problem(403, "forbidden");
}

#[test]
fn loyalty_burn_can_be_switched_off() {
    let mut server = Server::with(|config| config.flags.loyalty.burn = adal::config::Share(0));
    server.member("c1", 500);
    server.service().post("/v1/checkout/holds", &app_cart("c1", 100_000, 100)).problem(422, "feature_disabled");
    let scan = server.till().post("/v1/pos/scan", &json!({"code": server.code("c1", "pay")})).ok(200).body;
    assert_eq!((&scan["can_burn"], &scan["why_not"]), (&json!(false), &json!("feature_disabled")));
    hold(&server.service(), &app_cart("c1", 100_000, 0));
    // The same key once it is on: the refusal was none for good.
    let again = |server: &Server| server.service().post_key("/v1/checkout/holds", &app_cart("c1", 100_000, 100), "k-1");
    again(&server).problem(422, "feature_disabled");
    server.restart_with(|config| config.flags.loyalty.burn = adal::config::Share(100));
    assert!(!again(&server).ok(201).replayed());
    assert!(again(&server).ok(201).replayed());
}
