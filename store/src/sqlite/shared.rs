//! What the writer's thread and the store's handles both see, and what the writer measures.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize},
};

use metrics::{Counter, Gauge, Histogram};

use crate::storage::Health;

/// What the writer's thread shares with the store's handles.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Items in the queue.
    pub(super) queued: AtomicUsize,
    /// Transactions committed that wrote something for an item.
    pub(super) commits: AtomicU64,
    /// Journal rows committed.
    pub(super) rows: AtomicU64,
    /// Why nothing can be written, if so.
    pub(super) sick: Mutex<Option<Arc<str>>>,
    /// Errors to come, for tests of what cannot be caused from outside.
    #[cfg(test)]
    pub(super) planted: Mutex<Vec<Planted>>,
}

/// An error of COMMIT for tests.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// COMMIT succeeds, and an error is reported.
    AfterCommit,
    /// COMMIT does not happen, and an error is reported.
    InsteadOfCommit,
}

impl Shared {
    /// What `/readyz` says.
    pub(super) fn health(&self) -> Health {
        match &*self.sick.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Health::Healthy,
            Some(reason) => Health::ReadOnly { reason: Arc::clone(reason) },
        }
    }
}

/// The writer's measures, looked up once: a look-up per commit would cost more than the counting.
#[derive(Debug)]
pub(super) struct Meters {
    pub(super) batch_rows: Histogram,
    pub(super) commit_seconds: Histogram,
    pub(super) rows: Counter,
    pub(super) queue: Gauge,
}

impl Meters {
    pub(super) fn new() -> Self {
        metrics::describe_histogram!("adal_journal_batch_rows", "Journal rows made durable by one commit");
        metrics::describe_histogram!("adal_journal_commit_seconds", "A transaction of the journal, its fsync included");
        metrics::describe_counter!("adal_journal_rows_total", "Journal rows made durable");
        metrics::describe_gauge!("adal_journal_queue", "Writes that wait for the journal's writer");
        Self {
            batch_rows: metrics::histogram!("adal_journal_batch_rows"),
            commit_seconds: metrics::histogram!("adal_journal_commit_seconds"),
            rows: metrics::counter!("adal_journal_rows_total"),
            queue: metrics::gauge!("adal_journal_queue"),
        }
    }
}
