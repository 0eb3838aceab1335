//! From stored rows to states: waking an entity, asking for a past state, checking a journal, rebuilding views.
//!
//! Pure functions of what is stored, on the thread that calls them. They never decide anything: an event carries every
//! fact that `apply` needs, so the same rows give the same state, bit for bit, for ever.

use std::{fmt, sync::Arc};

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

/// Reads an entity from its journal, as it is woken. A snapshot that cannot be used is told, and all rows are added up
/// instead: losing it costs time, never data.
///
/// # Errors
/// What the journal says; [`StoreError::Corrupt`] where a row cannot be read or is missing, or where rows that should
/// stand in for the snapshot do not reach it.
pub async fn wake<E: Entity>(journal: &dyn Journal, id: &str) -> Result<(Fold<E>, Option<Arc<str>>), StoreError> {
    let opened = journal.open(&EntityKey::new(E::KIND, id)).await?;
    let unusable = match (fold(id, &opened), &opened.snapshot) {
        (Ok(fold), _) => return Ok((fold, opened.damaged)),
        (Err(StoreError::Corrupt(why)), Some(snapshot)) => (why, snapshot.seq),
        (Err(error), _) => return Err(error),
    };
    let (why, seq) = unusable;
    let corrupt = |what: String| StoreError::Corrupt(format!("{why}; and without the snapshot, {what}").into());
    match walk(journal, id, u64::MAX, |_, _, _, _| ()).await {
        Ok(fold) if fold.head.seq < seq => Err(corrupt(format!("the rows end with {}", fold.head.seq))),
        Ok(fold) => Ok((fold, Some(why))),
        Err(StoreError::Corrupt(what)) => Err(corrupt(what.to_string())),
        Err(error) => Err(error),
    }
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

/// [`walk`], that also shows the entity after each row: what decisions leave, as against what stands between two events
/// of one decision.
async fn pages<E: Entity>(
    journal: &dyn Journal,
    id: &str,
    to_seq: u64,
    mut event: impl FnMut(&StoredRow, &E::State, &E::Event, u32),
    mut row: impl FnMut(&Fold<E>),
) -> Result<Fold<E>, StoreError> {
    let key = EntityKey::new(E::KIND, id);
    let mut fold = Fold::<E>::new(id);
    while fold.head.seq < to_seq {
        let page = journal.rows(&key, fold.head.seq + 1, to_seq, PAGE, false).await?;
        for stored in &page {
            fold.step(stored, |state, one, index| event(stored, state, one, index))?;
            row(&fold);
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

/// What is wrong with an entity as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// After a row an invariant does not hold.
    Invariant {
        /// The row.
        seq: u64,
        /// The invariant's name.
        name: &'static str,
    },
    /// The snapshot is not what the rows add up to.
    Snapshot {
        /// The last row that is in it; 0 where it is damaged.
        seq: u64,
        /// In what it differs.
        what: String,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invariant { seq, name } => write!(f, "row {seq}: {name}"),
            Self::Snapshot { seq: 0, what } => write!(f, "{what}"),
            Self::Snapshot { seq, what } => write!(f, "the snapshot at row {seq} is not what the rows say: {what}"),
        }
    }
}

/// What `adal check` finds in an entity's journal: every invariant that does not hold after some row (the first
/// `limit` of them), and whether the snapshot is what the rows add up to. That the rows can be read and have no gap is
/// checked on the way. Needs a journal that is kept whole, and memory for one entity.
///
/// # Errors
/// As [`walk`].
pub async fn check<E: Entity>(journal: &dyn Journal, id: &str, limit: usize) -> Result<Vec<Wrong>, StoreError> {
    let opened = journal.open(&EntityKey::new(E::KIND, id)).await?;
    let mut wrong = Vec::new();
    wrong.extend(opened.damaged.map(|what| Wrong::Snapshot { seq: 0, what: what.to_string() }));
    let mut kept = match opened.snapshot.as_ref().map(Fold::<E>::restore).transpose() {
        Ok(kept) => kept,
        Err(error) => {
            wrong.push(Wrong::Snapshot { seq: 0, what: error.to_string() });
            None
        }
    };
    let after_row = |fold: &Fold<E>| {
        for name in E::broken_invariants(&fold.head.state) {
            if wrong.len() < limit {
                wrong.push(Wrong::Invariant { seq: fold.head.seq, name });
            }
        }
        if let Some(kept) = kept.take_if(|kept| kept.head.seq == fold.head.seq)
            && let Some(what) = difference(&kept, fold)
        {
            wrong.push(Wrong::Snapshot { seq: kept.head.seq, what: what.to_owned() });
        }
    };
    let last = pages::<E>(journal, id, u64::MAX, |_, _, _, _| (), after_row).await?.head.seq;
    wrong.extend(kept.map(|kept| Wrong::Snapshot { seq: kept.head.seq, what: format!("the last of them is {last}") }));
    Ok(wrong)
}

/// In what a snapshot differs from all the rows up to it. What it remembers less of is the oldest: that was forgotten.
fn difference<E: Entity>(kept: &Fold<E>, whole: &Fold<E>) -> Option<&'static str> {
    // Both by this version: an older one may have written the same state in other bytes.
    let bytes = |fold: &Fold<E>| rmp_serde::to_vec_named(&fold.head.state).ok();
    let forgotten = whole.memory.len().checked_sub(kept.memory.len());
    let remembered = |skip| kept.memory.answered().eq(whole.memory.answered().skip(skip));
    if bytes(kept) != bytes(whole) {
        Some("the state")
    } else if kept.head.at != whole.head.at {
        Some("the time of the last row")
    } else if !forgotten.is_some_and(remembered) {
        Some("the ids that were answered")
    } else if !kept.memory.marks().eq(whole.memory.marks()) {
        Some("the effects that were applied")
    } else {
        None
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ask::CommandId,
        ports::{Append, Journal},
        row::Recorded,
        simulation::ledger::{Account, Happened, Told},
        testing::MemoryStore,
    };

    /// An account with so many rows, each a deposit of 1 with an id.
    async fn filled(rows: u64) -> MemoryStore {
        let store = MemoryStore::new();
        for seq in 1..=rows {
            let id = Some(CommandId::of("test", &seq.to_string()));
            let outcome = Ok(Told { balance: 0, recalled: 0, random: 0 });
            let events = vec![Happened::Deposited(1)];
            let one = Recorded::<Account> { id, origin: None, print: [1; 16], outcome, events, effects: vec![] };
            let body = row::encode(&[one]).unwrap();
            let at = Timestamp::from_seconds(seq.cast_signed());
            let row = StoredRow { seq, at, format: Account::FORMAT, body };
            let entity = EntityKey::new(Account::KIND, "a");
            store.append(Append { entity, row, views: vec![], wake: None, effects: vec![] }).await.unwrap();
        }
        store
    }

    async fn told(store: &MemoryStore, forged: &Fold<Account>) -> Vec<String> {
        let snapshot = snapshot(&forged.head, Some(&forged.memory)).unwrap();
        store.forge_snapshot(&EntityKey::new(Account::KIND, "a"), snapshot);
        check::<Account>(store, "a", 9).await.unwrap().iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_check_names_the_snapshot_that_is_not_what_the_rows_say_and_in_what() {
        let store = filled(600).await;
        assert_eq!(
            check::<Account>(&store, "a", 9).await.unwrap(),
            [],
            "without a snapshot there is nothing to compare"
        );
        let whole = walk::<Account>(&store, "a", 555, |_, _, _, _| ()).await.unwrap();
        assert_eq!(told(&store, &whole).await, [""; 0]);

        let mut forgetful = whole.clone();
        forgetful.memory.forget(Timestamp::from_seconds(500));
        assert_eq!(told(&store, &forgetful).await, [""; 0], "the oldest are forgotten in time");

        let mut forged = whole.clone();
        forged.head.state.balance += 1;
        let text = "the snapshot at row 555 is not what the rows say: the state";
        assert_eq!(told(&store, &forged).await, [text]);
        let mut forged = whole.clone();
        forged.head.at = Timestamp::from_seconds(1);
        assert_eq!(told(&store, &forged).await, [text.replace("the state", "the time of the last row")]);
        let mut forged = whole.clone();
        forged.memory = Memory::restore(whole.memory.answered().take(554).copied().collect(), vec![]);
        assert_eq!(told(&store, &forged).await, [text.replace("the state", "the ids that were answered")]);
        let mut forged = whole.clone();
        let mark = Mark { source: EntityKey::new(Account::KIND, "b"), seq: 1, index: 0 };
        forged.memory = Memory::restore(whole.memory.answered().copied().collect(), vec![mark]);
        assert_eq!(told(&store, &forged).await, [text.replace("the state", "the effects that were applied")]);
        let mut forged = whole;
        forged.head.seq = 601;
        let past = "the snapshot at row 601 is not what the rows say: the last of them is 600";
        assert_eq!(told(&store, &forged).await, [past]);
        let damage = StoredSnapshot { seq: 5, format: Account::FORMAT, body: b"damage".to_vec() };
        store.forge_snapshot(&EntityKey::new(Account::KIND, "a"), damage);
        let found = check::<Account>(&store, "a", 9).await.unwrap();
        assert!(matches!(&found[..], [Wrong::Snapshot { seq: 0, what }] if what.contains("row 5")), "{found:?}");
    }
}
