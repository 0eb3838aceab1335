//! The first touch of a passivated customer, against a raw read of the same rows.
//!
//! The server is fresh: none of its customers is in memory. One client asks for a card that nobody has asked for yet; the
//! limit is what SQLite alone takes for the same snapshot and rows of other customers nobody has read yet. They take
//! turns. The file is in the operating system's page cache, for both.

use std::time::Duration;

use crate::{
    Done,
    bench::Bench,
    clock::Stopwatch,
    http::{self, Measured, histogram},
    process::Adal,
    raw::Reader,
    report::Turns,
    scripts::{Read, customer},
};

/// Measures the row.
pub fn run(bench: &mut Bench) -> Done {
    let stored = bench.stored()?;
    let adal = Adal::start(&bench.binary, &stored.folder, &crate::bench::NO_DAILY_LIMITS)?;
    let reader = Reader::open(&adal.database)?;
    let rounds = bench.scale.rounds as u64 * 2;
    let each = bench.scale.touches / rounds;
    // Every customer once, in an order that jumps through the file: a step without a common factor with their number.
    let mut order = (0..stored.customers).map(|n| n * 618_033 % stored.customers);
    let (mut limit, mut subject) = (Turns::default(), Turns::default());
    let (mut all_limit, mut all_subject) = (histogram()?, histogram()?);
    for _ in 0..rounds {
        let mut latency = histogram()?;
        let watch = Stopwatch::start();
        for number in order.by_ref().take(usize::try_from(each)?) {
            let id = customer(number);
            let asked = Stopwatch::start();
            reader.read(&id)?;
            latency.saturating_record(u64::try_from(asked.elapsed().as_nanos())?);
        }
        all_limit.add(&latency)?;
        limit.push(Measured { count: latency.len(), seconds: watch.seconds(), latency });
        let customers: Vec<u64> = order.by_ref().take(usize::try_from(each)?).collect();
        let script = Read { customers: customers.into_iter(), key: adal.service.clone() };
        let turn = http::run(adal.process.address, vec![script], Duration::from_secs(300))?;
        all_subject.add(&turn.latency)?;
        subject.push(turn);
    }
    let opened = adal.metric("adal_activations_total")?;
    bench.report.note(&format!(
        "first touch, {} of each: raw read: {}; over HTTP: {}; {opened:.0} entities were opened",
        each * rounds,
        limit.text(),
        subject.text()
    ));
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let p99 = |of: &hdrhistogram::Histogram<u64>| of.value_at_quantile(0.99) as f64 / 1e6;
    let above = p99(&all_subject) - p99(&all_limit);
    let what = format!("first touch of a passivated customer out of {}, p99 above a raw read's p99", stored.customers);
    bench.report.goal(&what, &format!("{above:.2} ms"), "<= 1 ms", above <= 1.0);
    Ok(())
}
