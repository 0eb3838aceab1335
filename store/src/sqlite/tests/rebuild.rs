//! Rebuilding what is derived.

use adal_actors::ports::{ApiKeyRecord, ApiKeys, Append, Journal, OwedEffect, StoreError, Views};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View},
    time::Timestamp,
};

use super::Folder;
use crate::{
    conformance::{append, customer, row, write},
    sqlite::{Depth, Derived, Rebuilt, SqliteStore},
};

const ALL: Derived = Derived { views: true, timers: true, outbox: true };

/// A history with overwritten, removed and filtered rows of views.
fn history() -> Vec<Append> {
    let mut all = Vec::new();
    for number in 0..5 {
        let key = customer(&number.to_string());
        for seq in 1..=4 {
            let mut one = append(&key, row(seq));
            one.views.push(write(View::CardByBarcode, &format!("{number}"), "", Some(&format!("card {seq}"))));
            one.views.push(write(View::HoldById, &format!("{number}-{seq}"), "", Some("held")));
            if seq > 1 {
                one.views.push(write(View::HoldById, &format!("{number}-{}", seq - 1), "", None));
            }
            one.views.push(write(View::Signal, &format!("t{seq}-{number}"), ["odd", "even"][number % 2], Some("s")));
            one.wake = (seq != 3).then_some(Timestamp(i64::try_from(seq).unwrap() * 100));
            one.effects.push(Effect { target: EntityKey::new(EntityKind::Guest, "g"), command: vec![1, 2] });
            all.push(one);
        }
    }
    all
}

async fn filled(folder: &Folder) -> SqliteStore {
    let store = folder.open();
    for one in history() {
        store.append(one).await.unwrap();
    }
    store
}

/// What the journal's rows lead to.
fn derived() -> Vec<Rebuilt> {
    let mut all = Vec::new();
    for one in history() {
        let (entity, seq) = (one.entity, one.row.seq);
        all.extend(one.views.into_iter().map(|write| Rebuilt::View { entity: entity.clone(), seq, write }));
        all.extend(
            (0..)
                .zip(one.effects)
                .map(|(index, effect)| Rebuilt::Owed(OwedEffect { source: entity.clone(), seq, index, effect })),
        );
        all.push(Rebuilt::Timer { entity, wake: one.wake });
    }
    all
}

async fn everything(store: &SqliteStore) -> String {
    let mut all = String::new();
    for view in View::ALL {
        all += &format!("{:?}\n", store.list(view, None, None, 999).await.unwrap());
    }
    all += &format!("{:?}\n", store.list(View::Signal, Some("odd"), None, 999).await.unwrap());
    all += &format!("{:?}\n", store.due(Timestamp(i64::MAX), 999).await.unwrap());
    all + &format!("{:?}", store.owed(None, 999).await.unwrap())
}

#[tokio::test]
async fn what_is_rebuilt_equals_what_stood_there() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    let before = everything(&store).await;
    let rebuild = store.begin_rebuild(ALL).await.unwrap();
    rebuild.add(derived()).await.unwrap();
    let report = rebuild.compare().await.unwrap();
    assert_eq!((report.views, report.timers, report.owed, report.different), (5 + 5 + 20, 5, 20, 0));
    let rebuild = store.begin_rebuild(ALL).await.unwrap();
    rebuild.add(derived()).await.unwrap();
    assert_eq!(rebuild.finish().await.unwrap(), report);
    assert_eq!(everything(&store).await, before);
    assert!(store.check_file(Depth::Full).await.unwrap().is_sound());
}

#[tokio::test]
async fn a_rebuild_repairs_what_was_wrong_and_says_how_much() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    let before = everything(&store).await;
    let key = ApiKeyRecord {
        id: "k".into(),
        hash: [0; 32],
        role: "pos".into(),
        shop: None,
        created_at: Timestamp(0),
        revoked_at: None,
        label: None,
    };
    store.put_api_key(key.clone()).await.unwrap();
    store
        .on_writer(|conn| {
            conn.execute_batch(
                "DELETE FROM view WHERE key = '3'; UPDATE view SET value = x'00' WHERE key = '2';
                 INSERT INTO view SELECT name, 'extra', filter, kind, id, seq, sum, value FROM view WHERE key = '1';
                 UPDATE entity SET wake = 1 WHERE id = '4'; DELETE FROM outbox WHERE id = '1' AND seq = 2;",
            )
            .unwrap();
        })
        .await;
    let views = history().into_iter().flat_map(|one| {
        let (entity, seq) = (one.entity, one.row.seq);
        one.views.into_iter().map(move |write| (entity.clone(), seq, write))
    });
    assert_eq!(store.rebuild_views(views).await.unwrap().different, 2);
    assert_ne!(everything(&store).await, before, "timers and outbox were not asked for");
    let rebuild = store.begin_rebuild(ALL).await.unwrap();
    for one in derived() {
        rebuild.add(vec![one]).await.unwrap();
    }
    assert_eq!(rebuild.finish().await.unwrap().different, 2);
    assert_eq!(everything(&store).await, before);
    assert_eq!(store.list_api_keys().await.unwrap(), [key], "keys are not derived");
}

#[tokio::test]
async fn appends_wait_for_a_rebuild_and_one_that_is_dropped_changes_nothing() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    let before = everything(&store).await;
    let rebuild = store.begin_rebuild(ALL).await.unwrap();
    assert!(store.begin_rebuild(ALL).await.is_err(), "one at a time");
    let refused = store.append(append(&customer("0"), row(5))).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    drop(rebuild);
    store.append(append(&customer("new"), row(1))).await.unwrap();
    assert_eq!(everything(&store).await, before);
    store.begin_rebuild(ALL).await.unwrap().compare().await.unwrap();
}

#[tokio::test]
async fn an_older_row_never_overwrites_what_a_newer_one_wrote() {
    let folder = Folder::new();
    let store = folder.open();
    let (key, other) = (customer("c"), customer("d"));
    let write = |value| write(View::CardByBarcode, "b", "", value);
    let writes = vec![
        (key.clone(), 3, write(Some("third"))),
        (key.clone(), 2, write(Some("second, late"))),
        (key.clone(), 1, write(None)),
        (other, 9, write(None)),
    ];
    store.rebuild_views(writes).await.unwrap();
    assert_eq!(store.get(View::CardByBarcode, "b").await.unwrap().unwrap().value, b"third");
}
