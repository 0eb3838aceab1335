//! `adal views rebuild`: what is derived from the journal is made anew from it, in one transaction. The server must not
//! run: it would go on writing to what is being replaced.

use std::process::ExitCode;

use adal_actors::{ports::StoreError, replay};
use adal_domain::entity::{Entity, EntityKey};
use adal_store::{
    Storage,
    cql::{CqlStore, ViewRebuild, ViewsMade},
    sqlite::{Derived, DerivedRebuild, RebuildReport, Rebuilt, SqliteStore},
};

use super::{
    Done, block_on,
    kinds::{Visit, visit_all},
    print_json,
    store::claimed,
};
use crate::{
    config::{Config, StoreKind},
    store::refuse_a_part,
};

/// Rows given to the store at a time.
const BATCH: usize = 1000;

pub(super) fn rebuild(config: &Config, json: bool) -> Done {
    match config.store.kind {
        StoreKind::Sqlite => in_file(config, json),
        StoreKind::Cql => {
            let ViewsMade { views, timers, different } = block_on(async {
                let store = claimed(config).await?;
                let made = rebuild_shared(&store).await;
                store.close().await?;
                Ok::<_, Box<dyn std::error::Error>>(made?)
            })??;
            tell(views, timers, different, json)
        }
    }
}

fn in_file(config: &Config, json: bool) -> Done {
    let store = SqliteStore::open(config.store.sqlite.to_store())?;
    block_on(refuse_a_part(&store))??;
    let report = block_on(rebuild_all(&store))??;
    store.close()?;
    let RebuildReport { views, timers, different, .. } = report;
    tell(views, timers, different, json)
}

fn tell(views: u64, timers: u64, different: u64, json: bool) -> Done {
    if json {
        print_json(&serde_json::json!({ "views": views, "timers": timers, "different": different }))?;
    } else {
        println!("{views} rows of views, {timers} timers; {different} were missing, different or too many before");
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes views and timers of a shared database anew; the store has its shards.
///
/// # Errors
/// Where the journal cannot be read or the database not written; it is run again then.
pub async fn rebuild_shared(store: &CqlStore) -> Result<ViewsMade, StoreError> {
    let mut shared = Shared { store, rebuild: store.begin_rebuild().await? };
    visit_all(store, &mut shared).await?;
    shared.rebuild.finish().await
}

struct Shared<'a> {
    store: &'a CqlStore,
    rebuild: ViewRebuild,
}

impl Visit for Shared<'_> {
    type Stop = StoreError;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        let fold = replay::walk::<E>(self.store, &key.id, u64::MAX, |stored, state, event, index| {
            writes.extend(E::views(&key.id, state, event, stored.seq, index).into_iter().map(|w| (stored.seq, w)));
        })
        .await?;
        self.rebuild.entity(key, writes, E::next_wake(&fold.head.state)).await
    }
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
    let mut derive = Derive { store, session, batch: Vec::with_capacity(BATCH) };
    visit_all(store, &mut derive).await?;
    let Derive { session, batch, .. } = derive;
    session.add(batch).await?;
    Ok(session)
}

/// Gives the store what each entity's rows say its views and its timer are.
struct Derive<'a> {
    store: &'a SqliteStore,
    session: DerivedRebuild,
    batch: Vec<Rebuilt>,
}

impl Visit for Derive<'_> {
    type Stop = StoreError;

    async fn entity<E: Entity>(&mut self, key: &EntityKey) -> Result<(), StoreError> {
        let batch = &mut self.batch;
        let fold = replay::walk::<E>(self.store, &key.id, u64::MAX, |stored, state, event, index| {
            for write in E::views(&key.id, state, event, stored.seq, index) {
                batch.push(Rebuilt::View { entity: key.clone(), seq: stored.seq, write });
            }
        })
        .await?;
        batch.push(Rebuilt::Timer { entity: key.clone(), wake: E::next_wake(&fold.head.state) });
        if batch.len() >= BATCH {
            self.session.add(std::mem::take(batch)).await?;
        }
        Ok(())
    }
}
