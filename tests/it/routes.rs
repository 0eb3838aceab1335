//! All routes, as the tests know them: who may use each, and a request that each takes. Written by hand and apart from
//! the code, so that a route whose check is forgotten shows.

use serde_json::{Value, json};

use crate::harness::{Server, app_cart, bought, cart};

pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// Roles of service keys.
    pub roles: &'static [&'static str],
    /// Whether a customer may use it for what is its own.
    pub own: bool,
    /// A body that the route takes.
    pub body: Option<Value>,
}

fn route(
    method: &'static str,
    path: &'static str,
    roles: &'static [&'static str],
    own: bool,
    body: Option<Value>,
) -> Route {
    Route { method, path, roles, own, body }
}

const OWN: bool = true;
const NO: bool = false;

pub fn all() -> Vec<Route> {
    let reason = || Some(json!({"reason": "a test"}));
    let empty = || Some(json!({}));
    let mut pos_cart = cart("c1", 100_000, 0);
    pos_cart["channel"] = json!("pos");
    vec![
        route("GET", "/v1/customers/{id}/card", &["service", "pos"], OWN, None),
        route("POST", "/v1/customers/{id}/card", &["service"], NO, empty()),
        route("GET", "/v1/customers/{id}/card/qr", &["service"], OWN, None),
        route("POST", "/v1/customers/{id}/card/block", &["service", "support"], NO, reason()),
        route("POST", "/v1/customers/{id}/card/unblock", &["service", "support"], NO, reason()),
        route("POST", "/v1/customers/{id}/card/reissue", &["service", "support"], NO, reason()),
        route("POST", "/v1/customers/{id}/card/close", &["service", "support"], NO, reason()),
        route("POST", "/v1/pos/scan", &["pos"], NO, Some(json!({"code": "2912345678906"}))),
        route(
            "POST",
            "/v1/customers/{id}/points/adjust",
            &["admin"],
            NO,
            Some(json!({"points": 5, "reason": "a test"})),
        ),
        route("GET", "/v1/customers/{id}/points/statement", &["service", "support"], OWN, None),
        route("GET", "/v1/customers/{id}/points/review", &["service", "support"], NO, None),
        route("POST", "/v1/customers/{id}/points/review/{entry}/release", &["support"], NO, reason()),
        route("POST", "/v1/customers/{id}/points/review/{entry}/void", &["support"], NO, reason()),
        route("GET", "/v1/approvals/{id}", &["admin"], NO, None),
        route("POST", "/v1/approvals/{id}/approve", &["admin"], NO, empty()),
        route("POST", "/v1/approvals/{id}/reject", &["admin"], NO, empty()),
        route(
            "POST",
            "/v1/customers/{id}/fraud-flags",
            &["support"],
            NO,
            Some(json!({"flag": "f", "reason": "a test"})),
        ),
        route("POST", "/v1/customers/{id}/fraud-flags/{flag}/confirm", &["support"], NO, empty()),
        route("POST", "/v1/customers/{id}/fraud-flags/{flag}/dismiss", &["support"], NO, empty()),
        route("GET", "/v1/customers/{id}/state", &["admin"], NO, None),
        route("GET", "/v1/customers/{id}/trust", &["service", "support", "arbiter"], OWN, None),
        route("GET", "/v1/signals", &["support", "admin"], NO, None),
        route(
            "POST",
            "/v1/orders/events",
            &["service", "pos"],
            NO,
            Some(bought("c1", "o1", 100, crate::routes::AT)[0].clone()),
        ),
        route("POST", "/v1/checkout/quotes", &["service", "pos"], OWN, Some(pos_cart.clone())),
        route("POST", "/v1/checkout/holds", &["service", "pos"], OWN, Some(pos_cart)),
        route("GET", "/v1/checkout/holds/{hold_id}", &["service", "pos"], OWN, None),
        route(
            "POST",
            "/v1/checkout/holds/{hold_id}/capture",
            &["service", "pos"],
            OWN,
            Some(json!({"order_id": "o9"})),
        ),
        route("POST", "/v1/checkout/holds/{hold_id}/release", &["service", "pos"], OWN, empty()),
        route("POST", "/v1/segments/{id}/customers", &["service"], NO, Some(json!({"add": ["c1"]}))),
        route("GET", "/v1/policy", &["admin"], NO, None),
        route(
            "PUT",
            "/v1/policy",
            &["admin"],
            NO,
            Some(serde_json::to_value(adal_domain::policy::Policy::default()).unwrap()),
        ),
        route(
            "POST",
            "/v1/catalogue/changes",
            &["admin"],
            NO,
            Some(json!({"changes": [
                {"action": "put", "kind": "campaign", "id": "many", "document": offer()}
            ]})),
        ),
        route("GET", "/v1/promos", &["admin"], NO, None),
        route("GET", "/v1/promos/{id}", &["admin"], NO, None),
        route("PUT", "/v1/promos/{id}", &["admin"], NO, Some(offer())),
        route("DELETE", "/v1/promos/{id}", &["admin"], NO, None),
        route("GET", "/v1/promos/{id}/usage", &["admin"], NO, None),
        route("GET", "/v1/promos/{id}/history", &["admin"], NO, None),
        route("POST", "/v1/promos/{id}/codes", &["admin"], NO, Some(json!({"count": 1}))),
        route("GET", "/v1/promos/{id}/codes.csv", &["admin"], NO, None),
        route("GET", "/v1/jobs/{id}", &["admin"], NO, None),
        route("DELETE", "/v1/jobs/{id}", &["admin"], NO, None),
        route("GET", "/v1/banners", &["admin", "service"], OWN, None),
        route("GET", "/v1/banners/{id}", &["admin"], NO, None),
        route("PUT", "/v1/banners/{id}", &["admin"], NO, Some(banner())),
        route("DELETE", "/v1/banners/{id}", &["admin"], NO, None),
        route("GET", "/v1/banners/{id}/usage", &["admin"], NO, None),
        route("GET", "/v1/banners/{id}/history", &["admin"], NO, None),
        route("POST", "/v1/banners/{id}/events", &["service"], OWN, Some(json!({"type": "click"}))),
        route("GET", "/v1/campaigns", &["admin"], NO, None),
        route("GET", "/v1/campaigns/{id}", &["admin"], NO, None),
        route("PUT", "/v1/campaigns/{id}", &["admin"], NO, Some(offer())),
        route("DELETE", "/v1/campaigns/{id}", &["admin"], NO, None),
        route("GET", "/v1/campaigns/{id}/usage", &["admin"], NO, None),
        route("GET", "/v1/campaigns/{id}/history", &["admin"], NO, None),
    ]
}

