//! Where the store of a deployment is: in a file, or in a keyspace of a database, which may have been started for it alone.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use adal_store::testing::cassandra::{self, Cassandra};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// One file, one process.
    Sqlite,
    /// Apache Cassandra.
    Cql,
}

impl Store {
    /// As it is said on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Cql => "cql",
        }
    }

    /// How often Adal is killed on it, where nobody says how often: a start on a database is dearer.
    pub const fn kills(self) -> u32 {
        match self {
            Self::Sqlite => 200,
            Self::Cql => 50,
        }
    }
}

/// The variable with the file's path.
pub const FILE: &str = "ADAL__STORE__SQLITE__PATH";
/// The variable with the contact points.
pub const CONTACT_POINTS: &str = "ADAL__STORE__CQL__CONTACT_POINTS";
/// The variable with the keyspace.
pub const KEYSPACE: &str = "ADAL__STORE__CQL__KEYSPACE";

/// See the module.
#[derive(Debug)]
pub struct Place {
    /// What tells the program.
    pub(super) variables: Vec<(String, String)>,
    /// Whether `adal migrate` makes tables there.
    pub(super) has_tables: bool,
    /// What was started for it.
    pub(super) server: Option<Cassandra>,
}

impl Place {
    /// A file.
    pub fn file(path: &Path) -> Self {
        Self { variables: vec![(FILE.to_owned(), path.display().to_string())], has_tables: false, server: None }
    }

    /// A keyspace of its own on a database that others use too.
    pub fn beside_others(server: &Cassandra) -> Self {
        let variables = [
            ("ADAL__STORE__KIND", "cql".to_owned()),
            (CONTACT_POINTS, list(&server.contact_points())),
            (KEYSPACE, another_keyspace()),
            ("ADAL__STORE__CQL__REPLICATION", format!("{{datacenter1={}}}", server.contact_points().len())),
            // A node that asks nobody for a password takes any.
            ("ADAL__STORE__CQL__USERNAME", cassandra::USER.to_owned()),
            ("ADAL__STORE__CQL__PASSWORD", cassandra::PASSWORD.to_owned()),
            // A take-over every few seconds, not every ten; a restart after a kill waits for both of the others together.
            ("ADAL__STORE__CQL__DEAD_AFTER_MS", "6000".to_owned()),
            ("ADAL__STORE__CQL__CONFIRMED_WITHIN_MS", "3000".to_owned()),
            ("ADAL__STORE__CQL__BEAT_EVERY_MS", "1000".to_owned()),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { variables, has_tables: true, server: None }
    }

    /// A keyspace on a database that nobody else has: whatever is done to it is done to this deployment.
    pub fn alone_on(server: Cassandra) -> Self {
        let place = Self::beside_others(&server);
        Self { server: Some(server), ..place }
    }
}

/// Contact points as the configuration has them.
pub fn list(points: &[String]) -> String {
    format!("[{}]", points.iter().map(|point| format!("{point:?}")).collect::<Vec<_>>().join(", "))
}

/// The name of a keyspace that nobody has yet in this process.
pub fn another_keyspace() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("torture_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}
