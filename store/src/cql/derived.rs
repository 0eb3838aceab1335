//! What follows from a row: views and what it owes. It stands in the row, as bytes of this module's own, so that whoever
//! takes the entity over can write it again without knowing the rules.
//!
//! Every write here is idempotent and stamped, so that doing it twice, late, or beside a later row's changes nothing:
//! views by the writer's epoch and the row's seq (a key is only ever written by one entity), the outbox by the epoch of
//! whoever owes it and the row's seq: that is the row's writer, or who adopted it since, and then owes it in a part of its
//! own. Of a view that is listed the lists come first and the row last: the row then says that the lists are as it says.

use std::sync::Arc;

use adal_domain::entity::{Effect, EntityKey, View, ViewWrite};
use serde::{Deserialize, Serialize};

use super::{
    db::{Database, Failed, JournalRow, ListPart, OutboxPlace, OutboxRow, StampedView, ViewEntry},
    outbox::{Outbox, Where},
    protocol::{shard_of, slice_of, stamp},
    together::Together,
};

const FORMAT: u8 = 1;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Derived {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) views: Vec<ViewWrite>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) effects: Vec<Effect>,
}

#[derive(Serialize)]
struct Written<'a> {
    v: u8,
    #[serde(flatten)]
    derived: &'a Derived,
}

#[derive(Deserialize)]
struct Read {
    v: u8,
    #[serde(flatten)]
    derived: Derived,
}

impl Derived {
    /// What is stored; `None` where nothing follows.
    pub(super) fn encode(&self) -> Result<Option<Vec<u8>>, Failed> {
        if self.views.is_empty() && self.effects.is_empty() {
            return Ok(None);
        }
        let bytes = rmp_serde::to_vec_named(&Written { v: FORMAT, derived: self });
        bytes.map(Some).map_err(|e| Failed::NotDone(format!("what follows cannot be encoded: {e}").into()))
    }

    pub(super) fn decode(row: &JournalRow) -> Result<Self, Failed> {
        let Some(bytes) = &row.derived else { return Ok(Self::default()) };
        let bad = |why: String| Failed::Unreadable(format!("what follows from row {}: {why}", row.place.seq).into());
        let read: Read = rmp_serde::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if read.v > FORMAT {
            return Err(bad(format!("it is of format {}, newer than {FORMAT}", read.v)));
        }
        Ok(read.derived)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.views.is_empty() && self.effects.is_empty()
    }
}

/// Writes what follows from rows.
pub(super) struct Follower {
    pub(super) db: Arc<dyn Database>,
    pub(super) together: Arc<Together>,
    pub(super) outbox: Arc<Outbox>,
}

/// Whose row it is that something follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) entity: &'a EntityKey,
    pub(super) seq: u64,
    /// Where its effects stand: in the row's own bucket and under its own epoch, where its writer follows it; in those of the
    /// empty row on top of it, where an adopter does, who must not write to a part that an earlier owner may drop.
    pub(super) at: Where,
    /// Ours.
    pub(super) epoch: u64,
}

impl Follower {
    /// Writes all of it once. What failed is done again, whole, and `alone`.
    pub(super) async fn follow(&self, of: Of<'_>, derived: &Derived, alone: bool) -> Result<(), Failed> {
        if derived.is_empty() {
            return Ok(());
        }
        // What only has to be written is written together: a row of many commands would take a statement for each.
        let stamp = stamp(of.epoch, of.seq);
        let (plain, others): (Vec<_>, Vec<_>) =
            last_words(&derived.views).partition(|write| write.value.is_some() && !write.view.is_listed());
        let stamped = |write: &ViewWrite| Some(StampedView { view: write.view, entry: entry(of, write)?, stamp });
        let rows: Vec<_> = plain.into_iter().filter_map(stamped).collect();
        let together = async {
            match rows.is_empty() {
                true => Ok(()),
                false => self.together.put_views(rows, alone).await,
            }
        };
        let others = futures_util::future::try_join_all(others.into_iter().map(|write| self.view(of, write)));
        futures_util::future::try_join3(together, others, self.owe(of, &derived.effects)).await?;
        Ok(())
    }

