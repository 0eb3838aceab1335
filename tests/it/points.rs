//! Adjustments and their second person, the statement, earnings under review, past states.

use serde_json::{Value, json};

use crate::harness::{Client, Server, app_cart, bought};

fn adjust(client: &Client, id: &str, points: i64) -> crate::harness::Answer {
    client.post(&format!("/v1/customers/{id}/points/adjust"), &json!({"points": points, "reason": "goodwill"}))
}

#[test]
fn an_adjustment_gives_or_takes_and_says_why() {
    let server = Server::start();
    server.issue("c1");
    assert_eq!(adjust(&server.admin(), "c1", 2000).ok(200).body["balance"], 2000);
    assert_eq!(adjust(&server.admin(), "c1", -500).ok(200).body["balance"], 1500);
    let statement = server.statement("c1");
    assert_eq!((&statement[0]["points"], &statement[0]["balance_after"]), (&json!(-500), &json!(1500)));
    assert_eq!(statement[0]["cause"], "adjustment");
    assert_eq!(statement[0]["reason"], "goodwill", "the customer is not told who gave it");
    adjust(&server.admin(), "c1", 0).problem(422, "adjustment_invalid");
    adjust(&server.admin(), "c1", -1501).problem(422, "points_insufficient");
    adjust(&server.admin(), "c1", i64::MAX).problem(422, "adjustment_invalid");
    adjust(&server.admin(), "nobody", 5).problem(404, "card_not_found");
}

#[test]
fn above_2000_a_second_person_decides() {
    let server = Server::start();
    server.issue("c1");
    let waits = adjust(&server.admin(), "c1", 2001).ok(202).body;
    let id = waits["approval_id"].as_str().unwrap();
    assert_eq!(server.card("c1")["balance"], 0);
    let (approve, reject) = (format!("/v1/approvals/{id}/approve"), format!("/v1/approvals/{id}/reject"));
    let seen = server.key("admin2").get(&format!("/v1/approvals/{id}")).ok(200).body;
    assert_eq!((&seen["state"], &seen["points"], &seen["customer_id"]), (&json!("open"), &json!(2001), &json!("c1")));
    server.admin().post(&approve, &json!({})).problem(403, "second_person_required");
    let done = server.key("admin2").post_key(&approve, &json!({}), "yes").ok(200);
    assert_eq!(done.body["balance"], 2001);
    assert_eq!(server.key("admin2").post_key(&approve, &json!({}), "yes").ok(200).body, done.body);
    server.key("admin2").post(&reject, &json!({})).problem(409, "already_decided");
    assert_eq!(server.card("c1")["balance"], 2001);
    assert_eq!(server.admin().get(&format!("/v1/approvals/{id}")).ok(200).body["state"], "approved");

    let waits = adjust(&server.admin(), "c1", -2001).ok(202).body;
    let reject = format!("/v1/approvals/{}/reject", waits["approval_id"].as_str().unwrap());
    let done = server.key("admin2").send("POST", &reject, &[("Idempotency-Key", "no")], None).unwrap().ok(200);
    assert_eq!(done.body["state"], "rejected");
    assert_eq!(server.card("c1")["balance"], 2001);
    server.admin().post("/v1/approvals/0197-no-such/approve", &json!({})).problem(404, "not_found");
}

