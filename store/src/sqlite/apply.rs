//! What one waiting write does to the file, within a transaction that the writer began. Everything an item checks is
//! checked before its first change, so that an item that fails by its own fault leaves nothing behind and the others of
//! its batch stand.

use adal_actors::ports::{
    ApiKeyRecord, Append, BannerCounts, CodeJob, OwedEffect, StoreError, StoredRow, StoredSnapshot,
};
use adal_domain::{
    entity::{EntityKey, ViewWrite},
    ids::BannerId,
    offers::NormalCode,
    time::{Day, Timestamp},
};
use rusqlite::{Connection, params};

use super::{
    layout::{MAX_ENTITY, MAX_SEQ, effect_sum, position, row_sum, snapshot_sum, to_sql, unavailable, view_sum},
    queries::{find, head, row},
};

/// Something to be made durable.
#[derive(Debug)]
pub(super) enum Work {
    Append(Append),
    Snapshot(EntityKey, StoredSnapshot),
    Delivered(Vec<(EntityKey, u64, u32)>),
    PutKey(ApiKeyRecord),
    RevokeKey(String, Timestamp),
    BeginCodes(Box<CodeJob>),
    AddCodes(String, Vec<NormalCode>),
    CancelCodes(String),
    AddCounts(Vec<(BannerId, Day, BannerCounts)>),
    PutPeriodKey(Timestamp, [u8; 32]),
    ForgetPeriodKeys(Timestamp),
    SetImporting(bool),
}

impl Work {
    /// Whether it waits until nothing else does: nobody stands at a till for it.
    pub(super) const fn is_patient(&self) -> bool {
        matches!(self, Self::AddCodes(..) | Self::AddCounts(_))
    }

    /// Whether it belongs to whoever owns the journal.
    const fn is_owners(&self) -> bool {
        !matches!(self, Self::PutKey(_) | Self::RevokeKey(..))
    }
}

/// Why an item was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// By its own fault, before it changed anything.
    Own(StoreError),
    /// SQLite failed: the transaction is not to be trusted.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// What an item did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// Journal rows written: 0 where it was there already.
    Rows(usize),
    /// Something that is no row, on so many entries.
    Other(usize),
}

/// Does one item. `next_num` is the number for the next new entity.
pub(super) fn apply(conn: &Connection, work: &Work, next_num: &mut i64, may_append: bool) -> Result<Done, Fault> {
    match work {
        work if work.is_owners() && !may_append => {
            Err(Fault::Own(unavailable("this store was opened beside a server, which alone writes this")))
        }
        Work::Append(wanted) => append(conn, wanted, next_num),
        Work::Snapshot(entity, wanted) => snapshot(conn, entity, wanted),
        Work::Delivered(effects) => {
            let sql = "DELETE FROM outbox WHERE kind = ?1 AND id = ?2 AND seq = ?3 AND idx = ?4";
            let mut delete = conn.prepare_cached(sql)?;
            let mut count = 0;
            for (source, seq, index) in effects {
                count += delete.execute((source.kind.as_str(), &*source.id, to_sql(*seq), index))?;
            }
            Ok(Done::Other(count))
        }
        Work::PutKey(record) => Ok(Done::Other(super::keys::put(conn, record)?)),
        Work::RevokeKey(id, at) => Ok(Done::Other(super::keys::revoke(conn, id, *at)?)),
        Work::BeginCodes(job) => Ok(Done::Other(super::codes::begin(conn, job)?)),
        Work::AddCodes(job, codes) => Ok(Done::Other(super::codes::add(conn, job, codes)?)),
        Work::CancelCodes(job) => Ok(Done::Other(super::codes::cancel(conn, job)?)),
        Work::AddCounts(counts) => Ok(Done::Other(super::counts::add(conn, counts)?)),
        Work::PutPeriodKey(until, secret) => Ok(Done::Other(super::periods::put(conn, *until, secret)?)),
        Work::ForgetPeriodKeys(before) => Ok(Done::Other(super::periods::forget(conn, *before)?)),
        Work::SetImporting(importing) => Ok(Done::Other(super::importing::set(conn, *importing)?)),
    }
}

/// Whether the row is there: `None` where it is not, `Fenced` where another one is.
pub(super) fn present(conn: &Connection, entity: &EntityKey, wanted: &StoredRow) -> Result<Option<()>, StoreError> {
    let known = find(conn, entity).map_err(|e| super::failure::refused(&e))?;
    let Some(known) = known else { return Ok(None) };
    match row(conn, entity, known.num, wanted.seq)? {
        None => Ok(None),
        Some(found) if found == *wanted => Ok(Some(())),
        Some(_) => Err(StoreError::Fenced(entity.clone())),
    }
}

