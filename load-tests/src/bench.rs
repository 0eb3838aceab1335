//! What all rows share: the scale, the server's binary, the folder, the stored customers, the report.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    BenchArgs, Done, fixture, machine,
    process::Adal,
    report::Report,
    rows::{self, Name},
};

/// How large and how long.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// How often limit and subject take turns.
    pub rounds: usize,
    /// How long each turn takes.
    pub turn: Duration,
    /// Customers in the rows about many.
    pub many: u64,
    /// First touches.
    pub touches: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Bench {
    /// How large and how long.
    pub scale: Scale,
    /// The server.
    pub binary: PathBuf,
    /// Where stores are made.
    pub folder: PathBuf,
    /// What was found.
    pub report: Report,
    quick: bool,
    /// A store with many customers, once it is made.
    stored: Option<fixture::Stored>,
}

/// A policy without daily limits: 0 is none.
pub const NO_DAILY_LIMITS: [(&str, &str); 4] = [
    ("ADAL__POLICY__LIMITS__CASHBACK_OPERATIONS", "0"),
    ("ADAL__POLICY__LIMITS__POINTS_EARNED", "0"),
    ("ADAL__POLICY__LIMITS__POINTS_BURNED", "0"),
    ("ADAL__POLICY__LIMITS__SCANS", "0"),
];

impl Bench {
    /// A server on an empty store of its own, without daily limits.
    pub fn adal(&self, store: &str, settings: &[(&str, &str)]) -> Done<Adal> {
        let all: Vec<(&str, &str)> = NO_DAILY_LIMITS.iter().chain(settings).copied().collect();
        Adal::start(&self.binary, &self.folder.join(store), &all)
    }

    /// Has the server's own command make the tables of a CQL store.
    pub fn migrate(&self, settings: &[(&str, &str)]) -> Done {
        let done = Command::new(&self.binary).arg("migrate").envs(settings.iter().copied()).output()?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!("adal migrate: {}", String::from_utf8_lossy(&done.stderr)).into())
    }

    /// Whether it is only to be seen that it runs.
    pub fn is_quick(&self) -> bool {
        self.quick
    }

    /// The store with many passivated customers.
    pub fn stored(&mut self) -> Done<fixture::Stored> {
        if let Some(stored) = &self.stored {
            return Ok(stored.clone());
        }
        let stored = fixture::make(&self.folder, self.scale.many)?;
        self.report.note(&stored.about);
        self.stored = Some(stored.clone());
        Ok(stored)
    }
}

/// Runs what was asked for.
pub fn run(args: BenchArgs) -> Done {
    let scale = if args.quick {
        Scale { rounds: 2, turn: Duration::from_secs(2), many: 100_000, touches: 2_000 }
    } else {
        Scale { rounds: 5, turn: Duration::from_secs(6), many: 1_000_000, touches: 20_000 }
    };
    let binary = match args.adal {
        Some(binary) => binary,
        None => std::env::current_exe()?.with_file_name("adal"),
    };
    if !binary.exists() {
        return Err(format!("there is no server at {}: cargo build --release --bin adal", binary.display()).into());
    }
    let folder = empty_folder(&args.folder)?;
    let mut bench = Bench { scale, binary, folder, report: Report::default(), quick: args.quick, stored: None };
    if args.quick {
        bench.report.note("quick: a tenth of the counts, short rounds; these figures say little");
    }
    bench.report.note(&machine::describe(&bench.folder)?);
    let wanted = |name: Name| args.only.is_empty() || args.only.contains(&name);
    for name in rows::ALL.into_iter().filter(|name| wanted(*name)) {
        eprintln!("bench: {name:?}");
        if let Err(error) = name.run(&mut bench) {
            bench.report.failed(name, &*error);
        }
    }
    bench.report.note(&machine::load()?);
    bench.report.print();
    if !args.keep {
        std::fs::remove_dir_all(&bench.folder)?;
    }
    Ok(())
}

/// An empty folder, by its whole name. One that holds what is not ours is left alone.
pub fn empty_folder(folder: &Path) -> Done<PathBuf> {
    const MARK: &str = ".adal-bench";
    if folder.exists() {
        if !folder.join(MARK).exists() && std::fs::read_dir(folder)?.next().is_some() {
            return Err(format!("{} is not empty, and no benchmark made it", folder.display()).into());
        }
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(MARK), "made and emptied by adal-load-tests\n")?;
    Ok(folder.canonicalize()?)
}
