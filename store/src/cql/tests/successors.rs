//! What one owner leaves to the next, step by step: orders of events that the simulation of faults meets seldom.

use std::{sync::Arc, time::Duration};

use adal_actors::ports::{
    Append, BannerCounts, CodeJob, Codes, Counts, JobState, Journal, StoreError, StoredRow, Views,
};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View, ViewWrite},
    ids::{Actor, BannerId, OfferId},
    offers::NormalCode,
    time::{Day, Timestamp},
};
use tokio::time::{sleep, timeout};

use super::World;
use crate::cql::{
    CqlError, CqlStore, WallClock,
    db::{Beat, ClusterRow, CountRow, Database, JournalRow, ListPart, Place, Queue, Stretch, ViewEntry},
    protocol::{bucket_of, shard_of, slice_of},
    recover,
    sim::{Fate, Statement},
    timers::Timers,
};

fn customer(id: &str) -> EntityKey {
    EntityKey::new(EntityKind::Customer, id)
}

/// A row without consequences.
fn bare(entity: &EntityKey, seq: u64, body: &str) -> Append {
    let row = StoredRow { seq, at: Timestamp(i64::try_from(seq).unwrap()), format: 1, body: body.as_bytes().to_vec() };
    Append { entity: entity.clone(), row, views: vec![], wake: None, effects: vec![] }
}

fn view(key: &str, value: &str) -> ViewWrite {
    let (key, value) = (key.to_owned(), Some(value.as_bytes().to_vec()));
    ViewWrite { view: View::HoldById, key, filter: String::new(), value }
}

#[tokio::test(start_paused = true)]
async fn who_stood_by_while_the_views_were_made_anew_is_seen_to_change_them() {
    let world = World::new(1);
    let key = customer("c1");
    let (tool, _) = world.owner("tool").await;
    tool.append(Append { views: vec![view("h1", "before")], ..bare(&key, 1, "a") }).await.unwrap();
    let (standby, _) = world.process(World::config("b"));
    let claim = tokio::spawn({
        let standby = standby.clone();
        async move { standby.claim().await }
    });
    sleep(Duration::from_secs(3)).await;
    let mut rebuild = tool.begin_rebuild().await.unwrap();
    rebuild.entity(&key, vec![(1, view("h1", "before"))], None).await.unwrap();
    rebuild.finish().await.unwrap();
    crate::Storage::close(&tool).await.unwrap();
    claim.await.unwrap().unwrap();
    let next = standby.open(&key).await.unwrap().rows.len() as u64 + 1;
    standby.append(Append { views: vec![view("h1", "after")], ..bare(&key, next, "b") }).await.unwrap();
    let there = standby.get(View::HoldById, "h1").await.unwrap().unwrap();
    assert_eq!(there.value, b"after");
}

/// What one effect costs nobody.
fn effect() -> Effect {
    Effect { target: EntityKey::new(EntityKind::Promo, "p"), command: vec![1] }
}

fn owing(entity: &EntityKey, seq: u64, body: &str) -> Append {
    Append { effects: vec![effect()], ..bare(entity, seq, body) }
}

async fn owed(store: &CqlStore) -> Vec<(EntityKey, u64, u32)> {
    let owed = store.owed(None, usize::MAX).await.unwrap();
    let mut owed: Vec<_> = owed.into_iter().map(|owed| (owed.source, owed.seq, owed.index)).collect();
    // What an adoption owes again may stand where it stood before as well.
    owed.dedup();
    owed
}

/// Another customer whose effects stand in the same parts.
fn beside(entity: &EntityKey) -> EntityKey {
    let slice = |key: &EntityKey| slice_of(shard_of(key));
    (0..).map(|n| customer(&format!("beside{n}"))).find(|key| slice(key) == slice(entity)).unwrap()
}

/// The process stops at its next statement of this name, of which that becomes.
fn stop_at(world: &World, process: u32, name: &'static str, fate: Fate) {
    let (cluster, mut fate) = (Arc::clone(&world.cluster), Some(fate));
    world.cluster.follow(move |statement| match (statement.process, statement.name) == (process, name) {
        true => fate.take().map_or(Fate::Done, |fate| {
            cluster.stop(process);
            fate
        }),
        false => Fate::Done,
    });
}

