//! The store on ScyllaDB or Apache Cassandra: the ports on plain inserts that one row fences.
//!
//! **Who does what.** A process is a *member*; it claims all shards by a conditional write of the cluster's row, and the
//! version at which it did is its *epoch* (`owner`). Everything else is plain statements, repeated until they succeed:
//! an append writes what finds the row, the row, then verifies that the claim still stands, then writes what follows
//! from it (`journal`, `derived`). Whoever opens an entity that an earlier owner wrote last adopts it first. What is
//! history among the rows, and why all this holds, is in [`protocol`]; that it does is searched by the model in
//! `store/tests/model`.
//!
//! **Threads.** Every open and append is a task of its caller's runtime that holds the entity's `handle`; the verifying
//! reads, the statements in which several go `together`, the beat, the take-over and the watermarks run on the runtime on
//! which the store was opened.
//!
//! **What must never happen**: an answer, a published state, an effect or a view before the verification; another content
//! under a seq and epoch that may have been written; a watermark that passes an append.
//!
//! [`db`] is the database as this module sees it: one method per statement, implemented by the driver, which sends each
//! through a session, and by a model in memory. [`migrate`] makes the tables.

mod clock;
mod cluster;
mod codes;
mod config;
#[cfg(test)]
mod contract;
mod counts;
pub mod db;
mod derived;
mod driver;
mod failure;
mod handle;
mod importing;
mod journal;
mod keys;
mod marks;
mod merge;
mod migrate;
mod outbox;
mod owner;
mod periods;
mod policy;
pub mod protocol;
mod read;
#[cfg(test)]
mod real;
mod rebuild;
mod recover;
mod retry;
mod session;
#[cfg(any(test, feature = "testing"))]
pub mod sim;
mod statements;
#[cfg(test)]
mod tests;
mod timers;
mod together;
mod views;
mod watch;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use adal_actors::ports::{
    ApiKeyRecord, ApiKeys, Append, BannerCounts, CodeJob, CodePage, Codes, Counts, JobCodes, Journal, Opened,
    OwedEffect, PeriodKeys, StoreError, StoredRow, StoredSnapshot, ViewRow, Views,
};
use adal_domain::{
    entity::{EntityKey, EntityKind, View},
    ids::{BannerId, OfferId},
    offers::NormalCode,
    time::{Day, Timestamp},
};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    task::JoinHandle,
    time::Instant,
};

pub use self::{
    clock::{MachineClock, WallClock},
    config::{CqlConfig, CqlError, CqlTls},
    driver::open,
    migrate::{MigrateReport, migrate},
    rebuild::{ViewRebuild, ViewsMade},
    views::ViewCount,
};
use self::{
    codes::{Desk, told},
    db::{Database, Failed, OutboxPlace, Place, Stretch},
    derived::Follower,
    handle::Handles,
    marks::Marks,
    merge::{Read, merged},
    outbox::{Outbox, Where},
    owner::{Owner, Terms, Verdict},
    protocol::{Linked, SLICES},
    timers::Timers,
    together::Together,
};
use crate::{Health, Storage};

/// Rows above one that are looked at in one read for where its effects stand.
const PLACES: usize = 64;

/// Rows that a list looks up at the same time.
const AT_ONCE: usize = 32;

/// A store in one keyspace. Cheap to clone.
#[derive(Clone)]
pub struct CqlStore {
    inner: Arc<Inner>,
}

struct Inner {
    db: Arc<dyn Database>,
    clock: Arc<dyn WallClock>,
    config: CqlConfig,
    owner: Arc<Owner>,
    marks: Arc<Marks>,
    outbox: Arc<Outbox>,
    timers: Arc<Timers>,
    together: Arc<Together>,
    follower: Follower,
    handles: Handles,
    sums: AsyncMutex<counts::Sums>,
    /// Codes are given to jobs one change at a time.
    desk: AsyncMutex<codes::Kept>,
    recovered: Arc<Notify>,
    rows: AtomicU64,
    recovery: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for CqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CqlStore").field("config", &self.inner.config).field("owner", &self.inner.owner).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.recovery.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl CqlStore {
    /// Connects to the cluster of a configuration, and owns nothing yet: see [`CqlStore::claim`]. Within the tokio runtime
    /// on which what the store does for all its callers is to run.
    ///
    /// # Errors
    /// A configuration without sense, no node that answers and lets us in, tables that are older or newer than this
    /// program needs.
    pub async fn connect(config: CqlConfig) -> Result<Self, CqlError> {
        let db = driver::open(config.clone()).await?;
        Ok(Self::over(db, Arc::new(MachineClock), config))
    }

