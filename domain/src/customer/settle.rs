//! What time alone brings: activations, expiries, holds that run out, trust that a midnight changes.
//!
//! Nothing of this needs a timer to be right: every decision and every read first brings what is due to its own time, in
//! the order in which it fell due, each entry as of its own moment. Only holds ask to be woken, so that their points are
//! free again without anybody looking.

use std::borrow::Cow;

use super::{
    Context, Event, State,
    draft::Draft,
    hold::{Hold, HoldEnd},
    ledger::{LotPart, Pending},
    read::{Cause, StatementEntry, TrustChange},
    sales,
    tier::{AsOf, TierBase},
    trust::{self, OldFacts},
};
use crate::time::{Day, Timestamp};

/// What is due by a moment and not yet journaled, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Entries of the statement.
    pub entries: Vec<StatementEntry>,
    /// Changes of the trust score.
    pub trust: Vec<TrustChange>,
}

impl State {
    /// What a read at `now` shows beyond the journal.
    #[must_use]
    pub fn due(&self, context: &Context, now: Timestamp) -> Due {
        let (_, events) = self.settled(context, now);
        Due {
            entries: events.iter().filter_map(Event::statement_entry).collect(),
            trust: events.iter().filter_map(Event::trust_change).collect(),
        }
    }

    /// The state with all that is due by `now`, and the events that bring it there.
    ///
    /// Borrowed, without a copy, where nothing is due: that is what most reads find.
    #[must_use]
    pub fn settled(&self, context: &Context, now: Timestamp) -> (Cow<'_, Self>, Vec<Event>) {
        if next(self, context, now, self.standing.updated).is_none() {
            return (Cow::Borrowed(self), Vec::new());
        }
        let mut draft = Draft::new(self, context, now, 0, [0; 16], &[]);
        settle(&mut draft, now);
        (Cow::Owned(draft.state), draft.events)
    }
}

/// Something due: expiries of a midnight come before its activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Expiry(Day),
    Activation(Day),
    Trust,
    HoldRunsOut(usize),
    HoldForgotten(usize),
}

/// Brings the draft to `until`.
pub(super) fn settle(draft: &mut Draft<'_>, until: Timestamp) {
    let mut trust_from = draft.state.standing.updated;
    while let Some((at, what)) = next(&draft.state, draft.context, until, trust_from) {
        match what {
            What::Expiry(day) => expire(draft, day, at),
            What::Activation(day) => activate(draft, day, at),
            What::Trust => {
                trust_from = at;
                draft.announce_trust(at, "a counted fact left its window");
            }
            What::HoldRunsOut(i) => run_out(draft, i, at),
            What::HoldForgotten(i) => forget(draft, i, at),
        }
    }
}

fn next(state: &State, context: &Context, until: Timestamp, trust_from: Timestamp) -> Option<(Timestamp, What)> {
    let start = |day| context.calendar.start(day);
    let expiry = state.ledger.lots.first().map(|lot| (start(lot.expires()), What::Expiry(lot.expires())));
    let activation = state.ledger.pending.soonest().map(|day| (start(day), What::Activation(day)));
    let trust = next_trust_midnight(state, context, trust_from).map(|at| (at, What::Trust));
    let late = context.policy.checkout.late_capture_hours * 3600;
    let holds = state.holds.iter().enumerate().map(|(i, hold)| {
        if hold.expired {
            (hold.expires_at.plus_seconds(late), What::HoldForgotten(i))
        } else {
            (hold.expires_at, What::HoldRunsOut(i))
        }
    });
    expiry.into_iter().chain(activation).chain(trust).chain(holds).filter(|(at, _)| *at <= until).min()
}

/// The first midnight after `from` at which a fact that counts against the customer leaves its window.
fn next_trust_midnight(state: &State, context: &Context, from: Timestamp) -> Option<Timestamp> {
    let (policy, calendar) = (&context.policy.trust, &context.calendar);
    let cancelled = state.facts.cancelled_after_picking().map(|fact| calendar.day(fact.at()).plus(policy.window_days));
    let confirmed = state.standing.flags.iter().filter_map(|flag| flag.confirmed_at);
    let flags = confirmed.map(|at| calendar.day(at).plus(policy.flag_days));
    cancelled.chain(flags).map(|day| calendar.start(day)).filter(|at| *at > from).min()
}

