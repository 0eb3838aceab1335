//! What is below [`super::db`], against a real Cassandra: one node that all tests of this binary share. The tests that kill or stop the node have it alone meanwhile.

mod driver;
mod migrations;
mod outages;
mod store;
mod three;

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{config::CqlConfig, driver::Driver, migrate::migrate, session::Session};
use crate::testing::cassandra::{Cassandra, PASSWORD, USER};

/// How the shared node is reached, and a keyspace that is the test's own.
fn config(server: &Cassandra, keyspace: &str) -> CqlConfig {
    let mut config = CqlConfig::new(server.contact_points(), keyspace);
    (config.username, config.password) = (Some(USER.to_owned()), Some(PASSWORD.to_owned()));
    config.replication = [("datacenter1".to_owned(), 1)].into();
    // Patience for a machine that has much else to do; tests of time-outs set their own.
    config.request_timeout = std::time::Duration::from_secs(30);
    config
}

/// The session with a keyspace that has all tables, and the driver on it.
async fn connect(config: CqlConfig) -> (Arc<Session>, Driver) {
    let session = Session::connect(config).await.unwrap();
    let driver = Driver::new(Arc::clone(&session)).await.unwrap();
    (session, driver)
}

/// The keyspace that tests share who bring keys of their own, migrated by whoever comes first: making its tables takes
/// seconds.
async fn tests(server: &Cassandra) -> CqlConfig {
    static MADE: OnceCell<()> = OnceCell::const_new();
    let config = config(server, "tests");
    MADE.get_or_init(async || drop(migrate(&config, false).await.unwrap())).await;
    config
}
