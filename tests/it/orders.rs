//! Order events: once, twice, late, in any order; one at a time and in lists.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Server, bought, completed, fresh_key, grams, piece, placed};

fn send(client: &Client, body: &Value) -> Answer {
    client.send("POST", "/v1/orders/events", &[], Some(body)).unwrap()
}

fn outcomes(answer: &Answer) -> Vec<(String, String)> {
    let results = answer.body["results"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    results.map(|result| (text(&result["outcome"]), text(&result["code"]))).collect()
}

fn weighed(customer: &str, order: &str, line: &str, grams: i64, at: &str) -> Value {
    json!({"event_id": format!("{order}-weighed-{line}"), "type": "weighed", "order_id": order, "customer_id": customer,
           "shop_id": "s1", "at": at, "lines": [{"line_id": line, "delivered_g": grams}]})
}

fn cancelled(customer: &str, order: &str, by: &str, at: &str) -> Value {
    json!({"event_id": format!("{order}-cancelled"), "type": "cancelled", "order_id": order, "customer_id": customer,
           "shop_id": "s1", "at": at, "by": by})
}

#[test]
fn an_order_earns_cashback_that_is_active_the_next_day() {
    let server = Server::start();
    server.issue("c1");
    server.orders(&bought("c1", "o1", 1_234_567, &server.clock.at(0)));
    let card = server.card("c1");
    assert_eq!((&card["pending"], &card["balance"]), (&json!(123), &json!(0)), "floor(1 % of 12,345.67 tenge)");
    server.clock.next_day();
    let card = server.card("c1");
    assert_eq!((&card["pending"], &card["balance"], &card["available"]), (&json!(0), &json!(123), &json!(123)));
    let statement = server.statement("c1");
    assert_eq!(statement.len(), 1);
    assert_eq!(statement[0]["cause"], "cashback");
    assert_eq!(statement[0]["order_id"], "o1");
    assert_eq!(statement[0]["funded_by"], "platform");
    assert_eq!(statement[0]["at"], "2026-11-23T19:00:00Z", "00:00 in Almaty");
    server.clock.days(366);
    assert_eq!(server.card("c1")["balance"], 0);
    let statement = server.statement("c1");
    assert_eq!((statement.len(), &statement[0]["cause"]), (2, &json!("expiry")));
}

#[test]
fn events_that_come_twice_are_taken_once() {
    let server = Server::start();
    server.issue("c1");
    let events = json!(bought("c1", "o1", 1_000_000, &server.clock.at(0)));
    let applied = ("applied".to_owned(), String::new());
    let duplicate = ("duplicate".to_owned(), String::new());
    assert_eq!(outcomes(&send(&server.service(), &events).ok(200)), [applied.clone(), applied.clone()]);
    assert_eq!(outcomes(&send(&server.service(), &events).ok(200)), [duplicate.clone(), duplicate.clone()]);
    // The same event by another credential, and in the same list: ids count per shop.
    assert_eq!(outcomes(&send(&server.till(), &events).ok(200)), [duplicate.clone(), duplicate.clone()]);
    let one = completed("c1", "o2", 5, &server.clock.at(0));
    assert_eq!(outcomes(&send(&server.service(), &json!([one, one])).ok(200)), [applied, duplicate.clone()]);
    // Another event that says the same.
    let mut same = completed("c1", "o1", 1_000_000, &server.clock.at(0));
    same["event_id"] = json!("o1-completed-again");
    let answer = send(&server.service(), &json!([same])).ok(200);
    assert!(matches!(outcomes(&answer)[0].0.as_str(), "duplicate" | "refused"), "{}", answer.body);
    assert_eq!(server.card("c1")["pending"], 100);
}

#[test]
fn a_repeat_alone_says_that_it_is_one() {
    let server = Server::start();
    server.issue("c1");
    let event = placed("c1", "o1", &json!([piece("1", 1, 100)]), &server.clock.at(0));
    assert!(!server.order(&event).ok(200).replayed());
    let again = server.order(&event).ok(200);
    assert!(again.replayed());
    assert_eq!(outcomes(&again)[0].0, "duplicate");
}

#[test]
fn an_event_id_with_another_content_is_refused() {
    let server = Server::start();
    server.issue("c1");
    server.orders(&bought("c1", "o1", 1_000_000, &server.clock.at(0)));
    let mut other = completed("c1", "o1", 9_000_000, &server.clock.at(0));
    server.order(&other).problem(422, "idempotency_key_reused");
    other["shop_id"] = json!("s2");
    send(&server.service(), &json!([other])).ok(200);
    assert_eq!(server.card("c1")["pending"], 100);
}

#[test]
fn a_completion_before_the_placement_takes_effect_with_it() {
    let server = Server::start();
    server.issue("c1");
    let [placed, completed] = bought("c1", "o1", 1_000_000, &server.clock.at(-60));
    server.orders(&[completed]);
    assert_eq!(server.card("c1")["pending"], 0);
    server.orders(&[placed]);
    assert_eq!(server.card("c1")["pending"], 100);
    assert_eq!(server.trust("c1")["completed_orders"], 1);
}

#[test]
fn a_return_before_the_completion_takes_effect_with_it() {
    let server = Server::start();
    server.issue("c1");
    let at = server.clock.at(0);
    let [placed, completed] = bought("c1", "o1", 1_000_000, &at);
    server.orders(&[placed, crate::harness::returned("c1", "o1", "r1", "1", 1, &at), completed]);
    let card = server.card("c1");
    assert_eq!((&card["pending"], &card["balance"]), (&json!(0), &json!(0)));
}

#[test]
fn a_weight_after_the_completion_is_compensated() {
    let server = Server::start();
    server.issue("c1");
    let at = server.clock.at(0);
    // 1,000 g at 2,000 tenge per kg, 900 g delivered: 200 tenge short.
    let lines = json!([grams("1", 1000, 200_000)]);
    server.orders(&[
        placed("c1", "o1", &lines, &at),
        completed("c1", "o1", 200_000, &at),
        weighed("c1", "o1", "1", 900, &at),
    ]);
    assert_eq!(server.card("c1")["balance"], 200, "active at once");
    let entry = &server.statement("c1")[0];
    assert_eq!((&entry["cause"], &entry["points"]), (&json!("underweight_compensation"), &json!(200)));
}

#[test]
fn a_weight_far_off_is_a_signal_and_not_compensated() {
    let server = Server::start();
    server.issue("c1");
    let at = server.clock.at(0);
    let lines = json!([grams("1", 1000, 200_000)]);
    server.orders(&[
        placed("c1", "o1", &lines, &at),
        weighed("c1", "o1", "1", 700, &at),
        completed("c1", "o1", 200_000, &at),
    ]);
    assert_eq!(server.card("c1")["balance"], 0);
    let signals = server.support().get("/v1/signals?kind=weight_off").ok(200).body;
    assert_eq!(signals["items"].as_array().unwrap().len(), 1, "{signals}");
    assert_eq!(signals["items"][0]["customer_id"], "c1");
    assert_eq!(server.support().get("/v1/signals?kind=points_earned").ok(200).body["items"], json!([]));
    server.support().get("/v1/signals?kind=nonsense").problem(400, "malformed");
}

#[test]
fn the_first_terminal_event_wins() {
    let server = Server::start();
    server.issue("c1");
    let at = server.clock.at(0);
    server.orders(&bought("c1", "o1", 1_000_000, &at));
    server.order(&cancelled("c1", "o1", "customer", &at)).problem(422, "order_ended");
    server.orders(&[cancelled("c1", "o2", "shop", &at)]);
    let answer = send(&server.service(), &json!([completed("c1", "o2", 100, &at)])).ok(200);
    assert_eq!(outcomes(&answer)[0].0, "refused", "{}", answer.body);
    let trust = server.trust("c1");
    assert_eq!((&trust["total_orders"], &trust["completed_orders"]), (&json!(2), &json!(1)));
}

#[test]
fn too_old_and_future_events_are_refused() {
    let server = Server::start();
    server.issue("c1");
    let at = |seconds| server.clock.at(seconds);
    let event = |id: &str, at: String| {
        let mut event = placed("c1", id, &json!([piece("1", 1, 100)]), &at);
        event["event_id"] = json!(fresh_key());
        event
    };
    server.order(&event("o1", at(301))).problem(422, "event_in_future");
    server.order(&event("o1", at(300))).ok(200);
    server.order(&event("o2", at(-400 * 86_400 - 1))).problem(422, "event_too_old");
    server.order(&event("o2", at(-400 * 86_400))).ok(200);
}

#[test]
fn a_till_sends_its_own_shops_events_alone() {
    let server = Server::start();
    server.issue("c1");
    let events = bought("c1", "o1", 100, &server.clock.at(0));
    let mut foreign = events[0].clone();
    foreign["shop_id"] = json!("s2");
    let answer = send(&server.till(), &json!([events[0], foreign])).ok(200);
    assert_eq!(
        outcomes(&answer),
        [("applied".to_owned(), String::new()), ("refused".to_owned(), "forbidden".to_owned())]
    );
    send(&server.till(), &foreign).problem(403, "forbidden");
    send(&server.key("other till"), &foreign).ok(200);
}

#[test]
fn each_event_of_a_list_is_answered_on_its_own() {
    let server = Server::start();
    server.issue("c1");
    server.issue("c2");
    let at = server.clock.at(0);
    let good = placed("c1", "o1", &json!([piece("1", 1, 100)]), &at);
    let mut wrong_line = placed("c1", "o2", &json!([piece("1", 1, 100), piece("2", 1, 100)]), &at);
    wrong_line["lines"][1]["quantity"] = json!("many");
    let mut unknown = placed("c1", "o3", &json!([piece("1", 1, 100)]), &at);
    unknown["lines"][0]["colour"] = json!("red");
    let mut nobody = placed("c1", "o4", &json!([piece("1", 1, 100)]), &at);
    nobody.as_object_mut().unwrap().remove("customer_id");
    let negative = placed("c1", "o5", &json!([piece("1", -1, 100)]), &at);
    let list = json!([good, 7, {}, {"type": "exploded"}, wrong_line, unknown, nobody, negative, completed("c2", "o6", 1, &at)]);
    let answer = send(&server.service(), &list).ok(200);
    let codes: Vec<_> = outcomes(&answer).into_iter().map(|(_, code)| code).collect();
    assert_eq!(
        codes,
        ["", "malformed", "malformed", "malformed", "malformed", "unknown_field", "malformed", "invalid_field", ""]
    );
    let results = answer.body["results"].as_array().unwrap();
    assert!(results[4]["detail"].as_str().unwrap().contains("lines[1].quantity"), "{}", results[4]);
    assert!(results[5]["detail"].as_str().unwrap().contains("lines[0].colour"), "{}", results[5]);
    assert_eq!(results[5]["event_id"], "o3-placed");
    assert!(results[1].get("event_id").is_none());
    send(&server.service(), &unknown).problem(400, "unknown_field");
}

#[test]
fn lists_have_up_to_500_events() {
    let server = Server::start();
    let at = server.clock.at(0);
    let event = |n: usize| completed(&format!("c{}", n % 50), &format!("o{n}"), 100, &at);
    let list: Vec<Value> = (0..500).map(event).collect();
    let answer = send(&server.service(), &json!(list)).ok(200);
    assert!(outcomes(&answer).iter().all(|(outcome, _)| outcome == "applied"), "{}", answer.body);
    let ids: Vec<_> = answer.body["results"].as_array().unwrap().iter().map(|r| r["event_id"].clone()).collect();
    assert_eq!(ids, list.iter().map(|event| event["event_id"].clone()).collect::<Vec<_>>(), "in the events' order");
    let list: Vec<Value> = (0..501).map(event).collect();
    let refused = send(&server.service(), &json!(list)).problem(422, "too_many_lines");
    assert_eq!(refused.body["max"], 500);
    assert_eq!(send(&server.service(), &json!([])).ok(200).body["results"], json!([]));
}

#[test]
fn one_customers_events_of_a_list_keep_their_order() {
    let server = Server::start();
    server.issue("c1");
    let at = server.clock.at(0);
    // Of two terminal events the first counts: in another order the other half would be refused.
    let mut list = Vec::new();
    for n in 0..50 {
        let order = format!("o{n}");
        list.extend([cancelled("c1", &order, "shop", &at), completed("c1", &order, 100, &at)]);
    }
    let answer = send(&server.service(), &json!(list)).ok(200);
    for pair in outcomes(&answer).chunks(2) {
        assert_eq!((pair[0].0.as_str(), pair[1].0.as_str()), ("applied", "refused"), "{}", answer.body);
    }
    assert_eq!(server.trust("c1")["completed_orders"], 0);
}

#[test]
fn an_offline_till_names_the_customer_by_a_code() {
    let server = Server::start();
    let card = server.issue("c1");
    let code = server.code("c1", "show");
    let event = |id: &str, code: &Value, at: String| {
        let mut event = placed("c1", id, &json!([piece("1", 1, 100)]), &at);
        event.as_object_mut().unwrap().remove("customer_id");
        event["code"] = code.clone();
        event
    };
    server.clock.days(3);
    send(&server.till(), &event("o1", &json!(code), server.clock.at(0))).ok(200);
    send(&server.till(), &event("o2", &json!(code), server.clock.at(60))).problem(422, "qr_expired");
    send(&server.till(), &event("o3", &card["barcode"], server.clock.at(0))).ok(200);
    send(&server.till(), &event("o4", &json!("2912345678906"), server.clock.at(0))).problem(422, "card_not_found");
    send(&server.till(), &event("o5", &json!("rubbish"), server.clock.at(0))).problem(422, "qr_invalid");
    let mut both = event("o6", &json!(code), server.clock.at(0));
    both["customer_id"] = json!("c1");
    send(&server.till(), &both).problem(400, "malformed");
    let state = server.admin().get("/v1/customers/c1/state").ok(200).body;
    assert_eq!(state["state"]["open_orders"].as_array().unwrap().len(), 2, "{state}");
}

#[test]
fn an_offline_code_ages_by_the_servers_clock_too() {
    let server = Server::start();
    server.issue("c1");
    let (code, made) = (server.code("c1", "pay"), server.clock.at(0));
    let mut event = placed("c1", "o1", &json!([piece("1", 1, 100)]), &made);
    event.as_object_mut().unwrap().remove("customer_id");
    event["code"] = json!(code);
    server.clock.advance(72 * 3600 + 1);
    send(&server.till(), &event).problem(422, "qr_expired");
    server.clock.days(362);
    send(&server.till(), &event).problem(422, "qr_expired");
}

#[test]
fn wrong_signatures_in_events_slow_the_terminal_from_its_next_list_on() {
    let server = Server::start();
    server.issue("c1");
    let code = server.code("c1", "pay");
    let forged = format!("{}{}", &code[..31], if code.ends_with('0') { "1" } else { "0" });
    let event = |n: usize, code: &str| {
        let mut event = placed("c1", &format!("o{n}"), &json!([piece("1", 1, 100)]), &server.clock.at(0));
        event.as_object_mut().unwrap().remove("customer_id");
        event["code"] = json!(code);
        event
    };
    let list: Vec<_> = (0..8).map(|n| event(n, &forged)).chain([event(8, &code)]).collect();
    let answer = send(&server.till(), &json!(list)).ok(200);
    let codes: Vec<_> = outcomes(&answer).into_iter().map(|(_, code)| code).collect();
    assert_eq!((&codes[..8], codes[8].as_str()), (&*vec!["qr_invalid".to_owned(); 8], ""), "{}", answer.body);
    send(&server.till(), &event(9, &code)).problem(429, "terminal_slowed");
    server.till().post("/v1/pos/scan", &json!({"code": code})).problem(429, "terminal_slowed");
    // Events that bring no code, and other terminals, go on.
    send(&server.till(), &placed("c1", "o10", &json!([piece("1", 1, 100)]), &server.clock.at(0))).ok(200);
    send(&server.key("till2"), &event(9, &code)).ok(200);
}

#[test]
fn without_a_card_an_order_earns_nothing_and_counts_for_trust() {
    let server = Server::start();
    for n in 0..3 {
        server.orders(&bought("c1", &format!("o{n}"), 1_000_000, &server.clock.at(0)));
    }
    server.issue("c1");
    server.clock.next_day();
    assert_eq!(server.card("c1")["balance"], 0);
    let trust = server.trust("c1");
    assert_eq!(trust["completed_orders"], 3);
    assert!(trust["score"].as_i64().unwrap() > 50, "{trust}");
}

#[test]
fn tobacco_earns_nothing() {
    let server = Server::start();
    server.issue("c1");
    let at = server.clock.at(0);
    let mut smoke = piece("1", 1, 1_000_000);
    smoke["category"] = json!("tobacco");
    server.orders(&[placed("c1", "o1", &json!([smoke]), &at), completed("c1", "o1", 1_000_000, &at)]);
    assert_eq!(server.card("c1")["pending"], 0);
}

fn of_another(answer: &Answer) {
    assert_eq!(answer.body["results"][0]["code"], "order_of_another_customer", "{}", answer.body);
}

#[test]
fn an_order_of_one_customer_cannot_earn_for_another() {
    let mut server = Server::start();
    server.issue("a");
    server.issue("b");
    let at = server.clock.at(0);
    server.orders(&bought("a", "o1", 1_000_000, &at));
    let mut stolen = bought("b", "o1", 1_000_000, &at);
    for (event, id) in stolen.iter_mut().zip(["e1", "e2"]) {
        event["event_id"] = json!(id);
    }
    let refused = ("refused".to_owned(), "order_of_another_customer".to_owned());
    for restarted in [false, true] {
        let answer = send(&server.service(), &json!(stolen)).ok(200);
        assert_eq!(outcomes(&answer), [refused.clone(), refused.clone()], "restarted: {restarted}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("\"a\""), "not told whose it is");
        send(&server.service(), &stolen[0]).problem(422, "order_of_another_customer");
        server.restart();
    }
    assert_eq!((&server.card("a")["pending"], &server.card("b")["pending"]), (&json!(100), &json!(0)));
    assert_eq!(server.trust("b")["total_orders"], 0);
    let signals = server.signals("order_of_two_customers", 1);
    assert_eq!((&signals[0]["customer_id"], &signals[0]["order_id"]), (&json!("b"), &json!("o1")));
    // The same order id at another shop is another order; and the first customer's order goes on.
    let mut elsewhere = placed("b", "o1", &json!([piece("1", 1, 100)]), &at);
    elsewhere["shop_id"] = json!("s2");
    server.orders(&[elsewhere, crate::harness::returned("a", "o1", "r1", "1", 1, &at)]);
}

