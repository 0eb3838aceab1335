//! `adal demo` as a reader of the README meets it: it starts, prints what to paste, and what it prints works; on a real
//! Cassandra as well.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use adal_store::testing::cassandra;
use serde_json::{Value, json};

use crate::{
    cql::keyspace,
    harness::{
        Client, TempDir, block_on,
        process::{Store, ended_within, terminate},
    },
};

/// How long the demo may take to make its history and print its guide.
const START: Duration = Duration::from_secs(90);

struct Demo {
    child: Child,
    /// All that it printed.
    guide: String,
}

impl Demo {
    fn start(dir: &TempDir, words: &[&str]) -> Self {
        Self::start_on(dir, words, &Store(vec![]))
    }

    fn start_on(dir: &TempDir, words: &[&str], store: &Store) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_adal"))
            .args(["demo", "--data", "demo/shop.db"])
            .args(words)
            .current_dir(dir.path())
            .envs([("ADAL__SERVER__LISTEN", "127.0.0.1:0"), ("ADAL__METRICS__LISTEN", "127.0.0.1:0")])
            .envs(store.0.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = mpsc::channel();
        // Reads until the program ends: a full pipe would stop it.
        std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(to.send(line))));
        let mut demo = Self { child, guide: String::new() };
        // The guide is printed in one go: it is the first line that has to be waited for.
        while !demo.guide.contains("Stop with Ctrl-C") {
            match lines.recv_timeout(START) {
                Ok(line) => demo.guide += &(line + "\n"),
                Err(why) => {
                    let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                    panic!("no guide ({why}); it printed {:?} and logged {log}", demo.guide);
                }
            }
        }
        demo
    }

    /// The value that the guide exports under a name.
    fn exported(&self, name: &str) -> &str {
        let line = self.guide.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.and_then(|line| line.split_whitespace().next()).unwrap_or_else(|| panic!("no {name} in {}", self.guide))
    }

    fn caller(&self, key: &str) -> Client {
        Client::new(self.exported("ADAL"), Some(self.exported(key)))
    }

    /// What is to be pasted: from the first export to the last command.
    fn commands(&self) -> &str {
        let (_, commands) = self.guide.split_once("\nexport ADAL=").unwrap();
        let begin = self.guide.len() - commands.len() - "export ADAL=".len();
        self.guide[begin..].split("\nCustomers with a history").next().unwrap()
    }

    fn stop(mut self) {
        terminate(&self.child);
        assert_eq!(ended_within(&mut self.child, 20).code(), Some(0));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pastes the commands into a shell, and returns the JSON that they print, in order.
fn paste(demo: &Demo, dir: &TempDir) -> Vec<Value> {
    let output = Command::new("timeout")
        .args(["60", "bash", "-euo", "pipefail", "-c", demo.commands()])
        .current_dir(dir.path())
        .output()
        .expect("bash, curl, jq and zbarimg are needed: the setup script installs them");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    serde_json::Deserializer::from_str(&printed).into_iter().map(|value| value.unwrap()).collect()
}

#[test]
fn the_demo_starts_prints_commands_that_work_and_stops_when_told() {
    let dir = TempDir::new();
    let demo = Demo::start(&dir, &[]);
    for part in ["  server     http://127.0.0.1:", "/docs\n", "  metrics    http://127.0.0.1:", "aigerim, bolat"] {
        assert!(demo.guide.contains(part), "{part:?} in {}", demo.guide);
    }
    the_tour_works(&demo, &dir);
    demo.stop();
}

#[test]
fn the_demo_on_cassandra_is_the_same_and_a_kill_loses_nothing_of_it() {
    let server = block_on(cassandra::shared());
    let dir = TempDir::new();
    let store = keyspace(&server, "it_demo", dir.path());
    let demo = Demo::start_on(&dir, &["--quiet"], &store);
    the_tour_works(&demo, &dir);
    let seen = |demo: &Demo| {
        let service = demo.caller("SERVICE");
        let statement = service.get("/v1/customers/aigerim/points/statement?limit=50").ok(200).body;
        let usage = demo.caller("ADMIN").get("/v1/promos/flash/usage").ok(200).body;
        (service.get("/v1/customers/aigerim/card").ok(200).body, statement, usage)
    };
    let before = seen(&demo);
    // By `kill -9`.
    drop(demo);
    let demo = Demo::start_on(&dir, &["--quiet"], &store);
    assert_eq!(seen(&demo), before);
    demo.stop();
}

/// Pastes what the demo printed, and looks at what each command says.
fn the_tour_works(demo: &Demo, dir: &TempDir) {
    let before = demo.caller("SERVICE").get("/v1/customers/aigerim/card").ok(200).body;
    let printed = paste(demo, dir);
    let [issued, card, captured, taken, after, statement, trust, signals, promo, usage, banners, rest @ ..] =
        &printed[..]
    else {
        panic!("{printed:#?}");
    };
    let [quote, held, sold, used, cancelled, back, approved] = rest else {
        panic!("{printed:#?}");
    };
    assert!(issued["customer_id"].as_str().unwrap().starts_with("you-") && issued["status"] == "active", "{issued}");
    assert_eq!(card["customer_id"], "aigerim");
    // Scanned from the picture, held and captured with 100 of her points.
    assert_eq!((&captured["state"], &captured["points_burned"]), (&json!("captured"), &json!(100)), "{captured}");
    assert_eq!(captured["total_minor"], 240_150);
    let outcomes: Vec<_> = taken["results"].as_array().unwrap().iter().map(|result| &result["outcome"]).collect();
    assert_eq!(outcomes, ["applied", "applied"], "{taken}");
    let earned = after["pending"].as_i64().unwrap() - before["pending"].as_i64().unwrap();
    assert!(earned > 0, "{after}");
    assert_eq!(statement["items"][0]["cause"], "burn", "{statement}");
    assert!(trust["score"].as_i64().unwrap() > 70 && signals["items"].is_array(), "{trust} {signals}");
    assert_eq!((&promo["offer"]["codes"], &usage["taken"]), (&json!(["WELCOME10"]), &json!(0)), "{promo} {usage}");
    assert_eq!(banners["items"][0]["offer_id"], "welcome", "{banners}");
    // Every offer of the catalogue is said to count, or why it does not.
    let said = ["applied", "rejected"].map(|part| quote[part].as_array().unwrap().iter());
    let mut said: Vec<_> = said.into_iter().flatten().map(|one| one["offer_id"].as_str().unwrap()).collect();
    said.sort_unstable();
    let offers = ["promos", "campaigns"].map(|kind| {
        let listed = demo.caller("ADMIN").get(&format!("/v1/{kind}?limit=100")).ok(200).body;
        listed["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    });
    let mut offers = offers.concat();
    offers.sort_unstable();
    assert_eq!((said, offers.len() > 5), (offers.iter().map(String::as_str).collect(), true), "{quote}");
    assert!(quote["rejected"].as_array().unwrap().iter().all(|one| one["reason"].is_string()), "{quote}");
    assert!(quote["applied"][0]["explanation"].is_string() && quote["discount_minor"].as_i64() > Some(0), "{quote}");
    // A use of the flash code is held, taken, and comes back with the cancelled order.
    assert_eq!((&sold["state"], &sold["uncovered"]), (&json!("captured"), &json!([])), "{sold}");
    assert_eq!(cancelled["results"][0]["outcome"], "applied", "{cancelled}");
    let uses = |usage: &Value| [&usage["held"], &usage["taken"]].map(|number| number.as_i64().unwrap());
    assert_eq!([held, used, back].map(uses), [[1, 0], [0, 1], [0, 0]], "{held} {used} {back}");
    assert!(approved["balance"].as_i64().unwrap() >= 5000, "{approved}");
}

#[test]
fn a_second_start_of_the_demo_goes_on_with_new_keys() {
    let dir = TempDir::new();
    let first = Demo::start(&dir, &["--quiet"]);
    let old = first.exported("SERVICE").to_owned();
    let card = first.caller("SERVICE").get("/v1/customers/dana/card").ok(200).body;
    first.stop();
    let second = Demo::start(&dir, &["--quiet"]);
    assert_eq!(second.caller("SERVICE").get("/v1/customers/dana/card").ok(200).body, card);
    Client::new(second.exported("ADAL"), Some(&old)).get("/v1/customers/dana/card").problem(401, "unauthenticated");
    second.stop();
}
