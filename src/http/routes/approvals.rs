//! Adjustments that wait for a second person.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_domain::{
    customer::{Command, Reply, read::ApprovalView},
    entity::View,
    errors::Code,
    ids::{ApprovalId, CustomerId},
};

use super::{Answered, change, path_id, points::Adjusted, unexpected};
use crate::{
    app::App,
    http::{
        extract::{IdempotencyKey, MaybeBody, Principal, Role},
        problem::Problem,
        respond::reply,
    },
};

/// A body without fields.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The rejected adjustment.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct RejectedAdjustment {
    /// Which.
    pub approval_id: String,
    /// `rejected`.
    pub state: &'static str,
}

/// What waits: whose points, how many, why, and who asked.
#[utoipa::path(
    get, path = "/v1/approvals/{id}", tag = "loyalty",
    params(("id" = String, Path, description = "The approval.")),
    responses((status = 200, description = "The adjustment.", body = ApprovalView)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn read(request: HttpRequest, who: Principal, app: Data<App>, path: Path<String>) -> Answered {
    who.require(&[Role::Admin])?;
    let (_, view) = find(&app, &path).await?;
    Ok(reply(&request, StatusCode::OK, &view, false))
}

/// Approve: the adjustment takes place. By another admin than the one who asked.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/approve", tag = "loyalty",
    params(("id" = String, Path, description = "The approval.")),
    request_body = Option<Nothing>,
    responses((status = 200, description = "Adjusted.", body = Adjusted)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn approve(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    key: IdempotencyKey,
    body: MaybeBody<Nothing>,
) -> Answered {
    decide(&request, &who, &app, &path, &key, body.print, true).await
}

/// Reject: nothing changes. By another admin than the one who asked.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/reject", tag = "loyalty",
    params(("id" = String, Path, description = "The approval.")),
    request_body = Option<Nothing>,
    responses((status = 200, description = "Rejected.", body = RejectedAdjustment)),
    extensions(("x-roles" = json!(["admin"])))
)]
pub async fn reject(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    key: IdempotencyKey,
    body: MaybeBody<Nothing>,
) -> Answered {
    decide(&request, &who, &app, &path, &key, body.print, false).await
}

async fn decide(
    request: &HttpRequest,
    who: &Principal,
    app: &App,
    path: &str,
    key: &IdempotencyKey,
    print: [u8; 16],
    approve: bool,
) -> Answered {
    who.require(&[Role::Admin])?;
    let (customer, view) = find(app, path).await?;
    let command = Command::DecideAdjustment { approval_id: view.approval_id, approve, by: who.actor() };
    let told = change(app, who, key, &customer, print, command).await?;
    match told.reply {
        Reply::Adjusted { entry, balance } => {
            Ok(reply(request, StatusCode::OK, &Adjusted { entry: entry.to_string(), balance }, told.replayed))
        }
        Reply::Rejected { approval_id } => {
            let rejected = RejectedAdjustment { approval_id: approval_id.to_string(), state: "rejected" };
            Ok(reply(request, StatusCode::OK, &rejected, told.replayed))
        }
        other => Err(unexpected(&other)),
    }
}

/// The approval and whose it is.
async fn find(app: &App, path: &str) -> Result<(CustomerId, ApprovalView), Problem> {
    let id = path_id("id", path, ApprovalId::new)?;
    let missing = || Problem::new(Code::NotFound, "no approval has this id");
    let row = app.views.get(View::ApprovalById, id.as_str()).await?.ok_or_else(missing)?;
    Ok((CustomerId::new(&row.entity.id).map_err(|_| missing())?, super::stored(&row.value)?))
}
