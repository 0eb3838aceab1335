//! `adal export` and `adal import`: a whole store as one file, and what is wrong with a file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{
    Client, TempDir, app_cart, bought,
    process::{Process, Store, adal},
    real_now,
};

/// A file of `adal export` of a store with customers, an open hold, unique codes and keys; the store, and what the
/// server on it said.
struct Made {
    dir: TempDir,
    file: PathBuf,
    said: Value,
}

fn made() -> Made {
    let dir = TempDir::new();
    let mut process = Process::start(dir.path());
    let (admin, service) = (process.caller("admin", None), process.caller("service", None));
    for id in ["c1", "c2", "c3"] {
        service.post(&format!("/v1/customers/{id}/card"), &json!({})).ok(201);
        let points = json!({"points": 500, "reason": "a test"});
        admin.post(&format!("/v1/customers/{id}/points/adjust"), &points).ok(200);
    }
    let events = json!(bought("c1", "o1", 1_000_000, &real_now()));
    service.send("POST", "/v1/orders/events", &[], Some(&events)).unwrap().ok(200);
    service.post("/v1/checkout/holds", &app_cart("c1", 100_000, 30)).ok(201);
    let promo = json!({"name": "ten", "discount": {"type": "percent", "permyriad": 1000}, "limits": {"total": 9}});
    admin.put("/v1/promos/ten", &promo).ok(200);
    let job = admin.post("/v1/promos/ten/codes", &json!({"count": 700, "prefix": "T-"})).ok(202).body;
    let job = format!("/v1/jobs/{}", job["job_id"].as_str().unwrap());
    assert!((0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        admin.get(&job).ok(200).body["state"] == "done"
    }));
    let said = said(&admin, &service);
    process.stop();
    let file = dir.path().join("all.adal");
    Made { file, said, dir }
}

/// Gives the store's first customer so many rows more: an import of it takes a while, one row after another.
fn long_history(dir: &Path, rows: u32) {
    let mut process = Process::start(dir);
    let admin = process.caller("admin", None);
    for _ in 0..rows {
        let points = json!({"points": 1, "reason": "a long history"});
        admin.post("/v1/customers/c1/points/adjust", &points).ok(200);
    }
    process.stop();
}

/// What is in a file, but for its head, which says when and where it was made.
fn frames(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let head = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    bytes[20 + head as usize..].to_vec()
}

/// All that a server says of the store.
fn said(admin: &Client, service: &Client) -> Value {
    let cards = ["c1", "c2", "c3"].map(|id| service.get(&format!("/v1/customers/{id}/card")).ok(200).body);
    let statement = service.get("/v1/customers/c1/points/statement?limit=200").ok(200).body;
    let usage = admin.get("/v1/promos/ten/usage").ok(200).body;
    let codes = String::from_utf8(admin.get("/v1/promos/ten/codes.csv").ok(200).bytes).unwrap();
    json!({"cards": cards, "statement": statement, "usage": usage, "codes": codes})
}

