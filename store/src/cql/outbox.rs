//! What entities owe each other and is not delivered: by slice and bucket, so that what is over is dropped whole.
//!
//! An effect stands in the bucket of the row that owes it, or in those of the empty rows above that: whoever delivers it
//! finds the buckets by the rows. A bucket is listed before its first row, and dropped when nothing is left in it and no
//! shard of the slice writes there any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use adal_actors::ports::OwedEffect;
use adal_domain::entity::EntityKey;
use tokio::time::Instant;

use super::{
    db::{Database, Failed, OutboxPlace, OutboxRow, Queue},
    marks::Marks,
    merge::{Read, merged},
    protocol::{SHARDS, SLICES, last_stamp, shard_of, slice_of, stamp},
    retry,
};

/// Rows whose bucket is kept in mind, so that their delivery reads nothing.
const KNOWN: usize = 65_536;

/// Buckets of a slice that are read at a time: two weeks of them.
const BUCKETS: usize = 2_048;

/// Empty parts that one look drops at most, one after another: whoever looks waits for it.
pub(super) const DROPS: usize = 64;

/// See the module.
pub(super) struct Outbox {
    db: Arc<dyn Database>,
    marks: Arc<Marks>,
    listed: Mutex<BTreeSet<Queue>>,
    /// Of rows that this process appended and that owe something: where.
    rows: Mutex<BTreeMap<(EntityKey, u64), Where>>,
}

/// Where the effects of a row stand, and under which stamps: in the row's bucket those of its epoch, and where an owner has
/// adopted it, in the bucket of the empty row above it those of that one's. A deletion counts more than a write with both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Where {
    pub(super) bucket: u32,
    pub(super) row_epoch: u64,
}

/// Buckets, as many as there are: `read` gives the next [`BUCKETS`] after one.
pub(super) async fn all_buckets<F>(
    deadline: Instant,
    read: impl Fn(Option<u32>, usize) -> F,
) -> Result<Vec<u32>, Failed>
where
    F: Future<Output = Result<Vec<u32>, Failed>> + Send,
{
    let mut found: Vec<u32> = Vec::new();
    loop {
        let after = found.last().copied();
        let page = retry::until(deadline, "buckets", || read(after, BUCKETS)).await?;
        let more = page.len() == BUCKETS;
        found.extend(page);
        if !more {
            return Ok(found);
        }
    }
}

/// The shards of a slice.
pub(super) fn shards_of(slice: u8) -> std::ops::Range<u16> {
    let each = SHARDS / u16::from(SLICES);
    u16::from(slice) * each..(u16::from(slice) + 1) * each
}

impl Outbox {
    pub(super) fn new(db: Arc<dyn Database>, marks: Arc<Marks>) -> Arc<Self> {
        Arc::new(Self { db, marks, listed: Mutex::default(), rows: Mutex::default() })
    }

    /// Owes what a row owes. `epoch` is ours.
    pub(super) async fn put(&self, of: Where, rows: &[OutboxRow], epoch: u64) -> Result<(), Failed> {
        let Some(first) = rows.first() else { return Ok(()) };
        let queue = Queue { slice: slice_of(shard_of(&first.place.source)), bucket: of.bucket };
        if !lock(&self.listed).contains(&queue) {
            self.db.put_outbox_bucket(queue, stamp(epoch, 0)).await?;
            lock(&self.listed).insert(queue);
        }
        // The deletion counts more: what was delivered is not owed again by a repeat of this.
        self.db.put_outbox(queue, rows, stamp(of.row_epoch, first.place.seq * 2)).await
    }

    /// This process has appended the row: what it owes stands there and nowhere else.
    pub(super) fn remember(&self, source: &EntityKey, seq: u64, of: Where) {
        let mut rows = lock(&self.rows);
        if rows.len() >= KNOWN {
            rows.clear();
        }
        rows.insert((source.clone(), seq), of);
    }

    /// Where a row's effects stand, if that is in mind.
    pub(super) fn find(&self, source: &EntityKey, seq: u64) -> Option<Where> {
        lock(&self.rows).get(&(source.clone(), seq)).copied()
    }

    /// The targets have these: they leave. All of one row.
    pub(super) async fn delete(&self, of: Where, places: &[OutboxPlace]) -> Result<(), Failed> {
        let Some(first) = places.first() else { return Ok(()) };
        let queue = Queue { slice: slice_of(shard_of(&first.source)), bucket: of.bucket };
        self.db.delete_outbox(queue, places, stamp(of.row_epoch, first.seq * 2 + 1)).await
    }

