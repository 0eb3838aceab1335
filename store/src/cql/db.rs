//! What the protocol asks of a database: one method per statement, plain types, and nothing that knows of a protocol.
//!
//! Implemented by the driver, and by a model in memory whose statements end as a script says. What is above this trait
//! never knows which, and must be right for any order and outcome that is written here:
//!
//! - **Consistency** is LOCAL_QUORUM for every read and write, unless a method says otherwise: a read that begins after a
//!   write has ended sees it. While a write has not ended, or ended as [`Failed::Unknown`], one read may see it and the
//!   next not, for ever or until it is repeated with success.
//! - **Repeats**: every write but the two conditional ones is idempotent, with the same arguments: the driver may repeat
//!   it, or send it twice at once. It must never repeat a conditional one.
//! - **Stamps**: a write that takes a `stamp` is done `USING TIMESTAMP stamp`: of two writes of a cell the greater stamp
//!   counts, whichever arrives last; of a deletion and a write with the same stamp, the deletion. The driver's own time
//!   never decides.
//! - **Time**: each method ends within the request's time-out, however the server fares. It is not to be dropped
//!   before: the statement may still be done, and who dropped it would not know.
//! - **Pages**: lists are in the order of their keys, at most `limit` of them; fewer means that there are no more, except
//!   where a [`Cursor`] says so.

use std::sync::Arc;

use adal_actors::ports::{ApiKeyRecord, BannerCounts, CodeJob};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View},
    time::{Day, Timestamp},
};
use async_trait::async_trait;

/// Why a statement did not succeed. Each says why, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It may have been done, or may yet be done, or never: a time-out, a connection that broke.
    #[error("the outcome is not known: {0}")]
    Unknown(Arc<str>),
    /// It was not done and never will be: it was not sent, or every server that had a say refused it.
    #[error("not done: {0}")]
    NotDone(Arc<str>),
    /// It was done, and what it found has no sense: a column of another type, a text that names no kind.
    #[error("what is stored cannot be read: {0}")]
    Unreadable(Arc<str>),
}

/// Where a row stands in its partition: by `seq`, then `epoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Its number: 1, 2, 3 ...; several rows may have the same.
    pub seq: u64,
    /// Under which claim of its shard it was written.
    pub epoch: u64,
}

impl Place {
    /// Before every row.
    pub const FIRST: Self = Self { seq: 0, epoch: 0 };
    /// After every row. As large as a `bigint`.
    pub const LAST: Self = Self { seq: i64::MAX as u64, epoch: i64::MAX as u64 };
}

/// A row of `journal`, but for whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Where it stands.
    pub place: Place,
    /// The epoch of the row before it (seq - 1) in its history; 0 for the first.
    pub parent_epoch: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Format of the body.
    pub format: u16,
    /// The body.
    pub body: Vec<u8>,
    /// The ten minutes in which it is listed in `recent`, and its effects in `outbox`.
    pub bucket: u32,
    /// When its entity next wants to be woken.
    pub wake: Option<Timestamp>,
    /// What follows from it (views, effects); `None`: nothing.
    pub derived: Option<Vec<u8>>,
}

/// A row of `journal` without what is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Where it stands.
    pub place: Place,
    /// As in [`JournalRow`].
    pub parent_epoch: u64,
    /// As in [`JournalRow`].
    pub at: Timestamp,
    /// As in [`JournalRow`].
    pub bucket: u32,
}

/// Rows of one partition: those after `after` and before `before`, neither included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Not this one.
    pub after: Place,
    /// Not this one.
    pub before: Place,
    /// Greatest first.
    pub descending: bool,
    /// So many at most.
    pub limit: usize,
}

/// A row of `snapshot`, but for whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// The last row that is in it.
    pub place: Place,
    /// Format of the body.
    pub format: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// The row of `cluster`. Its blobs are the protocol's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRow {
    /// Rises with every change.
    pub version: u64,
    /// Who the members are.
    pub members: Vec<u8>,
    /// Whose each shard is.
    pub owners: Vec<u8>,
}