#[tokio::test(start_paused = true)]
async fn what_a_late_row_owes_is_owed_though_its_part_of_the_outbox_was_dropped() {
    let world = World::new(2);
    let (late, other) = (customer("late"), beside(&customer("late")));
    let (first, number) = world.owner("a").await;
    first.append(owing(&other, 1, "a")).await.unwrap();
    // It has its ticket, and that it is listed is on its way for a while.
    stop_at(&world, number, "put_recent", Fate::Slow(Duration::from_secs(60)));
    let append = tokio::spawn({
        let (first, late) = (first.clone(), late.clone());
        async move { first.append(owing(&late, 1, "late")).await }
    });
    let (second, successor) = world.owner("b").await;
    second.inner.recovered.notified().await;
    assert!(owed(&second).await.iter().all(|(source, ..)| *source == other));
    second.delivered(vec![(other.clone(), 1, 0)]).await.unwrap();
    assert_eq!(owed(&second).await, []);
    world.clock.set(1_000_000 + 1_800);
    recover::advance(&second.inner).await;
    assert_eq!(owed(&second).await, [], "every part is dropped");
    assert_eq!(world.cluster.sent("drop_outbox_bucket"), 1);
    sleep(Duration::from_secs(60)).await;
    world.cluster.resume(number);
    let told = append.await.unwrap();
    assert!(matches!(told, Err(StoreError::Fenced(_))), "{told:?}");

    assert_eq!(second.open(&late).await.unwrap().rows.len(), 2);
    assert_eq!(owed(&second).await, [(late.clone(), 1, 0)]);
    // Owed once more by the next, and delivered wherever it stands.
    world.cluster.kill(successor);
    let (third, _) = world.owner("b").await;
    third.inner.recovered.notified().await;
    assert_eq!(third.open(&late).await.unwrap().rows.len(), 3);
    assert!(owed(&third).await.contains(&(late.clone(), 1, 0)));
    third.delivered(vec![(late, 1, 0)]).await.unwrap();
    assert_eq!(owed(&third).await, []);
}

