//! What the documents of the catalogue have in common: a change that is in force before it is answered, its history,
//! earlier revisions, and lists of changes.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use adal_actors::{CommandId, Request, row};
use adal_domain::{
    catalogue::{
        self, Banner, Catalogue, CatalogueCommand, CatalogueEvent, CatalogueReply, Change, Changed, DocumentKind, MAIN,
        MAX_CHANGES, Recorded,
    },
    entity::{EntityKey, EntityKind, View},
    errors::Code,
    ids::{BannerId, OfferId},
    offers::{Offer, OfferKind},
    policy::Policy,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Answered, codes, path_id, policy, stored};
use crate::{
    app::App,
    http::{
        body, cursor,
        extract::{Body, IdempotencyKey, Principal, Query, Role},
        problem::Problem,
        respond::reply,
    },
};

/// Bytes of documents on one page of a list, roughly: a page ends early where they are large.
pub(super) const PAGE_BYTES: u64 = 4 << 20;
/// Changes on one page of a history: each may be two large documents.
const HISTORY_PAGE: usize = 50;

/// Sends a list of changes to the catalogue and puts what comes of it in force.
pub(super) async fn change(
    app: &App,
    who: &Principal,
    key: &IdempotencyKey,
    print: [u8; 16],
    changes: Vec<Change>,
    expected_revision: Option<u64>,
) -> Result<(CatalogueReply, bool), Problem> {
    let command = CatalogueCommand::Change { changes, expected_revision, by: who.actor() };
    let id = Some(CommandId::of(&who.scope(), &key.0));
    let answer = app.catalogue.ask(MAIN, Request::<Catalogue> { id, print, command }).await?;
    match answer.outcome {
        Ok(done) => {
            app.refresh_catalogue().await?;
            Ok((done, answer.replayed))
        }
        Err(refusal) => Err(Problem::from(refusal).replayed(answer.replayed)),
    }
}

/// What became of the one document of a change.
pub(super) fn only(done: &CatalogueReply) -> Result<&Changed, Problem> {
    done.changed.first().ok_or_else(|| super::unexpected(done))
}

/// A document that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// Its id.
    pub id: Box<str>,
    /// The catalogue's revision from now on.
    pub revision: u64,
}

/// Deletes a document.
pub(super) async fn delete(
    request: &HttpRequest,
    who: &Principal,
    app: &App,
    key: &IdempotencyKey,
    change: Change,
) -> Answered {
    let print = body::print(request.method().as_str(), request.path(), &Value::Null);
    let (done, replayed) = self::change(app, who, key, print, vec![change], None).await?;
    let gone = only(&done)?;
    let deleted = Deleted { id: gone.id.clone(), revision: gone.revision };
    Ok(reply(request, StatusCode::OK, &deleted, replayed))
}

/// Which revision of a document.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionQuery {
    /// As it was at that revision of the catalogue; as it is where left out.
    pub revision: Option<u64>,
}

/// A change of a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryItem {
    /// The catalogue's revision from then on.
    pub revision: u64,
    /// How often the document had been put since it was made; absent where it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The id of the key that did it.
    pub by: String,
    /// When.
    #[serde(with = "adal_domain::time::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The document before; null where there was none.
    #[schema(value_type = Option<Object>)]
    pub before: Value,
    /// The document after; null where it was deleted.
    #[schema(value_type = Option<Object>)]
    pub after: Value,
}

/// A page of a document's history.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// Newest first.
    pub items: Vec<HistoryItem>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The history of a document, newest first. What was deleted has one too.
pub(super) async fn history(
    request: &HttpRequest,
    app: &App,
    kind: DocumentKind,
    id: &str,
    page: &cursor::Page,
) -> Answered {
    let limit = cursor::limit(page.limit)?.min(HISTORY_PAGE);
    let before = page.cursor.as_deref().map(cursor::decode::<String>).transpose()?;
    // One more than asked for: the document before the oldest change, and whether there is a next page.
    let filter = catalogue::filter_of(kind, id);
    let rows = app.views.list(View::CatalogueChange, Some(&filter), before.as_deref(), limit + 1).await?;
    if rows.is_empty() && before.is_none() {
        return Err(Problem::new(Code::NotFound, format!("there never was such a {}", kind.as_str())));
    }
    let mut journal = Journal::default();
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let recorded: Recorded = stored(&row.value)?;
        let document = journal.document(app, &recorded).await?;
        changes.push((recorded, document));
    }
    let next_cursor = match rows.get(limit - 1) {
        Some(last) if rows.len() > limit => Some(cursor::encode(&last.key)?),
        _ => None,
    };
    let older = changes.iter().skip(1).map(|(_, document)| document.clone()).chain([Value::Null]);
    let items = changes.iter().zip(older).take(limit).map(|((recorded, after), before)| HistoryItem {
        revision: recorded.revision,
        version: (recorded.version > 0).then_some(recorded.version),
        by: recorded.by.to_string(),
        at: recorded.at,
        before,
        after: after.clone(),
    });
    Ok(reply(request, StatusCode::OK, &History { items: items.collect(), next_cursor }, false))
}

