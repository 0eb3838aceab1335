//! `adal import FILE`: takes what `adal export` wrote into a store. First the whole file is read and checked, against
//! itself and against what the store has already; only then is anything written. From its first row to its last the store is
//! marked, and served by nobody. It may be cut off and run again: an entity that is whole is left as it is, one of which
//! there is a part is begun anew or gone on with, as the store can.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use adal_actors::{
    ports::{ApiKeyRecord, Append, BannerCounts, CodeJob, JobState, Journal, StoreError, StoredRow, StoredSnapshot},
    replay::Fold,
    row,
};
use adal_domain::{
    entity::{Effect, Entity, EntityKey, EntityKind, ViewWrite},
    ids::{Actor, BannerId, OfferId},
    offers::NormalCode,
    time::{Day, Timestamp},
};
use adal_store::Storage;
use tokio::task::JoinSet;

use super::{
    Failure,
    file::{Frame, Job, Key, Reader, Row, Totals},
};
use crate::cli::kinds::{Visit, of_kind, visit_all};

/// Entities that are written at the same time.
const AT_ONCE: usize = 64;
/// Codes added in one step.
const CODES: usize = 500;

/// Imports `path` into `store`. `looking` is the same store for who only looks: what it reads of an entity does not make that
/// ours, as a read of `store` may.
pub(super) async fn import(store: &Arc<dyn Storage>, looking: &dyn Storage, path: &Path) -> Result<Totals, Failure> {
    let there = check(looking, path).await?;
    if let Some(part) = there.parts.iter().min()
        && !store.is_importing().await?
    {
        let text =
            format!("{part}: the store has a part of it, and no import that was cut off: import into an empty one");
        return Err(Failure::Other(text));
    }
    store.set_importing(true).await?;
    let totals = write(store, looking, path, &there).await?;
    store.set_importing(false).await?;
    Ok(totals)
}

async fn write(store: &Arc<dyn Storage>, looking: &dyn Storage, path: &Path, there: &There) -> Result<Totals, Failure> {
    let mut reader = Reader::open(path)?;
    let progress = Arc::new(Progress { rows: there.totals.rows, done: AtomicU64::new(0) });
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let mut totals = Totals::default();
    let mut entity: Option<Importing> = None;
    let mut job: Option<Codes> = None;
    while let Some(frame) = reader.next()? {
        totals.add(&frame);
        if !matches!(frame, Frame::Rows { .. })
            && let Some(done) = entity.take()
        {
            if tasks.len() >= AT_ONCE {
                joined(&mut tasks).await?;
            }
            let (store, progress) = (Arc::clone(store), Arc::clone(&progress));
            tasks.spawn(async move { done.finish(&*store, &progress).await });
        }
        match frame {
            Frame::Head { .. } => {}
            Frame::Entity { kind, id, rows, snapshot, owed } => {
                let kind = EntityKind::parse(&kind).ok_or_else(|| reader.wrong("an entity of an unknown kind"))?;
                let snapshot =
                    snapshot.map(|found| StoredSnapshot { seq: found.seq, format: found.format, body: found.body });
                let key = EntityKey::new(kind, &id);
                let left = there.of(looking, &key).await?;
                entity = Some(Importing { key, total: rows, snapshot, owed, rows: Vec::new(), left });
            }
            Frame::Rows { rows } => {
                let entity = entity.as_mut().ok_or_else(|| reader.wrong("rows of no entity"))?;
                entity.rows.extend(rows.into_iter().map(stored));
            }
            Frame::Job(begun) => {
                if let Some(job) = job.take() {
                    job.finish(&**store).await?;
                }
                job = Some(Codes::begin(&**store, &begun).await?);
            }
            Frame::Codes { codes } => {
                let job = job.as_mut().ok_or_else(|| reader.wrong("codes of no job"))?;
                job.take(&**store, codes).await?;
            }
            Frame::Counts { counts } => add_counts(&**store, counts).await?,
            Frame::Keys { keys } => put_keys(&**store, keys).await?,
            Frame::End(_) => break,
        }
    }
    if let Some(job) = job.take() {
        job.finish(&**store).await?;
    }
    while !tasks.is_empty() {
        joined(&mut tasks).await?;
    }
    Ok(totals)
}

