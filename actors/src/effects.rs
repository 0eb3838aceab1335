//! Effects: what a durable row owes other entities is brought to them, in order per source, until they have it.
//!
//! One driver per process; one task per source that owes something, and none for the others. The outbox in the journal
//! is the truth; the queues here are a shortcut past it and may be dropped at any time. The receiver applies an effect
//! once, by the source's high-water mark, so bringing it twice is harmless, but **bringing them out of order loses
//! one**: whatever is not certain to be next is read from the outbox again. It must never give up: the target may be
//! away for days.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use adal_domain::entity::{Effect, EntityKey};
use metrics::{Counter, counter};
use tokio::sync::Semaphore;

use crate::{
    ask::{AskError, Origin},
    ports::{Journal, OwedEffect, StoreError},
    route::Router,
};

/// How many effects of one source are kept in memory; more are read from the outbox when their turn comes.
const QUEUED: usize = 256;

/// Sources that deliver or read at the same time. After a take-over everybody owes at once, and the targets and the database
/// are asked by callers too.
const AT_ONCE: usize = 256;

/// How long to wait after a delivery that failed, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(30));

/// How often the outbox is looked through for what nobody brings: rows that the loop was never told of.
const LOOK: Duration = Duration::from_secs(60);

/// See the module.
pub struct Effects {
    journal: Arc<dyn Journal>,
    router: Router,
    /// The sources that owe something.
    lanes: Mutex<HashMap<EntityKey, Lane>>,
    at_once: Semaphore,
    delivered: Counter,
}

/// What one source owes.
#[derive(Default)]
struct Lane {
    /// The next ones, in order, without a gap; as (seq, index, effect).
    next: VecDeque<(u64, u32, Effect)>,
    /// More is owed than `next` holds: the outbox has it.
    behind: bool,
    /// A row came while the outbox was being read: it may or may not have been in what was read.
    missed: bool,
}

impl std::fmt::Debug for Effects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Effects").field("sources", &self.lanes().len()).finish_non_exhaustive()
    }
}

