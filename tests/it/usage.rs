//! Usage reports: every offer, by day, whatever limits it has; and uses of late captures, counted where they belong.

use serde_json::{Value, json};

use crate::harness::{Answer, Server, app_cart, completed, fresh_key, placed, returned};

fn put(server: &Server, path: &str, extra: &Value) {
    let mut offer = json!({"name": "ten off", "discount": {"type": "percent", "permyriad": 1000}});
    offer.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    server.admin().put(path, &offer).ok(200);
}

fn hold(server: &Server, customer: &str, extra: &Value) -> Answer {
    let mut cart = app_cart(customer, 100_000, 0);
    cart.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    server.service().post("/v1/checkout/holds", &cart)
}

fn capture(server: &Server, held: &Answer, order: &str) -> Value {
    let path = format!("/v1/checkout/holds/{}/capture", held.body["hold"]["hold_id"].as_str().unwrap());
    server.service().post(&path, &json!({"order_id": order})).ok(200).body
}

fn sell(server: &Server, customer: &str, order: &str, extra: &Value) {
    let held = hold(server, customer, extra).ok(201);
    assert_eq!(capture(server, &held, order)["total_minor"], 90_000);
}

fn cancel(server: &Server, customer: &str, order: &str) {
    let event = json!({"event_id": format!("{order}-cancelled"), "type": "cancelled", "order_id": order, "by": "shop",
                       "customer_id": customer, "shop_id": "s1", "at": server.clock.at(0)});
    server.order(&event).ok(200);
}

