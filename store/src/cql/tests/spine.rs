//! The whole loop on this store, on the model of a database: the same seeds, clients and checks as on the store in memory
//! (`adal_actors::simulation`). Processes die, are replaced while they live, and are paused until they are thought dead;
//! statements are done, half done, done later, seen by one read and not by the next, slow or lost; the machines' clocks leap
//! over buckets while parts of queues are dropped.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use adal_actors::{
    ports::{Clock, Journal},
    simulation::{Ground, Met, Rules, Store, simulate},
    testing::MachineClock,
};
use adal_domain::time::Timestamp;
use async_trait::async_trait;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use super::{World, faults::script};
use crate::cql::{CqlStore, WallClock, recover, sim::SimCluster};

/// A machine's clock as the store sees it. Buckets go by it, and nothing else.
struct Wall {
    clock: Arc<MachineClock>,
    /// Seconds by which it is ahead.
    ahead: Arc<AtomicI64>,
}

impl WallClock for Wall {
    fn now(&self) -> Timestamp {
        self.clock.now().plus_seconds(self.ahead.load(Ordering::SeqCst))
    }
}

/// A database, with a way to it for every process.
struct Database {
    cluster: Arc<SimCluster>,
    ahead: Arc<AtomicI64>,
    mute: Arc<Mutex<BTreeSet<u32>>>,
    seeds: Cell<u64>,
}

impl Database {
    fn new(seed: u64) -> Self {
        Self { cluster: SimCluster::new(seed), ahead: Arc::default(), mute: Arc::default(), seeds: Cell::new(seed) }
    }

    fn rng(&self) -> StdRng {
        self.seeds.set(self.seeds.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        StdRng::seed_from_u64(self.seeds.get())
    }
}

/// What takes hours where time runs as it should: buckets come and go, watermarks follow, parts that are empty are dropped.
async fn hours(store: CqlStore, ahead: Arc<AtomicI64>, mut rng: StdRng) {
    while !store.inner.owner.has_ended() {
        sleep(Duration::from_millis(rng.random_range(500..5_000))).await;
        ahead.fetch_add([0, 30, 700, 1_300, 5_000, -3_600][rng.random_range(0..6)], Ordering::SeqCst);
        recover::advance(&store.inner).await;
        // It is looked at all along, and what it says is for others.
        let _ = store.owed(None, 16).await;
    }
}

#[async_trait(?Send)]
impl Ground for Database {
    fn begin(&self) {
        self.cluster.begin();
    }

    async fn start(&self, process: u32, machine: &str, clock: Arc<MachineClock>) -> Arc<dyn Store> {
        let wall = Wall { clock, ahead: Arc::clone(&self.ahead) };
        let db = self.cluster.connect(process);
        let store = CqlStore::over(Arc::new(db), Arc::new(wall), World::config(machine));
        // One that does not answer for so long is asked again, as whoever starts the process does.
        while let Err(error) = store.claim().await {
            assert!(store.inner.owner.claimed().is_none(), "{error}");
        }
        tokio::spawn(hours(store.clone(), Arc::clone(&self.ahead), self.rng()));
        Arc::new(store)
    }

    fn fail(&self, rng: StdRng) {
        self.cluster.follow(script(rng, Arc::clone(&self.mute)));
    }

    fn heal(&self) {
        self.cluster.heal();
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn mute(&self, process: u32) {
        self.mute.lock().unwrap().insert(process);
    }

    fn pause(&self, process: u32, paused: bool) {
        match paused {
            true => self.cluster.stop(process),
            false => self.cluster.resume(process),
        }
    }

    fn adds_rows(&self) -> bool {
        true
    }

    fn looks_every(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn wrongs(&self) -> Vec<String> {
        self.cluster.wrongs()
    }
}

/// A simulation in which nothing goes wrong shows nothing.
fn run(rules: Rules, seeds: u64) {
    let all: RefCell<Vec<Arc<SimCluster>>> = RefCell::default();
    let met = simulate(rules, seeds, |seed| {
        let database = Database::new(seed);
        all.borrow_mut().push(Arc::clone(&database.cluster));
        Rc::new(database)
    });
    let sent = |name| all.borrow().iter().map(|cluster| cluster.sent(name)).sum::<u64>();
    let (adopted, dropped) = (sent("insert_rows"), sent("drop_outbox_bucket") + sent("drop_timer_bucket"));
    println!("{rules:?}: {met:?}, {adopted} adoptions and {dropped} parts of queues were begun or dropped");
    let Met { acknowledged, fenced, in_doubt, delivered, replaced } = met;
    let delivered = delivered.max(u64::from(matches!(rules, Rules::Customers(_))));
    let all = [acknowledged, fenced, in_doubt, delivered, replaced, adopted, dropped];
    assert!(std::env::var_os("SEED").is_some() || all.iter().all(|n| *n > 0), "{met:?}, {adopted}, {dropped}");
}

#[test]
fn on_cql_every_answer_stands_and_no_money_is_made_or_lost() {
    run(Rules::Ledger(6), 4);
}

#[test]
fn on_cql_customers_keep_every_point_and_every_answer() {
    run(Rules::Customers(3), 3);
}

#[test]
fn on_cql_limits_and_points_stay_exact() {
    run(Rules::Promos(4), 2);
}
