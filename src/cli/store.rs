//! Which store a command works on, and how it is opened: beside a server, or alone.

use std::{error::Error, path::Path, sync::Arc};

use adal_store::{
    Storage,
    cql::{CqlConfig, CqlStore},
    sqlite::{OpenError, SqliteStore},
};

use crate::{
    config::{Config, StoreKind},
    store::refuse_a_part,
};

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
    let store = claim(config).await?;
    refuse_a_part(&store).await?;
    Ok(store)
}

async fn claim(config: &Config) -> Result<CqlStore, Box<dyn Error>> {
    // Under a name that no server has: one of that name would be taken for an earlier process of this one, and deposed.
    let node = format!("tool-{:016x}", rand::random::<u64>());
    let store = CqlStore::connect(CqlConfig { node, ..config.store.cql.to_store() }).await?;
    eprintln!("waiting until no server has {}", store.place());
    store.claim().await?;
    Ok(store)
}

/// The whole store for a tool, which no server may have.
pub(super) async fn open_all(config: &Config) -> Result<Arc<dyn Storage>, Box<dyn Error>> {
    if config.store.kind == StoreKind::Cql {
        return Ok(Arc::new(claimed(config).await?));
    }
    let path = config.store.sqlite.to_store().path;
    if !path.exists() {
        return Err(format!("{}: there is no store here", path.display()).into());
    }
    Ok(Arc::new(open_alone(config, "stop it first, or export a backup").await?))
}

/// The store that an import goes into, made where there is none yet, and the same one for who only looks and makes nothing
/// its own: what an import that was cut off has left must not be adopted.
pub(super) async fn open_to_import(config: &Config) -> Result<[Arc<dyn Storage>; 2], Box<dyn Error>> {
    if config.store.kind == StoreKind::Cql {
        let looking = CqlStore::connect(config.store.cql.to_store()).await?;
        return Ok([Arc::new(claim(config).await?), Arc::new(looking)]);
    }
    let store: Arc<dyn Storage> = Arc::new(alone(config, "stop it first")?);
    Ok([Arc::clone(&store), store])
}

/// The store, which no server may have; `instead`: what to do where one has it.
pub(super) async fn open_alone(config: &Config, instead: &str) -> Result<SqliteStore, Box<dyn Error>> {
    let store = alone(config, instead)?;
    refuse_a_part(&store).await?;
    Ok(store)
}

fn alone(config: &Config, instead: &str) -> Result<SqliteStore, Box<dyn Error>> {
    if config.store.kind == StoreKind::Cql {
        return Err(format!("store.kind is \"cql\", which this command does not write to by itself; {instead}").into());
    }
    match SqliteStore::open(config.store.sqlite.to_store()) {
        Ok(store) => Ok(store),
        Err(error @ OpenError::Locked { .. }) => Err(format!("{error}; or {instead}").into()),
        Err(error) => Err(error.into()),
    }
}
