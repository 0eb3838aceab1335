//! The check of a whole file: what SQLite can say about its pages, and what only we can say about what is in them.
//! Runs on a connection and a thread of its own, in one read transaction, while the server works.

use std::collections::HashMap;

use adal_actors::ports::{StoreError, StoredRow, StoredSnapshot};
use adal_domain::{entity::EntityKey, time::Timestamp};
use rusqlite::{Connection, Row};

use super::{
    SqliteStore,
    backup::on_thread,
    codes,
    failure::refused,
    keys,
    layout::{from_sql, key, row_sum, snapshot_sum},
    open,
    queries::{find, head, owed_effect, owner, view_row},
};

/// Problems that are told in full; beyond, they are only counted.
const TOLD: usize = 100;

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The structure of every page (`PRAGMA quick_check`), and every row. Not: whether indexes match their tables.
    Quick,
    /// Indexes as well (`PRAGMA integrity_check`): several times slower.
    Full,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntegrityReport {
    /// What is wrong, for a person; at most 100 of them.
    pub problems: Vec<String>,
    /// How many problems there are.
    pub found: u64,
    /// Entities looked at.
    pub entities: u64,
    /// Journal rows looked at.
    pub rows: u64,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Rows of views looked at.
    pub views: u64,
    /// Owed effects looked at.
    pub owed: u64,
}

impl IntegrityReport {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }

    fn problem(&mut self, what: impl Into<String>) {
        self.found += 1;
        if self.problems.len() < TOLD {
            self.problems.push(what.into());
        }
    }
}

impl SqliteStore {
    /// Reads the whole file and says what is wrong with it. Damage is what the report is for, and no error.
    ///
    /// # Errors
    /// `Unavailable`: the file could not be read at all.
    pub async fn check_file(&self, depth: Depth) -> Result<IntegrityReport, StoreError> {
        let (config, path) = (self.inner.config.clone(), self.inner.path.clone());
        on_thread("adal-check", move || {
            let conn = open::reader(&config, &path).map_err(|e| refused(&e))?;
            let reading = conn.unchecked_transaction().map_err(|e| refused(&e))?;
            check(&reading, depth)
        })
        .await?
    }
}

/// One part of the check: an error that is damage is a problem found, and the other parts go on.
type Part = fn(&Connection, &mut IntegrityReport) -> Result<(), StoreError>;

