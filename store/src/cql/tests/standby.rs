//! Who stands by, and who is cut off: whom they replace, and when they serve nothing any more.

use std::{sync::Arc, time::Duration};

use adal_actors::ports::Journal;
use tokio::time::{Instant, sleep, timeout};

use super::{TestClock, World};
use crate::cql::{CqlError, CqlStore, db::Database, sim::Fate};

/// Stands by, or takes over, in the background.
fn claims(store: &CqlStore) -> tokio::task::JoinHandle<Result<(), CqlError>> {
    let store = store.clone();
    tokio::spawn(async move { store.claim().await })
}

#[tokio::test(start_paused = true)]
async fn nobody_is_deposed_for_beats_that_nobody_could_give() {
    for name in ["a", "b"] {
        let world = World::new(20);
        let (first, owner) = world.owner("a").await;
        let claim = claims(&world.process(World::config(name)).0);
        sleep(Duration::from_secs(5)).await;
        // Longer than a dead server is waited for; who stands by finds the database again before the owner does.
        let (begun, away) = (Instant::now(), Duration::from_secs(15));
        world.cluster.follow(move |statement| {
            let later = if statement.process == owner { Duration::from_secs(3) } else { Duration::ZERO };
            if begun.elapsed() < away + later { Fate::NotDone } else { Fate::Done }
        });
        sleep(Duration::from_secs(60)).await;
        assert!(!first.inner.owner.has_ended() && !claim.is_finished(), "{name}");
        first.serves().unwrap();
        world.cluster.kill(owner);
        timeout(Duration::from_secs(15), claim).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_stands_by_does_so_however_long_the_database_is_away() {
    let world = World::new(21);
    let (first, owner) = world.owner("a").await;
    let claim = claims(&world.process(World::config("b")).0);
    sleep(Duration::from_secs(5)).await;
    for fate in [Fate::NotDone, Fate::Lost(Duration::from_secs(2))] {
        world.cluster.follow(move |_| fate.clone());
        sleep(Duration::from_secs(300)).await;
        world.cluster.heal();
        sleep(Duration::from_secs(30)).await;
        assert!(!first.inner.owner.has_ended() && !claim.is_finished());
    }
    world.cluster.kill(owner);
    timeout(Duration::from_secs(15), claim).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_database_that_never_answered_is_told_to_who_starts() {
    let world = World::new(22);
    world.cluster.follow(|_| Fate::NotDone);
    let told = timeout(Duration::from_secs(40), world.process(World::config("a")).0.claim()).await.unwrap();
    assert!(matches!(told, Err(CqlError::Failed(_))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_serves_nothing_any_more_when_one_of_its_name_takes_over() {
    // From the database, or in its beats alone.
    for (seed, only) in (23..43).zip([None, Some("put_beat")].into_iter().cycle()) {
        let world = World::new(seed);
        let (first, number) = world.owner("same").await;
        let second = world.process(World::config("same")).0;
        let claim = claims(&second);
        sleep(Duration::from_millis(10_000 + seed * 97)).await;
        world.cluster.follow(move |statement| {
            match statement.process == number && only.is_none_or(|only| only == statement.name) {
                true => Fate::Lost(Duration::from_millis(300)),
                false => Fate::Done,
            }
        });
        first.serves().unwrap();
        timeout(Duration::from_secs(8), claim).await.unwrap().unwrap().unwrap();
        assert!(first.serves().is_err(), "{seed}: what it serves may be older than what the other has acknowledged");
        second.serves().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_has_nobody_forgotten_who_lives() {
    let world = World::new(43);
    let (_first, number) = world.owner("a").await;
    let living = world.process(World::config("b")).0;
    let standing = claims(&living);
    // It takes over before the other, and believes that those who beat now did so days ago.
    let clock = Arc::new(TestClock::default());
    clock.set(1_000_000 + 2 * 86_400);
    let raw = world.cluster.connect(99);
    let ahead = CqlStore::over(Arc::new(world.cluster.connect(98)), clock, World::config("a"));
    let taking = claims(&ahead);
    sleep(Duration::from_secs(3)).await;
    world.cluster.kill(number);
    taking.await.unwrap().unwrap();
    sleep(Duration::from_secs(3)).await;
    let mut there: Vec<_> = raw.beats().await.unwrap().into_iter().map(|beat| beat.member).collect();
    there.sort();
    let mut alive = [living.member().to_owned(), ahead.member().to_owned()];
    alive.sort();
    assert_eq!(there, alive);
    assert!(!standing.is_finished());
}
