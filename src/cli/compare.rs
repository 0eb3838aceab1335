//! Views as they stand against what the journal says of them, through the ports: for a store that many servers share, and
//! that one may be writing to. What differs is looked at again, since a server may have been in between; what differs
//! every time is wrong.

use std::collections::{BTreeMap, HashMap};

use adal_actors::{
    ports::{StoreError, ViewRow},
    replay,
};
use adal_domain::entity::{Entity, EntityKey, View, ViewWrite};
use adal_store::Storage;

use super::kinds::{Visit, of_kind};

/// How often an entity is looked at before what differs is told.
const LOOKS: usize = 3;

/// A filter and a value.
type Written = (String, Vec<u8>);

/// What an entity's rows say of its views.
#[derive(Default)]
struct Expected {
    /// The last write to each key; `None`: removed.
    last: BTreeMap<(View, String), Option<Written>>,
    seq: u64,
}

impl Visit for (&dyn Storage, &mut Expected) {
    type Stop = StoreError;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), StoreError> {
        let mut last = BTreeMap::new();
        let fold = replay::walk::<E>(self.0, &key.id, u64::MAX, |stored, state, event, index| {
            for write in E::views(&key.id, state, event, stored.seq, index) {
                let ViewWrite { view, key, filter, value } = write;
                last.insert((view, key), value.map(|value| (filter, value)));
            }
        })
        .await?;
        *self.1 = Expected { last, seq: fold.head.seq };
        Ok(())
    }
}

/// The rows that entities should have in views, so far.
#[derive(Debug, Default)]
pub(super) struct Compare {
    /// How many rows each view should have.
    pub(super) rows: HashMap<View, usize>,
}

impl Compare {
    /// What is wrong with an entity's rows in views, for a person.
    pub(super) async fn entity(&mut self, store: &dyn Storage, key: &EntityKey) -> Result<Vec<String>, StoreError> {
        let mut wrong = Vec::new();
        for _ in 0..LOOKS {
            let mut expected = Expected::default();
            of_kind(&mut (store, &mut expected), key).await?;
            wrong.clear();
            for ((view, name), value) in &expected.last {
                let there = store.get(*view, name).await?;
                if let Some(what) = difference(key, there.as_ref(), value.as_ref()) {
                    wrong.push(format!("{key}: row `{name}` of view {} {what}", view.as_str()));
                }
            }
            let unchanged = store.rows(key, expected.seq + 1, u64::MAX, 1, false).await?.is_empty();
            if wrong.is_empty() || unchanged {
                for (view, _) in
                    expected.last.iter().filter(|(_, value)| value.is_some()).map(|((view, _), v)| (view, v))
                {
                    *self.rows.entry(*view).or_default() += 1;
                }
                break;
            }
        }
        Ok(wrong)
    }

    /// Views that have another number of rows than all entities together should have; to be asked after the last entity,
    /// of a store to which nobody writes.
    pub(super) async fn numbers(&self, store: &dyn Storage) -> Result<Vec<String>, StoreError> {
        let mut wrong = Vec::new();
        for view in View::ALL {
            let (is, expected) = (store.list(view, None, None, usize::MAX).await?.len(), self.rows.get(&view).copied());
            let expected = expected.unwrap_or_default();
            if is != expected {
                wrong.push(format!("view {} lists {is} rows, {expected} by the journal", view.as_str()));
            }
        }
        Ok(wrong)
    }
}

fn difference(key: &EntityKey, there: Option<&ViewRow>, expected: Option<&Written>) -> Option<&'static str> {
    match (there.filter(|there| there.entity == *key), expected) {
        (None, None) => None,
        (None, Some(_)) => Some("is missing"),
        (Some(_), None) => Some("should not be there"),
        (Some(there), Some((filter, value))) => {
            (there.filter != *filter || there.value != *value).then_some("is not what the journal says")
        }
    }
}
