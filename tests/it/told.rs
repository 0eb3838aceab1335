//! What callers are told of offers that do not apply, and by whose word an address counts.

use serde_json::{Value, json};

use crate::{
    harness::{Answer, Client, Server},
    promos::{capture, cart, hold, id_of, percent, put, ten, with},
};

#[test]
fn a_hold_keeps_and_tells_nothing_of_offers_that_wait_for_others() {
    let server = Server::start();
    server.issue("c1");
    put(&server, "/v1/campaigns/all", &percent(1000));
    put(&server, "/v1/campaigns/vip", &with(percent(2000), &json!({"conditions": {"segments": ["vip"]}})));
    put(&server, "/v1/promos/secret", &with(percent(500), &json!({"codes": ["SECRET"]})));
    let body = with(cart("c1", 100_000, &[]), &json!({"explain": true}));
    let quote = server.service().post("/v1/checkout/quotes", &body).ok(200).body;
    assert_eq!(quote["rejected"].as_array().unwrap().len(), 2, "a quote says all of it: {quote}");
    for client in [server.customer("c1"), server.service()] {
        let held = client.post("/v1/checkout/holds", &body).ok(201);
        assert_eq!((&held.body["rejected"], &held.body["discount_minor"]), (&json!([]), &json!(10_000)));
        let path = format!("/v1/checkout/holds/{}/capture", id_of(&held));
        let order = format!("o-{}", id_of(&held));
        assert_eq!(client.post(&path, &json!({"order_id": order})).ok(200).body["rejected"], json!([]));
        // Another total than was seen: refused with the quote, which says no more than a hold does.
        let other = with(body.clone(), &json!({"expected_total_minor": 1}));
        let refused = client.post("/v1/checkout/holds", &other).problem(422, "total_changed");
        assert_eq!(refused.body["quote"]["rejected"], json!([]));
    }
}

#[test]
fn marketing_promos_can_be_switched_off_for_codes_and_says_nothing_of_them() {
    let mut server = Server::with(|config| config.flags.marketing.promos = adal::config::Share(0));
    server.issue("c1");
    ten(&server, &json!({}));
    let post = |client: &Client, code: &str, key: &str| {
        client.post_key("/v1/checkout/holds", &cart("c1", 100_000, &[code]), key)
    };
    for client in [server.service(), server.customer("c1")] {
        let known = post(&client, "TEN", "k-1").problem(422, "feature_disabled");
        let unknown = post(&client, "NIX", "k-2").problem(422, "feature_disabled");
        assert_eq!(known.body["detail"], unknown.body["detail"], "whether a code exists is no part of it");
    }
    let quote = server.service().post("/v1/checkout/quotes", &cart("c1", 100_000, &["TEN"])).ok(200).body;
    assert_eq!((&quote["discount_minor"], &quote["rejected"][0]["reason"]), (&json!(0), &json!("feature_disabled")));
    hold(&server, &cart("c1", 100_000, &[])).ok(201);
    // The same key once they are on: the refusal was none for good.
    server.restart_with(|config| config.flags.marketing.promos = adal::config::Share(100));
    let held = post(&server.service(), "TEN", "k-1").ok(201);
    assert!(!held.replayed() && held.body["discount_minor"] == 10_000);
    capture(&server, &id_of(&held), "o1").ok(200);
}

#[test]
fn marketing_campaigns_can_be_switched_off() {
    let server = Server::with(|config| config.flags.marketing.campaigns = adal::config::Share(0));
    put(&server, "/v1/campaigns/all", &percent(1000));
    let body = with(cart("c1", 100_000, &[]), &json!({"explain": true}));
    let quote = server.service().post("/v1/checkout/quotes", &body).ok(200).body;
    assert_eq!((&quote["discount_minor"], &quote["rejected"][0]["reason"]), (&json!(0), &json!("feature_disabled")));
    assert_eq!(hold(&server, &cart("c1", 100_000, &[])).ok(201).body["discount_minor"], 0);
}

