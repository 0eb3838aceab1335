//! Lives of machines, one after another, on one store; in each a process, or, where the store is shared, several, each of
//! which replaces one that lives on and does not know.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::System;
use adal_domain::{
    entity::{Entity, EntityKind},
    time::Timestamp,
};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::{
    Scenario, check,
    ground::{Ground, Store},
    witness::{Met, Way, Witness},
};
use crate::{
    ask::{Answer, AskError, CommandId, Request},
    effects::Effects,
    ports::{Clock, Journal, StoreError},
    registry::{Registry, RegistryConfig},
    replay,
    route::Router,
    steady::Belief,
    testing::MachineClock,
    timers::Timers,
};

/// How many clients ask at the same time.
const CLIENTS: usize = 8;
/// How many commands they ask, all in all.
const COMMANDS: usize = 160;
/// How many lives end in a crash before the last.
const CRASHES: usize = 4;
/// The machine that the first process of a life starts on.
const MACHINE: &str = "one";

/// One command of a client, and the entity it is for.
pub(super) struct Intent<E: Entity> {
    pub(super) entity: String,
    pub(super) request: Request<E>,
}

impl<E: Entity> Clone for Intent<E> {
    fn clone(&self) -> Self {
        Self { entity: self.entity.clone(), request: self.request.clone() }
    }
}

/// A command that was answered.
pub(super) struct Acknowledged<E: Entity> {
    pub(super) intent: Intent<E>,
    pub(super) answer: Answer<E>,
}

/// What outlives the lives.
pub(super) struct World<S: Scenario> {
    pub(super) scenario: S,
    pub(super) ground: Rc<dyn Ground>,
    pub(super) witness: Arc<Witness>,
    pub(super) rng: StdRng,
    /// What was true when the life began, and since when that is.
    began: Timestamp,
    since: Option<Instant>,
    processes: u32,
    /// By how many seconds the machine's clock is ahead of it.
    wrong: i64,
    unasked: usize,
    /// The store does not fail any more.
    pub(super) healthy: bool,
    /// Being asked, with an id.
    open: Vec<Intent<S::Asked>>,
    /// Asked in an earlier life and not answered: what clients still have in their outboxes.
    unanswered: VecDeque<Intent<S::Asked>>,
    pub(super) acknowledged: Vec<Acknowledged<S::Asked>>,
}

/// Longer than from one look through the outbox to the next.
const EVERY_LOOK: Duration = Duration::from_secs(90);

/// Runs one seed.
pub(super) fn run<S: Scenario>(scenario: S, ground: Rc<dyn Ground>, seed: u64) -> Met {
    let world = Rc::new(RefCell::new(World {
        scenario,
        ground: Rc::clone(&ground),
        witness: Arc::default(),
        rng: StdRng::seed_from_u64(seed),
        began: Timestamp::from_seconds(1_800_000_000),
        since: None,
        processes: 0,
        wrong: 0,
        unasked: COMMANDS,
        healthy: false,
        open: Vec::new(),
        unanswered: VecDeque::new(),
        acknowledged: Vec::new(),
    }));
    for _ in 0..CRASHES {
        ground.fail(StdRng::seed_from_u64(world.borrow_mut().rng.next_u64()));
        let range = world.borrow().scenario.life_ms();
        let until = Duration::from_millis(world.borrow_mut().rng.random_range(range));
        live(&world, async |process| {
            let clients = async { tokio::join!(S::clients(&process), clock_faults(&process)) };
            // Whichever is first: all is done, or the lights go out.
            let _ = tokio::time::timeout(until, clients).await;
            if process.world.borrow().ground.is_shared() {
                replaced(process).await;
            }
        });
    }
    ground.heal();
    world.borrow_mut().healthy = true;
    world.borrow_mut().correct();
    live(&world, async |process| {
        S::clients(&process).await;
        let settle = process.world.borrow().scenario.settled_after();
        tokio::time::sleep(Duration::from_secs(settle)).await;
        assert_eq!(process.effects.sources(), 0, "something is still owed");
        check::live(&process).await;
        // Whoever was asked there for the first time since the last claim owes again what the last row owed, of which nobody
        // is told: it is found when the outbox is looked through.
        tokio::time::sleep(EVERY_LOOK).await;
        assert_eq!(process.effects.sources(), 0, "something is owed for ever");
        let stopped = process.asked.stop(Duration::from_secs(5)).await;
        assert_eq!((stopped.in_time, stopped.left), (true, 0), "everything leaves in time");
        assert!(process.owed.stop(Duration::from_secs(5)).await.in_time);
        check::stored(&process).await;
    });
    assert_eq!(ground.wrongs(), Vec::<String>::new());
    world.borrow().witness.met()
}

