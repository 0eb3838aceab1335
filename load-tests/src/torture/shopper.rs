//! What a client does next: a mixture of everything that changes points and uses, drawn from a seed. What it began (holds,
//! orders) it goes on with later. Customers and offers are everybody's, so clients meet at them.

use serde_json::{Value, json};

use super::{
    checker::Offer,
    command::{About, Answer, Command, Role, Sent},
};
use crate::random::Random;

/// How many customers there are.
pub const CUSTOMERS: u64 = 12;
/// How many offers of each sort there are; one is tried until it is used up, by and by.
const OFFERS: u64 = 40;
/// Uses that an offer of the first sort has, in all and for a customer; the money of one of the second, minor units.
const USES: i64 = 20;
const EACH: i64 = 4;
const BUDGET: i64 = 100_000;
/// After how many commands of a client the next offer is tried.
const OFFER_FOR: u64 = 25;
/// What an order pays, minor units, and earns at 1 %, points: even, for it comes back in two halves.
const PAID: i64 = 200_000;
const EARNED: i64 = 20;

/// All offers.
pub fn offers() -> Vec<Offer> {
    let uses = |n| Offer { id: format!("uses-{n}"), total: Some(USES), each: Some(EACH), budget: None };
    let money = |n| Offer { id: format!("money-{n}"), budget: Some(BUDGET), ..Offer::default() };
    (0..OFFERS).map(uses).chain((0..OFFERS).map(money)).collect()
}

/// An offer's code.
pub fn code(offer: &str) -> String {
    offer.replace('-', "TEN").to_uppercase()
}

/// Puts an offer of a tenth off into the catalogue.
pub fn put(offer: &Offer, key: String) -> Command {
    let mut limits = json!({});
    for (name, limit) in [("total", offer.total), ("per_customer", offer.each), ("budget_minor", offer.budget)] {
        if let Some(limit) = limit {
            limits[name] = json!(limit);
        }
    }
    let body = json!({"name": "a tenth", "discount": {"type": "percent", "permyriad": 1000},
                      "codes": [code(&offer.id)], "limits": limits});
    let path = format!("/v1/promos/{}", offer.id);
    let customer = String::new();
    Command { role: Role::Admin, method: "PUT", path, key, body, customer, about: About::Other }
}

/// A cart of one piece that is held.
pub fn hold(role: Role, key: String, customer: String, (price, ttl): (i64, i64), codes: &[String]) -> Command {
    let body = json!({"customer_id": customer, "shop_id": "s1", "codes": codes, "ttl_s": ttl, "channel": "app",
        "lines": [{"line_id": "1", "sku": "a", "quantity": 1, "unit": "piece", "unit_price_minor": price}]});
    let about = About::Hold { scanned: false };
    Command { role, method: "POST", path: "/v1/checkout/holds".to_owned(), key, body, customer, about }
}

/// A hold is captured, for an order of its own, or released.
pub fn end(role: Role, key: String, customer: String, hold: String, capture: bool) -> Command {
    let path = format!("/v1/checkout/holds/{hold}/{}", if capture { "capture" } else { "release" });
    let order = format!("h-{key}");
    let (body, about) = if capture {
        (json!({"order_id": order}), About::Capture { hold, order })
    } else {
        (json!({}), About::Release { hold })
    };
    Command { role, method: "POST", path, key, body, customer, about }
}

/// What there has to be before the first client comes: cards with points on them, and offers.
pub fn first(name: &str) -> Vec<Command> {
    let mut all = Vec::new();
    let mut add = |role, method, path: String, key: String, customer: &str, body: Value, about| {
        all.push(Command { role, method, path, key, body, customer: customer.to_owned(), about });
    };
    for number in 0..CUSTOMERS {
        let customer = format!("c{number}");
        let path = format!("/v1/customers/{customer}");
        let (card, points) = (format!("{name}-card-{number}"), format!("{name}-start-{number}"));
        add(Role::Service, "POST", format!("{path}/card"), card, &customer, json!({}), About::Card);
        let body = json!({"points": 2000, "reason": points});
        let about = About::Adjust { points: 2000 };
        add(Role::Admin, "POST", format!("{path}/points/adjust"), points, &customer, body, about);
    }
    all.extend(offers().iter().map(|offer| put(offer, format!("{name}-{}", offer.id))));
    all
}

#[derive(Debug)]
struct Held {
    id: String,
    customer: String,
    role: Role,
}

#[derive(Debug)]
struct Order {
    id: String,
    customer: String,
    /// 0: placed; 1: completed; 2: one of two pieces is back.
    step: u8,
}

/// See the module.
#[derive(Debug)]
pub struct Shopper {
    name: String,
    random: Random,
    /// The time of order events: before all of them, whatever the server's clock does.
    at: String,
    count: u64,
    holds: Vec<Held>,
    orders: Vec<Order>,
    /// A scan that a till may hold with.
    scanned: Option<(String, String)>,
}

impl Shopper {
    /// A client. `name` differs from that of every other on the same store.
    pub fn new(name: String, seed: u64, at: String) -> Self {
        let (holds, orders) = (Vec::new(), Vec::new());
        Self { name, random: Random::new(seed), at, count: 0, holds, orders, scanned: None }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap_or_default()
    }