fn check(conn: &Connection, depth: Depth) -> Result<IntegrityReport, StoreError> {
    let pages: Part = match depth {
        Depth::Quick => |conn, report| pages(conn, "PRAGMA quick_check(100)", report),
        Depth::Full => |conn, report| pages(conn, "PRAGMA integrity_check(100)", report),
    };
    let mut report = IntegrityReport::default();
    for part in [pages, rows, entities, snapshots, views, outbox, api_keys, codes] {
        match part(conn, &mut report) {
            Ok(()) => {}
            Err(StoreError::Corrupt(what)) => report.problem(&*what),
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// Runs `sql` and gives every row to `each`; what `each` finds corrupt is a problem, and the next row follows.
fn scan(
    conn: &Connection,
    sql: &str,
    report: &mut IntegrityReport,
    mut each: impl FnMut(&Row<'_>, &mut IntegrityReport) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = conn.prepare(sql).map_err(|e| refused(&e))?;
    let mut rows = statement.query([]).map_err(|e| refused(&e))?;
    while let Some(row) = rows.next().map_err(|e| refused(&e))? {
        match each(row, report) {
            Err(StoreError::Corrupt(what)) => report.problem(&*what),
            other => other?,
        }
    }
    Ok(())
}

fn column<T: rusqlite::types::FromSql>(row: &Row<'_>, index: usize) -> Result<T, StoreError> {
    row.get(index).map_err(|e| refused(&e))
}

fn pages(conn: &Connection, pragma: &str, report: &mut IntegrityReport) -> Result<(), StoreError> {
    scan(conn, pragma, report, |row, report| {
        let found: String = column(row, 0)?;
        if found != "ok" {
            report.problem(found);
        }
        Ok(())
    })
}

/// Every row matches its checksum, follows the one before it, and belongs to an entity that is known.
fn rows(conn: &Connection, report: &mut IntegrityReport) -> Result<(), StoreError> {
    let sql = "SELECT position, at, format, sum, body, kind, id FROM journal
               LEFT JOIN entity ON num = position >> 31 ORDER BY position";
    let mut last: Option<(i64, u64, i64)> = None;
    scan(conn, sql, report, |row, report| {
        report.rows += 1;
        let ((num, seq), at) = (owner(column(row, 0)?), column::<i64>(row, 1)?);
        let before = last.replace((num, seq, at)).filter(|(owner, ..)| *owner == num);
        let Some(kind) = column::<Option<String>>(row, 5)? else {
            // One line per entity will do.
            if before.is_none() {
                report.problem(format!("rows of an entity numbered {num} that is not known"));
            }
            return Ok(());
        };
        let entity = key(&kind, &column::<String>(row, 6)?)?;
        match before {
            None if seq != 1 => report.problem(format!("{entity}: its rows begin with {seq}")),
            Some((_, last, _)) if last + 1 != seq => {
                report.problem(format!("{entity}: no row between {last} and {seq}"))
            }
            Some((_, _, earlier)) if earlier > at => {
                report.problem(format!("{entity}: row {seq} is earlier than the one before"))
            }
            _ => {}
        }
        let format = from_sql(column(row, 2)?, "the format of a row")?;
        let stored = StoredRow { seq, at: Timestamp(at), format, body: column(row, 4)? };
        if row_sum(&entity, &stored) != column::<i64>(row, 3)? {
            report.problem(format!("{entity}: row {seq} does not match its checksum"));
        }
        Ok(())
    })
}

/// Every entity has rows, and is found under its key. (A timer is a column of its entity: it cannot point elsewhere.)
fn entities(conn: &Connection, report: &mut IntegrityReport) -> Result<(), StoreError> {
    scan(conn, "SELECT kind, id, num, snapshot FROM entity", report, |row, report| {
        report.entities += 1;
        let entity = key(&column::<String>(row, 0)?, &column::<String>(row, 1)?)?;
        let (num, snapshot) = (column::<i64>(row, 2)?, column::<i64>(row, 3)?);
        if find(conn, &entity).map_err(|e| refused(&e))?.is_none() {
            report.problem(format!("{entity}: stored where it is not found"));
        }
        let head = head(conn, num).map_err(|e| refused(&e))?;
        if head == 0 {
            report.problem(format!("{entity}: known, but without rows"));
        }
        if snapshot.cast_unsigned() > head {
            report.problem(format!("{entity}: snapshot {snapshot} is past its last row {head}"));
        }
        Ok(())
    })
}

fn snapshots(conn: &Connection, report: &mut IntegrityReport) -> Result<(), StoreError> {
    let sql = "SELECT kind, id, entity.snapshot, seq, format, sum, body FROM entity
               LEFT JOIN snapshot ON snapshot.num = entity.num WHERE entity.snapshot <> 0";
    scan(conn, sql, report, |row, report| {
        report.snapshots += 1;
        let entity = key(&column::<String>(row, 0)?, &column::<String>(row, 1)?)?;
        let named: i64 = column(row, 2)?;
        let Some(seq) = column::<Option<i64>>(row, 3)?.filter(|seq| *seq == named) else {
            report.problem(format!("{entity}: its snapshot is missing"));
            return Ok(());
        };
        let (seq, format) = (from_sql(seq, "a seq")?, from_sql(column(row, 4)?, "a format")?);
        let stored = StoredSnapshot { seq, format, body: column(row, 6)? };
        if snapshot_sum(&entity, &stored) != column::<i64>(row, 5)? {
            report.problem(format!("{entity}: its snapshot does not match its checksum"));
        }
        Ok(())
    })
}

/// The row that something derived names as its cause is there.
fn caused(conn: &Connection, entity: &EntityKey, seq: u64) -> Result<bool, StoreError> {
    let Some(known) = find(conn, entity).map_err(|e| refused(&e))? else { return Ok(false) };
    Ok((1..=head(conn, known.num).map_err(|e| refused(&e))?).contains(&seq))
}

fn views(conn: &Connection, report: &mut IntegrityReport) -> Result<(), StoreError> {
    let sql = "SELECT name, key, filter, kind, id, seq, sum, value FROM view";
    scan(conn, sql, report, |row, report| {
        report.views += 1;
        let (seq, found) = view_row(row)?;
        if !caused(conn, &found.entity, seq)? {
            report.problem(format!("a view's row `{}` points to row {seq} of {}: not there", found.key, found.entity));
        }
        Ok(())
    })
}

fn outbox(conn: &Connection, report: &mut IntegrityReport) -> Result<(), StoreError> {
    let sql = "SELECT kind, id, seq, idx, target_kind, target_id, sum, command FROM outbox";
    scan(conn, sql, report, |row, report| {
        report.owed += 1;
        let found = owed_effect(row)?;
        if !caused(conn, &found.source, found.seq)? {
            report.problem(format!("an owed effect points to row {} of {}: not there", found.seq, found.source));
        }
        Ok(())
    })
}

/// Every job is what was written, and has as many codes as it says; every code is a job's.
fn codes(conn: &Connection, report: &mut IntegrityReport) -> Result<(), StoreError> {
    let mut lines: HashMap<i64, u64> = HashMap::new();
    scan(conn, "SELECT job FROM code", report, |row, _| {
        *lines.entry(column(row, 0)?).or_default() += 1;
        Ok(())
    })?;
    scan(conn, codes::COLUMNS, report, |row, report| {
        let (num, job) = codes::checked(codes::columns(row).map_err(|e| refused(&e))?)?;
        let found = lines.remove(&num).unwrap_or_default();
        if found != job.done {
            report.problem(format!("the job `{}` says {} codes, and {found} are there", job.id, job.done));
        }
        Ok(())
    })?;
    for (num, found) in lines {
        report.problem(format!("{found} codes of a job numbered {num} that is not known"));
    }
    Ok(())
}

fn api_keys(conn: &Connection, report: &mut IntegrityReport) -> Result<(), StoreError> {
    scan(conn, keys::COLUMNS, report, |row, _| keys::checked(keys::columns(row).map_err(|e| refused(&e))?).map(drop))
}
