//! What must hold in the end, whatever failed on the way. Each check names what a client would notice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use adal_domain::{
    entity::{Entity, EntityKey, View},
    time::Timestamp,
};

use super::{
    Scenario,
    ground::Store,
    ledger::bytes,
    world::{Process, World, entities, states},
};
use crate::{
    ask::{AskError, Origin},
    memory::{Mark, Remembered},
    ports::{Clock, StoredRow, ViewRow},
    replay,
    row::{self, Recorded},
};

/// What is durable in the end.
pub(super) struct Durable {
    pub(super) rows: BTreeMap<EntityKey, Vec<StoredRow>>,
    /// An order in which the rows may have become durable, by key and seq.
    pub(super) order: Vec<(EntityKey, u64)>,
}

impl Durable {
    async fn read<S: Scenario>(process: &Process<S>) -> Self {
        let store = &*process.store;
        let mut rows = BTreeMap::new();
        for kind in BTreeSet::from([S::Asked::KIND, S::Owed::KIND]) {
            for id in entities(store, kind).await {
                let key = EntityKey::new(kind, &id);
                let of = store.rows(&key, 1, u64::MAX, usize::MAX, false).await.unwrap();
                rows.insert(key, of);
            }
        }
        let witness = &process.world.borrow().witness;
        witness.compare(&rows);
        Self { rows, order: witness.order() }
    }

    fn of<E: Entity>(&self) -> impl Iterator<Item = (&EntityKey, &Vec<StoredRow>)> {
        self.rows.iter().filter(|(key, _)| key.kind == E::KIND)
    }
}

/// While the process still runs: published states and repeated answers.
pub(super) async fn live<S: Scenario>(process: &Process<S>) {
    for (id, fold) in states::<S::Asked>(&*process.store).await {
        let published = patiently(async || process.asked.read(&id).await).await;
        assert_eq!(published.seq, fold.head.seq, "{id}: published is the last row");
        assert_eq!(bytes(&published.state), bytes(&fold.head.state), "{id}: published equals the replay");
    }
    let count = process.world.borrow().acknowledged.len();
    for index in 0..count {
        let intent = process.world.borrow().acknowledged[index].intent.clone();
        let repeat = patiently(async || process.asked.ask(&intent.entity, intent.request.clone()).await).await;
        let world = process.world.borrow();
        let first = &world.acknowledged[index].answer;
        assert!(repeat.replayed, "a repeat is a repeat");
        assert_eq!(repeat.outcome, first.outcome, "the same answer at every repeat");
        assert_eq!((repeat.seq, repeat.at), (first.seq, first.at), "from the same row");
    }
}

/// Asks again where only a bound stands in the way: the registry is kept far too small here.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, AskError>) -> T {
    loop {
        match ask().await {
            Err(AskError::Busy) => tokio::time::sleep(Duration::from_millis(5)).await,
            answer => return answer.unwrap(),
        }
    }
}

/// After the end: the journal alone.
pub(super) async fn stored<S: Scenario>(process: &Process<S>) {
    let (store, now) = (&*process.store, process.clock.now());
    assert_eq!(store.owed(None, usize::MAX).await.unwrap(), [], "nothing is owed any more");
    let adds_rows = process.world.borrow().ground.adds_rows();
    let (mut views, mut wakes) = (BTreeMap::new(), BTreeMap::new());
    journals::<S::Asked>(store, (true, adds_rows), &mut views, &mut wakes).await;
    journals::<S::Owed>(store, (false, adds_rows), &mut views, &mut wakes).await;
    assert_eq!(views, all_views(store).await, "rebuilt views equal the views as they stand");
    let due: BTreeMap<_, _> =
        store.due(Timestamp(i64::MAX), usize::MAX).await.unwrap().into_iter().map(|(at, key)| (key, at)).collect();
    assert_eq!(due, wakes, "timers are the states'");
    let durable = Durable::read(process).await;
    effects_once::<S>(&durable);
    answers_stand(&process.world.borrow(), &durable);
    let asked: Vec<_> = states::<S::Asked>(store).await.into_iter().map(|(_, fold)| fold.head).collect();
    let owed: Vec<_> = states::<S::Owed>(store).await.into_iter().map(|(_, fold)| fold.head).collect();
    let world = process.world.borrow();
    world.scenario.audit(&durable);
    let accepted = world.acknowledged.iter().filter(|one| one.answer.outcome.is_ok());
    let accepted: Vec<_> = accepted.map(|one| one.intent.request.command.clone()).collect();
    world.scenario.verify(&asked, &owed, &accepted, now);
}

async fn all_views(store: &dyn Store) -> BTreeMap<(&'static str, String), ViewRow> {
    let mut views = BTreeMap::new();
    for view in View::ALL {
        let rows = store.list(view, None, None, usize::MAX).await.unwrap();
        views.extend(rows.into_iter().map(|row| ((view.as_str(), row.key.clone()), row)));
    }
    views
}

