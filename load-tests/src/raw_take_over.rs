//! The limit for a take-over on CQL: the reads and writes that the design asks of whoever takes all shards over, by the
//! driver alone, as many of them at once as the store has.
//!
//! It reads the killed server's own tables and writes into tables of the same shape beside them, so that the server that
//! takes over finds everything as it was. Of each shard: the watermarks, a new one, the lists. Of each entity that is listed:
//! snapshot and newest rows; then it is listed again, its last row written again with an empty one on top, and what
//! follows from its last row once more. Of each effect that is owed: it is read, then a row at its target (as the targets
//! write them: many effects in one), then its deletion. Nothing is decided, folded, verified or counted.

use std::cell::Cell;

use futures_util::{StreamExt, TryStreamExt, future::try_join, stream};
use scylla::{
    client::session::Session,
    serialize::row::SerializeRow,
    statement::{
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
};

use crate::{
    Done,
    clock::Stopwatch,
    raw_cql::{JournalRow, Raw, newest_rows_of, snapshot_of},
};

/// As in `store/src/cql/recover.rs`.
const SHARDS: i32 = 1024;
const SHARDS_AT_ONCE: usize = 16;
const ENTITIES_AT_ONCE: usize = 4;
/// Parts of the outbox.
const SLICES: i32 = 64;
/// Effects that a target takes with one row, and their bytes there.
const TOGETHER: usize = 64;
const TAKEN_BYTES: usize = 100;

/// An effect: slice, bucket, source, seq, index, command.
type Owed = (i32, i32, String, String, i64, i32, Vec<u8>);

/// What was done.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// From the first statement to the last answer.
    pub seconds: f64,
    /// Entities that were listed.
    pub listed: u64,
    /// Effects that were owed.
    pub owed: u64,
    /// Statements, each batch as one.
    pub statements: u64,
}

/// See the module.
pub struct TakeOver<'a> {
    raw: &'a Raw,
    statements: [PreparedStatement; 12],
    done: Cell<u64>,
    listed: Cell<u64>,
    owed: Cell<u64>,
}

impl<'a> TakeOver<'a> {
    /// Of the store in `keyspace`.
    pub fn new(raw: &'a Raw, keyspace: &str) -> Done<Self> {
        let statements = raw.runtime.block_on(async {
            for text in [
                "CREATE TABLE IF NOT EXISTS raw.recent (shard int, bucket int, kind text, id text, \
                 PRIMARY KEY ((shard, bucket), kind, id))",
                "CREATE TABLE IF NOT EXISTS raw.watermark (shard int, epoch bigint, done_bucket int, highest_bucket int, \
                 PRIMARY KEY (shard, epoch))",
                "CREATE TABLE IF NOT EXISTS raw.follows (kind text, id text, seq bigint, value blob, \
                 PRIMARY KEY ((kind, id, seq)))",
                "CREATE TABLE IF NOT EXISTS raw.outbox (slice int, bucket int, kind text, id text, seq bigint, idx int, \
                 command blob, PRIMARY KEY ((slice, bucket), kind, id, seq, idx))",
            ] {
                raw.session.query_unpaged(text, ()).await?;
            }
            let mut prepared = Vec::new();
            for text in [
                &format!("SELECT epoch, done_bucket, highest_bucket FROM {keyspace}.watermark WHERE shard = ? LIMIT 1"),
                "INSERT INTO raw.watermark (shard, epoch, done_bucket, highest_bucket) VALUES (?, ?, ?, ?)",
                &format!("SELECT kind, id FROM {keyspace}.recent WHERE shard = ? AND bucket = ? LIMIT 500"),
                &snapshot_of(keyspace),
                &newest_rows_of(keyspace),
                "INSERT INTO raw.recent (shard, bucket, kind, id) VALUES (?, ?, ?, ?)",
                "INSERT INTO raw.journal (kind, id, seq, epoch, parent_epoch, at, format, body, bucket, wake, derived) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                "INSERT INTO raw.follows (kind, id, seq, value) VALUES (?, ?, ?, ?)",
                &format!("SELECT bucket FROM {keyspace}.outbox_bucket WHERE slice = ?"),
                &format!("SELECT kind, id, seq, idx, command FROM {keyspace}.outbox WHERE slice = ? AND bucket = ?"),
                "INSERT INTO raw.outbox (slice, bucket, kind, id, seq, idx, command) VALUES (?, ?, ?, ?, ?, ?, ?)",
                "DELETE FROM raw.outbox WHERE slice = ? AND bucket = ? AND kind = ? AND id = ? AND seq = ? AND idx = ?",
            ] {
                prepared.push(raw.session.prepare(text).await?);
            }
            Done::Ok(prepared)
        })?;
        let statements = statements.try_into().map_err(|_| "twelve statements")?;
        Ok(Self { raw, statements, done: Cell::new(0), listed: Cell::new(0), owed: Cell::new(0) })
    }

    /// Does all of it once.
    pub fn run(&self) -> Done<Taken> {
        let (before, listed, owed) = (self.done.get(), self.listed.get(), self.owed.get());
        let watch = Stopwatch::start();
        self.raw.runtime.block_on(async {
            let shards = stream::iter(0..SHARDS).map(|shard| self.shard(shard));
            let adopted = shards.buffer_unordered(SHARDS_AT_ONCE).try_collect::<()>();
            try_join(adopted, self.deliver()).await
        })?;
        Ok(Taken {
            seconds: watch.seconds(),
            listed: self.listed.get() - listed,
            owed: self.owed.get() - owed,
            statements: self.done.get() - before,
        })
    }