#[test]
fn whatever_is_heard_of_an_order_first_says_whose_it_is() {
    let mut server = Server::start();
    let at = server.clock.at(0);
    server.orders(&[
        completed("a", "o1", 100, &at),
        weighed("a", "o2", "1", 900, &at),
        crate::harness::returned("a", "o3", "r3", "1", 1, &at),
        cancelled("a", "o4", "shop", &at),
    ]);
    server.restart();
    for order in ["o1", "o2", "o3", "o4"] {
        of_another(&send(&server.service(), &json!([placed("b", order, &json!([piece("1", 1, 100)]), &at)])).ok(200));
    }
}

#[test]
fn a_refused_event_claims_no_order() {
    let server = Server::start();
    let future = server.clock.at(301);
    server.order(&placed("a", "o1", &json!([piece("1", 1, 100)]), &future)).problem(422, "event_in_future");
    let at = server.clock.at(0);
    server.orders(&[placed("b", "o1", &json!([piece("1", 1, 100)]), &at)]);
    // In one list: the first that is named has it, unless the order is known to be the other's.
    let lines = json!([piece("1", 1, 100)]);
    let mut list = vec![placed("a", "o1", &lines, &at), completed("b", "o1", 100, &at), placed("a", "o2", &lines, &at)];
    list[0]["event_id"] = json!("e1");
    list.push(completed("b", "o2", 100, &at));
    let codes: Vec<String> =
        outcomes(&send(&server.service(), &json!(list)).ok(200)).into_iter().map(|o| o.1).collect();
    assert_eq!(codes, ["order_of_another_customer", "", "", "order_of_another_customer"]);
}

