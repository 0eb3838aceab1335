//! Views and timers made anew from what the journal says of them, for a tool that owns the shards.
//!
//! A *generation* that rises with every rebuild stands above the rows' seqs in the stamps of views: what is written now
//! covers whatever stood there, also what was damaged. Broken off, a rebuild leaves rows of both generations, all of
//! which may be read, and is run again. What nobody's rows say is deleted at the end.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use adal_actors::ports::StoreError;
use adal_domain::{
    entity::{EntityKey, View, ViewWrite},
    time::Timestamp,
};

use super::{
    CqlStore, GENERATION, Inner,
    db::{Database, Failed, ListPart},
    derived::Of,
    outbox::Where,
    protocol::{SLICES, bucket_of, stamp},
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
    /// Rows of views that were missing, different or too many before.
    pub different: u64,
}

/// A rebuild under way. Some 40 bytes of memory for each row of a view.
pub struct ViewRebuild {
    inner: Arc<Inner>,
    epoch: u64,
    generation: u64,
    kept: HashSet<[u8; 16]>,
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
        let before = inner.db.meta(GENERATION).await?.unwrap_or(0).max(0);
        inner.db.put_meta(GENERATION, before + 1).await?;
        let generation = before.cast_unsigned() + 1;
        inner.follower.generation.store(generation, Ordering::SeqCst);
        Ok(ViewRebuild { inner, epoch, generation, kept: HashSet::new(), made: ViewsMade::default() })
    }
}

impl ViewRebuild {
    /// What an entity's rows say: every change to views that they ever made, in order, with its seq; and when it wants to
    /// be woken.
    ///
    /// # Errors
    /// The database's.
    pub async fn entity(
        &mut self,
        entity: &EntityKey,
        writes: Vec<(u64, ViewWrite)>,
        wake: Option<Timestamp>,
    ) -> Result<(), StoreError> {
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
                self.kept.insert(print(view, &key));
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

    /// Deletes what nobody's rows say.
    ///
    /// # Errors
    /// The database's.
    pub async fn finish(mut self) -> Result<ViewsMade, StoreError> {
        let inner = Arc::clone(&self.inner);
        let db = &*inner.db;
        let stamp = stamp(self.generation, u64::MAX);
        let mut cursor = None;
        loop {
            let page = db.scan_views(cursor.as_ref(), PAGE).await?;
            for (view, entry) in page.found {
                if !self.kept.contains(&print(view, &entry.key)) {
                    self.made.different += 1;
                    db.delete_view(view, &entry.key, stamp).await?;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        for view in View::ALL.into_iter().filter(|view| view.is_listed()) {
            for slice in 0..SLICES {
                self.purge(db, view, slice, stamp).await?;
            }
        }
        Ok(self.made)
    }

    /// Deletes from a part of a view's list what is no row of the view.
    async fn purge(&self, db: &dyn Database, view: View, slice: u8, stamp: i64) -> Result<(), Failed> {
        let all = ListPart { view, filter: None, slice };
        let mut before: Option<String> = None;
        loop {
            let page = db.view_list(all, before.as_deref(), PAGE).await?;
            for entry in page.iter().filter(|entry| !self.kept.contains(&print(view, &entry.key))) {
                db.delete_view_list(all, &entry.key, stamp).await?;
                let filtered = ListPart { filter: Some(&entry.filter), ..all };
                db.delete_view_list(filtered, &entry.key, stamp).await?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => before = Some(last.key.clone()),
                _ => return Ok(()),
            }
        }
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
