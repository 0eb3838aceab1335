//! The driver keeps the contract of [`Database`](super::super::db::Database).

use super::{super::contract, connect, tests};
use crate::testing::cassandra::shared;

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_keeps_the_contract() {
    let server = shared().await;
    let (_, driver) = connect(tests(&server).await).await;
    contract::run(&driver).await;
}
