//! Credentials: service keys, and customers' tokens.
//!
//! Both are looked at in memory: [`Auth`] holds a table of the keys' hashes and the public keys of the identity service,
//! swapped whole when [`Auth::refresh`], called every few seconds by one task, finds that the store or a file has
//! changed. While neither can be read, what was read last holds.

pub mod jwt;
pub mod keys;

use std::sync::atomic::{AtomicU64, Ordering};

use adal_actors::ports::{ApiKeys, StoreError};
use adal_domain::time::Timestamp;
use arc_swap::ArcSwap;

use self::{
    jwt::{JwtError, Tokens},
    keys::KeyTable,
};
use crate::{config::JwtConfig, http::extract::Principal};

/// See the module.
pub struct Auth {
    keys: ArcSwap<KeyTable>,
    version: AtomicU64,
    tokens: ArcSwap<Tokens>,
    config: JwtConfig,
}

impl Auth {
    /// Reads the identity service's public keys. No service key is known before the first [`Auth::refresh`].
    ///
    /// # Errors
    /// Where a file of keys cannot be read.
    pub fn new(config: JwtConfig) -> Result<Self, JwtError> {
        Ok(Self {
            keys: ArcSwap::from_pointee(KeyTable::default()),
            // No version of the store's is this one: the first refresh reads.
            version: AtomicU64::new(u64::MAX),
            tokens: ArcSwap::from_pointee(Tokens::read(&config)?),
            config,
        })
    }

    /// Whose credential this is.
    #[must_use]
    pub fn authenticate(&self, credential: &str, now: Timestamp) -> Option<Principal> {
        if credential.starts_with(keys::PREFIX) {
            self.keys.load().find(credential)
        } else {
            let customer_id = self.tokens.load().verify(credential, now).ok()?;
            Some(Principal::Customer { customer_id })
        }
    }

    /// Reads keys that were made or revoked since, and public keys whose files have changed.
    ///
    /// # Errors
    /// Where the store cannot be read; what is known stays.
    pub async fn refresh(&self, store: &dyn ApiKeys) -> Result<(), StoreError> {
        if self.tokens.load().is_outdated(&self.config) {
            match Tokens::read(&self.config) {
                Ok(tokens) => self.tokens.store(tokens.into()),
                Err(error) => tracing::error!(%error, "the identity service's keys stay as they were"),
            }
        }
        let seen = self.version.load(Ordering::Relaxed);
        if let Some((version, records)) = store.api_keys_changed_since(seen).await? {
            self.keys.store(KeyTable::new(&records).into());
            self.version.store(version, Ordering::Relaxed);
        }
        Ok(())
    }
}
