//! The configuration: `config/default.toml`, compiled in, under a file, under variables.
//!
//! Read once at start and shared as it is; nothing here changes while the server runs. Every key stands in
//! `default.toml` with its meaning; the types below have no defaults of their own, so the two cannot part.

mod cql;
mod values;

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use adal_actors::{
    RegistryConfig,
    steady::{Belief, LONGEST},
};
use adal_domain::policy::Policy;
use adal_store::sqlite::SqliteConfig;
use figment::{
    Figment,
    providers::{Env, Format as _, Toml},
};
use serde::{Deserialize, Serialize};

pub use self::{
    cql::CqlKeys,
    values::{Network, Share, decode_secret},
};
use crate::http::routes::orders;

/// The defaults: every key with its meaning.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// Everything that can be configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    pub server: ServerConfig,
    /// The metrics' own listener.
    pub metrics: MetricsConfig,
    /// Log lines.
    pub log: LogConfig,
    /// When the machine's clock is believed.
    pub clock: ClockConfig,
    /// Where data is kept.
    pub store: StoreConfig,
    /// Entities in memory.
    pub actors: ActorsConfig,
    /// Secrets of cards' codes.
    pub qr: QrConfig,
    /// The key of hashes.
    pub hashing: HashingConfig,
    /// Credentials.
    pub auth: AuthConfig,
    /// Rate limits.
    pub limits: LimitsConfig,
    /// Feature flags.
    pub flags: FlagsConfig,
    /// The policy until the catalogue has one.
    pub policy: Policy,
}

/// `[clock]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct ClockConfig {
    pub max_step_s: u64,
    pub adopt_after_s: u64,
}

/// `[server]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct ServerConfig {
    pub listen: String,
    pub workers: usize,
    pub max_connections: usize,
    pub body_limit_bytes: usize,
    pub bulk_body_limit_bytes: usize,
    pub body_timeout_s: u64,
    pub request_timeout_s: u64,
    pub keep_alive_s: u64,
    pub stop_within_s: u64,
    pub trusted_proxies: Vec<Network>,
}

/// `[metrics]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct MetricsConfig {
    pub listen: String,
}

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct LogConfig {
    pub format: LogFormat,
    pub level: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `[store]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct StoreConfig {
    pub kind: StoreKind,
    pub sqlite: SqliteKeys,
    pub cql: CqlKeys,
}

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// One file, embedded.
    Sqlite,
    /// ScyllaDB, or Apache Cassandra.
    Cql,
}

/// `[store.sqlite]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct SqliteKeys {
    pub path: PathBuf,
    pub queue: usize,
    pub max_batch_rows: usize,
    pub readers: usize,
    pub cache_kib: u32,
    pub checkpoint_pages: u32,
}

/// `[actors]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct ActorsConfig {
    pub arbiters: usize,
    pub queue_per_entity: usize,
    pub max_live: usize,
    pub max_live_bytes: usize,
    pub rest_after_s: u64,
    pub idle_after_s: u64,
    pub snapshot_every_rows: u64,
    pub ask_deadline_ms: u64,
    pub remember_for_h: u64,
    pub max_remembered: usize,
    pub quarantine_after_panics: u32,
    pub timer_every_ms: u64,
}

/// `[qr]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct QrConfig {
    pub current: u8,
    pub file: PathBuf,
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
}

/// `[hashing]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct HashingConfig {
    pub key: String,
    pub file: PathBuf,
}

/// `[auth]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct AuthConfig {
    pub refresh_s: u64,
    pub jwt: JwtConfig,
}

/// `[auth.jwt]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct JwtConfig {
    pub public_key_files: Vec<PathBuf>,
    pub jwks_file: PathBuf,
    pub issuer: String,
    pub audience: String,
    pub leeway_s: u64,
}

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct LimitsConfig {
    pub enabled: bool,
    pub burst_s: NonZeroU32,
    pub remembered: usize,
    pub address: Rates,
    pub key: Rates,
    pub customer: Rates,
}

/// Requests per second, by class of route.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct Rates {
    pub read_per_s: NonZeroU32,
    pub write_per_s: NonZeroU32,
    pub bulk_per_s: NonZeroU32,
}

/// `[flags]`: section, then name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct FlagsConfig {
    pub loyalty: LoyaltyFlags,
    pub marketing: MarketingFlags,
    pub reputation: ReputationFlags,
    pub support: SupportFlags,
    pub trust: TrustFlags,
}

/// `[flags.loyalty]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct LoyaltyFlags {
    pub earn: Share,
    pub burn: Share,
}

/// `[flags.marketing]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct MarketingFlags {
    pub promos: Share,
    pub campaigns: Share,
    pub banners: Share,
}

/// `[flags.reputation]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct ReputationFlags {
    pub reviews: Share,
}

/// `[flags.support]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct SupportFlags {
    pub issues: Share,
    pub disputes: Share,
    pub auto_resolve: Share,
}

