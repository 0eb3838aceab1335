//! Buckets and watermarks: what a successor would have to look at, shard by shard.
//!
//! Every append has a *ticket*: the ten minutes in which it is listed. A shard's watermark, in the database, says up to
//! which bucket everything that follows from its rows is written, and names the highest bucket used, before its first
//! use. Whoever takes the shard over opens what is listed between the two. So: a bucket never runs backwards, whatever
//! the clock does, and is never behind the watermark, also an earlier owner's; and the watermark never passes an append
//! that has a ticket. It is kept for each epoch: a taker copies the latest earlier one first, and what a former owner
//! still writes counts for nothing.
//!
//! The watermark of a shard in which nothing is written stands still: it would be a write for each of 1,024 every ten
//! minutes. That such a shard writes nothing more of before a bucket is a promise in memory (the *floor*), given when
//! somebody asks ([`Marks::are_past`]); a later owner does not know of it, and what that one writes has a greater stamp
//! than any deletion of ours.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard},
    time::{Instant, timeout_at},
};

use super::{
    db::{Database, Failed, Watermark},
    protocol::SHARDS,
    retry,
};

/// Watermarks of a shard that are looked at: one for each claim since the last that was tidied up.
const MARKS: usize = 8;

#[derive(Default)]
struct Flying {
    /// Tickets that are out, by bucket.
    tickets: BTreeMap<u32, usize>,
    /// What an earlier owner may have left undone is done.
    recovered: bool,
    /// The mark as it stood in the database when a write of it last succeeded: for who must not wait for the next.
    written: Option<Watermark>,
    /// The greatest (done, highest) that were tried to be written: perhaps they stand there. No ticket is for a bucket
    /// before the first, which may also have been promised and not written.
    floor: (u32, u32),
}

#[derive(Default)]
struct Shard {
    /// As it stands in the database under our epoch; `None`: not copied yet. Held while it is written.
    mark: AsyncMutex<Option<Watermark>>,
    /// The earlier owner's, as it was found.
    found: Mutex<Option<Watermark>>,
    flying: Mutex<Flying>,
}

/// See the module.
pub(super) struct Marks {
    db: Arc<dyn Database>,
    shards: Vec<Shard>,
}

/// The right to append a row: as long as it is held, the watermark stays behind its bucket.
pub(super) struct Ticket {
    marks: Arc<Marks>,
    shard: u16,
    bucket: u32,
}

