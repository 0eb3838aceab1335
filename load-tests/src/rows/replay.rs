//! The replay of a real grocer's year: baskets per second, and where the server's time goes.
//!
//! `load-tests/replay/replay.py` does the work and compares every customer with its own calculation, so the daily limits
//! stand as the policy has them. Its client is Python and shares the machine: the rate is what both reach together.

use std::process::{Command, Stdio};

use crate::{Done, bench::Bench, clock::Stopwatch, process::Adal};

pub(super) const PYTHON: &str = ".cache/replay-venv/bin/python";
/// Threads that entities live on: one for the catalogue, `actors.arbiters` each for customers and guests.
const ENTITY_LOOPS: u32 = 5;
/// Households where it is to be quick.
pub(super) const FEW: &str = "100";

/// Makes the replay's Python environment, where it is not there.
pub(super) fn set_up() -> Done {
    if Command::new("load-tests/replay/setup.sh").stdin(Stdio::null()).status()?.success() {
        return Ok(());
    }
    Err("load-tests/replay/setup.sh did not succeed".into())
}

/// Measures the row.
pub fn run(bench: &mut Bench) -> Done {
    set_up()?;
    let adal = Adal::start(&bench.binary, &bench.folder.join("replay"), &[])?;
    let mut command = Command::new(PYTHON);
    command.args(["load-tests/replay/replay.py", "--url", &format!("http://{}", adal.process.address)]);
    if bench.is_quick() {
        command.args(["--households", FEW]);
    }
    command
        .env("ADAL_KEY", &adal.service)
        .env("ADAL_ADMIN_KEY", &adal.admin)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let watch = Stopwatch::start();
    let output = command.output()?;
    let seconds = watch.seconds();
    let said = String::from_utf8(output.stdout)?;
    for line in said.lines().filter(|line| line.contains("/s") || line.starts_with("replay:")) {
        bench.report.note(&format!("replay said: {}", line.trim()));
    }
    if !output.status.success() {
        bench.report.note("replay: its comparison did not succeed; what it took is measured all the same");
    }
    time(bench, &adal, seconds)?;
    adal.process.terminate()
}

/// Where the time went: by the server's own metrics, and by the processor time of its threads.
fn time(bench: &mut Bench, adal: &Adal, seconds: f64) -> Done {
    let sum = |name: &str| adal.metric(name);
    let (http, decide, commit) = (
        sum("adal_http_request_seconds_sum")?,
        sum("adal_decide_seconds_sum")?,
        sum("adal_journal_commit_seconds_sum")?,
    );
    let (rows, decided) = (sum("adal_journal_rows_total")?, sum("adal_decisions_total")?);
    let (mut by, mut all, mut loops) = ([0.0; 4], 0.0, 0);
    for (name, cpu) in adal.process.cpu_by_thread()? {
        let group = match name.as_str() {
            // Event loops have one name; those of the entities are started before those that serve HTTP.
            name if name.starts_with("actix-rt") => {
                loops += 1;
                if loops > ENTITY_LOOPS { 0 } else { 1 }
            }
            name if name.starts_with("actix-server") => 0,
            name if name.starts_with("adal-write") || name.starts_with("adal-checkpoint") => 2,
            _ => 3,
        };
        by[group] += cpu;
        all += cpu;
    }
    bench.report.note(&format!(
        "replay: {seconds:.0} s in all (converting, sending, reading back, comparing), {rows:.0} rows, {decided:.0} decisions"
    ));
    bench.report.shown(
        "replay, processor time of the server's threads",
        &format!(
            "{all:.1} s: HTTP {:.0} %, entities (decide, apply, encode) {:.0} %, journal (writer, checkpoints) {:.0} %, others {:.0} %",
            by[0] / all * 100.0,
            by[1] / all * 100.0,
            by[2] / all * 100.0,
            by[3] / all * 100.0
        ),
    );
    bench.report.shown(
        "replay, by the metrics",
        &format!(
            "requests took {http:.1} s (overlapping; waiting included); deciding and encoding rows {decide:.1} s, on two \
             threads; commits with their fsyncs {commit:.1} s, of the {seconds:.0} s"
        ),
    );
    Ok(())
}
