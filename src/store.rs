//! Which store the configuration names, opened for a server.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use adal_store::{
    Storage,
    cql::{CqlError, CqlStore},
    sqlite::{OpenError, SqliteStore},
};

use crate::{
    config::{Config, StoreKind},
    ring,
};

/// What keys are kept beside where the database is not a file: `data/adal.qr-keys`, `data/adal.hashing-key`.
const BESIDE: &str = "data/adal";

/// Why there is no store. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    /// The file.
    #[error("the store cannot be opened")]
    Sqlite(#[from] OpenError),
    /// The database.
    #[error("the store cannot be opened")]
    Cql(#[from] CqlError),
}

/// An open store.
pub(crate) struct OpenStore {
    pub(crate) store: Arc<dyn Storage>,
    /// The file of the key ring.
    pub(crate) ring: PathBuf,
    /// The file of the key of hashes.
    pub(crate) hashing: PathBuf,
}

/// Opens the store for a server, which is then the one that writes to it. A database that several servers share is waited
/// for until its entities are this one's; what is dropped meanwhile has taken nothing.
pub(crate) async fn open(config: &Config) -> Result<OpenStore, StoreOpenError> {
    let (store, beside): (Arc<dyn Storage>, PathBuf) = match config.store.kind {
        StoreKind::Sqlite => {
            let store = SqliteStore::open(config.store.sqlite.to_store())?;
            let beside = store.path().to_owned();
            (Arc::new(store), beside)
        }
        StoreKind::Cql => {
            let store = CqlStore::connect(config.store.cql.to_store()).await?;
            store.claim().await?;
            (Arc::new(store), Path::new(BESIDE).to_owned())
        }
    };
    let or = |given: &PathBuf, beside| if given.as_os_str().is_empty() { beside } else { given.clone() };
    let ring = or(&config.qr.file, ring::beside(&beside));
    let hashing = or(&config.hashing.file, ring::hashing_beside(&beside));
    Ok(OpenStore { store, ring, hashing })
}
