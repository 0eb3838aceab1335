//! Banners: their documents for administration, and what is shown to whom.

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_actors::ports::BannerCounts;
use adal_domain::{
    catalogue::{
        Banner, BannerEntry, CatalogueEvent, Change, DocumentKind, MAIN, Stamp,
        banner::{Placement, warnings},
    },
    checkout::Channel,
    errors::Code,
    ids::{BannerId, CustomerId, ShopId, Word},
    offers::document::Locale,
    time::{Day, Timestamp},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Answered,
    catalogue::{self, Deleted, History, Page, PageQuery, RevisionQuery},
    if_match, path_id,
    shown::{self, Served},
};
use crate::{
    app::App,
    banners::{Seen, add},
    http::{
        body, cursor,
        extract::{Body, IdempotencyKey, Principal, Query, Role},
        problem::Problem,
        respond::reply,
    },
};

/// Days in a report.
const REPORTED_DAYS: usize = 400;

/// A banner and its last change.
#[derive(Debug, Serialize, ToSchema)]
pub struct BannerView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: BannerId,
    /// How often it has been put since it was made.
    pub version: u64,
    /// The catalogue's revision of its last change: what `If-Match` names.
    pub revision: u64,
    /// The id of the key that changed it last.
    pub changed_by: String,
    /// When it was changed last.
    #[serde(with = "adal_domain::time::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
    /// What it says that can hardly be meant.
    pub warnings: Vec<String>,
    /// The document.
    #[schema(value_type = Banner)]
    pub banner: Arc<Banner>,
}

impl BannerView {
    fn of(id: &BannerId, entry: &BannerEntry) -> Self {
        let Stamp { version, revision, by, at } = &entry.stamp;
        Self {
            id: id.clone(),
            version: *version,
            revision: *revision,
            changed_by: by.to_string(),
            changed_at: *at,
            warnings: warnings(&entry.banner),
            banner: Arc::clone(&entry.banner),
        }
    }
}

/// What a change of a banner came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct BannerPut {
    /// Its id.
    pub id: Box<str>,
    /// How often it has been put since it was made.
    pub version: u64,
    /// The catalogue's revision of its last change: what `If-Match` names.
    pub revision: u64,
    /// What it says that can hardly be meant.
    pub warnings: Vec<String>,
}

/// A page of banners, for administration.
#[derive(Debug, Serialize, ToSchema)]
pub struct Banners {
    /// The catalogue's revision: the same on every page, or a change came between.
    pub revision: u64,
    /// By id.
    pub items: Vec<BannerView>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What `GET /v1/banners` answers: to an admin the documents, to apps what they show.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum BannerList {
    /// For administration.
    Documents(Banners),
    /// For apps.
    Served(Served),
}

/// Which banners: an admin names `limit` and `cursor` alone, apps the others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BannerQuery {
    pub(super) placement: Option<Placement>,
    pub(super) locale: Option<Locale>,
    pub(super) customer_id: Option<CustomerId>,
    pub(super) channel: Option<Channel>,
    pub(super) shop_id: Option<ShopId>,
    pub(super) category: Option<Word>,
    pub(super) limit: Option<u32>,
    pub(super) cursor: Option<String>,
}

/// An admin gets all documents, by id. Apps get what is to be shown: banners of that placement that have a text in that
/// language, whose schedule and audience fit, and whose offer (where there is one) the engine would grant to that
/// customer; each answer is a serving of what is in it. A customer's own token shows that customer's.
#[utoipa::path(
    get, path = "/v1/banners", tag = "catalogue",
    params(
        ("placement" = Option<Placement>, Query, description = "Apps: where; needed."),
        ("locale" = Option<Locale>, Query, description = "Apps: the language; needed."),
        ("customer_id" = Option<String>, Query, description = "Apps: to whom; left out: to somebody unknown."),
        ("channel" = Option<Channel>, Query, description = "Apps: through what; a customer's own token: the app where left out."),
        ("shop_id" = Option<String>, Query, description = "Apps: in which shop."),
        ("category" = Option<String>, Query, description = "Apps: on the page of which category."),
        ("limit" = Option<u32>, Query, description = "Apps: 1-20, 10 by default. Admin: 1-200, 50 by default."),
        ("cursor" = Option<String>, Query, description = "Admin: `next_cursor` of the page before.")
    ),
    responses((status = 200, description = "Banners.", body = BannerList)),
    extensions(("x-roles" = json!(["admin", "service", "self"])))
)]
pub async fn list(request: HttpRequest, who: Principal, app: Data<App>, query: Query<BannerQuery>) -> Answered {
    let query = query.0;
    if who.role() == Some(Role::Admin) {
        return documents(&request, &app, query).await;
    }
    let customer = match (&who, &query.customer_id) {
        (_, Some(id)) => {
            who.may_see_customer(id, &[Role::Service])?;
            Some(id.clone())
        }
        (Principal::Customer { customer_id }, None) => Some(customer_id.clone()),
        (Principal::Service { .. }, None) => {
            who.require(&[Role::Service])?;
            None
        }
    };
    shown::serve(&request, &app, &query, customer.as_ref(), matches!(who, Principal::Customer { .. })).await
}

