//! The real binary as a process of its own: what can be killed.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use super::Client;

pub struct Process {
    pub url: String,
    /// Where Prometheus scrapes.
    pub metrics: String,
    /// Which store: variables that every command is run with.
    store: Store,
    child: Child,
}

impl Process {
    /// Starts `adal serve` on the folder's database and waits until it answers. Its log goes to `dir`.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &dir.join("adal.db"), &[])
    }

    /// As `start`, with the database elsewhere, and run by another program (`sh -c "... exec ..."`).
    pub fn start_with(dir: &Path, database: &Path, wrapper: &[&str]) -> Self {
        Self::start_on(dir, Store::file(database), wrapper)
    }

    /// As `start`, on any store, and run by another program.
    pub fn start_on(dir: &Path, store: Store, wrapper: &[&str]) -> Self {
        let mut process = Self::spawn(dir, store, wrapper);
        process.wait_until_it_answers(dir);
        process
    }

    /// Starts it, and does not wait.
    pub fn spawn(dir: &Path, store: Store, wrapper: &[&str]) -> Self {
        // The ports are free when they are asked for; the server takes them a moment later.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [address, metrics] = free.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
        drop(free);
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let binary = env!("CARGO_BIN_EXE_adal");
        let mut words = wrapper.iter().copied().chain([binary, "serve"]);
        let mut command = Command::new(words.next().unwrap_or(binary));
        command.args(words).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
            .env("ADAL__SERVER__LISTEN", &address)
            .env("ADAL__SERVER__WORKERS", "1")
            .env("ADAL__ACTORS__ARBITERS", "1")
            .env("ADAL__METRICS__LISTEN", &metrics)
            .env("ADAL__LIMITS__ENABLED", "false")
            .envs(store.0.iter().cloned());
        let child = command.spawn().unwrap();
        let (url, metrics) = (format!("http://{address}"), format!("http://{metrics}"));
        Self { url, metrics, store, child }
    }

    pub fn wait_until_it_answers(&mut self, dir: &Path) {
        let client = Client::new(&self.url, None);
        for _ in 0..600 {
            if let Ok(answer) = client.raw("GET", "/healthz", &[], None)
                && answer.status == 200
            {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                panic!("the server ended with {status}: {log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "the server did not answer within 30 s: {}",
            std::fs::read_to_string(dir.join("log")).unwrap_or_default()
        );
    }

    /// A key, made by the command line beside the running server, and counting.
    pub fn make_key(&self, role: &str, shop: Option<&str>) -> String {
        let mut words = vec!["keys", "create", "--role", role];
        words.extend(shop.iter().flat_map(|shop| ["--shop", shop]));
        let output = self.store.adal(&words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let key = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let client = Client::new(&self.url, Some(&key));
        for _ in 0..200 {
            if client.get("/v1/customers/nobody/card").status != 401 {
                return key;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("a key made while the server runs does not count within 10 s");
    }

    /// A client with a new key.
    pub fn caller(&self, role: &str, shop: Option<&str>) -> Client {
        Client::new(&self.url, Some(&self.make_key(role, shop)))
    }

    /// SIGSTOP: it stands still, and its connections stay.
    pub fn pause(&self) {
        signal(&self.child, "STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(&self.child, "CONT");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        terminate(&self.child);
    }

    /// Waits for its end.
    pub fn ended_within(&mut self, seconds: u32) -> ExitStatus {
        ended_within(&mut self.child, seconds)
    }

    /// A stop as an operator does it.
    pub fn stop(&mut self) {
        self.terminate();
        assert_eq!(self.ended_within(10).code(), Some(0));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// SIGTERM.
pub fn terminate(child: &Child) {
    signal(child, "TERM");
}

fn signal(child: &Child, name: &str) {
    let told = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(told.success());
}

/// Waits for the end of a process.
pub fn ended_within(child: &mut Child, seconds: u32) -> ExitStatus {
    for _ in 0..seconds * 50 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the process did not end within {seconds} s");
}

/// Which store the program is to use, as variables.
#[derive(Debug, Clone)]
pub struct Store(pub Vec<(String, String)>);

impl Store {
    /// A file.
    pub fn file(database: &Path) -> Self {
        Self(vec![("ADAL__STORE__SQLITE__PATH".to_owned(), database.to_str().unwrap().to_owned())])
    }

    /// The same store for another purpose.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a command of the real binary on it.
    pub fn adal(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_adal")).args(words).envs(self.0.iter().cloned()).output().unwrap()
    }

    /// Starts a command of the real binary on it, and kills it (`kill -9`) in the middle: once a line that it says to people
    /// has `word` in it.
    pub fn kill_at(&self, words: &[&str], word: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adal"));
        command.args(words).envs(self.0.iter().cloned()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.contains(word)).collect();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it ended before it could be killed: {said:?}");
    }
}

/// Runs a command of the real binary on a file.
pub fn adal(database: &Path, words: &[&str]) -> Output {
    Store::file(database).adal(words)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