    /// A store on `db` that owns nothing yet: it reads, and keeps keys and counts. Within the tokio runtime on which what
    /// it does for all its callers is to run.
    #[must_use]
    pub fn over(db: Arc<dyn Database>, clock: Arc<dyn WallClock>, config: CqlConfig) -> Self {
        let terms = Terms {
            node: config.node.clone(),
            dead_after: config.dead_after,
            beat_every: config.beat_every,
            confirmed_within: config.confirmed_within,
            take_from: config.take_from_datacenter.clone(),
        };
        let owner = Owner::new(Arc::clone(&db), Arc::clone(&clock), terms);
        let marks = Marks::new(Arc::clone(&db));
        let outbox = Outbox::new(Arc::clone(&db), Arc::clone(&marks));
        let timers = Timers::new(Arc::clone(&db), Arc::clone(&marks));
        let together = Arc::new(Together::new(Arc::clone(&db)));
        let (of_views, owed) = (Arc::clone(&together), Arc::clone(&outbox));
        let follower = Follower { db: Arc::clone(&db), together: of_views, outbox: owed };
        let inner = Inner {
            handles: Handles::new(config.max_handles),
            db,
            clock,
            config,
            owner,
            marks,
            outbox,
            timers,
            together,
            follower,
            sums: AsyncMutex::default(),
            desk: AsyncMutex::default(),
            recovered: Arc::default(),
            rows: AtomicU64::new(0),
            recovery: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Becomes a member and waits until it owns all shards: at once where nobody has them, or one that handed them over; else
    /// until their owner is seen not to beat: an earlier process of the same node for as long as that may still serve, any
    /// other until it is dead. What that one left undone is done in the background.
    ///
    /// # Errors
    /// The database's, where it does not answer for half a minute and never did (later it is waited for); entities of a server
    /// in another datacentre; or a claim that was made before.
    pub async fn claim(&self) -> Result<(), CqlError> {
        let inner = &self.inner;
        inner.owner.claim().await?;
        let task = tokio::spawn(recover::run(Arc::downgrade(inner)));
        *inner.recovery.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(())
    }

    /// This process among the members.
    #[must_use]
    pub fn member(&self) -> &str {
        self.inner.owner.member()
    }

    /// Rows made durable since the store was opened.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.inner.rows.load(Ordering::Relaxed)
    }

    /// How much there is of each view: one read through all of it, with memory for a page. Beside a server the numbers are of
    /// no one moment.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_views(&self) -> Result<HashMap<View, ViewCount>, StoreError> {
        views::count(&*self.inner.db, self.inner.config.append_deadline).await
    }

    /// The beats of the members that own something: where they are what they were a while ago, no server is at work.
    ///
    /// # Errors
    /// The database's, or the row of the cluster is damaged.
    pub async fn beats_of_owners(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.inner.owner.beats_of_owners().await
    }

    /// The version of the row of the cluster, for who owns nothing: no row was ever written under a later epoch, unless the nodes
    /// were restored to different moments. 0: nobody ever claimed anything.
    ///
    /// # Errors
    /// The database's.
    pub async fn cluster_version(&self) -> Result<u64, StoreError> {
        Ok(self.inner.db.cluster_version().await?.unwrap_or_default())
    }

    /// The epoch under which an entity's last row was written; `None`: it has none.
    ///
    /// # Errors
    /// The database's, or its rows are damaged.
    pub async fn epoch_of(&self, entity: &EntityKey) -> Result<Option<u64>, StoreError> {
        Ok(read::tip(&*self.inner.db, entity).await?.map(|tip| tip.epoch))
    }

    /// Runs to its end what must not be dropped in the middle, whatever its caller does.
    async fn whole<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let task = tokio::spawn(work(Arc::clone(&self.inner)));
        task.await.unwrap_or_else(|_| Err(StoreError::InDoubt("the store's task ended before it answered".into())))
    }

    fn epoch(&self) -> Result<u64, StoreError> {
        self.inner.owner.epoch(0)
    }

    /// A change of codes and their jobs, which only the owner may make, verified.
    async fn at_desk<T>(&self, work: impl AsyncFnOnce(&mut Desk<'_>) -> Result<T, Failed>) -> Result<T, StoreError> {
        let inner = &self.inner;
        let epoch = self.epoch()?;
        let kept = &mut *inner.desk.lock().await;
        let mut desk = Desk { db: &*inner.db, owner: &inner.owner, epoch, deadline: inner.deadline(), kept };
        desk.take_over().await.map_err(told)?;
        let done = work(&mut desk).await.map_err(told)?;
        desk.done();
        match inner.owner.verify(inner.deadline()).await.map_err(told)? {
            Verdict::Ours => Ok(done),
            Verdict::Lost => Err(StoreError::Unavailable("another server has taken over".into())),
        }
    }
}

