//! Offers at checkout: what is quoted is held, what is held is captured or comes back, and no limit is passed.

use serde_json::{Value, json};

use crate::harness::{Answer, Server, app_cart, completed, fresh_key, piece, placed, returned};

pub fn percent(permyriad: u32) -> Value {
    json!({"name": "ten off", "discount": {"type": "percent", "permyriad": permyriad}})
}

pub fn with(mut base: Value, extra: &Value) -> Value {
    base.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    base
}

pub fn put(server: &Server, path: &str, offer: &Value) {
    server.admin().put(path, offer).ok(200);
}

/// A promo of a tenth off with the code TEN.
pub fn ten(server: &Server, limits: &Value) {
    put(server, "/v1/promos/ten", &with(percent(1000), &json!({"codes": ["TEN"], "limits": limits})));
}

pub fn cart(customer: &str, minor: i64, codes: &[&str]) -> Value {
    with(app_cart(customer, minor, 0), &json!({"codes": codes}))
}

pub fn hold(server: &Server, cart: &Value) -> Answer {
    server.service().post("/v1/checkout/holds", cart)
}

pub fn id_of(held: &Answer) -> String {
    held.body["hold"]["hold_id"].as_str().unwrap().to_owned()
}

pub fn capture(server: &Server, hold: &str, order: &str) -> Answer {
    server.service().post(&format!("/v1/checkout/holds/{hold}/capture"), &json!({"order_id": order}))
}

fn release(server: &Server, hold: &str) -> Answer {
    server.service().post(&format!("/v1/checkout/holds/{hold}/release"), &json!({}))
}

/// Waits until what customers owe promos is there: deliveries have no answer to wait for.
pub fn usage(server: &Server, path: &str, expected: (i64, i64, i64)) -> Value {
    for _ in 0..600 {
        let usage = server.admin().get(&format!("{path}/usage")).ok(200).body;
        let number = |name: &str| usage[name].as_i64().unwrap();
        if (number("held"), number("taken"), number("discount_minor")) == expected {
            return usage;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{path}: {:?}, not {expected:?}", server.admin().get(&format!("{path}/usage")).body)
}

#[test]
fn a_code_is_quoted_held_and_captured_at_the_same_price_and_its_use_is_counted() {
    let server = Server::start();
    server.issue("c1");
    ten(&server, &json!({"total": 5, "budget_minor": 1_000_000}));
    let cart = cart("c1", 100_000, &["ten"]);
    let quote = server.service().post("/v1/checkout/quotes", &cart).ok(200).body;
    assert_eq!((&quote["discount_minor"], &quote["total_minor"]), (&json!(10_000), &json!(90_000)));
    assert_eq!(quote["applied"][0]["offer_id"], "ten");
    assert_eq!(quote["lines"][0]["offers"][0], json!({"offer_id": "ten", "discount_minor": 10_000}));
    let held = hold(&server, &cart).ok(201);
    assert_eq!(held.body["total_minor"], 90_000);
    usage(&server, "/v1/promos/ten", (1, 0, 0));
    let sold = capture(&server, &id_of(&held), "o1").ok(200).body;
    assert_eq!((&sold["total_minor"], &sold["uncovered"]), (&json!(90_000), &json!([])));
    let usage = usage(&server, "/v1/promos/ten", (0, 1, 10_000));
    assert_eq!(usage["budget_left_minor"], 990_000);
}

#[test]
fn a_released_hold_gives_its_use_back_and_a_repeat_gives_the_recorded_answer() {
    let server = Server::start();
    server.issue("c1");
    ten(&server, &json!({"total": 1, "per_customer": 1}));
    let key = fresh_key();
    let headers = [("Idempotency-Key", key.as_str())];
    let cart = cart("c1", 100_000, &["TEN"]);
    let post = || server.service().send("POST", "/v1/checkout/holds", &headers, Some(&cart)).unwrap();
    let (first, again) = (post().ok(201), post().ok(201));
    assert_eq!((first.body == again.body, again.header("idempotent-replay")), (true, "true"));
    usage(&server, "/v1/promos/ten", (1, 0, 0));
    hold(&server, &cart).problem(422, "promo_not_applicable");
    release(&server, &id_of(&first)).ok(200);
    usage(&server, "/v1/promos/ten", (0, 0, 0));
    hold(&server, &cart).ok(201);
}

#[test]
fn two_customers_never_share_the_last_use_and_the_refusal_is_the_keys_answer() {
    let server = Server::start();
    server.issue("c1");
    server.issue("c2");
    ten(&server, &json!({"total": 1}));
    hold(&server, &cart("c1", 100_000, &["TEN"])).ok(201);
    let key = fresh_key();
    let headers = [("Idempotency-Key", key.as_str())];
    let second = cart("c2", 100_000, &["TEN"]);
    let post = || server.service().send("POST", "/v1/checkout/holds", &headers, Some(&second)).unwrap();
    assert_eq!(post().status, 422);
    let again = post();
    assert_eq!((again.status, again.header("idempotent-replay")), (422, "true"));
    assert!(again.body["detail"].as_str().unwrap().contains("limits.total"), "{}", again.body);
}

#[test]
fn sixty_four_customers_after_ten_uses_get_ten() {
    let server = Server::start();
    ten(&server, &json!({"total": 10}));
    let held = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..64)
            .map(|n| {
                let server = &server;
                scope.spawn(move || hold(server, &cart(&format!("c{n}"), 50_000, &["TEN"])).status)
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).filter(|status| *status == 201).count()
    });
    assert_eq!(held, 10);
    usage(&server, "/v1/promos/ten", (10, 0, 0));
}

