//! What passes between a caller and an entity: requests, answers, and why there is none.
//!
//! Plain values, owned by whoever holds them. Nothing here waits, locks or reads a clock.

use std::fmt;

use adal_domain::{
    entity::{Entity, EntityKey},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{ports::StoreError, row::Outcome};

/// The identity of a command: the same id takes effect at most once per entity, and gets the same answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(#[serde(with = "serde_bytes")] [u8; 16]);

impl CommandId {
    /// The id of `key` (an `Idempotency-Key`, an `event_id`) within `scope` (the credential, or the source of events):
    /// two scopes never share an id.
    #[must_use]
    pub fn of(scope: &str, key: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        // The length first: ("ab", "c") and ("a", "bc") are two different ids.
        hasher.update(&(scope.len() as u64).to_le_bytes());
        hasher.update(scope.as_bytes());
        hasher.update(key.as_bytes());
        Self(first_half(&hasher.finalize()))
    }

    /// The 16 bytes, as stored.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The print of a request's body: what tells a repeat from another command under the same id.
#[must_use]
pub fn print_of(body: &[u8]) -> [u8; 16] {
    first_half(&blake3::hash(body))
}

fn first_half(hash: &blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}

/// Where an effect comes from: its place in the row that owes it. The receiver's command id for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// Who owes it.
    pub source: EntityKey,
    /// The row that owes it.
    pub seq: u64,
    /// Its index among the row's effects.
    pub index: u32,
}

/// One command for an entity.
#[derive(Debug, Clone)]
pub struct Request<E: Entity> {
    /// Its identity; `None` for one that may be decided again at each repeat (and then writes nothing if nothing
    /// changes).
    pub id: Option<CommandId>,
    /// A hash of the body (see [`print_of`]): the same id with another print is [`AskError::KeyReused`].
    pub print: [u8; 16],
    /// The command.
    pub command: E::Command,
}

/// What an entity answered, after it was durable.
#[derive(Debug, Clone)]
pub struct Answer<E: Entity> {
    /// The reply, or the refusal. A refusal is an answer too: it is recorded, and repeated, unless
    /// `Entity::is_recorded` says otherwise.
    pub outcome: Outcome<E>,
    /// Whether this is what was answered earlier to the same id.
    pub replayed: bool,
    /// The row in which the answer stands (the entity's last row, where nothing needed recording).
    pub seq: u64,
    /// When that row was decided.
    pub at: Timestamp,
}

/// An entity's state as of its last durable row.
#[derive(Debug, Clone)]
pub struct Published<E: Entity> {
    /// The state.
    pub state: E::State,
    /// The last durable row; 0 before the first.
    pub seq: u64,
    /// When that row was decided; 1970 before the first.
    pub at: Timestamp,
}

impl<E: Entity> Published<E> {
    /// The entity `id` before its first row.
    #[must_use]
    pub fn initial(id: &str) -> Self {
        Self { state: E::initial(id), seq: 0, at: Timestamp::default() }
    }
}

/// Why there is no answer. In every case the caller may repeat with the same id: nothing takes effect twice.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AskError {
    /// A bound is reached: the entity's queue, the number of live entities, or of remembered ids. Ask again later.
    #[error("too much is waiting for this entity")]
    Busy,
    /// The store could not take the command, or another owner has the entity. Ask again later, with the same id.
    #[error("the entity is unavailable")]
    Unavailable {
        /// What the store said.
        #[source]
        cause: StoreError,
    },
    /// The id was used before, with another body.
    #[error("the command id was used for another command")]
    KeyReused,
    /// Deciding a command of this entity panicked too often: it is not asked again before a restart.
    #[error("the entity is quarantined")]
    Quarantined,
    /// Deciding this command panicked, or (of an effect) came to no answer: a fault in the rules. Nothing of it took effect.
    #[error("the command could not be decided")]
    Panicked,
    /// No answer to this id is recorded. To [`crate::Registry::recorded`] alone, which says so in its own way.
    #[error("no answer to this id is recorded")]
    NotRecorded,
    /// This process is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// What is stored of the entity cannot be read.
    #[error("the entity's stored data cannot be read")]
    Corrupt {
        /// What the store, or the decoder, said.
        #[source]
        cause: StoreError,
    },
    /// No answer came in time. The command may yet take effect: repeat it with the same id.
    #[error("no answer came in time")]
    Deadline,
}

impl From<StoreError> for AskError {
    fn from(cause: StoreError) -> Self {
        match cause {
            StoreError::Corrupt(_) => Self::Corrupt { cause },
            StoreError::Fenced(_) | StoreError::InDoubt(_) | StoreError::Unavailable(_) => Self::Unavailable { cause },
        }
    }
}

/// Where an answer goes.
pub(crate) enum Reply<E: Entity> {
    /// To somebody who wants the answer.
    Answer(oneshot::Sender<Result<Answer<E>, AskError>>),
    /// To somebody who wants to know that it is done: a timer, the delivery of an effect.
    Done(oneshot::Sender<Result<(), AskError>>),
}

impl<E: Entity> Reply<E> {
    /// Whether nobody waits for it any more: its deadline has passed.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Answer(to) => to.is_closed(),
            Self::Done(to) => to.is_closed(),
        }
    }

    /// Answers. That nobody waits any more is no error: the row is durable, and a repeat finds it.
    pub(crate) fn answer(self, answer: Answer<E>) {
        match self {
            Self::Answer(to) => drop(to.send(Ok(answer))),
            Self::Done(to) => drop(to.send(Ok(()))),
        }
    }

    /// Says that it was done before (an effect that comes again).
    pub(crate) fn done_before(self, head: &Published<E>) {
        match self {
            Self::Done(to) => drop(to.send(Ok(()))),
            // Effects are delivered with `Done` alone; an `Answer` has nothing to answer with.
            Self::Answer(to) => {
                let text = format!("an effect that was applied before row {} has no answer", head.seq);
                drop(to.send(Err(StoreError::Corrupt(text.into()).into())));
            }
        }
    }

    /// Says why there is no answer.
    pub(crate) fn fail(self, error: AskError) {
        match self {
            Self::Answer(to) => drop(to.send(Err(error))),
            Self::Done(to) => drop(to.send(Err(error))),
        }
    }
}

/// A command on its way through an entity's queue.
pub(crate) struct Asked<E: Entity> {
    pub(crate) id: Option<CommandId>,
    /// Boxed: only effects have one.
    pub(crate) origin: Option<Box<Origin>>,
    pub(crate) print: [u8; 16],
    pub(crate) command: E::Command,
    pub(crate) reply: Reply<E>,
    /// Not to be decided: only an answer that is recorded already is wanted.
    pub(crate) known_only: bool,
}

/// What waits in an entity's queue.
pub(crate) enum Job<E: Entity> {
    Command(Asked<E>),
    /// The state, once the entity is open.
    Read(oneshot::Sender<Result<std::sync::Arc<Published<E>>, AskError>>),
}

impl<E: Entity> Job<E> {
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Command(asked) => asked.reply.is_closed(),
            Self::Read(to) => to.is_closed(),
        }
    }

    pub(crate) fn fail(self, error: AskError) {
        match self {
            Self::Command(asked) => asked.reply.fail(error),
            Self::Read(to) => drop(to.send(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_two_scopes_differ() {
        assert_eq!(CommandId::of("pos-1", "k"), CommandId::of("pos-1", "k"));
        assert_ne!(CommandId::of("pos-1", "k"), CommandId::of("pos-2", "k"));
        assert_ne!(CommandId::of("ab", "c"), CommandId::of("a", "bc"));
    }
}
