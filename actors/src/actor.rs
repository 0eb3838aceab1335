//! The actor round [`Core`]: one per entity that somebody asked lately, on the arbiter that its id hashes to.
//!
//! A thin shell. It turns messages into queued jobs, lets the core plan and decide, and runs what takes time (open,
//! append, recall, snapshot) as futures of its own arbiter; everything else happens between two of their polls, so no
//! lock is needed but the one under which it rests (see [`Slot`]). It must never await in a handler, hold the map's guard over an await, or stop while somebody is
//! inside its slot's gate.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use adal_domain::entity::{Entity, EntityKey};
use futures_util::FutureExt;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    ask::{Answer, AskError, Asked, Job, Published},
    batch::{Env, Recalled, text_of},
    core::{Core, Plan},
    memory::{Memory, Remembered},
    ports::{Append, Journal, StoreError},
    registry::Inner,
    replay::{self, Fold},
    row,
    slot::{Rest, Slot, Stage},
};

/// How long to wait before an append in doubt is repeated, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// How many bytes of snapshots a row may cost, about: as many as a small row has itself.
const SNAPSHOT_BYTES_PER_ROW: usize = 256;

/// What a remembered id takes in a snapshot, about.
const REMEMBERED_BYTES: usize = 48;

/// What an entity's mailbox takes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Mail<E: Entity> {
    One(Job<E>),
    /// To be decided in order, together where possible.
    Many(Vec<Job<E>>),
    /// Nobody has asked for a while: rest.
    Rest,
    /// The registry would like the memory back.
    Passivate,
    /// The process stops: leave when idle, and give the permit back then.
    Finish(OwnedSemaphorePermit),
}

#[derive(Clone, Copy)]
enum Phase {
    /// Rows are being read; jobs queue.
    Opening,
    Ready,
    /// Rows are being recalled, or a row is in flight; jobs queue.
    Working,
    /// The activation is over; whoever is still inside the gate is told why.
    Ended,
}

/// The registry's account of an entity with an actor: however the actor ends, unless it rests, the entity leaves the
/// registry when this is dropped.
pub(crate) struct Live<E: Entity> {
    pub(crate) slot: Arc<Slot<E>>,
    pub(crate) inner: Arc<Inner<E>>,
    rests: bool,
}

impl<E: Entity> Live<E> {
    pub(crate) fn new(slot: Arc<Slot<E>>, inner: Arc<Inner<E>>) -> Self {
        inner.meters.awake.increment(1);
        Self { slot, inner, rests: false }
    }
}

impl<E: Entity> Drop for Live<E> {
    fn drop(&mut self) {
        self.inner.meters.awake.decrement(1);
        if !self.rests {
            self.slot.gate.close();
            self.inner.gone(&self.slot);
        }
    }
}

/// See the module.
pub(crate) struct EntityActor<E: Entity> {
    core: Core<E>,
    live: Live<E>,
    phase: Phase,
    /// Why the activation has ended, or is to end after what is going on.
    why: Option<AskError>,
    /// The registry would like the memory back: go when idle, unless somebody asks before.
    passive: bool,
    /// The process stops: go when idle.
    finish: Option<OwnedSemaphorePermit>,
    rows_since_snapshot: u32,
    snapshotting: bool,
    /// A row of this actor's has owed something.
    owed: bool,
}

// Nothing is pinned inside; the rules' types need not say so.
impl<E: Entity> Unpin for EntityActor<E> {}

impl<E: Entity> Actor for EntityActor<E> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !matches!(self.phase, Phase::Opening) {
            return;
        }
        let inner = Arc::clone(&self.live.inner);
        let key = self.key();
        let opening = async move {
            let waking = AssertUnwindSafe(replay::wake::<E>(&*inner.journal, &key.id)).catch_unwind().await;
            let (fold, damage) = waking.unwrap_or_else(|panic| {
                let text = format!("{key}: applying its rows panicked: {}", text_of(&*panic));
                Err(StoreError::Corrupt(text.into()))
            })?;
            if let Some(damage) = damage {
                tracing::error!(entity = %key, %damage, "the snapshot is damaged; opened from all rows");
                inner.meters.damaged.increment(1);
            }
            Ok(fold)
        };
        ctx.spawn(opening.into_actor(self).map(|opened, actor, ctx| actor.opened(opened, ctx)));
    }
}

impl<E: Entity> Handler<Mail<E>> for EntityActor<E> {
    type Result = ();

    fn handle(&mut self, mail: Mail<E>, ctx: &mut Self::Context) {
        match mail {
            Mail::One(job) => self.take(job, ctx),
            Mail::Many(jobs) => {
                // All of them before the first is decided: together they are one row.
                jobs.into_iter().for_each(|job| self.enqueue(job));
                self.pump(ctx);
            }
            Mail::Rest => self.rest_if_idle(ctx),
            Mail::Passivate => {
                self.passive = true;
                self.leave_if_idle(ctx);
            }
            Mail::Finish(permit) => {
                self.finish = Some(permit);
                self.leave_if_idle(ctx);
            }
        }
    }
}

