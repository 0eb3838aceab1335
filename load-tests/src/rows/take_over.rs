//! A take-over on CQL: a server is killed, and the next one opens what was listed and brings what was owed, against the
//! driver's same reads and writes ([`crate::raw_take_over`]), which are measured right before on the same tables.
//!
//! **How customers come to owe.** What a customer owes is the end of a hold, to the promo of which it holds a use, and it
//! is brought within milliseconds of the capture. A server that dies leaves as much undelivered as was under way; to have
//! a certain number of them, the promo is out of reach while they capture: beforehand a row without a parent is put on top
//! of the promo's journal, which is what an unfinished write of somebody looks like, and the server cannot open it. The
//! captures are answered all the same, as they are when a promo is slow; that each left one effect in the outbox is
//! counted before the kill. Then everybody else orders something, so that all are listed with a row of which the successor
//! cannot know whether what follows from it was written; `kill -9`; the row without a parent is deleted. All of it is the
//! real server's work, over HTTP.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use adal_domain::time::Timestamp;
use serde_json::Value;

use super::cql::Database;
use crate::{
    Done,
    bench::Bench,
    clock::{Stopwatch, wall},
    http::{self, Script, expect},
    process::Adal,
    raw_cql::Raw,
    raw_take_over::{TakeOver, Taken},
    report::median,
    sales::{cart, hold_id, promo, usage},
    scripts::{Counter, Issue, LINES, customer},
};

const CLIENTS: u64 = 64;
const KEYSPACE: &str = "adal_taken";
/// Everything of a round happens within one of the ten minutes by which entities are listed: so much of them must be left.
const ROOM_S: i64 = 75;
/// How long a take-over may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one take-over was like: seconds.
struct Seen {
    /// From the claim to the first answer.
    first: f64,
    /// From the claim to the last effect at its target.
    delivered: f64,
    /// From the claim until all that was listed was open, and the outbox empty.
    whole: f64,
    /// The driver's.
    driver: Taken,
}

/// Measures the row.
pub fn run(bench: &mut Bench) -> Done {
    // Stops when it is dropped.
    let database = Database::start(bench, "cassandra-taken")?;
    let raw = &database.raw()?;
    let (customers, owing) = (bench.scale.many / 100, bench.scale.many / 1_000);
    // A promo that nobody asks leaves memory.
    let settings = database.settings(KEYSPACE, "4");
    bench.migrate(&settings)?;
    let mut adal = bench.adal("taken", &settings)?;
    let cards = Counter::new(0, customers);
    let issue = (0..CLIENTS).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), Duration::from_secs(300))?;
    let driver = TakeOver::new(raw, KEYSPACE)?;
    let mut seen = Vec::new();
    for round in 0..bench.scale.rounds.min(3) as u64 {
        wait_for_room();
        owe(&adal, raw, round, (customers, owing))?;
        let next = bench.folder.join(format!("taken-{round}"));
        if round == 0 {
            // Once without counting.
            driver.run()?;
        }
        let taken = driver.run()?;
        if taken.owed != owing || taken.listed < customers {
            return Err(format!("{} listed, {} owed", taken.listed, taken.owed).into());
        }
        let successor = adal.successor(&bench.binary, &next, &all(&settings))?;
        let one;
        (one, adal) = (watch(&successor, raw, taken, round * owing, owing)?, successor);
        let (used, held) = usage(&adal, &name(round))?;
        if (used, held) != (owing, 0) {
            return Err(format!("{owing} were owed; {used} were taken, {held} are held").into());
        }
        bench.report.note(&format!(
            "take-over: {}; the driver: {} opened, {} statements",
            statements(&adal)?,
            taken.listed,
            taken.statements
        ));
        seen.push(one);
    }
    report(bench, &seen, (customers, owing));
    Ok(())
}

fn all<'a>(settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    crate::bench::NO_DAILY_LIMITS.iter().chain(settings).copied().collect()
}

fn name(round: u64) -> String {
    format!("owed-{round}")
}

fn wait_for_room() {
    let left = 600 - wall().0 / Timestamp::SECOND % 600;
    if left < ROOM_S {
        eprintln!("bench: waiting {left} s for the next ten minutes");
        std::thread::sleep(Duration::from_secs(left.unsigned_abs()));
    }
}

