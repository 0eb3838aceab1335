//! When entities want to be woken: by slice and bucket, earliest first.
//!
//! A timer stands in the ten minutes in which it is due, or in those of the append that asked for it if that is later:
//! so a bucket that is over is never written again, and is dropped when it is empty. Which buckets have rows is kept in
//! mind: for as long as the shards are ours nobody else's timers count (whoever takes over an entity writes its timer
//! again), and most looks at most slices then read nothing.
//!
//! Stamps: of epoch and seq, a deletion as of the row that is the reason for it. A timer asked for again by a later row
//! is thereby never covered by a late deletion of the same.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use adal_domain::{entity::EntityKey, time::Timestamp};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    db::{Database, Failed, Queue, TimerRow},
    marks::Marks,
    merge::{Read, merged},
    outbox::{DROPS, all_buckets, shards_of},
    protocol::{SLICES, bucket_of, last_stamp, shard_of, slice_of, stamp},
};

/// A timer and the partition in which it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) queue: Queue,
    pub(super) timer: TimerRow,
}

/// The buckets of a slice that have rows, but for those far ahead: an entity may want to be woken in a year.
struct Buckets {
    up_to: u32,
    /// None later than `up_to`.
    these: BTreeSet<u32>,
}

/// Buckets that are read ahead: a day of them.
const AHEAD: u32 = 144;

/// See the module.
pub(super) struct Timers {
    db: Arc<dyn Database>,
    marks: Arc<Marks>,
    /// Buckets with rows, by slice, once they were read; only with a claim.
    buckets: Mutex<HashMap<u8, Buckets>>,
    listed: Mutex<BTreeSet<Queue>>,
}

impl Timers {
    pub(super) fn new(db: Arc<dyn Database>, marks: Arc<Marks>) -> Arc<Self> {
        Arc::new(Self { db, marks, buckets: Mutex::default(), listed: Mutex::default() })
    }

    /// Where the timer of an append with this bucket goes.
    pub(super) fn place(entity: &EntityKey, wake: Timestamp, bucket: u32) -> Placed {
        let queue = Queue { slice: slice_of(shard_of(entity)), bucket: bucket_of(wake).max(bucket) };
        Placed { queue, timer: TimerRow { wake, entity: entity.clone() } }
    }

    /// Writes a timer that row `seq` asks for. Before that row.
    pub(super) async fn put(&self, placed: &Placed, epoch: u64, seq: u64) -> Result<(), Failed> {
        let queue = placed.queue;
        if !lock(&self.listed).contains(&queue) {
            self.db.put_timer_bucket(queue, stamp(epoch, 0)).await?;
            lock(&self.listed).insert(queue);
        }
        if let Some(buckets) = lock(&self.buckets).get_mut(&queue.slice)
            && queue.bucket <= buckets.up_to
        {
            buckets.these.insert(queue.bucket);
        }
        self.db.put_timer(queue, &placed.timer, stamp(epoch, seq * 2 + 1)).await
    }

    /// Removes a timer that row `seq` has replaced. One that stays is found by [`Timers::due`] and removed then.
    pub(super) async fn delete(&self, placed: &Placed, epoch: u64, seq: u64) {
        let stamp = stamp(epoch, seq * 2 + 1);
        if let Err(error) = self.db.delete_timer(placed.queue, &placed.timer, stamp).await {
            tracing::debug!(%error, "a timer that was replaced stays for now");
        }
    }

