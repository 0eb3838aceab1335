//! Unique codes and their jobs, by the owner of the shards alone, one change at a time.
//!
//! What a transaction does elsewhere is done by order here. A job's row first says which codes are being added
//! (`pending`), then they are written, then the row says that they are: whoever finds it half done finishes it, and a
//! code is counted once. A code is looked up before it is given to a job.
//!
//! Between owners it is as with the journal: no code is written before the claim was verified after the row that names it
//! ([`Desk::verify`]); so the next owner finds in the jobs' rows whatever may yet be written, and finishes that before it
//! gives codes to anybody ([`Desk::take_over`]). A row that was written and not verified is either found by it, and its
//! codes looked up again, or covered by the row that it writes. All is stamped by epoch and one count: of two tries of one
//! step, with other codes, the later one counts.

use std::{cmp::Ordering, sync::Arc};

use adal_actors::ports::{CodeJob, CodePage, JobCodes, JobState, StoreError};
use adal_domain::{ids::OfferId, offers::NormalCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    db::{CodeJobRow, Database, Failed},
    merge::{Read, merged},
    owner::{Owner, Verdict},
    protocol::stamp,
};

/// Codes of a job in one partition.
const CHUNK: u64 = 50_000;

/// Codes that are added at a time; more are added in several steps.
const STEP: usize = 5_000;

/// Open jobs that are looked at.
const OPEN: usize = 1_000;

/// Open jobs that a new owner looks at: all of them, of which there are never so many.
const ALL_OPEN: usize = 100_000;

#[derive(Serialize, Deserialize)]
struct Pending {
    v: u8,
    codes: Vec<String>,
}

/// What is kept of the desk between two changes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What an earlier owner left is finished, and so is what we tried since.
    taken_over: bool,
    /// Writes so far.
    writes: u64,
}

/// Who changes jobs and codes, alone.
pub(super) struct Desk<'a> {
    pub(super) db: &'a dyn Database,
    pub(super) owner: &'a Arc<Owner>,
    pub(super) epoch: u64,
    pub(super) deadline: Instant,
    pub(super) kept: &'a mut Kept,
}

