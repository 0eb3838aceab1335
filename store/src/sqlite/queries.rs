//! The reads, each on a reader's connection. Whatever is handed out was checked first: its checksum, and that an
//! entity's rows follow each other without a gap. What fails is `Corrupt`, never an answer.

use adal_actors::ports::{Opened, OwedEffect, StoreError, StoredRow, StoredSnapshot, ViewRow};
use adal_domain::{
    entity::{Effect, EntityKey, EntityKind, View},
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{
    failure::refused,
    layout::{
        MAX_SEQ, corrupt, effect_sum, entity_of, from_sql, key, position, row_sum, seq_of, snapshot_sum, to_sql,
        view_row_sum,
    },
};

/// What the table `entity` says of an entity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) num: i64,
    pub(super) wake: Option<i64>,
    pub(super) snapshot: i64,
}

/// Looks an entity up.
pub(super) fn find(conn: &Connection, entity: &EntityKey) -> rusqlite::Result<Option<Known>> {
    let sql = "SELECT num, wake, snapshot FROM entity WHERE kind = ?1 AND id = ?2";
    conn.prepare_cached(sql)?
        .query_row((entity.kind.as_str(), &*entity.id), |row| {
            Ok(Known { num: row.get(0)?, wake: row.get(1)?, snapshot: row.get(2)? })
        })
        .optional()
}

/// The seq of an entity's last row; 0 without rows.
pub(super) fn head(conn: &Connection, num: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT max(position) FROM journal WHERE position BETWEEN ?1 AND ?2";
    let last: Option<i64> =
        conn.prepare_cached(sql)?.query_row((position(num, 0), position(num, MAX_SEQ)), |row| row.get(0))?;
    Ok(last.map_or(0, seq_of))
}

fn stored_row(entity: &EntityKey, row: &Row<'_>) -> rusqlite::Result<Result<StoredRow, StoreError>> {
    let (format, sum): (i64, i64) = (row.get(2)?, row.get(3)?);
    let seq = seq_of(row.get(0)?);
    let format = match from_sql(format, "the format of a row") {
        Ok(format) => format,
        Err(error) => return Ok(Err(error)),
    };
    let found = StoredRow { seq, at: Timestamp(row.get(1)?), format, body: row.get(4)? };
    if row_sum(entity, &found) != sum {
        return Ok(Err(corrupt(format!("row {seq} of {entity} does not match its checksum"))));
    }
    Ok(Ok(found))
}

/// One row.
pub(super) fn row(conn: &Connection, entity: &EntityKey, num: i64, seq: u64) -> Result<Option<StoredRow>, StoreError> {
    let sql = "SELECT position, at, format, sum, body FROM journal WHERE position = ?1";
    let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
    let found = statement.query_row([position(num, seq)], |row| stored_row(entity, row)).optional();
    found.map_err(|e| refused(&e))?.transpose()
}

/// Rows `from..=to`, at most `limit`.
fn range(
    conn: &Connection,
    entity: &EntityKey,
    num: i64,
    (from, to): (u64, u64),
    limit: usize,
    descending: bool,
) -> Result<Vec<StoredRow>, StoreError> {
    if from > to {
        return Ok(Vec::new());
    }
    let sql = if descending {
        "SELECT position, at, format, sum, body FROM journal WHERE position BETWEEN ?1 AND ?2
         ORDER BY position DESC LIMIT ?3"
    } else {
        "SELECT position, at, format, sum, body FROM journal WHERE position BETWEEN ?1 AND ?2
         ORDER BY position LIMIT ?3"
    };
    let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
    let rows = statement
        .query_map((position(num, from), position(num, to), limit_of(limit)), |row| stored_row(entity, row))
        .map_err(|e| refused(&e))?;
    let rows: Vec<StoredRow> = rows.map(|row| row.map_err(|e| refused(&e))?).collect::<Result<_, _>>()?;
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].seq.abs_diff(pair[1].seq) != 1) {
        return Err(corrupt(format!("a row of {entity} is missing between {} and {}", pair[0].seq, pair[1].seq)));
    }
    Ok(rows)
}

