//! What is tortured: one or more Adal processes over one store, with everything that can be done to them from outside.
//!
//! The controlling thread owns it. The clients see of it the [`Target`] alone: where each process listens now, if it
//! does. A process that is started again gets ports of its own: its old ones may have been taken meanwhile.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, PoisonError, RwLock},
};

use serde::Deserialize;

use super::command::Role;
use crate::{
    Done,
    process::{Process, free_ports},
};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// One file, one process.
    Sqlite,
}

/// Where the processes listen now.
#[derive(Debug, Default)]
pub struct Target(RwLock<Vec<Option<SocketAddr>>>);

impl Target {
    /// Where a client of that number asks; none: its process is away.
    pub fn of(&self, client: usize) -> Option<SocketAddr> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(client % all.len().max(1)).copied().flatten()
    }

    fn set(&self, node: usize, address: Option<SocketAddr>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.get_mut(node) {
            *place = address;
        }
    }
}

/// The callers' credentials.
#[derive(Debug, Clone)]
pub struct Keys {
    service: String,
    admin: String,
    pos: String,
}

impl Keys {
    /// The key of a role.
    pub fn of(&self, role: Role) -> &str {
        match role {
            Role::Service => &self.service,
            Role::Admin => &self.admin,
            Role::Pos => &self.pos,
        }
    }
}

/// What `adal check --json` says.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Checked {
    /// Nothing is wrong.
    pub sound: bool,
    /// How many problems there are.
    pub found: u64,
    /// The first of them.
    pub problems: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Deployment {
    binary: PathBuf,
    /// Where the log is, and the store unless it was put elsewhere.
    folder: PathBuf,
    /// The database file.
    pub database: PathBuf,
    settings: Vec<(String, String)>,
    /// By how many seconds the clock of processes to come is ahead.
    ahead_s: i64,
    nodes: Vec<Option<Process>>,
    /// Where the processes listen.
    pub target: Arc<Target>,
    /// The callers' credentials.
    pub keys: Keys,
}

/// No limits of a day, one rate of cashback for all tiers, holds that may last a second, snapshots and rests so often
/// that every run meets them: what is decided is then known from the commands alone, and nothing takes a day.
const SETTINGS: [(&str, &str); 17] = [
    ("ADAL__LIMITS__ENABLED", "false"),
    ("ADAL__LOG__LEVEL", "warn"),
    ("ADAL__SERVER__WORKERS", "1"),
    ("ADAL__ACTORS__ARBITERS", "2"),
    ("ADAL__ACTORS__SNAPSHOT_EVERY_ROWS", "20"),
    ("ADAL__ACTORS__REST_AFTER_S", "1"),
    ("ADAL__ACTORS__IDLE_AFTER_S", "3"),
    ("ADAL__ACTORS__TIMER_EVERY_MS", "100"),
    ("ADAL__STORE__SQLITE__CHECKPOINT_PAGES", "256"),
    ("ADAL__POLICY__CHECKOUT__HOLD_TTL_MIN_S", "1"),
    ("ADAL__POLICY__LOYALTY__TIER_RATE_PERMYRIAD", "[100, 100, 100, 100]"),
    ("ADAL__POLICY__LIMITS__CASHBACK_OPERATIONS", "0"),
    ("ADAL__POLICY__LIMITS__POINTS_EARNED", "0"),
    ("ADAL__POLICY__LIMITS__POINTS_BURNED", "0"),
    ("ADAL__POLICY__LIMITS__SCANS", "0"),
    ("ADAL__POLICY__LIMITS__TERMINAL_SCANS", "0"),
    ("ADAL__POLICY__LIMITS__SHOP_ORDERS", "0"),
];

impl Deployment {
    /// A store in `folder` with keys, and no process yet. `settings`: further variables.
    ///
    /// # Errors
    /// Where the store or its keys cannot be made.
    pub fn new(binary: &Path, folder: &Path, store: Store, settings: &[(&str, &str)]) -> Done<Self> {
        let Store::Sqlite = store;
        Self::at(binary, folder, &folder.join("adal.db"), settings)
    }

