//! Which entities live, and the way to them: the registry of one kind.
//!
//! Shared by every thread: a lock-free table of slots, atomics for the bounds, no lock held over an await. The entities
//! themselves live on the arbiters; a registry sends to them (one hop per ask) and reads what they published (no hop).
//! It must never open an entity that another activation may still write: a slot leaves the table only when its gate is
//! closed and its last append is known.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicU32, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use actix::{
    Addr, Arbiter, Context,
    dev::{SendError, channel::AddressReceiver},
};
use actix_rt::ArbiterHandle;
use adal_domain::entity::Entity;
use async_trait::async_trait;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    actor::{EntityActor, Live, Mail},
    ask::{Answer, AskError, Asked, CommandId, Job, Origin, Published, Reply, Request},
    effects::Effects,
    meters::Meters,
    ports::{Clock, Journal, StoreError},
    route::Target,
    slot::{Entered, Entry, Slot, Stage},
    sweep,
};

/// What a registry is bounded by. Every bound is answered with [`AskError::Busy`] when it is reached.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// How many threads of its own the registry runs its entities on; 0: on the thread that makes it.
    pub arbiters: usize,
    /// How many commands may wait for one entity.
    pub queue_per_entity: usize,
    /// How many entities may live; idle ones passivate to keep it, and an eighth more is the end.
    pub max_live: usize,
    /// How many bytes their states may take, by `Entity::weight`; likewise.
    pub max_live_bytes: usize,
    /// How long an entity may go without a command or read before its actor rests; what it published stays.
    pub rest_after: Duration,
    /// How long an entity may live without being asked or read.
    pub idle_after: Duration,
    /// After how many rows a snapshot is kept, at least; after more where it is large, so that what it costs a row stays
    /// level.
    pub snapshot_every_rows: u64,
    /// How long an ask may take.
    pub ask_deadline: Duration,
    /// How long an answered id is remembered: see [`Clock::long_ago`].
    pub remember_for: Duration,
    /// How many ids one entity remembers; new ones are refused beyond, since forgetting early could grant twice.
    pub max_remembered: usize,
    /// How many panics of its rules put an entity in quarantine.
    pub quarantine_after_panics: u32,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            arbiters: 2,
            queue_per_entity: 1024,
            max_live: 1_000_000,
            max_live_bytes: 4 << 30,
            rest_after: Duration::from_secs(10),
            idle_after: Duration::from_secs(600),
            snapshot_every_rows: 200,
            ask_deadline: Duration::from_secs(5),
            remember_for: Duration::from_secs(86_400),
            max_remembered: 16_384,
            quarantine_after_panics: 3,
        }
    }
}

/// What `decide` is given from outside for the entity with this id: policy, flags.
pub type ContextOf<E> = Arc<dyn Fn(&str) -> <E as Entity>::Context + Send + Sync>;

/// Where unpredictable bits come from; the simulation gives its own.
pub type Entropy = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;

/// All live entities of one kind. Cheap to clone.
pub struct Registry<E: Entity> {
    pub(crate) inner: Arc<Inner<E>>,
}

impl<E: Entity> Clone for Registry<E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<E: Entity> std::fmt::Debug for Registry<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("kind", &E::KIND).field("live", &self.inner.live).finish_non_exhaustive()
    }
}

/// What all clones of a registry, its actors and its sweeper share.
pub(crate) struct Inner<E: Entity> {
    pub(crate) config: RegistryConfig,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) context: ContextOf<E>,
    pub(crate) entropy: Entropy,
    pub(crate) effects: OnceLock<Arc<Effects>>,
    pub(crate) meters: Meters,
    pub(crate) live: AtomicUsize,
    pub(crate) bytes: AtomicUsize,
    /// Every slot once, in the order in which the sweeper will look at it.
    pub(crate) round: Mutex<std::collections::VecDeque<Weak<Slot<E>>>>,
    /// The sweeper's time: what `Slot::used` counts in.
    pub(crate) tick: AtomicU32,
    /// A bound is exceeded: the sweeper is to look now.
    pub(crate) pressed: Arc<Notify>,
    pub(crate) stopping: AtomicBool,
    table: papaya::HashMap<Entry<E>, ()>,
    panics: papaya::HashMap<Box<str>, u32>,
    queue_bound: u32,
    arbiters: Vec<ArbiterHandle>,
}