/// `[flags.trust]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml says what each key means")]
pub struct TrustFlags {
    pub limits: Share,
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file given cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key is unknown, or its value is of another kind.
    #[error("the configuration is not valid: {0}")]
    Invalid(#[source] Box<figment::Error>),
    /// A value breaks a rule.
    #[error("the configuration is not valid: {key}: {rule}")]
    Rule {
        /// Which key.
        key: &'static str,
        /// What it breaks.
        rule: String,
    },
}

impl Config {
    /// Reads the defaults, the file (if one is given) and the process's variables.
    ///
    /// # Errors
    /// See [`ConfigError`]: each names the key.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?
            }
            None => String::new(),
        };
        Self::read(&text, Env::prefixed("ADAL__").split("__"))
    }

    /// The defaults alone.
    ///
    /// # Errors
    /// Never, as long as `default.toml` is sound; a test says so.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::read("", Env::prefixed("ADAL__").only(&[]))
    }

    fn read(file: &str, variables: Env) -> Result<Self, ConfigError> {
        let layers = Figment::from(Toml::string(DEFAULT)).merge(Toml::string(file)).merge(variables);
        let config: Self = layers.extract().map_err(|error| ConfigError::Invalid(Box::new(error)))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let rule = |key, rule: &str| Err(ConfigError::Rule { key, rule: rule.to_owned() });
        self.policy.validate().map_err(|e| ConfigError::Rule { key: "policy", rule: e.detail })?;
        if self.store.kind == StoreKind::Cql {
            self.store.cql.check()?;
        }
        for (key, id) in self.qr.keys.iter().map(|(id, secret)| (secret, id)) {
            if id.parse::<u8>().is_err() {
                return rule("qr.keys", "ids are numbers from 0 to 255");
            }
            if decode_secret(key).is_none_or(|secret| secret.len() < 32) {
                return rule("qr.keys", "each key is hex or base64 of 32 bytes or more");
            }
        }
        if !self.qr.keys.is_empty() && !self.qr.keys.contains_key(&self.qr.current.to_string()) {
            return rule("qr.current", "is not among qr.keys");
        }
        if !self.hashing.key.is_empty() && decode_secret(&self.hashing.key).is_none_or(|key| key.len() != 32) {
            return rule("hashing.key", "must be hex or base64 of 32 bytes, or empty");
        }
        let server = &self.server;
        if server.request_timeout_s == 0 || server.body_timeout_s == 0 || server.max_connections == 0 {
            return rule("server", "time-outs and max_connections must be 1 or more");
        }
        if self.clock.max_step_s == 0 || self.clock.adopt_after_s == 0 {
            return rule("clock", "max_step_s and adopt_after_s must be 1 or more");
        }
        let actors = &self.actors;
        if actors.remember_for_h > LONGEST.as_secs() / 3600 {
            return rule("actors.remember_for_h", "must be 744 (31 days) or less");
        }
        if [actors.queue_per_entity, actors.max_live, actors.max_live_bytes, actors.max_remembered].contains(&0)
            || [actors.ask_deadline_ms, actors.timer_every_ms, actors.remember_for_h].contains(&0)
            || [actors.rest_after_s, actors.idle_after_s].contains(&0)
        {
            return rule("actors", "bounds and times must be 1 or more (arbiters may be 0)");
        }
        if actors.queue_per_entity < orders::MOST {
            let least = orders::MOST;
            let text = format!("must be {least} or more: a list of {least} order events may be one customer's");
            return rule("actors.queue_per_entity", &text);
        }
        if self.auth.refresh_s == 0 || self.auth.refresh_s > 5 {
            return rule("auth.refresh_s", "must be 1 to 5: a revoked key counts no more within 5 s");
        }
        Ok(())
    }

    /// What is in force, as TOML, with secrets masked.
    ///
    /// # Errors
    /// Where it has no TOML form; it always has.
    pub fn masked(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(&self.without_secrets())
    }

    /// The same configuration with secrets masked.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        let secrets = shown.qr.keys.values_mut().chain([&mut shown.store.cql.password, &mut shown.hashing.key]);
        secrets.filter(|secret| !secret.is_empty()).for_each(|secret| "***".clone_into(secret));
        shown
    }
}

impl ClockConfig {
    /// As the clock takes it.
    #[must_use]
    pub const fn belief(&self) -> Belief {
        Belief { max_step: Duration::from_secs(self.max_step_s), adopt_after: Duration::from_secs(self.adopt_after_s) }
    }
}

impl SqliteKeys {
    /// As the store takes it.
    #[must_use]
    pub fn to_store(&self) -> SqliteConfig {
        SqliteConfig {
            path: self.path.clone(),
            queue: self.queue,
            max_batch_rows: self.max_batch_rows,
            readers: self.readers,
            cache_kib: self.cache_kib,
            checkpoint_pages: self.checkpoint_pages,
        }
    }
}

impl ActorsConfig {
    /// As a registry takes it.
    #[must_use]
    pub const fn to_registry(&self) -> RegistryConfig {
        RegistryConfig {
            arbiters: self.arbiters,
            queue_per_entity: self.queue_per_entity,
            max_live: self.max_live,
            max_live_bytes: self.max_live_bytes,
            rest_after: Duration::from_secs(self.rest_after_s),
            idle_after: Duration::from_secs(self.idle_after_s),
            snapshot_every_rows: self.snapshot_every_rows,
            ask_deadline: Duration::from_millis(self.ask_deadline_ms),
            remember_for: Duration::from_secs(self.remember_for_h * 3600),
            max_remembered: self.max_remembered,
            quarantine_after_panics: self.quarantine_after_panics,
        }
    }
}

#[cfg(test)]
mod tests;
