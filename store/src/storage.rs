//! A store as the server uses it, whatever it is made of.

use std::{fmt::Debug, sync::Arc};

use adal_actors::ports::{ApiKeys, Codes, Counts, Journal, PeriodKeys, StoreError, Views};
use async_trait::async_trait;

/// Whether the store can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It reads and writes.
    Healthy,
    /// It does not write, and perhaps does not read. The store finds out by itself within seconds that what `reason`
    /// says is over, but for damage, which takes a restart (and most likely a backup).
    ReadOnly {
        /// Why, for a person.
        reason: Arc<str>,
    },
}

/// All ports of one store, and what the server that uses it has to know.
#[async_trait]
pub trait Storage: Journal + Views + Codes + Counts + PeriodKeys + ApiKeys + Debug {
    /// Whether it can write.
    fn health(&self) -> Health;
    /// Where it is, for a person: a file, or a cluster's keyspace.
    fn place(&self) -> String;
    /// Ends when this process's entities are another's, and says whose: whoever is still asked has to end, since nothing
    /// in its memory counts any more. Never, where no other process can have them.
    async fn deposed(&self) -> Arc<str> {
        std::future::pending().await
    }
    /// Does what is queued and gives up what it holds; everybody gets `Unavailable` from then on.
    ///
    /// # Errors
    /// `Unavailable`: it did not end in time.
    async fn close(&self) -> Result<(), StoreError>;
}
