//! What the way to a reader's thread and back adds to a read: a measurement, run by hand.

use std::time::{Duration, Instant};

use adal_actors::ports::{Journal, StoredSnapshot};

use super::Folder;
use crate::{
    conformance::{append, customer, row},
    sqlite::{SqliteStore, open, queries},
};

const ENTITIES: u64 = 20_000;
const TOUCHES: u64 = 8_000;

async fn fill(store: &SqliteStore) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..256 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in (task..ENTITIES).step_by(256) {
                let key = customer(&format!("00000000-0000-7000-8000-{number:012}"));
                for seq in 1..=2 {
                    let mut one = append(&key, row(seq));
                    one.row.body = vec![7; 300];
                    store.append(one).await.unwrap();
                }
                let snapshot = StoredSnapshot { seq: 1, format: 1, body: vec![5; 900] };
                store.snapshot(&key, snapshot).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

fn told(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |permille: usize| times[times.len() * permille / 1000].as_secs_f64() * 1e6;
    format!("p50 {:.1} us, p90 {:.1} us, p99 {:.1} us", at(500), at(900), at(990))
}

/// How often threads of this process have waited for something: what does not depend on how busy the machine is.
fn waits() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
    let count = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok());
        line.unwrap_or(0)
    };
    tasks.map(|task| count(of(task.unwrap()))).sum::<u64>()
}

/// `cargo test --release -p adal-store first_touch -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement, not a check"]
#[expect(clippy::disallowed_methods, clippy::cast_precision_loss, reason = "it measures")]
async fn first_touch_beside_a_raw_read() {
    let folder = Folder::new();
    let store = folder.open();
    fill(&store).await;
    store.close().unwrap();
    let store = folder.open();
    let raw = open::reader(&folder.config(), store.path()).unwrap();
    let mut order = (0..ENTITIES).map(|n| customer(&format!("00000000-0000-7000-8000-{:012}", n * 6_181 % ENTITIES)));
    let (mut alone, mut asked) = (Vec::new(), Vec::new());
    let before = waits();
    for _ in 0..TOUCHES {
        let key = order.next().unwrap();
        let began = Instant::now();
        assert_eq!(queries::open(&raw, &key).unwrap().rows.len(), 1);
        alone.push(began.elapsed());
        let key = order.next().unwrap();
        let began = Instant::now();
        assert_eq!(Journal::open(&store, &key).await.unwrap().rows.len(), 1);
        asked.push(began.elapsed());
    }
    let waits = (waits() - before) as f64 / TOUCHES as f64;
    println!("on the caller's thread: {}\nby a reader: {}, {waits:.2} waits each", told(alone), told(asked));
}
