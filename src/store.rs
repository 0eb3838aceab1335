//! Which store the configuration names, opened for a server.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use adal_actors::ports::StoreError;
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
    /// It does not say whether it is whole.
    #[error("the store cannot be read")]
    Read(#[from] StoreError),
    /// An import has not come to its end.
    #[error("{place}: {PART_OF_A_STORE}")]
    Part {
        /// Which store.
        place: String,
    },
}

/// What there is to say of a store into which an import was begun that has not come to its end.
pub(crate) const PART_OF_A_STORE: &str = "it is a part of a store: an import into it was cut off; run `adal import` with the \
     same file again, or remove this store (the file, or the keyspace) and begin anew";

/// Refuses a store into which an import was begun that has not come to its end, and closes it.
pub(crate) async fn refuse_a_part(store: &dyn Storage) -> Result<(), StoreOpenError> {
    if !store.is_importing().await? {
        return Ok(());
    }
    let place = store.place();
    store.close().await?;
    Err(StoreOpenError::Part { place })
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
    // Asked by who has the store: an import that is under way is waited for, as any other owner.
    refuse_a_part(&*store).await?;
    let or = |given: &PathBuf, beside| if given.as_os_str().is_empty() { beside } else { given.clone() };
    let ring = or(&config.qr.file, ring::beside(&beside));
    let hashing = or(&config.hashing.file, ring::hashing_beside(&beside));
    Ok(OpenStore { store, ring, hashing })
}
