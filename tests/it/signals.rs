//! Signals: what looks like fraud or a mistake is listed for people, and never punishes by itself.

use serde_json::{Value, json};

use crate::harness::{Server, bought};

/// Shows each code at the till once.
fn scan(server: &Server, till: &str, code: &Value, times: usize) {
    for _ in 0..times {
        server.key(till).post("/v1/pos/scan", &json!({"code": code})).ok(200);
    }
}

#[test]
fn half_of_a_days_scans_are_listed_once_a_day() {
    let server = Server::with(|config| config.policy.limits.terminal_scans = 0);
    server.issue("c1");
    let code = json!(server.code("c1", "show"));
    scan(&server, "till", &code, 25);
    assert_eq!(server.signals("scans", 0), Vec::<Value>::new());
    scan(&server, "till2", &code, 25);
    let signals = server.signals("scans", 1);
    assert_eq!((&signals[0]["customer_id"], &signals[0]["shop_id"]), (&json!("c1"), &json!("s1")));
    assert_eq!(signals[0]["detail"], "26 scans on one day, the limit is 50");
    server.clock.next_day();
    scan(&server, "till", &json!(server.code("c1", "show")), 26);
    assert_eq!(server.signals("scans", 2).len(), 2);
}

#[test]
fn one_card_often_at_one_terminal_is_listed_also_by_its_barcode() {
    let server = Server::start();
    let (a, b) = (server.issue("a")["barcode"].clone(), server.issue("b")["barcode"].clone());
    scan(&server, "till", &a, 9);
    scan(&server, "till2", &a, 9);
    scan(&server, "till", &b, 9);
    scan(&server, "till", &a, 3);
    let signals = server.signals("terminal_scans", 1);
    assert_eq!((&signals[0]["customer_id"], &signals[0]["shop_id"]), (&json!("a"), &json!("s1")));
    // Whatever it looks like, nothing is taken from the customer.
    assert_eq!(server.card("a")["status"], "active");
    scan(&server, "till", &a, 1);
}

#[test]
fn a_customer_who_is_often_at_one_shop_is_listed() {
    let server = Server::start();
    server.issue("c1");
    // From Monday on, three a day: below every other soft limit but the third of a day.
    for day in 0..5 {
        for n in 0..3 {
            server.orders(&bought("c1", &format!("o{day}-{n}"), 10_000, &server.clock.at(0)));
        }
        if day < 4 {
            assert_eq!(server.signals("shop_orders", 0), Vec::<Value>::new(), "day {day}");
            server.clock.days(1);
        }
    }
    let signals = server.signals("shop_orders", 1);
    let seen = (&signals[0]["customer_id"], &signals[0]["shop_id"], &signals[0]["order_id"]);
    assert_eq!(seen, (&json!("c1"), &json!("s1"), &json!("o4-2")));
    // Next week they count anew; the same events again never do.
    server.clock.days(7);
    for _ in 0..16 {
        let again = json!(bought("c1", "next", 10_000, &server.clock.at(0)));
        server.service().send("POST", "/v1/orders/events", &[], Some(&again)).unwrap().ok(200);
    }
    assert_eq!(server.signals("shop_orders", 1).len(), 1);
}

#[test]
fn a_signal_is_kept_once_a_day_also_across_a_restart() {
    let mut server = Server::with(|config| config.policy.limits.terminal_scans = 2);
    let barcode = server.issue("c1")["barcode"].clone();
    scan(&server, "till", &barcode, 2);
    assert_eq!(server.signals("terminal_scans", 1).len(), 1);
    server.restart();
    scan(&server, "till", &barcode, 2);
    // Told again, and known: what is told of another kind comes after it.
    scan(&server, "till", &json!(server.code("c1", "show")), 26);
    server.signals("scans", 1);
    assert_eq!(server.signals("terminal_scans", 1).len(), 1);
}
