//! Which store a command works on, and how it is opened: beside a server, or alone.

use std::{error::Error, path::Path, sync::Arc};

use adal_store::{
    Storage,
    sqlite::{OpenError, SqliteStore},
};

use crate::config::Config;

/// The store beside a server that may run; made where there is none yet, so that a key can be made before the first
/// start.
pub(super) async fn open_beside(config: &Config) -> Result<Arc<dyn Storage>, Box<dyn Error>> {
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

/// The store, which no server may have; `instead`: what to do where one has it.
pub(super) fn open_alone(config: &Config, instead: &str) -> Result<SqliteStore, Box<dyn Error>> {
    match SqliteStore::open(config.store.sqlite.to_store()) {
        Ok(store) => Ok(store),
        Err(error @ OpenError::Locked { .. }) => Err(format!("{error}; or {instead}").into()),
        Err(error) => Err(error.into()),
    }
}
