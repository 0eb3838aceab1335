//! What a journal row says: the commands that were decided together, each with its answer, its events and what it owes.
//!
//! `StoredRow.body` is this as a MessagePack map with names, under a format number of its own beside `Entity::FORMAT`:
//! the first is the loop's, the second the rules'. Golden files keep both readable for ever, so fields are added with
//! `#[serde(default)]` and never renamed.

use adal_domain::entity::{Effect, Entity};
use serde::{Deserialize, Serialize};

use crate::{
    ask::{CommandId, Origin},
    ports::{StoreError, StoredRow},
};

/// The format of the row around the rules' own values.
pub const FORMAT: u8 = 1;

/// What a command came to: the reply, or the refusal.
pub type Outcome<E> = Result<<E as Entity>::Reply, <E as Entity>::Refusal>;

/// One journal row, decoded.
#[derive(Debug, Clone)]
pub struct Row<E: Entity> {
    /// What was decided, in order.
    pub commands: Vec<Recorded<E>>,
}

/// One command of a row: what it was, what it was answered, what it did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Recorded<E: Entity> {
    /// Its id, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CommandId>,
    /// Where it came from, if it is another entity's effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The print of its body.
    #[serde(with = "serde_bytes")]
    pub print: [u8; 16],
    /// What the caller was told.
    pub outcome: Outcome<E>,
    /// What happened.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<E::Event>,
    /// What is owed to others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

#[derive(Serialize)]
#[serde(bound = "")]
struct Written<'a, E: Entity> {
    v: u8,
    commands: &'a [Recorded<E>],
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct Read<E: Entity> {
    v: u8,
    commands: Vec<Recorded<E>>,
}

impl<E: Entity> Row<E> {
    /// The row's events in the order in which they were applied; their position is the `index` that `Entity::views`
    /// was given.
    pub fn events(&self) -> impl Iterator<Item = &E::Event> {
        self.commands.iter().flat_map(|command| &command.events)
    }

    /// What the row owes, in order; the position is the effect's index.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.commands.iter().flat_map(|command| &command.effects)
    }

    /// The command at `index`.
    #[must_use]
    pub fn command(&self, index: u32) -> Option<&Recorded<E>> {
        self.commands.get(usize::try_from(index).ok()?)
    }
}

/// The bytes of a row's body.
///
/// # Errors
/// [`StoreError::Corrupt`] where a value has no MessagePack form (a fault in the rules' types).
pub fn encode<E: Entity>(commands: &[Recorded<E>]) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec_named(&Written { v: FORMAT, commands })
        .map_err(|error| StoreError::Corrupt(format!("a row cannot be encoded: {error}").into()))
}

/// The body of a row in which nothing was decided, of any entity: what an owner puts on top of rows of another's.
///
/// # Errors
/// As [`encode`].
pub fn empty() -> Result<Vec<u8>, StoreError> {
    encode::<adal_domain::catalogue::Catalogue>(&[])
}

/// Reads a stored row's body.
///
/// # Errors
/// [`StoreError::Corrupt`] where the bytes are damaged or of a newer format.
pub fn decode<E: Entity>(stored: &StoredRow) -> Result<Row<E>, StoreError> {
    if stored.format > E::FORMAT {
        let text = format!("row {} is of format {}, newer than {}", stored.seq, stored.format, E::FORMAT);
        return Err(StoreError::Corrupt(text.into()));
    }
    let read: Read<E> = rmp_serde::from_slice(&stored.body)
        .map_err(|error| StoreError::Corrupt(format!("row {}: {error}", stored.seq).into()))?;
    if read.v > FORMAT {
        let text = format!("row {} is of row format {}, newer than {FORMAT}", stored.seq, read.v);
        return Err(StoreError::Corrupt(text.into()));
    }
    Ok(Row { commands: read.commands })
}

#[cfg(test)]
mod tests {
    use adal_domain::{customer::Customer, time::Timestamp};

    use super::*;

    #[test]
    fn an_empty_row_is_one_of_any_entity() {
        let row = StoredRow { seq: 1, at: Timestamp(0), format: 1, body: empty().unwrap() };
        let read = decode::<Customer>(&row).unwrap();
        assert!(read.commands.is_empty());
        assert_eq!(encode::<Customer>(&[]).unwrap(), row.body, "no entity's is another one");
    }
}
