//! What nobody should send, and somebody will: each is refused by name, and nothing changes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Server, app_cart, fresh_key, piece};

fn raw(client: &Client, path: &str, kind: &str, body: &[u8]) -> Answer {
    let key = fresh_key();
    client.raw("POST", path, &[("Idempotency-Key", &key), ("Content-Type", kind)], Some(body.to_vec())).unwrap()
}

const ADJUST: &str = "/v1/customers/c1/points/adjust";

#[test]
fn unknown_fields_are_refused_and_named() {
    let server = Server::start();
    server.issue("c1");
    let answer = server.admin().post(ADJUST, &json!({"points": 1, "reason": "x", "note": "y"}));
    assert!(answer.problem(400, "unknown_field").body["detail"].as_str().unwrap().contains("note"));
    let mut cart = app_cart("c1", 100, 0);
    cart["lines"][0]["colour"] = json!("red");
    let answer = server.service().post("/v1/checkout/quotes", &cart).problem(400, "unknown_field");
    assert!(answer.body["detail"].as_str().unwrap().contains("lines[0].colour"), "{}", answer.body);
    assert_eq!(server.card("c1")["balance"], 0);
}

#[test]
fn wrong_types_name_the_field() {
    let server = Server::start();
    server.issue("c1");
    for points in [json!("1"), json!(1.5), json!(null), json!([1]), json!({}), json!(true)] {
        let answer = server.admin().post(ADJUST, &json!({"points": points, "reason": "x"})).problem(400, "malformed");
        assert!(answer.body["detail"].as_str().unwrap().contains("points"), "{}", answer.body);
    }
    for body in [json!([]), json!("x"), json!(7), json!(null)] {
        server.admin().post(ADJUST, &body).problem(400, "malformed");
    }
}

#[test]
fn numbers_that_are_none_or_too_large_are_refused() {
    let server = Server::start();
    server.issue("c1");
    for points in [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "1e19",
        "9223372036854775808",
        "-9223372036854775809",
        "0x10",
        "01",
        "1.0",
    ] {
        let body = format!(r#"{{"points": {points}, "reason": "x"}}"#);
        let answer = raw(&server.admin(), ADJUST, "application/json", body.as_bytes());
        assert_eq!(answer.status, 400, "{points}: {}", answer.body);
    }
    for points in [i64::MAX, i64::MIN, 100_000_001] {
        server.admin().post(ADJUST, &json!({"points": points, "reason": "x"})).problem(422, "adjustment_invalid");
    }
    // A NaN in MessagePack.
    let mut nan = vec![0x82, 0xa6];
    nan.extend_from_slice(b"points");
    nan.extend_from_slice(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0, 0xa6]);
    nan.extend_from_slice(b"reason\xa1x");
    raw(&server.admin(), ADJUST, "application/msgpack", &nan).problem(400, "malformed");
    assert_eq!(server.card("c1")["balance"], 0);
}

#[test]
fn quantities_and_prices_keep_their_bounds() {
    let server = Server::start();
    server.issue("c1");
    let quote = |line: Value| {
        let mut cart = app_cart("c1", 0, 0);
        cart["lines"] = json!([line]);
        server.service().post("/v1/checkout/quotes", &cart)
    };
    for quantity in [0, -1, 1_000_000_001, i64::MAX, i64::MIN] {
        quote(piece("1", quantity, 1)).problem(400, "invalid_field");
    }
    for price in [-1, i64::MIN] {
        quote(piece("1", 1, price)).problem(400, "invalid_field");
    }
    for (quantity, price) in [(1, i64::MAX), (1_000_000_000, 100_000_000_000), (2, 50_000_000_001)] {
        quote(piece("1", quantity, price)).problem(422, "amount_too_large");
    }
    quote(piece("1", 1_000_000_000, 100)).ok(200);
    let mut both = piece("1", 1, 1);
    both["line_total_minor"] = json!(1);
    quote(both).problem(400, "invalid_field");
    let mut cart = app_cart("c1", 100, 0);
    cart["lines"] = json!([]);
    server.service().post("/v1/checkout/quotes", &cart).problem(422, "cart_empty");
    cart["lines"] = json!([piece("1", 1, 1), piece("1", 1, 1)]);
    server.service().post("/v1/checkout/quotes", &cart).problem(422, "duplicate_line");
    cart["lines"] = json!([piece("1", 1, 1)]);
    cart["points_to_burn"] = json!(-1);
    server.service().post("/v1/checkout/quotes", &cart).problem(400, "invalid_field");
    cart["points_to_burn"] = json!(0);
    cart["delivery_minor"] = json!(-1);
    server.service().post("/v1/checkout/quotes", &cart).problem(400, "invalid_field");
    cart["delivery_minor"] = json!(0);
    cart["client_ip"] = json!("localhost");
    server.service().post("/v1/checkout/quotes", &cart).problem(400, "invalid_field");
}

