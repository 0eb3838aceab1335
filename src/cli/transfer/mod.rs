//! `adal export` and `adal import`: a whole store as one file, from one kind of store to another. No server may run on
//! either. Journal, snapshots, unique codes, counts and service keys are carried; views and timers follow from the journal; the
//! key ring of cards' codes is a file of its own.

mod export;
mod file;
mod import;

use std::{path::Path, process::ExitCode};

use adal_actors::ports::StoreError;

use self::file::{FileError, Totals};
use super::{
    Done, block_on, print_json,
    store::{open_all, open_to_import},
};
use crate::config::Config;

/// Why a store is not carried over.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}")]
    Other(String),
}

pub(super) fn export(config: &Config, path: &Path, resume: bool, json: bool) -> Done {
    let totals = block_on(async {
        let store = open_all(config).await?;
        let done = export::export(&*store, path, resume).await;
        store.close().await?;
        Ok::<_, Box<dyn std::error::Error>>(done?)
    })??;
    tell(path, totals, json)
}

pub(super) fn import(config: &Config, path: &Path, json: bool) -> Done {
    let totals = block_on(async {
        let [store, looking] = open_to_import(config).await?;
        let done = import::import(&store, &*looking, path).await;
        looking.close().await?;
        store.close().await?;
        Ok::<_, Box<dyn std::error::Error>>(done?)
    })??;
    tell(path, totals, json)
}

fn tell(path: &Path, totals: Totals, json: bool) -> Done {
    if json {
        print_json(&totals)?;
    } else {
        let Totals { entities, rows, jobs, codes, counts, keys } = totals;
        println!(
            "{}: {entities} entities with {rows} rows, {codes} unique codes of {jobs} jobs, {counts} days of banners, {keys} keys",
            path.display()
        );
        eprintln!("the key ring of cards' codes is not in it: carry it over by itself");
    }
    Ok(ExitCode::SUCCESS)
}
