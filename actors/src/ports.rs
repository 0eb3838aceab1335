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
//! - rows of an entity have seq 1, 2, 3 ... without a gap. Where several servers share a store it may itself put a row
//!   among them in which nothing was decided (`row::empty`), when an entity gets another owner.
//! - views, timer and outbox of a row are durable when the row is.

use std::{sync::Arc, time::Duration};

use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View, ViewWrite},
    ids::{Actor, BannerId, OfferId},
    offers::NormalCode,
    time::{Day, Timestamp},
};
use async_trait::async_trait;
use tokio::sync::Notify;

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
    /// exist). Sources stand in any fixed order.
    async fn owed(&self, after: Option<(EntityKey, u64, u32)>, limit: usize) -> Result<Vec<OwedEffect>, StoreError>;
    /// Effects that one source owes and are not yet delivered, in order of seq and index, at most `limit`. Asked for each
    /// source that owes something, so it costs what that one owes, however much others do.
    async fn owed_by(&self, source: &EntityKey, limit: usize) -> Result<Vec<OwedEffect>, StoreError>;
    /// The target has them durably: they leave the outbox.
    async fn delivered(&self, effects: Vec<(EntityKey, u64, u32)>) -> Result<(), StoreError>;
    /// Entities whose wake time is not later than `until`, earliest first, at most `limit`. A timer stays until an
    /// append of its entity replaces it.
    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, EntityKey)>, StoreError>;
    /// Entities of a kind that have rows, by id, after `after`, at most `limit`.
    async fn entities(&self, kind: EntityKind, after: Option<&str>, limit: usize)
    -> Result<Vec<EntityKey>, StoreError>;
    /// Whether what was published may be shown, and commands be taken: `Err` says why not. A store that several servers
    /// share refuses where it has not lately seen that its entities are still this server's; no wait, no I/O.
    fn serves(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Told whenever more may be owed than the loop knows of, so that the outbox is to be looked at now: another server's
    /// entities were taken over, say. `None` where that does not happen.
    fn owes_more(&self) -> Option<Arc<Notify>> {
        None
    }
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

/// Whether a job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It waits or is at work.
    Open,
    /// All is made.
    Done,
    /// Somebody stopped it; what was made stays.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Open, Self::Done, Self::Cancelled];

    /// The text under which it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job that makes unique codes of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeJob {
    /// Its id, which whoever asks for it makes: a repeat of the request finds the job.
    pub id: String,
    /// The offer.
    pub offer: OfferId,
    /// What stands before each code, as it was typed.
    pub prefix: String,
    /// The first stretch of its codes (see `catalogue::codes`).
    pub start: u64,
    /// How many are to be made.
    pub count: u64,
    /// How many are made.
    pub done: u64,
    /// Whether it goes on.
    pub state: JobState,
    /// Who asked for it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// The print of the request: the same id with another is another request.
    pub print: [u8; 16],
}

/// A page of an offer's unique codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodePage {
    /// In their normal form, by it, each with its job's prefix.
    pub codes: Vec<(String, Arc<str>)>,
    /// Where the next page begins; `None`: this is the last. A page may be short, even empty, and not be the last.
    pub next: Option<String>,
}

/// A page of a job's unique codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobCodes {
    /// In their normal form, by it.
    pub codes: Vec<String>,
    /// Where the next page begins; `None`: this is the last. A page may be short, even empty, and not be the last.
    pub next: Option<String>,
}

/// Unique codes, and the jobs that make them. They stand beside the journal: each is a line and not an entity until it
/// is used. None is ever changed or removed; whose offer is deleted apply to nothing.
///
/// - a code belongs to one offer: one that is there already is left out of what is added.
/// - what is answered is durable.
#[async_trait]
pub trait Codes: Send + Sync + 'static {
    /// Keeps a new job, and answers it; where there is one with its id, that one as it is.
    async fn begin(&self, job: CodeJob) -> Result<CodeJob, StoreError>;
    /// A job.
    async fn job(&self, id: &str) -> Result<Option<CodeJob>, StoreError>;
    /// Open jobs, oldest first, at most `limit`.
    async fn open_jobs(&self, limit: usize) -> Result<Vec<CodeJob>, StoreError>;
    /// Adds codes (in their normal form) to an open job, in one step with its `done`, which never passes `count`: what is
    /// too many is left out. The job is done when nothing is left to make. Answers the job; where it is not open, as it
    /// is, and nothing is added.
    async fn add(&self, job: &str, codes: Vec<NormalCode>) -> Result<Option<CodeJob>, StoreError>;
    /// Stops an open job, and answers it as it is then; what was made stays.
    async fn cancel(&self, job: &str) -> Result<Option<CodeJob>, StoreError>;
    /// The offer that a code belongs to: one read of one line.
    async fn offer_of(&self, code: &NormalCode) -> Result<Option<OfferId>, StoreError>;
    /// The codes of an offer after `after`, by their normal form, at most `limit`.
    async fn page(&self, offer: &OfferId, after: Option<&str>, limit: usize) -> Result<CodePage, StoreError>;
    /// All jobs, by id, after `after`, at most `limit`: for tools.
    async fn jobs(&self, after: Option<&str>, limit: usize) -> Result<Vec<CodeJob>, StoreError>;
    /// The codes of a job after `after`, by their normal form, at most `limit`: for tools.
    async fn codes_of(&self, job: &str, after: Option<&str>, limit: usize) -> Result<JobCodes, StoreError>;
}

