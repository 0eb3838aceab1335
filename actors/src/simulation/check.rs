//! What must hold in the end, whatever failed on the way. Each check names what a client would notice.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::Duration,
};

use adal_domain::{
    entity::{Entity, EntityKey},
    time::Timestamp,
};

use super::{
    Scenario,
    ledger::bytes,
    world::{Process, World, entities, states},
};
use crate::{
    ask::{AskError, Origin},
    memory::{Mark, Remembered},
    ports::{Journal, ViewRow},
    replay,
    row::{self, Recorded},
    testing::MemoryStore,
};

/// While the process still runs: published states and repeated answers.
pub(super) async fn live<S: Scenario>(process: &Process<S>) {
    let store = Rc::clone(&process.world).borrow().store.clone();
    for (id, fold) in states::<S::Asked>(&store).await {
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
pub(super) async fn stored<S: Scenario>(world: &Rc<RefCell<World<S>>>, now: Timestamp) {
    let store = world.borrow().store.clone();
    assert_eq!(store.owed_count(), 0, "nothing is owed any more");
    let mut views = BTreeMap::new();
    journals::<S::Asked>(&store, true, &mut views).await;
    journals::<S::Owed>(&store, false, &mut views).await;
    assert_eq!(views, store.all_views(), "rebuilt views equal the views as they stand");
    effects_once::<S>(&store).await;
    answers_stand(&world.borrow());
    let asked: Vec<_> = states::<S::Asked>(&store).await.into_iter().map(|(_, fold)| fold.head).collect();
    let owed: Vec<_> = states::<S::Owed>(&store).await.into_iter().map(|(_, fold)| fold.head).collect();
    let world = world.borrow();
    world.scenario.audit(&world.store);
    let accepted = world.acknowledged.iter().filter(|one| one.answer.outcome.is_ok());
    let accepted: Vec<_> = accepted.map(|one| one.intent.request.command.clone()).collect();
    world.scenario.verify(&asked, &owed, &accepted, now);
}

/// Every acknowledged command stands in the journal once, in the row that its answer named, with that answer; and
/// nothing stands there twice.
fn answers_stand<S: Scenario>(world: &World<S>) {
    let mut recorded: HashMap<_, (u64, Recorded<S::Asked>)> = HashMap::new();
    for key in world.store.keys().into_iter().filter(|key| key.kind == S::Asked::KIND) {
        for stored in world.store.rows_of(&key) {
            for command in row::decode::<S::Asked>(&stored).unwrap().commands {
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
    store: &MemoryStore,
    all_lived: bool,
    views: &mut BTreeMap<(&'static str, String), ViewRow>,
) {
    for id in entities(store, E::KIND).await {
        let key = EntityKey::new(E::KIND, &id);
        assert_eq!(replay::check::<E>(store, &id, 10).await.unwrap(), []);
        let rows = store.rows_of(&key);
        assert!(rows.windows(2).all(|pair| pair[0].at <= pair[1].at), "{key}: time runs backwards");
        assert!(rows.iter().all(|row| !row::decode::<E>(row).unwrap().commands.is_empty()), "{key}: an empty row");
        let whole = replay::walk::<E>(store, &id, u64::MAX, |_, _, _, _| ()).await.unwrap();
        assert_eq!(store.wake_of(&key), E::next_wake(&whole.head.state), "{key}: the timer is the state's");
        let opened = replay::fold::<E>(&id, &store.open(&key).await.unwrap()).unwrap();
        if all_lived {
            let kept = store.snapshot_of(&key).map(|kept| kept.seq);
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
async fn effects_once<S: Scenario>(store: &MemoryStore) {
    let mut owed: Vec<(EntityKey, Origin)> = Vec::new();
    let mut applied: Vec<(EntityKey, Origin)> = Vec::new();
    gather::<S::Asked>(store, &mut owed, &mut applied);
    gather::<S::Owed>(store, &mut owed, &mut applied);
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

fn gather<E: Entity>(store: &MemoryStore, owed: &mut Vec<(EntityKey, Origin)>, applied: &mut Vec<(EntityKey, Origin)>) {
    for key in store.keys().into_iter().filter(|key| key.kind == E::KIND) {
        for stored in store.rows_of(&key) {
            let row = row::decode::<E>(&stored).unwrap();
            for (effect, index) in row.effects().zip(0..) {
                owed.push((effect.target.clone(), Origin { source: key.clone(), seq: stored.seq, index }));
            }
            applied.extend(row.commands.into_iter().filter_map(|command| Some((key.clone(), command.origin?))));
        }
    }
}
