//! After a claim: what earlier owners left undone is done, in the background; and, for as long as the shards are ours,
//! the watermarks move on behind what we do.
//!
//! Serving does not wait for it: an entity that is asked before its turn is adopted on the way. It must never let a
//! shard's watermark advance before all that was listed there is open: the next owner would not look at it again.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use adal_actors::ports::StoreError;
use adal_domain::entity::EntityKey;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use metrics::{counter, gauge};
use tokio::time::Instant;

use super::{
    Inner,
    protocol::{SHARDS, bucket_of, last_stamp},
};

/// Shards that are looked through, and entities of each that are opened, at the same time: most of the database belongs
/// to callers.
const SHARDS_AT_ONCE: usize = 16;
const ENTITIES_AT_ONCE: usize = 4;

/// Entities of one read.
const PAGE: usize = 500;

/// How long to wait where the database does not answer.
const AGAIN: Duration = Duration::from_millis(500);

/// An entity that cannot be opened for so long, while the database answers otherwise, is left for later.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often shards are looked through again that have such an entity.
const LATER: Duration = Duration::from_secs(600);

/// Buckets by which a shard may be ahead of the clock without a word: an hour that leapt is soon past.
const A_DAY: u32 = 144;

/// How often the watermarks move.
const ADVANCE: Duration = Duration::from_secs(30);

/// Recovers all shards, then tells whoever waits; beside that keeps the watermarks moving, of those that are recovered,
/// until the store is gone.
pub(super) async fn run(inner: Weak<Inner>) {
    // What an import has left is not to be adopted: it is written anew (see `importing`), and no server serves it.
    if is_importing(&inner).await {
        return;
    }
    let both = || async { tokio::join!(recover(&inner), keep_moving(&inner)) };
    // Without it nobody would be told what is owed, and the next owner would have ever more to look at.
    while AssertUnwindSafe(both()).catch_unwind().await.is_err() {
        counter!("adal_cql_recovery_panics_total").increment(1);
        tracing::error!("the recovery panicked, and begins again");
        tokio::time::sleep(AGAIN).await;
    }
}

/// However long the database is away.
async fn is_importing(inner: &Weak<Inner>) -> bool {
    loop {
        let Some(inner) = inner.upgrade().filter(|inner| !inner.owner.has_ended()) else { return true };
        match inner.is_importing().await {
            Ok(importing) => return importing,
            Err(error) => tracing::debug!(%error, "whether an import is under way is asked again"),
        }
        drop(inner);
        tokio::time::sleep(AGAIN).await;
    }
}

async fn keep_moving(inner: &Weak<Inner>) {
    loop {
        tokio::time::sleep(ADVANCE).await;
        let Some(inner) = inner.upgrade().filter(|inner| !inner.owner.has_ended()) else { return };
        advance(&inner).await;
    }
}

/// Ends when all is recovered, the store is gone, or the shards are another's.
async fn recover(inner: &Weak<Inner>) {
    let mut left: Vec<u16> = (0..SHARDS).collect();
    let mut told = false;
    loop {
        let opened = AtomicU64::new(0);
        let waiting = AtomicU64::new(left.len() as u64);
        let shards = stream::iter(left).map(|shard| {
            let (waiting, opened) = (&waiting, &opened);
            async move {
                let done = whole_shard(inner, shard, opened).await;
                let waiting = waiting.fetch_sub(1, Ordering::Relaxed) - 1;
                gauge!("adal_cql_recovery_shards_left").set(u32::try_from(waiting).unwrap_or(u32::MAX));
                (shard, done)
            }
        });
        let done: Vec<(u16, u64)> = shards.buffer_unordered(SHARDS_AT_ONCE).collect().await;
        let Some(store) = inner.upgrade().filter(|inner| !inner.owner.has_ended()) else { return };
        let opened = opened.into_inner();
        let unreadable: u64 = done.iter().map(|(_, unreadable)| unreadable).sum();
        gauge!("adal_cql_unreadable_entities").set(u32::try_from(unreadable).unwrap_or(u32::MAX));
        left = done.into_iter().filter(|(_, unreadable)| *unreadable > 0).map(|(shard, _)| shard).collect();
        if store.marks.highest(0..SHARDS).is_some_and(|highest| highest > bucket_of(store.clock.now()) + A_DAY) {
            tracing::warn!("the store has been written to with a clock that was ahead: see docs/operating/clock.md");
        }
        if left.is_empty() {
            tracing::info!(opened, "what earlier owners left undone is done");
        } else {
            tracing::error!(opened, unreadable, "what earlier owners left undone is done, but for what cannot be read");
        }
        if !std::mem::replace(&mut told, true) {
            store.recovered.notify_one();
        }
        drop(store);
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(LATER).await;
    }
}

