//! Unique codes on SQLite: appends go first, damage is found, a file beside a server takes none.

use std::time::Duration;

use adal_actors::ports::{ApiKeys, Codes, Counts, JobState, Journal, StoreError};
use adal_domain::{catalogue::codes, offers::NormalCode};

use super::Folder;
use crate::{
    conformance::{append, beside::job, customer, row},
    sqlite::{Depth, SqliteConfig, SqliteStore},
};

fn batch(prefix: &str, from: u64, count: u64) -> Vec<NormalCode> {
    (from..from + count).map(|n| codes::code(prefix, 0, n).unwrap().1).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_comes_later_is_not_behind_the_codes_that_wait() {
    let folder = Folder::new();
    let store = folder.open();
    store.begin(job("j1", "a", 1_000_000)).await.unwrap();
    // The writer is busy while twenty batches and then a row arrive.
    let (busy, free) = std::sync::mpsc::channel::<()>();
    let holding = tokio::spawn({
        let store = store.clone();
        async move { store.on_writer(move |_| _ = free.recv()).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let adding: Vec<_> = (0..20)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.add("j1", batch("", n * 100, 100)).await.unwrap().unwrap().done })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let appending = tokio::spawn({
        let store = store.clone();
        async move {
            store.append(append(&customer("c1"), row(1))).await.unwrap();
            store.job("j1").await.unwrap().unwrap().done
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(busy);
    holding.await.unwrap();
    let done_by_then = appending.await.unwrap();
    assert!(done_by_then <= 300, "{done_by_then} codes were written before the row");
    for one in adding {
        one.await.unwrap();
    }
    assert_eq!(store.job("j1").await.unwrap().unwrap().done, 2000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_have_their_turn_under_a_load_that_never_ends() {
    let folder = Folder::new();
    // So few rows at a time that others always wait.
    let store = SqliteStore::open(SqliteConfig { max_batch_rows: 2, ..folder.config() }).unwrap();
    store.begin(job("j1", "a", 1000)).await.unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load: Vec<_> = (0..64)
        .map(|n| {
            let (store, stop) = (store.clone(), std::sync::Arc::clone(&stop));
            tokio::spawn(async move {
                let entity = customer(&format!("c{n}"));
                let mut seq = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    seq += 1;
                    store.append(append(&entity, row(seq))).await.unwrap();
                }
                seq
            })
        })
        .collect();
    let added = tokio::time::timeout(Duration::from_secs(20), store.add("j1", batch("", 0, 1000))).await;
    assert_eq!(added.unwrap().unwrap().unwrap().state, JobState::Done);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for one in load {
        assert!(one.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn the_check_counts_each_jobs_codes() {
    let folder = Folder::new();
    let store = folder.open();
    store.begin(job("j1", "a", 10)).await.unwrap();
    store.add("j1", batch("", 0, 10)).await.unwrap();
    assert!(store.check_file(Depth::Full).await.unwrap().is_sound());
    store.on_writer(|conn| assert_eq!(conn.execute("DELETE FROM code WHERE code LIKE '%5'", []).unwrap(), 1)).await;
    store.on_writer(|conn| assert_eq!(conn.execute("INSERT INTO code VALUES ('X', 77)", []).unwrap(), 1)).await;
    let problems = store.check_file(Depth::Quick).await.unwrap().problems;
    assert!(problems.iter().any(|text| text.contains("`j1` says 10 codes, and 9 are there")), "{problems:?}");
    assert!(problems.iter().any(|text| text.contains("numbered 77")), "{problems:?}");
    store.on_writer(|conn| assert_eq!(conn.execute("UPDATE code_job SET offer = 'b'", []).unwrap(), 1)).await;
    assert!(matches!(store.job("j1").await, Err(StoreError::Corrupt(_))), "another's offer is not handed out");
}

#[tokio::test]
async fn beside_a_server_no_codes_are_made_and_nothing_is_counted() {
    let folder = Folder::new();
    let server = folder.open();
    server.begin(job("j1", "a", 10)).await.unwrap();
    let beside = SqliteStore::open_shared(folder.config()).unwrap();
    assert!(matches!(beside.begin(job("j2", "a", 10)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(beside.add("j1", batch("", 0, 1)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(beside.cancel("j1").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(beside.add_counts(vec![]).await, Err(StoreError::Unavailable(_))));
    assert_eq!(beside.job("j1").await.unwrap().unwrap().done, 0);
}

#[tokio::test]
async fn an_old_file_is_migrated_beside_nobody_and_left_alone_beside_its_server() {
    let old = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/format-1/store.sqlite");
    let folder = Folder::new();
    std::fs::copy(&old, folder.path("store.db")).unwrap();
    let lock = crate::sqlite::open::Lock::take(&folder.path("store.db")).unwrap();
    let refused = SqliteStore::open_shared(folder.config()).unwrap_err();
    assert!(refused.to_string().contains("in use"), "{refused}");
    assert_eq!(std::fs::read(folder.path("store.db")).unwrap(), std::fs::read(&old).unwrap(), "as it was");
    drop(lock);
    let store = SqliteStore::open_shared(folder.config()).unwrap();
    assert_eq!(store.list_api_keys().await.unwrap().len(), 1);
    store.close().unwrap();
    let store = folder.open();
    store.begin(job("j1", "a", 10)).await.unwrap();
}

/// `cargo test --release -p adal-store -- --ignored --nocapture measure_a_million`: how long a million codes take while
/// rows are appended at a steady pace, and how long those wait meanwhile and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, half a minute"]
async fn measure_a_million_codes_beside_appends() {
    let folder = Folder::new();
    let store = folder.open();
    let alone = waits(&store, "alone", 500).await;
    store.begin(job("j1", "a", 1_000_000)).await.unwrap();
    let making = tokio::spawn({
        let store = store.clone();
        async move {
            let started = tokio::time::Instant::now();
            let mut done = 0;
            while done < 1_000_000 {
                let stretch = codes::stretch(7, done, 1_000_000);
                let mut batch: Vec<NormalCode> = (0..500_u64)
                    .map(|n| codes::code("", stretch, (done + n).wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap().1)
                    .collect();
                batch.sort_unstable();
                done = store.add("j1", batch).await.unwrap().unwrap().done;
            }
            started.elapsed()
        }
    });
    let beside = waits(&store, "beside", 500).await;
    let took = making.await.unwrap();
    let bytes = std::fs::metadata(folder.path("store.db")).unwrap().len();
    println!("1,000,000 codes in {took:?}, {bytes} bytes of file");
    for (name, mut all) in [("alone", alone), ("beside codes", beside)] {
        all.sort();
        println!("an append {name}: p50 {:?}, p99 {:?}, longest {:?}", all[250], all[495], all[499]);
    }
}

/// How long each of so many appends took, ten milliseconds apart.
async fn waits(store: &SqliteStore, name: &str, count: u64) -> Vec<Duration> {
    let entity = customer(name);
    let mut all = Vec::new();
    for seq in 1..=count {
        let started = tokio::time::Instant::now();
        store.append(append(&entity, row(seq))).await.unwrap();
        all.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    all
}
