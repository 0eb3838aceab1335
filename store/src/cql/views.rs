//! Views as they are read: by key, and in lists. A view that is listed has its rows once more in the order of their keys,
//! in a partition for each slice, which a list merges. One that is not is read whole where a tool lists it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use adal_actors::ports::{StoreError, ViewRow};
use adal_domain::entity::View;
use tokio::time::Instant;

use super::{
    db::{Database, ListPart, ViewEntry},
    merge::{Read, merged},
    protocol::SLICES,
    retry,
};

/// Rows that a list of a view that is not listed looks at, of all views. More, and the answer would be a lie.
const LOOKED_AT: usize = 1_000_000;

/// Rows of one read of a scan.
const PAGE: usize = 5_000;

pub(super) fn row(entry: ViewEntry) -> ViewRow {
    let ViewEntry { key, filter, entity, value, .. } = entry;
    ViewRow { key, filter, entity, value }
}

/// Reads that fail are repeated until `deadline`.
pub(super) async fn list(
    db: &dyn Database,
    view: View,
    filter: Option<&str>,
    before: Option<&str>,
    limit: usize,
    deadline: Instant,
) -> Result<Vec<ViewRow>, StoreError> {
    if !view.is_listed() || (filter.is_none() && !view.is_listed_whole()) {
        return scan(db, view, filter, before, limit, deadline).await;
    }
    let read = |part: usize, after: Option<ViewEntry>, count: usize| -> Read<'_, ViewEntry> {
        // Less than 64.
        let slice = u8::try_from(part).unwrap_or_default();
        Box::pin(async move {
            let before = after.as_ref().map(|after| after.key.as_str()).or(before);
            db.view_list(ListPart { view, filter, slice }, before, count).await
        })
    };
    let found = merged(usize::from(SLICES), limit, deadline, |entry| Reverse(entry.key.clone()), read).await?;
    Ok(found.into_iter().map(row).collect())
}

/// How much there is of a view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ViewCount {
    /// Rows, by their keys.
    pub rows: u64,
    /// Lines of its lists by filter: as many, where it is listed.
    pub by_filter: u64,
    /// Lines of its list of all rows: as many, where it is listed whole.
    pub whole: u64,
}

/// How much there is of each view. Each read is repeated for so long.
pub(super) async fn count(db: &dyn Database, patience: Duration) -> Result<HashMap<View, ViewCount>, StoreError> {
    let mut found: HashMap<View, ViewCount> = HashMap::new();
    let mut cursor = None;
    loop {
        let page = retry::until(Instant::now() + patience, "list", || db.scan_views(cursor.as_ref(), PAGE)).await?;
        page.found.iter().for_each(|(view, _)| found.entry(*view).or_default().rows += 1);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    loop {
        let read = || db.scan_view_lists(cursor.as_ref(), PAGE);
        let page = retry::until(Instant::now() + patience, "list", read).await?;
        for line in page.found {
            let count = found.entry(line.view).or_default();
            match line.filter {
                Some(_) => count.by_filter += 1,
                None => count.whole += 1,
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// All rows are read, and those with the greatest keys kept.
async fn scan(
    db: &dyn Database,
    view: View,
    filter: Option<&str>,
    before: Option<&str>,
    limit: usize,
    deadline: Instant,
) -> Result<Vec<ViewRow>, StoreError> {
    let mut kept: BTreeMap<String, ViewEntry> = BTreeMap::new();
    let (mut cursor, mut looked_at) = (None, 0);
    let patience = deadline.saturating_duration_since(Instant::now());
    loop {
        let page = retry::until(Instant::now() + patience, "list", || db.scan_views(cursor.as_ref(), PAGE)).await?;
        looked_at += page.found.len();
        for (of, entry) in page.found {
            let wanted = filter.is_none_or(|filter| entry.filter == filter)
                && before.is_none_or(|before| entry.key.as_str() < before);
            if of == view && wanted {
                kept.insert(entry.key.clone(), entry);
                if kept.len() > limit {
                    kept.pop_first();
                }
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(kept.into_values().rev().map(row).collect());
        }
        if looked_at >= LOOKED_AT {
            let text = format!("{} is not a view that is listed, and has too many rows to look through", view.as_str());
            return Err(StoreError::Unavailable(text.into()));
        }
    }
}
