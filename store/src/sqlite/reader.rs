//! The readers: a few threads, each with a connection that cannot write, and one bounded queue before them.
//!
//! A reader thread owns its connection; nothing else touches it. What asks (an actor's thread, a request's) hands over a
//! closure and awaits the answer: no caller ever waits for the disk on its own thread. A full queue is `Unavailable`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread::JoinHandle,
};

use adal_actors::ports::StoreError;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use metrics::Counter;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{SqliteConfig, failure::OpenError, layout::unavailable, open};

/// Reads that wait for a thread, per thread. Beyond, a caller is better off with "unavailable" than with the wait.
const QUEUE_PER_READER: usize = 1024;

/// What a thread is given; it answers whether its connection is still good.
type Read = Box<dyn FnOnce(&Connection) -> bool + Send>;

enum Job {
    Run(Read),
    Stop,
}

/// The way to the reader threads.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Sender<Job>,
    reads: Counter,
}

impl Readers {
    /// Opens the connections and starts the threads.
    pub(super) fn start(config: &SqliteConfig, path: &Path) -> Result<(Self, Vec<JoinHandle<()>>), OpenError> {
        let count = config.readers.max(1);
        // One queue that all of them wait at: a job wakes one thread, and goes to whichever is free.
        let (queue, jobs) = bounded(count.saturating_mul(QUEUE_PER_READER));
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let conn = open::reader(config, path).map_err(|e| open::judge(path, "cannot open for reading", e))?;
            let (jobs, config, file) = (jobs.clone(), config.clone(), path.to_owned());
            let thread = std::thread::Builder::new()
                .name(format!("adal-read-{number}"))
                .spawn(move || serve(conn, &jobs, &config, &file))
                .map_err(|source| OpenError::Io { path: path.to_owned(), what: "cannot start a thread", source })?;
            threads.push(thread);
        }
        metrics::describe_counter!("adal_store_reads_total", "Reads that the store was asked for");
        Ok((Self { queue, reads: metrics::counter!("adal_store_reads_total") }, threads))
    }

    /// Runs `read` on one of the threads.
    pub(super) async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.reads.increment(1);
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |conn: &Connection| {
            let found = read(conn);
            let good = !matches!(found, Err(StoreError::Unavailable(_)));
            // Whoever asked may have gone; there is nothing to tell then.
            let _ = answer.send(found);
            good
        });
        self.queue.try_send(Job::Run(job)).map_err(|e| match e {
            TrySendError::Full(_) => unavailable("too many reads are waiting"),
            TrySendError::Disconnected(_) => unavailable("the store is closed"),
        })?;
        answered.await.unwrap_or_else(|_| Err(unavailable("the read was given up")))
    }

    /// Tells one thread to end, after what is queued. False where the queue is full: try again.
    pub(super) fn stop_one(&self) -> bool {
        !matches!(self.queue.try_send(Job::Stop), Err(TrySendError::Full(_)))
    }
}

fn serve(conn: Connection, jobs: &Receiver<Job>, config: &SqliteConfig, path: &Path) {
    let mut conn = Some(conn);
    while let Ok(Job::Run(read)) = jobs.recv() {
        if conn.is_none() {
            match open::reader(config, path) {
                Ok(opened) => conn = Some(opened),
                Err(error) => tracing::error!(%error, path = %path.display(), "cannot open the store for reading"),
            }
        }
        // Without a connection the job is dropped, and with it the sender: the caller gets `Unavailable`.
        let good = conn.as_ref().is_some_and(|conn| catch_unwind(AssertUnwindSafe(|| read(conn))).unwrap_or(false));
        if !good {
            conn = None;
        }
    }
}
