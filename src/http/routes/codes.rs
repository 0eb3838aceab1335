//! Unique codes: jobs that make them, their progress, and their export.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Bytes, Data, Path},
};
use adal_actors::{
    CommandId,
    ports::{CodeJob, JobState, StoreError},
};
use adal_domain::{
    catalogue::{MAIN, codes},
    errors::Code,
    hex,
    ids::OfferId,
    offers::{Offer, OfferKind},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, path_id};
use crate::{
    app::App,
    codes::MAX_OPEN_JOBS,
    http::{
        extract::{Body, IdempotencyKey, Principal, Role},
        problem::Problem,
        respond::{self, reply},
    },
};

/// Codes in one piece of an export.
const PIECE: usize = 2000;

/// How many codes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// 1 to 1,000,000.
    pub count: u64,
    /// What stands before each code: letters, digits, - and _, at most 32 bytes.
    #[serde(default)]
    pub prefix: String,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub job_id: String,
    /// The promo whose codes it makes.
    pub promo_id: String,
    /// `open`, `done` or `cancelled`.
    pub state: &'static str,
    /// Codes made so far: they can be used at once.
    pub done: u64,
    /// Codes asked for.
    pub total: u64,
    /// The id of the key that asked for them.
    pub created_by: String,
    /// When.
    #[serde(with = "adal_domain::time::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<CodeJob> for JobView {
    fn from(job: CodeJob) -> Self {
        Self {
            promo_id: job.offer.to_string(),
            state: job.state.as_str(),
            done: job.done,
            total: job.count,
            created_by: job.by.to_string(),
            created_at: job.at,
            job_id: job.id,
        }
    }
}

/// The promo of a path, if it is there.
async fn promo(app: &App, id: &str) -> Result<OfferId, Problem> {
    let id = path_id("id", id, OfferId::new)?;
    let state = &app.catalogue.read(MAIN).await?.state;
    match state.offer(&id).filter(|entry| entry.kind == OfferKind::Promo) {
        Some(_) => Ok(id),
        None => Err(Problem::new(Code::NotFound, "there is no such promo")),
    }
}

