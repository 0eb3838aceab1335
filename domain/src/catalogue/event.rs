//! What happens to the catalogue. Each event carries the whole document, who and when: with the event before it of the
//! same document it says what was changed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Banner, DocumentKind};
use crate::{
    ids::{Actor, BannerId, OfferId},
    offers::{Offer, OfferKind},
    policy::Policy,
    time::Timestamp,
};

/// What happened. All events of one command have the same revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogueEvent {
    /// The policy was replaced.
    PolicySet {
        /// The catalogue's revision from now on.
        revision: u64,
        /// The whole document.
        policy: Arc<Policy>,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// An offer was made or replaced.
    OfferPut {
        /// The catalogue's revision from now on.
        revision: u64,
        /// Where it lives.
        kind: OfferKind,
        /// Its id.
        id: OfferId,
        /// How often it has been put since it was made, this time included.
        version: u64,
        /// The whole document.
        offer: Arc<Offer>,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// An offer was deleted.
    OfferDeleted {
        /// The catalogue's revision from now on.
        revision: u64,
        /// Where it lived.
        kind: OfferKind,
        /// Its id.
        id: OfferId,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// A banner was made or replaced.
    BannerPut {
        /// The catalogue's revision from now on.
        revision: u64,
        /// Its id.
        id: BannerId,
        /// How often it has been put since it was made, this time included.
        version: u64,
        /// The whole document.
        banner: Arc<Banner>,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// A banner was deleted.
    BannerDeleted {
        /// The catalogue's revision from now on.
        revision: u64,
        /// Its id.
        id: BannerId,
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
    },
}

impl CatalogueEvent {
    /// Which document it is about; the policy's id is empty.
    #[must_use]
    pub fn document(&self) -> (DocumentKind, &str) {
        match self {
            Self::PolicySet { .. } => (DocumentKind::Policy, ""),
            Self::OfferPut { kind, id, .. } | Self::OfferDeleted { kind, id, .. } => ((*kind).into(), id.as_str()),
            Self::BannerPut { id, .. } | Self::BannerDeleted { id, .. } => (DocumentKind::Banner, id.as_str()),
        }
    }

    /// The catalogue's revision from then on, who and when.
    #[must_use]
    pub const fn stamp(&self) -> (u64, &Actor, Timestamp) {
        match self {
            Self::PolicySet { revision, by, at, .. }
            | Self::OfferPut { revision, by, at, .. }
            | Self::OfferDeleted { revision, by, at, .. }
            | Self::BannerPut { revision, by, at, .. }
            | Self::BannerDeleted { revision, by, at, .. } => (*revision, by, *at),
        }
    }
}
