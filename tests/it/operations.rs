//! What an operator does with the real binary: keys, metrics, logs, a stop, a backup and a restore.

use std::{collections::BTreeSet, path::Path, process::Output, sync::Mutex, time::Duration};

use adal::clock::Stopwatch;
use adal_actors::ports::Journal;
use adal_domain::entity::{EntityKey, EntityKind};
use adal_store::sqlite::{SqliteConfig, SqliteStore};
use serde_json::{Value, json};

use crate::harness::{
    Client, Server, TempDir, app_cart, bought, completed, fresh_key,
    process::{Process, adal},
    real_now,
};

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn adjust(admin: &Client, customer: &str, points: i64, key: &str) -> Option<u16> {
    let path = format!("/v1/customers/{customer}/points/adjust");
    let body = json!({"points": points, "reason": "a test"});
    admin.send("POST", &path, &[("Idempotency-Key", key)], Some(&body)).ok().map(|answer| answer.status)
}

#[test]
fn a_key_revoked_beside_a_running_server_is_refused_within_seconds() {
    let dir = TempDir::new();
    let process = Process::start(dir.path());
    let database = dir.path().join("adal.db");
    let made = done(&adal(&database, &["keys", "create", "--role", "service", "--label", "gone soon", "--json"]));
    let made: Value = serde_json::from_str(&made).unwrap();
    let (id, gone) = (made["id"].as_str().unwrap(), Client::new(&process.url, made["key"].as_str()));
    let stays = process.caller("service", None);
    let card = |client: &Client| client.get("/v1/customers/c1/card").status;
    let waiting = Stopwatch::start();
    while card(&gone) == 401 {
        assert!(waiting.seconds() < 10.0, "a new key does not count");
        std::thread::sleep(Duration::from_millis(50));
    }
    done(&adal(&database, &["keys", "revoke", id]));
    let waiting = Stopwatch::start();
    while card(&gone) != 401 {
        // The documents say 5 s; the rest is for a busy machine.
        assert!(waiting.seconds() < 10.0, "a revoked key still counts");
        std::thread::sleep(Duration::from_millis(50));
    }
    gone.get("/v1/customers/c1/card").problem(401, "unauthenticated");
    assert_eq!(card(&stays), 404, "another key counts as before");
    let listed: Value = serde_json::from_str(&done(&adal(&database, &["keys", "list", "--json"]))).unwrap();
    let of = |wanted: &str| listed.as_array().unwrap().iter().find(|key| key["id"] == wanted).cloned().unwrap();
    assert!(of(id)["revoked_at"].is_string() && of(id)["label"] == "gone soon", "{listed}");
    assert_eq!(adal(&database, &["keys", "revoke", "service-000000000000"]).status.code(), Some(1));
}

/// Every label's value and every metric's name of a scrape.
fn labels_and_names(scrape: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut labels, mut names) = (BTreeSet::new(), BTreeSet::new());
    for line in scrape.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            names.insert(described.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            labels.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    (labels, names)
}