    /// Timers after `after` and not later than `until`, earliest first. `now`: the clock's bucket. Reads that fail are
    /// repeated until `deadline`.
    pub(super) async fn due(
        &self,
        after: Option<&Placed>,
        until: Timestamp,
        limit: usize,
        now: u32,
        epoch: Option<u64>,
        deadline: Instant,
    ) -> Result<Vec<Placed>, Failed> {
        let latest = bucket_of(until).max(now);
        let patience = deadline.saturating_duration_since(Instant::now());
        let slices = stream::iter(0..SLICES).map(|slice| self.queues(slice, latest, epoch, Instant::now() + patience));
        // The first that is given up ends the list: the slices behind it would wait as long once more.
        let queues: Vec<Vec<Queue>> = slices.buffered(32).try_collect().await?;
        let queues = queues.concat();
        let empty = Mutex::new(Vec::new());
        let read = |part: usize, from: Option<Placed>, count: usize| -> Read<'_, Placed> {
            let (queue, empty) = (queues.get(part).copied(), &empty);
            let after = from.as_ref().or(after).map(|after| after.timer.clone());
            Box::pin(async move {
                let Some(queue) = queue else { return Ok(Vec::new()) };
                let rows = self.db.timers(queue, after.as_ref(), until, count).await?;
                if after.is_none() && rows.is_empty() {
                    lock(empty).push(queue);
                }
                Ok(rows.into_iter().map(|timer| Placed { queue, timer }).collect())
            })
        };
        let key = |placed: &Placed| {
            let timer = &placed.timer;
            (timer.wake, timer.entity.kind.as_str(), timer.entity.id.clone())
        };
        let found = merged(queues.len(), limit, Instant::now() + patience, key, read).await?;
        if let Some(epoch) = epoch {
            self.drop_empty(empty.into_inner().unwrap_or_else(PoisonError::into_inner), (until, now), epoch).await;
        }
        Ok(found)
    }

    /// The partitions of a slice in which something may be due: a timer that was asked for late stands in the bucket of
    /// then.
    async fn queues(&self, slice: u8, until: u32, epoch: Option<u64>, deadline: Instant) -> Result<Vec<Queue>, Failed> {
        // A bucket may be ahead of the clock (which may have leapt back): what is due may stand there.
        let highest = self.marks.highest(shards_of(slice)).unwrap_or_default();
        let until = until.max(highest);
        let known = lock(&self.buckets)
            .get(&slice)
            .filter(|known| until <= known.up_to)
            .map(|known| known.these.range(..=until).copied().collect());
        let buckets: Vec<u32> = match known {
            Some(known) => known,
            None => {
                let up_to = until.saturating_add(AHEAD);
                let read = |after, count| self.db.timer_buckets(slice, after, up_to, count);
                let found = all_buckets(deadline, read).await?;
                if epoch.is_some() {
                    // What was put since the read began is in `listed`, and what is put from here on waits for this lock
                    // and finds the slice.
                    let mut buckets = lock(&self.buckets);
                    let listed = lock(&self.listed);
                    let put = listed.iter().filter(|queue| queue.slice == slice && queue.bucket <= up_to);
                    let these = found.iter().copied().chain(put.map(|queue| queue.bucket)).collect();
                    buckets.insert(slice, Buckets { up_to, these });
                }
                found.into_iter().filter(|bucket| *bucket <= until).collect()
            }
        };
        Ok(buckets.into_iter().map(|bucket| Queue { slice, bucket }).collect())
    }

    async fn is_empty(&self, queue: Queue) -> bool {
        self.db.timers(queue, None, Timestamp(i64::MAX), 1).await.is_ok_and(|rows| rows.is_empty())
    }

    /// Drops partitions in which nothing is and nothing will be.
    async fn drop_empty(&self, queues: Vec<Queue>, (until, now): (Timestamp, u32), epoch: u64) {
        // All timers of a bucket that is over were asked for: a later one of it is none. Those that are not over are no reason
        // to leave others for later.
        let is_over = |queue: &Queue| {
            bucket_of(until) > queue.bucket && self.marks.are_past(shards_of(queue.slice), queue.bucket, now)
        };
        for queue in queues.into_iter().filter(is_over).take(DROPS) {
            // One may have been asked for since it was found empty: it is looked at once more, when none comes any more.
            if self.is_empty(queue).await {
                lock(&self.listed).remove(&queue);
                match self.db.drop_timer_bucket(queue, last_stamp(epoch)).await {
                    Ok(()) => {
                        if let Some(buckets) = lock(&self.buckets).get_mut(&queue.slice) {
                            buckets.these.remove(&queue.bucket);
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, ?queue, "empty parts of the timers stay for now");
                        return;
                    }
                }
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
