//! What goes to the database together: who waits for whom, and what becomes of those whose statement fails.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use adal_actors::ports::{Journal, StoreError, StoredRow, Views};
use adal_domain::entity::{View, ViewWrite};
use async_trait::async_trait;
use futures_util::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::World;
use crate::{
    conformance::{append, customer, row},
    cql::{
        CqlStore,
        db::{Database, Failed},
        sim::{Fate, SimCluster},
        together::{Lanes, Load, Lost, all},
    },
};

/// Statements that were sent, as the numbers in each; each is done when it is let.
struct Sent {
    statements: Mutex<Vec<Vec<u64>>>,
    let_through: Semaphore,
    fails: AtomicBool,
}

impl Sent {
    fn new() -> Arc<Self> {
        Arc::new(Self { statements: Mutex::default(), let_through: Semaphore::new(0), fails: AtomicBool::new(false) })
    }

    fn all(&self) -> Vec<Vec<u64>> {
        self.statements.lock().unwrap().clone()
    }
}

/// Something to be sent, of so many bytes.
struct Parcel(u64, usize, Arc<Sent>);

#[async_trait]
impl Load for Parcel {
    type Answer = u64;
    const MOST: (usize, usize) = (10, 5_000);

    fn bytes(&self) -> usize {
        self.1
    }

    async fn send(_: &dyn Database, parcels: Vec<Self>) -> Result<Vec<u64>, Failed> {
        let sent = Arc::clone(&parcels[0].2);
        let numbers: Vec<_> = parcels.iter().map(|parcel| parcel.0).collect();
        sent.statements.lock().unwrap().push(numbers.clone());
        sent.let_through.acquire().await.unwrap().forget();
        match sent.fails.load(Ordering::SeqCst) {
            true => Err(Failed::NotDone("refused".into())),
            false => Ok(numbers.into_iter().map(|number| number * 100).collect()),
        }
    }
}

fn lanes() -> Arc<Lanes<Parcel>> {
    Lanes::new(Arc::new(SimCluster::new(1).connect(0)))
}

type Answer = JoinHandle<Vec<Result<u64, Lost>>>;

/// Sends a parcel in a lane.
async fn send(lanes: &Arc<Lanes<Parcel>>, lane: u64, parcel: Parcel) -> Answer {
    let lanes = Arc::clone(lanes);
    let task = tokio::spawn(async move { lanes.go(vec![(lane, parcel)]).await });
    settle().await;
    task
}

/// Lets everything go on that can.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_one_is_under_way_leaves_together_when_it_has_landed() {
    let (lanes, sent) = (lanes(), Sent::new());
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for number in 1..=5 {
        tasks.push(send(&lanes, 7, Parcel(number, 100, Arc::clone(&sent))).await);
    }
    assert_eq!(sent.all(), [vec![1]], "the first waits for nobody");
    sent.let_through.add_permits(2);
    for (number, task) in (1..).zip(tasks) {
        assert_eq!(task.await.unwrap(), [Ok(number * 100)], "each has its own answer");
    }
    assert_eq!(sent.all(), [vec![1], vec![2, 3, 4, 5]]);
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited for a clock");
}

#[tokio::test(start_paused = true)]
async fn what_never_answers_holds_nobody_up() {
    let (lanes, sent) = (lanes(), Sent::new());
    let parcel = |number| Parcel(number, 100, Arc::clone(&sent));
    let _first = send(&lanes, 7, parcel(1)).await;
    let _others = [send(&lanes, 7, parcel(2)).await, send(&lanes, 7, parcel(3)).await];
    assert_eq!(sent.all(), [vec![1]]);
    sleep(Duration::from_millis(11)).await;
    assert_eq!(sent.all(), [vec![1], vec![2, 3]]);
    let _elsewhere = send(&lanes, 8, parcel(4)).await;
    assert_eq!(sent.all().last(), Some(&vec![4]), "another lane is another");
}