/// A banner's document, as short as it can be.
pub fn banner() -> Value {
    json!({"placement": "home", "texts": {"en": {"title": "Hello"}}})
}

/// An offer's document, as short as it can be.
pub fn offer() -> Value {
    json!({"name": "a tenth off", "discount": {"type": "percent", "permyriad": 1000}})
}

/// The clock's start.
const AT: &str = "2026-11-23T09:00:00Z";

/// What the paths' parameters stand for: c1's own things.
pub struct Things {
    hold: String,
    approval: String,
}

impl Things {
    /// Makes a customer c1 with a hold and an adjustment that waits, and a customer c2.
    pub fn make(server: &Server) -> Self {
        server.member("c1", 500);
        server.issue("c2");
        let hold = server.service().post("/v1/checkout/holds", &app_cart("c1", 100_000, 100)).ok(201).body;
        // Shown to everybody, and nobody's own.
        server.admin().put("/v1/banners/c1", &banner()).ok(200);
        let adjust = json!({"points": 3000, "reason": "a test"});
        let approval = server.admin().post("/v1/customers/c1/points/adjust", &adjust).ok(202).body;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { hold: text(&hold["hold"]["hold_id"]), approval: text(&approval["approval_id"]) }
    }

    /// A path with its parameters filled in.
    pub fn fill(&self, path: &str) -> String {
        if path == "/v1/banners" {
            return format!("{path}?placement=home&locale=en&customer_id=c1");
        }
        let id = if path.starts_with("/v1/approvals") { self.approval.as_str() } else { "c1" };
        path.replace("{id}", id).replace("{hold_id}", &self.hold).replace("{flag}", "f").replace("{entry}", "e1")
    }
}
