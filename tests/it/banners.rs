//! Banners: what is shown to whom, how often, and what is counted.

use adal::config::Share;
use serde_json::{Value, json};

use crate::{
    harness::{Client, Server, app_cart, bought},
    routes::offer,
};

fn put(server: &Server, id: &str, extra: &Value) {
    let mut banner =
        json!({"placement": "home", "texts": {"ru": {"title": "Привет"}, "en": {"title": "Hello", "link": "/x"}}});
    banner.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    server.admin().put(&format!("/v1/banners/{id}"), &banner).ok(200);
}

fn shown(client: &Client, query: &str) -> Vec<String> {
    let answer = client.get(&format!("/v1/banners?placement=home&locale=en{query}")).ok(200).body;
    answer["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn usage(server: &Server, id: &str) -> Value {
    server.admin().get(&format!("/v1/banners/{id}/usage")).ok(200).body
}

#[test]
fn what_fits_is_shown_by_priority_in_the_language_asked_for() {
    let server = Server::start();
    put(&server, "a", &json!({}));
    put(&server, "b", &json!({"priority": 5}));
    put(&server, "draft", &json!({"status": "draft"}));
    put(&server, "later", &json!({"starts_at": server.clock.at(86_400)}));
    put(&server, "page", &json!({"placement": "category", "categories": ["dairy"]}));
    put(&server, "kk", &json!({"texts": {"kk": {"title": "Сәлем"}}}));
    assert_eq!(shown(&server.service(), ""), ["b", "a"]);
    assert_eq!(shown(&server.service(), "&limit=1"), ["b"]);
    let kk = server.service().get("/v1/banners?placement=home&locale=kk").ok(200).body;
    assert_eq!(kk["items"], json!([{"id": "kk", "title": "Сәлем"}]));
    let page =
        |query: &str| server.service().get(&format!("/v1/banners?placement=category&locale=en{query}")).ok(200).body;
    assert_eq!(page("&category=dairy")["items"][0], json!({"id": "page", "title": "Hello", "link": "/x"}));
    assert_eq!(page("&category=bread")["items"], json!([]));
    server.clock.days(1);
    assert_eq!(shown(&server.service(), ""), ["b", "a", "later"]);
    for wrong in ["?locale=en", "?placement=home", "?placement=attic&locale=en", "?placement=home&locale=en&limit=21"] {
        let refused = server.service().get(&format!("/v1/banners{wrong}"));
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.body);
    }
    let list = server.admin().get("/v1/banners?limit=4").ok(200).body;
    assert_eq!((list["items"].as_array().unwrap().len(), list["items"][3]["id"].as_str()), (4, Some("kk")));
    let rest =
        server.admin().get(&format!("/v1/banners?cursor={}", list["next_cursor"].as_str().unwrap())).ok(200).body;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
}

#[test]
fn a_banner_is_shown_to_its_audience_and_its_offers() {
    let server = Server::start();
    server.issue("new");
    server.issue("old");
    server.orders(&bought("old", "o1", 15_000_000, &server.clock.at(0)));
    put(&server, "silver", &json!({"audience": {"tiers": ["silver"]}}));
    let mut first = offer();
    first["conditions"] = json!({"first_order": true});
    server.admin().put("/v1/campaigns/first", &first).ok(200);
    put(&server, "first", &json!({"offer": "first"}));
    let mut ended = offer();
    ended["ends_at"] = json!(server.clock.at(3600));
    server.admin().put("/v1/campaigns/ending", &ended).ok(200);
    put(&server, "ending", &json!({"offer": "ending"}));
    assert_eq!(shown(&server.service(), "&customer_id=new"), ["ending", "first"]);
    assert_eq!(shown(&server.customer("old"), ""), ["ending", "silver"]);
    assert_eq!(shown(&server.service(), ""), ["ending"], "to somebody unknown");
    let mut once = offer();
    once["limits"] = json!({"per_customer": 1, "total": 1});
    server.admin().put("/v1/campaigns/once", &once).ok(200);
    put(&server, "once", &json!({"offer": "once", "audience": {"channels": ["web"]}}));
    let once = |id: &str| shown(&server.service(), &format!("&channel=web{id}")).contains(&"once".to_owned());
    assert!(once("&customer_id=new") && once("&customer_id=old") && !once(""), "nobody known has no use of one's own");
    let hold = server.service().post("/v1/checkout/holds", &app_cart("old", 100_000, 0)).ok(201).body;
    assert!(!once("&customer_id=new"), "the only use is held by another");
    let release = format!("/v1/checkout/holds/{}/release", hold["hold"]["hold_id"].as_str().unwrap());
    server.service().post(&release, &json!({})).ok(200);
    // What a hold owes its promos is delivered a moment after its answer.
    assert!((0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        once("&customer_id=new")
    }));
    server.clock.days(1);
    assert_eq!(shown(&server.customer("new"), "&customer_id=new"), ["first"]);
    server.customer("new").get("/v1/banners?placement=home&locale=en&customer_id=old").problem(404, "not_found");
}

