//! Apache Cassandra as the CQL server of tests: started, killed, stopped in its tracks and brought back.
//!
//! [`Cassandra`] owns its nodes: each is a process of its own (`scripts/cassandra.sh run`, set up by `scripts/setup.sh
//! test`), dies when its owner is dropped, and dies with this process however that ends. Starting and restarting wait,
//! bounded, on the thread that asks. Nothing listens but on loopback.
//!
//! The tests of one binary share one node ([`shared`]): those that leave it alone take it together, those that kill or
//! stop it take it for themselves and give it back running.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Result},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{RwLock, RwLockMappedWriteGuard, RwLockReadGuard, RwLockWriteGuard};

/// The first user of a node that asks for passwords.
pub const USER: &str = "cassandra";
/// Its password.
pub const PASSWORD: &str = "cassandra";

/// How long a node may take until its port answers: seconds, where the machine has nothing else to do.
const READY: Duration = Duration::from_secs(240);
/// How long it may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// Below the range from which the system takes the ports of outgoing connections: a client that tries to come back to a
/// node that is down could otherwise be given the node's port, and be connected to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How nodes are started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Java's heap, as `-Xmx` has it.
    pub heap: &'static str,
    /// `batch`, `group` or `periodic`; only the first two keep through a kill what they acknowledged.
    pub commit_log: &'static str,
    /// Asks for passwords, and takes TLS beside plain connections.
    pub secure: bool,
    /// Which of Java's compilers: 1 starts soon, 4 runs faster later.
    pub tier: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self { heap: "256m", commit_log: "batch", secure: false, tier: 1 }
    }
}

/// One node or three, on loopback.
#[derive(Debug)]
pub struct Cassandra {
    nodes: Vec<Node>,
    port: u16,
}

/// One process.
#[derive(Debug)]
pub struct Node {
    ip: Ipv4Addr,
    dir: PathBuf,
    address: SocketAddr,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Cassandra {
    /// Starts one node with all its files in `dir`, and waits until its port answers.
    ///
    /// # Errors
    /// It did not start, with the end of its log.
    pub fn start(dir: &Path, options: &Options) -> Result<Self> {
        Self::start_nodes(dir, options, 1)
    }

    /// Starts three nodes that know each other, each owning a third of the ring.
    ///
    /// # Errors
    /// One did not start, with the end of its log.
    pub fn three(dir: &Path, options: &Options) -> Result<Self> {
        Self::start_nodes(dir, options, 3)
    }

    fn start_nodes(dir: &Path, options: &Options, count: u8) -> Result<Self> {
        let ips: Vec<_> = (1..=count).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
        let port = free_port(&ips)?;
        let storage_port = free_port(&ips)?;
        let seeds = ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let node = |(index, ip): (usize, &Ipv4Addr)| {
            let dir = dir.join(format!("node{}", index + 1));
            // Thirds of the ring, which goes from -2^63 to 2^63.
            let third = (1_i128 << 64) / 3;
            let token = i128::from(i64::MIN) + third / 2 + third * i128::try_from(index).unwrap_or(0);
            let address = SocketAddr::from((*ip, port));
            let value = [
                ("--address", ip.to_string()),
                ("--port", port.to_string()),
                ("--storage-port", storage_port.to_string()),
                ("--heap", options.heap.to_owned()),
                ("--commitlog", options.commit_log.to_owned()),
                ("--tier", options.tier.to_string()),
                ("--seeds", seeds.clone()),
                ("--token", token.to_string()),
                ("--dies-with", std::process::id().to_string()),
            ];
            let mut arguments: Vec<_> = value.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
            if options.secure {
                arguments.push("--secure".to_owned());
            }
            Node { ip: *ip, dir, address, arguments, child: None }
        };
        let mut this = Self { nodes: ips.iter().enumerate().map(node).collect(), port };
        this.restart()?;
        Ok(this)
    }

    /// Where it listens: `ip:port` of every node.
    #[must_use]
    pub fn contact_points(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("{}:{}", node.ip, self.port)).collect()
    }

