//! Disks: one that is full for a while, and one that fails. Both under load, and with nobody to help.

use std::time::Duration;

use super::{Plan, moment};
use crate::{
    Done,
    torture::{deployment::Deployment, disk::Disk, place::Place, report::Outcome},
};

/// MiB: room for what a long run writes.
const ROOM: u32 = 192;

/// The disk is full for up to a second, and then is not.
pub fn full(plan: &Plan<'_>) -> Done<Outcome> {
    let disk = Disk::small(plan.folder, ROOM)?;
    let mut deployment = Deployment::new(plan.binary, plan.folder, Place::file(&disk.folder.join("adal.db")), &[])?;
    deployment.start()?;
    plan.under_load("full", &mut deployment, "full disk", |_, load, random| {
        moment(load, random)?;
        disk.fill()?;
        // The fault itself, not synchronisation.
        std::thread::sleep(Duration::from_millis(random.below(1_000)));
        disk.empty()
    })
}

/// The disk fails; Adal is killed, and started when the disk is there again. On a read-only one it does not start.
pub fn failing(plan: &Plan<'_>) -> Done<Outcome> {
    let disk = Disk::ext4(plan.folder, ROOM)?;
    let mut deployment = Deployment::new(plan.binary, plan.folder, Place::file(&disk.folder.join("adal.db")), &[])?;
    deployment.start()?;
    let mut outcome =
        plan.under_load("failing", &mut deployment, "failing disk, kill -9", |deployment, load, random| {
            moment(load, random)?;
            disk.fail()?;
            // The fault itself, not synchronisation.
            std::thread::sleep(Duration::from_millis(random.below(500)));
            deployment.kill()?;
            disk.again(false)?;
            deployment.start()
        })?;
    outcome.may_break = true;
    disk.again(true)?;
    match deployment.start_or_refusal()? {
        Some(said) if said.to_lowercase().contains("read-only") => {}
        Some(said) => return Err(format!("on a read-only file system it says: {said}").into()),
        None => return Err("it serves on a read-only file system".into()),
    }
    outcome.faults.push_str(", then refused to start on a read-only one");
    Ok(outcome)
}