async fn joined(tasks: &mut JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    match tasks.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(error)) => Err(Failure::Other(format!("an entity could not be imported: {error}"))),
        None => Ok(()),
    }
}

fn stored(row: Row) -> StoredRow {
    StoredRow { seq: row.seq, at: Timestamp(row.at), format: row.format, body: row.body }
}

/// What an import that was cut off has left of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Part,
    Whole,
}

/// How far it is, for who waits.
struct Progress {
    rows: u64,
    done: AtomicU64,
}

impl Progress {
    fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed);
        let tenths = |rows: u64| rows * 10 / self.rows.max(1);
        if tenths(done + 1) > tenths(done) {
            eprintln!("{} of {} rows", done + 1, self.rows);
        }
    }
}

/// An entity of the file.
struct Importing {
    key: EntityKey,
    total: u64,
    snapshot: Option<StoredSnapshot>,
    owed: Vec<(u64, u32)>,
    rows: Vec<StoredRow>,
    left: Left,
}

impl Importing {
    async fn finish(self, store: &dyn Storage, progress: &Progress) -> Result<(), Failure> {
        let key = self.key.clone();
        of_kind(&mut Appending { store, progress, entity: Some(self) }, &key).await
    }
}

/// Writes one entity, whose kind says what follows from its rows.
struct Appending<'a> {
    store: &'a dyn Storage,
    progress: &'a Progress,
    entity: Option<Importing>,
}

impl Visit for Appending<'_> {
    type Stop = Failure;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), Failure> {
        let Some(entity) = self.entity.take() else { return Ok(()) };
        if entity.left == Left::Whole {
            // Whoever opens it writes what may be missing of what follows from its last row.
            Journal::open(self.store, key).await?;
        }
        let mut fold = Fold::<E>::new(&key.id);
        let mut delivered = Vec::new();
        for row in entity.rows {
            let seq = row.seq;
            let mut views: Vec<ViewWrite> = Vec::new();
            let read =
                fold.step(&row, |state, event, index| views.extend(E::views(&key.id, state, event, seq, index)))?;
            // The outbox as it was: what the row owed and is delivered is not owed again.
            let is_owed = |index: u32| entity.owed.contains(&(seq, index));
            let effects: Vec<Effect> = match entity.owed.iter().any(|(of, _)| *of == seq) {
                true => read.effects().cloned().collect(),
                false => Vec::new(),
            };
            let others = (0..).zip(&effects).map(|(index, _)| index).filter(|index| !is_owed(*index));
            delivered.extend(others.map(|index| (key.clone(), seq, index)));
            let wake = if seq == entity.total { E::next_wake(&fold.head.state) } else { None };
            if entity.left != Left::Whole {
                let anew = entity.left == Left::Part && seq == 1;
                append(self.store, Append { entity: key.clone(), row, views, wake, effects }, anew).await?;
            }
            self.progress.one_more();
        }
        if fold.head.seq != entity.total {
            return Err(StoreError::Corrupt(format!("{key}: {} rows of {}", fold.head.seq, entity.total).into()).into());
        }
        if !delivered.is_empty() {
            self.store.delivered(delivered).await?;
        }
        if let Some(snapshot) = entity.snapshot {
            self.store.snapshot(key, snapshot).await?;
        }
        Ok(())
    }
}

