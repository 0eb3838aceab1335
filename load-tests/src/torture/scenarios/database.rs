//! What is done to the database under a server that goes on: it is killed and started again, stands still, is behind a bad
//! network, or loses one of its three nodes.

use std::time::Duration;

use adal_store::testing::cassandra::Cassandra;

use super::{CLIENTS, Plan, moment};
use crate::{
    Done,
    torture::{
        deployment::Deployment,
        place::{self, CONTACT_POINTS, Place},
        proxy::{Proxy, Weather},
        report::Outcome,
    },
};

/// How long the database stands still: longer than any time-out, and than a server serves without it.
const STILL: Duration = Duration::from_secs(30);
/// How long a statement may take behind a bad network: some answers are later, so that what was done has timed out.
const PATIENCE_MS: &str = "1000";
/// One connection carries many statements, and all of them are lost with it.
const WEATHER: Weather = Weather { delayed: 20, delay_ms: 1_500, swallowed: 2, cut: 8 };
/// Answers between two faults of a node.
const STAGE: u64 = 100;

/// `kill -9`, up to three seconds of nothing, and a start on what is left.
pub fn kill(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.deployment(&[])?;
    plan.under_load("db-kill", &mut deployment, "kill -9 of the database", |deployment, load, random| {
        moment(load, random)?;
        let database = deployment.database()?;
        database.kill();
        // The fault itself, not synchronisation.
        std::thread::sleep(Duration::from_millis(random.below(3_000)));
        database.restart()?;
        load.wait_for(CLIENTS as u64)
    })
}

/// SIGSTOP for half a minute: connections stay, nothing is answered; then everything that was asked is done late.
pub fn pause(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.deployment(&[])?;
    plan.under_load("db-pause", &mut deployment, "SIGSTOP of the database, 30 s", |deployment, load, random| {
        moment(load, random)?;
        deployment.database()?.pause()?;
        // The fault itself, not synchronisation.
        std::thread::sleep(STILL);
        deployment.database()?.resume()?;
        load.wait_for(CLIENTS as u64)
    })
}

/// Statements that were done look as if they had timed out: their answers are late, cut off or swallowed.
pub fn cut(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.prepared(&[("ADAL__STORE__CQL__REQUEST_TIMEOUT_MS", PATIENCE_MS)])?;
    let address = deployment.database()?.node(0).address();
    let proxy = Proxy::start(address, WEATHER, plan.seed)?;
    // A driver stays with the address under which it reached a node that is alone: nothing goes round the proxy.
    deployment.set(CONTACT_POINTS, &place::list(&[proxy.address.to_string()]));
    deployment.start()?;
    plan.in_bad_weather("db-cut", &mut deployment, &proxy, "answers of the database")
}

/// Each node in turn is killed and brought back; the other two are a quorum.
pub fn three(plan: &Plan<'_>) -> Done<Outcome> {
    let place = Place::alone_on(plan.cassandra(Cassandra::three)?);
    let mut deployment = Deployment::new(plan.binary, plan.folder, place, &[])?;
    deployment.start()?;
    let mut turn = 0;
    plan.under_load("three-nodes", &mut deployment, "kill -9 of one node of three", |deployment, load, random| {
        moment(load, random)?;
        let node = deployment.database()?.node(turn % 3);
        node.kill();
        load.wait_for(STAGE)?;
        node.restart()?;
        turn += 1;
        load.wait_for(STAGE)
    })
}
