//! Views as they stand against what the journal says of them, through the ports: for a store that many servers share, and
//! that one may be writing to. Views are written after their row, so what differs is looked at again later; what differs
//! every time is wrong.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use adal_actors::{
    ports::{StoreError, ViewRow},
    replay,
};
use adal_domain::entity::{Entity, EntityKey, View, ViewWrite};
use adal_store::{Storage, cql::CqlStore};

use super::kinds::{Visit, of_kind};

/// How often an entity is looked at again before what differs is told, and how long after the look before: a server repeats
/// what it writes for seconds.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_secs(5);

/// Entities that are looked at again. Where more differ, no server is the reason.
const DOUBTFUL: usize = 10_000;

/// A filter and a value.
type Written = (String, Vec<u8>);

/// What an entity's rows say of its views.
#[derive(Default)]
struct Expected {
    /// The last write to each key; `None`: removed.
    last: BTreeMap<(View, String), Option<Written>>,
}

impl Visit for (&dyn Storage, &mut Expected) {
    type Stop = StoreError;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), StoreError> {
        let mut last = BTreeMap::new();
        replay::walk::<E>(self.0, &key.id, u64::MAX, |stored, state, event, index| {
            for write in E::views(&key.id, state, event, stored.seq, index) {
                let ViewWrite { view, key, filter, value } = write;
                last.insert((view, key), value.map(|value| (filter, value)));
            }
        })
        .await?;
        *self.1 = Expected { last };
        Ok(())
    }
}

/// The rows that entities should have in views, so far.
#[derive(Debug, Default)]
pub(super) struct Compare {
    /// How many rows each view should have.
    rows: HashMap<View, u64>,
    /// Entities of which something differed.
    doubtful: Vec<EntityKey>,
}

impl Compare {
    /// Looks at an entity's rows in views. What differs is told by [`Compare::doubtful`], if it goes on to; at once where
    /// too much does.
    pub(super) async fn entity(&mut self, store: &dyn Storage, key: &EntityKey) -> Result<Vec<String>, StoreError> {
        let (wrong, has) = look(store, key).await?;
        if !wrong.is_empty() && self.doubtful.len() < DOUBTFUL {
            self.doubtful.push(key.clone());
            return Ok(Vec::new());
        }
        self.count(has);
        Ok(wrong)
    }

    fn count(&mut self, has: Vec<View>) {
        for view in has {
            *self.rows.entry(view).or_default() += 1;
        }
    }

    /// What is wrong with the entities of which something differed, for a person. After the last entity.
    pub(super) async fn doubtful(&mut self, store: &dyn Storage) -> Result<Vec<String>, StoreError> {
        let mut told = Vec::new();
        for left in (0..LOOKS).rev() {
            if self.doubtful.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            for key in std::mem::take(&mut self.doubtful) {
                let (wrong, has) = look(store, &key).await?;
                if wrong.is_empty() || left == 0 {
                    self.count(has);
                    told.extend(wrong);
                } else {
                    self.doubtful.push(key);
                }
            }
        }
        Ok(told)
    }

    /// Views that have another number of rows than all entities together should have; to be asked after the last entity,
    /// of a store to which nobody writes.
    pub(super) async fn numbers(&self, store: &CqlStore) -> Result<Vec<String>, StoreError> {
        let there = store.count_views().await?;
        let mut wrong = Vec::new();
        for view in View::ALL {
            let is = there.get(&view).copied().unwrap_or_default();
            let rows = self.rows.get(&view).copied().unwrap_or_default();
            let by_filter = if view.is_listed() { rows } else { 0 };
            let whole = if view.is_listed_whole() { rows } else { 0 };
            let counts =
                [("rows", is.rows, rows), ("lines", is.by_filter, by_filter), ("lines of all", is.whole, whole)];
            for (what, is, expected) in counts.into_iter().filter(|(_, is, expected)| is != expected) {
                wrong.push(format!("view {} has {is} {what}, {expected} by the journal", view.as_str()));
            }
        }
        Ok(wrong)
    }
}

/// What differs in an entity's rows in views, for a person, and in which views it should have a row.
async fn look(store: &dyn Storage, key: &EntityKey) -> Result<(Vec<String>, Vec<View>), StoreError> {
    let mut expected = Expected::default();
    of_kind(&mut (store, &mut expected), key).await?;
    let mut wrong = Vec::new();
    for ((view, name), value) in &expected.last {
        let there = store.get(*view, name).await?;
        if let Some(what) = difference(key, there.as_ref(), value.as_ref()) {
            wrong.push(format!("{key}: row `{name}` of view {} {what}", view.as_str()));
        }
    }
    let has = expected.last.into_iter().filter(|(_, value)| value.is_some());
    Ok((wrong, has.map(|((view, _), _)| view).collect()))
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
