//! The embedded store: the ports on one SQLite file.
//!
//! **Who does what.** One writer thread owns the only connection that changes the file (`writer`); a few reader
//! threads own one connection each that cannot (`reader`); one more copies the log into the file (`checkpoint`). Callers, on
//! whatever thread, put a request into a bounded queue and await the answer; a full queue is `Unavailable` at once. Checks
//! and backups run on threads and connections of their own. No connection is ever used by two threads.
//!
//! **One server per file**: [`SqliteStore::open`] takes a lock that the operating system releases when the process dies.
//! The CLI opens the same file beside it ([`SqliteStore::open_shared`]) for keys and backups, and cannot append.
//!
//! **What must never happen**: an answer before its fsync; "nothing was written" about something that may turn up
//! later; a damaged row handed out as a good one. The modules say how each is kept.
//!
//! What SQLite does for us: a transaction makes a row, its views, its timer and its outbox durable together, or none.
//! What it does not: it has no checksums, so bodies carry their own (`layout`).

mod apply;
mod backup;
mod check;
mod checkpoint;
mod codes;
mod counts;
mod failure;
mod importing;
mod keys;
mod layout;
mod log;
mod open;
mod periods;
mod queries;
mod reader;
mod rebuild;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use adal_actors::ports::{Append, Journal, Opened, OwedEffect, StoreError, StoredRow, StoredSnapshot, ViewRow, Views};
use adal_domain::{
    entity::{EntityKey, EntityKind, View},
    time::Timestamp,
};
use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::{
    apply::Work,
    checkpoint::Checkpointer,
    layout::unavailable,
    open::Lock,
    reader::Readers,
    shared::Shared,
    writer::{Command, Item, Writer},
};
pub use self::{
    backup::{BackupError, BackupReport},
    check::{Depth, IntegrityReport},
    failure::OpenError,
    open::FORMAT,
    rebuild::{Derived, DerivedRebuild, RebuildReport, Rebuilt},
};
use crate::storage::{Health, Storage};

/// How long closing waits for the threads. What is queued is done well within it, unless the disk hangs.
const CLOSE: Duration = Duration::from_secs(30);

/// How a file is opened.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The database file. Its folder is made if need be; `-wal`, `-shm` and `.lock` files stand beside it.
    pub path: PathBuf,
    /// Writes that may wait for the writer. One more is `Unavailable`.
    pub queue: usize,
    /// Writes that are committed together at most. Bounds how long one transaction, and so one answer, can take.
    pub max_batch_rows: usize,
    /// Threads (with a connection each) that read.
    pub readers: usize,
    /// Page cache of each connection, in KiB.
    pub cache_kib: u32,
    /// Pages (of 4 KiB) in the log before they are copied into the file, beside the commits. Four times as many, and
    /// a commit does it.
    pub checkpoint_pages: u32,
}

impl SqliteConfig {
    /// The defaults, for the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            queue: 4096,
            max_batch_rows: 512,
            readers: 2,
            cache_kib: 32 * 1024,
            checkpoint_pages: 4096,
        }
    }
}

/// What was committed since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Transactions, each one fsync.
    pub transactions: u64,
    /// Journal rows in them.
    pub rows: u64,
}

/// A store in one SQLite file. Cheap to clone; the last clone that is dropped, or [`SqliteStore::close`], ends it.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commands: SyncSender<Command>,
    readers: Readers,
    shared: Arc<Shared>,
    config: SqliteConfig,
    path: PathBuf,
    running: Mutex<Option<Running>>,
}

/// What ends with the store.
#[derive(Debug)]
struct Running {
    writer: JoinHandle<()>,
    readers: Vec<JoinHandle<()>>,
    /// Goes last: as long as a thread may write, no other server may start.
    lock: Option<Lock>,
}

impl SqliteStore {
    /// Opens the file for a server, alone: makes it if there is none, and refuses it if anything is wrong with it. Waits
    /// for the disk: call it at start, not on a thread that serves. A metrics recorder has to be installed before.
    ///
    /// # Errors
    /// See [`OpenError`]; each says which file and what to do.
    pub fn open(config: SqliteConfig) -> Result<Self, OpenError> {
        let path = open::resolve(&config.path, true)?;
        let lock = Lock::take(&path)?;
        Self::start(config, path, Some(lock))
    }

