//! That a command's cost stays level: with the number of customers, and with the number of commands of one customer.
//!
//! Cost is processor time of the server's process per command: on a machine that others use it is the steadiest
//! figure, and it hides nothing but waiting. Rates stand beside it, and raw SQLite's rate over as many customers: more
//! customers are more pages to write, for anyone.

use std::time::Duration;

use super::memory;
use crate::{
    Done,
    bench::Bench,
    http,
    random::Random,
    raw,
    report::median,
    scripts::{Counter, Earn, Issue, Whose},
};

const CLIENTS: u64 = 64;
/// Bytes of a raw row: about those of an earn's.
const RAW_BYTES: usize = 600;

/// Measures the rows.
pub fn run(bench: &mut Bench) -> Done {
    let mut costs = Vec::new();
    let most = bench.scale.many;
    for customers in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= most) {
        costs.push((customers, with_customers(bench, customers)?));
    }
    // A command waits for the disk: its cost is the mean over seconds, and 1.25 of noise on a shared machine is nothing.
    let all: Vec<f64> = costs.iter().map(|(_, cost)| *cost).collect();
    let ratio = all.last().copied().unwrap_or(f64::NAN) / all.first().copied().unwrap_or(f64::NAN);
    let what = format!("processor time of a command, {} customers, of that with 1000", bench.scale.many);
    bench.report.goal(&what, &format!("{ratio:.2}"), "level (<= 1.25)", ratio <= 1.25);
    one_customer(bench)
}

/// Issues so many cards and lets earns go over all of them; gives microseconds of processor per command.
fn with_customers(bench: &mut Bench, customers: u64) -> Done<f64> {
    let adal = bench.adal(&format!("level-{customers}"), &[])?;
    let empty = adal.process.resident()?;
    let cards = Counter::new(0, customers);
    let issue = (0..CLIENTS).map(|_| Issue { customers: cards.clone(), key: adal.service.clone() });
    let issued = http::run(adal.process.address, issue.collect(), Duration::from_secs(900))?;
    if customers == bench.scale.many {
        bench.report.note(&format!("memory: {} cards issued, {:.0}/s", issued.count, issued.rate()));
        // What was in flight is given back, and the gauge is set, within seconds.
        std::thread::sleep(Duration::from_secs(11));
        memory::say(bench, &adal, empty, customers, "with a new card", 1536)?;
    }
    let mut clients: Vec<Earn> = (0..CLIENTS)
        .map(|client| {
            let whose = Whose::Any(customers, Random::new(client));
            Earn::new(format!("level-{client}"), adal.service.clone(), whose)
        })
        .collect();
    let (mut costs, mut rates, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    let file = bench.folder.join(format!("raw-{customers}.db"));
    for _ in 0..bench.scale.rounds.min(3) {
        limits.push(raw::group_commit(&file, RAW_BYTES, customers, CLIENTS, bench.scale.turn / 2)?.rate());
        let before = adal.process.cpu()?;
        let turn;
        (turn, clients) = http::run_scripts(adal.process.address, clients, bench.scale.turn)?;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        costs.push((adal.process.cpu()? - before) / turn.count as f64 * 1e6);
        rates.push(turn.rate());
    }
    let (cost, rate, limit) = (median(costs), median(rates), median(limits));
    bench.report.shown(
        &format!("earns over {customers} resident customers, 64 clients"),
        &format!("{cost:.0} us of processor each; {rate:.0}/s; raw group commit {limit:.0}/s"),
    );
    Ok(cost)
}

/// One client, one customer, from its first command to its 10,000th.
fn one_customer(bench: &mut Bench) -> Done {
    let adal = bench.adal("level-one", &[])?;
    let mut script = Earn::new("one".to_owned(), adal.service.clone(), Whose::This(0));
    let cards = Issue { customers: Counter::new(0, 1), key: adal.service.clone() };
    http::run(adal.process.address, vec![cards], Duration::from_secs(10))?;
    let (mut done, mut costs) = (0_u64, Vec::new());
    for (until, counted) in [(10, false), (210, true), (1_000, false), (1_200, true), (9_800, false), (10_000, true)] {
        script.left = until - done;
        let before = adal.process.cpu()?;
        let (turn, mut back) = http::run_scripts(adal.process.address, vec![script], Duration::from_secs(600))?;
        script = back.pop().ok_or("the script is gone")?;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let cost = (adal.process.cpu()? - before) / turn.count as f64 * 1e6;
        if counted {
            bench.report.shown(
                &format!("one customer, one client, commands {} to {until}", done + 1),
                &format!("{cost:.0} us of processor each; p50 {:.2} ms", turn.ms(0.5)),
            );
            costs.push(cost);
        }
        done = until;
    }
    let ratio = costs.last().copied().unwrap_or(f64::NAN) / costs.first().copied().unwrap_or(f64::NAN);
    let what = "processor time of a command, one customer's 10,000th, of its 10th";
    bench.report.goal(what, &format!("{ratio:.2}"), "level (<= 1.25)", ratio <= 1.25);
    Ok(())
}
