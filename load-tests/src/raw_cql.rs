//! The limit for the store on CQL: the driver alone, on the same server and tables of the same shape.
//!
//! Three ways to make a row durable: a plain insert; one conditional update per command (what fencing costs where it is
//! done by the database itself); and an insert with a verifying read after it, one at a time (the store's own append
//! without sharing anything). All with the driver's settings that the store has: prepared, token-aware, LOCAL_QUORUM.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    statement::{Consistency, SerialConsistency, prepared::PreparedStatement},
};
use tokio::{runtime::Runtime, task::LocalSet};

use crate::{
    Done,
    clock::Stopwatch,
    http::{Measured, histogram},
    random::Random,
};

/// How a row is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A plain insert.
    Insert,
    /// One conditional update.
    Conditional,
    /// A plain insert, then the verifying read.
    Verified,
}

/// A row of `journal` without its key: seq, epoch, the parent's epoch, time, format, body, bucket, wake, what follows.
pub type JournalRow = (i64, i64, i64, i64, i32, Vec<u8>, i32, Option<i64>, Option<Vec<u8>>);

/// The statement by which the store reads an entity's latest snapshot.
pub fn snapshot_of(keyspace: &str) -> String {
    format!("SELECT seq, epoch, format, body FROM {keyspace}.snapshot WHERE kind = ? AND id = ? LIMIT 1")
}

/// The statement by which the store reads an entity's newest rows.
pub fn newest_rows_of(keyspace: &str) -> String {
    format!(
        "SELECT seq, epoch, parent_epoch, at, format, body, bucket, wake, derived FROM {keyspace}.journal \
         WHERE kind = ? AND id = ? ORDER BY seq DESC, epoch DESC LIMIT 32"
    )
}

/// The driver and its statements.
pub struct Raw {
    /// Connected, with the settings of the store.
    pub session: Arc<Session>,
    /// On which all of it runs: one thread, the caller's.
    pub runtime: Runtime,
    insert: PreparedStatement,
    conditional: PreparedStatement,
    version: PreparedStatement,
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

impl Raw {
    /// Connects, and makes the tables of its own in a keyspace of its own.
    pub fn open(contact_points: &[String]) -> Done<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (session, prepared) = runtime.block_on(async {
            let profile = ExecutionProfile::builder()
                .consistency(Consistency::LocalQuorum)
                .serial_consistency(Some(SerialConsistency::LocalSerial))
                .request_timeout(Some(Duration::from_secs(10)))
                .build();
            let session = SessionBuilder::new()
                .known_nodes(contact_points)
                .default_execution_profile_handle(profile.into_handle())
                .build()
                .await?;
            for text in [
                "CREATE KEYSPACE IF NOT EXISTS raw WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}",
                "CREATE TABLE IF NOT EXISTS raw.journal (kind text, id text, seq bigint, epoch bigint, parent_epoch bigint, \
                 at bigint, format int, body blob, bucket int, wake bigint, derived blob, \
                 PRIMARY KEY ((kind, id), seq, epoch))",
                "CREATE TABLE IF NOT EXISTS raw.fenced (kind text, id text, head bigint static, seq bigint, body blob, \
                 PRIMARY KEY ((kind, id), seq))",
                "CREATE TABLE IF NOT EXISTS raw.cluster (name text PRIMARY KEY, version bigint, owners blob)",
            ] {
                session.query_unpaged(text, ()).await?;
            }
            let cluster = "INSERT INTO raw.cluster (name, version, owners) VALUES ('adal', 1, ?)";
            session.query_unpaged(cluster, (vec![7_u8; 8_192],)).await?;
            let mut prepared = Vec::new();
            for text in [
                "INSERT INTO raw.journal (kind, id, seq, epoch, parent_epoch, at, format, body, bucket) \
                 VALUES ('customer', ?, ?, 1, 1, ?, 1, ?, 1)",
                "UPDATE raw.fenced SET head = ?, body = ? WHERE kind = 'customer' AND id = ? AND seq = ? IF head = ?",
                "SELECT version FROM raw.cluster WHERE name = 'adal'",
            ] {
                prepared.push(session.prepare(text).await?);
            }
            Done::Ok((session, prepared))
        })?;
        let [insert, conditional, version] =
            <[PreparedStatement; 3]>::try_from(prepared).map_err(|_| "three statements")?;
        Ok(Self { session: Arc::new(session), insert, conditional, version, runtime })
    }

