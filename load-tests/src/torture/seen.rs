//! What the store says when everything is settled: through the API, as any caller would ask, and by `adal check`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use super::{
    checker::{self, Offer},
    command::{About, Answer, Role, Sent},
    deployment::{Checked, Deployment},
    line::Line,
    recorder,
};
use crate::{Done, clock::Stopwatch};

/// Seconds by which the clock is ahead when a deployment is looked at: past every hold, and less than keys are remembered.
pub const SETTLED_S: i64 = 4 * 3600;
/// How long what is due may take to be written, and what customers owe promos to arrive: these have no answer to wait for.
const DELIVERIES: Duration = Duration::from_secs(30);

/// One customer.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The card.
    pub card: Value,
    /// The whole statement.
    pub statement: Vec<Value>,
    /// What is earned and not active: order and points.
    pub pending: Vec<(String, i64)>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// By customer.
    pub accounts: BTreeMap<String, Account>,
    /// By hold; null: there is none.
    pub holds: BTreeMap<String, Value>,
    /// By offer.
    pub usage: BTreeMap<String, Value>,
    /// What each recorded command was answered when it was sent once more, in the order of the history.
    pub repeats: Vec<Option<Answer>>,
    /// What `adal check` found.
    pub checked: Checked,
}

/// Reads everything of a running deployment. `adal check` comes when it has stopped: see [`finish`].
///
/// # Errors
/// Where it cannot be read.
pub fn look(deployment: &Deployment, offers: &[Offer], history: &[Sent]) -> Done<Seen> {
    recorder::converse(deployment, async |line| read(line, offers, history).await)
}

/// Sends every command once more, with its key.
///
/// # Errors
/// Where one is not answered.
pub fn repeat(deployment: &Deployment, history: &[Sent], seen: &mut Seen) -> Done {
    seen.repeats = recorder::converse(deployment, async |line| {
        let (watch, mut repeats) = (Stopwatch::start(), Vec::new());
        for sent in history {
            if sent.command.about == About::Scan {
                repeats.push(None);
                continue;
            }
            repeats.push(recorder::settle(line, sent.command.clone(), watch).await.answer);
        }
        Ok(repeats)
    })?;
    Ok(())
}

/// What the checker found of a deployment that runs. It is started anew with its clock four hours ahead, so that no hold
/// is open any more, whoever made it, and no promo waits for the end of one; then see [`verdict`].
///
/// # Errors
/// Where it cannot be started or read.
pub fn finish(deployment: &mut Deployment, offers: &[Offer], history: &[Sent]) -> Done<checker::Findings> {
    deployment.stop()?;
    deployment.set_ahead(SETTLED_S)?;
    deployment.start()?;
    verdict(deployment, offers, history)
}

/// It is looked at, every command is repeated, it is looked at again (a repeat changes nothing), stopped, and checked by
/// itself. It is left stopped.
///
/// # Errors
/// Where it cannot be read, or not be stopped.
pub fn verdict(deployment: &mut Deployment, offers: &[Offer], history: &[Sent]) -> Done<checker::Findings> {
    let mut before = look(deployment, offers, history)?;
    repeat(deployment, history, &mut before)?;
    let mut findings = checker::check(history, offers, &before);
    let after = look(deployment, offers, history)?;
    findings.add(checker::check(history, offers, &after));
    deployment.stop()?;
    findings.add(checker::check_file(&deployment.check()?));
    Ok(findings)
}

async fn read(line: &mut Line, offers: &[Offer], history: &[Sent]) -> Result<Seen, String> {
    let (mut seen, watch) = (Seen::default(), Stopwatch::start());
    for id in history.iter().filter_map(checker::hold_of).collect::<BTreeSet<_>>() {
        let view = loop {
            let view = get(line, Role::Service, &format!("/v1/checkout/holds/{id}")).await?.unwrap_or_default();
            if view["state"] != "held" || watch.elapsed() > DELIVERIES {
                break view;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        seen.holds.insert(id, view);
    }
    let expected = checker::expect(history);
    for offer in offers {
        let view = loop {
            let path = format!("/v1/promos/{}/usage", offer.id);
            let view = get(line, Role::Admin, &path).await?.unwrap_or_default();
            if expected.offer(&offer.id).agrees(&view, offer) || watch.elapsed() > DELIVERIES {
                break view;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        seen.usage.insert(offer.id.clone(), view);
    }
    let customers = history.iter().map(|sent| &sent.command.customer).filter(|customer| !customer.is_empty());
    for customer in customers.collect::<BTreeSet<_>>() {
        seen.accounts.insert(customer.clone(), account(line, customer).await?);
    }
    Ok(seen)
}

async fn account(line: &mut Line, customer: &str) -> Result<Account, String> {
    let path = format!("/v1/customers/{customer}");
    let mut account = Account {
        card: get(line, Role::Service, &format!("{path}/card")).await?.unwrap_or_default(),
        ..Account::default()
    };
    let mut cursor = String::new();
    loop {
        let page = get(line, Role::Service, &format!("{path}/points/statement?limit=200{cursor}")).await?;
        let page = page.unwrap_or_default();
        account.statement.extend(page["items"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let state = get(line, Role::Admin, &format!("{path}/state")).await?.unwrap_or_default();
    for lot in state.pointer("/state/ledger/pending").and_then(Value::as_array).into_iter().flatten() {
        let order = lot.pointer("/order/order_id").and_then(Value::as_str).unwrap_or("(none)");
        account.pending.push((order.to_owned(), lot["points"].as_i64().unwrap_or(0)));
    }
    Ok(account)
}

/// Reads until there is an answer; `None`: there is nothing there (404).
async fn get(line: &mut Line, role: Role, path: &str) -> Result<Option<Value>, String> {
    let watch = Stopwatch::start();
    loop {
        match line.get(role, path).await {
            Some(answer) if answer.status == 200 => return Ok(Some(answer.body)),
            Some(answer) if answer.status == 404 => return Ok(None),
            Some(answer) if answer.is_final() || watch.elapsed() > DELIVERIES => {
                return Err(format!("GET {path}: {} {}", answer.status, answer.body));
            }
            None if watch.elapsed() > DELIVERIES => return Err(format!("GET {path}: no answer")),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