impl Effects {
    /// A driver that delivers through `router`.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, router: Router) -> Arc<Self> {
        let delivered = counter!("adal_effects_delivered_total");
        Arc::new(Self { journal, router, lanes: Mutex::default(), at_once: Semaphore::new(AT_ONCE), delivered })
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, HashMap<EntityKey, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many sources owe something that this driver is bringing.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.lanes().len()
    }

    /// Finds what was owed when the process last ended, begins to bring it, and from then on looks again every minute,
    /// since a row can be durable without anybody having been told. **Before the first ask**: a new row of
    /// a source must not overtake what that source owes from before. Within a tokio runtime, whose tasks then deliver.
    ///
    /// # Errors
    /// Where the outbox cannot be read; then it is not safe to serve.
    pub async fn recover(self: &Arc<Self>) -> Result<usize, StoreError> {
        let found = self.find().await?;
        tokio::spawn(Self::watch(Arc::downgrade(self)));
        Ok(found)
    }

    /// A row of `source` is durable and owes `effects`, by index. `first`: since the entity was opened, so that rows
    /// that this driver was never told of may stand before it (an append of a process that died while it was in
    /// doubt can be done late). They owe too, and come first: all of it is read from the outbox.
    pub(crate) fn owe(self: &Arc<Self>, source: EntityKey, seq: u64, effects: Vec<Effect>, first: bool) {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get_mut(&source) {
            if first || lane.behind || lane.next.len() >= QUEUED {
                lane.behind = true;
                lane.missed = true;
            } else {
                lane.next.extend(effects.into_iter().zip(0..).map(|(effect, index)| (seq, index, effect)));
            }
            return;
        }
        let next = match first {
            true => VecDeque::new(),
            false => effects.into_iter().zip(0..).map(|(effect, index)| (seq, index, effect)).collect(),
        };
        lanes.insert(source.clone(), Lane { next, behind: first, missed: false });
        drop(lanes);
        tokio::spawn(Arc::clone(self).bring(source));
    }

    /// Looks now and then for what is owed and nobody brings, as long as the driver is there.
    async fn watch(driver: Weak<Self>) {
        let Some(told) = driver.upgrade().map(|driver| driver.journal.owes_more().unwrap_or_default()) else { return };
        loop {
            // Neither holds the driver or its store.
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = told.notified() => {}
            }
            let Some(driver) = driver.upgrade() else { return };
            if let Err(error) = driver.find().await {
                tracing::warn!(%error, "the outbox cannot be read");
            }
        }
    }

    /// Begins to bring what stands in the outbox; answers of how many sources.
    async fn find(self: &Arc<Self>) -> Result<usize, StoreError> {
        /// How many are read at a time.
        const PAGE: usize = 1024;
        let mut sources: Vec<EntityKey> = Vec::new();
        let mut after = None;
        loop {
            let page = self.journal.owed(after.take(), PAGE).await?;
            for owed in &page {
                if sources.last() != Some(&owed.source) {
                    sources.push(owed.source.clone());
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some((last.source.clone(), last.seq, last.index)),
                _ => break,
            }
        }
        sources.sort();
        sources.dedup();
        let mut begun = 0;
        for source in sources {
            if let Entry::Vacant(place) = self.lanes().entry(source.clone()) {
                place.insert(Lane { behind: true, ..Lane::default() });
                tokio::spawn(Arc::clone(self).bring(source));
                begun += 1;
            }
        }
        Ok(begun)
    }

    /// Brings what `source` owes until it owes nothing.
    async fn bring(self: Arc<Self>, source: EntityKey) {
        let mut wait = BACKOFF.0;
        loop {
            let next = {
                let mut lanes = self.lanes();
                let Some(lane) = lanes.get_mut(&source) else { return };
                if lane.next.is_empty() && !lane.behind {
                    lanes.remove(&source);
                    return;
                }
                std::mem::take(&mut lane.next)
            };
            let done = {
                // Never closed; and not held while it waits after a failure.
                let _one = self.at_once.acquire().await;
                match next.is_empty() {
                    true => self.catch_up(&source).await,
                    false => self.bring_these(&source, next).await,
                }
            };
            if done {
                wait = BACKOFF.0;
            } else {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }

    /// Delivers in order; stops at the first that fails, and has the rest read from the outbox again.
    async fn bring_these(&self, source: &EntityKey, next: VecDeque<(u64, u32, Effect)>) -> bool {
        let mut done = Vec::with_capacity(next.len());
        let mut failed = false;
        for (seq, index, effect) in next {
            let origin = Origin { source: source.clone(), seq, index };
            match self.router.deliver(&effect.target, origin, &effect.command).await {
                Ok(()) => done.push((source.clone(), seq, index)),
                Err(error) => {
                    log(source, seq, &effect.target, &error);
                    failed = true;
                    break;
                }
            }
        }
        self.delivered.increment(done.len() as u64);
        // Those that cannot be struck off are brought again; their targets know them.
        if !done.is_empty()
            && let Err(error) = self.journal.delivered(done).await
        {
            tracing::warn!(%source, %error, "delivered effects stay in the outbox for now");
            failed = true;
        }
        if failed && let Some(lane) = self.lanes().get_mut(source) {
            // What queued meanwhile comes after what failed: all of it is read again, in order.
            lane.next.clear();
            lane.behind = true;
        }
        !failed
    }

    /// Reads the next that `source` owes from the outbox.
    async fn catch_up(&self, source: &EntityKey) -> bool {
        if let Some(lane) = self.lanes().get_mut(source) {
            lane.missed = false;
        }
        let owed = match self.journal.owed_by(source, QUEUED).await {
            Ok(owed) => owed,
            Err(error) => {
                tracing::warn!(%source, %error, "the outbox cannot be read");
                return false;
            }
        };
        let all = owed.len() < QUEUED;
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get_mut(source) {
            lane.next = owed.into_iter().map(|OwedEffect { seq, index, effect, .. }| (seq, index, effect)).collect();
            lane.behind = !all || lane.missed;
        }
        true
    }
}

fn log(source: &EntityKey, seq: u64, target: &EntityKey, error: &AskError) {
    match error {
        AskError::Corrupt { .. }
        | AskError::Panicked
        | AskError::Quarantined
        | AskError::KeyReused
        | AskError::NotRecorded => {
            tracing::error!(%source, seq, %target, %error, "an effect cannot be delivered; trying again");
        }
        AskError::Busy | AskError::Unavailable { .. } | AskError::Stopping | AskError::Deadline => {
            tracing::debug!(%source, seq, %target, %error, "an effect cannot be delivered now; trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use adal_domain::{entity::EntityKind, time::Timestamp};
    use async_trait::async_trait;

    use super::*;
    use crate::{
        ports::{Append, StoredRow},
        route::Target,
        testing::MemoryStore,
    };

    /// Takes whatever comes.
    #[derive(Default)]
    struct Taker(Mutex<Vec<(u64, u32)>>);

    #[async_trait]
    impl Target for Taker {
        async fn deliver(&self, _: &str, origin: Origin, _: &[u8]) -> Result<(), AskError> {
            self.0.lock().unwrap().push((origin.seq, origin.index));
            Ok(())
        }

        async fn wake(&self, _: &str) -> Result<(), AskError> {
            Ok(())
        }
    }

    fn source() -> EntityKey {
        EntityKey::new(EntityKind::Guest, "source")
    }

    fn owed() -> Vec<Effect> {
        vec![Effect { target: EntityKey::new(EntityKind::Customer, "target"), command: vec![] }; 2]
    }

    async fn durable(store: &MemoryStore, seq: u64) {
        let row = StoredRow { seq, at: Timestamp::default(), format: 1, body: vec![] };
        store.append(Append { entity: source(), row, views: vec![], wake: None, effects: owed() }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_loop_was_never_told_of_is_brought_in_its_order_and_within_a_minute() {
        let (store, taker, router) = (Arc::new(MemoryStore::new()), Arc::new(Taker::default()), Router::new());
        router.add(EntityKind::Customer, Arc::clone(&taker) as Arc<dyn Target>);
        let effects = Effects::new(Arc::clone(&store) as Arc<dyn Journal>, router);
        let taken = || taker.0.lock().unwrap().clone();
        assert_eq!(effects.recover().await.unwrap(), 0);
        durable(&store, 1).await;
        durable(&store, 2).await;
        effects.owe(source(), 2, owed(), true);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(taken(), [(1, 0), (1, 1), (2, 0), (2, 1)], "what comes first is brought first");
        durable(&store, 3).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(taken()[4..], [(3, 0), (3, 1)], "nobody said a word");
        durable(&store, 4).await;
        store.say_that_more_is_owed();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(taken()[6..], [(4, 0), (4, 1)], "and at once where the store says so");
        assert_eq!((store.owed_count(), effects.sources()), (0, 0));
    }

    /// Takes nothing before it is told to, and counts who waits.
    struct Gate {
        waiting: AtomicUsize,
        most: AtomicUsize,
        open: Semaphore,
    }

    #[async_trait]
    impl Target for Gate {
        async fn deliver(&self, _: &str, _: Origin, _: &[u8]) -> Result<(), AskError> {
            let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(waiting, Ordering::SeqCst);
            let _pass = self.open.acquire().await.unwrap();
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }

        async fn wake(&self, _: &str) -> Result<(), AskError> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_is_owed_so_many_are_asked_at_the_same_time() {
        let (store, router) = (Arc::new(MemoryStore::new()), Router::new());
        let gate = Arc::new(Gate { waiting: 0.into(), most: 0.into(), open: Semaphore::new(0) });
        router.add(EntityKind::Customer, Arc::clone(&gate) as Arc<dyn Target>);
        for number in 0..2 * AT_ONCE {
            let entity = EntityKey::new(EntityKind::Guest, &number.to_string());
            let row = StoredRow { seq: 1, at: Timestamp::default(), format: 1, body: vec![] };
            store.append(Append { entity, row, views: vec![], wake: None, effects: owed() }).await.unwrap();
        }
        let effects = Effects::new(Arc::clone(&store) as Arc<dyn Journal>, router);
        assert_eq!(effects.recover().await.unwrap(), 2 * AT_ONCE);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(gate.waiting.load(Ordering::SeqCst), AT_ONCE);
        gate.open.add_permits(AT_ONCE);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((store.owed_count(), gate.most.load(Ordering::SeqCst)), (0, AT_ONCE));
    }
}
