//! `adal check`: whether the store is sound. The file first (every page and checksum), then every entity: its rows are
//! replayed from the first, the invariants are tested after every row, and the snapshot is compared with what the rows
//! add up to. Where no server runs, views and timers are compared with what the journal says of them. Memory is taken
//! for one entity at a time, however many there are.
//!
//! A database that servers share (store.kind = "cql") is checked beside them: its own pages are its own business. How many
//! rows each view has is compared where no server runs.

use std::{path::Path, process::ExitCode};

use adal_actors::{
    ports::{Journal, StoreError},
    replay,
};
use adal_domain::entity::{Entity, EntityKey};
use adal_store::{
    Storage,
    cql::CqlStore,
    sqlite::{Depth, OpenError, SqliteStore},
};
use serde::Serialize;

use super::{
    Done, block_on,
    compare::Compare,
    kinds::{Visit, visit_all},
    print_json, views,
};
use crate::{
    config::{Config, StoreKind},
    store::PART_OF_A_STORE,
};

/// How many findings are told of each entity, and of all.
const PER_ENTITY: usize = 5;
const TOLD: usize = 100;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub sound: bool,
    /// Entities replayed.
    pub entities: u64,
    /// Journal rows in the file.
    pub rows: u64,
    /// Whether views and timers were compared with the journal: not beside a running server, which changes both.
    pub derived_compared: bool,
    /// How many problems there are.
    pub found: u64,
    /// The first of them, for a person.
    pub problems: Vec<String>,
}

impl Report {
    fn problem(&mut self, what: String) {
        self.found += 1;
        if self.problems.len() < TOLD {
            self.problems.push(what);
        }
    }
}

pub(super) fn run(config: &Config, full: bool, json: bool) -> Done {
    let report = match config.store.kind {
        StoreKind::Sqlite => file(config, full)?,
        StoreKind::Cql => block_on(async {
            let store = CqlStore::connect(config.store.cql.to_store()).await?;
            let report = check_shared(&store).await;
            store.close().await?;
            Ok::<_, Box<dyn std::error::Error>>(report?)
        })??,
    };
    if json {
        print_json(&report)?;
    } else {
        report.problems.iter().for_each(|problem| println!("{problem}"));
        let verdict = if report.sound { "sound".to_owned() } else { format!("{} problems", report.found) };
        println!("{verdict}: {} entities, {} rows", report.entities, report.rows);
        if !report.derived_compared {
            println!("views and timers were not compared with the journal");
        }
    }
    Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn file(config: &Config, full: bool) -> Result<Report, Box<dyn std::error::Error>> {
    let settings = config.store.sqlite.to_store();
    if !Path::new(&settings.path).exists() {
        return Err(format!("{}: there is no store here", settings.path.display()).into());
    }
    let (store, alone) = match SqliteStore::open(settings.clone()) {
        Ok(store) => (store, true),
        Err(OpenError::Locked { .. }) => (SqliteStore::open_shared(settings)?, false),
        Err(error) => return Err(error.into()),
    };
    let depth = if full { Depth::Full } else { Depth::Quick };
    let report = block_on(check(&store, depth, alone))??;
    store.close()?;
    Ok(report)
}

/// Checks a store that servers may be writing to.
///
/// # Errors
/// Where it cannot be read at all; damage is what the report is for.
pub async fn check_shared(store: &CqlStore) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let before = store.beats_of_owners().await?;
    let version = store.cluster_version().await?;
    let mut shared = Shared { store, report: &mut report, compare: Compare::default(), version, beyond: (0, 0) };
    visit_all(store, &mut shared).await?;
    let Shared { mut compare, version, beyond: (entities, epoch), .. } = shared;
    report.derived_compared = true;
    if entities > 0 {
        report.problem(format!(
            "{entities} entities end with rows of an epoch up to {epoch}, and the row of the cluster is at version {version}: \
             it is older than they are, and no server takes them until it is raised to {epoch}: docs/operating/scylla.md, \
             \"Restoring the nodes' snapshots\""
        ));
    }
    for wrong in compare.doubtful(store).await? {
        report.problem(wrong);
    }
    // A server has added rows since their entities were looked at, and is adding more.
    let numbers = compare.numbers(store).await?;
    if store.beats_of_owners().await? == before {
        numbers.into_iter().for_each(|wrong| report.problem(wrong));
    }
    part_of_a_store(store, &mut report).await?;
    report.sound = report.found == 0;
    Ok(report)
}

/// Says where an import has not come to its end: whatever else is found follows from that.
async fn part_of_a_store(store: &dyn Storage, report: &mut Report) -> Result<(), StoreError> {
    if store.is_importing().await? {
        report.problem(PART_OF_A_STORE.to_owned());
    }
    Ok(())
}

/// Replays each entity, and compares its rows in views.
struct Shared<'a> {
    store: &'a CqlStore,
    report: &'a mut Report,
    compare: Compare,
    /// Of the row of the cluster, as it was last read.
    version: u64,
    /// How many entities end with a row of a later epoch than that, and the latest such epoch.
    beyond: (u64, u64),
}

impl Shared<'_> {
    /// Notes an entity that nobody who claims next may take.
    async fn epoch(&mut self, key: &EntityKey) -> Result<(), StoreError> {
        let Some(epoch) = self.store.epoch_of(key).await?.filter(|epoch| *epoch > self.version) else { return Ok(()) };
        // Somebody may have claimed, and written, since it was read.
        self.version = self.store.cluster_version().await?;
        if epoch > self.version {
            self.beyond = (self.beyond.0 + 1, self.beyond.1.max(epoch));
        }
        Ok(())
    }
}

impl Visit for Shared<'_> {
    type Stop = StoreError;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), StoreError> {
        let before = self.report.found;
        Replays { journal: self.store, report: self.report }.entity::<E>(key).await?;
        self.epoch(key).await?;
        self.report.rows += self.store.rows(key, 1, u64::MAX, 1, true).await?.first().map_or(0, |last| last.seq);
        // With damaged rows there is nothing to compare with.
        if self.report.found == before {
            for wrong in self.compare.entity(self.store, key).await? {
                self.report.problem(wrong);
            }
        }
        Ok(())
    }
}

/// Checks a store; `alone`: no server has it, so that what is derived can be compared with the journal.
///
/// # Errors
/// Where it cannot be read at all; damage is what the report is for.
pub async fn check(store: &SqliteStore, depth: Depth, alone: bool) -> Result<Report, StoreError> {
    let file = store.check_file(depth).await?;
    let mut report = Report { rows: file.rows, found: file.found, problems: file.problems, ..Report::default() };
    visit_all(store, &mut Replays { journal: store, report: &mut report }).await?;
    // With damaged rows there is nothing to compare with.
    if alone && report.found == 0 {
        let different = views::compare_all(store).await?;
        report.derived_compared = true;
        if different > 0 {
            report.problem(format!(
                "{different} rows of views or timers are not what the journal says: `adal views rebuild`"
            ));
        }
    }
    part_of_a_store(store, &mut report).await?;
    report.sound = report.found == 0;
    Ok(report)
}

/// Replays each entity.
struct Replays<'a> {
    journal: &'a dyn Journal,
    report: &'a mut Report,
}

impl Visit for Replays<'_> {
    type Stop = StoreError;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), StoreError> {
        self.report.entities += 1;
        match replay::check::<E>(self.journal, &key.id, PER_ENTITY).await {
            Ok(wrong) => wrong.iter().for_each(|wrong| self.report.problem(format!("{key}: {wrong}"))),
            Err(StoreError::Corrupt(what)) => self.report.problem(format!("{key}: {what}")),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
