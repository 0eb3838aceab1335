//! Promos and campaigns: the same document in two collections.

use std::sync::Arc;

use actix_web::{HttpRequest, http::StatusCode};
use adal_domain::{
    catalogue::{CatalogueEvent, Change, DocumentKind, MAIN, OfferEntry, Stamp},
    errors::Code,
    ids::OfferId,
    offers::{Offer, OfferKind, warnings},
    promo::budget_id,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Answered,
    catalogue::{self, Page, RevisionQuery},
    codes, if_match, path_id,
};
use crate::{
    app::App,
    http::{
        body, cursor,
        extract::{Body, IdempotencyKey, Principal},
        problem::Problem,
        respond::reply,
    },
    usage,
};

/// An offer and its last change.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfferView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: OfferId,
    /// Where it lives.
    pub kind: OfferKind,
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
    #[schema(value_type = Offer)]
    pub offer: Arc<Offer>,
}

impl OfferView {
    fn of(id: &OfferId, entry: &OfferEntry) -> Self {
        let Stamp { version, revision, by, at } = &entry.stamp;
        Self {
            id: id.clone(),
            kind: entry.kind,
            version: *version,
            revision: *revision,
            changed_by: by.to_string(),
            changed_at: *at,
            warnings: warnings(&entry.offer),
            offer: Arc::clone(&entry.offer),
        }
    }
}

/// What a change of an offer came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfferPut {
    /// Its id.
    pub id: Box<str>,
    /// How often it has been put since it was made.
    pub version: u64,
    /// The catalogue's revision of its last change: what `If-Match` names.
    pub revision: u64,
    /// What it says that can hardly be meant.
    pub warnings: Vec<String>,
}

/// A page of offers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Offers {
    /// The catalogue's revision: the same on every page, or a change came between.
    pub revision: u64,
    /// By id.
    pub items: Vec<OfferView>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// How an offer was used.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageView {
    /// Uses of captured holds, less what came back: on the days asked for, and before them as far as limits have counted.
    pub taken: u64,
    /// Uses that limits keep for open holds; 0 where nothing that customers share limits the offer.
    pub held: u64,
    /// What these took off, minor units.
    pub discount_minor: i64,
    /// What is left of the budget, minor units: of the group's, where the offer is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_left_minor: Option<i64>,
    /// By day of the captures, oldest first: of the days asked for, those with a use.
    pub by_day: Vec<DayView>,
}

/// What was taken on a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct DayView {
    /// The shop's day.
    #[schema(value_type = String, format = Date)]
    pub day: String,
    /// Uses of captured holds, less what came back.
    pub taken: u64,
    /// What they took off, minor units.
    pub discount_minor: i64,
}

fn absent(kind: OfferKind) -> Problem {
    Problem::new(Code::NotFound, format!("there is no such {}", kind.as_str()))
}

fn offer_id(text: &str) -> Result<OfferId, Problem> {
    path_id("id", text, OfferId::new)
}

async fn list(request: &HttpRequest, app: &App, kind: OfferKind, page: &cursor::Page) -> Answered {
    let page = Page::asked(page)?;
    let state = app.catalogue.read(MAIN).await?.state.clone();
    let after = page.after.as_deref().map(offer_id).transpose()?;
    let all = state.offers_of(kind, after.as_ref());
    let (items, next_cursor) = page.fill(all, |(id, entry)| (id.to_string(), OfferView::of(id, entry)))?;
    Ok(reply(request, StatusCode::OK, &Offers { revision: state.revision, items, next_cursor }, false))
}