impl Ticket {
    pub(super) fn bucket(&self) -> u32 {
        self.bucket
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(shard) = self.marks.shards.get(usize::from(self.shard)) {
            let mut flying = lock(&shard.flying);
            if let Some(count) = flying.tickets.get_mut(&self.bucket) {
                *count -= 1;
                if *count == 0 {
                    flying.tickets.remove(&self.bucket);
                }
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Marks {
    pub(super) fn new(db: Arc<dyn Database>) -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Arc::new(Self { db, shards })
    }

    fn shard(&self, shard: u16) -> Result<&Shard, Failed> {
        self.shards.get(usize::from(shard)).ok_or_else(|| Failed::NotDone("there is no such shard".into()))
    }

    /// A shard's mark, alone. Who had it before may have waited for the database, and everybody behind with it: nobody
    /// waits past his time.
    async fn alone(of: &Shard, deadline: Instant) -> Result<MutexGuard<'_, Option<Watermark>>, Failed> {
        match timeout_at(deadline, of.mark.lock()).await {
            // Without this everybody who waited would still make one try, one after another.
            Ok(mark) if Instant::now() < deadline => Ok(mark),
            _ => Err(Failed::NotDone("a watermark is being written for too long".into())),
        }
    }

    /// A ticket for one append in a shard that is ours since `epoch`, when the clock shows `now` (a bucket).
    pub(super) async fn ticket(
        self: &Arc<Self>,
        shard: u16,
        epoch: u64,
        now: u32,
        deadline: Instant,
    ) -> Result<Ticket, Failed> {
        let of = self.shard(shard)?;
        let mut mark = Self::alone(of, deadline).await?;
        let copied = self.copied(of, &mut mark, shard, epoch, now, deadline).await?;
        let bucket = {
            // Chosen and counted in one: nothing is promised in between.
            let mut flying = lock(&of.flying);
            let bucket = now.max(copied.highest_bucket).max(copied.done_bucket).max(flying.floor.0);
            *flying.tickets.entry(bucket).or_default() += 1;
            bucket
        };
        let ticket = Ticket { marks: Arc::clone(self), shard, bucket };
        if bucket > copied.highest_bucket {
            self.write(of, &mut mark, Watermark { highest_bucket: bucket, ..copied }, deadline).await?;
        }
        Ok(ticket)
    }

    /// What the shard's earlier owner left: what follows from rows of these buckets and later may not be written. Copied
    /// to our epoch when this returns. `None`: it had no owner before.
    pub(super) async fn left_by_earlier(
        &self,
        shard: u16,
        epoch: u64,
        now: u32,
        deadline: Instant,
    ) -> Result<Option<Watermark>, Failed> {
        let of = self.shard(shard)?;
        let mut mark = Self::alone(of, deadline).await?;
        self.copied(of, &mut mark, shard, epoch, now, deadline).await?;
        Ok(*lock(&of.found))
    }

    /// Our epoch's watermark, which is made from the latest earlier one where it is not there yet.
    async fn copied(
        &self,
        of: &Shard,
        mark: &mut Option<Watermark>,
        shard: u16,
        epoch: u64,
        now: u32,
        deadline: Instant,
    ) -> Result<Watermark, Failed> {
        if let Some(mark) = mark {
            return Ok(*mark);
        }
        let found = retry::until(deadline, "watermark", || self.db.watermarks(shard, MARKS)).await?;
        let earlier = found.iter().filter(|mark| mark.epoch < epoch).max_by_key(|mark| mark.epoch).copied();
        *lock(&of.found) = earlier;
        let ours = match earlier {
            Some(earlier) => Watermark { epoch, ..earlier },
            None => Watermark { shard, epoch, done_bucket: now, highest_bucket: now },
        };
        self.write(of, mark, ours, deadline).await?;
        if found.iter().filter(|mark| mark.epoch < epoch).count() > 1 {
            // Ours says what they said: only the latest counts.
            let _ = self.db.delete_watermarks(shard, epoch).await;
        }
        Ok(ours)
    }

    async fn write(
        &self,
        of: &Shard,
        mark: &mut Option<Watermark>,
        mut next: Watermark,
        deadline: Instant,
    ) -> Result<(), Failed> {
        {
            // Before it is tried: done and not told, it counts. A later one that said less would be covered by it.
            let mut flying = lock(&of.flying);
            flying.floor.0 = flying.floor.0.max(next.done_bucket);
            flying.floor.1 = flying.floor.1.max(next.highest_bucket);
            (next.done_bucket, next.highest_bucket) = flying.floor;
        }
        retry::until(deadline, "watermark", || self.db.put_watermark(&next)).await?;
        *mark = Some(next);
        lock(&of.flying).written = Some(next);
        Ok(())
    }

    /// What an earlier owner of the shard left is done: its watermark may advance.
    pub(super) fn recovered(&self, shard: u16) {
        if let Ok(of) = self.shard(shard) {
            lock(&of.flying).recovered = true;
        }
    }

    /// Whether nothing of the bucket or before will ever be written again in any of these shards by us, from here on.
    /// `now`: the clock's bucket; of one that is not over nothing is promised. What idle shards promise stands, whatever the
    /// others say.
    pub(super) fn are_past(&self, mut shards: std::ops::Range<u16>, bucket: u32, now: u32) -> bool {
        // A shard without a mark of ours has written nothing in this epoch, and its first ticket is not behind what it
        // finds: which is not known.
        shards.all(|shard| {
            self.shard(shard).is_ok_and(|of| {
                let mut flying = lock(&of.flying);
                let Some(mark) = flying.written.filter(|_| flying.recovered) else { return false };
                let idle = mark.done_bucket > mark.highest_bucket && flying.tickets.is_empty();
                if mark.done_bucket <= bucket && idle && bucket < now {
                    flying.floor.0 = flying.floor.0.max(bucket + 1);
                    return true;
                }
                mark.done_bucket > bucket
            })
        })
    }

    /// The highest bucket that any of these shards has used, if any has.
    pub(super) fn highest(&self, shards: std::ops::Range<u16>) -> Option<u32> {
        let highest = |shard| Some(lock(&self.shard(shard).ok()?.flying).written?.highest_bucket);
        shards.filter_map(highest).max()
    }

    /// Moves a shard's watermark as far as it goes; answers the buckets that are behind it now and were not before.
    pub(super) async fn advance(
        &self,
        shard: u16,
        now: u32,
        deadline: Instant,
    ) -> Result<std::ops::Range<u32>, Failed> {
        let of = self.shard(shard)?;
        let mut mark = Self::alone(of, deadline).await?;
        let Some(there) = *mark else { return Ok(0..0) };
        let done = {
            let flying = lock(&of.flying);
            let first = flying.tickets.keys().next().copied().unwrap_or(u32::MAX);
            let reached = first.min(now.max(there.highest_bucket));
            // Where nothing was written since it last moved, there is nothing to say.
            if !flying.recovered || there.done_bucket > there.highest_bucket || reached <= there.done_bucket {
                return Ok(0..0);
            }
            reached
        };
        self.write(of, &mut mark, Watermark { done_bucket: done, ..there }, deadline).await?;
        Ok(there.done_bucket..done.min(there.highest_bucket + 1))
    }
}