#[tokio::test(start_paused = true)]
async fn enough_for_a_statement_waits_for_nothing() {
    let (lanes, sent) = (lanes(), Sent::new());
    let parcel = |number, bytes| Parcel(number, bytes, Arc::clone(&sent));
    let mut tasks = vec![send(&lanes, 7, parcel(0, 1)).await];
    for number in 1..=23 {
        tasks.push(send(&lanes, 7, parcel(number, 100)).await);
    }
    let ten = |from| (from..from + 10).collect::<Vec<u64>>();
    assert_eq!(sent.all(), [vec![0], ten(1), ten(11)]);
    // By bytes, too; and what is larger than all that goes together goes by itself.
    tasks.push(send(&lanes, 7, parcel(24, 4_800)).await);
    assert_eq!(sent.all().len(), 4);
    assert_eq!(sent.all()[3], [21, 22, 23]);
    tasks.push(send(&lanes, 7, parcel(25, 9_000)).await);
    assert_eq!(sent.all()[4..], [vec![24], vec![25]]);
    sent.let_through.add_permits(6);
    join_all(tasks).await.into_iter().for_each(|answer| assert!(answer.unwrap()[0].is_ok()));
}

#[tokio::test(start_paused = true)]
async fn whoever_failed_is_told_whether_others_were_with_it() {
    let (lanes, sent) = (lanes(), Sent::new());
    let parcel = |number| Parcel(number, 100, Arc::clone(&sent));
    let tasks = [send(&lanes, 7, parcel(1)).await, send(&lanes, 7, parcel(2)).await, send(&lanes, 7, parcel(3)).await];
    sent.fails.store(true, Ordering::SeqCst);
    sent.let_through.add_permits(2);
    let lost = |alone| Err(Lost { failed: Failed::NotDone("refused".into()), alone });
    let answers: Vec<_> = join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(answers, [lost(true), lost(false), lost(false)]);
}

/// Callers come from many runtimes, and one may end with what it asked for under way; the store's is the last.
#[test]
fn a_caller_that_ends_takes_nobody_with_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let within = |answer| tokio::time::timeout(Duration::from_secs(5), answer);
    let (of_store, ends, stays) = (runtime(), runtime(), runtime());
    let (lanes, sent) = (of_store.block_on(async { lanes() }), Sent::new());
    let parcel = |number| Parcel(number, 100, Arc::clone(&sent));
    let first = ends.block_on(send(&lanes, 7, parcel(1)));
    of_store.block_on(settle());
    let second = of_store.block_on(send(&lanes, 7, parcel(2)));
    drop((first, ends));
    sent.let_through.add_permits(2);
    assert_eq!(of_store.block_on(async { within(second).await.unwrap().unwrap() }), [Ok(200)]);
    assert_eq!(sent.all(), [vec![1], vec![2]]);
    let third = stays.block_on(send(&lanes, 7, parcel(3)));
    drop(of_store);
    let fourth = stays.block_on(send(&lanes, 7, parcel(4)));
    for task in [third, fourth] {
        let answer = stays.block_on(async { within(task).await.unwrap().unwrap() });
        assert!(matches!(&answer[..], [Err(Lost { failed: Failed::Unknown(_), .. })]), "{answer:?}");
    }
}

#[test]
fn of_several_that_failed_nobody_knows_unless_none_was_done() {
    let (not_done, unknown) = (|| Failed::NotDone("a".into()), || Failed::Unknown("b".into()));
    assert_eq!(all(vec![]), Ok(()));
    assert_eq!(all(vec![Ok(()), Ok(())]), Ok(()));
    assert_eq!(all(vec![Err(not_done()), Err(not_done())]), Err(not_done()));
    assert_eq!(all(vec![Ok(()), Err(not_done())]), Err(Failed::Unknown("a".into())));
    assert_eq!(all(vec![Err(not_done()), Err(unknown())]), Err(Failed::Unknown("a".into())));
    assert_eq!(all(vec![Ok(()), Err(unknown())]), Err(unknown()));
}

const CUSTOMERS: usize = 24;

fn owner_of(order: String) -> ViewWrite {
    ViewWrite { view: View::OrderOwner, key: order, filter: String::new(), value: Some(vec![1]) }
}

