//! `adal migrate`: makes the tables of a CQL store, or brings them up to this version.

use std::process::ExitCode;

use adal_store::cql::{MigrateReport, migrate};

use super::{Done, block_on, print_json};
use crate::config::{Config, StoreKind};

pub(super) fn run(config: &Config, dry_run: bool, json: bool) -> Done {
    if config.store.kind == StoreKind::Sqlite {
        return Err("store.kind is \"sqlite\": its file is brought up to date when a server opens it".into());
    }
    let report = block_on(migrate(&config.store.cql.to_store(), dry_run))??;
    let MigrateReport { from, to, statements, warnings } = report;
    if json {
        let (statements, warnings) = (&statements, &warnings);
        print_json(&serde_json::json!({
            "from": from, "to": to, "dry_run": dry_run, "statements": statements, "warnings": warnings
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for statement in &statements {
        println!("{statement};");
    }
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    match (statements.is_empty(), dry_run) {
        (true, _) => eprintln!("nothing to do: the schema is at {to}"),
        (false, true) => eprintln!("would bring the schema from {from} to {to}"),
        (false, false) => eprintln!("the schema is at {to}"),
    }
    Ok(ExitCode::SUCCESS)
}
