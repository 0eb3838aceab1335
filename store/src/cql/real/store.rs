//! The whole store on a real Cassandra: the contract of the ports, and what becomes of appends when the database is killed
//! or stopped under them.

use std::{sync::Arc, time::Duration};

use adal_actors::ports::{Append, Journal, StoreError, StoredRow};
use adal_domain::{entity::EntityKey, time::Timestamp};
use async_trait::async_trait;
use scylla::client::session::Session as Raw;
use tokio::{sync::OnceCell, time::timeout};

use super::{
    super::{CqlStore, config::CqlConfig, migrate::migrate, session::Session},
    config,
};
use crate::{
    conformance::{self, Factory, Ports, customer},
    testing::cassandra::{Cassandra, alone, shared},
};

/// How long something may take that takes seconds where nothing else is going on.
const SOON: Duration = Duration::from_secs(240);
/// Entities that are written to at the same time.
const WRITERS: usize = 8;

/// The keyspace of these tests, which no other uses: a store owns all of it.
async fn keyspace(server: &Cassandra) -> CqlConfig {
    static MADE: OnceCell<()> = OnceCell::const_new();
    let mut config = config(server, "store");
    // Who opens it again waits until the one before serves nothing any more: for both of these.
    (config.beat_every, config.confirmed_within) = (Duration::from_millis(200), Duration::from_millis(600));
    MADE.get_or_init(async || drop(migrate(&config, false).await.unwrap())).await;
    config
}

/// Takes every row out of the keyspace but the cluster's: epochs go on rising, and with them the stamps, so that what was
/// deleted before hides nothing that is written from now on. Views have stamps of their own, which start over: their tables
/// lose their tombstones too.
async fn empty(raw: &Raw) {
    let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'store'";
    let tables = raw.query_unpaged(tables, ()).await.unwrap().into_rows_result().unwrap();
    for table in tables.rows::<(String,)>().unwrap() {
        let (table,) = table.unwrap();
        if table == "migration" || table == "cluster" {
            continue;
        }
        let some = raw.query_unpaged(format!("SELECT * FROM store.{table} LIMIT 1"), ()).await.unwrap();
        if table.starts_with("view_") || some.into_rows_result().unwrap().rows_num() > 0 {
            raw.query_unpaged(format!("TRUNCATE store.{table}"), ()).await.unwrap();
        }
    }
}

async fn owner(config: CqlConfig) -> CqlStore {
    let store = CqlStore::connect(config).await.unwrap();
    store.claim().await.unwrap();
    store
}

struct Real {
    config: CqlConfig,
    raw: Arc<Raw>,
}

fn ports(store: CqlStore) -> Ports {
    let store = Arc::new(store);
    Ports { journal: store.clone(), views: store.clone(), codes: store.clone(), counts: store.clone(), periods: store }
}

#[async_trait]
impl Factory for Real {
    fn owes_the_last_again(&self) -> bool {
        true
    }

    async fn fresh(&self) -> Ports {
        empty(&self.raw).await;
        ports(owner(self.config.clone()).await)
    }

    async fn reopen(&self, old: Ports) -> Ports {
        drop(old);
        ports(owner(self.config.clone()).await)
    }
}

/// All that needs the keyspace is one test: a store owns it whole, and making another takes seconds.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_the_contract_of_the_ports_and_what_it_acknowledged() {
    {
        let server = shared().await;
        let config = keyspace(&server).await;
        let raw = Session::connect(config.clone()).await.unwrap().driver();
        conformance::run(&Real { config, raw }).await;
    }
    let mut server = alone().await;
    under_load(&mut server, |server| {
        server.kill();
        server.restart().unwrap();
    })
    .await;
    under_load(&mut server, |server| {
        server.pause().unwrap();
        // Longer than a statement may take: what was under way is in doubt.
        std::thread::sleep(Duration::from_secs(5));
        server.resume().unwrap();
    })
    .await;
}

fn row(entity: &EntityKey, seq: u64) -> Append {
    let body = format!("{entity}#{seq}").repeat(20).into_bytes();
    Append {
        entity: entity.clone(),
        row: StoredRow { seq, at: Timestamp(i64::try_from(seq).unwrap()), format: 1, body },
        views: Vec::new(),
        wake: None,
        effects: Vec::new(),
    }
}

/// Appends go on while something is done to the server, each repeated until it is durable, as the loop does. Whoever opens
/// the store next finds them all, in order, once each.
async fn under_load(server: &mut Cassandra, harm: impl FnOnce(&mut Cassandra)) {
    let mut config = keyspace(server).await;
    config.request_timeout = Duration::from_secs(3);
    let raw = Session::connect(config.clone()).await.unwrap().driver();
    empty(&raw).await;
    let store = owner(config.clone()).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let begun = Arc::new(tokio::sync::Barrier::new(WRITERS + 1));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (store, stopped, begun) = (store.clone(), stopped.clone(), Arc::clone(&begun));
            let entity = customer(&format!("w{number}"));
            tokio::spawn(async move {
                let mut last = store.open(&entity).await.unwrap().rows.len() as u64;
                loop {
                    if last == 5 {
                        begun.wait().await;
                    }
                    let next = row(&entity, last + 1);
                    loop {
                        match store.append(next.clone()).await {
                            Ok(()) => break,
                            Err(StoreError::InDoubt(_) | StoreError::Unavailable(_)) => {
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                            Err(error) => panic!("{entity}: {error}"),
                        }
                    }
                    last += 1;
                    if *stopped.borrow() {
                        return (entity, last);
                    }
                }
            })
        })
        .collect();
    timeout(SOON, begun.wait()).await.unwrap();
    tokio::task::block_in_place(|| harm(server));
    // One more of each after it.
    stop.send(true).unwrap();
    let mut written = Vec::new();
    for writer in writers {
        written.push(timeout(SOON, writer).await.unwrap().unwrap());
    }
    drop(store);
    let next = owner(config).await;
    for (entity, last) in written {
        let found = next.open(&entity).await.unwrap().rows;
        // What the new owner adds to make the history its own is an empty row.
        let ours: Vec<_> = found.iter().filter(|row| row.seq <= last).cloned().collect();
        let expected: Vec<_> = (1..=last).map(|seq| row(&entity, seq).row).collect();
        assert!(last > 5, "{entity}");
        assert_eq!(ours, expected, "{entity}");
    }
}