impl Desk<'_> {
    /// Of two writes the later one counts.
    fn stamp(&mut self) -> i64 {
        self.kept.writes += 1;
        stamp(self.epoch, self.kept.writes)
    }

    /// Whether the shards are ours still: whoever claims them after this finds what was written before it.
    async fn verify(&self) -> Result<(), Failed> {
        match self.owner.verify(self.deadline).await? {
            Verdict::Ours => Ok(()),
            Verdict::Lost => Err(Failed::NotDone("another server has taken over".into())),
        }
    }

    /// Finishes what earlier owners were adding to jobs, and writes every open job's row again, so that no row of theirs
    /// that is still on its way counts. Before the first change under a claim, and before the one after one that failed:
    /// what that one wrote may be seen by one reader and not by the next.
    pub(super) async fn take_over(&mut self) -> Result<(), Failed> {
        if std::mem::replace(&mut self.kept.taken_over, false) {
            return Ok(());
        }
        for (_, id) in self.db.open_jobs(ALL_OPEN).await? {
            if let Some(CodeJobRow { job, .. }) = self.job(&id).await? {
                self.end(job).await?;
            }
        }
        Ok(())
    }

    /// All that was begun is done.
    pub(super) fn done(&mut self) {
        self.kept.taken_over = true;
    }

    pub(super) async fn begin(&mut self, job: CodeJob) -> Result<CodeJob, Failed> {
        if let Some(there) = self.job(&job.id).await? {
            return Ok(there.job);
        }
        // What finds it first: a job that nothing finds would never be made.
        self.db.put_offer_job(job.offer.as_str(), &job.id).await?;
        let listed = self.stamp();
        self.db.put_open_job(job.at, &job.id, listed).await?;
        let stamp = self.stamp();
        self.db.put_code_job(&CodeJobRow { job: job.clone(), pending: None }, stamp).await?;
        Ok(job)
    }

    /// A job, once what was being added to it is.
    async fn job(&mut self, id: &str) -> Result<Option<CodeJobRow>, Failed> {
        let Some(row) = self.db.code_job(id).await? else { return Ok(None) };
        let Some(pending) = &row.pending else { return Ok(Some(row)) };
        let Pending { mut codes, .. } = rmp_serde::from_slice(pending)
            .map_err(|e| Failed::Unreadable(format!("what is added to the job {id}: {e}").into()))?;
        // But for those that another job has by now: who looked them up may have been no owner any more when he wrote this.
        let mut of = self.db.codes(&codes).await?.into_iter();
        codes.retain(|_| of.next().flatten().is_none_or(|of| of == row.job.id));
        // Again: its write need not have ended, and the next reader not see it. Its codes would be nobody's then.
        Ok(Some(CodeJobRow { job: self.give(row.job, codes).await?, pending: None }))
    }

    pub(super) async fn add(&mut self, id: &str, codes: Vec<NormalCode>) -> Result<Option<CodeJob>, Failed> {
        let Some(CodeJobRow { mut job, .. }) = self.job(id).await? else { return Ok(None) };
        let codes: Vec<String> = codes.into_iter().map(|code| code.as_str().to_owned()).collect();
        for codes in codes.chunks(STEP) {
            let left = usize::try_from(job.count.saturating_sub(job.done)).unwrap_or(usize::MAX);
            if job.state != JobState::Open || left == 0 {
                break;
            }
            let taken = self.db.codes(codes).await?;
            let mut new: Vec<String> = Vec::new();
            for (code, of) in codes.iter().zip(taken) {
                if of.is_none() && new.len() < left && !new.contains(code) {
                    new.push(code.clone());
                }
            }
            if new.is_empty() {
                continue;
            }
            job = self.give(job, new).await?;
        }
        Ok(Some(job))
    }

    /// Says which codes are being added to the job, writes them, and says that they are.
    async fn give(&mut self, mut job: CodeJob, codes: Vec<String>) -> Result<CodeJob, Failed> {
        let pending = Pending { v: 1, codes };
        let bytes = rmp_serde::to_vec_named(&pending).map_err(|e| Failed::NotDone(e.to_string().into()))?;
        let codes = pending.codes;
        let stamp = self.stamp();
        self.db.put_code_job(&CodeJobRow { job: job.clone(), pending: Some(bytes) }, stamp).await?;
        self.verify().await?;
        let stamp = self.stamp();
        self.db.put_codes(&codes, &job.id, stamp).await?;
        self.verify().await?;
        // The chunk goes by what was done before: a repeat writes to the same.
        let chunk = u32::try_from(job.done / CHUNK).unwrap_or(u32::MAX);
        self.db.put_codes_of_job(&job.id, chunk, &codes).await?;
        job.done += codes.len() as u64;
        if job.done >= job.count {
            job.state = JobState::Done;
        }
        self.end(job).await
    }

    pub(super) async fn cancel(&mut self, id: &str) -> Result<Option<CodeJob>, Failed> {
        match self.job(id).await? {
            Some(CodeJobRow { mut job, .. }) if job.state == JobState::Open => {
                job.state = JobState::Cancelled;
                self.end(job).await.map(Some)
            }
            found => Ok(found.map(|row| row.job)),
        }
    }

    async fn end(&mut self, job: CodeJob) -> Result<CodeJob, Failed> {
        let stamp = self.stamp();
        self.db.put_code_job(&CodeJobRow { job: job.clone(), pending: None }, stamp).await?;
        if job.state != JobState::Open {
            let stamp = self.stamp();
            self.db.delete_open_job(job.at, &job.id, stamp).await?;
        }
        Ok(job)
    }
}

pub(super) async fn open_jobs(db: &dyn Database, limit: usize) -> Result<Vec<CodeJob>, Failed> {
    let mut found = Vec::new();
    for (_, id) in db.open_jobs(OPEN).await? {
        if found.len() >= limit {
            break;
        }
        // One that ended, or never was (its maker failed between the rows), may still be listed.
        found.extend(db.code_job(&id).await?.map(|row| row.job).filter(|job| job.state == JobState::Open));
    }
    Ok(found)
}