#[test]
fn a_campaign_that_runs_out_is_left_out_and_a_budget_is_never_overspent() {
    let server = Server::start();
    let limits = json!({"limits": {"budget_minor": 25_000}});
    put(&server, "/v1/campaigns/spring", &with(percent(1000), &limits));
    let holds: Vec<Value> = (0..4).map(|n| hold(&server, &cart(&format!("c{n}"), 100_000, &[])).ok(201).body).collect();
    let given: Vec<i64> = holds.iter().map(|held| held["discount_minor"].as_i64().unwrap()).collect();
    assert_eq!(given, [10_000, 10_000, 0, 0]);
    usage(&server, "/v1/campaigns/spring", (2, 0, 0));
    assert_eq!(hold(&server, &cart("c9", 50_000, &[])).ok(201).body["discount_minor"], 5_000, "what is left is used");
}

#[test]
fn fewer_pieces_are_repriced_and_the_rest_of_the_budget_comes_back() {
    let server = Server::start();
    ten(&server, &json!({"budget_minor": 1_000_000}));
    let mut two = cart("c1", 0, &["TEN"]);
    two["lines"] = json!([{"line_id": "1", "sku": "a", "quantity": 2, "unit": "piece", "unit_price_minor": 50_000}]);
    let held = hold(&server, &two).ok(201);
    assert_eq!(held.body["discount_minor"], 10_000);
    let body = json!({"order_id": "o1", "lines": [{"line_id": "1", "quantity": 1}]});
    let sold = server.service().post(&format!("/v1/checkout/holds/{}/capture", id_of(&held)), &body).ok(200).body;
    assert_eq!((&sold["discount_minor"], &sold["total_minor"]), (&json!(5_000), &json!(45_000)));
    assert_eq!(usage(&server, "/v1/promos/ten", (0, 1, 5_000))["budget_left_minor"], 995_000);
}

#[test]
fn a_cancelled_order_gives_its_uses_back_and_one_cancelled_after_picking_does_not() {
    let server = Server::start();
    server.issue("c1");
    ten(&server, &json!({"total": 5, "per_customer": 2}));
    let cancel = |order: &str, picked: bool| {
        let at = server.clock.at(0);
        let event = json!({"event_id": format!("x-{order}"), "type": "cancelled", "order_id": order, "customer_id": "c1",
                           "shop_id": "s1", "at": at, "by": "customer", "after_picking": picked});
        server.order(&event).ok(200);
    };
    for order in ["o1", "o2"] {
        let held = hold(&server, &cart("c1", 100_000, &["TEN"])).ok(201);
        capture(&server, &id_of(&held), order).ok(200);
    }
    usage(&server, "/v1/promos/ten", (0, 2, 20_000));
    hold(&server, &cart("c1", 100_000, &["TEN"])).problem(422, "promo_not_applicable");
    cancel("o1", true);
    cancel("o2", false);
    usage(&server, "/v1/promos/ten", (0, 1, 10_000));
    hold(&server, &cart("c1", 100_000, &["TEN"])).ok(201);
}

