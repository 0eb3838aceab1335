//! The limit for writes and for reads of the store: rusqlite with the same settings and nothing round it.
//!
//! Writes are committed in groups: one thread with the connection, everything that waits in one transaction with one
//! fsync. The clients are tasks of the calling thread, each with one row under way: less work than threads, so a
//! stricter limit.

use std::{
    cell::RefCell,
    path::Path,
    rc::Rc,
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use rusqlite::Connection;
use tokio::{sync::oneshot, task::LocalSet};

use crate::{
    Done,
    clock::Stopwatch,
    http::{Measured, histogram},
    random::Random,
};

/// Rows of one transaction at most: as Adal's default.
const BATCH: usize = 512;

struct Row {
    customer: u64,
    body: Vec<u8>,
    done: oneshot::Sender<()>,
}

/// Opens a database with the settings of Adal's writer.
fn open(path: &Path) -> Done<Connection> {
    let conn = Connection::open(path)?;
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;
         PRAGMA wal_autocheckpoint = 4096; PRAGMA temp_store = MEMORY;
         CREATE TABLE IF NOT EXISTS journal (position INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;",
    )?;
    Ok(conn)
}

/// Writes rows of `bytes` for random ones of `customers`, `clients` at a time, for `lasting`. The file grows from call to
/// call, as Adal's does.
pub fn group_commit(path: &Path, bytes: usize, customers: u64, clients: u64, lasting: Duration) -> Done<Measured> {
    let conn = open(path)?;
    let (rows, waiting) = sync_channel::<Row>(4096);
    let writer = std::thread::spawn(move || write(&conn, &waiting).map_err(|error| error.to_string()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let latency = Rc::new(RefCell::new(histogram()?));
    let seconds = LocalSet::new().block_on(&runtime, async {
        let watch = Stopwatch::start();
        let tasks: Vec<_> = (0..clients)
            .map(|client| {
                let (rows, latency) = (rows.clone(), Rc::clone(&latency));
                tokio::task::spawn_local(async move {
                    let mut random = Random::new(client);
                    while watch.elapsed() < lasting {
                        let (done, answer) = oneshot::channel();
                        let asked = Stopwatch::start();
                        let row = Row { customer: random.below(customers), body: vec![random.byte(); bytes], done };
                        if rows.try_send(row).is_err() || answer.await.is_err() {
                            return;
                        }
                        latency.borrow_mut().saturating_record(asked.nanos());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await?;
        }
        Done::Ok(watch.seconds())
    })?;
    drop(rows);
    writer.join().map_err(|_| "the raw writer panicked")??;
    let latency = Rc::try_unwrap(latency).map_err(|_| "a client is still at work")?.into_inner();
    Ok(Measured { count: latency.len(), seconds, latency })
}

fn write(conn: &Connection, waiting: &Receiver<Row>) -> Done {
    // Rows of a customer stand together, as they do in Adal's journal.
    let mut next: i64 =
        conn.query_row("SELECT coalesce(max(position & 2147483647), 0) FROM journal", [], |r| r.get(0))?;
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(row) = waiting.try_recv()
        {
            batch.push(row);
        }
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for row in &batch {
            next += 1;
            let position = (i64::try_from(row.customer)? << 31) | next;
            conn.prepare_cached("INSERT INTO journal (position, body) VALUES (?1, ?2)")?
                .execute((position, &row.body))?;
        }
        conn.prepare_cached("COMMIT")?.execute([])?;
        for row in batch {
            // Whoever asked waits: the client ends only after its answer.
            let _ = row.done.send(());
        }
    }
    Ok(())
}

/// Reservations of one code, each in a transaction of its own with its own fsync, one after the other for `lasting`: the
/// count is raised where it is below the limit, and the reservation is kept. How many per second. There is nothing to
/// wait for but the disk, so that many clients would get no more.
pub fn one_by_one(path: &Path, bytes: usize, lasting: Duration) -> Done<f64> {
    let conn = open(path)?;
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS promo (id INTEGER PRIMARY KEY, used INTEGER NOT NULL, most INTEGER NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS reservation (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
         INSERT INTO promo VALUES (1, 0, 1000000000) ON CONFLICT DO NOTHING;",
    )?;
    let body = vec![7_u8; bytes];
    let (watch, mut count) = (Stopwatch::start(), 0_u32);
    while watch.elapsed() < lasting {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let raised =
            conn.prepare_cached("UPDATE promo SET used = used + 1 WHERE id = 1 AND used < most")?.execute([])?;
        if raised != 1 {
            return Err("the raw code has run out".into());
        }
        conn.prepare_cached("INSERT INTO reservation (body) VALUES (?1)")?.execute([&body])?;
        conn.prepare_cached("COMMIT")?.execute([])?;
        count += 1;
    }
    Ok(f64::from(count) / watch.seconds())
}

/// A reader of an Adal file: what waking an entity reads, and nothing more.
#[derive(Debug)]
pub struct Reader(Connection);

impl Reader {
    /// Opens the file beside the server.
    pub fn open(path: &Path) -> Done<Self> {
        let conn = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.execute_batch("PRAGMA cache_size = -32768")?;
        Ok(Self(conn))
    }

    /// The customer's snapshot and the rows after it, in one read transaction: their bytes.
    pub fn read(&self, id: &str) -> Done<usize> {
        let reading = self.0.unchecked_transaction()?;
        let num: i64 = reading
            .prepare_cached("SELECT num FROM entity WHERE kind = 'customer' AND id = ?1")?
            .query_row([id], |row| row.get(0))?;
        let (seq, mut bytes) = reading
            .prepare_cached("SELECT seq, body FROM snapshot WHERE num = ?1")?
            .query_row([num], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?.len())))?;
        let mut rows = reading.prepare_cached("SELECT body FROM journal WHERE position BETWEEN ?1 AND ?2")?;
        let first = (num << 31) + seq + 1;
        for body in rows.query_map((first, (num << 31) + (1 << 31) - 1), |row| row.get::<_, Vec<u8>>(0))? {
            bytes += body?.len();
        }
        Ok(bytes)
    }

    /// The number of journal rows, and the bytes of their bodies.
    pub fn bodies(&self) -> Done<(u64, u64)> {
        let sql = "SELECT count(*), coalesce(sum(length(body)), 0) FROM journal";
        let (rows, bytes): (i64, i64) = self.0.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((u64::try_from(rows)?, u64::try_from(bytes)?))
    }

    /// How many unique codes there are.
    pub fn count_codes(&self) -> Done<u64> {
        let count: i64 = self.0.query_row("SELECT count(*) FROM code", [], |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    }

    /// So many unique codes, as they are kept: the first in the order of their text.
    pub fn codes(&self, count: u64) -> Done<Vec<String>> {
        let mut statement = self.0.prepare("SELECT code FROM code ORDER BY code LIMIT ?1")?;
        let codes = statement.query_map([i64::try_from(count)?], |row| row.get(0))?;
        Ok(codes.collect::<Result<_, _>>()?)
    }

    /// The mean bytes of the journal rows' bodies.
    pub fn mean_body(&self) -> Done<f64> {
        Ok(self.0.query_row("SELECT avg(length(body)) FROM journal", [], |row| row.get(0))?)
    }
}
