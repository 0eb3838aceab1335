//! The secrets under which addresses are hashed, one for each day, week and month that is not over.
//!
//! They stand in the store, beside the journal, and here as long as they are asked for. When a period is over its secret is
//! deleted; what promos still know of its addresses is noise then. Never in a row, an export, a log line.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use adal_actors::ports::{PERIOD_KEY_KEPT_S, PeriodKeys, StoreError};
use adal_domain::time::Timestamp;
use rand::{TryRngCore, rngs::OsRng};

/// Periods kept in mind: three that last, three that are just over, and as many for a clock that was set.
const KNOWN: usize = 12;

/// See the module.
#[derive(Default)]
pub struct AddressSecrets(Mutex<BTreeMap<Timestamp, [u8; 32]>>);

impl std::fmt::Debug for AddressSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AddressSecrets")
    }
}

impl AddressSecrets {
    /// The secret of the period that ends at `until`: made by whoever is first to ask for it.
    ///
    /// # Errors
    /// The store's; `unavailable` where the operating system gives no random bits.
    pub async fn of(&self, store: &dyn PeriodKeys, until: Timestamp) -> Result<[u8; 32], StoreError> {
        if let Some(known) = self.known().get(&until) {
            return Ok(*known);
        }
        let mut fresh = [0; 32];
        OsRng
            .try_fill_bytes(&mut fresh)
            .map_err(|error| StoreError::Unavailable(format!("no random bits: {error}").into()))?;
        let secret = store.period_key(until, fresh).await?;
        let mut known = self.known();
        known.insert(until, secret);
        while known.len() > KNOWN {
            known.pop_first();
        }
        Ok(secret)
    }

    /// The same for a trial, which makes none: of a period that nobody counted in any secret is right.
    #[must_use]
    pub fn tried(&self, until: Timestamp) -> [u8; 32] {
        self.known().get(&until).copied().unwrap_or_default()
    }

    /// Forgets the secrets of periods that are over, here and in the store.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(&self, store: &dyn PeriodKeys, now: Timestamp) -> Result<(), StoreError> {
        let before = now.plus_seconds(-PERIOD_KEY_KEPT_S);
        self.known().retain(|until, _| *until >= before);
        store.forget_period_keys(before).await
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Timestamp, [u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