async fn read(request: &HttpRequest, app: &App, kind: OfferKind, id: &str, query: &RevisionQuery) -> Answered {
    let id = offer_id(id)?;
    let view = match query.revision {
        None => {
            let published = app.catalogue.read(MAIN).await?;
            let entry = published.state.offer(&id).filter(|entry| entry.kind == kind).ok_or_else(|| absent(kind))?;
            OfferView::of(&id, entry)
        }
        Some(revision) => {
            let (recorded, event) = catalogue::as_of(app, kind.into(), id.as_str(), revision).await?;
            let CatalogueEvent::OfferPut { offer, .. } = event else { return Err(super::unexpected(&event)) };
            let stamp =
                Stamp { version: recorded.version, revision: recorded.revision, by: recorded.by, at: recorded.at };
            OfferView::of(&id, &OfferEntry { kind, offer, stamp })
        }
    };
    Ok(catalogue::one(request, view.revision, &view, false))
}

async fn put(
    request: &HttpRequest,
    who: &Principal,
    app: &App,
    (kind, id): (OfferKind, &str),
    key: &IdempotencyKey,
    body: &Body<Value>,
) -> Answered {
    let (id, expected) = (offer_id(id)?, if_match(request)?);
    let offer: Arc<Offer> = body::typed(&body.value)?;
    codes::refuse_unique(app, &offer).await?;
    let warnings = warnings(&offer);
    let change = Change::PutOffer { kind, id, offer, expected };
    let (done, replayed) = catalogue::change(app, who, key, body.print, vec![change], None).await?;
    let changed = catalogue::only(&done)?;
    let put = OfferPut { id: changed.id.clone(), version: changed.version, revision: changed.revision, warnings };
    Ok(catalogue::one(request, put.revision, &put, replayed))
}

async fn delete(
    request: &HttpRequest,
    who: &Principal,
    app: &App,
    (kind, id): (OfferKind, &str),
    key: &IdempotencyKey,
) -> Answered {
    let change = Change::DeleteOffer { kind, id: offer_id(id)?, expected: if_match(request)? };
    catalogue::delete(request, who, app, key, change).await
}

/// How far a usage report goes back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    days: Option<u32>,
}

async fn report(request: &HttpRequest, app: &App, (kind, id): (OfferKind, &str), query: &UsageQuery) -> Answered {
    let id = offer_id(id)?;
    let published = app.catalogue.read(MAIN).await?;
    let entry = published.state.offer(&id).filter(|entry| entry.kind == kind).ok_or_else(|| absent(kind))?;
    let limits = &entry.offer.limits;
    let budget_left_minor = match limits.budget_minor {
        Some(budget) => {
            let group = limits.budget_group.as_ref();
            let promo = group.map_or_else(|| id.to_string(), |group| budget_id(group.as_str()));
            Some(app.promos.read(&promo).await?.state.budget_left(budget))
        }
        None => None,
    };
    let usage = usage::of(app, &id, query.days.unwrap_or(usage::MAX_DAYS)).await?;
    let by_day =
        usage.by_day.iter().map(|(day, of)| DayView { day: day.to_string(), taken: of.uses, discount_minor: of.minor });
    let view = UsageView {
        taken: usage.taken.uses,
        held: usage.held,
        discount_minor: usage.taken.minor,
        budget_left_minor,
        by_day: by_day.collect(),
    };
    Ok(reply(request, StatusCode::OK, &view, false))
}

async fn history(request: &HttpRequest, app: &App, kind: OfferKind, id: &str, page: &cursor::Page) -> Answered {
    catalogue::history(request, app, DocumentKind::from(kind), offer_id(id)?.as_str(), page).await
}