/// What was counted of a banner on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BannerCounts {
    /// How often it was in an answer.
    pub servings: u64,
    /// How often it was seen, by what apps say.
    pub impressions: u64,
    /// How often it was clicked, by what apps say.
    pub clicks: u64,
}

/// What was counted of banners, by day. Sums that are added to: not derived from the journal, and not exact across a
/// crash (who counts adds every few seconds).
#[async_trait]
pub trait Counts: Send + Sync + 'static {
    /// Adds to days of banners, all or none.
    async fn add_counts(&self, counts: Vec<(BannerId, Day, BannerCounts)>) -> Result<(), StoreError>;
    /// The days of a banner, newest first, at most `limit`.
    async fn counts_of(&self, banner: &BannerId, limit: usize) -> Result<Vec<(Day, BannerCounts)>, StoreError>;
    /// Banners of which something was counted, by id, after `after`, at most `limit`: for tools.
    async fn counted(&self, after: Option<&BannerId>, limit: usize) -> Result<Vec<BannerId>, StoreError>;
}

/// Seconds that the secret of a period is kept after its end: whoever's clock is not quite right still finds it.
pub const PERIOD_KEY_KEPT_S: i64 = 3600;

/// The secrets under which addresses are hashed while a period lasts. They stand beside the journal, in no export of it,
/// and are gone when their period is: what was counted in it is nobody's then.
#[async_trait]
pub trait PeriodKeys: Send + Sync + 'static {
    /// The secret of the period that ends at `until`, the same for all who ask; where there is none, `fresh` is kept and is
    /// it from then on. What is answered is durable.
    async fn period_key(&self, until: Timestamp, fresh: [u8; 32]) -> Result<[u8; 32], StoreError>;
    /// Forgets the secrets of periods that ended before `before`, so that nobody can read them any more. (A store that
    /// forgets by itself, [`PERIOD_KEY_KEPT_S`] after a period's end, does nothing.)
    async fn forget_period_keys(&self, before: Timestamp) -> Result<(), StoreError>;
}

/// An API key, as stored: known by its hash alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Its name in lists and in logs; unique.
    pub id: String,
    /// The hash of the key.
    pub hash: [u8; 32],
    /// What it may do: a role's name, as the edge knows it.
    pub role: String,
    /// The shop that it is bound to; `None`: any.
    pub shop: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it counts no more; `None`: it counts.
    pub revoked_at: Option<Timestamp>,
    /// What a person wrote to tell it from others.
    pub label: Option<String>,
}

/// API keys. They stand beside the journal and are not derived from it, so that no rebuild touches them; what is
/// answered is durable. `InDoubt` where it is not known whether something was written: repeat it.
#[async_trait]
pub trait ApiKeys: Send + Sync + 'static {
    /// Stores a key, or replaces the one with its id.
    async fn put_api_key(&self, record: ApiKeyRecord) -> Result<(), StoreError>;
    /// Revokes the key `id` as of `at`; the first revocation counts. False where there is no such key.
    async fn revoke_api_key(&self, id: &str, at: Timestamp) -> Result<bool, StoreError>;
    /// Every key, revoked ones included, by id.
    async fn list_api_keys(&self) -> Result<Vec<ApiKeyRecord>, StoreError>;
    /// A number that is another one after every change to a key, made here or by another process. One small read: poll
    /// it, and list the keys when it has changed.
    async fn api_keys_version(&self) -> Result<u64, StoreError>;
    /// The keys and their version, if it is not `seen` any more.
    async fn api_keys_changed_since(&self, seen: u64) -> Result<Option<(u64, Vec<ApiKeyRecord>)>, StoreError> {
        // The version first: a change between the two reads is then seen again by the next poll, and never missed.
        let version = self.api_keys_version().await?;
        if version == seen {
            return Ok(None);
        }
        Ok(Some((version, self.list_api_keys().await?)))
    }
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
