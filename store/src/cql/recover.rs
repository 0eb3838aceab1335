//! After a claim: what earlier owners left undone is done, in the background; and, for as long as the shards are ours,
//! the watermarks move on behind what we do.
//!
//! Serving does not wait for it: an entity that is asked before its turn is adopted on the way. It must never let a
//! shard's watermark advance before all that was listed there is open: the next owner would not look at it again.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use adal_actors::ports::StoreError;
use adal_domain::entity::EntityKey;
use futures_util::{StreamExt, TryStreamExt, stream};
use metrics::{counter, gauge};

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

/// How often the watermarks move.
const ADVANCE: Duration = Duration::from_secs(30);

/// Recovers all shards, then tells whoever waits, then keeps the watermarks moving until the store is gone.
pub(super) async fn run(inner: Weak<Inner>) {
    if !recover(&inner).await {
        return;
    }
    loop {
        tokio::time::sleep(ADVANCE).await;
        let Some(inner) = inner.upgrade().filter(|inner| !inner.owner.has_ended()) else { return };
        advance(&inner).await;
    }
}

/// `false`: the store is gone, or the shards are another's.
async fn recover(inner: &Weak<Inner>) -> bool {
    let left = AtomicU64::new(u64::from(SHARDS));
    let opened = AtomicU64::new(0);
    let shards = stream::iter(0..SHARDS).map(|shard| {
        let (left, opened) = (&left, &opened);
        async move {
            let done = whole_shard(inner, shard, opened).await;
            let left = left.fetch_sub(1, Ordering::Relaxed) - 1;
            gauge!("adal_cql_recovery_shards_left").set(u32::try_from(left).unwrap_or(u32::MAX));
            done
        }
    });
    let done: Vec<bool> = shards.buffer_unordered(SHARDS_AT_ONCE).collect().await;
    let Some(inner) = inner.upgrade().filter(|inner| !inner.owner.has_ended()) else { return false };
    let whole = done.iter().all(|done| *done);
    let opened = opened.into_inner();
    match whole {
        true => tracing::info!(opened, "what earlier owners left undone is done"),
        false => {
            tracing::error!(opened, "what earlier owners left undone is done, but for entities that cannot be read")
        }
    }
    inner.recovered.notify_one();
    true
}

/// Recovers a shard, however long the database is away. `false`: not all of it.
async fn whole_shard(weak: &Weak<Inner>, shard: u16, opened: &AtomicU64) -> bool {
    loop {
        let Some(inner) = weak.upgrade().filter(|inner| !inner.owner.has_ended()) else { return false };
        match one_shard(&inner, shard, opened).await {
            Ok(whole) => {
                // One that has an entity that cannot be read stays where it is: the next owner looks again.
                if whole {
                    inner.marks.recovered(shard);
                }
                return whole;
            }
            Err(error) => {
                tracing::debug!(%error, shard, "recovering it again");
                drop(inner);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn one_shard(inner: &Arc<Inner>, shard: u16, opened: &AtomicU64) -> Result<bool, StoreError> {
    let epoch = inner.owner.epoch(shard)?;
    let now = bucket_of(inner.clock.now());
    let Some(left) = inner.marks.left_by_earlier(shard, epoch, now, inner.deadline()).await? else { return Ok(true) };
    let mut whole = true;
    for bucket in left.done_bucket..=left.highest_bucket {
        let mut after: Option<EntityKey> = None;
        loop {
            let page = inner.db.recent(shard, bucket, after.as_ref(), PAGE).await?;
            let opening = stream::iter(page.clone()).map(|entity| one_entity(Arc::clone(inner), entity));
            let all: Vec<bool> = opening.buffer_unordered(ENTITIES_AT_ONCE).try_collect().await?;
            whole &= all.iter().all(|done| *done);
            opened.fetch_add(page.len() as u64, Ordering::Relaxed);
            counter!("adal_cql_recovered_entities_total").increment(page.len() as u64);
            match page.len() == PAGE {
                true => after = page.into_iter().next_back(),
                false => break,
            }
        }
    }
    Ok(whole)
}

/// `false`: it cannot be read.
async fn one_entity(inner: Arc<Inner>, entity: EntityKey) -> Result<bool, StoreError> {
    match inner.tip(&entity).await {
        Err(StoreError::Corrupt(why)) => {
            tracing::error!(%entity, %why, "cannot be recovered");
            Ok(false)
        }
        done => done.map(|_| true),
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
