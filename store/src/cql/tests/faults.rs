//! The journal under a database that fails in every way that CQL may: processes that die, are stopped and go on, or are
//! thought to be dead and are not; statements that time out and are done, or half done, or done later, or never.
//!
//! Several processes append to a few entities. A *book* outside has what was acknowledged, and what anybody was ever
//! shown: a row that was shown or acknowledged is in every later history, at its place, with its content. In the end a
//! last process takes over and is given time to recover; then, without an entity being asked, all that acknowledged rows owe
//! is there; and when all are open, everything that follows from the rows: what they owe, no more and no less, the views
//! as the last row of each says, lists, timers.
//!
//! `SEED=17 cargo test -p adal-store faults` runs one seed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use adal_actors::ports::{Append, Journal, Opened, StoreError, StoredRow, StoredSnapshot, Views};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View, ViewWrite},
    time::Timestamp,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{sleep, timeout};

use super::World;
use crate::cql::{
    CqlStore, recover,
    sim::{Fate, Statement},
};

const ENTITIES: usize = 4;
/// Processes before the last.
const LIVES: u32 = 5;

/// What anybody was told of an entity.
#[derive(Default)]
struct Told {
    rows: BTreeMap<u64, StoredRow>,
    answered: BTreeSet<u64>,
    /// Rows whose effects were delivered.
    delivered: BTreeSet<u64>,
    acknowledged: u64,
    shown: u64,
    attempts: u64,
}

struct Book {
    of: Mutex<HashMap<EntityKey, Told>>,
    /// The process that claimed last.
    latest: AtomicU32,
    rows: AtomicU64,
    fenced: AtomicU64,
    in_doubt: AtomicU64,
}

impl Book {
    fn new() -> Arc<Self> {
        let (of, latest) = (Mutex::default(), AtomicU32::new(u32::MAX));
        let [rows, fenced, in_doubt] = [(); 3].map(|()| AtomicU64::new(0));
        Arc::new(Self { of, latest, rows, fenced, in_doubt })
    }

    fn with<T>(&self, entity: &EntityKey, of: impl FnOnce(&mut Told) -> T) -> T {
        of(self.of.lock().unwrap().entry(entity.clone()).or_default())
    }

    /// Somebody was shown this row.
    fn show(&self, entity: &EntityKey, row: &StoredRow) {
        self.with(entity, |told| {
            let there = told.rows.entry(row.seq).or_insert_with(|| row.clone());
            assert_eq!(there, row, "{entity}: what was shown or acknowledged is another row now");
            told.shown = told.shown.max(row.seq);
        });
    }

    fn opened(&self, entity: &EntityKey, opened: &Opened, known: u64, is_latest: bool) {
        opened.rows.iter().for_each(|row| self.show(entity, row));
        let head = head(opened);
        // Who is not the owner any more, and does not know, may show less; never something else.
        assert!(!is_latest || head >= known, "{entity}: {known} rows were acknowledged or shown, {head} are there");
        if let Some(snapshot) = &opened.snapshot {
            let says = self.with(entity, |told| told.rows.get(&snapshot.seq).cloned());
            assert_eq!(
                says.map(|row| row.body),
                Some(snapshot.body.clone()),
                "{entity}: a snapshot of another history"
            );
        }
    }
}

fn head(opened: &Opened) -> u64 {
    let of_snapshot = opened.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
    opened.rows.last().map_or(of_snapshot, |row| row.seq)
}

fn entity(number: usize) -> EntityKey {
    EntityKey::new(EntityKind::Customer, &format!("c{number}"))
}

fn signal(entity: &EntityKey, seq: u64) -> String {
    format!("{} {seq:06}", entity.id)
}

/// A row with all that may follow from one.
fn append(entity: &EntityKey, seq: u64, body: &str) -> Append {
    let row = StoredRow { seq, at: Timestamp(i64::try_from(seq).unwrap()), format: 1, body: body.as_bytes().to_vec() };
    let filter = if seq.is_multiple_of(2) { "even" } else { "odd" };
    let view = |view, key: String, filter: &str| ViewWrite {
        view,
        key,
        filter: filter.to_owned(),
        value: Some(row.body.clone()),
    };
    let moving = ViewWrite { filter: filter.to_owned(), ..view(View::Signal, format!("moving {}", entity.id), "") };
    let views =
        vec![view(View::HoldById, entity.id.to_string(), ""), view(View::Signal, signal(entity, seq), filter), moving];
    let wake = (!seq.is_multiple_of(3)).then(|| Timestamp(i64::try_from(seq / 2).unwrap()));
    let target = EntityKey::new(EntityKind::Promo, "p");
    Append {
        entity: entity.clone(),
        row: row.clone(),
        views,
        wake,
        effects: vec![Effect { target, command: row.body }],
    }
}

