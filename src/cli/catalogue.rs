//! `adal catalogue`: the catalogue as a folder of files, on the store itself where no server runs, or through one.

use std::{error::Error, path::Path, process::ExitCode, sync::Arc, time::Duration};

use adal_actors::{Registry, RegistryConfig, Request};
use adal_domain::{
    catalogue::{
        self, Catalogue, CatalogueCommand, CatalogueReply, CatalogueState, Change, Changed, MAIN, MAX_CHANGES, Outcome,
    },
    ids::Actor,
    time::Timestamp,
};
use adal_store::sqlite::SqliteStore;
use serde::Serialize;

use super::{Done, print_json, remote::Remote, store::open_alone};
use crate::{
    clock::SystemClock,
    codes::unique_among,
    config::Config,
    folder::{Fault, Folder, write},
};

/// Bytes of documents in one step, roughly: what a server takes in one body, with room to spare.
const STEP_BYTES: usize = 4 << 20;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CatalogueCommands {
    /// Check a folder without a store: every fault with its file, field and rule. Exit 0 or 1.
    Check {
        /// The folder: promos/, campaigns/ and banners/ with a .toml or .json file for each, and policy.toml.
        dir: std::path::PathBuf,
    },
    /// Make the catalogue what a folder says: up to 500 changes in one step, more in several.
    Import {
        /// The folder.
        dir: std::path::PathBuf,
        /// Also remove what is not in the folder. The policy stays.
        #[arg(long)]
        prune: bool,
        /// Say what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Through a running server (http://...); the admin key is in ADAL_KEY.
        #[arg(long, value_name = "URL")]
        server: Option<String>,
    },
    /// Write the catalogue into a folder, one canonical .toml file for each document.
    Export {
        /// The folder; made if need be. Files of documents that the catalogue does not have stay.
        dir: std::path::PathBuf,
        /// Through a running server (http://...); the admin key is in ADAL_KEY.
        #[arg(long, value_name = "URL")]
        server: Option<String>,
    },
}

pub(super) fn run(config: &Config, command: &CatalogueCommands, json: bool) -> Done {
    match command {
        CatalogueCommands::Check { dir } => check(dir, json),
        CatalogueCommands::Import { dir, prune, dry_run, server } => {
            let folder = read(dir)?;
            let faults = folder.check();
            if !faults.is_empty() {
                // Nothing is asked of anybody: what would be refused is not sent.
                return tell_check(&folder, &faults, json);
            }
            let (prune, dry_run) = (*prune, *dry_run);
            with(config, server.as_deref(), async |place| import(place, &folder, prune, dry_run, json).await)
        }
        CatalogueCommands::Export { dir, server } => with(config, server.as_deref(), async |place| {
            let state = place.state().await?;
            let written = write(dir, &state)?;
            if json {
                print_json(&written)?;
            } else {
                println!("{} files at revision {} in {}", written.files, state.revision, dir.display());
                written.strange.iter().for_each(|file| println!("{file}: not in the catalogue; it stays"));
            }
            Ok(ExitCode::SUCCESS)
        }),
    }
}

fn read(dir: &Path) -> Result<Folder, Box<dyn Error>> {
    Folder::read(dir).map_err(|error| format!("{}: {error}", dir.display()).into())
}

/// What a check found.
#[derive(Serialize)]
struct Checked<'a> {
    sound: bool,
    documents: usize,
    problems: &'a [Fault],
    warnings: &'a [Fault],
}

fn check(dir: &Path, json: bool) -> Done {
    let folder = read(dir)?;
    let faults = folder.check();
    tell_check(&folder, &faults, json)
}