impl<E: Entity> EntityActor<E> {
    pub(crate) fn new(live: Live<E>) -> Self {
        Self {
            core: Core::new(&live.slot.id),
            live,
            phase: Phase::Opening,
            why: None,
            passive: false,
            finish: None,
            rows_since_snapshot: 0,
            snapshotting: false,
            owed: false,
        }
    }

    /// The actor of an entity that has rested: it is open.
    pub(crate) fn woken(live: Live<E>, head: Arc<Published<E>>, rest: Rest) -> Self {
        Self {
            core: Core::woken(head, rest.memory),
            phase: Phase::Ready,
            rows_since_snapshot: rest.rows_since_snapshot,
            ..Self::new(live)
        }
    }

    fn key(&self) -> EntityKey {
        EntityKey::new(E::KIND, &self.live.slot.id)
    }

    fn take(&mut self, job: Job<E>, ctx: &mut Context<Self>) {
        self.enqueue(job);
        self.pump(ctx);
    }

    fn enqueue(&mut self, job: Job<E>) {
        if let (Phase::Ended, Some(error)) = (self.phase, &self.why) {
            job.fail(error.clone());
            self.left(1);
            return;
        }
        self.passive = false;
        self.core.push(job);
    }

    /// `count` jobs are no longer inside.
    fn left(&self, count: usize) {
        // The gate bounds the queue far below 2^31.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.live.slot.gate.leave(count);
        self.live.inner.meters.waiting.decrement(count);
    }

    fn opened(&mut self, opened: Result<Fold<E>, StoreError>, ctx: &mut Context<Self>) {
        match opened {
            Ok(fold) => {
                self.rows_since_snapshot = u32::try_from(fold.rows).unwrap_or(u32::MAX);
                self.core.opened(fold);
                publish(&self.live, self.core.head());
                self.phase = Phase::Ready;
                self.pump(ctx);
            }
            Err(error) => {
                tracing::warn!(entity = %self.key(), %error, "cannot be opened");
                self.end(error.into(), ctx);
            }
        }
    }

