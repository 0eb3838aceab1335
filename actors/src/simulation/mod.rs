//! The whole loop under a hostile store, in simulated time: many seeds, each a few lives of a process.
//!
//! A life is an actix `System` on one thread over a tokio clock that is paused and runs ahead by itself, so minutes take
//! milliseconds and a seed always gives the same run. Clients ask with ids, at times twice at once, and repeat until
//! they are answered; the store fails, stalls, fences, and leaves appends in doubt, some of which it does only when their
//! process is dead and the next one has opened the entity; the machine's clock leaps by an hour or a day; a life ends at
//! any moment, and only the store outlives it. The last life has no faults: everything pending is finished, and then [`check`] compares the journal
//! with what the clients were told.
//!
//! `SEED=17 cargo test -p adal-actors simulation` runs one seed. Rules of other entities are simulated by another
//! [`Scenario`].

mod check;
mod customers;
pub(crate) mod ledger;
mod promos;
mod scenario;
mod world;

use adal_domain::{entity::Entity, time::Timestamp};
use rand::rngs::StdRng;

use self::world::Process;
use crate::{ask::Published, row::Outcome, testing::MemoryStore};

/// What is simulated: clients that ask `Asked`, whose effects go to `Owed` (and back).
trait Scenario: 'static {
    /// What clients ask.
    type Asked: Entity;
    /// The other kind that takes part.
    type Owed: Entity;

    /// The ids of the entities that clients ask.
    fn ids(&self) -> Vec<String>;
    /// The next command of a client for the entity `id`; with an id if `true`.
    fn command(&self, rng: &mut StdRng, id: &str) -> (<Self::Asked as Entity>::Command, bool);
    /// What clients do in a life of the process, until nothing is left to ask.
    async fn clients(process: &Process<Self>)
    where
        Self: Sized,
    {
        world::clients(process).await;
    }
    /// How long a life may last that ends in a crash, milliseconds.
    fn life_ms(&self) -> std::ops::Range<u64> {
        200..30_000
    }
    /// A client was answered: what it learned may shape its next commands.
    fn learn(&self, id: &str, outcome: &Outcome<Self::Asked>) {
        let _ = (id, outcome);
    }
    /// Policy and flags.
    fn contexts(&self) -> (<Self::Asked as Entity>::Context, <Self::Owed as Entity>::Context);
    /// How long after the last command every timer has fired, in seconds.
    fn settled_after(&self) -> u64;
    /// What must hold in the end between the entities of both kinds, and the commands that were answered with a reply.
    fn verify(
        &self,
        asked: &[Published<Self::Asked>],
        owed: &[Published<Self::Owed>],
        accepted: &[<Self::Asked as Entity>::Command],
        now: Timestamp,
    );
    /// What must hold of the store in the end, and after every row on the way.
    fn audit(&self, store: &MemoryStore) {
        let _ = store;
    }
}

/// Runs `seeds` (or the one in `SEED`), and names the seed that fails.
fn simulate<S: Scenario>(scenario: impl Fn() -> S, seeds: u64) {
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = one.map_or(0..seeds, |seed| seed..seed + 1);
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| world::run(scenario(), seed));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("the simulation failed; run it again with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