/// Appends to an entity as the loop does, until the process has nothing to say any more.
async fn client(store: CqlStore, process: u32, key: EntityKey, book: Arc<Book>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        sleep(Duration::from_millis(rng.random_range(0..300))).await;
        let latest = |book: &Book| book.latest.load(Ordering::SeqCst) == process;
        let before = latest(&book);
        let known = book.with(&key, |told| told.acknowledged.max(told.shown));
        let opened = match store.open(&key).await {
            Ok(opened) => opened,
            Err(StoreError::Corrupt(why)) => panic!("{why}"),
            Err(_) if store.inner.owner.has_ended() => return,
            Err(_) => continue,
        };
        book.opened(&key, &opened, known, before && latest(&book));
        let mut seq = head(&opened) + 1;
        for _ in 0..rng.random_range(1..6) {
            let number = book.with(&key, |told| {
                told.attempts += 1;
                told.attempts
            });
            match until_known(&store, &append(&key, seq, &format!("{process} {number}")), &book).await {
                Ok(()) => {
                    let row = append(&key, seq, &format!("{process} {number}")).row;
                    book.show(&key, &row);
                    book.with(&key, |told| {
                        told.acknowledged = told.acknowledged.max(seq);
                        told.answered.insert(seq);
                    });
                    book.rows.fetch_add(1, Ordering::SeqCst);
                    if rng.random_bool(0.2) {
                        let _ = store.snapshot(&key, StoredSnapshot { seq, format: 1, body: row.body }).await;
                    }
                    seq += 1;
                }
                Err(StoreError::Corrupt(why)) => panic!("{why}"),
                Err(_) => break,
            }
        }
    }
}

/// Brings what is owed, as the loop does, and has it struck off.
async fn courier(store: CqlStore, book: Arc<Book>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        sleep(Duration::from_millis(rng.random_range(200..3_000))).await;
        if store.inner.owner.has_ended() {
            return;
        }
        let Ok(owed) = store.owed(None, usize::MAX).await else { continue };
        let some: Vec<_> = owed.into_iter().filter(|_| rng.random_bool(0.7)).collect();
        for owed in &some {
            book.with(&owed.source, |told| told.delivered.insert(owed.seq));
        }
        let _ = store.delivered(some.into_iter().map(|owed| (owed.source, owed.seq, owed.index)).collect()).await;
        let _ = store.due(Timestamp(i64::MAX), 512).await;
    }
}

