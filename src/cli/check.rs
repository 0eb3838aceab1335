//! `adal check`: whether the store is sound. The file first (every page and checksum), then every entity: its rows are
//! replayed from the first, the invariants are tested after every row, and the snapshot is compared with what the rows
//! add up to. Where no server runs, views and timers are compared with what the journal says of them. Memory is taken
//! for one entity at a time, however many there are.

use std::{path::Path, process::ExitCode};

use adal_actors::{
    ports::{Journal, StoreError},
    replay,
};
use adal_domain::{
    catalogue::Catalogue,
    customer::{Customer, Guest},
    entity::{Entity, EntityKey, EntityKind},
    promo::Promo,
};
use adal_store::sqlite::{Depth, OpenError, SqliteStore};
use serde::Serialize;

use super::{Done, block_on, print_json, views};
use crate::config::Config;

/// How many findings are told of each entity, and of all.
const PER_ENTITY: usize = 5;
const TOLD: usize = 100;
/// Entities listed at a time.
const PAGE: usize = 500;

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

/// Checks a store; `alone`: no server has it, so that what is derived can be compared with the journal.
///
/// # Errors
/// Where it cannot be read at all; damage is what the report is for.
pub async fn check(store: &SqliteStore, depth: Depth, alone: bool) -> Result<Report, StoreError> {
    let file = store.check_file(depth).await?;
    let mut report = Report { rows: file.rows, found: file.found, problems: file.problems, ..Report::default() };
    entities::<Promo>(store, &mut report).await?;
    entities::<Catalogue>(store, &mut report).await?;
    entities::<Customer>(store, &mut report).await?;
    entities::<Guest>(store, &mut report).await?;
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
    report.sound = report.found == 0;
    Ok(report)
}

async fn entities<E: Entity>(store: &SqliteStore, report: &mut Report) -> Result<(), StoreError> {
    let mut after: Option<Box<str>> = None;
    loop {
        let page: Vec<EntityKey> = store.entities(E::KIND, after.as_deref(), PAGE).await?;
        for key in &page {
            entity::<E>(store, key, report).await?;
            report.entities += 1;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
            _ => return Ok(()),
        }
    }
}

async fn entity<E: Entity>(store: &SqliteStore, key: &EntityKey, report: &mut Report) -> Result<(), StoreError> {
    match replay::check::<E>(store, &key.id, PER_ENTITY).await {
        Ok(wrong) => wrong.iter().for_each(|wrong| report.problem(format!("{key}: {wrong}"))),
        Err(StoreError::Corrupt(what)) => report.problem(format!("{key}: {what}")),
        Err(error) => return Err(error),
    }
    Ok(())
}

const _: () = assert!(EntityKind::ALL.len() == 4, "a new kind of entity is checked and rebuilt here and in `views`");
