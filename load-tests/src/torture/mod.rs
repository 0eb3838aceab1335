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
    deployment::Store,
    scenarios::{ALL, Plan, Scenario},
};
use crate::Done;

/// How to torture.
#[derive(Debug, clap::Args)]
pub struct TortureArgs {
    /// Which store.
    #[arg(long, value_enum, default_value = "sqlite")]
    store: Store,
    /// Only these scenarios.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// How often Adal is killed; other faults come a quarter to a twentieth as often.
    #[arg(long, default_value_t = 200)]
    count: u32,
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
    for scenario in ALL.into_iter().filter(|one| args.only.is_empty() || args.only.contains(one)) {
        eprintln!("torture: {scenario:?}");
        let folder = crate::bench::empty_folder(&args.folder.join(format!("{scenario:?}").to_lowercase()))?;
        let count = scenario.rounds(args.count);
        let plan = Plan { binary: &binary, folder: &folder, store: args.store, count, seed };
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
                eprintln!("torture: {scenario:?} was not run to its end: {error}");
                failed += 1;
            }
        }
    }
    print!("{}", report::table(&outcomes));
    if failed == 0 { Ok(()) } else { Err(format!("{failed} scenarios failed; their stores are kept").into()) }
}
