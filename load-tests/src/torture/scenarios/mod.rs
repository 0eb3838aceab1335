//! What is done to a deployment under load. Each scenario has a store of its own, and prints its counts.

mod clock;
mod cut;
mod damage;
mod disk;
mod kill;
mod pause;
mod race;

use std::path::Path;

use super::{
    checker::Offer,
    deployment::{Deployment, Store},
    recorder::{self, Load},
    report::Outcome,
    seen, shopper,
};
use crate::{Done, random::Random};

/// How many clients ask at once.
const CLIENTS: usize = 8;

/// One of the scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// `kill -9` of Adal at random moments.
    Kill,
    /// SIGSTOP of Adal for a while, and SIGCONT.
    Pause,
    /// A bad network between the clients and Adal: answers late, cut off, swallowed.
    Cut,
    /// A disk that fills up, again and again.
    Full,
    /// A disk that fails under load, and comes back; at last a read-only file system.
    Failing,
    /// Damaged files: torn, cut, flipped.
    Damage,
    /// The machine's clock leaps an hour ahead, and back.
    Clock,
    /// 64 clients after the 1,000 uses of a code, with `kill -9`.
    RaceUses,
    /// 64 clients after a budget, with `kill -9`.
    RaceBudget,
    /// Ten terminals at once after the one use that a customer has, with `kill -9`.
    RaceEach,
}

/// All of them, in the order in which they run.
pub const ALL: [Scenario; 10] = [
    Scenario::Kill,
    Scenario::Pause,
    Scenario::Cut,
    Scenario::Full,
    Scenario::Failing,
    Scenario::Damage,
    Scenario::Clock,
    Scenario::RaceUses,
    Scenario::RaceBudget,
    Scenario::RaceEach,
];

/// How it is run.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The server's binary.
    pub binary: &'a Path,
    /// An empty folder.
    pub folder: &'a Path,
    /// Which store.
    pub store: Store,
    /// How often the fault comes.
    pub count: u32,
    /// What the load and the moments of the faults are drawn from.
    pub seed: u64,
}

impl Scenario {
    /// How often its fault comes in a run of so many kills: some take seconds each, and a race is over after a few.
    pub fn rounds(self, kills: u32) -> u32 {
        let part = match self {
            Self::Kill | Self::Cut => 1,
            Self::Full | Self::Failing => 4,
            Self::Pause | Self::Clock => 10,
            Self::Damage | Self::RaceUses | Self::RaceBudget | Self::RaceEach => 20,
        };
        kills.div_ceil(part)
    }

    /// Runs it.
    ///
    /// # Errors
    /// Where it cannot be run to its end: that is no outcome.
    pub fn run(self, plan: &Plan<'_>) -> Done<Outcome> {
        match self {
            Self::Kill => kill::run(plan),
            Self::Pause => pause::run(plan),
            Self::Cut => cut::run(plan),
            Self::Full => disk::full(plan),
            Self::Failing => disk::failing(plan),
            Self::Damage => damage::run(plan),
            Self::Clock => clock::run(plan),
            Self::RaceUses => race::uses(plan),
            Self::RaceBudget => race::budget(plan),
            Self::RaceEach => race::each(plan),
        }
    }
}

impl Plan<'_> {
    fn deployment(&self, settings: &[(&str, &str)]) -> Done<Deployment> {
        let mut deployment = Deployment::new(self.binary, self.folder, self.store, settings)?;
        deployment.start()?;
        Ok(deployment)
    }

    /// The usual course: load, a fault so often under it, and what is found when all is settled.
    fn under_load(
        &self,
        scenario: &'static str,
        deployment: &mut Deployment,
        faults: &str,
        mut fault: impl FnMut(&mut Deployment, &Load, &mut Random) -> Done,
    ) -> Done<Outcome> {
        let mut random = Random::new(self.seed);
        let mut history = recorder::prepare(deployment, "s")?;
        let load = Load::start(deployment, "k", self.seed, CLIENTS);
        for _ in 0..self.count {
            fault(deployment, &load, &mut random)?;
        }
        load.wait_for(CLIENTS as u64)?;
        history.extend(load.stop()?);
        let offers: Vec<Offer> = shopper::offers();
        let findings = seen::finish(deployment, &offers, &history)?;
        let faults = format!("{} x {faults}", self.count);
        Ok(Outcome::new(scenario, self.seed, faults, &history, findings))
    }
}

/// A moment in the middle of something: as many answers and then as many microseconds as chance says.
fn moment(load: &Load, random: &mut Random) -> Done {
    load.wait_for(1 + random.below(60))?;
    // Not synchronisation: the fault is to come at no particular point.
    std::thread::sleep(std::time::Duration::from_micros(random.below(15_000)));
    Ok(())
}
