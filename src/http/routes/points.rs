//! Points: adjustments by hand, the statement, earnings under review.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_actors::{ports::StoredRow, row};
use adal_domain::{
    customer::{
        Command, Customer, Reply,
        read::{ReviewView, StatementEntry},
    },
    entity::{EntityKey, EntityKind},
    errors::Code,
    ids::{CustomerId, EntryId},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, card::Reason, change, customer_id, path_id, published, unexpected};
use crate::{
    app::App,
    http::{
        cursor::{self, Page},
        extract::{Body, IdempotencyKey, Principal, Query, Role},
        problem::Problem,
        respond::reply,
    },
};

/// Journal rows read at a time. Most rows of a busy customer write no entry, so more than a page.
const ROWS: usize = 256;

/// Journal rows read for one page at most: past that, it ends where it is, with a cursor.
const MOST_ROWS: usize = 8 * ROWS;

/// Gives or takes points by hand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjust {
    /// Plus or minus. Above the policy's number (2,000) a second person decides.
    pub points: i64,
    /// 1-200 characters.
    pub reason: String,
}

/// An adjustment in the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub struct Adjusted {
    /// Its entry.
    pub entry: String,
    /// Points of the balance after it.
    pub balance: i64,
}

/// An adjustment that waits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Awaits {
    /// What the second person approves or rejects.
    pub approval_id: String,
}

/// A page of the statement.
#[derive(Debug, Serialize, ToSchema)]
pub struct Statement {
    /// Newest first, at most `limit`. Fewer, even none, do not mean the last page: `next_cursor` says.
    pub items: Vec<StatementEntry>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Earnings under review.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reviews {
    /// Oldest first.
    pub items: Vec<ReviewView>,
    /// Always absent: a customer has few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A decided review.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reviewed {
    /// Which.
    pub entry: String,
    /// Released or voided.
    pub released: bool,
    /// Points of the balance after it.
    pub balance: i64,
}

/// Give or take points by hand.
#[utoipa::path(
    post, path = "/v1/customers/{id}/points/adjust", tag = "loyalty",
    params(("id" = String, Path, description = "The customer.")),
    request_body = Adjust,
    responses(
        (status = 200, description = "Adjusted.", body = Adjusted),
        (status = 202, description = "Waits for a second person.", body = Awaits)
    ),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn adjust(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    key: IdempotencyKey,
    body: Body<Adjust>,
) -> Answered {
    who.require(&[Role::Admin])?;
    let id = customer_id(&path)?;
    let Adjust { points, reason } = body.value;
    let command = Command::Adjust { points, reason, by: who.actor() };
    let told = change(&app, &who, &key, &id, body.print, command).await?;
    match told.reply {
        Reply::Adjusted { entry, balance } => {
            Ok(reply(&request, StatusCode::OK, &Adjusted { entry: entry.to_string(), balance }, told.replayed))
        }
        Reply::AwaitsApproval { approval_id } => {
            Ok(reply(&request, StatusCode::ACCEPTED, &Awaits { approval_id: approval_id.to_string() }, told.replayed))
        }
        other => Err(unexpected(&other)),
    }
}

/// The statement, newest first. Its points always sum up to the card's balance.
#[utoipa::path(
    get, path = "/v1/customers/{id}/points/statement", tag = "loyalty",
    params(
        ("id" = String, Path, description = "The customer."),
        ("limit" = Option<usize>, Query, description = "1-200, 50 by default."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page.", body = Statement)),
    extensions(("x-roles" = json!(["self", "service", "support"])))
)]
pub async fn statement(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    query: Query<Page>,
) -> Answered {
    let id = customer_id(&path)?;
    who.may_see_customer(&id, &[Role::Service, Role::Support])?;
    let limit = cursor::limit(query.0.limit)?;
    let from = query.0.cursor.as_deref().map(cursor::decode::<Position>).transpose()?;
    let (items, next) = page(&app, &id, from, limit).await?;
    let next_cursor = next.map(|position| cursor::encode(&position)).transpose()?;
    Ok(reply(&request, StatusCode::OK, &Statement { items, next_cursor }, false))
}

/// Where a page ends: the last entry shown is the `nth` from the end of the row `seq`. Before that row come, newest first,
/// the `due` entries that follow it: what was due and in no row yet when the first page was made. Rows of their own have
/// them soon, in the same order, for whatever happens to a customer begins with what is due.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Position {
    seq: u64,
    shown: usize,
    #[serde(default)]
    due: usize,
}