fn run(database: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = adal(database, words);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn refused(database: &Path, words: &[&str]) -> String {
    let (code, _, why) = run(database, words);
    assert_eq!(code, Some(1), "{why}");
    why
}

impl Made {
    fn export(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let file = self.file.to_str().unwrap();
        run(&self.dir.path().join("adal.db"), &[&["export", file, "--json"], words].concat())
    }

    fn import(&self, database: &Path) -> (Option<i32>, String, String) {
        run(database, &["import", self.file.to_str().unwrap(), "--json"])
    }
}

#[test]
fn what_was_exported_is_imported_into_another_store_to_the_last_answer() {
    let made = made();
    let (code, told, why) = made.export(&[]);
    assert_eq!(code, Some(0), "{why}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((told["codes"].as_u64(), told["jobs"].as_u64(), told["keys"].as_u64()), (Some(700), Some(1), Some(2)));
    assert!(refused(&made.dir.path().join("adal.db"), &["export", made.file.to_str().unwrap()]).contains("--resume"));

    let other = TempDir::new();
    let database = other.path().join("adal.db");
    for time in ["the first time", "again, which changes nothing"] {
        let (code, taken, why) = made.import(&database);
        assert_eq!(code, Some(0), "{time}: {why}");
        assert_eq!(serde_json::from_str::<Value>(&taken).unwrap(), told, "{time}");
    }
    let (code, verdict, _) = run(&database, &["check"]);
    assert!(code == Some(0) && verdict.starts_with("sound: "), "{verdict}");
    // What both export is the same, but for the head, which says when and where.
    let copy = other.path().join("copy.adal");
    assert_eq!(run(&database, &["export", copy.to_str().unwrap()]).0, Some(0));
    assert!(frames(&made.file) == frames(&copy), "an import exports what it took");

    let mut process = Process::start(other.path());
    assert_eq!(said(&process.caller("admin", None), &process.caller("service", None)), made.said);
    process.stop();
    // The server has written since (it released nothing, but keys were made): the file is a beginning of it no more.
    let file = made.file.to_str().unwrap();
    assert_eq!(run(&database, &["import", file]).0, Some(0), "keys that are not in the file stay");
}

#[test]
fn an_import_that_was_killed_is_served_by_nobody_and_goes_on_when_it_is_run_again() {
    let made = made();
    long_history(made.dir.path(), 600);
    let (_, told, why) = made.export(&[]);
    let told: Value = serde_json::from_str(&told).expect(&why);

    let other = TempDir::new();
    let (database, file) = (other.path().join("adal.db"), made.file.to_str().unwrap());
    Store::file(&database).kill_at(&["import", file], " rows");
    let (code, report, _) = run(&database, &["check", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let rows = report["rows"].as_u64().unwrap();
    assert!(code == Some(1) && 0 < rows && rows < told["rows"].as_u64().unwrap(), "{report}");
    let part = "it is a part of a store";
    assert!(report["problems"].to_string().contains(part), "{report}");
    let [copy, folder] = ["copy", "folder"].map(|name| other.path().join(name).to_str().unwrap().to_owned());
    for words in [
        &["serve"][..],
        &["export", &copy],
        &["backup", &copy],
        &["views", "rebuild"],
        &["codes", "generate", "--promo", "ten", "--count", "1"],
        &["catalogue", "export", &folder],
    ] {
        let why = refused(&database, words);
        assert!(why.contains(part) && why.contains("run `adal import`"), "{words:?}: {why}");
    }
    assert!(!Path::new(&copy).exists());

    let (code, taken, why) = made.import(&database);
    assert_eq!((code, serde_json::from_str(&taken).ok()), (Some(0), Some(told)), "{why}");
    assert_eq!(run(&database, &["export", &copy]).0, Some(0));
    assert!(
        frames(&made.file) == frames(Path::new(&copy)),
        "an import that was run again is as one that was not cut off"
    );
    assert!(run(&database, &["check"]).1.starts_with("sound: "));
    Process::start(other.path()).stop();
}

#[test]
fn a_key_that_was_revoked_since_stays_revoked_when_its_file_is_imported_again() {
    let made = made();
    assert_eq!(made.export(&[]).0, Some(0));
    let target = made.dir.path().join("other.db");
    assert_eq!(made.import(&target).0, Some(0));
    let keys = || -> Value { serde_json::from_str(&run(&target, &["keys", "list", "--json"]).1).unwrap() };
    let id = keys()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(run(&target, &["keys", "revoke", &id]).0, Some(0));
    let revoked = keys();
    assert!(revoked[0]["revoked_at"].is_string(), "{revoked}");
    assert_eq!(made.import(&target).0, Some(0));
    assert_eq!(keys(), revoked);
}

#[test]
fn an_export_that_was_cut_off_is_gone_on_with_and_never_imported() {
    let made = made();
    assert_eq!(made.export(&[]).0, Some(0));
    let whole = std::fs::read(&made.file).unwrap();
    let target = made.dir.path().join("other.db");
    // Cut at many places: within a frame, between two, after all entities.
    for tenth in 1..10 {
        std::fs::write(&made.file, &whole[..whole.len() * tenth / 10]).unwrap();
        let (code, _, why) = made.import(&target);
        assert!(code == Some(1) && why.contains("--resume"), "{tenth}: {why}");
        assert!(
            refused(&made.dir.path().join("adal.db"), &["export", made.file.to_str().unwrap()]).contains("--resume")
        );
        let (code, _, why) = made.export(&["--resume"]);
        assert_eq!(code, Some(0), "{tenth}: {why}");
        assert!(std::fs::read(&made.file).unwrap() == whole, "{tenth}: gone on with to the same end");
    }
    assert!(made.export(&["--resume"]).2.contains("is complete"));
}

#[test]
fn an_export_is_not_gone_on_with_when_a_customer_has_changed_since() {
    let made = made();
    assert_eq!(made.export(&[]).0, Some(0));
    let whole = std::fs::read(&made.file).unwrap();
    // All entities are in it: what comes after them is cut off.
    std::fs::write(&made.file, &whole[..whole.len() - 100]).unwrap();
    let mut process = Process::start(made.dir.path());
    let points = json!({"points": 5, "reason": "in between"});
    process.caller("admin", None).post("/v1/customers/c2/points/adjust", &points).ok(200);
    process.stop();
    let (code, _, why) = made.export(&["--resume"]);
    assert!(code == Some(1) && why.contains("customer/c2 has changed since the export began"), "{why}");
}

#[test]
fn a_damaged_file_and_a_store_of_others_are_refused_and_nothing_is_written() {
    let made = made();
    assert_eq!(made.export(&[]).0, Some(0));
    let whole = std::fs::read(&made.file).unwrap();
    let target = made.dir.path().join("other.db");
    for at in [0, 13, whole.len() / 3, whole.len() / 2, whole.len() - 3] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        std::fs::write(&made.file, &damaged).unwrap();
        let (code, _, why) = made.import(&target);
        assert_eq!(code, Some(1), "byte {at}: {why}");
        let expected = ["damaged", "no file of `adal export`", "breaks off"].iter().any(|text| why.contains(text));
        assert!(expected, "byte {at}: {why}");
    }
    assert_eq!(run(&target, &["check", "--json"]).1.matches("\"rows\": 0").count(), 1, "nothing was written");
    std::fs::write(&made.file, &whole).unwrap();

    // Somebody else's store.
    let strange = TempDir::new();
    let mut process = Process::start(strange.path());
    process.caller("service", None).post("/v1/customers/stranger/card", &json!({})).ok(201);
    assert!(refused(&strange.path().join("adal.db"), &["import", made.file.to_str().unwrap()]).contains("server"));
    process.stop();
    let why = refused(&strange.path().join("adal.db"), &["import", made.file.to_str().unwrap()]);
    assert!(why.contains("1 entities that the file does not have"), "{why}");
    // The same customer with another history.
    let mut process = Process::start(&{
        let path = strange.path().join("second");
        std::fs::create_dir(&path).unwrap();
        path
    });
    process.caller("service", None).post("/v1/customers/c1/card", &json!({})).ok(201);
    process.stop();
    let why = refused(&strange.path().join("second/adal.db"), &["import", made.file.to_str().unwrap()]);
    assert!(why.contains("customer/c1: the store has another row 1"), "{why}");
    let none = made.dir.path().join("none.db");
    assert!(refused(&none, &["export", "x.adal"]).contains("there is no store here"));
}