    /// The certificate to trust, of a node that takes TLS.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.nodes[0].dir.join("tls/ca.pem")
    }

    /// One of the nodes.
    pub fn node(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    /// Kills all nodes as `kill -9` does, and waits until they are gone.
    pub fn kill(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
    }

    /// Starts all nodes that do not run, on the files that they left, and waits until every port answers.
    ///
    /// # Errors
    /// See [`Cassandra::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::begin)?;
        self.nodes.iter_mut().try_for_each(Node::wait_ready)
    }

    /// SIGSTOP to all nodes: connections stay, nothing is answered.
    ///
    /// # Errors
    /// A node does not run.
    pub fn pause(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::pause)
    }

    /// SIGCONT to all nodes.
    ///
    /// # Errors
    /// A node does not run.
    pub fn resume(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::resume)
    }

    /// SIGTERM to all nodes, and waits until they have ended.
    pub fn stop(&mut self) {
        self.nodes.iter_mut().for_each(Node::stop);
    }
}

impl Node {
    /// Where it listens for CQL.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; there is nothing to tell then.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, and waits until its port answers.
    ///
    /// # Errors
    /// See [`Cassandra::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.begin()?;
        self.wait_ready()
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and waits until it has ended; killed where it does not.
    pub fn stop(&mut self) {
        // One that is stopped in its tracks would never hear of it.
        if self.signal(Signal::CONT).and_then(|()| self.signal(Signal::TERM)).is_ok() {
            let _ = until(STOP, || Ok(self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))));
        }
        self.kill();
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().ok_or_else(|| Error::new(ErrorKind::NotFound, "the node does not run"))?;
        kill_process(Pid::from_child(child), signal).map_err(Error::from)
    }

    fn begin(&mut self) -> Result<()> {
        if self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.dir)?;
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/cassandra.sh"));
        command.arg("run").arg(&self.dir).args(&self.arguments);
        // A group of its own: Ctrl-C at a test does not reach it before the test is done with it.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        self.child = Some(spawn(command)?);
        Ok(())
    }

    fn wait_ready(&mut self) -> Result<()> {
        let (log, address) = (self.log(), self.address);
        let ready = until(READY, || {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                return Err(Error::other(format!("the node ended: {status}")));
            }
            Ok(TcpStream::connect_timeout(&address, LOOK).is_ok())
        });
        ready.map_err(|error| {
            self.kill();
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            let end = lines[lines.len().saturating_sub(30)..].join("\n");
            Error::other(format!("Cassandra on {address}: {error}; its log ends:\n{end}"))
        })
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks again and again until something is so, or for too long.
fn until(longest: Duration, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let mut left = longest;
    while !so()? {
        left = left
            .checked_sub(LOOK)
            .ok_or_else(|| Error::new(ErrorKind::TimedOut, format!("not within {} s", longest.as_secs())))?;
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Starts a process from a thread that lives as long as this one's process: the system ties a child's end to the thread
/// that started it, and a test's thread ends with the test.
fn spawn(command: Command) -> Result<Child> {
    type Order = (Command, SyncSender<Result<Child>>);
    static KEEPER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, taken) = sync_channel::<Order>(1);
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                // Nobody waits any more: the child is dropped here, and ends with this process.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = sync_channel(1);
    keeper.send((command, answer)).map_err(Error::other)?;
    answered.recv().map_err(Error::other)?
}

/// A port that nobody listens on, on any of the addresses, and that was not given before: a node that was given one
/// listens some seconds later.
fn free_port(ips: &[Ipv4Addr]) -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes that start one after the other begin far enough from each other.
    let offset = usize::try_from(std::process::id()).unwrap_or(0).wrapping_mul(64) % PORTS.len();
    let free = PORTS
        .cycle()
        .skip(offset)
        .take(PORTS.len())
        .find(|port| !given.contains(port) && ips.iter().all(|ip| TcpListener::bind((*ip, *port)).is_ok()))
        .ok_or_else(|| Error::other("there is no free port"))?;
    given.insert(free);
    Ok(free)
}