#[test]
fn a_late_capture_is_never_refused_and_says_what_is_gone() {
    let server = Server::start();
    ten(&server, &json!({"total": 1}));
    let late = hold(&server, &cart("c1", 100_000, &["TEN"])).ok(201);
    server.clock.advance(901);
    usage(&server, "/v1/promos/ten", (0, 0, 0));
    let other = hold(&server, &cart("c2", 100_000, &["TEN"])).ok(201);
    let sold = capture(&server, &id_of(&late), "o1").ok(200).body;
    assert_eq!(sold["total_minor"], 90_000);
    assert_eq!(sold["uncovered"][0], json!({"kind": "offer", "offer_id": "ten", "points": 0, "minor": 10_000}));
    capture(&server, &id_of(&other), "o2").ok(200);
    usage(&server, "/v1/promos/ten", (0, 1, 10_000));
    assert_eq!(server.signals("capture_uncovered", 1).len(), 1);
}

#[test]
fn a_late_capture_takes_what_is_left() {
    let server = Server::start();
    ten(&server, &json!({"total": 1}));
    let late = hold(&server, &cart("c1", 100_000, &["TEN"])).ok(201);
    server.clock.advance(901);
    usage(&server, "/v1/promos/ten", (0, 0, 0));
    let sold = capture(&server, &id_of(&late), "o1").ok(200).body;
    assert_eq!((&sold["total_minor"], &sold["uncovered"]), (&json!(90_000), &json!([])));
    usage(&server, "/v1/promos/ten", (0, 1, 10_000));
}

#[test]
fn a_partial_return_is_priced_anew_and_one_by_the_shops_fault_is_not() {
    let server = Server::start();
    server.issue("c1");
    let offer = json!({"name": "2 for 1", "discount": {"type": "buy_x_get_y", "buy": 1, "get": 1}, "target": "lines"});
    put(&server, "/v1/campaigns/pair", &offer);
    let lines = json!([{"line_id": "1", "sku": "a", "quantity": 2, "unit": "piece", "unit_price_minor": 50_000}]);
    for (order, fault, pending) in [("o1", "customer", 5), ("o2", "shop", 5 + 2)] {
        let mut cart = cart("c1", 0, &[]);
        cart["lines"] = lines.clone();
        let held = hold(&server, &cart).ok(201);
        assert_eq!(held.body["total_minor"], 50_000);
        capture(&server, &id_of(&held), order).ok(200);
        let at = server.clock.at(0);
        let event = |kind: &str, extra: &Value| {
            with(
                json!({"event_id": format!("{kind}-{order}"), "type": kind, "order_id": order, "customer_id": "c1",
                       "shop_id": "s1", "at": at}),
                extra,
            )
        };
        server.order(&event("placed", &json!({"lines": lines}))).ok(200);
        server.order(&event("completed", &json!({"paid_minor": 50_000}))).ok(200);
        let back = json!({"lines": [{"line_id": "1", "quantity": 1}], "fault": fault});
        server.order(&event("returned", &back)).ok(200);
        // What is kept costs 50,000 without its pair: no money comes back, and the cashback of 5 points stays. By the
        // shop's fault half the money does, and floor(5 / 2) points stay.
        assert_eq!(server.card("c1")["pending"], pending, "{order}");
    }
}

#[test]
fn what_came_back_in_two_steps_is_all_that_was_paid_and_each_step_says_what_it_refunds() {
    let server = Server::start();
    server.issue("c1");
    let conditions = json!({"conditions": {"min_subtotal_minor": 80_000}});
    put(&server, "/v1/campaigns/tenth", &with(percent(1000), &conditions));
    let mut cart = cart("c1", 0, &[]);
    cart["lines"] = json!([piece("A", 1, 60_000), piece("B", 1, 40_000)]);
    let held = hold(&server, &cart).ok(201);
    assert_eq!(held.body["total_minor"], 90_000);
    capture(&server, &id_of(&held), "o1").ok(200);
    let at = server.clock.at(0);
    server.orders(&[placed("c1", "o1", &cart["lines"], &at), completed("c1", "o1", 90_000, &at)]);
    server.clock.next_day();
    assert_eq!(server.card("c1")["balance"], 9);
    let at = server.clock.at(0);
    // B alone costs 400 without the offer; then the rest of the 900 comes back.
    for (line, refund, balance) in [("A", 50_000, 4), ("B", 40_000, 0)] {
        let event = returned("c1", "o1", &format!("r-{line}"), line, 1, &at);
        let lines = json!([{"line_id": line, "refund_minor": refund}]);
        for outcome in ["applied", "duplicate"] {
            let result = &server.order(&event).ok(200).body["results"][0];
            assert_eq!(result["outcome"], outcome);
            assert_eq!((&result["refund_minor"], &result["lines"]), (&json!(refund), &lines));
        }
        let entry = &server.statement("c1")[0];
        assert_eq!((&entry["cause"], &entry["balance_after"]), (&json!("claw_back"), &json!(balance)));
        assert_eq!((&entry["refund_minor"], &entry["lines"]), (&json!(refund), &lines));
    }
}

