//! A customer with a journal in memory: what the loop does around `decide` and `apply`, without the loop.
//!
//! After every command the invariants are checked, and on demand the whole journal is replayed from its stored bytes.

use std::sync::Arc;

use adal_domain::{
    customer::{Command, Context, Customer, Event, Reply, State, read::StatementEntry},
    entity::{Entity, Moment},
    errors::Refusal,
    policy::Policy,
    time::Timestamp,
};

/// The rules' surroundings: default policy, all flags on.
pub fn context() -> Context {
    context_of(Policy::default())
}

/// The same with another policy.
pub fn context_of(policy: Policy) -> Context {
    policy.validate().unwrap();
    let calendar = policy.calendar().unwrap();
    Context {
        policy: Arc::new(policy),
        calendar,
        revision: 1,
        earn: true,
        burn: true,
        trust_limits: true,
        promos: true,
        campaigns: true,
    }
}

/// See the module.
pub struct Journal {
    pub context: Context,
    pub state: State,
    pub rows: Vec<(u64, Vec<Event>)>,
    /// The last row's time.
    pub last: Timestamp,
    seq: u64,
}

impl Journal {
    pub fn new(context: Context) -> Self {
        Self { context, state: Customer::initial("c1"), rows: Vec::new(), last: Timestamp(0), seq: 0 }
    }

    /// Decides a command at the clock's `clock` and writes its row.
    pub fn run(&mut self, clock: Timestamp, command: &Command) -> Result<Reply, Refusal> {
        let (result, _) = self.run_and_see(clock, command);
        result
    }

    /// The same, and the events that were written.
    pub fn run_and_see(&mut self, clock: Timestamp, command: &Command) -> (Result<Reply, Refusal>, Vec<Event>) {
        let now = clock.max(self.last);
        let recalled: Vec<_> = Customer::recalls(&self.state, command)
            .into_iter()
            .map(|seq| self.rows.iter().find(|(row, _)| *row == seq).unwrap().clone())
            .collect();
        let seq = self.seq + 1;
        let moment = Moment {
            now,
            context: &self.context,
            seq,
            index: 0,
            entropy: u128::from(seq).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes(),
            recalled: &recalled,
        };
        let decision = match Customer::decide(&self.state, command, &moment) {
            Ok(decision) => decision,
            Err(refusal) => return (Err(refusal), Vec::new()),
        };
        for event in &decision.events {
            Customer::apply(&mut self.state, event, seq);
        }
        let broken = Customer::broken_invariants(&self.state);
        assert!(broken.is_empty(), "{command:?} breaks {broken:?}: {:#?}", self.state);
        self.rows.push((seq, decision.events.clone()));
        (self.seq, self.last) = (seq, now);
        (Ok(decision.reply), decision.events)
    }

    /// The statement as a read at `clock` shows it, oldest first by the order of writing.
    pub fn statement(&self, clock: Timestamp) -> Vec<StatementEntry> {
        let due = self.state.due(&self.context, clock.max(self.last)).entries;
        self.events().filter_map(Event::statement_entry).chain(due).collect()
    }

    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.rows.iter().flat_map(|(_, events)| events)
    }

    /// The state that the stored bytes of the rows give.
    pub fn replayed(&self) -> State {
        let mut state = Customer::initial("c1");
        for (seq, events) in &self.rows {
            let bytes = rmp_serde::to_vec_named(events).unwrap();
            let events: Vec<Event> = rmp_serde::from_slice(&bytes).unwrap();
            for event in &events {
                Customer::apply(&mut state, event, *seq);
            }
        }
        state
    }

    /// The state after a snapshot's round trip.
    pub fn reloaded(&self) -> State {
        rmp_serde::from_slice(&rmp_serde::to_vec_named(&self.state).unwrap()).unwrap()
    }

    /// The state with all that is due at `clock`.
    pub fn settled(&self, clock: Timestamp) -> State {
        self.state.settled(&self.context, clock.max(self.last)).0.into_owned()
    }
}
