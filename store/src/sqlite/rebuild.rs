//! Rebuilding what is derived from the journal: views, timers, outbox.
//!
//! The new rows are collected in temporary tables of the writer's connection (a crash leaves nothing behind) and take
//! the place of the old ones in one transaction. Meanwhile appends are refused as unavailable: a row that was written
//! between reading the journal and the swap would be missing from the views for ever.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use adal_actors::ports::{OwedEffect, StoreError};
use adal_domain::{
    entity::{EntityKey, ViewWrite},
    time::Timestamp,
};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    SqliteStore,
    apply::{put_owed, put_view},
    failure::refused,
    layout::unavailable,
    writer::Command,
};

/// Rows per step of [`SqliteStore::rebuild_views`].
const STEP: usize = 1000;

/// What is to be rebuilt. What is not named stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Derived {
    /// The rows of all views.
    pub views: bool,
    /// When entities want to be woken.
    pub timers: bool,
    /// Effects that are not yet delivered. The journal alone does not tell which are: give all that the targets have not
    /// confirmed, or simply all; targets know what they have.
    pub outbox: bool,
}

/// One derived row, as the journal gives it.
#[derive(Debug, Clone)]
pub enum Rebuilt {
    /// A change to a view, in the order of the entity's rows.
    View {
        /// Whose row it follows from.
        entity: EntityKey,
        /// That row.
        seq: u64,
        /// The change.
        write: ViewWrite,
    },
    /// When an entity wants to be woken; the last one given counts.
    Timer {
        /// The entity.
        entity: EntityKey,
        /// When; `None`: never.
        wake: Option<Timestamp>,
    },
    /// An effect that is owed.
    Owed(OwedEffect),
}

/// What a rebuild found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RebuildReport {
    /// Rows of views there are by the journal.
    pub views: u64,
    /// Timers there are by the journal.
    pub timers: u64,
    /// Owed effects there are by what was given.
    pub owed: u64,
    /// Rows that were missing, different or too many before. 0: what stood there was right.
    pub different: u64,
}

/// A rebuild under way. Dropping it gives it up: what stood there stays.
#[derive(Debug)]
pub struct DerivedRebuild {
    store: SqliteStore,
    gone: Arc<AtomicBool>,
}

impl Drop for DerivedRebuild {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
    }
}

impl SqliteStore {
    /// Begins a rebuild of what `derived` names. Until it is finished or dropped, appends are `Unavailable`.
    ///
    /// # Errors
    /// `Unavailable`: another rebuild is under way, the store was opened beside a server, or cannot write.
    pub async fn begin_rebuild(&self, derived: Derived) -> Result<DerivedRebuild, StoreError> {
        let gone = Arc::new(AtomicBool::new(false));
        // Before the first wait: a caller that goes away in it must not leave the journal frozen.
        let session = DerivedRebuild { store: self.clone(), gone: Arc::clone(&gone) };
        self.step(|answer| RebuildStep::Begin { derived, gone, answer }).await?;
        Ok(session)
    }

    /// Replaces all rows of all views by those that `writes` leads to: (whose row, its seq, the change), in the order
    /// of each entity's rows.
    ///
    /// # Errors
    /// As [`SqliteStore::begin_rebuild`]; what stood there then stays.
    pub async fn rebuild_views(
        &self,
        writes: impl IntoIterator<Item = (EntityKey, u64, ViewWrite)>,
    ) -> Result<RebuildReport, StoreError> {
        let rebuild = self.begin_rebuild(Derived { views: true, ..Derived::default() }).await?;
        let mut batch = Vec::with_capacity(STEP);
        for (entity, seq, write) in writes {
            batch.push(Rebuilt::View { entity, seq, write });
            if batch.len() == STEP {
                rebuild.add(std::mem::replace(&mut batch, Vec::with_capacity(STEP))).await?;
            }
        }
        rebuild.add(batch).await?;
        rebuild.finish().await
    }

