//! The maker of unique codes: one task that takes the open jobs, oldest first, batch by batch, until none is left.
//!
//! It owns nothing but its alarm: what a job is and how far it has come stands in the store, so that it goes on after a
//! restart where it was, and a cancelled one just stops taking codes. It must never hold more than one batch in memory,
//! or draw codes from a generator that is not made for secrets.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use adal_actors::ports::{CodeJob, Codes, StoreError};
use adal_domain::{catalogue::codes, ids::OfferId, offers::NormalCode};
use tokio::sync::Notify;

use crate::app::App;

/// Codes that are made durable in one step. Each holds the writer up for about as long as a dozen rows, and whatever
/// comes meanwhile waits that long.
const BATCH: u64 = 500;
/// Jobs that may be open at once.
pub const MAX_OPEN_JOBS: usize = 100;
/// How long to wait after the store refused.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// The alarm of the maker.
#[derive(Debug, Default)]
pub struct CodeMaker(Notify);

impl CodeMaker {
    /// There is a job.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Works until the application is gone.
    pub(crate) async fn run(self: Arc<Self>, app: Weak<App>) {
        metrics::describe_counter!("adal_unique_codes_total", "Unique codes made");
        metrics::describe_counter!(
            "adal_code_batch_failures_total",
            "Batches of unique codes not made: they are tried again"
        );
        metrics::describe_gauge!("adal_code_jobs", "Jobs that make unique codes, open ones, at most 100");
        loop {
            let worked = match app.upgrade() {
                Some(app) => work(&app).await,
                None => return,
            };
            match worked {
                Ok(()) => self.0.notified().await,
                Err(error) => {
                    metrics::counter!("adal_code_batch_failures_total").increment(1);
                    tracing::warn!(%error, "unique codes wait for the store");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    }
}

/// Makes what is asked for until nothing is.
async fn work(app: &App) -> Result<(), StoreError> {
    loop {
        let open = app.store.open_jobs(MAX_OPEN_JOBS).await?;
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
        metrics::gauge!("adal_code_jobs").set(open.len() as f64);
        let Some(mut job) = open.into_iter().next() else { return Ok(()) };
        loop {
            if app.policy.load().catalogue.offer(&job.offer).is_none() {
                tracing::info!(job = job.id, offer = %job.offer, "the promo was deleted: no more codes are made for it");
                app.store.cancel(&job.id).await?;
                break;
            }
            let taken = |code: &NormalCode| app.policy.load().catalogue.offer_of_code(code).is_some();
            let before = job.done;
            match batch(&*app.store, &job, taken).await? {
                Some(next) => job = next,
                // Done, or cancelled meanwhile.
                None => break,
            }
            metrics::counter!("adal_unique_codes_total").increment(job.done - before);
        }
    }
}

/// Makes the next codes of a job, none that is `taken` among them; `None` where it is not open.
///
/// # Errors
/// The store's; the batch can be made again.
pub(crate) async fn batch(
    store: &dyn Codes,
    job: &CodeJob,
    taken: impl Fn(&NormalCode) -> bool,
) -> Result<Option<CodeJob>, StoreError> {
    if job.state != adal_actors::ports::JobState::Open {
        return Ok(None);
    }
    let stretch = codes::stretch(job.start, job.done, job.count);
    let size = BATCH.min(job.count.saturating_sub(job.done));
    // The thread's generator is a cipher seeded by the operating system.
    let drawn = (0..size).filter_map(|_| codes::code(&job.prefix, stretch, rand::random()));
    let mut batch: Vec<NormalCode> = drawn.map(|(_, normal)| normal).filter(|code| !taken(code)).collect();
    if batch.is_empty() {
        return Err(StoreError::Corrupt(format!("the job {} has the prefix {:?}", job.id, job.prefix).into()));
    }
    // In the order in which they are kept: neighbours are written together.
    batch.sort_unstable();
    store.add(&job.id, batch).await
}

/// The first of an offer's shared codes that is a unique one of a promo which `is_there`, as a person is told of it;
/// `None`: none is.
///
/// # Errors
/// The store's.
pub(crate) async fn unique_among(
    store: &dyn Codes,
    shared: &[String],
    is_there: impl Fn(&OfferId) -> bool,
) -> Result<Option<String>, StoreError> {
    for (i, typed) in shared.iter().enumerate() {
        // Unique codes are long: most shared ones need no question.
        let Some(code) = NormalCode::new(typed).filter(|code| code.as_str().len() >= codes::SIGNS) else { continue };
        if let Some(owner) = store.offer_of(&code).await?.filter(&is_there) {
            return Ok(Some(format!("codes[{i}]: {typed:?} is a unique code of promo {owner}")));
        }
    }
    Ok(None)
}
