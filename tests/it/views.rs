//! What is derived from the journal: `adal check` finds what is wrong with it, `adal views rebuild` makes it anew.

use std::path::Path;

use adal_actors::{ports::Journal, replay};
use adal_domain::{
    catalogue::Catalogue,
    customer::{Customer, Guest},
    entity::{Entity, EntityKey, View, ViewWrite},
};
use adal_store::sqlite::{SqliteConfig, SqliteStore};
use serde_json::{Value, json};

use crate::harness::{
    Client, TempDir, app_cart, completed, grams, placed,
    process::{Process, adal},
    real_now,
};

/// Two customers: cards, points, an open hold, a signal, and a use of an offer.
fn fill(process: &Process) -> (Value, String) {
    let (admin, service) = (process.caller("admin", None), process.caller("service", None));
    let mut barcode = Value::Null;
    for id in ["c2", "c1"] {
        barcode = service.post(&format!("/v1/customers/{id}/card"), &json!({})).ok(201).body["barcode"].clone();
        let points = json!({"points": 100, "reason": "a test"});
        admin.post(&format!("/v1/customers/{id}/points/adjust"), &points).ok(200);
    }
    let offer = json!({"name": "ten off", "discount": {"type": "percent", "permyriad": 1000}});
    admin.put("/v1/campaigns/ten", &offer).ok(200);
    let sold = service.post("/v1/checkout/holds", &app_cart("c2", 100_000, 0)).ok(201).body["hold"]["hold_id"].clone();
    let capture = format!("/v1/checkout/holds/{}/capture", sold.as_str().unwrap());
    service.post(&capture, &json!({"order_id": "sold"})).ok(200);
    let hold = service.post("/v1/checkout/holds", &app_cart("c1", 100_000, 30)).ok(201).body;
    let at = real_now();
    let weighed = json!({"event_id": "o1-weighed", "type": "weighed", "order_id": "o1", "customer_id": "c1",
                         "shop_id": "s1", "at": at, "lines": [{"line_id": "1", "delivered_g": 700}]});
    let lines = json!([grams("1", 1000, 200_000)]);
    let events = json!([placed("c1", "o1", &lines, &at), weighed, completed("c1", "o1", 200_000, &at)]);
    let answer = service.send("POST", "/v1/orders/events", &[], Some(&events)).unwrap().ok(200).body;
    assert!(answer["results"].as_array().unwrap().iter().all(|one| one["outcome"] == "applied"), "{answer}");
    (barcode, hold["hold"]["hold_id"].as_str().unwrap().to_owned())
}

/// Every view's answers, through a server on the store.
fn views_answer(dir: &Path, barcode: &Value, hold: &str) {
    let mut process = Process::start(dir);
    let seen = scan(&process.caller("pos", Some("s1")), barcode).ok(200).body;
    assert_eq!(seen["customer_id"], "c1");
    let service = process.caller("service", None);
    assert_eq!(service.get(&format!("/v1/checkout/holds/{hold}")).ok(200).body["customer_id"], "c1");
    let signals = process.caller("support", None).get("/v1/signals?kind=weight_off").ok(200).body;
    assert_eq!(signals["items"][0]["customer_id"], "c1", "{signals}");
    let usage = process.caller("admin", None).get("/v1/campaigns/ten/usage").ok(200).body;
    assert_eq!((&usage["taken"], &usage["discount_minor"]), (&json!(1), &json!(10_000)), "{usage}");
    process.stop();
}

fn scan(till: &Client, barcode: &Value) -> crate::harness::Answer {
    till.post("/v1/pos/scan", &json!({"code": barcode}))
}

