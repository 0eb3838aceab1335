//! The real binary as a process of its own: what can be killed.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::Client;

pub struct Process {
    pub url: String,
    database: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `adal serve` on the folder's database and waits until it answers. Its log goes to `dir`.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &dir.join("adal.db"), &[])
    }

    /// As `start`, with the database elsewhere, and run by another program (`sh -c "... exec ..."`).
    pub fn start_with(dir: &Path, database: &Path, wrapper: &[&str]) -> Self {
        // The port is free when it is asked for; the server takes it a moment later.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let binary = env!("CARGO_BIN_EXE_adal");
        let mut words = wrapper.iter().copied().chain([binary, "serve"]);
        let mut command = Command::new(words.next().unwrap_or(binary));
        command.args(words).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
            .env("ADAL__SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env("ADAL__SERVER__WORKERS", "1")
            .env("ADAL__ACTORS__ARBITERS", "1")
            .env("ADAL__METRICS__LISTEN", "")
            .env("ADAL__LIMITS__ENABLED", "false")
            .env("ADAL__STORE__SQLITE__PATH", database);
        let child = command.spawn().unwrap();
        let mut process = Self { url: format!("http://127.0.0.1:{port}"), database: database.to_owned(), child };
        process.wait_until_it_answers(dir);
        process
    }

    fn wait_until_it_answers(&mut self, dir: &Path) {
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_adal"));
        command.args(["keys", "create", "--role", role]);
        command.env("ADAL__STORE__SQLITE__PATH", &self.database);
        if let Some(shop) = shop {
            command.args(["--shop", shop]);
        }
        let output = command.output().unwrap();
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

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
