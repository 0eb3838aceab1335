//! Timers: looks at the durable index of wake times and wakes who is due.
//!
//! One driver per process, a task wherever it is spawned. A timer is only a wake-up call: what is due is decided by the
//! entity with the time given, and the timer stays in the index until a row of the entity replaces it. So a call that
//! is lost is made again, and one too many is harmless. It must never wake the same entity in a tight loop: one whose
//! timer did not move is left alone for a while.

use std::{collections::HashMap, sync::Arc, time::Duration};

use adal_domain::{entity::EntityKey, time::Timestamp};
use futures_util::{StreamExt, stream};
use metrics::{Counter, counter};

use crate::{
    ports::{Clock, Journal, StoreError},
    route::Router,
};

/// How many entities are woken at the same time: what is left of the store's queue belongs to callers.
const AT_ONCE: usize = 64;

/// How many timers are read at a time.
const PAGE: usize = 512;

/// How long an entity is left alone after a call that did not move its timer: at first, and at most.
const AGAIN: (i64, i64) = (Timestamp::SECOND, 300 * Timestamp::SECOND);

/// See the module.
pub struct Timers {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    router: Router,
    /// Who was woken and is still in the index: when to call again, and how long to wait after that.
    stuck: HashMap<EntityKey, (Timestamp, i64)>,
    fired: Counter,
}

impl std::fmt::Debug for Timers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timers").field("stuck", &self.stuck.len()).finish_non_exhaustive()
    }
}

impl Timers {
    /// A driver that wakes entities through `router`.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, router: Router) -> Self {
        Self { journal, clock, router, stuck: HashMap::new(), fired: counter!("adal_timers_fired_total") }
    }

    /// Wakes who is due, every `every`, until the future is dropped.
    pub async fn run(mut self, every: Duration) {
        loop {
            match self.fire().await {
                // A full page: there is more.
                Ok(PAGE..) => {}
                Ok(_) => tokio::time::sleep(every).await,
                Err(error) => {
                    tracing::warn!(%error, "timers cannot be read");
                    tokio::time::sleep(every).await;
                }
            }
        }
    }

    /// Wakes who is due now, and waits for what comes of it; answers how many were woken.
    ///
    /// # Errors
    /// Where the index cannot be read. That an entity cannot be woken is no error: it is called again later.
    pub async fn fire(&mut self) -> Result<usize, StoreError> {
        if self.clock.doubt().is_some() {
            // Nobody could be woken.
            return Ok(0);
        }
        let now = self.clock.now();
        // Those left alone stand first, being the earliest: more is read by as many.
        let due = self.journal.due(now, PAGE + self.stuck.len()).await?;
        let mut before = std::mem::take(&mut self.stuck);
        let mut calls = Vec::new();
        for (_, key) in due {
            match before.remove(&key) {
                Some((again, wait)) if again > now => drop(self.stuck.insert(key, (again, wait))),
                Some((_, wait)) => calls.push((key, (wait * 2).min(AGAIN.1))),
                None => calls.push((key, AGAIN.0)),
            }
        }
        let count = calls.len();
        let router = &self.router;
        let woken = stream::iter(calls).map(async |(key, wait)| {
            if let Err(error) = router.wake(&key).await {
                tracing::warn!(entity = %key, %error, "cannot be woken");
            }
            (key, wait)
        });
        let woken: Vec<_> = woken.buffer_unordered(AT_ONCE).collect().await;
        // Whoever moved its timer is not in the index any more, and leaves this list at the next look.
        self.stuck.extend(woken.into_iter().map(|(key, wait)| (key, (Timestamp(now.0.saturating_add(wait)), wait))));
        self.fired.increment(count as u64);
        Ok(count)
    }
}