#[test]
fn metrics_count_what_was_done_and_name_nobody() {
    let dir = TempDir::new();
    let process = Process::start(dir.path());
    let service = process.caller("service", None);
    let (customer, shop, order) = ("customer-4711", "shop-0815", "order-2342");
    service.post(&format!("/v1/customers/{customer}/card"), &json!({})).ok(201);
    for mut event in bought(customer, order, 1_000_000, &real_now()) {
        event["shop_id"] = json!(shop);
        service.send("POST", "/v1/orders/events", &[], Some(&event)).unwrap().ok(200);
    }
    let mut cart = app_cart(customer, 100_000, 0);
    cart["shop_id"] = json!(shop);
    service.post("/v1/checkout/holds", &cart).ok(201);
    cart["points_to_burn"] = json!(100_000);
    let refused = service.post("/v1/checkout/holds", &cart);
    assert!((400..500).contains(&refused.status), "{}", refused.body);
    let code = refused.code().to_owned();

    let scrape = Client::new(&process.metrics, None).get("/metrics").ok(200);
    let scrape = String::from_utf8(scrape.bytes).unwrap();
    let has = |start: &str| assert!(scrape.lines().any(|line| line.starts_with(start)), "no {start}:\n{scrape}");
    has("adal_http_requests_total{route=\"/v1/orders/events\",method=\"POST\",status=\"200\"} 2");
    has("adal_http_requests_total{route=\"/v1/checkout/holds\",method=\"POST\",status=\"201\"} 1");
    has("adal_decisions_total{kind=\"customer\",outcome=\"accepted\"} ");
    has("adal_decisions_total{kind=\"customer\",outcome=\"refused\"} 1");
    has("adal_points_total{cause=\"pending\"} 100");
    has(&format!("adal_problems_total{{code=\"{code}\"}} 1"));
    has("adal_journal_commit_seconds_bucket{le=\"0.1\"} ");
    has("adal_journal_commit_seconds_count ");
    has("process_resident_memory_bytes ");
    has("process_open_fds ");
    let (labels, names) = labels_and_names(&scrape);
    for id in [customer, shop, order] {
        assert!(!labels.iter().any(|label| label.contains(id)), "{id} is in a label: {labels:?}");
        assert!(!scrape.contains(id));
    }
    let reference = include_str!("../../docs/reference/metrics.md");
    for name in names.iter().filter(|name| name.starts_with("adal_")) {
        assert!(reference.contains(&format!("`{name}`")), "{name} is not in docs/reference/metrics.md");
    }
    assert_eq!(Client::new(&process.url, None).get("/metrics").status, 404, "on its own port alone");
}

#[test]
fn metrics_say_what_offers_keep_spend_and_refuse() {
    let dir = TempDir::new();
    let process = Process::start(dir.path());
    let (service, admin) = (process.caller("service", None), process.caller("admin", None));
    let put = |path: &str, extra: &Value| {
        let mut offer = json!({"name": "ten off", "discount": {"type": "percent", "permyriad": 1000}});
        offer.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        admin.put(path, &offer).ok(200);
    };
    let limits = json!({"total": 1, "budget_minor": 50_000, "per_ip_in": {"uses": 9, "period": "day"}});
    put("/v1/promos/ten", &json!({"codes": ["TEN"], "funded_by": "shop", "limits": limits}));
    put("/v1/promos/far", &json!({"codes": ["FAR"], "conditions": {"min_subtotal_minor": 900_000}}));
    let cart = |code: &str| {
        let mut cart = app_cart("c1", 100_000, 0);
        cart["codes"] = json!([code]);
        cart
    };
    let held = service.post("/v1/checkout/holds", &cart("TEN")).ok(201).body;
    for code in ["TEN", "FAR", "NIX"] {
        assert_eq!(service.post("/v1/checkout/holds", &cart(code)).status, 422, "{code}");
    }
    service.post("/v1/checkout/quotes", &cart("FAR")).ok(200);
    let mut too_much = cart("FAR");
    too_much["points_to_burn"] = json!(5);
    let refused = service.post("/v1/checkout/quotes", &too_much);
    assert!((400..500).contains(&refused.status), "{}", refused.body);
    let refused = format!("adal_checkouts_refused_total{{step=\"quote\",code=\"{}\"}} 1", refused.code());
    let scrape = || {
        let scrape = Client::new(&process.metrics, None).get("/metrics").ok(200);
        String::from_utf8(scrape.bytes).unwrap()
    };
    // Gauges are added up every five seconds.
    let until = |line: &str| {
        for _ in 0..300 {
            if scrape().lines().any(|one| one == line) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("no {line}:\n{}", scrape());
    };
    until("adal_reservations_open{kind=\"promo\"} 1");
    until("adal_budget_held_minor{funded_by=\"shop\"} 10000");
    for line in [
        "adal_reservations_open{kind=\"campaign\"} 0",
        "adal_budget_spent_minor{funded_by=\"shop\"} 0",
        "adal_checkouts_total{step=\"quote\",outcome=\"ok\"} 1",
        "adal_checkouts_total{step=\"quote\",outcome=\"refused\"} 1",
        refused.as_str(),
        "adal_checkouts_total{step=\"hold\",outcome=\"refused\"} 3",
        "adal_holds_rejected_total{reason=\"limit_reached\",condition=\"limits.total\"} 1",
        "adal_holds_rejected_total{reason=\"condition_not_met\",condition=\"conditions.min_subtotal_minor\"} 1",
        "adal_holds_rejected_total{reason=\"code_unknown\",condition=\"\"} 1",
        "adal_quote_seconds_count{step=\"quote\"} 2",
        "adal_quote_seconds_count{step=\"hold\"} 4",
        "adal_address_limits_skipped_total 1",
    ] {
        assert!(scrape().lines().any(|one| one == line), "no {line}:\n{}", scrape());
    }
    let path = format!("/v1/checkout/holds/{}/capture", held["hold"]["hold_id"].as_str().unwrap());
    service.post(&path, &json!({"order_id": "o1"})).ok(200);
    until("adal_budget_spent_minor{funded_by=\"shop\"} 10000");
    until("adal_reservations_open{kind=\"promo\"} 0");
}

#[test]
fn a_requests_id_is_in_its_answer_and_in_its_log_line() {
    let dir = TempDir::new();
    let mut process = Process::start(dir.path());
    let service = process.caller("service", None);
    let headers = [("X-Request-Id", "till-7:42")];
    let answer = service.send("GET", "/v1/customers/nobody/card", &headers, None).unwrap();
    assert_eq!(answer.header("x-request-id"), "till-7:42");
    assert_eq!(answer.problem(404, "card_not_found").body["request_id"], "till-7:42");
    process.stop();
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let ours = |line: &&Value| line["span"]["request_id"] == "till-7:42" && line["target"] == "adal::access";
    let [line] = lines.iter().filter(ours).collect::<Vec<_>>()[..] else { panic!("not one line:\n{log}") };
    assert_eq!(line["level"], "INFO");
    let said = (&line["method"], &line["route"], &line["status"]);
    assert_eq!(said, (&json!("GET"), &json!("/v1/customers/{id}/card"), &json!(404)));
    assert!(line["ms"].is_number() && line["timestamp"].is_string(), "{line}");
    assert!(!log.contains(service.token.as_deref().unwrap()), "a key is in the log");
}

/// Adjusts one customer each until the server is gone; gives the keys of what was acknowledged.
fn load_until_gone(
    admin: &Client,
    callers: usize,
    meanwhile: impl FnOnce(&Mutex<Vec<(String, String)>>),
) -> Vec<(String, String)> {
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for n in 0..callers {
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                let customer = format!("c{n}");
                // Bounded: at most so many requests, whatever becomes of the server.
                for _ in 0..20_000 {
                    let key = fresh_key();
                    match adjust(admin, &customer, 1, &key) {
                        Some(200) => acknowledged.lock().unwrap().push((customer.clone(), key)),
                        Some(503) => {}
                        Some(status) => panic!("{status} under load"),
                        None => return,
                    }
                }
            });
        }
        meanwhile(&acknowledged);
    });
    acknowledged.into_inner().unwrap()
}