impl Inner {
    fn deadline(&self) -> Instant {
        Instant::now() + self.config.append_deadline
    }

    /// Where a row's effects stand, or may.
    async fn places_of(&self, source: &EntityKey, seq: u64) -> Result<Vec<Where>, StoreError> {
        if let Some(found) = self.outbox.find(source, seq) {
            return Ok(vec![found]);
        }
        let mut places = Vec::new();
        let mut after = Place { seq: seq - 1, ..Place::LAST };
        // The row itself, and the adoptions right above it.
        let mut reached = seq;
        loop {
            let stretch = Stretch { after, before: Place::LAST, descending: false, limit: PLACES };
            let links = self.db.links(source, stretch).await?;
            for link in &links {
                if link.place.seq > reached + 1 {
                    return Ok(places);
                }
                // Void rows owe nothing; asking for theirs as well does no harm.
                if link.place.seq == seq || link.is_adoption() {
                    reached = link.place.seq;
                    places.push(Where { bucket: link.bucket, row_epoch: link.place.epoch });
                }
            }
            match links.last() {
                Some(last) if links.len() == PLACES => after = last.place,
                _ => return Ok(places),
            }
        }
    }

    async fn deliver(&self, row: Vec<OutboxPlace>) -> Result<(), StoreError> {
        let Some(first) = row.first().filter(|first| first.seq > 0) else { return Ok(()) };
        for at in self.places_of(&first.source, first.seq).await? {
            self.outbox.delete(at, &row).await?;
        }
        Ok(())
    }

    /// The newest row not later than `at`: the rows' times never run backwards.
    async fn seq_at(self: &Arc<Self>, entity: &EntityKey, at: Timestamp) -> Result<Option<u64>, StoreError> {
        let Some(tip) = self.tip(entity).await? else { return Ok(None) };
        // The greatest seq that is not later, by halves: `low` is not later (or none), `high` is later.
        let (mut low, mut high) = (0, tip.seq + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match read::place_of(&*self.db, entity, middle, tip).await? {
                Some(link) if link.at > at => high = middle,
                // One that is trimmed is older than what is there.
                _ => low = middle,
            }
        }
        Ok((low > 0).then_some(low))
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, EntityKey)>, StoreError> {
        let (epoch, deadline) = (self.owner.claimed(), self.deadline());
        let mut due: Vec<(Timestamp, EntityKey)> = Vec::new();
        let mut after: Option<timers::Placed> = None;
        // Those that count for nothing are read past, or enough of them would keep all others from being found.
        while due.len() < limit {
            let now = protocol::bucket_of(self.clock.now());
            let found = self.timers.due(after.as_ref(), until, limit, now, epoch, deadline).await?;
            let more = found.len() == limit;
            after = found.last().cloned();
            for placed in found {
                let entity = &placed.timer.entity;
                let wake = placed.timer.wake;
                if let (Some(epoch), Some(known)) = (epoch, self.handles.peek(entity))
                    && known.wake != Some(wake)
                {
                    // Left behind by a row that was replaced, or that never was: of that one it stays until its place has
                    // another row, as a deletion that counted more would take the timer of that with it.
                    self.timers.delete(&placed, epoch, known.tip.map_or(0, |tip| tip.seq)).await;
                    continue;
                }
                if !due.iter().any(|(_, there)| there == entity) {
                    due.push((wake, placed.timer.entity));
                }
            }
            if !more {
                break;
            }
        }
        due.truncate(limit);
        Ok(due)
    }
}

#[async_trait]
impl Journal for CqlStore {
    async fn open(&self, entity: &EntityKey) -> Result<Opened, StoreError> {
        if self.inner.owner.claimed().is_none() && !self.inner.owner.has_ended() {
            // Who owns nothing reads what there is, and makes nothing its own.
            return read::found(&*self.inner.db, entity).await.map(|found| journal::opened(&found));
        }
        let entity = entity.clone();
        self.whole(|inner| async move { inner.open(&entity).await }).await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        let done = self.whole(|inner| async move { inner.append(append).await }).await;
        if let Err(error) = &done {
            let kind = match error {
                StoreError::Fenced(_) => "fenced",
                StoreError::InDoubt(_) => "in_doubt",
                StoreError::Unavailable(_) => "unavailable",
                StoreError::Corrupt(_) => "corrupt",
            };
            metrics::counter!("adal_journal_errors_total", "kind" => kind).increment(1);
        }
        done
    }

