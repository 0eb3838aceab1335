//! Administration of the catalogue: promos, campaigns, lists of changes, history.

use serde_json::{Value, json};

use crate::{
    harness::{Answer, Server, app_cart, fresh_key},
    routes::offer,
};

fn with(mut base: Value, extra: &Value) -> Value {
    base.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    base
}

fn put(server: &Server, path: &str, extra: &Value) -> Answer {
    server.admin().put(path, &with(offer(), extra))
}

fn put_if(server: &Server, path: &str, header: (&str, &str), extra: &Value) -> Answer {
    let key = fresh_key();
    let headers = [("Idempotency-Key", key.as_str()), header];
    server.admin().send("PUT", path, &headers, Some(&with(offer(), extra))).unwrap()
}

fn delete(server: &Server, path: &str) -> Answer {
    server.admin().send("DELETE", path, &[("Idempotency-Key", &fresh_key())], None).unwrap()
}

fn detail(answer: &Answer) -> String {
    answer.body["detail"].as_str().unwrap().to_owned()
}

#[test]
fn an_offer_is_put_read_listed_and_deleted_and_survives_a_restart() {
    let mut server = Server::start();
    let extra = json!({"codes": ["WELCOME10"], "limits": {"per_customer": 1}, "conditions": {"shops": []}});
    let made = put(&server, "/v1/promos/welcome", &extra).ok(200);
    assert_eq!((&made.body["version"], &made.body["revision"]), (&json!(1), &json!(1)));
    assert_eq!(made.header("etag"), "\"1\"");
    assert!(made.body["warnings"][0].as_str().unwrap().contains("conditions.shops"), "{}", made.body);
    put(&server, "/v1/campaigns/tenth", &json!({})).ok(200);
    server.restart();
    let read = server.admin().get("/v1/promos/welcome").ok(200);
    assert_eq!(read.body["offer"], with(offer(), &extra));
    assert_eq!((read.header("etag"), &read.body["kind"]), ("\"1\"", &json!("promo")));
    assert_eq!(read.body["changed_at"], server.clock.at(0));
    server.admin().get("/v1/campaigns/welcome").problem(404, "not_found");
    let list = server.admin().get("/v1/campaigns").ok(200).body;
    assert_eq!((&list["revision"], list["items"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(list["items"][0]["id"], "tenth");
    let gone = delete(&server, "/v1/promos/welcome").ok(200).body;
    assert_eq!(gone, json!({"id": "welcome", "revision": 3}));
    server.admin().get("/v1/promos/welcome").problem(404, "not_found");
    delete(&server, "/v1/promos/welcome").problem(404, "not_found");
    put(&server, "/v1/promos/other", &json!({"codes": ["welcome-10"]})).ok(200);
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let server = Server::start();
    put(&server, "/v1/promos/a", &json!({"codes": ["WELCOME10"]})).ok(200);
    let refuse = |path: &str, extra: Value, status: u16, code: &str, names: &[&str]| {
        let told = detail(&put(&server, path, &extra).problem(status, code));
        assert!(names.iter().all(|name| told.contains(name)), "{told} does not name {names:?}");
    };
    refuse("/v1/promos/b", json!({"codes": ["WELCOMEIO"]}), 422, "offer_invalid", &["codes[0]", "promo a"]);
    refuse("/v1/campaigns/a", json!({}), 422, "offer_invalid", &["id", "promo a"]);
    refuse("/v1/campaigns/b", json!({"codes": ["B"]}), 422, "offer_invalid", &["codes"]);
    let over = json!({"discount": {"type": "percent", "permyriad": 10_001}});
    refuse("/v1/promos/b", over, 422, "offer_invalid", &["discount.permyriad", "10000"]);
    let window = json!({"conditions": {"windows": [{"from": "17:00", "to": "15:00"}]}});
    refuse("/v1/promos/b", window, 422, "offer_invalid", &["windows[0].from", "windows[0].to"]);
    refuse("/v1/promos/b", json!({"colour": "red"}), 400, "unknown_field", &["colour"]);
    refuse("/v1/promos/b", json!({"limits": {"total": "x"}}), 400, "malformed", &["limits.total"]);
    refuse("/v1/promos/a%20b", json!({}), 400, "invalid_field", &["id"]);
    assert_eq!(server.admin().get("/v1/promos").ok(200).body["revision"], 1);
}

#[test]
fn two_who_change_one_offer_do_not_overwrite_each_other_and_another_offer_is_no_conflict() {
    let server = Server::start();
    let path = "/v1/promos/a";
    put_if(&server, path, ("If-None-Match", "*"), &json!({})).ok(200);
    put_if(&server, path, ("If-None-Match", "*"), &json!({"codes": ["X"]})).problem(409, "revision_conflict");
    put(&server, "/v1/promos/b", &json!({})).ok(200);
    let second = put_if(&server, path, ("If-Match", "\"1\""), &json!({"codes": ["X"]})).ok(200);
    assert_eq!((&second.body["version"], second.header("etag")), (&json!(2), "\"3\""));
    put_if(&server, path, ("If-Match", "\"1\""), &json!({"codes": ["Y"]})).problem(409, "revision_conflict");
    put_if(&server, path, ("If-Match", "3"), &json!({})).problem(400, "invalid_field");
    put_if(&server, path, ("If-None-Match", "\"3\""), &json!({})).problem(400, "invalid_field");
    // The same document again changes nothing.
    let same = put(&server, path, &json!({"codes": ["X"]})).ok(200).body;
    assert_eq!((&same["version"], &same["revision"]), (&json!(2), &json!(3)));
    let (policy, revision) = {
        let read = server.admin().get("/v1/policy").ok(200).body;
        (read["policy"].clone(), read["revision"].clone())
    };
    assert_eq!(revision, 0, "offers are no change of the policy");
    let key = fresh_key();
    let headers = [("Idempotency-Key", key.as_str()), ("If-Match", "\"0\"")];
    server.admin().send("PUT", "/v1/policy", &headers, Some(&policy)).unwrap().ok(200);
}

#[test]
fn a_key_is_one_change() {
    let server = Server::start();
    let body = with(offer(), &json!({"codes": ["X"]}));
    let send =
        |body: &Value| server.admin().send("PUT", "/v1/promos/a", &[("Idempotency-Key", "k1")], Some(body)).unwrap();
    let first = send(&body).ok(200);
    put(&server, "/v1/promos/a", &json!({})).ok(200);
    let again = send(&body).ok(200);
    assert!(again.replayed() && !first.replayed());
    assert_eq!(again.body, first.body);
    assert_eq!(server.admin().get("/v1/promos/a").ok(200).body["version"], 2);
    send(&offer()).problem(422, "idempotency_key_reused");
}

#[test]
fn the_history_says_who_when_and_what() {
    let mut server = Server::start();
    for codes in [json!(["A"]), json!(["A", "B"]), json!(["C"])] {
        put(&server, "/v1/promos/a", &json!({"codes": codes})).ok(200);
        put(&server, "/v1/campaigns/a2", &json!({"stacking": {"priority": codes.as_array().unwrap().len()}})).ok(200);
        server.clock.days(1);
    }
    delete(&server, "/v1/promos/a").ok(200);
    server.restart();
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    for _ in 0..10 {
        let page = server.admin().get(&format!("/v1/promos/a/history?limit=3{cursor}")).ok(200).body;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let told: Vec<_> =
        items.iter().map(|item| (&item["version"], &item["before"]["codes"], &item["after"]["codes"])).collect();
    let null = &Value::Null;
    let (one, two, three) = (&json!(1), &json!(2), &json!(3));
    let (a, ab, c) = (&json!(["A"]), &json!(["A", "B"]), &json!(["C"]));
    assert_eq!(told, [(null, c, null), (three, ab, c), (two, a, ab), (one, null, a)]);
    let ats: Vec<_> = items.iter().map(|item| item["at"].clone()).collect();
    assert_eq!(ats[3], json!(server.clock.at(-3 * 86_400)));
    assert!(items.iter().all(|item| item["by"] == items[0]["by"]), "one key");
    // As it was at a revision of the catalogue, whatever was changed then.
    let at = |revision: u64| server.admin().get(&format!("/v1/promos/a?revision={revision}"));
    assert_eq!(at(1).ok(200).body["offer"]["codes"], *a);
    assert_eq!(at(2).ok(200).body["offer"]["codes"], *a);
    assert_eq!(at(3).ok(200).body["offer"]["codes"], *ab);
    assert_eq!(at(6).ok(200).body["offer"]["codes"], *c);
    at(0).problem(404, "not_found");
    at(7).problem(404, "not_found");
    server.admin().get("/v1/promos/nothing/history").problem(404, "not_found");
}

#[test]
fn a_list_of_changes_is_one_step_and_can_be_tried() {
    let server = Server::start();
    put(&server, "/v1/promos/a", &json!({"codes": ["X"]})).ok(200);
    put(&server, "/v1/promos/b", &json!({"codes": ["Y"]})).ok(200);
    let swap = |dry_run: bool, expected: u64| {
        json!({"expected_revision": expected, "dry_run": dry_run, "changes": [
            {"action": "put", "kind": "promo", "id": "a", "document": with(offer(), &json!({"codes": ["Y"]}))},
            {"action": "put", "kind": "promo", "id": "b", "document": with(offer(), &json!({"codes": ["X"]}))},
            {"action": "put", "kind": "campaign", "id": "c", "document": offer()},
        ]})
    };
    let path = "/v1/catalogue/changes";
    let tried = server.admin().post(path, &swap(true, 2)).ok(200).body;
    assert_eq!((&tried["applied"], &tried["changed"][2]["outcome"]), (&json!(false), &json!("added")));
    assert_eq!(server.admin().get("/v1/promos/a").ok(200).body["version"], 1);
    server.admin().post(path, &swap(true, 1)).problem(409, "revision_conflict");
    server.admin().post(path, &swap(false, 1)).problem(409, "revision_conflict");
    let done = server.admin().post(path, &swap(false, 2)).ok(200).body;
    assert_eq!((&done["applied"], &done["revision"]), (&json!(true), &json!(3)));
    assert_eq!(server.admin().get("/v1/promos/b").ok(200).body["offer"]["codes"], json!(["X"]));
    for (change, names) in [
        (json!({"action": "put", "kind": "promo", "id": "z"}), "changes[0]: document"),
        (json!({"action": "delete", "kind": "promo", "id": "z", "document": {}}), "changes[0]: document"),
        (json!({"action": "delete", "kind": "policy"}), "changes[0]: action"),
        (json!({"action": "put", "kind": "policy", "document": {}}), "changes[0]: "),
        (json!({"action": "put", "kind": "promo", "id": "z", "document": {"name": "a"}}), "changes[0]: "),
    ] {
        let refused = server.admin().post(path, &json!({"changes": [change]}));
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(detail(&refused).starts_with(names), "{}", refused.body);
    }
    let many: Vec<Value> =
        (0..501).map(|n| json!({"action": "delete", "kind": "promo", "id": format!("p{n}")})).collect();
    assert_eq!(server.admin().post(path, &json!({"changes": many})).problem(400, "invalid_field").body["max"], 500);
}

#[test]
fn a_large_document_is_taken_and_pages_are_bounded() {
    let server = Server::start();
    // 1.5 MB: above the limit of other bodies.
    let skus: Vec<String> = (0..30_000).map(|n| format!("sku-{n:040}")).collect();
    let large = json!({"selector": {"include": [{"skus": skus}]}});
    for n in 0..5 {
        put(&server, &format!("/v1/campaigns/large-{n}"), &large).ok(200);
    }
    let (mut pages, mut items, mut cursor) = (0, 0, String::new());
    loop {
        let page = server.admin().get(&format!("/v1/campaigns?limit=200{cursor}")).ok(200);
        assert!(page.bytes.len() < 8 << 20, "{}", page.bytes.len());
        (pages, items) = (pages + 1, items + page.body["items"].as_array().unwrap().len());
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((items, pages > 1), (5, true));
    server.admin().get("/v1/campaigns?cursor=00").problem(400, "cursor_invalid");
}

#[test]
fn usage_counts_what_is_held_and_taken_and_what_is_left_of_the_budget() {
    let server = Server::start();
    let limits = json!({"limits": {"total": 9, "budget_minor": 10_000, "budget_group": "spring"}});
    put(&server, "/v1/campaigns/a", &limits).ok(200);
    put(&server, "/v1/promos/b", &json!({"limits": {"total": 5}})).ok(200);
    let unused = server.admin().get("/v1/campaigns/a/usage").ok(200).body;
    assert_eq!(unused, json!({"taken": 0, "held": 0, "discount_minor": 0, "budget_left_minor": 10_000, "by_day": []}));
    assert!(server.admin().get("/v1/promos/b/usage").ok(200).body.get("budget_left_minor").is_none());
    server.admin().get("/v1/promos/a/usage").problem(404, "not_found");
    server.issue("c1");
    let holds = "/v1/checkout/holds";
    let hold = || server.service().post(holds, &app_cart("c1", 20_000, 0)).ok(201).body["hold"]["hold_id"].clone();
    let (first, second) = (hold(), hold());
    let usage = || server.admin().get("/v1/campaigns/a/usage").ok(200).body;
    assert_eq!((&usage()["held"], &usage()["budget_left_minor"]), (&json!(2), &json!(6000)), "two tenths of 200 tenge");
    let end = |hold: &Value, how: &str, body: Value| {
        server.service().post(&format!("{holds}/{}/{how}", hold.as_str().unwrap()), &body).ok(200)
    };
    end(&first, "capture", json!({"order_id": "o1"}));
    end(&second, "release", json!({}));
    // What a hold owes its promos is delivered a moment after its answer.
    for _ in 0..2000 {
        if usage()["held"] == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let day = &server.clock.at(0)[..10];
    assert_eq!(
        usage(),
        json!({"taken": 1, "held": 0, "discount_minor": 2000, "budget_left_minor": 8000,
               "by_day": [{"day": day, "taken": 1, "discount_minor": 2000}]})
    );
}
