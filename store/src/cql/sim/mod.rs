//! A database in memory that behaves as a CQL cluster may at its worst: for tests of what is above
//! [`Database`](super::db::Database).
//!
//! Three replicas, each with its own copy. A write reaches two of them before it is done; one that times out has reached
//! any of them, or none, and may reach the others later or never; a read asks any two and takes the greater stamp of
//! each cell, and repairs nothing: so a write that was not finished is seen by one read and not by the next. Conditional
//! writes are decided one after another, and what was decided reaches the replicas as any write does. What becomes of
//! each statement a *script* says; without one all are done at once.
//!
//! A process connects with [`SimCluster::connect`]. One that is cut off is dead: its statements never answer, those under
//! way may still be done. One that is stopped goes on when it is told to.
//!
//! What a caller must never do is noted and can be asked for: see [`SimCluster::wrongs`].

mod statements;
mod table;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use adal_domain::time::Timestamp;
use tokio::{sync::watch, time::Instant};

use self::table::{Change, Found, Key, Replica, merged};
use super::db::{ClusterRow, Failed};

/// How many copies there are of everything.
const REPLICAS: usize = 3;

/// A statement that is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// Who sends it: as given to [`SimCluster::connect`].
    pub process: u32,
    /// The method of the trait.
    pub name: &'static str,
    /// Whether it changes anything.
    pub writes: bool,
}

/// What becomes of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is done at once.
    Done,
    /// It is done after a while: half of it before, half between what is done and the answer.
    Slow(Duration),
    /// [`Failed::NotDone`].
    NotDone,
    /// [`Failed::Unknown`] after a while, and it is not done.
    Lost(Duration),
    /// [`Failed::Unknown`] after a while. It reaches the replicas of `now` at once, and the others after `later`, if ever.
    /// (A read: lost.)
    Partly {
        /// Whom it reaches at once.
        now: [bool; REPLICAS],
        /// When it reaches the others.
        later: Option<Duration>,
        /// When its sender is told that this is not known.
        wait: Duration,
    },
}

type Script = Box<dyn FnMut(Statement) -> Fate + Send>;

/// A conditional write on its way: due, the version it is for, what it writes, after how many settled ones it was sent.
type LateCondition = (Duration, Option<u64>, ClusterRow, u64);

/// What a process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    Stopped,
    Dead,
}

#[derive(Default)]
struct State {
    replicas: [Replica; REPLICAS],
    /// Its own time when it was last looked at, and tokio's that this was counted from.
    time: Duration,
    since: Option<(Instant, Duration)>,
    /// Changes on their way to a replica, and when they arrive.
    flying: Vec<(Duration, usize, Arc<Vec<Change>>)>,
    /// What was decided of the cluster's row.
    decided: Option<ClusterRow>,
    /// How many conditional statements were decided: those sent before have lost.
    ballots: u64,
    late: Vec<LateCondition>,
    /// Secrets of periods, as decided: the first write of each. (Not as replicas have them: who asks has written before.)
    period_keys: HashMap<Timestamp, [u8; 32]>,
    script: Option<Script>,
    random: u64,
    wrongs: Vec<String>,
    counts: HashMap<&'static str, u64>,
}

/// See the module.
#[derive(Default)]
pub struct SimCluster {
    state: Mutex<State>,
    lives: Mutex<HashMap<u32, watch::Sender<Life>>>,
}

impl std::fmt::Debug for SimCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimCluster").field("statements", &self.state().counts).finish_non_exhaustive()
    }
}

/// A process's connection.
#[derive(Debug, Clone)]
pub struct SimDb {
    cluster: Arc<SimCluster>,
    process: u32,
    life: watch::Receiver<Life>,
    pub(super) datacenter: Option<String>,
}

