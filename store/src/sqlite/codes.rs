//! Unique codes and their jobs. A code is a line of some twenty bytes in the order of its text; jobs make them stretch by
//! stretch (see `catalogue::codes`), so that a batch writes a few neighbouring pages. They are written when nothing more
//! urgent waits (see `writer`), read by the readers' threads, and never held in memory.

use std::{collections::HashMap, sync::Arc};

use adal_actors::ports::{CodeJob, CodePage, Codes, JobCodes, JobState, StoreError};
use adal_domain::{
    ids::{Actor, OfferId},
    offers::NormalCode,
    time::Timestamp,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    SqliteStore,
    apply::{Fault, Work},
    failure::refused,
    layout::{code_job_sum, corrupt, from_sql, to_sql},
};

/// Lines that one read looks at: among the codes of many offers those of one may be rare, and a reader's thread is for
/// all.
const LOOKED_AT: usize = 20_000;

#[async_trait]
impl Codes for SqliteStore {
    async fn begin(&self, job: CodeJob) -> Result<CodeJob, StoreError> {
        let id = job.id.clone();
        self.write(Work::BeginCodes(Box::new(job))).await?;
        self.known(&id).await
    }

    async fn job(&self, id: &str) -> Result<Option<CodeJob>, StoreError> {
        let id = id.to_owned();
        self.read(move |conn| find(conn, &id).map(|found| found.map(|(_, job)| job))).await
    }

    async fn open_jobs(&self, limit: usize) -> Result<Vec<CodeJob>, StoreError> {
        self.read(move |conn| {
            let sql = format!("{COLUMNS} WHERE state = 'open' AND num > 0 ORDER BY num LIMIT ?1");
            let mut statement = conn.prepare_cached(&sql).map_err(|e| refused(&e))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map([limit], columns).map_err(|e| refused(&e))?;
            rows.map(|row| checked(row.map_err(|e| refused(&e))?).map(|(_, job)| job)).collect()
        })
        .await
    }

    async fn add(&self, job: &str, codes: Vec<NormalCode>) -> Result<Option<CodeJob>, StoreError> {
        self.write(Work::AddCodes(job.to_owned(), codes)).await?;
        self.job(job).await
    }

    async fn cancel(&self, job: &str) -> Result<Option<CodeJob>, StoreError> {
        self.write(Work::CancelCodes(job.to_owned())).await?;
        self.job(job).await
    }

    async fn offer_of(&self, code: &NormalCode) -> Result<Option<OfferId>, StoreError> {
        let code = code.clone();
        self.read(move |conn| {
            let sql = "SELECT offer FROM code JOIN code_job ON num = job WHERE code = ?1";
            let found = conn.prepare_cached(sql).and_then(|mut statement| {
                statement.query_row([code.as_str()], |row| row.get::<_, String>(0)).optional()
            });
            found.map_err(|e| refused(&e))?.map(|id| offer_id(&id)).transpose()
        })
        .await
    }

    async fn page(&self, offer: &OfferId, after: Option<&str>, limit: usize) -> Result<CodePage, StoreError> {
        let (offer, after) = (offer.clone(), after.map(str::to_owned));
        self.read(move |conn| page(conn, &offer, after.as_deref(), limit)).await
    }

    async fn jobs(&self, after: Option<&str>, limit: usize) -> Result<Vec<CodeJob>, StoreError> {
        let after = after.map(str::to_owned);
        self.read(move |conn| {
            let sql = format!("{COLUMNS} WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2");
            let mut statement = conn.prepare_cached(&sql).map_err(|e| refused(&e))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map((after, limit), columns).map_err(|e| refused(&e))?;
            rows.map(|row| checked(row.map_err(|e| refused(&e))?).map(|(_, job)| job)).collect()
        })
        .await
    }

    async fn codes_of(&self, job: &str, after: Option<&str>, limit: usize) -> Result<JobCodes, StoreError> {
        let (job, after) = (job.to_owned(), after.map(str::to_owned));
        self.read(move |conn| {
            let mut found = JobCodes::default();
            let Some((num, _)) = find(conn, &job)? else { return Ok(found) };
            found.next = walk(conn, after.as_deref(), limit, |code, of| {
                if of == num {
                    found.codes.push(code);
                }
                found.codes.len()
            })?;
            Ok(found)
        })
        .await
    }
}

impl SqliteStore {
    async fn known(&self, id: &str) -> Result<CodeJob, StoreError> {
        self.job(id).await?.ok_or_else(|| corrupt(format!("the job `{id}` was written and is not there")))
    }
}

fn offer_id(text: &str) -> Result<OfferId, StoreError> {
    OfferId::new(text).map_err(|_| corrupt(format!("a job is of the offer `{text}`, which is no id")))
}

/// A job's columns, as [`columns`] reads them.
pub(super) const COLUMNS: &str =
    "SELECT num, id, offer, prefix, start, count, done, state, actor, at, print, sum FROM code_job";

/// A job as it stands in the file.
pub(super) struct Raw {
    num: i64,
    id: String,
    offer: String,
    prefix: String,
    numbers: [i64; 3],
    state: String,
    actor: String,
    at: i64,
    print: Vec<u8>,
    sum: i64,
}

pub(super) fn columns(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        num: row.get(0)?,
        id: row.get(1)?,
        offer: row.get(2)?,
        prefix: row.get(3)?,
        numbers: [row.get(4)?, row.get(5)?, row.get(6)?],
        state: row.get(7)?,
        actor: row.get(8)?,
        at: row.get(9)?,
        print: row.get(10)?,
        sum: row.get(11)?,
    })
}

