//! On what the figures were taken, measured in the run: a rate is the machine's as much as the program's.

use std::{fs::File, io::Write, path::Path};

use crate::{Done, clock::Stopwatch, report::median};

/// Processors, memory, how long an fsync takes, and what else was going on.
pub fn describe(folder: &Path) -> Done<String> {
    let cores = std::thread::available_parallelism()?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("?").trim();
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("?")
        .trim_start_matches([' ', '\t', ':']);
    let (median_ms, p99_ms) = fsync(&folder.join("fsync"))?;
    Ok(format!(
        "machine: {cores} cores ({model}), {total} memory; fdatasync of 4 KiB: median {median_ms:.2} ms, p99 {p99_ms:.2} ms; {}",
        load()?
    ))
}

/// The load average.
pub fn load() -> Done<String> {
    Ok(format!("load average {}", std::fs::read_to_string("/proc/loadavg")?.trim()))
}

fn fsync(path: &Path) -> Done<(f64, f64)> {
    let mut file = File::create(path)?;
    let mut times = Vec::new();
    for _ in 0..300 {
        file.write_all(&[7; 4096])?;
        let watch = Stopwatch::start();
        file.sync_data()?;
        times.push(watch.seconds() * 1e3);
    }
    std::fs::remove_file(path)?;
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    Ok((median(times), sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(f64::NAN)))
}
