//! The store above the model of a database: everything but the driver.

mod doubt;
mod faults;
mod importing;
mod lists;
mod parts;
mod ports;
mod spine;
mod standby;
mod successors;
mod together;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use adal_domain::time::Timestamp;

use super::{
    CqlConfig, CqlStore, WallClock,
    sim::{SimCluster, SimDb},
};

/// A wall clock that a test sets.
#[derive(Default)]
pub(super) struct TestClock(AtomicI64);

impl WallClock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

impl TestClock {
    pub(super) fn set(&self, seconds: i64) {
        self.0.store(seconds * Timestamp::SECOND, Ordering::SeqCst);
    }
}

/// A database and the processes on it.
pub(super) struct World {
    pub(super) cluster: Arc<SimCluster>,
    pub(super) clock: Arc<TestClock>,
    processes: AtomicU32,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let clock = Arc::new(TestClock::default());
        clock.set(1_000_000);
        Self { cluster: SimCluster::new(seed), clock, processes: AtomicU32::new(0) }
    }

    pub(super) fn config(node: &str) -> CqlConfig {
        let mut config = CqlConfig::new(vec![], "adal");
        config.node = node.to_owned();
        config.append_deadline = Duration::from_secs(2);
        config
    }

    /// A process that has claimed nothing, and its number.
    pub(super) fn process(&self, config: CqlConfig) -> (CqlStore, u32) {
        let number = self.processes.fetch_add(1, Ordering::SeqCst);
        let db: SimDb = self.cluster.connect(number);
        (CqlStore::over(Arc::new(db), Arc::clone(&self.clock) as Arc<dyn WallClock>, config), number)
    }

    /// A process that owns all shards.
    pub(super) async fn owner(&self, node: &str) -> (CqlStore, u32) {
        let (store, number) = self.process(Self::config(node));
        store.claim().await.unwrap();
        (store, number)
    }
}