#[test]
fn carts_have_a_thousand_lines_and_not_a_hundred_thousand() {
    let server = Server::with(|config| config.server.body_limit_bytes = 64 << 20);
    server.issue("c1");
    let cart = |lines: usize| {
        let mut cart = app_cart("c1", 0, 0);
        cart["lines"] = (0..lines).map(|n| piece(&n.to_string(), 1, 100)).collect();
        cart
    };
    assert_eq!(server.service().post("/v1/checkout/quotes", &cart(1000)).ok(200).body["total_minor"], 100_000);
    let refused = server.service().post("/v1/checkout/quotes", &cart(1001)).problem(422, "too_many_lines");
    assert_eq!(refused.body["max"], 1000);
    server.service().post("/v1/checkout/holds", &cart(100_000)).problem(422, "too_many_lines");
}

#[test]
fn bodies_over_the_limit_are_refused_before_they_are_read() {
    let server = Server::start();
    server.issue("c1");
    let body = json!({"points": 1, "reason": "x".repeat(1 << 20)});
    server.admin().post(ADJUST, &body).problem(413, "body_too_large");
    assert_eq!(server.card("c1")["balance"], 0);
}

#[test]
fn bodies_that_are_no_json_are_refused() {
    let server = Server::start();
    server.issue("c1");
    for body in [
        &b""[..],
        b"{",
        b"{\"points\": 1, \"reason\": \"x\"",
        b"{\"points\": 1, \"reason\": \"x\"} trailing",
        b"{\"points\": 1, \"points\": 2, \"reason\": \"x\"}",
        b"{'points': 1}",
        b"\xff\xfe{}",
        b"{\"points\": 1, \"reason\": \"\xff\"}",
        b"\xef\xbb\xbf{\"points\": 1, \"reason\": \"x\"}",
    ] {
        raw(&server.admin(), ADJUST, "application/json", body).problem(400, "malformed");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    raw(&server.admin(), ADJUST, "application/json", deep.as_bytes()).problem(400, "malformed");
    raw(&server.service(), "/v1/orders/events", "application/json", deep.as_bytes()).problem(400, "malformed");
    for body in [&b"\xc1"[..], b"\x81", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", &[0x91; 100_000]] {
        raw(&server.admin(), ADJUST, "application/msgpack", body).problem(400, "malformed");
    }
    assert_eq!(server.card("c1")["balance"], 0);
}

#[test]
fn other_content_types_are_refused() {
    let server = Server::start();
    server.issue("c1");
    let body = br#"{"points": 1, "reason": "x"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/jsonp", ""] {
        raw(&server.admin(), ADJUST, kind, body).problem(415, "unsupported_media_type");
    }
    raw(&server.admin(), ADJUST, "application/json; charset=utf-8", body).ok(200);
}

#[test]
fn ids_are_of_one_alphabet() {
    let server = Server::start();
    for id in ["a%20b", "a%00", "a%0ab", "%D0%B6", "a%2Fb", "..%2Fadmin", &"x".repeat(65), "a%1b", "<script>"] {
        let id = id.replace('<', "%3C").replace('>', "%3E");
        let answer = server.service().post(&format!("/v1/customers/{id}/card"), &json!({}));
        assert!(matches!(answer.status, 400 | 404), "{id}: {} {}", answer.status, answer.body);
        assert_ne!(answer.status, 201);
    }
    let mut cart = app_cart("c1", 100, 0);
    for id in ["", "a b", "a\u{0}", "a\nb", "ж", "\u{202e}x", &"x".repeat(65)] {
        cart["customer_id"] = json!(id);
        let answer = server.service().post("/v1/checkout/holds", &cart).problem(400, "invalid_field");
        assert!(answer.body["detail"].as_str().unwrap().contains("customer_id"));
    }
    server.service().post("/v1/customers/A.b_c:d-9/card", &json!({})).ok(201);
}

