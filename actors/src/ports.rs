//! What the loop needs from outside: a journal, views, a clock. Implemented in `adal-store` and in tests; nothing here
//! knows of a database.
//!
//! The contract that every implementation keeps (one conformance suite in `adal-store` checks it):
//! - `append` returns `Ok(())` only when the row is durable, and then every later `open` gives it back. An append whose
//!   outcome is unknown is the store's business to settle: it answers [`StoreError::InDoubt`] only if it cannot, and the
//!   caller then repeats **the same** request (same entity, seq, content) until it is `Ok` or `Fenced`. A repeat of a row
//!   that is there already, with the same content, is `Ok`; with other content, `Fenced`.
//! - an append whose caller died while it was in doubt may yet be done, also after the entity was opened again: as the
//!   next row, or never. Whoever appends after it is `Fenced`, and opens the entity anew; no row is ever replaced.
//! - rows of an entity have seq 1, 2, 3 ... without a gap.
//! - views, timer and outbox of a row are durable when the row is.

use std::{sync::Arc, time::Duration};

use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View, ViewWrite},
    time::Timestamp,
};
use async_trait::async_trait;

use crate::steady::Doubt;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error, Clone)]
pub enum StoreError {
    /// Another owner has written since: drop the state, have the caller repeat with the same key.
    #[error("another owner has written to {0} since")]
    Fenced(EntityKey),
    /// The outcome is not known; repeat the same request until it is.
    #[error("the outcome of the write is not known: {0}")]
    InDoubt(Arc<str>),
    /// Nothing was written (disk full, database away, queue full). May work later.
    #[error("the store is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// What is stored cannot be read: damaged, or of a newer format.
    #[error("the stored data cannot be read: {0}")]
    Corrupt(Arc<str>),
}

/// One journal row, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// 1, 2, 3 ... per entity.
    pub seq: u64,
    /// When it was decided; never earlier than the row before.
    pub at: Timestamp,
    /// `Entity::FORMAT` of the body.
    pub format: u16,
    /// The row's body: a MessagePack map (see `crate::row`).
    pub body: Vec<u8>,
}

/// A state as of a row, to start from instead of the first row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The last row that is in it.
    pub seq: u64,
    /// `Entity::FORMAT` of the body.
    pub format: u16,
    /// MessagePack.
    pub body: Vec<u8>,
}

/// What is needed to wake an entity: the latest snapshot, and all rows after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The latest snapshot, if there is one.
    pub snapshot: Option<StoredSnapshot>,
    /// All rows after the snapshot (or all rows), by seq.
    pub rows: Vec<StoredRow>,
    /// Why the latest snapshot is not given, where it is damaged: the rows are then all rows, and reach it.
    pub damaged: Option<Arc<str>>,
}

/// One append: the row, and what must be durable with it.
#[derive(Debug, Clone)]
pub struct Append {
    /// Whose row.
    pub entity: EntityKey,
    /// The row; `row.seq` is one more than the head's.
    pub row: StoredRow,
    /// Changes to views that follow from it.
    pub views: Vec<ViewWrite>,
    /// When the entity next wants to be woken, replacing what it wanted before; `None`: never.
    pub wake: Option<Timestamp>,
    /// What the row owes other entities, by index: goes to the outbox, removed by [`Journal::delivered`].
    pub effects: Vec<Effect>,
}

/// An effect that was not yet confirmed by its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedEffect {
    /// Who owes it.
    pub source: EntityKey,
    /// The row that owes it.
    pub seq: u64,
    /// Its index in that row.
    pub index: u32,
    /// What is owed.
    pub effect: Effect,
}

/// Durable, ordered rows per entity.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// The latest snapshot and the rows after it. An entity without rows: an empty `Opened`. Where the snapshot is damaged
    /// and the rows are whole, all rows.
    async fn open(&self, entity: &EntityKey) -> Result<Opened, StoreError>;
    /// Makes a row durable. See the module for what an answer means.
    async fn append(&self, append: Append) -> Result<(), StoreError>;
    /// Keeps a snapshot (made of durable rows alone). Losing it costs time, never data.
    async fn snapshot(&self, entity: &EntityKey, snapshot: StoredSnapshot) -> Result<(), StoreError>;
    /// Rows `from_seq..=to_seq`, by seq, at most `limit`; newest first where `descending`.
    async fn rows(
        &self,
        entity: &EntityKey,
        from_seq: u64,
        to_seq: u64,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<StoredRow>, StoreError>;
    /// The newest row with `at` not later than `at`.
    async fn seq_at(&self, entity: &EntityKey, at: Timestamp) -> Result<Option<u64>, StoreError>;
    /// Effects not yet delivered, in order of source, seq, index, at most `limit`, starting after `after` (which need not
    /// exist: after `(source, 0, 0)` come those of `source`). Sources stand in any fixed order.
    async fn owed(&self, after: Option<(EntityKey, u64, u32)>, limit: usize) -> Result<Vec<OwedEffect>, StoreError>;
    /// The target has them durably: they leave the outbox.
    async fn delivered(&self, effects: Vec<(EntityKey, u64, u32)>) -> Result<(), StoreError>;
    /// Entities whose wake time is not later than `until`, earliest first, at most `limit`. A timer stays until an
    /// append of its entity replaces it.
    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, EntityKey)>, StoreError>;
    /// Entities of a kind that have rows, by id, after `after`, at most `limit`.
    async fn entities(&self, kind: EntityKind, after: Option<&str>, limit: usize)
    -> Result<Vec<EntityKey>, StoreError>;
}

/// A row of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewRow {
    /// The key.
    pub key: String,
    /// The filter value.
    pub filter: String,
    /// The entity that wrote it.
    pub entity: EntityKey,
    /// MessagePack.
    pub value: Vec<u8>,
}

/// Questions across entities. Written by [`Journal::append`], read here.
#[async_trait]
pub trait Views: Send + Sync + 'static {
    /// One row.
    async fn get(&self, view: View, key: &str) -> Result<Option<ViewRow>, StoreError>;
    /// Rows by key, descending (newest first in views whose key starts with a time), those before `before` if given,
    /// of one `filter` if given, at most `limit`.
    async fn list(
        &self,
        view: View,
        filter: Option<&str>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ViewRow>, StoreError>;
}

/// The time; tests move it. A machine's wall clock can leap: an implementation on one says when it is not to be relied
/// on (see [`crate::steady`]).
pub trait Clock: Send + Sync + 'static {
    /// The time that decisions are given.
    fn now(&self) -> Timestamp;

    /// What was decided not later than this is at least `age` old, however the machine's clock was set meanwhile: what
    /// must be remembered for so long may be forgotten.
    fn long_ago(&self, age: Duration) -> Timestamp {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.now().0.saturating_sub(age))
    }

    /// Why the time is not to be relied on, if so. Until that is over nothing is changed; reads go on.
    fn doubt(&self) -> Option<Doubt> {
        None
    }
}

/// Feature flags, evaluated for a customer where gradual.
pub trait Flags: Send + Sync + 'static {
    /// Whether `flag` is on for the entity `id` (a customer id, or empty).
    fn enabled(&self, flag: adal_domain::flags::Flag, id: &str) -> bool;
}
