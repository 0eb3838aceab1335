//! Which store a command works on, and how it is opened: beside a server, or alone.

use std::{error::Error, path::Path, sync::Arc};

use adal_store::{
    Storage,
    cql::{CqlConfig, CqlStore},
    sqlite::{OpenError, SqliteStore},
};

use crate::config::{Config, StoreKind};

/// The store beside a server that may run; made where there is none yet, so that a key can be made before the first
/// start.
pub(super) async fn open_beside(config: &Config) -> Result<Arc<dyn Storage>, Box<dyn Error>> {
    if config.store.kind == StoreKind::Cql {
        return Ok(Arc::new(CqlStore::connect(config.store.cql.to_store()).await?));
    }
    let settings = config.store.sqlite.to_store();
    if !Path::new(&settings.path).exists() {
        // Made, and given up again: what follows is the same whether a server runs or not.
        match SqliteStore::open(settings.clone()) {
            Ok(store) => store.close()?,
            // A server that is just starting makes it.
            Err(OpenError::Locked { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Arc::new(SqliteStore::open_shared(settings)?))
}

/// The shared database for a tool that writes to it: waits until no server has the entities.
pub(super) async fn claimed(config: &Config) -> Result<CqlStore, Box<dyn Error>> {
    // Under a name that no server has: one of that name would be taken for an earlier process of this one, and deposed.
    let node = format!("tool-{:016x}", rand::random::<u64>());
    let store = CqlStore::connect(CqlConfig { node, ..config.store.cql.to_store() }).await?;
    eprintln!("waiting until no server has {}", store.place());
    store.claim().await?;
    Ok(store)
}

/// The whole store for a tool, which no server may have; `make`: also where there is none yet.
pub(super) async fn open_all(config: &Config, make: bool) -> Result<Arc<dyn Storage>, Box<dyn Error>> {
    if config.store.kind == StoreKind::Cql {
        return Ok(Arc::new(claimed(config).await?));
    }
    let settings = config.store.sqlite.to_store();
    if !make && !settings.path.exists() {
        return Err(format!("{}: there is no store here", settings.path.display()).into());
    }
    Ok(Arc::new(open_alone(config, "stop it first, or export a backup")?))
}

/// The store, which no server may have; `instead`: what to do where one has it.
pub(super) fn open_alone(config: &Config, instead: &str) -> Result<SqliteStore, Box<dyn Error>> {
    if config.store.kind == StoreKind::Cql {
        return Err(format!("store.kind is \"cql\", which this command does not write to by itself; {instead}").into());
    }
    match SqliteStore::open(config.store.sqlite.to_store()) {
        Ok(store) => Ok(store),
        Err(error @ OpenError::Locked { .. }) => Err(format!("{error}; or {instead}").into()),
        Err(error) => Err(error.into()),
    }
}
