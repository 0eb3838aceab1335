//! The policy: every number of the rules, as one document.

use std::sync::Arc;

use actix_web::{HttpRequest, http::StatusCode, web::Data};
use adal_actors::{CommandId, Request};
use adal_domain::{
    catalogue::{Catalogue, CatalogueCommand, MAIN},
    errors::Code,
    policy::Policy,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Answered;
use crate::{
    app::App,
    http::{
        body,
        extract::{Body, IdempotencyKey, Principal, Role},
        problem::Problem,
        respond::reply,
    },
};

/// The policy in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyView {
    /// The catalogue's revision of the policy's last change: what `If-Match` names.
    pub revision: u64,
    /// The whole document.
    #[schema(value_type = Object)]
    pub policy: Arc<Policy>,
}

/// The policy in force, and its revision.
#[utoipa::path(
    get, path = "/v1/policy", tag = "catalogue",
    responses((status = 200, description = "The policy; `ETag` is its revision.", body = PolicyView)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn read(request: HttpRequest, who: Principal, app: Data<App>) -> Answered {
    who.require(&[Role::Admin])?;
    let catalogue = app.catalogue.read(MAIN).await?;
    let policy = catalogue.state.policy.clone().unwrap_or_else(|| Arc::clone(&app.policy.load().policy));
    Ok(tagged(&request, catalogue.state.policy_revision, policy, false))
}

/// Replace the policy by a whole document. What was decided before keeps the numbers that it was decided with.
#[utoipa::path(
    put, path = "/v1/policy", tag = "catalogue",
    params(("If-Match" = Option<String>, Header, description = "The revision that was read, in quotes: refused where it is another now.")),
    request_body(content = Object, description = "The whole policy, as `GET` answers it under `policy`."),
    responses((status = 200, description = "The policy in force.", body = PolicyView)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn replace(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    key: IdempotencyKey,
    body: Body<Value>,
) -> Answered {
    who.require(&[Role::Admin])?;
    let expected_revision = super::if_match(&request)?;
    let policy: Arc<Policy> = body::typed(&body.value)?;
    complete_policy(&policy, &body.value)?;
    let command = CatalogueCommand::SetPolicy { policy: Arc::clone(&policy), expected_revision, by: who.actor() };
    let id = Some(CommandId::of(&who.scope(), &key.0));
    let answer = app.catalogue.ask(MAIN, Request::<Catalogue> { id, print: body.print, command }).await?;
    match answer.outcome {
        Ok(done) => {
            app.refresh_catalogue().await?;
            Ok(tagged(&request, done.revision, policy, answer.replayed))
        }
        Err(refusal) => Err(Problem::from(refusal).replayed(answer.replayed)),
    }
}

/// Refuses a policy that leaves a key out.
pub(crate) fn complete_policy(policy: &Policy, given: &Value) -> Result<(), Problem> {
    complete(&serde_json::to_value(policy).map_err(Problem::internal)?, given, "")
}

fn tagged(request: &HttpRequest, revision: u64, policy: Arc<Policy>, replayed: bool) -> actix_web::HttpResponse {
    super::with_etag(reply(request, StatusCode::OK, &PolicyView { revision, policy }, replayed), revision)
}

/// Refuses a document that leaves a key out: it would silently set that number to its default.
fn complete(whole: &Value, given: &Value, path: &str) -> Result<(), Problem> {
    let Value::Object(keys) = whole else { return Ok(()) };
    for (key, inner) in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match given.get(key) {
            Some(given) => complete(inner, given, &path)?,
            None => {
                let detail = format!("{path}: missing; PUT takes the whole document");
                return Err(Problem::new(Code::InvalidField, detail));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_document_is_refused_and_the_missing_key_named() {
        let whole = serde_json::to_value(Policy::default()).unwrap();
        complete(&whole, &whole, "").unwrap();
        let mut partial = whole.clone();
        partial["loyalty"].as_object_mut().unwrap().remove("lot_days");
        assert!(complete(&whole, &partial, "").unwrap_err().detail().starts_with("loyalty.lot_days"));
    }
}
