//! API keys: beside the journal, written by servers and tools alike, without a claim.
//!
//! Two machines' clocks may differ, so the time that a write is stamped with is never trusted alone: it is greater than
//! the stamp of what was read before. A revocation must not be covered by the key that it revokes.

use adal_actors::ports::{ApiKeyRecord, StoreError};
use adal_domain::time::Timestamp;

use super::{
    codes::told,
    db::{Database, Failed, KeyRow},
};

/// The name in `meta` of what changes with every key.
const VERSION: &str = "api_keys";

pub(super) async fn put(db: &dyn Database, now: Timestamp, record: ApiKeyRecord) -> Result<(), StoreError> {
    let there = db.key(&record.id).await.map_err(told)?;
    write(db, now, record, there.map(|row| row.stamp)).await.map_err(told)
}

pub(super) async fn revoke(db: &dyn Database, now: Timestamp, id: &str, at: Timestamp) -> Result<bool, StoreError> {
    let Some(KeyRow { mut record, stamp }) = db.key(id).await.map_err(told)? else { return Ok(false) };
    record.revoked_at = Some(record.revoked_at.map_or(at, |first| first.min(at)));
    write(db, now, record, Some(stamp)).await.map_err(told)?;
    Ok(true)
}

async fn write(db: &dyn Database, now: Timestamp, record: ApiKeyRecord, there: Option<i64>) -> Result<(), Failed> {
    let stamp = now.0.max(there.unwrap_or(0).saturating_add(1));
    db.put_key(&KeyRow { record, stamp }).await?;
    // After the key: who sees the new version sees the key.
    let seen = db.meta(VERSION).await?.unwrap_or(0);
    db.put_meta(VERSION, now.0.max(seen.saturating_add(1))).await
}

pub(super) async fn list(db: &dyn Database) -> Result<Vec<ApiKeyRecord>, StoreError> {
    Ok(db.keys().await?.into_iter().map(|row| row.record).collect())
}

pub(super) async fn version(db: &dyn Database) -> Result<u64, StoreError> {
    Ok(db.meta(VERSION).await?.unwrap_or(0).max(0).cast_unsigned())
}
