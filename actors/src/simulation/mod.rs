//! The whole loop under a hostile store, in simulated time: many seeds, each a few lives of a process.
//!
//! The store is a [`Ground`]: one in memory here, and any other from its own crate's tests (feature `simulation`). Whatever
//! it is, all that a process is shown of it goes past a `witness`, who lets no row go and none change.
//!
//! A life is an actix `System` on one thread over a tokio clock that is paused and runs ahead by itself, so minutes take
//! milliseconds and a seed always gives the same run. Clients ask with ids, at times twice at once, and repeat until
//! they are answered; the store fails, stalls, fences, and leaves appends in doubt, some of which it does only when their
//! process is dead and the next one has opened the entity; the machine's clock leaps by an hour or a day; a life ends at
//! any moment, and only the store outlives it. Where the store is shared, a process is also replaced by another while it
//! lives. The last life has no faults: everything pending is finished, and then `check` compares the journal with what
//! the clients were told.
//!
//! `SEED=17 cargo test -p adal-actors simulation` runs one seed, `SEEDS=1000` so many. Rules of other entities are simulated
//! by another `Scenario`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test: panicking is how it reports"
)]

mod check;
mod customers;
mod ground;
pub(crate) mod ledger;
mod promos;
mod scenario;
mod witness;
mod world;

use std::{cell::RefCell, rc::Rc};

use adal_domain::{entity::Entity, time::Timestamp};
use rand::rngs::StdRng;

use self::{check::Durable, customers::Shoppers, promos::Sales, scenario::Money, world::Process};
pub use self::{
    ground::{Ground, Memory, Store},
    witness::Met,
};
use crate::{ask::Published, row::Outcome};

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
    fn audit(&self, durable: &Durable) {
        let _ = durable;
    }
}

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// A toy ledger of so many accounts, with everything that the loop has to get right.
    Ledger(usize),
    /// So many real customers, with their points, orders and holds.
    Customers(usize),
    /// So many real customers who are after the same promos.
    Promos(usize),
}

/// Runs so many seeds (or what `SEED` or `SEEDS` say), each on a ground of its own, and names the one that fails. Answers
/// what all of them met.
pub fn simulate(rules: Rules, seeds: u64, ground: impl Fn(u64) -> Rc<dyn Ground>) -> Met {
    match rules {
        Rules::Ledger(accounts) => all(|| Money { accounts }, seeds, ground),
        Rules::Customers(customers) => all(|| Shoppers::new(customers), seeds, ground),
        Rules::Promos(customers) => {
            let seen: Rc<RefCell<promos::Seen>> = Rc::default();
            all(|| Sales::new(customers, &seen), seeds, ground)
        }
    }
}

fn all<S: Scenario>(scenario: impl Fn() -> S, seeds: u64, ground: impl Fn(u64) -> Rc<dyn Ground>) -> Met {
    let of = |name| std::env::var(name).ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = of("SEED").map_or(0..of("SEEDS").unwrap_or(seeds), |seed| seed..seed + 1);
    let mut met = Met::default();
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| world::run(scenario(), ground(seed), seed));
        match std::panic::catch_unwind(run) {
            Ok(of_seed) => met += of_seed,
            Err(panic) => {
                eprintln!("the simulation failed; run it again with SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(_: u64) -> Rc<dyn Ground> {
        Rc::new(Memory::default())
    }

    /// A simulation in which nothing goes wrong shows nothing.
    fn assert_met(met: Met) {
        let Met { acknowledged, fenced, in_doubt, delivered, replaced: _ } = met;
        let all = [acknowledged, fenced, in_doubt, delivered];
        assert!(std::env::var_os("SEED").is_some() || all.iter().all(|n| *n > 0), "{met:?}");
    }

    #[test]
    fn whatever_fails_every_answer_stands_and_no_money_is_made_or_lost() {
        assert_met(simulate(Rules::Ledger(6), 100, memory));
    }

    #[test]
    fn one_account_that_everybody_asks_is_no_different() {
        assert_met(simulate(Rules::Ledger(1), 30, memory));
    }

    #[test]
    fn customers_keep_every_point_and_every_answer() {
        simulate(Rules::Customers(3), 60, memory);
    }

    #[test]
    fn one_customer_at_many_tills_is_no_different() {
        simulate(Rules::Customers(1), 20, memory);
    }

    fn promos(customers: usize, seeds: u64) {
        let seen: Rc<RefCell<promos::Seen>> = Rc::default();
        assert_met(all(|| Sales::new(customers, &seen), seeds, memory));
        seen.borrow().met_every_case();
    }

    #[test]
    fn limits_and_points_stay_exact_whatever_crashes_comes_twice_or_comes_late() {
        promos(4, 60);
    }

    #[test]
    fn one_customer_at_many_tills_takes_no_more_than_its_own() {
        promos(1, 20);
    }
}
