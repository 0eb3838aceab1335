//! A store with many passivated customers, each as after a year of shopping, written through the store's own `append`
//! and `snapshot` in bulk: over HTTP it would be 127 million commands.
//!
//! The states are those of the replayed year, where it was replayed in this run: every household's, in turn, under new
//! customer ids, with as many remembered command ids as one day brings (the replay itself sends the whole year in
//! minutes; nobody shops like that). Where it was not, one state is made by the rules from real commands: the average
//! year, 63 orders on 55 days. A customer here has one row (its card) and a snapshot, as a passivated one has in front of
//! its rows: what waking it reads is the same.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use adal_actors::{
    CommandId, Published, Recorded,
    memory::{Memory, Remembered},
    ports::{Append, Journal, StoredRow},
    replay, row,
};
use adal_domain::{
    card::Barcode,
    customer::{Command, Context, Customer, State},
    entity::{Entity, EntityKey, EntityKind, Moment},
    ids::{EventId, LineId, OrderId, OrderKey, ShopId, Sku},
    line::{Line, Unit},
    order_event::{ChargedBy, OrderEvent, OrderFact},
    policy::Policy,
    time::Timestamp,
};
use adal_store::sqlite::{SqliteConfig, SqliteStore};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    Done,
    clock::{Stopwatch, wall},
    scripts::customer,
};

/// How many customers are written at the same time.
const AT_ONCE: usize = 2_048;
/// The average household of the year (`load-tests/replay`): orders, on so many days.
const ORDERS: i64 = 63;
const DAYS: i64 = 55;
/// The share of customers who shopped in the last 24 hours, of 100, and the ids that two orders leave.
const LATELY: u64 = 15;
const IDS: u64 = 4;

/// See the module.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The folder with the database.
    pub folder: PathBuf,
    /// How many customers: numbers from 0.
    pub customers: u64,
    /// What they are, for the report.
    pub about: String,
}

/// Makes the store.
pub fn make(folder: &Path, customers: u64) -> Done<Stored> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill(folder, customers))
}

async fn fill(folder: &Path, customers: u64) -> Done<Stored> {
    let watch = Stopwatch::start();
    let replayed = folder.join("replay").join("adal.db");
    let (states, source) = if replayed.exists() {
        (read(&replayed).await?, "the replayed year's households")
    } else {
        (vec![average_year()?], "one made by commands: the average year (the year was not replayed in this run)")
    };
    let folder = folder.join("stored");
    let config =
        SqliteConfig { queue: 2 * AT_ONCE, max_batch_rows: AT_ONCE, ..SqliteConfig::new(folder.join("adal.db")) };
    let store = SqliteStore::open(config)?;
    let bytes = stream::iter(0..customers)
        .map(|number| {
            let index = usize::try_from(number).unwrap_or_default() % states.len();
            write(&store, number, states.get(index).cloned())
        })
        .buffer_unordered(AT_ONCE)
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes as u64) })
        .await?;
    store.close()?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let mean = |of: &dyn Fn(&State) -> usize| states.iter().map(of).sum::<usize>() as f64 / states.len() as f64;
    let about = format!(
        "stored: {customers} passivated customers in {:.0} s; {} states, {source}: on average {:.1} ended orders, {:.1} \
         lots, {:.2} pending, {:.2} under review, snapshot of {} bytes",
        watch.seconds(),
        states.len(),
        mean(&|state| state.facts.len()),
        mean(&|state| state.ledger.lots.len()),
        mean(&|state| state.ledger.pending.len()),
        mean(&|state| state.ledger.reviews.len()),
        bytes / customers.max(1)
    );
    Ok(Stored { folder, customers, about })
}

/// The states of a store that nobody has open.
async fn read(database: &Path) -> Done<Vec<State>> {
    let store = SqliteStore::open(SqliteConfig::new(database))?;
    let mut states = Vec::new();
    for key in store.entities(EntityKind::Customer, None, 100_000).await? {
        states.push(replay::fold::<Customer>(&key.id, &store.open(&key).await?)?.head.state);
    }
    store.close()?;
    if states.is_empty() { Err("the replayed store is empty".into()) } else { Ok(states) }
}

