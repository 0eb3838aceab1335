//! Damaged files. A store is filled under load, killed, and copied again and again; each copy is damaged in one place and
//! started. Right is: it refuses and says that it is damaged; or it serves, and nothing that was acknowledged is missing;
//! or it says so when the damaged part is read and when `adal check` looks. Wrong, and counted as loss, is silence.

use std::path::{Path, PathBuf};

use super::{CLIENTS, Plan};
use crate::{
    Done,
    random::Random,
    torture::{
        checker::Findings,
        command::Sent,
        deployment::Deployment,
        place::{FILE, Place},
        recorder::{self, Load},
        report::Outcome,
        seen, shopper,
    },
};

/// Bytes of a page.
const PAGE: u64 = 4096;

/// A kind of damage.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// The file ends within its last page.
    TornPage,
    /// The last page's second half is zeros.
    HalfPage,
    /// A byte of the file is another.
    FlippedFile,
    /// The log is shorter.
    CutLog,
    /// A byte of the log is another.
    FlippedLog,
    /// The same in its first half, and the index beside it is gone, as in a copy that somebody made.
    FlippedLogAlone,
    /// The log is gone.
    NoLog,
}

const KINDS: [Harm; 7] = [
    Harm::TornPage,
    Harm::HalfPage,
    Harm::FlippedFile,
    Harm::CutLog,
    Harm::FlippedLog,
    Harm::FlippedLogAlone,
    Harm::NoLog,
];

impl Harm {
    fn strike(self, database: &Path, random: &mut Random) -> Done {
        let mut name = database.as_os_str().to_owned();
        name.push("-wal");
        let log = PathBuf::from(name);
        let file = if matches!(self, Self::TornPage | Self::HalfPage | Self::FlippedFile) { database } else { &log };
        let mut bytes = std::fs::read(file)?;
        let length = bytes.len() as u64;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        match self {
            Self::TornPage => bytes.truncate(place(length - 1 - random.below(PAGE - 1))),
            Self::HalfPage => bytes.iter_mut().skip(place(length - PAGE / 2)).for_each(|byte| *byte = 0),
            Self::CutLog => bytes.truncate(place(random.below(length))),
            Self::NoLog => return Ok(std::fs::remove_file(&log)?),
            Self::FlippedFile | Self::FlippedLog | Self::FlippedLogAlone => {
                let whole = !matches!(self, Self::FlippedLogAlone);
                let at = place(random.below(if whole { length } else { length / 2 }));
                let bit = 1 << random.below(8);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= bit);
                if !whole {
                    std::fs::remove_file(log.with_extension("db-shm"))?;
                }
            }
        }
        Ok(std::fs::write(file, bytes)?)
    }
}

#[derive(Debug, Default)]
struct Counts {
    refused: u32,
    told: u32,
    harmless: u32,
    silent: u32,
}

pub fn run(plan: &Plan<'_>) -> Done<Outcome> {
    let mut random = Random::new(plan.seed);
    let base = plan.folder.join("base");
    // A log that holds everything: nothing is copied into the file before the damage.
    let settings = [("ADAL__STORE__SQLITE__CHECKPOINT_PAGES", "4096")];
    let mut deployment = Deployment::new(plan.binary, &base, Place::file(&base.join("adal.db")), &settings)?;
    deployment.start()?;
    let mut history = recorder::prepare(&deployment, "s")?;
    let (mut findings, mut counts) = (Findings::default(), Counts::default());
    let mut lines = String::new();
    for number in 0..plan.count {
        if number % 3 == 2 {
            // A clean end copies the log into the file: what is struck then is not all in the log.
            deployment.stop()?;
            deployment.start()?;
        }
        let load = Load::start(&deployment, &format!("k{number}"), plan.seed + u64::from(number), CLIENTS);
        load.wait_for(20 + random.below(60))?;
        history.extend(load.stop()?);
        deployment.kill()?;
        for kind in KINDS {
            let copy = copy(&base, &plan.folder.join("copy"))?;
            kind.strike(&copy.join("adal.db"), &mut random)?;
            deployment.set(FILE, &copy.join("adal.db").display().to_string());
            deployment.set_ahead(seen::SETTLED_S)?;
            let found = start_on(&mut deployment, &history, &mut counts)?;
            deployment.set_ahead(0)?;
            deployment.set(FILE, &base.join("adal.db").display().to_string());
            if !found.is_clean() {
                lines.push_str(&format!("damage: {kind:?} in round {number} passed in silence\n"));
            }
            findings.add(found);
        }
        deployment.start()?;
    }
    eprint!("{lines}");
    findings.add(seen::finish(&mut deployment, &shopper::offers(), &history)?);
    let Counts { refused, told, harmless, silent } = counts;
    let faults = format!(
        "{} damaged copies: {refused} refused, {told} told when read or checked, {harmless} without loss, {silent} in silence",
        plan.count * 7
    );
    Ok(Outcome::new("damage", plan, faults, &history, findings))
}

/// What a start on a damaged copy comes to: nothing, where that is right.
fn start_on(deployment: &mut Deployment, history: &[Sent], counts: &mut Counts) -> Done<Findings> {
    if let Some(said) = deployment.start_or_refusal()? {
        counts.refused += 1;
        let mut found = Findings::default();
        if !said.contains("damaged") {
            found.check.insert(format!("it ended, and did not say that the store is damaged: {said}"));
        }
        return Ok(found);
    }
    match seen::verdict(deployment, &shopper::offers(), history) {
        Ok(found) if found.is_clean() => counts.harmless += 1,
        Ok(found) if found.check.is_empty() => {
            counts.silent += 1;
            return Ok(found);
        }
        // It was noticed: by the check at the latest.
        Ok(_) => counts.told += 1,
        Err(error) => {
            // It would not say what is damaged, or not stop; then the check must know why.
            let _ = deployment.kill();
            let checked = deployment.check();
            if checked.is_ok_and(|checked| checked.sound) {
                counts.silent += 1;
                let mut found = Findings::default();
                found.check.insert(format!("it cannot be read, and the check finds nothing: {error}"));
                return Ok(found);
            }
            counts.told += 1;
        }
    }
    Ok(Findings::default())
}

fn copy(from: &Path, to: &Path) -> Done<PathBuf> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(to.to_owned())
}