/// Everything that is needed to wake an entity. One read transaction: a snapshot and the rows after it belong together.
pub(super) fn open(conn: &Connection, entity: &EntityKey) -> Result<Opened, StoreError> {
    within(conn, || opened(conn, entity))
}

/// Runs several reads in one read transaction, whose statements are prepared once.
fn within<T>(conn: &Connection, reads: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    /// Ends it however the reads end.
    struct Reading<'a>(&'a Connection);

    impl Drop for Reading<'_> {
        fn drop(&mut self) {
            // Nothing was written: what cannot be ended was ended by the error before, or is by closing.
            let _ = self.0.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        }
    }

    conn.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([])).map_err(|e| refused(&e))?;
    let _reading = Reading(conn);
    reads()
}

fn opened(conn: &Connection, entity: &EntityKey) -> Result<Opened, StoreError> {
    let Some(known) = find(conn, entity).map_err(|e| refused(&e))? else { return Ok(Opened::default()) };
    let (snapshot, damaged) = match latest(conn, entity, known) {
        Ok(snapshot) => (snapshot, None),
        // It saves time, and says nothing that the rows do not say.
        Err(StoreError::Corrupt(why)) => (None, Some(why)),
        Err(error) => return Err(error),
    };
    let first = snapshot.as_ref().map_or(1, |snapshot| snapshot.seq + 1);
    let rows = range(conn, entity, known.num, (first, MAX_SEQ), usize::MAX, false)?;
    let last = rows.last().map_or(0, |row| row.seq);
    match (rows.first(), damaged) {
        (Some(row), _) if row.seq != first => Err(corrupt(format!("row {first} of {entity} is missing"))),
        (None, None) if snapshot.is_none() => Err(corrupt(format!("{entity} is known, but its rows are missing"))),
        (_, Some(why)) if to_sql(last) < known.snapshot => Err(corrupt(format!("{why}; and its rows end with {last}"))),
        (_, damaged) => Ok(Opened { snapshot, rows, damaged }),
    }
}

/// The snapshot that the table `entity` names.
fn latest(conn: &Connection, entity: &EntityKey, known: Known) -> Result<Option<StoredSnapshot>, StoreError> {
    if known.snapshot == 0 {
        return Ok(None);
    }
    let found = snapshot(conn, entity, known.num)?.filter(|found| to_sql(found.seq) == known.snapshot);
    match found {
        None => Err(corrupt(format!("the snapshot {} of {entity} is missing", known.snapshot))),
        found => Ok(found),
    }
}

fn snapshot(conn: &Connection, entity: &EntityKey, num: i64) -> Result<Option<StoredSnapshot>, StoreError> {
    let sql = "SELECT seq, format, sum, body FROM snapshot WHERE num = ?1";
    let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
    let found = statement
        .query_row([num], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get(3)?)))
        .optional()
        .map_err(|e| refused(&e))?;
    let Some((seq, format, sum, body)) = found else { return Ok(None) };
    let found = StoredSnapshot {
        seq: from_sql(seq, "the seq of a snapshot")?,
        format: from_sql(format, "the format of a snapshot")?,
        body,
    };
    if snapshot_sum(entity, &found) != sum {
        return Err(corrupt(format!("the snapshot of {entity} does not match its checksum")));
    }
    Ok(Some(found))
}

/// Rows `from..=to` of an entity.
pub(super) fn rows(
    conn: &Connection,
    entity: &EntityKey,
    bounds: (u64, u64),
    limit: usize,
    descending: bool,
) -> Result<Vec<StoredRow>, StoreError> {
    match find(conn, entity).map_err(|e| refused(&e))? {
        Some(known) => range(conn, entity, known.num, bounds, limit, descending),
        None => Ok(Vec::new()),
    }
}

/// The newest row not later than `at`: rows are in the order of time, so halving finds it in at most 31 reads.
pub(super) fn seq_at(conn: &Connection, entity: &EntityKey, at: Timestamp) -> Result<Option<u64>, StoreError> {
    within(conn, || halved(conn, entity, at))
}