async fn write(store: &SqliteStore, number: u64, state: Option<State>) -> Done<usize> {
    let mut state = state.ok_or("no state")?;
    let (id, at) = (customer(number), wall());
    state.id = id.as_str().into();
    let barcode = Barcode::of_number(number);
    if let Some(card) = &mut state.card {
        card.barcode = barcode;
    }
    // The row that the card was issued by, decided by the rules; only its barcode is this customer's own.
    let context = context()?;
    let (mut events, reply) = {
        let moment = Moment { now: at, context: &context, seq: 1, index: 0, entropy: entropy(number), recalled: &[] };
        let decided = Customer::decide(&State::new(&id), &Command::IssueCard { since: None, barcode: None }, &moment);
        let decided = decided.map_err(|refusal| format!("{refusal:?}"))?;
        (decided.events, decided.reply)
    };
    for event in &mut events {
        if let adal_domain::customer::Event::CardIssued { barcode: made, .. } = event {
            *made = barcode;
        }
    }
    let views =
        events.iter().zip(0..).flat_map(|(event, index)| Customer::views(&id, &state, event, 1, index)).collect();
    let recorded = Recorded::<Customer> {
        id: Some(CommandId::of("fixture", &id)),
        origin: None,
        print: [0; 16],
        outcome: Ok(reply),
        events,
        effects: Vec::new(),
    };
    let body = row::encode(&[recorded])?;
    let key = EntityKey::new(EntityKind::Customer, &id);
    let stored = StoredRow { seq: 1, at, format: Customer::FORMAT, body };
    let wake = Customer::next_wake(&state);
    store.append(Append { entity: key.clone(), row: stored, views, wake, effects: Vec::new() }).await?;
    let mut memory = Memory::default();
    if number % 100 < LATELY {
        for command in 0..IDS {
            memory.remember(Remembered { id: CommandId::of(&id, &command.to_string()), seq: 1, index: 0, at });
        }
    }
    let snapshot = replay::snapshot::<Customer>(&Published { state, seq: 1, at }, Some(&memory))?;
    let bytes = snapshot.body.len();
    store.snapshot(&key, snapshot).await?;
    Ok(bytes)
}

fn entropy(number: u64) -> [u8; 16] {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn context() -> Done<Context> {
    thread_local! {
        static CONTEXT: Option<Context> = {
            let mut policy = Policy::default();
            policy.limits.cashback_operations = 0;
            policy.limits.points_earned = 0;
            policy.calendar().map(|calendar| Context {
                policy: Arc::new(policy),
                calendar,
                revision: 0,
                earn: true,
                burn: true,
                trust_limits: true,
                promos: true,
                campaigns: true,
            })
        };
    }
    CONTEXT.with(Clone::clone).ok_or_else(|| "the default policy has no calendar".into())
}

/// A year of shopping, by the rules alone: a card, and 63 orders on 55 days of the last 365, each placed and completed.
fn average_year() -> Done<State> {
    let context = context()?;
    let now = wall();
    let first = Timestamp(now.0 - 364 * Timestamp::DAY);
    let mut state = State::new("average");
    let mut seq = 0;
    let mut tell = |state: &mut State, command: &Command, at: Timestamp| -> Done {
        seq += 1;
        let moment = Moment { now: at, context: &context, seq, index: 0, entropy: entropy(seq), recalled: &[] };
        let decided = Customer::decide(state, command, &moment).map_err(|refusal| format!("{refusal:?}"))?;
        decided.events.iter().for_each(|event| Customer::apply(state, event, seq));
        Ok(())
    };
    tell(&mut state, &Command::IssueCard { since: None, barcode: None }, first)?;
    for number in 0..ORDERS {
        // The first 8 days have two orders.
        let twice = ORDERS - DAYS;
        let (day, hour) = if number < 2 * twice { (number / 2, number % 2 * 6) } else { (number - twice, 0) };
        let at = Timestamp(first.0 + day * 364 / DAYS * Timestamp::DAY + hour * 3600 * Timestamp::SECOND);
        let order = OrderKey { shop_id: ShopId::new("s1")?, order_id: OrderId::new(&format!("o{number}"))? };
        let lines = vec![Line {
            line_id: LineId::new("1")?,
            sku: Sku::new("4870001234567")?,
            category: None,
            brand: None,
            tags: Vec::new(),
            quantity: 1,
            unit: Unit::Piece,
            // The year's mean basket is 14,745 tenge.
            unit_price_minor: Some(1_474_500),
            line_total_minor: None,
            min_price_minor: None,
        }];
        let placed =
            OrderFact::Placed { lines, total_minor: None, charged_by: ChargedBy::Ordered, link_keys: Vec::new() };
        let completed = OrderFact::Completed { paid_minor: 1_474_500 };
        for fact in [placed, completed] {
            let event_id = EventId::new(&format!("{}-{number}", fact.name()))?;
            tell(&mut state, &Command::Order(OrderEvent { event_id, order: order.clone(), at, fact }), at)?;
        }
    }
    Ok(state)
}
