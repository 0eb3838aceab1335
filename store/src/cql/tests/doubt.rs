//! What is in doubt stays in mind, however many other entities are asked meanwhile.

use std::time::Duration;

use adal_actors::ports::{Journal, StoreError};

use super::World;
use crate::{
    conformance::{append, customer, row},
    cql::sim::Fate,
};

/// An append of which one copy was written is repeated as it is, or not at all: another content in its place would be seen
/// by one reader, and the first by the next.
#[tokio::test(start_paused = true)]
async fn an_append_in_doubt_is_not_forgotten_for_want_of_room() {
    for seed in 0..10 {
        let world = World::new(seed);
        let mut config = World::config("a");
        config.max_handles = 1;
        let (store, _) = world.process(config);
        store.claim().await.unwrap();
        let entity = customer("doubtful");
        world.cluster.follow(|statement| match statement.name {
            "insert_row" => Fate::Partly { now: [true, false, false], later: None, wait: Duration::from_millis(10) },
            _ => Fate::Done,
        });
        let first = store.append(append(&entity, row(1))).await;
        assert!(matches!(first, Err(StoreError::InDoubt(_))), "{first:?}");
        world.cluster.heal();
        for other in 0..200 {
            store.open(&customer(&format!("other {other}"))).await.unwrap();
        }
        let mut second = append(&entity, row(1));
        second.row.body = b"another".to_vec();
        let second = store.append(second).await;
        assert!(matches!(second, Err(StoreError::Fenced(_))), "{second:?}");
        assert_eq!(store.open(&entity).await.unwrap().rows, [row(1)]);
        assert!(world.cluster.wrongs().is_empty(), "{:?}", world.cluster.wrongs());
    }
}