/// The process is replaced, now and then, by another that its clients ask as soon as it is there, at first the one
/// beside the other. It is not told, and may be paused meanwhile, long enough to be thought dead.
async fn replaced<S: Scenario>(mut old: Process<S>) {
    let world = Rc::clone(&old.world);
    let ground = Rc::clone(&world.borrow().ground);
    let times = world.borrow_mut().rng.random_range(0..3);
    for _ in 0..times {
        let draw = |range: std::ops::Range<u64>| Duration::from_millis(world.borrow_mut().rng.random_range(range));
        let (goes_on, beside, after) = (draw(0..8_000), draw(0..12_000), draw(0..20_000));
        let (paused, elsewhere) = {
            let mut world = world.borrow_mut();
            (world.rng.random_bool(0.6), world.rng.random_bool(0.5))
        };
        ground.mute(old.number);
        ground.pause(old.number, paused);
        let machine = if elsewhere { format!("after {}", old.number) } else { old.machine.clone() };
        let next = {
            let asked = async {
                S::clients(&old).await;
                std::future::pending().await
            };
            tokio::select! {
                next = start(Rc::clone(&world), &machine) => next,
                () = asked => continue,
            }
        };
        world.borrow().witness.replaced();
        let going_on = async {
            tokio::time::sleep(goes_on).await;
            ground.pause(old.number, false);
        };
        let both = async { tokio::join!(S::clients(&old), S::clients(&next), clock_faults(&next), going_on) };
        let _ = tokio::time::timeout(beside, both).await;
        ground.pause(old.number, false);
        let _ = tokio::time::timeout(after, S::clients(&next)).await;
        old = next;
    }
}

/// A running process.
pub(super) struct Process<S: Scenario> {
    number: u32,
    machine: String,
    pub(super) world: Rc<RefCell<World<S>>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) asked: Registry<S::Asked>,
    pub(super) owed: Registry<S::Owed>,
    pub(super) effects: Arc<Effects>,
    pub(super) clock: Arc<MachineClock>,
}

impl<S: Scenario> World<S> {
    /// The clock is set right, and whatever was decided by one that was ahead is past: timers are due again in time.
    fn correct(&mut self) {
        self.began = self.witness.latest().map_or(self.began, |latest| latest.max(self.began));
        self.wrong = 0;
    }

    /// What is true now.
    fn now(&self) -> Timestamp {
        let passed = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        Timestamp(self.began.0 + i64::try_from(passed.as_micros()).unwrap())
    }

    /// A client was answered. `false`: it was before, by another process, and with the same answer.
    pub(super) fn acknowledge(&mut self, intent: Intent<S::Asked>, answer: Answer<S::Asked>) -> bool {
        let before = self.acknowledged.iter().find(|one| one.intent.request.id == intent.request.id);
        if let Some(Acknowledged { answer: first, .. }) = before {
            assert_eq!((&answer.outcome, answer.seq), (&first.outcome, first.seq), "the same answer at every repeat");
            return false;
        }
        self.acknowledged.push(Acknowledged { intent, answer });
        true
    }
}

