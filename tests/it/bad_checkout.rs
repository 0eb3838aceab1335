//! Carts, codes, holds and catalogues that are wrong or extreme: each has an answer that is clear, or an outcome that is
//! documented.

use serde_json::{Value, json};

use crate::harness::{Answer, Server, app_cart, piece};

const QUOTES: &str = "/v1/checkout/quotes";
const HOLDS: &str = "/v1/checkout/holds";

fn ten_off(extra: &Value) -> Value {
    let mut offer = json!({"name": "ten off", "discount": {"type": "percent", "permyriad": 1000}});
    offer.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    offer
}

fn put(server: &Server, path: &str, extra: &Value) -> Answer {
    server.admin().put(path, &ten_off(extra)).ok(200)
}

fn cart(customer: &str, codes: &[&str]) -> Value {
    let mut cart = app_cart(customer, 100_000, 0);
    cart["codes"] = json!(codes);
    cart
}

fn end(server: &Server, held: &Answer, how: &str, body: &Value) -> Answer {
    let id = held.body["hold"]["hold_id"].as_str().unwrap();
    server.service().post(&format!("{HOLDS}/{id}/{how}"), body)
}

#[test]
fn a_code_that_is_typed_twice_or_on_another_keyboard_counts_once() {
    let server = Server::start();
    put(&server, "/v1/promos/ten", &json!({"codes": ["TEMPO1"], "limits": {"total": 5}}));
    // Cyrillic letters, a small l for the 1, a dash, a space: all the same code.
    let same = ["tempo1", "TEMPO1", "T-E-M-P-O-l", " ТЕМРО1 "];
    for code in same {
        let quote = server.service().post(QUOTES, &cart("c1", &[code])).ok(200).body;
        assert_eq!((&quote["discount_minor"], &quote["rejected"]), (&json!(10_000), &json!([])), "{code}");
    }
    let quote = server.service().post(QUOTES, &cart("c1", &same)).ok(200).body;
    assert_eq!((&quote["discount_minor"], quote["applied"].as_array().unwrap().len()), (&json!(10_000), 1));
    let rejected = quote["rejected"].as_array().unwrap();
    assert!(rejected.len() == 3 && rejected.iter().all(|one| one["reason"] == "code_duplicate"), "{quote}");
    // A hold takes a code as it is meant: which of them, the caller says.
    let refused = server.service().post(HOLDS, &cart("c1", &same)).problem(422, "promo_not_applicable");
    assert!(refused.body["detail"].as_str().unwrap().ends_with("code_duplicate"), "{}", refused.body);
    server.service().post(HOLDS, &cart("c1", &same[3..])).ok(201);
    assert_eq!(server.admin().get("/v1/promos/ten/usage").ok(200).body["held"], 1);
}

#[test]
fn a_cart_has_twenty_codes_and_an_unknown_one_is_named_and_fails_the_hold() {
    let server = Server::start();
    put(&server, "/v1/promos/ten", &json!({"codes": ["TEN"]}));
    let names: Vec<String> = (0..100).map(|n| format!("code-{n}")).collect();
    let some = |n: usize| names[..n].iter().map(String::as_str).collect::<Vec<_>>();
    for n in [21, 100] {
        let refused = server.service().post(QUOTES, &cart("c1", &some(n))).problem(400, "invalid_field");
        assert_eq!(refused.body["detail"], "codes: at most 20");
    }
    let quote = server.service().post(QUOTES, &cart("c1", &["TEN", "code-1"])).ok(200).body;
    assert_eq!(quote["discount_minor"], 10_000);
    assert_eq!(quote["rejected"], json!([{"code": "code-1", "reason": "code_unknown"}]));
    let refused = server.service().post(HOLDS, &cart("c1", &["TEN", "code-1"])).problem(422, "code_unknown");
    assert!(refused.body["detail"].as_str().unwrap().contains("code-1"), "{}", refused.body);
    for code in ["", "a\u{7}b", &"x".repeat(65)] {
        server.service().post(QUOTES, &cart("c1", &[code])).problem(400, "invalid_field");
    }
}

#[test]
fn totals_that_overflow_together_are_refused() {
    let server = Server::start();
    let mut cart = app_cart("c1", 0, 0);
    cart["lines"] = json!([piece("1", 1, 100_000_000_000_i64), piece("2", 1, 100_000_000_000_i64)]);
    let refused = server.service().post(QUOTES, &cart).problem(422, "amount_too_large");
    assert!(refused.body["detail"].as_str().unwrap().starts_with("lines"), "{}", refused.body);
    cart["lines"] = json!([piece("1", 1, 100_000_000_000_i64)]);
    put(&server, "/v1/campaigns/ten", &json!({}));
    assert_eq!(server.service().post(QUOTES, &cart).ok(200).body["total_minor"], 90_000_000_000_i64);
}

