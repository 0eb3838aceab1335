//! What becomes of statements when the database is slow, full, away, or not what it should be; and TLS and passwords.

use std::{sync::Arc, time::Duration};

use adal_domain::{
    entity::{EntityKey, EntityKind},
    time::Timestamp,
};
use tokio::time::{Instant, timeout};

use super::{
    super::{
        config::{CqlError, CqlTls},
        db::{Beat, Database, Failed, JournalRow, Place, Stretch},
        driver::Driver,
        session::Session,
    },
    config, connect, tests,
};
use crate::testing::cassandra::{alone, shared};

/// How soon a database that is back is found again, counted from when its port takes connections. It takes one to three
/// seconds: a new session is tried each second, and the node has just begun.
const BACK: Duration = Duration::from_secs(10);
/// How long something may take that takes a second where nothing else is going on.
const SOON: Duration = Duration::from_secs(120);

fn customer(id: &str) -> EntityKey {
    EntityKey::new(EntityKind::Customer, id)
}

fn row(seq: u64) -> JournalRow {
    JournalRow {
        place: Place { seq, epoch: 1 },
        parent_epoch: 1,
        at: Timestamp(7),
        format: 1,
        body: vec![1; 100],
        bucket: 3,
        wake: None,
        derived: None,
    }
}

const ALL: Stretch = Stretch { after: Place::FIRST, before: Place::LAST, descending: false, limit: 1000 };

