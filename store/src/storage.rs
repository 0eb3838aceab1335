//! A store as the server uses it, whatever it is made of.

use std::{fmt::Debug, sync::Arc};

use adal_actors::ports::{ApiKeys, Append, Codes, Counts, Journal, PeriodKeys, StoreError, Views};
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
    /// Whether an import into it was begun and has not come to its end: what is there is a part of a store, which nobody may
    /// serve or carry on.
    ///
    /// # Errors
    /// As every read.
    async fn is_importing(&self) -> Result<bool, StoreError>;
    /// Says that an import is begun, before its first row, or that it has come to its end, after all that it wrote.
    ///
    /// # Errors
    /// `InDoubt` or `Unavailable`: to be repeated; or the store is another's.
    async fn set_importing(&self, importing: bool) -> Result<(), StoreError>;
    /// Appends the first row of an entity of which an import that was cut off has left a part. Where rows cannot go on from
    /// there as they are in the file, those that are there are void from then on. Only while an import is under way.
    ///
    /// # Errors
    /// As [`Journal::append`].
    async fn append_anew(&self, append: Append) -> Result<(), StoreError>;
    /// Does what is queued and gives up what it holds; everybody gets `Unavailable` from then on.
    ///
    /// # Errors
    /// `Unavailable`: it did not end in time.
    async fn close(&self) -> Result<(), StoreError>;
}
