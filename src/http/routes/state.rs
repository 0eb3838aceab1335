//! A customer's whole state at a past moment, and the row that led to it.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_actors::{replay, row};
use adal_domain::{
    customer::Customer,
    entity::{EntityKey, EntityKind},
    errors::Code,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, customer_id};
use crate::{
    app::App,
    http::{
        extract::{Principal, Query, Role},
        problem::Problem,
        respond::reply,
    },
};

/// Which moment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtQuery {
    /// RFC 3339; now where it is left out.
    #[serde(default, with = "adal_domain::time::rfc3339::option")]
    pub at: Option<Timestamp>,
}

/// A state as of a moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct PastState {
    /// The moment asked for.
    #[serde(with = "adal_domain::time::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The last row by then; 0 before the first.
    pub seq: u64,
    /// When that row was decided.
    #[serde(with = "adal_domain::time::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub row_at: Option<Timestamp>,
    /// What happened in that row.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<serde_json::Value>,
    /// The state at that moment, as the journal's own form has it: times are microseconds since 1970. What was due by
    /// then (activations, expiries, trust, holds that ran out) is in it, whether or not a row had said so yet. A moment
    /// to come shows what is due by now.
    #[schema(value_type = Object)]
    pub state: serde_json::Value,
}

/// The state at a past moment, with the row that led to it. It is folded anew from the journal's first row, never from what
/// is in memory, and brought to that moment by the policy in force now: what was due by then is in `state`, not in `events`.
#[utoipa::path(
    get, path = "/v1/customers/{id}/state", tag = "audit",
    params(
        ("id" = String, Path, description = "The customer."),
        ("at" = Option<String>, Query, description = "RFC 3339; now where it is left out.")
    ),
    responses((status = 200, description = "The state.", body = PastState)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn at(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    query: Query<AtQuery>,
) -> Answered {
    who.require(&[Role::Admin])?;
    let id = customer_id(&path)?;
    let at = query.0.at.unwrap_or_else(|| app.now());
    let entity = EntityKey::new(EntityKind::Customer, id.as_str());
    let seq = app.journal.seq_at(&entity, at).await?.unwrap_or(0);
    if seq == 0 && app.journal.rows(&entity, 1, 1, 1, false).await?.is_empty() {
        return Err(Problem::new(Code::NotFound, "nothing is known of this customer"));
    }
    let past = replay::past_state::<Customer>(&*app.journal, id.as_str(), seq).await?;
    let mut events = Vec::new();
    for stored in app.journal.rows(&entity, seq, seq, 1, false).await?.iter().filter(|_| seq > 0) {
        for event in row::decode::<Customer>(stored)?.events() {
            events.push(serde_json::to_value(event).map_err(Problem::internal)?);
        }
    }
    // Never before its own row, where the clock was set back; never beyond now, where nothing is due yet.
    let until = at.min(app.now()).max(past.at);
    let (settled, _) = past.state.settled(&app.context(id.as_str()), until);
    let state = serde_json::to_value(&*settled).map_err(Problem::internal)?;
    let row_at = (seq > 0).then_some(past.at);
    Ok(reply(&request, StatusCode::OK, &PastState { at, seq, row_at, events, state }, false))
}
