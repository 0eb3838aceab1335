//! Opening, sharing, group commit, closing, backups.

use std::{sync::mpsc::channel, time::Duration};

use adal_actors::ports::{Journal, StoreError, StoredRow};
use adal_domain::time::Timestamp;

use super::Folder;
use crate::{
    Health, Storage,
    conformance::{append, customer, row},
    sqlite::{BackupError, Depth, FORMAT, OpenError, SqliteConfig, SqliteStore},
};

#[tokio::test]
async fn one_server_per_file_and_the_second_is_told_which_and_who() {
    let folder = Folder::new();
    let first = folder.open();
    // By another name for the same place.
    let same = SqliteConfig::new(folder.path("../").join(folder.0.path().file_name().unwrap()).join("store.db"));
    let refused = SqliteStore::open(same).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("store.db") && text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(first);
    folder.open().close().unwrap();
}

#[tokio::test]
async fn beside_a_server_one_reads_but_cannot_append() {
    let folder = Folder::new();
    assert!(matches!(SqliteStore::open_shared(folder.config()), Err(OpenError::Missing { .. })));
    assert!(!folder.path("store.db").exists(), "looking for a file does not make it");
    let server = folder.open();
    server.append(append(&customer("c"), row(1))).await.unwrap();
    let cli = SqliteStore::open_shared(folder.config()).unwrap();
    assert_eq!(Journal::open(&cli, &customer("c")).await.unwrap().rows, [row(1)]);
    let refused = cli.append(append(&customer("c"), row(2))).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(cli.begin_rebuild(crate::sqlite::Derived::default()).await.is_err());
    cli.close().unwrap();
    server.append(append(&customer("c"), row(2))).await.unwrap();
}

#[tokio::test]
async fn what_is_not_ours_or_newer_is_refused_and_left_alone() {
    let folder = Folder::new();
    let sql = |sql: &str| {
        let conn = rusqlite::Connection::open(folder.path("store.db")).unwrap();
        conn.execute_batch(sql).unwrap();
    };
    let refusal = || {
        let before = std::fs::read(folder.path("store.db")).unwrap();
        let refused = SqliteStore::open(folder.config()).unwrap_err();
        assert_eq!(std::fs::read(folder.path("store.db")).unwrap(), before, "{refused}");
        refused
    };
    sql("CREATE TABLE theirs (a)");
    assert!(matches!(refusal(), OpenError::Foreign { .. }));
    std::fs::remove_file(folder.path("store.db")).unwrap();
    folder.open().close().unwrap();
    sql(&format!("PRAGMA user_version = {}", FORMAT + 1));
    let newer = refusal();
    let is_next = |found: i64, supported: i64| found == FORMAT + 1 && supported == FORMAT;
    assert!(matches!(newer, OpenError::NewerFormat { found, supported, .. } if is_next(found, supported)), "{newer:?}");
    assert!(newer.to_string().contains("newer version"), "{newer}");
    sql(&format!("PRAGMA user_version = {FORMAT}; DROP INDEX entity_wake"));
    assert!(matches!(refusal(), OpenError::Damaged { .. }));
    let gone = OpenError::Missing { path: "x".into() };
    assert!(gone.to_string().contains('x'));
}

#[tokio::test]
async fn a_path_that_is_no_file_is_refused_with_its_name() {
    let folder = Folder::new();
    let inner = folder.path("a folder");
    std::fs::create_dir(&inner).unwrap();
    for open in [SqliteStore::open, SqliteStore::open_shared] {
        let refused = open(SqliteConfig::new(&inner)).unwrap_err();
        assert!(matches!(&refused, OpenError::Io { path, .. } if *path == inner), "{refused:?}");
    }
    let left = std::fs::read_dir(folder.path("")).unwrap().count();
    assert_eq!(left, 1, "no lock file beside what is no store");
    std::fs::write(folder.path("file"), "x").unwrap();
    let refused = SqliteStore::open(SqliteConfig::new(folder.path("file/store.db"))).unwrap_err();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
    let deep = SqliteStore::open(SqliteConfig::new(folder.path("made/on/the/way.db"))).unwrap();
    assert!(deep.path().exists());
}

