//! Notes on how far a walk over a customer's facts has come, so that the next one need not begin at the first fact.
//!
//! A note only remembers what the walk gives: it is made by whoever walks there first, holds for one policy and one
//! calendar, goes where a fact before it changes, and is neither stored nor compared. Facts that are laid away are shared
//! by copies of a state that are asked on several threads, so the notes stand behind a lock; nothing but walking happens
//! while it is held.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    facts::Fact,
    history::{Aged, Laid},
};
use crate::time::Calendar;

/// A walk is noted at each so many facts.
pub(super) const STEP: usize = 32;

/// A walk over facts in their order; its value after some of them is all that the next one needs.
pub(super) trait Walk: Copy {
    /// What it goes by.
    type Policy: Clone + PartialEq;

    /// Before the first fact.
    fn begin(aged: &Aged) -> Self;

    /// The `i`th fact.
    fn take(&mut self, i: usize, fact: &Fact, facts: Seen<'_>, calendar: &Calendar, policy: &Self::Policy);

    /// Where its notes stand.
    fn notes(laid: &Laid) -> &Notes<Self>;
}

/// The facts that a walk sees, by place.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub laid: &'a [Fact],
    pub recent: &'a [Fact],
    /// The place of one that is left out.
    pub without: Option<usize>,
}

impl Seen<'_> {
    /// The `i`th fact, unless it is left out.
    pub fn get(&self, i: usize) -> Option<&Fact> {
        if self.without == Some(i) {
            return None;
        }
        if i < self.laid.len() { self.laid.get(i) } else { self.recent.get(i - self.laid.len()) }
    }
}

/// The walk after each [`STEP`] of the facts laid away, as far as somebody walked.
pub(super) struct Notes<W: Walk>(Mutex<Option<Noted<W>>>);

#[derive(Clone)]
struct Noted<W: Walk> {
    policy: W::Policy,
    calendar: Calendar,
    walks: Vec<W>,
}

impl<W: Walk> Notes<W> {
    /// A walk is pushed whole or not at all: what a panic left is sound.
    fn lock(&self) -> MutexGuard<'_, Option<Noted<W>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The walk after the first `steps` of the facts.
    pub fn after(&self, steps: usize, begin: W, facts: Seen<'_>, calendar: &Calendar, policy: &W::Policy) -> W {
        let mut noted = self.lock();
        if noted.as_ref().is_none_or(|noted| noted.policy != *policy || noted.calendar != *calendar) {
            *noted = None;
        }
        let walks = &mut noted
            .get_or_insert_with(|| Noted { policy: policy.clone(), calendar: calendar.clone(), walks: Vec::new() })
            .walks;
        let mut walk = walks.last().copied().unwrap_or(begin);
        for step in walks.len()..steps {
            for i in step * STEP..(step + 1) * STEP {
                facts.get(i).into_iter().for_each(|fact| walk.take(i, fact, facts, calendar, policy));
            }
            walks.push(walk);
        }
        steps.checked_sub(1).and_then(|last| walks.get(last)).copied().unwrap_or(begin)
    }

    /// The fact at `place` is another: no walk past it is known.
    pub fn forget_from(&mut self, place: usize) {
        if let Some(noted) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            noted.walks.truncate(place / STEP);
        }
    }
}

impl<W: Walk> Default for Notes<W> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<W: Walk> Clone for Notes<W> {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.lock().clone()))
    }
}