/// A row of `member_beat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// A member's id.
    pub member: String,
    /// Rises while it lives.
    pub beat: u64,
    /// The machine's time then, for people.
    pub at: Timestamp,
}

/// A row of `watermark`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The shard.
    pub shard: u16,
    /// Under which claim it was written.
    pub epoch: u64,
    /// What follows from rows of earlier buckets is written.
    pub done_bucket: u32,
    /// No row is of a later bucket.
    pub highest_bucket: u32,
}

/// Which partition of a queue-like table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// Which 64th of all entities.
    pub slice: u8,
    /// Which ten minutes.
    pub bucket: u32,
}

/// A row of `timer`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerRow {
    /// When it is due.
    pub wake: Timestamp,
    /// Whose it is.
    pub entity: EntityKey,
}

/// The place of an effect in `outbox`, in its order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxPlace {
    /// Who owes it. Ordered by the text of the kind, then the id.
    pub source: EntityKey,
    /// The row that owes it.
    pub seq: u64,
    /// Its index in the row.
    pub index: u32,
}

/// A row of `outbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Where it stands.
    pub place: OutboxPlace,
    /// What is owed.
    pub effect: Effect,
}

/// A row of `view_row` or `view_list`, but for the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewEntry {
    /// The key.
    pub key: String,
    /// The filter.
    pub filter: String,
    /// The entity that wrote it.
    pub entity: EntityKey,
    /// The row of it that did.
    pub seq: u64,
    /// MessagePack.
    pub value: Vec<u8>,
}

/// A row of `view_row`, and the stamp under which it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampedView {
    /// The view.
    pub view: View,
    /// The row.
    pub entry: ViewEntry,
    /// Its stamp.
    pub stamp: i64,
}

/// A table whose rows may be written together with those of other partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// By kind and id of an entity.
    Journal,
    /// By name of a view and key.
    ViewRow,
}

/// Which partition of `view_list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPart<'a> {
    /// The view.
    pub view: View,
    /// The rows with this filter; `None`: all of them. (Stored apart: no text of a filter may mean "all".)
    pub filter: Option<&'a str>,
    /// Which 64th of all entities.
    pub slice: u8,
}

/// A row of `view_list`, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListLine {
    /// The view.
    pub view: View,
    /// As in [`ListPart`].
    pub filter: Option<String>,
    /// As in [`ListPart`].
    pub slice: u8,
    /// The row.
    pub entry: ViewEntry,
}

/// Where a scan over partitions goes on. Only the implementation knows what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// A part of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned<T> {
    /// What was found; may be empty though there is more.
    pub found: Vec<T>,
    /// Where it goes on; `None`: that was all.
    pub next: Option<Cursor>,
}

/// A row of `code_job`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeJobRow {
    /// The job.
    pub job: CodeJob,
    /// Codes that are being added (MessagePack of the protocol's own); `None`: none are.
    pub pending: Option<Vec<u8>>,
}

/// A row of `banner_count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountRow {
    /// The day.
    pub day: Day,
    /// The process that counted.
    pub member: String,
    /// All that it counted of that day.
    pub counts: BannerCounts,
}

/// A row of `api_key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The key.
    pub record: ApiKeyRecord,
    /// The stamp it was written with: the next one's has to be greater.
    pub stamp: i64,
}

type Done = Result<(), Failed>;

