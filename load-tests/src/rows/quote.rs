//! Quotes over HTTP, 64 connections, against a bare actix-web handler with the same bytes in and as many out: see
//! [`crate::bare`].

use std::rc::Rc;

use serde_json::{Value, json};

use crate::{
    Done,
    bench::Bench,
    http::{self, Measured},
    offers,
    process::{Adal, Process},
    random::Random,
    report::Turns,
    scripts::{Counter, Issue, Post, customer},
};

const CUSTOMERS: u64 = 1_000;
const CONNECTIONS: u64 = 64;
const PATH: &str = "/v1/checkout/quotes";
/// Offers that apply, of 50 campaigns and 100 promos.
const APPLY: usize = 10;

/// Measures the row.
pub fn run(bench: &mut Bench) -> Done {
    let adal = bench.adal("quote", &[])?;
    let (campaigns, promos) = offers::catalogue();
    adal.put_offers("campaign", &campaigns)?;
    adal.put_offers("promo", &promos)?;
    let cards = Counter::new(0, CUSTOMERS);
    let issue = (0..CONNECTIONS).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), std::time::Duration::from_secs(60))?;
    let bodies: Rc<Vec<String>> = Rc::new((0..CUSTOMERS).map(|number| body(number).to_string()).collect());
    let answer = sample(&adal, bodies.first().ok_or("no bodies")?)?;
    let bare = Process::bare(answer)?;

    let turn = bench.scale.turn;
    let ask = |process: &Process| -> Done<Measured> {
        let scripts = (0..CONNECTIONS).map(|connection| Post {
            path: PATH,
            bodies: Rc::clone(&bodies),
            key: adal.service.clone(),
            random: Random::new(connection),
        });
        http::run(process.address, scripts.collect(), turn)
    };
    // Once without counting: connections, caches, and the allocator's first pages.
    ask(&bare)?;
    ask(&adal.process)?;
    let (mut limit, mut subject, mut cpu) = (Turns::default(), Turns::default(), (0.0, 0));
    for _ in 0..bench.scale.rounds {
        limit.push(ask(&bare)?);
        let before = adal.process.cpu()?;
        let measured = ask(&adal.process)?;
        cpu = (cpu.0 + adal.process.cpu()? - before, cpu.1 + measured.count);
        subject.push(measured);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let each = cpu.0 / cpu.1 as f64 * 1e6;
    bench.report.note(&format!(
        "quote: bodies of {} bytes, answers of {answer}; bare: {}; Adal: {}, {each:.0} us of processor each",
        bodies.first().map_or(0, String::len),
        limit.text(),
        subject.text(),
    ));
    let ratio = subject.rate() / limit.rate();
    bench.report.goal(
        "quote over HTTP, 20 lines, 50 campaigns and 100 promos of which 10 apply, 64 connections, of a bare handler's rate",
        &format!("{ratio:.2} (p99 {:.2} ms; bare {:.2} ms)", subject.p99(), limit.p99()),
        ">= 0.50",
        ratio >= 0.5,
    );
    Ok(())
}

fn body(number: u64) -> Value {
    json!({
        "customer_id": customer(number), "shop_id": "s1", "channel": "app", "codes": offers::TYPED,
        "lines": offers::lines(20, false)
    })
}

/// Asks once, sees that what is measured is what the row says, and gives the answer's bytes.
fn sample(adal: &Adal, body: &str) -> Done<usize> {
    let mut request = Vec::new();
    http::write(&mut request, "POST", PATH, &adal.service, "", body);
    let answer = http::once(adal.process.address, request)?;
    let quote: Value = serde_json::from_slice(&answer)?;
    let applied = quote.get("applied").and_then(Value::as_array).map_or(0, Vec::len);
    if applied == APPLY {
        return Ok(answer.len());
    }
    Err(format!("{applied} offers apply, not {APPLY}: {quote}").into())
}