impl<E: Entity> Inner<E> {
    /// The slot leaves the table, if it is still the one there.
    pub(crate) fn forget(&self, slot: &Arc<Slot<E>>) {
        // An `Err` says that another activation stands there: nothing to do.
        let _ = self.table.pin().remove_if(&*slot.id, |entry, ()| Arc::ptr_eq(&entry.0, slot));
    }

    /// The entity has left the memory, or is about to.
    pub(crate) fn gone(&self, slot: &Arc<Slot<E>>) {
        self.forget(slot);
        self.live.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(slot.weight.swap(0, Relaxed) as usize, Relaxed);
    }

    /// Puts mail into an entity's mailbox; one that rests is woken. `Err`: its actor has died.
    pub(crate) fn post(self: &Arc<Self>, slot: &Arc<Slot<E>>, mail: Mail<E>) -> Result<(), Mail<E>> {
        let mut stage = slot.stage();
        if let Stage::Resting(rest) = &mut *stage
            && let Some(head) = slot.published.load_full()
        {
            let rest = std::mem::take(rest);
            let (addr, receiver) = mailbox();
            *stage = Stage::Awake(addr);
            // `false`: what is sent below comes back.
            self.spawn(slot, receiver, move |live| EntityActor::woken(live, head, rest));
        }
        match &*stage {
            // The mailbox has no bound of its own (the gate is it), so any error says that the actor has died.
            Stage::Awake(addr) => addr.try_send(mail).map_err(SendError::into_inner),
            Stage::Resting(_) => Err(mail),
        }
    }

    /// Lets an entity go that rests and has nothing that a snapshot should keep; answers whether it is gone.
    pub(crate) fn drop_resting(&self, slot: &Arc<Slot<E>>) -> bool {
        let stage = slot.stage();
        let goes = matches!(&*stage, Stage::Resting(rest) if rest.rows_since_snapshot == 0);
        let gone = goes && slot.gate.close_if_empty();
        if gone {
            self.gone(slot);
            self.meters.passivations.increment(1);
        }
        gone
    }

    /// Whether the entity has an actor.
    pub(crate) fn is_awake(slot: &Slot<E>) -> bool {
        matches!(&*slot.stage(), Stage::Awake(_))
    }

    /// Starts an actor for the slot on the arbiter that its id hashes to. `false`: the arbiter has gone, the system
    /// stops; the account is dropped, and took the slot out.
    fn spawn(
        self: &Arc<Self>,
        slot: &Arc<Slot<E>>,
        receiver: AddressReceiver<EntityActor<E>>,
        actor: impl FnOnce(Live<E>) -> EntityActor<E> + Send + 'static,
    ) -> bool {
        let live = Live::new(Arc::clone(slot), Arc::clone(self));
        let place = BuildHasherDefault::<DefaultHasher>::default().hash_one(&slot.id) % self.arbiters.len() as u64;
        usize::try_from(place)
            .ok()
            .and_then(|place| self.arbiters.get(place))
            .is_some_and(|arbiter| arbiter.spawn_fn(move || drop(Context::with_receiver(receiver).run(actor(live)))))
    }

    /// How many panics until this entity is quarantined.
    pub(crate) fn panics_left(&self, id: &str) -> u32 {
        let so_far = self.panics.pin().get(id).copied().unwrap_or(0);
        self.config.quarantine_after_panics.saturating_sub(so_far)
    }

    pub(crate) fn panicked(&self, id: &str, count: u32) {
        let total = *self.panics.pin().update_or_insert(id.into(), |total| total.saturating_add(count), count);
        self.meters.panicked.increment(count.into());
        if total >= self.config.quarantine_after_panics {
            tracing::error!(kind = E::KIND.as_str(), id, "quarantined until restart");
            self.meters.quarantined.increment(1);
        }
    }

    fn is_quarantined(&self, id: &str) -> bool {
        !self.panics.is_empty() && self.panics_left(id) == 0
    }

    /// Whether a bound is exceeded by more than `slack` eighths of it.
    pub(crate) fn exceeds(&self, slack: usize) -> bool {
        let over = |is: usize, bound: usize| is > bound.saturating_add(bound / 8 * slack);
        over(self.live.load(Relaxed), self.config.max_live)
            || over(self.bytes.load(Relaxed), self.config.max_live_bytes)
    }

