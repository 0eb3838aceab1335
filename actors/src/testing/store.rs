//! A store in memory that keeps the ports' contract, with faults by script.
//!
//! Everything is behind one lock that is never held over an await: what an operation does, it does at one moment. What
//! is in it is what is durable: a test that "restarts the process" drops everything else and keeps this.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View, ViewWrite},
    time::Timestamp,
};
use async_trait::async_trait;
use tokio::sync::Notify;

use super::beside::Beside;
use crate::ports::{Append, Journal, Opened, OwedEffect, StoreError, StoredRow, StoredSnapshot, ViewRow, Views};

/// What a script is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`Journal::open`].
    Open,
    /// [`Journal::append`].
    Append,
    /// [`Journal::snapshot`].
    Snapshot,
    /// [`Journal::rows`] and [`Journal::seq_at`].
    Rows,
    /// [`Journal::owed`] and [`Journal::owed_by`].
    Owed,
    /// [`Journal::delivered`].
    Delivered,
    /// [`Journal::due`].
    Due,
    /// Everything else.
    Other,
}

/// What becomes of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It succeeds.
    None,
    /// It succeeds after a while.
    Slow(Duration),
    /// [`StoreError::Unavailable`], nothing written.
    Unavailable,
    /// [`StoreError::InDoubt`] after a while, and it is written. (What is no append: unavailable.)
    InDoubtDone(Duration),
    /// [`StoreError::InDoubt`] after a while, and nothing is written. (What is no append: unavailable.)
    InDoubtLost(Duration),
    /// [`StoreError::InDoubt`] after a while, and it is written only when so many operations have begun, if it still is
    /// the entity's next row then: its caller may have died and another have opened the entity. (What is no append:
    /// unavailable.)
    InDoubtLate(Duration, u32),
    /// [`StoreError::Fenced`], nothing written. (What is no append: unavailable.)
    Fenced,
}

type Script = Box<dyn FnMut(Operation) -> Fault + Send>;

