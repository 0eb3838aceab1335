//! `adal export FILE`: everything that a store holds, as one file that any store takes.

use std::path::Path;

use adal_actors::{
    ports::{Clock, CodeJob, Journal, StoreError},
    row,
};
use adal_domain::entity::{Entity, EntityKey, EntityKind};
use adal_store::Storage;

use super::{
    Failure,
    file::{FORMAT, Frame, Job, Key, Reader, Row, Snapshot, Totals, Writer},
};
use crate::{
    cli::kinds::{Visit, visit_all},
    clock::SystemClock,
};

/// Rows and bytes of them in a frame; codes, jobs and banners read at a time.
const ROWS: usize = 512;
const FRAME_BYTES: usize = 4 << 20;
const PAGE: usize = 1000;
/// Effects that one entity may owe. One of which more are stuck has something else to be mended first.
const MAX_OWED: usize = 100_000;

/// Writes all of `store` to `path`; with `resume`, goes on with a file whose export was cut off.
pub(super) async fn export(store: &dyn Storage, path: &Path, resume: bool) -> Result<Totals, Failure> {
    let (writer, begun) = match resume && path.exists() {
        true => begun(path)?,
        false => {
            let mut writer = Writer::create(path)?;
            writer.write(&Frame::Head {
                format: FORMAT,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                made_at: SystemClock.now().0,
                place: store.place(),
            })?;
            (writer, None)
        }
    };
    let mut export = Export { store, writer, begun };
    visit_all(store, &mut export).await?;
    if let Some(Begun { last, .. }) = export.begun {
        return Err(Failure::Other(format!("{}: it ends with {last}, which this store does not have", path.display())));
    }
    let Export { mut writer, .. } = export;
    codes(store, &mut writer).await?;
    counts(store, &mut writer).await?;
    keys(store, &mut writer).await?;
    Ok(writer.finish()?)
}

struct Export<'a> {
    store: &'a dyn Storage,
    writer: Writer,
    /// The entities that the file has already: they are passed over.
    begun: Option<Begun>,
}

/// The whole entities of a file whose export was cut off, read once more beside those of the store.
struct Begun {
    reader: Reader,
    last: EntityKey,
}

impl Begun {
    /// Whether the store has of the file's next entity what the file has of it: a server that ran since then may have
    /// written, and what entities owe each other must be of one moment.
    async fn passes<E: Entity>(&mut self, store: &dyn Storage, key: &EntityKey) -> Result<(), Failure> {
        let rows = loop {
            match self.reader.next()? {
                Some(Frame::Entity { kind, id, rows, .. }) if kind == key.kind.as_str() && *id == *key.id => {
                    break rows;
                }
                Some(Frame::Entity { kind, id, .. }) => {
                    let text = format!("the file goes on with {kind}/{id}, the store with {key}: export it anew");
                    return Err(Failure::Other(text));
                }
                Some(_) => {}
                None => return Err(self.reader.wrong("it breaks off").into()),
            }
        };
        let mut next = rows + 1;
        loop {
            let page = Journal::rows(store, key, next, u64::MAX, ROWS, false).await?;
            for row in &page {
                // Whoever opens an entity of another owner's adds an empty one: this export does.
                if !row::decode::<E>(row)?.commands.is_empty() {
                    return Err(Failure::Other(format!("{key} has changed since the export began: export it anew")));
                }
                next = row.seq + 1;
            }
            if page.len() < ROWS {
                return Ok(());
            }
        }
    }
}

impl Visit for Export<'_> {
    type Stop = Failure;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), Failure> {
        if let Some(begun) = &mut self.begun {
            begun.passes::<E>(self.store, key).await?;
            if begun.last == *key {
                self.begun = None;
            }
            return Ok(());
        }
        // Opened first: whoever opens what an earlier owner left unfinished writes what is missing of what it owes.
        let snapshot = Journal::open(self.store, key).await?.snapshot;
        let last = Journal::rows(self.store, key, 1, u64::MAX, 1, true).await?;
        let Some(last) = last.first().map(|row| row.seq) else { return Ok(()) };
        let owed = owed(self.store, key).await?;
        self.writer.write(&Frame::Entity {
            kind: key.kind.as_str().to_owned(),
            id: key.id.to_string(),
            rows: last,
            snapshot: snapshot.map(|snapshot| Snapshot {
                seq: snapshot.seq,
                format: snapshot.format,
                body: snapshot.body,
            }),
            owed,
        })?;
        let mut next = 1;
        while next <= last {
            let page = Journal::rows(self.store, key, next, last, ROWS, false).await?;
            let Some(reached) = page.last().map(|row| row.seq) else {
                return Err(StoreError::Corrupt(format!("{key}: row {next} is missing").into()).into());
            };
            let mut rows = Vec::with_capacity(page.len());
            let mut bytes = 0;
            for row in page {
                bytes += row.body.len();
                rows.push(Row { seq: row.seq, at: row.at.0, format: row.format, body: row.body });
                if bytes >= FRAME_BYTES {
                    bytes = 0;
                    self.writer.write(&Frame::Rows { rows: std::mem::take(&mut rows) })?;
                }
            }
            if !rows.is_empty() {
                self.writer.write(&Frame::Rows { rows })?;
            }
            next = reached + 1;
        }
        Ok(())
    }
}

