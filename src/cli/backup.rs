//! `adal backup FILE`: a copy of the store as of one moment, also while a server runs.

use std::{path::Path, process::ExitCode};

use adal_store::sqlite::SqliteStore;

use super::{Done, block_on, print_json};
use crate::{
    config::{Config, StoreKind},
    ring,
    store::refuse_a_part,
};

pub(super) fn run(config: &Config, file: &Path, json: bool) -> Done {
    if config.store.kind == StoreKind::Cql {
        return Err(
            "store.kind is \"cql\": take the database's own snapshots, or `adal export` (docs/operating/scylla.md)"
                .into(),
        );
    }
    let store = SqliteStore::open_shared(config.store.sqlite.to_store())?;
    block_on(refuse_a_part(&store))??;
    let (ring, hashing) = (ring::beside(store.path()), ring::hashing_beside(store.path()));
    let report = block_on(store.backup(file))??;
    store.close()?;
    if json {
        print_json(&serde_json::json!({ "file": report.path, "bytes": report.bytes, "rows": report.rows }))?;
    } else {
        println!("{}: {} rows, {} bytes", report.path.display(), report.rows, report.bytes);
    }
    if config.qr.keys.is_empty() {
        eprintln!("keep {} with it: without it all cards' codes are void", ring.display());
    }
    if config.hashing.key.is_empty() {
        eprintln!("keep {} with it: without it limits per phone begin anew", hashing.display());
    }
    Ok(ExitCode::SUCCESS)
}
