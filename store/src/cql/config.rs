//! How a CQL store is opened, and why it cannot be.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use adal_actors::ports::StoreError;

use super::db::Failed;

/// How a client connects, and how long it waits for what. No limit of the database's own is here: see `schema.cql`.
#[derive(Clone)]
pub struct CqlConfig {
    /// `host:port` of some of the database's nodes; the others are found by them.
    pub contact_points: Vec<String>,
    /// The keyspace. Made by `adal migrate`, never by a server.
    pub keyspace: String,
    /// Copies by datacentre, of a keyspace that `adal migrate` makes; empty: it has to be there.
    pub replication: BTreeMap<String, u32>,
    /// What this server is called, whenever it starts: it may take over from an earlier process of the same name as soon as
    /// that serves nothing any more, `confirmed_within` and a beat after its last beat.
    pub node: String,
    /// Who logs in; `None`: nobody does.
    pub username: Option<String>,
    /// With which password.
    pub password: Option<String>,
    /// Whether the connections are encrypted, and whom they trust.
    pub tls: Option<CqlTls>,
    /// The datacentre whose replicas a quorum is of; `None`: the contact points'.
    pub local_datacenter: Option<String>,
    /// Another datacentre, in which nobody writes any more, and from which all that was written has come to ours: its shards
    /// may be taken. `None`: nobody says so.
    pub take_from_datacenter: Option<String>,
    /// How long a statement may take.
    pub request_timeout: Duration,
    /// How long an append is repeated before its caller is told that it is in doubt, and the reads of a list before it is
    /// given up.
    pub append_deadline: Duration,
    /// Statements in flight; one more is refused at once.
    pub max_in_flight: usize,
    /// A member whose beat has not moved for so long, by our own clock, is dead.
    pub dead_after: Duration,
    /// How often a member beats, and looks whether it is one still.
    pub beat_every: Duration,
    /// Nothing is served when ownership was last seen, or a beat last taken, longer ago than this.
    pub confirmed_within: Duration,
    /// Entities of which is remembered how their journal ends; others are read again.
    pub max_handles: usize,
}

/// Encryption of the connections.
#[derive(Debug, Clone, Default)]
pub struct CqlTls {
    /// PEM file with the certificates that the servers' are signed by.
    pub ca: PathBuf,
    /// PEM files of a certificate of our own and its key, where the servers ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl CqlConfig {
    /// The defaults, for these contact points.
    #[must_use]
    pub fn new(contact_points: Vec<String>, keyspace: &str) -> Self {
        Self {
            contact_points,
            keyspace: keyspace.to_owned(),
            replication: BTreeMap::new(),
            node: "adal".to_owned(),
            username: None,
            password: None,
            tls: None,
            local_datacenter: None,
            take_from_datacenter: None,
            request_timeout: Duration::from_secs(2),
            append_deadline: Duration::from_secs(10),
            max_in_flight: 1024,
            dead_after: Duration::from_secs(10),
            beat_every: Duration::from_secs(1),
            confirmed_within: Duration::from_secs(5),
            max_handles: 200_000,
        }
    }