fn tell_check(folder: &Folder, faults: &[Fault], json: bool) -> Done {
    let (sound, documents) = (faults.is_empty(), folder.documents.len());
    let warnings = folder.warnings();
    if json {
        print_json(&Checked { sound, documents, problems: faults, warnings: &warnings })?;
    } else {
        faults.iter().for_each(|fault| println!("{fault}"));
        warnings.iter().for_each(|warning| println!("{warning} (a warning)"));
        let verdict = if sound { "sound".to_owned() } else { format!("{} problems", faults.len()) };
        println!("{verdict}: {documents} documents");
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an import did.
#[derive(Serialize)]
struct Imported {
    applied: bool,
    revision: u64,
    changed: Vec<Changed>,
    /// Documents that the folder does not have, and that stay.
    not_in_folder: usize,
}

async fn import(place: &Place, folder: &Folder, prune: bool, dry_run: bool, json: bool) -> Done {
    let mut state = place.state().await?;
    let not_in_folder = if prune { 0 } else { folder.missing_of(&state) };
    let changes = folder.changes_of(&state, prune);
    place.check(&changes).await?;
    let mut done = Imported { applied: !dry_run, revision: state.revision, changed: Vec::new(), not_in_folder };
    let steps = steps(changes);
    let several = steps.len() > 1;
    for (number, step) in steps.into_iter().enumerate() {
        let reply = if dry_run {
            catalogue::change(&mut state, &step, &by()?, Timestamp::default()).map(|(_, reply)| reply)?
        } else {
            place.change(step, done.revision).await.map_err(|error| {
                if several {
                    format!("step {} was refused, those before it are done: {error}", number + 1).into()
                } else {
                    error
                }
            })?
        };
        done.revision = reply.revision;
        done.changed.extend(reply.changed);
    }
    if json {
        print_json(&done)?;
    } else {
        tell_import(&done);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_import(done: &Imported) {
    let mut counts = [0; 3];
    for Changed { kind, id, outcome, .. } in &done.changed {
        let (place, sign) = match outcome {
            Outcome::Added => (0, '+'),
            Outcome::Changed => (1, '~'),
            Outcome::Removed => (2, '-'),
            Outcome::Same => continue,
        };
        counts[place] += 1;
        println!("{sign} {} {id}", kind.as_str());
    }
    let [added, changed, removed] = counts;
    let verb = if done.applied { "at revision" } else { "nothing was written; it would be at revision" };
    println!("{added} added, {changed} changed, {removed} removed; {verb} {}", done.revision);
    if done.not_in_folder > 0 {
        println!("{} documents are not in the folder and stay; --prune removes them", done.not_in_folder);
    }
}

/// The changes in as few steps as they fit in, in their order.
fn steps(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let mut steps: Vec<Vec<Change>> = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let size = serde_json::to_vec(&change).map_or(0, |text| text.len());
        match steps.last_mut() {
            Some(step) if step.len() < MAX_CHANGES && bytes + size <= STEP_BYTES => {
                bytes += size;
                step.push(change);
            }
            _ => {
                bytes = size;
                steps.push(vec![change]);
            }
        }
    }
    steps
}

fn by() -> Result<Actor, Box<dyn Error>> {
    Ok(Actor::new("cli")?)
}

/// Where the catalogue is.
enum Place {
    /// In a store that no server has.
    Store(Registry<Catalogue>, SqliteStore),
    /// Behind a server.
    Server(Remote),
}

impl Place {
    async fn state(&self) -> Result<CatalogueState, Box<dyn Error>> {
        match self {
            Self::Store(registry, _) => Ok(registry.read(MAIN).await?.state.clone()),
            Self::Server(remote) => remote.state(),
        }
    }

    /// Refuses shared codes that are unique ones already. A server looks at them itself.
    async fn check(&self, changes: &[Change]) -> Result<(), Box<dyn Error>> {
        let Self::Store(registry, store) = self else { return Ok(()) };
        let now = registry.read(MAIN).await?;
        for change in changes {
            let Change::PutOffer { id, offer, .. } = change else { continue };
            if let Some(detail) = unique_among(store, &offer.codes, |id| now.state.offer(id).is_some()).await? {
                return Err(format!("{id}: {detail}").into());
            }
        }
        Ok(())
    }

    async fn change(&self, changes: Vec<Change>, revision: u64) -> Result<CatalogueReply, Box<dyn Error>> {
        match self {
            Self::Store(registry, _) => {
                let command = CatalogueCommand::Change { changes, expected_revision: Some(revision), by: by()? };
                // Nobody repeats this: what is imported again is compared again.
                let request = Request::<Catalogue> { id: None, print: [0; 16], command };
                Ok(registry.ask(MAIN, request).await?.outcome?)
            }
            Self::Server(remote) => remote.change(&changes, revision),
        }
    }
}

/// Runs something where the catalogue is.
fn with(config: &Config, server: Option<&str>, work: impl AsyncFnOnce(&Place) -> Done) -> Done {
    actix_rt::System::new().block_on(async {
        if let Some(url) = server {
            return work(&Place::Server(Remote::new(url)?)).await;
        }
        let store = open_alone(config, "pass --server URL, with an admin key in ADAL_KEY, to go through it").await?;
        let settings = RegistryConfig { arbiters: 1, ..config.actors.to_registry() };
        let registry = Registry::new(settings, Arc::new(store.clone()), Arc::new(SystemClock), Arc::new(|_: &str| ()));
        let place = Place::Store(registry.clone(), store.clone());
        let done = work(&place).await;
        registry.stop(Duration::from_secs(10)).await;
        store.close()?;
        done
    })
}