#[test]
fn servings_are_capped_and_everything_is_counted_and_kept() {
    let mut server = Server::start();
    server.issue("c1");
    put(&server, "a", &json!({"frequency": {"uses": 2, "period": "day"}}));
    let served = |server: &Server| shown(&server.customer("c1"), "").len();
    assert_eq!((served(&server), served(&server), served(&server)), (1, 1, 0));
    assert_eq!(shown(&server.service(), ""), ["a"], "nobody is counted for who is unknown");
    let event = |client: Client, kind: &str| {
        client.send("POST", "/v1/banners/a/events", &[], Some(&json!({"type": kind}))).unwrap().ok(202);
    };
    event(server.customer("c1"), "impression");
    event(server.service(), "impression");
    event(server.customer("c1"), "click");
    let first_day = server.clock.at(0)[..10].to_owned();
    let counted = json!({"servings": 3, "impressions": 2, "clicks": 1, "by_day": [
        {"day": first_day, "servings": 3, "impressions": 2, "clicks": 1}
    ]});
    assert_eq!(usage(&server, "a"), counted);
    server.clock.days(1);
    assert_eq!(served(&server), 1, "another day");
    server.restart();
    let after = usage(&server, "a");
    assert_eq!((&after["servings"], after["by_day"].as_array().unwrap().len()), (&json!(4), 2));
    let unknown = server.service().send("POST", "/v1/banners/x/events", &[], Some(&json!({"type": "click"}))).unwrap();
    unknown.problem(404, "not_found");
    let wrong = server.service().send("POST", "/v1/banners/a/events", &[], Some(&json!({"type": "look"}))).unwrap();
    assert_eq!(wrong.status, 400);
}

#[test]
fn a_banner_has_a_history_and_its_offer_stays_while_it_is_about_it() {
    let server = Server::start();
    server.admin().put("/v1/campaigns/c", &offer()).ok(200);
    put(&server, "a", &json!({"offer": "c"}));
    let key = crate::harness::fresh_key();
    let delete =
        |path: &str, key: &str| server.admin().send("DELETE", path, &[("Idempotency-Key", key)], None).unwrap();
    let refused = delete("/v1/campaigns/c", &key).problem(422, "offer_invalid");
    assert!(refused.body["detail"].as_str().unwrap().contains("banner a"));
    put(&server, "a", &json!({"priority": 1}));
    delete("/v1/campaigns/c", "k2").ok(200);
    let history = server.admin().get("/v1/banners/a/history").ok(200).body;
    assert_eq!(history["items"][0]["before"]["offer"], "c");
    assert_eq!(server.admin().get("/v1/banners/a?revision=2").ok(200).body["banner"]["offer"], "c");
}

#[test]
fn banners_that_are_switched_off_are_refused_to_those_who_are_shown_them() {
    let mut server = Server::start();
    put(&server, "a", &json!({}));
    assert_eq!(shown(&server.customer("c1"), ""), ["a"]);
    server.restart_with(|config| config.flags.marketing.banners = Share(0));
    for client in [server.customer("c1"), server.service()] {
        client.get("/v1/banners?placement=home&locale=en").problem(422, "feature_disabled");
    }
    assert_eq!(server.admin().get("/v1/banners").ok(200).body["items"][0]["id"], "a", "their documents are there");
}
