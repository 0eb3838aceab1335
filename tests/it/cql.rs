//! The server on a real Cassandra: the same answers as on SQLite, a store carried over, a database that is away for a
//! while, and a second server that takes over.

use std::{collections::BTreeMap, path::Path, time::Duration};

use adal_store::testing::cassandra::{self, Cassandra};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{
    Client, TempDir, app_cart, block_on, bought, fresh_key,
    process::{Process, Store, adal},
    real_now,
};

/// A keyspace of its own on the tests' server, its tables made by the program.
pub fn keyspace(server: &Cassandra, name: &str, dir: &Path) -> Store {
    let points = server.contact_points().iter().map(|point| format!("{point:?}")).collect::<Vec<_>>().join(",");
    let ring = dir.join("ring").to_str().unwrap().to_owned();
    let store = Store(vec![])
        .with("ADAL__STORE__KIND", "cql")
        .with("ADAL__STORE__CQL__CONTACT_POINTS", &format!("[{points}]"))
        .with("ADAL__STORE__CQL__KEYSPACE", name)
        .with("ADAL__STORE__CQL__USERNAME", cassandra::USER)
        .with("ADAL__STORE__CQL__PASSWORD", cassandra::PASSWORD)
        .with("ADAL__STORE__CQL__REPLICATION", "{datacenter1=1}")
        .with("ADAL__STORE__CQL__DEAD_AFTER_MS", "6000")
        .with("ADAL__QR__FILE", &ring);
    let said = done(&store.clone().with("ADAL__LOG__LEVEL", "warn"), &["migrate", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["warnings"].as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains("copy")), "{said}");
    store
}

