//! Adal on Apache Cassandra, against the driver alone on the same server: durable earns over many customers and of one, and
//! waking a passivated customer, in the first epoch that sees it and within an epoch.
//!
//! The server is a single node that the rows start and stop (`scripts/cassandra.sh`), as the tests' and the demo's are, with
//! 512 MB of heap, Java's better compiler and `commitlog_sync: batch`. Client, Adal and database share the machine's cores.

use std::{cell::Cell, path::PathBuf, rc::Rc, time::Duration};

use adal_store::testing::cassandra::{Cassandra, Options};

use crate::{
    Done,
    bench::Bench,
    clock::Stopwatch,
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

/// The database, and how a server is told of it.
pub struct Database {
    cassandra: Cassandra,
    folder: PathBuf,
    points: String,
    ring: String,
}

impl Database {
    /// Starts it in a folder of this name.
    pub fn start(bench: &Bench, name: &str) -> Done<Self> {
        let folder = bench.folder.join(name);
        let options = Options { heap: "512m", tier: 4, ..Options::default() };
        let cassandra = Cassandra::start(&folder, &options)?;
        let points: Vec<_> = cassandra.contact_points().iter().map(|point| format!("{point:?}")).collect();
        let ring = bench.folder.join("ring").display().to_string();
        Ok(Self { points: format!("[{}]", points.join(",")), cassandra, folder, ring })
    }

    /// The driver alone, on it.
    pub fn raw(&self) -> Done<Raw> {
        Raw::open(&self.cassandra.contact_points())
    }

    /// Settings of a server, or of `adal migrate`, with its tables in `keyspace`. Customers leave memory after `idle_s`.
    pub fn settings<'a>(&'a self, keyspace: &'a str, idle_s: &'a str) -> Vec<(&'static str, &'a str)> {
        vec![
            ("ADAL__STORE__KIND", "cql"),
            ("ADAL__STORE__CQL__CONTACT_POINTS", &self.points),
            ("ADAL__STORE__CQL__KEYSPACE", keyspace),
            ("ADAL__STORE__CQL__REPLICATION", "{datacenter1=1}"),
            ("ADAL__QR__FILE", &self.ring),
            ("ADAL__ACTORS__IDLE_AFTER_S", idle_s),
        ]
    }

    /// Bytes of a table's files. After it was stopped, which writes out what was in memory.
    fn size(&self, keyspace: &str, table: &str) -> Done<u64> {
        let mut bytes = 0;
        for found in std::fs::read_dir(self.folder.join("node1").join("data").join(keyspace))? {
            let found = found?;
            if found.file_name().to_string_lossy().starts_with(&format!("{table}-")) {
                for file in std::fs::read_dir(found.path())? {
                    let file = file?.metadata()?;
                    bytes += if file.is_file() { file.len() } else { 0 };
                }
            }
        }
        Ok(bytes)
    }
}

/// Measures the rows.
pub fn run(bench: &mut Bench) -> Done {
    let mut database = Database::start(bench, "cassandra")?;
    let raw = database.raw()?;
    let found = rows(bench, &database, &raw);
    let journal = raw.sizes(&format!("SELECT body, derived FROM {KEYSPACE}.journal"));
    let snapshots = raw.sizes(&format!("SELECT body, body FROM {KEYSPACE}.snapshot"));
    drop(raw);
    database.cassandra.stop();
    for (table, rows) in [("journal", journal), ("snapshot", snapshots)] {
        let (rows, bytes) = rows?;
        let on_disk = database.size(KEYSPACE, table)?;
        bench.report.note(&format!(
            "cql: {table}: {rows} rows of {} bytes (blobs alone); on disk, compressed by the table's default, {on_disk} bytes \
             in all files, {} a row",
            bytes / rows.max(1) / if table == "journal" { 1 } else { 2 },
            on_disk / rows.max(1)
        ));
    }
    found
}

fn rows(bench: &mut Bench, database: &Database, raw: &Raw) -> Done {
    bench.migrate(&database.settings(KEYSPACE, "86400"))?;
    let adal = bench.adal("cql", &database.settings(KEYSPACE, "86400"))?;
    let cards = Counter::new(0, CUSTOMERS);
    let issue = (0..CLIENTS).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), Duration::from_secs(300))?;
    earns(bench, &adal, raw)?;
    adal.process.terminate()?;
    cold(bench, database, raw)
}