#[test]
fn sigterm_under_load_ends_with_0_in_time_and_loses_nothing() {
    let dir = TempDir::new();
    let mut process = Process::start(dir.path());
    let (mut admin, mut service) = (process.caller("admin", None), process.caller("service", None));
    for n in 0..4 {
        service.post(&format!("/v1/customers/c{n}/card"), &json!({})).ok(201);
    }
    let acknowledged = load_until_gone(&admin, 4, |acknowledged| {
        let waiting = Stopwatch::start();
        while acknowledged.lock().unwrap().len() < 100 {
            assert!(waiting.seconds() < 60.0, "no progress");
            std::thread::sleep(Duration::from_millis(1));
        }
        process.terminate();
        assert_eq!(process.ended_within(10).code(), Some(0));
    });
    assert!(acknowledged.len() >= 100);
    for n in 0..4 {
        assert_eq!(rows_after_the_snapshot(dir.path(), &format!("c{n}")), 0);
    }
    process = Process::start(dir.path());
    (admin.base, service.base) = (process.url.clone(), process.url.clone());
    for n in 0..4 {
        let mine = acknowledged.iter().filter(|(customer, _)| *customer == format!("c{n}")).count();
        let card = service.get(&format!("/v1/customers/c{n}/card")).ok(200).body;
        // What was under way at the stop may have been done without an answer: one request of each caller.
        let more = card["balance"].as_i64().unwrap() - i64::try_from(mine).unwrap();
        assert!((0..=1).contains(&more), "{mine} acknowledged, {card}");
    }
    for (customer, key) in &acknowledged {
        let body = json!({"points": 1, "reason": "a test"});
        let again = admin.post_key(&format!("/v1/customers/{customer}/points/adjust"), &body, key).ok(200);
        assert!(again.replayed(), "{key} was acknowledged and is gone");
    }
}

