//! The registry with its actors, on one thread over a clock that is paused.

use actix::System;
use adal_domain::{
    entity::{EntityKey, EntityKind},
    time::Timestamp,
};

use super::*;
use crate::{
    ask::CommandId,
    ports::{StoredSnapshot, Views},
    simulation::ledger::{Account, Ask, Refused},
    steady::Belief,
    testing::{Fault, MachineClock, ManualClock, MemoryStore, Operation},
};

fn run(test: impl Future<Output = ()>) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    System::with_tokio_rt(runtime).block_on(test);
}

fn config() -> RegistryConfig {
    RegistryConfig { arbiters: 0, idle_after: Duration::from_secs(10), ..RegistryConfig::default() }
}

fn start(config: RegistryConfig) -> (Registry<Account>, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    (on(config, &store), store)
}

fn on(config: RegistryConfig, store: &Arc<MemoryStore>) -> Registry<Account> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
    Registry::new(config, Arc::clone(store) as Arc<dyn Journal>, clock, Arc::new(|_| ()))
}

fn request(key: &str, command: Ask) -> Request<Account> {
    Request { id: Some(CommandId::of("test", key)), print: [1; 16], command }
}

fn key(id: &str) -> EntityKey {
    EntityKey::new(EntityKind::Customer, id)
}

#[test]
fn a_repeat_is_answered_from_its_row_also_by_the_next_process() {
    run(async {
        let (registry, store) = start(config());
        let first = registry.ask("a", request("1", Ask::Deposit(7))).await.unwrap();
        let refused = registry.ask("a", request("2", Ask::Capture)).await.unwrap();
        assert_eq!(refused.outcome, Err(Refused::NoHold));
        assert_eq!(registry.stop(Duration::from_secs(1)).await, Stopped { in_time: true, left: 0 });
        assert!(matches!(registry.ask("a", request("3", Ask::Look)).await, Err(AskError::Stopping)));
        assert_eq!(store.snapshot_of(&key("a")).unwrap().seq, 2);

        let next = on(config(), &store);
        let again = next.ask("a", request("1", Ask::Deposit(7))).await.unwrap();
        assert!(again.replayed && !first.replayed);
        assert_eq!((again.outcome, again.seq, again.at), (first.outcome, first.seq, first.at));
        assert!(next.ask("a", request("2", Ask::Capture)).await.unwrap().replayed);
        let other = Request { print: [2; 16], ..request("1", Ask::Deposit(8)) };
        assert!(matches!(next.ask("a", other).await, Err(AskError::KeyReused)));
        assert_eq!(next.read("a").await.unwrap().state.balance, 7);
        assert_eq!(store.rows_of(&key("a")).len(), 2);
    });
}

#[test]
fn what_is_another_process_s_is_neither_read_nor_asked() {
    run(async {
        let (registry, store) = start(config());
        registry.ask("a", request("1", Ask::Deposit(7))).await.unwrap();
        store.belongs_to_another(true);
        assert!(matches!(registry.read("a").await, Err(AskError::Unavailable { .. })), "also where it is in memory");
        assert!(registry.peek("a").is_none());
        for id in ["a", "b"] {
            let refused = registry.ask(id, request("2", Ask::Deposit(1))).await;
            assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
        }
        let known = registry.recorded("a", CommandId::of("test", "1"), [1; 16]).await;
        assert!(matches!(known, Err(AskError::Unavailable { .. })), "{known:?}");
        store.belongs_to_another(false);
        assert_eq!(registry.read("a").await.unwrap().state.balance, 7);
        assert_eq!(registry.ask("a", request("2", Ask::Deposit(1))).await.unwrap().seq, 2);
    });
}

