//! What simulated processes stand on: a store that outlives them and fails, and the ways to it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng};

use crate::{
    ports::{Journal, Views},
    testing::{Fault, MachineClock, MemoryStore, Operation},
};

/// A process's way to the store.
pub trait Store: Journal + Views {}

impl<T: Journal + Views> Store for T {}

/// See the module. All its lives are of one seed.
#[async_trait(?Send)]
pub trait Ground: 'static {
    /// A life of the machines begins, in a runtime of its own: what the store has on its way goes on from here.
    fn begin(&self) {}
    /// A process starts, of this number and on the machine of this name and clock. Resolves when the store is its to use,
    /// which may be never where another process has it and lives.
    async fn start(&self, process: u32, machine: &str, clock: Arc<MachineClock>) -> Arc<dyn Store>;
    /// From now on it fails now and then, as `rng` says.
    fn fail(&self, rng: StdRng);
    /// From now on nothing fails.
    fn heal(&self);
    /// Whether a process may be replaced by another while it lives: by one on the same machine soon after its last sign of
    /// life, by one on another machine when it must be thought dead.
    fn is_shared(&self) -> bool {
        false
    }
    /// From now on nobody is told that the process lives.
    fn mute(&self, process: u32) {
        let _ = process;
    }
    /// From now on the process's way to the store is as if it stood still, or goes on.
    fn pause(&self, process: u32, paused: bool) {
        let _ = (process, paused);
    }
    /// Whether an append may be fenced by what an earlier life left, though nothing fails now.
    fn may_fence(&self) -> bool {
        false
    }
    /// Whether the store puts rows among an entity's in which nothing was decided.
    fn adds_rows(&self) -> bool {
        false
    }
    /// How often timers are looked at.
    fn looks_every(&self) -> Duration {
        Duration::from_secs(1)
    }
    /// What was done on it that nobody may ever do.
    fn wrongs(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The store in memory, with its faults by script.
#[derive(Debug, Default)]
pub struct Memory {
    store: Arc<MemoryStore>,
}

#[async_trait(?Send)]
impl Ground for Memory {
    async fn start(&self, _: u32, _: &str, _: Arc<MachineClock>) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    /// Some lives are worse than others.
    fn fail(&self, mut rng: StdRng) {
        let bad = rng.random_range(0..25);
        self.store.follow(move |operation| {
            let time = Duration::from_millis(rng.random_range(1..4_000));
            let short = Duration::from_millis(rng.random_range(1..40));
            match (rng.random_range(0..100), operation) {
                (roll, _) if roll >= bad => match rng.random_range(0..3) {
                    0 => Fault::None,
                    _ => Fault::Slow(short),
                },
                (roll, Operation::Append) => match roll % 8 {
                    0 => Fault::Unavailable,
                    1 | 2 => Fault::InDoubtDone(time),
                    3 => Fault::InDoubtLost(time),
                    4 | 5 => Fault::InDoubtLate(time, rng.random_range(1..200)),
                    6 => Fault::Fenced,
                    _ => Fault::Slow(time),
                },
                (roll, _) if roll % 2 == 0 => Fault::Unavailable,
                _ => Fault::Slow(time),
            }
        });
    }

    fn heal(&self) {
        self.store.heal();
    }

    /// A row of an earlier life, or of an earlier activation, has arrived after its end.
    fn may_fence(&self) -> bool {
        self.store.landed_late() > 0
    }
}