/// A folder in `.cache`, empty, for as long as this lives; whoever was killed and could not remove his own leaves it to
/// the next.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the first that nobody has.
    ///
    /// # Errors
    /// Those of the file system, and 64 are taken.
    pub fn take() -> Result<Self> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/cassandra/run");
        std::fs::create_dir_all(&home)?;
        for index in 0..64 {
            let lock =
                OpenOptions::new().create(true).truncate(false).write(true).open(home.join(format!("{index}.lock")))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let path = home.join(index.to_string());
            match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::create_dir(&path)?;
            return Ok(Self { path, _lock: lock });
        }
        Err(Error::other("64 servers are running already"))
    }
}

/// The node that the tests of this binary share, and its folder.
#[derive(Debug)]
struct Shared {
    // Dropped first: nothing may be written into a folder that is given back.
    server: Option<Cassandra>,
    folder: Option<Folder>,
    /// Somebody had it for himself, and may have left it dead.
    doubtful: bool,
}

static SHARED: RwLock<Shared> = RwLock::const_new(Shared { server: None, folder: None, doubtful: true });

/// The shared node, with others; it is started by whoever asks first. It asks for passwords and takes TLS.
///
/// # Panics
/// It does not start.
pub async fn shared() -> RwLockReadGuard<'static, Cassandra> {
    loop {
        if let Ok(server) =
            RwLockReadGuard::try_map(SHARED.read().await, |shared| shared.server.as_ref().filter(|_| !shared.doubtful))
        {
            return server;
        }
        start(&mut *SHARED.write().await);
    }
}

/// The shared node for the caller alone, running. Whatever is done to it, the next one gets it running again.
///
/// # Panics
/// It does not start.
#[allow(clippy::panic, reason = "a test without its server has failed")]
pub async fn alone() -> RwLockMappedWriteGuard<'static, Cassandra> {
    let mut held = SHARED.write().await;
    start(&mut held);
    held.doubtful = true;
    match RwLockWriteGuard::try_map(held, |shared| shared.server.as_mut()) {
        Ok(server) => server,
        Err(_) => panic!("the server is gone"),
    }
}

/// Has the shared node run, whatever the test before left.
#[allow(clippy::panic, reason = "a test without its server has failed")]
fn start(shared: &mut Shared) {
    let mut work = || {
        if let Some(server) = &mut shared.server {
            server.restart()?;
            return server.resume();
        }
        let folder = Folder::take()?;
        // Every test has a keyspace of its own, of 25 tables, and none is dropped: 256 MB are full with a dozen.
        let options = Options { secure: true, heap: "640m", ..Options::default() };
        shared.server = Some(Cassandra::start(&folder.path, &options)?);
        shared.folder = Some(folder);
        Ok(())
    };
    if let Err(error) = work() {
        panic!("{error}");
    }
    shared.doubtful = false;
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    fn command_line(pid: &str) -> String {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
    }

    #[test]
    fn a_node_does_not_outlive_who_started_it() {
        let folder = Folder::take().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/cassandra.sh");
        let mut owner = Command::new("bash");
        owner.args(["-c", r#""$0" run "$1" --port 19999 --dies-with $$ >/dev/null 2>&1 & echo $!; wait"#, script]);
        let mut owner = owner.arg(&folder.path).stdout(Stdio::piped()).spawn().unwrap();
        let mut node = String::new();
        BufReader::new(owner.stdout.take().unwrap()).read_line(&mut node).unwrap();
        let node = node.trim();
        let started = until(READY, || Ok(command_line(node).contains("CassandraDaemon")));
        owner.kill().unwrap();
        owner.wait().unwrap();
        started.unwrap();
        until(STOP, || Ok(!command_line(node).contains("CassandraDaemon"))).unwrap();
    }
}