/// The handlers of one collection: who may ask, and nothing else. Texts are the description's.
macro_rules! collection {
    ($(#[doc = $doc:literal])+ $name:ident, $kind:expr, $list:tt, $one:tt, $usage:tt, $history:tt) => {
        $(#[doc = $doc])+
        pub mod $name {
            use actix_web::{
                HttpRequest,
                web::{Data, Path},
            };
            use serde_json::Value;

            use super::super::{
                Answered,
                catalogue::{Deleted, History, PageQuery, RevisionQuery},
            };
            use super::{Offer, OfferKind, OfferPut, OfferView, Offers, UsageQuery, UsageView};
            use crate::{
                app::App,
                http::extract::{Body, IdempotencyKey, Principal, Query, Role},
            };

            const KIND: OfferKind = $kind;

            /// All of them with their documents, by id, drafts and ended ones included.
            #[utoipa::path(
                get, path = $list, tag = "catalogue", operation_id = concat!(stringify!($name), "_list"),
                params(
                    ("limit" = Option<u32>, Query, description = "1-200, 50 by default; a page of large documents ends earlier."),
                    ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
                ),
                responses((status = 200, description = "A page.", body = Offers)),
                extensions(("x-roles" = json!(["admin"])))
            )]
            pub async fn list(request: HttpRequest, who: Principal, app: Data<App>, page: PageQuery) -> Answered {
                who.require(&[Role::Admin])?;
                super::list(&request, &app, KIND, &page.0).await
            }

            /// The document and its last change.
            #[utoipa::path(
                get, path = $one, tag = "catalogue", operation_id = concat!(stringify!($name), "_read"),
                params(
                    ("id" = String, Path, description = "Its id."),
                    ("revision" = Option<u64>, Query, description = "As it was at that revision of the catalogue.")
                ),
                responses((status = 200, description = "It; `ETag` is the revision of its last change.", body = OfferView)),
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
                super::read(&request, &app, KIND, &id, &query.0).await
            }

            /// Make it, or replace its whole document. It is in force when this is answered. Uses and what was spent of
            /// its budget stay; holds that were made keep the document that they were made with.
            #[utoipa::path(
                put, path = $one, tag = "catalogue", operation_id = concat!(stringify!($name), "_put"),
                params(
                    ("id" = String, Path, description = "Its id."),
                    ("If-Match" = Option<String>, Header, description = "The `revision` that was read, in quotes: refused where it is another now."),
                    ("If-None-Match" = Option<String>, Header, description = "`*`: refused where there is one.")
                ),
                request_body = Offer,
                responses((status = 200, description = "It is in force.", body = OfferPut)),
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
                super::put(&request, &who, &app, (KIND, &id), &key, &body).await
            }

            /// Delete it. Its codes are free again; what it was used for stays known under its id.
            #[utoipa::path(
                delete, path = $one, tag = "catalogue", operation_id = concat!(stringify!($name), "_delete"),
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
                super::delete(&request, &who, &app, (KIND, &id), &key).await
            }

            /// How it was used: uses, discounts, what is left of its budget, by day.
            #[utoipa::path(
                get, path = $usage, tag = "catalogue", operation_id = concat!(stringify!($name), "_usage"),
                params(
                    ("id" = String, Path, description = "Its id."),
                    ("days" = Option<u32>, Query, description = "The last 1-400 days, 400 by default; fewer where they have more than a million uses.")
                ),
                responses((status = 200, description = "Its uses.", body = UsageView)),
                extensions(("x-roles" = json!(["admin"])))
            )]
            pub async fn usage(
                request: HttpRequest,
                who: Principal,
                app: Data<App>,
                id: Path<String>,
                query: Query<UsageQuery>,
            ) -> Answered {
                who.require(&[Role::Admin])?;
                super::report(&request, &app, (KIND, &id), &query.0).await
            }

            /// Who changed it, when, and what: newest first, deletions included.
            #[utoipa::path(
                get, path = $history, tag = "catalogue", operation_id = concat!(stringify!($name), "_history"),
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
                super::history(&request, &app, KIND, &id, &page.0).await
            }
        }
    };
}

collection! {
    /// Offers that need a code.
    promos, OfferKind::Promo, "/v1/promos", "/v1/promos/{id}", "/v1/promos/{id}/usage", "/v1/promos/{id}/history"
}

collection! {
    /// Offers that need none.
    campaigns, OfferKind::Campaign, "/v1/campaigns", "/v1/campaigns/{id}", "/v1/campaigns/{id}/usage",
    "/v1/campaigns/{id}/history"
}
