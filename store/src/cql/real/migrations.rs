//! `migrate` on a real keyspace.

use super::{
    super::{
        config::CqlError,
        db::{Database, Failed},
        migrate::{check, migrate},
        session::Session,
    },
    config, connect,
};
use crate::testing::cassandra::shared;

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_once_by_one_at_a_time_and_newer_ones_refused() {
    let server = shared().await;
    let config = config(&server, "migrated");
    let bare = Session::connect(config.clone()).await.unwrap();
    let missing = check(&bare).await.unwrap_err().to_string();
    assert!(missing.contains("no keyspace migrated") && missing.contains("adal migrate"), "{missing}");

    let planned = migrate(&config, true).await.unwrap();
    let latest = planned.to;
    assert_eq!((planned.from, latest), (0, 2));
    assert!(planned.statements[0].starts_with("CREATE KEYSPACE IF NOT EXISTS migrated "), "{:?}", planned.statements);
    assert!(check(&bare).await.is_err(), "a dry run changes nothing");

    let done = migrate(&config, false).await.unwrap();
    assert_eq!(done.statements, planned.statements);
    assert!(done.warnings.iter().any(|warning| warning.contains("one copy in datacenter1")), "{:?}", done.warnings);
    assert!(
        !done.warnings.iter().any(|warning| warning.contains("commitlog_sync")),
        "it is batch: {:?}",
        done.warnings
    );
    check(&bare).await.unwrap();

    let again = migrate(&config, false).await.unwrap();
    assert_eq!((again.from, again.statements.len()), (latest, 0), "run twice, there is nothing to do");

    // One that was broken off: not recorded, and run again whole.
    let driver = bare.driver();
    driver.query_unpaged("DELETE FROM migrated.migration WHERE version IN (1, 2)", ()).await.unwrap();
    let (_, statements) = connect(config.clone()).await;
    driver.query_unpaged("DROP TABLE migrated.meta", ()).await.unwrap();
    let written = statements.put_meta("number", 1).await;
    assert!(matches!(written, Err(Failed::NotDone(_))), "there is no such table: {written:?}");
    let behind = check(&bare).await.unwrap_err().to_string();
    assert!(behind.contains(&format!("has migration 0, this version needs {latest}")), "{behind}");
    // Two at once: one is refused.
    let lock = "INSERT INTO migrated.migration (version, who) VALUES (0, 'somebody') IF NOT EXISTS";
    driver.query_unpaged(lock, ()).await.unwrap();
    let refused = migrate(&config, false).await.unwrap_err().to_string();
    assert!(refused.contains("at work (somebody)"), "{refused}");
    driver.query_unpaged("DELETE FROM migrated.migration WHERE version = 0 IF EXISTS", ()).await.unwrap();
    let mended = migrate(&config, false).await.unwrap();
    assert_eq!((mended.from, mended.statements.len()), (0, done.statements.len() - 1));
    driver.query_unpaged("SELECT value FROM migrated.meta", ()).await.unwrap();

    driver.query_unpaged("INSERT INTO migrated.migration (version) VALUES (99)", ()).await.unwrap();
    for refused in [migrate(&config, false).await.map(drop), migrate(&config, true).await.map(drop), check(&bare).await]
    {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("has migration 99") && refused.contains("newer version"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyspace_is_not_made_without_being_told_how_often_to_copy_it() {
    let server = shared().await;
    let mut config = config(&server, "nobody_said");
    config.replication.clear();
    let refused = migrate(&config, false).await.unwrap_err();
    assert!(matches!(refused, CqlError::Config { key: "replication", .. }), "{refused}");
    config.local_datacenter = Some("elsewhere".to_owned());
    config.replication = [("datacenter1".to_owned(), 1)].into();
    let refused = migrate(&config, false).await.unwrap_err();
    assert!(matches!(refused, CqlError::Config { key: "local_datacenter", .. }), "{refused}");
    config.local_datacenter = Some("datacenter1".to_owned());
    migrate(&config, true).await.unwrap();
    // Where none is named, it is the one that was found from then on.
    config.local_datacenter = None;
    let session = Session::connect(config).await.unwrap();
    assert_eq!(session.config().local_datacenter.as_deref(), Some("datacenter1"));
}