/// Recovers a shard, however long the database is away. Answers how many entities cannot be read.
async fn whole_shard(weak: &Weak<Inner>, shard: u16, opened: &AtomicU64) -> u64 {
    loop {
        let Some(inner) = weak.upgrade().filter(|inner| !inner.owner.has_ended()) else { return 0 };
        match one_shard(&inner, shard, opened).await {
            Ok(unreadable) => {
                // One that has an entity that cannot be read stays where it is: the next owner looks again.
                if unreadable == 0 {
                    inner.marks.recovered(shard);
                }
                return unreadable;
            }
            Err(error) => {
                tracing::debug!(%error, shard, "recovering it again");
                drop(inner);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn one_shard(inner: &Arc<Inner>, shard: u16, opened: &AtomicU64) -> Result<u64, StoreError> {
    let epoch = inner.owner.epoch(shard)?;
    let now = bucket_of(inner.clock.now());
    let Some(left) = inner.marks.left_by_earlier(shard, epoch, now, inner.deadline()).await? else { return Ok(0) };
    let mut unreadable = 0;
    for bucket in left.done_bucket..=left.highest_bucket {
        let mut after: Option<EntityKey> = None;
        loop {
            let page = inner.db.recent(shard, bucket, after.as_ref(), PAGE).await?;
            let opening = stream::iter(page.clone()).map(|entity| one_entity(Arc::clone(inner), entity));
            let all: Vec<bool> = opening.buffer_unordered(ENTITIES_AT_ONCE).try_collect().await?;
            unreadable += all.iter().filter(|done| !**done).count() as u64;
            opened.fetch_add(page.len() as u64, Ordering::Relaxed);
            counter!("adal_cql_recovered_entities_total").increment(page.len() as u64);
            match page.len() == PAGE {
                true => after = page.into_iter().next_back(),
                false => break,
            }
        }
    }
    Ok(unreadable)
}

/// `false`: it cannot be read. The others must not wait for it for ever.
async fn one_entity(inner: Arc<Inner>, entity: EntityKey) -> Result<bool, StoreError> {
    let begun = Instant::now();
    loop {
        let why = match inner.tip(&entity).await {
            Ok(_) => return Ok(true),
            Err(error) if inner.owner.has_ended() => return Err(error),
            Err(StoreError::Corrupt(why)) => why,
            // A row whose parent is not there stands for ever where that one is lost; a database that is away does not
            // say so of one entity alone.
            Err(error) if begun.elapsed() >= PATIENCE => match inner.owner.serves() {
                Ok(()) => error.to_string().into(),
                Err(_) => return Err(error),
            },
            Err(error) => {
                tracing::debug!(%entity, %error, "opening it again");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        tracing::error!(%entity, %why, "cannot be recovered");
        return Ok(false);
    }
}

/// Moves every watermark as far as it goes, and drops the lists that are behind it.
pub(super) async fn advance(inner: &Arc<Inner>) {
    let now = bucket_of(inner.clock.now());
    let Some(epoch) = inner.owner.claimed() else { return };
    for shard in 0..SHARDS {
        match inner.marks.advance(shard, now, inner.deadline()).await {
            Ok(behind) => {
                for bucket in behind {
                    if let Err(error) = inner.db.drop_recent(shard, bucket, last_stamp(epoch)).await {
                        tracing::debug!(%error, shard, bucket, "a list that is over stays");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, shard, "a watermark does not advance"),
        }
    }
    gauge!("adal_cql_handles").set(u32::try_from(inner.handles.len()).unwrap_or(u32::MAX));
}
