//! The demo's past: a dozen customers, each with something to see. Orders carry their own times, as a feed from a former
//! system would; they are decided as of those times.

use std::error::Error;

use adal_actors::{CommandId, Request, print_of};
use adal_domain::{
    customer::{Command, Customer},
    ids::{Actor, CustomerId, EventId, FlagName, OrderId, OrderKey, ShopId},
    order_event::{OrderEvent, OrderFact},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::SHOP;
use crate::app::App;

/// What a customer's past holds beside the orders.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Story {
    /// Orders alone.
    Plain,
    /// A weighed line came short and was compensated.
    ShortWeight,
    /// A part of an order came back.
    Return,
    /// Orders cancelled after picking: trust is low.
    Cancels,
    /// A fraud flag stands.
    Flag,
    /// Points given by hand.
    Gift,
    /// A new member without an order.
    New,
}

/// Who, how many orders, minor units of each, days between them, and what else.
const CUSTOMERS: [(&str, i64, i64, i64, Story); 12] = [
    ("aigerim", 24, 1_450_000, 12, Story::Gift),
    ("bolat", 20, 620_000, 15, Story::ShortWeight),
    ("dana", 9, 310_000, 21, Story::Return),
    ("erlan", 40, 2_900_000, 8, Story::Plain),
    ("gulnara", 6, 180_000, 30, Story::Plain),
    ("ilyas", 3, 90_000, 14, Story::Cancels),
    ("kamila", 15, 540_000, 20, Story::Plain),
    ("madi", 12, 760_000, 25, Story::Flag),
    ("nurlan", 30, 410_000, 10, Story::Return),
    ("oksana", 18, 250_000, 18, Story::ShortWeight),
    ("saule", 2, 1_200_000, 40, Story::Plain),
    ("timur", 0, 0, 0, Story::New),
];

/// The customers' ids.
pub(super) fn names() -> Vec<&'static str> {
    CUSTOMERS.iter().map(|(name, ..)| *name).collect()
}

/// Makes the history, once: a store that has it is left alone.
pub(super) async fn make(app: &App) -> Result<(), Box<dyn Error>> {
    let last = CUSTOMERS[CUSTOMERS.len() - 1].0;
    if app.customers.read(last).await?.state.card.is_some() {
        return Ok(());
    }
    let now = app.now();
    for (name, orders, minor, days, story) in CUSTOMERS {
        let customer = CustomerId::new(name)?;
        let since = Timestamp(now.0 - (orders * days + 20) * Timestamp::DAY);
        issue(app, &customer, Some(since)).await?;
        for n in 0..orders {
            let at = Timestamp(now.0 - (orders - n) * days * Timestamp::DAY - n * 1_700 * Timestamp::SECOND);
            // Amounts differ from order to order, the same ones on every machine.
            let total = minor * (70 + (n * 37 + days) % 61) / 100;
            order(app, &customer, &format!("past-{n}"), at, total).await?;
        }
        tell(app, &customer, story, now).await?;
    }
    Ok(())
}

/// A card; the same one where there is one.
pub(super) async fn issue(app: &App, customer: &CustomerId, since: Option<Timestamp>) -> Result<(), Box<dyn Error>> {
    send(app, customer, "card", Command::IssueCard { since, barcode: None }).await
}

/// One order, from placed to completed, an hour and a half apart.
pub(super) async fn order(
    app: &App,
    customer: &CustomerId,
    name: &str,
    at: Timestamp,
    total_minor: i64,
) -> Result<(), Box<dyn Error>> {
    let (milk, rest) = (total_minor / 5, total_minor - total_minor / 5);
    let lines = json!([
        {"line_id": "1", "sku": "milk", "category": "dairy", "quantity": 1, "unit": "piece", "line_total_minor": milk},
        {"line_id": "2", "sku": "groceries", "category": "food", "quantity": 1, "unit": "piece", "line_total_minor": rest},
    ]);
    let placed = Timestamp(at.0 - 5400 * Timestamp::SECOND);
    fact(app, customer, name, placed, json!({"type": "placed", "lines": lines})).await?;
    fact(app, customer, name, at, json!({"type": "completed", "paid_minor": total_minor})).await
}

async fn tell(app: &App, customer: &CustomerId, story: Story, now: Timestamp) -> Result<(), Box<dyn Error>> {
    let days_ago = |days: i64| Timestamp(now.0 - days * Timestamp::DAY);
    let apples = json!([
        {"line_id": "1", "sku": "apples", "category": "fruit", "quantity": 2000, "unit": "gram", "unit_price_minor": 90_000}
    ]);
    let by = Actor::new("demo")?;
    match story {
        Story::Plain | Story::New => {}
        Story::ShortWeight => {
            fact(app, customer, "short", days_ago(3), json!({"type": "placed", "lines": apples})).await?;
            let weighed = json!({"type": "weighed", "lines": [{"line_id": "1", "delivered_g": 1_780}]});
            fact(app, customer, "short", days_ago(3).plus_seconds(3600), weighed).await?;
            let completed = json!({"type": "completed", "paid_minor": 180_000});
            fact(app, customer, "short", days_ago(3).plus_seconds(5400), completed).await?;
        }
        Story::Return => {
            let returned = json!({"type": "returned", "lines": [{"line_id": "1", "quantity": 1}], "fault": "shop"});
            fact(app, customer, "past-1", days_ago(2), returned).await?;
        }
        Story::Cancels => {
            for n in 0..3 {
                let (name, at) = (format!("cancelled-{n}"), days_ago(9 - n));
                fact(app, customer, &name, at, json!({"type": "placed", "lines": apples})).await?;
                let cancelled = json!({"type": "cancelled", "by": "customer", "after_picking": true});
                fact(app, customer, &name, at.plus_seconds(3600), cancelled).await?;
            }
        }
        Story::Flag => {
            let reason = "five cards at one terminal within a minute".to_owned();
            let raise = Command::RaiseFlag { flag: FlagName::new("shared-terminal")?, reason, by };
            send(app, customer, "flag", raise).await?;
        }
        Story::Gift => {
            let adjust = Command::Adjust { points: 1500, reason: "welcome to the demo".to_owned(), by };
            send(app, customer, "gift", adjust).await?;
        }
    }
    Ok(())
}

async fn fact(app: &App, customer: &CustomerId, order: &str, at: Timestamp, fact: Value) -> Result<(), Box<dyn Error>> {
    let name = format!("{order} {}", fact["type"]);
    let fact: OrderFact = serde_json::from_value(fact)?;
    let order = OrderKey { shop_id: ShopId::new(SHOP)?, order_id: OrderId::new(&format!("{customer}-{order}"))? };
    let event_id = EventId::new(&format!("{customer}-{name}").replace([' ', '"'], "-"))?;
    send(app, customer, &name, Command::Order(OrderEvent { event_id, order, at, fact })).await
}

/// Sends a command under a key of its own, so that a start that was cut off goes on where it was.
async fn send(app: &App, customer: &CustomerId, key: &str, command: Command) -> Result<(), Box<dyn Error>> {
    let id = Some(CommandId::of("demo", key));
    let print = print_of(key.as_bytes());
    let answer = app.customers.ask(customer.as_str(), Request::<Customer> { id, print, command }).await?;
    if let Err(refusal) = answer.outcome {
        tracing::warn!(%customer, key, %refusal, "the demo's history has a gap");
    }
    Ok(())
}
