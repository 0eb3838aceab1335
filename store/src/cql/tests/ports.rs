//! The contract of the ports.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::World;
use crate::{
    conformance::{self, Factory, Ports},
    cql::{CqlStore, contract},
};

struct Sim(Mutex<Option<(Arc<World>, u32)>>);

fn ports(store: CqlStore) -> Ports {
    let store = Arc::new(store);
    Ports { journal: store.clone(), views: store.clone(), codes: store.clone(), counts: store.clone(), periods: store }
}

#[async_trait]
impl Factory for Sim {
    fn owes_the_last_again(&self) -> bool {
        true
    }

    async fn fresh(&self) -> Ports {
        let world = Arc::new(World::new(7));
        let (store, number) = world.owner("a").await;
        *self.0.lock().unwrap() = Some((world, number));
        ports(store)
    }

    async fn reopen(&self, old: Ports) -> Ports {
        let (world, number) = self.0.lock().unwrap().take().unwrap();
        world.cluster.kill(number);
        drop(old);
        let (store, number) = world.owner("a").await;
        assert!(world.cluster.wrongs().is_empty(), "{:?}", world.cluster.wrongs());
        *self.0.lock().unwrap() = Some((world, number));
        ports(store)
    }
}

#[tokio::test(start_paused = true)]
async fn the_cql_store_keeps_the_contract_of_the_ports() {
    conformance::run(&Sim(Mutex::default())).await;
}

#[tokio::test(start_paused = true)]
async fn the_model_keeps_what_the_database_promises() {
    let world = World::new(3);
    contract::run(&world.cluster.connect(1)).await;
    assert!(world.cluster.wrongs().is_empty(), "{:?}", world.cluster.wrongs());
}
