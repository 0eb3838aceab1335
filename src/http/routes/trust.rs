//! A customer's trust score: what it stands on, and how it came about.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_actors::row;
use adal_domain::{
    customer::{
        Customer,
        read::{TrustChange, TrustView},
    },
    entity::{EntityKey, EntityKind},
    ids::CustomerId,
};

use super::{Answered, customer_id, published};
use crate::{
    app::App,
    http::{
        extract::{Principal, Role},
        problem::Problem,
        respond::reply,
    },
};

/// The most changes that a history lists.
const MOST: usize = 200;

/// Journal rows read at a time, and at most: a history is found within the latest 10,000 rows of a customer or is cut
/// there, so that one request never reads a journal of years.
const ROWS: usize = 500;
const MOST_ROWS: usize = 10_000;

/// The trust score, its band, the facts that it is made of, and its latest changes.
#[utoipa::path(
    get, path = "/v1/customers/{id}/trust", tag = "trust",
    params(("id" = String, Path, description = "The customer.")),
    responses((status = 200, description = "The score.", body = TrustView)),
    extensions(("x-roles" = json!(["self", "service", "support", "arbiter"])))
)]
pub async fn read(request: HttpRequest, who: Principal, app: Data<App>, path: Path<String>) -> Answered {
    let id = customer_id(&path)?;
    who.may_see_customer(&id, &[Role::Service, Role::Support, Role::Arbiter])?;
    let (customer, now) = published(&app, &id).await?;
    let context = app.context(id.as_str());
    let unread = || Problem::internal("a customer's state has no id");
    let mut view = customer.state.trust_view(&context, now).ok_or_else(unread)?;
    view.history = customer.state.due(&context, now).trust;
    // What is due comes oldest first.
    view.history.reverse();
    view.history.truncate(MOST);
    journaled(&app, &id, customer.seq, &mut view.history).await?;
    Ok(reply(&request, StatusCode::OK, &view, false))
}

/// Adds the journal's changes, newest first.
async fn journaled(app: &App, id: &CustomerId, mut seq: u64, history: &mut Vec<TrustChange>) -> Result<(), Problem> {
    let entity = EntityKey::new(EntityKind::Customer, id.as_str());
    let mut read = 0;
    while seq > 0 && read < MOST_ROWS {
        let rows = app.journal.rows(&entity, 1, seq, ROWS, true).await?;
        let Some(oldest) = rows.last() else { return Ok(()) };
        for stored in &rows {
            let decoded = row::decode::<Customer>(stored)?;
            let changes: Vec<_> = decoded.events().filter_map(|event| event.trust_change()).collect();
            let left = MOST.saturating_sub(history.len());
            history.extend(changes.into_iter().rev().take(left));
            if history.len() >= MOST {
                return Ok(());
            }
        }
        read += rows.len();
        seq = oldest.seq - 1;
    }
    Ok(())
}
