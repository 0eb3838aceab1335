//! Adal on Apache Cassandra, against the driver alone on the same server: durable earns over many customers and of one,
//! and waking a passivated customer, in the first epoch that sees it and within an epoch.
//!
//! The server is the tests' own (`scripts/cassandra.sh`), with 512 MB of heap, Java's better compiler and `commitlog_sync:
//! batch`. Client, Adal and database share the machine's cores.

use std::{cell::Cell, rc::Rc, time::Duration};

use adal_store::testing::cassandra::{Cassandra, Options};

use crate::{
    Done,
    bench::Bench,
    http::{self, Measured},
    process::Adal,
    random::Random,
    raw_cql::{How, Raw},
    report::Turns,
    scripts::{Counter, Earn, Issue, Read, Whose, customer},
};

const CUSTOMERS: u64 = 2_000;
const CLIENTS: u64 = 64;
/// After so many commands "one customer" is the next one: it may remember 16,384 keys a day.
const EACH: u64 = 10_000;
const KEYSPACE: &str = "adal";

/// Measures the rows.
pub fn run(bench: &mut Bench) -> Done {
    let options = Options { heap: "512m", tier: 4, ..Options::default() };
    let database = Cassandra::start(&bench.folder.join("cassandra"), &options)?;
    let points = database.contact_points();
    let listed = format!("[{}]", points.iter().map(|point| format!("{point:?}")).collect::<Vec<_>>().join(","));
    let settings = [
        ("ADAL__STORE__KIND", "cql"),
        ("ADAL__STORE__CQL__CONTACT_POINTS", listed.as_str()),
        ("ADAL__STORE__CQL__KEYSPACE", KEYSPACE),
        ("ADAL__STORE__CQL__REPLICATION", "{datacenter1=1}"),
        ("ADAL__ACTORS__IDLE_AFTER_S", "1"),
        ("ADAL__ACTORS__REST_AFTER_S", "1"),
    ];
    bench.migrate(&settings)?;
    let raw = Raw::open(&points, KEYSPACE)?;
    let adal = bench.adal("cql", &settings)?;
    let cards = Counter::new(0, CUSTOMERS);
    let issue = (0..CLIENTS).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), Duration::from_secs(300))?;
    earns(bench, &adal, &raw)?;

    // A new process is a new epoch: the first touch of each adopts it; the second, once all have left memory again, finds it
    // ours.
    adal.process.terminate()?;
    let adal = bench.adal("cql", &settings)?;
    cold(bench, &adal, &raw)
}

fn earns(bench: &mut Bench, adal: &Adal, raw: &Raw) -> Done {
    let mut many = clients(adal, "many", |client| Whose::Any(CUSTOMERS, Random::new(client)));
    let sent = Rc::new(Cell::new(0));
    let mut one = clients(adal, "one", |_| Whose::One(Rc::clone(&sent), EACH));
    let turn = bench.scale.turn;
    // Once without counting: compilers on both sides learn; it also says how large a row is.
    (_, many) = http::run_scripts(adal.process.address, many, turn)?;
    (_, one) = http::run_scripts(adal.process.address, one, turn)?;
    let bytes = raw.mean_row(KEYSPACE)?;
    for how in [How::Insert, How::Conditional, How::Verified] {
        raw.write(how, bytes, CUSTOMERS, CLIENTS, turn / 2)?;
    }
    let mut turns: [Turns; 5] = Default::default();
    let [limit, conditional, single, over_many, of_one] = &mut turns;
    for _ in 0..bench.scale.rounds {
        limit.push(raw.write(How::Insert, bytes, CUSTOMERS, CLIENTS, turn)?);
        let measured;
        (measured, many) = http::run_scripts(adal.process.address, many, turn)?;
        over_many.push(measured);
        conditional.push(raw.write(How::Conditional, bytes, CUSTOMERS, CLIENTS, turn)?);
        single.push(raw.write(How::Verified, bytes, 1, 1, turn)?);
        let measured;
        (measured, one) = http::run_scripts(adal.process.address, one, turn)?;
        of_one.push(measured);
    }
    let report = &mut bench.report;
    report.note(&format!(
        "cql: rows of {bytes} bytes, 64 clients: the driver's inserts: {}; its conditional updates: {}; Adal over {CUSTOMERS} \
         customers: {}; of one customer: {}; one insert and verify at a time: {}",
        limit.text(),
        conditional.text(),
        over_many.text(),
        of_one.text(),
        single.text()
    ));
    let ratio = over_many.rate() / limit.rate();
    report.goal(
        "durable earns on CQL, 64 clients, of the driver's inserts",
        &format!("{ratio:.2}"),
        ">= 0.60",
        ratio >= 0.6,
    );
    let ratio = over_many.rate() / conditional.rate();
    report.shown("durable earns on CQL, of one conditional update per command", &format!("{ratio:.2}"));
    let ratio = of_one.rate() / single.rate();
    report.goal(
        "one customer on CQL, 64 clients, of one insert and verify at a time",
        &format!("{ratio:.1}"),
        ">= 10",
        ratio >= 10.0,
    );
    Ok(())
}

fn cold(bench: &mut Bench, adal: &Adal, raw: &Raw) -> Done {
    let numbers: Vec<u64> = (0..CUSTOMERS).map(|number| number * 618_033 % CUSTOMERS).collect();
    let ids: Vec<String> = numbers.iter().map(|number| customer(*number)).collect();
    raw.read(&ids)?;
    let limit = raw.read(&ids)?;
    let touch = || -> Done<Measured> {
        let script = Read { customers: numbers.clone().into_iter(), key: adal.service.clone() };
        http::run(adal.process.address, vec![script], Duration::from_secs(300))
    };
    let adopted = touch()?;
    let opened = adal.metric("adal_activations_total")?;
    let watch = crate::clock::Stopwatch::start();
    while adal.metric("adal_live_entities")? > 50.0 {
        if watch.elapsed() > Duration::from_secs(120) {
            return Err("customers do not leave memory".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let again = touch()?;
    let reopened = adal.metric("adal_activations_total")? - opened;
    let report = &mut bench.report;
    report.note(&format!(
        "cql, waking {CUSTOMERS} customers one after the other: the driver's read of the same rows: p50 {:.2}, p99 {:.2} ms; over \
         HTTP within an epoch: p50 {:.2}, p99 {:.2} ms ({reopened:.0} opened); the first in an epoch: p50 {:.2}, p99 {:.2} ms",
        limit.ms(0.5),
        limit.ms(0.99),
        again.ms(0.5),
        again.ms(0.99),
        adopted.ms(0.5),
        adopted.ms(0.99)
    ));
    let ratio = again.ms(0.5) / limit.ms(0.5);
    report.goal(
        "cold activation on CQL within an epoch, of the driver's read",
        &format!("{ratio:.2}"),
        "<= 1.50",
        ratio <= 1.5,
    );
    let ratio = adopted.ms(0.5) / limit.ms(0.5);
    report.shown("cold activation on CQL, the first in an epoch, of the driver's read", &format!("{ratio:.2}"));
    Ok(())
}

fn clients(adal: &Adal, name: &str, whose: impl Fn(u64) -> Whose) -> Vec<Earn> {
    (0..CLIENTS).map(|client| Earn::new(format!("{name}-{client}"), adal.service.clone(), whose(client))).collect()
}
