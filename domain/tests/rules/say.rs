//! Short ways to say commands.

use std::sync::atomic::{AtomicU64, Ordering};

use adal_domain::{
    checkout::{Cart, Channel, LineQuantity},
    customer::{CardChange, Command, HoldRequest},
    ids::{Actor, EventId, FlagName, HoldId, LineId, OrderId, OrderKey, ShopId, Sku, Word},
    line::{Line, Unit},
    order_event::{CancelledBy, ChargedBy, DeliveredLine, Fault, OrderEvent, OrderFact},
    qr::Step,
    time::{Calendar, Day, Timestamp},
};

/// Day 1 of every example: Monday, 5 January 2026.
const FIRST: i32 = 20_458;

pub fn calendar() -> Calendar {
    Calendar::new("Asia/Almaty").unwrap()
}

/// The shop's day `n`, counted from 1.
pub const fn day(n: i32) -> Day {
    Day(FIRST + n - 1)
}

/// The number of a day.
pub const fn day_number(day: Day) -> i32 {
    day.0 - FIRST + 1
}

/// `minutes` after 00:00 of day `n`.
pub fn time(n: i32, minutes: i64) -> Timestamp {
    calendar().start(day(n)).plus_seconds(minutes * 60)
}

pub fn order(id: &str) -> OrderKey {
    OrderKey { shop_id: ShopId::new("s1").unwrap(), order_id: OrderId::new(id).unwrap() }
}

pub fn by(who: &str) -> Actor {
    Actor::new(who).unwrap()
}

/// A line worth `total` minor units; tobacco by its name.
pub fn line(id: &str, quantity: i64, unit: Unit, total: i64) -> Line {
    Line {
        line_id: LineId::new(id).unwrap(),
        sku: Sku::new(id).unwrap(),
        category: Some(Word::new(if id.starts_with("tobacco") { "tobacco" } else { "food" }).unwrap()),
        brand: None,
        tags: vec![],
        quantity,
        unit,
        unit_price_minor: None,
        line_total_minor: Some(total),
        min_price_minor: None,
    }
}

/// One piece worth `total` minor units.
pub fn piece(id: &str, total: i64) -> Line {
    line(id, 1, Unit::Piece, total)
}

fn event(id: &str, at: Timestamp, fact: OrderFact) -> Command {
    // Each event said is an event of its own; one that comes again is the same command, cloned.
    static SAID: AtomicU64 = AtomicU64::new(0);
    let event_id = EventId::new(&format!("e{}", SAID.fetch_add(1, Ordering::Relaxed))).unwrap();
    Command::Order(OrderEvent { event_id, order: order(id), at, fact })
}

pub fn placed(id: &str, at: Timestamp, lines: &[Line]) -> Command {
    placed_charged(id, at, lines, ChargedBy::Ordered)
}

pub fn placed_charged(id: &str, at: Timestamp, lines: &[Line], charged_by: ChargedBy) -> Command {
    let lines = lines.to_vec();
    event(id, at, OrderFact::Placed { lines, total_minor: None, charged_by, link_keys: vec![] })
}

pub fn weighed(id: &str, at: Timestamp, grams: &[(&str, i64)]) -> Command {
    let lines = grams
        .iter()
        .map(|(id, grams)| DeliveredLine { line_id: LineId::new(id).unwrap(), delivered_g: *grams })
        .collect();
    event(id, at, OrderFact::Weighed { lines })
}

pub fn completed(id: &str, at: Timestamp, paid_minor: i64) -> Command {
    event(id, at, OrderFact::Completed { paid_minor })
}

pub fn cancelled(id: &str, at: Timestamp, by: CancelledBy, after_picking: bool) -> Command {
    event(id, at, OrderFact::Cancelled { by, after_picking })
}

pub fn quantities(lines: &[(&str, i64)]) -> Vec<LineQuantity> {
    lines.iter().map(|(id, quantity)| LineQuantity { line_id: LineId::new(id).unwrap(), quantity: *quantity }).collect()
}

pub fn returned(id: &str, at: Timestamp, lines: &[(&str, i64)], refund_minor: Option<i64>) -> Command {
    event(id, at, OrderFact::Returned { lines: quantities(lines), refund_minor, fault: Fault::Customer })
}

pub const fn card() -> Command {
    Command::IssueCard { since: None, barcode: None }
}

pub fn change(change: CardChange) -> Command {
    Command::ChangeCard { change, barcode: None, reason: "asked for".to_owned(), by: by("support-1") }
}

pub fn adjust(points: i64) -> Command {
    Command::Adjust { points, reason: "goodwill".to_owned(), by: by("admin-1") }
}

pub fn raise(flag: &str) -> Command {
    Command::RaiseFlag { flag: FlagName::new(flag).unwrap(), reason: "seen".to_owned(), by: by("support-1") }
}

pub fn decide_flag(flag: &str, confirm: bool) -> Command {
    Command::DecideFlag { flag: FlagName::new(flag).unwrap(), confirm, by: by("support-2") }
}

pub fn cart(lines: &[Line], points_to_burn: i64) -> Cart {
    Cart {
        shop_id: ShopId::new("s1").unwrap(),
        channel: Channel::App,
        codes: vec![],
        points_to_burn,
        payment_method: None,
        delivery_method: None,
        delivery_minor: 0,
        lines: lines.to_vec(),
    }
}

pub fn hold(lines: &[Line], points: i64, ttl_s: Option<i64>) -> Command {
    hold_of(cart(lines, points), ttl_s, None)
}

pub const fn hold_of(cart: Cart, ttl_s: Option<i64>, scan_step: Option<Step>) -> Command {
    Command::Hold(HoldRequest { cart, ttl_s, expected_total_minor: None, scan_step, no_burn: None, offered: None })
}

pub fn capture(hold_id: &HoldId, order_id: &str, lines: Option<&[(&str, i64)]>) -> Command {
    Command::Capture {
        hold_id: hold_id.clone(),
        order_id: OrderId::new(order_id).unwrap(),
        lines: lines.map(quantities),
        late: None,
    }
}

pub fn release(hold_id: &HoldId) -> Command {
    Command::Release { hold_id: hold_id.clone() }
}
