//! Signals: what looks like fraud or a mistake, newest first.

use actix_web::{HttpRequest, http::StatusCode, web::Data};
use adal_domain::{
    customer::read::{SignalKind, SignalView},
    entity::View,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, stored};
use crate::{
    app::App,
    http::{
        cursor,
        extract::{Principal, Query, Role},
        respond::reply,
    },
};

/// Which signals.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalQuery {
    /// Of one kind alone.
    pub kind: Option<SignalKind>,
    /// At most this many.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A page of signals.
#[derive(Debug, Serialize, ToSchema)]
pub struct Signals {
    /// Newest first.
    pub items: Vec<SignalView>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Signals, newest first. They are for people to look at: no signal punishes anybody by itself.
#[utoipa::path(
    get, path = "/v1/signals", tag = "trust",
    params(
        ("kind" = Option<SignalKind>, Query, description = "Of one kind alone."),
        ("limit" = Option<u32>, Query, description = "1-200, 50 by default."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page.", body = Signals)),
    extensions(("x-roles" = json!(["support", "admin"])))
)]
pub async fn list(request: HttpRequest, who: Principal, app: Data<App>, query: Query<SignalQuery>) -> Answered {
    who.require(&[Role::Support, Role::Admin])?;
    let SignalQuery { kind, limit, cursor: from } = query.0;
    let limit = cursor::limit(limit)?;
    let before = from.as_deref().map(cursor::decode::<String>).transpose()?;
    // One more than asked for: whether there is a next page.
    let mut rows = app.views.list(View::Signal, kind.map(SignalKind::as_str), before.as_deref(), limit + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor::encode(&row.key)).transpose()?;
    let items = rows.iter().map(|row| stored::<SignalView>(&row.value)).collect::<Result<_, _>>()?;
    Ok(reply(&request, StatusCode::OK, &Signals { items, next_cursor }, false))
}
