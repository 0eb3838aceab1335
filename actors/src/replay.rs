//! From stored rows to states: waking an entity, asking for a past state, checking a journal, rebuilding views.
//!
//! Pure functions of what is stored, on the thread that calls them. They never decide anything: an event carries every
//! fact that `apply` needs, so the same rows give the same state, bit for bit, for ever.

use adal_domain::{
    entity::{Entity, EntityKey, ViewWrite},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    ask::Published,
    memory::{Mark, Memory, Remembered},
    ports::{Journal, Opened, StoreError, StoredRow, StoredSnapshot},
    row::{self, Row},
};

/// The format of the snapshot around the rules' own state.
pub const SNAPSHOT_FORMAT: u8 = 1;

/// How many rows are read from a journal at a time.
const PAGE: usize = 512;

#[derive(Serialize)]
struct Written<'a, S> {
    v: u8,
    state: &'a S,
    at: Timestamp,
    answered: Vec<&'a Remembered>,
    marks: Vec<Mark>,
}

#[derive(Deserialize)]
struct Read<S> {
    v: u8,
    state: S,
    at: Timestamp,
    answered: Vec<Remembered>,
    marks: Vec<Mark>,
}

/// An entity as of a row: what its rows add up to so far.
#[derive(Debug, Clone)]
pub struct Fold<E: Entity> {
    /// The state, and the last row that is in it.
    pub head: Published<E>,
    /// The ids answered so far, and the high-water marks of those who sent effects.
    pub memory: Memory,
    /// How many rows came after the snapshot.
    pub rows: u64,
}

impl<E: Entity> Fold<E> {
    /// The entity before its first row.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self { head: Published::initial(id), memory: Memory::default(), rows: 0 }
    }

    /// The entity as a snapshot holds it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the snapshot is damaged or of a newer format.
    pub fn restore(stored: &StoredSnapshot) -> Result<Self, StoreError> {
        let corrupt = |text: String| StoreError::Corrupt(format!("snapshot at row {}: {text}", stored.seq).into());
        if stored.format > E::FORMAT {
            return Err(corrupt(format!("format {} is newer than {}", stored.format, E::FORMAT)));
        }
        let read: Read<E::State> = rmp_serde::from_slice(&stored.body).map_err(|error| corrupt(error.to_string()))?;
        if read.v > SNAPSHOT_FORMAT {
            return Err(corrupt(format!("format {} is newer than {SNAPSHOT_FORMAT}", read.v)));
        }
        Ok(Self {
            head: Published { state: read.state, seq: stored.seq, at: read.at },
            memory: Memory::restore(read.answered, read.marks),
            rows: 0,
        })
    }

    /// Adds the next row, and shows every event with the state after it and its index in the row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the row cannot be read, or is not the next.
    pub fn step(
        &mut self,
        stored: &StoredRow,
        mut seen: impl FnMut(&E::State, &E::Event, u32),
    ) -> Result<Row<E>, StoreError> {
        if stored.seq != self.head.seq + 1 {
            let text = format!("row {} stands after row {}", stored.seq, self.head.seq);
            return Err(StoreError::Corrupt(text.into()));
        }
        let row = row::decode::<E>(stored)?;
        for (event, index) in row.events().zip(0..) {
            E::apply(&mut self.head.state, event, stored.seq);
            seen(&self.head.state, event, index);
        }
        for (command, index) in row.commands.iter().zip(0..) {
            if let Some(id) = command.id {
                self.memory.remember(Remembered { id, seq: stored.seq, index, at: stored.at });
            }
            if let Some(origin) = &command.origin {
                self.memory.mark(origin);
            }
        }
        (self.head.seq, self.head.at) = (stored.seq, stored.at);
        self.rows += 1;
        Ok(row)
    }
}

/// What [`Journal::open`] gave, as a state.
///
/// # Errors
/// [`StoreError::Corrupt`] where anything of it cannot be read, or a row is missing.
pub fn fold<E: Entity>(id: &str, opened: &Opened) -> Result<Fold<E>, StoreError> {
    let mut fold = match &opened.snapshot {
        Some(stored) => Fold::restore(stored)?,
        None => Fold::new(id),
    };
    for stored in &opened.rows {
        fold.step(stored, |_, _, _| ())?;
    }
    Ok(fold)
}