/// Make unique codes in the background. They are 12 letters and digits after the prefix, 50 bits of each random given all
/// that can be known of the job; each can be used once, beside the promo's own limits.
#[utoipa::path(
    post, path = "/v1/promos/{id}/codes", tag = "catalogue",
    params(("id" = String, Path, description = "The promo.")),
    request_body = Wanted,
    responses((status = 202, description = "They are being made; ask for the job.", body = JobView)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn generate(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    id: Path<String>,
    key: IdempotencyKey,
    body: Body<Wanted>,
) -> Answered {
    who.require(&[Role::Admin])?;
    let Body { value: Wanted { count, prefix }, print } = body;
    if !(1..=codes::MAX_COUNT).contains(&count) {
        let detail = format!("count: must be 1 to {}", codes::MAX_COUNT);
        return Err(Problem::new(Code::InvalidField, detail).with_max(1_000_000));
    }
    codes::check_prefix(&prefix).map_err(|rule| Problem::new(Code::InvalidField, format!("prefix: {rule}")))?;
    let job_id = hex::encode(&CommandId::of(&who.scope(), &key.0).bytes());
    let known = app.store.job(&job_id).await?;
    let replayed = known.is_some();
    let job = match known {
        Some(job) => job,
        None => {
            let offer = promo(&app, &id).await?;
            if app.store.open_jobs(MAX_OPEN_JOBS).await?.len() >= MAX_OPEN_JOBS {
                return Err(Problem::new(Code::TooManyOpen, format!("{MAX_OPEN_JOBS} jobs are open already")));
            }
            let start = rand::random::<u64>() % codes::STRETCHES;
            let (state, by, at) = (JobState::Open, who.actor(), app.now());
            let job = CodeJob { id: job_id, offer, prefix, start, count, done: 0, state, by, at, print };
            // Two requests under one key at the same moment: the first one's job is the job of both.
            app.store.begin(job).await?
        }
    };
    if job.print != print {
        return Err(Problem::new(Code::IdempotencyKeyReused, "Idempotency-Key: it made another job"));
    }
    app.code_maker.wake();
    Ok(reply(&request, StatusCode::ACCEPTED, &JobView::from(job), replayed))
}

/// How far a job is.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "catalogue",
    params(("id" = String, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = JobView)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn job(request: HttpRequest, who: Principal, app: Data<App>, id: Path<String>) -> Answered {
    who.require(&[Role::Admin])?;
    let job = app.store.job(&id).await?.ok_or_else(no_job)?;
    Ok(reply(&request, StatusCode::OK, &JobView::from(job), false))
}

/// Stop a job. The codes that it made stay, and can be used; one that is done stays done.
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", tag = "catalogue",
    params(("id" = String, Path, description = "The job.")),
    responses((status = 200, description = "The job as it is now.", body = JobView)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn cancel(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    id: Path<String>,
    _key: IdempotencyKey,
) -> Answered {
    who.require(&[Role::Admin])?;
    // Stopping twice is stopping: the key is asked for as with every change, and nothing needs to be recorded under it.
    // Who finds the job stopped is told so as who repeats.
    let before = app.store.job(&id).await?.ok_or_else(no_job)?;
    let job = app.store.cancel(&id).await?.ok_or_else(no_job)?;
    Ok(reply(&request, StatusCode::OK, &JobView::from(job), before.state == JobState::Cancelled))
}

fn no_job() -> Problem {
    Problem::new(Code::NotFound, "there is no such job")
}

/// All unique codes of a promo, one a line after the line `code`, as they were printed. Made piece by piece as it is
/// read: codes that are made meanwhile may or may not be in it.
#[utoipa::path(
    get, path = "/v1/promos/{id}/codes.csv", tag = "catalogue",
    params(("id" = String, Path, description = "The promo.")),
    responses((status = 200, description = "The codes.", body = String, content_type = "text/csv")),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn export(request: HttpRequest, who: Principal, app: Data<App>, id: Path<String>) -> Answered {
    who.require(&[Role::Admin])?;
    if respond::choose(respond::accept(&request).as_deref(), &["text/csv"]).is_none() {
        return Err(Problem::new(Code::NotAcceptable, "text/csv can be made"));
    }
    let offer = promo(&app, &id).await?;
    let pieces = futures_util::stream::unfold(Next::First, move |next| {
        let (app, offer) = (app.clone(), offer.clone());
        async move {
            let after = match next {
                Next::First => None,
                Next::After(code) => Some(code),
                Next::End => return None,
            };
            // An error cuts the connection: half a list must not look like a whole one.
            Some(piece(&app, &offer, after).await.map_or_else(|error| (Err(error), Next::End), |(b, n)| (Ok(b), n)))
        }
    });
    let name = format!("attachment; filename=\"{}.csv\"", id.replace(':', "-"));
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .streaming(pieces))
}

/// Where an export goes on.
enum Next {
    First,
    After(String),
    End,
}

async fn piece(app: &App, offer: &OfferId, after: Option<String>) -> Result<(Bytes, Next), StoreError> {
    let mut text = if after.is_none() { "code\r\n".to_owned() } else { String::new() };
    let page = app.store.page(offer, after.as_deref(), PIECE).await?;
    for (normal, prefix) in &page.codes {
        text.push_str(&codes::printed(prefix, normal).unwrap_or_else(|| normal.clone()));
        text.push_str("\r\n");
    }
    Ok((Bytes::from(text), page.next.map_or(Next::End, Next::After)))
}

/// Refuses an offer with a shared code that is a unique one already. Those of a deleted promo are free again.
///
/// # Errors
/// 422 `offer_invalid`, naming both.
pub(super) async fn refuse_unique(app: &App, offer: &Offer) -> Result<(), Problem> {
    let is_there = |id: &OfferId| app.policy.load().catalogue.offer(id).is_some();
    match crate::codes::unique_among(&*app.store, &offer.codes, is_there).await? {
        Some(detail) => Err(Problem::new(Code::OfferInvalid, detail)),
        None => Ok(()),
    }
}
