//! What is SQLite's own: opening and refusing, group commit, faults, backups, damage, the stored form.

mod codes;
mod damage;
mod faults;
mod golden;
mod keys;
mod lifecycle;
mod rebuild;
mod touch;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use adal_actors::testing::MemoryStore;
use async_trait::async_trait;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{SqliteConfig, SqliteStore, shared::Planted, writer::Command};
use crate::conformance::{Factory, Ports, run};

/// A folder that goes with the test.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        // The store names its file as resolved, and the system's folder may be a link.
        Self(TempDir::new_in(std::env::temp_dir().canonicalize().unwrap()).unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn config(&self) -> SqliteConfig {
        SqliteConfig::new(self.path("store.db"))
    }

    pub(super) fn open(&self) -> SqliteStore {
        SqliteStore::open(self.config()).unwrap()
    }
}

impl SqliteStore {
    /// Runs something on the writer's own connection.
    pub(super) async fn on_writer(&self, run: impl FnOnce(&Connection) + Send + 'static) {
        let (done, answered) = oneshot::channel();
        self.send(Command::Run(Box::new(run), done)).unwrap();
        answered.await.unwrap();
    }

    /// Plants errors of COMMIT; the first one comes first.
    pub(super) fn plant(&self, planted: &[Planted]) {
        let all = planted.iter().rev().copied().collect();
        *self.inner.shared.planted.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    pub(super) fn ports(&self) -> Ports {
        let store = || Arc::new(self.clone());
        Ports { journal: store(), views: store(), codes: store(), counts: store(), periods: store() }
    }
}

#[derive(Default)]
struct OnSqlite {
    current: Mutex<Option<(Folder, SqliteStore)>>,
}

#[async_trait]
impl Factory for OnSqlite {
    async fn fresh(&self) -> Ports {
        let folder = Folder::new();
        let store = folder.open();
        let ports = store.ports();
        *self.current.lock().unwrap() = Some((folder, store));
        ports
    }

    async fn reopen(&self, ports: Ports) -> Ports {
        drop(ports);
        let (folder, store) = self.current.lock().unwrap().take().unwrap();
        store.close().unwrap();
        let store = folder.open();
        let ports = store.ports();
        *self.current.lock().unwrap() = Some((folder, store));
        ports
    }
}

struct InMemory;

#[async_trait]
impl Factory for InMemory {
    async fn fresh(&self) -> Ports {
        let store = Arc::new(MemoryStore::new());
        let same = || Arc::<MemoryStore>::clone(&store);
        Ports { journal: same(), views: same(), codes: same(), counts: same(), periods: same() }
    }

    async fn reopen(&self, ports: Ports) -> Ports {
        ports
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract_of_the_ports() {
    run(&OnSqlite::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_memory_keeps_the_contract_of_the_ports() {
    run(&InMemory).await;
}
