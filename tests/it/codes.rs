//! Unique codes: made in the background, cancelled, resumed, exported.

use std::{collections::BTreeSet, time::Duration};

use adal_domain::offers::NormalCode;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Server, fresh_key},
    routes::offer,
};

fn promo(server: &Server, id: &str) {
    server.admin().put(&format!("/v1/promos/{id}"), &offer()).ok(200);
}

fn job(server: &Server, id: &str) -> Value {
    server.admin().get(&format!("/v1/jobs/{id}")).ok(200).body
}

fn delete(server: &Server, path: &str) -> Answer {
    let key = fresh_key();
    server.admin().send("DELETE", path, &[("Idempotency-Key", key.as_str())], None).unwrap()
}

fn until(server: &Server, id: &str, what: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..6000 {
        let job = job(server, id);
        if what(&job) {
            return job;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("within a minute: {}", job(server, id));
}

fn ask(server: &Server, promo: &str, body: &Value) -> String {
    let answer = server.admin().post(&format!("/v1/promos/{promo}/codes"), body).ok(202);
    answer.body["job_id"].as_str().unwrap().to_owned()
}

fn export(server: &Server, promo: &str) -> Vec<String> {
    let answer = server.admin().get(&format!("/v1/promos/{promo}/codes.csv")).ok(200);
    assert!(answer.header("content-type").starts_with("text/csv"));
    let text = String::from_utf8(answer.bytes).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("code"));
    lines.map(str::to_owned).collect()
}

#[test]
fn codes_are_made_exported_and_all_different() {
    let server = Server::start();
    promo(&server, "a");
    promo(&server, "b");
    let jobs = [
        ask(&server, "a", &json!({"count": 5001, "prefix": "SPRING-"})),
        ask(&server, "b", &json!({"count": 700})),
        ask(&server, "a", &json!({"count": 300})),
    ];
    for id in &jobs {
        let done = until(&server, id, |job| job["state"] == "done");
        assert_eq!(done["done"], done["total"]);
    }
    let (a, b) = (export(&server, "a"), export(&server, "b"));
    assert_eq!((a.len(), b.len()), (5301, 700));
    assert_eq!(a.iter().filter(|code| code.starts_with("SPRING-")).count(), 5001);
    let normal: BTreeSet<NormalCode> = a.iter().chain(&b).map(|code| NormalCode::new(code).unwrap()).collect();
    assert_eq!(normal.len(), 6001, "all different, however they are typed");
    for code in &b {
        assert_eq!((code.len(), NormalCode::new(code).unwrap().as_str()), (12, code.as_str()));
    }
    promo(&server, "c");
    assert!(export(&server, "c").is_empty());
}

#[test]
fn a_request_that_comes_again_is_one_job() {
    let server = Server::start();
    promo(&server, "a");
    let send = |count: u64| server.admin().post_key("/v1/promos/a/codes", &json!({"count": count}), "k1");
    let first = send(40).ok(202);
    until(&server, first.body["job_id"].as_str().unwrap(), |job| job["state"] == "done");
    let again = send(40).ok(202);
    assert_eq!((&again.body["job_id"], &again.body["done"]), (&first.body["job_id"], &json!(40)));
    assert!(again.replayed() && !first.replayed());
    send(41).problem(422, "idempotency_key_reused");
    assert_eq!(export(&server, "a").len(), 40);
}

#[test]
fn a_job_goes_on_after_a_restart_and_stops_when_it_is_told() {
    let mut server = Server::start();
    promo(&server, "a");
    let first = ask(&server, "a", &json!({"count": 30_000}));
    let second = ask(&server, "a", &json!({"count": 1_000_000}));
    let some = until(&server, &first, |job| job["done"].as_u64() > Some(0))["done"].as_u64().unwrap();
    server.restart();
    assert!(job(&server, &first)["done"].as_u64().unwrap() >= some);
    until(&server, &first, |job| job["state"] == "done");
    until(&server, &second, |job| job["done"].as_u64() > Some(0));
    let cancel = |id: &str| delete(&server, &format!("/v1/jobs/{id}"));
    let cancelled = cancel(&second).ok(200);
    assert!(!cancelled.replayed() && cancel(&second).ok(200).replayed());
    let cancelled = cancelled.body;
    assert_eq!(cancelled["state"], "cancelled");
    let made = cancelled["done"].as_u64().unwrap();
    assert!((1..1_000_000).contains(&made));
    assert_eq!(export(&server, "a").len() as u64, 30_000 + made, "what was made stays");
    assert_eq!(cancel(&first).ok(200).body["state"], "done");
    cancel("nothing").problem(404, "not_found");
    // The maker comes to the next job when it has left this one.
    let third = ask(&server, "a", &json!({"count": 1}));
    until(&server, &third, |job| job["state"] == "done");
    assert_eq!(job(&server, &second), cancelled, "nothing more is made");
}

#[test]
fn no_code_is_made_for_a_promo_that_was_deleted_and_those_that_were_are_free_again() {
    let server = Server::start();
    promo(&server, "a");
    let one = ask(&server, "a", &json!({"count": 1}));
    until(&server, &one, |job| job["state"] == "done");
    let mut shared = offer();
    shared["codes"] = json!([export(&server, "a").remove(0)]);
    server.admin().put("/v1/promos/b", &shared).problem(422, "offer_invalid");
    let many = ask(&server, "a", &json!({"count": 1_000_000}));
    until(&server, &many, |job| job["done"].as_u64() > Some(0));
    delete(&server, "/v1/promos/a").ok(200);
    let ended = until(&server, &many, |job| job["state"] != "open");
    assert_eq!((&ended["state"], ended["done"].as_u64() < Some(1_000_000)), (&json!("cancelled"), true), "{ended}");
    server.admin().put("/v1/promos/b", &shared).ok(200);
}

#[test]
fn what_cannot_be_made_is_refused_and_named() {
    let server = Server::start();
    promo(&server, "a");
    server.admin().put("/v1/campaigns/c", &offer()).ok(200);
    let ask = |id: &str, body: Value| server.admin().post(&format!("/v1/promos/{id}/codes"), &body);
    assert_eq!(ask("a", json!({"count": 1_000_001})).problem(400, "invalid_field").body["max"], 1_000_000);
    ask("a", json!({"count": 0})).problem(400, "invalid_field");
    let refused = ask("a", json!({"count": 1, "prefix": "=1+1"})).problem(400, "invalid_field");
    assert!(refused.body["detail"].as_str().unwrap().starts_with("prefix"));
    ask("nothing", json!({"count": 1})).problem(404, "not_found");
    ask("c", json!({"count": 1})).problem(404, "not_found");
    server.admin().get("/v1/promos/nothing/codes.csv").problem(404, "not_found");
    server.admin().get("/v1/jobs/nothing").problem(404, "not_found");
}

#[test]
fn a_shared_code_cannot_be_a_unique_one() {
    let server = Server::start();
    promo(&server, "a");
    let id = ask(&server, "a", &json!({"count": 1}));
    until(&server, &id, |job| job["state"] == "done");
    let code = export(&server, "a").remove(0);
    let mut shared = offer();
    shared["codes"] = json!(["X", code.to_lowercase()]);
    let refused = server.admin().put("/v1/promos/b", &shared).problem(422, "offer_invalid");
    let told = refused.body["detail"].as_str().unwrap();
    assert!(told.contains("codes[1]") && told.contains("promo a"), "{told}");
    let list = json!({"changes": [{"action": "put", "kind": "promo", "id": "b", "document": shared}]});
    server.admin().post("/v1/catalogue/changes", &list).problem(422, "offer_invalid");
}