/// One whose replicas are away must not keep the others from theirs: what failed with others is tried alone.
#[tokio::test(start_paused = true)]
async fn where_all_that_goes_together_fails_everybody_is_answered_all_the_same() {
    let world = World::new(3);
    let (store, _) = world.owner("a").await;
    world.cluster.follow(|statement| match statement.name {
        "insert_rows_of_several" | "views" => Fate::Lost(Duration::from_millis(300)),
        // So that the others come while one is under way.
        _ => Fate::Slow(Duration::from_millis(2)),
    });
    let each = (0..CUSTOMERS).map(|number| {
        let store = store.clone();
        async move {
            let mut one = append(&customer(&format!("c{number}")), row(1));
            one.views = vec![owner_of(format!("o{number}"))];
            store.append(one).await.unwrap();
        }
    });
    join_all(each).await;
    let orders: Vec<_> = (0..CUSTOMERS).map(|number| format!("o{number}")).collect();
    let found = join_all(orders.iter().map(|order| store.get(View::OrderOwner, order))).await;
    assert!(found.into_iter().all(|found| found.unwrap().is_some()));
    let together = [world.cluster.sent("insert_rows_of_several"), world.cluster.sent("views")];
    assert!(together.iter().all(|sent| *sent > 5), "{together:?} went together");
}

/// What becomes of a statement that others may be in.
fn any(rng: &mut StdRng) -> Fate {
    let ms = Duration::from_millis;
    match rng.random_range(0..10) {
        0 => Fate::NotDone,
        1 => Fate::Lost(ms(700)),
        2 => Fate::Partly { now: [rng.random(), rng.random(), false], later: None, wait: ms(900) },
        3 => Fate::Slow(ms(rng.random_range(1..1_500))),
        _ => Fate::Slow(ms(2)),
    }
}

/// Appends rows as the loop does: what is in doubt is sent again as it was; in the place of what was not done, something else
/// may come. Gives what was acknowledged.
async fn client(store: CqlStore, number: usize) -> Vec<StoredRow> {
    let entity = customer(&format!("c{number}"));
    let mut done: Vec<StoredRow> = Vec::new();
    for seq in 1..=6 {
        let order = format!("{number}/{seq}");
        let mut one = append(&entity, row(seq));
        one.views = vec![owner_of(order.clone())];
        for other in 0.. {
            match store.append(one.clone()).await {
                Ok(()) => break,
                Err(StoreError::InDoubt(_)) => {}
                Err(StoreError::Unavailable(_)) => one.row.body = format!("row {seq}, not the {other}th").into_bytes(),
                Err(failed) => panic!("{failed}"),
            }
            assert!(other < 40, "{entity}: never done");
        }
        done.push(one.row);
        let found = loop {
            if let Ok(found) = store.get(View::OrderOwner, &order).await {
                break found;
            }
        };
        assert_eq!(found.map(|row| row.entity), Some(entity.clone()), "what follows from what was answered is there");
    }
    done
}

/// Customers whose rows go together, under statements that are done for some of them, half done, or not: each has what was
/// acknowledged, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_statement_that_fails_for_some_loses_nothing_of_any() {
    let mut together = 0;
    for seed in 0..20 {
        let world = World::new(seed);
        let (store, process) = world.owner("a").await;
        let mut rng = StdRng::seed_from_u64(seed);
        world.cluster.follow(move |statement| match statement.name {
            // Mostly, so that a try with others is often the only one that may have been done.
            "insert_row" if rng.random_bool(0.85) => Fate::NotDone,
            "insert_row" | "insert_rows_of_several" | "put_views" | "views" | "view" => any(&mut rng),
            _ => Fate::Done,
        });
        let acknowledged = join_all((0..CUSTOMERS).map(|number| client(store.clone(), number))).await;
        world.cluster.heal();
        world.cluster.kill(process);
        let (next, _) = world.owner("b").await;
        for (number, acknowledged) in acknowledged.into_iter().enumerate() {
            let mut opened = next.open(&customer(&format!("c{number}"))).await.unwrap().rows;
            // The last is the adoption.
            opened.truncate(acknowledged.len());
            assert_eq!(opened, acknowledged);
        }
        assert!(world.cluster.wrongs().is_empty(), "{:?}", world.cluster.wrongs());
        together += world.cluster.sent("insert_rows_of_several");
    }
    let rows = 20 * CUSTOMERS as u64 * 6;
    assert!(together > rows / 10, "{together} tries of {rows} rows went with others");
}