#[test]
fn a_trial_is_no_attempt_at_a_code() {
    let server = Server::start();
    ten(&server, &json!({}));
    let own = |code: &str| {
        let quote = server.customer("c1").post("/v1/checkout/quotes", &cart("c1", 100_000, &[code])).ok(200).body;
        quote["discount_minor"].as_i64().unwrap()
    };
    for n in 0..20 {
        let at = server.clock.at(n * 3600);
        let body = with(cart("c1", 100_000, &[&format!("guess{n}")]), &json!({"dry_run": {"at": at}}));
        server.admin().post("/v1/checkout/quotes", &body).ok(200);
    }
    assert_eq!(own("TEN"), 10_000, "an admin's trials lock nobody out");
    for n in 0..10 {
        own(&format!("guess{n}"));
    }
    assert_eq!(own("TEN"), 0);
    let tried = with(cart("c1", 100_000, &["TEN"]), &json!({"dry_run": {}}));
    assert_eq!(server.admin().post("/v1/checkout/quotes", &tried).ok(200).body["discount_minor"], 10_000);
    assert_eq!(server.signals("wrong_codes", 1).len(), 1);
}

#[test]
fn wrong_codes_of_the_apps_key_lock_no_other_customer_and_those_of_a_till_lock_the_till() {
    let server = Server::start();
    ten(&server, &json!({}));
    let quote = |key: &str, n: usize, code: &str| {
        let channel = if key == "service" { "app" } else { "pos" };
        let body = with(cart(&format!("c{n}"), 100_000, &[code]), &json!({"channel": channel}));
        let answer = server.key(key).post("/v1/checkout/quotes", &body).ok(200);
        answer.body["discount_minor"].as_i64().unwrap()
    };
    for key in ["service", "till"] {
        for n in 0..60 {
            assert_eq!(quote(key, n, "TEN"), 10_000, "{key}: {n} wrong codes");
            quote(key, n, &format!("guess{n}"));
        }
    }
    assert_eq!((quote("service", 90, "TEN"), quote("till", 91, "TEN")), (10_000, 0));
    assert_eq!(quote("till2", 92, "TEN"), 10_000);
}

#[test]
fn a_code_mistyped_once_locks_nobody_however_often_the_cart_changes() {
    let server = Server::start();
    ten(&server, &json!({}));
    let own = |minor: i64, codes: &[&str]| {
        let quote = server.customer("c1").post("/v1/checkout/quotes", &cart("c1", minor, codes)).ok(200).body;
        quote["discount_minor"].as_i64().unwrap()
    };
    for n in 0..50 {
        own(100_000 + n, &["TEEN"]);
    }
    assert_eq!(own(100_000, &["TEN"]), 10_000);
}

#[test]
fn the_policy_says_how_many_wrong_codes_lock_and_for_how_long() {
    let server = Server::start();
    ten(&server, &json!({}));
    let mut policy = server.admin().get("/v1/policy").ok(200).body["policy"].clone();
    assert_eq!(policy["codes"]["wrong_per_customer"], 10);
    (policy["codes"]["wrong_per_customer"], policy["codes"]["locked_s"]) = (json!(2), json!(60));
    server.admin().put("/v1/policy", &policy).ok(200);
    let own = |code: &str| {
        let quote = server.customer("c1").post("/v1/checkout/quotes", &cart("c1", 100_000, &[code])).ok(200).body;
        quote["discount_minor"].as_i64().unwrap()
    };
    own("guess1");
    own("guess2");
    assert_eq!(own("TEN"), 0);
    server.clock.advance(60);
    assert_eq!(own("TEN"), 10_000);
}