/// Has the customers of a round owe, lists all, and kills the server.
fn owe(adal: &Adal, raw: &Raw, round: u64, (customers, owing): (u64, u64)) -> Done {
    let (name, code) = (name(round), format!("OWED{round}"));
    adal.put_offers("promo", &[(name.clone(), promo(Some(&code), Some(1_000_000)))])?;
    let range = round * owing..(round + 1) * owing;
    let key = adal.service.clone();
    let holds: Rc<RefCell<BTreeMap<u64, String>>> = Rc::default();
    let keep = Rc::clone(&holds);
    each(
        adal,
        range.clone(),
        {
            let key = key.clone();
            move |number, into| {
                let headers = format!("Idempotency-Key: h-{round}-{number}\r\n");
                http::write(into, "POST", "/v1/checkout/holds", &key, &headers, &cart(&customer(number), &[&code]));
            }
        },
        move |number, body| {
            keep.borrow_mut().insert(number, hold_id(body).ok_or("a hold without id")?);
            Ok(())
        },
    )?;
    asleep(adal)?;
    // It is of the greatest epoch, so it is the tip; its parent is nowhere.
    raw.execute(&format!(
        "INSERT INTO {KEYSPACE}.journal (kind, id, seq, epoch, parent_epoch, at, format, body, bucket) \
         VALUES ('promo', '{name}', 1000000000, 1000000000, 1, 0, 1, 0x90, 0)"
    ))?;
    each(
        adal,
        range.clone(),
        {
            let key = key.clone();
            move |number, into| {
                let path =
                    format!("/v1/checkout/holds/{}/capture", holds.borrow().get(&number).map_or("", String::as_str));
                let headers = format!("Idempotency-Key: c-{round}-{number}\r\n");
                http::write(into, "POST", &path, &key, &headers, &format!(r#"{{"order_id":"t{round}-{number}"}}"#));
            }
        },
        |_, _| Ok(()),
    )?;
    let at = wall().to_string();
    for others in [0..range.start, range.end..customers] {
        let (key, at) = (key.clone(), at.clone());
        each(
            adal,
            others,
            move |number, into| {
                let (id, order) = (customer(number), format!("u{round}-{number}"));
                let body = format!(
                    r#"{{"event_id":"{order}","type":"placed","order_id":"{order}","customer_id":"{id}","shop_id":"s1","at":"{at}","lines":{LINES}}}"#
                );
                http::write(into, "POST", "/v1/orders/events", &key, "", &body);
            },
            |_, body| match String::from_utf8_lossy(body) {
                told if told.contains(r#""applied""#) => Ok(()),
                told => Err(format!("not applied: {told}").into()),
            },
        )?;
    }
    let owed = raw.count(&format!("SELECT count(*) FROM {KEYSPACE}.outbox"))?;
    if owed != owing {
        return Err(format!("{owing} captured, {owed} owe").into());
    }
    adal.process.signal("KILL")?;
    raw.execute(&format!(
        "DELETE FROM {KEYSPACE}.journal WHERE kind = 'promo' AND id = '{name}' AND seq = 1000000000 AND epoch = 1000000000"
    ))
}

/// Waits until no promo is in memory: as many have left it as were opened. (The gauge of those that are is set now and then.)
fn asleep(adal: &Adal) -> Done {
    let count = |name| Done::Ok(adal.metric_by(name, "kind")?.get("promo").copied().unwrap_or_default());
    let watch = Stopwatch::start();
    while count("adal_activations_total")? > count("adal_passivations_total")? {
        if watch.elapsed() > Duration::from_secs(60) {
            return Err("promos do not leave memory".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Sees a server that was just started take over.
fn watch(adal: &Adal, raw: &Raw, driver: Taken, first: u64, owing: u64) -> Done<Seen> {
    let watch = Stopwatch::start();
    let still = || match watch.elapsed() < PATIENCE {
        true => Ok(()),
        false => Err(format!("not within two minutes; {}", std::fs::read_to_string(&adal.log).unwrap_or_default())),
    };
    let answered = loop {
        let mut request = Vec::new();
        http::write(&mut request, "GET", &format!("/v1/customers/{}/card", customer(first)), &adal.service, "", "");
        if http::once(adal.process.address, request).is_ok() {
            break wall();
        }
        still()?;
        std::thread::sleep(Duration::from_millis(5));
    };
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    while adal.metric("adal_effects_delivered_total")? < owing as f64 {
        still()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    let delivered = wall();
    while raw.count(&format!("SELECT count(*) FROM {KEYSPACE}.outbox"))? > 0 {
        still()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    let empty = wall();
    let opened = loop {
        if let Some(at) = said(adal, "what earlier owners left undone is done")? {
            break at;
        }
        still()?;
        std::thread::sleep(Duration::from_millis(20));
    };
    let claimed = said(adal, "all shards are claimed")?.ok_or("the server does not say that it has claimed")?;
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let since = |at: Timestamp| at.micros_since(claimed) as f64 / 1e6;
    Ok(Seen { first: since(answered), delivered: since(delivered), whole: since(empty.max(opened)), driver })
}

/// When the server said something, by its log.
fn said(adal: &Adal, what: &str) -> Done<Option<Timestamp>> {
    let log = std::fs::read_to_string(&adal.log)?;
    let Some(line) = log.lines().find(|line| line.contains(what)) else { return Ok(None) };
    let line: Value = serde_json::from_str(line)?;
    Ok(line.get("timestamp").and_then(Value::as_str).and_then(Timestamp::parse))
}

/// What the server has asked of the database since it started.
fn statements(adal: &Adal) -> Done<String> {
    let by = adal.metric_by("adal_cql_statements_total", "statement")?;
    let all: f64 = by.values().sum();
    let mut most: Vec<_> = by.into_iter().collect();
    most.sort_by(|one, other| other.1.total_cmp(&one.1));
    let most: Vec<_> = most.iter().take(12).map(|(name, count)| format!("{name} {count:.0}")).collect();
    Ok(format!(
        "{:.0} opened; {all:.0} statements: {}",
        adal.metric("adal_cql_recovered_entities_total")?,
        most.join(", ")
    ))
}

fn report(bench: &mut Bench, seen: &[Seen], (customers, owing): (u64, u64)) {
    let of = |what: fn(&Seen) -> f64| median(seen.iter().map(what).collect());
    let each =
        |what: fn(&Seen) -> f64| seen.iter().map(|one| format!("{:.2}", what(one))).collect::<Vec<_>>().join(", ");
    let (first, whole, driver) = (|one: &Seen| one.first, |one: &Seen| one.whole, |one: &Seen| one.driver.seconds);
    bench.report.note(&format!(
        "take-over of {customers} customers, {owing} owing, round by round, s: claim to first answer {}; to the last effect at \
         its target {}; until all were open and the outbox empty {}; the driver {}",
        each(first),
        each(|one| one.delivered),
        each(whole),
        each(driver),
    ));
    let slowest = seen.iter().map(first).fold(0.0, f64::max);
    bench.report.goal(
        "take-over on CQL, from the claim to the first answer, the slowest",
        &format!("{slowest:.2} s"),
        "<= 2 s",
        slowest <= 2.0,
    );
    let ratio = of(|one| one.whole / one.driver.seconds);
    bench.report.goal(
        "take-over on CQL, all open and all delivered, of the driver's same reads and writes",
        &format!("{ratio:.2} ({:.2} s to {:.2} s)", of(whole), of(driver)),
        "<= 2.00",
        ratio <= 2.0,
    );
}

/// A request for each of many, and what is done with its answer.
struct Each<W, T> {
    numbers: Counter,
    now: u64,
    write: W,
    take: T,
}

impl<W: Fn(u64, &mut Vec<u8>), T: Fn(u64, &[u8]) -> Done> Script for Each<W, T> {
    fn request(&mut self, into: &mut Vec<u8>) -> bool {
        let Some(number) = self.numbers.next() else { return false };
        self.now = number;
        (self.write)(number, into);
        true
    }

    fn answer(&mut self, status: u16, body: &[u8]) -> Done {
        expect(status, 201, body)?;
        (self.take)(self.now, body)
    }
}

fn each<W, T>(adal: &Adal, range: std::ops::Range<u64>, write: W, take: T) -> Done
where
    W: Fn(u64, &mut Vec<u8>) + Clone + 'static,
    T: Fn(u64, &[u8]) -> Done + Clone + 'static,
{
    let numbers = Counter::new(range.start, range.end);
    let one = |_| Each { numbers: numbers.clone(), now: 0, write: write.clone(), take: take.clone() };
    http::run(adal.process.address, (0..CLIENTS).map(one).collect(), PATIENCE).map(drop)
}