    /// The slot that takes messages for `id`, if there is one.
    fn find(&self, id: &str) -> Option<Arc<Slot<E>>> {
        self.table.pin().get_key_value(id).map(|(entry, ())| Arc::clone(&entry.0))
    }
}

impl<E: Entity> Registry<E> {
    /// A registry whose entities live on `config.arbiters` threads of its own. Within an actix `System`; after the
    /// metrics recorder is installed.
    #[must_use]
    pub fn new(
        config: RegistryConfig,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        context: ContextOf<E>,
    ) -> Self {
        Self::with_entropy(config, journal, clock, context, Arc::new(rand::random))
    }

    /// As [`Registry::new`], with unpredictable bits from `entropy`: a cryptographic source, except in simulations.
    #[must_use]
    pub fn with_entropy(
        config: RegistryConfig,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        context: ContextOf<E>,
        entropy: Entropy,
    ) -> Self {
        let arbiters = match config.arbiters {
            0 => vec![Arbiter::current()],
            count => (0..count).map(|_| Arbiter::new().handle()).collect(),
        };
        let inner = Arc::new(Inner {
            journal,
            clock,
            context,
            entropy,
            effects: OnceLock::new(),
            meters: Meters::new(E::KIND),
            live: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            round: Mutex::default(),
            tick: AtomicU32::new(0),
            pressed: Arc::default(),
            stopping: AtomicBool::new(false),
            table: papaya::HashMap::new(),
            panics: papaya::HashMap::new(),
            queue_bound: u32::try_from(config.queue_per_entity).unwrap_or(u32::MAX >> 2).min(u32::MAX >> 2),
            arbiters,
            config,
        });
        if let Some(first) = inner.arbiters.first() {
            first.spawn(sweep::run(Arc::downgrade(&inner)));
        }
        Self { inner }
    }

    /// What the entities owe others is handed to `effects` as soon as it is durable. Once, before the first ask.
    pub fn deliver_through(&self, effects: Arc<Effects>) {
        if self.inner.effects.set(effects).is_err() {
            tracing::error!(kind = E::KIND.as_str(), "effects are delivered by another driver already");
        }
    }

    /// How many entities live, and how many bytes their states take.
    #[must_use]
    pub fn live(&self) -> (usize, usize) {
        (self.inner.live.load(Relaxed), self.inner.bytes.load(Relaxed))
    }

    /// Asks the entity `id`; answers when that is durable.
    ///
    /// # Errors
    /// See [`AskError`]: nothing is lost or done twice if the caller repeats with the same id.
    pub async fn ask(&self, id: &str, request: Request<E>) -> Result<Answer<E>, AskError> {
        self.may_change()?;
        let (to, answer) = oneshot::channel();
        self.send(id, 1, Mail::One(job(request, to)))?;
        timeout(self.inner.config.ask_deadline, answer).await.map_or(Err(AskError::Deadline), arrived)
    }

