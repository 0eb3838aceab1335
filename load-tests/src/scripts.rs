//! What the clients of the benchmarks ask.

use std::{cell::Cell, rc::Rc};

use crate::{
    Done,
    clock::wall,
    http::{self, Script, expect},
    random::Random,
};

/// The id of the customer with this number.
pub fn customer(number: u64) -> String {
    format!("c{number:07}")
}

/// A number for each of many, shared by the connections.
#[derive(Debug, Clone)]
pub struct Counter {
    next: Rc<Cell<u64>>,
    end: u64,
}

impl Counter {
    /// From `first` up to, not including, `end`.
    pub fn new(first: u64, end: u64) -> Self {
        Self { next: Rc::new(Cell::new(first)), end }
    }
}

impl Iterator for Counter {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let number = self.next.get();
        self.next.set(number + 1);
        (number < self.end).then_some(number)
    }
}

/// Issues a card to each customer of a range.
#[derive(Debug)]
pub struct Issue {
    /// Which customers.
    pub customers: Counter,
    /// A service key.
    pub key: String,
}

impl Script for Issue {
    fn request(&mut self, into: &mut Vec<u8>) -> bool {
        let Some(number) = self.customers.next() else { return false };
        let path = format!("/v1/customers/{}/card", customer(number));
        http::write(into, "POST", &path, &self.key, &format!("Idempotency-Key: card-{number}\r\n"), "");
        true
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Done {
        expect(status, 201, body)
    }
}

/// Reads the card of each customer that `next` names.
#[derive(Debug)]
pub struct Read<I> {
    /// Which customers.
    pub customers: I,
    /// A service key.
    pub key: String,
}

impl<I: Iterator<Item = u64>> Script for Read<I> {
    fn request(&mut self, into: &mut Vec<u8>) -> bool {
        let Some(number) = self.customers.next() else { return false };
        http::write(into, "GET", &format!("/v1/customers/{}/card", customer(number)), &self.key, "", "");
        true
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Done {
        expect(status, 200, body)
    }
}

/// Posts any of the bodies, again and again.
#[derive(Debug)]
pub struct Post {
    /// Where to.
    pub path: &'static str,
    /// The requests' bodies.
    pub bodies: Rc<Vec<String>>,
    /// A key.
    pub key: String,
    /// Which comes next.
    pub random: Random,
}

impl Script for Post {
    fn request(&mut self, into: &mut Vec<u8>) -> bool {
        let index = usize::try_from(self.random.below(self.bodies.len() as u64)).unwrap_or_default();
        let Some(body) = self.bodies.get(index) else { return false };
        http::write(into, "POST", self.path, &self.key, "", body);
        true
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Done {
        expect(status, 200, body)
    }
}

/// Whose order comes next.
#[derive(Debug, Clone)]
pub enum Whose {
    /// Any of so many customers.
    Any(u64, Random),
    /// One customer for so many commands of all clients together, then the next.
    One(Rc<Cell<u64>>, u64),
    /// This one.
    This(u64),
}

/// Orders: `placed`, then `completed`, each an event by itself. Each is one command and one durable row.
#[derive(Debug)]
pub struct Earn {
    whose: Whose,
    key: String,
    /// What makes this client's order ids its own, over all runs on a store.
    name: String,
    orders: u64,
    at: String,
    /// The order that is placed and not completed: its customer.
    placed: Option<String>,
    /// How many commands are left to send.
    pub left: u64,
}

/// The lines of every order: three, worth 1,950 tenge.
pub const LINES: &str = r#"[{"line_id":"1","sku":"4870001234567","category":"dairy","quantity":2,"unit":"piece","unit_price_minor":45000},{"line_id":"2","sku":"4870009876543","category":"bread","quantity":1,"unit":"piece","unit_price_minor":25000},{"line_id":"3","sku":"2000000012345","category":"vegetables","quantity":1600,"unit":"gram","unit_price_minor":50000}]"#;

impl Earn {
    /// A client. `name` must differ from every other on the same store.
    pub fn new(name: String, key: String, whose: Whose) -> Self {
        Self { whose, key, name, orders: 0, at: wall().to_string(), placed: None, left: u64::MAX }
    }

    /// The same, for so many commands.
    pub fn only(self, commands: u64) -> Self {
        Self { left: commands, ..self }
    }

    fn next_customer(&mut self) -> String {
        customer(match &mut self.whose {
            Whose::Any(customers, random) => random.below(*customers),
            Whose::One(sent, each) => {
                // Two commands an order.
                sent.set(sent.get() + 2);
                sent.get() / *each
            }
            Whose::This(number) => *number,
        })
    }
}

impl Script for Earn {
    fn request(&mut self, into: &mut Vec<u8>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let (kind, customer, rest) = match self.placed.take() {
            Some(customer) => ("completed", customer, r#""paid_minor":195000"#.to_owned()),
            None => {
                self.orders += 1;
                let customer = self.next_customer();
                self.placed = Some(customer.clone());
                ("placed", customer, format!(r#""lines":{LINES}"#))
            }
        };
        let order = format!("{}-{}", self.name, self.orders);
        let body = format!(
            r#"{{"event_id":"{order}-{}","type":"{kind}","order_id":"{order}","customer_id":"{customer}","shop_id":"s1","at":"{}",{rest}}}"#,
            &kind[..1],
            self.at
        );
        http::write(into, "POST", "/v1/orders/events", &self.key, "", &body);
        true
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Done {
        expect(status, 200, body)?;
        let applied = br#""applied""#;
        if body.windows(applied.len()).any(|part| part == applied) {
            return Ok(());
        }
        Err(format!("not applied: {}", String::from_utf8_lossy(body)).into())
    }
}
