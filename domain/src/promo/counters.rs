//! Counts per link key and per address, each in its period or for ever.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A keyed hash of an address, a phone or a payment means: opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(#[serde(with = "serde_bytes")] pub [u8; 16]);

/// What a key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// An address.
    Ip,
    /// A phone or a payment means.
    LinkKey,
}

/// One count: whose, and until when it matters. Sorted by time, so that what is over comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counter {
    /// The end of its period, or [`Counter::FOREVER`].
    pub until: Timestamp,
    /// What the key is of.
    pub scope: Scope,
    /// The key.
    pub hash: KeyHash,
}

impl Counter {
    /// The end of no period.
    pub const FOREVER: Timestamp = Timestamp(i64::MAX);

    /// Seconds that a count outlives its period: a hold of the period's last moment lasts an hour, and for 72 more it may
    /// be captured late, which counts where the hold counted. What comes after this is refused, so that no count begins
    /// anew.
    pub const KEPT_S: i64 = 74 * 3600;

    /// When the count is forgotten.
    #[must_use]
    pub const fn forgotten_at(&self) -> Timestamp {
        self.until.plus_seconds(Self::KEPT_S)
    }

    /// Whether a count of the period that ends at `until` is still known at `now`.
    #[must_use]
    pub const fn is_kept_until(until: Timestamp, now: Timestamp) -> bool {
        until.plus_seconds(Self::KEPT_S).0 > now.0
    }
}

/// What a counter has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counted {
    /// Uses held.
    pub held: u32,
    /// Uses taken.
    pub taken: u32,
    /// The greatest limit under which a use was accepted: held and taken never exceed it.
    pub most: u32,
}

impl Counted {
    /// Held and taken.
    #[must_use]
    pub const fn uses(&self) -> u32 {
        self.held.saturating_add(self.taken)
    }
}