    /// Asks the entity `id` several things, decided in order and as one row where possible; answers to each, in order.
    ///
    /// # Errors
    /// As [`Registry::ask`], for all of them where none was sent, or for each. [`AskError::Busy`] where there are more
    /// than `queue_per_entity`.
    pub async fn ask_many(
        &self,
        id: &str,
        requests: Vec<Request<E>>,
    ) -> Result<Vec<Result<Answer<E>, AskError>>, AskError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.may_change()?;
        let deadline = Instant::now() + self.inner.config.ask_deadline;
        let (jobs, waiting): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .map(|request| {
                let (to, answer) = oneshot::channel();
                (job(request, to), answer)
            })
            .unzip();
        self.send(id, jobs.len(), Mail::Many(jobs))?;
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.push(timeout_at(deadline, answer).await.map_or(Err(AskError::Deadline), arrived));
        }
        Ok(answers)
    }

    /// The entity's state as of its last durable row. One look into a table where it lives; else it is woken.
    ///
    /// # Errors
    /// As [`Registry::ask`].
    pub async fn read(&self, id: &str) -> Result<Arc<Published<E>>, AskError> {
        self.inner.journal.serves()?;
        if let Some(slot) = self.inner.find(id)
            && let Some(published) = slot.published.load_full()
        {
            self.touch(&slot);
            return Ok(published);
        }
        let (to, answer) = oneshot::channel();
        self.send(id, 1, Mail::One(Job::Read(to)))?;
        timeout(self.inner.config.ask_deadline, answer).await.map_or(Err(AskError::Deadline), arrived)
    }

    /// The entity's state as of its last durable row, where it lives: without a wait, and without waking it.
    #[must_use]
    pub fn peek(&self, id: &str) -> Option<Arc<Published<E>>> {
        self.inner.journal.serves().ok()?;
        let slot = self.inner.find(id)?;
        let published = slot.published.load_full()?;
        self.touch(&slot);
        Some(published)
    }

    /// The same without counting as a use: whoever merely watches keeps nobody in memory.
    #[must_use]
    pub fn glimpse(&self, id: &str) -> Option<Arc<Published<E>>> {
        self.inner.journal.serves().ok()?;
        self.inner.find(id)?.published.load_full()
    }

    /// What was answered to the command `id`, if it was: for a caller that would have to prepare it.
    ///
    /// # Errors
    /// As [`Registry::ask`].
    pub async fn recorded(&self, entity: &str, id: CommandId, print: [u8; 16]) -> Result<Option<Answer<E>>, AskError> {
        let (to, answer) = oneshot::channel();
        let command = E::wake();
        let asked = Asked { id: Some(id), origin: None, print, command, reply: Reply::Answer(to), known_only: true };
        self.send(entity, 1, Mail::One(Job::Command(asked)))?;
        match timeout(self.inner.config.ask_deadline, answer).await.map_or(Err(AskError::Deadline), arrived) {
            Ok(answer) => Ok(Some(answer)),
            Err(AskError::NotRecorded) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stops: nothing new is taken; what waits is decided, appended and answered; every entity keeps a snapshot and
    /// goes; then the registry's threads end. After `within` what is left is dropped: it is durable or unanswered.
    pub async fn stop(&self, within: Duration) -> Stopped {
        /// How many entities leave at once: bounds what their snapshots queue at the store.
        const AT_ONCE: u32 = 256;
        let deadline = Instant::now() + within;
        self.inner.stopping.store(true, SeqCst);
        self.inner.pressed.notify_one();
        let mut slots: Vec<Arc<Slot<E>>> = self.inner.table.pin().keys().map(|entry| Arc::clone(&entry.0)).collect();
        slots.sort_by(|a, b| a.id.cmp(&b.id));
        let places = Arc::new(Semaphore::new(AT_ONCE as usize));
        let leaving = async {
            for slot in slots {
                let Ok(permit) = Arc::clone(&places).acquire_owned().await else { return };
                if !self.inner.drop_resting(&slot) {
                    // `Err` says that the actor has gone already.
                    let _ = self.inner.post(&slot, Mail::Finish(permit));
                }
            }
            // All permits are back when the last has left.
            let _ = places.acquire_many(AT_ONCE).await;
        };
        let in_time = timeout_at(deadline, leaving).await.is_ok();
        let left = self.inner.live.load(SeqCst);
        if self.inner.config.arbiters > 0 {
            self.inner.arbiters.iter().for_each(|arbiter| {
                // `false`: it has gone already.
                let _ = arbiter.stop();
            });
        }
        Stopped { in_time, left }
    }

    /// Nothing is decided by a clock that is in doubt; whoever asks again has the same id.
    fn may_change(&self) -> Result<(), AskError> {
        let Some(doubt) = self.inner.clock.doubt() else { return Ok(()) };
        let text = format!("nothing is changed while {doubt}");
        Err(AskError::Unavailable { cause: StoreError::Unavailable(text.into()) })
    }

    fn touch(&self, slot: &Slot<E>) {
        let tick = self.inner.tick.load(Relaxed);
        // Read first: most asks then write nothing that other threads have cached.
        if slot.used.load(Relaxed) != tick {
            slot.used.store(tick, Relaxed);
        }
    }

    /// Puts mail of `count` jobs into the entity's mailbox, waking it if need be.
    fn send(&self, id: &str, count: usize, mail: Mail<E>) -> Result<(), AskError> {
        /// An activation that ends is replaced at once; so many in a row end only where the store is away.
        const TRIES: usize = 16;
        self.inner.journal.serves()?;
        let count = u32::try_from(count).map_err(|_| AskError::Busy)?;
        let mut mail = mail;
        for _ in 0..TRIES {
            let slot = self.slot(id)?;
            match slot.gate.enter(count, self.inner.queue_bound) {
                Entered::Yes => {}
                Entered::Full => return Err(AskError::Busy),
                Entered::Closed => {
                    self.inner.forget(&slot);
                    continue;
                }
            }
            self.touch(&slot);
            self.inner.meters.waiting.increment(count);
            mail = match self.inner.post(&slot, mail) {
                Ok(()) => return Ok(()),
                Err(mail) => mail,
            };
            self.inner.meters.waiting.decrement(count);
            slot.gate.leave(count);
            self.inner.forget(&slot);
        }
        Err(gone())
    }

    /// The entity's slot; activates it where there is none.
    fn slot(&self, id: &str) -> Result<Arc<Slot<E>>, AskError> {
        let inner = &self.inner;
        if inner.stopping.load(Relaxed) {
            return Err(AskError::Stopping);
        }
        if inner.is_quarantined(id) {
            return Err(AskError::Quarantined);
        }
        if let Some(slot) = inner.find(id) {
            return Ok(slot);
        }
        if inner.exceeds(1) {
            inner.pressed.notify_one();
            return Err(AskError::Busy);
        }
        let (addr, receiver) = mailbox();
        let slot = Arc::new(Slot::new(id, addr, inner.tick.load(Relaxed)));
        if inner.table.pin().try_insert(Entry(Arc::clone(&slot)), ()).is_err() {
            // Another thread was faster; its slot may even be gone again, and then this caller comes back.
            return inner.find(id).ok_or_else(gone);
        }
        inner.live.fetch_add(1, Relaxed);
        if inner.exceeds(0) {
            inner.pressed.notify_one();
        }
        inner.meters.activations.increment(1);
        inner.round.lock().unwrap_or_else(PoisonError::into_inner).push_back(Arc::downgrade(&slot));
        if inner.spawn(&slot, receiver, EntityActor::new) { Ok(slot) } else { Err(AskError::Stopping) }
    }

    /// Sends what is not a client's: no id, no answer, just whether it is done.
    async fn internal(&self, id: &str, command: E::Command, origin: Option<Origin>) -> Result<(), AskError> {
        self.may_change()?;
        let (to, done) = oneshot::channel();
        let asked = Asked {
            id: None,
            origin: origin.map(Box::new),
            print: [0; 16],
            command,
            reply: Reply::Done(to),
            known_only: false,
        };
        self.send(id, 1, Mail::One(Job::Command(asked)))?;
        timeout(self.inner.config.ask_deadline, done).await.map_or(Err(AskError::Deadline), arrived)
    }
}

/// An entity's mailbox: capacity 0, which is no bound. actix's holds per clone of an address; the gate is the bound.
fn mailbox<E: Entity>() -> (Addr<EntityActor<E>>, AddressReceiver<EntityActor<E>>) {
    let (sender, receiver) = actix::dev::channel::channel(0);
    (Addr::new(sender), receiver)
}

/// How a registry stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Everything had left before the time was over.
    pub in_time: bool,
    /// How many entities had not.
    pub left: usize,
}