    async fn snapshot(&self, entity: &EntityKey, snapshot: StoredSnapshot) -> Result<(), StoreError> {
        let entity = entity.clone();
        self.whole(|inner| async move { inner.snapshot(&entity, snapshot).await }).await
    }

    async fn rows(
        &self,
        entity: &EntityKey,
        from_seq: u64,
        to_seq: u64,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let Some(tip) = self.inner.tip(entity).await? else { return Ok(Vec::new()) };
        read::rows(&*self.inner.db, entity, (from_seq, to_seq), limit, descending, tip).await
    }

    async fn seq_at(&self, entity: &EntityKey, at: Timestamp) -> Result<Option<u64>, StoreError> {
        self.inner.seq_at(entity, at).await
    }

    async fn owed(&self, after: Option<(EntityKey, u64, u32)>, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
        let after = after.map(|(source, seq, index)| OutboxPlace { source, seq, index });
        let inner = &self.inner;
        let ours = inner.owner.claimed().map(|epoch| (epoch, protocol::bucket_of(inner.clock.now())));
        Ok(inner.outbox.owed(after, limit, ours, inner.deadline()).await?)
    }

    async fn owed_by(&self, source: &EntityKey, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
        Ok(self.inner.outbox.owed_by(source, limit, self.inner.deadline()).await?)
    }

    async fn delivered(&self, effects: Vec<(EntityKey, u64, u32)>) -> Result<(), StoreError> {
        self.epoch()?;
        let mut rows: Vec<Vec<OutboxPlace>> = Vec::new();
        for (source, seq, index) in effects {
            let place = OutboxPlace { source, seq, index };
            match rows.last_mut() {
                Some(row) if row.first().is_some_and(|of| of.source == place.source && of.seq == seq) => {
                    row.push(place)
                }
                _ => rows.push(vec![place]),
            }
        }
        let inner = &self.inner;
        stream::iter(rows).map(Ok).try_for_each_concurrent(AT_ONCE, |row| inner.deliver(row)).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, EntityKey)>, StoreError> {
        self.inner.due(until, limit).await
    }

    fn serves(&self) -> Result<(), StoreError> {
        self.inner.owner.serves()
    }