    async fn step<T>(
        &self,
        step: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> RebuildStep,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Rebuild(step(answer)))?;
        answered.await.unwrap_or_else(|_| Err(unavailable("the writer stopped before it answered")))
    }
}

impl DerivedRebuild {
    /// Adds rows. A few hundred to a few thousand at a time: each call is one step of the writer.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`; the rebuild is to be given up then.
    pub async fn add(&self, rows: Vec<Rebuilt>) -> Result<(), StoreError> {
        self.store.step(|answer| RebuildStep::Add { rows, answer }).await
    }

    /// Puts the new rows in the place of the old ones, in one transaction.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`; what stood there then stays.
    pub async fn finish(self) -> Result<RebuildReport, StoreError> {
        self.store.step(|answer| RebuildStep::Finish { swap: true, answer }).await
    }

    /// Only says in how many rows what stands there differs from what was added, and changes nothing.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn compare(self) -> Result<RebuildReport, StoreError> {
        self.store.step(|answer| RebuildStep::Finish { swap: false, answer }).await
    }
}

/// A step for the writer's thread.
#[derive(Debug)]
pub(super) enum RebuildStep {
    Begin { derived: Derived, gone: Arc<AtomicBool>, answer: oneshot::Sender<Result<(), StoreError>> },
    Add { rows: Vec<Rebuilt>, answer: oneshot::Sender<Result<(), StoreError>> },
    Finish { swap: bool, answer: oneshot::Sender<Result<RebuildReport, StoreError>> },
}

/// What the writer keeps of a rebuild; the rows are in temporary tables of its connection.
#[derive(Debug)]
pub(super) struct Rebuild {
    derived: Derived,
    gone: Arc<AtomicBool>,
}

const TABLES: &str = "
    DROP TABLE IF EXISTS temp.new_view; DROP TABLE IF EXISTS temp.new_outbox; DROP TABLE IF EXISTS temp.new_wake;";
const CREATE: &str = "
    CREATE TEMP TABLE new_view (name, key, filter, kind, id, seq, sum, value, PRIMARY KEY (name, key)) WITHOUT ROWID;
    CREATE TEMP TABLE new_outbox (kind, id, seq, idx, target_kind, target_id, sum, command,
        PRIMARY KEY (kind, id, seq, idx)) WITHOUT ROWID;
    CREATE TEMP TABLE new_wake (kind, id, wake, PRIMARY KEY (kind, id)) WITHOUT ROWID;";

/// Removes the temporary tables.
pub(super) fn clear(conn: &Connection) {
    if let Err(error) = conn.execute_batch(TABLES) {
        tracing::warn!(%error, "cannot remove the tables of a rebuild that was given up");
    }
}

