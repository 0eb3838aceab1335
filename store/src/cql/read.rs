//! Rows as they are read: what is needed to open an entity, and any stretch of its history. Void rows are left out; what
//! is handed out follows its parents without a gap.

use adal_actors::ports::{StoreError, StoredRow};
use adal_domain::entity::EntityKey;

use super::{
    db::{Database, Failed, JournalRow, Link, Place, SnapshotRow, Stretch},
    protocol::{History, Linked, history, walk_down},
};

/// Rows that are read beside the snapshot, newest first: an entity that left memory in peace has a snapshot of all its
/// rows, and needs no more than these.
const NEWEST: usize = 32;

/// Rows of one read.
const PAGE: usize = 256;

/// A read that found a parent missing is repeated so often: it met a write that had not ended.
const GAPS: usize = 5;

/// What there is of an entity from its latest snapshot on.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) snapshot: Option<SnapshotRow>,
    /// All rows from the snapshot's own on, void ones too, by place.
    pub(super) rows: Vec<JournalRow>,
    pub(super) history: Option<History>,
}

impl Found {
    pub(super) fn tip(&self) -> Option<Place> {
        self.history.as_ref().map(|history| history.tip)
    }

    /// The row at the tip, if it is there (a snapshot's may be trimmed).
    pub(super) fn tip_row(&self) -> Option<&JournalRow> {
        let tip = self.tip()?;
        self.rows.iter().find(|row| row.place == tip)
    }

    /// The history after the snapshot.
    pub(super) fn chain(&self) -> impl Iterator<Item = &JournalRow> {
        let of = self.history.iter().flat_map(|history| &history.rows);
        of.filter_map(|index| self.rows.get(*index))
    }
}

/// A row as the ports know it.
pub(super) fn stored(row: JournalRow) -> StoredRow {
    StoredRow { seq: row.place.seq, at: row.at, format: row.format, body: row.body }
}

/// Reads what is needed to open an entity.
pub(super) async fn found(db: &dyn Database, entity: &EntityKey) -> Result<Found, StoreError> {
    for _ in 0..GAPS {
        let newest = Stretch { after: Place::FIRST, before: Place::LAST, descending: true, limit: NEWEST };
        let (snapshots, newest) =
            futures_util::future::try_join(db.snapshots(entity, 1), db.rows(entity, newest)).await?;
        let snapshot = snapshots.into_iter().next();
        let base = snapshot.as_ref().map(|snapshot| snapshot.place);
        let from = base.map_or(Place::FIRST, |base| Place { seq: base.seq.saturating_sub(1), ..Place::LAST });
        let mut rows = Vec::new();
        if newest.len() == NEWEST
            && let Some(least) = newest.last().map(|row| row.place).filter(|least| *least > from)
        {
            rows = all(db, entity, from, least).await?;
        }
        rows.extend(newest.into_iter().rev().filter(|row| row.place > from));
        match history(base, &rows) {
            Ok(history) => return Ok(Found { snapshot, rows, history }),
            Err(gap) => tracing::debug!(%entity, ?gap, "read again"),
        }
    }
    Err(StoreError::Unavailable(format!("{entity}: a row's parent is not there").into()))
}

async fn all(
    db: &dyn Database,
    entity: &EntityKey,
    mut after: Place,
    before: Place,
) -> Result<Vec<JournalRow>, Failed> {
    let mut rows = Vec::new();
    loop {
        let page = db.rows(entity, Stretch { after, before, descending: false, limit: PAGE }).await?;
        let more = page.len() == PAGE;
        rows.extend(page);
        match rows.last() {
            Some(last) if more => after = last.place,
            _ => return Ok(rows),
        }
    }
}

/// The tip of an entity, for who owns nothing.
pub(super) async fn tip(db: &dyn Database, entity: &EntityKey) -> Result<Option<Place>, StoreError> {
    Ok(found(db, entity).await?.tip())
}

/// The place of the history's row `seq`, which is not later than `tip`; `None`: it is not there (trimmed).
pub(super) async fn place_of(
    db: &dyn Database,
    entity: &EntityKey,
    seq: u64,
    tip: Place,
) -> Result<Option<Link>, StoreError> {
    for _ in 0..GAPS {
        if let Some(found) = resolve(db, entity, seq, tip).await? {
            return Ok(found);
        }
    }
    Err(StoreError::Unavailable(format!("{entity}: a row's parent is not there").into()))
}