/// Stops the writer until the sender is dropped, so that what is asked meanwhile waits together.
async fn hold(store: &SqliteStore) -> std::sync::mpsc::Sender<()> {
    let (release, held) = channel::<()>();
    let (stopped, has_stopped) = tokio::sync::oneshot::channel();
    let store = store.clone();
    tokio::spawn(async move {
        let wait = move |_: &_| {
            let _ = stopped.send(());
            let _ = held.recv();
        };
        store.on_writer(wait).await;
    });
    has_stopped.await.unwrap();
    release
}

async fn queued(store: &SqliteStore, count: usize) {
    while store.inner.shared.queued.load(std::sync::atomic::Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_together_is_committed_together() {
    let folder = Folder::new();
    let store = folder.open();
    let release = hold(&store).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let store = store.clone();
        tasks.spawn(async move { store.append(append(&customer(&number.to_string()), row(1))).await });
    }
    queued(&store, 64).await;
    drop(release);
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    let committed = store.committed();
    assert_eq!((committed.rows, committed.transactions), (64, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_by_own_fault_fails_alone() {
    let folder = Folder::new();
    let store = folder.open();
    store.append(append(&customer("taken"), row(1))).await.unwrap();
    let release = hold(&store).await;
    let spawn = |wanted| {
        let store = store.clone();
        tokio::spawn(async move { store.append(wanted).await })
    };
    let good: Vec<_> = (0..4).map(|number| spawn(append(&customer(&number.to_string()), row(1)))).collect();
    let gap = spawn(append(&customer("gap"), row(7)));
    let fenced = spawn(append(&customer("taken"), StoredRow { body: b"other".to_vec(), ..row(1) }));
    let repeat = spawn(append(&customer("taken"), row(1)));
    queued(&store, 7).await;
    drop(release);
    for one in good {
        one.await.unwrap().unwrap();
    }
    assert!(matches!(gap.await.unwrap(), Err(StoreError::Fenced(_))));
    assert!(matches!(fenced.await.unwrap(), Err(StoreError::Fenced(_))));
    repeat.await.unwrap().unwrap();
    assert_eq!(store.committed().transactions, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_damage_on_nothing_is_written_and_what_came_before_is_kept() {
    let folder = Folder::new();
    let store = folder.open();
    // What a table and an index that disagree look like.
    let harm = "CREATE TRIGGER harm BEFORE INSERT ON journal WHEN NEW.at = 4242 BEGIN SELECT RAISE(ABORT, 'harm'); END";
    store.on_writer(move |conn| conn.execute_batch(harm).unwrap()).await;
    let release = hold(&store).await;
    let harmed = StoredRow { at: Timestamp(4242), ..row(1) };
    let mut asked = Vec::new();
    for (name, row) in [("before", row(1)), ("harmed", harmed), ("after", row(1))] {
        let (store, wanted) = (store.clone(), append(&customer(name), row));
        let handle = store.clone();
        asked.push((name, tokio::spawn(async move { handle.append(wanted).await })));
        queued(&store, asked.len()).await;
    }
    drop(release);
    for (name, answer) in asked {
        let answer = answer.await.unwrap();
        match name {
            "before" => answer.unwrap(),
            _ => assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{name}: {answer:?}"),
        }
        let rows = Journal::open(&store, &customer(name)).await.unwrap().rows.len();
        assert_eq!(rows, usize::from(name == "before"), "{name}");
    }
    assert!(matches!(store.health(), Health::ReadOnly { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once_and_writes_nothing() {
    let folder = Folder::new();
    let store = SqliteStore::open(SqliteConfig { queue: 4, ..folder.config() }).unwrap();
    let release = hold(&store).await;
    let mut accepted = tokio::task::JoinSet::new();
    let mut refused = 0;
    for number in 0..20 {
        let key = customer(&number.to_string());
        let mut append = Box::pin({
            let store = store.clone();
            async move { store.append(append(&key, row(1))).await }
        });
        tokio::select! {
            biased;
            done = &mut append => {
                assert!(matches!(done, Err(StoreError::Unavailable(_))), "{done:?}");
                refused += 1;
            }
            () = tokio::task::yield_now() => drop(accepted.spawn(append)),
        }
    }
    assert!(refused >= 15, "{refused}");
    assert_eq!(store.health(), Health::Healthy);
    drop(release);
    while let Some(done) = accepted.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(store.committed().rows, 20 - refused);
}

#[tokio::test]
async fn a_closed_store_says_so_and_has_given_up_its_lock() {
    let folder = Folder::new();
    let (store, clone) = {
        let store = folder.open();
        (store.clone(), store)
    };
    store.append(append(&customer("c"), row(1))).await.unwrap();
    store.close().unwrap();
    assert!(matches!(clone.append(append(&customer("c"), row(2))).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(Journal::open(&clone, &customer("c")).await, Err(StoreError::Unavailable(_))));
    let again = folder.open();
    assert_eq!(Journal::open(&again, &customer("c")).await.unwrap().rows, [row(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_bounded_while_writers_never_pause() {
    let folder = Folder::new();
    let store = SqliteStore::open(SqliteConfig { checkpoint_pages: 20, ..folder.config() }).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for seq in 1..=400 {
                let key = customer(&format!("{number}-{}", seq % 40));
                let mut wanted = append(&key, row((seq - 1) / 40 + 1));
                wanted.row.body = vec![1; 2000];
                store.append(wanted).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let log = std::fs::metadata(folder.path("store.db-wal")).unwrap().len();
    assert!(log < 2 * 4 * 20 * 4120 + 600_000, "{log} bytes");
    store.close().unwrap();
    let log = std::fs::metadata(folder.path("store.db-wal")).map_or(0, |file| file.len());
    assert_eq!(log, 0, "closing leaves none to go through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_writing_is_a_store_of_one_moment() {
    let folder = Folder::new();
    let store = folder.open();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let (store, stop) = (store.clone(), stop.subscribe());
            tokio::spawn(async move {
                let mut seq = 0;
                while !*stop.borrow() {
                    seq += 1;
                    store.append(append(&customer(&number.to_string()), row(seq))).await.unwrap();
                }
                seq
            })
        })
        .collect();
    let under_way = async {
        while store.committed().rows < 400 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), under_way).await.unwrap();
    let before = store.committed().rows;
    let to = folder.path("copy.db");
    let report = store.backup(&to).await.unwrap();
    stop.send_replace(true);
    stopped.changed().await.unwrap();
    assert!(report.rows >= before, "everything that was acknowledged when it began is in it");
    assert!(!folder.path("copy.db.partial").exists());
    let heads = futures(writers).await;
    let copy = SqliteStore::open(SqliteConfig::new(&to)).unwrap();
    assert!(copy.check_file(Depth::Full).await.unwrap().is_sound());
    let mut rows = 0;
    for (number, head) in (0..).zip(heads) {
        let found = Journal::open(&copy, &customer(&i32::to_string(&number))).await.unwrap().rows;
        let count = found.len() as u64;
        assert!(count <= head);
        assert_eq!(found, (1..=count).map(row).collect::<Vec<_>>());
        rows += count;
    }
    assert_eq!(rows, report.rows);
    // It is a store like any other.
    let next = Journal::open(&copy, &customer("0")).await.unwrap().rows.len() as u64 + 1;
    copy.append(append(&customer("0"), row(next))).await.unwrap();
}

async fn futures(tasks: Vec<tokio::task::JoinHandle<u64>>) -> Vec<u64> {
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}

#[tokio::test]
async fn a_backup_never_overwrites() {
    let folder = Folder::new();
    let store = folder.open();
    std::fs::write(folder.path("there"), "precious").unwrap();
    assert!(matches!(store.backup(&folder.path("there")).await, Err(BackupError::Exists(_))));
    assert!(matches!(store.backup(&folder.path("store.db")).await, Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read_to_string(folder.path("there")).unwrap(), "precious");
    assert!(matches!(store.backup(&folder.path("no/such/folder")).await, Err(BackupError::Io { .. })));
}
