//! Secrets of periods: kept beside the journal, and really gone when they are deleted.

use adal_actors::ports::{PeriodKeys, StoreError};
use adal_domain::time::Timestamp;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};

use super::{SqliteStore, apply::Work, failure::refused, layout::corrupt};

#[async_trait]
impl PeriodKeys for SqliteStore {
    async fn period_key(&self, until: Timestamp, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        if let Some(known) = self.read(move |conn| read(conn, until)).await? {
            return Ok(known);
        }
        self.write(Work::PutPeriodKey(until, fresh)).await?;
        // Another may have been first.
        let kept = self.read(move |conn| read(conn, until)).await?;
        kept.ok_or_else(|| corrupt(format!("the secret of the period until {until} is gone")))
    }

    async fn forget_period_keys(&self, before: Timestamp) -> Result<(), StoreError> {
        // Hardly ever is there one: no write for nothing.
        let sql = "SELECT 1 FROM period_key WHERE until < ?1 LIMIT 1";
        let old = self.read(move |conn| {
            let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
            statement.exists([before.0]).map_err(|e| refused(&e))
        });
        if old.await? { self.write(Work::ForgetPeriodKeys(before)).await.map(drop) } else { Ok(()) }
    }
}

fn read(conn: &Connection, until: Timestamp) -> Result<Option<[u8; 32]>, StoreError> {
    let found = conn
        .prepare_cached("SELECT secret FROM period_key WHERE until = ?1")
        .and_then(|mut statement| statement.query_row([until.0], |row| row.get(0)).optional());
    found.map_err(|e| refused(&e))
}

pub(super) fn put(conn: &Connection, until: Timestamp, secret: &[u8; 32]) -> rusqlite::Result<usize> {
    conn.prepare_cached("INSERT OR IGNORE INTO period_key (until, secret) VALUES (?1, ?2)")?.execute((until.0, secret))
}

pub(super) fn forget(conn: &Connection, before: Timestamp) -> rusqlite::Result<usize> {
    // For this alone: to overwrite all that is ever deleted would cost a write for every page that becomes free.
    conn.execute_batch("PRAGMA secure_delete = ON")?;
    let deleted = conn.execute("DELETE FROM period_key WHERE until < ?1", [before.0]);
    conn.execute_batch("PRAGMA secure_delete = OFF")?;
    deleted
}
