//! Hold and capture over HTTP with one promo whose limit all share, 64 clients, against raw SQLite group commit of as
//! many rows of the same size.
//!
//! How many rows a sale writes, and how large they are, is read from the server's own journal: the promo's reservations
//! and ends come in batches, so that it is no whole number. The promo's reservation and the customer's hold are written
//! one after the other: a hold waits for two commits, and is held against a raw client's wait for one.

use std::{cell::RefCell, rc::Rc, time::Duration};

use hdrhistogram::Histogram;

use crate::{
    Done,
    bench::Bench,
    http,
    process::Adal,
    random::Random,
    raw::{self, Reader},
    report::{Turns, median},
    sales::{Sale, Steps, promo, usage},
    scripts::{Counter, Issue, customer},
};

const CUSTOMERS: u64 = 10_000;
const CLIENTS: u64 = 64;

/// What the turns gave.
#[derive(Default)]
struct Found {
    sales: Vec<f64>,
    rows_each: Vec<f64>,
    hold: Vec<f64>,
    capture: Vec<f64>,
    sale: Vec<f64>,
    total: u64,
}

/// Measures the rows.
pub fn run(bench: &mut Bench) -> Done {
    let adal = bench.adal("hold", &[])?;
    adal.put_offers("promo", &[("shared".to_owned(), promo(Some("SHARED"), Some(1_000_000_000)))])?;
    let cards = Counter::new(0, CUSTOMERS);
    let issue = (0..CLIENTS).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), Duration::from_secs(120))?;
    let steps = Rc::new(RefCell::new(Steps::new()?));
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let mut random = Random::new(client);
            // Customers of its own: two holds at once are all that one may have.
            let next = move || {
                let number = client + CLIENTS * random.below(CUSTOMERS / CLIENTS);
                Some((customer(number), "SHARED".to_owned()))
            };
            Sale::new(format!("hold-{client}"), adal.service.clone(), &steps, std::iter::from_fn(next))
        })
        .collect();
    let turn = bench.scale.turn;
    // Once without counting; it also says how large a row is.
    let before = Reader::open(&adal.database)?.bodies()?;
    (_, clients) = http::run_scripts(adal.process.address, clients, turn)?;
    let bytes = mean(before, Reader::open(&adal.database)?.bodies()?)?;
    let mut found = Found { total: steps.replace(Steps::new()?).sale.len(), ..Found::default() };
    let file = bench.folder.join("raw-hold.db");
    raw::group_commit(&file, bytes, CUSTOMERS, CLIENTS, turn)?;
    let mut limit = Turns::default();
    for _ in 0..bench.scale.rounds {
        limit.push(raw::group_commit(&file, bytes, CUSTOMERS, CLIENTS, turn)?);
        let rows = adal.metric("adal_journal_rows_total")?;
        let measured;
        (measured, clients) = http::run_scripts(adal.process.address, clients, turn)?;
        let rows = adal.metric("adal_journal_rows_total")? - rows;
        found.add(&steps.replace(Steps::new()?), rows, measured.seconds);
    }
    let open = u64::try_from(clients.len())?;
    drop(clients);
    report(bench, &limit, &found, bytes);
    count(bench, &adal, found.total, open)
}

impl Found {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn add(&mut self, steps: &Steps, rows: f64, seconds: f64) {
        let p99 = |of: &Histogram<u64>| of.value_at_quantile(0.99) as f64 / 1e6;
        let sales = steps.sale.len();
        self.total += sales;
        self.sales.push(sales as f64 / seconds);
        self.rows_each.push(rows / sales as f64);
        self.hold.push(p99(&steps.hold));
        self.capture.push(p99(&steps.capture));
        self.sale.push(p99(&steps.sale));
    }
}

fn report(bench: &mut Bench, limit: &Turns, found: &Found, bytes: usize) {
    let of = |all: &[f64]| median(all.to_vec());
    let (sales, rows_each) = (of(&found.sales), of(&found.rows_each));
    let (hold, capture, sale) = (of(&found.hold), of(&found.capture), of(&found.sale));
    let most = limit.rate() / rows_each;
    bench.report.note(&format!(
        "hold + capture: {rows_each:.2} rows each, {bytes} bytes on average; raw group commit of such rows: {}, so \
         {most:.0} sales/s at most; Adal {sales:.0} sales/s; p99 of a hold {hold:.1} ms, of a capture {capture:.1} ms, of \
         both {sale:.1} ms",
        limit.text(),
    ));
    let ratio = sales / most;
    bench.report.goal(
        "hold + capture over HTTP, one shared-limit promo, 64 clients, of raw group commit of as many rows",
        &format!("{ratio:.2} ({sales:.0}/s to {most:.0}/s)"),
        ">= 0.50",
        ratio >= 0.5,
    );
    let slower = hold.max(capture) / limit.p99();
    bench.report.goal(
        "the same, p99 of a hold (the slower of the two), of a raw row's p99",
        &format!("{slower:.2} ({:.1} ms to {:.1} ms)", hold.max(capture), limit.p99()),
        "<= 4.00",
        slower <= 4.0,
    );
}

/// Every sale took one use: what was captured is what is taken, and no client has more than one hold open.
fn count(bench: &mut Bench, adal: &Adal, captured: u64, open: u64) -> Done {
    // A promo hears of a capture by an effect, right after its answer.
    let mut seen = (0, 0);
    for _ in 0..100 {
        seen = usage(adal, "shared")?;
        if seen.0 == captured && seen.1 <= open {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let exact = seen.0 == captured && seen.1 <= open;
    let measured = format!("{} captured, {} taken, {} held", captured, seen.0, seen.1);
    bench.report.goal("the same, uses counted", &measured, "exact", exact);
    Ok(())
}

/// Bytes of a row between two counts of (rows, bytes).
fn mean(before: (u64, u64), after: (u64, u64)) -> Done<usize> {
    let rows = after.0.saturating_sub(before.0).max(1);
    Ok(usize::try_from(after.1.saturating_sub(before.1).div_ceil(rows))?)
}
