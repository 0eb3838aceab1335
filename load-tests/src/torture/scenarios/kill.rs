//! `kill -9` at random moments, and a start on what is left.

use super::{Plan, moment};
use crate::{Done, torture::report::Outcome};

pub fn run(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.deployment(&[])?;
    plan.under_load("kill", &mut deployment, "kill -9", |deployment, load, random| {
        moment(load, random)?;
        deployment.kill()?;
        deployment.start()
    })
}