fn halved(conn: &Connection, entity: &EntityKey, at: Timestamp) -> Result<Option<u64>, StoreError> {
    let sql = |e: rusqlite::Error| refused(&e);
    let Some(known) = find(conn, entity).map_err(sql)? else { return Ok(None) };
    let mut time = conn
        .prepare_cached("SELECT position, at FROM journal WHERE position BETWEEN ?1 AND ?2 ORDER BY position LIMIT 1")
        .map_err(sql)?;
    // Below `low` everything is not later than `at`; from `high` on everything is.
    let (mut low, mut high) = (1, head(conn, known.num).map_err(sql)? + 1);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let bounds = (position(known.num, middle), position(known.num, high - 1));
        let row = time.query_row(bounds, |row| Ok((seq_of(row.get(0)?), Timestamp(row.get(1)?)))).optional();
        match row.map_err(sql)? {
            Some((seq, time)) if time <= at => (found, low) = (Some(seq), seq + 1),
            _ => high = middle,
        }
    }
    Ok(found)
}

/// Effects not yet delivered, by source, seq and index.
pub(super) fn owed(
    conn: &Connection,
    after: Option<&(EntityKey, u64, u32)>,
    limit: usize,
) -> Result<Vec<OwedEffect>, StoreError> {
    let (kind, id, seq, index) = after
        .map_or(("", "", -1, -1), |(key, seq, index)| (key.kind.as_str(), &*key.id, to_sql(*seq), i64::from(*index)));
    let sql = "SELECT kind, id, seq, idx, target_kind, target_id, sum, command FROM outbox
               WHERE (kind, id, seq, idx) > (?1, ?2, ?3, ?4) ORDER BY kind, id, seq, idx LIMIT ?5";
    owed_effects(conn, sql, params![kind, id, seq, index, limit_of(limit)])
}

/// Effects of one source not yet delivered, by seq and index.
pub(super) fn owed_by(conn: &Connection, source: &EntityKey, limit: usize) -> Result<Vec<OwedEffect>, StoreError> {
    let sql = "SELECT kind, id, seq, idx, target_kind, target_id, sum, command FROM outbox
               WHERE kind = ?1 AND id = ?2 ORDER BY seq, idx LIMIT ?3";
    owed_effects(conn, sql, params![source.kind.as_str(), &*source.id, limit_of(limit)])
}

fn owed_effects(conn: &Connection, sql: &str, of: impl Params) -> Result<Vec<OwedEffect>, StoreError> {
    let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
    let mut rows = statement.query(of).map_err(|e| refused(&e))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(|e| refused(&e))? {
        found.push(owed_effect(row)?);
    }
    Ok(found)
}

/// One row of the outbox: kind, id, seq, idx, target_kind, target_id, sum, command.
pub(super) fn owed_effect(row: &Row<'_>) -> Result<OwedEffect, StoreError> {
    let source = key(&text(row, 0)?, &text(row, 1)?)?;
    let (seq, index) = (from_sql(number(row, 2)?, "a seq")?, from_sql(number(row, 3)?, "an index")?);
    let effect = Effect { target: key(&text(row, 4)?, &text(row, 5)?)?, command: row.get(7).map_err(|e| refused(&e))? };
    if effect_sum(&source, seq, index, &effect) != number(row, 6)? {
        return Err(corrupt(format!("effect {index} of row {seq} of {source} does not match its checksum")));
    }
    Ok(OwedEffect { source, seq, index, effect })
}

