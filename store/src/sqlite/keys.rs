//! API keys: kept beside the journal and not derived from it, so that no rebuild touches them. A key is known by its
//! hash alone; the key itself is never stored.

use adal_actors::ports::{ApiKeyRecord, ApiKeys, StoreError};
use adal_domain::time::Timestamp;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    SqliteStore,
    apply::{Fault, Work},
    failure::refused,
    layout::{api_key_sum, corrupt},
};

#[async_trait]
impl ApiKeys for SqliteStore {
    async fn put_api_key(&self, record: ApiKeyRecord) -> Result<(), StoreError> {
        self.write(Work::PutKey(record)).await.map(drop)
    }

    async fn revoke_api_key(&self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        self.write(Work::RevokeKey(id.to_owned(), at)).await.map(|count| count > 0)
    }

    async fn list_api_keys(&self) -> Result<Vec<ApiKeyRecord>, StoreError> {
        self.read(list).await
    }

    /// Rises by one with every change.
    async fn api_keys_version(&self) -> Result<u64, StoreError> {
        self.read(|conn| {
            let version = conn
                .prepare_cached("SELECT value FROM meta WHERE name = 'api_keys'")
                .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)));
            version.map(i64::cast_unsigned).map_err(|e| refused(&e))
        })
        .await
    }
}

/// A key's columns, as [`columns`] reads them.
pub(super) const COLUMNS: &str = "SELECT id, hash, role, shop, created_at, revoked_at, label, sum FROM api_key";

fn list(conn: &Connection) -> Result<Vec<ApiKeyRecord>, StoreError> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} ORDER BY id")).map_err(|e| refused(&e))?;
    let rows = statement.query_map([], columns).map_err(|e| refused(&e))?;
    rows.map(|row| checked(row.map_err(|e| refused(&e))?)).collect()
}

pub(super) fn columns(row: &Row<'_>) -> rusqlite::Result<(ApiKeyRecord, i64)> {
    let record = ApiKeyRecord {
        id: row.get(0)?,
        hash: row.get(1)?,
        role: row.get(2)?,
        shop: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        label: row.get(6)?,
    };
    Ok((record, row.get(7)?))
}

/// A flipped bit must not bring a revoked key back.
pub(super) fn checked((record, sum): (ApiKeyRecord, i64)) -> Result<ApiKeyRecord, StoreError> {
    if api_key_sum(&record) == sum {
        Ok(record)
    } else {
        Err(corrupt(format!("API key `{}` does not match its checksum; make it anew", record.id)))
    }
}

pub(super) fn put(conn: &Connection, key: &ApiKeyRecord) -> rusqlite::Result<usize> {
    let sql = "INSERT OR REPLACE INTO api_key (id, hash, role, shop, created_at, revoked_at, label, sum)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let count = conn.prepare_cached(sql)?.execute(params![
        key.id,
        key.hash,
        key.role,
        key.shop,
        key.created_at.0,
        key.revoked_at.map(|at| at.0),
        key.label,
        api_key_sum(key)
    ])?;
    conn.prepare_cached("UPDATE meta SET value = value + 1 WHERE name = 'api_keys'")?.execute([])?;
    Ok(count)
}

pub(super) fn revoke(conn: &Connection, id: &str, at: Timestamp) -> Result<usize, Fault> {
    let found = conn.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?.query_row([id], columns).optional()?;
    let Some(found) = found else { return Ok(0) };
    let mut record = checked(found).map_err(Fault::Own)?;
    record.revoked_at = Some(record.revoked_at.map_or(at, |first| first.min(at)));
    Ok(put(conn, &record)?)
}
