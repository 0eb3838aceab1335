//! An import that was cut off, by whoever continues it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use adal_actors::ports::{Append, Journal, StoreError, StoredRow, StoredSnapshot, Views};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View, ViewWrite},
    time::Timestamp,
};
use tokio::time::sleep;

use super::World;
use crate::{
    Storage,
    cql::{CqlStore, sim::Fate},
};

fn key() -> EntityKey {
    EntityKey::new(EntityKind::Customer, "c1")
}

/// Row `seq` of the file, of which follow a view and two effects.
fn row(seq: u64) -> Append {
    let at = Timestamp(i64::try_from(seq).unwrap());
    let view = ViewWrite {
        view: View::HoldById,
        key: format!("h{seq}"),
        filter: String::new(),
        value: Some(seq.to_be_bytes().to_vec()),
    };
    let effect = |command| Effect { target: EntityKey::new(EntityKind::Promo, "p"), command: vec![command] };
    Append {
        entity: key(),
        row: StoredRow { seq, at, format: 1, body: format!("row {seq}").into_bytes() },
        views: vec![view],
        wake: None,
        effects: vec![effect(0), effect(1)],
    }
}

async fn rows(store: &CqlStore) -> Vec<StoredRow> {
    Journal::rows(store, &key(), 1, u64::MAX, 99, false).await.unwrap()
}

fn of_file(count: u64) -> Vec<StoredRow> {
    (1..=count).map(|seq| row(seq).row).collect()
}

/// A store in which an import has written so many rows, and was killed.
async fn cut_off(world: &World, count: u64) {
    let (first, number) = world.owner("tool-1").await;
    first.set_importing(true).await.unwrap();
    for seq in 1..=count {
        first.append(row(seq)).await.unwrap();
    }
    world.cluster.kill(number);
}

#[tokio::test(start_paused = true)]
async fn what_an_import_left_is_adopted_by_nobody_and_is_void_once_it_is_begun_anew() {
    let world = World::new(31);
    cut_off(&world, 3).await;
    let (looking, _) = world.process(World::config("looks"));
    let (second, _) = world.owner("tool-2").await;
    assert!(second.is_importing().await.unwrap(), "it says so to whoever comes");
    // As long as a recovery would take.
    sleep(Duration::from_secs(120)).await;
    assert_eq!(rows(&looking).await, of_file(3), "nothing is put on it, neither by the recovery nor by who looks");

    // The next ten minutes: what the first one owed stands in another part than what is owed now.
    world.clock.set(1_000_700);
    second.append_anew(row(1)).await.unwrap();
    assert_eq!(rows(&looking).await, of_file(1), "what is there is void with the first row, though it has more rows");
    second.append_anew(row(1)).await.unwrap();
    for seq in 2..=4 {
        second.append(row(seq)).await.unwrap();
    }
    let others: Vec<_> = (1..=4).map(|seq| (key(), seq, 1)).collect();
    second.delivered(others).await.unwrap();
    second.set_importing(false).await.unwrap();
    assert_eq!(rows(&looking).await, of_file(4));
    second.close().await.unwrap();

    let (server, _) = world.owner("server").await;
    assert!(!server.is_importing().await.unwrap());
    let opened = server.open(&key()).await.unwrap();
    let (empty, of_import) = opened.rows.split_last().unwrap();
    assert_eq!((of_import, empty.seq), (&of_file(4)[..], 5));
    for seq in 1..=4_u64 {
        let view = server.get(View::HoldById, &format!("h{seq}")).await.unwrap().unwrap();
        assert_eq!(view.value, seq.to_be_bytes());
    }
    let mut owed: Vec<_> = server.owed(None, 99).await.unwrap().into_iter().map(|of| (of.seq, of.index)).collect();
    owed.dedup();
    // Of the last decided row an adopter owes everything once more: its targets know it.
    assert_eq!(
        owed,
        [(1, 0), (2, 0), (3, 0), (4, 0), (4, 1)],
        "nothing is owed that is delivered: not by void rows either"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_adopted_nevertheless_is_begun_anew_under_a_later_claim() {
    let world = World::new(32);
    cut_off(&world, 2).await;
    let (second, number) = world.owner("tool-2").await;
    assert_eq!(second.open(&key()).await.unwrap().rows.len(), 3, "an empty row is on it");
    world.cluster.kill(number);
    let (third, _) = world.owner("tool-3").await;
    third.append_anew(row(1)).await.unwrap();
    for seq in 2..=3 {
        third.append(row(seq)).await.unwrap();
    }
    assert_eq!(rows(&third).await, of_file(3));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_anew_but_by_an_import_and_nothing_of_which_there_is_a_snapshot() {
    let world = World::new(33);
    let (server, number) = world.owner("server").await;
    server.append(row(1)).await.unwrap();
    let refused = server.append_anew(row(1)).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("import alone")), "{refused:?}");
    let snapshot = StoredSnapshot { seq: 1, format: 1, body: b"all".to_vec() };
    server.snapshot(&key(), snapshot).await.unwrap();
    world.cluster.kill(number);
    let (tool, _) = world.owner("tool").await;
    tool.set_importing(true).await.unwrap();
    let refused = tool.append_anew(row(1)).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("another file")), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_first_row_that_is_in_doubt_is_begun_anew_once() {
    let world = World::new(34);
    cut_off(&world, 2).await;
    let (second, number) = world.owner("tool-2").await;
    let away = Arc::new(AtomicBool::new(true));
    let gone = Arc::clone(&away);
    world.cluster.follow(move |statement| {
        let hit = (statement.process, statement.name) == (number, "insert_row");
        if hit && gone.load(Ordering::SeqCst) { Fate::Lost(Duration::from_millis(10)) } else { Fate::Done }
    });
    let doubt = second.append_anew(row(1)).await;
    assert!(matches!(doubt, Err(StoreError::InDoubt(_))), "{doubt:?}");
    away.store(false, Ordering::SeqCst);
    second.append_anew(row(1)).await.unwrap();
    second.append(row(2)).await.unwrap();
    assert_eq!(rows(&second).await, of_file(2));
}

#[tokio::test(start_paused = true)]
async fn who_has_lost_the_store_leaves_no_mark_on_it() {
    let world = World::new(35);
    let (tool, number) = world.owner("tool").await;
    world.cluster.stop(number);
    let (server, _) = world.owner("server").await;
    server.append(row(1)).await.unwrap();
    world.cluster.resume(number);
    assert!(tool.set_importing(true).await.is_err());
    assert!(!server.is_importing().await.unwrap(), "the server's next start is not refused");
}