/// Every acknowledged command stands in the journal once, in the row that its answer named, with that answer; and
/// nothing stands there twice.
fn answers_stand<S: Scenario>(world: &World<S>, durable: &Durable) {
    let mut recorded: HashMap<_, (u64, Recorded<S::Asked>)> = HashMap::new();
    for (key, rows) in durable.of::<S::Asked>() {
        for stored in rows {
            for command in row::decode::<S::Asked>(stored).unwrap().commands {
                if let Some(id) = command.id {
                    let twice = recorded.insert((key.id.clone(), id), (stored.seq, command)).is_some();
                    assert!(!twice, "{key}: a command took effect twice");
                }
            }
        }
    }
    for one in &world.acknowledged {
        let id = one.intent.request.id.unwrap();
        let (seq, command) = &recorded[&(one.intent.entity.as_str().into(), id)];
        assert_eq!(*seq, one.answer.seq, "the row that was named");
        assert_eq!(command.outcome, one.answer.outcome, "the answer that was given");
    }
}

/// Rows without gaps and in the order of time; invariants after every event; snapshots that equal the rows (and are
/// there, where the entity lived when the process stopped); the views that a rebuild writes.
async fn journals<E: Entity>(
    store: &dyn Store,
    (all_lived, empty_rows): (bool, bool),
    views: &mut BTreeMap<(&'static str, String), ViewRow>,
    wakes: &mut BTreeMap<EntityKey, Timestamp>,
) {
    let empty = row::empty().unwrap();
    for id in entities(store, E::KIND).await {
        let key = EntityKey::new(E::KIND, &id);
        assert_eq!(replay::check::<E>(store, &id, 10).await.unwrap(), []);
        let rows = store.rows(&key, 1, u64::MAX, usize::MAX, false).await.unwrap();
        assert!(rows.windows(2).all(|pair| pair[0].at <= pair[1].at), "{key}: time runs backwards");
        let decided = |row: &StoredRow| !row::decode::<E>(row).unwrap().commands.is_empty();
        assert!(rows.iter().all(|row| decided(row) || (empty_rows && row.body == empty)), "{key}: an empty row");
        let whole = replay::walk::<E>(store, &id, u64::MAX, |_, _, _, _| ()).await.unwrap();
        wakes.extend(E::next_wake(&whole.head.state).map(|at| (key.clone(), at)));
        let opened = store.open(&key).await.unwrap();
        let kept = opened.snapshot.as_ref().map(|kept| kept.seq);
        let opened = replay::fold::<E>(&id, &opened).unwrap();
        if all_lived {
            assert_eq!(kept, Some(whole.head.seq), "{key}: leaves a snapshot");
        }
        assert_eq!((opened.head.seq, opened.head.at), (whole.head.seq, whole.head.at), "{key}");
        assert_eq!(bytes(&opened.head.state), bytes(&whole.head.state), "{key}: the snapshot equals the rows");
        assert_eq!(remembered(&opened), remembered(&whole), "{key}: the snapshot remembers what the rows say");
        for write in replay::views::<E>(store, &id).await.unwrap() {
            let place = (write.view.as_str(), write.key.clone());
            match write.value {
                Some(value) => {
                    let row = ViewRow { key: write.key, filter: write.filter, entity: key.clone(), value };
                    drop(views.insert(place, row));
                }
                None => drop(views.remove(&place)),
            }
        }
    }
}

fn remembered<E: Entity>(fold: &replay::Fold<E>) -> (Vec<Remembered>, Vec<Mark>) {
    (fold.memory.answered().copied().collect(), fold.memory.marks().collect())
}

/// Every effect of every row was applied at its target once, in order per source; and nothing else was.
fn effects_once<S: Scenario>(durable: &Durable) {
    let mut owed: Vec<(EntityKey, Origin)> = Vec::new();
    let mut applied: Vec<(EntityKey, Origin)> = Vec::new();
    gather::<S::Asked>(durable, &mut owed, &mut applied);
    gather::<S::Owed>(durable, &mut owed, &mut applied);
    // What keeps no marks takes effects as often as they come, without harm: its own rules say how.
    let marked =
        |kind| (kind == S::Asked::KIND && S::Asked::KEEPS_MARKS) || (kind == S::Owed::KIND && S::Owed::KEEPS_MARKS);
    owed.retain(|(target, _)| marked(target.kind));
    let mut last: HashMap<(EntityKey, EntityKey), (u64, u32)> = HashMap::new();
    for (target, origin) in &applied {
        let place = (origin.seq, origin.index);
        let before = last.insert((origin.source.clone(), target.clone()), place);
        assert!(before.is_none_or(|before| before < place), "{target}: effects of {} out of order", origin.source);
    }
    owed.sort();
    applied.sort();
    assert_eq!(owed, applied, "every effect is applied exactly once");
}

fn gather<E: Entity>(durable: &Durable, owed: &mut Vec<(EntityKey, Origin)>, applied: &mut Vec<(EntityKey, Origin)>) {
    for (key, rows) in durable.of::<E>() {
        for stored in rows {
            let row = row::decode::<E>(stored).unwrap();
            for (effect, index) in row.effects().zip(0..) {
                owed.push((effect.target.clone(), Origin { source: key.clone(), seq: stored.seq, index }));
            }
            applied.extend(row.commands.into_iter().filter_map(|command| Some((key.clone(), command.origin?))));
        }
    }
}
