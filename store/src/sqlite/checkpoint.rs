//! The checkpointer: one thread with a connection of its own that copies the log into the file while the writer goes on.
//!
//! If the writer's commits did it (SQLite's default), every so many commits one would take a hundred times as long, with
//! everyone behind it waiting. A copy made beside them never reaches the log's end while they go on, and only a log that
//! was copied to its end starts over; so the writer's own checkpoint remains, as a bound far above: it finds little left
//! to copy, and the log starts over with the next commit.
//!
//! This thread never changes what the file says, and losing it costs time alone.

use std::{
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;

use super::{SqliteConfig, failure::OpenError, open};

/// The least time between two looks at the log: a look costs a few microseconds, a commit a hundred times that.
const PAUSE: Duration = Duration::from_millis(10);

/// The writer's end of it.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Opens its connection and starts its thread.
    pub(super) fn start(config: &SqliteConfig, path: &Path) -> Result<Self, OpenError> {
        let conn = open::again(config, path).map_err(|e| open::judge(path, "cannot open for checkpoints", e))?;
        let (wake, woken) = sync_channel(1);
        let pages = i64::from(config.checkpoint_pages);
        let thread = std::thread::Builder::new()
            .name("adal-checkpoint".into())
            .spawn(move || serve(&conn, &woken, pages))
            .map_err(|source| OpenError::Io { path: path.to_owned(), what: "cannot start a thread", source })?;
        Ok(Self { wake, thread })
    }

    /// There is more in the log now.
    pub(super) fn look(&self) {
        // A full channel: it is going to look anyway.
        let _ = self.wake.try_send(());
    }

    /// Waits for the copy that is being made, if one is, and ends.
    pub(super) fn end(self) {
        drop(self.wake);
        if self.thread.join().is_err() {
            tracing::error!("the checkpointer had panicked");
        }
    }
}

fn serve(conn: &Connection, woken: &Receiver<()>, pages: i64) {
    while woken.recv().is_ok() {
        if let Err(error) = copy(conn, pages) {
            // The log grows until it works again, or until the writer's own checkpoint; nothing is lost by it.
            tracing::warn!(%error, "cannot copy the log into the file");
        }
        std::thread::sleep(PAUSE);
    }
}

/// Copies the log if so many of its pages are not copied yet.
fn copy(conn: &Connection, pages: i64) -> rusqlite::Result<()> {
    let mut look = conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
    let (logged, copied): (i64, i64) = look.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?;
    if logged - copied >= pages {
        conn.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))?;
    }
    Ok(())
}