    /// Decides what waits, until a row is in flight or nothing waits.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        while matches!(self.phase, Phase::Ready) && !self.core.is_idle() {
            let inner = &self.live.inner;
            let long_ago = inner.clock.long_ago(inner.config.remember_for);
            let Plan { taken, fresh, repeats, recalls } = self.core.plan(long_ago);
            // Repeats stay inside the gate until they are answered: that bounds them too.
            self.left(taken - repeats.len());
            for (asked, place) in repeats {
                self.repeat(asked, place, ctx);
            }
            if !recalls.is_empty() {
                self.recall(fresh, recalls, ctx);
            } else if !fresh.is_empty() {
                self.decide(fresh, &Recalled::nothing(), ctx);
            }
        }
        self.leave_if_idle(ctx);
    }

    /// Answers a command that was answered before, from the row in which the answer stands.
    fn repeat(&self, asked: Asked<E>, place: Remembered, ctx: &mut Context<Self>) {
        let journal = Arc::clone(&self.live.inner.journal);
        let key = self.key();
        let reading = async move {
            match recorded::<E>(&*journal, &key, place, asked.print).await {
                Ok(answer) => asked.reply.answer(answer),
                Err(error) => asked.reply.fail(error),
            }
        };
        ctx.spawn(reading.into_actor(self).map(|(), actor, ctx| {
            actor.live.inner.meters.replayed.increment(1);
            actor.left(1);
            actor.leave_if_idle(ctx);
        }));
    }

    fn recall(&mut self, fresh: Vec<Asked<E>>, asked: BTreeSet<u64>, ctx: &mut Context<Self>) {
        self.phase = Phase::Working;
        let journal = Arc::clone(&self.live.inner.journal);
        let key = self.key();
        let reading = async move {
            let rows = recalled::<E>(&*journal, &key, &asked).await;
            (fresh, rows.map(|rows| Recalled { asked, rows }))
        };
        ctx.spawn(reading.into_actor(self).map(|(fresh, rows), actor, ctx| match rows {
            Ok(recalled) => {
                actor.phase = Phase::Ready;
                actor.decide(fresh, &recalled, ctx);
                actor.pump(ctx);
            }
            Err(error) => {
                let error = AskError::from(error);
                fresh.into_iter().for_each(|asked| asked.reply.fail(error.clone()));
                actor.end(error, ctx);
            }
        }));
    }

    fn decide(&mut self, fresh: Vec<Asked<E>>, recalled: &Recalled<E>, ctx: &mut Context<Self>) {
        let inner = &self.live.inner;
        let id = &self.live.slot.id;
        let context = (inner.context)(id);
        inner.meters.batch.record(u32::try_from(fresh.len()).unwrap_or(u32::MAX));
        let env = Env {
            id,
            now: inner.clock.now(),
            context: &context,
            entropy: &*inner.entropy,
            panics_left: inner.panics_left(id),
            max_remembered: inner.config.max_remembered,
        };
        let began = Instant::now();
        let turn = self.core.decide(fresh, recalled, &env);
        inner.meters.decide.record(began.elapsed());
        inner.meters.accepted.increment(turn.tally.accepted);
        inner.meters.refused.increment(turn.tally.refused);
        if turn.tally.panicked > 0 {
            inner.panicked(id, turn.tally.panicked);
        }
        if turn.given_back > 0 {
            let count = u32::try_from(turn.given_back).unwrap_or(u32::MAX);
            self.live.slot.gate.back(count);
            inner.meters.waiting.increment(count);
        }
        match (turn.append, turn.end) {
            (Some(append), end) => {
                self.phase = Phase::Working;
                self.why = end;
                self.append(append, ctx);
            }
            (None, Some(error)) => self.end(error, ctx),
            (None, None) => {}
        }
    }

    fn append(&self, append: Append, ctx: &mut Context<Self>) {
        let inner = Arc::clone(&self.live.inner);
        let appending = async move { until_known(&inner, append).await };
        ctx.spawn(appending.into_actor(self).map(|known, actor, ctx| match known {
            Ok(()) => actor.landed(ctx),
            Err(error) => actor.end(error.into(), ctx),
        }));
    }

    fn landed(&mut self, ctx: &mut Context<Self>) {
        let live = &self.live;
        let effects = self.core.land(|head| publish(live, head));
        if !effects.is_empty()
            && let Some(outbox) = self.live.inner.effects.get()
        {
            outbox.owe(self.key(), self.core.head().seq, effects, !std::mem::replace(&mut self.owed, true));
        }
        self.rows_since_snapshot = self.rows_since_snapshot.saturating_add(1);
        self.phase = Phase::Ready;
        if let Some(error) = self.why.take() {
            self.end(error, ctx);
            return;
        }
        if self.snapshot_is_due() {
            self.snapshot(ctx);
        }
        self.pump(ctx);
    }

    /// After so many rows as are configured; after more where the snapshot is large: each is written whole, and what that
    /// costs a row must not grow with what the entity has become. It bounds what the next open reads as well.
    fn snapshot_is_due(&self) -> bool {
        let ids = self.core.memory().map_or(0, Memory::len);
        let size = self.live.slot.weight.load(Relaxed) as usize + ids * REMEMBERED_BYTES;
        let rows = self.live.inner.config.snapshot_every_rows.max((size / SNAPSHOT_BYTES_PER_ROW) as u64);
        u64::from(self.rows_since_snapshot) >= rows
    }

    /// Keeps a snapshot of the durable state, beside whatever else goes on.
    fn snapshot(&mut self, ctx: &mut Context<Self>) {
        if self.snapshotting {
            return;
        }
        let head = self.core.head();
        let snapshot = match replay::snapshot(head, self.core.memory()) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::error!(entity = %self.key(), %error, "no snapshot");
                self.rows_since_snapshot = 0;
                return;
            }
        };
        self.snapshotting = true;
        self.rows_since_snapshot = 0;
        let journal = Arc::clone(&self.live.inner.journal);
        let key = self.key();
        let keeping = async move {
            if let Err(error) = journal.snapshot(&key, snapshot).await {
                // It costs time at the next open, never data; the next one comes after as many rows again.
                tracing::warn!(entity = %key, %error, "no snapshot");
            }
        };
        ctx.spawn(keeping.into_actor(self).map(|(), actor, ctx| {
            actor.snapshotting = false;
            actor.leave_if_idle(ctx);
        }));
    }

    /// Stops, where that is wanted, nothing is going on and nobody is on the way: after a snapshot, if rows came since
    /// the last.
    fn leave_if_idle(&mut self, ctx: &mut Context<Self>) {
        match self.phase {
            // Who was inside when the activation ended has been answered.
            Phase::Ended if self.live.slot.gate.inside() == 0 => return ctx.stop(),
            Phase::Ready => {}
            _ => return,
        }
        let wanted = self.passive || self.finish.is_some();
        if !wanted || !self.core.is_idle() || self.snapshotting {
            return;
        }
        if self.rows_since_snapshot > 0 {
            self.snapshot(ctx);
            if self.snapshotting {
                return;
            }
        }
        if self.live.slot.gate.close_if_empty() {
            self.live.inner.forget(&self.live.slot);
            self.live.inner.meters.passivations.increment(1);
            self.phase = Phase::Ended;
            self.why = Some(AskError::Stopping);
            ctx.stop();
        }
    }

    /// Rests, where nothing is going on and nobody is on the way: the actor goes, the entity stays.
    fn rest_if_idle(&mut self, ctx: &mut Context<Self>) {
        let goes = self.passive || self.finish.is_some();
        if !matches!(self.phase, Phase::Ready) || goes || self.snapshotting || !self.core.is_idle() {
            return;
        }
        let slot = Arc::clone(&self.live.slot);
        let mut stage = slot.stage();
        // Both under the lock: who enters or stops after this look finds the stage resting. What is in the mailbox
        // without being inside the gate is another wish of the sweeper's, which it repeats.
        if slot.gate.inside() > 0 || self.live.inner.stopping.load(SeqCst) {
            return;
        }
        let memory = self.core.rest();
        *stage = Stage::Resting(Rest { memory, rows_since_snapshot: self.rows_since_snapshot });
        self.live.rests = true;
        self.phase = Phase::Ended;
        ctx.stop();
    }

    /// The state in memory is no longer trusted, or the entity no longer served: nobody who waits gets an answer, and
    /// the next to ask opens it anew.
    fn end(&mut self, error: AskError, ctx: &mut Context<Self>) {
        let count = self.core.fail(&error);
        self.live.slot.gate.close();
        self.live.inner.forget(&self.live.slot);
        self.phase = Phase::Ended;
        self.why = Some(error);
        self.left(count);
        self.leave_if_idle(ctx);
    }
}

