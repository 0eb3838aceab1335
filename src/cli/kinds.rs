//! Every kind of entity, for commands that go through a whole store.

use adal_actors::ports::{Journal, StoreError};
use adal_domain::{
    catalogue::Catalogue,
    customer::{Customer, Guest},
    entity::{Entity, EntityKey, EntityKind},
    promo::Promo,
};

/// Entities listed at a time.
const PAGE: usize = 500;

/// Something done with each entity, by its own rules.
pub(super) trait Visit {
    /// Why it stops.
    type Stop: From<StoreError>;

    /// One entity that has rows.
    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), Self::Stop>;
}

/// Visits all entities of a store, kind by kind, by id. Those of promos and the catalogue first: what others refer to.
pub(super) async fn visit_all<V: Visit>(journal: &dyn Journal, visit: &mut V) -> Result<(), V::Stop> {
    visit_kind::<Promo, V>(journal, visit).await?;
    visit_kind::<Catalogue, V>(journal, visit).await?;
    visit_kind::<Customer, V>(journal, visit).await?;
    visit_kind::<Guest, V>(journal, visit).await
}

const _: () = assert!(EntityKind::ALL.len() == 4, "a new kind of entity is visited here and in `of_kind`");

async fn visit_kind<E: Entity, V: Visit>(journal: &dyn Journal, visit: &mut V) -> Result<(), V::Stop> {
    let mut after: Option<Box<str>> = None;
    loop {
        let page = journal.entities(E::KIND, after.as_deref(), PAGE).await?;
        for key in &page {
            visit.entity::<E>(key).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
            _ => return Ok(()),
        }
    }
}

/// Visits one entity.
pub(super) async fn of_kind<V: Visit>(visit: &mut V, key: &EntityKey) -> Result<(), V::Stop> {
    match key.kind {
        EntityKind::Promo => visit.entity::<Promo>(key).await,
        EntityKind::Catalogue => visit.entity::<Catalogue>(key).await,
        EntityKind::Customer => visit.entity::<Customer>(key).await,
        EntityKind::Guest => visit.entity::<Guest>(key).await,
    }
}