    /// The next command.
    pub fn command(&mut self) -> Command {
        self.count += 1;
        let key = format!("{}-{}", self.name, self.count);
        let customer = format!("c{}", self.random.below(CUSTOMERS));
        if let Some((customer, scan)) = self.scanned.take() {
            return self.hold(key, customer, Some(scan));
        }
        match self.random.below(20) {
            0..3 => self.adjust(key, customer),
            3 => Command {
                role: Role::Pos,
                method: "POST",
                path: "/v1/pos/scan".to_owned(),
                key,
                body: json!({"code": ""}),
                customer,
                about: About::Scan,
            },
            4..8 => self.hold(key, customer, None),
            8..13 if !self.holds.is_empty() => self.end(key),
            _ => self.event(key, customer),
        }
    }

    fn adjust(&mut self, key: String, customer: String) -> Command {
        let points = i64::try_from(self.random.below(90)).unwrap_or_default() - 30;
        let points = if points == 0 { 1 } else { points };
        let path = format!("/v1/customers/{customer}/points/adjust");
        let body = json!({"points": points, "reason": key});
        Command { role: Role::Admin, method: "POST", path, key, body, customer, about: About::Adjust { points } }
    }

    fn hold(&mut self, key: String, customer: String, scan: Option<String>) -> Command {
        let price = 30_000 + 1_000 * i64::try_from(self.random.below(100)).unwrap_or_default();
        let sort = if self.random.below(2) == 0 { "uses" } else { "money" };
        let codes = match self.random.below(3) {
            0 => vec![],
            _ => vec![code(&format!("{sort}-{}", self.count / OFFER_FOR % OFFERS))],
        };
        // Some run out before their client comes back to them, and are captured late or never.
        let ttl = if self.random.below(6) == 0 { 1 } else { 5 };
        let role = if scan.is_some() { Role::Pos } else { Role::Service };
        let mut command = hold(role, key, customer, (price, ttl), &codes);
        command.body["points_to_burn"] = json!(self.random.below(30));
        if let Some(scan) = scan {
            command.body["channel"] = json!("pos");
            command.body["scan_id"] = json!(scan);
            command.about = About::Hold { scanned: true };
        }
        command
    }

    /// Ends one of the holds; sometimes one that stays in the list, and is then ended twice: a refusal.
    fn end(&mut self, key: String) -> Command {
        let index = self.below(self.holds.len());
        let twice = self.random.below(8) == 0;
        let (hold, customer, role) = match self.holds.get(index) {
            Some(held) => (held.id.clone(), held.customer.clone(), held.role),
            None => return self.event(key, "c0".to_owned()),
        };
        if !twice {
            self.holds.swap_remove(index);
        }
        end(role, key, customer, hold, self.random.below(3) > 0)
    }

    /// The next event of an order that was begun, or the first of a new one.
    fn event(&mut self, key: String, customer: String) -> Command {
        let fresh = self.orders.is_empty() || self.random.below(6) == 0;
        let index = self.below(self.orders.len());
        let (order, customer, step) = match self.orders.get(index) {
            Some(order) if !fresh => (order.id.clone(), order.customer.clone(), Some(order.step)),
            _ => (format!("o-{key}"), customer, None),
        };
        let mut body = json!({"event_id": key, "order_id": order, "customer_id": customer, "shop_id": "s1",
                              "at": self.at});
        let about = match step {
            None => {
                body["type"] = json!("placed");
                body["lines"] = json!([{"line_id": "1", "sku": "a", "quantity": 2, "unit": "piece",
                                        "unit_price_minor": PAID / 2}]);
                self.orders.push(Order { id: order.clone(), customer: customer.clone(), step: 0 });
                About::Placed { order }
            }
            Some(0) => {
                body["type"] = json!("completed");
                body["paid_minor"] = json!(PAID);
                self.orders.get_mut(index).into_iter().for_each(|order| order.step = 1);
                About::Completed { order, earns: EARNED }
            }
            Some(step) => {
                body["type"] = json!("returned");
                body["lines"] = json!([{"line_id": "1", "quantity": 1}]);
                if step == 1 {
                    self.orders.get_mut(index).into_iter().for_each(|order| order.step = 2);
                } else {
                    self.orders.swap_remove(index);
                }
                About::Returned { order, takes: EARNED / 2 }
            }
        };
        Command {
            role: Role::Service,
            method: "POST",
            path: "/v1/orders/events".to_owned(),
            key,
            body,
            customer,
            about,
        }
    }

    /// Goes on from what was answered.
    pub fn learn(&mut self, sent: &Sent) {
        let Some(Answer { body, .. }) = sent.done() else { return };
        let text = |pointer| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        match sent.command.about {
            About::Hold { .. } => self.holds.extend(text("/hold/hold_id").map(|id| Held {
                id,
                customer: sent.command.customer.clone(),
                role: sent.command.role,
            })),
            About::Scan if body["can_burn"] == true => {
                self.scanned = text("/scan_id").map(|scan| (sent.command.customer.clone(), scan));
            }
            _ => {}
        }
    }
}