impl Rebuild {
    pub(super) fn is_abandoned(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl RebuildStep {
    /// Answers without doing it.
    pub(super) fn refuse(self, error: StoreError) {
        // Whoever asked may have gone.
        let _ = match self {
            Self::Begin { answer, .. } | Self::Add { answer, .. } => answer.send(Err(error)).is_ok(),
            Self::Finish { answer, .. } => answer.send(Err(error)).is_ok(),
        };
    }

    /// Does it; an error of SQLite is answered and returned.
    pub(super) fn run(
        self,
        conn: &Connection,
        current: &mut Option<Rebuild>,
        may_append: bool,
    ) -> Option<rusqlite::Error> {
        match self {
            Self::Begin { .. } if !may_append => {
                self.refuse(unavailable("this store was opened beside a server; stop the server to rebuild"));
                None
            }
            Self::Begin { .. } if current.is_some() => {
                self.refuse(unavailable("another rebuild is under way"));
                None
            }
            Self::Add { .. } | Self::Finish { .. } if current.is_none() => {
                self.refuse(unavailable("the rebuild was given up; begin it again"));
                None
            }
            Self::Begin { derived, gone, answer } => {
                let made = conn.execute_batch(TABLES).and_then(|()| conn.execute_batch(CREATE));
                *current = made.is_ok().then_some(Rebuild { derived, gone });
                tell(answer, made)
            }
            Self::Add { rows, answer } => {
                let derived = current.as_ref().map_or(Derived::default(), |rebuild| rebuild.derived);
                tell(answer, add(conn, derived, &rows))
            }
            Self::Finish { swap, answer } => {
                let derived = current.take().map_or(Derived::default(), |rebuild| rebuild.derived);
                let report = finish(conn, derived, swap);
                clear_after(conn, &report);
                tell(answer, report)
            }
        }
    }
}

fn clear_after(conn: &Connection, report: &rusqlite::Result<RebuildReport>) {
    if report.is_err() && !conn.is_autocommit() {
        // A failed swap must be undone before the tables can go.
        if let Err(error) = conn.execute_batch("ROLLBACK") {
            tracing::warn!(%error, "cannot roll back a rebuild");
        }
    }
    clear(conn);
}

fn tell<T>(answer: oneshot::Sender<Result<T, StoreError>>, done: rusqlite::Result<T>) -> Option<rusqlite::Error> {
    let (told, error) = match done {
        Ok(value) => (Ok(value), None),
        Err(error) => (Err(refused(&error)), Some(error)),
    };
    let _ = answer.send(told);
    error
}

fn add(conn: &Connection, derived: Derived, rows: &[Rebuilt]) -> rusqlite::Result<()> {
    let adding = conn.unchecked_transaction()?;
    for row in rows {
        match row {
            Rebuilt::View { entity, seq, write } if derived.views => {
                put_view(&adding, "temp.new_view", entity, *seq, write)?;
            }
            Rebuilt::Timer { entity, wake } if derived.timers => {
                let sql = "INSERT OR REPLACE INTO temp.new_wake (kind, id, wake) VALUES (?1, ?2, ?3)";
                let wake = wake.map(|wake| wake.0);
                adding.prepare_cached(sql)?.execute((entity.kind.as_str(), &*entity.id, wake))?;
            }
            Rebuilt::Owed(owed) if derived.outbox => put_owed(&adding, "temp.new_outbox", owed)?,
            // Not asked for.
            _ => {}
        }
    }
    adding.commit()
}

/// The wake of an entity by the new rows.
const NEW_WAKE: &str = "(SELECT new.wake FROM temp.new_wake new WHERE new.kind = entity.kind AND new.id = entity.id)";

fn finish(conn: &Connection, derived: Derived, swap: bool) -> rusqlite::Result<RebuildReport> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
    // Rows on one side alone; a row that differs is on both.
    let differing = |old: &str, new: &str| {
        let one_way =
            |a: &str, b: &str| count(&format!("SELECT count(*) FROM (SELECT * FROM {a} EXCEPT SELECT * FROM {b})"));
        Ok::<_, rusqlite::Error>(one_way(old, new)?.max(one_way(new, old)?))
    };
    let mut report = RebuildReport::default();
    if derived.views {
        report.views = count("SELECT count(*) FROM temp.new_view")?;
        report.different += differing("main.view", "temp.new_view")?;
    }
    if derived.outbox {
        report.owed = count("SELECT count(*) FROM temp.new_outbox")?;
        report.different += differing("main.outbox", "temp.new_outbox")?;
    }
    if derived.timers {
        report.timers = count("SELECT count(*) FROM temp.new_wake WHERE wake IS NOT NULL")?;
        report.different += count(&format!("SELECT count(*) FROM entity WHERE wake IS NOT {NEW_WAKE}"))?;
    }
    if swap {
        if derived.views {
            conn.execute_batch("DELETE FROM main.view; INSERT INTO main.view SELECT * FROM temp.new_view;")?;
        }
        if derived.outbox {
            conn.execute_batch("DELETE FROM main.outbox; INSERT INTO main.outbox SELECT * FROM temp.new_outbox;")?;
        }
        if derived.timers {
            conn.execute_batch(&format!("UPDATE entity SET wake = {NEW_WAKE} WHERE wake IS NOT {NEW_WAKE}"))?;
        }
    }
    conn.execute_batch("COMMIT")?;
    Ok(report)
}
