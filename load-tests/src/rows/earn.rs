//! Durable earns over HTTP, over many customers and of one, against raw SQLite group commit.
//!
//! One command is one request with one order event, `placed` and `completed` of an order in turn; each is one durable
//! row of the journal where customers are many. Of one customer commands that wait share a row: group commit per entity.

use std::{cell::Cell, rc::Rc, time::Duration};

use crate::{
    Done,
    bench::Bench,
    http,
    process::Adal,
    random::Random,
    raw,
    report::Turns,
    scripts::{Counter, Earn, Issue, Whose},
};

const CUSTOMERS: u64 = 10_000;
const CLIENTS: u64 = 64;
/// After so many commands "one customer" is the next one: it may remember 16,384 keys a day.
const EACH: u64 = 10_000;

/// Measures both rows.
pub fn run(bench: &mut Bench) -> Done {
    let adal = bench.adal("earn", &[])?;
    let cards = Counter::new(0, CUSTOMERS);
    let issue = (0..CLIENTS).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), Duration::from_secs(120))?;
    let mut many = clients(&adal, "many", |client| Whose::Any(CUSTOMERS, Random::new(client)));
    let sent = Rc::new(Cell::new(0));
    let mut one = clients(&adal, "one", |_| Whose::One(Rc::clone(&sent), EACH));

    let turn = bench.scale.turn;
    // Once without counting; it also says how large a row is.
    (_, many) = http::run_scripts(adal.process.address, many, turn)?;
    (_, one) = http::run_scripts(adal.process.address, one, Duration::from_secs(1))?;
    let bytes = raw::Reader::open(&adal.database)?.mean_body()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a row is far below 2^52 bytes")]
    let bytes = bytes.ceil() as usize;
    let file = bench.folder.join("raw.db");
    raw::group_commit(&file, bytes, CUSTOMERS, CLIENTS, turn)?;

    let (mut limit, mut over_many, mut of_one) = (Turns::default(), Turns::default(), Turns::default());
    let (mut cpu, mut commands, mut rows) = (0.0, 0, (0.0, 0));
    for _ in 0..bench.scale.rounds {
        limit.push(raw::group_commit(&file, bytes, CUSTOMERS, CLIENTS, turn)?);
        let before = adal.process.cpu()?;
        let turn_of_many;
        (turn_of_many, many) = http::run_scripts(adal.process.address, many, turn)?;
        cpu += adal.process.cpu()? - before;
        commands += turn_of_many.count;
        over_many.push(turn_of_many);
        let rows_before = adal.metric("adal_journal_rows_total")?;
        let turn_of_one;
        (turn_of_one, one) = http::run_scripts(adal.process.address, one, turn)?;
        rows = (rows.0 + adal.metric("adal_journal_rows_total")? - rows_before, rows.1 + turn_of_one.count);
        of_one.push(turn_of_one);
    }
    let report = &mut bench.report;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    report.note(&format!(
        "earn: raw group commit of rows of {bytes} bytes: {}; Adal over {CUSTOMERS} customers: {}, {:.0} us of processor \
         each; of one customer: {}, {:.1} commands a row",
        limit.text(),
        over_many.text(),
        cpu / commands as f64 * 1e6,
        of_one.text(),
        rows.1 as f64 / rows.0
    ));
    let ratio = over_many.rate() / limit.rate();
    report.goal(
        "durable earns, 64 clients, of raw group commit's rate",
        &format!("{ratio:.2}"),
        ">= 0.50",
        ratio >= 0.5,
    );
    let slower = over_many.p99() / limit.p99();
    report.goal("durable earns, p99, of raw group commit's p99", &format!("{slower:.2}"), "<= 2.00", slower <= 2.0);
    let ratio = of_one.rate() / over_many.rate();
    report.goal("one customer, 64 clients, of the rate over many", &format!("{ratio:.2}"), ">= 0.50", ratio >= 0.5);
    Ok(())
}

fn clients(adal: &Adal, name: &str, whose: impl Fn(u64) -> Whose) -> Vec<Earn> {
    (0..CLIENTS).map(|client| Earn::new(format!("{name}-{client}"), adal.service.clone(), whose(client))).collect()
}
