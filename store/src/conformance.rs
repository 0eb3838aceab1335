//! What every store has to keep, whatever it is made of: the contract of `adal_actors::ports`, as a suite that runs
//! against any [`Journal`], [`Views`], [`Codes`] and [`Counts`]. A test calls [`run`] with a [`Factory`]; a case that fails panics with its name
//! in the backtrace.
//!
//! Only what the ports promise is asked here. How a store is opened, damaged or filled up is its own business and its
//! own tests'.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test suite: panicking is how it reports"
)]

pub mod beside;

use std::sync::Arc;

use adal_actors::ports::{
    Append, Codes, Counts, Journal, Opened, OwedEffect, PeriodKeys, StoreError, StoredRow, StoredSnapshot, ViewRow,
    Views,
};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View, ViewWrite},
    time::Timestamp,
};
use async_trait::async_trait;

/// A store under test.
#[derive(Clone)]
pub struct Ports {
    /// Its journal.
    pub journal: Arc<dyn Journal>,
    /// Its views.
    pub views: Arc<dyn Views>,
    /// Its unique codes.
    pub codes: Arc<dyn Codes>,
    /// What it counts of banners.
    pub counts: Arc<dyn Counts>,
    /// Its secrets of periods.
    pub periods: Arc<dyn PeriodKeys>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

/// Makes stores for the suite.
#[async_trait]
pub trait Factory: Sync {
    /// A store with nothing in it.
    async fn fresh(&self) -> Ports;
    /// Ends the store that [`Factory::fresh`] made last (all of it: as if its process had ended) and opens what is
    /// durable of it.
    async fn reopen(&self, ports: Ports) -> Ports;
    /// Whether what an entity's last row owed may be owed once more after [`Factory::reopen`], though it was delivered: an
    /// adopter cannot know (decision 119), and the target knows it again.
    fn owes_the_last_again(&self) -> bool {
        false
    }
}

/// Runs every case.
pub async fn run(factory: &dyn Factory) {
    an_unknown_entity_is_empty(factory).await;
    rows_come_back_as_they_went_in(factory).await;
    a_repeat_is_ok_and_changes_nothing(factory).await;
    other_content_is_fenced(factory).await;
    a_gap_is_refused_and_leaves_nothing(factory).await;
    of_two_owners_one_is_fenced(factory).await;
    an_entity_opens_from_its_latest_snapshot(factory).await;
    ranges_of_rows_are_bounded_and_ordered(factory).await;
    the_row_as_of_a_time_is_found(factory).await;
    effects_are_owed_until_delivered(factory).await;
    a_timer_stays_until_an_append_replaces_it(factory).await;
    entities_are_listed_by_kind_and_id(factory).await;
    views_are_upserted_and_listed_newest_first(factory).await;
    many_at_once_lose_nothing(factory).await;
    beside::run(factory).await;
}

/// An entity's key.
#[must_use]
pub fn customer(id: &str) -> EntityKey {
    EntityKey::new(EntityKind::Customer, id)
}

/// A row with a body of its own.
#[must_use]
pub fn row(seq: u64) -> StoredRow {
    let at = Timestamp::from_seconds(i64::try_from(seq).unwrap() * 10);
    StoredRow { seq, at, format: 1, body: format!("row {seq}").into_bytes() }
}

/// An append of that row, with nothing else.
#[must_use]
pub fn append(entity: &EntityKey, row: StoredRow) -> Append {
    Append { entity: entity.clone(), row, views: Vec::new(), wake: None, effects: Vec::new() }
}

/// A change to a view.
#[must_use]
pub fn write(view: View, key: &str, filter: &str, value: Option<&str>) -> ViewWrite {
    ViewWrite { view, key: key.into(), filter: filter.into(), value: value.map(|value| value.as_bytes().to_vec()) }
}

fn effect(target: &str, command: &str) -> Effect {
    Effect { target: customer(target), command: command.as_bytes().to_vec() }
}

async fn fill(journal: &dyn Journal, entity: &EntityKey, rows: u64) {
    for seq in 1..=rows {
        journal.append(append(entity, row(seq))).await.unwrap();
    }
}

/// The rows in which something was decided: a store may have put empty ones between them, where the owner changed.
fn decided(mut rows: Vec<StoredRow>) -> Vec<StoredRow> {
    let empty = adal_actors::row::empty().unwrap();
    rows.retain(|row| row.body != empty);
    rows
}

fn seqs(rows: &[StoredRow]) -> Vec<u64> {
    rows.iter().map(|row| row.seq).collect()
}

async fn an_unknown_entity_is_empty(factory: &dyn Factory) {
    let Ports { journal, views, .. } = factory.fresh().await;
    let nobody = customer("nobody");
    assert_eq!(journal.open(&nobody).await.unwrap(), Opened::default());
    assert_eq!(journal.rows(&nobody, 0, u64::MAX, 10, false).await.unwrap(), Vec::new());
    assert_eq!(journal.seq_at(&nobody, Timestamp(i64::MAX)).await.unwrap(), None);
    assert_eq!(journal.owed(None, 10).await.unwrap(), Vec::new());
    assert_eq!(journal.due(Timestamp(i64::MAX), 10).await.unwrap(), Vec::new());
    assert_eq!(journal.entities(EntityKind::Customer, None, 10).await.unwrap(), Vec::new());
    assert_eq!(views.get(View::CardByBarcode, "none").await.unwrap(), None);
    assert_eq!(views.list(View::Signal, None, None, 10).await.unwrap(), Vec::new());
}

async fn rows_come_back_as_they_went_in(factory: &dyn Factory) {
    let ports = factory.fresh().await;
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(70_000).collect();
    let bodies = [Vec::new(), vec![0], every_byte];
    let rows: Vec<StoredRow> = (1..)
        .zip(bodies)
        .map(|(seq, body)| StoredRow { seq, at: Timestamp(i64::MAX - 3), format: u16::MAX, body })
        .collect();
    let odd = ["", "a", "a/b", "A", "Ә 🎁", "a\0b", "'; DROP TABLE journal; --"];
    let keys = odd.iter().flat_map(|id| EntityKind::ALL.map(|kind| EntityKey::new(kind, id)));
    let keys: Vec<EntityKey> = keys.collect();
    for key in &keys {
        for row in &rows {
            let mut row = row.clone();
            row.body.extend(key.to_string().bytes());
            ports.journal.append(append(key, row)).await.unwrap();
        }
    }
    let ports = factory.reopen(ports).await;
    for key in &keys {
        let opened = ports.journal.open(key).await.unwrap();
        assert_eq!(opened.snapshot, None);
        let found = decided(opened.rows);
        assert_eq!(found.len(), rows.len(), "{key}");
        for (found, row) in found.iter().zip(&rows) {
            assert_eq!((found.seq, found.at, found.format), (row.seq, row.at, row.format));
            assert_eq!(found.body, [row.body.clone(), key.to_string().into_bytes()].concat(), "{key}");
        }
    }
    let before = StoredRow { seq: 1, at: Timestamp(i64::MIN), format: 0, body: b"long ago".to_vec() };
    ports.journal.append(append(&customer("ancient"), before.clone())).await.unwrap();
    assert_eq!(ports.journal.open(&customer("ancient")).await.unwrap().rows, [before]);
}

async fn a_repeat_is_ok_and_changes_nothing(factory: &dyn Factory) {
    let ports = factory.fresh().await;
    let (key, journal) = (customer("c"), &ports.journal);
    let mut first = append(&key, row(1));
    first.views = vec![write(View::HoldById, "h", "", Some("first"))];
    first.wake = Some(Timestamp(1));
    first.effects = vec![effect("t", "one")];
    let mut second = append(&key, row(2));
    second.views = vec![write(View::HoldById, "h", "", Some("second"))];
    second.wake = Some(Timestamp(2));
    journal.append(first.clone()).await.unwrap();
    journal.append(first.clone()).await.unwrap();
    journal.append(second).await.unwrap();
    journal.delivered(vec![(key.clone(), 1, 0)]).await.unwrap();
    // An append in doubt that turns out to have been durable long ago.
    journal.append(first.clone()).await.unwrap();
    let ports = factory.reopen(ports).await;
    ports.journal.append(first).await.unwrap();
    assert_eq!(decided(ports.journal.open(&key).await.unwrap().rows), [row(1), row(2)]);
    assert_eq!(ports.journal.due(Timestamp(9), 9).await.unwrap(), [(Timestamp(2), key)]);
    assert_eq!(ports.journal.owed(None, 9).await.unwrap(), Vec::new(), "what was delivered is not owed again");
    assert_eq!(ports.views.get(View::HoldById, "h").await.unwrap().unwrap().value, b"second");
}

async fn other_content_is_fenced(factory: &dyn Factory) {
    let Ports { journal, views, .. } = factory.fresh().await;
    let key = customer("c");
    fill(&*journal, &key, 2).await;
    for seq in [1, 2] {
        let others = [
            StoredRow { body: b"other".to_vec(), ..row(seq) },
            StoredRow { body: Vec::new(), ..row(seq) },
            StoredRow { at: Timestamp(0), ..row(seq) },
            StoredRow { format: 2, ..row(seq) },
        ];
        for other in others {
            let mut wanted = append(&key, other);
            wanted.views = vec![write(View::HoldById, "h", "", Some("never"))];
            wanted.wake = Some(Timestamp(5));
            wanted.effects = vec![effect("t", "never")];
            let refused = journal.append(wanted).await;
            assert!(matches!(&refused, Err(StoreError::Fenced(whose)) if *whose == key), "{refused:?}");
        }
    }
    assert_eq!(journal.open(&key).await.unwrap().rows, [row(1), row(2)]);
    assert_eq!(journal.due(Timestamp(9), 9).await.unwrap(), Vec::new());
    assert_eq!(journal.owed(None, 9).await.unwrap(), Vec::new());
    assert_eq!(views.get(View::HoldById, "h").await.unwrap(), None);
}

async fn a_gap_is_refused_and_leaves_nothing(factory: &dyn Factory) {
    let Ports { journal, .. } = factory.fresh().await;
    for seq in [0, 2, 100, u64::MAX] {
        let row = StoredRow { seq, ..row(1) };
        let refused = journal.append(append(&customer("new"), row)).await;
        assert!(matches!(refused, Err(StoreError::Fenced(_) | StoreError::Unavailable(_))), "{seq}: {refused:?}");
    }
    fill(&*journal, &customer("old"), 3).await;
    for seq in [0, 5, 6] {
        let refused = journal.append(append(&customer("old"), StoredRow { seq, ..row(4) })).await;
        assert!(matches!(refused, Err(StoreError::Fenced(_) | StoreError::Unavailable(_))), "{seq}: {refused:?}");
    }
    assert_eq!(journal.open(&customer("new")).await.unwrap(), Opened::default());
    assert_eq!(seqs(&journal.open(&customer("old")).await.unwrap().rows), [1, 2, 3]);
    journal.append(append(&customer("old"), row(4))).await.unwrap();
    journal.append(append(&customer("new"), row(1))).await.unwrap();
}

async fn of_two_owners_one_is_fenced(factory: &dyn Factory) {
    let Ports { journal, .. } = factory.fresh().await;
    let key = customer("torn");
    for seq in 1..=20 {
        let mine = |name: &str| append(&key, StoredRow { body: name.as_bytes().to_vec(), ..row(seq) });
        let (a, b) = tokio::join!(journal.append(mine("a")), journal.append(mine("b")));
        let winner = match (a, b) {
            (Ok(()), Err(StoreError::Fenced(_))) => b"a",
            (Err(StoreError::Fenced(_)), Ok(())) => b"b",
            other => panic!("exactly one of two is fenced, got {other:?}"),
        };
        assert_eq!(journal.open(&key).await.unwrap().rows.last().unwrap().body, winner);
    }
}

async fn an_entity_opens_from_its_latest_snapshot(factory: &dyn Factory) {
    let ports = factory.fresh().await;
    let (key, journal) = (customer("c"), &ports.journal);
    fill(&**journal, &key, 5).await;
    let snapshot = |seq: u64| StoredSnapshot { seq, format: 3, body: format!("as of {seq}").into_bytes() };
    journal.snapshot(&key, snapshot(2)).await.unwrap();
    let opened = journal.open(&key).await.unwrap();
    assert_eq!((opened.snapshot, seqs(&opened.rows)), (Some(snapshot(2)), vec![3, 4, 5]));
    journal.snapshot(&key, snapshot(5)).await.unwrap();
    // One that was late.
    journal.snapshot(&key, snapshot(3)).await.unwrap();
    let ports = factory.reopen(ports).await;
    let opened = ports.journal.open(&key).await.unwrap();
    let next = opened.rows.last().map_or(5, |row| row.seq) + 1;
    assert_eq!((opened.snapshot, decided(opened.rows)), (Some(snapshot(5)), vec![]));
    ports.journal.append(append(&key, row(next))).await.unwrap();
    let opened = ports.journal.open(&key).await.unwrap();
    assert_eq!((opened.snapshot, seqs(&decided(opened.rows))), (Some(snapshot(5)), vec![next]));
    let all: Vec<u64> = (1..=next).collect();
    assert_eq!(seqs(&ports.journal.rows(&key, 1, next, 9, false).await.unwrap()), all);
}

async fn ranges_of_rows_are_bounded_and_ordered(factory: &dyn Factory) {
    let Ports { journal, .. } = factory.fresh().await;
    let key = customer("b");
    for neighbour in ["a", "b", "c"] {
        fill(&*journal, &customer(neighbour), 10).await;
    }
    let cases: [(u64, u64, usize, bool, &[u64]); 8] = [
        (3, 5, 99, false, &[3, 4, 5]),
        (3, 5, 99, true, &[5, 4, 3]),
        (3, 5, 2, false, &[3, 4]),
        (3, 5, 2, true, &[5, 4]),
        (0, u64::MAX, usize::MAX, false, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (9, u64::MAX, 99, true, &[10, 9]),
        (5, 3, 99, false, &[]),
        (1, 10, 0, false, &[]),
    ];
    for (from, to, limit, descending, expected) in cases {
        let rows = journal.rows(&key, from, to, limit, descending).await.unwrap();
        assert_eq!(seqs(&rows), expected, "{from}..={to}, {limit}, {descending}");
    }
    assert_eq!(journal.rows(&key, 11, 20, 99, false).await.unwrap(), Vec::new());
}

async fn the_row_as_of_a_time_is_found(factory: &dyn Factory) {
    let Ports { journal, .. } = factory.fresh().await;
    let key = customer("c");
    let times = [10, 20, 20, 20, 30, 31, 50];
    for (seq, at) in (1..).zip(times) {
        journal.append(append(&key, StoredRow { at: Timestamp(at), ..row(seq) })).await.unwrap();
    }
    for at in 0..60 {
        let expected = (1..).zip(times).filter(|(_, time)| *time <= at).map(|(seq, _)| seq).last();
        assert_eq!(journal.seq_at(&key, Timestamp(at)).await.unwrap(), expected, "as of {at}");
    }
}

async fn effects_are_owed_until_delivered(factory: &dyn Factory) {
    let ports = factory.fresh().await;
    let mut expected = Vec::new();
    for source in ["a", "b"] {
        for seq in 1..=3 {
            let mut wanted = append(&customer(source), row(seq));
            for index in 0..seq {
                wanted.effects.push(effect("target", &format!("{source} {seq} {index}")));
                expected.push((customer(source), seq, u32::try_from(index).unwrap()));
            }
            ports.journal.append(wanted).await.unwrap();
        }
    }
    let ports = factory.reopen(ports).await;
    let journal = &ports.journal;
    // Page by page, as the deliverer does.
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = journal.owed(after.clone(), 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some((last.source.clone(), last.seq, last.index));
        found.extend(page);
    }
    let places: Vec<_> = found.iter().map(|owed| (owed.source.clone(), owed.seq, owed.index)).collect();
    // Which source comes first is the store's own business; all that one owes comes together.
    if found.first().is_some_and(|owed| owed.source == customer("b")) {
        expected.rotate_left(6);
    }
    assert_eq!(places, expected, "each once, oldest first per source");
    for owed in &found {
        let command = format!("{} {} {}", owed.source.id, owed.seq, owed.index);
        assert_eq!(owed.effect, effect("target", &command));
    }
    for source in ["a", "b", "", "aa"].map(customer) {
        let of: Vec<_> = found.iter().filter(|owed| owed.source == source).cloned().collect();
        assert_eq!(journal.owed_by(&source, 99).await.unwrap(), of, "{source}: all that it owes and nothing else");
        assert_eq!(journal.owed_by(&source, 4).await.unwrap(), of[..of.len().min(4)], "{source}: the first of it");
    }
    let (gone, left) = expected.split_at(4);
    journal.delivered(gone.to_vec()).await.unwrap();
    journal.delivered(gone.to_vec()).await.unwrap();
    let ports = factory.reopen(ports).await;
    let places = |owed: Vec<OwedEffect>| -> Vec<_> {
        let places = owed.into_iter().map(|owed| (owed.source, owed.seq, owed.index));
        let again =
            |place: &(EntityKey, u64, u32)| factory.owes_the_last_again() && place.1 == 3 && gone.contains(place);
        places.filter(|place| !again(place)).collect()
    };
    let owed = places(ports.journal.owed(None, 99).await.unwrap());
    let by: Vec<_> = owed.iter().filter(|place| place.0 == gone[0].0).cloned().collect();
    let told = places(ports.journal.owed_by(&gone[0].0, 99).await.unwrap());
    assert_eq!(told, by, "what was delivered is not owed by anybody");
    assert_eq!(owed, left);
}

async fn a_timer_stays_until_an_append_replaces_it(factory: &dyn Factory) {
    let ports = factory.fresh().await;
    let wake = |id: &str, seq, wake: Option<i64>| {
        let mut wanted = append(&customer(id), row(seq));
        wanted.wake = wake.map(Timestamp);
        wanted
    };
    for (id, at) in [("late", Some(30)), ("soon", Some(10)), ("then", Some(20)), ("never", None)] {
        ports.journal.append(wake(id, 1, at)).await.unwrap();
    }
    let due = |until: i64, limit| {
        let journal = Arc::clone(&ports.journal);
        async move {
            let due = journal.due(Timestamp(until), limit).await.unwrap();
            due.into_iter().map(|(at, key)| (at.0, key.id.to_string())).collect::<Vec<_>>()
        }
    };
    let named = |all: &[(i64, &str)]| all.iter().map(|(at, id)| (*at, (*id).to_owned())).collect::<Vec<_>>();
    assert_eq!(due(9, 9).await, named(&[]));
    assert_eq!(due(20, 9).await, named(&[(10, "soon"), (20, "then")]), "not later than, earliest first");
    assert_eq!(due(99, 2).await, named(&[(10, "soon"), (20, "then")]));
    assert_eq!(due(20, 9).await, named(&[(10, "soon"), (20, "then")]), "asking takes nothing away");
    ports.journal.append(wake("soon", 2, Some(40))).await.unwrap();
    ports.journal.append(wake("then", 2, None)).await.unwrap();
    ports.journal.append(wake("late", 2, Some(30))).await.unwrap();
    ports.journal.append(wake("never", 2, Some(5))).await.unwrap();
    assert_eq!(due(99, 9).await, named(&[(5, "never"), (30, "late"), (40, "soon")]));
    let before = due(99, 9).await;
    let ports = factory.reopen(ports).await;
    let after = ports.journal.due(Timestamp(99), 9).await.unwrap();
    assert_eq!(after.into_iter().map(|(at, key)| (at.0, key.id.to_string())).collect::<Vec<_>>(), before);
}

async fn entities_are_listed_by_kind_and_id(factory: &dyn Factory) {
    let Ports { journal, .. } = factory.fresh().await;
    for id in ["b", "a", "d", "c", "B"] {
        fill(&*journal, &customer(id), 2).await;
    }
    fill(&*journal, &EntityKey::new(EntityKind::Guest, "a"), 1).await;
    assert!(journal.append(append(&customer("refused"), row(2))).await.is_err());
    let ids = |keys: Vec<EntityKey>| keys.into_iter().map(|key| key.id.to_string()).collect::<Vec<_>>().join(" ");
    let list = |kind, after, limit| journal.entities(kind, after, limit);
    assert_eq!(ids(list(EntityKind::Customer, None, 99).await.unwrap()), "B a b c d");
    assert_eq!(ids(list(EntityKind::Customer, None, 2).await.unwrap()), "B a");
    assert_eq!(ids(list(EntityKind::Customer, Some("a"), 2).await.unwrap()), "b c");
    assert_eq!(ids(list(EntityKind::Customer, Some("bb"), 9).await.unwrap()), "c d");
    assert_eq!(ids(list(EntityKind::Customer, Some("d"), 9).await.unwrap()), "");
    assert_eq!(ids(list(EntityKind::Guest, None, 9).await.unwrap()), "a");
    assert_eq!(ids(list(EntityKind::Catalogue, None, 9).await.unwrap()), "");
}

async fn views_are_upserted_and_listed_newest_first(factory: &dyn Factory) {
    let ports = factory.fresh().await;
    let key = customer("c");
    let signal = |key: &str, filter: &str, value: Option<&str>| write(View::Signal, key, filter, value);
    let mut first = append(&key, row(1));
    first.views = vec![
        signal("t1", "fraud", Some("1")),
        signal("t2", "mistake", Some("2")),
        signal("t3", "fraud", Some("3")),
        signal("t4", "", Some("4")),
        signal("t5", "fraud", Some("5")),
        write(View::HoldById, "t1", "", Some("another view")),
        // Within one row the last word counts.
        signal("t6", "fraud", Some("6")),
        signal("t6", "fraud", None),
        signal("t7", "fraud", None),
        signal("t7", "mistake", Some("7")),
    ];
    ports.journal.append(first).await.unwrap();
    let mut second = append(&key, row(2));
    second.views = vec![signal("t3", "mistake", Some("3 again")), signal("t2", "", None), signal("t0", "x", None)];
    ports.journal.append(second).await.unwrap();
    let ports = factory.reopen(ports).await;
    let views = &ports.views;
    let list = |filter, before, limit| async move {
        let rows = views.list(View::Signal, filter, before, limit).await.unwrap();
        rows.into_iter().map(|row| row.key).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(None, None, 99).await, "t7 t5 t4 t3 t1");
    assert_eq!(list(None, None, 2).await, "t7 t5");
    assert_eq!(list(None, Some("t4"), 99).await, "t3 t1", "before is exclusive");
    assert_eq!(list(Some("fraud"), None, 99).await, "t5 t1");
    assert_eq!(list(Some("fraud"), Some("t5"), 99).await, "t1");
    assert_eq!(list(Some("mistake"), None, 1).await, "t7");
    assert_eq!(list(Some(""), None, 99).await, "t4");
    assert_eq!(list(Some("none"), None, 99).await, "");
    let expected =
        ViewRow { key: "t3".into(), filter: "mistake".into(), entity: key.clone(), value: b"3 again".to_vec() };
    assert_eq!(views.get(View::Signal, "t3").await.unwrap(), Some(expected));
    assert_eq!(views.get(View::Signal, "t2").await.unwrap(), None);
    assert_eq!(views.get(View::HoldById, "t1").await.unwrap().unwrap().value, b"another view");
}

async fn many_at_once_lose_nothing(factory: &dyn Factory) {
    let ports = factory.fresh().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let journal = Arc::clone(&ports.journal);
        tasks.spawn(async move {
            let key = customer(&number.to_string());
            for seq in 1..=20 {
                let mut wanted = append(&key, row(seq));
                wanted.views = vec![write(View::HoldById, &format!("{number} {seq}"), "", Some("x"))];
                journal.append(wanted).await.unwrap();
                // What was acknowledged is seen by every read that begins after.
                let opened = journal.open(&key).await.unwrap();
                assert_eq!(opened.rows.last(), Some(&row(seq)));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let ports = factory.reopen(ports).await;
    for number in 0..64 {
        let opened = ports.journal.open(&customer(&number.to_string())).await.unwrap();
        assert_eq!(decided(opened.rows), (1..=20).map(row).collect::<Vec<_>>());
    }
    assert_eq!(ports.views.list(View::HoldById, None, None, 9999).await.unwrap().len(), 64 * 20);
}
