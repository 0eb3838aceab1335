//! The machine's clock leaps an hour ahead and back, under load, by Debian's libfaketime: it gives the process a wall
//! clock that a file sets, and leaves the monotonic one alone. Half of the leaps are undone before they are believed
//! (changes are refused meanwhile), the others are believed. Order events bear a time that is past on every clock.

use std::time::Duration;

use super::{Plan, moment};
use crate::{Done, torture::report::Outcome};

/// Seconds after which a leap is believed here, and how long one lasts that is not to be, and one that is.
const BELIEVED_AFTER: &str = "2";
const SHORT: Duration = Duration::from_millis(700);
const LONG: Duration = Duration::from_secs(5);

pub fn run(plan: &Plan<'_>) -> Done<Outcome> {
    let file = plan.folder.join("clock");
    let set = |hours: i32| std::fs::write(&file, format!("{:+}s\n", hours * 3600));
    set(0)?;
    let settings = [("ADAL__CLOCK__ADOPT_AFTER_S", BELIEVED_AFTER)];
    let mut deployment = plan.prepared(&settings)?;
    deployment.take_time_from(&file)?;
    deployment.start()?;
    let mut leaps = 0;
    plan.under_load("clock", &mut deployment, "the clock leaps 1 h", |_, load, random| {
        moment(load, random)?;
        leaps += 1;
        let hours = if random.below(2) == 0 { 1 } else { -1 };
        set(hours)?;
        if leaps % 2 == 0 {
            std::thread::sleep(SHORT);
            set(0)?;
        } else {
            std::thread::sleep(LONG);
            load.wait_for(8)?;
            // Back, which is a leap too.
            set(0)?;
            std::thread::sleep(LONG);
        }
        load.wait_for(8)
    })
}
