//! Checkouts as clients make them: carts to quote, and holds that are captured.

use std::{cell::RefCell, rc::Rc};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    Done,
    clock::Stopwatch,
    http::{self, Script, expect, histogram},
    process::Adal,
    scripts::LINES,
};

/// The cart of every sale, with its codes.
pub fn cart(customer: &str, codes: &[&str]) -> String {
    let codes = json!(codes);
    format!(
        r#"{{"customer_id":"{customer}","shop_id":"s1","channel":"app","codes":{codes},"ttl_s":3600,"lines":{LINES}}}"#
    )
}

/// A promo of a tenth off with the shared `code`, or with unique ones alone, used `total` times in all.
pub fn promo(code: Option<&str>, total: Option<u64>) -> Value {
    let mut document = json!({
        "name": "a tenth off", "codes": code.into_iter().collect::<Vec<_>>(),
        "discount": {"type": "percent", "permyriad": 1000}
    });
    if let Some(total) = total {
        document["limits"] = json!({"total": total});
    }
    document
}

/// Uses of a promo that are taken, and held.
pub fn usage(adal: &Adal, id: &str) -> Done<(u64, u64)> {
    let usage = adal.call("GET", &format!("/v1/promos/{id}/usage"), &adal.admin, None)?;
    let of = |name: &str| usage.get(name).and_then(Value::as_u64).ok_or("no usage");
    Ok((of("taken")?, of("held")?))
}

/// Nanoseconds of the steps of sales.
#[derive(Debug)]
pub struct Steps {
    /// From a hold's request to its answer.
    pub hold: Histogram<u64>,
    /// The same of a capture.
    pub capture: Histogram<u64>,
    /// Both together.
    pub sale: Histogram<u64>,
}

impl Steps {
    /// None yet.
    pub fn new() -> Done<Self> {
        Ok(Self { hold: histogram()?, capture: histogram()?, sale: histogram()? })
    }
}

/// Holds a cart and captures it, again and again: for each (customer, code) of `shoppers`.
#[derive(Debug)]
pub struct Sale<I> {
    /// Who buys next, with which code.
    pub shoppers: I,
    /// A service key.
    pub key: String,
    /// What makes this client's keys and orders its own, over all runs on a store.
    pub name: String,
    /// Where the times go.
    pub steps: Rc<RefCell<Steps>>,
    number: u64,
    held: Option<(String, u64)>,
    asked: Option<Stopwatch>,
}

impl<I> Sale<I> {
    /// A client.
    pub fn new(name: String, key: String, steps: &Rc<RefCell<Steps>>, shoppers: I) -> Self {
        Self { shoppers, key, name, steps: Rc::clone(steps), number: 0, held: None, asked: None }
    }
}

impl<I: Iterator<Item = (String, String)>> Script for Sale<I> {
    fn request(&mut self, into: &mut Vec<u8>) -> bool {
        if let Some((hold_id, _)) = &self.held {
            let body = format!(r#"{{"order_id":"{}-{}"}}"#, self.name, self.number);
            let headers = format!("Idempotency-Key: {}-{}-c\r\n", self.name, self.number);
            http::write(into, "POST", &format!("/v1/checkout/holds/{hold_id}/capture"), &self.key, &headers, &body);
        } else {
            let Some((customer, code)) = self.shoppers.next() else { return false };
            self.number += 1;
            let headers = format!("Idempotency-Key: {}-{}-h\r\n", self.name, self.number);
            http::write(into, "POST", "/v1/checkout/holds", &self.key, &headers, &cart(&customer, &[&code]));
        }
        self.asked = Some(Stopwatch::start());
        true
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Done {
        let nanos = self.asked.map_or(0, Stopwatch::nanos);
        expect(status, 201, body)?;
        let mut steps = self.steps.borrow_mut();
        match self.held.take() {
            Some((_, hold_nanos)) => {
                steps.capture.saturating_record(nanos);
                steps.sale.saturating_record(hold_nanos + nanos);
            }
            None => {
                steps.hold.saturating_record(nanos);
                self.held = Some((hold_id(body).ok_or("a hold without id")?, nanos));
            }
        }
        Ok(())
    }
}

/// The id of the hold in a quote.
pub fn hold_id(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(r#""hold_id":""#)?;
    rest.split_once('"').map(|(id, _)| id.to_owned())
}

/// Holds alone, of one code that may run out: each customer once.
#[derive(Debug)]
pub struct Race<I> {
    /// Who comes next.
    pub customers: I,
    /// The code.
    pub code: String,
    /// A service key.
    pub key: String,
    /// Holds granted.
    pub granted: u64,
    /// Holds refused, since the code has run out.
    pub refused: u64,
}

impl<I: Iterator<Item = String>> Script for Race<I> {
    fn request(&mut self, into: &mut Vec<u8>) -> bool {
        let Some(customer) = self.customers.next() else { return false };
        let headers = format!("Idempotency-Key: {}-{customer}\r\n", self.code);
        http::write(into, "POST", "/v1/checkout/holds", &self.key, &headers, &cart(&customer, &[&self.code]));
        true
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Done {
        if status == 422 && String::from_utf8_lossy(body).contains("promo_not_applicable") {
            self.refused += 1;
            return Ok(());
        }
        self.granted += 1;
        expect(status, 201, body)
    }
}