/// Shows the durable state to everyone who reads, and accounts for its size.
fn publish<E: Entity>(live: &Live<E>, head: &Arc<Published<E>>) {
    live.slot.published.store(Some(Arc::clone(head)));
    let weight = u32::try_from(E::weight(&head.state)).unwrap_or(u32::MAX);
    let before = live.slot.weight.swap(weight, Relaxed);
    live.inner.bytes.fetch_add(weight as usize, Relaxed);
    live.inner.bytes.fetch_sub(before as usize, Relaxed);
}

/// Appends until the outcome is known. Once in doubt, only `Ok` and `Fenced` end it: that a repeat was not taken says
/// nothing about the first.
async fn until_known<E: Entity>(inner: &Inner<E>, append: Append) -> Result<(), StoreError> {
    let mut in_doubt = false;
    let mut wait = BACKOFF.0;
    loop {
        match inner.journal.append(append.clone()).await {
            Ok(()) => return Ok(()),
            Err(error @ StoreError::Fenced(_)) => return Err(error),
            Err(error @ StoreError::InDoubt(_)) => {
                tracing::warn!(entity = %append.entity, seq = append.row.seq, %error, "an append is in doubt");
                in_doubt = true;
            }
            Err(error) if !in_doubt => return Err(error),
            Err(error) => tracing::warn!(entity = %append.entity, seq = append.row.seq, %error, "still in doubt"),
        }
        inner.meters.retries.increment(1);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// The recorded answer to a command with this print.
async fn recorded<E: Entity>(
    journal: &dyn Journal,
    key: &EntityKey,
    place: Remembered,
    print: [u8; 16],
) -> Result<Answer<E>, AskError> {
    let rows = journal.rows(key, place.seq, place.seq, 1, false).await?;
    let gone = || StoreError::Corrupt(format!("{key}: row {} is gone before its ids are forgotten", place.seq).into());
    let row = row::decode::<E>(rows.first().ok_or_else(gone)?)?;
    let recorded = row.command(place.index).filter(|recorded| recorded.id == Some(place.id)).ok_or_else(gone)?;
    if recorded.print != print {
        return Err(AskError::KeyReused);
    }
    Ok(Answer { outcome: recorded.outcome.clone(), replayed: true, seq: place.seq, at: place.at })
}

/// The events of the rows asked for. One that is not there is left out: the rules see that.
async fn recalled<E: Entity>(
    journal: &dyn Journal,
    key: &EntityKey,
    asked: &BTreeSet<u64>,
) -> Result<Vec<(u64, Vec<E::Event>)>, StoreError> {
    let mut found = Vec::with_capacity(asked.len());
    for &seq in asked {
        for stored in journal.rows(key, seq, seq, 1, false).await? {
            let row = row::decode::<E>(&stored)?;
            found.push((seq, row.commands.into_iter().flat_map(|command| command.events).collect()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use adal_domain::customer::Customer;

    use super::*;

    /// The two counts of an `Arc` are 16 bytes; the allocator's next sizes after 256 are 320 and 384.
    #[test]
    fn a_published_customer_fits_in_256_bytes() {
        assert!(size_of::<Published<Customer>>() <= 256 - 16, "{}", size_of::<Published<Customer>>());
    }
}