    /// Opens the file beside a server, for API keys, backups and reading. Appends, snapshots and rebuilds are refused.
    ///
    /// # Errors
    /// See [`OpenError`]; a file that is not there is one.
    pub fn open_shared(config: SqliteConfig) -> Result<Self, OpenError> {
        let path = open::resolve(&config.path, false)?;
        Self::start(config, path, None)
    }

    fn start(config: SqliteConfig, path: PathBuf, lock: Option<Lock>) -> Result<Self, OpenError> {
        let conn = open::writer(&config, &path, lock.is_some())?;
        let (readers, reader_threads) = Readers::start(&config, &path)?;
        let shared = Arc::new(Shared::default());
        let (commands, queue) = sync_channel(config.queue.max(1));
        let checkpointer = Checkpointer::start(&config, &path)?;
        let writer = Writer::new(conn, checkpointer, config.clone(), path.clone(), lock.is_some(), Arc::clone(&shared));
        let writer = std::thread::Builder::new()
            .name("adal-write".into())
            .spawn(move || writer.run(&queue))
            .map_err(|source| OpenError::Io { path: path.clone(), what: "cannot start a thread", source })?;
        let running = Mutex::new(Some(Running { writer, readers: reader_threads, lock }));
        metrics::describe_counter!("adal_journal_errors_total", "Writes that the journal did not do, by kind");
        Ok(Self { inner: Arc::new(Inner { commands, readers, shared, config, path, running }) })
    }

    /// Does what is queued, copies the log into the file, ends the threads and gives up the lock. Other clones get
    /// `Unavailable` from then on. Waits at most 30 s, for the disk.
    ///
    /// # Errors
    /// `Unavailable`: the threads did not end in time. The lock is then kept until the process ends.
    pub fn close(self) -> Result<(), StoreError> {
        self.inner.end()
    }

    /// The file, as resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What was committed since it was opened.
    #[must_use]
    pub fn committed(&self) -> Committed {
        Committed {
            transactions: self.inner.shared.commits.load(Ordering::Relaxed),
            rows: self.inner.shared.rows.load(Ordering::Relaxed),
        }
    }

    /// Queues something for the writer.
    fn send(&self, command: Command) -> Result<(), StoreError> {
        self.inner.commands.try_send(command).map_err(|e| match e {
            TrySendError::Full(_) => unavailable("too many writes are waiting"),
            TrySendError::Disconnected(_) => unavailable("the store is closed"),
        })
    }

    /// Has something made durable, and counts what was not.
    async fn write(&self, work: Work) -> Result<usize, StoreError> {
        let (answer, answered) = oneshot::channel();
        // Counted before it is sent: the writer takes it off again, and must find it there.
        self.inner.shared.queued.fetch_add(1, Ordering::Relaxed);
        let done = match self.send(Command::Write(Box::new(Item { work, answer }))) {
            Ok(()) => answered
                .await
                .unwrap_or_else(|_| Err(StoreError::InDoubt("the writer stopped before it answered".into()))),
            Err(error) => {
                self.inner.shared.queued.fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        };
        if let Err(error) = &done {
            let kind = match error {
                StoreError::Fenced(_) => "fenced",
                StoreError::InDoubt(_) => "in_doubt",
                StoreError::Unavailable(_) => "unavailable",
                StoreError::Corrupt(_) => "corrupt",
            };
            metrics::counter!("adal_journal_errors_total", "kind" => kind).increment(1);
        }
        done
    }

    /// Runs a read on one of the readers' threads.
    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.readers.run(read).await
    }
}

