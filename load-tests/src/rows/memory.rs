//! Memory of a resident customer: the resident set of the server's process with all of them in memory, less that of the
//! same server before, by their number. Everything counts: state, actor, mailbox, slot, table, the allocator's waste,
//! and what else the process took meanwhile (page caches of SQLite).
//!
//! With the state of a year: the stored customers, woken by a read over HTTP. The row with a new card is measured in
//! [`super::level`], where a million cards are issued.

use std::time::Duration;

use crate::{
    Done,
    bench::Bench,
    http,
    process::Adal,
    scripts::{Counter, Read},
};

const CLIENTS: usize = 64;

/// Measures the row with the state of a year.
pub fn run(bench: &mut Bench) -> Done {
    let stored = bench.stored()?;
    let adal = Adal::start(&bench.binary, &stored.folder, &crate::bench::NO_DAILY_LIMITS)?;
    let empty = adal.process.resident()?;
    let customers = Counter::new(0, stored.customers);
    let reads = (0..CLIENTS).map(|_| Read { customers: customers.clone(), key: adal.service.clone() });
    let woken = http::run(adal.process.address, reads.collect(), Duration::from_secs(600))?;
    bench.report.note(&format!("memory: {} customers woken, {}", woken.count, rate(&woken)));
    say(bench, &adal, empty, stored.customers, "with the state of a year", 3 * 1024)
}

fn rate(measured: &http::Measured) -> String {
    format!("{:.0}/s, p99 {:.2} ms", measured.rate(), measured.ms(0.99))
}

/// Reports the memory of `customers` that are resident now.
pub fn say(bench: &mut Bench, adal: &Adal, empty: u64, customers: u64, what: &str, goal: u64) -> Done {
    let awake = adal.process.resident()?.saturating_sub(empty) >> 20;
    rested(adal)?;
    let resident = adal.metric("adal_live_entities")?;
    let full = adal.process.resident()?;
    let each = full.saturating_sub(empty) / customers.max(1);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let weight = adal.metric("adal_live_bytes")? / customers as f64;
    bench.report.note(&format!(
        "memory {what}: {resident:.0} entities live, {} MiB above {} MiB ({awake} MiB before their actors rested); by their \
         own account {weight:.0} bytes of state each",
        full.saturating_sub(empty) >> 20,
        empty >> 20,
    ));
    let name = format!("memory per resident customer, {customers} resident, {what}");
    bench.report.goal(&name, &format!("{each} bytes"), &format!("<= {goal} bytes"), each <= goal);
    Ok(())
}

/// Waits until no customer has an actor any more: who is not asked for ten seconds gives it back.
fn rested(adal: &Adal) -> Done {
    for _ in 0..120 {
        if adal.metric("adal_awake_entities")? < 1.0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Err("customers that nobody asks still have actors after two minutes".into())
}