    fn session(&self) -> &Session {
        &self.raw.session
    }

    fn count(&self) {
        self.done.set(self.done.get() + 1);
    }

    async fn write(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Done {
        self.count();
        Ok(self.session().execute_unpaged(statement, values).await.map(drop)?)
    }

    async fn shard(&self, shard: i32) -> Done {
        let [watermarks, put_watermark, recent, ..] = &self.statements;
        self.count();
        let found = self.session().execute_unpaged(watermarks, (shard,)).await?.into_rows_result()?;
        let Some((epoch, done, highest)) = found.maybe_first_row::<(i64, i32, i32)>()? else { return Ok(()) };
        self.write(put_watermark, (shard, epoch + 1, done, highest)).await?;
        for bucket in done..=highest {
            self.count();
            let found = self.session().execute_unpaged(recent, (shard, bucket)).await?.into_rows_result()?;
            let listed: Vec<(String, String)> = found.rows()?.collect::<Result<_, _>>()?;
            let entities = stream::iter(listed).map(|(kind, id)| self.entity(shard, bucket, kind, id));
            entities.buffer_unordered(ENTITIES_AT_ONCE).try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn entity(&self, shard: i32, bucket: i32, kind: String, id: String) -> Done {
        let [_, _, _, snapshot, newest, put_recent, put_row, put_follows, ..] = &self.statements;
        self.listed.set(self.listed.get() + 1);
        let key = (&kind, &id);
        self.count();
        self.count();
        let (snapshot, newest) =
            try_join(self.session().execute_unpaged(snapshot, key), self.session().execute_unpaged(newest, key))
                .await?;
        for row in snapshot.into_rows_result()?.rows::<(i64, i64, i32, Vec<u8>)>()? {
            row?;
        }
        let newest = newest.into_rows_result()?;
        let rows: Vec<JournalRow> = newest.rows()?.collect::<Result<_, _>>()?;
        let Some(tip) = rows.into_iter().max_by_key(|row| (row.1, row.0)) else { return Ok(()) };
        self.write(put_recent, (shard, bucket, &kind, &id)).await?;
        let (seq, epoch, parent, at, format, body, of, wake, follows) = &tip;
        let empty: (&[u8], Option<&[u8]>) = (&[0x90], None);
        let rows = [
            (&kind, &id, *seq, *epoch, *parent, at, format, &**body, of, wake, follows.as_deref()),
            (&kind, &id, seq + 1, epoch + 1, *epoch, at, format, empty.0, &bucket, wake, empty.1),
        ];
        let mut batch = Batch::new(BatchType::Unlogged);
        rows.iter().for_each(|_| batch.append_statement(put_row.clone()));
        self.count();
        self.session().batch(&batch, &rows[..]).await?;
        if let Some(follows) = follows {
            self.write(put_follows, (&kind, &id, seq, follows)).await?;
        }
        Ok(())
    }

    /// What is owed, to one target.
    async fn deliver(&self) -> Done {
        let slices = stream::iter(0..SLICES).map(|slice| self.owed_of(slice));
        let owed: Vec<Vec<Owed>> = slices.buffer_unordered(SHARDS_AT_ONCE).try_collect().await?;
        let owed = owed.concat();
        self.owed.set(self.owed.get() + owed.len() as u64);
        let [.., put_row, _, _, _, put_outbox, delete] = &self.statements;
        for (number, together) in owed.chunks(TOGETHER).enumerate() {
            let seq = i64::try_from(number)?;
            let taken = vec![7_u8; TAKEN_BYTES * together.len()];
            let row = ("promo", "target", seq, 1_i64, 1_i64, 0_i64, 1_i32, &taken, 0_i32, None::<i64>, None::<Vec<u8>>);
            self.write(put_row, row).await?;
            let each = stream::iter(together).map(|(slice, bucket, kind, id, seq, index, command)| async move {
                // What an adopter writes again, and its deletion.
                self.write(put_outbox, (slice, bucket, kind, id, seq, index, command)).await?;
                self.write(delete, (slice, bucket, kind, id, seq, index)).await
            });
            each.buffer_unordered(TOGETHER).try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn owed_of(&self, slice: i32) -> Done<Vec<Owed>> {
        let [.., buckets, outbox, _, _] = &self.statements;
        let mut owed = Vec::new();
        self.count();
        let found = self.session().execute_unpaged(buckets, (slice,)).await?.into_rows_result()?;
        let found: Vec<(i32,)> = found.rows()?.collect::<Result<_, _>>()?;
        for (bucket,) in found {
            self.count();
            let rows = self.session().execute_unpaged(outbox, (slice, bucket)).await?.into_rows_result()?;
            for row in rows.rows::<(String, String, i64, i32, Vec<u8>)>()? {
                let (kind, id, seq, index, command) = row?;
                owed.push((slice, bucket, kind, id, seq, index, command));
            }
        }
        Ok(owed)
    }
}
