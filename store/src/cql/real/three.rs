//! Three nodes, three copies of everything: one may be away, whichever it is. Too dear for every run (2 GB, minutes):
//!
//!     cargo test -p adal-store --lib cql::real::three -- --ignored --nocapture

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use adal_domain::{
    entity::{EntityKey, EntityKind},
    time::Timestamp,
};
use tokio::time::timeout;

use super::{
    super::{
        config::CqlConfig,
        db::{ClusterRow, Database, JournalRow, Place, Stretch},
        migrate::migrate,
    },
    connect,
};
use crate::testing::cassandra::{Cassandra, Folder, Options};

const WRITERS: u64 = 8;
/// Rows that are to be written in each stage of the test, by all together.
const STAGE: u64 = 200;

fn whose(writer: u64) -> EntityKey {
    EntityKey::new(EntityKind::Customer, &format!("w{writer}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three nodes: 2 GB of memory and some minutes"]
async fn one_node_of_three_may_be_away_whichever_it_is() {
    let folder = Folder::take().unwrap();
    let mut nodes = Cassandra::three(&folder.path, &Options::default()).unwrap();
    let mut config = CqlConfig::new(nodes.contact_points(), "three");
    config.replication = [("datacenter1".to_owned(), 3)].into();
    config.request_timeout = Duration::from_secs(10);
    let report = migrate(&config, false).await.unwrap();
    assert_eq!(report.warnings, Vec::<String>::new(), "nothing is unsafe about three copies");
    let (_, driver) = connect(config).await;
    let driver = Arc::new(driver);
    let cluster = |version| ClusterRow { version, members: vec![1], owners: vec![2] };
    assert!(driver.create_cluster(&cluster(1)).await.unwrap());

    let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (driver, acknowledged, stop) = (Arc::clone(&driver), Arc::clone(&acknowledged), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seq = 0;
                while acknowledged.load(Ordering::SeqCst) < stop.load(Ordering::SeqCst) {
                    seq += 1;
                    let place = Place { seq, epoch: 1 };
                    let (at, body) = (Timestamp(1), vec![7; 500]);
                    let row = JournalRow {
                        place,
                        parent_epoch: 1,
                        at,
                        format: 1,
                        body,
                        bucket: 1,
                        wake: None,
                        derived: None,
                    };
                    while driver.insert_row(&whose(writer), &row).await.is_err() {}
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                seq
            })
        })
        .collect();
    let stage = async || {
        let until = acknowledged.load(Ordering::SeqCst) + STAGE;
        let going = async {
            while acknowledged.load(Ordering::SeqCst) < until {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(240), going).await.unwrap();
    };
    stage().await;
    for index in 0..3 {
        nodes.node(index).kill();
        stage().await;
        let version = u64::try_from(index).unwrap() + 1;
        // A conditional write finds its quorum too. Where its outcome was not known, a settling read tells.
        let changed = driver.change_cluster(version, &cluster(version + 1)).await;
        println!(
            "node {index} away, {} rows so far, a conditional write: {changed:?}",
            acknowledged.load(Ordering::SeqCst)
        );
        let settled = async {
            loop {
                match driver.cluster_settled().await {
                    Ok(Some(row)) if row.version == version + 1 => break,
                    Ok(_) => drop(driver.change_cluster(version, &cluster(version + 1)).await),
                    Err(_) => {}
                }
            }
        };
        timeout(Duration::from_secs(120), settled).await.unwrap();
        nodes.node(index).restart().unwrap();
        // The others must have seen it before the next one may go.
        stage().await;
        let seen = async { while driver.rows(&whose(0), ALL).await.is_err() {} };
        timeout(Duration::from_secs(120), seen).await.unwrap();
    }
    stop.store(0, Ordering::SeqCst);
    for (writer, task) in (0..).zip(writers) {
        let last = timeout(Duration::from_secs(240), task).await.unwrap().unwrap();
        let found = driver.rows(&whose(writer), ALL).await.unwrap();
        assert!(found.iter().map(|row| row.place.seq).eq(1..=last), "writer {writer}: {} of {last}", found.len());
    }
}

const ALL: Stretch = Stretch { after: Place::FIRST, before: Place::LAST, descending: false, limit: 1_000_000 };