/// The snapshot of a durable state and what is remembered with it.
///
/// # Errors
/// [`StoreError::Corrupt`] where the state has no MessagePack form (a fault in the rules' types).
pub fn snapshot<E: Entity>(head: &Published<E>, memory: Option<&Memory>) -> Result<StoredSnapshot, StoreError> {
    let written = Written {
        v: SNAPSHOT_FORMAT,
        state: &head.state,
        at: head.at,
        answered: memory.map(|memory| memory.answered().collect()).unwrap_or_default(),
        marks: memory.map(|memory| memory.marks().collect()).unwrap_or_default(),
    };
    let body = rmp_serde::to_vec_named(&written)
        .map_err(|error| StoreError::Corrupt(format!("a state cannot be encoded: {error}").into()))?;
    Ok(StoredSnapshot { seq: head.seq, format: E::FORMAT, body })
}

/// Reads all of an entity's rows up to `to_seq` from its journal, page by page, and adds them up from the first; `seen`
/// is shown every row and event. Needs a journal that is kept whole.
///
/// # Errors
/// What the journal says; [`StoreError::Corrupt`] where a row is missing or cannot be read.
pub async fn walk<E: Entity>(
    journal: &dyn Journal,
    id: &str,
    to_seq: u64,
    seen: impl FnMut(&StoredRow, &E::State, &E::Event, u32),
) -> Result<Fold<E>, StoreError> {
    pages(journal, id, to_seq, seen, |_| ()).await
}

/// [`walk`], that also shows the state after each row: what decisions leave, as against what stands between two events
/// of one decision.
async fn pages<E: Entity>(
    journal: &dyn Journal,
    id: &str,
    to_seq: u64,
    mut event: impl FnMut(&StoredRow, &E::State, &E::Event, u32),
    mut row: impl FnMut(&Published<E>),
) -> Result<Fold<E>, StoreError> {
    let key = EntityKey::new(E::KIND, id);
    let mut fold = Fold::<E>::new(id);
    while fold.head.seq < to_seq {
        let page = journal.rows(&key, fold.head.seq + 1, to_seq, PAGE, false).await?;
        for stored in &page {
            fold.step(stored, |state, one, index| event(stored, state, one, index))?;
            row(&fold.head);
        }
        if page.len() < PAGE {
            break;
        }
    }
    Ok(fold)
}

/// The state as of row `seq` (or of the last row, if that is earlier): `?at=` asks for it.
///
/// # Errors
/// As [`walk`].
pub async fn past_state<E: Entity>(journal: &dyn Journal, id: &str, seq: u64) -> Result<Published<E>, StoreError> {
    walk::<E>(journal, id, seq, |_, _, _, _| ()).await.map(|fold| fold.head)
}

/// An invariant that does not hold after a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The row.
    pub seq: u64,
    /// The invariant's name.
    pub invariant: &'static str,
}

/// What `adal check` finds in an entity's journal: every invariant that does not hold after some row (the first
/// `limit` of them). That the rows can be read and have no gap is checked on the way.
///
/// # Errors
/// As [`walk`].
pub async fn check<E: Entity>(journal: &dyn Journal, id: &str, limit: usize) -> Result<Vec<Broken>, StoreError> {
    let mut broken = Vec::new();
    let after_row = |head: &Published<E>| {
        for invariant in E::broken_invariants(&head.state) {
            if broken.len() < limit {
                broken.push(Broken { seq: head.seq, invariant });
            }
        }
    };
    pages::<E>(journal, id, u64::MAX, |_, _, _, _| (), after_row).await?;
    Ok(broken)
}

/// Every change to views that an entity's rows ever made, in order: what a rebuild writes.
///
/// # Errors
/// As [`walk`].
pub async fn views<E: Entity>(journal: &dyn Journal, id: &str) -> Result<Vec<ViewWrite>, StoreError> {
    let mut writes = Vec::new();
    walk::<E>(journal, id, u64::MAX, |stored, state, event, index| {
        writes.extend(E::views(id, state, event, stored.seq, index));
    })
    .await?;
    Ok(writes)
}
