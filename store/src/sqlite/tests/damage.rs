//! Damaged files: refused, `Corrupt`, or found by the check. Never other data than what went in.

use adal_actors::ports::{Journal, StoreError, StoredSnapshot, Views};
use adal_domain::{
    entity::{Effect, EntityKey, View},
    time::Timestamp,
};

use super::Folder;
use crate::{
    conformance::{append, customer, row, write},
    sqlite::{Depth, OpenError, SqliteStore},
};

const ENTITIES: u64 = 12;

async fn filled(folder: &Folder) -> SqliteStore {
    let store = folder.open();
    for number in 0..ENTITIES {
        let key = customer(&format!("customer-{number}"));
        for seq in 1..=6 {
            let mut one = append(&key, row(seq));
            one.row.body = format!("{key} {seq} ").repeat(20).into_bytes();
            one.views = vec![write(View::Signal, &format!("{seq}-{number}"), "f", Some("value"))];
            one.wake = Some(Timestamp(1_000_000));
            one.effects = vec![Effect { target: customer("t"), command: vec![9; 40] }];
            store.append(one).await.unwrap();
        }
    }
    let snapshot = StoredSnapshot { seq: 4, format: 1, body: vec![5; 300] };
    store.snapshot(&customer("customer-3"), snapshot).await.unwrap();
    store
}

/// Everything a caller can read, each as text or as the error that it was.
async fn readings(store: &SqliteStore) -> Vec<Result<String, StoreError>> {
    let mut all = Vec::new();
    for number in 0..ENTITIES {
        let key: EntityKey = customer(&format!("customer-{number}"));
        all.push(Journal::open(store, &key).await.map(|found| format!("{found:?}")));
        all.push(store.rows(&key, 1, 6, 99, true).await.map(|found| format!("{found:?}")));
    }
    all.push(store.list(View::Signal, None, None, 999).await.map(|found| format!("{found:?}")));
    all.push(store.list(View::Signal, Some("f"), None, 999).await.map(|found| format!("{found:?}")));
    all.push(store.owed(None, 999).await.map(|found| format!("{found:?}")));
    all
}

#[tokio::test]
async fn a_flipped_byte_is_refused_or_corrupt_or_found_by_the_check() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    let good: Vec<String> = readings(&store).await.into_iter().map(Result::unwrap).collect();
    store.close().unwrap();
    let bytes = std::fs::read(folder.path("store.db")).unwrap();
    let (mut refused, mut noticed, mut checked, mut harmless) = (0, 0, 0, 0);
    // Not a divisor of the page: over the pages it meets every part of one.
    for place in (0..bytes.len()).step_by(239) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        std::fs::write(folder.path("store.db"), &damaged).unwrap();
        for file in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(folder.path(file));
        }
        let store = match SqliteStore::open(folder.config()) {
            Ok(store) => store,
            Err(OpenError::Damaged { .. } | OpenError::Foreign { .. } | OpenError::NewerFormat { .. }) => {
                refused += 1;
                continue;
            }
            Err(other) => panic!("byte {place}: {other}"),
        };
        let found = readings(&store).await;
        let silent = found.iter().zip(&good).any(|(found, good)| found.as_ref().is_ok_and(|found| found != good));
        let loud = found.iter().any(Result::is_err);
        for error in found.iter().filter_map(|found| found.as_ref().err()) {
            assert!(matches!(error, StoreError::Corrupt(_)), "byte {place}: {error}");
        }
        let sound = store.check_file(Depth::Full).await.unwrap().is_sound();
        // SQLite has no checksums: a key that changed in a B-tree makes its row unfindable. The check sees it.
        assert!(!silent || !sound, "byte {place}: other data, and the check finds nothing");
        assert!(!loud || !sound, "byte {place}: an error that the check does not find");
        match (loud, sound) {
            (true, _) => noticed += 1,
            (false, false) => checked += 1,
            // Free space in a page, a fragment count, a bit of the header that says nothing.
            (false, true) => harmless += 1,
        }
        drop(store);
    }
    println!("refused {refused}, Corrupt {noticed}, found by the check alone {checked}, harmless {harmless}");
    assert!(refused > 0 && noticed > 20, "the test does not meet what it is about");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    store.close().unwrap();
    let bytes = std::fs::read(folder.path("store.db")).unwrap();
    for length in [1, 50, 100, 4095, 4096, 8192, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1] {
        std::fs::write(folder.path("store.db"), &bytes[..length]).unwrap();
        let opened = SqliteStore::open(folder.config());
        assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{length}: {opened:?}");
        assert_eq!(std::fs::read(folder.path("store.db")).unwrap(), &bytes[..length], "left as it was");
    }
}