/// One page: what is due by now, then the journal's rows, newest first. Later pages are bound to rows, so what is journaled
/// meanwhile neither repeats nor hides an entry.
async fn page(
    app: &App,
    id: &CustomerId,
    from: Option<Position>,
    limit: usize,
) -> Result<(Vec<StatementEntry>, Option<Position>), Problem> {
    let mut left = MOST_ROWS;
    let (mut at, mut items) = match from {
        Some(at) if at.due == 0 => (at, Vec::new()),
        _ => due(app, id, from, &mut left).await?,
    };
    if items.len() > limit {
        at.due = items.len() - limit;
        items.truncate(limit);
        return Ok((items, Some(at)));
    }
    at.due = 0;
    let entity = EntityKey::new(EntityKind::Customer, id.as_str());
    while at.seq > 0 {
        if left == 0 {
            return Ok((items, Some(at)));
        }
        let rows = app.journal.rows(&entity, 1, at.seq, ROWS.min(left), true).await?;
        if rows.is_empty() {
            break;
        }
        left -= rows.len().min(left);
        for stored in &rows {
            if stored.seq != at.seq {
                at = Position { seq: stored.seq, shown: 0, due: 0 };
            }
            for entry in entries(stored)?.into_iter().rev().skip(at.shown) {
                if items.len() >= limit {
                    return Ok((items, Some(at)));
                }
                items.push(entry);
                at.shown += 1;
            }
        }
        at = Position { seq: at.seq - 1, shown: 0, due: 0 };
    }
    Ok((items, None))
}

fn entries(stored: &StoredRow) -> Result<Vec<StatementEntry>, Problem> {
    Ok(row::decode::<Customer>(stored)?.events().filter_map(|event| event.statement_entry()).collect())
}

/// What a statement begins with before its rows, newest first, and the row below it. On a later page that is what the
/// first one left: the first entries after its row, by now in rows or still due.
async fn due(
    app: &App,
    id: &CustomerId,
    from: Option<Position>,
    left: &mut usize,
) -> Result<(Position, Vec<StatementEntry>), Problem> {
    let (customer, now) = published(app, id).await?;
    let mut at = from.unwrap_or(Position { seq: customer.seq, shown: 0, due: usize::MAX });
    let changed = || Problem::new(Code::CursorInvalid, "cursor: too much happened since; start without");
    if at.seq > customer.seq {
        return Err(changed());
    }
    let entity = EntityKey::new(EntityKind::Customer, id.as_str());
    let (mut found, mut read) = (Vec::new(), at.seq);
    while read < customer.seq && found.len() < at.due {
        if *left == 0 {
            return Err(changed());
        }
        let rows = app.journal.rows(&entity, read + 1, customer.seq, ROWS.min(*left), false).await?;
        *left -= rows.len().min(*left);
        read = rows.last().ok_or_else(changed)?.seq;
        for stored in &rows {
            found.extend(entries(stored)?);
        }
    }
    if found.len() < at.due {
        found.extend(customer.state.due(&app.context(id.as_str()), now).entries);
    }
    found.truncate(at.due);
    found.reverse();
    at.due = found.len();
    Ok((at, found))
}

/// Earnings under review, which a release or a void decides.
#[utoipa::path(
    get, path = "/v1/customers/{id}/points/review", tag = "loyalty",
    params(("id" = String, Path, description = "The customer.")),
    responses((status = 200, description = "What waits.", body = Reviews)),
    extensions(("x-roles" = json!(["support", "service"])))
)]
pub async fn reviews(request: HttpRequest, who: Principal, app: Data<App>, path: Path<String>) -> Answered {
    who.require(&[Role::Support, Role::Service])?;
    let id = customer_id(&path)?;
    let (customer, _) = published(&app, &id).await?;
    Ok(reply(&request, StatusCode::OK, &Reviews { items: customer.state.reviews(), next_cursor: None }, false))
}

/// Release an earning under review: its points become active.
#[utoipa::path(
    post, path = "/v1/customers/{id}/points/review/{entry}/release", tag = "loyalty",
    params(("id" = String, Path, description = "The customer."), ("entry" = String, Path, description = "The earning.")),
    request_body = Reason,
    responses((status = 200, description = "Released.", body = Reviewed)),
    extensions(("x-roles" = json!(["support"])))
)]
pub async fn release(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<(String, String)>,
    key: IdempotencyKey,
    body: Body<Reason>,
) -> Answered {
    review(&request, &who, &app, &path, &key, body, true).await
}

/// Void an earning under review: its points are never given.
#[utoipa::path(
    post, path = "/v1/customers/{id}/points/review/{entry}/void", tag = "loyalty",
    params(("id" = String, Path, description = "The customer."), ("entry" = String, Path, description = "The earning.")),
    request_body = Reason,
    responses((status = 200, description = "Voided.", body = Reviewed)),
    extensions(("x-roles" = json!(["support"])))
)]
pub async fn void(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<(String, String)>,
    key: IdempotencyKey,
    body: Body<Reason>,
) -> Answered {
    review(&request, &who, &app, &path, &key, body, false).await
}

async fn review(
    request: &HttpRequest,
    who: &Principal,
    app: &App,
    (id, entry): &(String, String),
    key: &IdempotencyKey,
    body: Body<Reason>,
    release: bool,
) -> Answered {
    who.require(&[Role::Support])?;
    let (id, entry) = (customer_id(id)?, path_id("entry", entry, EntryId::new)?);
    let command = Command::DecideReview { entry, release, reason: body.value.reason, by: who.actor() };
    let told = change(app, who, key, &id, body.print, command).await?;
    match told.reply {
        Reply::Reviewed { entry, released, balance } => {
            Ok(reply(request, StatusCode::OK, &Reviewed { entry: entry.to_string(), released, balance }, told.replayed))
        }
        other => Err(unexpected(&other)),
    }
}