    async fn owe(&self, of: Of<'_>, effects: &[Effect]) -> Result<(), Failed> {
        if effects.is_empty() {
            return Ok(());
        }
        let place = |index| OutboxPlace { source: of.entity.clone(), seq: of.seq, index };
        let rows: Vec<OutboxRow> = (0..)
            .zip(effects)
            .map(|(index, effect)| OutboxRow { place: place(index), effect: effect.clone() })
            .collect();
        self.outbox.put(of.at, &rows, of.epoch).await
    }

    /// Writes one change to a view.
    pub(super) async fn view(&self, of: Of<'_>, write: &ViewWrite) -> Result<(), Failed> {
        // Of our epoch, whoever wrote the row: what an earlier owner writes late, of any row, is covered by what we write.
        let stamp = stamp(of.epoch, of.seq);
        let (view, key) = (write.view, write.key.as_str());
        let entry = entry(of, write);
        if view.is_listed() {
            self.lists(of, view, key, entry.as_ref(), stamp).await?;
        }
        match entry {
            Some(entry) => self.db.put_views(&[StampedView { view, entry, stamp }]).await,
            None => self.db.delete_view(view, key, stamp).await,
        }
    }

    async fn lists(
        &self,
        of: Of<'_>,
        view: View,
        key: &str,
        entry: Option<&ViewEntry>,
        stamp: i64,
    ) -> Result<(), Failed> {
        let slice = slice_of(shard_of(of.entity));
        let part = |filter| ListPart { view, filter, slice };
        let there = self.db.view(view, key).await?;
        if let Some(there) = &there
            && entry.is_none_or(|entry| entry.filter != there.filter)
        {
            self.db.delete_view_list(part(Some(&there.filter)), key, stamp).await?;
        }
        match entry {
            Some(entry) if !view.is_listed_whole() => {
                self.db.put_view_list(part(Some(&entry.filter)), entry, stamp).await
            }
            Some(entry) => {
                let of_filter = self.db.put_view_list(part(Some(&entry.filter)), entry, stamp);
                futures_util::future::try_join(of_filter, self.db.put_view_list(part(None), entry, stamp)).await?;
                Ok(())
            }
            None if !view.is_listed_whole() => Ok(()),
            None => self.db.delete_view_list(part(None), key, stamp).await,
        }
    }
}

/// What stands in a view after a change; `None`: nothing.
fn entry(of: Of<'_>, write: &ViewWrite) -> Option<ViewEntry> {
    write.value.as_ref().map(|value| ViewEntry {
        key: write.key.clone(),
        filter: write.filter.clone(),
        entity: of.entity.clone(),
        seq: of.seq,
        value: value.clone(),
    })
}

/// Of several changes of one row to one key the last counts, and only that may be written: they have the same stamp.
fn last_words(views: &[ViewWrite]) -> impl Iterator<Item = &ViewWrite> {
    let later = |at: usize, write: &ViewWrite| {
        views.iter().skip(at + 1).any(|later| later.view == write.view && later.key == write.key)
    };
    views.iter().enumerate().filter(move |(at, write)| !later(*at, write)).map(|(_, write)| write)
}

#[cfg(test)]
mod tests {
    use adal_domain::{entity::EntityKind, time::Timestamp};

    use super::*;
    use crate::cql::db::Place;

    fn row(derived: Option<Vec<u8>>) -> JournalRow {
        let place = Place { seq: 3, epoch: 1 };
        let (at, body) = (Timestamp(0), vec![]);
        JournalRow { place, parent_epoch: 1, at, format: 1, body, bucket: 0, wake: None, derived }
    }

    #[test]
    fn what_follows_comes_back_as_it_was_written() {
        assert_eq!(Derived::default().encode().unwrap(), None);
        let views = vec![ViewWrite { view: View::Signal, key: "k".into(), filter: "f".into(), value: Some(vec![1]) }];
        let target = EntityKey::new(EntityKind::Promo, "p");
        let derived = Derived { views, effects: vec![Effect { target, command: vec![2, 3] }] };
        let bytes = derived.encode().unwrap();
        assert_eq!(Derived::decode(&row(bytes)).unwrap(), derived);
        assert!(matches!(Derived::decode(&row(Some(vec![0xc1]))), Err(Failed::Unreadable(_))));
        let newer = rmp_serde::to_vec_named(&Written { v: 2, derived: &derived }).unwrap();
        assert!(matches!(Derived::decode(&row(Some(newer))), Err(Failed::Unreadable(_))));
    }
}
