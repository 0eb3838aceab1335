//! The stored form: files of every format ever released stay readable, and this one does not change by accident.

use std::path::{Path, PathBuf};

use adal_actors::ports::{
    ApiKeyRecord, ApiKeys, Append, BannerCounts, CodeJob, Codes, Counts, Journal, Opened, PeriodKeys, StoredRow,
    StoredSnapshot, Views,
};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View},
    ids::BannerId,
    offers::NormalCode,
    time::{Day, Timestamp},
};

use super::Folder;
use crate::{
    conformance::{beside::job, customer, write},
    sqlite::{Depth, SqliteStore, open, queries},
};

fn golden(format: u8, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/format-{format}")).join(name)
}

fn guest() -> EntityKey {
    EntityKey::new(EntityKind::Guest, "гость/1")
}

/// {"v": 1, "n": seq} as MessagePack, by hand.
fn body(seq: u8) -> Vec<u8> {
    vec![0x82, 0xa1, b'v', 0x01, 0xa1, b'n', seq]
}

fn row(seq: u8) -> StoredRow {
    StoredRow { seq: seq.into(), at: Timestamp(1_795_000_000_000_000 + i64::from(seq)), format: 1, body: body(seq) }
}

fn content() -> Vec<Append> {
    let one = |entity: EntityKey, seq| Append { entity, row: row(seq), views: vec![], wake: None, effects: vec![] };
    let mut all = vec![one(customer("c1"), 1), one(customer("c1"), 2), one(customer("c1"), 3), one(guest(), 1)];
    all[0].views = vec![write(View::CardByBarcode, "2000000000015", "", Some("c1"))];
    all[1].views = vec![write(View::Signal, "2026-11-18 c1", "velocity", Some("odd"))];
    all[2].wake = Some(Timestamp(1_795_000_060_000_000));
    all[3].effects = vec![Effect { target: customer("c1"), command: body(0) }];
    all[3].row.body = vec![0xc0; 10_000];
    all
}

fn snapshot() -> StoredSnapshot {
    StoredSnapshot { seq: 2, format: 1, body: body(2) }
}

fn api_key() -> ApiKeyRecord {
    ApiKeyRecord {
        id: "till-1".into(),
        hash: [0xab; 32],
        role: "pos".into(),
        shop: Some("shop-1".into()),
        created_at: Timestamp(1_795_000_000_000_000),
        revoked_at: Some(Timestamp(1_795_000_000_000_001)),
        label: Some("the first till".into()),
    }
}

#[tokio::test]
async fn the_golden_file_of_format_1_is_read_and_written_on() {
    let folder = Folder::new();
    std::fs::copy(golden(1, "store.sqlite"), folder.path("store.db")).unwrap();
    let store = folder.open();
    is_the_golden_store(&store).await;
    // It has this version's tables by now, and takes what they are for.
    assert_eq!(store.begin(job("j1", "a", 1)).await.unwrap(), job("j1", "a", 1));
    store.close().unwrap();
    let conn = rusqlite::Connection::open(folder.path("store.db")).unwrap();
    assert_eq!(conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap(), open::FORMAT);
}

#[tokio::test]
async fn the_golden_file_of_format_2_is_read_and_written_on() {
    let folder = Folder::new();
    std::fs::copy(golden(2, "store.sqlite"), folder.path("store.db")).unwrap();
    let store = folder.open();
    is_the_golden_store(&store).await;
    let half = CodeJob { done: 2, ..job("j1", "a", 3) };
    assert_eq!(store.open_jobs(9).await.unwrap(), [half]);
    assert_eq!(store.offer_of(&NormalCode::new("A2").unwrap()).await.unwrap().unwrap().as_str(), "a");
    assert_eq!(store.counts_of(&BannerId::new("b").unwrap(), 9).await.unwrap(), [(Day(20_000), counts())]);
    store.add("j1", vec![NormalCode::new("A3").unwrap()]).await.unwrap();
    assert_eq!(store.period_key(UNTIL, [1; 32]).await.unwrap(), [1; 32], "it has this version's tables by now");
    assert!(store.check_file(Depth::Full).await.unwrap().is_sound());
}

#[tokio::test]
async fn the_golden_file_of_format_3_is_read_and_written_on() {
    let folder = Folder::new();
    std::fs::copy(golden(3, "store.sqlite"), folder.path("store.db")).unwrap();
    let store = folder.open();
    is_the_golden_store(&store).await;
    assert_eq!(store.period_key(UNTIL, [1; 32]).await.unwrap(), [0xcd; 32]);
    assert!(store.check_file(Depth::Full).await.unwrap().is_sound());
}

/// What is forgotten is in no byte of the file.
#[tokio::test]
async fn a_secret_that_is_forgotten_is_overwritten() {
    let folder = Folder::new();
    let store = folder.open();
    let (gone, stays) = ([0xe7; 32], [0xa9; 32]);
    store.period_key(UNTIL, gone).await.unwrap();
    store.period_key(Timestamp(UNTIL.0 + 1), stays).await.unwrap();
    let bytes = |store: SqliteStore| {
        // The last connection brings the log into the file, and removes it.
        store.close().unwrap();
        std::fs::read(folder.path("store.db")).unwrap()
    };
    let has = |file: &[u8], secret: &[u8]| file.windows(32).any(|window| window == secret);
    let file = bytes(store);
    assert!(has(&file, &gone) && has(&file, &stays), "where to look");
    let store = folder.open();
    store.forget_period_keys(Timestamp(UNTIL.0 + 1)).await.unwrap();
    let file = bytes(store);
    assert!(!has(&file, &gone) && has(&file, &stays));
    assert_eq!(folder.open().period_key(UNTIL, [1; 32]).await.unwrap(), [1; 32]);
}

