//! `[store.cql]`: the database, as it is written in the configuration.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use adal_store::cql::{CqlConfig, CqlTls};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[store.cql]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct CqlKeys {
    pub contact_points: Vec<String>,
    pub keyspace: String,
    pub node: String,
    pub local_datacenter: String,
    pub take_from_datacenter: String,
    pub username: String,
    pub password: String,
    pub tls_ca: PathBuf,
    pub tls_certificate: PathBuf,
    pub tls_key: PathBuf,
    pub request_timeout_ms: u64,
    pub append_deadline_ms: u64,
    pub max_in_flight: usize,
    pub max_handles: usize,
    pub dead_after_ms: u64,
    pub beat_every_ms: u64,
    pub confirmed_within_ms: u64,
    pub replication: BTreeMap<String, u32>,
}

/// What this machine is called.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "adal".to_owned(),
        name => name.to_owned(),
    }
}

impl std::fmt::Debug for CqlKeys {
    /// As the store's, which leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_store().fmt(f)
    }
}

impl CqlKeys {
    /// As the store takes it.
    #[must_use]
    pub fn to_store(&self) -> CqlConfig {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let path = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let tls =
            path(&self.tls_ca).map(|ca| CqlTls { ca, identity: path(&self.tls_certificate).zip(path(&self.tls_key)) });
        CqlConfig {
            replication: self.replication.clone(),
            node: given(&self.node).unwrap_or_else(host),
            username: given(&self.username),
            password: given(&self.password),
            tls,
            local_datacenter: given(&self.local_datacenter),
            take_from_datacenter: given(&self.take_from_datacenter),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            append_deadline: Duration::from_millis(self.append_deadline_ms),
            max_in_flight: self.max_in_flight,
            max_handles: self.max_handles,
            dead_after: Duration::from_millis(self.dead_after_ms),
            beat_every: Duration::from_millis(self.beat_every_ms),
            confirmed_within: Duration::from_millis(self.confirmed_within_ms),
            ..CqlConfig::new(self.contact_points.clone(), &self.keyspace)
        }
    }

    /// What can be told without the database.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let rule = |key, rule: &str| Err(ConfigError::Rule { key, rule: rule.to_owned() });
        let times = [self.request_timeout_ms, self.append_deadline_ms, self.beat_every_ms, self.confirmed_within_ms];
        if times.contains(&0) || self.max_in_flight == 0 || self.max_handles == 0 {
            return rule("store.cql", "bounds and times must be 1 or more");
        }
        if self.node.len() > 64 {
            return rule("store.cql.node", "64 bytes at most: what this server is called, whenever it starts");
        }
        // Whoever serves without having looked for so long must not yet have been replaced, whatever its timers did.
        if self.beat_every_ms.saturating_mul(3) > self.confirmed_within_ms {
            return rule("store.cql.confirmed_within_ms", "must be three times beat_every_ms or more");
        }
        // So much passes before one of the same name is replaced: others must not be sooner.
        if self.confirmed_within_ms.saturating_add(self.beat_every_ms) > self.dead_after_ms {
            return rule("store.cql.dead_after_ms", "must be confirmed_within_ms and beat_every_ms together, or more");
        }
        if self.tls_ca.as_os_str().is_empty() != self.tls_certificate.as_os_str().is_empty()
            && self.tls_ca.as_os_str().is_empty()
        {
            return rule("store.cql.tls_ca", "is needed where there is a tls_certificate");
        }
        if self.tls_certificate.as_os_str().is_empty() != self.tls_key.as_os_str().is_empty() {
            return rule("store.cql.tls_key", "is given together with tls_certificate, or neither is");
        }
        self.to_store().check().map_err(|error| ConfigError::Rule { key: "store.cql", rule: error.to_string() })
    }
}