/// Eight customers want each of fifty orders at the same moment: each order goes to one of them.
#[test]
fn of_many_customers_at_the_same_moment_one_gets_the_order() {
    let server = Server::with(|config| config.server.workers = 4);
    let at = server.clock.at(0);
    let customers: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    for customer in &customers {
        server.issue(customer);
    }
    let barrier = std::sync::Barrier::new(customers.len());
    std::thread::scope(|scope| {
        for customer in &customers {
            scope.spawn(|| {
                let client = server.service();
                barrier.wait();
                for n in 0..50 {
                    send(&client, &json!(bought(customer, &format!("o{n}"), 1_000_000, &at))).ok(200);
                }
            });
        }
    });
    let orders: i64 =
        customers.iter().map(|customer| server.trust(customer)["completed_orders"].as_i64().unwrap()).sum();
    assert_eq!(orders, 50);
}

#[test]
fn while_earning_is_off_an_event_that_earns_is_refused_and_taken_later() {
    let mut server = Server::with(|config| config.flags.loyalty.earn = adal::config::Share(0));
    server.issue("c1");
    let events = bought("c1", "o1", 1_000_000, &server.clock.at(0));
    let applied = ("applied".to_owned(), String::new());
    let off = ("refused".to_owned(), "feature_disabled".to_owned());
    assert_eq!(outcomes(&send(&server.service(), &json!(events)).ok(200)), [applied.clone(), off]);
    assert!(!server.order(&events[1]).problem(422, "feature_disabled").replayed());
    server.restart_with(|config| config.flags.loyalty.earn = adal::config::Share(100));
    // The feed sends it again, under the same event_id.
    assert_eq!(outcomes(&send(&server.service(), &json!([events[1]])).ok(200)), [applied]);
    assert_eq!(server.card("c1")["pending"], 100);
}
