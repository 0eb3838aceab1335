//! SIGSTOP for up to seven seconds, which is longer than a client waits for an answer: what it sent stands in the
//! sockets of a process that does not move, is sent again beside it, and both are taken when it goes on.

use std::time::Duration;

use super::{Plan, moment};
use crate::{Done, torture::report::Outcome};

pub fn run(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.deployment(&[])?;
    plan.under_load("pause", &mut deployment, "SIGSTOP 0-7 s", |deployment, load, random| {
        moment(load, random)?;
        deployment.signal("STOP")?;
        // The fault itself, not synchronisation.
        std::thread::sleep(Duration::from_millis(random.below(7_000)));
        deployment.signal("CONT")
    })
}