#[test]
fn the_public_gets_one_answer_whatever_a_code_is_or_is_not() {
    let server = Server::start();
    ten(&server, &json!({"total": 1}));
    hold(&server, &cart("c1", 100_000, &["TEN"])).ok(201);
    let conditions = json!({"codes": ["FAR"], "conditions": {"min_subtotal_minor": 200_000}});
    put(&server, "/v1/promos/far", &with(percent(500), &conditions));
    // Each question by another customer: too many wrong codes would lock one out, and that is one answer for all.
    let customers = std::cell::Cell::new(2);
    let answer = |codes: &[&str], path: &str| {
        let customer = format!("c{}", customers.replace(customers.get() + 1));
        let body = with(cart(&customer, 100_000, codes), &json!({"explain": path == "quotes"}));
        let mut answer = server.customer(&customer).post(&format!("/v1/checkout/{path}"), &body);
        // A hash of the question, and the request's own name.
        for own in ["quote_id", "request_id"] {
            answer.body[own] = Value::Null;
        }
        let text = codes.iter().fold(answer.body.to_string(), |text, code| text.replace(code, "CODE"));
        (answer.status, text)
    };
    for path in ["quotes", "holds"] {
        let unknown = answer(&["NIX"], path);
        // Run out; not for this cart; one of the three that is known stands where an unknown one would.
        assert_eq!(answer(&["TEN"], path), unknown);
        assert_eq!(answer(&["FAR"], path), unknown);
        assert_eq!(answer(&["NIX", "TEN"], path), answer(&["NIX", "XIN"], path));
        assert_eq!(answer(&["FAR", "NIX"], path), answer(&["EAR", "NIX"], path));
    }
    let cart = cart("c1", 100_000, &["TEN"]);
    let own = server.customer("c1").post("/v1/checkout/quotes", &cart).ok(200).body;
    assert_eq!(own["rejected"], json!([{"code": "TEN", "reason": "promo_not_applicable"}]));
    let told = server.service().post("/v1/checkout/quotes", &cart).ok(200).body;
    assert_eq!(told["rejected"][0]["offer_id"], "ten", "the shop's own systems are told");
}

#[test]
fn explain_tells_a_customer_nothing_of_what_is_not_for_it() {
    let server = Server::start();
    server.issue("c1");
    let campaign = |id: &str, extra: &Value| put(&server, &format!("/v1/campaigns/{id}"), &with(percent(1000), extra));
    campaign("draft", &json!({"status": "draft"}));
    campaign("over", &json!({"status": "ended"}));
    campaign("later", &json!({"starts_at": server.clock.at(86_400)}));
    campaign("vip", &json!({"conditions": {"segments": ["vip"]}}));
    campaign("gold", &json!({"conditions": {"tiers": ["gold"]}}));
    campaign("trusted", &json!({"conditions": {"min_trust": 99}}));
    campaign("large", &json!({"conditions": {"min_subtotal_minor": 200_000}}));
    let body = with(cart("c1", 100_000, &[]), &json!({"explain": true}));
    let told = |client: &Client| {
        let quote = client.post("/v1/checkout/quotes", &body).ok(200).body;
        let rejected = quote["rejected"].as_array().unwrap().iter();
        rejected.map(|one| one["offer_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&server.customer("c1")), ["large"]);
    assert_eq!(told(&server.service()).len(), 7);
}

/// A customer's own hold of one use for each address, with this said of where it comes from.
fn from(server: &Server, customer: &str, forwarded: &str) -> Answer {
    let key = crate::harness::fresh_key();
    let headers = [("Idempotency-Key", key.as_str()), ("X-Forwarded-For", forwarded)];
    let body: Value = cart(customer, 100_000, &["TEN"]);
    server.customer(customer).send("POST", "/v1/checkout/holds", &headers, Some(&body)).unwrap()
}

#[test]
fn a_customers_address_is_the_one_that_a_configured_proxy_says() {
    let proxied = Server::with(|config| config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    ten(&proxied, &json!({"per_ip_in": {"uses": 1, "period": "day"}}));
    from(&proxied, "c1", "203.0.113.1").ok(201);
    from(&proxied, "c2", "203.0.113.2").ok(201);
    from(&proxied, "c3", "203.0.113.1").problem(422, "promo_not_applicable");
    // What a client itself put before the proxy's word counts for nothing.
    from(&proxied, "c4", "198.51.100.7, 203.0.113.2").problem(422, "promo_not_applicable");

    let direct = Server::with(|config| config.server.trusted_proxies = vec![]);
    ten(&direct, &json!({"per_ip_in": {"uses": 1, "period": "day"}}));
    from(&direct, "c1", "203.0.113.1").ok(201);
    from(&direct, "c2", "203.0.113.2").problem(422, "promo_not_applicable");
}
