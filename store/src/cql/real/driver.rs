//! The driver keeps the contract of [`Database`](super::super::db::Database).

use std::collections::BTreeSet;

use adal_domain::{
    entity::{EntityKey, EntityKind},
    time::Timestamp,
};
use scylla::statement::unprepared::Statement;

use super::{
    super::{
        contract,
        db::{Database, JournalRow, Place, Table},
    },
    connect, tests,
};
use crate::testing::cassandra::shared;

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_keeps_the_contract() {
    let server = shared().await;
    let (_, driver) = connect(tests(&server).await).await;
    contract::run(&driver).await;
}

/// A null would be a tombstone, and a read gives up on a partition with too many of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_row_does_not_have_leaves_no_tombstone() {
    let server = shared().await;
    let (session, driver) = connect(tests(&server).await).await;
    let (place, body) = (Place { seq: 1, epoch: 1 }, vec![1]);
    let row =
        JournalRow { place, parent_epoch: 1, at: Timestamp(1), format: 1, body, bucket: 1, wake: None, derived: None };
    driver.insert_row(&EntityKey::new(EntityKind::Customer, "bare"), &row).await.unwrap();
    let mut read = Statement::new("SELECT * FROM tests.journal WHERE kind = 'customer' AND id = 'bare'");
    read.set_tracing(true);
    let answer = session.driver().query_unpaged(read, ()).await.unwrap();
    let trace = session.driver().get_tracing_info(&answer.tracing_id().unwrap()).await.unwrap();
    let said: Vec<_> = trace.events.into_iter().filter_map(|event| event.activity).collect();
    assert!(said.iter().any(|said| said.contains("Read 1 live rows and 0 tombstone cells")), "{said:?}");
}

/// On one node all lies together; were a token not to be had, everything would go by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_on_the_same_nodes_is_known() {
    let server = shared().await;
    let (_, driver) = connect(tests(&server).await).await;
    let homes = |table| (0..50).map(move |number| (table, format!("k{number}")));
    let all: BTreeSet<u64> = homes(Table::Journal)
        .chain(homes(Table::ViewRow))
        .map(|(table, key)| driver.home(table, "customer", &key))
        .collect();
    assert_eq!(all.len(), 1, "{all:?}");
}
