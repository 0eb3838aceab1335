//! Segments: which customers belong to which group, as the shop's own systems say. An offer's audience.

use std::collections::BTreeSet;

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_actors::{CommandId, Request};
use adal_domain::{
    customer::{Command, Customer},
    errors::Code,
    ids::{CustomerId, Word},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, path_id};
use crate::{
    app::App,
    http::{
        extract::{Body, IdempotencyKey, Principal, Role},
        problem::Problem,
        respond::reply,
    },
};

/// Customers of one request.
const MOST: usize = 1000;

/// Customers asked at the same time.
const AT_ONCE: usize = 64;

/// Who joins and who leaves a segment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentBody {
    /// Customers who join; with `remove` at most 1,000.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub add: Vec<CustomerId>,
    /// Customers who leave.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub remove: Vec<CustomerId>,
}

/// What was changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentAnswer {
    /// The segment.
    #[schema(value_type = String)]
    pub segment_id: Word,
    /// Customers who are in it now, of those named.
    pub added: usize,
    /// Customers who are not in it now, of those named.
    pub removed: usize,
}

/// Say who is in a segment, and who no longer is. Each customer is changed on its own: where one cannot be, the request
/// fails, and is repeated with the same key.
#[utoipa::path(
    post, path = "/v1/segments/{id}/customers", tag = "catalogue",
    params(("id" = String, Path, description = "The segment.")),
    request_body = SegmentBody,
    responses((status = 200, description = "Done.", body = SegmentAnswer)),
    extensions(("x-roles" = json!(["service"])))
)]
pub async fn change(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    key: IdempotencyKey,
    body: Body<SegmentBody>,
) -> Answered {
    who.require(&[Role::Service])?;
    let segment_id = path_id("id", &path, Word::new)?;
    let SegmentBody { add, remove } = body.value;
    if add.len() + remove.len() > MOST {
        return Err(Problem::new(Code::InvalidField, format!("add, remove: at most {MOST} customers together")));
    }
    let (add, remove): (BTreeSet<_>, BTreeSet<_>) = (add.into_iter().collect(), remove.into_iter().collect());
    if let Some(both) = add.intersection(&remove).next() {
        return Err(Problem::new(Code::InvalidField, format!("add, remove: {both} stands in both")));
    }
    let (added, removed) = (add.len(), remove.len());
    let changes = add.into_iter().map(|id| (id, true)).chain(remove.into_iter().map(|id| (id, false)));
    let told = changes.map(async |(id, joins)| {
        let one = vec![segment_id.clone()];
        let (join, leave) = if joins { (one, Vec::new()) } else { (Vec::new(), one) };
        let command = Command::ChangeSegments { join, leave, by: who.actor() };
        let command_id = CommandId::of(&who.scope(), &format!("{}/segments/{id}", key.0));
        let asked = Request::<Customer> { id: Some(command_id), print: body.print, command };
        let answer = app.customers.ask(id.as_str(), asked).await?;
        answer.outcome.map_err(|refusal| Problem::from(refusal).replayed(answer.replayed))?;
        Ok::<_, Problem>(answer.replayed)
    });
    let replayed: Vec<bool> = stream::iter(told).buffer_unordered(AT_ONCE).try_collect().await?;
    // The rest of a request that was broken off is no repeat.
    let replayed = !replayed.is_empty() && replayed.into_iter().all(|replayed| replayed);
    Ok(reply(&request, StatusCode::OK, &SegmentAnswer { segment_id, added, removed }, replayed))
}