#[test]
fn a_list_is_decided_in_order_as_one_row() {
    run(async {
        let (registry, store) = start(config());
        let hold = Ask::Hold { amount: 5, seconds: 60 };
        let list = vec![request("1", Ask::Deposit(5)), request("2", hold), request("3", Ask::Capture)];
        let answers = registry.ask_many("a", list).await.unwrap();
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().outcome.is_ok()));
        assert_eq!(store.rows_of(&key("a")).len(), 1);
        assert_eq!(store.wake_of(&key("a")), None);
        assert_eq!(store.list(adal_domain::entity::View::HoldById, None, None, 9).await.unwrap(), []);
    });
}

#[test]
fn what_asks_while_a_row_is_in_flight_shares_the_next_row_and_the_queue_is_bounded() {
    run(async {
        let (registry, store) = start(RegistryConfig { queue_per_entity: 10, ..config() });
        registry.read("a").await.unwrap();
        store.follow(|_| Fault::Slow(Duration::from_millis(100)));
        let keys: Vec<String> = (0..20).map(|key| key.to_string()).collect();
        let asks = keys.iter().map(|key| registry.ask("a", request(key, Ask::Deposit(1))));
        let answers = futures_util::future::join_all(asks).await;
        let busy = answers.iter().filter(|answer| matches!(answer, Err(AskError::Busy))).count();
        assert_eq!(busy, 10);
        assert!(store.rows_of(&key("a")).len() <= 2);
        assert_eq!(registry.read("a").await.unwrap().state.balance, 10);
    });
}

#[test]
fn an_unavailable_store_ends_the_activation_and_the_next_ask_opens_it_anew() {
    run(async {
        let (registry, store) = start(config());
        registry.ask("a", request("1", Ask::Deposit(1))).await.unwrap();
        store.follow(|operation| if operation == Operation::Append { Fault::Unavailable } else { Fault::None });
        let answer = registry.ask("a", request("2", Ask::Deposit(2))).await;
        assert!(matches!(answer, Err(AskError::Unavailable { .. })));
        store.heal();
        assert_eq!(registry.read("a").await.unwrap().state.balance, 1);
        assert!(!registry.ask("a", request("2", Ask::Deposit(2))).await.unwrap().replayed);
        assert_eq!(registry.read("a").await.unwrap().state.balance, 3);
    });
}

#[test]
fn an_append_in_doubt_is_repeated_until_known_and_nothing_opens_the_entity_before() {
    run(async {
        let (registry, store) = start(config());
        registry.ask("a", request("1", Ask::Deposit(1))).await.unwrap();
        let mut opened = 0;
        store.follow(move |operation| match operation {
            Operation::Append => Fault::InDoubtLost(Duration::from_secs(1)),
            Operation::Open => {
                opened += 1;
                panic!("opened {opened} times while an append is in doubt");
            }
            _ => Fault::None,
        });
        assert!(matches!(registry.ask("a", request("2", Ask::Deposit(2))).await, Err(AskError::Deadline)));
        assert!(matches!(registry.ask("a", request("3", Ask::Deposit(4))).await, Err(AskError::Deadline)));
        assert_eq!(registry.read("a").await.unwrap().state.balance, 1, "what is durable is read meanwhile");
        store.heal();
        assert!(registry.ask("a", request("2", Ask::Deposit(2))).await.unwrap().replayed);
        assert_eq!(registry.read("a").await.unwrap().state.balance, 3, "who went away was not decided");
    });
}

#[test]
fn three_panics_quarantine_an_entity_and_no_other() {
    run(async {
        let (registry, _) = start(config());
        for number in 0..3 {
            let answer = registry.ask("bad", request(&format!("{number}"), Ask::Panic)).await;
            assert!(matches!(answer, Err(AskError::Panicked)));
        }
        assert!(matches!(registry.ask("bad", request("x", Ask::Look)).await, Err(AskError::Quarantined)));
        assert!(matches!(registry.read("bad").await, Err(AskError::Quarantined)));
        assert!(registry.ask("good", request("x", Ask::Look)).await.unwrap().outcome.is_ok());
    });
}

