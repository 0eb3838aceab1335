//! `adal import FILE`: takes what `adal export` wrote into a store. First the whole file is read and checked, against
//! itself and against what the store has already; only then is anything written. It may be cut off and run again: what
//! is there already is left as it is.

use std::{path::Path, sync::Arc};

use adal_actors::{
    ports::{ApiKeyRecord, Append, BannerCounts, CodeJob, JobState, Journal, StoreError, StoredRow, StoredSnapshot},
    replay::Fold,
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

/// Imports `path` into `store`.
pub(super) async fn import(store: &Arc<dyn Storage>, path: &Path) -> Result<Totals, Failure> {
    check(&**store, path).await?;
    let mut reader = Reader::open(path)?;
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
            let store = Arc::clone(store);
            tasks.spawn(async move { done.finish(&*store).await });
        }
        match frame {
            Frame::Head { .. } => {}
            Frame::Entity { kind, id, rows, snapshot, owed } => {
                let kind = EntityKind::parse(&kind).ok_or_else(|| reader.wrong("an entity of an unknown kind"))?;
                let snapshot =
                    snapshot.map(|found| StoredSnapshot { seq: found.seq, format: found.format, body: found.body });
                entity =
                    Some(Importing { key: EntityKey::new(kind, &id), total: rows, snapshot, owed, rows: Vec::new() });
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
            Frame::Keys { keys } => {
                for key in keys {
                    store.put_api_key(record(key)).await?;
                }
            }
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

/// An entity of the file.
struct Importing {
    key: EntityKey,
    total: u64,
    snapshot: Option<StoredSnapshot>,
    owed: Vec<(u64, u32)>,
    rows: Vec<StoredRow>,
}

impl Importing {
    async fn finish(self, store: &dyn Storage) -> Result<(), Failure> {
        let key = self.key.clone();
        of_kind(&mut Appending { store, entity: Some(self) }, &key).await
    }
}

/// Writes one entity, whose kind says what follows from its rows.
struct Appending<'a> {
    store: &'a dyn Storage,
    entity: Option<Importing>,
}

impl Visit for Appending<'_> {
    type Stop = Failure;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), Failure> {
        let Some(entity) = self.entity.take() else { return Ok(()) };
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
            append(self.store, Append { entity: key.clone(), row, views, wake, effects }).await?;
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
async fn append(store: &dyn Storage, append: Append) -> Result<(), Failure> {
    loop {
        match store.append(append.clone()).await {
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

/// Reads the whole file: that it is whole, that it adds up, and that what the store has is the beginning of it.
async fn check(store: &dyn Storage, path: &Path) -> Result<(), Failure> {
    let mut count = Count(0);
    visit_all(store, &mut count).await?;
    let mut reader = Reader::open(path)?;
    let (mut totals, mut end, mut first) = (Totals::default(), None, true);
    let (mut entity, mut known): (Option<EntityKey>, u64) = (None, 0);
    while let Some(frame) = reader.next()? {
        if first != matches!(frame, Frame::Head { .. }) || end.is_some() {
            return Err(reader.wrong("frames in a wrong order").into());
        }
        first = false;
        totals.add(&frame);
        match frame {
            Frame::Entity { kind, id, .. } => {
                let kind = EntityKind::parse(&kind).ok_or_else(|| reader.wrong("an entity of an unknown kind"))?;
                let key = EntityKey::new(kind, &id);
                entity = None;
                if count.0 > 0 && !Journal::rows(store, &key, 1, 1, 1, false).await?.is_empty() {
                    known += 1;
                    entity = Some(key);
                }
            }
            Frame::Rows { rows } => {
                if let (Some(key), Some(from), Some(to)) = (&entity, rows.first(), rows.last()) {
                    let there = Journal::rows(store, key, from.seq, to.seq, rows.len(), false).await?;
                    if let Some((row, _)) = there.iter().zip(rows).find(|(a, b)| **a != stored((*b).clone())) {
                        return Err(Failure::Other(format!("{key}: the store has another row {}", row.seq)));
                    }
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
        Some(_) => Ok(()),
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