impl Inner {
    fn end(&self) -> Result<(), StoreError> {
        let Some(mut running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        const STEP: Duration = Duration::from_millis(2);
        let mut left = CLOSE;
        let mut pause = || {
            std::thread::sleep(STEP);
            left = left.saturating_sub(STEP);
            !left.is_zero()
        };
        // Readers first: what they read may hold the log back. One message ends one of them.
        let mut to_stop = running.readers.len();
        let mut told = false;
        loop {
            while to_stop > 0 && self.readers.stop_one() {
                to_stop -= 1;
            }
            if to_stop == 0 && running.readers.iter().all(JoinHandle::is_finished) && !told {
                told = !matches!(self.commands.try_send(Command::Shutdown), Err(TrySendError::Full(_)));
            }
            if running.writer.is_finished() && running.readers.iter().all(JoinHandle::is_finished) {
                return Ok(());
            }
            if !pause() {
                // The lock must outlive a thread that may still write.
                std::mem::forget(running.lock.take());
                return Err(unavailable("the store's threads did not end in time; it stays locked"));
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, path = %self.path.display(), "closing the store");
        }
    }
}

#[async_trait]
impl Storage for SqliteStore {
    fn health(&self) -> Health {
        self.inner.shared.health()
    }

    fn place(&self) -> String {
        self.inner.path.display().to_string()
    }

    async fn is_importing(&self) -> Result<bool, StoreError> {
        self.read(importing::stands).await
    }

    async fn set_importing(&self, importing: bool) -> Result<(), StoreError> {
        self.write(Work::SetImporting(importing)).await.map(drop)
    }

    /// A row goes on where the rows end: nothing has to be void.
    async fn append_anew(&self, append: Append) -> Result<(), StoreError> {
        self.append(append).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        // It waits for the threads, and they for the disk.
        let closed = tokio::task::spawn_blocking(move || inner.end());
        closed.await.unwrap_or_else(|error| Err(unavailable(error.to_string())))
    }
}

#[async_trait]
impl Journal for SqliteStore {
    async fn open(&self, entity: &EntityKey) -> Result<Opened, StoreError> {
        let entity = entity.clone();
        self.read(move |conn| queries::open(conn, &entity)).await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.write(Work::Append(append)).await.map(drop)
    }

    async fn snapshot(&self, entity: &EntityKey, snapshot: StoredSnapshot) -> Result<(), StoreError> {
        self.write(Work::Snapshot(entity.clone(), snapshot)).await.map(drop)
    }

    async fn rows(
        &self,
        entity: &EntityKey,
        from_seq: u64,
        to_seq: u64,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let entity = entity.clone();
        self.read(move |conn| queries::rows(conn, &entity, (from_seq, to_seq), limit, descending)).await
    }

    async fn seq_at(&self, entity: &EntityKey, at: Timestamp) -> Result<Option<u64>, StoreError> {
        let entity = entity.clone();
        self.read(move |conn| queries::seq_at(conn, &entity, at)).await
    }

    async fn owed(&self, after: Option<(EntityKey, u64, u32)>, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
        self.read(move |conn| queries::owed(conn, after.as_ref(), limit)).await
    }

    async fn owed_by(&self, source: &EntityKey, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
        let source = source.clone();
        self.read(move |conn| queries::owed_by(conn, &source, limit)).await
    }

    async fn delivered(&self, effects: Vec<(EntityKey, u64, u32)>) -> Result<(), StoreError> {
        self.write(Work::Delivered(effects)).await.map(drop)
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, EntityKey)>, StoreError> {
        self.read(move |conn| queries::due(conn, until, limit)).await
    }

    async fn entities(
        &self,
        kind: EntityKind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        let after = after.map(str::to_owned);
        self.read(move |conn| queries::entities(conn, kind, after.as_deref(), limit)).await
    }
}

#[async_trait]
impl Views for SqliteStore {
    async fn get(&self, view: View, key: &str) -> Result<Option<ViewRow>, StoreError> {
        let key = key.to_owned();
        self.read(move |conn| queries::view(conn, view, &key)).await
    }

    async fn list(
        &self,
        view: View,
        filter: Option<&str>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ViewRow>, StoreError> {
        let (filter, before) = (filter.map(str::to_owned), before.map(str::to_owned));
        self.read(move |conn| queries::views(conn, view, filter.as_deref(), before.as_deref(), limit)).await
    }
}