/// As [`place_of`]; `None` outside: read again. Where one row alone has a seq, it is the history's: that one is durable,
/// and would be seen. Where there are several, the row above says which.
async fn resolve(
    db: &dyn Database,
    entity: &EntityKey,
    seq: u64,
    tip: Place,
) -> Result<Option<Option<Link>>, StoreError> {
    let mut links: Vec<Link> = Vec::new();
    let mut after = Place { seq: seq.saturating_sub(1), ..Place::LAST };
    loop {
        // `before` has the tip in.
        let before = Place { epoch: tip.epoch + 1, ..tip };
        let page = db.links(entity, Stretch { after, before, descending: false, limit: 8 }).await?;
        let more = page.len() == 8;
        links.extend(page);
        let Some(last) = links.last().map(|link| link.place) else { return Ok(Some(None)) };
        // The last seq of a full page may have more rows behind it.
        let whole = |of: &Link| !more || of.place.seq < last.seq;
        let top = (seq..=last.seq).find_map(|at| {
            let mut of = links.iter().filter(|link| link.place.seq == at);
            let first = of.next()?;
            match at == tip.seq {
                true => Some(tip),
                false => (of.next().is_none() && whole(first)).then_some(first.place),
            }
        });
        if let Some(top) = top {
            let below: Vec<Link> = links.into_iter().rev().filter(|link| link.place <= top).collect();
            return Ok(walk_down(below, top)
                .ok()
                .map(|(found, _)| found.last().copied().filter(|of| of.place.seq == seq)));
        }
        if !more {
            return Ok(None);
        }
        after = last;
    }
}

/// The rows of the history with a seq from `from` to `to`, which is not later than the tip's; see `Journal::rows`.
pub(super) async fn rows(
    db: &dyn Database,
    entity: &EntityKey,
    (from, to): (u64, u64),
    limit: usize,
    descending: bool,
    tip: Place,
) -> Result<Vec<StoredRow>, StoreError> {
    let (mut from, mut to) = (from.max(1), to.min(tip.seq));
    let mut found: Vec<StoredRow> = Vec::new();
    let mut gaps = 0;
    while from <= to && found.len() < limit {
        // A few more than are wanted: some may be void.
        let count = (limit - found.len()).min(PAGE) + 4;
        let (after, before) = (Place { seq: from - 1, ..Place::LAST }, Place { seq: to + 1, epoch: 0 });
        let mut page = db.rows(entity, Stretch { after, before, descending, limit: count }).await?;
        let (Some(first), Some(last)) = (page.first().map(|row| row.place), page.last().map(|row| row.place)) else {
            break;
        };
        let more = page.len() == count;
        if more && first.seq != last.seq {
            // The last seq may have more rows behind the page: it is read with the next.
            page.retain(|row| row.place.seq != last.seq);
        }
        if !descending {
            page.reverse();
        }
        let (Some(top), Some(bottom)) = (page.first().map(|row| row.place.seq), page.last().map(|row| row.place.seq))
        else {
            break;
        };
        let alone = page.iter().filter(|row| row.place.seq == top).count() == 1;
        let top = match page.first() {
            _ if top == tip.seq => Some(tip),
            Some(row) if alone => Some(row.place),
            _ => place_of(db, entity, top, tip).await?.map(|link| link.place),
        };
        let walked = top.and_then(|top| walk_down(page, top).ok()).map(|(rows, _)| rows);
        let Some(mut walked) = walked.filter(|rows| rows.last().is_some_and(|row| row.place().seq == bottom)) else {
            gaps += 1;
            if gaps == GAPS {
                return Err(StoreError::Unavailable(format!("{entity}: a row's parent is not there").into()));
            }
            continue;
        };
        match descending {
            true => to = bottom - 1,
            false => {
                from = walked.first().map_or(to, |row| row.place.seq) + 1;
                walked.reverse();
            }
        }
        found.extend(walked.into_iter().map(stored));
    }
    found.truncate(limit);
    Ok(found)
}
