//! The catalogue as it stands.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use super::{Banner, CatalogueEvent};
use crate::{
    ids::{Actor, BannerId, OfferId},
    offers::{NormalCode, Offer, OfferKind},
    policy::Policy,
    time::Timestamp,
};

/// The catalogue. Copies share what they have in common: one of 10,000 offers is copied in the time of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct CatalogueState {
    /// 0 before the first change; then the number of commands that changed something.
    pub revision: u64,
    /// The policy, where one was set; else the configuration's holds.
    pub policy: Option<Arc<Policy>>,
    /// The revision of the policy's last change; 0 where none was set.
    pub policy_revision: u64,
    offers: RedBlackTreeMapSync<OfferId, OfferEntry>,
    banners: RedBlackTreeMapSync<BannerId, BannerEntry>,
    /// Whose each shared code is: counted from the offers, at hand.
    codes: RedBlackTreeMapSync<NormalCode, OfferId>,
    /// Bytes of all documents: counted, at hand.
    bytes: u64,
}

/// When and by whom a document was changed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// How often it has been put since it was made.
    pub version: u64,
    /// The catalogue's revision of its last change.
    pub revision: u64,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// An offer in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferEntry {
    /// Where it lives.
    pub kind: OfferKind,
    /// The document.
    pub offer: Arc<Offer>,
    /// Its last change.
    pub stamp: Stamp,
}

/// A banner in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BannerEntry {
    /// The document.
    pub banner: Arc<Banner>,
    /// Its last change.
    pub stamp: Stamp,
}

impl Default for CatalogueState {
    fn default() -> Self {
        Self {
            revision: 0,
            policy: None,
            policy_revision: 0,
            offers: RedBlackTreeMapSync::new_sync(),
            banners: RedBlackTreeMapSync::new_sync(),
            codes: RedBlackTreeMapSync::new_sync(),
            bytes: 0,
        }
    }
}

/// The catalogue as it is stored: what can be counted from the rest is left out.
#[derive(Serialize, Deserialize)]
struct Stored {
    revision: u64,
    policy: Option<Arc<Policy>>,
    /// Left out where the policy was the only document there was.
    #[serde(default)]
    policy_revision: Option<u64>,
    #[serde(default)]
    offers: Vec<(OfferId, OfferEntry)>,
    #[serde(default)]
    banners: Vec<(BannerId, BannerEntry)>,
}

impl From<CatalogueState> for Stored {
    fn from(state: CatalogueState) -> Self {
        Self {
            offers: state.offers.iter().map(|(id, entry)| (id.clone(), entry.clone())).collect(),
            banners: state.banners.iter().map(|(id, entry)| (id.clone(), entry.clone())).collect(),
            revision: state.revision,
            policy: state.policy,
            policy_revision: Some(state.policy_revision),
        }
    }
}

impl From<Stored> for CatalogueState {
    fn from(stored: Stored) -> Self {
        let mut state = Self {
            revision: stored.revision,
            policy_revision: stored.policy_revision.unwrap_or(stored.revision),
            policy: stored.policy,
            ..Self::default()
        };
        for (id, entry) in stored.offers {
            state.insert_offer(id, entry);
        }
        for (id, entry) in stored.banners {
            state.insert_banner(id, entry);
        }
        state
    }
}

/// The bytes of a document in its stored form.
pub(super) fn bytes_of<T: Serialize>(document: &T) -> u64 {
    // What has no stored form is refused by its size.
    rmp_serde::to_vec_named(document).map_or(u64::MAX, |bytes| bytes.len() as u64)
}

fn codes_of(offer: &Offer) -> impl Iterator<Item = NormalCode> + '_ {
    offer.codes.iter().filter_map(|code| NormalCode::new(code))
}

impl CatalogueState {
    /// An offer of either kind.
    #[must_use]
    pub fn offer(&self, id: &OfferId) -> Option<&OfferEntry> {
        self.offers.get(id)
    }

    /// All offers, by id.
    pub fn offers(&self) -> impl Iterator<Item = (&OfferId, &OfferEntry)> {
        self.offers.iter()
    }

