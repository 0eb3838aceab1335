//! What is done to a deployment under load. Each scenario has a store of its own, and prints its counts.

mod clock;
mod cut;
mod damage;
mod database;
mod disk;
mod kill;
mod owners;
mod pause;
mod race;

use std::{path::Path, sync::atomic::Ordering};

use adal_store::testing::cassandra::{Cassandra, Options};

use super::{
    checker::Offer,
    deployment::Deployment,
    place::{Place, Store},
    proxy::Proxy,
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
    /// `kill -9` of the database, and its restart.
    DbKill,
    /// SIGSTOP of the database for 30 s.
    DbPause,
    /// A bad network between Adal and the database: answers late, cut off, swallowed.
    DbCut,
    /// SIGSTOP of Adal for longer than its successor needs to take over, or `kill -9`.
    TakeOver,
    /// Two servers that both believe that all customers are theirs.
    Owners,
    /// Three nodes with three copies, one of them killed and brought back.
    ThreeNodes,
}

/// All of them, in the order in which they run.
pub const ALL: [Scenario; 16] = [
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
    Scenario::DbKill,
    Scenario::DbPause,
    Scenario::DbCut,
    Scenario::TakeOver,
    Scenario::Owners,
    Scenario::ThreeNodes,
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
    /// A database that others use too, for what does it no harm. None: each scenario starts one for itself.
    pub shared: Option<&'a Cassandra>,
    /// How often the fault comes.
    pub count: u32,
    /// What the load and the moments of the faults are drawn from.
    pub seed: u64,
}

impl Scenario {
    /// Whether it is about that store.
    pub const fn is_on(self, store: Store) -> bool {
        match self {
            Self::Kill | Self::Pause | Self::Cut | Self::Clock | Self::RaceUses | Self::RaceBudget | Self::RaceEach => {
                true
            }
            Self::Full | Self::Failing | Self::Damage => matches!(store, Store::Sqlite),
            Self::DbKill | Self::DbPause | Self::DbCut | Self::TakeOver | Self::Owners | Self::ThreeNodes => {
                matches!(store, Store::Cql)
            }
        }
    }

    /// How often its fault comes in a run of so many kills: some take seconds each, and a race is over after a few.
    pub fn rounds(self, kills: u32) -> u32 {
        let part = match self {
            Self::Kill | Self::Cut | Self::DbCut => 1,
            Self::Owners => 2,
            Self::Full | Self::Failing => 4,
            Self::DbKill | Self::TakeOver => 5,
            Self::Pause | Self::Clock => 10,
            Self::ThreeNodes => 17,
            Self::Damage | Self::RaceUses | Self::RaceBudget | Self::RaceEach => 20,
            Self::DbPause => 25,
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
            Self::DbKill => database::kill(plan),
            Self::DbPause => database::pause(plan),
            Self::DbCut => database::cut(plan),
            Self::TakeOver => owners::take_over(plan),
            Self::Owners => owners::both(plan),
            Self::ThreeNodes => database::three(plan),
        }
    }
}

impl Plan<'_> {
    fn deployment(&self, settings: &[(&str, &str)]) -> Done<Deployment> {
        let mut deployment = self.prepared(settings)?;
        deployment.start()?;
        Ok(deployment)
    }

    /// The same before it is started.
    fn prepared(&self, settings: &[(&str, &str)]) -> Done<Deployment> {
        let place = match (self.store, self.shared) {
            (Store::Sqlite, _) => Place::file(&self.folder.join("adal.db")),
            (Store::Cql, Some(server)) => Place::beside_others(server),
            (Store::Cql, None) => Place::alone_on(self.cassandra(Cassandra::start)?),
        };
        Deployment::new(self.binary, self.folder, place, settings)
    }

    /// A database for this scenario alone.
    fn cassandra(&self, start: impl FnOnce(&Path, &Options) -> std::io::Result<Cassandra>) -> Done<Cassandra> {
        Ok(start(&self.folder.join("cassandra"), &Options::default())?)
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
        Ok(Outcome::new(scenario, self, faults, &history, findings))
    }

    /// The same with a proxy that is rough now and then; `whose` answers it cuts, swallows and delays.
    fn in_bad_weather(
        &self,
        scenario: &'static str,
        deployment: &mut Deployment,
        proxy: &Proxy,
        whose: &str,
    ) -> Done<Outcome> {
        let mut spells = 0;
        let mut outcome = self.under_load(scenario, deployment, "bad weather", |_, load, random| {
            proxy.set_rough(true);
            moment(load, random)?;
            spells += 1;
            // What is looked at when all is settled is looked at in peace.
            proxy.set_rough(spells < self.count);
            Ok(())
        })?;
        let counts = proxy.counts();
        let [cut, swallowed, delayed] =
            [&counts.cut, &counts.swallowed, &counts.delayed].map(|count| count.load(Ordering::Relaxed));
        outcome.faults = format!("{whose}: {cut} cut, {swallowed} swallowed, {delayed} delayed");
        Ok(outcome)
    }
}

/// A moment in the middle of something: as many answers and then as many microseconds as chance says.
fn moment(load: &Load, random: &mut Random) -> Done {
    load.wait_for(1 + random.below(60))?;
    // Not synchronisation: the fault is to come at no particular point.
    std::thread::sleep(std::time::Duration::from_micros(random.below(15_000)));
    Ok(())
}
