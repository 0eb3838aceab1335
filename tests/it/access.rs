//! Who sees what: for every route that the description lists, a request without a credential, with each wrong role, and
//! for another's things. A route without such a test fails here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    harness::{Answer, Client, Server, fresh_key},
    routes::{self, Route, Things},
};

/// Roles by the name of a key that has them.
const ROLES: [(&str, &str); 7] = [
    ("till", "pos"),
    ("service", "service"),
    ("support", "support"),
    ("moderator", "moderator"),
    ("arbiter", "arbiter"),
    ("dashboard", "dashboard"),
    ("admin2", "admin"),
];

fn ask(client: &Client, route: &Route, things: &Things, body: Option<&Value>) -> Answer {
    let key = fresh_key();
    client.send(route.method, &things.fill(route.path), &[("Idempotency-Key", &key)], body).unwrap()
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

#[test]
fn every_route_has_an_authorisation_test() {
    let server = Server::start();
    let document = server.nobody().get("/openapi.json").ok(200).body;
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| ["get", "post", "put", "delete", "patch"].contains(&key.as_str()))
        {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    // What is open by design.
    for open in ["GET /healthz", "GET /readyz"] {
        assert!(described.remove(open), "{open}");
        server.nobody().get(open.split_once(' ').unwrap().1).ok(200);
    }
    let registered: BTreeSet<String> = adal::http::routes::ROUTES
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(move |method| format!("{} {path}", method.to_uppercase())))
        .collect();
    assert_eq!(registered, described, "what is served is what is described");
    let tested: BTreeSet<String> = routes::all().iter().map(name).collect();
    let untested: Vec<_> = described.difference(&tested).collect();
    println!("routes without an authorisation test: {untested:?}");
    assert!(untested.is_empty(), "{untested:?}");
    assert_eq!(tested, described, "tests of routes that are no more");
    for route in routes::all() {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        let said: BTreeSet<&str> =
            operation["x-roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect();
        let mut known: BTreeSet<&str> = route.roles.iter().copied().collect();
        known.extend(route.own.then_some("self"));
        // An admin tries other times on quotes, and nothing else there.
        known.extend((route.path == "/v1/checkout/quotes").then_some("admin"));
        assert_eq!(said, known, "{}", name(&route));
    }
}

#[test]
fn without_a_credential_every_route_is_closed() {
    let server = Server::start();
    let things = Things::make(&server);
    let revoked = Client::new(&server.url, Some("adal_admin_0123456789abcdefghijABCDEFGHIJ01"));
    for route in routes::all() {
        for client in [server.nobody(), revoked.clone()] {
            let answer = ask(&client, &route, &things, route.body.as_ref());
            assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{}", name(&route));
        }
        // Before anything else is looked at: what is wrong with a body is told to nobody.
        let answer = ask(&server.nobody(), &route, &things, route.body.as_ref().map(|_| &Value::Null));
        assert_eq!(answer.status, 401, "{}", name(&route));
    }
}

#[test]
fn every_other_role_is_refused() {
    let server = Server::start();
    let things = Things::make(&server);
    for route in routes::all() {
        for (key, role) in ROLES.iter().filter(|(_, role)| !route.roles.contains(role)) {
            let answer = ask(&server.key(key), &route, &things, route.body.as_ref());
            assert_eq!(
                (answer.status, answer.code()),
                (403, "forbidden"),
                "{} by {role}: {}",
                name(&route),
                answer.body
            );
        }
        if !route.own {
            let answer = ask(&server.customer("c1"), &route, &things, route.body.as_ref());
            assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{} by a customer", name(&route));
        }
    }
    let card = server.card("c1");
    assert_eq!((&card["balance"], &card["status"]), (&json!(500), &json!("active")), "nothing was done");
}

#[test]
fn the_right_roles_get_through() {
    for route in routes::all() {
        let server = Server::start();
        let things = Things::make(&server);
        for (key, role) in ROLES.iter().filter(|(_, role)| route.roles.contains(role)) {
            let answer = ask(&server.key(key), &route, &things, route.body.as_ref());
            assert!(
                !matches!(answer.status, 401 | 403 | 405 | 500..),
                "{} by {role}: {} {}",
                name(&route),
                answer.status,
                answer.body
            );
        }
        if route.own {
            let body = route.body.clone().map(in_the_app);
            let answer = ask(&server.customer("c1"), &route, &things, body.as_ref());
            assert!(
                !matches!(answer.status, 401 | 403 | 404 | 405 | 500..),
                "{} by c1: {} {}",
                name(&route),
                answer.status,
                answer.body
            );
        }
    }
}

#[test]
fn what_is_anothers_looks_like_nothing() {
    let server = Server::start();
    let things = Things::make(&server);
    // What is shown to everybody is nobody's own.
    for route in routes::all().iter().filter(|route| route.own && !route.path.starts_with("/v1/banners/")) {
        let body = route.body.clone().map(in_the_app);
        let answer = ask(&server.customer("c2"), route, &things, body.as_ref());
        assert_eq!(answer.status, 404, "{} by c2: {}", name(route), answer.body);
        // The same answer where there is nothing at all.
        let nowhere = things.fill(route.path).replace("/c1/", "/nobody/").replace("=c1", "=nobody");
        let key = fresh_key();
        let absent = server.customer("c2").send(route.method, &nowhere, &[("Idempotency-Key", &key)], body.as_ref());
        assert_eq!((absent.unwrap().code(), answer.code()), (answer.code(), answer.code()), "{}", name(route));
    }
    let card = server.card("c1");
    assert_eq!((&card["held"], &card["balance"]), (&json!(100), &json!(500)), "nothing was done");
}

#[test]
fn a_till_of_another_shop_sees_no_hold() {
    let server = Server::start();
    let things = Things::make(&server);
    for route in routes::all().iter().filter(|route| route.path.contains("{hold_id}")) {
        let answer = ask(&server.key("other till"), route, &things, route.body.as_ref());
        assert_eq!((answer.status, answer.code()), (404, "hold_not_found"), "{}", name(route));
    }
    assert_eq!(server.card("c1")["held"], 100);
}

#[test]
fn every_change_of_the_table_needs_its_key() {
    let server = Server::start();
    let things = Things::make(&server);
    let without = ["/v1/pos/scan", "/v1/orders/events", "/v1/checkout/quotes", "/v1/banners/{id}/events"];
    for route in routes::all().iter().filter(|route| route.method != "GET" && !without.contains(&route.path)) {
        let (key, _) = ROLES.iter().find(|(_, role)| route.roles.contains(role)).unwrap();
        let answer = server.key(key).send(route.method, &things.fill(route.path), &[], route.body.as_ref()).unwrap();
        assert_eq!(
            (answer.status, answer.code()),
            (400, "idempotency_key_required"),
            "{}: {}",
            name(route),
            answer.body
        );
    }
}

/// A cart as a customer may send it.
fn in_the_app(mut body: Value) -> Value {
    if body.get("channel").is_some() {
        body["channel"] = json!("app");
    }
    body
}