/// Repeats a row until it is there, as the journal does.
async fn insist(driver: &Driver, whose: &EntityKey, seq: u64) {
    let insisting = async {
        while driver.insert_row(whose, &row(seq)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, insisting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_loses_nothing_and_is_found_again_without_a_restart() {
    let mut server = alone().await;
    let (session, driver) = connect(tests(&server).await).await;
    let somebody = || customer("killed");
    let driver = Arc::new(driver);
    // Inserts go on while it is killed: each is repeated until it is done.
    let inserts = tokio::spawn({
        let driver = Arc::clone(&driver);
        async move {
            for seq in 1..=200 {
                insist(&driver, &customer("killed"), seq).await;
            }
        }
    });
    while driver.rows(&somebody(), ALL).await.unwrap().len() < 20 {
        tokio::task::yield_now().await;
    }
    server.kill();

    // Not sent, and said so: not more often than every so often, however eagerly it is repeated.
    let until_away =
        async { while !matches!(driver.insert_row(&somebody(), &row(1000)).await, Err(Failed::NotDone(_))) {} };
    timeout(SOON, until_away).await.unwrap();
    assert!(session.is_away());
    let begun = Instant::now();
    for _ in 0..10 {
        assert!(matches!(driver.insert_row(&somebody(), &row(1000)).await, Err(Failed::NotDone(_))));
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "it spins: {:?}", begun.elapsed());

    server.restart().unwrap();
    let back = Instant::now();
    let mut answer = driver.rows(&somebody(), ALL).await;
    while answer.is_err() {
        assert!(back.elapsed() < SOON, "{answer:?}");
        answer = driver.rows(&somebody(), ALL).await;
    }
    let found = back.elapsed();
    println!("answers again {found:?} after the port opened");
    assert!(found <= BACK, "{found:?}");
    timeout(SOON, inserts).await.unwrap().unwrap();
    assert!(!session.is_away());
    let found = driver.rows(&somebody(), ALL).await.unwrap();
    assert_eq!(found.iter().map(|row| row.place.seq).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_leaves_the_outcome_open_and_the_room_bounded() {
    let mut server = alone().await;
    let somebody = || customer("paused");
    let mut config = tests(&server).await;
    (config.request_timeout, config.max_in_flight) = (Duration::from_secs(3), 2);
    let (session, driver) = connect(config).await;
    let driver = Arc::new(driver);
    insist(&driver, &somebody(), 1).await;
    server.pause().unwrap();

    // Two take all the room, and a third is refused at once; where the machine stood still for so long that they were
    // given up before we looked, two others do.
    let insert = |seq| {
        let driver = Arc::clone(&driver);
        tokio::spawn(async move { driver.insert_row(&customer("paused"), &row(seq)).await })
    };
    let meeting = async {
        loop {
            let (first, second) = (insert(2), insert(3));
            while session.free_room() > 0 && !first.is_finished() && !second.is_finished() {
                tokio::task::yield_now().await;
            }
            if let Err(Failed::NotDone(why)) = driver.insert_row(&somebody(), &row(4)).await {
                assert!(why.contains("too many statements"), "{why}");
                break (first, second);
            }
        }
    };
    let (first, second) = timeout(SOON, meeting).await.unwrap();
    // What says that a server lives has room of its own.
    let beat = Beat { member: "m".to_owned(), beat: 1, at: Timestamp(1) };
    let outcome = driver.put_beat(&beat).await;
    assert!(matches!(outcome, Err(Failed::Unknown(_))), "{outcome:?}");
    for outcome in [first.await.unwrap(), second.await.unwrap()] {
        assert!(matches!(outcome, Err(Failed::Unknown(_))), "{outcome:?}");
    }
    assert!(matches!(driver.rows(&somebody(), ALL).await, Err(Failed::Unknown(_))));

    server.resume().unwrap();
    insist(&driver, &somebody(), 4).await;
    driver.put_beat(&beat).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_unreadable() {
    let server = shared().await;
    let (session, driver) = connect(tests(&server).await).await;
    let raw = session.driver();
    let somewhere = "INSERT INTO tests.recent (shard, bucket, kind, id) VALUES (1, 2, 'unicorn', 'u1')";
    raw.query_unpaged(somewhere, ()).await.unwrap();
    let read = driver.recent(1, 2, None, 10).await;
    assert!(matches!(&read, Err(Failed::Unreadable(why)) if why.contains("unicorn")), "{read:?}");

    // A column without a value: nothing that this program writes.
    raw.query_unpaged("INSERT INTO tests.journal (kind, id, seq, epoch) VALUES ('customer', 'nonsense', 1, 1)", ())
        .await
        .unwrap();
    let read = driver.rows(&customer("nonsense"), ALL).await;
    assert!(matches!(read, Err(Failed::Unreadable(_))), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyspace_that_is_not_there_refuses_every_statement() {
    let server = shared().await;
    let session = Session::connect(config(&server, "not_there")).await.unwrap();
    let prepared = Driver::new(session).await;
    assert!(matches!(prepared, Err(Failed::NotDone(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_and_strangers_stay_out() {
    let server = shared().await;
    let mut secure = tests(&server).await;
    let somebody = customer("secret");
    let (_, driver) = connect(secure.clone()).await;
    driver.insert_row(&somebody, &row(1)).await.unwrap();

    secure.tls = Some(CqlTls { ca: server.ca_file(), identity: None });
    let (_, over_tls) = connect(secure.clone()).await;
    assert_eq!(over_tls.rows(&somebody, ALL).await.unwrap().len(), 1);

    // A certificate that is good, of somebody else.
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), OTHER_AUTHORITY).unwrap();
    secure.tls = Some(CqlTls { ca: other.path().to_owned(), identity: None });
    let refused = Session::connect(secure.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");

    std::fs::write(other.path(), "no certificate").unwrap();
    let refused = Session::connect(secure).await.unwrap_err();
    assert!(matches!(refused, CqlError::Config { key: "tls", .. }), "{refused}");

    let mut stranger = tests(&server).await;
    stranger.password = Some("guessed".to_owned());
    let refused = Session::connect(stranger.clone()).await.unwrap_err();
    assert!(matches!(refused, CqlError::Unreachable(_)), "{refused}");
    assert!(!refused.to_string().contains("guessed"), "{refused}");
    (stranger.username, stranger.password) = (None, None);
    assert!(Session::connect(stranger).await.is_err());
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_at_once() {
    let config = super::super::config::CqlConfig::new(vec!["127.0.0.1:1".to_owned()], "adal");
    let refused = Session::connect(config).await.unwrap_err();
    assert!(refused.to_string().contains("127.0.0.1:1"), "{refused}");
}

/// A certificate of an authority that signed nothing here. Its key was thrown away.
const OTHER_AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBhzCCAS2gAwIBAgIUMZ0lwkeTx2LrVVBQBMcImtUeHmwwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNc29tZWJvZHkgZWxzZTAgFw0yNjExMjgyMDAzNTBaGA8yMTI2
MTEwNDIwMDM1MFowGDEWMBQGA1UEAwwNc29tZWJvZHkgZWxzZTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABFG1JsOOpxLPygfYnPjlseQaU1aktek2pBw5GMPCnDx2
DOGoDdf0XH9lggcsH2PRjjwStle7kaOUcJOOUZDEe8qjUzBRMB0GA1UdDgQWBBQk
GjMmVWIQAcNCtovBby09OxTEBjAfBgNVHSMEGDAWgBQkGjMmVWIQAcNCtovBby09
OxTEBjAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIEP0cqMogUs6
4h7f6jWlg7g+HLEQha+8FruQQLEn7NedAiEAsymf922XE3kisJWwO9JLQs07W2sY
sO/tTFHdUV6HFE4=
-----END CERTIFICATE-----
";
