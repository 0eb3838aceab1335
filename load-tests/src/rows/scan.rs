//! Scans of resident customers, 64 connections, against a bare actix-web handler: see [`crate::bare`].

use std::rc::Rc;

use crate::{
    Done,
    bench::Bench,
    http::{self, Measured},
    process::{Adal, Process},
    random::Random,
    report::Turns,
    scripts::{Counter, Earn, Issue, Post, Whose, customer},
};

const CUSTOMERS: u64 = 1_000;
const CONNECTIONS: u64 = 64;

/// Measures the row.
pub fn run(bench: &mut Bench) -> Done {
    let adal = bench.adal("scan", &[])?;
    let bodies = Rc::new(codes(&adal)?);
    let mut request = Vec::new();
    http::write(&mut request, "POST", "/v1/pos/scan", &adal.pos, "", bodies.first().ok_or("no codes")?);
    let answer = http::once(adal.process.address, request)?;
    let bare = Process::bare(answer.len())?;

    let turn = bench.scale.turn;
    let ask = |process: &Process| -> Done<Measured> {
        let scripts = (0..CONNECTIONS).map(|connection| Post {
            path: "/v1/pos/scan",
            bodies: Rc::clone(&bodies),
            key: adal.pos.clone(),
            random: Random::new(connection),
        });
        http::run(process.address, scripts.collect(), turn)
    };
    // Once without counting: connections, caches, and the allocator's first pages.
    ask(&bare)?;
    ask(&adal.process)?;
    let (mut limit, mut subject) = (Turns::default(), Turns::default());
    let mut cpu = (0.0, 0.0, 0, 0);
    for _ in 0..bench.scale.rounds {
        let before = (bare.cpu()?, adal.process.cpu()?);
        let (one, two) = (ask(&bare)?, ask(&adal.process)?);
        cpu = (
            cpu.0 + bare.cpu()? - before.0,
            cpu.1 + adal.process.cpu()? - before.1,
            cpu.2 + one.count,
            cpu.3 + two.count,
        );
        limit.push(one);
        subject.push(two);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let each = (cpu.0 / cpu.2 as f64 * 1e6, cpu.1 / cpu.3 as f64 * 1e6);
    bench.report.note(&format!(
        "scan: answers of {} bytes; bare: {} and {:.0} us of processor each; Adal: {} and {:.0} us each",
        answer.len(),
        limit.text(),
        each.0,
        subject.text(),
        each.1
    ));
    let ratio = subject.rate() / limit.rate();
    bench.report.goal(
        "POST /v1/pos/scan, 64 connections, of a bare handler's rate",
        &format!("{ratio:.2}"),
        ">= 0.60",
        ratio >= 0.6,
    );
    Ok(())
}

/// Cards with some history, and a request body with a `pay` code for each.
fn codes(adal: &Adal) -> Done<Vec<String>> {
    let connections = || 0..CONNECTIONS;
    let cards = Counter::new(0, CUSTOMERS);
    let issue = connections().map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    http::run(adal.process.address, issue.collect(), std::time::Duration::from_secs(60))?;
    let orders = connections().map(|connection| {
        let whose = Whose::Any(CUSTOMERS, Random::new(connection));
        Earn::new(format!("scan-{connection}"), adal.service.clone(), whose).only(100)
    });
    http::run(adal.process.address, orders.collect(), std::time::Duration::from_secs(60))?;
    (0..CUSTOMERS)
        .map(|number| {
            let mut request = Vec::new();
            let path = format!("/v1/customers/{}/card/qr?intent=pay", customer(number));
            http::write(&mut request, "GET", &path, &adal.service, "Accept: application/json\r\n", "");
            let answer: serde_json::Value = serde_json::from_slice(&http::once(adal.process.address, request)?)?;
            let text = answer.get("text").and_then(serde_json::Value::as_str).ok_or("a code without text")?;
            Ok(serde_json::json!({ "code": text }).to_string())
        })
        .collect()
}