    /// What can be told without the database.
    ///
    /// # Errors
    /// Says which key has no sense, and why.
    pub fn check(&self) -> Result<(), CqlError> {
        let bad = |key: &'static str, rule: String| Err(CqlError::Config { key, rule });
        if self.contact_points.is_empty() {
            return bad("contact_points", "one node at least, as host:port".to_owned());
        }
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let keyspace = &self.keyspace;
        if !keyspace.starts_with(|c: char| c.is_ascii_lowercase())
            || !keyspace.chars().all(letter)
            || keyspace.len() > 48
        {
            let rule = "a lower-case letter, then lower-case letters, digits and _, 48 at most";
            return bad("keyspace", format!("{rule}; it is {keyspace:?}"));
        }
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        for (datacenter, copies) in &self.replication {
            if datacenter.is_empty() || !datacenter.chars().all(name) {
                return bad("replication", format!("{datacenter:?} is no name of a datacentre"));
            }
            if !(1..=100).contains(copies) {
                return bad("replication", format!("1 to 100 copies; for {datacenter} it is {copies}"));
            }
        }
        if let Some(other) = &self.take_from_datacenter {
            if other.is_empty() || !other.chars().all(name) {
                return bad("take_from_datacenter", format!("{other:?} is no name of a datacentre"));
            }
            if self.local_datacenter.as_ref() == Some(other) {
                return bad("take_from_datacenter", "another datacentre than local_datacenter".to_owned());
            }
        }
        if self.username.is_some() != self.password.is_some() {
            return bad("password", "given together with username, or neither is".to_owned());
        }
        if self.max_in_flight == 0 {
            return bad("max_in_flight", "1 at least".to_owned());
        }
        Ok(())
    }
}

impl std::fmt::Debug for CqlConfig {
    /// Without the password: this ends up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CqlConfig")
            .field("contact_points", &self.contact_points)
            .field("keyspace", &self.keyspace)
            .field("node", &self.node)
            .field("username", &self.username)
            .field("tls", &self.tls)
            .field("local_datacenter", &self.local_datacenter)
            .finish_non_exhaustive()
    }
}

/// Why the store cannot be opened or claimed.
#[derive(Debug, thiserror::Error)]
pub enum CqlError {
    /// The configuration has no sense; says which key and why.
    #[error("store.cql.{key}: {rule}")]
    Config {
        /// The key, as in the configuration file.
        key: &'static str,
        /// What it has to be.
        rule: String,
    },
    /// No node answers, or none lets us in.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The schema is not the one that this program needs; says what to do.
    #[error("{0}")]
    Schema(String),
    /// A statement failed.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// The cluster's row cannot be read: of a newer format, or damaged.
    #[error("the row of the cluster cannot be read: {0}")]
    Cluster(String),
    /// The store was closed or its process deposed meanwhile.
    #[error("{0}")]
    Ended(Arc<str>),
}

impl From<Failed> for StoreError {
    /// For reads, and for writes that a caller may simply repeat.
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unknown(why) | Failed::NotDone(why) => Self::Unavailable(why),
            Failed::Unreadable(why) => Self::Corrupt(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(change: impl FnOnce(&mut CqlConfig)) -> String {
        let mut config = CqlConfig::new(vec!["127.0.0.1:9042".to_owned()], "adal");
        change(&mut config);
        config.check().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(field(|_| {}), "");
        assert!(field(|c| c.contact_points.clear()).starts_with("store.cql.contact_points: "));
        for name in ["", "Adal", "1a", "a-b", "a; DROP", &"a".repeat(49)] {
            assert!(field(|c| c.keyspace = name.to_owned()).starts_with("store.cql.keyspace: "), "{name}");
        }
        for (name, copies) in [("dc'1", 3), ("", 3), ("dc1", 0), ("dc1", 101)] {
            let error = field(|c| c.replication = BTreeMap::from([(name.to_owned(), copies)]));
            assert!(error.starts_with("store.cql.replication: "), "{name}: {error}");
        }
        for (ours, theirs) in [("dc1", "dc1"), ("dc2", "dc'1"), ("dc2", "")] {
            let error = field(|c| {
                c.local_datacenter = Some(ours.to_owned());
                c.take_from_datacenter = Some(theirs.to_owned());
            });
            assert!(error.starts_with("store.cql.take_from_datacenter: "), "{theirs}: {error}");
        }
        assert!(field(|c| c.username = Some("adal".to_owned())).starts_with("store.cql.password: "));
        assert!(field(|c| c.max_in_flight = 0).starts_with("store.cql.max_in_flight: "));
    }

    #[test]
    fn a_password_is_not_printed() {
        let mut config = CqlConfig::new(vec!["127.0.0.1:9042".to_owned()], "adal");
        config.password = Some("hunter2".to_owned());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