/// How many rows must be read after the snapshot of a customer, which must be there.
fn rows_after_the_snapshot(dir: &Path, customer: &str) -> usize {
    let store = SqliteStore::open(SqliteConfig::new(dir.join("adal.db"))).unwrap();
    let key = EntityKey::new(EntityKind::Customer, customer);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let opened = runtime.block_on(store.open(&key)).unwrap();
    store.close().unwrap();
    assert!(opened.snapshot.is_some(), "no snapshot of {customer} was kept at the stop");
    opened.rows.len()
}

fn card_and_statement(service: &Client) -> (Value, Value) {
    let card = service.get("/v1/customers/c1/card").ok(200).body;
    (card, service.get("/v1/customers/c1/points/statement?limit=200").ok(200).body)
}

#[test]
fn a_backup_made_beside_the_server_is_restored_as_documented() {
    let dir = TempDir::new();
    let mut process = Process::start(dir.path());
    let (admin, mut service) = (process.caller("admin", None), process.caller("service", None));
    service.post("/v1/customers/c1/card", &json!({})).ok(201);
    for points in [500, -20, 7] {
        assert_eq!(adjust(&admin, "c1", points, &fresh_key()), Some(200));
    }
    let events = json!(bought("c1", "o1", 1_000_000, &real_now()));
    service.send("POST", "/v1/orders/events", &[], Some(&events)).unwrap().ok(200);
    service.post("/v1/checkout/holds", &app_cart("c1", 100_000, 30)).ok(201);
    let then = card_and_statement(&service);
    let (database, copy) = (dir.path().join("adal.db"), dir.path().join("copy.db"));
    let words = ["backup", copy.to_str().unwrap()];
    done(&adal(&database, &words));
    assert_eq!(adal(&database, &words).status.code(), Some(1), "a backup overwrites nothing");
    assert_eq!(adjust(&admin, "c1", 1, &fresh_key()), Some(200), "the server goes on writing");
    assert_ne!(card_and_statement(&service), then);

    process.stop();
    for end in ["", "-wal", "-shm"] {
        let file = dir.path().join(format!("adal.db{end}"));
        if file.exists() {
            std::fs::rename(&file, dir.path().join(format!("old.db{end}"))).unwrap();
        }
    }
    std::fs::rename(&copy, &database).unwrap();
    assert!(done(&adal(&database, &["check"])).starts_with("sound: "));
    assert_eq!(done(&adal(&database, &["keys", "list"])).lines().count(), 2);
    process = Process::start(dir.path());
    service.base = process.url.clone();
    assert_eq!(card_and_statement(&service), then);
    process.stop();
}

#[test]
fn while_the_clock_is_in_doubt_changes_are_503_reads_go_on_and_readyz_says_why() {
    let server = Server::start();
    let (service, admin) = (server.service(), server.admin());
    service.post("/v1/customers/c1/card", &json!({})).ok(201);
    server.clock.doubt(true);
    let key = fresh_key();
    let body = json!({"points": 5, "reason": "kind"});
    let refused = admin.post_key("/v1/customers/c1/points/adjust", &body, &key).problem(503, "unavailable");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    let event = completed("c1", "o1", 10_000, &server.clock.at(0));
    service.post("/v1/orders/events", &event).problem(503, "unavailable");
    service.get("/v1/customers/c1/card").ok(200);
    let ready = server.nobody().get("/readyz");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body["parts"]["clock"], "the machine's clock leapt ahead by 86400 s");
    assert_eq!(ready.body["parts"]["store_writes"], "ok");
    server.nobody().get("/healthz").ok(200);
    server.clock.doubt(false);
    server.nobody().get("/readyz").ok(200);
    let answered = admin.post_key("/v1/customers/c1/points/adjust", &body, &key).ok(200);
    assert!(!answered.replayed(), "what was refused was not recorded");
}