/// Starts a machine and a process on it, runs `body` in it, and drops all of it.
fn live<S: Scenario>(world: &Rc<RefCell<World<S>>>, body: impl AsyncFnOnce(Process<S>)) {
    let runner = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    });
    runner.block_on(async {
        world.borrow_mut().since = Some(Instant::now());
        let ground = Rc::clone(&world.borrow().ground);
        ground.begin();
        let process = start(Rc::clone(world), MACHINE).await;
        body(process).await;
        let mut world = world.borrow_mut();
        (world.began, world.since) = (world.now(), None);
        let unanswered = std::mem::take(&mut world.open);
        world.unanswered.extend(unanswered);
    });
}

async fn start<S: Scenario>(world: Rc<RefCell<World<S>>>, machine: &str) -> Process<S> {
    let (number, ground, witness, at) = {
        let mut world = world.borrow_mut();
        world.processes += 1;
        // The next machine's clock is not quite this one's: it may be behind.
        let at = world.wrong - world.rng.random_range(0..3);
        (world.processes, Rc::clone(&world.ground), Arc::clone(&world.witness), world.now().plus_seconds(at))
    };
    let belief = Belief { max_step: Duration::from_secs(60), adopt_after: Duration::from_secs(4) };
    let clock = Arc::new(MachineClock::starting(at, belief));
    let store = ground.start(number, machine, Arc::clone(&clock)).await;
    witness.belongs_to(number);
    let store: Arc<dyn Store> = Arc::new(Way { store, witness, process: number });
    let journal: Arc<dyn Journal> = Arc::clone(&store) as Arc<dyn Journal>;
    let router = Router::new();
    let effects = Effects::new(Arc::clone(&journal), router.clone());
    let (for_asked, for_owed) = world.borrow().scenario.contexts();
    let seed = world.borrow_mut().rng.next_u64();
    let asked: Registry<S::Asked> = registry(seed, &journal, &clock, for_asked);
    let owed: Registry<S::Owed> = registry(seed + 1, &journal, &clock, for_owed);
    asked.deliver_through(Arc::clone(&effects));
    owed.deliver_through(Arc::clone(&effects));
    router.add(S::Asked::KIND, Arc::new(asked.clone()));
    router.add(S::Owed::KIND, Arc::new(owed.clone()));
    while effects.recover().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let timers = Timers::new(journal, Arc::clone(&clock) as Arc<dyn Clock>, router);
    tokio::spawn(timers.run(ground.looks_every()));
    Process { number, machine: machine.to_owned(), world, store, asked, owed, effects, clock }
}

fn registry<E: Entity>(
    seed: u64,
    journal: &Arc<dyn Journal>,
    clock: &Arc<MachineClock>,
    context: E::Context,
) -> Registry<E> {
    let config = RegistryConfig {
        arbiters: 0,
        queue_per_entity: 16,
        max_live: 4,
        rest_after: Duration::from_secs(1),
        idle_after: Duration::from_secs(3),
        snapshot_every_rows: 7,
        ..RegistryConfig::default()
    };
    let bits = Mutex::new(StdRng::seed_from_u64(seed));
    let entropy = move || {
        let mut bytes = [0; 16];
        bits.lock().unwrap().fill_bytes(&mut bytes);
        bytes
    };
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Registry::with_entropy(config, Arc::clone(journal), clock, Arc::new(move |_| context.clone()), Arc::new(entropy))
}