/// (kind, id, seq, index): the order in which what is owed is listed.
type OutboxKey = (&'static str, Box<str>, u64, u32);

#[derive(Default)]
struct Stored {
    rows: BTreeMap<EntityKey, Vec<StoredRow>>,
    /// All rows in the order in which they became durable.
    order: Vec<(EntityKey, u64)>,
    snapshots: BTreeMap<EntityKey, StoredSnapshot>,
    views: BTreeMap<(&'static str, String), ViewRow>,
    wakes: BTreeMap<EntityKey, Timestamp>,
    outbox: BTreeMap<OutboxKey, OwedEffect>,
    /// Appends on their way, and after how many operations they arrive.
    late: Vec<(u32, Append)>,
    landed_late: usize,
    snapshot_bytes: usize,
}

/// See the module.
#[derive(Default)]
pub struct MemoryStore {
    stored: Mutex<Stored>,
    /// Its entities are another process's.
    another_s: AtomicBool,
    told: Arc<Notify>,
    script: Mutex<Option<Script>>,
    pub(super) beside: Mutex<Beside>,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("entities", &self.stored().rows.len()).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `script` says what becomes of each operation.
    pub fn follow(&self, script: impl FnMut(Operation) -> Fault + Send + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(script));
    }

    /// From now on everything succeeds.
    pub fn heal(&self) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on the entities are another process's, or this one's again.
    pub fn belongs_to_another(&self, another: bool) {
        self.another_s.store(another, Ordering::Relaxed);
    }

    /// Says that more may be owed than the loop was told of.
    pub fn say_that_more_is_owed(&self) {
        self.told.notify_one();
    }

    /// Every entity that has rows.
    #[must_use]
    pub fn keys(&self) -> Vec<EntityKey> {
        self.stored().rows.keys().cloned().collect()
    }

    /// One row.
    #[must_use]
    pub fn row_of(&self, key: &EntityKey, seq: u64) -> Option<StoredRow> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.stored().rows.get(key)?.get(at).cloned()
    }

    /// The rows of all entities in the order in which they became durable, by key and seq.
    #[must_use]
    pub fn order(&self) -> Vec<(EntityKey, u64)> {
        self.stored().order.clone()
    }

    /// An entity's rows.
    #[must_use]
    pub fn rows_of(&self, key: &EntityKey) -> Vec<StoredRow> {
        self.stored().rows.get(key).cloned().unwrap_or_default()
    }

    /// An entity's snapshot.
    #[must_use]
    pub fn snapshot_of(&self, key: &EntityKey) -> Option<StoredSnapshot> {
        self.stored().snapshots.get(key).cloned()
    }

    /// How many bytes of snapshots were kept, all in all.
    #[must_use]
    pub fn snapshot_bytes(&self) -> usize {
        self.stored().snapshot_bytes
    }

    /// Puts a snapshot in the place of the one there, whatever it says.
    pub fn forge_snapshot(&self, key: &EntityKey, snapshot: StoredSnapshot) {
        self.stored().snapshots.insert(key.clone(), snapshot);
    }

    /// All rows of all views, by view and key.
    #[must_use]
    pub fn all_views(&self) -> BTreeMap<(&'static str, String), ViewRow> {
        self.stored().views.clone()
    }

    /// How many appends were done after their callers had been told that they are in doubt, and not by a repeat.
    #[must_use]
    pub fn landed_late(&self) -> usize {
        self.stored().landed_late
    }

    /// How many effects are owed.
    #[must_use]
    pub fn owed_count(&self) -> usize {
        self.stored().outbox.len()
    }

    /// Whether an effect is still owed.
    #[must_use]
    pub fn is_owed(&self, source: &EntityKey, seq: u64, index: u32) -> bool {
        self.stored().outbox.contains_key(&(source.kind.as_str(), source.id.clone(), seq, index))
    }

    /// When an entity wants to be woken.
    #[must_use]
    pub fn wake_of(&self, key: &EntityKey) -> Option<Timestamp> {
        self.stored().wakes.get(key).copied()
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of an operation that is no append, after whatever time that takes: half of it before the operation,
    /// and half (which is returned) between what it finds and its answer.
    pub(super) async fn pass(&self, operation: Operation) -> Result<Rest, StoreError> {
        let mut rest = Duration::ZERO;
        match self.fate(operation) {
            // Another task's turn first: nothing may rest on a store that answers at once.
            Fault::None => tokio::task::yield_now().await,
            Fault::Slow(time) => {
                rest = time / 2;
                tokio::time::sleep(rest).await;
            }
            _ => {
                tokio::task::yield_now().await;
                return Err(StoreError::Unavailable("scripted".into()));
            }
        }
        Ok(Rest(rest))
    }

    fn fate(&self, operation: Operation) -> Fault {
        self.stored().arrive();
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.as_mut().map_or(Fault::None, |script| script(operation))
    }
}

/// The time between what an operation finds and its answer.
#[must_use]
pub(super) struct Rest(Duration);

impl Rest {
    pub(super) async fn then<T>(self, found: T) -> Result<T, StoreError> {
        if !self.0.is_zero() {
            tokio::time::sleep(self.0).await;
        }
        Ok(found)
    }
}

impl Stored {
    fn open(&self, entity: &EntityKey) -> Opened {
        let snapshot = self.snapshots.get(entity).cloned();
        let from = snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
        let rows = self.rows.get(entity).into_iter().flatten().filter(|row| row.seq > from).cloned().collect();
        Opened { snapshot, rows, damaged: None }
    }

    fn keep(&mut self, entity: &EntityKey, snapshot: StoredSnapshot) {
        if self.snapshots.get(entity).is_none_or(|there| there.seq <= snapshot.seq) {
            self.snapshot_bytes += snapshot.body.len();
            self.snapshots.insert(entity.clone(), snapshot);
        }
    }

    /// An operation begins: what is on its way comes nearer.
    fn arrive(&mut self) {
        for (left, _) in &mut self.late {
            *left = left.saturating_sub(1);
        }
        for (_, append) in self.late.extract_if(.., |(left, _)| *left == 0).collect::<Vec<_>>() {
            let before = self.rows.get(&append.entity).map_or(0, Vec::len);
            // Another row has taken its place: it is void. So is one that a repeat has brought.
            let _ = self.append(&append);
            self.landed_late += self.rows.get(&append.entity).map_or(0, Vec::len) - before;
        }
    }

    /// Nothing is written, and no copy of it ever will be; unless it is there already.
    fn fence(&mut self, append: &Append) -> Result<(), StoreError> {
        self.late.retain(|(_, late)| late.entity != append.entity || late.row != append.row);
        let there = self.rows.get(&append.entity).is_some_and(|rows| rows.contains(&append.row));
        if there { Ok(()) } else { Err(StoreError::Fenced(append.entity.clone())) }
    }

    fn append(&mut self, append: &Append) -> Result<(), StoreError> {
        let Append { entity, row, views, wake, effects } = append;
        // Looked at before it is made: a refused first append leaves no entity behind.
        let rows = self.rows.get(entity).map_or(&[][..], Vec::as_slice);
        if let Some(there) = rows.iter().rev().find(|there| there.seq == row.seq) {
            return if there == row { Ok(()) } else { Err(StoreError::Fenced(entity.clone())) };
        }
        if row.seq != rows.last().map_or(0, |last| last.seq) + 1 {
            return Err(StoreError::Fenced(entity.clone()));
        }
        self.rows.entry(entity.clone()).or_default().push(row.clone());
        self.order.push((entity.clone(), row.seq));
        for write in views {
            self.write_view(entity, write);
        }
        match wake {
            Some(at) => drop(self.wakes.insert(entity.clone(), *at)),
            None => drop(self.wakes.remove(entity)),
        }
        self.owe(entity, row.seq, effects);
        Ok(())
    }

    fn write_view(&mut self, entity: &EntityKey, write: &ViewWrite) {
        let place = (write.view.as_str(), write.key.clone());
        let ViewWrite { key, filter, value, .. } = write.clone();
        match value {
            Some(value) => drop(self.views.insert(place, ViewRow { key, filter, entity: entity.clone(), value })),
            None => drop(self.views.remove(&place)),
        }
    }

    fn owe(&mut self, source: &EntityKey, seq: u64, effects: &[Effect]) {
        for (effect, index) in effects.iter().zip(0..) {
            let owed = OwedEffect { source: source.clone(), seq, index, effect: effect.clone() };
            self.outbox.insert((source.kind.as_str(), source.id.clone(), seq, index), owed);
        }
    }
}

#[async_trait]
impl Journal for MemoryStore {
    fn serves(&self) -> Result<(), StoreError> {
        match self.another_s.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable("another process has the entities".into())),
            false => Ok(()),
        }
    }

    fn owes_more(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.told))
    }

    async fn open(&self, entity: &EntityKey) -> Result<Opened, StoreError> {
        let rest = self.pass(Operation::Open).await?;
        let found = self.stored().open(entity);
        rest.then(found).await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        match self.fate(Operation::Append) {
            Fault::None => tokio::task::yield_now().await,
            Fault::Slow(time) => tokio::time::sleep(time).await,
            Fault::Unavailable => return Err(StoreError::Unavailable("scripted".into())),
            Fault::InDoubtDone(time) => {
                self.stored().append(&append)?;
                tokio::time::sleep(time).await;
                return Err(StoreError::InDoubt("scripted, done".into()));
            }
            Fault::InDoubtLost(time) => {
                tokio::time::sleep(time).await;
                return Err(StoreError::InDoubt("scripted, lost".into()));
            }
            Fault::InDoubtLate(time, operations) => {
                self.stored().late.push((operations, append));
                tokio::time::sleep(time).await;
                return Err(StoreError::InDoubt("scripted, late".into()));
            }
            Fault::Fenced => return self.stored().fence(&append),
        }
        self.stored().append(&append)
    }

    async fn snapshot(&self, entity: &EntityKey, snapshot: StoredSnapshot) -> Result<(), StoreError> {
        let rest = self.pass(Operation::Snapshot).await?;
        self.stored().keep(entity, snapshot);
        rest.then(()).await
    }

    async fn rows(
        &self,
        entity: &EntityKey,
        from_seq: u64,
        to_seq: u64,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let rest = self.pass(Operation::Rows).await?;
        let mut rows = self.rows_of(entity);
        rows.retain(|row| (from_seq..=to_seq).contains(&row.seq));
        if descending {
            rows.reverse();
        }
        rows.truncate(limit);
        rest.then(rows).await
    }

    async fn seq_at(&self, entity: &EntityKey, at: Timestamp) -> Result<Option<u64>, StoreError> {
        let rest = self.pass(Operation::Rows).await?;
        let found = self.rows_of(entity).iter().rev().find(|row| row.at <= at).map(|row| row.seq);
        rest.then(found).await
    }

    async fn owed(&self, after: Option<(EntityKey, u64, u32)>, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
        let rest = self.pass(Operation::Owed).await?;
        let after = after.map(|(key, seq, index)| (key.kind.as_str(), key.id, seq, index));
        let found = {
            let stored = self.stored();
            let later = stored.outbox.iter().filter(|(place, _)| after.as_ref().is_none_or(|after| *place > after));
            later.map(|(_, owed)| owed.clone()).take(limit).collect()
        };
        rest.then(found).await
    }

    async fn owed_by(&self, source: &EntityKey, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
        let rest = self.pass(Operation::Owed).await?;
        let of = |seq, index| (source.kind.as_str(), source.id.clone(), seq, index);
        let found = {
            let stored = self.stored();
            let owed = stored.outbox.range(of(0, 0)..=of(u64::MAX, u32::MAX));
            owed.map(|(_, owed)| owed.clone()).take(limit).collect()
        };
        rest.then(found).await
    }

    async fn delivered(&self, effects: Vec<(EntityKey, u64, u32)>) -> Result<(), StoreError> {
        let rest = self.pass(Operation::Delivered).await?;
        for (key, seq, index) in effects {
            self.stored().outbox.remove(&(key.kind.as_str(), key.id, seq, index));
        }
        rest.then(()).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, EntityKey)>, StoreError> {
        let rest = self.pass(Operation::Due).await?;
        let mut due: Vec<_> = self.stored().wakes.iter().map(|(key, &at)| (at, key.clone())).collect();
        due.retain(|(at, _)| *at <= until);
        due.sort();
        due.truncate(limit);
        rest.then(due).await
    }

    async fn entities(
        &self,
        kind: EntityKind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let mut of_kind = self.keys();
        of_kind.retain(|key| key.kind == kind && after.is_none_or(|after| *key.id > *after));
        of_kind.truncate(limit);
        rest.then(of_kind).await
    }
}

#[async_trait]
impl Views for MemoryStore {
    async fn get(&self, view: View, key: &str) -> Result<Option<ViewRow>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let found = self.stored().views.get(&(view.as_str(), key.to_owned())).cloned();
        rest.then(found).await
    }

    async fn list(
        &self,
        view: View,
        filter: Option<&str>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ViewRow>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let wanted = |(of, row): (&'static str, &ViewRow)| {
            of == view.as_str()
                && filter.is_none_or(|filter| row.filter == filter)
                && before.is_none_or(|before| row.key.as_str() < before)
        };
        let mut found: Vec<ViewRow> =
            self.all_views().into_iter().filter(|((of, _), row)| wanted((of, row))).map(|(_, row)| row).collect();
        found.reverse();
        found.truncate(limit);
        rest.then(found).await
    }
}