/// Rows of the catalogue's journal that one answer needs, each read once: an import is many documents in one row.
#[derive(Default)]
struct Journal(HashMap<u64, Vec<CatalogueEvent>>);

impl Journal {
    async fn event(&mut self, app: &App, recorded: &Recorded) -> Result<CatalogueEvent, Problem> {
        if let Entry::Vacant(place) = self.0.entry(recorded.seq) {
            let key = EntityKey::new(EntityKind::Catalogue, MAIN);
            let rows = app.journal.rows(&key, recorded.seq, recorded.seq, 1, false).await?;
            let mut events = Vec::new();
            for stored in &rows {
                events.extend(row::decode::<Catalogue>(stored)?.events().cloned());
            }
            place.insert(events);
        }
        let events = self.0.get(&recorded.seq).map_or(&[][..], Vec::as_slice);
        let missing = || Problem::internal(format!("row {} has no event {}", recorded.seq, recorded.index));
        catalogue::change_of(events.iter(), recorded).cloned().ok_or_else(missing)
    }

    async fn document(&mut self, app: &App, recorded: &Recorded) -> Result<Value, Problem> {
        let document = match self.event(app, recorded).await? {
            CatalogueEvent::PolicySet { policy, .. } => serde_json::to_value(policy),
            CatalogueEvent::OfferPut { offer, .. } => serde_json::to_value(offer),
            CatalogueEvent::BannerPut { banner, .. } => serde_json::to_value(banner),
            CatalogueEvent::OfferDeleted { .. } | CatalogueEvent::BannerDeleted { .. } => Ok(Value::Null),
        };
        document.map_err(Problem::internal)
    }
}

/// The change that made a document what it was at a revision of the catalogue.
pub(super) async fn as_of(
    app: &App,
    kind: DocumentKind,
    id: &str,
    revision: u64,
) -> Result<(Recorded, CatalogueEvent), Problem> {
    let missing = || Problem::new(Code::NotFound, format!("there was no such {} at {revision}", kind.as_str()));
    let filter = catalogue::filter_of(kind, id);
    let until = catalogue::key_of(revision.saturating_add(1), DocumentKind::Policy, "");
    // Keys begin with the revision, and `banner` is the first of the kinds: nothing of the next revision is before it.
    let until = until.split('/').next().unwrap_or_default();
    let rows = app.views.list(View::CatalogueChange, Some(&filter), Some(until), 1).await?;
    let recorded: Recorded = stored(&rows.first().ok_or_else(missing)?.value)?;
    let event = Journal::default().event(app, &recorded).await?;
    if recorded.version == 0 { Err(missing()) } else { Ok((recorded, event)) }
}

/// A list of changes, all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// 1 to 500, each of another document.
    pub changes: Vec<OneChange>,
    /// The catalogue's revision that they were made for: refused where it is another now.
    pub expected_revision: Option<u64>,
    /// Say what would become of them, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is to be done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make it, or replace it.
    Put,
    /// Delete it.
    Delete,
}

/// A change of one document.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OneChange {
    /// What is to be done.
    pub action: Action,
    /// The document's kind.
    pub kind: DocumentKind,
    /// Its id; left out for the policy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The whole document (`put`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub document: Option<Value>,
    /// The catalogue's revision of its last change, as it was seen; 0: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

/// What became of a list of changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangesDone {
    /// The catalogue's revision.
    pub revision: u64,
    /// Whether anything was written: not with `dry_run`.
    pub applied: bool,
    /// By change.
    pub changed: Vec<Changed>,
}

