//! The changes of each document, as a view: newest first, found by document. A row says where in the journal the change
//! stands; the documents themselves are read from there, so that they are stored once.

use serde::{Deserialize, Serialize};

use super::{CatalogueEvent, CatalogueState, DocumentKind};
use crate::{
    entity::{View, ViewWrite},
    ids::{Actor, BannerId, OfferId},
    time::Timestamp,
};

/// A change of a document, as the view keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The catalogue's revision from then on.
    pub revision: u64,
    /// How often the document had been put since it was made; 0: it was deleted.
    pub version: u64,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// The journal's row.
    pub seq: u64,
    /// The event in the row.
    pub index: u32,
}

/// What lists the changes of one document.
#[must_use]
pub fn filter_of(kind: DocumentKind, id: &str) -> String {
    format!("{}/{id}", kind.as_str())
}

/// The place of a revision's change of a document in the list.
#[must_use]
pub fn key_of(revision: u64, kind: DocumentKind, id: &str) -> String {
    format!("{revision:020}/{}/{id}", kind.as_str())
}

/// The events of one document in a row of the journal.
pub fn change_of<'a>(
    events: impl Iterator<Item = &'a CatalogueEvent>,
    recorded: &Recorded,
) -> Option<&'a CatalogueEvent> {
    events.zip(0_u32..).find(|(_, index)| *index == recorded.index).map(|(event, _)| event)
}

pub(super) fn views(state: &CatalogueState, event: &CatalogueEvent, seq: u64, index: u32) -> Vec<ViewWrite> {
    let (kind, id) = event.document();
    let (revision, by, at) = event.stamp();
    let version = match event {
        CatalogueEvent::PolicySet { .. } => revision,
        CatalogueEvent::OfferPut { version, .. } | CatalogueEvent::BannerPut { version, .. } => *version,
        CatalogueEvent::OfferDeleted { .. } | CatalogueEvent::BannerDeleted { .. } => 0,
    };
    debug_assert!(version == 0 || is_there(state, kind, id), "what was put is there");
    let recorded = Recorded { revision, version, by: by.clone(), at, seq, index };
    // A record of plain fields has a MessagePack form; without one the view would lack a line, and a rebuild finds it.
    let value = rmp_serde::to_vec_named(&recorded).ok();
    let (key, filter) = (key_of(revision, kind, id), filter_of(kind, id));
    vec![ViewWrite { view: View::CatalogueChange, key, filter, value }]
}

fn is_there(state: &CatalogueState, kind: DocumentKind, id: &str) -> bool {
    match kind {
        DocumentKind::Policy => state.policy.is_some(),
        DocumentKind::Promo | DocumentKind::Campaign => OfferId::new(id).is_ok_and(|id| state.offer(&id).is_some()),
        DocumentKind::Banner => BannerId::new(id).is_ok_and(|id| state.banner(&id).is_some()),
    }
}