#[test]
fn wrong_codes_lock_the_customer_out_and_the_public_is_told_nothing() {
    let server = Server::start();
    server.issue("c1");
    ten(&server, &json!({}));
    let own =
        |codes: &[&str]| server.customer("c1").post("/v1/checkout/quotes", &cart("c1", 100_000, codes)).ok(200).body;
    assert_eq!(own(&["TEN"])["discount_minor"], 10_000);
    for n in 0..10 {
        assert_eq!(own(&[&format!("guess{n}")])["rejected"][0]["reason"], "promo_not_applicable");
    }
    let locked = own(&["TEN"]);
    assert_eq!(
        (&locked["discount_minor"], &locked["rejected"][0]["reason"]),
        (&json!(0), &json!("promo_not_applicable"))
    );
    let trusted = server.service().post("/v1/checkout/quotes", &cart("c1", 100_000, &["TEN"])).ok(200).body;
    assert_eq!(trusted["rejected"][0]["reason"], "codes_locked");
    server.clock.advance(901);
    assert_eq!(own(&["TEN"])["discount_minor"], 10_000);
}

#[test]
fn guests_hold_what_needs_no_customer() {
    let server = Server::start();
    ten(&server, &json!({"total": 3}));
    put(&server, "/v1/promos/mine", &with(percent(500), &json!({"codes": ["MINE"], "limits": {"per_customer": 1}})));
    let mut guest = cart("x", 100_000, &["TEN"]);
    guest.as_object_mut().unwrap().remove("customer_id");
    let held = hold(&server, &guest).ok(201);
    assert_eq!(held.body["discount_minor"], 10_000);
    guest["codes"] = json!(["MINE"]);
    hold(&server, &guest).problem(422, "promo_not_applicable");
    capture(&server, &id_of(&held), "o1").ok(200);
    usage(&server, "/v1/promos/ten", (0, 1, 10_000));
}

#[test]
fn an_address_and_a_payment_means_have_uses_of_their_own() {
    let server = Server::start();
    let limits = json!({"per_customer": 1, "per_ip_in": {"uses": 2, "period": "day"}});
    ten(&server, &limits);
    let from = |customer: &str, ip: &str, phone: &str| {
        let extra = json!({"client_ip": ip, "link_keys": [phone]});
        hold(&server, &with(cart(customer, 100_000, &["TEN"]), &extra))
    };
    from("c1", "203.0.113.1", "p1").ok(201);
    from("c2", "203.0.113.2", "p1").problem(422, "promo_not_applicable");
    from("c3", "203.0.113.1", "p3").ok(201);
    from("c4", "203.0.113.1", "p4").problem(422, "promo_not_applicable");
    server.clock.advance(86_400);
    from("c4", "203.0.113.1", "p4").ok(201);
}

#[test]
fn a_phone_and_an_address_are_known_after_a_restart_with_another_ring() {
    let mut server = Server::start();
    ten(&server, &json!({"per_customer": 1, "per_ip_in": {"uses": 1, "period": "month"}}));
    let from = |server: &Server, customer: &str, ip: &str, phone: &str| {
        let extra = json!({"client_ip": ip, "link_keys": [phone]});
        hold(server, &with(cart(customer, 100_000, &["TEN"]), &extra))
    };
    from(&server, "c1", "203.0.113.1", "p1").ok(201);
    server.restart_with(|config| {
        config.qr.current = 2;
        config.qr.keys.insert("2".to_owned(), "ab".repeat(32));
    });
    from(&server, "c2", "203.0.113.2", "p1").problem(422, "promo_not_applicable");
    from(&server, "c3", "203.0.113.1", "p3").problem(422, "promo_not_applicable");
    from(&server, "c4", "203.0.113.4", "p4").ok(201);
}

