//! The demo's present: an order now and then, so that there is something to watch. It ends by itself.

use std::{sync::Weak, time::Duration};

use adal_domain::ids::CustomerId;

use super::history;
use crate::app::App;

/// Time between two orders.
const EVERY: Duration = Duration::from_secs(5);
/// Orders of one run: five hours. A demo that is forgotten fills no disk.
const ORDERS: u32 = 3600;
/// Passers-by who share them: few enough to build a history, many enough to stay under a day's limits for an hour.
const PASSERS_BY: u32 = 200;

/// Runs until it is done or the application is gone.
pub(super) async fn run(app: Weak<App>) {
    for _ in 0..ORDERS {
        tokio::time::sleep(EVERY).await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = one(&app).await {
            tracing::warn!(error, "the demo's traffic pauses");
        }
    }
}

async fn one(app: &App) -> Result<(), String> {
    let who = rand::random_range(0..PASSERS_BY);
    let customer = CustomerId::new(&format!("passer-by-{who}")).map_err(|error| error.to_string())?;
    let total = rand::random_range(300..20_000_i64) * 100;
    let now = app.now();
    let order = format!("live-{}", now.0);
    history::issue(app, &customer, None).await.map_err(|error| error.to_string())?;
    history::order(app, &customer, &order, now, total).await.map_err(|error| error.to_string())
}