pub(super) async fn offer_of(db: &dyn Database, code: &NormalCode) -> Result<Option<OfferId>, Failed> {
    let Some(job) = db.code(code.as_str()).await? else { return Ok(None) };
    match db.code_job(&job).await? {
        Some(row) => Ok(Some(row.job.offer)),
        None => Err(Failed::Unreadable(format!("a code is of the job `{job}`, which is not there").into())),
    }
}

pub(super) async fn page(
    db: &dyn Database,
    offer: &OfferId,
    after: Option<&str>,
    limit: usize,
    deadline: Instant,
) -> Result<CodePage, Failed> {
    let mut parts: Vec<(String, u32, Arc<str>)> = Vec::new();
    for id in db.offer_jobs(offer.as_str()).await? {
        let Some(CodeJobRow { job, pending }) = db.code_job(&id).await? else { continue };
        let last = match (job.done, pending) {
            (0, None) => continue,
            (done, None) => (done - 1) / CHUNK,
            (done, Some(_)) => done / CHUNK,
        };
        let prefix: Arc<str> = job.prefix.into();
        parts.extend(
            (0..=u32::try_from(last).unwrap_or(u32::MAX)).map(|chunk| (id.clone(), chunk, Arc::clone(&prefix))),
        );
    }
    type Line = (String, usize);
    let read = |part: usize, from: Option<Line>, count: usize| -> Read<'_, Line> {
        let of = parts.get(part);
        Box::pin(async move {
            let Some((job, chunk, _)) = of else { return Ok(Vec::new()) };
            let after = from.as_ref().map(|(code, _)| code.as_str()).or(after);
            let codes = db.codes_of_job(job, *chunk, after, count).await?;
            Ok(codes.into_iter().map(|code| (code, part)).collect())
        })
    };
    let found = merged(parts.len(), limit, deadline, Clone::clone, read).await?;
    let next = match found.len().cmp(&limit) {
        Ordering::Less => None,
        _ => found.last().map(|(code, _)| code.clone()),
    };
    let prefix = |part: usize| parts.get(part).map(|(_, _, prefix)| Arc::clone(prefix)).unwrap_or_default();
    Ok(CodePage { codes: found.into_iter().map(|(code, part)| (code, prefix(part))).collect(), next })
}

/// All jobs, by id: all of their ids are read, which are few.
pub(super) async fn jobs(db: &dyn Database, after: Option<&str>, limit: usize) -> Result<Vec<CodeJob>, Failed> {
    let mut ids = db.all_jobs().await?;
    ids.sort_unstable();
    ids.retain(|id| after.is_none_or(|after| id.as_str() > after));
    let mut found = Vec::new();
    for id in ids.into_iter().take(limit) {
        found.extend(db.code_job(&id).await?.map(|row| row.job));
    }
    Ok(found)
}

/// The codes of a job, by their bytes: its chunks merged.
pub(super) async fn of_job(
    db: &dyn Database,
    job: &str,
    after: Option<&str>,
    limit: usize,
    deadline: Instant,
) -> Result<JobCodes, Failed> {
    let Some(CodeJobRow { job: CodeJob { done, .. }, pending }) = db.code_job(job).await? else {
        return Ok(JobCodes::default());
    };
    // What is being added may have begun another chunk.
    let chunks = done.saturating_sub(u64::from(pending.is_none())) / CHUNK + 1;
    let read = |part: usize, from: Option<String>, count: usize| -> Read<'_, String> {
        Box::pin(async move {
            let chunk = u32::try_from(part).unwrap_or(u32::MAX);
            db.codes_of_job(job, chunk, from.as_deref().or(after), count).await
        })
    };
    let chunks = usize::try_from(chunks).unwrap_or(usize::MAX);
    let codes = merged(chunks, limit, deadline, Clone::clone, read).await?;
    let next = codes.last().filter(|_| codes.len() >= limit).cloned();
    Ok(JobCodes { codes, next })
}

/// What a caller of [`Desk`] is told.
pub(super) fn told(failed: Failed) -> StoreError {
    match failed {
        Failed::Unknown(why) => StoreError::InDoubt(why),
        failed => failed.into(),
    }
}
