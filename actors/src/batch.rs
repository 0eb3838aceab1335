//! Deciding: a list of commands, one after another against the running state, into one row.
//!
//! Plain and synchronous. It owns the running state and the row while they are made; nothing of either is seen by
//! anyone before the row is durable. It must never do I/O, read a clock, or let a panic of the rules out.

use std::{
    collections::{BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use adal_domain::{
    entity::{Count, Decision, Effect, Entity, EntityKey, Moment, ViewWrite},
    time::Timestamp,
};

use crate::{
    ask::{Answer, AskError, Asked, CommandId, Published, Reply},
    memory::{Memory, Remembered},
    ports::{Append, StoreError, StoredRow},
    row::{self, Outcome, Recorded},
};

/// What a batch is decided with.
pub(crate) struct Env<'a, E: Entity> {
    pub(crate) id: &'a str,
    /// The clock's time.
    pub(crate) now: Timestamp,
    pub(crate) context: &'a E::Context,
    pub(crate) entropy: &'a dyn Fn() -> [u8; 16],
    /// How many panics until the entity is quarantined.
    pub(crate) panics_left: u32,
    /// How many ids may be remembered.
    pub(crate) max_remembered: usize,
}

/// Rows that `Entity::recalls` asked for, read from the journal.
pub(crate) struct Recalled<E: Entity> {
    /// Those that were asked for, whether they are there or not.
    pub(crate) asked: BTreeSet<u64>,
    /// Those that are there.
    pub(crate) rows: Vec<(u64, Vec<E::Event>)>,
}

impl<E: Entity> Recalled<E> {
    pub(crate) const fn nothing() -> Self {
        Self { asked: BTreeSet::new(), rows: Vec::new() }
    }

    /// The rows among `wanted`; `None` if one of them was not asked for.
    fn pick(&self, wanted: &[u64]) -> Option<Vec<(u64, Vec<E::Event>)>> {
        if !wanted.iter().all(|seq| self.asked.contains(seq)) {
            return None;
        }
        Some(self.rows.iter().filter(|(seq, _)| wanted.contains(seq)).cloned().collect())
    }
}

/// How many commands came to what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) panicked: u32,
}

/// A decided row that is not durable yet, and who waits for it.
pub(crate) struct Flight<E: Entity> {
    /// The state with it.
    pub(crate) next: Arc<Published<E>>,
    /// Who waits for each recorded command: the one who asked, and those who repeated.
    pub(crate) recorded: Vec<(Recorded<E>, Vec<Reply<E>>)>,
    /// Answers that need no record, but saw what this row makes durable.
    pub(crate) loose: Vec<(Reply<E>, Outcome<E>)>,
    /// Repeats of effects that this row applies.
    pub(crate) repeats: Vec<Reply<E>>,
    pub(crate) effects: Vec<Effect>,
}

impl<E: Entity> Flight<E> {
    /// The row is durable: everyone is answered, and what is to be remembered is.
    pub(crate) fn land(self, memory: &mut Option<Box<Memory>>) -> Vec<Effect> {
        let (seq, at) = (self.next.seq, self.next.at);
        for ((recorded, replies), index) in self.recorded.into_iter().zip(0..) {
            recorded.events.iter().filter_map(E::count).for_each(count);
            if let Some(id) = recorded.id {
                memory.get_or_insert_default().remember(Remembered { id, seq, index, at });
            }
            if let Some(origin) = &recorded.origin {
                memory.get_or_insert_default().mark(origin);
            }
            let mut replayed = false;
            for reply in replies {
                reply.answer(Answer { outcome: recorded.outcome.clone(), replayed, seq, at });
                replayed = true;
            }
        }
        for (reply, outcome) in self.loose {
            reply.answer(Answer { outcome, replayed: false, seq, at });
        }
        for reply in self.repeats {
            reply.done_before(&self.next);
        }
        self.effects
    }

    /// The row is not: nobody gets an answer from it.
    pub(crate) fn fail(self, error: &AskError) {
        let recorded = self.recorded.into_iter().flat_map(|(_, replies)| replies);
        let loose = self.loose.into_iter().map(|(reply, _)| reply);
        recorded.chain(loose).chain(self.repeats).for_each(|reply| reply.fail(error.clone()));
    }
}

/// What came of deciding a batch.
pub(crate) struct Decided<E: Entity> {
    /// The row to append, if anything needs recording; else everyone is answered already.
    pub(crate) flight: Option<(Append, Box<Flight<E>>)>,
    /// Commands that could not be decided yet, in order: they need rows that are not at hand.
    pub(crate) deferred: Vec<Asked<E>>,
    pub(crate) tally: Tally,
    /// The last panic that was allowed happened.
    pub(crate) quarantine: bool,
    /// The row could not be encoded: the activation cannot go on.
    pub(crate) broken: Option<StoreError>,
}

