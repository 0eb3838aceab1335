//! The writer: one thread, one connection, the only one that changes the file.
//!
//! Whatever waits in the queue is committed in one transaction with one fsync, and only then answered (group commit):
//! under load the fsync is shared, and a lone write does not wait for company. What must never happen: an `Ok` before
//! the commit returned, and an error that says "not written" about something that may yet turn up.
//!
//! What is patient (batches of unique codes, counts of banners) waits until nothing else does, one at a time and in a
//! transaction of its own, so that no append waits behind a whole job of them; under a load that never ends it has its
//! turn every few batches.
//!
//! How a failed commit is settled. A statement that fails (no room, a bad disk) fails the transaction before its commit
//! mark exists: nothing was written, all of the batch are told so. A COMMIT that fails may leave a whole transaction in
//! the log *file* that SQLite does not count (its index in memory stays behind); a crash at that moment, and recovery
//! would count it. So the writer commits something small: that goes over the same place in the log, and with its fsync
//! the old one is gone for good. Then what is in the file is the truth, and is read. If that does not succeed either,
//! the answer is `InDoubt`: the caller repeats the same request, and the repeat settles it in the same way.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use adal_actors::ports::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    SqliteConfig,
    apply::{Done, Fault, Work, apply, present},
    checkpoint::Checkpointer,
    failure::{Class, classify, refused},
    layout::{corrupt, unavailable},
    open,
    rebuild::{Rebuild, RebuildStep},
    shared::{Meters, Shared},
};

/// What an item's caller is told: on how many entries it had an effect.
pub(super) type Answer = Result<usize, StoreError>;

/// How often the writer looks whether an error is over while nobody asks it to write.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How much room there has to be before the store calls itself healthy again.
const PROBE_BYTES: u32 = 128 * 1024;
/// How often a busy file is tried again; each try waits for the connection's own time-out (5 s).
const BUSY_TRIES: u32 = 3;

/// So many batches may go before what is patient has its turn.
const PATIENCE: u32 = 8;

/// A write that waits.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What the writer is asked.
pub(super) enum Command {
    /// Make it durable.
    Write(Box<Item>),
    /// A step of a rebuild of what is derived.
    Rebuild(RebuildStep),
    /// Copy the log into the file and end.
    Shutdown,
    /// Run this on the writer's connection.
    #[cfg(test)]
    Run(Box<dyn FnOnce(&Connection) + Send>, oneshot::Sender<()>),
}

/// The writer's thread.
pub(super) struct Writer {
    /// `None` after an error, until it could be opened again.
    conn: Option<Connection>,
    checkpointer: Option<Checkpointer>,
    config: SqliteConfig,
    path: PathBuf,
    may_append: bool,
    shared: Arc<Shared>,
    meters: Meters,
    /// The number for the next new entity; `None`: to be read (at first, and after a rollback).
    next_num: Option<i64>,
    rebuild: Option<Rebuild>,
    /// Writes that wait until nothing else does; few, since who sends them waits for each.
    patient: VecDeque<Item>,
    /// Batches since the last of them.
    passed: u32,
    /// The file is damaged: writing on would make it worse. Reads go on; a restart looks at the file again.
    damaged: Option<Arc<str>>,
}

/// How a transaction failed.
enum Failed {
    /// Before the commit: nothing was written.
    Before(rusqlite::Error),
    /// In the commit.
    Commit(rusqlite::Error),
}

