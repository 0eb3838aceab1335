//! What can be asked of the catalogue, and what it answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Banner;
use crate::{
    ids::{Actor, BannerId, OfferId},
    offers::{Offer, OfferKind},
    policy::Policy,
};

/// A kind of document in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DocumentKind {
    /// The policy: there is one.
    Policy,
    /// An offer that needs a code.
    Promo,
    /// An offer that needs none.
    Campaign,
    /// A banner.
    Banner,
}

impl DocumentKind {
    /// The word in answers, views and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Promo => "promo",
            Self::Campaign => "campaign",
            Self::Banner => "banner",
        }
    }

    /// The word for several of them: in paths and in folders.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Promo => "promos",
            Self::Campaign => "campaigns",
            Self::Banner => "banners",
        }
    }
}

impl From<OfferKind> for DocumentKind {
    fn from(kind: OfferKind) -> Self {
        match kind {
            OfferKind::Promo => Self::Promo,
            OfferKind::Campaign => Self::Campaign,
        }
    }
}

/// A change of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogueCommand {
    /// Replace the policy, even by the same.
    SetPolicy {
        /// The whole document.
        policy: Arc<Policy>,
        /// The revision of the policy's last change that the caller saw; another one there is a conflict.
        expected_revision: Option<u64>,
        /// Who.
        by: Actor,
    },
    /// Change documents, all or none.
    Change {
        /// At most [`MAX_CHANGES`](super::MAX_CHANGES), each of another document.
        changes: Vec<Change>,
        /// The catalogue's revision that the caller saw; another one there is a conflict.
        expected_revision: Option<u64>,
        /// Who.
        by: Actor,
    },
    /// Nothing is ever due.
    Wake,
}

/// A change of one document. `expected` is the revision of the document's last change that the caller saw: another one
/// there is a conflict (0: there was no such document).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Replace the policy.
    Policy {
        /// The whole document.
        policy: Arc<Policy>,
        /// See [`Change`].
        #[serde(default)]
        expected: Option<u64>,
    },
    /// Make an offer, or replace its document.
    PutOffer {
        /// Where it lives.
        kind: OfferKind,
        /// Its id.
        id: OfferId,
        /// The whole document.
        offer: Arc<Offer>,
        /// See [`Change`].
        #[serde(default)]
        expected: Option<u64>,
    },
    /// Delete an offer; its uses stay known.
    DeleteOffer {
        /// Where it lives.
        kind: OfferKind,
        /// Its id.
        id: OfferId,
        /// See [`Change`].
        #[serde(default)]
        expected: Option<u64>,
    },
    /// Make a banner, or replace its document.
    PutBanner {
        /// Its id.
        id: BannerId,
        /// The whole document.
        banner: Arc<Banner>,
        /// See [`Change`].
        #[serde(default)]
        expected: Option<u64>,
    },
    /// Delete a banner.
    DeleteBanner {
        /// Its id.
        id: BannerId,
        /// See [`Change`].
        #[serde(default)]
        expected: Option<u64>,
    },
}

impl Change {
    /// Which document it is about; the policy's id is empty.
    #[must_use]
    pub fn document(&self) -> (DocumentKind, &str) {
        match self {
            Self::Policy { .. } => (DocumentKind::Policy, ""),
            Self::PutOffer { kind, id, .. } | Self::DeleteOffer { kind, id, .. } => ((*kind).into(), id.as_str()),
            Self::PutBanner { id, .. } | Self::DeleteBanner { id, .. } => (DocumentKind::Banner, id.as_str()),
        }
    }

    /// Whether it removes the document.
    #[must_use]
    pub const fn removes(&self) -> bool {
        matches!(self, Self::DeleteOffer { .. } | Self::DeleteBanner { .. })
    }
}

/// The catalogue after a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueReply {
    /// Its revision.
    pub revision: u64,
    /// What became of each document, in the order of the command's changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed>,
}

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Changed {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its id; empty for the policy.
    pub id: Box<str>,
    /// What was done.
    pub outcome: Outcome,
    /// How often it has been put since it was made, this time included; 0 where it is gone.
    pub version: u64,
    /// The catalogue's revision of its last change.
    pub revision: u64,
}

/// What was done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Outcome {
    /// It was not there.
    Added,
    /// It was there with another content.
    Changed,
    /// It was there with this content: nothing was done.
    Same,
    /// It is gone.
    Removed,
}