/// What an entity owes.
async fn owed(store: &dyn Storage, source: &EntityKey) -> Result<Vec<(u64, u32)>, Failure> {
    let owed = Journal::owed_by(store, source, MAX_OWED).await?;
    if owed.len() == MAX_OWED {
        let text = format!("{source}: {MAX_OWED} effects or more are owed: have a server deliver them first");
        return Err(Failure::Other(text));
    }
    let mut owed: Vec<_> = owed.into_iter().map(|one| (one.seq, one.index)).collect();
    // What an adoption owes again may stand where it stood before as well.
    owed.dedup();
    Ok(owed)
}

async fn codes(store: &dyn Storage, writer: &mut Writer) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let jobs = store.jobs(after.as_deref(), PAGE).await?;
        for job in &jobs {
            writer.write(&Frame::Job(frame_of(job)))?;
            let mut from: Option<String> = None;
            loop {
                let page = store.codes_of(&job.id, from.as_deref(), PAGE).await?;
                if !page.codes.is_empty() {
                    writer.write(&Frame::Codes { codes: page.codes })?;
                }
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        match jobs.last() {
            Some(last) if jobs.len() == PAGE => after = Some(last.id.clone()),
            _ => return Ok(()),
        }
    }
}

fn frame_of(job: &CodeJob) -> Job {
    Job {
        id: job.id.clone(),
        offer: job.offer.to_string(),
        prefix: job.prefix.clone(),
        start: job.start,
        count: job.count,
        done: job.done,
        state: job.state.as_str().to_owned(),
        by: job.by.to_string(),
        at: job.at.0,
        print: job.print,
    }
}

async fn counts(store: &dyn Storage, writer: &mut Writer) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.counted(after.as_ref(), PAGE).await?;
        for banner in &page {
            let days = store.counts_of(banner, usize::MAX).await?;
            let counts = days
                .into_iter()
                .map(|(day, counts)| (banner.to_string(), day.0, counts.servings, counts.impressions, counts.clicks));
            writer.write(&Frame::Counts { counts: counts.collect() })?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.clone()),
            _ => return Ok(()),
        }
    }
}

async fn keys(store: &dyn Storage, writer: &mut Writer) -> Result<(), Failure> {
    let keys = store.list_api_keys().await?.into_iter().map(|key| Key {
        id: key.id,
        hash: key.hash,
        role: key.role,
        shop: key.shop,
        created_at: key.created_at.0,
        revoked_at: key.revoked_at.map(|at| at.0),
        label: key.label,
    });
    Ok(writer.write(&Frame::Keys { keys: keys.collect() })?)
}

/// Reads a file whose export was cut off: where its entities end that are whole, and which they are. What came after
/// the entities (codes, counts, keys) is exported anew.
fn begun(path: &Path) -> Result<(Writer, Option<Begun>), Failure> {
    let mut reader = Reader::open(path)?;
    let (mut totals, mut whole) = (Totals::default(), (reader.offset, Totals::default(), None));
    // The entity that is being read, and how many of its rows are still to come.
    let mut open: Option<(EntityKey, u64)> = None;
    while let Some(frame) = reader.next()? {
        match &frame {
            Frame::Head { .. } => {}
            Frame::Entity { kind, id, rows, .. } => {
                let kind = EntityKind::parse(kind).ok_or_else(|| reader.wrong("an entity of an unknown kind"))?;
                open = Some((EntityKey::new(kind, id), *rows));
            }
            Frame::Rows { rows } => {
                let Some((_, left)) = &mut open else { return Err(reader.wrong("rows of no entity").into()) };
                *left = left.saturating_sub(rows.len() as u64);
            }
            Frame::End(_) => return Err(Failure::Other(format!("{} is complete", path.display()))),
            // Read on, for whether the file is complete.
            Frame::Job(_) | Frame::Codes { .. } | Frame::Counts { .. } | Frame::Keys { .. } => continue,
        }
        totals.add(&frame);
        match open.take_if(|(_, left)| *left == 0) {
            Some((key, _)) => whole = (reader.offset, totals, Some(key)),
            None if matches!(frame, Frame::Head { .. }) => whole = (reader.offset, totals, None),
            None => {}
        }
    }
    let (offset, totals, last) = whole;
    if totals == Totals::default() && last.is_none() && offset == super::file::EMPTY {
        return Err(reader.wrong("it has no head: remove it, and export anew").into());
    }
    let begun = match last {
        Some(last) => Some(Begun { reader: Reader::open(path)?, last }),
        None => None,
    };
    Ok((Writer::resume(path, offset, totals)?, begun))
}