impl SimCluster {
    /// An empty database. `seed` decides whom reads ask and writes reach.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        let cluster = Self::default();
        cluster.state().random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Arc::new(cluster)
    }

    /// A connection for the process of this number, which lives.
    #[must_use]
    pub fn connect(self: &Arc<Self>, process: u32) -> SimDb {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let life = lives.entry(process).or_insert_with(|| watch::channel(Life::Runs).0).subscribe();
        SimDb { cluster: Arc::clone(self), process, life, datacenter: None }
    }

    fn live(&self, process: u32, life: Life) {
        if let Some(of) = self.lives.lock().unwrap_or_else(PoisonError::into_inner).get(&process) {
            of.send_replace(life);
        }
    }

    /// The process is dead from now on.
    pub fn kill(&self, process: u32) {
        self.live(process, Life::Dead);
    }

    /// The process does nothing, and gets no answer, until [`SimCluster::resume`].
    pub fn stop(&self, process: u32) {
        self.live(process, Life::Stopped);
    }

    /// A stopped process goes on.
    pub fn resume(&self, process: u32) {
        self.live(process, Life::Runs);
    }

    /// From now on `script` says what becomes of each statement.
    pub fn follow(&self, script: impl FnMut(Statement) -> Fate + Send + 'static) {
        self.state().script = Some(Box::new(script));
    }

    /// From now on all statements are done at once. What is on its way stays on its way.
    pub fn heal(&self) {
        self.state().script = None;
    }

    /// A life of its machines begins, in a runtime whose time is no other's: what is on its way goes on from here.
    pub fn begin(&self) {
        self.state().since = None;
    }

    /// What was done that a caller must never do.
    #[must_use]
    pub fn wrongs(&self) -> Vec<String> {
        self.state().wrongs.clone()
    }

    /// How many statements of a name were sent.
    #[must_use]
    pub fn sent(&self, name: &str) -> u64 {
        self.state().counts.get(name).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn now(&mut self) -> Duration {
        let (since, before) = *self.since.get_or_insert((Instant::now(), self.time));
        self.time = before + since.elapsed();
        self.time
    }

    /// What is due arrives.
    fn arrive(&mut self) {
        let now = self.now();
        for (_, replica, changes) in self.flying.extract_if(.., |(due, ..)| *due <= now).collect::<Vec<_>>() {
            self.reach(replica, &changes);
        }
        for (_, from, row, ballots) in self.late.extract_if(.., |(due, ..)| *due <= now).collect::<Vec<_>>() {
            if ballots == self.ballots {
                self.decide(from, &row);
            }
        }
    }

    fn reach(&mut self, replica: usize, changes: &[Change]) {
        for change in changes {
            if let Err(wrong) = self.replicas[replica].apply(change) {
                self.wrongs.push(wrong);
            }
        }
    }

    /// A write that is done: two replicas have it, the third gets it soon; without a script all have it.
    fn done(&mut self, changes: &Arc<Vec<Change>>) {
        let last = usize::try_from(self.draw(REPLICAS as u64)).unwrap_or_default();
        for replica in 0..REPLICAS {
            if replica == last && self.script.is_some() {
                let due = self.now() + Duration::from_millis(self.draw(200));
                self.flying.push((due, replica, Arc::clone(changes)));
            } else {
                self.reach(replica, changes);
            }
        }
    }

    fn partly(&mut self, changes: &Arc<Vec<Change>>, now: [bool; REPLICAS], later: Option<Duration>) {
        for (replica, now) in now.into_iter().enumerate() {
            match (now, later) {
                (true, _) => self.reach(replica, changes),
                (false, Some(later)) => {
                    let due = self.now() + later;
                    self.flying.push((due, replica, Arc::clone(changes)));
                }
                (false, None) => {}
            }
        }
    }

    /// Decides a conditional write; whether it was applied.
    fn decide(&mut self, from: Option<u64>, row: &ClusterRow) -> bool {
        self.ballots += 1;
        let applies = self.decided.as_ref().map(|row| row.version) == from;
        if applies {
            if Some(row.version) <= from {
                self.wrongs.push(format!("version {from:?} of the cluster becomes {}", row.version));
            }
            self.decided = Some(row.clone());
        }
        applies
    }

    /// Every replica learns what was decided.
    fn settle(&mut self) {
        self.ballots += 1;
        if let Some(row) = self.decided.clone() {
            let changes = vec![table::cluster(&row)];
            (0..REPLICAS).for_each(|replica| self.reach(replica, &changes));
        }
    }

    /// What two replicas say of a stretch of a table.
    fn read(&mut self, from: &Key, to: &Key) -> Vec<(Key, Found)> {
        let left = usize::try_from(self.draw(REPLICAS as u64)).unwrap_or_default();
        merged(&self.replicas[left], &self.replicas[(left + 1) % REPLICAS], from, to)
    }
}

impl SimDb {
    /// The connection of a process in a datacentre of this name. (There is one database in all of them: that one elsewhere is
    /// another is what nobody may rely on.)
    #[must_use]
    pub fn within(mut self, datacenter: &str) -> Self {
        self.datacenter = Some(datacenter.to_owned());
        self
    }

