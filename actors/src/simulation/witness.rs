//! What processes were ever shown of the store. Every process's way to it leads through here: a row that anybody was
//! shown, or whose append was acknowledged, stands for ever, at its place and with its content, in whatever is shown
//! later; and whoever has the store sees all that was shown before.
//!
//! The order in which rows were first shown is one in which they may have become durable: nobody acted on a row before.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use adal_domain::{
    entity::{EntityKey, EntityKind, View},
    time::Timestamp,
};
use async_trait::async_trait;
use tokio::sync::Notify;

use super::ground::Store;
use crate::ports::{Append, Journal, Opened, OwedEffect, StoreError, StoredRow, StoredSnapshot, ViewRow, Views};

/// How often what happened that a simulation is for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Appends that another owner's row had overtaken.
    pub fenced: u64,
    /// Answers that an append's outcome is not known.
    pub in_doubt: u64,
    /// Effects that were struck off.
    pub delivered: u64,
    /// Processes that replaced one that lived.
    pub replaced: u64,
}

impl std::ops::AddAssign for Met {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.fenced += other.fenced;
        self.in_doubt += other.in_doubt;
        self.delivered += other.delivered;
        self.replaced += other.replaced;
    }
}

#[derive(Default)]
struct Seen {
    /// The latest time of any row that was sent.
    latest: Option<Timestamp>,
    /// By seq, from 1. `None`: it is there, and nobody has seen yet what it says.
    rows: BTreeMap<EntityKey, Vec<Option<StoredRow>>>,
    order: Vec<(EntityKey, u64)>,
    struck_off: HashSet<(EntityKey, u64, u32)>,
    met: Met,
}

/// See the module.
#[derive(Default)]
pub(super) struct Witness {
    seen: Mutex<Seen>,
    /// The process that has the store.
    owner: AtomicU32,
}

impl Seen {
    /// The row `seq` is there, and all before it.
    fn is_there(&mut self, entity: &EntityKey, seq: u64) {
        let rows = self.rows.entry(entity.clone()).or_default();
        while (rows.len() as u64) < seq {
            rows.push(None);
            self.order.push((entity.clone(), rows.len() as u64));
        }
    }

    fn show(&mut self, entity: &EntityKey, row: &StoredRow) {
        self.is_there(entity, row.seq);
        let place = usize::try_from(row.seq - 1).unwrap();
        let there = self.rows.get_mut(entity).unwrap()[place].get_or_insert_with(|| row.clone());
        assert_eq!(there, row, "{entity}: what was shown or acknowledged is another row now");
    }

    fn head(&self, entity: &EntityKey) -> u64 {
        self.rows.get(entity).map_or(0, |rows| rows.len() as u64)
    }
}

impl Witness {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this process has the store.
    pub(super) fn belongs_to(&self, process: u32) {
        self.owner.store(process, SeqCst);
    }

    /// The rows of all entities in the order in which they were first shown, by key and seq.
    pub(super) fn order(&self) -> Vec<(EntityKey, u64)> {
        self.seen().order.clone()
    }

    /// A row, if anybody has seen what it says.
    pub(super) fn row(&self, entity: &EntityKey, seq: u64) -> Option<StoredRow> {
        let place = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.seen().rows.get(entity)?.get(place)?.clone()
    }

    /// Whether an effect was struck off: its target has it.
    pub(super) fn is_delivered(&self, source: &EntityKey, seq: u64, index: u32) -> bool {
        self.seen().struck_off.contains(&(source.clone(), seq, index))
    }

    /// The latest time of any row that may be durable: of one in doubt nobody may have been shown anything yet.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        self.seen().latest
    }

    pub(super) fn met(&self) -> Met {
        self.seen().met
    }

    pub(super) fn replaced(&self) {
        self.seen().met.replaced += 1;
    }

    /// What is durable in the end: all that was ever shown.
    pub(super) fn compare(&self, rows: &BTreeMap<EntityKey, Vec<StoredRow>>) {
        let mut seen = self.seen();
        for (entity, rows) in rows {
            rows.iter().for_each(|row| seen.show(entity, row));
        }
        for (entity, shown) in &seen.rows {
            let there = rows.get(entity).map_or(0, Vec::len);
            assert_eq!(there, shown.len(), "{entity}: so many rows are there, and so many were shown or acknowledged");
        }
    }
}

