//! What the store in memory keeps beside the journal: unique codes, the counts of banners, and secrets of periods.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use adal_domain::{
    ids::{BannerId, OfferId},
    offers::NormalCode,
    time::{Day, Timestamp},
};
use async_trait::async_trait;

use super::{MemoryStore, Operation};
use crate::ports::{BannerCounts, CodeJob, CodePage, Codes, Counts, JobCodes, JobState, PeriodKeys, StoreError};

/// Behind a lock of its own, which is never held over an await.
#[derive(Default)]
pub(super) struct Beside {
    jobs: Vec<CodeJob>,
    /// By normal form: the place of the job.
    codes: BTreeMap<String, usize>,
    counts: BTreeMap<(BannerId, Day), BannerCounts>,
    periods: BTreeMap<Timestamp, [u8; 32]>,
}

impl MemoryStore {
    fn beside(&self) -> MutexGuard<'_, Beside> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beside {
    fn open_job(&mut self, id: &str) -> Option<(usize, &mut CodeJob)> {
        self.jobs.iter_mut().enumerate().find(|(_, job)| job.id == id && job.state == JobState::Open)
    }

    fn job(&self, id: &str) -> Option<CodeJob> {
        self.jobs.iter().find(|job| job.id == id).cloned()
    }
}

#[async_trait]
impl Codes for MemoryStore {
    async fn begin(&self, job: CodeJob) -> Result<CodeJob, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let kept = {
            let mut beside = self.beside();
            if beside.job(&job.id).is_none() {
                beside.jobs.push(job.clone());
            }
            beside.job(&job.id).unwrap_or(job)
        };
        rest.then(kept).await
    }

    async fn job(&self, id: &str) -> Result<Option<CodeJob>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let found = self.beside().job(id);
        rest.then(found).await
    }

    async fn open_jobs(&self, limit: usize) -> Result<Vec<CodeJob>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let mut open = self.beside().jobs.clone();
        open.retain(|job| job.state == JobState::Open);
        open.truncate(limit);
        rest.then(open).await
    }

    async fn add(&self, job: &str, codes: Vec<NormalCode>) -> Result<Option<CodeJob>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let found = {
            let mut beside = self.beside();
            for code in codes {
                let is_new = !beside.codes.contains_key(code.as_str());
                let Some((place, open)) = beside.open_job(job).filter(|_| is_new) else { continue };
                open.done += 1;
                if open.done == open.count {
                    open.state = JobState::Done;
                }
                beside.codes.insert(code.as_str().to_owned(), place);
            }
            beside.job(job)
        };
        rest.then(found).await
    }

    async fn cancel(&self, job: &str) -> Result<Option<CodeJob>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let found = {
            let mut beside = self.beside();
            if let Some((_, open)) = beside.open_job(job) {
                open.state = JobState::Cancelled;
            }
            beside.job(job)
        };
        rest.then(found).await
    }

    async fn offer_of(&self, code: &NormalCode) -> Result<Option<OfferId>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let found = {
            let beside = self.beside();
            beside.codes.get(code.as_str()).and_then(|place| beside.jobs.get(*place)).map(|job| job.offer.clone())
        };
        rest.then(found).await
    }

    async fn page(&self, offer: &OfferId, after: Option<&str>, limit: usize) -> Result<CodePage, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let page = {
            let beside = self.beside();
            let of_offer = beside.codes.iter().filter_map(|(code, place)| {
                let job = beside.jobs.get(*place).filter(|job| job.offer == *offer)?;
                Some((code.clone(), job.prefix.as_str().into()))
            });
            let codes: Vec<_> = of_offer.filter(|(code, _)| after.is_none_or(|after| code.as_str() > after)).collect();
            let next = (codes.len() > limit).then(|| codes[limit - 1].0.clone());
            CodePage { codes: codes.into_iter().take(limit).collect(), next }
        };
        rest.then(page).await
    }

    async fn jobs(&self, after: Option<&str>, limit: usize) -> Result<Vec<CodeJob>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let mut jobs = self.beside().jobs.clone();
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        jobs.retain(|job| after.is_none_or(|after| job.id.as_str() > after));
        jobs.truncate(limit);
        rest.then(jobs).await
    }

    async fn codes_of(&self, job: &str, after: Option<&str>, limit: usize) -> Result<JobCodes, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let page = {
            let beside = self.beside();
            let of_job = |place: &usize| beside.jobs.get(*place).is_some_and(|of| of.id == job);
            let codes = beside.codes.iter().filter(|(_, place)| of_job(place)).map(|(code, _)| code.clone());
            let codes: Vec<_> = codes.filter(|code| after.is_none_or(|after| code.as_str() > after)).collect();
            let next = (codes.len() > limit).then(|| codes[limit - 1].clone());
            JobCodes { codes: codes.into_iter().take(limit).collect(), next }
        };
        rest.then(page).await
    }
}

#[async_trait]
impl Counts for MemoryStore {
    async fn add_counts(&self, counts: Vec<(BannerId, Day, BannerCounts)>) -> Result<(), StoreError> {
        let rest = self.pass(Operation::Other).await?;
        for (banner, day, of) in counts {
            let mut beside = self.beside();
            let sums = beside.counts.entry((banner, day)).or_default();
            sums.servings = sums.servings.saturating_add(of.servings);
            sums.impressions = sums.impressions.saturating_add(of.impressions);
            sums.clicks = sums.clicks.saturating_add(of.clicks);
        }
        rest.then(()).await
    }

    async fn counts_of(&self, banner: &BannerId, limit: usize) -> Result<Vec<(Day, BannerCounts)>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let found = {
            let beside = self.beside();
            let of = beside.counts.iter().rev().filter(|((of, _), _)| of == banner);
            of.map(|((_, day), counts)| (*day, *counts)).take(limit).collect()
        };
        rest.then(found).await
    }

    async fn counted(&self, after: Option<&BannerId>, limit: usize) -> Result<Vec<BannerId>, StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let mut banners: Vec<_> = self.beside().counts.keys().map(|(banner, _)| banner.clone()).collect();
        banners.dedup();
        banners.retain(|banner| after.is_none_or(|after| banner > after));
        banners.truncate(limit);
        rest.then(banners).await
    }
}

#[async_trait]
impl PeriodKeys for MemoryStore {
    async fn period_key(&self, until: Timestamp, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        let rest = self.pass(Operation::Other).await?;
        let kept = *self.beside().periods.entry(until).or_insert(fresh);
        rest.then(kept).await
    }

    async fn forget_period_keys(&self, before: Timestamp) -> Result<(), StoreError> {
        let rest = self.pass(Operation::Other).await?;
        self.beside().periods.retain(|until, _| *until >= before);
        rest.then(()).await
    }
}