async fn until_known(store: &CqlStore, append: &Append, book: &Book) -> Result<(), StoreError> {
    let mut in_doubt = false;
    loop {
        match store.append(append.clone()).await {
            Ok(()) => return Ok(()),
            Err(error @ StoreError::Fenced(_)) => {
                book.fenced.fetch_add(1, Ordering::SeqCst);
                return Err(error);
            }
            Err(StoreError::InDoubt(_)) => {
                book.in_doubt.fetch_add(1, Ordering::SeqCst);
                in_doubt = true;
            }
            Err(error) if !in_doubt => return Err(error),
            Err(_) => {}
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What becomes of statements: of some of them, the worst. `mute`: processes whose signs of life do not come through: they are
/// replaced, and go on.
pub(super) fn script(mut rng: StdRng, mute: Arc<Mutex<BTreeSet<u32>>>) -> impl FnMut(Statement) -> Fate + Send {
    let bad = rng.random_range(0..30);
    move |statement| {
        if statement.name == "put_beat" && mute.lock().unwrap().contains(&statement.process) {
            return Fate::NotDone;
        }
        let short = Duration::from_millis(rng.random_range(1..20));
        let wait = Duration::from_millis(rng.random_range(1..2_000));
        match rng.random_range(0..100) {
            roll if roll >= bad => match roll % 3 {
                0 => Fate::Slow(short),
                _ => Fate::Done,
            },
            _ if !statement.writes => match rng.random_range(0..3) {
                0 => Fate::NotDone,
                1 => Fate::Lost(wait),
                _ => Fate::Slow(wait),
            },
            _ => match rng.random_range(0..8) {
                0 => Fate::NotDone,
                1 => Fate::Lost(wait),
                2 => Fate::Slow(wait),
                _ => {
                    let now = [rng.random_bool(0.5), rng.random_bool(0.5), rng.random_bool(0.5)];
                    let later = rng.random_bool(0.5).then(|| Duration::from_millis(rng.random_range(1..30_000)));
                    Fate::Partly { now, later, wait }
                }
            },
        }
    }
}

/// One seed. Answers how many appends were acknowledged, fenced, in doubt.
async fn run(seed: u64) -> [u64; 3] {
    let mut rng = StdRng::seed_from_u64(seed);
    let (world, book) = (World::new(seed), Book::new());
    let mut seconds = 1_000_000;
    let mut stopped: Vec<u32> = Vec::new();
    let mute: Arc<Mutex<BTreeSet<u32>>> = Arc::default();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..LIVES {
        world.cluster.follow(script(StdRng::seed_from_u64(rng.random()), Arc::clone(&mute)));
        let (store, number) = world.process(World::config("a"));
        // A database that does not answer for so long is asked again, as whoever starts the process does.
        while timeout(Duration::from_secs(300), store.claim()).await.unwrap().is_err() {}
        book.latest.store(number, Ordering::SeqCst);
        for of in 0..ENTITIES {
            clients.spawn(client(store.clone(), number, entity(of), Arc::clone(&book), rng.random()));
        }
        clients.spawn(courier(store.clone(), Arc::clone(&book), rng.random()));
        for _ in 0..rng.random_range(1..6) {
            sleep(Duration::from_millis(rng.random_range(10..4_000))).await;
            seconds += [0, 30, 700, 5_000, -3_600][rng.random_range(0..5)];
            world.clock.set(seconds);
            let advancing = store.clone();
            // A process that is stopped or dead never comes back from it.
            tokio::spawn(async move { recover::advance(&advancing.inner).await });
            if let Some(other) = stopped.pop() {
                world.cluster.resume(other);
            }
        }
        match rng.random_range(0..3) {
            0 => world.cluster.kill(number),
            1 => {
                world.cluster.stop(number);
                stopped.push(number);
            }
            // It goes on, and is not the owner any more when the next one is.
            _ => drop(mute.lock().unwrap().insert(number)),
        }
    }
    mute.lock().unwrap().extend(&stopped);
    stopped.drain(..).for_each(|other| world.cluster.resume(other));
    world.cluster.follow(move |statement| match statement.name {
        "put_beat" if mute.lock().unwrap().contains(&statement.process) => Fate::NotDone,
        _ => Fate::Done,
    });
    let (last, number) = world.process(World::config("a"));
    last.claim().await.unwrap();
    world.cluster.heal();
    book.latest.store(number, Ordering::SeqCst);
    timeout(Duration::from_secs(600), last.inner.recovered.notified()).await.expect("it recovers");
    owes_what_was_acknowledged(&last, &book).await;
    // Whatever was still on its way has arrived.
    sleep(Duration::from_secs(120)).await;
    whole(&last, &book).await;
    follows(&last, &book).await;
    while let Some(ended) = clients.try_join_next() {
        ended.unwrap();
    }
    assert!(world.cluster.wrongs().is_empty(), "{:?}", world.cluster.wrongs());
    [&book.rows, &book.fenced, &book.in_doubt].map(|count| count.load(Ordering::SeqCst))
}

/// What was acknowledged or shown is there.
async fn whole(store: &CqlStore, book: &Book) {
    for of in 0..ENTITIES {
        let key = entity(of);
        let known = book.with(&key, |told| told.acknowledged.max(told.shown));
        let opened = store.open(&key).await.unwrap();
        book.opened(&key, &opened, known, true);
        let rows = store.rows(&key, 1, u64::MAX, usize::MAX, false).await.unwrap();
        assert_eq!(rows.len() as u64, head(&opened), "{key}: a row is missing or too many");
        for (row, seq) in rows.iter().zip(1..) {
            assert_eq!(row.seq, seq);
            book.show(&key, row);
        }
        let mut bodies: Vec<&[u8]> = decided(&rows).map(|row| &*row.body).collect();
        bodies.sort_unstable();
        assert!(bodies.windows(2).all(|pair| pair[0] != pair[1]), "{key}: something is there twice");
        let mut back = store.rows(&key, 1, u64::MAX, usize::MAX, true).await.unwrap();
        back.reverse();
        assert_eq!(back, rows);
    }
}

fn decided(rows: &[StoredRow]) -> impl DoubleEndedIterator<Item = &StoredRow> {
    let empty = adal_actors::row::empty().unwrap();
    rows.iter().filter(move |row| row.body != empty)
}

/// What was acknowledged is owed, though no entity was asked for since the claim.
async fn owes_what_was_acknowledged(store: &CqlStore, book: &Book) {
    let owed = store.owed(None, usize::MAX).await.unwrap();
    for of in 0..ENTITIES {
        let key = entity(of);
        book.with(&key, |told| {
            for seq in &told.answered {
                let there =
                    told.delivered.contains(seq) || owed.iter().any(|owed| owed.source == key && owed.seq == *seq);
                assert!(there, "{key}: row {seq} was acknowledged, and what it owes is gone");
            }
        });
    }
}

/// What follows from the rows is there.
async fn follows(store: &CqlStore, book: &Book) {
    let owed = store.owed(None, usize::MAX).await.unwrap();
    let owed: BTreeSet<_> = owed.into_iter().map(|owed| (owed.source, owed.seq, owed.effect.command)).collect();
    let signals = store.list(View::Signal, None, None, usize::MAX).await.unwrap();
    let even = store.list(View::Signal, Some("even"), None, usize::MAX).await.unwrap();
    let odd = store.list(View::Signal, Some("odd"), None, usize::MAX).await.unwrap();
    let due = store.due(Timestamp(i64::MAX), usize::MAX).await.unwrap();
    let (mut wanted, mut keys, mut wakes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for of in 0..ENTITIES {
        let key = entity(of);
        let rows = store.rows(&key, 1, u64::MAX, usize::MAX, false).await.unwrap();
        for row in decided(&rows) {
            wanted.insert((key.clone(), row.seq, row.body.clone()));
            keys.insert(signal(&key, row.seq));
        }
        let Some(last) = decided(&rows).next_back() else { continue };
        keys.insert(format!("moving {}", key.id));
        let held = store.get(View::HoldById, &key.id).await.unwrap().map(|row| row.value);
        assert_eq!(held, Some(last.body.clone()), "{key}: the view is not as the last row says");
        if let Some(wake) = append(&key, last.seq, "").wake {
            wakes.insert((wake, key.clone()));
        }
    }
    let delivered = |key: &EntityKey, seq: &u64| book.with(key, |told| told.delivered.contains(seq));
    let missing: Vec<_> =
        wanted.difference(&owed).filter(|(key, seq, _)| !delivered(key, seq)).map(|(key, seq, _)| (key, seq)).collect();
    assert!(missing.is_empty(), "what these rows owe was neither delivered nor is it owed: {missing:?}");
    assert!(owed.is_subset(&wanted), "more is owed than the rows owe");
    assert_eq!(signals.iter().map(|row| row.key.clone()).collect::<BTreeSet<_>>(), keys);
    assert_eq!(even.len() + odd.len(), signals.len(), "a row stands under two filters, or none");
    for wake in wakes {
        assert!(due.contains(&wake), "the timer {wake:?} is gone: {due:?}");
    }
    // Wherever it stands, it can be struck off; also where the write of it did not end, so that one look sees it and another
    // does not.
    store.delivered(wanted.into_iter().map(|(source, seq, _)| (source, seq, 0)).collect()).await.unwrap();
    for _ in 0..8 {
        assert_eq!(store.owed(None, usize::MAX).await.unwrap(), []);
    }
}

#[test]
fn whatever_fails_what_was_acknowledged_or_shown_is_in_every_later_history() {
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let mut all = [0; 3];
    for seed in one.map_or(0..24, |seed| seed..seed + 1) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let run = std::panic::AssertUnwindSafe(|| runtime.block_on(async { tokio::spawn(run(seed)).await.unwrap() }));
        match std::panic::catch_unwind(run) {
            Ok(counts) => all.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count),
            Err(panic) => {
                eprintln!("run it again with SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // A simulation in which nothing goes wrong shows nothing.
    assert!(one.is_some() || all.iter().all(|count| *count > 20), "acknowledged, fenced, in doubt: {all:?}");
    eprintln!("acknowledged, fenced, in doubt: {all:?}");
}
