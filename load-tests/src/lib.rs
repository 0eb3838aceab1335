//! A real Adal under load: benchmarks, each against a limit that is measured in the same run, by the same client, on the
//! same machine; and faults ([`torture`]).
//!
//! `bench` runs every row of `docs/reference/benchmarks.md` and prints what it measured, against what, and whether the
//! goal is met; that it is not is no error. The server is the release binary in a process of its own; everything is on
//! loopback, bounded in count and time, and in a folder of its own that is emptied first and removed afterwards.

mod bare;
mod bench;
mod clock;
mod fixture;
mod http;
mod machine;
mod offers;
mod process;
mod random;
mod raw;
mod raw_cql;
mod raw_take_over;
mod report;
mod rows;
mod sales;
mod scripts;
pub mod torture;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// What may fail: the text goes to stderr.
pub type Done<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Parser)]
#[command(about = "Adal under load: benchmarks against limits measured in the same run, and faults")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the benchmarks.
    Bench(BenchArgs),
    /// Do the worst to it, and count what is lost.
    Torture(torture::TortureArgs),
    /// The bare server that scans are compared with; `bench` starts it.
    #[command(hide = true)]
    Bare {
        /// Bytes of the answer's body.
        #[arg(long)]
        body_bytes: usize,
    },
}

/// How to run the benchmarks.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Only these rows.
    #[arg(long, value_delimiter = ',')]
    only: Vec<rows::Name>,
    /// A tenth of the counts and short rounds: to see that it runs. Its figures say little.
    #[arg(long)]
    quick: bool,
    /// The server's binary; else the one beside this one.
    #[arg(long)]
    adal: Option<PathBuf>,
    /// A folder for the stores (up to 15 GB): made, emptied first, removed afterwards.
    #[arg(long, default_value = ".cache/bench")]
    folder: PathBuf,
    /// Keep the folder.
    #[arg(long)]
    keep: bool,
}

/// The program: what its arguments ask for.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Bench(args) => bench::run(args),
        Command::Torture(args) => torture::run(args),
        Command::Bare { body_bytes } => bare::serve(body_bytes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adal-load-tests: {error}");
            ExitCode::FAILURE
        }
    }
}
