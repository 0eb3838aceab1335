//! One entity's part of the loop, as a plain state machine: queue, plan, decide, land or fail.
//!
//! Owned by the entity's actor, on its arbiter's thread. It knows nothing of actix, of time or of the store: the actor
//! asks it for a [`Plan`], gets what that needs, and tells it what came of it. At most one row is in flight; until it
//! has landed nothing else is decided, so what queues meanwhile is decided together, as the next row. It must never
//! publish or answer anything that rests on a row that is not durable.

use std::{
    collections::{BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use adal_domain::{
    entity::{Effect, Entity},
    time::Timestamp,
};

use crate::{
    ask::{AskError, Asked, Job, Published},
    batch::{self, Decided, Env, Flight, Recalled},
    memory::{Memory, Remembered},
    ports::Append,
    replay::Fold,
};

/// How many commands one row takes at most: bounds the row's size, and the time between two turns of other entities.
pub(crate) const BATCH: usize = 256;

/// See the module.
pub(crate) struct Core<E: Entity> {
    head: Arc<Published<E>>,
    memory: Option<Box<Memory>>,
    waiting: VecDeque<Job<E>>,
    flight: Option<Box<Flight<E>>>,
}

/// What is to be done next with what waited.
pub(crate) struct Plan<E: Entity> {
    /// How many jobs left the queue.
    pub(crate) taken: usize,
    /// Commands to decide, in order.
    pub(crate) fresh: Vec<Asked<E>>,
    /// Commands that were answered before, and where the answer stands.
    pub(crate) repeats: Vec<(Asked<E>, Remembered)>,
    /// Rows to be read before deciding.
    pub(crate) recalls: BTreeSet<u64>,
}

impl<E: Entity> Core<E> {
    /// An entity that is not open yet: it queues.
    pub(crate) fn new(id: &str) -> Self {
        Self { head: Arc::new(Published::initial(id)), memory: None, waiting: VecDeque::new(), flight: None }
    }

    /// An entity that has rested: what it published, and what it remembers.
    pub(crate) fn woken(head: Arc<Published<E>>, memory: Option<Box<Memory>>) -> Self {
        Self { head, memory, waiting: VecDeque::new(), flight: None }
    }

    /// What is remembered, for an entity that rests: nothing may be waiting, and nothing is decided here any more.
    pub(crate) const fn rest(&mut self) -> Option<Box<Memory>> {
        self.memory.take()
    }

    /// The stored entity is there.
    pub(crate) fn opened(&mut self, fold: Fold<E>) {
        self.head = Arc::new(fold.head);
        self.memory = (!fold.memory.is_empty()).then(|| Box::new(fold.memory));
    }

    /// The state as of the last durable row.
    pub(crate) const fn head(&self) -> &Arc<Published<E>> {
        &self.head
    }

    pub(crate) fn memory(&self) -> Option<&Memory> {
        self.memory.as_deref()
    }

    /// Nothing waits and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flight.is_none()
    }

    /// Queues a job. The registry has counted it: the queue is bounded there.
    pub(crate) fn push(&mut self, job: Job<E>) {
        self.waiting.push_back(job);
    }

    /// Takes the next jobs out of the queue. Not while a row is in flight. Ids answered not later than `forget_until`
    /// are forgotten.
    pub(crate) fn plan(&mut self, forget_until: Timestamp) -> Plan<E> {
        debug_assert!(self.flight.is_none(), "one row at a time");
        let mut plan = Plan { taken: 0, fresh: Vec::new(), repeats: Vec::new(), recalls: BTreeSet::new() };
        if let Some(memory) = &mut self.memory {
            memory.forget(forget_until);
            if memory.is_empty() {
                self.memory = None;
            }
        }
        while plan.fresh.len() < BATCH
            && let Some(job) = self.waiting.pop_front()
        {
            plan.taken += 1;
            match job {
                // Nobody waits for it any more: it was never begun, so it is simply left out.
                job if job.is_closed() => {}
                Job::Read(to) => drop(to.send(Ok(Arc::clone(&self.head)))),
                Job::Command(asked) => self.sort(asked, &mut plan),
            }
        }
        plan
    }

    fn sort(&self, asked: Asked<E>, plan: &mut Plan<E>) {
        if let Some(memory) = &self.memory {
            if let Some(origin) = &asked.origin
                && memory.has_applied(origin)
            {
                asked.reply.done_before(&self.head);
                return;
            }
            if let Some(place) = asked.id.and_then(|id| memory.find(id)) {
                plan.repeats.push((asked, place));
                return;
            }
        }
        if asked.known_only {
            asked.reply.fail(AskError::NotRecorded);
            return;
        }
        // What panics here panics again in `decide`, where it is counted.
        let recalls = catch_unwind(AssertUnwindSafe(|| E::recalls(&self.head.state, &asked.command)));
        plan.recalls.extend(recalls.unwrap_or_default());
        plan.fresh.push(asked);
    }

    /// Decides what the plan took. What it gives back to the queue goes to the front; the count is returned with the
    /// append, if there is one to make.
    pub(crate) fn decide(&mut self, fresh: Vec<Asked<E>>, recalled: &Recalled<E>, env: &Env<'_, E>) -> Turn {
        let decided = batch::decide(&self.head, self.memory.as_deref(), fresh, recalled, env);
        let Decided { flight, deferred, tally, quarantine, broken } = decided;
        let given_back = deferred.len();
        for asked in deferred.into_iter().rev() {
            self.waiting.push_front(Job::Command(asked));
        }
        let append = flight.map(|(append, flight)| {
            self.flight = Some(flight);
            append
        });
        let end = match (quarantine, broken) {
            (true, _) => Some(AskError::Quarantined),
            (false, Some(error)) => Some(error.into()),
            (false, None) => None,
        };
        Turn { append, given_back, tally, end }
    }

    /// The row in flight is durable: `publish` shows it to readers, then everyone who waits is answered (who reads
    /// after its answer reads its own write). What it owes is returned.
    pub(crate) fn land(&mut self, publish: impl FnOnce(&Arc<Published<E>>)) -> Vec<Effect> {
        let Some(flight) = self.flight.take() else { return Vec::new() };
        self.head = Arc::clone(&flight.next);
        publish(&self.head);
        flight.land(&mut self.memory)
    }

    /// The activation ends: nobody who waits gets an answer. Returns how many jobs left the queue.
    pub(crate) fn fail(&mut self, error: &AskError) -> usize {
        if let Some(flight) = self.flight.take() {
            flight.fail(error);
        }
        let waiting = std::mem::take(&mut self.waiting);
        let count = waiting.len();
        waiting.into_iter().for_each(|job| job.fail(error.clone()));
        count
    }
}

/// What came of a turn.
pub(crate) struct Turn {
    /// The row to append; [`Core::land`] or [`Core::fail`] follows.
    pub(crate) append: Option<Append>,
    /// How many commands went back to the queue.
    pub(crate) given_back: usize,
    pub(crate) tally: batch::Tally,
    /// The activation is to end, after the append if there is one.
    pub(crate) end: Option<AskError>,
}

#[cfg(test)]
mod tests;
