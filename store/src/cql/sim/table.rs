//! Cells, replicas, and what two of them say together.

use std::{any::Any, collections::BTreeMap, fmt::Debug, sync::Arc};

use crate::cql::db::{ClusterRow, JournalRow};

/// A column of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Col {
    Int(i64),
    Text(String),
    /// After everything.
    End,
}

/// Table, partition, clustering.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) table: &'static str,
    pub(super) part: Vec<Col>,
    pub(super) row: Vec<Col>,
}

/// What a row says.
pub(super) type Found = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
pub(super) struct Cell {
    pub(super) stamp: i64,
    /// `None`: deleted.
    pub(super) value: Option<Found>,
    /// What decides between two values of one stamp, whichever came first. (A server has the greater bytes count; here it is
    /// the greater text.)
    pub(super) text: fn(&Found) -> String,
}

pub(super) enum Change {
    Put(Key, Cell),
    /// A whole partition, as of a stamp.
    Drop(Key, i64),
    /// Rows of a partition before one, which never come again.
    Before(Key),
}

/// One copy.
#[derive(Default)]
pub(super) struct Replica {
    cells: BTreeMap<Key, Cell>,
    dropped: BTreeMap<(&'static str, Vec<Col>), i64>,
}

impl Cell {
    /// The greater stamp counts; of the same, the deletion, or the greater value.
    fn yields_to(&self, other: &Self) -> bool {
        other.stamp > self.stamp
            || (other.stamp == self.stamp
                && match (&self.value, &other.value) {
                    (_, None) => true,
                    (None, Some(_)) => false,
                    (Some(this), Some(that)) => !Arc::ptr_eq(this, that) && (other.text)(that) > (self.text)(this),
                })
    }
}

impl Replica {
    fn dropped(&self, key: &Key) -> i64 {
        self.dropped.get(&(key.table, key.part.clone())).copied().unwrap_or(i64::MIN)
    }

    /// `Err`: what nobody may ever write.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::Put(key, cell) => {
                let there = self.cells.get(key);
                if let Some((old, new)) = journal_rows(there, cell)
                    && old != new
                {
                    return Err(format!("two contents at {key:?}: {old:?} and {new:?}"));
                }
                if cell.stamp > self.dropped(key) && there.is_none_or(|there| there.yields_to(cell)) {
                    self.cells.insert(key.clone(), cell.clone());
                }
            }
            Change::Drop(key, stamp) => {
                let place = self.dropped.entry((key.table, key.part.clone())).or_insert(i64::MIN);
                *place = (*place).max(*stamp);
                let all = Key { row: vec![], ..key.clone() }..Key { row: vec![Col::End], ..key.clone() };
                let _ = self.cells.extract_if(all, |_, cell| cell.stamp <= *stamp).count();
            }
            Change::Before(key) => {
                let before = Key { row: vec![], ..key.clone() }..key.clone();
                let _ = self.cells.extract_if(before, |_, _| true).count();
            }
        }
        Ok(())
    }
}

fn journal_rows<'a>(there: Option<&'a Cell>, new: &'a Cell) -> Option<(&'a JournalRow, &'a JournalRow)> {
    let row = |cell: &'a Cell| cell.value.as_ref()?.downcast_ref::<JournalRow>();
    Some((row(there?)?, row(new)?))
}

/// What two replicas say of the keys from `from` to `to`, that one not included.
pub(super) fn merged(a: &Replica, b: &Replica, from: &Key, to: &Key) -> Vec<(Key, Found)> {
    let mut cells: BTreeMap<&Key, &Cell> = BTreeMap::new();
    if from >= to {
        return Vec::new();
    }
    for (key, cell) in a.cells.range(from..to).chain(b.cells.range(from..to)) {
        if cells.get(key).is_none_or(|there| there.yields_to(cell)) {
            cells.insert(key, cell);
        }
    }
    let alive = cells.into_iter().filter(|(key, cell)| {
        let dropped = |of: &Replica| of.dropped.is_empty() || cell.stamp > of.dropped(key);
        dropped(a) && dropped(b)
    });
    alive.filter_map(|(key, cell)| Some((key.clone(), cell.value.clone()?))).collect()
}

/// The write of a value.
pub(super) fn put<T: Any + Debug + Send + Sync>(key: Key, stamp: i64, value: T) -> Change {
    let text = |found: &Found| found.downcast_ref::<T>().map(|value| format!("{value:?}")).unwrap_or_default();
    Change::Put(key, Cell { stamp, value: Some(Arc::new(value)), text })
}

/// A deletion.
pub(super) fn delete(key: Key, stamp: i64) -> Change {
    Change::Put(key, Cell { stamp, value: None, text: |_| String::new() })
}

/// The write of the cluster's row.
pub(super) fn cluster(row: &ClusterRow) -> Change {
    let key = Key { table: "cluster", part: vec![], row: vec![] };
    put(key, i64::try_from(row.version).unwrap_or(i64::MAX), row.clone())
}
