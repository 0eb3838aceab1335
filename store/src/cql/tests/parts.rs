//! The parts of ten minutes in which timers stand, and what is owed: they come, and have to go.

use std::time::Duration;

use adal_actors::ports::{Append, Journal};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind},
    time::Timestamp,
};
use tokio::time::sleep;

use super::World;
use crate::{
    conformance::{append, customer, row},
    cql::{
        CqlStore,
        db::Database,
        protocol::{SLICES, bucket_of, shard_of, slice_of},
        recover,
    },
};

const BEGIN_S: i64 = 1_000_000;

/// Parts of timers that are over and parts of the outbox that are listed, in the slice of `key`.
async fn parts(db: &dyn Database, key: &EntityKey, now: u32) -> (usize, usize) {
    let slice = slice_of(shard_of(key));
    let timers = db.timer_buckets(slice, None, now, 1_000).await.unwrap();
    (timers.len(), db.outbox_buckets(slice, None, 1_000).await.unwrap().len())
}

/// Ten minutes in which a customer does something, owes it, and is woken; with all that a server does beside.
async fn ten_minutes(world: &World, store: &CqlStore, key: &EntityKey, seq: u64) {
    let now = BEGIN_S + i64::try_from(seq).unwrap() * 600;
    world.clock.set(now);
    let target = EntityKey::new(EntityKind::Promo, "p");
    let wake = Timestamp::from_seconds(now + 60);
    store
        .append(Append {
            wake: Some(wake),
            effects: vec![Effect { target, command: vec![1] }],
            ..append(key, row(2 * seq))
        })
        .await
        .unwrap();
    store.delivered(vec![(key.clone(), 2 * seq, 0)]).await.unwrap();
    world.clock.set(now + 61);
    let until = Timestamp::from_seconds(now + 61);
    assert_eq!(store.due(until, 16).await.unwrap(), [(wake, key.clone())]);
    store.append(append(key, row(2 * seq + 1))).await.unwrap();
    recover::advance(&store.inner).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(store.due(until, 16).await.unwrap(), []);
    assert_eq!(store.owed(None, 16).await.unwrap(), []);
}

/// In a small shop most of a slice's sixteen shards have nobody, or somebody who comes once a month. What is over goes all the
/// same: every look at what is due reads each part that is there.
#[tokio::test(start_paused = true)]
async fn parts_that_are_over_go_where_most_shards_are_idle() {
    let world = World::new(11);
    let (store, process) = world.owner("a").await;
    let key = customer("alone");
    let raw = world.cluster.connect(99);
    store.append(append(&key, row(1))).await.unwrap();
    // Another of the slice, in another shard, wrote once.
    let beside = |other: &EntityKey| slice_of(shard_of(other)) == slice_of(shard_of(&key));
    let other = (0..).map(|number| customer(&format!("other {number}")));
    let other = other.into_iter().find(|other| beside(other) && shard_of(other) != shard_of(&key)).unwrap();
    store.append(append(&other, row(1))).await.unwrap();
    for seq in 1..40 {
        ten_minutes(&world, &store, &key, seq).await;
        let now = bucket_of(Timestamp::from_seconds(BEGIN_S + i64::try_from(seq).unwrap() * 600));
        let (timers, outbox) = parts(&raw, &key, now).await;
        assert!(timers <= 3 && outbox <= 3, "after {seq} times ten minutes: {timers} and {outbox}");
    }
    // What the next owner finds is no more, and what it writes with a clock that is behind is found.
    world.cluster.kill(process);
    let (next, _) = world.owner("b").await;
    world.clock.set(BEGIN_S + 39 * 600 - 3_600);
    next.open(&key).await.unwrap();
    let wake = Timestamp::from_seconds(BEGIN_S + 39 * 600 - 3_500);
    let seq = next.open(&other).await.unwrap().rows.len() as u64 + 1;
    next.append(Append { wake: Some(wake), ..append(&other, row(seq)) }).await.unwrap();
    assert_eq!(next.due(wake, 16).await.unwrap(), [(wake, other)]);
}

/// Parts that are empty and not over yet, one in each slice, are no reason to leave those that are over.
#[tokio::test(start_paused = true)]
async fn parts_that_are_not_over_yet_keep_no_others() {
    let world = World::new(12);
    let (store, _) = world.owner("a").await;
    let raw = world.cluster.connect(99);
    let keys: Vec<_> = (0..400).map(|number| customer(&format!("c{number}"))).collect();
    for seq in 1..=6_u64 {
        let now = BEGIN_S + i64::try_from(seq).unwrap() * 600;
        world.clock.set(now);
        // Two wakes each, one in the next ten minutes; both are put off at once, so that their parts are empty.
        for (part, ahead_s) in [(0, 60), (1, 700)] {
            for key in &keys {
                let at = 4 * (seq - 1) + 2 * part;
                let wake = Some(Timestamp::from_seconds(now + ahead_s));
                store.append(Append { wake, ..append(key, row(at + 1)) }).await.unwrap();
                store.append(append(key, row(at + 2))).await.unwrap();
            }
        }
        recover::advance(&store.inner).await;
        for _ in 0..4 {
            assert_eq!(store.due(Timestamp::from_seconds(now + 599), 16).await.unwrap(), []);
        }
    }
    let now = bucket_of(Timestamp::from_seconds(BEGIN_S + 6 * 600));
    let mut over = 0;
    for slice in 0..SLICES {
        over += raw.timer_buckets(slice, None, now - 2, 1_000).await.unwrap().len();
    }
    assert_eq!(over, 0, "parts of twenty minutes ago and before");
}
