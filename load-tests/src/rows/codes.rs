//! A million unique codes: how long the server takes to make them, what they cost its memory, and what the first use of
//! one costs beside one more use of a shared code.

use std::{cell::RefCell, rc::Rc, time::Duration};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    Done,
    bench::Bench,
    clock::Stopwatch,
    http,
    process::Adal,
    raw::Reader,
    sales::{Sale, Steps, promo, usage},
    scripts::{Counter, Issue, customer},
};

const CUSTOMERS: u64 = 1_000;
/// How long the job may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(600);
/// Redemptions of each kind in a turn.
const EACH: u64 = 200;

/// Measures the rows.
pub fn run(bench: &mut Bench) -> Done {
    let adal = bench.adal("codes", &[])?;
    adal.put_offers("promo", &[("unique".to_owned(), promo(None, None))])?;
    adal.put_offers("promo", &[("shared".to_owned(), promo(Some("SHARED"), Some(1_000_000_000)))])?;
    let cards = Counter::new(0, CUSTOMERS);
    let issue = (0..8).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), Duration::from_secs(60))?;
    generate(bench, &adal)?;
    redeem(bench, &adal)
}

fn generate(bench: &mut Bench, adal: &Adal) -> Done {
    let count = bench.scale.many;
    let empty = adal.process.resident()?;
    let watch = Stopwatch::start();
    let job = adal.call("POST", "/v1/promos/unique/codes", &adal.admin, Some(&json!({"count": count})))?;
    let id = job.get("job_id").and_then(Value::as_str).ok_or("a job without id")?;
    let path = format!("/v1/jobs/{id}");
    loop {
        let job = adal.call("GET", &path, &adal.admin, None)?;
        if job.get("state").and_then(Value::as_str) == Some("done") {
            break;
        }
        if watch.elapsed() > PATIENCE {
            return Err(format!("not done: {job}").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let seconds = watch.seconds();
    let bytes = adal.process.resident()?.saturating_sub(empty) / count;
    let stored = Reader::open(&adal.database)?.count_codes()?;
    if stored != count {
        return Err(format!("{stored} codes are stored, not {count}").into());
    }
    let report = &mut bench.report;
    report.goal(&format!("{count} unique codes generated"), &format!("{seconds:.1} s"), "<= 60 s", seconds <= 60.0);
    report.goal("memory per stored code", &format!("{bytes} bytes"), "<= 100 bytes", bytes <= 100);
    Ok(())
}

/// One client, sales by turns with unique codes that nobody has used and with the shared one. Both keep one use at one
/// promo that limits it; the unique one's has to be made.
fn redeem(bench: &mut Bench, adal: &Adal) -> Done {
    let turns = bench.scale.rounds as u64 * 2;
    let mut codes = Reader::open(&adal.database)?.codes(turns * EACH)?.into_iter();
    let (mut unique, mut shared) = (Steps::new()?, Steps::new()?);
    let mut number = 0;
    for turn in 0..=turns {
        // The first turn is not counted.
        let counted = turn > 0;
        for (name, all) in [("u", &mut unique), ("s", &mut shared)] {
            let steps = Rc::new(RefCell::new(Steps::new()?));
            let shoppers: Vec<_> = (0..if counted { EACH } else { 10 })
                .filter_map(|_| {
                    number += 1;
                    let code = if name == "u" && counted { codes.next()? } else { "SHARED".to_owned() };
                    Some((customer(number % CUSTOMERS), code))
                })
                .collect();
            let client = Sale::new(format!("{name}{turn}"), adal.service.clone(), &steps, shoppers.into_iter());
            http::run(adal.process.address, vec![client], Duration::from_secs(120))?;
            if counted {
                let steps = steps.borrow();
                all.hold.add(&steps.hold)?;
                all.sale.add(&steps.sale)?;
            }
        }
    }
    report(bench, &unique, &shared);
    let (taken, held) = usage(adal, "unique")?;
    let exact = taken + held == turns * EACH;
    bench.report.goal("unique codes used", &format!("{}", taken + held), &format!("{}", turns * EACH), exact);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn report(bench: &mut Bench, unique: &Steps, shared: &Steps) {
    let ms = |of: &Histogram<u64>, share: f64| of.value_at_quantile(share) as f64 / 1e6;
    let text = |of: &Steps| {
        format!(
            "hold p50 {:.2} ms, p99 {:.2} ms, with its capture p50 {:.2} ms",
            ms(&of.hold, 0.5),
            ms(&of.hold, 0.99),
            ms(&of.sale, 0.5)
        )
    };
    let note = format!("redemptions, {} of each: unique {}; shared {}", unique.sale.len(), text(unique), text(shared));
    bench.report.note(&note);
    let ratio = ms(&unique.hold, 0.5) / ms(&shared.hold, 0.5);
    let slow = ms(&unique.hold, 0.99) / ms(&shared.hold, 0.99);
    bench.report.goal(
        "first redemption of a unique code (its hold), of a shared code's: median",
        &format!("{ratio:.2}x (p99 {slow:.2}x)"),
        "<= 2x",
        ratio <= 2.0,
    );
}