    fn owes_more(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.inner.recovered))
    }

    async fn entities(
        &self,
        kind: EntityKind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        let inner = &self.inner;
        let mut found = Vec::new();
        let mut after = after.map(str::to_owned);
        while found.len() < limit {
            let wanted = limit - found.len();
            let read = |part: usize, from: Option<EntityKey>, count: usize| -> Read<'_, EntityKey> {
                let (slice, after) = (u8::try_from(part).unwrap_or_default(), after.as_deref());
                Box::pin(async move {
                    let after = from.as_ref().map(|from| &*from.id).or(after);
                    inner.db.entities(kind, slice, after, count).await
                })
            };
            let page = merged(usize::from(SLICES), wanted, inner.deadline(), |entity| entity.id.clone(), read).await?;
            let more = page.len() == wanted;
            after = page.last().map(|entity| entity.id.to_string());
            // One is listed before its first row: that one may never have come.
            let known = stream::iter(page).map(|entity| async move {
                let rows = Stretch { after: Place::FIRST, before: Place::LAST, descending: false, limit: 1 };
                let any = retry::until(inner.deadline(), "entities", || inner.db.links(&entity, rows)).await?;
                let any = !any.is_empty();
                Ok::<_, Failed>(any.then_some(entity))
            });
            let known: Vec<Option<EntityKey>> = known.buffered(AT_ONCE).try_collect().await?;
            found.extend(known.into_iter().flatten());
            if !more {
                break;
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Views for CqlStore {
    async fn get(&self, view: View, key: &str) -> Result<Option<ViewRow>, StoreError> {
        Ok(self.inner.together.view(view, key).await?.map(views::row))
    }

    async fn list(
        &self,
        view: View,
        filter: Option<&str>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ViewRow>, StoreError> {
        views::list(&*self.inner.db, view, filter, before, limit, self.inner.deadline()).await
    }
}

#[async_trait]
impl Codes for CqlStore {
    async fn begin(&self, job: CodeJob) -> Result<CodeJob, StoreError> {
        self.at_desk(async |desk| desk.begin(job).await).await
    }

    async fn job(&self, id: &str) -> Result<Option<CodeJob>, StoreError> {
        Ok(self.inner.db.code_job(id).await?.map(|row| row.job))
    }

    async fn open_jobs(&self, limit: usize) -> Result<Vec<CodeJob>, StoreError> {
        Ok(codes::open_jobs(&*self.inner.db, limit).await?)
    }

    async fn add(&self, job: &str, codes: Vec<NormalCode>) -> Result<Option<CodeJob>, StoreError> {
        self.at_desk(async |desk| desk.add(job, codes).await).await
    }

    async fn cancel(&self, job: &str) -> Result<Option<CodeJob>, StoreError> {
        self.at_desk(async |desk| desk.cancel(job).await).await
    }

    async fn offer_of(&self, code: &NormalCode) -> Result<Option<OfferId>, StoreError> {
        Ok(codes::offer_of(&*self.inner.db, code).await?)
    }

    async fn page(&self, offer: &OfferId, after: Option<&str>, limit: usize) -> Result<CodePage, StoreError> {
        Ok(codes::page(&*self.inner.db, offer, after, limit, self.inner.deadline()).await?)
    }

    async fn jobs(&self, after: Option<&str>, limit: usize) -> Result<Vec<CodeJob>, StoreError> {
        Ok(codes::jobs(&*self.inner.db, after, limit).await?)
    }

    async fn codes_of(&self, job: &str, after: Option<&str>, limit: usize) -> Result<JobCodes, StoreError> {
        Ok(codes::of_job(&*self.inner.db, job, after, limit, self.inner.deadline()).await?)
    }
}

#[async_trait]
impl Counts for CqlStore {
    async fn add_counts(&self, counts: Vec<(BannerId, Day, BannerCounts)>) -> Result<(), StoreError> {
        let mut sums = self.inner.sums.lock().await;
        counts::add(&*self.inner.db, &mut sums, self.inner.owner.member(), counts).await
    }

    async fn counts_of(&self, banner: &BannerId, limit: usize) -> Result<Vec<(Day, BannerCounts)>, StoreError> {
        counts::of(&*self.inner.db, banner, limit).await
    }

    async fn counted(&self, after: Option<&BannerId>, limit: usize) -> Result<Vec<BannerId>, StoreError> {
        counts::counted(&*self.inner.db, after, limit).await
    }
}

#[async_trait]
impl PeriodKeys for CqlStore {
    async fn period_key(&self, until: Timestamp, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        periods::key(&*self.inner.db, self.inner.clock.now(), until, fresh).await
    }

    async fn forget_period_keys(&self, _: Timestamp) -> Result<(), StoreError> {
        // They have a TTL.
        Ok(())
    }
}

#[async_trait]
impl ApiKeys for CqlStore {
    async fn put_api_key(&self, record: ApiKeyRecord) -> Result<(), StoreError> {
        keys::put(&*self.inner.db, self.inner.clock.now(), record).await
    }

    async fn revoke_api_key(&self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        keys::revoke(&*self.inner.db, self.inner.clock.now(), id, at).await
    }

    async fn list_api_keys(&self) -> Result<Vec<ApiKeyRecord>, StoreError> {
        keys::list(&*self.inner.db).await
    }

    async fn api_keys_version(&self) -> Result<u64, StoreError> {
        keys::version(&*self.inner.db).await
    }
}

#[async_trait]
impl Storage for CqlStore {
    fn health(&self) -> Health {
        let owner = &self.inner.owner;
        match owner.serves() {
            Err(StoreError::Unavailable(reason)) if owner.claimed().is_some() || owner.has_ended() => {
                Health::ReadOnly { reason }
            }
            _ => Health::Healthy,
        }
    }

    fn place(&self) -> String {
        format!("{} on {}", self.inner.config.keyspace, self.inner.config.contact_points.join(", "))
    }

    async fn deposed(&self) -> Arc<str> {
        self.inner.owner.deposed().await;
        "another server has claimed the shards".into()
    }

    async fn is_importing(&self) -> Result<bool, StoreError> {
        self.inner.is_importing().await
    }

    async fn set_importing(&self, importing: bool) -> Result<(), StoreError> {
        self.whole(move |inner| async move { inner.set_importing(importing).await }).await
    }

    async fn append_anew(&self, append: Append) -> Result<(), StoreError> {
        self.whole(|inner| async move { inner.append_anew(append).await }).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let closed = self.inner.owner.hand_over().await;
        closed.map_err(|error| StoreError::Unavailable(error.to_string().into()))
    }
}