#[tokio::test]
async fn a_log_without_its_file_is_refused_and_kept() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    std::fs::copy(folder.path("store.db-wal"), folder.path("kept")).unwrap();
    store.close().unwrap();
    std::fs::rename(folder.path("kept"), folder.path("store.db-wal")).unwrap();
    for left in [None, Some(""), Some("S")] {
        std::fs::remove_file(folder.path("store.db")).unwrap();
        if let Some(left) = left {
            std::fs::write(folder.path("store.db"), left).unwrap();
        }
        let opened = SqliteStore::open(folder.config());
        assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{opened:?}");
        assert!(std::fs::metadata(folder.path("store.db-wal")).unwrap().len() > 0);
        std::fs::write(folder.path("store.db"), "").unwrap();
    }
}

/// The file, its log and its index as a killed process leaves them, in a folder of their own.
async fn killed() -> (Folder, Vec<String>) {
    let (folder, left) = (Folder::new(), Folder::new());
    let store = filled(&folder).await;
    let good = readings(&store).await.into_iter().map(Result::unwrap).collect();
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        std::fs::copy(folder.path(name), left.path(name)).unwrap();
    }
    (left, good)
}

/// The same with another log; `indexed`: its index is still there.
async fn opened(left: &Folder, log: &[u8], indexed: bool) -> Result<Vec<Result<String, StoreError>>, OpenError> {
    let folder = Folder::new();
    std::fs::copy(left.path("store.db"), folder.path("store.db")).unwrap();
    std::fs::write(folder.path("store.db-wal"), log).unwrap();
    if indexed {
        std::fs::copy(left.path("store.db-shm"), folder.path("store.db-shm")).unwrap();
    }
    let store = SqliteStore::open(folder.config())?;
    Ok(readings(&store).await)
}

#[tokio::test]
async fn a_log_that_lost_a_commit_is_refused_and_not_taken_for_a_shorter_one() {
    let (left, good) = killed().await;
    let log = std::fs::read(left.path("store.db-wal")).unwrap();
    let whole = |found: Result<Vec<Result<String, StoreError>>, OpenError>| {
        found.is_ok_and(|found| found.into_iter().map(Result::unwrap).eq(good.iter().cloned()))
    };
    assert!(whole(opened(&left, &log, true).await) && whole(opened(&left, &log, false).await), "as it was left");
    // What was begun when the process died is no loss: nobody was told of it.
    let begun = [&log, &log[32..32 + 24 + 1000]].concat();
    assert!(whole(opened(&left, &begun, true).await) && whole(opened(&left, &begun, false).await));
    for length in (0..log.len()).step_by(12_345).chain([1, 32, log.len() - 1]) {
        let found = opened(&left, &log[..length], true).await;
        assert!(matches!(found, Err(OpenError::Damaged { .. })), "{length}: {found:?}");
    }
    for place in (0..log.len()).step_by(4_231) {
        let mut damaged = log.clone();
        damaged[place] ^= 0x10;
        let found = opened(&left, &damaged, true).await;
        assert!(matches!(found, Err(OpenError::Damaged { .. })), "byte {place}: {found:?}");
        // Without the index two commits that come after it tell; here every row is one.
        let found = opened(&left, &damaged, false).await;
        let late = place > log.len() * 3 / 4;
        assert!(late || matches!(found, Err(OpenError::Damaged { .. })), "byte {place}: {found:?}");
    }
}

#[tokio::test]
async fn a_log_that_is_in_the_file_already_may_be_gone() {
    let (folder, left) = (Folder::new(), Folder::new());
    let store = filled(&folder).await;
    store.on_writer(|conn| conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap()).await;
    for name in ["store.db", "store.db-shm"] {
        std::fs::copy(folder.path(name), left.path(name)).unwrap();
    }
    let good: Vec<String> = readings(&store).await.into_iter().map(Result::unwrap).collect();
    let found = readings(&left.open()).await.into_iter().map(Result::unwrap);
    assert!(found.eq(good));
}

