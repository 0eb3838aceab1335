//! `adal views rebuild`: what is derived from the journal is made anew from it, in one transaction. The server must not
//! run: it would go on writing to what is being replaced.

use std::process::ExitCode;

use adal_actors::{
    ports::{Journal, StoreError},
    replay,
};
use adal_domain::{
    catalogue::Catalogue,
    customer::{Customer, Guest},
    entity::{Entity, EntityKey},
    promo::Promo,
};
use adal_store::sqlite::{Derived, DerivedRebuild, RebuildReport, Rebuilt, SqliteStore};

use super::{Done, block_on, print_json};
use crate::config::Config;

/// Rows given to the store at a time.
const BATCH: usize = 1000;
/// Entities listed at a time.
const PAGE: usize = 500;

pub(super) fn rebuild(config: &Config, json: bool) -> Done {
    let store = SqliteStore::open(config.store.sqlite.to_store())?;
    let report = block_on(rebuild_all(&store))??;
    store.close()?;
    let RebuildReport { views, timers, different, .. } = report;
    if json {
        print_json(&serde_json::json!({ "views": views, "timers": timers, "different": different }))?;
    } else {
        println!("{views} rows of views, {timers} timers; {different} were missing, different or too many before");
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes views and timers anew. The outbox stays: the journal does not say what was delivered, and the outbox does.
///
/// # Errors
/// Where the journal cannot be read or the store not written; what stood there then stays.
pub async fn rebuild_all(store: &SqliteStore) -> Result<RebuildReport, StoreError> {
    derived(store).await?.finish().await
}

/// In how many rows the views and timers that stand differ from what the journal says.
///
/// # Errors
/// As [`rebuild_all`].
pub async fn compare_all(store: &SqliteStore) -> Result<u64, StoreError> {
    Ok(derived(store).await?.compare().await?.different)
}

async fn derived(store: &SqliteStore) -> Result<DerivedRebuild, StoreError> {
    let session = store.begin_rebuild(Derived { views: true, timers: true, outbox: false }).await?;
    kind::<Promo>(store, &session).await?;
    kind::<Catalogue>(store, &session).await?;
    kind::<Customer>(store, &session).await?;
    kind::<Guest>(store, &session).await?;
    Ok(session)
}

async fn kind<E: Entity>(store: &SqliteStore, session: &DerivedRebuild) -> Result<(), StoreError> {
    let mut after: Option<Box<str>> = None;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let page: Vec<EntityKey> = store.entities(E::KIND, after.as_deref(), PAGE).await?;
        for key in &page {
            derive::<E>(store, key, &mut batch).await?;
            if batch.len() >= BATCH {
                session.add(std::mem::take(&mut batch)).await?;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
            _ => break,
        }
    }
    session.add(batch).await
}

/// One entity's rows say what its views and its timer are.
async fn derive<E: Entity>(store: &SqliteStore, key: &EntityKey, to: &mut Vec<Rebuilt>) -> Result<(), StoreError> {
    let fold = replay::walk::<E>(store, &key.id, u64::MAX, |stored, state, event, index| {
        for write in E::views(&key.id, state, event, stored.seq, index) {
            to.push(Rebuilt::View { entity: key.clone(), seq: stored.seq, write });
        }
    })
    .await?;
    to.push(Rebuilt::Timer { entity: key.clone(), wake: E::next_wake(&fold.head.state) });
    Ok(())
}
