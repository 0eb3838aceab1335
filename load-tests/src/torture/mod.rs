//! Proof by faults: a recorder sends commands to a real Adal and keeps what was answered, faults come at random moments,
//! and a checker compares what was recorded with what the store says. Nothing that was acknowledged may be missing, and
//! nothing may have happened twice: zero in every column of loss is the only pass.
//!
//! Everything is on loopback, bounded in count and time, and in a folder of its own. A seed decides what the clients do
//! and when faults come; how the machine's threads take turns it cannot decide.

pub mod checker;
pub mod command;
pub mod deployment;
pub mod disk;
pub mod line;
pub mod place;
pub mod proxy;
pub mod recorder;
pub mod report;
pub mod scenarios;
pub mod seen;
pub mod shopper;

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
};

use self::{
    place::Store,
    scenarios::{ALL, Plan, Scenario},
};
use crate::Done;

/// How to torture.
#[derive(Debug, clap::Args)]
pub struct TortureArgs {
    /// Which stores.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sqlite,cql")]
    store: Vec<Store>,
    /// Only these scenarios, each on the stores that it is about.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// How often Adal is killed, else 200 times on SQLite and 50 on CQL; other faults come half to a 25th as often.
    #[arg(long)]
    count: Option<u32>,
    /// What is drawn from; else any, and it is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// The server's binary; else the one beside this one.
    #[arg(long)]
    adal: Option<PathBuf>,
    /// A folder for the stores: made; kept where something is wrong.
    #[arg(long, default_value = ".cache/torture")]
    folder: PathBuf,
}

/// A seed that nobody chose.
pub fn any_seed() -> u64 {
    RandomState::new().hash_one(7) >> 24
}

/// Runs what was asked for, and prints the table.
///
/// # Errors
/// Where anything was lost, or a scenario could not be run to its end.
pub fn run(args: TortureArgs) -> Done {
    let binary = match args.adal {
        Some(binary) => binary.canonicalize()?,
        None => std::env::current_exe()?.with_file_name("adal"),
    };
    let seed = args.seed.unwrap_or_else(any_seed);
    eprintln!("torture: seed {seed}");
    let (mut outcomes, mut failed) = (Vec::new(), 0);
    let wanted = |one: &Scenario| args.only.is_empty() || args.only.contains(one);
    let runs =
        |store: Store| ALL.into_iter().filter(wanted).filter(move |one| one.is_on(store)).map(move |one| (store, one));
    let runs: Vec<_> = args.store.iter().copied().flat_map(runs).collect();
    if runs.is_empty() {
        return Err("none of these scenarios is about that store".into());
    }
    for (store, scenario) in runs {
        let name = store.name();
        eprintln!("torture: {scenario:?} on {name}");
        let folder = crate::bench::empty_folder(&args.folder.join(format!("{scenario:?}-{name}").to_lowercase()))?;
        let count = scenario.rounds(args.count.unwrap_or_else(|| store.kills()));
        let plan = Plan { binary: &binary, folder: &folder, store, shared: None, count, seed };
        match scenario.run(&plan) {
            Ok(outcome) => {
                eprint!("{}", outcome.told());
                if outcome.is_clean() {
                    std::fs::remove_dir_all(&folder)?;
                } else {
                    failed += 1;
                }
                outcomes.push(outcome);
            }
            Err(error) => {
                eprintln!("torture: {scenario:?} on {name} was not run to its end: {error}");
                failed += 1;
            }
        }
    }
    print!("{}", report::table(&outcomes));
    if failed == 0 { Ok(()) } else { Err(format!("{failed} scenarios failed; their stores are kept").into()) }
}
