//! Returns: what comes back, what is clawed back, and that parts make a whole.

use serde_json::json;

use crate::harness::{Server, app_cart, bought, completed, piece, placed, returned};

#[test]
fn three_thirds_make_a_whole() {
    let server = Server::start();
    server.issue("c1");
    let at = server.clock.at(0);
    // 3 pieces, 10,000.00 tenge: 100 points, of which a third is 33.3.
    server.orders(&[placed("c1", "o1", &json!([piece("1", 3, 333_333)]), &at), completed("c1", "o1", 1_000_000, &at)]);
    server.clock.next_day();
    assert_eq!(server.card("c1")["balance"], 100);
    for (n, left) in [(1, 66), (2, 33), (3, 0)] {
        server.orders(&[returned("c1", "o1", &format!("r{n}"), "1", 1, &server.clock.at(0))]);
        assert_eq!(server.card("c1")["balance"], left, "after {n}");
    }
    server.order(&returned("c1", "o1", "r4", "1", 1, &server.clock.at(0))).problem(422, "return_too_large");
    let causes: Vec<_> = server.statement("c1").iter().map(|entry| entry["cause"].clone()).collect();
    assert_eq!(causes, ["claw_back", "claw_back", "claw_back", "cashback"]);
}

#[test]
fn a_return_of_too_much_is_refused_whole() {
    let server = Server::start();
    server.issue("c1");
    let at = server.clock.at(0);
    server.orders(&[
        placed("c1", "o1", &json!([piece("1", 2, 100_000), piece("2", 2, 100_000)]), &at),
        completed("c1", "o1", 400_000, &at),
    ]);
    let mut both = returned("c1", "o1", "r1", "1", 1, &at);
    both["lines"] = json!([{"line_id": "1", "quantity": 1}, {"line_id": "2", "quantity": 3}]);
    server.order(&both).problem(422, "return_too_large");
    assert_eq!(server.card("c1")["pending"], 40, "nothing of it counted");
    server.order(&returned("c1", "o1", "r2", "9", 1, &at)).problem(422, "line_unknown");
    let mut refund = returned("c1", "o1", "r3", "1", 1, &at);
    refund["refund_minor"] = json!(400_001);
    server.order(&refund).problem(422, "refund_too_large");
}

#[test]
fn points_burned_come_back_with_the_goods() {
    let server = Server::start();
    server.member("c1", 1000);
    let at = server.clock.at(0);
    let hold = server.service().post("/v1/checkout/holds", &app_cart("c1", 200_000, 1000)).ok(201).body;
    assert_eq!(hold["total_minor"], 100_000);
    let id = hold["hold"]["hold_id"].as_str().unwrap();
    server.service().post(&format!("/v1/checkout/holds/{id}/capture"), &json!({"order_id": "o1"})).ok(200);
    server.orders(&[placed("c1", "o1", &json!([piece("1", 1, 200_000)]), &at), completed("c1", "o1", 100_000, &at)]);
    let card = server.card("c1");
    assert_eq!((&card["balance"], &card["pending"]), (&json!(0), &json!(10)));
    server.orders(&[returned("c1", "o1", "r1", "1", 1, &at)]);
    let card = server.card("c1");
    assert_eq!((&card["balance"], &card["pending"]), (&json!(1000), &json!(0)));
    assert_eq!(server.statement("c1")[0]["cause"], "give_back");
}

#[test]
fn a_cancelled_order_gives_captured_points_back_and_takes_no_other_capture() {
    let server = Server::start();
    server.member("c1", 1000);
    let service = server.service();
    let hold = service.post("/v1/checkout/holds", &app_cart("c1", 200_000, 600)).ok(201).body;
    let path = format!("/v1/checkout/holds/{}/capture", hold["hold"]["hold_id"].as_str().unwrap());
    service.post(&path, &json!({"order_id": "o1"})).ok(200);
    assert_eq!(server.card("c1")["balance"], 400);
    let cancel = json!({"event_id": "x", "type": "cancelled", "order_id": "o1", "customer_id": "c1", "shop_id": "s1",
                        "at": server.clock.at(0), "by": "system"});
    server.orders(&[cancel]);
    assert_eq!(server.card("c1")["balance"], 1000);
    let hold = service.post("/v1/checkout/holds", &app_cart("c1", 200_000, 600)).ok(201).body;
    let path = format!("/v1/checkout/holds/{}/capture", hold["hold"]["hold_id"].as_str().unwrap());
    service.post(&path, &json!({"order_id": "o1"})).problem(409, "order_cancelled");
}

#[test]
fn what_cannot_be_clawed_back_is_a_debt_that_later_earnings_pay() {
    let server = Server::start();
    server.issue("c1");
    server.orders(&bought("c1", "o1", 10_000_000, &server.clock.at(0)));
    server.clock.next_day();
    assert_eq!(server.card("c1")["available"], 1000);
    let service = server.service();
    let hold = service.post("/v1/checkout/holds", &app_cart("c1", 1_000_000, 1000)).ok(201).body;
    let path = format!("/v1/checkout/holds/{}/capture", hold["hold"]["hold_id"].as_str().unwrap());
    service.post(&path, &json!({"order_id": "o2"})).ok(200);
    server.orders(&[returned("c1", "o1", "r1", "1", 1, &server.clock.at(0))]);
    let card = server.card("c1");
    assert_eq!((&card["balance"], &card["debt"]), (&json!(0), &json!(1000)));
    server.orders(&bought("c1", "o3", 10_000_000, &server.clock.at(0)));
    server.clock.next_day();
    let card = server.card("c1");
    assert_eq!((&card["balance"], &card["debt"]), (&json!(0), &json!(0)), "{card}");
    let causes: Vec<_> = server.statement("c1").iter().map(|entry| entry["cause"].clone()).collect();
    assert_eq!(causes[..2], ["debt_payment", "cashback"], "{causes:?}");
}
