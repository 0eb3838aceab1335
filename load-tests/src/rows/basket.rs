//! Real baskets: those of the grocer's year on whose days coupons were handed in, quoted as of then, with their coupons,
//! among all the year's coupons. `load-tests/replay/baskets.py` loads the catalogue and writes the requests; where the
//! year was replayed in this run, its store is taken, customers with their histories in it.
//!
//! The server is kept on one processor, so that a rate is that of one core. The client is on whatever is free.

use std::{
    path::Path,
    process::{Command, Stdio},
    rc::Rc,
};

use super::replay::{PYTHON, set_up};
use crate::{Done, bench::Bench, http, process::Adal, random::Random, report::Turns, scripts::Post};

/// Connections that keep a core busy.
const CONNECTIONS: u64 = 8;

/// Measures the row.
pub fn run(bench: &mut Bench) -> Done {
    set_up()?;
    let replayed = bench.folder.join("replay");
    let is_replayed = replayed.join("adal.db").exists();
    let folder = if is_replayed { replayed } else { bench.folder.join("basket") };
    let adal = Adal::start(&bench.binary, &folder, &[])?;
    let bodies = Rc::new(baskets(bench, &adal, &folder.join("baskets.ndjson"))?);
    adal.process.pin(0)?;
    let ask = |connections: u64| {
        let scripts = (0..connections).map(|connection| Post {
            path: "/v1/checkout/quotes",
            bodies: Rc::clone(&bodies),
            key: adal.admin.clone(),
            random: Random::new(connection),
        });
        http::run(adal.process.address, scripts.collect(), bench.scale.turn)
    };
    // Once without counting: customers and promos are read into memory.
    ask(CONNECTIONS)?;
    let (mut alone, mut busy, mut cpu) = (Turns::default(), Turns::default(), (0.0, 0));
    for _ in 0..bench.scale.rounds {
        alone.push(ask(1)?);
        let before = adal.process.cpu()?;
        let turn = ask(CONNECTIONS)?;
        cpu = (cpu.0 + adal.process.cpu()? - before, cpu.1 + turn.count);
        busy.push(turn);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let each = cpu.0 / cpu.1 as f64 * 1e6;
    let bytes: usize = bodies.iter().map(String::len).sum();
    bench.report.shown(
        "a real basket of the replay, quoted with its day's campaigns and coupons, the server on one core",
        &format!(
            "one client p50 {:.2} ms, p99 {:.2} ms; {CONNECTIONS} clients {:.0}/s, {each:.0} us of processor each; {} \
             baskets, {} bytes on average, {}",
            alone.median(|turn| turn.ms(0.5)),
            alone.p99(),
            busy.rate(),
            bodies.len(),
            bytes / bodies.len().max(1),
            if is_replayed { "the replayed year's customers" } else { "customers without a history" },
        ),
    );
    Ok(())
}

/// Loads the catalogue and gives the requests.
fn baskets(bench: &Bench, adal: &Adal, file: &Path) -> Done<Vec<String>> {
    let mut command = Command::new(PYTHON);
    command.args(["load-tests/replay/baskets.py", "--url", &format!("http://{}", adal.process.address), "--out"]);
    command.arg(file).env("ADAL_KEY", &adal.service).env("ADAL_ADMIN_KEY", &adal.admin);
    if bench.is_quick() {
        command.args(["--households", super::replay::FEW]);
    }
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).status()?;
    if !status.success() {
        return Err(format!("baskets.py: {status}").into());
    }
    let bodies: Vec<String> = std::fs::read_to_string(file)?.lines().map(str::to_owned).collect();
    if bodies.is_empty() { Err("no baskets".into()) } else { Ok(bodies) }
}
