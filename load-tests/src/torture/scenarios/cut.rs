//! A bad network between the clients and Adal. What was done and looked lost is asked again with its key, often while the
//! first is still under way.

use std::sync::atomic::Ordering;

use super::{Plan, moment};
use crate::{
    Done,
    torture::{
        proxy::{Proxy, Weather},
        report::Outcome,
    },
};

const WEATHER: Weather = Weather { delayed: 100, delay_ms: 50, swallowed: 5, cut: 100 };

pub fn run(plan: &Plan<'_>) -> Done<Outcome> {
    let mut deployment = plan.deployment(&[])?;
    let address = deployment.address().ok_or("no process runs")?;
    let proxy = Proxy::start(address, WEATHER, plan.seed)?;
    deployment.divert(proxy.address);
    let mut spells = 0;
    let mut outcome = plan.under_load("cut", &mut deployment, "bad weather", |_, load, random| {
        proxy.set_rough(true);
        moment(load, random)?;
        spells += 1;
        // What is looked at when all is settled is looked at in peace.
        proxy.set_rough(spells < plan.count);
        Ok(())
    })?;
    let counts = proxy.counts();
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    outcome.faults = format!(
        "answers: {} cut, {} swallowed, {} delayed",
        of(&counts.cut),
        of(&counts.swallowed),
        of(&counts.delayed)
    );
    Ok(outcome)
}