const UNTIL: Timestamp = Timestamp(1_795_100_000_000_000);

fn counts() -> BannerCounts {
    BannerCounts { servings: 3, impressions: 2, clicks: 1 }
}

/// What the golden file of each format has: format 1 had no more.
async fn is_the_golden_store(store: &SqliteStore) {
    let opened = Journal::open(store, &customer("c1")).await.unwrap();
    assert_eq!(opened, Opened { snapshot: Some(snapshot()), rows: vec![row(3)], damaged: None });
    assert_eq!(store.rows(&customer("c1"), 1, 9, 9, false).await.unwrap(), [row(1), row(2), row(3)]);
    assert_eq!(Journal::open(store, &guest()).await.unwrap().rows, [content().remove(3).row]);
    let card = store.get(View::CardByBarcode, "2000000000015").await.unwrap().unwrap();
    assert_eq!((card.entity, card.value), (customer("c1"), b"c1".to_vec()));
    assert_eq!(store.list(View::Signal, Some("velocity"), None, 9).await.unwrap().len(), 1);
    let due = store.due(Timestamp(i64::MAX), 9).await.unwrap();
    assert_eq!(due, [(Timestamp(1_795_000_060_000_000), customer("c1"))]);
    let owed = store.owed(None, 9).await.unwrap();
    assert_eq!((owed.len(), &owed[0].source, &owed[0].effect.command), (1, &guest(), &body(0)));
    assert_eq!(store.list_api_keys().await.unwrap(), [api_key()]);
    assert!(store.check_file(Depth::Full).await.unwrap().is_sound());
    let next = Append { entity: customer("c1"), row: row(4), views: vec![], wake: None, effects: vec![] };
    store.append(next).await.unwrap();
    assert_eq!(Journal::open(store, &customer("c1")).await.unwrap().rows, [row(3), row(4)]);
}

#[tokio::test]
async fn the_tables_are_those_of_the_golden_schema() {
    let folder = Folder::new();
    folder.open().close().unwrap();
    let conn = rusqlite::Connection::open(folder.path("store.db")).unwrap();
    let found = open::schema_of(&conn).unwrap().join("\n") + "\n";
    let expected = std::fs::read_to_string(golden(3, "schema.txt")).unwrap();
    assert_eq!(found, expected, "a change of the tables is a new format: raise FORMAT and migrate");
}

/// Every query of a cold open and of the loops finds its rows by an index, and never goes through a table.
#[tokio::test]
async fn no_query_of_the_store_scans_a_table() {
    let folder = Folder::new();
    folder.open().close().unwrap();
    let conn = rusqlite::Connection::open(folder.path("store.db")).unwrap();
    let views = [(None, None), (None, Some("k")), (Some("f"), None), (Some("f"), Some("k"))];
    let views = views.map(|(filter, before)| queries::views_sql(filter, before));
    let mut all = vec![
        "SELECT num, wake, snapshot FROM entity WHERE kind = ?1 AND id = ?2",
        "SELECT max(position) FROM journal WHERE position BETWEEN ?1 AND ?2",
        "SELECT position, at, format, sum, body FROM journal WHERE position BETWEEN ?1 AND ?2 ORDER BY position",
        "SELECT wake, kind, id FROM entity WHERE wake IS NOT NULL AND wake <= ?1 ORDER BY wake, kind, id LIMIT ?2",
        "SELECT id FROM entity WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        "SELECT offer FROM code JOIN code_job ON num = job WHERE code = ?1",
        "SELECT num FROM code_job WHERE state = 'open' AND num > 0 ORDER BY num LIMIT ?1",
        "SELECT num FROM code_job WHERE offer = ?1",
        "SELECT code, job FROM code WHERE code > ?1 ORDER BY code",
        "SELECT day FROM banner_count WHERE banner = ?1 ORDER BY day DESC LIMIT ?2",
        "SELECT kind FROM outbox WHERE (kind, id, seq, idx) > (?1, ?2, ?3, ?4) ORDER BY kind, id, seq, idx LIMIT ?5",
    ];
    all.extend(views.iter().map(String::as_str));
    for sql in all {
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = plan.parameter_count();
        let steps: Vec<String> = plan
            .query_map(rusqlite::params_from_iter(vec![1; count]), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let plan = steps.join("; ");
        assert!(plan.contains("SEARCH") && !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
        assert!(!sql.contains("AND filter") || plan.contains("view_filter"), "{sql}: {plan}");
    }
}

/// `cargo test -p adal-store -- --ignored write_the_golden_files`: once per format, never again for a released one.
#[tokio::test]
#[ignore = "writes the golden files"]
async fn write_the_golden_files() {
    let folder = Folder::new();
    let store: SqliteStore = folder.open();
    for one in content() {
        store.append(one).await.unwrap();
    }
    store.snapshot(&customer("c1"), snapshot()).await.unwrap();
    store.put_api_key(api_key()).await.unwrap();
    store.begin(job("j1", "a", 3)).await.unwrap();
    store.add("j1", vec![NormalCode::new("A1").unwrap(), NormalCode::new("A2").unwrap()]).await.unwrap();
    store.add_counts(vec![(BannerId::new("b").unwrap(), Day(20_000), counts())]).await.unwrap();
    store.period_key(UNTIL, [0xcd; 32]).await.unwrap();
    std::fs::create_dir_all(golden(3, "")).unwrap();
    let to = folder.path("copy");
    store.backup(&to).await.unwrap();
    std::fs::copy(to, golden(3, "store.sqlite")).unwrap();
    let conn = rusqlite::Connection::open(folder.path("store.db")).unwrap();
    std::fs::write(golden(3, "schema.txt"), open::schema_of(&conn).unwrap().join("\n") + "\n").unwrap();
}