/// A batch while it is decided.
struct Batch<'a, E: Entity> {
    head: &'a Arc<Published<E>>,
    memory: Option<&'a Memory>,
    env: &'a Env<'a, E>,
    seq: u64,
    at: Timestamp,
    /// The running state; `None` while it is still the head's.
    state: Option<E::State>,
    recorded: Vec<(Recorded<E>, Vec<Reply<E>>)>,
    loose: Vec<(Reply<E>, Outcome<E>)>,
    repeats: Vec<Reply<E>>,
    /// Ids in this batch, by their index in `recorded`.
    ids: HashMap<CommandId, usize>,
    /// The marks that this batch raises.
    marks: Memory,
    views: Vec<ViewWrite>,
    events: u32,
    tally: Tally,
}

/// Decides `commands` in order. See the module.
pub(crate) fn decide<E: Entity>(
    head: &Arc<Published<E>>,
    memory: Option<&Memory>,
    commands: Vec<Asked<E>>,
    recalled: &Recalled<E>,
    env: &Env<'_, E>,
) -> Decided<E> {
    let mut batch = Batch::new(head, memory, env);
    let mut deferred = Vec::new();
    let mut quarantine = false;
    for asked in commands {
        if quarantine {
            asked.reply.fail(AskError::Quarantined);
        } else if deferred.is_empty() {
            deferred.extend(batch.one(asked, recalled));
            quarantine = batch.tally.panicked >= env.panics_left;
        } else {
            // Order: nothing overtakes a command that waits for its rows.
            deferred.push(asked);
        }
    }
    batch.finish(deferred, quarantine)
}

impl<'a, E: Entity> Batch<'a, E> {
    fn new(head: &'a Arc<Published<E>>, memory: Option<&'a Memory>, env: &'a Env<'a, E>) -> Self {
        Self {
            head,
            memory,
            env,
            seq: head.seq + 1,
            at: env.now.max(head.at),
            state: None,
            recorded: Vec::new(),
            loose: Vec::new(),
            repeats: Vec::new(),
            ids: HashMap::new(),
            marks: Memory::default(),
            views: Vec::new(),
            events: 0,
            tally: Tally::default(),
        }
    }

    /// Decides one command, or gives it back because a row that it needs is not at hand.
    fn one(&mut self, asked: Asked<E>, recalled: &Recalled<E>) -> Option<Asked<E>> {
        let asked = self.new_to_us(asked)?;
        let attempt = catch_unwind(AssertUnwindSafe(|| self.attempt(&asked, recalled)));
        match attempt {
            Ok(None) => return Some(asked),
            Ok(Some(outcome)) => self.record(asked, outcome),
            Err(panic) => {
                tracing::error!(entity = %EntityKey::new(E::KIND, self.env.id), panic = text_of(&*panic), "decide panicked");
                self.tally.panicked += 1;
                self.rebuild();
                asked.reply.fail(AskError::Panicked);
            }
        }
        None
    }

    /// The command, unless it is a repeat of one in this batch (which then waits with it) or there is no room for its
    /// id.
    fn new_to_us(&mut self, asked: Asked<E>) -> Option<Asked<E>> {
        if let Some(origin) = &asked.origin
            && self.marks.has_applied(origin)
        {
            self.repeats.push(asked.reply);
            return None;
        }
        let Some(id) = asked.id else { return Some(asked) };
        if let Some((first, replies)) = self.ids.get(&id).and_then(|&index| self.recorded.get_mut(index)) {
            match first.print == asked.print {
                true => replies.push(asked.reply),
                false => asked.reply.fail(AskError::KeyReused),
            }
            return None;
        }
        if self.memory.map_or(0, Memory::len) + self.ids.len() >= self.env.max_remembered {
            asked.reply.fail(AskError::Busy);
            return None;
        }
        Some(asked)
    }

