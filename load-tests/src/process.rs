//! Child processes: the server as it is shipped, and the bare one. Each is stopped by its own id, at the latest when it
//! is dropped. What a process takes (memory, processor time by thread) is read from /proc.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{Done, clock::Stopwatch, http};

/// How long a server may take to get ready: it may have a long log to go through.
const READY: Duration = Duration::from_secs(120);

/// A process that ends when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have gone; there is nothing to tell then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// The bare server of [`crate::bare`], in a process of its own.
    pub fn bare(body_bytes: usize) -> Done<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", "--body-bytes", &body_bytes.to_string()]).stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let said = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line)).transpose();
        match (said, line.trim().parse()) {
            (Ok(_), Ok(address)) => Ok(Self { child, address }),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                Err("the bare server did not start".into())
            }
        }
    }

    /// Starts `command`, which is to listen on `address`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(mut command: Command, address: SocketAddr) -> Done<Self> {
        Ok(Self { child: command.stdin(Stdio::null()).spawn()?, address })
    }

    /// Its end, if it has ended.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn ended(&mut self) -> Done<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// Where the system does not let us.
    pub fn kill(mut self) -> Done {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal: `STOP`, `CONT`, `TERM`.
    ///
    /// # Errors
    /// Where the process has gone.
    pub fn signal(&self, name: &str) -> Done {
        let told = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status()?;
        if told.success() { Ok(()) } else { Err(format!("the process takes no {name}").into()) }
    }

    /// Waits until `GET path` is answered with 2xx. `log`: what is told where it is not.
    ///
    /// # Errors
    /// Where the process ends before, or takes longer than a server may.
    pub fn wait_until(&mut self, path: &str, log: &Path) -> Done {
        let watch = Stopwatch::start();
        loop {
            let mut request = Vec::new();
            http::write(&mut request, "GET", path, "-", "", "");
            if http::once(self.address, request).is_ok() {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || watch.elapsed() > READY {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let how = ended.map_or_else(|| "did not get ready".to_owned(), |status| format!("ended with {status}"));
                return Err(format!("the server {how}: {text}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Resident memory, bytes.
    pub fn resident(&self) -> Done<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Seconds of processor time so far, by thread: (name, seconds), in the order in which the threads were started.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn cpu_by_thread(&self) -> Done<Vec<(String, f64)>> {
        let mut found = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            // A thread may end between the listing and the reading.
            let (Ok(name), Ok(stat)) =
                (std::fs::read_to_string(task.join("comm")), std::fs::read_to_string(task.join("schedstat")))
            else {
                continue;
            };
            let nanos: u64 = stat.split_whitespace().next().ok_or("no schedstat")?.parse()?;
            let id: u32 = task.file_name().and_then(|id| id.to_str()).ok_or("no thread id")?.parse()?;
            found.insert(id, (name.trim().to_owned(), nanos as f64 / 1e9));
        }
        Ok(found.into_values().collect())
    }

    /// Seconds of processor time so far.
    pub fn cpu(&self) -> Done<f64> {
        Ok(self.cpu_by_thread()?.iter().map(|(_, seconds)| seconds).sum())
    }

    /// Keeps all its threads, and those that they start, on one processor.
    pub fn pin(&self, processor: usize) -> Done {
        let (processor, id) = (processor.to_string(), self.child.id().to_string());
        let done = Command::new("taskset").args(["--all-tasks", "--pid", "--cpu-list", &processor, &id]).output()?;
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into()) }
    }

    /// Asks it to stop, and waits until it has. What it holds is written then.
    pub fn terminate(mut self) -> Done {
        self.signal("TERM")?;
        let watch = Stopwatch::start();
        while watch.elapsed() < Duration::from_secs(30) {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the server did not stop within 30 s".into())
    }
}

/// A running Adal with keys.
#[derive(Debug)]
pub struct Adal {
    /// The process.
    pub process: Process,
    /// The database.
    pub database: PathBuf,
    /// What it says.
    pub log: PathBuf,
    /// A key of the role `service`.
    pub service: String,
    /// A key of the role `pos` for the shop `s1`.
    pub pos: String,
    /// A key of the role `admin`.
    pub admin: String,
    calls: Cell<u64>,
    metrics: SocketAddr,
}

impl Adal {
    /// Starts `binary` on the store in `folder`, with its defaults but for what the benchmarks say: no rate limits, no
    /// daily limits, and customers stay resident. `settings`: further variables.
    pub fn start(binary: &Path, folder: &Path, settings: &[(&str, &str)]) -> Done<Self> {
        std::fs::create_dir_all(folder)?;
        let launch = Launch::new(binary, folder, settings)?;
        let key = |role: &str| {
            let made = launch.command(&["keys", "create", "--role", role, "--shop", "s1"]).output()?;
            if made.status.success() {
                Ok(String::from_utf8(made.stdout)?.trim().to_owned())
            } else {
                Err(format!("no key: {}", String::from_utf8_lossy(&made.stderr)).into())
            }
        };
        // Before the start: then the server knows them from its first request on.
        let keys: Done<Vec<String>> = ["service", "pos", "admin"].into_iter().map(key).collect();
        let keys = <[String; 3]>::try_from(keys?).map_err(|_| "not three keys")?;
        let mut adal = launch.serve(keys)?;
        adal.process.wait_until("/readyz", &adal.log)?;
        Ok(adal)
    }

    /// Starts another process on the same store, with the same keys, and does not wait for it.
    pub fn successor(&self, binary: &Path, folder: &Path, settings: &[(&str, &str)]) -> Done<Self> {
        std::fs::create_dir_all(folder)?;
        let keys = [&self.service, &self.pos, &self.admin].map(String::clone);
        let next = Launch::new(binary, folder, settings)?.serve(keys)?;
        // The same keys on the same store: a name of a call that was used is used.
        next.calls.set(self.calls.get());
        Ok(next)
    }

    /// One request with a JSON body by itself, and its answer: for setting up.
    pub fn call(&self, method: &str, path: &str, key: &str, body: Option<&Value>) -> Done<Value> {
        self.calls.set(self.calls.get() + 1);
        let headers = format!("Idempotency-Key: call-{}\r\n", self.calls.get());
        let mut request = Vec::new();
        http::write(&mut request, method, path, key, &headers, &body.map(Value::to_string).unwrap_or_default());
        Ok(serde_json::from_slice(&http::once(self.process.address, request)?)?)
    }

    /// Puts offers of a kind (`promo`, `campaign`) into the catalogue.
    pub fn put_offers(&self, kind: &str, offers: &[(String, Value)]) -> Done {
        let put =
            |(id, document): &(String, Value)| json!({"action": "put", "kind": kind, "id": id, "document": document});
        let changes = json!({"changes": offers.iter().map(put).collect::<Vec<_>>()});
        self.call("POST", "/v1/catalogue/changes", &self.admin, Some(&changes)).map(|_| ())
    }

    /// The sum of a metric over all its labels; 0 where there is none.
    pub fn metric(&self, name: &str) -> Done<f64> {
        Ok(self.metrics()?.iter().filter(|(known, _)| known == name).map(|(_, value)| value).sum())
    }

    /// A metric by the value of one of its labels.
    pub fn metric_by(&self, name: &str, label: &str) -> Done<BTreeMap<String, f64>> {
        let mut found = BTreeMap::new();
        for (series, value) in self.series()? {
            let labels = series.strip_prefix(name).and_then(|rest| rest.strip_prefix('{'));
            let is = labels.and_then(|labels| labels.split_once(&format!("{label}=\"")));
            if let Some((is, _)) = is.and_then(|(_, rest)| rest.split_once('"')) {
                *found.entry(is.to_owned()).or_default() += value;
            }
        }
        Ok(found)
    }

    /// All metrics, without their labels.
    pub fn metrics(&self) -> Done<Vec<(String, f64)>> {
        let bare = |series: String| series.split('{').next().unwrap_or_default().to_owned();
        Ok(self.series()?.into_iter().map(|(series, value)| (bare(series), value)).collect())
    }

    /// All metrics, each with its labels.
    fn series(&self) -> Done<Vec<(String, f64)>> {
        let mut request = Vec::new();
        http::write(&mut request, "GET", "/metrics", "-", "", "");
        let text = String::from_utf8(http::once(self.metrics, request)?)?;
        let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Ok(lines.collect())
    }
}

/// How a server is started.
struct Launch {
    binary: PathBuf,
    variables: Vec<(String, String)>,
    database: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    metrics: SocketAddr,
}

impl Launch {
    fn new(binary: &Path, folder: &Path, settings: &[(&str, &str)]) -> Done<Self> {
        let (database, (address, metrics)) = (folder.join("adal.db"), free_ports()?);
        let ours = [
            ("ADAL__STORE__SQLITE__PATH", database.display().to_string()),
            ("ADAL__SERVER__LISTEN", address.to_string()),
            ("ADAL__METRICS__LISTEN", metrics.to_string()),
            ("ADAL__LIMITS__ENABLED", "false".to_owned()),
            ("ADAL__ACTORS__IDLE_AFTER_S", "86400".to_owned()),
            ("ADAL__ACTORS__MAX_LIVE", "2000000".to_owned()),
            ("ADAL__ACTORS__MAX_LIVE_BYTES", "17179869184".to_owned()),
        ];
        let given = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables = ours.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(given).collect();
        let log = folder.join("server.log");
        Ok(Self { binary: binary.to_owned(), variables, database, log, address, metrics })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).envs(self.variables.iter().cloned()).stdin(Stdio::null());
        command
    }

    fn serve(self, [service, pos, admin]: [String; 3]) -> Done<Adal> {
        let log = File::create(&self.log)?;
        let mut serve = self.command(&["serve"]);
        serve.stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(serve, self.address)?;
        let (database, log, metrics) = (self.database, self.log, self.metrics);
        Ok(Adal { process, database, log, service, pos, admin, calls: Cell::new(0), metrics })
    }
}

/// Two free ports from the system. Held together, so that they differ; given back for the server to take.
///
/// # Errors
/// Where there are none.
pub fn free_ports() -> Done<(SocketAddr, SocketAddr)> {
    let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?, two.local_addr()?))
}
