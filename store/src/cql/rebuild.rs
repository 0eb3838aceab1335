//! Views and timers made anew from what the journal says of them, for a tool that owns the shards.
//!
//! Whoever makes views anew has claimed the shards to do so, and its epoch stands above the rows' seqs in the stamps of
//! views: what is written now covers whatever stood there, also what was damaged, and is covered by whatever the next owner
//! writes. Broken off, a rebuild leaves rows from before and after, all of which may be read, and is run again. What
//! nobody's rows say is deleted at the end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use adal_actors::ports::StoreError;
use adal_domain::{
    entity::{EntityKey, View, ViewWrite},
    time::Timestamp,
};

use super::{
    CqlStore, Inner,
    db::{ListLine, ListPart},
    derived::Of,
    outbox::Where,
    owner::Verdict,
    protocol::{bucket_of, last_stamp, shard_of, slice_of},
    timers::Timers,
};

/// Rows of one read.
const PAGE: usize = 5_000;

/// What a rebuild found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ViewsMade {
    /// Rows of views.
    pub views: u64,
    /// Timers.
    pub timers: u64,
    /// Rows of views, and lines of their lists, that were missing, different or too many before.
    pub different: u64,
}

/// A rebuild under way. Some 40 bytes of memory for each row of a view.
pub struct ViewRebuild {
    inner: Arc<Inner>,
    epoch: u64,
    /// Rows that are said to be there: of each a print of its key, and what tells its place in lists.
    kept: HashMap<[u8; 16], u64>,
    made: ViewsMade,
}

impl std::fmt::Debug for ViewRebuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewRebuild").field("made", &self.made).finish_non_exhaustive()
    }
}

impl CqlStore {
    /// Begins to make all views and timers anew. The shards have to be claimed.
    ///
    /// # Errors
    /// `Unavailable`: they are not, or the database does not answer.
    pub async fn begin_rebuild(&self) -> Result<ViewRebuild, StoreError> {
        let inner = Arc::clone(&self.inner);
        let epoch = self.epoch()?;
        still_ours(&inner).await?;
        Ok(ViewRebuild { inner, epoch, kept: HashMap::new(), made: ViewsMade::default() })
    }
}

impl ViewRebuild {
    /// What an entity's rows say: every change to views that they ever made, in order, with its seq; and when it wants to
    /// be woken.
    ///
    /// # Errors
    /// The database's; `Unavailable` where a server has taken over, which writes its own from then on.
    pub async fn entity(
        &mut self,
        entity: &EntityKey,
        writes: Vec<(u64, ViewWrite)>,
        wake: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        still_ours(&self.inner).await?;
        let mut last: BTreeMap<(View, String), (u64, ViewWrite)> = BTreeMap::new();
        for (seq, write) in writes {
            last.insert((write.view, write.key.clone()), (seq, write));
        }
        for ((view, key), (seq, write)) in last {
            let there = self.inner.db.view(view, &key).await?.filter(|there| there.entity == *entity);
            let same = match (&there, &write.value) {
                (Some(there), Some(value)) => there.filter == write.filter && there.value == *value,
                (None, None) => true,
                _ => false,
            };
            self.made.different += u64::from(!same);
            if write.value.is_some() {
                self.made.views += 1;
                self.kept.insert(print(view, &key), place(&write.filter, entity));
            } else if there.is_none() {
                continue;
            }
            let of = Of { entity, seq, at: Where { bucket: 0, row_epoch: self.epoch }, epoch: self.epoch };
            self.inner.follower.view(of, &write).await?;
        }
        if let Some(wake) = wake {
            let placed = Timers::place(entity, wake, bucket_of(self.inner.clock.now()));
            self.inner.timers.put(&placed, self.epoch, 0).await?;
            self.made.timers += 1;
        }
        Ok(())
    }

    /// Deletes what nobody's rows say: rows of views, and lines of their lists.
    ///
    /// # Errors
    /// The database's; `Unavailable` where a server has taken over.
    pub async fn finish(mut self) -> Result<ViewsMade, StoreError> {
        let inner = Arc::clone(&self.inner);
        let (db, stamp) = (&*inner.db, last_stamp(self.epoch));
        let mut cursor = None;
        loop {
            let page = db.scan_views(cursor.as_ref(), PAGE).await?;
            // After the read: a server that has taken over may have written what was read, and is known of now.
            still_ours(&inner).await?;
            for (view, entry) in page.found {
                if !self.kept.contains_key(&print(view, &entry.key)) {
                    self.made.different += 1;
                    db.delete_view(view, &entry.key, stamp).await?;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        // All lists, by all filters that there are: a line may stand under one that no row has any more.
        let mut cursor = None;
        loop {
            let page = db.scan_view_lists(cursor.as_ref(), PAGE).await?;
            still_ours(&inner).await?;
            for ListLine { view, filter, slice, entry } in page.found {
                let kept = self.kept.get(&print(view, &entry.key));
                let is = |filter: &str| kept == Some(&place(filter, &entry.entity));
                let right = view.is_listed()
                    && slice == slice_of(shard_of(&entry.entity))
                    && match &filter {
                        Some(filter) => is(filter),
                        None => view.is_listed_whole() && is(&entry.filter),
                    };
                if !right {
                    self.made.different += 1;
                    db.delete_view_list(ListPart { view, filter: filter.as_deref(), slice }, &entry.key, stamp).await?;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(self.made);
            }
        }
    }
}

/// What is deleted by who has lost the shards is not made again by who has them: a look before each step. (What that one has
/// written since its claim is covered by nothing from here: its stamps are greater.)
async fn still_ours(inner: &Inner) -> Result<(), StoreError> {
    match inner.owner.verify(inner.deadline()).await? {
        Verdict::Ours => Ok(()),
        Verdict::Lost => Err(StoreError::Unavailable("a server has taken over: run it again when none does".into())),
    }
}

/// What tells a row of a view from every other.
fn print(view: View, key: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(view.as_str().as_bytes()).update(&[0]).update(key.as_bytes());
    let mut print = [0; 16];
    hasher.finalize_xof().fill(&mut print);
    print
}

/// What tells the lists of a row from others: its filter and its entity.
fn place(filter: &str, entity: &EntityKey) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(filter.as_bytes()).update(&[0]).update(entity.kind.as_str().as_bytes());
    hasher.update(&[0]).update(entity.id.as_bytes());
    let mut print = [0; 8];
    hasher.finalize_xof().fill(&mut print);
    u64::from_le_bytes(print)
}
