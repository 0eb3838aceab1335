//! One activation of an entity, as every thread sees it: where its mailbox is, what it has published, whether it still
//! takes messages.
//!
//! A slot lives from the opening of an entity until it leaves the memory, and is then replaced, never reused. In between
//! its actor comes and goes: one that nobody asked for a while *rests*, which is a slot with what the entity published
//! and remembers, and no actor, no mailbox, no task (these are more than half of an idle entity). The next to send wakes
//! it, without a look at the store. Shared by all threads; changed by atomics, and by the short lock round [`Stage`],
//! which nothing awaits under. There is one per live entity, up to a million: every byte here counts.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use actix::Addr;
use adal_domain::entity::Entity;
use arc_swap::ArcSwapOption;

use crate::{actor::EntityActor, ask::Published, memory::Memory};

/// See the module.
pub(crate) struct Slot<E: Entity> {
    pub(crate) id: Box<str>,
    stage: Mutex<Stage<E>>,
    /// `None` until the entity is open.
    pub(crate) published: ArcSwapOption<Published<E>>,
    pub(crate) gate: Gate,
    /// The registry's tick at which it was last asked or read.
    pub(crate) used: AtomicU32,
    /// What `Entity::weight` said of the published state, in bytes.
    pub(crate) weight: AtomicU32,
}

/// Who takes an entity's messages.
pub(crate) enum Stage<E: Entity> {
    /// Its actor. That it has died shows when something is sent.
    Awake(Addr<EntityActor<E>>),
    /// Nobody, until something is sent: then an actor is made of this and what is published.
    Resting(Rest),
}

/// What an actor leaves behind when it rests, beside the published state.
#[derive(Default)]
pub(crate) struct Rest {
    pub(crate) memory: Option<Box<Memory>>,
    pub(crate) rows_since_snapshot: u32,
}

impl<E: Entity> Slot<E> {
    /// The slot of an entity whose actor is about to start.
    pub(crate) fn new(id: &str, addr: Addr<EntityActor<E>>, tick: u32) -> Self {
        Self {
            id: id.into(),
            stage: Mutex::new(Stage::Awake(addr)),
            published: ArcSwapOption::empty(),
            gate: Gate::new(),
            used: AtomicU32::new(tick),
            weight: AtomicU32::new(0),
        }
    }

    /// Who takes messages, locked: an actor cannot come to rest between a look at this and a send.
    pub(crate) fn stage(&self) -> MutexGuard<'_, Stage<E>> {
        // Nothing that can panic happens under the lock.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registry's table has the slots themselves as keys: an entity's id is kept once.
pub(crate) struct Entry<E: Entity>(pub(crate) Arc<Slot<E>>);

impl<E: Entity> Borrow<str> for Entry<E> {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

impl<E: Entity> Hash for Entry<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl<E: Entity> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl<E: Entity> Eq for Entry<E> {}

/// How many commands are on their way to an entity or wait in it, and whether it still takes any.
///
/// This is what makes passivation lose nothing. A sender enters before it sends; a command leaves when it is taken to
/// be decided. An idle actor closes the gate only where nobody is inside, so no message can be behind its stop; a
/// sender that finds the gate closed has sent nothing yet, and goes to the next activation. The same number bounds the
/// queue: actix's own bound counts per clone of an address, this one counts per entity.
pub(crate) struct Gate(AtomicU32);

const CLOSED: u32 = 1 << 31;

/// What a sender finds at the gate.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Entered {
    Yes,
    Full,
    Closed,
}

impl Gate {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Enters with `count` commands, where no more than `bound` are inside with them.
    pub(crate) fn enter(&self, count: u32, bound: u32) -> Entered {
        let entered = self.0.fetch_update(SeqCst, SeqCst, |inside| {
            let room = inside & CLOSED == 0 && inside.saturating_add(count) <= bound;
            room.then(|| inside + count)
        });
        match entered {
            Ok(_) => Entered::Yes,
            Err(inside) if inside & CLOSED == 0 => Entered::Full,
            Err(_) => Entered::Closed,
        }
    }

    /// Commands that had left come back to the queue.
    pub(crate) fn back(&self, count: u32) {
        self.0.fetch_add(count, SeqCst);
    }

    pub(crate) fn leave(&self, count: u32) {
        self.0.fetch_sub(count, SeqCst);
    }

    /// Closes, if nobody is inside.
    pub(crate) fn close_if_empty(&self) -> bool {
        self.0.compare_exchange(0, CLOSED, SeqCst, SeqCst).is_ok()
    }

    /// Closes; who is inside is still to be answered.
    pub(crate) fn close(&self) {
        self.0.fetch_or(CLOSED, SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(SeqCst) & CLOSED != 0
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> u32 {
        self.0.load(SeqCst) & !CLOSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_behind_a_gate_that_closed_empty() {
        let gate = Gate::new();
        assert_eq!(gate.enter(2, 3), Entered::Yes);
        assert_eq!(gate.enter(2, 3), Entered::Full);
        assert!(!gate.close_if_empty());
        gate.leave(2);
        assert!(gate.close_if_empty());
        assert_eq!(gate.enter(1, 3), Entered::Closed);
    }

    #[test]
    fn who_is_inside_when_it_closes_still_counts() {
        let gate = Gate::new();
        assert_eq!(gate.enter(1, 3), Entered::Yes);
        gate.close();
        assert_eq!((gate.inside(), gate.enter(1, 3)), (1, Entered::Closed));
        gate.leave(1);
        assert_eq!((gate.inside(), gate.is_closed()), (0, true));
    }
}
