//! The policy: read, replaced as a whole, in force at once and after a restart.

use serde_json::{Value, json};

use crate::harness::{Server, bought, fresh_key};

fn read(server: &Server) -> (u64, Value) {
    let answer = server.admin().get("/v1/policy").ok(200);
    let revision = answer.body["revision"].as_u64().unwrap();
    assert_eq!(answer.header("etag"), format!("\"{revision}\""));
    (revision, answer.body["policy"].clone())
}

#[test]
fn a_change_is_in_force_at_once_and_after_a_restart() {
    let mut server = Server::start();
    server.issue("c1");
    let (revision, mut policy) = read(&server);
    assert_eq!(revision, 0);
    policy["loyalty"]["tier_rate_permyriad"] = json!([1000, 1000, 1000, 1000]);
    let put = server.admin().put("/v1/policy", &policy).ok(200);
    assert_eq!((&put.body["revision"], &put.body["policy"]), (&json!(1), &policy));
    server.orders(&bought("c1", "o1", 100_000, &server.clock.at(0)));
    assert_eq!(server.card("c1")["pending"], 100, "10 %");
    server.restart();
    assert_eq!(read(&server), (1, policy));
    server.orders(&bought("c1", "o2", 100_000, &server.clock.at(0)));
    assert_eq!(server.card("c1")["pending"], 200);
}

#[test]
fn what_was_decided_keeps_its_numbers() {
    let server = Server::start();
    server.issue("c1");
    server.orders(&bought("c1", "o1", 1_000_000, &server.clock.at(0)));
    let (_, mut policy) = read(&server);
    policy["loyalty"]["lot_days"] = json!(1);
    policy["loyalty"]["tier_rate_permyriad"] = json!([0, 0, 0, 0]);
    server.admin().put("/v1/policy", &policy).ok(200);
    server.clock.days(30);
    assert_eq!(server.card("c1")["balance"], 100);
}

#[test]
fn a_policy_that_contradicts_itself_is_refused_and_named() {
    let server = Server::start();
    let (_, good) = read(&server);
    let refuse = |path: &str, value: Value, status: u16, code: &str| {
        let mut policy = good.clone();
        *policy.pointer_mut(path).unwrap() = value;
        let refused = server.admin().put("/v1/policy", &policy).problem(status, code);
        let name = path.trim_start_matches('/').replace('/', ".");
        assert!(refused.body["detail"].as_str().unwrap().contains(&name), "{name}: {}", refused.body);
    };
    refuse("/checkout/burn_share_strict_permyriad", json!(6000), 422, "policy_invalid");
    refuse("/time_zone", json!("Mars/Olympus"), 422, "policy_invalid");
    refuse("/loyalty/lot_days", json!(0), 422, "policy_invalid");
    refuse("/loyalty/lot_days", json!("many"), 400, "malformed");
    let mut partial = good.clone();
    partial["loyalty"].as_object_mut().unwrap().remove("lot_days");
    let refused = server.admin().put("/v1/policy", &partial).problem(400, "invalid_field");
    assert!(refused.body["detail"].as_str().unwrap().starts_with("loyalty.lot_days"));
    let mut unknown = good.clone();
    unknown["loyalty"]["colour"] = json!("red");
    let refused = server.admin().put("/v1/policy", &unknown).problem(400, "unknown_field");
    assert!(refused.body["detail"].as_str().unwrap().contains("colour"));
    assert_eq!(read(&server), (0, good));
}

#[test]
fn two_who_change_it_at_once_do_not_overwrite_each_other() {
    let server = Server::start();
    let (_, policy) = read(&server);
    let put = |tag: &str| {
        let key = fresh_key();
        let headers = [("Idempotency-Key", key.as_str()), ("If-Match", tag)];
        server.admin().send("PUT", "/v1/policy", &headers, Some(&policy)).unwrap()
    };
    assert_eq!(put("\"0\"").ok(200).body["revision"], 1);
    put("\"0\"").problem(409, "revision_conflict");
    assert_eq!(put("\"1\"").ok(200).body["revision"], 2);
    assert_eq!(put("*").ok(200).body["revision"], 3);
    put("3").problem(400, "invalid_field");
}