/// A process's way.
pub(super) struct Way {
    pub(super) store: Arc<dyn Store>,
    pub(super) witness: Arc<Witness>,
    pub(super) process: u32,
}

impl Way {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.witness.seen()
    }

    fn is_owner(&self) -> bool {
        self.witness.owner.load(SeqCst) == self.process
    }

    fn opened(&self, entity: &EntityKey, opened: &Opened, known: u64, is_owner: bool) {
        let mut seen = self.seen();
        let of_snapshot = opened.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
        seen.is_there(entity, of_snapshot);
        opened.rows.iter().for_each(|row| seen.show(entity, row));
        let head = opened.rows.last().map_or(of_snapshot, |row| row.seq);
        // Who has lost the store and does not know it yet may see less; never something else.
        assert!(!is_owner || head >= known, "{entity}: {known} rows were shown or acknowledged, {head} are there");
    }

    /// What a row owes is there: so is the row.
    fn owes(&self, owed: &[OwedEffect]) {
        let mut seen = self.seen();
        owed.iter().for_each(|owed| seen.is_there(&owed.source, owed.seq));
    }
}

#[async_trait]
impl Journal for Way {
    async fn open(&self, entity: &EntityKey) -> Result<Opened, StoreError> {
        let (known, is_owner) = (self.seen().head(entity), self.is_owner());
        let opened = self.store.open(entity).await?;
        self.opened(entity, &opened, known, is_owner && self.is_owner());
        Ok(opened)
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        let (entity, row) = (append.entity.clone(), append.row.clone());
        {
            let mut seen = self.seen();
            seen.latest = seen.latest.max(Some(row.at));
        }
        let done = self.store.append(append).await;
        let mut seen = self.seen();
        match &done {
            Ok(()) => {
                seen.met.acknowledged += 1;
                seen.show(&entity, &row);
            }
            Err(StoreError::Fenced(_)) => seen.met.fenced += 1,
            Err(StoreError::InDoubt(_)) => seen.met.in_doubt += 1,
            Err(_) => {}
        }
        done
    }

    async fn snapshot(&self, entity: &EntityKey, snapshot: StoredSnapshot) -> Result<(), StoreError> {
        self.store.snapshot(entity, snapshot).await
    }

    async fn rows(
        &self,
        entity: &EntityKey,
        from_seq: u64,
        to_seq: u64,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let rows = self.store.rows(entity, from_seq, to_seq, limit, descending).await?;
        let mut seen = self.seen();
        rows.iter().for_each(|row| seen.show(entity, row));
        Ok(rows)
    }

    async fn seq_at(&self, entity: &EntityKey, at: Timestamp) -> Result<Option<u64>, StoreError> {
        self.store.seq_at(entity, at).await
    }

    async fn owed(&self, after: Option<(EntityKey, u64, u32)>, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
        let owed = self.store.owed(after, limit).await?;
        self.owes(&owed);
        Ok(owed)
    }

    async fn owed_by(&self, source: &EntityKey, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
        let owed = self.store.owed_by(source, limit).await?;
        self.owes(&owed);
        Ok(owed)
    }

    async fn delivered(&self, effects: Vec<(EntityKey, u64, u32)>) -> Result<(), StoreError> {
        self.store.delivered(effects.clone()).await?;
        let mut seen = self.seen();
        seen.met.delivered += effects.len() as u64;
        seen.struck_off.extend(effects);
        Ok(())
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, EntityKey)>, StoreError> {
        self.store.due(until, limit).await
    }

    async fn entities(
        &self,
        kind: EntityKind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        self.store.entities(kind, after, limit).await
    }

    fn serves(&self) -> Result<(), StoreError> {
        self.store.serves()
    }

    fn owes_more(&self) -> Option<Arc<Notify>> {
        self.store.owes_more()
    }
}

#[async_trait]
impl Views for Way {
    async fn get(&self, view: View, key: &str) -> Result<Option<ViewRow>, StoreError> {
        self.store.get(view, key).await
    }

    async fn list(
        &self,
        view: View,
        filter: Option<&str>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ViewRow>, StoreError> {
        self.store.list(view, filter, before, limit).await
    }
}