fn done(store: &Store, words: &[&str]) -> String {
    let output = store.adal(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a shop does in a day, and all that the server says afterwards.
fn a_day(process: &Process) -> Value {
    let (admin, service) = (process.caller("admin", None), process.caller("service", None));
    let promo = json!({"name": "ten", "codes": ["TEN"], "discount": {"type": "percent", "permyriad": 1000},
                       "limits": {"total": 1}});
    admin.put("/v1/promos/ten", &promo).ok(200);
    for id in ["c1", "c2"] {
        service.post(&format!("/v1/customers/{id}/card"), &json!({})).ok(201);
        let points = json!({"points": 500, "reason": "a test"});
        admin.post(&format!("/v1/customers/{id}/points/adjust"), &points).ok(200);
    }
    let mut cart = app_cart("c1", 100_000, 30);
    cart["codes"] = json!(["TEN"]);
    let hold = service.post("/v1/checkout/holds", &cart).ok(201).body["hold"]["hold_id"].clone();
    cart["customer_id"] = json!("c2");
    cart["points_to_burn"] = json!(0);
    let refused = service.post("/v1/checkout/holds", &cart).status;
    let capture = format!("/v1/checkout/holds/{}/capture", hold.as_str().unwrap());
    service.post(&capture, &json!({"order_id": "o1"})).ok(200);
    let events = json!(bought("c1", "o1", 87_000, &real_now()));
    let results = service.send("POST", "/v1/orders/events", &[], Some(&events)).unwrap().ok(200).body;
    assert!(results["results"].as_array().unwrap().iter().all(|one| one["outcome"] == "applied"), "{results}");
    json!({"refused": refused, "said": said(&admin, &service)})
}

/// All that is the same whenever and wherever the day was.
fn said(admin: &Client, service: &Client) -> Value {
    let cards = ["c1", "c2"].map(|id| {
        let mut card = service.get(&format!("/v1/customers/{id}/card")).ok(200).body;
        for another in ["barcode", "since"] {
            card.as_object_mut().unwrap().remove(another);
        }
        card
    });
    let statement = service.get("/v1/customers/c1/points/statement?limit=50").ok(200).body["items"].clone();
    let points: Vec<_> =
        statement.as_array().unwrap().iter().map(|item| (item["points"].clone(), item["cause"].clone())).collect();
    // What a promo counts is brought to it after the capture was answered.
    let mut usage = Value::Null;
    for _ in 0..600 {
        usage = admin.get("/v1/promos/ten/usage").ok(200).body;
        if usage["held"] == 0 && usage["taken"] == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    json!({"cards": cards, "points": points, "taken": usage["taken"], "discount": usage["discount_minor"]})
}

/// Of one that has taken customers over, and read them.
fn metrics_say_how_the_database_is_asked(process: &Process) {
    let scrape = String::from_utf8(Client::new(&process.metrics, None).get("/metrics").ok(200).bytes).unwrap();
    let value = |start: &str| {
        let line =
            scrape.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}:\n{scrape}"));
        line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap()
    };
    let statements = |name: &str| value(&format!("adal_cql_statements_total{{statement=\"{name}\",outcome=\"ok\"}} "));
    assert!(statements("rows_descending") >= 1.0 && statements("insert_row") >= 1.0);
    // A row for each that was adopted, one verifying read for several, and how many for each.
    assert!(value("adal_cql_adopted_total ") >= 1.0);
    let (reads, served) = (value("adal_cql_verifying_reads_total "), value("adal_cql_verified_at_once_sum "));
    assert!(reads >= 1.0 && served >= reads, "{reads} reads served {served} appends");
    assert!(value("adal_cql_statement_seconds_count{kind=\"read\"} ") >= 1.0);
    let reference = include_str!("../../docs/reference/metrics.md");
    let names = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names.filter(|name| name.starts_with("adal_")) {
        assert!(reference.contains(&format!("`{name}`")), "{name} is not in docs/reference/metrics.md");
    }
}

#[test]
fn a_day_on_cassandra_is_a_day_on_sqlite_and_can_be_carried_there() {
    let server = block_on(cassandra::shared());
    let (here, there) = (TempDir::new(), TempDir::new());
    let mut process = Process::start(here.path());
    let on_sqlite = a_day(&process);
    process.stop();

    let store = keyspace(&server, "it_day", there.path());
    assert!(
        done(&store, &["migrate", "--json"]).contains("\"statements\": []"),
        "a second time there is nothing to do"
    );
    let mut process = Process::start_on(there.path(), store.clone(), &[]);
    assert_eq!(a_day(&process), on_sqlite);
    let ready = Client::new(&process.url, None).get("/readyz").ok(200).body;
    assert_eq!(ready["parts"]["ownership"], "ok", "{ready}");
    process.stop();
    // What it said is said by the next process, which takes the place of the one that went.
    let mut process = Process::start_on(there.path(), store.clone(), &[]);
    assert_eq!(said(&process.caller("admin", None), &process.caller("service", None)), on_sqlite["said"]);
    metrics_say_how_the_database_is_asked(&process);
    let report: Value = serde_json::from_str(&done(&store, &["check", "--json"])).unwrap();
    assert_eq!((&report["sound"], &report["derived_compared"]), (&json!(true), &json!(true)), "{report}");
    process.stop();

    // From the file to another keyspace, and back into a file.
    let (file, back) = (here.path().join("all.adal"), here.path().join("back.db"));
    let [file, database] = [&file, &here.path().join("adal.db")].map(|path| path.to_str().unwrap().to_owned());
    let exported = adal(Path::new(&database), &["export", &file, "--json"]);
    assert!(exported.status.success());
    let other = keyspace(&server, "it_carried", there.path());
    for _ in ["once", "and again, which changes nothing"] {
        assert_eq!(done(&other, &["import", &file, "--json"]).into_bytes(), exported.stdout);
    }
    let copy = here.path().join("copy.adal");
    done(&other, &["export", copy.to_str().unwrap()]);
    let taken = adal(&back, &["import", copy.to_str().unwrap(), "--json"]);
    // With the empty rows that each claim put on top of what the one before had written.
    let [mut gave, mut took] =
        [&exported.stdout, &taken.stdout].map(|told| serde_json::from_slice::<Value>(told).unwrap());
    let rows = [&mut gave, &mut took].map(|told| told["rows"].take().as_u64().unwrap());
    assert_eq!(took, gave);
    assert!(rows[1] > rows[0], "{rows:?}");
    assert!(String::from_utf8(adal(&back, &["check"]).stdout).unwrap().starts_with("sound: "));
    let rebuilt: Value = serde_json::from_str(&done(&other, &["views", "rebuild", "--json"])).unwrap();
    assert_eq!(rebuilt["different"], 0, "an import makes the views as the rules say: {rebuilt}");
    assert!(rebuilt["views"].as_u64().unwrap() > 0, "{rebuilt}");
    let mut process = Process::start_on(there.path(), other, &[]);
    assert_eq!(said(&process.caller("admin", None), &process.caller("service", None)), on_sqlite["said"]);
    process.stop();
}

#[test]
fn an_import_that_was_killed_is_gone_on_with_on_cassandra() {
    let server = block_on(cassandra::shared());
    let (here, there) = (TempDir::new(), TempDir::new());
    let mut process = Process::start(here.path());
    a_day(&process);
    let admin = process.caller("admin", None);
    for _ in 0..600 {
        let points = json!({"points": 1, "reason": "a long history"});
        admin.post("/v1/customers/c1/points/adjust", &points).ok(200);
    }
    let on_sqlite = said(&admin, &process.caller("service", None));
    process.stop();
    let path = |name: &str| here.path().join(name).to_str().unwrap().to_owned();
    let (first, copy) = (path("all.adal"), path("copy.adal"));
    let told = adal(&here.path().join("adal.db"), &["export", &first, "--json"]).stdout;

    let store = keyspace(&server, "it_cut", there.path());
    // Twice: what the first one left is void, what the second one left as well.
    for _ in 0..2 {
        store.kill_at(&["import", &first], " rows");
    }
    let part = "it is a part of a store";
    for words in [&["serve"][..], &["export", &copy], &["views", "rebuild"]] {
        let output = store.adal(words);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && why.contains(part), "{words:?}: {why}");
    }
    assert!(String::from_utf8(store.adal(&["check"]).stdout).unwrap().contains(part));

    assert_eq!(done(&store, &["import", &first, "--json"]).into_bytes(), told);
    let report: Value = serde_json::from_str(&done(&store, &["check", "--json"])).unwrap();
    assert_eq!((&report["sound"], &report["derived_compared"]), (&json!(true), &json!(true)), "{report}");
    done(&store, &["export", &copy]);
    // Cut off in the middle of the one that has a long history, it is gone on with: what is compared below.
    let whole = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &whole[..whole.len() / 2]).unwrap();
    assert!(String::from_utf8_lossy(&store.adal(&["import", &copy]).stderr).contains("--resume"));
    done(&store, &["export", "--resume", &copy]);
    // Of a file with this in it: each row as it was, and then those in which nothing was decided.
    let (wanted, found) = (histories(&first), histories(&copy));
    assert_eq!(wanted.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (entity, rows) in wanted {
        let (same, more) = found[&entity].split_at(rows.len());
        assert!(same == rows, "{entity}");
        assert!(more.iter().all(|row| row.ends_with(b"\xa8commands\x90")), "{entity}: {more:?}");
    }
    let mut process = Process::start_on(there.path(), store, &[]);
    assert_eq!(said(&process.caller("admin", None), &process.caller("service", None)), on_sqlite);
    process.stop();
}

/// The bodies of each entity's rows in a file of `adal export`.
fn histories(file: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
    let bytes = std::fs::read(file).unwrap();
    let (mut at, mut entity, mut found) = (b"adal-export\n".len(), String::new(), BTreeMap::<_, Vec<_>>::new());
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        match rmp_serde::from_slice(&bytes[at + 8..at + 8 + length]) {
            Ok(Frame::Entity { kind, id }) => entity = format!("{kind}/{id}"),
            Ok(Frame::Rows { rows }) => {
                found.entry(entity.clone()).or_default().extend(rows.into_iter().map(|row| row.body));
            }
            // Of the others nothing is asked here.
            Err(_) => {}
        }
        at += 8 + length;
    }
    found
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Frame {
    Entity { kind: String, id: String },
    Rows { rows: Vec<Row> },
}

#[derive(Deserialize)]
struct Row {
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
}

/// Asks until it is answered with something else than 503; the answer.
fn until_answered(client: &Client, path: &str, body: &Value, key: &str) -> crate::harness::Answer {
    for _ in 0..600 {
        if let Ok(answer) = client.send("POST", path, &[("Idempotency-Key", key)], Some(body))
            && answer.status != 503
        {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{path} was not answered within a minute");
}

#[test]
fn a_database_that_is_away_is_503_and_back_without_a_restart() {
    let mut server = block_on(cassandra::alone());
    let dir = TempDir::new();
    let store = keyspace(&server, "it_away", dir.path());
    let mut process = Process::start_on(dir.path(), store, &[]);
    let (admin, service) = (process.caller("admin", None), process.caller("service", None));
    service.post("/v1/customers/c1/card", &json!({})).ok(201);
    let adjust = "/v1/customers/c1/points/adjust";
    let points = |points: i64| json!({"points": points, "reason": "a test"});
    admin.post(adjust, &points(5)).ok(200);

    server.kill();
    let key = fresh_key();
    let refused = admin.post_key(adjust, &points(7), &key);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    let ready = Client::new(&process.url, None).get("/readyz");
    assert_eq!((ready.status, &ready.body["ready"]), (503, &json!(false)), "{}", ready.body);
    Client::new(&process.url, None).get("/healthz").ok(200);

    server.restart().unwrap();
    let answered = until_answered(&admin, adjust, &points(7), &key).ok(200);
    assert_eq!(until_answered(&admin, adjust, &points(7), &key).ok(200).body, answered.body);
    assert_eq!(service.get("/v1/customers/c1/card").ok(200).body["balance"], 12, "nothing lost, nothing twice");
    Client::new(&process.url, None).get("/readyz").ok(200);
    process.stop();
}

#[test]
fn a_second_server_stands_by_takes_over_and_the_first_ends_when_it_comes_to() {
    let server = block_on(cassandra::shared());
    let (one, two) = (TempDir::new(), TempDir::new());
    let store = keyspace(&server, "it_two", one.path());
    let node = |name: &str| store.clone().with("ADAL__STORE__CQL__NODE", name);
    let mut first = Process::start_on(one.path(), node("a"), &[]);
    let (mut admin, mut service) = (first.caller("admin", None), first.caller("service", None));
    service.post("/v1/customers/c1/card", &json!({})).ok(201);
    let adjust = "/v1/customers/c1/points/adjust";
    let points = |points: i64| json!({"points": points, "reason": "a test"});
    let known = fresh_key();
    let answered = admin.post_key(adjust, &points(5), &known).ok(200).body;

    let mut second = Process::spawn(two.path(), node("b"), &[]);
    assert!(Client::new(&second.url, None).raw("GET", "/healthz", &[], None).is_err(), "it stands by");
    // Longer than its successor needs to take over.
    first.pause();
    second.wait_until_it_answers(two.path());
    let at_first = (admin.clone(), service.clone());
    for client in [&mut admin, &mut service] {
        client.base.clone_from(&second.url);
    }
    let again = until_answered(&admin, adjust, &points(5), &known).ok(200);
    assert!(again.replayed(), "what the first acknowledged, the second knows");
    assert_eq!(again.body, answered);
    let key = fresh_key();
    until_answered(&admin, adjust, &points(7), &key).ok(200);

    // It believes that it has the customer, and finds out.
    first.resume();
    let (admin_of_first, service_of_first) = at_first;
    for _ in 0..3 {
        let asked = admin_of_first.send("POST", adjust, &[("Idempotency-Key", &fresh_key())], Some(&points(1_000)));
        assert!(asked.is_err() || asked.unwrap().status == 503, "nothing is acknowledged by who was replaced");
        let read = service_of_first.raw("GET", "/v1/customers/c1/card", &[], None);
        assert!(read.is_err() || read.unwrap().status == 503, "nor is anything shown");
    }
    assert_eq!(first.ended_within(30).code(), Some(75), "start me again");
    assert_eq!(service.get("/v1/customers/c1/card").ok(200).body["balance"], 12);
    assert!(done(&store, &["check"]).starts_with("sound: "));
    second.stop();
}