    /// Goes on when the process does; never, when it is dead.
    async fn lives(&self) {
        let mut life = self.life.clone();
        if life.wait_for(|life| *life == Life::Runs).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn pass(&self, name: &'static str, writes: bool) -> Fate {
        self.lives().await;
        tokio::task::yield_now().await;
        let mut state = self.cluster.state();
        *state.counts.entry(name).or_default() += 1;
        let statement = Statement { process: self.process, name, writes };
        let fate = state.script.as_mut().map_or(Fate::Done, |script| script(statement));
        state.arrive();
        fate
    }

    /// A write, by what becomes of it.
    async fn write(&self, name: &'static str, changes: Vec<Change>) -> Result<(), Failed> {
        let changes = Arc::new(changes);
        match self.pass(name, true).await {
            Fate::Done => self.cluster.state().done(&changes),
            Fate::Slow(time) => {
                tokio::time::sleep(time / 2).await;
                {
                    let mut state = self.cluster.state();
                    state.arrive();
                    state.done(&changes);
                }
                tokio::time::sleep(time / 2).await;
            }
            Fate::NotDone => return Err(not_done(name)),
            Fate::Lost(wait) => {
                tokio::time::sleep(wait).await;
                self.lives().await;
                return Err(unknown(name));
            }
            Fate::Partly { now, later, wait } => {
                self.cluster.state().partly(&changes, now, later);
                tokio::time::sleep(wait).await;
                self.lives().await;
                return Err(unknown(name));
            }
        }
        self.lives().await;
        Ok(())
    }

    /// A read, by what becomes of it.
    async fn read<T>(&self, name: &'static str, read: impl FnOnce(&mut State) -> T) -> Result<T, Failed> {
        let rest = match self.pass(name, false).await {
            Fate::Done => Duration::ZERO,
            Fate::Slow(time) => {
                tokio::time::sleep(time / 2).await;
                time / 2
            }
            Fate::NotDone => return Err(not_done(name)),
            Fate::Lost(wait) | Fate::Partly { wait, .. } => {
                tokio::time::sleep(wait).await;
                self.lives().await;
                return Err(unknown(name));
            }
        };
        let found = {
            let mut state = self.cluster.state();
            state.arrive();
            read(&mut state)
        };
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        self.lives().await;
        Ok(found)
    }

    /// A conditional write, by what becomes of it. Whatever is decided, its replicas learn it as of any other write.
    async fn condition(&self, name: &'static str, from: Option<u64>, row: &ClusterRow) -> Result<bool, Failed> {
        let fate = self.pass(name, true).await;
        let changes = Arc::new(vec![table::cluster(row)]);
        let applied = match fate {
            Fate::Done => self.decide(from, row, &changes),
            Fate::Slow(time) => {
                tokio::time::sleep(time / 2).await;
                let applied = self.decide(from, row, &changes);
                tokio::time::sleep(time / 2).await;
                applied
            }
            Fate::NotDone => return Err(not_done(name)),
            Fate::Lost(wait) => {
                // It may be decided when its sender has long given up, if nobody was there before.
                {
                    let mut state = self.cluster.state();
                    let sent = (state.now() + wait + wait, from, row.clone(), state.ballots);
                    state.late.push(sent);
                }
                tokio::time::sleep(wait).await;
                self.lives().await;
                return Err(unknown(name));
            }
            Fate::Partly { now, later, wait } => {
                {
                    let mut state = self.cluster.state();
                    if state.decide(from, row) {
                        state.partly(&changes, now, later);
                    }
                }
                tokio::time::sleep(wait).await;
                self.lives().await;
                return Err(unknown(name));
            }
        };
        self.lives().await;
        Ok(applied)
    }

    /// A write that is done unless another was first; one that is lost may be done, and nobody hears of it.
    async fn first(&self, name: &'static str, write: impl FnOnce(&mut State) -> bool) -> Result<bool, Failed> {
        let fate = self.pass(name, true).await;
        if matches!(fate, Fate::NotDone) {
            return Err(not_done(name));
        }
        if let Fate::Slow(time) = fate {
            tokio::time::sleep(time).await;
        }
        let first = write(&mut self.cluster.state());
        if let Fate::Lost(wait) | Fate::Partly { wait, .. } = fate {
            tokio::time::sleep(wait).await;
            self.lives().await;
            return Err(unknown(name));
        }
        self.lives().await;
        Ok(first)
    }

    fn decide(&self, from: Option<u64>, row: &ClusterRow, changes: &Arc<Vec<Change>>) -> bool {
        let mut state = self.cluster.state();
        state.arrive();
        // What was left half done before is finished first.
        state.settle();
        let applied = state.decide(from, row);
        if applied {
            state.done(changes);
        }
        applied
    }
}

fn not_done(name: &str) -> Failed {
    Failed::NotDone(format!("scripted: {name}").into())
}

fn unknown(name: &str) -> Failed {
    Failed::Unknown(format!("scripted: {name}").into())
}