/// In some lives the machine's clock leaps, and in some it comes back: at once, or when it has been believed. It is
/// never wrong by more than a process that begins with it can stand.
async fn clock_faults<S: Scenario>(process: &Process<S>) {
    if !process.world.borrow_mut().rng.random_bool(0.4) {
        return;
    }
    for _ in 0..4 {
        let leap = {
            let mut world = process.world.borrow_mut();
            let leap = [3_600, -3_600, 86_400, -86_400, 40, -40][world.rng.random_range(0..6)];
            let leap = if (world.wrong + leap).abs() > 4 * 86_400 { -leap } else { leap };
            world.wrong += leap;
            leap
        };
        process.clock.step(leap);
        let pause = process.world.borrow_mut().rng.random_range(500..8_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// All clients, until nothing is left to ask. What another process was asked and has not answered, this one is asked too.
pub(super) async fn clients<S: Scenario>(process: &Process<S>) {
    {
        let mut world = process.world.borrow_mut();
        let open = std::mem::take(&mut world.open);
        world.unanswered.extend(open);
    }
    let one = || async { while client(process).await {} };
    futures_util::future::join_all((0..CLIENTS).map(|_| one())).await;
}

/// Asks one command until it is answered; `false` where there is none.
async fn client<S: Scenario>(process: &Process<S>) -> bool {
    let Some((intent, pause)) = next(&mut process.world.borrow_mut()) else { return false };
    tokio::time::sleep(pause).await;
    loop {
        let twice = intent.request.id.is_some() && process.world.borrow_mut().rng.random_bool(0.2);
        let ask = || process.asked.ask(&intent.entity, intent.request.clone());
        let answer = if twice {
            let (one, other) = tokio::join!(ask(), ask());
            if let (Ok(one), Ok(other)) = (&one, &other) {
                assert_eq!(one.outcome, other.outcome, "asked twice at once");
                assert!(one.replayed != other.replayed || one.replayed, "decided twice");
            }
            one.or(other)
        } else {
            ask().await
        };
        match answer {
            Ok(answer) => {
                // What was answered is seen by whoever reads after it.
                if let Ok(published) = process.asked.read(&intent.entity).await {
                    assert!(published.seq >= answer.seq, "read less than was answered");
                }
                let mut world = process.world.borrow_mut();
                let this = intent.request.id;
                world.open.retain(|open| open.request.id != this);
                let (entity, outcome) = (intent.entity.clone(), answer.outcome.clone());
                if this.is_none() || world.acknowledge(intent, answer) {
                    world.scenario.learn(&entity, &outcome);
                }
                return true;
            }
            // A row of an earlier life arrived only now; the entity is opened anew.
            Err(AskError::Unavailable { cause: StoreError::Fenced(_) })
                if process.world.borrow().ground.may_fence() => {}
            // Where the store does not fail, nothing does: a message that is lost would show here.
            Err(error @ (AskError::Unavailable { .. } | AskError::Deadline)) if process.world.borrow().healthy => {
                panic!("nothing failed, but {error:?}")
            }
            // Commands without an id are not repeated: they may have taken effect.
            Err(_) if intent.request.id.is_none() => return true,
            Err(AskError::Busy | AskError::Unavailable { .. } | AskError::Deadline) => {
                let pause = process.world.borrow_mut().rng.random_range(5..500);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// What a client asks next: first what the last life left unanswered.
fn next<S: Scenario>(world: &mut World<S>) -> Option<(Intent<S::Asked>, Duration)> {
    let pause = Duration::from_millis(world.rng.random_range(0..1_500));
    if let Some(intent) = world.unanswered.pop_front() {
        world.open.push(intent.clone());
        return Some((intent, pause));
    }
    world.unasked = world.unasked.checked_sub(1)?;
    let ids = world.scenario.ids();
    let entity = ids[world.rng.random_range(0..ids.len())].clone();
    let (command, with_id) = world.scenario.command(&mut world.rng, &entity);
    let id = with_id.then(|| CommandId::of("client", &world.unasked.to_string()));
    let intent = Intent { entity, request: Request { id, print: [1; 16], command } };
    if with_id {
        world.open.push(intent.clone());
    }
    Some((intent, pause))
}

/// Every entity of a kind that the store knows.
pub(super) async fn entities(store: &dyn Journal, kind: EntityKind) -> Vec<String> {
    let keys = store.entities(kind, None, usize::MAX).await.unwrap();
    keys.into_iter().map(|key| key.id.into()).collect()
}

/// All states of a kind, from all rows.
pub(super) async fn states<E: Entity>(store: &dyn Journal) -> Vec<(String, replay::Fold<E>)> {
    let mut states = Vec::new();
    for id in entities(store, E::KIND).await {
        let fold = replay::walk::<E>(store, &id, u64::MAX, |_, _, _, _| ()).await.unwrap();
        states.push((id, fold));
    }
    states
}
