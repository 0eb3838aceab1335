//! Keys: the same key and body is one command, whatever is answered.

use serde_json::{Value, json};

use crate::harness::{Server, app_cart};

#[test]
fn the_same_key_and_body_gives_the_recorded_answer() {
    let mut server = Server::start();
    server.issue("c1");
    let (path, body) = ("/v1/customers/c1/points/adjust", json!({"points": 100, "reason": "x"}));
    let first = server.admin().post_key(path, &body, "k1").ok(200);
    assert!(!first.replayed());
    for _ in 0..3 {
        let again = server.admin().post_key(path, &body, "k1").ok(200);
        assert_eq!(again.body, first.body);
        assert!(again.replayed());
    }
    // In another order, with other spaces, in MessagePack: the same content.
    let headers = [("Idempotency-Key", "k1"), ("Content-Type", "application/json")];
    let spaced = br#" {"reason" :"x", "points":100 } "#.to_vec();
    assert!(server.admin().raw("POST", path, &headers, Some(spaced)).unwrap().ok(200).replayed());
    assert!(server.admin().msgpack().post_key(path, &body, "k1").ok(200).replayed());
    assert_eq!(server.card("c1")["balance"], 100);
    server.restart();
    assert_eq!(server.admin().post_key(path, &body, "k1").ok(200).body, first.body);
    assert_eq!(server.card("c1")["balance"], 100);
}

#[test]
fn the_same_key_with_another_body_or_route_is_refused() {
    let server = Server::start();
    server.issue("c1");
    let (path, body) = ("/v1/customers/c1/points/adjust", json!({"points": 100, "reason": "x"}));
    server.admin().post_key(path, &body, "k1").ok(200);
    let other = json!({"points": 101, "reason": "x"});
    server.admin().post_key(path, &other, "k1").problem(422, "idempotency_key_reused");
    let reason = json!({"reason": "x"});
    server.support().post_key("/v1/customers/c1/card/block", &reason, "k2").ok(200);
    server.support().post_key("/v1/customers/c1/card/unblock", &reason, "k2").problem(422, "idempotency_key_reused");
    assert_eq!(server.card("c1")["balance"], 100);
    assert_eq!(server.card("c1")["status"], "blocked");
}

#[test]
fn keys_of_two_callers_and_of_two_customers_never_meet() {
    let server = Server::start();
    server.issue("c1");
    server.issue("c2");
    let body = json!({"points": 100, "reason": "x"});
    for (admin, id) in [("admin", "c1"), ("admin2", "c1"), ("admin", "c2")] {
        let path = format!("/v1/customers/{id}/points/adjust");
        assert!(!server.key(admin).post_key(&path, &body, "same").ok(200).replayed());
    }
    assert_eq!(server.card("c1")["balance"], 200);
}

#[test]
fn refusals_are_recorded_too() {
    let server = Server::start();
    server.issue("c1");
    let cart = app_cart("c1", 100_000, 100);
    let first = server.service().post_key("/v1/checkout/holds", &cart, "k1").problem(422, "points_insufficient");
    server.admin().post("/v1/customers/c1/points/adjust", &json!({"points": 500, "reason": "x"})).ok(200);
    let again = server.service().post_key("/v1/checkout/holds", &cart, "k1").problem(422, "points_insufficient");
    assert!(again.replayed());
    let without_id = |body: &Value| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    assert_eq!(without_id(&again.body), without_id(&first.body));
    server.service().post_key("/v1/checkout/holds", &cart, "k2").ok(201);
}

#[test]
fn every_change_needs_a_key_of_1_to_64_visible_characters() {
    let server = Server::start();
    server.issue("c1");
    let (path, body) = ("/v1/customers/c1/points/adjust", json!({"points": 1, "reason": "x"}));
    server.admin().send("POST", path, &[], Some(&body)).unwrap().problem(400, "idempotency_key_required");
    for key in ["", "a b", &"x".repeat(65)] {
        let answer = server.admin().send("POST", path, &[("Idempotency-Key", key)], Some(&body)).unwrap();
        answer.problem(400, "idempotency_key_invalid");
    }
    let longest = "~".repeat(64);
    server.admin().post_key(path, &body, &longest).ok(200);
    assert_eq!(server.card("c1")["balance"], 1);
}

#[test]
fn a_key_is_forgotten_after_a_day() {
    let server = Server::start();
    server.issue("c1");
    let (path, body) = ("/v1/customers/c1/points/adjust", json!({"points": 100, "reason": "x"}));
    server.admin().post_key(path, &body, "k1").ok(200);
    server.clock.advance(24 * 3600 - 1);
    assert!(server.admin().post_key(path, &body, "k1").ok(200).replayed());
    server.clock.advance(3600);
    assert!(!server.admin().post_key(path, &body, "k1").ok(200).replayed());
}

#[test]
fn eight_callers_with_one_key_are_one_command() {
    let server = Server::start();
    server.issue("c1");
    let body = json!({"points": 7, "reason": "x"});
    let admin = server.admin();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| admin.post_key("/v1/customers/c1/points/adjust", &body, "one").ok(200)))
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| !answer.replayed()).count(), 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(server.card("c1")["balance"], 7);
}