#[tokio::test]
async fn rows_that_are_missing_or_another_ones_are_corrupt() {
    for (harm, what) in [
        ("DELETE FROM journal WHERE position = (1 << 31) | 3", "a row in the middle"),
        ("DELETE FROM journal WHERE position = (1 << 31) | 1", "the first row"),
        ("DELETE FROM journal WHERE position >> 31 = 1", "all rows"),
        ("UPDATE journal SET body = x'00' WHERE position = (1 << 31) | 3", "another body"),
        ("UPDATE journal SET at = at - 1 WHERE position = (1 << 31) | 3", "another time"),
        (
            "UPDATE journal SET (at, format, sum, body) = (SELECT at, format, sum, body FROM journal
             WHERE position = (2 << 31) | 3) WHERE position = (1 << 31) | 3",
            "another entity's row, sound in itself",
        ),
        ("UPDATE entity SET num = 99 WHERE num = 2; UPDATE entity SET num = 2 WHERE num = 1", "another number"),
        (
            "UPDATE entity SET snapshot = 4 WHERE num = 1;
             DELETE FROM journal WHERE position BETWEEN (1 << 31) | 3 AND (1 << 31) | 9",
            "a snapshot that is missing, and rows that do not reach it",
        ),
    ] {
        let folder = Folder::new();
        let store = filled(&folder).await;
        store.on_writer(move |conn| conn.execute_batch(harm).unwrap()).await;
        let found = Journal::open(&store, &customer("customer-0")).await;
        assert!(matches!(found, Err(StoreError::Corrupt(_))), "{what}: {found:?}");
        assert!(!store.check_file(Depth::Quick).await.unwrap().is_sound(), "{what}");
        let healthy = Journal::open(&store, &customer("customer-5")).await;
        assert!(healthy.is_ok(), "{what}: others are still read");
    }
}

#[tokio::test]
async fn where_the_snapshot_is_damaged_all_rows_are_given_and_the_next_snapshot_takes_its_place() {
    let key = customer("customer-3");
    for harm in [
        "UPDATE snapshot SET body = x'00'",
        "UPDATE snapshot SET seq = 3",
        "UPDATE snapshot SET num = 1",
        "DELETE FROM snapshot",
        "UPDATE snapshot SET format = 70000",
    ] {
        let folder = Folder::new();
        let store = filled(&folder).await;
        assert_eq!(Journal::open(&store, &key).await.unwrap().rows.len(), 2);
        store.on_writer(move |conn| conn.execute_batch(harm).unwrap()).await;
        let found = Journal::open(&store, &key).await.unwrap();
        assert_eq!((found.snapshot, found.rows.len()), (None, 6), "{harm}");
        assert!(found.damaged.is_some(), "{harm}: and is told");
        assert!(!store.check_file(Depth::Quick).await.unwrap().is_sound(), "{harm}");
        store.snapshot(&key, StoredSnapshot { seq: 6, format: 1, body: vec![6] }).await.unwrap();
        let found = Journal::open(&store, &key).await.unwrap();
        assert_eq!((found.snapshot.unwrap().seq, found.damaged), (6, None), "{harm}");
    }
}

#[tokio::test]
async fn the_check_finds_what_points_nowhere() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    let report = store.check_file(Depth::Full).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.entities, report.rows, report.snapshots), (ENTITIES, ENTITIES * 6, 1));
    assert_eq!((report.views, report.owed), (ENTITIES * 6, ENTITIES * 6));
    store
        .on_writer(|conn| {
            // The tails of two entities: nothing in their own rows tells that there were more.
            conn.execute_batch("DELETE FROM journal WHERE position IN ((1 << 31) | 6, (2 << 31) | 6)").unwrap();
        })
        .await;
    let report = store.check_file(Depth::Quick).await.unwrap();
    assert_eq!(report.found, 4, "a view's row and an effect of each: {:?}", report.problems);
}

#[tokio::test]
async fn a_row_of_an_unknown_kind_is_corrupt_and_not_skipped() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    store.on_writer(|conn| conn.execute_batch("UPDATE entity SET kind = 'dragon' WHERE num = 1").unwrap()).await;
    let found = store.due(Timestamp(i64::MAX), 99).await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
}