    /// The same with the database elsewhere.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn at(binary: &Path, folder: &Path, database: &Path, settings: &[(&str, &str)]) -> Done<Self> {
        std::fs::create_dir_all(folder)?;
        let settings = SETTINGS.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut new = Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            database: database.to_owned(),
            settings: settings.collect(),
            ahead_s: 0,
            nodes: vec![None],
            target: Arc::new(Target(RwLock::new(vec![None]))),
            keys: Keys { service: String::new(), admin: String::new(), pos: String::new() },
        };
        new.keys = Keys {
            service: new.key(&["--role", "service"])?,
            admin: new.key(&["--role", "admin"])?,
            pos: new.key(&["--role", "pos", "--shop", "s1"])?,
        };
        Ok(new)
    }

    fn key(&self, words: &[&str]) -> Done<String> {
        let made = self.run(&[&["keys", "create"], words].concat())?;
        if made.status.success() {
            return Ok(String::from_utf8(made.stdout)?.trim().to_owned());
        }
        Err(format!("no key: {}", String::from_utf8_lossy(&made.stderr)).into())
    }

    /// Has processes to come take the time from Debian's libfaketime: `file` says by how much it differs, from moment to
    /// moment; the monotonic clock is left alone.
    ///
    /// # Errors
    /// Where it is not installed.
    pub fn take_time_from(&mut self, file: &Path) -> Done {
        self.preload()?;
        self.set("FAKETIME_TIMESTAMP_FILE", &file.display().to_string());
        self.set("FAKETIME_NO_CACHE", "1");
        Ok(())
    }

    /// Sets the clock of processes to come ahead, by so many seconds; a start believes its clock at once, so whatever had
    /// until then is past. 0: the machine's own clock.
    ///
    /// # Errors
    /// Where libfaketime is not installed.
    pub fn set_ahead(&mut self, seconds: i64) -> Done {
        self.ahead_s = seconds;
        self.preload()
    }

    fn preload(&mut self) -> Done {
        let library =
            ["x86_64", "aarch64"].map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"));
        let found = library.iter().find(|path| Path::new(path).exists());
        let found = found.ok_or("libfaketime is missing: `scripts/setup.sh test` installs it")?;
        self.set("LD_PRELOAD", found);
        self.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Ok(())
    }

    /// Sets a variable of the processes that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).current_dir(&self.folder).stdin(Stdio::null());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.env("ADAL__STORE__SQLITE__PATH", &self.database);
        if self.ahead_s != 0 {
            command.env("FAKETIME", format!("{:+}s", self.ahead_s));
        }
        command
    }

    /// Runs a command of the program on the store.
    ///
    /// # Errors
    /// Where the program is not there.
    pub fn run(&self, words: &[&str]) -> Done<Output> {
        Ok(self.command(words).output()?)
    }

    /// Where the processes log to.
    pub fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Starts the process, and waits until it is ready; the clients find it from then on.
    ///
    /// # Errors
    /// Where it ends instead, with what it said.
    pub fn start(&mut self) -> Done {
        match self.start_or_refusal()? {
            None => Ok(()),
            Some(said) => Err(format!("the server did not start: {said}").into()),
        }
    }

    /// As [`Self::start`], on a store that may be damaged: what it said where it ended instead.
    ///
    /// # Errors
    /// Where it neither serves nor ends.
    pub fn start_or_refusal(&mut self) -> Done<Option<String>> {
        let (listen, metrics) = free_ports()?;
        // Its own words alone, for whoever reads of a refusal.
        let log = File::create(self.log())?;
        let mut command = self.command(&["serve"]);
        command.env("ADAL__SERVER__LISTEN", listen.to_string()).env("ADAL__METRICS__LISTEN", metrics.to_string());
        command.stdout(log.try_clone()?).stderr(log);
        let mut process = Process::spawn(command, listen)?;
        if let Err(error) = process.wait_until("/readyz", &self.log()) {
            return if process.ended()?.is_some() {
                Ok(Some(std::fs::read_to_string(self.log())?))
            } else {
                Err(error)
            };
        }
        self.put(Some(process));
        Ok(None)
    }

    /// Has the clients ask somewhere else: at a proxy before the process.
    pub fn divert(&self, address: SocketAddr) {
        self.target.set(0, Some(address));
    }

    /// Where the process itself listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.nodes.first()?.as_ref().map(|process| process.address)
    }

    fn put(&mut self, process: Option<Process>) {
        self.target.set(0, process.as_ref().map(|process| process.address));
        if let Some(place) = self.nodes.first_mut() {
            *place = process;
        }
    }

    fn take(&mut self) -> Done<Process> {
        self.target.set(0, None);
        self.nodes.first_mut().and_then(Option::take).ok_or_else(|| "no process runs".into())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// Where no process runs.
    pub fn kill(&mut self) -> Done {
        // The address stays until it is gone: clients are to be in the middle of something.
        let process = self.nodes.first_mut().and_then(Option::take).ok_or("no process runs")?;
        process.kill()?;
        self.target.set(0, None);
        Ok(())
    }

    /// A stop as an operator does it.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub fn stop(&mut self) -> Done {
        self.take()?.terminate()
    }

    /// Sends a signal: `STOP`, `CONT`.
    ///
    /// # Errors
    /// Where no process runs.
    pub fn signal(&self, name: &str) -> Done {
        self.nodes.first().and_then(Option::as_ref).ok_or("no process runs")?.signal(name)
    }

    /// `adal check --full` of the store that nobody has open.
    ///
    /// # Errors
    /// Where it says nothing that can be read.
    pub fn check(&self) -> Done<Checked> {
        let said = self.run(&["check", "--full", "--json"])?;
        serde_json::from_slice(&said.stdout)
            .map_err(|_| format!("adal check: {}", String::from_utf8_lossy(&said.stderr)).into())
    }
}