#[test]
fn offers_that_make_no_sense_are_refused_and_those_that_hardly_do_are_warned_of() {
    let server = Server::start();
    for (extra, fields) in [
        (json!({"discount": {"type": "percent", "permyriad": 10_001}}), vec!["discount.permyriad"]),
        (json!({"starts_at": "2026-12-02T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"}), vec!["starts_at", "ends_at"]),
        (
            json!({"conditions": {"windows": [{"days": ["mon"], "from": "17:00", "to": "15:00"}]}}),
            vec!["conditions.windows[0].from", "conditions.windows[0].to"],
        ),
    ] {
        let refused = server.admin().put("/v1/campaigns/bad", &ten_off(&extra)).problem(422, "offer_invalid");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(fields.iter().all(|field| detail.contains(field)), "{detail}");
    }
    server.admin().get("/v1/campaigns/bad").problem(404, "not_found");
    let odd = put(&server, "/v1/campaigns/odd", &json!({"selector": {"include": [{"skus": []}]}}));
    assert!(odd.body["warnings"][0].as_str().unwrap().contains("matches nothing"), "{}", odd.body);
    assert_eq!(server.service().post(QUOTES, &cart("c1", &[])).ok(200).body["discount_minor"], 0);
}

#[test]
fn an_offer_in_use_is_deleted_or_shrunk_and_what_is_held_is_still_sold() {
    let server = Server::start();
    put(&server, "/v1/promos/gone", &json!({"codes": ["GONE"], "limits": {"total": 5}}));
    put(&server, "/v1/promos/less", &json!({"codes": ["LESS"], "limits": {"total": 5, "budget_minor": 50_000}}));
    let hold = |customer: &str, code: &str| server.service().post(HOLDS, &cart(customer, &[code]));
    let gone = hold("c1", "GONE").ok(201);
    let less = [hold("c2", "LESS").ok(201), hold("c3", "LESS").ok(201)];
    let key = ("Idempotency-Key", "delete-1");
    server.admin().send("DELETE", "/v1/promos/gone", &[key], None).unwrap().ok(200);
    put(&server, "/v1/promos/less", &json!({"codes": ["LESS"], "limits": {"total": 1, "budget_minor": 5_000}}));
    hold("c4", "GONE").problem(422, "code_unknown");
    let refused = hold("c4", "LESS").problem(422, "promo_not_applicable");
    assert!(refused.body["detail"].as_str().unwrap().contains("limit_reached"), "{}", refused.body);
    for (n, held) in less.iter().chain([&gone]).enumerate() {
        let sold = end(&server, held, "capture", &json!({"order_id": format!("o{n}")})).ok(200).body;
        assert_eq!((&sold["total_minor"], &sold["uncovered"]), (&json!(90_000), &json!([])));
    }
    let usage = server.admin().get("/v1/promos/less/usage").ok(200).body;
    assert_eq!(usage["budget_left_minor"], 0, "never below: {usage}");
    server.admin().get("/v1/promos/gone/usage").problem(404, "not_found");
}

#[test]
fn anothers_hold_is_not_there_and_a_blocked_card_is_priced_but_burns_nothing() {
    let server = Server::start();
    put(&server, "/v1/campaigns/ten", &json!({}));
    server.member("c1", 500);
    server.member("c2", 500);
    let held = server.customer("c1").post(HOLDS, &app_cart("c1", 100_000, 100)).ok(201);
    let path = |how: &str| format!("{HOLDS}/{}{how}", held.body["hold"]["hold_id"].as_str().unwrap());
    let other = server.customer("c2");
    other.post(&path("/capture"), &json!({"order_id": "o1"})).problem(404, "hold_not_found");
    other.post(&path("/release"), &json!({})).problem(404, "hold_not_found");
    other.get(&path("")).problem(404, "hold_not_found");
    server.key("other till").post(&path("/capture"), &json!({"order_id": "o1"})).problem(404, "hold_not_found");
    assert_eq!(server.service().get(&path("")).ok(200).body["state"], "held");

    server.support().post("/v1/customers/c2/card/block", &json!({"reason": "lost"})).ok(200);
    server.service().post(HOLDS, &app_cart("c2", 100_000, 100)).problem(409, "card_blocked");
    let held = server.service().post(HOLDS, &app_cart("c2", 100_000, 0)).ok(201);
    assert_eq!(held.body["total_minor"], 90_000, "offers are no points");
    end(&server, &held, "capture", &json!({"order_id": "o2"})).ok(200);
    assert_eq!(server.card("c2")["balance"], 500);
}

#[test]
fn a_catalogue_of_ten_thousand_promos_is_taken_and_priced_with() {
    let server = Server::start();
    for from in (0..10_000).step_by(500) {
        let put = |n: usize| {
            let codes = json!({"codes": [format!("CODE-{n}")], "limits": {"total": 1}});
            json!({"action": "put", "kind": "promo", "id": format!("p{n}"), "document": ten_off(&codes)})
        };
        let changes: Vec<Value> = (from..from + 500).map(put).collect();
        server.admin().post("/v1/catalogue/changes", &json!({"changes": changes})).ok(200);
    }
    let quote = server.service().post(QUOTES, &cart("c1", &["code-0", "code-9999"])).ok(200).body;
    let applied: Vec<_> = quote["applied"].as_array().unwrap().iter().map(|one| one["offer_id"].clone()).collect();
    assert_eq!((&quote["discount_minor"], applied), (&json!(19_000), vec![json!("p0"), json!("p9999")]));
    let page = server.admin().get("/v1/promos?limit=200").ok(200).body;
    assert_eq!((page["items"].as_array().unwrap().len(), page["next_cursor"].is_string()), (200, true));
}