#[test]
fn idle_entities_leave_a_snapshot_and_go_and_too_many_make_room() {
    run(async {
        let (registry, store) = start(RegistryConfig { max_live: 8, ..config() });
        registry.ask("a", request("1", Ask::Deposit(1))).await.unwrap();
        assert_eq!(registry.live().0, 1);
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(registry.live(), (0, 0));
        assert_eq!(store.snapshot_of(&key("a")).unwrap().seq, 1);
        for number in 0..100 {
            let id = format!("many-{number}");
            while let Err(error) = registry.ask(&id, request("1", Ask::Deposit(1))).await {
                assert!(matches!(error, AskError::Busy));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(registry.live().0 <= 10);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(registry.live().0 <= 8);
        assert!(registry.ask("many-0", request("1", Ask::Deposit(1))).await.unwrap().replayed);
    });
}

#[test]
fn nobody_who_is_inside_is_left_behind_by_an_actor_that_should_go() {
    run(async {
        let (registry, store) = start(RegistryConfig { ask_deadline: Duration::from_secs(60), ..config() });
        registry.ask("a", request("1", Ask::Deposit(1))).await.unwrap();
        // Longer than an entity may idle; nothing is queued or in flight meanwhile.
        store.follow(|operation| match operation {
            Operation::Rows => Fault::Slow(Duration::from_secs(40)),
            _ => Fault::None,
        });
        assert!(registry.ask("a", request("1", Ask::Deposit(1))).await.unwrap().replayed);
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(registry.live().0, 0, "and then it goes");
    });
}

/// A store that says that something was opened: what rests is not to need it.
fn opens_nothing(store: &MemoryStore) {
    store.follow(|operation| match operation {
        Operation::Open => panic!("opened again"),
        _ => Fault::None,
    });
}

#[test]
fn an_entity_that_rests_is_read_and_asked_without_the_store_and_remembers_its_answers() {
    run(async {
        let quick = RegistryConfig { rest_after: Duration::from_secs(1), ..config() };
        let (registry, store) = start(RegistryConfig { idle_after: Duration::from_secs(3600), ..quick });
        let first = registry.ask("a", request("1", Ask::Deposit(7))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let slot = registry.inner.find("a").unwrap();
        assert!(!Inner::is_awake(&slot), "its actor has gone");
        assert_eq!(registry.live().0, 1, "it has not");
        opens_nothing(&store);
        assert_eq!(registry.read("a").await.unwrap().state.balance, 7);
        assert!(!Inner::is_awake(&slot), "a read wakes nobody");
        let again = registry.ask("a", request("1", Ask::Deposit(7))).await.unwrap();
        assert!(again.replayed && Inner::is_awake(&slot));
        assert_eq!(again.outcome, first.outcome);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!Inner::is_awake(&slot), "it rests again");
        registry.ask("a", request("2", Ask::Deposit(1))).await.unwrap();
        assert_eq!(registry.read("a").await.unwrap().state.balance, 8);
        assert_eq!(store.rows_of(&key("a")).len(), 2);
    });
}

#[test]
fn what_rests_leaves_with_a_snapshot_when_it_idles_longer_or_the_process_stops() {
    run(async {
        let quick = RegistryConfig { rest_after: Duration::from_secs(1), ..config() };
        let (registry, store) = start(quick.clone());
        registry.ask("a", request("1", Ask::Deposit(7))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!Inner::is_awake(&registry.inner.find("a").unwrap()));
        assert_eq!(store.snapshot_of(&key("a")), None, "nothing is kept for a short rest");
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(registry.live(), (0, 0));
        assert_eq!(store.snapshot_of(&key("a")).unwrap().seq, 1);

        registry.read("a").await.unwrap();
        registry.ask("b", request("1", Ask::Deposit(1))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(["a", "b"].iter().all(|id| !Inner::is_awake(&registry.inner.find(id).unwrap())));
        assert_eq!(registry.stop(Duration::from_secs(1)).await, Stopped { in_time: true, left: 0 });
        assert_eq!(store.snapshot_of(&key("b")).unwrap().seq, 1);
    });
}

#[test]
fn what_asks_while_entities_come_to_rest_is_answered_once_each() {
    System::new().block_on(async {
        // So short that sends and rests meet all the time.
        let rest = Duration::from_millis(1);
        let (registry, store) = start(RegistryConfig { arbiters: 2, rest_after: rest, ..config() });
        let inner = Arc::clone(&registry.inner);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let sweeper = std::thread::spawn(move || {
            let mut rested = 0;
            while !seen.load(SeqCst) {
                for slot in (0..20).filter_map(|number| inner.find(&format!("e{number}"))) {
                    rested += usize::from(!Inner::is_awake(&slot));
                    let _ = inner.post(&slot, Mail::Rest);
                }
            }
            rested
        });
        for round in 0..50 {
            let asks = (0..100).map(|number| {
                let registry = registry.clone();
                async move {
                    let id = format!("e{}", number % 20);
                    registry.ask(&id, request(&format!("{round}-{number}"), Ask::Deposit(1))).await.unwrap()
                }
            });
            assert!(futures_util::future::join_all(asks).await.iter().all(|answer| !answer.replayed));
        }
        stop.store(true, SeqCst);
        assert!(sweeper.join().unwrap() > 0, "nobody was seen resting");
        assert_eq!(registry.read("e7").await.unwrap().state.balance, 250);
        assert_eq!(registry.stop(Duration::from_secs(10)).await, Stopped { in_time: true, left: 0 });
        assert_eq!(store.keys().len(), 20);
    });
}

#[test]
fn entities_on_threads_of_their_own_answer_everyone() {
    System::new().block_on(async {
        let (registry, store) = start(RegistryConfig { arbiters: 2, ..config() });
        let asks = (0..2_000).map(|number| {
            let registry = registry.clone();
            async move {
                let id = format!("e{}", number % 50);
                registry.ask(&id, request(&number.to_string(), Ask::Deposit(1))).await.unwrap()
            }
        });
        let answers = futures_util::future::join_all(asks).await;
        assert!(answers.iter().all(|answer| !answer.replayed));
        assert_eq!(registry.read("e7").await.unwrap().state.balance, 40);
        assert_eq!(registry.stop(Duration::from_secs(10)).await, Stopped { in_time: true, left: 0 });
        assert_eq!(store.keys().len(), 50);
    });
}

#[test]
fn while_the_clock_is_in_doubt_nothing_changes_and_reads_go_on() {
    run(async {
        let belief = Belief { max_step: Duration::from_secs(60), adopt_after: Duration::from_secs(600) };
        let start = Timestamp::from_seconds(1_800_000_000);
        let clock = Arc::new(MachineClock::starting(start, belief));
        let store = Arc::new(MemoryStore::new());
        let journal = Arc::clone(&store) as Arc<dyn Journal>;
        let clock_port = Arc::clone(&clock) as Arc<dyn Clock>;
        let registry = Registry::<Account>::new(config(), journal, clock_port, Arc::new(|_| ()));
        let deposit = |key: &str| request(key, Ask::Deposit(1));
        registry.ask("a", deposit("1")).await.unwrap();
        for leap in [86_400, 3_600, -3_600] {
            clock.step(leap);
            tokio::time::sleep(Duration::from_secs(60)).await;
            let refused = registry.ask("a", deposit("2")).await;
            let Err(AskError::Unavailable { cause }) = refused else { panic!("{leap}: {refused:?}") };
            assert!(cause.to_string().contains("clock leapt"), "{cause}");
            assert!(registry.ask_many("a", vec![deposit("3")]).await.is_err());
            assert!(registry.wake("a").await.is_err());
            assert_eq!(registry.read("a").await.unwrap().state.balance, 1);
            assert_eq!(registry.read("b").await.unwrap().seq, 0, "one that has to be opened, too");
            clock.step(-leap);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let answer = registry.ask("a", deposit("4")).await.unwrap();
        assert_eq!(answer.at, start.plus_seconds(3 * 61), "and no leap left a trace");

        clock.step(86_400);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(registry.ask("a", deposit("5")).await.is_err());
        tokio::time::sleep(Duration::from_secs(601)).await;
        assert!(registry.ask("a", deposit("1")).await.unwrap().replayed, "the day that leapt by forgot nothing");
        assert_eq!(registry.ask("a", deposit("5")).await.unwrap().at.seconds(), clock.now().seconds());
        // Answered, and passivated, and asked again when a day has really passed.
        tokio::time::sleep(Duration::from_secs(86_400 + 900)).await;
        assert!(!registry.ask("a", deposit("1")).await.unwrap().replayed);
    });
}

#[test]
fn an_entity_whose_snapshot_is_damaged_is_opened_from_all_rows_and_keeps_a_new_one() {
    run(async {
        let (registry, store) = start(config());
        for number in 0..4 {
            registry.ask("a", request(&number.to_string(), Ask::Deposit(1))).await.unwrap();
        }
        registry.stop(Duration::from_secs(1)).await;
        let kept = store.snapshot_of(&key("a")).unwrap();
        assert_eq!(kept.seq, 4);
        for damaged in [vec![], b"damage".to_vec(), kept.body[..kept.body.len() / 2].to_vec()] {
            store.forge_snapshot(&key("a"), StoredSnapshot { body: damaged, ..kept.clone() });
            let next = on(config(), &store);
            assert_eq!(next.read("a").await.unwrap().state.balance, 4);
            assert!(next.ask("a", request("0", Ask::Deposit(1))).await.unwrap().replayed, "and its ids are there");
            next.stop(Duration::from_secs(1)).await;
            assert_eq!(store.snapshot_of(&key("a")).unwrap(), kept);
        }
        // A snapshot of rows that are gone: they cannot stand in for it.
        store.forge_snapshot(&key("a"), StoredSnapshot { seq: 9, body: vec![], ..kept });
        let refused = on(config(), &store).read("a").await;
        assert!(matches!(&refused, Err(AskError::Corrupt { .. })), "{refused:?}");
    });
}

#[test]
fn what_snapshots_cost_a_row_stays_level_while_an_entity_remembers_more_and_more() {
    run(async {
        let (registry, store) = start(config());
        for number in 0..10_000 {
            registry.ask("a", request(&number.to_string(), Ask::Deposit(1))).await.unwrap();
            let per_row = store.snapshot_bytes() / (number + 1);
            assert!(per_row < 300, "{per_row} bytes of snapshots a row, after {number} rows");
        }
        let opened = store.open(&key("a")).await.unwrap();
        assert!(opened.rows.len() < 2_500, "{} rows to read at the next open", opened.rows.len());
    });
}

/// `cargo test -p adal-actors --release bytes_per -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check: it needs a process of its own"]
fn bytes_per_idle_entity() {
    const COUNT: usize = 200_000;
    let resident = || -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    run(async {
        let (registry, _) = start(RegistryConfig { idle_after: Duration::from_secs(86_400), ..config() });
        registry.read("warm").await.unwrap();
        let before = resident();
        for number in 0..COUNT {
            registry.read(&format!("00000000-0000-7000-8000-{number:012}")).await.unwrap();
        }
        assert_eq!(registry.live().0, COUNT + 1);
        println!("{} bytes per idle entity with an actor", (resident() - before) / COUNT);
        tokio::time::sleep(Duration::from_secs(60)).await;
        println!("{} bytes per resting entity", (resident() - before) / COUNT);
        println!(
            "actor {} slot {} published {} state {}",
            size_of::<EntityActor<Account>>(),
            size_of::<Slot<Account>>(),
            size_of::<Published<Account>>(),
            size_of::<<Account as Entity>::State>()
        );
    });
}