/// Appends, where in doubt again.
async fn append(store: &dyn Storage, append: Append, anew: bool) -> Result<(), Failure> {
    loop {
        let appended = match anew {
            true => store.append_anew(append.clone()).await,
            false => store.append(append.clone()).await,
        };
        match appended {
            Ok(()) => return Ok(()),
            Err(StoreError::InDoubt(why)) => tracing::warn!(entity = %append.entity, %why, "in doubt: again"),
            Err(StoreError::Fenced(key)) => {
                return Err(Failure::Other(format!("{key}: the store has another row {}", append.row.seq)));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A job whose codes are being added.
struct Codes {
    id: String,
    /// Those that the store has already.
    skip: u64,
    waiting: Vec<NormalCode>,
    cancelled: bool,
}

impl Codes {
    async fn begin(store: &dyn Storage, job: &Job) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::Other(format!("the job {}: {what}", job.id));
        let wanted = CodeJob {
            id: job.id.clone(),
            offer: OfferId::new(&job.offer).map_err(|_| wrong("its offer is no id"))?,
            prefix: job.prefix.clone(),
            start: job.start,
            count: job.count,
            done: 0,
            state: JobState::Open,
            by: Actor::new(&job.by).map_err(|_| wrong("who asked for it is no name"))?,
            at: Timestamp(job.at),
            print: job.print,
        };
        let there = store.begin(wanted.clone()).await?;
        if (CodeJob { done: 0, state: JobState::Open, ..there.clone() }) != wanted {
            return Err(wrong("the store has another one with its id"));
        }
        let cancelled = job.state == JobState::Cancelled.as_str();
        Ok(Self { id: job.id.clone(), skip: there.done, waiting: Vec::new(), cancelled })
    }

    async fn take(&mut self, store: &dyn Storage, codes: Vec<String>) -> Result<(), Failure> {
        for code in codes {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let normal = NormalCode::new(&code).filter(|normal| normal.as_str() == code);
            self.waiting.push(normal.ok_or_else(|| Failure::Other(format!("the job {}: a code is damaged", self.id)))?);
            if self.waiting.len() == CODES {
                store.add(&self.id, std::mem::take(&mut self.waiting)).await?;
            }
        }
        Ok(())
    }

    async fn finish(self, store: &dyn Storage) -> Result<(), Failure> {
        if !self.waiting.is_empty() {
            store.add(&self.id, self.waiting).await?;
        }
        if self.cancelled {
            store.cancel(&self.id).await?;
        }
        Ok(())
    }
}

/// Counts are sums: what the store has of a day is taken off first.
async fn add_counts(store: &dyn Storage, counts: Vec<(String, i32, u64, u64, u64)>) -> Result<(), Failure> {
    let mut wanted = Vec::with_capacity(counts.len());
    for (banner, day, servings, impressions, clicks) in counts {
        let banner = BannerId::new(&banner).map_err(|_| Failure::Other(format!("{banner:?} is no banner's id")))?;
        let there = store.counts_of(&banner, usize::MAX).await?;
        let there = there.into_iter().find(|(of, _)| of.0 == day).map(|(_, counts)| counts).unwrap_or_default();
        let missing = BannerCounts {
            servings: servings.saturating_sub(there.servings),
            impressions: impressions.saturating_sub(there.impressions),
            clicks: clicks.saturating_sub(there.clicks),
        };
        wanted.push((banner, Day(day), missing));
    }
    Ok(store.add_counts(wanted).await?)
}

/// A key that was revoked in the store stays that: since when, says whoever was first.
async fn put_keys(store: &dyn Storage, keys: Vec<Key>) -> Result<(), Failure> {
    let there = store.list_api_keys().await?.into_iter().map(|key| (key.id.clone(), key));
    let there: HashMap<String, ApiKeyRecord> = there.collect();
    for key in keys {
        let mut wanted = record(key);
        let own = there.get(&wanted.id);
        wanted.revoked_at = own.and_then(|own| own.revoked_at).into_iter().chain(wanted.revoked_at).min();
        if own != Some(&wanted) {
            store.put_api_key(wanted).await?;
        }
    }
    Ok(())
}

fn record(key: Key) -> ApiKeyRecord {
    ApiKeyRecord {
        id: key.id,
        hash: key.hash,
        role: key.role,
        shop: key.shop,
        created_at: Timestamp(key.created_at),
        revoked_at: key.revoked_at.map(Timestamp),
        label: key.label,
    }
}

/// What the store has of the file.
struct There {
    /// It has entities.
    any: bool,
    /// Those of which it has the first rows alone.
    parts: HashSet<EntityKey>,
    /// What is in the file.
    totals: Totals,
}

impl There {
    async fn of(&self, looking: &dyn Storage, key: &EntityKey) -> Result<Left, Failure> {
        if self.parts.contains(key) {
            return Ok(Left::Part);
        }
        let known = self.any && !Journal::rows(looking, key, 1, 1, 1, false).await?.is_empty();
        Ok(if known { Left::Whole } else { Left::Nothing })
    }
}

/// An entity that the store has, as the file goes through it.
struct Compared {
    key: EntityKey,
    /// The store's rows are those of the file no more.
    parted: bool,
}

impl Compared {
    async fn with(&mut self, looking: &dyn Storage, rows: Vec<Row>) -> Result<(), Failure> {
        let (Some(from), Some(to)) = (rows.first().map(|row| row.seq), rows.last().map(|row| row.seq)) else {
            return Ok(());
        };
        let empty = row::empty()?;
        let there = Journal::rows(looking, &self.key, from, to, rows.len(), false).await?;
        let missing = there.len() < rows.len();
        for (row, wanted) in there.into_iter().zip(rows) {
            let seq = row.seq;
            // A row in which nothing was decided is what whoever opened the entity since has put there.
            match row == stored(wanted) {
                true if !self.parted || row.body == empty => {}
                _ if row.body == empty => self.parted = true,
                _ => return Err(Failure::Other(format!("{}: the store has another row {seq}", self.key))),
            }
        }
        self.parted |= missing;
        Ok(())
    }
}

/// Reads the whole file: that it is whole, that it adds up, and that what the store has is the beginning of it.
async fn check(looking: &dyn Storage, path: &Path) -> Result<There, Failure> {
    let mut count = Count(0);
    visit_all(looking, &mut count).await?;
    let mut reader = Reader::open(path)?;
    let (mut totals, mut end, mut first) = (Totals::default(), None, true);
    let (mut entity, mut known, mut parts): (Option<Compared>, u64, _) = (None, 0, HashSet::new());
    while let Some(frame) = reader.next()? {
        if first != matches!(frame, Frame::Head { .. }) || end.is_some() {
            return Err(reader.wrong("frames in a wrong order").into());
        }
        first = false;
        totals.add(&frame);
        match frame {
            Frame::Rows { rows } => {
                if let Some(entity) = &mut entity {
                    entity.with(looking, rows).await?;
                }
                continue;
            }
            _ => parts.extend(entity.take().filter(|entity| entity.parted).map(|entity| entity.key)),
        }
        match frame {
            Frame::Entity { kind, id, .. } => {
                let kind = EntityKind::parse(&kind).ok_or_else(|| reader.wrong("an entity of an unknown kind"))?;
                let key = EntityKey::new(kind, &id);
                if count.0 > 0 && !Journal::rows(looking, &key, 1, 1, 1, false).await?.is_empty() {
                    known += 1;
                    entity = Some(Compared { key, parted: false });
                }
            }
            Frame::End(told) => end = Some(told),
            _ => {}
        }
    }
    match end {
        None => Err(reader.wrong("the file breaks off: finish it with `adal export --resume`").into()),
        Some(told) if told != totals => Err(reader.wrong("the file does not add up: it is damaged").into()),
        Some(_) if known < count.0 => Err(Failure::Other(format!(
            "the store has {} entities that the file does not have: import into one that is empty",
            count.0 - known
        ))),
        Some(_) => Ok(There { any: count.0 > 0, parts, totals }),
    }
}

/// How many entities there are.
struct Count(u64);

impl Visit for Count {
    type Stop = Failure;

    async fn entity<E: Entity>(&mut self, _: &EntityKey) -> Result<(), Failure> {
        self.0 += 1;
        Ok(())
    }
}