#[test]
fn unknown_paths_and_methods_have_problems_too() {
    let server = Server::start();
    let service = server.service();
    for path in
        ["/", "/v1", "/v1/nothing", "/v2/customers/c1/card", "/v1/customers//card", "/.env", "/v1/customers/c1/card/"]
    {
        service.get(path).problem(404, "not_found");
    }
    let answer = service.send("DELETE", "/v1/customers/c1/card", &[], None).unwrap();
    let answer = answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "GET, POST");
    service
        .send("PUT", "/v1/pos/scan", &[("Idempotency-Key", "k")], Some(&json!({})))
        .unwrap()
        .problem(405, "method_not_allowed");
}

#[test]
fn accept_must_name_something_that_can_be_made() {
    let server = Server::start();
    server.issue("c1");
    let body = json!({"points": 1, "reason": "x"});
    let headers = [("Idempotency-Key", "k1"), ("Accept", "text/html")];
    server.admin().send("POST", ADJUST, &headers, Some(&body)).unwrap().problem(406, "not_acceptable");
    assert_eq!(server.card("c1")["balance"], 0, "refused before it was done");
    server
        .service()
        .send("GET", "/v1/customers/c1/card", &[("Accept", "text/html")], None)
        .unwrap()
        .problem(406, "not_acceptable");
}

#[test]
fn forged_credentials_open_nothing() {
    let server = Server::start();
    server.issue("c1");
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": "c1", "exp": 2_208_988_800_i64});
    let none = format!("{}.{}.", part(json!({"alg": "none", "typ": "JWT"})), part(claims.clone()));
    let good = server.customer("c1").token.unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let others = format!("{}.{}.{}", parts[0], part(json!({"sub": "c2", "exp": 2_208_988_800_i64})), parts[2]);
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    let key = server.token_of("service");
    let (shorter, longer) = (&key[..key.len() - 1], format!("{key}x"));
    let as_admin = key.replace("adal_service_", "adal_admin_");
    for token in [&none, &others, &unsigned, shorter, &longer, &as_admin, "", "x", "adal_admin_", &"a".repeat(5000)] {
        let forger = Client::new(&server.url, Some(token));
        let answer = forger.get("/v1/customers/c1/card").problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for header in ["", "Basic YTpi", "Bearer", "bearer", key] {
        let headers = [("Authorization", header)];
        server.nobody().raw("GET", "/v1/customers/c1/card", &headers, None).unwrap().problem(401, "unauthenticated");
    }
    let token = format!("bEaReR {key}");
    server.nobody().raw("GET", "/v1/customers/c1/card", &[("Authorization", &token)], None).unwrap().ok(200);
    // Never in the URL.
    server.nobody().get(&format!("/v1/customers/c1/card?access_token={key}")).problem(401, "unauthenticated");
}

#[test]
fn a_token_of_another_customer_or_of_another_time_opens_nothing() {
    let server = Server::start();
    server.issue("c1");
    server.customer("c2").get("/v1/customers/c1/card").problem(404, "not_found");
    server.customer("c2").get("/v1/customers/nobody/card").problem(404, "not_found");
    server.clock.days(365 * 20);
    server.customer("c1").get("/v1/customers/c1/card").problem(401, "unauthenticated");
}

#[test]
fn answers_carry_security_headers_and_the_request_id() {
    let server = Server::start();
    server.issue("c1");
    let answer =
        server.service().send("GET", "/v1/customers/c1/card", &[("X-Request-Id", "till-7:42")], None).unwrap().ok(200);
    assert_eq!(answer.header("x-request-id"), "till-7:42");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let answer = server.service().send("GET", "/v1/nothing", &[("X-Request-Id", "a b")], None).unwrap();
    assert_ne!(answer.header("x-request-id"), "a b");
    assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
}

#[test]
fn a_customer_who_asks_too_fast_is_slowed_alone() {
    let server = Server::with(|config| config.limits.enabled = true);
    server.issue("c1");
    server.issue("c2");
    let (me, other) = (server.customer("c1"), server.customer("c2"));
    let slowed = (0..200).map(|_| me.get("/v1/customers/c1/card")).find(|answer| answer.status != 200);
    slowed.expect("200 reads at once are too many").problem(429, "rate_limited");
    other.get("/v1/customers/c2/card").ok(200);
    server.service().get("/v1/customers/c1/card").ok(200);
}