#[test]
fn a_statement_is_paged_newest_first_and_sums_up_while_it_grows() {
    let server = Server::start();
    server.issue("c1");
    for n in 1..=20 {
        adjust(&server.admin(), "c1", n).ok(200);
        server.clock.advance(1);
    }
    server.orders(&bought("c1", "o1", 1_000_000, &server.clock.at(0)));
    server.clock.next_day();
    // The activation is due and in no row yet: the first page has it.
    let first = server.service().get("/v1/customers/c1/points/statement?limit=5").ok(200).body;
    assert_eq!(first["items"][0]["cause"], "cashback");
    assert_eq!(first["items"].as_array().unwrap().len(), 5);
    // What is written between two pages moves nothing.
    adjust(&server.admin(), "c1", 77).ok(200);
    let path = format!("/v1/customers/c1/points/statement?limit=5&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = server.service().get(&path).ok(200).body;
    let points = |page: &Value| {
        page["items"].as_array().unwrap().iter().map(|i| i["points"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((points(&first), points(&second)), (vec![100, 20, 19, 18, 17], vec![16, 15, 14, 13, 12]));
    assert_eq!(server.statement("c1").len(), 22);
    let whole = server.service().get("/v1/customers/c1/points/statement?limit=200").ok(200).body;
    assert!(whole.get("next_cursor").is_none());
    let after: Vec<_> =
        whole["items"].as_array().unwrap().iter().map(|item| item["balance_after"].as_i64().unwrap()).collect();
    assert_eq!(after[0], server.card("c1")["balance"].as_i64().unwrap());
    for wrong in ["limit=0", "limit=201", "cursor=zz", "cursor=00", "limit=x", "page=2"] {
        let answer = server.service().get(&format!("/v1/customers/c1/points/statement?{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
}

#[test]
fn what_is_due_counts_towards_the_page_and_is_continued() {
    let server = Server::start();
    server.issue("c1");
    adjust(&server.admin(), "c1", 7).ok(200);
    for n in 1..=4 {
        server.orders(&bought("c1", &format!("o{n}"), n * 1_000_000, &server.clock.at(0)));
    }
    server.clock.next_day();
    let page = |cursor: &str| {
        let page = server.service().get(&format!("/v1/customers/c1/points/statement?limit=1{cursor}")).ok(200).body;
        assert!(page["items"].as_array().unwrap().len() <= 1, "{page}");
        let next = page["next_cursor"].as_str().map(|next| format!("&cursor={next}"));
        (page["items"][0]["points"].as_i64(), next)
    };
    let whole = |from: Option<String>, write_after: Option<usize>| {
        let (mut seen, mut next) = (Vec::new(), from);
        while let Some(cursor) = next {
            let (points, after) = page(&cursor);
            seen.extend(points);
            if write_after == Some(seen.len()) {
                // What was due gets its row between two pages: nothing is repeated, nothing hidden.
                adjust(&server.admin(), "c1", 1000).ok(200);
            }
            next = after;
        }
        seen
    };
    let all = [400, 300, 200, 100, 7];
    assert_eq!(whole(Some(String::new()), None), all, "due and in no row");
    assert_eq!(whole(Some(String::new()), Some(2)), all, "journaled half-way");
    assert_eq!(whole(Some(String::new()), None), [1000, 400, 300, 200, 100, 7]);
    server.statement("c1");
}

#[test]
fn a_page_ends_after_2048_rows_that_have_no_entry() {
    let server = Server::start();
    server.issue("c1");
    adjust(&server.admin(), "c1", 5).ok(200);
    let at = server.clock.at(0);
    let service = server.service();
    // One by one: what arrives together is one row.
    for n in 0..2_100 {
        let event = json!({"event_id": format!("e{n}"), "type": "cancelled", "order_id": format!("o{n}"),
                           "customer_id": "c1", "shop_id": "s1", "at": at, "by": "customer"});
        service.send("POST", "/v1/orders/events", &[], Some(&event)).unwrap().ok(200);
    }
    let first = server.service().get("/v1/customers/c1/points/statement").ok(200).body;
    assert_eq!(first["items"], json!([]), "nobody's balance changed in the last 2,048 rows");
    let path = format!("/v1/customers/c1/points/statement?cursor={}", first["next_cursor"].as_str().unwrap());
    let second = server.service().get(&path).ok(200).body;
    assert_eq!((&second["items"][0]["points"], second.get("next_cursor")), (&json!(5), None));
    server.statement("c1");
}

#[test]
fn an_earning_past_the_days_limit_waits_for_support() {
    let server = Server::with(|config| config.policy.limits.cashback_operations = 2);
    server.issue("c1");
    for n in 0..4 {
        server.orders(&bought("c1", &format!("o{n}"), 1_000_000, &server.clock.at(0)));
    }
    let card = server.card("c1");
    assert_eq!((&card["pending"], &card["under_review"]), (&json!(200), &json!(200)));
    let reviews = server.support().get("/v1/customers/c1/points/review").ok(200).body;
    let entries: Vec<_> =
        reviews["items"].as_array().unwrap().iter().map(|r| r["entry"].as_str().unwrap().to_owned()).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(reviews["items"][0]["order_id"], "o2");
    let path = |entry: &str, what: &str| format!("/v1/customers/c1/points/review/{entry}/{what}");
    let reason = json!({"reason": "a real customer"});
    let released = server.support().post(&path(&entries[0], "release"), &reason).ok(200).body;
    assert_eq!((&released["released"], &released["entry"]), (&json!(true), &json!(entries[0])));
    let voided = server.support().post(&path(&entries[1], "void"), &reason).ok(200).body;
    assert_eq!(voided["released"], false);
    let again = server.support().post(&path(&entries[1], "release"), &reason);
    assert!(matches!((again.status, again.code()), (409, "already_decided") | (404, _)), "{}", again.body);
    server.support().post(&path("nothing", "release"), &reason).problem(404, "not_found");
    server.clock.next_day();
    assert_eq!(server.card("c1")["balance"], 300);
    server.statement("c1");
    let kinds = server.support().get("/v1/signals?kind=earning_under_review").ok(200).body;
    assert_eq!(kinds["items"].as_array().unwrap().len(), 2);
    let page = server.support().get("/v1/signals?limit=1").ok(200).body;
    let next = format!("/v1/signals?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_ne!(server.support().get(&next).ok(200).body["items"], page["items"]);
}

#[test]
fn any_past_state_can_be_asked_for() {
    let server = Server::start();
    let before = server.clock.at(-1);
    server.issue("c1");
    let issued = server.clock.at(0);
    server.clock.advance(60);
    adjust(&server.admin(), "c1", 100).ok(200);
    server.clock.advance(60);
    adjust(&server.admin(), "c1", 200).ok(200);
    let state = |at: &str| server.admin().get(&format!("/v1/customers/c1/state?at={at}")).ok(200).body;
    assert_eq!((&state(&before)["seq"], &state(&before)["row_at"]), (&json!(0), &Value::Null));
    let first = state(&issued);
    assert_eq!((&first["seq"], &first["row_at"], &first["at"]), (&json!(1), &json!(issued), &json!(issued)));
    assert!(first["events"][0].get("card_issued").is_some(), "{}", first["events"]);
    assert_eq!(state(&server.clock.at(-1))["seq"], 2);
    let now = server.admin().get("/v1/customers/c1/state").ok(200).body;
    assert_eq!(now["seq"], 3);
    assert_eq!(now["state"]["ledger"]["balance"], 300, "{}", now["state"]["ledger"]);
    server.admin().get("/v1/customers/nobody/state").problem(404, "not_found");
    server.admin().get("/v1/customers/c1/state?at=yesterday").problem(400, "invalid_field");
}

#[test]
fn a_past_state_has_what_was_due_by_then_and_names_the_row_before() {
    let server = Server::start();
    server.issue("c1");
    server.orders(&bought("c1", "o1", 1_000_000, &server.clock.at(0)));
    let bought_at = server.clock.at(0);
    server.clock.next_day();
    let state = |at: &str| server.admin().get(&format!("/v1/customers/c1/state?at={at}")).ok(200).body;
    let (then, now) = (state(&bought_at), state(&server.clock.at(0)));
    let rest = |state: &Value| (state["seq"].clone(), state["row_at"].clone(), state["events"].clone());
    assert_eq!(rest(&then), rest(&now), "activation wrote no row");
    assert_eq!((&then["seq"], &then["row_at"]), (&json!(2), &json!(bought_at)));
    let balance = |state: &Value| state["state"]["ledger"]["balance"].as_i64();
    assert_eq!((balance(&then), balance(&now)), (Some(0), Some(100)));
    // A moment to come shows what is due by now: the points do not expire before their time.
    assert_eq!(balance(&state("2199-01-01T00:00:00Z")), Some(100));
    assert_eq!(server.card("c1")["balance"], 100);
}

#[test]
fn points_under_a_hold_cannot_be_taken_by_hand() {
    let server = Server::start();
    server.member("c1", 500);
    server.service().post("/v1/checkout/holds", &app_cart("c1", 100_000, 400)).ok(201);
    adjust(&server.admin(), "c1", -101).problem(422, "points_insufficient");
    assert_eq!(adjust(&server.admin(), "c1", -100).ok(200).body["balance"], 400);
}
