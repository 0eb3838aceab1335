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
/// What a server says of a row that it wrote when it was not the owner any more.
const FENCED: &str = "fenced: a row was written";
/// So trusting that a server which stands still while it is replaced believes, when it goes on, that nothing has happened.
/// Nobody is so careless who takes the place of another: that one is as patient as it is trusting.
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

/// Both have the same name, so that the second takes the place of the first soon after its last sign of life. The first
/// stands still meanwhile, and then goes on in the belief that everybody is its own, until it learns otherwise: when a row of
/// its own is not taken, or by its next sign of life. Then the second hands over to a new first one, and so on. That no row was
/// refused in all that would say that the two never met: it is a failure.
pub fn both(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.prepared(&[])?;
    deployment.name_servers(&["a", "a"]);
    let (trusting, second) = (0, 1);
    deployment.set_for(trusting, &TRUSTING)?;
    deployment.start()?;
    let mut fenced = 0;
    let mut outcome = plan.under_load("owners", &mut deployment, "", |deployment, load, random| {
        moment(load, random)?;
        deployment.begin(second)?;
        // Somewhere in the other's start: not synchronisation.
        std::thread::sleep(Duration::from_millis(random.below(700)));
        deployment.signal_server(trusting, "STOP")?;
        deployment.ready(second)?;
        load.wait_for(CLIENTS as u64)?;
        deployment.signal_server(trusting, "CONT")?;
        deposed(deployment, trusting)?;
        fenced += deployment.logged(trusting, FENCED)?;
        load.wait_for(CLIENTS as u64)?;
        deployment.begin(trusting)?;
        deployment.stop_server(second)?;
        deployment.ready(trusting)?;
        load.wait_for(CLIENTS as u64)
    })?;
    if fenced == 0 {
        return Err("no row of a server that was replaced was refused: the two owners never met".into());
    }
    outcome.faults = format!("{} x a second owner, which refused {fenced} rows of the first", plan.count);
    Ok(outcome)
}

fn deposed(deployment: &mut Deployment, number: usize) -> Done {
    let status = deployment.end_of(number)?;
    if status.code() == Some(DEPOSED) {
        Ok(())
    } else {
        Err(format!("a server that was replaced ended with {status}").into())
    }
}