/// See the module. Of a method that takes `keys` of an entity, shard, slice and bucket are what the caller worked out.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// The datacentre whose replicas a quorum is of, where there are such.
    fn datacenter(&self) -> Option<&str> {
        None
    }

    /// Which nodes a partition lies on, as a number: rows that share it may be written in one statement and cost a cluster
    /// no more than each alone. (Its key is two texts in every [`Table`].) A guess is good enough.
    fn home(&self, table: Table, first: &str, second: &str) -> u64;

    // --- cluster: the only conditional writes -------------------------------------------------------------------

    /// `SELECT * FROM cluster WHERE name = 'adal'`. `None`: nobody ever claimed anything.
    async fn cluster(&self) -> Result<Option<ClusterRow>, Failed>;
    /// The same at LOCAL_SERIAL: finishes a conditional write that was left half done, so that what it answers stands.
    async fn cluster_settled(&self) -> Result<Option<ClusterRow>, Failed>;
    /// `SELECT version ..`: the verifying read, and by far the most frequent one. Must be begun after it was asked for:
    /// never answered from a cache, never shared with a read that is under way. No speculative execution is wrong here.
    async fn cluster_version(&self) -> Result<Option<u64>, Failed>;
    /// `INSERT .. IF NOT EXISTS`, serial LOCAL_SERIAL. `false`: there is a row. Never repeated by the driver.
    async fn create_cluster(&self, row: &ClusterRow) -> Result<bool, Failed>;
    /// `UPDATE .. SET version = row.version, .. IF version = from`, serial LOCAL_SERIAL. `false`: it is of another
    /// version. Never repeated by the driver: applied and timed out, the repeat would say `false`.
    async fn change_cluster(&self, from: u64, row: &ClusterRow) -> Result<bool, Failed>;

    /// Upsert, stamp = `beat.beat`.
    async fn put_beat(&self, beat: &Beat) -> Done;
    /// Every member's (a few; those of long ago are deleted).
    async fn beats(&self) -> Result<Vec<Beat>, Failed>;
    /// Removes a member's beats up to this one, stamp = `beat`: a later one is there again.
    async fn delete_beat(&self, member: &str, beat: u64) -> Done;

    // --- journal ------------------------------------------------------------------------------------------------

    /// Inserts a row. The caller never gives another content for the same place.
    async fn insert_row(&self, entity: &EntityKey, row: &JournalRow) -> Done;
    /// Inserts rows in one batch. Of one entity all are seen or none; of several the rows of any may be done where those of
    /// another are not, and [`Failed::NotDone`] says that none was.
    async fn insert_rows(&self, rows: &[(EntityKey, JournalRow)]) -> Done;
    /// Rows of a stretch, whole. The caller bounds `limit` by what it can hold.
    async fn rows(&self, entity: &EntityKey, stretch: Stretch) -> Result<Vec<JournalRow>, Failed>;
    /// Rows of a stretch without bodies.
    async fn links(&self, entity: &EntityKey, stretch: Stretch) -> Result<Vec<Link>, Failed>;

    /// Inserts a snapshot. Two of the same place may differ in bytes, and are worth the same.
    async fn put_snapshot(&self, entity: &EntityKey, snapshot: &SnapshotRow) -> Done;
    /// The snapshots with the greatest seq (then epoch), greatest first.
    async fn snapshots(&self, entity: &EntityKey, limit: usize) -> Result<Vec<SnapshotRow>, Failed>;
    /// Deletes those with a smaller seq than `below`, which never come again.
    async fn delete_snapshots(&self, entity: &EntityKey, below: u64) -> Done;

    /// Upsert into `entity`. Never deleted.
    async fn list_entity(&self, slice: u8, entity: &EntityKey) -> Done;
    /// Entities of a kind and slice, by the bytes of their ids, after `after`.
    async fn entities(
        &self,
        kind: EntityKind,
        slice: u8,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, Failed>;

    // --- what a take-over looks at ------------------------------------------------------------------------------

    /// Upsert into `recent`.
    async fn put_recent(&self, shard: u16, bucket: u32, entity: &EntityKey, stamp: i64) -> Done;
    /// Entities of a partition, by (text of the kind, id), after `after`.
    async fn recent(
        &self,
        shard: u16,
        bucket: u32,
        after: Option<&EntityKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, Failed>;
    /// Deletes the partition, as of `stamp`.
    async fn drop_recent(&self, shard: u16, bucket: u32, stamp: i64) -> Done;

    /// Upsert, stamp = `done_bucket + highest_bucket` (neither ever shrinks within an epoch).
    async fn put_watermark(&self, mark: &Watermark) -> Done;
    /// A shard's, the newest epoch first.
    async fn watermarks(&self, shard: u16, limit: usize) -> Result<Vec<Watermark>, Failed>;
    /// Deletes those of epochs before `epoch`, which never come again.
    async fn delete_watermarks(&self, shard: u16, epoch: u64) -> Done;

    // --- timers -------------------------------------------------------------------------------------------------

    /// Upsert.
    async fn put_timer(&self, queue: Queue, timer: &TimerRow, stamp: i64) -> Done;
    /// Deletes a row.
    async fn delete_timer(&self, queue: Queue, timer: &TimerRow, stamp: i64) -> Done;
    /// Rows with `wake` not later than `until`, by (wake, text of the kind, id), after `after`.
    async fn timers(
        &self,
        queue: Queue,
        after: Option<&TimerRow>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<TimerRow>, Failed>;
    /// Upsert into `timer_bucket`: written before the first row of the partition.
    async fn put_timer_bucket(&self, queue: Queue, stamp: i64) -> Done;
    /// The buckets of a slice that may have rows, ascending, after `after` and not later than `until`.
    async fn timer_buckets(&self, slice: u8, after: Option<u32>, until: u32, limit: usize) -> Result<Vec<u32>, Failed>;
    /// Deletes the partition, then its row in `timer_bucket`, as of `stamp`.
    async fn drop_timer_bucket(&self, queue: Queue, stamp: i64) -> Done;

    // --- outbox -------------------------------------------------------------------------------------------------

    /// Upserts, in one batch where the partition is one.
    async fn put_outbox(&self, queue: Queue, rows: &[OutboxRow], stamp: i64) -> Done;
    /// Deletes rows.
    async fn delete_outbox(&self, queue: Queue, places: &[OutboxPlace], stamp: i64) -> Done;
    /// Rows of a partition in order, after `after`.
    async fn outbox(&self, queue: Queue, after: Option<&OutboxPlace>, limit: usize) -> Result<Vec<OutboxRow>, Failed>;
    /// Rows of a partition that are of the source of `after`, in order, after it.
    async fn outbox_of(&self, queue: Queue, after: &OutboxPlace, limit: usize) -> Result<Vec<OutboxRow>, Failed>;
    /// As for timers.
    async fn put_outbox_bucket(&self, queue: Queue, stamp: i64) -> Done;
    /// As for timers, of all times.
    async fn outbox_buckets(&self, slice: u8, after: Option<u32>, limit: usize) -> Result<Vec<u32>, Failed>;
    /// As for timers.
    async fn drop_outbox_bucket(&self, queue: Queue, stamp: i64) -> Done;

    // --- views --------------------------------------------------------------------------------------------------

    /// Upserts into `view_row`, in few statements: some may be seen before others, and after a failure any may be done.
    async fn put_views(&self, rows: &[StampedView]) -> Done;
    /// Deletes from `view_row`.
    async fn delete_view(&self, view: View, key: &str, stamp: i64) -> Done;
    /// One row.
    async fn view(&self, view: View, key: &str) -> Result<Option<ViewEntry>, Failed>;
    /// Those of these keys (100 at most) that there are, in any order.
    async fn views(&self, view: View, keys: &[&str]) -> Result<Vec<ViewEntry>, Failed>;
    /// Rows of `view_row` of any view, in any fixed order, about `limit` at a time. For tools.
    async fn scan_views(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Scanned<(View, ViewEntry)>, Failed>;
    /// The same of `view_list`, of all partitions.
    async fn scan_view_lists(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Scanned<ListLine>, Failed>;
    /// Upsert into `view_list`.
    async fn put_view_list(&self, part: ListPart<'_>, entry: &ViewEntry, stamp: i64) -> Done;
    /// Deletes from `view_list`.
    async fn delete_view_list(&self, part: ListPart<'_>, key: &str, stamp: i64) -> Done;
    /// Rows of a partition by key, descending, those before `before`.
    async fn view_list(&self, part: ListPart<'_>, before: Option<&str>, limit: usize)
    -> Result<Vec<ViewEntry>, Failed>;

    // --- unique codes -------------------------------------------------------------------------------------------

    /// Upserts into `code`: each code is the job's.
    async fn put_codes(&self, codes: &[String], job: &str, stamp: i64) -> Done;
    /// The job that a code is of.
    async fn code(&self, code: &str) -> Result<Option<String>, Failed>;
    /// The same for several, in their order.
    async fn codes(&self, codes: &[String]) -> Result<Vec<Option<String>>, Failed>;
    /// Upserts into `code_of_job`, partition (job, chunk).
    async fn put_codes_of_job(&self, job: &str, chunk: u32, codes: &[String]) -> Done;
    /// Codes of a partition, by their bytes, after `after`.
    async fn codes_of_job(
        &self,
        job: &str,
        chunk: u32,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Failed>;
    /// Upsert into `code_job`, all columns.
    async fn put_code_job(&self, row: &CodeJobRow, stamp: i64) -> Done;
    /// One job.
    async fn code_job(&self, id: &str) -> Result<Option<CodeJobRow>, Failed>;
    /// The ids of all jobs, in any order. For tools.
    async fn all_jobs(&self) -> Result<Vec<String>, Failed>;
    /// Upsert into `offer_job`.
    async fn put_offer_job(&self, offer: &str, job: &str) -> Done;
    /// The jobs of an offer.
    async fn offer_jobs(&self, offer: &str) -> Result<Vec<String>, Failed>;
    /// Upsert into `open_job`.
    async fn put_open_job(&self, at: Timestamp, job: &str, stamp: i64) -> Done;
    /// Deletes from `open_job`.
    async fn delete_open_job(&self, at: Timestamp, job: &str, stamp: i64) -> Done;
    /// (at, job) of open jobs in that order.
    async fn open_jobs(&self, limit: usize) -> Result<Vec<(Timestamp, String)>, Failed>;

    // --- counts, keys, meta -------------------------------------------------------------------------------------

    /// Upsert into `banner_count`.
    async fn put_count(&self, banner: &str, row: &CountRow, stamp: i64) -> Done;
    /// Rows of a banner, by day (newest first) and member, of days before `before`.
    async fn counts(&self, banner: &str, before: Option<Day>, limit: usize) -> Result<Vec<CountRow>, Failed>;
    /// Every banner that has rows, in any order. For tools.
    async fn counted(&self) -> Result<Vec<String>, Failed>;

    /// Upsert into `api_key`, stamp = `row.stamp`.
    async fn put_key(&self, row: &KeyRow) -> Done;
    /// One key.
    async fn key(&self, id: &str) -> Result<Option<KeyRow>, Failed>;
    /// Every key, by id (some hundreds).
    async fn keys(&self) -> Result<Vec<KeyRow>, Failed>;

    /// `INSERT INTO period_key .. IF NOT EXISTS USING TTL`, serial LOCAL_SERIAL. `false`: there is one. Never repeated by the
    /// driver.
    async fn create_period_key(&self, until: Timestamp, secret: &[u8; 32], ttl_s: i32) -> Result<bool, Failed>;
    /// The secret of a period.
    async fn period_key(&self, until: Timestamp) -> Result<Option<[u8; 32]>, Failed>;

    /// A value of `meta`.
    async fn meta(&self, name: &str) -> Result<Option<i64>, Failed>;
    /// Upsert into `meta`, stamp = the value: it only ever grows.
    async fn put_meta(&self, name: &str, value: i64) -> Done;
}
