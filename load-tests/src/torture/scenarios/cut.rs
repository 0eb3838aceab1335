//! A bad network between the clients and Adal. What was done and looked lost is asked again with its key, often while the
//! first is still under way.

use super::Plan;
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
    plan.in_bad_weather("cut", &mut deployment, &proxy, "answers")
}