/// Timers that are due.
pub(super) fn due(
    conn: &Connection,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(Timestamp, EntityKey)>, StoreError> {
    let sql = "SELECT wake, kind, id FROM entity WHERE wake IS NOT NULL AND wake <= ?1
               ORDER BY wake, kind, id LIMIT ?2";
    let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
    let mut rows = statement.query((until.0, limit_of(limit))).map_err(|e| refused(&e))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(|e| refused(&e))? {
        found.push((Timestamp(number(row, 0)?), key(&text(row, 1)?, &text(row, 2)?)?));
    }
    Ok(found)
}

/// Entities of a kind, by id.
pub(super) fn entities(
    conn: &Connection,
    kind: EntityKind,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<EntityKey>, StoreError> {
    let sql = if after.is_some() {
        "SELECT id FROM entity WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
    } else {
        "SELECT id FROM entity WHERE kind = ?1 AND id >= ?2 ORDER BY id LIMIT ?3"
    };
    let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
    let ids = statement
        .query_map((kind.as_str(), after.unwrap_or_default(), limit_of(limit)), |row| row.get::<_, String>(0))
        .map_err(|e| refused(&e))?;
    ids.map(|id| id.map(|id| EntityKey::new(kind, &id)).map_err(|e| refused(&e))).collect()
}

/// One row of a view.
pub(super) fn view(conn: &Connection, view: View, wanted: &str) -> Result<Option<ViewRow>, StoreError> {
    let sql = "SELECT name, key, filter, kind, id, seq, sum, value FROM view WHERE name = ?1 AND key = ?2";
    let mut statement = conn.prepare_cached(sql).map_err(|e| refused(&e))?;
    let mut rows = statement.query((view.as_str(), wanted)).map_err(|e| refused(&e))?;
    rows.next().map_err(|e| refused(&e))?.map(|row| view_row(row).map(|(_, row)| row)).transpose()
}

/// Rows of a view, by key, descending.
pub(super) fn views(
    conn: &Connection,
    view: View,
    filter: Option<&str>,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<ViewRow>, StoreError> {
    let sql = views_sql(filter, before);
    let mut statement = conn.prepare_cached(&sql).map_err(|e| refused(&e))?;
    let mut rows = statement.query(params![view.as_str(), filter, before, limit_of(limit)]).map_err(|e| refused(&e))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(|e| refused(&e))? {
        found.push(view_row(row)?.1);
    }
    Ok(found)
}

/// One text per combination, so that each finds its index: a condition that may be absent finds none. The literal
/// `filter <> ''` is what the partial index asks for, and INDEXED BY makes SQLite take it: it would rather walk down the
/// whole view, which is long where the filter is rare. Rows with an empty filter are few or all, and are walked.
pub(super) fn views_sql(filter: Option<&str>, before: Option<&str>) -> String {
    let (index, by_filter) = match filter {
        None => ("", ""),
        Some("") => ("", " AND filter = ?2"),
        Some(_) => (" INDEXED BY view_filter", " AND filter = ?2 AND filter <> ''"),
    };
    let by_key = if before.is_some() { " AND key < ?3" } else { "" };
    format!(
        "SELECT name, key, filter, kind, id, seq, sum, value FROM view{index}
         WHERE name = ?1{by_filter}{by_key} ORDER BY key DESC LIMIT ?4"
    )
}

/// One row of a view, with its seq: name, key, filter, kind, id, seq, sum, value.
pub(super) fn view_row(row: &Row<'_>) -> Result<(u64, ViewRow), StoreError> {
    let (name, seq) = (text(row, 0)?, from_sql(number(row, 5)?, "a seq")?);
    let found = ViewRow {
        key: text(row, 1)?,
        filter: text(row, 2)?,
        entity: key(&text(row, 3)?, &text(row, 4)?)?,
        value: row.get(7).map_err(|e| refused(&e))?,
    };
    if view_row_sum(&found.entity, seq, &name, &found.key, &found.filter, &found.value) != number(row, 6)? {
        return Err(corrupt(format!("row `{}` of view {name} does not match its checksum", found.key)));
    }
    Ok((seq, found))
}

/// Which entity a position belongs to, for the check.
pub(super) fn owner(position: i64) -> (i64, u64) {
    (entity_of(position), seq_of(position))
}

fn text(row: &Row<'_>, column: usize) -> Result<String, StoreError> {
    row.get(column).map_err(|e| refused(&e))
}

fn number(row: &Row<'_>, column: usize) -> Result<i64, StoreError> {
    row.get(column).map_err(|e| refused(&e))
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
