//! Fraud flags: a person raises one, and confirms or dismisses it.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_domain::{
    customer::{Command, Reply, read::FlagView},
    ids::FlagName,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Answered, approvals::Nothing, change, customer_id, path_id, unexpected};
use crate::{
    app::App,
    http::{
        extract::{Body, IdempotencyKey, MaybeBody, Principal, Role},
        respond::reply,
    },
};

/// Raises a flag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RaiseFlag {
    /// Its name: 1-64 of `[A-Za-z0-9._:-]`.
    #[schema(value_type = String)]
    pub flag: FlagName,
    /// 1-200 characters.
    pub reason: String,
}

/// Raise a fraud flag: the score is capped while it stands.
#[utoipa::path(
    post, path = "/v1/customers/{id}/fraud-flags", tag = "trust",
    params(("id" = String, Path, description = "The customer.")),
    request_body = RaiseFlag,
    responses((status = 200, description = "The flag and the score after it.", body = FlagView)),
    extensions(("x-roles" = json!(["support"])))
)]
pub async fn raise(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    key: IdempotencyKey,
    body: Body<RaiseFlag>,
) -> Answered {
    who.require(&[Role::Support])?;
    let id = customer_id(&path)?;
    let RaiseFlag { flag, reason } = body.value;
    let command = Command::RaiseFlag { flag, reason, by: who.actor() };
    let told = change(&app, &who, &key, &id, body.print, command).await?;
    match told.reply {
        Reply::Flag(view) => Ok(reply(&request, StatusCode::OK, &view, told.replayed)),
        other => Err(unexpected(&other)),
    }
}

/// Confirm a fraud flag: it counts, and caps the score for 180 days.
#[utoipa::path(
    post, path = "/v1/customers/{id}/fraud-flags/{flag}/confirm", tag = "trust",
    params(("id" = String, Path, description = "The customer."), ("flag" = String, Path, description = "The flag.")),
    request_body = Option<Nothing>,
    responses((status = 200, description = "The flag and the score after it.", body = FlagView)),
    extensions(("x-roles" = json!(["support"])))
)]
pub async fn confirm(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<(String, String)>,
    key: IdempotencyKey,
    body: MaybeBody<Nothing>,
) -> Answered {
    decide(&request, &who, &app, &path, &key, body.print, true).await
}

/// Dismiss a fraud flag: it leaves nothing.
#[utoipa::path(
    post, path = "/v1/customers/{id}/fraud-flags/{flag}/dismiss", tag = "trust",
    params(("id" = String, Path, description = "The customer."), ("flag" = String, Path, description = "The flag.")),
    request_body = Option<Nothing>,
    responses((status = 200, description = "The flag and the score after it.", body = FlagView)),
    extensions(("x-roles" = json!(["support"])))
)]
pub async fn dismiss(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<(String, String)>,
    key: IdempotencyKey,
    body: MaybeBody<Nothing>,
) -> Answered {
    decide(&request, &who, &app, &path, &key, body.print, false).await
}

async fn decide(
    request: &HttpRequest,
    who: &Principal,
    app: &App,
    (id, flag): &(String, String),
    key: &IdempotencyKey,
    print: [u8; 16],
    confirm: bool,
) -> Answered {
    who.require(&[Role::Support])?;
    let (id, flag) = (customer_id(id)?, path_id("flag", flag, FlagName::new)?);
    let command = Command::DecideFlag { flag, confirm, by: who.actor() };
    let told = change(app, who, key, &id, print, command).await?;
    match told.reply {
        Reply::Flag(view) => Ok(reply(request, StatusCode::OK, &view, told.replayed)),
        other => Err(unexpected(&other)),
    }
}
