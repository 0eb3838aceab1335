//! Two servers on one keyspace, both under load: one takes over from the other again and again. Half of the clients ask each
//! of them first, and the other where that one does not answer or says 503, with the same key.

use std::time::Duration;

use super::{CLIENTS, Plan, moment};
use crate::{
    Done,
    torture::{deployment::Deployment, report::Outcome},
};

/// What a server that was replaced ends with: start me again.
const DEPOSED: i32 = 75;
/// So patient that a server which stands still while it is replaced believes, when it goes on, that nothing has happened;
/// one of the same name takes its place after four of its signs of life are missing.
const TRUSTING: [(&str, &str); 3] = [
    ("ADAL__STORE__CQL__DEAD_AFTER_MS", "40000"),
    ("ADAL__STORE__CQL__CONFIRMED_WITHIN_MS", "30000"),
    ("ADAL__STORE__CQL__BEAT_EVERY_MS", "500"),
];

/// A server stands still until another has taken over, and then goes on, with all that its clients sent meanwhile; or it is
/// killed.
pub fn take_over(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.prepared(&[])?;
    deployment.name_servers(&["a", "b"]);
    deployment.start()?;
    let (mut round, mut killed) = (0, 0);
    let mut outcome = plan.under_load("take-over", &mut deployment, "", |deployment, load, random| {
        let (now, next) = (round % 2, (round + 1) % 2);
        round += 1;
        deployment.begin(next)?;
        moment(load, random)?;
        if round % 3 == 0 {
            deployment.kill_server(now)?;
            killed += 1;
            deployment.ready(next)?;
        } else {
            deployment.signal_server(now, "STOP")?;
            deployment.ready(next)?;
            load.wait_for(CLIENTS as u64)?;
            deployment.signal_server(now, "CONT")?;
            deposed(deployment, now)?;
        }
        load.wait_for(CLIENTS as u64)
    })?;
    outcome.faults = format!(
        "{} x SIGSTOP until another has taken over, {killed} x kill -9 with another standing by",
        round - killed
    );
    Ok(outcome)
}

/// Both have the same name, so that each takes the place of the other soon after its last sign of life. The other stands still
/// meanwhile, and then goes on in the belief that everybody is its own, until it learns otherwise: when a row of its own is not
/// taken, or by its next sign of life.
pub fn both(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.prepared(&TRUSTING)?;
    deployment.name_servers(&["a", "a"]);
    deployment.start()?;
    let mut round = 0;
    plan.under_load("owners", &mut deployment, "a second owner", |deployment, load, random| {
        let (now, next) = (round % 2, (round + 1) % 2);
        round += 1;
        moment(load, random)?;
        deployment.begin(next)?;
        // Somewhere in the other's start: not synchronisation.
        std::thread::sleep(Duration::from_millis(random.below(700)));
        deployment.signal_server(now, "STOP")?;
        deployment.ready(next)?;
        load.wait_for(CLIENTS as u64)?;
        deployment.signal_server(now, "CONT")?;
        deposed(deployment, now)?;
        load.wait_for(CLIENTS as u64)
    })
}

fn deposed(deployment: &mut Deployment, number: usize) -> Done {
    let status = deployment.end_of(number)?;
    if status.code() == Some(DEPOSED) {
        Ok(())
    } else {
        Err(format!("a server that was replaced ended with {status}").into())
    }
}