/// Writes all views as the journal says, but for two rows: the customer's barcode, and the one use of an offer.
fn lose_a_barcode_and_a_use(database: &Path, customer: &str) {
    let store = SqliteStore::open(SqliteConfig::new(database)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut writes = views_of::<Customer>(&store).await;
        writes.extend(views_of::<Guest>(&store).await);
        writes.extend(views_of::<Catalogue>(&store).await);
        let all = writes.len();
        writes.retain(|(entity, _, write)| {
            let barcode = &*entity.id == customer && write.view == View::CardByBarcode;
            !barcode && write.view != View::OfferUse
        });
        assert_eq!(writes.len() + 2, all);
        store.rebuild_views(writes).await.unwrap();
    });
    store.close().unwrap();
}

async fn views_of<E: Entity>(store: &SqliteStore) -> Vec<(EntityKey, u64, ViewWrite)> {
    let mut writes = Vec::new();
    for key in store.entities(E::KIND, None, 100).await.unwrap() {
        replay::walk::<E>(store, &key.id, u64::MAX, |stored, state, event, index| {
            let of = E::views(&key.id, state, event, stored.seq, index);
            writes.extend(of.into_iter().map(|write| (key.clone(), stored.seq, write)));
        })
        .await
        .unwrap();
    }
    writes
}

#[test]
fn check_finds_a_lost_row_of_a_view_and_rebuild_repairs_it() {
    let dir = TempDir::new();
    let database = dir.path().join("adal.db");
    let run = |words: &[&str]| {
        let output = adal(&database, words);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let mut process = Process::start(dir.path());
    let (barcode, hold) = fill(&process);
    let (code, said) = run(&["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("were not compared"), "beside a server: {said}");
    assert_eq!(run(&["views", "rebuild"]).0, Some(1), "not beside a server");
    process.stop();

    let sound = |what: &str| {
        let (code, said) = run(&["check", "--full"]);
        assert_eq!(code, Some(0), "{what}: {said}");
        assert!(said.starts_with("sound: ") && !said.contains("not compared"), "{what}: {said}");
    };
    let rebuilt = |different: u64| {
        let (code, said) = run(&["views", "rebuild", "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((code, &said["different"]), (Some(0), &json!(different)), "{said}");
        assert!(said["views"].as_u64().unwrap() >= 4, "two barcodes, a hold, a signal: {said}");
    };
    sound("as it was left");
    rebuilt(0);
    sound("rebuilt");
    views_answer(dir.path(), &barcode, &hold);

    lose_a_barcode_and_a_use(&database, "c1");
    let (code, said) = run(&["check"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("2 rows of views or timers") && said.contains("1 problems"), "{said}");
    let mut process = Process::start(dir.path());
    scan(&process.caller("pos", Some("s1")), &barcode).problem(404, "card_not_found");
    process.stop();
    rebuilt(2);
    sound("repaired");
    views_answer(dir.path(), &barcode, &hold);
}

/// Puts the state before a customer's last row in the place of its snapshot, under a checksum that is right.
fn forge_the_snapshot_of(database: &Path, customer: &str) -> u64 {
    let store = SqliteStore::open(SqliteConfig::new(database)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let last = runtime.block_on(async {
        let key = EntityKey::new(Customer::KIND, customer);
        let last = replay::walk::<Customer>(&store, customer, u64::MAX, |_, _, _, _| ()).await.unwrap();
        let mut forged = replay::past_state::<Customer>(&store, customer, last.head.seq - 1).await.unwrap();
        (forged.seq, forged.at) = (last.head.seq, last.head.at);
        store.snapshot(&key, replay::snapshot(&forged, Some(&last.memory)).unwrap()).await.unwrap();
        last.head.seq
    });
    store.close().unwrap();
    last
}

#[test]
fn check_names_a_snapshot_that_is_not_what_the_rows_say() {
    let dir = TempDir::new();
    let database = dir.path().join("adal.db");
    let mut process = Process::start(dir.path());
    fill(&process);
    process.stop();
    let last = forge_the_snapshot_of(&database, "c2");
    let output = adal(&database, &["check"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let line = format!("customer/c2: the snapshot at row {last} is not what the rows say: the state\n1 problems: ");
    assert!(said.starts_with(&line), "{said}");
    assert_eq!(output.status.code(), Some(1));
}