#[test]
fn an_admin_tries_drafts_at_another_time() {
    let server = Server::start();
    let offer = with(percent(2000), &json!({"starts_at": "2030-01-01T00:00:00Z"}));
    let mut cart = cart("c1", 100_000, &[]);
    cart["dry_run"] = json!({"at": "2030-01-01T00:00:00Z", "drafts": [{"id": "new", "offer": offer}]});
    assert_eq!(server.admin().post("/v1/checkout/quotes", &cart).ok(200).body["discount_minor"], 20_000);
    cart["dry_run"]["at"] = json!("2029-12-31T23:59:59Z");
    assert_eq!(server.admin().post("/v1/checkout/quotes", &cart).ok(200).body["discount_minor"], 0);
    // A draft takes the place of the catalogue's offer of its id, of whichever kind that is.
    ten(&server, &json!({}));
    let draft = json!({"id": "ten", "offer": with(percent(3000), &json!({"codes": ["TEN"]}))});
    (cart["codes"], cart["dry_run"]) = (json!(["TEN"]), json!({"drafts": [draft]}));
    let tried = server.admin().post("/v1/checkout/quotes", &cart).ok(200).body;
    assert_eq!((&tried["discount_minor"], &tried["applied"][0]["kind"]), (&json!(30_000), &json!("promo")));
    cart["dry_run"] = json!({"drafts": [{"id": "ten", "kind": "campaign", "offer": percent(4000)}]});
    let tried = server.admin().post("/v1/checkout/quotes", &cart).ok(200).body;
    assert_eq!((&tried["discount_minor"], tried["applied"].as_array().unwrap().len()), (&json!(40_000), 1));
}

#[test]
fn a_segment_is_an_offers_audience_until_the_customer_leaves_it() {
    let server = Server::start();
    server.issue("c1");
    put(&server, "/v1/campaigns/vip", &with(percent(1000), &json!({"conditions": {"segments": ["vip"]}})));
    let discount = || {
        let quote = server.service().post("/v1/checkout/quotes", &cart("c1", 100_000, &[])).ok(200).body;
        quote["discount_minor"].as_i64().unwrap()
    };
    let change = |body: &Value| server.service().post("/v1/segments/vip/customers", body);
    assert_eq!(discount(), 0);
    assert_eq!(change(&json!({"add": ["c1", "c2"]})).ok(200).body["added"], 2);
    assert_eq!(discount(), 10_000);
    change(&json!({"add": ["c1"], "remove": ["c1"]})).problem(400, "invalid_field");
    change(&json!({"remove": ["c1"]})).ok(200);
    assert_eq!(discount(), 0);
    let again = || server.service().post_key("/v1/segments/vip/customers", &json!({"add": ["c1", "c3"]}), "k1").ok(200);
    assert!(!again().replayed() && again().replayed());
    change(&json!({"remove": ["c1"]})).ok(200);
    assert!(again().replayed() && discount() == 0, "a repeat changes nothing");
}

#[test]
fn an_offers_points_are_quoted_pending_for_14_days_active_and_clawed_back_with_the_return() {
    let server = Server::start();
    server.issue("c1");
    let multiplier =
        json!({"name": "3x", "discount": {"type": "points_multiplier", "permyriad": 30_000}, "funded_by": "brand"});
    put(&server, "/v1/campaigns/triple", &multiplier);
    let mut cart = cart("c1", 0, &[]);
    let lines = json!([{"line_id": "1", "sku": "a", "quantity": 2, "unit": "piece", "unit_price_minor": 5_000_000}]);
    cart["lines"] = lines.clone();
    let held = hold(&server, &cart).ok(201);
    // Bronze: 1 % of 100,000 tenge is 1,000 points, three times as many with the offer.
    assert_eq!((&held.body["points_to_earn"], &held.body["applied"][0]["points"]), (&json!(3_000), &json!(2_000)));
    capture(&server, &id_of(&held), "o1").ok(200);
    let at = server.clock.at(0);
    let event = |kind: &str, extra: &Value| {
        let base =
            json!({"event_id": kind, "type": kind, "order_id": "o1", "customer_id": "c1", "shop_id": "s1", "at": at});
        server.order(&with(base, extra)).ok(200);
    };
    event("placed", &json!({"lines": lines}));
    event("completed", &json!({"paid_minor": 10_000_000}));
    assert_eq!(server.card("c1")["pending"], 3_000);
    server.clock.days(1);
    assert_eq!((&server.card("c1")["balance"], &server.card("c1")["pending"]), (&json!(1_000), &json!(2_000)));
    server.clock.days(13);
    assert_eq!((&server.card("c1")["balance"], &server.card("c1")["pending"]), (&json!(3_000), &json!(0)));
    let entry = &server.statement("c1")[0];
    assert_eq!(
        (&entry["points"], &entry["cause"], &entry["funded_by"]),
        (&json!(2_000), &json!("offer_bonus"), &json!("brand"))
    );
    event("returned", &json!({"lines": [{"line_id": "1", "quantity": 1}]}));
    assert_eq!(server.card("c1")["balance"], 1_500);
}