/// A list of changes in one step: a move of a code between offers, a budget that several share, a whole folder from git.
#[utoipa::path(
    post, path = "/v1/catalogue/changes", tag = "catalogue",
    request_body = Changes,
    responses((status = 200, description = "What became of each.", body = ChangesDone)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn apply(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    key: IdempotencyKey,
    body: Body<Value>,
) -> Answered {
    who.require(&[Role::Admin])?;
    let Changes { changes, expected_revision, dry_run } = body::typed(&body.value)?;
    if changes.len() > MAX_CHANGES {
        let detail = format!("changes: {} given, at most {MAX_CHANGES}", changes.len());
        return Err(Problem::new(Code::InvalidField, detail).with_max(i64::try_from(MAX_CHANGES).unwrap_or(i64::MAX)));
    }
    let changes = changes.iter().enumerate().map(|(i, one)| typed(i, one)).collect::<Result<Vec<_>, _>>()?;
    for change in &changes {
        if let Change::PutOffer { offer, .. } = change {
            codes::refuse_unique(&app, offer).await?;
        }
    }
    if dry_run {
        let mut state = app.catalogue.read(MAIN).await?.state.clone();
        if expected_revision.is_some_and(|expected| expected != state.revision) {
            let detail = format!("revision: the catalogue is at {}", state.revision);
            return Err(Problem::new(Code::RevisionConflict, detail));
        }
        let (_, tried) = catalogue::change(&mut state, &changes, &who.actor(), app.now())?;
        let done = ChangesDone { revision: tried.revision, applied: false, changed: tried.changed };
        return Ok(reply(&request, StatusCode::OK, &done, false));
    }
    let (done, replayed) = change(&app, &who, &key, body.print, changes, expected_revision).await?;
    let done = ChangesDone { revision: done.revision, applied: true, changed: done.changed };
    Ok(reply(&request, StatusCode::OK, &done, replayed))
}

/// A change as the rules know it.
fn typed(place: usize, one: &OneChange) -> Result<Change, Problem> {
    let at = |problem: Problem| {
        let detail = format!("changes[{place}]: {}", problem.detail());
        Problem::new(problem.code(), detail)
    };
    let expected = one.expected;
    let document = |wanted: bool| match (&one.document, wanted) {
        (Some(document), true) => Ok(document.clone()),
        (None, false) => Ok(Value::Null),
        (None, true) => Err(Problem::new(Code::InvalidField, "document: missing; `put` takes the whole")),
        (Some(_), false) => Err(Problem::new(Code::InvalidField, "document: `delete` takes none")),
    };
    let made = || -> Result<Change, Problem> {
        let document = document(one.action == Action::Put)?;
        let offer = |kind: OfferKind| -> Result<Change, Problem> {
            let id = path_id("id", &one.id, OfferId::new)?;
            Ok(match one.action {
                Action::Put => Change::PutOffer { kind, id, offer: body::typed::<Arc<Offer>>(&document)?, expected },
                Action::Delete => Change::DeleteOffer { kind, id, expected },
            })
        };
        match (one.kind, one.action) {
            (DocumentKind::Promo, _) => offer(OfferKind::Promo),
            (DocumentKind::Campaign, _) => offer(OfferKind::Campaign),
            (DocumentKind::Banner, Action::Put) => {
                let id = path_id("id", &one.id, BannerId::new)?;
                Ok(Change::PutBanner { id, banner: body::typed::<Arc<Banner>>(&document)?, expected })
            }
            (DocumentKind::Banner, Action::Delete) => {
                Ok(Change::DeleteBanner { id: path_id("id", &one.id, BannerId::new)?, expected })
            }
            (DocumentKind::Policy, _) if !one.id.is_empty() => {
                Err(Problem::new(Code::InvalidField, "id: there is one policy, without an id"))
            }
            (DocumentKind::Policy, Action::Put) => {
                let policy: Arc<Policy> = body::typed(&document)?;
                policy::complete_policy(&policy, &document)?;
                Ok(Change::Policy { policy, expected })
            }
            (DocumentKind::Policy, Action::Delete) => {
                Err(Problem::new(Code::InvalidField, "action: the policy can be replaced, not deleted"))
            }
        }
    };
    made().map_err(at)
}

/// An answer about one document, with its revision as `ETag`.
pub(super) fn one<T: Serialize>(request: &HttpRequest, revision: u64, view: &T, replayed: bool) -> HttpResponse {
    super::with_etag(reply(request, StatusCode::OK, view, replayed), revision)
}

/// A page of documents: where it starts, and how many fit.
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) after: Option<String>,
}

impl Page {
    pub(super) fn asked(page: &cursor::Page) -> Result<Self, Problem> {
        let after = page.cursor.as_deref().map(cursor::decode::<String>).transpose()?;
        Ok(Self { limit: cursor::limit(page.limit)?, after })
    }

    /// Takes items until the page is full; answers them, and the cursor of the next page if there is one.
    pub(super) fn fill<I, T: Serialize>(
        &self,
        mut all: impl Iterator<Item = I>,
        make: impl Fn(I) -> (String, T),
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let (mut items, mut bytes, mut last) = (Vec::new(), 0, String::new());
        while items.len() < self.limit && bytes < PAGE_BYTES {
            let Some(next) = all.next() else { return Ok((items, None)) };
            let (id, item) = make(next);
            bytes += serde_json::to_vec(&item).map_err(Problem::internal)?.len() as u64;
            last = id;
            items.push(item);
        }
        let more = all.next().is_some();
        Ok((items, if more { Some(cursor::encode(&last)?) } else { None }))
    }
}

/// `?limit=&cursor=`
pub type PageQuery = Query<cursor::Page>;