async fn documents(request: &HttpRequest, app: &App, query: BannerQuery) -> Answered {
    let page = Page::asked(&cursor::Page { limit: query.limit, cursor: query.cursor })?;
    let state = app.catalogue.read(MAIN).await?.state.clone();
    let after = page.after.as_deref().map(banner_id).transpose()?;
    let all = state.banners(after.as_ref());
    let (items, next_cursor) = page.fill(all, |(id, entry)| (id.to_string(), BannerView::of(id, entry)))?;
    Ok(reply(request, StatusCode::OK, &Banners { revision: state.revision, items, next_cursor }, false))
}

fn banner_id(text: &str) -> Result<BannerId, Problem> {
    path_id("id", text, BannerId::new)
}

fn absent() -> Problem {
    Problem::new(Code::NotFound, "there is no such banner")
}

/// The document and its last change.
#[utoipa::path(
    get, path = "/v1/banners/{id}", tag = "catalogue",
    params(
        ("id" = String, Path, description = "Its id."),
        ("revision" = Option<u64>, Query, description = "As it was at that revision of the catalogue.")
    ),
    responses((status = 200, description = "It; `ETag` is the revision of its last change.", body = BannerView)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn read(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    id: Path<String>,
    query: Query<RevisionQuery>,
) -> Answered {
    who.require(&[Role::Admin])?;
    let id = banner_id(&id)?;
    let view = match query.0.revision {
        None => BannerView::of(&id, app.catalogue.read(MAIN).await?.state.banner(&id).ok_or_else(absent)?),
        Some(revision) => {
            let (recorded, event) = catalogue::as_of(&app, DocumentKind::Banner, id.as_str(), revision).await?;
            let CatalogueEvent::BannerPut { banner, .. } = event else { return Err(super::unexpected(&event)) };
            let stamp =
                Stamp { version: recorded.version, revision: recorded.revision, by: recorded.by, at: recorded.at };
            BannerView::of(&id, &BannerEntry { banner, stamp })
        }
    };
    Ok(catalogue::one(&request, view.revision, &view, false))
}

/// Make it, or replace its whole document. It is in force when this is answered; what was counted of it stays.
#[utoipa::path(
    put, path = "/v1/banners/{id}", tag = "catalogue",
    params(
        ("id" = String, Path, description = "Its id."),
        ("If-Match" = Option<String>, Header, description = "The `revision` that was read, in quotes: refused where it is another now."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: refused where there is one.")
    ),
    request_body = Banner,
    responses((status = 200, description = "It is in force.", body = BannerPut)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn put(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    id: Path<String>,
    key: IdempotencyKey,
    body: Body<Value>,
) -> Answered {
    who.require(&[Role::Admin])?;
    let (id, expected) = (banner_id(&id)?, if_match(&request)?);
    let banner: Arc<Banner> = body::typed(&body.value)?;
    let warnings = warnings(&banner);
    let change = Change::PutBanner { id, banner, expected };
    let (done, replayed) = catalogue::change(&app, &who, &key, body.print, vec![change], None).await?;
    let changed = catalogue::only(&done)?;
    let put = BannerPut { id: changed.id.clone(), version: changed.version, revision: changed.revision, warnings };
    Ok(catalogue::one(&request, put.revision, &put, replayed))
}

/// Delete it.
#[utoipa::path(
    delete, path = "/v1/banners/{id}", tag = "catalogue",
    params(
        ("id" = String, Path, description = "Its id."),
        ("If-Match" = Option<String>, Header, description = "The `revision` that was read, in quotes: refused where it is another now.")
    ),
    responses((status = 200, description = "It is gone.", body = Deleted)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn delete(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    id: Path<String>,
    key: IdempotencyKey,
) -> Answered {
    who.require(&[Role::Admin])?;
    let change = Change::DeleteBanner { id: banner_id(&id)?, expected: if_match(&request)? };
    catalogue::delete(&request, &who, &app, &key, change).await
}

/// Who changed it, when, and what: newest first, deletions included.
#[utoipa::path(
    get, path = "/v1/banners/{id}/history", tag = "catalogue",
    params(
        ("id" = String, Path, description = "Its id."),
        ("limit" = Option<u32>, Query, description = "1-200; at most 50 come."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page.", body = History)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn history(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    id: Path<String>,
    page: PageQuery,
) -> Answered {
    who.require(&[Role::Admin])?;
    catalogue::history(&request, &app, DocumentKind::Banner, banner_id(&id)?.as_str(), &page.0).await
}

/// How often a banner was served, seen and clicked.
#[derive(Debug, Serialize, ToSchema)]
pub struct BannerUsage {
    /// How often it was in an answer.
    pub servings: u64,
    /// How often apps say that it was seen.
    pub impressions: u64,
    /// How often apps say that it was clicked.
    pub clicks: u64,
    /// By the shop's day, oldest first: the last 400 days with any.
    pub by_day: Vec<BannerDay>,
}

/// The same on one day.
#[derive(Debug, Serialize, ToSchema)]
pub struct BannerDay {
    /// The day.
    #[schema(value_type = String, format = Date)]
    pub day: String,
    /// Servings.
    pub servings: u64,
    /// Impressions.
    pub impressions: u64,
    /// Clicks.
    pub clicks: u64,
}

/// How often it was served, seen and clicked, in the last 400 days with any. Counts of the last seconds before a crash may
/// be missing.
#[utoipa::path(
    get, path = "/v1/banners/{id}/usage", tag = "catalogue",
    params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Its counts.", body = BannerUsage)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn usage(request: HttpRequest, who: Principal, app: Data<App>, id: Path<String>) -> Answered {
    who.require(&[Role::Admin])?;
    let id = banner_id(&id)?;
    app.catalogue.read(MAIN).await?.state.banner(&id).ok_or_else(absent)?;
    // What waits goes to the store first: read apart from it, a flush between the two would count twice or not at all.
    app.banners.flush(&*app.store).await?;
    let mut days: Vec<(Day, BannerCounts)> = app.store.counts_of(&id, REPORTED_DAYS).await?;
    days.reverse();
    let mut sum = BannerCounts::default();
    days.iter().for_each(|(_, counts)| add(&mut sum, *counts));
    let by_day = days.iter().map(|(day, of)| BannerDay {
        day: day.to_string(),
        servings: of.servings,
        impressions: of.impressions,
        clicks: of.clicks,
    });
    let BannerCounts { servings, impressions, clicks } = sum;
    let view = BannerUsage { servings, impressions, clicks, by_day: by_day.collect() };
    Ok(reply(&request, StatusCode::OK, &view, false))
}

/// What an app saw.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BannerEvent {
    /// What.
    #[serde(rename = "type")]
    pub kind: EventKind,
}

/// What became of a banner that was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was on a screen.
    Impression,
    /// It was clicked.
    Click,
}

/// That it was counted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counted {
    /// False where too much waits for the store: it is not counted.
    pub counted: bool,
}

/// Say that a banner was seen or clicked. It is counted as often as it is said: no key is needed, and nothing but
/// reports rests on it.
#[utoipa::path(
    post, path = "/v1/banners/{id}/events", tag = "catalogue",
    params(("id" = String, Path, description = "The banner.")),
    request_body = BannerEvent,
    responses((status = 202, description = "It is counted, and durable within seconds.", body = Counted)),
    extensions(("x-roles" = json!(["service", "self"])))
)]
pub async fn event(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    id: Path<String>,
    body: Body<BannerEvent>,
) -> Answered {
    if who.role().is_some() {
        who.require(&[Role::Service])?;
    }
    let id = banner_id(&id)?;
    let in_force = app.policy.load();
    in_force.catalogue.banner(&id).ok_or_else(absent)?;
    let seen = match body.value.kind {
        EventKind::Impression => Seen::Impression,
        EventKind::Click => Seen::Click,
    };
    let counted = app.banners.count(&id, in_force.calendar.day(app.now()), seen);
    Ok(reply(&request, StatusCode::ACCEPTED, &Counted { counted }, false))
}
