//! What an entity remembers besides its state: the ids it answered, and how far each source's effects are applied.
//!
//! Owned by the entity's actor, on its thread. It is bounded (the registry refuses new ids when it is full: forgetting
//! an id early could grant something twice) and small: one allocation for most entities, none for many.

use std::collections::{BTreeMap, HashMap, VecDeque};

use adal_domain::{entity::EntityKey, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::ask::{CommandId, Origin};

/// An answered id, and where its answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The command's id.
    pub id: CommandId,
    /// The row.
    pub seq: u64,
    /// The command's index in the row.
    pub index: u32,
    /// When the row was decided.
    pub at: Timestamp,
}

/// Up to here a source's effects are applied: everything up to this seq and index, nothing after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The source.
    pub source: EntityKey,
    /// The source's row.
    pub seq: u64,
    /// The effect's index in it.
    pub index: u32,
}

/// Below this many ids a scan is as fast as a table, and costs nothing to keep.
const SCANNED: usize = 32;

/// Up to so many ids the buffer grows by one at a time.
const EXACT: usize = 8;

/// The ids an entity answered, oldest first, and the high-water marks of those who sent it effects.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    answered: VecDeque<Remembered>,
    /// How many were forgotten: position in `answered` = number - `forgotten`.
    forgotten: u64,
    /// id -> number; absent while there are few.
    #[expect(clippy::box_collection, reason = "a million idle entities have none: a pointer, not a table")]
    table: Option<Box<HashMap<CommandId, u64>>>,
    /// Absent while nobody sent effects, as for most.
    #[expect(clippy::box_collection, reason = "only receivers of effects have any")]
    marks: Option<Box<BTreeMap<EntityKey, (u64, u32)>>>,
}

impl Memory {
    /// The memory that a snapshot holds.
    #[must_use]
    pub fn restore(answered: Vec<Remembered>, marks: Vec<Mark>) -> Self {
        let mut memory = Self::default();
        answered.into_iter().for_each(|one| memory.remember(one));
        for mark in marks {
            memory.marks.get_or_insert_default().insert(mark.source, (mark.seq, mark.index));
        }
        memory
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answered.is_empty() && self.marks.is_none()
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.answered.len()
    }

    /// The ids, oldest first.
    pub fn answered(&self) -> impl Iterator<Item = &Remembered> {
        self.answered.iter()
    }

    /// The marks, by source.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        self.marks.iter().flat_map(|marks| marks.iter()).map(|(source, &(seq, index))| Mark {
            source: source.clone(),
            seq,
            index,
        })
    }

    /// Where the answer to `id` stands.
    #[must_use]
    pub fn find(&self, id: CommandId) -> Option<Remembered> {
        let Some(table) = &self.table else {
            // The newest first: repeats come soon.
            return self.answered.iter().rev().find(|one| one.id == id).copied();
        };
        let number = table.get(&id)?;
        let position = usize::try_from(number.checked_sub(self.forgotten)?).ok()?;
        self.answered.get(position).copied()
    }

    /// Whether the effect was applied.
    #[must_use]
    pub fn has_applied(&self, origin: &Origin) -> bool {
        let marks = self.marks.as_ref();
        marks.and_then(|marks| marks.get(&origin.source)).is_some_and(|&mark| (origin.seq, origin.index) <= mark)
    }

    /// Remembers an answer. They come in the order of their rows.
    pub fn remember(&mut self, one: Remembered) {
        if self.answered.len() < EXACT {
            // One by one: most have two or three a day, and half-empty buffers are memory.
            self.answered.reserve_exact(1);
        }
        self.answered.push_back(one);
        if let Some(table) = &mut self.table {
            table.insert(one.id, self.forgotten + self.answered.len() as u64 - 1);
        } else if self.answered.len() > SCANNED {
            let numbered = self.answered.iter().zip(self.forgotten..);
            self.table = Some(Box::new(numbered.map(|(one, number)| (one.id, number)).collect()));
        }
    }

    /// Raises the mark of an effect's source.
    pub fn mark(&mut self, origin: &Origin) {
        let mark = (origin.seq, origin.index);
        let marks = self.marks.get_or_insert_default();
        match marks.get_mut(&origin.source) {
            Some(old) => *old = mark.max(*old),
            None => drop(marks.insert(origin.source.clone(), mark)),
        }
    }

    /// Forgets the ids that were answered not later than `until`.
    pub fn forget(&mut self, until: Timestamp) {
        let before = self.answered.len();
        while let Some(oldest) = self.answered.front().copied()
            && oldest.at <= until
        {
            self.answered.pop_front();
            if let Some(table) = &mut self.table {
                table.remove(&oldest.id);
            }
            self.forgotten += 1;
        }
        if self.answered.len() < before && self.answered.len() <= SCANNED / 2 {
            // Back to small: a million entities keep what they need, not what they once needed.
            self.table = None;
            self.answered.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use adal_domain::entity::EntityKind;

    use super::*;

    fn one(number: u64) -> Remembered {
        let at = Timestamp::from_seconds(i64::try_from(number).unwrap());
        Remembered { id: CommandId::of("test", &number.to_string()), seq: number, index: 0, at }
    }

    #[test]
    fn finds_what_it_remembers_and_nothing_it_forgot_at_every_size() {
        let mut memory = Memory::default();
        for number in 1..=200 {
            memory.remember(one(number));
            memory.forget(Timestamp::from_seconds(i64::try_from(number).unwrap() - 100));
        }
        assert_eq!(memory.len(), 100);
        for number in 1..=200 {
            assert_eq!(memory.find(one(number).id).is_some(), number > 100, "{number}");
        }
        memory.forget(Timestamp::from_seconds(195));
        assert_eq!(memory.find(one(196).id), Some(one(196)));
        assert_eq!(memory.find(one(195).id), None);
        memory.remember(one(201));
        assert_eq!(memory.len(), 6);
    }

    #[test]
    fn a_mark_covers_everything_up_to_it_and_never_falls() {
        let source = EntityKey::new(EntityKind::Guest, "g");
        let origin = |seq, index| Origin { source: source.clone(), seq, index };
        let mut memory = Memory::default();
        assert!(!memory.has_applied(&origin(1, 0)));
        memory.mark(&origin(3, 1));
        memory.mark(&origin(2, 9));
        assert!(memory.has_applied(&origin(3, 1)) && memory.has_applied(&origin(2, 50)));
        assert!(!memory.has_applied(&origin(3, 2)));
    }
}
