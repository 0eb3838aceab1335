//! A whole server in this process, on a port of its own, with a folder of its own and a clock that the test moves. What
//! is tested is what `adal serve` runs; only the clock and the configuration differ.

mod client;
mod clock;
mod dir;
pub mod process;

use std::{collections::BTreeMap, sync::Arc, thread::JoinHandle, time::Duration};

use adal::{
    app::App,
    auth::{jwt::Identity, keys},
    config::Config,
    http::{extract::Role, server},
};
use adal_domain::{
    ids::{CustomerId, ShopId},
    time::Timestamp,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub use self::{
    client::{Answer, Client, Wire, fresh_key},
    clock::{ManualClock, real_now},
    dir::TempDir,
};

/// Keys that every test server has: their names, roles and shops.
const KEYS: [(&str, Role, Option<&str>); 11] = [
    ("till", Role::Pos, Some("s1")),
    ("till2", Role::Pos, Some("s1")),
    ("other till", Role::Pos, Some("s2")),
    ("service", Role::Service, None),
    ("service2", Role::Service, None),
    ("support", Role::Support, None),
    ("moderator", Role::Moderator, None),
    ("arbiter", Role::Arbiter, None),
    ("dashboard", Role::Dashboard, None),
    ("admin", Role::Admin, None),
    ("admin2", Role::Admin, None),
];

pub struct Server {
    pub url: String,
    pub clock: Arc<ManualClock>,
    pub dir: Arc<TempDir>,
    pub identity: Arc<Identity>,
    keys: BTreeMap<&'static str, String>,
    config: Config,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    /// A server whose configuration is changed first.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(TempDir::new());
        let identity = Arc::new(Identity::generate().unwrap());
        std::fs::write(dir.path().join("identity.pem"), identity.public_pem()).unwrap();
        let mut config = Config::defaults().unwrap();
        config.server.workers = 1;
        config.server.stop_within_s = 2;
        config.actors.arbiters = 1;
        config.actors.timer_every_ms = 50;
        config.limits.enabled = false;
        config.metrics.listen = String::new();
        config.store.sqlite.path = dir.path().join("adal.db");
        config.auth.jwt.public_key_files = vec![dir.path().join("identity.pem")];
        change(&mut config);
        let mut server = Self {
            url: String::new(),
            clock: Arc::new(ManualClock::new()),
            dir,
            identity,
            keys: BTreeMap::new(),
            config,
            running: None,
        };
        server.run();
        server
    }

    fn run(&mut self) {
        let (told, tell) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let (config, clock) = (self.config.clone(), Arc::clone(&self.clock));
        let make_keys = self.keys.is_empty();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = App::open(config, clock).await.unwrap();
                let made = if make_keys { make_all_keys(&app).await } else { BTreeMap::new() };
                let server = server::start(Arc::clone(&app), "127.0.0.1:0").unwrap();
                told.send((server.url(), made)).unwrap();
                let _ = stopped.await;
                server.stop().await;
                app.stop(Duration::from_secs(5)).await;
            });
        });
        let (url, made) = tell.recv_timeout(Duration::from_secs(60)).unwrap();
        self.url = url;
        self.keys.extend(made);
        self.running = Some((stop, thread));
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok(), "the server's thread panicked");
        }
    }

    /// Stops it and starts it on the same file, with the same keys and clock.
    pub fn restart(&mut self) {
        self.stop();
        self.run();
    }

    /// The same with another configuration.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop();
        change(&mut self.config);
        self.run();
    }

    /// Somebody with one of the keys above.
    pub fn key(&self, name: &str) -> Client {
        Client::new(&self.url, Some(&self.keys[name]))
    }

    pub fn token_of(&self, name: &str) -> &str {
        &self.keys[name]
    }

    /// A customer with a token.
    pub fn customer(&self, id: &str) -> Client {
        let until = Timestamp::parse("2040-01-01T00:00:00Z").unwrap();
        let token = self.identity.token(&CustomerId::new(id).unwrap(), until).unwrap();
        Client::new(&self.url, Some(&token))
    }

    pub fn nobody(&self) -> Client {
        Client::new(&self.url, None)
    }

    pub fn service(&self) -> Client {
        self.key("service")
    }

    pub fn till(&self) -> Client {
        self.key("till")
    }

    pub fn support(&self) -> Client {
        self.key("support")
    }

    pub fn admin(&self) -> Client {
        self.key("admin")
    }

    /// Issues a card.
    pub fn issue(&self, id: &str) -> Value {
        self.service().post(&format!("/v1/customers/{id}/card"), &json!({})).ok(201).body
    }

    /// Issues a card and puts points on it.
    pub fn member(&self, id: &str, points: i64) -> Value {
        let card = self.issue(id);
        if points > 0 {
            self.admin()
                .post(&format!("/v1/customers/{id}/points/adjust"), &json!({"points": points, "reason": "welcome"}))
                .ok(200);
        }
        card
    }

    pub fn card(&self, id: &str) -> Value {
        self.service().get(&format!("/v1/customers/{id}/card")).ok(200).body
    }

    pub fn trust(&self, id: &str) -> Value {
        self.service().get(&format!("/v1/customers/{id}/trust")).ok(200).body
    }

    /// The whole statement, page by page, newest first; checked to sum up to the balance.
    pub fn statement(&self, id: &str) -> Vec<Value> {
        let mut items: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        for _ in 0..1000 {
            let path = format!("/v1/customers/{id}/points/statement?limit=3{cursor}");
            let page = self.service().get(&path).ok(200).body;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let sum: i64 = items.iter().map(|item| item["points"].as_i64().unwrap()).sum();
        assert_eq!(sum, self.card(id)["balance"].as_i64().unwrap(), "{items:#?}");
        items
    }

    /// The text of a customer's code.
    pub fn code(&self, id: &str, intent: &str) -> String {
        let path = format!("/v1/customers/{id}/card/qr?intent={intent}");
        let answer = self.customer(id).send("GET", &path, &[("Accept", "application/json")], None).unwrap().ok(200);
        answer.body["text"].as_str().unwrap().to_owned()
    }

    /// A fresh pay scan at `till`.
    pub fn pay_scan(&self, till: &Client, id: &str) -> String {
        let scan = till.post("/v1/pos/scan", &json!({"code": self.code(id, "pay")})).ok(200).body;
        assert_eq!(scan["can_burn"], true, "{scan}");
        scan["scan_id"].as_str().unwrap().to_owned()
    }

    /// The signals of a kind, newest first, once there are `least`: some are written beside the request that gave cause.
    pub fn signals(&self, kind: &str, least: usize) -> Vec<Value> {
        let path = format!("/v1/signals?kind={kind}");
        let mut items = Vec::new();
        for _ in 0..1000 {
            items = self.support().get(&path).ok(200).body["items"].as_array().unwrap().clone();
            if items.len() >= least {
                return items;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{least} signals of {kind} expected, there are {items:?}");
    }

    /// Sends order events that must all be applied.
    pub fn orders(&self, events: &[Value]) {
        let answer = self.service().send("POST", "/v1/orders/events", &[], Some(&Value::Array(events.to_vec())));
        for result in answer.unwrap().ok(200).body["results"].as_array().unwrap() {
            assert_eq!(result["outcome"], "applied", "{result}");
        }
    }

    /// One event alone.
    pub fn order(&self, event: &Value) -> Answer {
        self.service().send("POST", "/v1/orders/events", &[], Some(event)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn make_all_keys(app: &App) -> BTreeMap<&'static str, String> {
    let mut made = BTreeMap::new();
    for (name, role, shop) in KEYS {
        let shop = shop.map(|shop| ShopId::new(shop).unwrap());
        let new = keys::generate(role, shop.as_ref(), None, app.now()).unwrap();
        app.store.put_api_key(new.record).await.unwrap();
        made.insert(name, new.key);
    }
    app.auth.refresh(&*app.store).await.unwrap();
    made
}

/// An order of one line, in three events: placed and completed for `minor`.
pub fn bought(customer: &str, order: &str, minor: i64, at: &str) -> [Value; 2] {
    [placed(customer, order, &json!([piece("1", 1, minor)]), at), completed(customer, order, minor, at)]
}

pub fn placed(customer: &str, order: &str, lines: &Value, at: &str) -> Value {
    json!({"event_id": format!("{order}-placed"), "type": "placed", "order_id": order, "customer_id": customer,
           "shop_id": "s1", "at": at, "lines": lines})
}

pub fn completed(customer: &str, order: &str, paid_minor: i64, at: &str) -> Value {
    json!({"event_id": format!("{order}-completed"), "type": "completed", "order_id": order, "customer_id": customer,
           "shop_id": "s1", "at": at, "paid_minor": paid_minor})
}

pub fn returned(customer: &str, order: &str, event: &str, line: &str, quantity: i64, at: &str) -> Value {
    json!({"event_id": event, "type": "returned", "order_id": order, "customer_id": customer, "shop_id": "s1",
           "at": at, "lines": [{"line_id": line, "quantity": quantity}]})
}

pub fn piece(line: &str, quantity: i64, price_minor: i64) -> Value {
    json!({"line_id": line, "sku": format!("sku-{line}"), "quantity": quantity, "unit": "piece", "unit_price_minor": price_minor})
}

pub fn grams(line: &str, grams: i64, per_kg_minor: i64) -> Value {
    json!({"line_id": line, "sku": format!("sku-{line}"), "quantity": grams, "unit": "gram", "unit_price_minor": per_kg_minor})
}

/// A cart of one line at a till.
pub fn cart(customer: &str, minor: i64, points: i64) -> Value {
    json!({"customer_id": customer, "shop_id": "s1", "channel": "pos", "points_to_burn": points, "lines": [piece("1", 1, minor)]})
}

/// The same in the app.
pub fn app_cart(customer: &str, minor: i64, points: i64) -> Value {
    let mut cart = cart(customer, minor, points);
    cart["channel"] = json!("app");
    cart
}

/// Waits for what only a runtime can do, in a test that has none.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
