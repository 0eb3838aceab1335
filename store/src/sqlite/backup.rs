//! Online backup: one file that opens as a store, consistent as of one moment, made while writes go on.
//!
//! The copy is made by SQLite's backup in one step on a connection of its own: one read transaction, so no commit gets
//! in between, and no commit waits for it. (In several steps it would start over with every commit.) Meanwhile the log
//! cannot be reset and grows. The copy is made under another name, checked, synced, and only then given its name: a
//! file under that name is a whole backup.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use adal_actors::ports::StoreError;
use rusqlite::{Connection, OpenFlags, backup::Backup};
use tokio::sync::oneshot;

use super::{SqliteStore, failure::refused, open};

/// A finished backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The file. To restore it: stop the server, move it to the store's path (without the old `-wal` and `-shm`).
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Journal rows in it.
    pub rows: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file already.
    #[error("{} exists; a backup never overwrites: give another path", .0.display())]
    Exists(PathBuf),
    /// The operating system refused.
    #[error("{}: {what}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Its answer.
        #[source]
        source: std::io::Error,
    },
    /// The copy could not be made, or is not sound (then the store is not either: run its check).
    #[error("no backup was made: {0}")]
    Store(#[source] StoreError),
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(refused(&error))
    }
}

impl SqliteStore {
    /// Copies the store to a new file at `to`, in an existing folder.
    ///
    /// # Errors
    /// See [`BackupError`]; no file is left then.
    pub async fn backup(&self, to: &Path) -> Result<BackupReport, BackupError> {
        let (from, to) = (self.inner.path.clone(), to.to_owned());
        let config = self.inner.config.clone();
        on_thread("adal-backup", move || {
            let source = open::reader(&config, &from)?;
            let partial = open::beside(&to, ".partial");
            let made = copy(&source, &to, &partial);
            if made.is_err() && !matches!(made, Err(BackupError::Exists(_))) {
                // It was ours alone; whether it is there or not, it is of no use.
                let _ = std::fs::remove_file(&partial);
            }
            made
        })
        .await
        .unwrap_or_else(|error| Err(BackupError::Store(error)))
    }
}

/// Runs something long on a thread of its own.
pub(super) async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || answer.send(work()).is_ok());
    thread.map_err(|e| super::unavailable(format!("cannot start a thread: {e}")))?;
    answered.await.map_err(|_| super::unavailable(format!("{name} was given up")))
}

fn copy(source: &Connection, to: &Path, partial: &Path) -> Result<BackupReport, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    // Left by a backup that was killed, or in the making by another one: either way it is not ours to write into.
    let io = |path: &Path, what, source| BackupError::Io { path: path.to_owned(), what, source };
    File::create_new(partial).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => BackupError::Exists(partial.to_owned()),
        _ => io(partial, "cannot make the file", e),
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(partial, flags)?;
    Backup::new(source, &mut target)?.step(-1)?;
    // One file, not three: the copy says "WAL" in its header, as the store does; a server sets that again.
    target.execute_batch("PRAGMA journal_mode = DELETE")?;
    let found: String = target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(BackupError::Store(super::layout::corrupt(format!("the copy is not sound: {found}"))));
    }
    let rows: i64 = target.query_row("SELECT count(*) FROM journal", [], |row| row.get(0))?;
    drop(target);
    let file = File::open(partial).map_err(|e| io(partial, "cannot open", e))?;
    file.sync_all().map_err(|e| io(partial, "cannot sync", e))?;
    let bytes = file.metadata().map_err(|e| io(partial, "cannot read its size", e))?.len();
    // hard_link, unlike rename, never replaces a file that came up meanwhile.
    std::fs::hard_link(partial, to).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => io(to, "cannot name the file", e),
    })?;
    std::fs::remove_file(partial).map_err(|e| io(partial, "cannot remove the other name", e))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| io(folder, "cannot sync", e))?;
    Ok(BackupReport { path: to.to_owned(), bytes, rows: rows.cast_unsigned() })
}