    /// Rows of `bytes` of random ones of `customers`, `clients` at a time, for `lasting`. Each client has customers of its
    /// own: no two are ever at one partition at once, which is the best case for conditional updates.
    pub fn write(&self, how: How, bytes: usize, customers: u64, clients: u64, lasting: Duration) -> Done<Measured> {
        let latency = Rc::new(RefCell::new(histogram()?));
        let seconds = LocalSet::new().block_on(&self.runtime, async {
            let watch = Stopwatch::start();
            let tasks: Vec<_> = (0..clients)
                .map(|client| {
                    let writer = Writer {
                        session: Arc::clone(&self.session),
                        insert: self.insert.clone(),
                        conditional: self.conditional.clone(),
                        version: self.version.clone(),
                        run: crate::clock::wall().0,
                    };
                    let latency = Rc::clone(&latency);
                    tokio::task::spawn_local(async move {
                        let mut random = Random::new(client);
                        let mut seq = 0;
                        while watch.elapsed() < lasting {
                            seq += 1;
                            let (customer, body) = (random.below(customers), vec![random.byte(); bytes]);
                            let asked = Stopwatch::start();
                            let done = writer.write(how, client, customer, seq, body).await;
                            done.map_err(|error| error.to_string())?;
                            latency
                                .borrow_mut()
                                .saturating_record(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
                        }
                        Ok::<_, String>(())
                    })
                })
                .collect();
            for task in tasks {
                task.await??;
            }
            Done::Ok(watch.seconds())
        })?;
        let latency = Rc::try_unwrap(latency).map_err(|_| "a client is still at work")?.into_inner();
        Ok(Measured { count: latency.len(), seconds, latency })
    }

    /// What opening reads of each of these customers, by the store's own two statements, and nothing more: snapshot and
    /// newest rows, asked at once, one customer after the other.
    pub fn read(&self, keyspace: &str, ids: &[String]) -> Done<Measured> {
        let mut latency = histogram()?;
        let seconds = self.runtime.block_on(async {
            let snapshot = self.session.prepare(snapshot_of(keyspace)).await?;
            let rows = self.session.prepare(newest_rows_of(keyspace)).await?;
            let watch = Stopwatch::start();
            for id in ids {
                let asked = Stopwatch::start();
                let (snapshot, rows) = tokio::join!(
                    self.session.execute_unpaged(&snapshot, ("customer", id)),
                    self.session.execute_unpaged(&rows, ("customer", id))
                );
                let mut bytes = 0;
                for row in snapshot?.into_rows_result()?.rows::<(i64, i64, i32, Vec<u8>)>()? {
                    bytes += row?.3.len();
                }
                for row in rows?.into_rows_result()?.rows::<JournalRow>()? {
                    bytes += row?.5.len();
                }
                if bytes == 0 {
                    return Err(format!("there is nothing of {id}").into());
                }
                latency.saturating_record(u64::try_from(asked.elapsed().as_nanos())?);
            }
            Done::Ok(watch.seconds())
        })?;
        Ok(Measured { count: latency.len(), seconds, latency })
    }

    /// Mean bytes of a journal row in `keyspace`: body and what follows from it, over some thousands of rows.
    pub fn mean_row(&self, keyspace: &str) -> Done<usize> {
        let (rows, bytes) = self.sizes(&format!("SELECT body, derived FROM {keyspace}.journal LIMIT 4000"))?;
        Ok(usize::try_from(bytes.checked_div(rows).ok_or("the journal is empty")?)?)
    }

    /// How many rows a `SELECT` of two blobs finds, and the bytes in them.
    pub fn sizes(&self, select: &str) -> Done<(u64, u64)> {
        self.runtime.block_on(async {
            let all = self.session.query_iter(select, ()).await?;
            let mut all = all.rows_stream::<(Option<Vec<u8>>, Option<Vec<u8>>)>()?;
            let (mut rows, mut bytes) = (0, 0);
            while let Some((one, other)) = all.try_next().await? {
                rows += 1;
                bytes += [one, other].iter().flatten().map(|blob| blob.len() as u64).sum::<u64>();
            }
            Ok((rows, bytes))
        })
    }

    /// How many rows a `SELECT count(*)` finds.
    pub fn count(&self, select: &str) -> Done<u64> {
        self.runtime.block_on(async {
            let found = self.session.query_unpaged(select, ()).await?.into_rows_result()?;
            Ok(u64::try_from(found.single_row::<(i64,)>()?.0)?)
        })
    }

    /// Does a statement without values.
    pub fn execute(&self, text: &str) -> Done {
        self.runtime.block_on(async { Ok(self.session.query_unpaged(text, ()).await.map(drop)?) })
    }
}

/// One client's.
struct Writer {
    session: Arc<Session>,
    insert: PreparedStatement,
    conditional: PreparedStatement,
    version: PreparedStatement,
    /// Tells the rows of one call from those of the next.
    run: i64,
}

impl Writer {
    async fn write(&self, how: How, client: u64, customer: u64, seq: i64, body: Vec<u8>) -> Done {
        let id = format!("{client}-{customer}");
        match how {
            How::Insert | How::Verified => {
                self.session.execute_unpaged(&self.insert, (&id, self.run + seq, self.run, &body)).await?;
                if how == How::Verified {
                    let read = self.session.execute_unpaged(&self.version, ()).await?;
                    let (version,) = read.into_rows_result()?.single_row::<(i64,)>()?;
                    if version != 1 {
                        return Err("another version".into());
                    }
                }
            }
            How::Conditional => {
                // A partition of its own for each command: its head is null, and the condition holds.
                let id = format!("{id}-{}-{seq}", self.run);
                let values = (seq, &body, &id, seq, None::<i64>);
                let answer = self.session.execute_unpaged(&self.conditional, values).await?.into_rows_result()?;
                let row: scylla::value::Row = answer.first_row()?;
                if row.columns.first().and_then(Option::as_ref).and_then(scylla::value::CqlValue::as_boolean)
                    != Some(true)
                {
                    return Err("a conditional update was not applied".into());
                }
            }
        }
        Ok(())
    }
}