    /// The offers of a kind, by id, after `after`.
    pub fn offers_of<'a>(
        &'a self,
        kind: OfferKind,
        after: Option<&'a OfferId>,
    ) -> impl Iterator<Item = (&'a OfferId, &'a OfferEntry)> + 'a {
        from(&self.offers, after).filter(move |(_, entry)| entry.kind == kind)
    }

    /// How many offers of both kinds there are.
    #[must_use]
    pub fn offer_count(&self) -> usize {
        self.offers.size()
    }

    /// A banner.
    #[must_use]
    pub fn banner(&self, id: &BannerId) -> Option<&BannerEntry> {
        self.banners.get(id)
    }

    /// All banners, by id, after `after`.
    pub fn banners<'a>(
        &'a self,
        after: Option<&'a BannerId>,
    ) -> impl Iterator<Item = (&'a BannerId, &'a BannerEntry)> + 'a {
        from(&self.banners, after)
    }

    /// How many banners there are.
    #[must_use]
    pub fn banner_count(&self) -> usize {
        self.banners.size()
    }

    /// The promo that a shared code belongs to, whatever its status.
    #[must_use]
    pub fn offer_of_code(&self, code: &NormalCode) -> Option<&OfferId> {
        self.codes.get(code)
    }

    /// The bytes of all offers and banners in their stored form.
    #[must_use]
    pub const fn document_bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn apply(&mut self, event: &CatalogueEvent) {
        let (revision, by, at) = event.stamp();
        self.revision = revision;
        let stamp = |version: u64| Stamp { version, revision, by: by.clone(), at };
        match event {
            CatalogueEvent::PolicySet { policy, .. } => {
                self.policy = Some(Arc::clone(policy));
                self.policy_revision = revision;
            }
            CatalogueEvent::OfferPut { kind, id, version, offer, .. } => {
                self.remove_offer(id);
                let entry = OfferEntry { kind: *kind, offer: Arc::clone(offer), stamp: stamp(*version) };
                self.insert_offer(id.clone(), entry);
            }
            CatalogueEvent::OfferDeleted { id, .. } => self.remove_offer(id),
            CatalogueEvent::BannerPut { id, version, banner, .. } => {
                self.remove_banner(id);
                let entry = BannerEntry { banner: Arc::clone(banner), stamp: stamp(*version) };
                self.insert_banner(id.clone(), entry);
            }
            CatalogueEvent::BannerDeleted { id, .. } => self.remove_banner(id),
        }
    }

    fn insert_offer(&mut self, id: OfferId, entry: OfferEntry) {
        for code in codes_of(&entry.offer) {
            self.codes.insert_mut(code, id.clone());
        }
        self.bytes = self.bytes.saturating_add(bytes_of(&entry.offer));
        self.offers.insert_mut(id, entry);
    }

    fn remove_offer(&mut self, id: &OfferId) {
        let Some(entry) = self.offers.get(id) else { return };
        let entry = entry.clone();
        for code in codes_of(&entry.offer) {
            // Within one command a code may pass on to another offer before this one gives it up.
            if self.codes.get(&code) == Some(id) {
                self.codes.remove_mut(&code);
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes_of(&entry.offer));
        self.offers.remove_mut(id);
    }

    fn insert_banner(&mut self, id: BannerId, entry: BannerEntry) {
        self.bytes = self.bytes.saturating_add(bytes_of(&entry.banner));
        self.banners.insert_mut(id, entry);
    }

    fn remove_banner(&mut self, id: &BannerId) {
        let Some(entry) = self.banners.get(id) else { return };
        self.bytes = self.bytes.saturating_sub(bytes_of(&entry.banner));
        self.banners.remove_mut(id);
    }

    pub(super) fn weight(&self) -> usize {
        // In memory a document takes about three times what it does on disk: texts become allocations of their own.
        const NODE: usize = 250;
        let nodes = self.offers.size() + self.banners.size() + self.codes.size();
        let documents = usize::try_from(self.bytes.saturating_mul(3)).unwrap_or(usize::MAX);
        (size_of::<Self>() + 1024 + nodes * NODE).saturating_add(documents)
    }

    pub(super) fn broken_invariants(&self) -> Vec<&'static str> {
        let mut broken = Vec::new();
        if self.policy.as_ref().is_some_and(|policy| policy.validate().is_err()) {
            broken.push("the policy in force is valid");
        }
        // The loop asks after every event in debug builds: above so many it is left to the tests.
        if self.offers.size() <= 1000 && !self.codes_are_their_offers() {
            broken.push("every code belongs to the one offer that lists it");
        }
        if self.banners.values().any(|b| b.banner.offer.as_ref().is_some_and(|id| !self.offers.contains_key(id))) {
            broken.push("a banner's offer exists");
        }
        broken
    }

    fn codes_are_their_offers(&self) -> bool {
        let listed: usize = self.offers.values().map(|entry| entry.offer.codes.len()).sum();
        listed == self.codes.size()
            && self.offers.iter().all(|(id, e)| codes_of(&e.offer).all(|code| self.codes.get(&code) == Some(id)))
    }
}

/// The entries after a key, or all.
fn from<'a, K: Ord, V>(
    map: &'a RedBlackTreeMapSync<K, V>,
    after: Option<&'a K>,
) -> impl Iterator<Item = (&'a K, &'a V)> + 'a {
    use std::ops::Bound::{Excluded, Unbounded};
    map.range((after.map_or(Unbounded, Excluded), Unbounded))
}