    /// What is owed, by slice, source, seq and index, after `after`. `now`: the clock's bucket, and our epoch, where we own
    /// the shards. Reads that fail are repeated until `deadline`.
    pub(super) async fn owed(
        &self,
        after: Option<OutboxPlace>,
        limit: usize,
        ours: Option<(u64, u32)>,
        deadline: Instant,
    ) -> Result<Vec<OwedEffect>, Failed> {
        let mut found = Vec::new();
        // For each slice as long: they are read one after another, and one that failed is no reason to give up the rest.
        let patience = deadline.saturating_duration_since(Instant::now());
        let first = after.as_ref().map_or(0, |after| slice_of(shard_of(&after.source)));
        // As the slices are listed one after another, an `after` counts in its own alone.
        let mut after = after;
        for slice in first..SLICES {
            if found.len() >= limit {
                break;
            }
            found.extend(
                self.of_slice(slice, after.take(), limit - found.len(), ours, Instant::now() + patience).await?,
            );
        }
        Ok(found)
    }

    async fn of_slice(
        &self,
        slice: u8,
        after: Option<OutboxPlace>,
        limit: usize,
        ours: Option<(u64, u32)>,
        deadline: Instant,
    ) -> Result<Vec<OwedEffect>, Failed> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let buckets = self.buckets(slice, deadline).await?;
        let whole = after.is_none();
        let empty = Mutex::new(Vec::new());
        let read = |part: usize, from: Option<OutboxRow>, count: usize| -> Read<'_, OutboxRow> {
            let bucket = buckets.get(part).copied().unwrap_or_default();
            let (after, empty) = (from.map(|row| row.place).or_else(|| after.clone()), &empty);
            Box::pin(async move {
                let first = after.is_none();
                let rows = self.db.outbox(Queue { slice, bucket }, after.as_ref(), count).await?;
                if first && rows.is_empty() {
                    lock(empty).push(bucket);
                }
                Ok(rows)
            })
        };
        let key = |row: &OutboxRow| {
            let place = &row.place;
            (place.source.kind.as_str(), place.source.id.clone(), place.seq, place.index)
        };
        let rows = merged(buckets.len(), limit, Instant::now() + patience, key, read).await?;
        if let (true, Some(ours)) = (whole, ours) {
            self.drop_empty(slice, empty.into_inner().unwrap_or_else(PoisonError::into_inner), ours).await;
        }
        Ok(rows.into_iter().map(owed).collect())
    }

    /// The buckets of a slice, however many.
    async fn buckets(&self, slice: u8, deadline: Instant) -> Result<Vec<u32>, Failed> {
        all_buckets(deadline, |after, count| self.db.outbox_buckets(slice, after, count)).await
    }

    /// What one source owes, by seq and index. Reads that fail are repeated until `deadline`.
    pub(super) async fn owed_by(
        &self,
        source: &EntityKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<OwedEffect>, Failed> {
        let slice = slice_of(shard_of(source));
        let patience = deadline.saturating_duration_since(Instant::now());
        let buckets = self.buckets(slice, deadline).await?;
        // Rows count from 1.
        let first = OutboxPlace { source: source.clone(), seq: 0, index: 0 };
        let read = |part: usize, from: Option<OutboxRow>, count: usize| -> Read<'_, OutboxRow> {
            let bucket = buckets.get(part).copied().unwrap_or_default();
            let after = from.map_or_else(|| first.clone(), |row| row.place);
            Box::pin(async move { self.db.outbox_of(Queue { slice, bucket }, &after, count).await })
        };
        let key = |row: &OutboxRow| (row.place.seq, row.place.index);
        let rows = merged(buckets.len(), limit, Instant::now() + patience, key, read).await?;
        Ok(rows.into_iter().map(owed).collect())
    }

    /// Whether a partition is empty: to be asked once it is known that nothing comes to it any more. What was found before
    /// that is no answer.
    async fn is_empty(&self, queue: Queue) -> bool {
        self.db.outbox(queue, None, 1).await.is_ok_and(|rows| rows.is_empty())
    }

    /// Drops partitions that were found empty and stay so. That one is not dropped costs a read each time, and no more.
    async fn drop_empty(&self, slice: u8, buckets: Vec<u32>, (epoch, now): (u64, u32)) {
        let is_past = |bucket: &u32| self.marks.are_past(shards_of(slice), *bucket, now);
        for bucket in buckets.into_iter().filter(is_past).take(DROPS) {
            let queue = Queue { slice, bucket };
            if self.is_empty(queue).await {
                lock(&self.listed).remove(&queue);
                if let Err(error) = self.db.drop_outbox_bucket(queue, last_stamp(epoch)).await {
                    tracing::debug!(%error, slice, bucket, "empty parts of the outbox stay for now");
                    return;
                }
            }
        }
    }
}

fn owed(OutboxRow { place: OutboxPlace { source, seq, index }, effect }: OutboxRow) -> OwedEffect {
    OwedEffect { source, seq, index, effect }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