fn append(conn: &Connection, wanted: &Append, next_num: &mut i64) -> Result<Done, Fault> {
    let (entity, row) = (&wanted.entity, &wanted.row);
    let known = find(conn, entity)?;
    let at_head = match known {
        Some(known) => head(conn, known.num)?.max(known.snapshot.cast_unsigned()),
        None => 0,
    };
    if row.seq == 0 || row.seq > MAX_SEQ {
        return Err(Fault::Own(unavailable(format!("{entity} cannot have a row {}", row.seq))));
    }
    if row.seq <= at_head {
        // Either a repeat, or another owner was here.
        return match present(conn, entity, row) {
            Ok(Some(())) => Ok(Done::Rows(0)),
            Ok(None) => Err(Fault::Own(StoreError::Fenced(entity.clone()))),
            Err(error) => Err(Fault::Own(error)),
        };
    }
    if row.seq > at_head + 1 {
        // A caller with rows that are not here is not the owner of these: it has to open the entity again.
        return Err(Fault::Own(StoreError::Fenced(entity.clone())));
    }
    let wake = wanted.wake.map(|wake| wake.0);
    let num = match known {
        Some(known) => {
            if known.wake != wake {
                let sql = "UPDATE entity SET wake = ?3 WHERE kind = ?1 AND id = ?2";
                conn.prepare_cached(sql)?.execute((entity.kind.as_str(), &*entity.id, wake))?;
            }
            known.num
        }
        None => {
            if *next_num > MAX_ENTITY {
                return Err(Fault::Own(unavailable("the store has as many entities as it can number")));
            }
            let sql = "INSERT INTO entity (kind, id, num, wake) VALUES (?1, ?2, ?3, ?4)";
            conn.prepare_cached(sql)?.execute((entity.kind.as_str(), &*entity.id, *next_num, wake))?;
            *next_num += 1;
            *next_num - 1
        }
    };
    let sql = "INSERT INTO journal (position, at, format, sum, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    let sum = row_sum(entity, row);
    conn.prepare_cached(sql)?.execute((position(num, row.seq), row.at.0, row.format, sum, &row.body))?;
    for write in &wanted.views {
        put_view(conn, "main.view", entity, row.seq, write)?;
    }
    for (index, effect) in (0..).zip(&wanted.effects) {
        let owed = OwedEffect { source: entity.clone(), seq: row.seq, index, effect: effect.clone() };
        put_owed(conn, "main.outbox", &owed)?;
    }
    Ok(Done::Rows(1))
}

/// Writes one change of a view into `table`. An older row of an entity never overwrites what a newer one of it wrote,
/// and an entity removes nothing but its own.
pub(super) fn put_view(
    conn: &Connection,
    table: &str,
    entity: &EntityKey,
    seq: u64,
    write: &ViewWrite,
) -> rusqlite::Result<()> {
    let (name, kind, id) = (write.view.as_str(), entity.kind.as_str(), &*entity.id);
    let Some(value) = &write.value else {
        let sql = format!("DELETE FROM {table} WHERE name = ?1 AND key = ?2 AND kind = ?3 AND id = ?4 AND seq <= ?5");
        conn.prepare_cached(&sql)?.execute((name, &write.key, kind, id, to_sql(seq)))?;
        return Ok(());
    };
    let sql = format!(
        "INSERT INTO {table} AS old (name, key, filter, kind, id, seq, sum, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (name, key) DO UPDATE SET filter = excluded.filter, kind = excluded.kind, id = excluded.id,
             seq = excluded.seq, sum = excluded.sum, value = excluded.value
         WHERE excluded.seq >= old.seq OR excluded.id <> old.id OR excluded.kind <> old.kind"
    );
    let sum = view_sum(entity, seq, write);
    conn.prepare_cached(&sql)?.execute(params![name, write.key, write.filter, kind, id, to_sql(seq), sum, value])?;
    Ok(())
}

/// Writes one owed effect into `table`.
pub(super) fn put_owed(conn: &Connection, table: &str, owed: &OwedEffect) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO {table} (kind, id, seq, idx, target_kind, target_id, sum, command)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    );
    let (source, target) = (&owed.source, &owed.effect.target);
    conn.prepare_cached(&sql)?.execute(params![
        source.kind.as_str(),
        &*source.id,
        to_sql(owed.seq),
        owed.index,
        target.kind.as_str(),
        &*target.id,
        effect_sum(source, owed.seq, owed.index, &owed.effect),
        owed.effect.command,
    ])?;
    Ok(())
}

fn snapshot(conn: &Connection, entity: &EntityKey, wanted: &StoredSnapshot) -> Result<Done, Fault> {
    let fenced = || Err(Fault::Own(StoreError::Fenced(entity.clone())));
    let Some(known) = find(conn, entity)? else { return fenced() };
    if wanted.seq == 0 || wanted.seq > head(conn, known.num)? {
        // Made of rows that are not here: whoever made it does not own this entity.
        return fenced();
    }
    if to_sql(wanted.seq) < known.snapshot {
        // A later one is here already, and serves better.
        return Ok(Done::Other(0));
    }
    let sql = "INSERT OR REPLACE INTO snapshot (num, seq, format, sum, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    let sum = snapshot_sum(entity, wanted);
    let count =
        conn.prepare_cached(sql)?.execute(params![known.num, to_sql(wanted.seq), wanted.format, sum, wanted.body])?;
    let sql = "UPDATE entity SET snapshot = ?3 WHERE kind = ?1 AND id = ?2";
    conn.prepare_cached(sql)?.execute((entity.kind.as_str(), &*entity.id, to_sql(wanted.seq)))?;
    Ok(Done::Other(count))
}