impl Writer {
    pub(super) fn new(
        conn: Connection,
        checkpointer: Checkpointer,
        config: SqliteConfig,
        path: PathBuf,
        may_append: bool,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            conn: Some(conn),
            checkpointer: Some(checkpointer),
            config,
            path,
            may_append,
            shared,
            meters: Meters::new(),
            next_num: None,
            rebuild: None,
            patient: VecDeque::new(),
            passed: 0,
            damaged: None,
        }
    }

    /// Serves the queue until it is told to end, or every handle of the store is gone.
    pub(super) fn run(mut self, queue: &Receiver<Command>) {
        loop {
            if !self.patient.is_empty() {
                match queue.try_recv() {
                    Ok(first) if self.passed < PATIENCE => {
                        self.passed += 1;
                        if !self.take(first, queue) {
                            break;
                        }
                    }
                    Ok(first) => {
                        self.do_patient();
                        if !self.take(first, queue) {
                            break;
                        }
                    }
                    Err(_) => self.do_patient(),
                }
                continue;
            }
            // While something is wrong, or a rebuild is under way, silence is interrupted to look after it.
            let attentive = self.health_is_bad() || self.rebuild.is_some();
            let wait = if attentive { PROBE_EVERY } else { Duration::from_secs(3600) };
            match queue.recv_timeout(wait) {
                Ok(first) => {
                    if !self.take(first, queue) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.drop_abandoned_rebuild();
                    if self.health_is_bad() {
                        self.probe();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What came after the word to end was not done, and is told so.
        for item in self.patient.drain(..) {
            let _ = item.answer.send(Err(unavailable("the store is closed")));
        }
        while let Ok(command) = queue.try_recv() {
            if let Command::Write(item) = command {
                let _ = item.answer.send(Err(unavailable("the store is closed")));
            }
        }
        self.rebuild = None;
        if let Some(checkpointer) = self.checkpointer.take() {
            checkpointer.end();
        }
        if let Some(conn) = self.conn.take() {
            // The next start has no log to go through; without it, it has, and loses nothing.
            if let Err(error) = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
                tracing::warn!(%error, "the log was not copied into the file; the next start does it");
            }
        }
    }

    /// Takes everything that waits, up to the bound, and does it. False: time to end.
    fn take(&mut self, first: Command, queue: &Receiver<Command>) -> bool {
        let mut batch = Vec::new();
        let mut next = Some(first);
        let mut other = None;
        while let Some(command) = next {
            match command {
                Command::Write(item) if item.work.is_patient() => self.patient.push_back(*item),
                Command::Write(item) => batch.push(*item),
                command => {
                    // Something that is no write ends the batch, so that order is kept.
                    other = Some(command);
                    break;
                }
            }
            next = if batch.len() < self.config.max_batch_rows.max(1) { queue.try_recv().ok() } else { None };
        }
        if !batch.is_empty() {
            self.guarded(batch);
        }
        match other {
            None | Some(Command::Write(_)) => true,
            Some(Command::Rebuild(step)) => {
                self.step(step);
                true
            }
            Some(Command::Shutdown) => false,
            #[cfg(test)]
            Some(Command::Run(run, done)) => {
                if let Some(conn) = &self.conn {
                    run(conn);
                }
                let _ = done.send(());
                true
            }
        }
    }

    /// Does the oldest of what is patient.
    fn do_patient(&mut self) {
        self.passed = 0;
        if let Some(item) = self.patient.pop_front() {
            self.guarded(vec![item]);
        }
    }

    /// Commits a batch and answers it, whatever happens.
    fn guarded(&mut self, batch: Vec<Item>) {
        let left = self.shared.queued.fetch_sub(batch.len(), Ordering::Relaxed) - batch.len();
        #[expect(clippy::cast_precision_loss, reason = "a queue's length is far below 2^52")]
        self.meters.queue.set(left as f64);
        // A panic drops the senders of the batch: their callers learn that the outcome is not known.
        if catch_unwind(AssertUnwindSafe(|| self.batch(batch))).is_err() {
            tracing::error!("the journal's writer panicked; its connection is opened again");
            self.reopen();
        }
    }

    /// Commits a batch and answers it.
    fn batch(&mut self, items: Vec<Item>) {
        let answers = self.commit_or_explain(&items);
        for (item, answer) in items.into_iter().zip(answers) {
            // Whoever asked may have gone. What was done stays done.
            let _ = item.answer.send(answer);
        }
    }

    fn commit_or_explain(&mut self, items: &[Item]) -> Vec<Answer> {
        let all = |error: &StoreError| items.iter().map(|_| Err(error.clone())).collect::<Vec<Answer>>();
        if let Some(what) = &self.damaged {
            return all(&StoreError::Corrupt(Arc::clone(what)));
        }
        if self.rebuild.is_some() {
            self.drop_abandoned_rebuild();
        }
        let mut tries = 1;
        loop {
            let failed = match self.transaction(items) {
                Ok(answers) => return answers,
                Err(failed) => failed,
            };
            self.roll_back();
            match failed {
                Failed::Before(error) if classify(&error) == Class::Busy && tries < BUSY_TRIES => tries += 1,
                // One row that fails must not take the others with it: each on its own, to learn whose it is. Damage
                // ends that: what comes before it is committed, and from it on nothing is written, the rest of this
                // batch as little as the next one. A write that goes through a damaged page, or takes a page that
                // only the damage calls free, would spoil what is still whole. They are told `Corrupt`, and nothing
                // of theirs is in the file.
                Failed::Before(error)
                    if items.len() > 1 && matches!(classify(&error), Class::Corrupt | Class::Other) =>
                {
                    let alone = items.chunks(1).flat_map(|one| self.commit_or_explain(one)).collect();
                    return alone;
                }
                Failed::Before(error) => {
                    self.fall_ill(&error);
                    return all(&refused(&error));
                }
                // No room for the commit mark: it was not written, and its page is the last of a transaction.
                Failed::Commit(error) if classify(&error) == Class::Full => {
                    self.fall_ill(&error);
                    return all(&refused(&error));
                }
                Failed::Commit(error) => return self.settle(items, &error),
            }
        }
    }

    /// One transaction, its fsync included.
    fn transaction(&mut self, items: &[Item]) -> Result<Vec<Answer>, Failed> {
        let started = now();
        self.ensure_open().map_err(Failed::Before)?;
        let Some(conn) = self.conn.as_ref() else { return Ok(Vec::new()) };
        let frozen = self.rebuild.is_some();
        let before = Failed::Before;
        // IMMEDIATE: the write lock now, so that no statement finds itself without it half-way.
        conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])).map_err(before)?;
        let mut next_num = match self.next_num {
            Some(num) => num,
            None => {
                conn.query_row("SELECT coalesce(max(num), 0) + 1 FROM entity", [], |row| row.get(0)).map_err(before)?
            }
        };
        let (mut answers, mut rows, mut others) = (Vec::with_capacity(items.len()), 0, 0);
        for item in items {
            if frozen && matches!(item.work, Work::Append(_)) {
                answers.push(Err(unavailable("what is derived from the journal is being rebuilt")));
                continue;
            }
            match apply(conn, &item.work, &mut next_num, self.may_append) {
                Ok(Done::Rows(count)) => {
                    rows += count;
                    answers.push(Ok(count));
                }
                Ok(Done::Other(count)) => {
                    others += count;
                    answers.push(Ok(count));
                }
                Err(Fault::Own(error)) => answers.push(Err(error)),
                Err(Fault::Sql(error)) => return Err(Failed::Before(error)),
            }
        }
        self.commit(conn).map_err(Failed::Commit)?;
        self.next_num = Some(next_num);
        if rows + others == 0 {
            // Nothing but repeats and refusals: no write, no fsync, and no news about the disk.
            return Ok(answers);
        }
        self.get_well();
        if let Some(checkpointer) = &self.checkpointer {
            checkpointer.look();
        }
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.meters.rows.increment(rows as u64);
        if rows > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52 rows")]
            self.meters.batch_rows.record(rows as f64);
            self.meters.commit_seconds.record(started.elapsed());
        }
        Ok(answers)
    }

    fn commit(&self, conn: &Connection) -> rusqlite::Result<()> {
        #[cfg(test)]
        {
            use super::shared::Planted;
            let planted = self.shared.planted.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let error = || {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
                Err(rusqlite::Error::SqliteFailure(code, Some("planted".into())))
            };
            match planted {
                Some(Planted::AfterCommit) => {
                    conn.execute_batch("COMMIT")?;
                    return error();
                }
                Some(Planted::InsteadOfCommit) => return error(),
                None => {}
            }
        }
        conn.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    /// Finds out what became of a batch whose commit failed. See the module.
    fn settle(&mut self, items: &[Item], error: &rusqlite::Error) -> Vec<Answer> {
        tracing::error!(%error, rows = items.len(), "a commit failed; finding out what is in the file");
        self.fall_ill(error);
        self.reopen();
        let settled = self.ensure_open().and_then(|()| match &self.conn {
            Some(conn) => {
                conn.execute_batch("BEGIN IMMEDIATE; UPDATE meta SET value = value + 1 WHERE name = 'settled'")?;
                self.commit(conn)
            }
            None => Ok(()),
        });
        let (Ok(()), Some(conn)) = (&settled, &self.conn) else {
            self.roll_back();
            let doubt = StoreError::InDoubt(error.to_string().into());
            return items.iter().map(|_| Err(doubt.clone())).collect();
        };
        let answer = |item: &Item| match &item.work {
            Work::Append(wanted) => match present(conn, &wanted.entity, &wanted.row) {
                Ok(Some(())) => Ok(1),
                Ok(None) => Err(refused(error)),
                Err(own) => Err(own),
            },
            // Everything else may be repeated without harm, whatever became of it.
            _ => Err(refused(error)),
        };
        items.iter().map(answer).collect()
    }

    fn ensure_open(&mut self) -> rusqlite::Result<()> {
        if self.conn.is_none() {
            self.conn = Some(open::again(&self.config, &self.path)?);
        }
        Ok(())
    }

    fn reopen(&mut self) {
        // A rebuild's tables live in the connection: they are gone with it.
        (self.conn, self.next_num, self.rebuild) = (None, None, None);
        if let Err(error) = self.ensure_open() {
            tracing::error!(%error, path = %self.path.display(), "cannot open the store again");
        }
    }

    fn roll_back(&mut self) {
        self.next_num = None;
        let Some(conn) = &self.conn else { return };
        if !conn.is_autocommit()
            && let Err(error) = conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back; the connection is opened again");
            self.reopen();
        }
    }

    fn health_is_bad(&self) -> bool {
        self.shared.sick.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn fall_ill(&mut self, error: &rusqlite::Error) {
        let class = classify(error);
        let reason: Arc<str> = match class {
            // Not the file's fault; it may well take the next batch.
            Class::Busy | Class::Other => return,
            Class::Full => format!("no room on the disk: {error}").into(),
            Class::Io => error.to_string().into(),
            Class::Corrupt => format!("the file is damaged: {error}; run the check and restore a backup").into(),
        };
        tracing::error!(%error, path = %self.path.display(), "the journal cannot be written");
        if class == Class::Corrupt {
            self.damaged = Some(Arc::clone(&reason));
        }
        if class == Class::Io {
            self.reopen();
        }
        *self.shared.sick.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    fn get_well(&self) {
        let mut sick = self.shared.sick.lock().unwrap_or_else(PoisonError::into_inner);
        if sick.take().is_some() {
            tracing::info!(path = %self.path.display(), "the journal can be written again");
        }
    }

    /// Looks whether there is room again, by taking some and giving it back: a server that is not ready gets no requests
    /// that would find out.
    fn probe(&mut self) {
        if self.damaged.is_some() {
            return;
        }
        let tried = self.ensure_open().and_then(|()| match &self.conn {
            Some(conn) => conn.execute_batch(&format!(
                "BEGIN IMMEDIATE; INSERT OR REPLACE INTO meta (name, value) VALUES ('room', zeroblob({PROBE_BYTES}));
                 COMMIT; DELETE FROM meta WHERE name = 'room';"
            )),
            None => Ok(()),
        });
        match tried {
            Ok(()) => self.get_well(),
            Err(error) => {
                self.roll_back();
                tracing::debug!(%error, "the journal still cannot be written");
            }
        }
    }

    fn drop_abandoned_rebuild(&mut self) {
        if self.rebuild.as_ref().is_some_and(Rebuild::is_abandoned) {
            self.rebuild = None;
            if let Some(conn) = &self.conn {
                super::rebuild::clear(conn);
            }
        }
    }

    fn step(&mut self, step: RebuildStep) {
        if let Some(what) = &self.damaged {
            return step.refuse(corrupt(what));
        }
        self.drop_abandoned_rebuild();
        if let Err(error) = self.ensure_open() {
            return step.refuse(refused(&error));
        }
        let Some(conn) = &self.conn else { return step.refuse(unavailable("the store cannot be opened")) };
        let failed = step.run(conn, &mut self.rebuild, self.may_append);
        if let Some(error) = failed {
            self.roll_back();
            self.fall_ill(&error);
        }
    }
}

/// For durations alone; what time it is never matters here.
#[expect(clippy::disallowed_methods, reason = "how long a commit took is measured, not decided upon")]
fn now() -> Instant {
    Instant::now()
}
