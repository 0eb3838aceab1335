//! What is tortured: one or more Adal processes over one store, with everything that can be done to them from outside.
//!
//! The controlling thread owns it. The clients see of it the [`Target`] alone: where each process listens now, if it
//! does. A process that is started again gets ports of its own: its old ones may have been taken meanwhile.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use adal_store::testing::cassandra::Cassandra;
use serde::Deserialize;

use super::{command::Role, place::Place};
use crate::{
    Done,
    clock::Stopwatch,
    process::{Process, free_ports},
};

/// How long a process may take to end by itself.
const END: Duration = Duration::from_secs(30);

/// Where the processes listen now.
#[derive(Debug, Default)]
pub struct Target(RwLock<Vec<Option<SocketAddr>>>);

impl Target {
    /// Where a client of that number asks when it was sent on so often: its own process, or the next one that is there.
    /// None: all are away.
    pub fn of(&self, client: usize, turn: usize) -> Option<SocketAddr> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let first = client.wrapping_add(turn) % all.len().max(1);
        all.iter().cycle().skip(first).take(all.len()).copied().flatten().next()
    }

    fn set(&self, number: usize, address: Option<SocketAddr>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.get_mut(number) {
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

/// One of the processes.
#[derive(Debug)]
struct Server {
    /// What the cluster calls it.
    name: String,
    /// Variables that it alone has.
    settings: Vec<(String, String)>,
    process: Option<Process>,
}

impl Server {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), settings: Vec::new(), process: None }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Deployment {
    binary: PathBuf,
    /// Where the logs are.
    folder: PathBuf,
    settings: Vec<(String, String)>,
    /// By how many seconds the clock of processes to come is ahead.
    ahead_s: i64,
    servers: Vec<Server>,
    // Dropped after the processes that use it.
    database: Option<Cassandra>,
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
    /// A store with keys, and no process yet; all else of it is in `folder`. `settings`: further variables.
    ///
    /// # Errors
    /// Where the store or its keys cannot be made.
    pub fn new(binary: &Path, folder: &Path, place: Place, settings: &[(&str, &str)]) -> Done<Self> {
        std::fs::create_dir_all(folder)?;
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut new = Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            settings: place.variables.into_iter().chain(SETTINGS.iter().chain(settings).map(owned)).collect(),
            ahead_s: 0,
            servers: vec![Server::new("a")],
            database: place.server,
            target: Arc::new(Target(RwLock::new(vec![None]))),
            keys: Keys { service: String::new(), admin: String::new(), pos: String::new() },
        };
        // Servers that share a store share the ring too.
        let ring = new.folder.join("ring");
        new.set("ADAL__QR__FILE", &ring.display().to_string());
        if place.has_tables {
            new.migrate()?;
        }
        new.keys = Keys {
            service: new.key(&["--role", "service"])?,
            admin: new.key(&["--role", "admin"])?,
            pos: new.key(&["--role", "pos", "--shop", "s1"])?,
        };
        Ok(new)
    }

    /// Makes the tables of the keyspace that the settings name.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub fn migrate(&self) -> Done {
        self.told(&["migrate"]).map(drop)
    }

    /// Several servers on the one store, by the names that the cluster has of them. None of them runs yet.
    pub fn name_servers(&mut self, names: &[&str]) {
        self.servers = names.iter().map(|name| Server::new(name)).collect();
        self.target = Arc::new(Target(RwLock::new(vec![None; names.len()])));
    }

    /// Sets variables of one of the servers, for when it is started.
    ///
    /// # Errors
    /// Where there is no such server.
    pub fn set_for(&mut self, number: usize, settings: &[(&str, &str)]) -> Done {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.server(number)?.settings.extend(settings.iter().map(owned));
        Ok(())
    }

    /// How many lines of a server's log, of its latest process, have these words.
    ///
    /// # Errors
    /// Where there is no log.
    pub fn logged(&self, number: usize, words: &str) -> Done<usize> {
        Ok(std::fs::read_to_string(self.log(number))?.lines().filter(|line| line.contains(words)).count())
    }

    /// The database that was started for this deployment alone.
    ///
    /// # Errors
    /// Where there is none.
    pub fn database(&mut self) -> Done<&mut Cassandra> {
        Ok(self.database.as_mut().ok_or("no database was started for this alone")?)
    }

    fn key(&self, words: &[&str]) -> Done<String> {
        Ok(self.told(&[&["keys", "create"], words].concat())?.trim().to_owned())
    }

    /// What a command of the program says on the store.
    ///
    /// # Errors
    /// What it complains of.
    pub fn told(&self, words: &[&str]) -> Done<String> {
        let made = self.run(words)?;
        if made.status.success() {
            return Ok(String::from_utf8(made.stdout)?);
        }
        Err(format!("adal {}: {}", words.join(" "), String::from_utf8_lossy(&made.stderr)).into())
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

    /// Where a process logs to.
    fn log(&self, number: usize) -> PathBuf {
        self.folder.join(format!("server-{number}.log"))
    }

    fn server(&mut self, number: usize) -> Done<&mut Server> {
        Ok(self.servers.get_mut(number).ok_or("no such server")?)
    }

    fn process(&self, number: usize) -> Done<&Process> {
        Ok(self.servers.get(number).and_then(|server| server.process.as_ref()).ok_or("no process runs")?)
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
        self.begin(0)?;
        let Err(error) = self.ready(0) else { return Ok(None) };
        let mut process = self.server(0)?.process.take().ok_or("no process runs")?;
        if process.ended()?.is_some() { Ok(Some(std::fs::read_to_string(self.log(0))?)) } else { Err(error) }
    }

    /// Starts one of the servers, and does not wait: it may have to stand by. No client asks it yet.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn begin(&mut self, number: usize) -> Done {
        let (listen, metrics) = free_ports()?;
        // Its own words alone, for whoever reads of a refusal.
        let log = File::create(self.log(number))?;
        let mut command = self.command(&["serve"]);
        command.env("ADAL__SERVER__LISTEN", listen.to_string()).env("ADAL__METRICS__LISTEN", metrics.to_string());
        let server = self.server(number)?;
        command.env("ADAL__STORE__CQL__NODE", &server.name);
        command.envs(server.settings.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone()?).stderr(log);
        self.server(number)?.process = Some(Process::spawn(command, listen)?);
        Ok(())
    }

    /// Waits until a server that was begun is ready; the clients find it from then on.
    ///
    /// # Errors
    /// Where it ends instead, or takes too long.
    pub fn ready(&mut self, number: usize) -> Done {
        let log = self.log(number);
        let process = self.server(number)?.process.as_mut().ok_or("no process runs")?;
        process.wait_until("/readyz", &log)?;
        let address = process.address;
        self.target.set(number, Some(address));
        Ok(())
    }

    /// Waits until a server ends by itself. The clients may ask it until then.
    ///
    /// # Errors
    /// Where it does not.
    pub fn end_of(&mut self, number: usize) -> Done<ExitStatus> {
        let watch = Stopwatch::start();
        while watch.elapsed() < END {
            if let Some(status) = self.server(number)?.process.as_mut().ok_or("no process runs")?.ended()? {
                self.target.set(number, None);
                self.server(number)?.process = None;
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("a server did not end within {} s", END.as_secs()).into())
    }

    /// Has the clients ask somewhere else: at a proxy before the process.
    pub fn divert(&self, address: SocketAddr) {
        self.target.set(0, Some(address));
    }

    /// Where the process itself listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.process(0).ok().map(|process| process.address)
    }

    /// `kill -9` of the first server.
    ///
    /// # Errors
    /// Where no process runs.
    pub fn kill(&mut self) -> Done {
        self.kill_server(0)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// Where no process runs.
    pub fn kill_server(&mut self, number: usize) -> Done {
        // The address stays until it is gone: clients are to be in the middle of something.
        self.server(number)?.process.take().ok_or("no process runs")?.kill()?;
        self.target.set(number, None);
        Ok(())
    }

    /// A stop of all servers as an operator does it.
    ///
    /// # Errors
    /// Where one does not end in time, or none runs.
    pub fn stop(&mut self) -> Done {
        let running: Vec<_> = (0..self.servers.len()).filter(|number| self.process(*number).is_ok()).collect();
        if running.is_empty() {
            return Err("no process runs".into());
        }
        running.into_iter().try_for_each(|number| self.stop_server(number))
    }

    /// The same of one of them.
    ///
    /// # Errors
    /// Where it does not end in time, or does not run.
    pub fn stop_server(&mut self, number: usize) -> Done {
        self.target.set(number, None);
        self.server(number)?.process.take().ok_or("no process runs")?.terminate()
    }

    /// Sends a signal to the first server: `STOP`, `CONT`.
    ///
    /// # Errors
    /// Where no process runs.
    pub fn signal(&self, name: &str) -> Done {
        self.signal_server(0, name)
    }

    /// Sends a signal: `STOP`, `CONT`.
    ///
    /// # Errors
    /// Where no process runs.
    pub fn signal_server(&self, number: usize, name: &str) -> Done {
        self.process(number)?.signal(name)
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
