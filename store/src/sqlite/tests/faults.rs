//! Full disks, failing commits, locks held by others: what is answered, and what is in the file afterwards.

use std::time::Duration;

use adal_actors::ports::{Append, Journal, StoreError, Views};
use adal_domain::entity::View;

use super::{Folder, Planted};
use crate::{
    Health, Storage,
    conformance::{append, customer, row, write},
    sqlite::SqliteStore,
};

async fn limit_pages(store: &SqliteStore, more: Option<u32>) {
    store
        .on_writer(move |conn| {
            let pages: u32 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            let limit = more.map_or(1 << 30, |more| pages + more);
            conn.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(())).unwrap();
        })
        .await;
}

fn large(seq: u64) -> Append {
    let mut wanted = append(&customer("c"), row(seq));
    wanted.row.body = vec![7; 20_000];
    wanted.views = vec![write(View::HoldById, &seq.to_string(), "", Some("x"))];
    wanted
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reading_and_recovers_by_itself() {
    let folder = Folder::new();
    let store = folder.open();
    store.append(large(1)).await.unwrap();
    limit_pages(&store, Some(2)).await;
    for _ in 0..3 {
        let refused = store.append(large(2)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        assert!(matches!(store.health(), Health::ReadOnly { .. }));
        assert_eq!(Journal::open(&store, &customer("c")).await.unwrap().rows, [large(1).row]);
        assert_eq!(store.get(View::HoldById, "2").await.unwrap(), None, "all of a row or nothing");
    }
    // While there is no room the store does not call itself well, whatever little it can still write.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(matches!(store.health(), Health::ReadOnly { .. }));
    limit_pages(&store, None).await;
    // Nobody writes: a server that is not ready gets no requests.
    tokio::time::timeout(Duration::from_secs(10), async {
        while store.health() != Health::Healthy {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    store.append(large(2)).await.unwrap();
    drop(store);
    assert_eq!(Journal::open(&folder.open(), &customer("c")).await.unwrap().rows.len(), 2);
}

#[tokio::test]
async fn on_a_full_disk_the_first_write_that_fits_makes_it_well() {
    let folder = Folder::new();
    let store = folder.open();
    limit_pages(&store, Some(0)).await;
    assert!(store.append(large(1)).await.is_err());
    limit_pages(&store, None).await;
    store.append(large(1)).await.unwrap();
    assert_eq!(store.health(), Health::Healthy);
}

#[tokio::test]
async fn a_commit_that_fails_but_happened_is_found_out_and_acknowledged() {
    let folder = Folder::new();
    let store = folder.open();
    store.plant(&[Planted::AfterCommit]);
    store.append(append(&customer("c"), row(1))).await.unwrap();
    drop(store);
    assert_eq!(Journal::open(&folder.open(), &customer("c")).await.unwrap().rows, [row(1)]);
}

#[tokio::test]
async fn a_commit_that_fails_and_did_not_happen_is_refused_for_good() {
    let folder = Folder::new();
    let store = folder.open();
    store.plant(&[Planted::InsteadOfCommit]);
    let refused = store.append(append(&customer("c"), row(1))).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(Journal::open(&store, &customer("c")).await.unwrap().rows.is_empty());
    store.append(append(&customer("c"), row(1))).await.unwrap();
    assert_eq!(store.health(), Health::Healthy);
}

#[tokio::test]
async fn what_cannot_be_settled_is_in_doubt_until_the_repeat_settles_it() {
    for first in [Planted::AfterCommit, Planted::InsteadOfCommit] {
        let folder = Folder::new();
        let store = folder.open();
        store.plant(&[first, Planted::InsteadOfCommit]);
        let doubt = store.append(append(&customer("c"), row(1))).await;
        assert!(matches!(doubt, Err(StoreError::InDoubt(_))), "{first:?}: {doubt:?}");
        store.append(append(&customer("c"), row(1))).await.unwrap();
        assert_eq!(Journal::open(&store, &customer("c")).await.unwrap().rows, [row(1)], "{first:?}: once");
    }
}

#[tokio::test]
async fn a_write_waits_while_another_process_holds_the_lock() {
    let folder = Folder::new();
    let store = folder.open();
    let path = folder.path("store.db");
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let other = std::thread::spawn(move || {
        let conn = rusqlite::Connection::open(path).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        locked.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        conn.execute_batch("ROLLBACK").unwrap();
    });
    is_locked.await.unwrap();
    store.append(append(&customer("c"), row(1))).await.unwrap();
    other.join().unwrap();
}

#[tokio::test]
async fn an_append_whose_caller_went_away_is_done_or_not_but_never_half() {
    let folder = Folder::new();
    let store = folder.open();
    let mut wanted = append(&customer("c"), row(1));
    wanted.views = vec![write(View::HoldById, "h", "", Some("x"))];
    // Polled once, so it is queued, then dropped.
    tokio::select! {
        biased;
        _ = store.append(wanted) => panic!("an fsync within one poll"),
        () = std::future::ready(()) => {}
    }
    store.close().unwrap();
    let store = folder.open();
    assert_eq!(Journal::open(&store, &customer("c")).await.unwrap().rows, [row(1)]);
    assert!(store.get(View::HoldById, "h").await.unwrap().is_some());
}