/// The job, with its number, if it is what was written.
pub(super) fn checked(raw: Raw) -> Result<(i64, CodeJob), StoreError> {
    let damaged = || corrupt(format!("the job `{}` does not match its checksum", raw.id));
    let [start, count, done] = raw.numbers;
    let job = CodeJob {
        id: raw.id.clone(),
        offer: offer_id(&raw.offer)?,
        prefix: raw.prefix,
        start: from_sql(start, "a job's start")?,
        count: from_sql(count, "a job's count")?,
        done: from_sql(done, "a job's done")?,
        state: JobState::ALL.into_iter().find(|state| state.as_str() == raw.state).ok_or_else(damaged)?,
        by: Actor::new(&raw.actor).map_err(|_| damaged())?,
        at: Timestamp(raw.at),
        print: raw.print.try_into().map_err(|_| damaged())?,
    };
    if code_job_sum(&job) == raw.sum { Ok((raw.num, job)) } else { Err(damaged()) }
}

fn find(conn: &Connection, id: &str) -> Result<Option<(i64, CodeJob)>, StoreError> {
    let sql = format!("{COLUMNS} WHERE id = ?1");
    let found = conn.prepare_cached(&sql).and_then(|mut statement| statement.query_row([id], columns).optional());
    found.map_err(|e| refused(&e))?.map(checked).transpose()
}

/// Keeps a new job. One with its id stays as it is.
pub(super) fn begin(conn: &Connection, job: &CodeJob) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO code_job (id, offer, prefix, start, count, done, state, actor, at, print, sum)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING";
    conn.prepare_cached(sql)?.execute(params![
        job.id,
        job.offer.as_str(),
        job.prefix,
        to_sql(job.start),
        to_sql(job.count),
        to_sql(job.done),
        job.state.as_str(),
        job.by.as_str(),
        job.at.0,
        job.print,
        code_job_sum(job)
    ])
}

fn update(conn: &Connection, job: &CodeJob) -> rusqlite::Result<usize> {
    let sql = "UPDATE code_job SET done = ?2, state = ?3, sum = ?4 WHERE id = ?1";
    let (done, state) = (to_sql(job.done), job.state.as_str());
    conn.prepare_cached(sql)?.execute((&job.id, done, state, code_job_sum(job)))
}

/// Adds codes to a job that is open; those that are there already, and what is too many, are left out.
pub(super) fn add(conn: &Connection, id: &str, codes: &[NormalCode]) -> Result<usize, Fault> {
    let Some((num, mut job)) = find(conn, id).map_err(Fault::Own)?.filter(|(_, job)| job.state == JobState::Open)
    else {
        return Ok(0);
    };
    let mut insert =
        conn.prepare_cached("INSERT INTO code (code, job) VALUES (?1, ?2) ON CONFLICT (code) DO NOTHING")?;
    let mut added = 0;
    for code in codes {
        if job.done >= job.count {
            break;
        }
        let new = insert.execute((code.as_str(), num))?;
        job.done += new as u64;
        added += new;
    }
    if job.done >= job.count {
        job.state = JobState::Done;
    }
    update(conn, &job)?;
    Ok(added)
}

/// Stops a job that is open.
pub(super) fn cancel(conn: &Connection, id: &str) -> Result<usize, Fault> {
    match find(conn, id).map_err(Fault::Own)?.filter(|(_, job)| job.state == JobState::Open) {
        Some((_, mut job)) => {
            job.state = JobState::Cancelled;
            Ok(update(conn, &job)?)
        }
        None => Ok(0),
    }
}

fn page(conn: &Connection, offer: &OfferId, after: Option<&str>, limit: usize) -> Result<CodePage, StoreError> {
    let sql = |e: rusqlite::Error| refused(&e);
    let mut jobs: HashMap<i64, Arc<str>> = HashMap::new();
    let mut of_offer = conn.prepare_cached(&format!("{COLUMNS} WHERE offer = ?1")).map_err(sql)?;
    for raw in of_offer.query_map([offer.as_str()], columns).map_err(sql)? {
        let (num, job) = checked(raw.map_err(sql)?)?;
        jobs.insert(num, job.prefix.into());
    }
    let mut page = CodePage::default();
    if jobs.is_empty() {
        return Ok(page);
    }
    page.next = walk(conn, after, limit, |code, job| {
        if let Some(prefix) = jobs.get(&job) {
            page.codes.push((code, Arc::clone(prefix)));
        }
        page.codes.len()
    })?;
    Ok(page)
}

/// Shows codes after `after`, with the number of their job, until `seen` says that it has taken `limit` of them; answers
/// where to go on, if there may be more.
fn walk(
    conn: &Connection,
    after: Option<&str>,
    limit: usize,
    mut seen: impl FnMut(String, i64) -> usize,
) -> Result<Option<String>, StoreError> {
    let sql = |e: rusqlite::Error| refused(&e);
    let mut lines = conn.prepare_cached("SELECT code, job FROM code WHERE code > ?1 ORDER BY code").map_err(sql)?;
    let mut lines = lines.query([after.unwrap_or_default()]).map_err(sql)?;
    let mut looked_at = 0;
    while let Some(line) = lines.next().map_err(sql)? {
        let code: String = line.get(0).map_err(sql)?;
        looked_at += 1;
        if seen(code.clone(), line.get(1).map_err(sql)?) >= limit || looked_at >= LOOKED_AT {
            return Ok(Some(code));
        }
    }
    Ok(None)
}
