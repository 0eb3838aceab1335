//! A full disk: changes are refused for now (503), reads go on, and when there is room again so do changes; nothing that
//! was acknowledged is lost, and what was refused can be repeated with its key.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use adal_load_tests::torture::disk::Disk;
use serde_json::json;

use crate::harness::{Answer, Client, TempDir, fresh_key, process::Process};

/// A small disk: a tmpfs of its own, or a limit on the size of files where mounting is not allowed.
struct SmallDisk {
    folder: PathBuf,
    mounted: Option<Disk>,
}

impl SmallDisk {
    fn new(dir: &Path) -> Self {
        let mounted = Disk::small(dir, 6).ok();
        if mounted.is_none() {
            println!(
                "NOT A REAL FULL DISK: a tmpfs cannot be mounted here (root is needed); files are limited to 1 MiB instead"
            );
        }
        Self { folder: dir.join("disk"), mounted }
    }

    /// What the server is run by.
    fn wrapper(&self) -> &'static [&'static str] {
        // Ignored signals and limits are inherited: a write past 1 MiB fails with EFBIG.
        if self.mounted.is_some() { &[] } else { &["sh", "-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""] }
    }

    fn fill(&self) {
        self.mounted.iter().for_each(|disk| disk.fill().unwrap());
    }

    /// Makes room. True: the running server sees it; else it must be started anew, without the limit.
    fn empty(&self) -> bool {
        self.mounted.as_ref().is_some_and(|disk| disk.empty().is_ok())
    }
}

fn adjust(admin: &Client, key: &str) -> Answer {
    let body = json!({"points": 1, "reason": "x".repeat(200)});
    admin.post_key("/v1/customers/c1/points/adjust", &body, key)
}

#[test]
fn a_full_disk_refuses_changes_serves_reads_and_recovers() {
    let dir = TempDir::new();
    let disk = SmallDisk::new(dir.path());
    let database = disk.folder.join("adal.db");
    let mut process = Process::start_with(dir.path(), &database, disk.wrapper());
    let admin = Client::new(&process.url, Some(&process.make_key("admin", None)));
    let service = Client::new(&process.url, Some(&process.make_key("service", None)));
    service.post("/v1/customers/c1/card", &json!({})).ok(201);
    let mut acknowledged: Vec<String> = Vec::new();
    for _ in 0..20 {
        let key = fresh_key();
        adjust(&admin, &key).ok(200);
        acknowledged.push(key);
    }
    disk.fill();
    let mut refused = Vec::new();
    for _ in 0..20_000 {
        let key = fresh_key();
        let answer = adjust(&admin, &key);
        if answer.status == 200 {
            acknowledged.push(key);
            continue;
        }
        answer.problem(503, "unavailable");
        refused.push(key);
        if refused.len() == 5 {
            break;
        }
    }
    println!("{} changes acknowledged, then {} refused", acknowledged.len(), refused.len());
    assert_eq!(refused.len(), 5, "the disk was never full");
    let balance = |client: &Client| client.get("/v1/customers/c1/card").ok(200).body["balance"].as_i64().unwrap();
    let count = |keys: &[String]| i64::try_from(keys.len()).unwrap();
    assert_eq!(balance(&service), count(&acknowledged), "reads go on, and show what was acknowledged");
    service.get("/v1/customers/c1/points/statement").ok(200);
    // Of a list nothing is refused for good: it is answered as a whole, and can be sent again as it is.
    let events = json!(crate::harness::bought("c2", "o1", 100_000, &crate::harness::real_now()));
    let send = |service: &Client| service.send("POST", "/v1/orders/events", &[], Some(&events)).unwrap();
    send(&service).problem(503, "unavailable");
    assert_eq!(service.get("/readyz").status, 503);
    assert_eq!(service.get("/healthz").status, 200);

    let (mut admin, mut service) = (admin, service);
    if !disk.empty() {
        process.kill();
        process = Process::start_with(dir.path(), &database, &[]);
        (admin.base, service.base) = (process.url.clone(), process.url.clone());
    }
    let mut tries = 0;
    while adjust(&admin, &refused[0]).status != 200 {
        tries += 1;
        assert!(tries < 300, "no recovery within 30 s of room");
        std::thread::sleep(Duration::from_millis(100));
    }
    for key in &refused {
        adjust(&admin, key).ok(200);
    }
    for result in send(&service).ok(200).body["results"].as_array().unwrap() {
        assert_eq!(result["outcome"], "applied", "{result}");
    }
    let whole = count(&acknowledged) + count(&refused);
    assert_eq!(balance(&service), whole, "each of them once");
    assert_eq!(service.get("/readyz").status, 200);
    process.kill();
    process = Process::start_with(dir.path(), &database, &[]);
    (admin.base, service.base) = (process.url.clone(), process.url.clone());
    for key in acknowledged.iter().chain(&refused) {
        assert!(adjust(&admin, key).ok(200).replayed(), "{key} was acknowledged and is gone");
    }
    assert_eq!(balance(&service), whole);
}