fn expire(draft: &mut Draft<'_>, day: Day, at: Timestamp) {
    let lots: Vec<LotPart> = draft
        .state
        .ledger
        .lots
        .iter()
        .filter(|lot| lot.expires() == day)
        .map(|lot| LotPart { points: -lot.points(), ..lot.part() })
        .collect();
    let points = lots.iter().map(|part| part.points).sum();
    draft.enter(at, points, Cause::Expiry, None, None, lots);
}

fn activate(draft: &mut Draft<'_>, day: Day, at: Timestamp) {
    let due: Vec<_> = draft.state.ledger.pending.iter().filter(|p| p.activates == day).cloned().collect();
    for pending in due {
        let Pending { order, points, expires, source, .. } = pending;
        draft.emit(Event::PendingEnded { order: order.clone(), points, source });
        draft.earn_by(source, at, points, &order, expires);
    }
}

fn run_out(draft: &mut Draft<'_>, i: usize, at: Timestamp) {
    let hold = draft.state.holds[i].clone();
    end_hold(draft, &hold, HoldEnd::Expired, at, hold.parts.clone());
}

fn forget(draft: &mut Draft<'_>, i: usize, at: Timestamp) {
    let hold = draft.state.holds[i].clone();
    end_hold(draft, &hold, HoldEnd::Forgotten, at, Vec::new());
}

/// Ends a hold; `back` goes to its lots, and what is past its day there expires at once.
pub(super) fn end_hold(draft: &mut Draft<'_>, hold: &Hold, end: HoldEnd, at: Timestamp, back: Vec<LotPart>) {
    let view = Box::new(hold.view_after(&end));
    if !hold.expired && !matches!(end, HoldEnd::Captured { .. }) {
        sales::release(draft, hold, at);
    }
    let today = draft.day(at);
    let mut expired: Vec<LotPart> = back.iter().filter(|part| part.expires <= today).copied().collect();
    draft.emit(Event::HoldEnded { hold_id: hold.hold_id.clone(), end, at, back, view });
    let points: i64 = expired.iter().map(|part| part.points).sum();
    for part in &mut expired {
        part.points = -part.points;
    }
    draft.enter(at, -points, Cause::Expiry, None, None, expired);
}

pub(super) fn next_wake(state: &State) -> Option<Timestamp> {
    // A hold past its time is only forgotten by the next decision: nobody waits for that.
    state.holds.iter().filter(|hold| !hold.expired).map(|hold| hold.expires_at).min()
}

/// Lets facts go that are too old to change, in leaps of a month so that it is done rarely.
pub(super) fn age(draft: &mut Draft<'_>) {
    let policy = &draft.context.policy;
    let Some(first) = draft.state.facts.first() else { return };
    let fixed = draft.day(draft.state.fact_time).plus(-policy.orders.remembered_days);
    let keep_from = fixed.plus(-policy.loyalty.tier_window_days);
    if draft.day(first.at()) >= keep_from.plus(-30) {
        return;
    }
    let (base, _) = draft.state.facts.aged().unwrap_or_default();
    let before = draft.start(keep_from);
    let fixed_at = Timestamp(draft.start(fixed).0 - 1);
    let as_of = AsOf::new(fixed_at);
    let tier = draft.tier(as_of);
    // Of all that goes.
    let until = AsOf::new(Timestamp(before.0 - 1));
    let counts = trust::count(&draft.state.facts, until, &draft.context.calendar, &policy.trust);
    let old = OldFacts {
        counted: counts.counted,
        paid_minor: counts.paid_minor,
        paid_days: u32::try_from(counts.paid_days).unwrap_or(u32::MAX),
    };
    // The state as of the last moment of the day before `fixed`: the walk tests the midnight of `fixed` itself.
    let tier = TierBase { day: fixed.plus(-1).max(base.day), state: tier };
    draft.emit(Event::FactsAged { before, tier, old });
}
