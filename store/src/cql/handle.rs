//! How each open entity's journal ends, kept in mind: one *handle* per entity, behind a lock that makes its appends come
//! one at a time. Bounded; a handle that is not there is read again. One that something is in doubt of, or that somebody
//! holds, is never given up: two handles of one entity could write two contents under one place.

use std::sync::{
    Arc, Mutex as StdMutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use adal_actors::ports::StoredRow;
use adal_domain::{entity::EntityKey, time::Timestamp};
use quick_cache::{Lifecycle, UnitWeighter, sync::Cache};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    db::{JournalRow, Place},
    derived::Derived,
    marks::Ticket,
    timers::Placed,
};

/// One entity's.
#[derive(Default)]
pub(super) struct Handle {
    state: Arc<Mutex<State>>,
    /// Something is in doubt.
    pinned: AtomicBool,
    /// A durable row of the history, the last one when the lock was last free: for who reads below it, without the lock.
    tip: StdMutex<Option<Option<Place>>>,
}

/// What is known of an entity.
#[derive(Default)]
pub(super) struct State {
    /// How its journal ends; `None`: to be read.
    pub(super) known: Option<Known>,
    /// The append that is not known to be done, with all that follows from it.
    pub(super) pending: Option<Box<Pending>>,
    /// The adoption that is not known to be done.
    pub(super) adopting: Option<Box<Adopting>>,
}

/// How an entity's journal ends, as far as it is durable.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The last row; `None`: there is none.
    pub(super) tip: Option<Place>,
    /// What the last row says.
    pub(super) print: Print,
    /// When it wants to be woken.
    pub(super) wake: Option<Timestamp>,
    /// Where that timer stands, if this process put it there.
    pub(super) timer: Option<Placed>,
    /// The bucket in which it was last listed; 0: in none by this process.
    pub(super) listed: u32,
    /// The latest snapshot.
    pub(super) snapshot: Option<Place>,
    /// The empty row that this process put on top, as long as it is the last.
    pub(super) adopted: Option<StoredRow>,
}

impl Known {
    /// Of an entity without rows.
    pub(super) fn nothing() -> Self {
        let print = Print::default();
        Self { tip: None, print, wake: None, timer: None, listed: 0, snapshot: None, adopted: None }
    }
}

/// How far an append or an adoption is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The rows are being written. No try of that may have been done yet.
    Fresh,
    /// A try may have been done: from here on there is no other content for this place.
    Doubtful,
    /// They are written.
    Written,
    /// They are durable: they will be in every later history.
    Durable,
}

/// See [`State`].
pub(super) struct Pending {
    pub(super) row: JournalRow,
    pub(super) print: Print,
    pub(super) derived: Derived,
    pub(super) timer: Option<Placed>,
    pub(super) phase: Phase,
    pub(super) ticket: Ticket,
}

/// See [`State`].
pub(super) struct Adopting {
    /// The rows that may be on no quorum, and the empty row on them.
    pub(super) rows: Vec<JournalRow>,
    /// The row whose consequences may not be written yet.
    pub(super) redo: Option<JournalRow>,
    pub(super) timer: Option<Placed>,
    pub(super) phase: Phase,
    pub(super) ticket: Ticket,
    /// The latest snapshot.
    pub(super) snapshot: Option<Place>,
}

/// What tells a row's content from another's.
pub(super) type Print = [u8; 16];

pub(super) fn print(row: &StoredRow) -> Print {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&row.seq.to_le_bytes());
    hasher.update(&row.at.0.to_le_bytes());
    hasher.update(&row.format.to_le_bytes());
    hasher.update(&row.body);
    let mut print = Print::default();
    hasher.finalize_xof().fill(&mut print);
    print
}

/// The handles of all entities.
pub(super) struct Handles {
    cache: Cache<EntityKey, Arc<Handle>, UnitWeighter, quick_cache::DefaultHashBuilder, Pinned>,
}

/// Which handles stay, whatever the bound.
#[derive(Debug, Clone, Default)]
struct Pinned;

impl Lifecycle<EntityKey, Arc<Handle>> for Pinned {
    type RequestState = ();

    fn is_pinned(&self, _: &EntityKey, handle: &Arc<Handle>) -> bool {
        // Whoever has the lock, or waits for it, has a clone of one of the two.
        Arc::strong_count(handle) > 1 || Arc::strong_count(&handle.state) > 1 || handle.pinned.load(Ordering::SeqCst)
    }
}

impl Handles {
    pub(super) fn new(max: usize) -> Self {
        let (hasher, kept) = (quick_cache::DefaultHashBuilder::default(), Pinned);
        Self { cache: Cache::with(max, max as u64, UnitWeighter, hasher, kept) }
    }

    /// An entity's handle, alone.
    pub(super) async fn lock(&self, entity: &EntityKey) -> Locked {
        let handle = match self.cache.get(entity) {
            Some(handle) => handle,
            None => {
                let made = || Ok::<_, std::convert::Infallible>(Arc::default());
                let Ok(handle) = self.cache.get_or_insert_with(entity, made);
                handle
            }
        };
        let state = Arc::clone(&handle.state).lock_owned().await;
        Locked { handle, state }
    }

    /// How an entity's journal ends, if that is in mind and nobody is at work on it.
    pub(super) fn peek(&self, entity: &EntityKey) -> Option<Known> {
        let handle = self.cache.peek(entity)?;
        let state = handle.state.try_lock().ok()?;
        match (&state.pending, &state.adopting) {
            (None, None) => state.known.clone(),
            _ => None,
        }
    }

    /// A durable row of an entity's history at or near its end (`Some(None)`: it has no rows), if it is in mind.
    pub(super) fn tip(&self, entity: &EntityKey) -> Option<Option<Place>> {
        *self.cache.peek(entity)?.tip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.cache.len()
    }
}

/// A handle that nobody else has.
pub(super) struct Locked {
    handle: Arc<Handle>,
    state: OwnedMutexGuard<State>,
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Before the lock and the clone are given up: there is no moment at which it might go.
        let in_doubt = self.state.pending.is_some() || self.state.adopting.is_some();
        self.handle.pinned.store(in_doubt, Ordering::SeqCst);
        let tip = self.state.known.as_ref().filter(|_| self.state.adopting.is_none()).map(|known| known.tip);
        *self.handle.tip.lock().unwrap_or_else(PoisonError::into_inner) = tip;
    }
}

impl std::ops::Deref for Locked {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}