    /// Runs the rules. May panic; `None` where a row is missing that the command needs.
    #[expect(clippy::type_complexity, reason = "the outcome of a decision, as the rules give it")]
    fn attempt(
        &mut self,
        asked: &Asked<E>,
        recalled: &Recalled<E>,
    ) -> Option<(Result<Decision<E>, E::Refusal>, Vec<ViewWrite>)> {
        let state = self.state.as_ref().unwrap_or(&self.head.state);
        let wanted = E::recalls(state, &asked.command);
        let rows = recalled.pick(&wanted)?;
        let moment = Moment {
            now: self.at,
            context: self.env.context,
            seq: self.seq,
            index: u32::try_from(self.recorded.len()).unwrap_or(u32::MAX),
            entropy: (self.env.entropy)(),
            recalled: &rows,
        };
        let outcome = E::decide(state, &asked.command, &moment);
        let mut views = Vec::new();
        if let Ok(decision) = &outcome
            && !decision.events.is_empty()
        {
            let state = self.state.get_or_insert_with(|| self.head.state.clone());
            for (event, index) in decision.events.iter().zip(self.events..) {
                E::apply(state, event, self.seq);
                views.extend(E::views(self.env.id, state, event, self.seq, index));
            }
            if cfg!(debug_assertions) {
                let broken = E::broken_invariants(state);
                assert!(broken.is_empty(), "broken invariants: {broken:?}");
            }
        }
        Some((outcome, views))
    }

    /// Keeps what was decided: in the row if it changes something or must be answered alike again.
    fn record(&mut self, asked: Asked<E>, (outcome, views): (Result<Decision<E>, E::Refusal>, Vec<ViewWrite>)) {
        let (outcome, events, effects) = match outcome {
            Ok(decision) => {
                self.tally.accepted += 1;
                (Ok(decision.reply), decision.events, decision.effects)
            }
            // No answer for good: nothing is remembered, and a repeat is decided anew.
            Err(refusal) if !E::is_recorded(&refusal) => {
                self.tally.refused += 1;
                match asked.origin {
                    None => self.loose.push((asked.reply, Err(refusal))),
                    // An effect is owed until it is applied: it comes again.
                    Some(_) => asked.reply.fail(AskError::Panicked),
                }
                return;
            }
            Err(refusal) => {
                self.tally.refused += 1;
                (Err(refusal), Vec::new(), Vec::new())
            }
        };
        let origin = asked.origin.filter(|_| E::KEEPS_MARKS).map(|origin| *origin);
        let nothing_to_record = asked.id.is_none() && origin.is_none() && events.is_empty() && effects.is_empty();
        if nothing_to_record {
            self.loose.push((asked.reply, outcome));
            return;
        }
        if let Some(id) = asked.id {
            self.ids.insert(id, self.recorded.len());
        }
        if let Some(origin) = &origin {
            self.marks.mark(origin);
        }
        self.events += u32::try_from(events.len()).unwrap_or(u32::MAX);
        self.views.extend(views);
        let recorded = Recorded { id: asked.id, origin, print: asked.print, outcome, events, effects };
        self.recorded.push((recorded, vec![asked.reply]));
    }

    /// After a panic the running state may be half changed: it is made again from what was recorded.
    fn rebuild(&mut self) {
        if self.state.take().is_none() {
            return;
        }
        let mut state = self.head.state.clone();
        for event in self.recorded.iter().flat_map(|(recorded, _)| &recorded.events) {
            E::apply(&mut state, event, self.seq);
        }
        self.state = Some(state);
    }

    fn finish(self, deferred: Vec<Asked<E>>, quarantine: bool) -> Decided<E> {
        let mut decided = Decided { flight: None, deferred, tally: self.tally, quarantine, broken: None };
        if self.recorded.is_empty() {
            let (seq, at) = (self.head.seq, self.head.at);
            for (reply, outcome) in self.loose {
                reply.answer(Answer { outcome, replayed: false, seq, at });
            }
            return decided;
        }
        let (commands, replies): (Vec<_>, Vec<_>) = self.recorded.into_iter().unzip();
        let body = row::encode(&commands);
        let effects: Vec<Effect> = commands.iter().flat_map(|command| command.effects.iter().cloned()).collect();
        let state = self.state.unwrap_or_else(|| self.head.state.clone());
        let wake = E::next_wake(&state);
        let flight = Box::new(Flight {
            next: Arc::new(Published { state, seq: self.seq, at: self.at }),
            recorded: commands.into_iter().zip(replies).collect(),
            loose: self.loose,
            repeats: self.repeats,
            effects: effects.clone(),
        });
        match body {
            Ok(body) => {
                let row = StoredRow { seq: self.seq, at: self.at, format: E::FORMAT, body };
                let entity = EntityKey::new(E::KIND, self.env.id);
                decided.flight = Some((Append { entity, row, views: self.views, wake, effects }, flight));
            }
            Err(error) => {
                flight.fail(&error.clone().into());
                decided.broken = Some(error);
            }
        }
        decided
    }
}

/// Few rows count anything, so the counter is looked up each time: one per event and label would be many to keep.
fn count(count: Count) {
    metrics::counter!(count.metric, count.label => count.value).increment(count.by);
}

/// What a panic said.
pub(crate) fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
