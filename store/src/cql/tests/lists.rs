//! Lists under a database of which every read fails now and then: they are many reads, and each is repeated by itself.

use std::{sync::Arc, time::Duration};

use adal_actors::{
    Effects, Router,
    ports::{Journal, StoreError, Views},
};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View},
    time::Timestamp,
};
use tokio::time::Instant;

use super::World;
use crate::{
    conformance::{append, customer, row, write},
    cql::{
        CqlStore,
        sim::{Fate, Statement},
    },
};

/// Entities that the lists are of: enough that every slice has some.
const ENTITIES: usize = 300;

/// As it is by default.
const DEADLINE: Duration = Duration::from_secs(10);

/// A store with something in every list, and a process on it that has just claimed it and read none of them.
async fn full(world: &World) -> CqlStore {
    let (before, number) = world.owner("a").await;
    for id in 0..ENTITIES {
        let entity = customer(&format!("c{id:03}"));
        let mut first = append(&entity, row(1));
        first.views = vec![write(View::Signal, &entity.id, "some", Some("x"))];
        first.wake = Some(Timestamp(1));
        first.effects = vec![Effect { target: EntityKey::new(EntityKind::Promo, "p"), command: vec![] }];
        before.append(first).await.unwrap();
    }
    world.cluster.kill(number);
    let mut config = World::config("a");
    config.append_deadline = DEADLINE;
    let (store, _) = world.process(config);
    store.claim().await.unwrap();
    store
}

/// Of the reads every second fails, whatever it is; of those some after a while.
fn flapping() -> impl FnMut(Statement) -> Fate + Send {
    let mut reads = 0_u64;
    move |statement| {
        if statement.writes || statement.name == "cluster_version" {
            return Fate::Done;
        }
        reads += 1;
        match reads % 4 {
            0 | 2 => Fate::Done,
            1 => Fate::Lost(Duration::from_millis(30)),
            _ => Fate::NotDone,
        }
    }
}

async fn lengths(store: &CqlStore) -> Result<[usize; 4], StoreError> {
    let owed = store.owed(None, usize::MAX).await?.len();
    let due = store.due(Timestamp(9), usize::MAX).await?.len();
    let entities = store.entities(EntityKind::Customer, None, usize::MAX).await?.len();
    let signals = store.list(View::Signal, Some("some"), None, usize::MAX).await?.len();
    // Not listed by its tables: all views are looked through.
    store.list(View::HoldById, None, None, usize::MAX).await?;
    Ok([owed, due, entities, signals])
}

#[tokio::test(start_paused = true)]
async fn a_list_is_whole_where_every_second_read_fails() {
    let world = World::new(11);
    let store = full(&world).await;
    world.cluster.follow(flapping());
    assert_eq!(lengths(&store).await.unwrap(), [ENTITIES; 4]);
}

/// What that costs is more than one read may cost.
#[tokio::test(start_paused = true)]
async fn a_list_is_whole_where_every_eighth_read_times_out() {
    let world = World::new(14);
    let store = full(&world).await;
    let mut reads = 0_u64;
    world.cluster.follow(move |statement| {
        reads += u64::from(!statement.writes);
        match !statement.writes && statement.name != "cluster_version" && reads.is_multiple_of(8) {
            true => Fate::Lost(Duration::from_secs(2)),
            false => Fate::Done,
        }
    });
    let begun = Instant::now();
    assert_eq!(lengths(&store).await.unwrap(), [ENTITIES; 4]);
    assert!(begun.elapsed() > DEADLINE, "it shows nothing: {:?}", begun.elapsed());
}

/// Without it a server does not start.
#[tokio::test(start_paused = true)]
async fn what_is_owed_is_found_at_the_start_where_every_second_read_fails() {
    let world = World::new(12);
    let store = Arc::new(full(&world).await);
    world.cluster.follow(flapping());
    let effects = Effects::new(Arc::clone(&store) as Arc<dyn Journal>, Router::new());
    assert_eq!(effects.recover().await.unwrap(), ENTITIES);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_a_database_that_is_away_ends_in_time() {
    let world = World::new(13);
    let store = full(&world).await;
    world.cluster.follow(|_| Fate::NotDone);
    let begun = Instant::now();
    let lists = tokio::join!(
        store.owed(None, 9),
        store.due(Timestamp(9), 9),
        store.entities(EntityKind::Customer, None, 9),
        store.list(View::Signal, Some("some"), None, 9),
        store.list(View::HoldById, None, None, 9),
    );
    assert!(matches!(lists.0, Err(StoreError::Unavailable(_))), "{:?}", lists.0);
    assert!(lists.1.is_err() && lists.2.is_err() && lists.3.is_err() && lists.4.is_err());
    assert!(begun.elapsed() <= DEADLINE, "{:?}", begun.elapsed());
    // And one that comes back is found by a list that waits for it.
    let back = Arc::clone(&world.cluster);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        back.heal();
    });
    assert_eq!(lengths(&store).await.unwrap(), [ENTITIES; 4]);
}