#[async_trait]
impl<E: Entity> Target for Registry<E> {
    async fn deliver(&self, id: &str, origin: Origin, command: &[u8]) -> Result<(), AskError> {
        let command = rmp_serde::from_slice(command).map_err(|error| {
            let text = format!("effect {}/{} of {}: {error}", origin.seq, origin.index, origin.source);
            AskError::Corrupt { cause: StoreError::Corrupt(text.into()) }
        })?;
        self.internal(id, command, Some(origin)).await
    }

    async fn wake(&self, id: &str) -> Result<(), AskError> {
        self.internal(id, E::wake(), None).await
    }
}

fn job<E: Entity>(request: Request<E>, to: oneshot::Sender<Result<Answer<E>, AskError>>) -> Job<E> {
    let Request { id, print, command } = request;
    Job::Command(Asked { id, origin: None, print, command, reply: Reply::Answer(to), known_only: false })
}

/// What came through a reply channel. One that was dropped says that the actor died.
fn arrived<T>(answer: Result<Result<T, AskError>, oneshot::error::RecvError>) -> Result<T, AskError> {
    answer.unwrap_or_else(|_| Err(gone()))
}

fn gone() -> AskError {
    AskError::Unavailable { cause: StoreError::Unavailable("the entity's activation has ended".into()) }
}

#[cfg(test)]
mod tests;