/// Statements and commands of Adal's turns.
#[derive(Default)]
struct Work {
    statements: f64,
    commands: u64,
    rows: f64,
    verifying: f64,
    cpu: f64,
}

impl Work {
    /// Has `adal` do something, and adds what it took.
    fn of(&mut self, adal: &Adal, work: impl FnOnce() -> Done<Measured>) -> Done<Measured> {
        let look = || -> Done<[f64; 4]> {
            let of = |name| adal.metric(name);
            let cpu = adal.process.cpu()?;
            let counted = [of("adal_cql_statements_total")?, of("adal_journal_rows_total")?];
            Ok([counted[0], counted[1], of("adal_cql_verifying_reads_total")?, cpu])
        };
        let before = look()?;
        let measured = work()?;
        let after = look()?;
        let [statements, rows, verifying, cpu] = std::array::from_fn(|index| after[index] - before[index]);
        self.statements += statements;
        self.rows += rows;
        self.verifying += verifying;
        self.cpu += cpu;
        self.commands += measured.count;
        Ok(measured)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn text(&self) -> String {
        let commands = self.commands as f64;
        format!(
            "{:.1} commands a row, {:.2} statements a row, {:.1} rows a verifying read, {:.0} us of processor a command",
            commands / self.rows,
            self.statements / self.rows,
            self.rows / self.verifying,
            self.cpu / commands * 1e6
        )
    }
}

fn earns(bench: &mut Bench, adal: &Adal, raw: &Raw) -> Done {
    let mut many = clients(adal, "many", |client| Whose::Any(CUSTOMERS, Random::new(client)));
    let sent = Rc::new(Cell::new(0));
    let mut one = clients(adal, "one", |_| Whose::One(Rc::clone(&sent), EACH));
    let turn = bench.scale.turn * 2 / 3;
    // Once without counting: compilers on both sides learn; it also says how large a row is.
    (_, many) = http::run_scripts(adal.process.address, many, turn)?;
    let bytes = raw.mean_row(KEYSPACE)?;
    (_, one) = http::run_scripts(adal.process.address, one, turn)?;
    for (how, clients) in [(How::Insert, CLIENTS), (How::Conditional, CLIENTS), (How::Verified, 1)] {
        raw.write(how, bytes, CUSTOMERS, clients, turn / 2)?;
    }
    let mut turns: [Turns; 5] = Default::default();
    let [limit, conditional, single, over_many, of_one] = &mut turns;
    let (mut work_of_many, mut work_of_one) = (Work::default(), Work::default());
    for _ in 0..bench.scale.rounds {
        limit.push(raw.write(How::Insert, bytes, CUSTOMERS, CLIENTS, turn)?);
        over_many.push(work_of_many.of(adal, || {
            let measured;
            (measured, many) = http::run_scripts(adal.process.address, std::mem::take(&mut many), turn)?;
            Ok(measured)
        })?);
        conditional.push(raw.write(How::Conditional, bytes, CUSTOMERS, CLIENTS, turn)?);
        single.push(raw.write(How::Verified, bytes, 1, 1, turn)?);
        of_one.push(work_of_one.of(adal, || {
            let measured;
            (measured, one) = http::run_scripts(adal.process.address, std::mem::take(&mut one), turn)?;
            Ok(measured)
        })?);
    }
    let report = &mut bench.report;
    report.note(&format!(
        "cql: rows of {bytes} bytes, 64 clients: the driver's inserts: {}; its conditional updates: {}; Adal over {CUSTOMERS} \
         customers: {} ({}); of one customer: {} ({}); one insert and verify at a time: {}",
        limit.text(),
        conditional.text(),
        over_many.text(),
        work_of_many.text(),
        of_one.text(),
        work_of_one.text(),
        single.text()
    ));
    let ratio = over_many.rate() / limit.rate();
    report.goal(
        "durable earns on CQL, 64 clients, of the driver's inserts",
        &format!("{ratio:.2} ({:.0}/s to {:.0}/s)", over_many.rate(), limit.rate()),
        ">= 0.60",
        ratio >= 0.6,
    );
    let ratio = over_many.rate() / conditional.rate();
    report.shown("durable earns on CQL, of one conditional update per command", &format!("{ratio:.2}"));
    let ratio = of_one.rate() / single.rate();
    report.goal(
        "one customer on CQL, 64 clients, of one insert and verify at a time",
        &format!("{ratio:.1} ({:.0}/s to {:.0}/s)", of_one.rate(), single.rate()),
        ">= 10",
        ratio >= 10.0,
    );
    Ok(())
}

/// Waking customers, one after the other. The first of each in an epoch adopts it. A new process is a new epoch; what was
/// listed in the last minutes is adopted by it at once, in the background, so the lists are emptied before it starts: as they
/// are by themselves once the watermark has passed them, ten minutes after the last change.
fn cold(bench: &mut Bench, database: &Database, raw: &Raw) -> Done {
    let numbers: Vec<u64> = (0..CUSTOMERS).map(|number| number * 618_033 % CUSTOMERS).collect();
    let ids: Vec<String> = numbers.iter().map(|number| customer(*number)).collect();
    let mut turns: [Turns; 3] = Default::default();
    let [limit, adopted, again] = &mut turns;
    raw.read(KEYSPACE, &ids)?;
    for _ in 0..bench.scale.rounds.min(3) {
        raw.execute(&format!("TRUNCATE {KEYSPACE}.recent"))?;
        let adal = bench.adal("cql", &database.settings(KEYSPACE, "1"))?;
        let touch = || -> Done<Measured> {
            let script = Read { customers: numbers.clone().into_iter(), key: adal.service.clone() };
            http::run(adal.process.address, vec![script], Duration::from_secs(300))
        };
        limit.push(raw.read(KEYSPACE, &ids)?);
        adopted.push(opening(&adal, touch)?);
        gone(&adal)?;
        limit.push(raw.read(KEYSPACE, &ids)?);
        again.push(opening(&adal, touch)?);
        gone(&adal)?;
        adal.process.terminate()?;
    }
    let report = &mut bench.report;
    report.note(&format!(
        "cql: waking {CUSTOMERS} customers one after the other: the driver's read of the same rows: {}; over HTTP within an \
         epoch: {}; the first in an epoch: {}",
        limit.text(),
        again.text(),
        adopted.text()
    ));
    let ms = |of: &Turns| of.median(|turn| turn.ms(0.5));
    let ratio = ms(again) / ms(limit);
    report.goal(
        "cold activation on CQL within an epoch, median, of the driver's read",
        &format!("{ratio:.2} ({:.2} ms to {:.2} ms)", ms(again), ms(limit)),
        "<= 1.50",
        ratio <= 1.5,
    );
    let ratio = ms(adopted) / ms(limit);
    report.shown(
        "cold activation on CQL, the first in an epoch, median, of the driver's read",
        &format!("{ratio:.2} ({:.2} ms)", ms(adopted)),
    );
    Ok(())
}

/// Wakes all customers, and sees to it that all of them slept.
fn opening(adal: &Adal, touch: impl FnOnce() -> Done<Measured>) -> Done<Measured> {
    let before = adal.metric("adal_activations_total")?;
    let measured = touch()?;
    let opened = adal.metric("adal_activations_total")? - before;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    match opened < CUSTOMERS as f64 {
        true => Err(format!("of {CUSTOMERS} customers {opened} were opened: the others were awake").into()),
        false => Ok(measured),
    }
}

/// Waits until all customers have left memory.
fn gone(adal: &Adal) -> Done {
    let watch = Stopwatch::start();
    while adal.metric_by("adal_live_entities", "kind")?.get("customer").is_none_or(|live| *live > 0.0) {
        if watch.elapsed() > Duration::from_secs(60) {
            return Err("customers do not leave memory".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn clients(adal: &Adal, name: &str, whose: impl Fn(u64) -> Whose) -> Vec<Earn> {
    (0..CLIENTS).map(|client| Earn::new(format!("{name}-{client}"), adal.service.clone(), whose(client))).collect()
}
