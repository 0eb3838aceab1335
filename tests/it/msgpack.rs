//! MessagePack says what JSON says, on every route.

use serde_json::{Value, json};

use crate::{
    harness::{Client, Server, Wire, fresh_key},
    routes::{self, Things},
};

const KEYS: [(&str, &str); 4] = [("pos", "till"), ("service", "service"), ("support", "support"), ("admin", "admin2")];

#[test]
fn every_route_answers_in_messagepack_what_it_answers_in_json() {
    for route in routes::all() {
        let server = Server::start();
        let things = Things::make(&server);
        let (_, key) = KEYS.iter().find(|(role, _)| route.roles.contains(role)).unwrap();
        let client = server.key(key);
        let (path, idempotency) = (things.fill(route.path), fresh_key());
        let send = |client: &Client, accept: &str| {
            let headers = [("Idempotency-Key", idempotency.as_str()), ("Accept", accept)];
            client.raw_body(route.method, &path, &headers, route.body.as_ref())
        };
        // The same key: the second is the first one's recorded answer, in the other format.
        let one = send(&client, "application/json");
        let two = send(&client.msgpack(), "application/msgpack");
        let name = format!("{} {}", route.method, route.path);
        assert!(!matches!(one.status, 401 | 403 | 500..), "{name}: {} {}", one.status, one.body);
        let kind = if one.status < 400 { "application/msgpack" } else { "application/problem+msgpack" };
        assert_eq!(two.header("content-type"), kind, "{name}");
        assert_eq!(one.status, two.status, "{name}: {}", two.body);
        assert_eq!(comparable(&one.body), comparable(&two.body), "{name}");
    }
}

/// Without what differs between two requests: the id, a fresh seal, and whether an event came before.
fn comparable(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        map.remove("request_id");
        map.remove("results");
        // The catalogue has moved by the first of two changes.
        map.remove("scan_id");
    }
    body
}

#[test]
fn a_whole_sale_goes_by_messagepack() {
    let server = Server::start();
    server.member("c1", 500);
    let till = server.till().msgpack();
    assert_eq!(till.wire, Wire::MsgPack);
    let scan = till.post("/v1/pos/scan", &json!({"code": server.code("c1", "pay")})).ok(200).body;
    let mut body = crate::harness::cart("c1", 100_000, 100);
    body["scan_id"] = scan["scan_id"].clone();
    let hold = till.post("/v1/checkout/holds", &body).ok(201).body;
    let path = format!("/v1/checkout/holds/{}/capture", hold["hold"]["hold_id"].as_str().unwrap());
    let done = till.post(&path, &json!({"order_id": "o1"})).ok(200).body;
    assert_eq!((&done["state"], &done["total_minor"]), (&json!("captured"), &json!(90_000)));
    let events = crate::harness::bought("c1", "o1", 90_000, &server.clock.at(0));
    let answer = till.send("POST", "/v1/orders/events", &[], Some(&json!(events))).unwrap().ok(200);
    assert_eq!(answer.body["results"][1]["outcome"], "applied");
    assert_eq!(till.get("/v1/customers/c1/card").ok(200).body, server.card("c1"));
    till.get("/v1/customers/nobody/card").problem(404, "card_not_found");
}