/// A part is found empty by `look`, and something is written to it before that is over.
async fn written_while_found_empty<F>(world: &World, store: &CqlStore, number: u32, name: &'static str, look: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let whole = Duration::from_secs(20);
    let slow = move |statement: Statement| match (statement.process, statement.name) == (number, name) {
        true => Fate::Slow(whole),
        false => Fate::Done,
    };
    world.cluster.follow(slow);
    let looking = tokio::spawn(look);
    sleep(whole * 3 / 4).await;
    let wake = Some(Timestamp(world.clock.now().0 + 1));
    store.append(Append { wake, ..owing(&customer("c1"), 2, "b") }).await.unwrap();
    world.clock.set(1_000_000 + 1_800);
    recover::advance(&store.inner).await;
    looking.await.unwrap();
    world.cluster.heal();
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_while_its_part_is_found_empty_stays() {
    let world = World::new(3);
    let (store, number) = world.owner("a").await;
    store.inner.recovered.notified().await;
    store.append(owing(&customer("c1"), 1, "a")).await.unwrap();
    store.delivered(vec![(customer("c1"), 1, 0)]).await.unwrap();
    let looking = store.clone();
    written_while_found_empty(&world, &store, number, "outbox", async move {
        assert_eq!(owed(&looking).await, []);
    })
    .await;
    assert_eq!(owed(&store).await, [(customer("c1"), 2, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_asked_for_while_its_part_is_found_empty_stays() {
    let world = World::new(4);
    let (store, number) = world.owner("a").await;
    store.inner.recovered.notified().await;
    let (wake, until) = (world.clock.now(), Timestamp((1_000_000 + 1_800) * Timestamp::SECOND));
    store.append(Append { wake: Some(wake), ..bare(&customer("c1"), 1, "a") }).await.unwrap();
    let placed = Timers::place(&customer("c1"), wake, bucket_of(wake));
    store.inner.timers.delete(&placed, store.inner.owner.claimed().unwrap(), 1).await;
    store.open(&customer("c1")).await.unwrap();
    let looking = store.clone();
    written_while_found_empty(&world, &store, number, "timers", async move {
        assert_eq!(looking.due(until, 512).await.unwrap(), []);
    })
    .await;
    let due = store.due(until, 512).await.unwrap();
    assert_eq!(due.len(), 1, "{due:?}");
}

#[tokio::test(start_paused = true)]
async fn timers_of_rows_that_never_came_keep_nobody_from_being_woken() {
    let world = World::new(5);
    let (store, _) = world.owner("a").await;
    let stale = (0..600).map(|n| customer(&format!("stale{n}")));
    for key in stale.clone() {
        store.append(bare(&key, 1, "a")).await.unwrap();
    }
    let real = Append { wake: Some(Timestamp(6)), ..bare(&customer("real"), 1, "a") };
    store.append(real).await.unwrap();
    world.cluster.follow(|statement| match statement.name {
        "insert_row" => Fate::NotDone,
        _ => Fate::Done,
    });
    for key in stale {
        let told = store.append(Append { wake: Some(Timestamp(5)), ..bare(&key, 2, "b") }).await;
        assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    }
    world.cluster.heal();
    assert_eq!(store.due(Timestamp(7), 512).await.unwrap(), [(Timestamp(6), customer("real"))]);
}

/// A row of a view under a filter.
fn use_of(key: &str, filter: &str) -> ViewWrite {
    ViewWrite { view: View::OfferUse, filter: filter.to_owned(), ..view(key, "used") }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_was_paused_deletes_nothing_of_the_server_that_took_over() {
    let world = World::new(6);
    let (tool, number) = world.owner("tool").await;
    let rebuild = tool.begin_rebuild().await.unwrap();
    world.cluster.stop(number);
    let finish = tokio::spawn(rebuild.finish());
    let (server, _) = world.owner("server").await;
    server.append(Append { views: vec![view("h1", "new")], ..bare(&customer("c1"), 1, "a") }).await.unwrap();
    world.cluster.resume(number);
    let done = finish.await.unwrap();
    assert!(matches!(done, Err(StoreError::Unavailable(_))), "{done:?}");
    assert!(server.get(View::HoldById, "h1").await.unwrap().is_some());
    assert_eq!(world.cluster.sent("delete_view"), 0);
}

#[tokio::test(start_paused = true)]
async fn lines_of_lists_that_no_row_says_are_deleted_under_whatever_filter() {
    let world = World::new(7);
    let (store, _) = world.owner("a").await;
    let key = customer("c1");
    let mut row = Append { views: vec![use_of("u1", "ten"), use_of("u2", "ten")], ..bare(&key, 1, "a") };
    row.views.push(ViewWrite { view: View::Signal, ..view("s1", "signal") });
    store.append(row.clone()).await.unwrap();
    // What a lost row left: a line under a filter that no row has, and one whose row is gone.
    let raw = world.cluster.connect(99);
    let slice = slice_of(shard_of(&key));
    for (name, filter) in [("u1", "eleven"), ("u3", "ten"), ("s2", "")] {
        let of = if name == "s2" { View::Signal } else { View::OfferUse };
        let (name, filter) = (name.to_owned(), filter.to_owned());
        let entry = ViewEntry { key: name, filter: filter.clone(), entity: key.clone(), seq: 1, value: vec![] };
        let part = ListPart { view: of, filter: Some(&filter), slice };
        raw.put_view_list(part, &entry, 1).await.unwrap();
        raw.put_view_list(ListPart { filter: None, ..part }, &entry, 1).await.unwrap();
    }
    let mut rebuild = store.begin_rebuild().await.unwrap();
    rebuild.entity(&key, row.views.into_iter().map(|write| (1, write)).collect(), None).await.unwrap();
    rebuild.finish().await.unwrap();
    let of = |view, filter: Option<&'static str>| {
        let store = store.clone();
        async move {
            let rows = store.list(view, filter, None, 100).await.unwrap();
            rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
        }
    };
    assert_eq!(of(View::OfferUse, Some("ten")).await, ["u2", "u1"]);
    assert_eq!(of(View::OfferUse, Some("eleven")).await, [""; 0]);
    assert_eq!(of(View::Signal, None).await, ["s1"]);
    let all = raw.scan_view_lists(None, 100).await.unwrap().found;
    assert_eq!(all.len(), 4, "two uses, a signal under its filter and among all: {all:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_is_found_however_many_parts_there_are() {
    let world = World::new(8);
    world.clock.set(3_000_000);
    let (store, _) = world.owner("a").await;
    let key = customer("c1");
    let raw = world.cluster.connect(99);
    for bucket in 0..2_100 {
        let queue = Queue { slice: slice_of(shard_of(&key)), bucket };
        raw.put_outbox_bucket(queue, 1).await.unwrap();
        raw.put_timer_bucket(queue, 1).await.unwrap();
    }
    let wake = world.clock.now();
    store.append(Append { wake: Some(wake), ..owing(&key, 1, "a") }).await.unwrap();
    // Without a claim nothing is dropped: all of them are there for the reader.
    let (reader, _) = world.process(World::config("b"));
    assert_eq!(owed(&reader).await, [(key.clone(), 1, 0)]);
    assert_eq!(reader.owed_by(&key, 10).await.unwrap().len(), 1);
    assert_eq!(reader.due(wake, 10).await.unwrap(), [(wake, key)]);
}

#[tokio::test(start_paused = true)]
async fn one_entity_that_cannot_be_read_keeps_no_other_from_being_recovered() {
    let world = World::new(9);
    let (gap, other) = (customer("gap"), customer("other"));
    let (first, number) = world.owner("a").await;
    first.append(owing(&other, 1, "a")).await.unwrap();
    first.append(bare(&gap, 1, "a")).await.unwrap();
    // A row whose parent is lost.
    let raw = world.cluster.connect(99);
    let place = Place { seq: 3, epoch: 1 };
    let body = adal_actors::row::empty().unwrap();
    let lost =
        JournalRow { place, parent_epoch: 1, at: Timestamp(3), format: 1, body, bucket: 0, wake: None, derived: None };
    raw.insert_row(&gap, &lost).await.unwrap();
    world.cluster.kill(number);
    let (second, _) = world.owner("b").await;
    timeout(Duration::from_secs(120), second.inner.recovered.notified()).await.expect("it goes on without");
    assert_eq!(owed(&second).await, [(other.clone(), 1, 0)]);
    let is_past = |key: &EntityKey| {
        let shard = shard_of(key);
        let then = bucket_of(Timestamp(1_000_000 * Timestamp::SECOND));
        second.inner.marks.are_past(shard..shard + 1, then, then)
    };
    world.clock.set(1_000_000 + 1_800);
    sleep(Duration::from_secs(31)).await;
    assert!(is_past(&other) && !is_past(&gap), "who comes next looks at that one again");
    // And so does this one, later.
    raw.insert_row(&gap, &JournalRow { place: Place { seq: 2, epoch: 1 }, ..lost }).await.unwrap();
    sleep(Duration::from_secs(700)).await;
    assert!(is_past(&gap));
}

#[tokio::test(start_paused = true)]
async fn the_watermarks_of_recovered_shards_move_while_others_are_recovered() {
    let world = World::new(10);
    let (first, number) = world.owner("a").await;
    first.append(bare(&customer("slow"), 1, "a")).await.unwrap();
    world.cluster.kill(number);
    let (second, number) = world.process(World::config("b"));
    let slow = Duration::from_secs(400);
    world.cluster.follow(move |statement| match (statement.process, statement.name) == (number, "insert_rows") {
        true => Fate::Slow(slow),
        false => Fate::Done,
    });
    second.claim().await.unwrap();
    world.clock.set(1_000_000 + 1_800);
    sleep(Duration::from_secs(100)).await;
    let quick = shard_of(&beside(&customer("slow")));
    assert_ne!(quick, shard_of(&customer("slow")));
    let then = bucket_of(Timestamp(1_000_000 * Timestamp::SECOND));
    assert!(second.inner.marks.are_past(quick..quick + 1, then, then));
}

#[tokio::test(start_paused = true)]
async fn two_servers_of_one_name_do_not_depose_each_other() {
    let world = World::new(11);
    let (first, number) = world.owner("same").await;
    let (second, _) = world.process(World::config("same"));
    let claim = tokio::spawn({
        let second = second.clone();
        async move { second.claim().await }
    });
    sleep(Duration::from_secs(60)).await;
    assert!(!first.inner.owner.has_ended() && !claim.is_finished());
    // One that is dead is known by its name sooner than another.
    world.cluster.kill(number);
    timeout(Duration::from_secs(8), claim).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_watermark_gives_up_in_time() {
    let world = World::new(12);
    let (store, number) = world.owner("a").await;
    store.inner.recovered.notified().await;
    world.cluster.follow(move |statement| match (statement.process, statement.name) == (number, "put_watermark") {
        true => Fate::Lost(Duration::from_secs(2)),
        false => Fate::Done,
    });
    world.clock.set(1_000_000 + 1_800);
    // Of one shard: all of them need its next bucket.
    let shard = shard_of(&customer("c0"));
    let keys = (0..).map(|n| customer(&format!("c{n}"))).filter(|key| shard_of(key) == shard).take(20);
    let before = world.cluster.sent("put_watermark");
    let begun = tokio::time::Instant::now();
    let all: Vec<_> = keys
        .map(|key| {
            let store = store.clone();
            tokio::spawn(async move { store.append(bare(&key, 1, "a")).await })
        })
        .collect();
    for one in all {
        let told = one.await.unwrap();
        assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(world.cluster.sent("put_watermark") - before < 5);
}

fn job(id: &str, count: u64) -> CodeJob {
    CodeJob {
        id: id.to_owned(),
        offer: OfferId::new(id).unwrap(),
        prefix: String::new(),
        start: 0,
        count,
        done: 0,
        state: JobState::Open,
        by: Actor::new("key:k1").unwrap(),
        at: Timestamp(5),
        print: [7; 16],
    }
}

fn codes<const N: usize>(texts: [&str; N]) -> Vec<NormalCode> {
    texts.map(|text| NormalCode::new(text).unwrap()).to_vec()
}

async fn listed(store: &CqlStore, job: &str) -> Vec<String> {
    store.codes_of(job, None, 100).await.unwrap().codes
}

#[tokio::test(start_paused = true)]
async fn codes_of_a_server_that_was_replaced_meanwhile_are_nobodys() {
    let world = World::new(13);
    let (first, number) = world.owner("a").await;
    for id in ["j1", "j2"] {
        first.begin(job(id, 3)).await.unwrap();
    }
    // It has looked up the codes, and what says that they are being added is on its way for a while.
    stop_at(&world, number, "put_code_job", Fate::Slow(Duration::from_secs(60)));
    let add = tokio::spawn({
        let first = first.clone();
        async move { first.add("j1", codes(["KKKK0001", "KKKK0002", "KKKK0003"])).await }
    });
    let (second, _) = world.owner("b").await;
    let done = second.add("j1", codes(["KKKK0004", "KKKK0005", "KKKK0006"])).await.unwrap().unwrap();
    assert_eq!((done.done, done.state), (3, JobState::Done));
    second.add("j2", codes(["KKKK0001"])).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    world.cluster.resume(number);
    let told = add.await.unwrap();
    assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    assert_eq!(listed(&second, "j1").await, ["KKKK0004", "KKKK0005", "KKKK0006"]);
    assert_eq!(listed(&second, "j2").await, ["KKKK0001"]);
    for [code] in [["KKKK0002"], ["KKKK0003"]] {
        assert_eq!(second.offer_of(&codes([code])[0]).await.unwrap(), None);
    }
    assert_eq!(Codes::job(&second, "j1").await.unwrap().unwrap().done, 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_replaced_server_was_adding_is_added_once_or_not_at_all() {
    let world = World::new(14);
    let (first, number) = world.owner("a").await;
    for id in ["j1", "j2"] {
        first.begin(job(id, 3)).await.unwrap();
    }
    // It has said which codes it adds, and the codes are on their way.
    stop_at(&world, number, "put_codes", Fate::Slow(Duration::from_secs(60)));
    let add = tokio::spawn({
        let first = first.clone();
        async move { first.add("j1", codes(["KKKK0001", "KKKK0002"])).await }
    });
    let (second, _) = world.owner("b").await;
    let other = second.add("j2", codes(["KKKK0002", "KKKK0003"])).await.unwrap().unwrap();
    assert_eq!(other.done, 1, "the other code was promised to the first job");
    sleep(Duration::from_secs(60)).await;
    world.cluster.resume(number);
    assert!(add.await.unwrap().is_err());
    assert_eq!(listed(&second, "j1").await, ["KKKK0001", "KKKK0002"]);
    assert_eq!(listed(&second, "j2").await, ["KKKK0003"]);
    let done = second.add("j1", codes(["KKKK0002", "KKKK0004"])).await.unwrap().unwrap();
    assert_eq!((done.done, done.state), (3, JobState::Done));
}

#[tokio::test(start_paused = true)]
async fn of_two_tries_to_add_codes_the_later_counts() {
    for seed in 0..20 {
        let world = World::new(seed);
        let (store, _) = world.owner("a").await;
        store.begin(job("j1", 9)).await.unwrap();
        let (mut row, mut line) = (true, true);
        world.cluster.follow(move |statement| match statement.name {
            "put_code_job" if std::mem::take(&mut row) => {
                Fate::Partly { now: [true, false, false], later: None, wait: Duration::from_secs(2) }
            }
            "put_codes_of_job" if std::mem::take(&mut line) => Fate::NotDone,
            _ => Fate::Done,
        });
        assert!(store.add("j1", codes(["ZZZZ0001", "ZZZZ0002"])).await.is_err());
        let _ = store.add("j1", codes(["AAAA0001", "AAAA0002"])).await;
        world.cluster.heal();
        let done = store.add("j1", codes(["MMMM0001"])).await.unwrap().unwrap().done;
        let listed = listed(&store, "j1").await;
        assert_eq!(done, listed.len() as u64, "{seed}: {listed:?}");
        for code in ["ZZZZ0001", "ZZZZ0002", "AAAA0001", "AAAA0002", "MMMM0001"] {
            let is = store.offer_of(&codes([code])[0]).await.unwrap().is_some();
            assert_eq!(is, listed.iter().any(|one| one == code), "{seed}: {code} of {listed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_in_another_datacentre_waits_for_nobody_there() {
    let world = World::new(15);
    let within = |number: u32, datacenter: &str, take_from: Option<&str>| {
        let db = world.cluster.connect(number).within(datacenter);
        let mut config = World::config(datacenter);
        config.take_from_datacenter = take_from.map(str::to_owned);
        CqlStore::over(Arc::new(db), Arc::clone(&world.clock) as Arc<dyn WallClock>, config)
    };
    let refused = |number: u32, datacenter: &'static str, take_from: Option<&'static str>| {
        let store = within(number, datacenter, take_from);
        async move {
            let told = store.claim().await.unwrap_err();
            assert!(matches!(told, CqlError::Config { key: "local_datacenter", .. }), "{told}");
            told.to_string()
        }
    };
    within(50, "here", None).claim().await.unwrap();
    refused(51, "there", None).await;
    world.cluster.kill(50);
    let told = refused(52, "there", None).await;
    assert!(told.contains("is there, and the entities are of a server in here"), "{told}");
    let again = within(53, "here", None);
    again.claim().await.unwrap();
    crate::Storage::close(&again).await.unwrap();
    // Whoever stopped in peace may have left behind what has not come across yet.
    let told = refused(54, "there", None).await;
    assert!(told.contains("take_from_datacenter = \"here\""), "{told}");
    refused(55, "there", Some("elsewhere")).await;
    let moved = within(56, "there", Some("here"));
    moved.claim().await.unwrap();
    refused(57, "here", None).await;
    crate::Storage::close(&moved).await.unwrap();
    refused(58, "here", None).await;
    within(59, "there", None).claim().await.unwrap();
    // One that died there is waited for all the same.
    world.cluster.kill(59);
    let begun = tokio::time::Instant::now();
    within(60, "here", Some("there")).claim().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_reads_no_history_that_may_not_be_durable() {
    let world = World::new(16);
    let (first, number) = world.owner("a").await;
    first.append(bare(&customer("c1"), 1, "a")).await.unwrap();
    world.cluster.stop(number);
    let (_second, _) = world.owner("b").await;
    world.cluster.resume(number);
    timeout(Duration::from_secs(10), first.inner.owner.deposed()).await.unwrap();
    let told = first.rows(&customer("c1"), 1, 9, 9, false).await;
    assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn beats_of_long_ago_are_deleted_and_those_of_today_are_not() {
    let world = World::new(17);
    let raw = world.cluster.connect(99);
    for (member, days_ago) in [("old", 2), ("new", 0)] {
        let at = Timestamp((1_000_000 - days_ago * 86_400) * Timestamp::SECOND);
        raw.put_beat(&Beat { member: member.to_owned(), beat: 7, at }).await.unwrap();
    }
    let (store, _) = world.owner("a").await;
    let mut left: Vec<_> = raw.beats().await.unwrap().into_iter().map(|beat| beat.member).collect();
    left.retain(|member| *member != store.member());
    assert_eq!(left, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn all_who_counted_on_one_day_are_added_up() {
    let world = World::new(18);
    let raw = world.cluster.connect(99);
    let counts = BannerCounts { servings: 1, impressions: 2, clicks: 3 };
    for (day, members) in [(7, 2), (6, 2_500), (5, 3)] {
        for member in 0..members {
            let row = CountRow { day: Day(day), member: format!("m{member}"), counts };
            raw.put_count("b", &row, 1).await.unwrap();
        }
    }
    let (store, _) = world.process(World::config("a"));
    let days = store.counts_of(&BannerId::new("b").unwrap(), 10).await.unwrap();
    let servings: Vec<_> = days.into_iter().map(|(day, counts)| (day.0, counts.servings)).collect();
    assert_eq!(servings, [(7, 2), (6, 2_500), (5, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_watermark_that_may_have_moved_is_passed_by_no_row() {
    let world = World::new(19);
    let key = customer("c1");
    let (store, number) = world.owner("a").await;
    store.inner.recovered.notified().await;
    store.append(bare(&key, 1, "a")).await.unwrap();
    // The mark moves, and nobody is told; the clock leaps back.
    let first = bucket_of(world.clock.now());
    world.cluster.follow(move |statement| match (statement.process, statement.name) == (number, "put_watermark") {
        true => Fate::Partly { now: [true; 3], later: None, wait: Duration::from_secs(3) },
        false => Fate::Done,
    });
    world.clock.set(1_000_000 + 1_800);
    recover::advance(&store.inner).await;
    world.cluster.heal();
    world.clock.set(1_000_000);
    store.append(bare(&key, 2, "b")).await.unwrap();
    let mark = world.cluster.connect(99).watermarks(shard_of(&key), 1).await.unwrap()[0];
    let place = Stretch { after: Place { seq: 1, epoch: 9 }, before: Place::LAST, descending: false, limit: 1 };
    let bucket = world.cluster.connect(99).links(&key, place).await.unwrap()[0].bucket;
    assert!(bucket > first && (mark.done_bucket..=mark.highest_bucket).contains(&bucket), "{mark:?}, {bucket}");
}

#[tokio::test(start_paused = true)]
async fn rows_of_a_later_epoch_than_the_clusters_are_served_once_its_version_is_raised() {
    let world = World::new(44);
    let (store, _) = world.owner("a").await;
    let (key, raw) = (customer("c1"), world.cluster.connect(99));
    store.append(bare(&key, 1, "a")).await.unwrap();
    crate::Storage::close(&store).await.unwrap();
    // One node was restored to a later moment than those that have the row of the cluster.
    let (place, body) = (Place { seq: 2, epoch: 7 }, b"b".to_vec());
    let later =
        JournalRow { place, parent_epoch: 1, at: Timestamp(2), format: 1, body, bucket: 0, wake: None, derived: None };
    raw.insert_row(&key, &later).await.unwrap();
    let reader = world.process(World::config("check")).0;
    assert_eq!((reader.epoch_of(&key).await.unwrap(), reader.cluster_version().await.unwrap()), (Some(7), 2));
    assert_eq!(reader.epoch_of(&customer("nobody")).await.unwrap(), None);
    // As the operator is told to.
    let row = raw.cluster().await.unwrap().unwrap();
    assert!(raw.change_cluster(row.version, &ClusterRow { version: 7, ..row }).await.unwrap());
    let (next, _) = world.owner("b").await;
    assert_eq!(next.inner.owner.claimed(), Some(8));
    let rows = next.open(&key).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3]);
}