/// The report's uses, money, and uses by day, once it is as expected: what promos count comes a moment later.
fn reported(server: &Server, path: &str, expected: (i64, i64, &[(&str, i64)])) {
    let mut last = Value::Null;
    for _ in 0..600 {
        last = server.admin().get(&format!("{path}/usage")).ok(200).body;
        let by_day = last["by_day"].as_array().unwrap().iter();
        let by_day: Vec<_> = by_day.map(|of| (of["day"].as_str().unwrap(), of["taken"].as_i64().unwrap())).collect();
        let number = |name: &str| last[name].as_i64().unwrap();
        if (number("taken"), number("discount_minor"), &by_day[..], number("held"))
            == (expected.0, expected.1, expected.2, 0)
        {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{path}: {last}, not {expected:?}")
}

#[test]
fn every_offer_is_reported_by_day_whatever_limits_it_has() {
    let server = Server::start();
    put(&server, "/v1/campaigns/free", &json!({}));
    sell(&server, "c1", "o1", &json!({}));
    sell(&server, "c2", "o2", &json!({}));
    server.clock.days(1);
    sell(&server, "c1", "o3", &json!({}));
    reported(&server, "/v1/campaigns/free", (3, 30_000, &[("2026-11-23", 2), ("2026-11-24", 1)]));
    let of = |query: &str| server.admin().get(&format!("/v1/campaigns/free/usage?{query}"));
    let today = of("days=1").ok(200).body;
    let expected = json!([{"day": "2026-11-24", "taken": 1, "discount_minor": 10_000}]);
    assert_eq!((&today["taken"], &today["by_day"]), (&json!(1), &expected));
    for wrong in ["days=0", "days=401"] {
        assert_eq!(of(wrong).problem(400, "invalid_field").body["max"], 400);
    }
    // A guest's purchase counts as well.
    let mut guest = app_cart("x", 100_000, 0);
    guest.as_object_mut().unwrap().remove("customer_id");
    let held = server.service().post("/v1/checkout/holds", &guest).ok(201);
    capture(&server, &held, "o4");
    reported(&server, "/v1/campaigns/free", (4, 40_000, &[("2026-11-23", 2), ("2026-11-24", 2)]));
}

#[test]
fn what_comes_back_leaves_the_day_on_which_it_was_taken() {
    let server = Server::start();
    put(&server, "/v1/campaigns/free", &json!({}));
    for (customer, order) in [("c1", "o1"), ("c2", "o2"), ("c3", "o3")] {
        sell(&server, customer, order, &json!({}));
    }
    server.clock.days(1);
    cancel(&server, "c1", "o1");
    reported(&server, "/v1/campaigns/free", (2, 20_000, &[("2026-11-23", 2)]));
    let at = server.clock.at(0);
    let lines = app_cart("c2", 100_000, 0)["lines"].clone();
    server.orders(&[placed("c2", "o2", &lines, &at), completed("c2", "o2", 90_000, &at)]);
    server.orders(&[returned("c2", "o2", "r1", "1", 1, &at)]);
    reported(&server, "/v1/campaigns/free", (1, 10_000, &[("2026-11-23", 1)]));
}

#[test]
fn an_offer_that_gains_and_loses_limits_is_counted_once_each_time() {
    let server = Server::start();
    let day = |n| [("2026-11-23", n)];
    put(&server, "/v1/campaigns/a", &json!({}));
    sell(&server, "c1", "o1", &json!({}));
    put(&server, "/v1/campaigns/a", &json!({"limits": {"total": 9}}));
    sell(&server, "c2", "o2", &json!({}));
    reported(&server, "/v1/campaigns/a", (2, 20_000, &day(2)));
    put(&server, "/v1/campaigns/a", &json!({"limits": {"per_customer": 2}}));
    sell(&server, "c3", "o3", &json!({}));
    sell(&server, "c4", "o4", &json!({"link_keys": ["phone"]}));
    reported(&server, "/v1/campaigns/a", (4, 40_000, &day(4)));
    cancel(&server, "c1", "o1");
    cancel(&server, "c2", "o2");
    reported(&server, "/v1/campaigns/a", (2, 20_000, &day(2)));
    cancel(&server, "c3", "o3");
    cancel(&server, "c4", "o4");
    reported(&server, "/v1/campaigns/a", (0, 0, &[]));
}

#[test]
fn a_late_capture_counts_its_address_again_and_exceeds_no_limit() {
    let server = Server::start();
    put(&server, "/v1/promos/ten", &json!({"codes": ["TEN"], "limits": {"per_ip_in": {"uses": 1, "period": "day"}}}));
    let from = |customer: &str, ip: &str| hold(&server, customer, &json!({"codes": ["TEN"], "client_ip": ip}));
    let late = |ip: &str, first: &str, second: &str| {
        let held = from(first, ip).ok(201);
        server.clock.advance(901);
        reported_held(&server, 0);
        (held, second.to_owned())
    };
    // Another customer of the address takes the use that ran out.
    let (held, other) = late("203.0.113.1", "c1", "c2");
    let taken = from(&other, "203.0.113.1").ok(201);
    capture(&server, &taken, "o2");
    let sold = capture(&server, &held, "o1");
    assert_eq!(sold["uncovered"][0]["offer_id"], "ten", "{sold}");
    // Or the late capture does: then nothing is left for another.
    let (held, other) = late("203.0.113.2", "c3", "c4");
    assert_eq!(capture(&server, &held, "o3")["uncovered"], json!([]));
    from(&other, "203.0.113.2").problem(422, "promo_not_applicable");
    // On the next day it counts on the day of its hold, not on that of the capture.
    let (held, other) = late("203.0.113.3", "c5", "c6");
    server.clock.next_day();
    assert_eq!(capture(&server, &held, "o5")["uncovered"], json!([]));
    from(&other, "203.0.113.3").ok(201);
    // And there it finds what was used meanwhile.
    let (held, other) = late("203.0.113.4", "c7", "c8");
    let taken = from(&other, "203.0.113.4").ok(201);
    capture(&server, &taken, "o8");
    server.clock.next_day();
    server.clock.next_day();
    assert_eq!(capture(&server, &held, "o7")["uncovered"][0]["offer_id"], "ten");
}

fn reported_held(server: &Server, expected: i64) {
    for _ in 0..600 {
        if server.admin().get("/v1/promos/ten/usage").ok(200).body["held"] == expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("a hold that ran out is still held at its promo");
}

#[test]
fn a_capture_after_the_completion_brings_the_points_of_its_offers() {
    let server = Server::start();
    let bonus =
        json!({"name": "500 points", "discount": {"type": "bonus_points", "points": 500}, "funded_by": "brand"});
    server.admin().put("/v1/campaigns/bonus", &bonus).ok(200);
    let lines = json!([{"line_id": "1", "sku": "a", "quantity": 2, "unit": "piece", "unit_price_minor": 100_000}]);
    let at = server.clock.at(0);
    // Nothing, a half, and all of the order comes back before the capture.
    for (customer, back, pending) in [("c1", 0, 520), ("c2", 1, 260), ("c3", 2, 0)] {
        server.issue(customer);
        let order = format!("o-{customer}");
        let held = hold(&server, customer, &json!({"lines": lines})).ok(201);
        server.orders(&[placed(customer, &order, &lines, &at), completed(customer, &order, 200_000, &at)]);
        if back > 0 {
            server.orders(&[returned(customer, &order, &format!("r-{customer}"), "1", back, &at)]);
        }
        capture(&server, &held, &order);
        assert_eq!(server.card(customer)["pending"], pending, "{customer}: cashback and bonus");
    }
    server.clock.days(14);
    assert_eq!(server.card("c1")["balance"], 520);
    let entry = &server.statement("c1")[0];
    assert_eq!(
        (&entry["points"], &entry["cause"], &entry["funded_by"]),
        (&json!(500), &json!("offer_bonus"), &json!("brand"))
    );
    // What comes back later takes it back as ever.
    let at = server.clock.at(0);
    server.orders(&[returned("c1", "o-c1", "r-late", "1", 1, &at)]);
    assert_eq!(server.card("c1")["balance"], 260);
    // A second cart of the same order brings none: as at a completion, the first one's offers count.
    let held = hold(&server, "c1", &json!({"lines": lines})).ok(201);
    capture(&server, &held, "o-c1");
    assert_eq!(server.card("c1")["pending"], 0);
}

#[test]
fn a_late_capture_brings_no_points_of_an_offer_that_has_no_use_left() {
    let server = Server::start();
    let limits = json!({"discount": {"type": "bonus_points", "points": 500}, "limits": {"total": 1}});
    put(&server, "/v1/campaigns/bonus", &limits);
    let lines = json!([{"line_id": "1", "sku": "a", "quantity": 1, "unit": "piece", "unit_price_minor": 100_000}]);
    let at = server.clock.at(0);
    // The order is completed after the late capture, and before it.
    for (first, second) in [("c1", "c2"), ("c3", "c2")] {
        server.issue(first);
        let order = format!("o-{first}");
        let held = hold(&server, first, &json!({"lines": lines})).ok(201);
        if first == "c1" {
            server.issue(second);
        }
        server.clock.advance(901);
        reported(&server, "/v1/campaigns/bonus", (0, 0, &[]));
        let other = hold(&server, second, &json!({"lines": lines})).ok(201);
        let (placed, completed) = (placed(first, &order, &lines, &at), completed(first, &order, 100_000, &at));
        if first == "c3" {
            server.orders(&[placed.clone(), completed.clone()]);
        }
        assert_eq!(capture(&server, &held, &order)["uncovered"][0]["offer_id"], "bonus");
        if first == "c1" {
            server.orders(&[placed, completed]);
        }
        assert_eq!(server.card(first)["pending"], 10, "{first}: the cashback, and no bonus");
        let path = format!("/v1/checkout/holds/{}/release", other.body["hold"]["hold_id"].as_str().unwrap());
        server.service().post(&path, &json!({})).ok(200);
        reported(&server, "/v1/campaigns/bonus", (0, 0, &[]));
    }
}

#[test]
fn trust_scales_how_many_wrong_codes_lock_a_customer_and_the_lock_is_a_signal() {
    let server = Server::start();
    put(&server, "/v1/promos/ten", &json!({"codes": ["TEN"]}));
    for customer in ["c1", "c2"] {
        server.issue(customer);
    }
    let flag = json!({"flag": "resells", "reason": "a test"});
    server.support().post("/v1/customers/c2/fraud-flags", &flag).ok(200);
    assert_eq!(server.trust("c2")["band"], "strict");
    let quote = |customer: &str, code: &str| {
        let mut cart = app_cart(customer, 100_000, 0);
        cart["codes"] = json!([code]);
        server.customer(customer).post("/v1/checkout/quotes", &cart).ok(200).body["discount_minor"].clone()
    };
    for (customer, most) in [("c1", 10), ("c2", 5)] {
        for n in 0..most {
            assert_eq!(quote(customer, "TEN"), 10_000, "{customer}: {n} wrong codes");
            quote(customer, &format!("guess-{n}"));
        }
        assert_eq!(quote(customer, "TEN"), 0, "{customer} is locked");
    }
    let signals = server.signals("wrong_codes", 2);
    let mut of: Vec<_> = signals.iter().map(|one| one["customer_id"].as_str().unwrap()).collect();
    of.sort_unstable();
    assert_eq!(of, ["c1", "c2"]);
}

#[test]
fn addresses_of_one_ipv6_household_are_locked_together() {
    let server = Server::start();
    put(&server, "/v1/promos/ten", &json!({"codes": ["TEN"]}));
    let guest = |ip: &str, codes: Vec<String>| {
        let mut cart = app_cart("x", 100_000, 0);
        cart.as_object_mut().unwrap().remove("customer_id");
        (cart["client_ip"], cart["codes"]) = (json!(ip), json!(codes));
        let headers = [("Idempotency-Key", &*fresh_key())];
        let answer = server.key("service").send("POST", "/v1/checkout/quotes", &headers, Some(&cart)).unwrap();
        answer.ok(200).body["discount_minor"].clone()
    };
    let wrong = |codes: std::ops::Range<usize>| codes.map(|n| format!("guess-{n}")).collect::<Vec<_>>();
    guest("2001:db8::1", wrong(0..20));
    guest("2001:db8::2", wrong(0..20));
    assert_eq!(guest("2001:db8::3", vec!["TEN".to_owned()]), 10_000);
    guest("2001:db8::2", wrong(20..30));
    assert_eq!(guest("2001:db8::3", vec!["TEN".to_owned()]), 0);
    assert_eq!(guest("2001:db8:0:1::3", vec!["TEN".to_owned()]), 10_000);
}
