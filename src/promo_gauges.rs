//! What promos keep for open holds, and what of their budgets is spent, as gauges.
//!
//! One task adds both up every five seconds from what promos have published. It owns what it last saw of each promo: one
//! that left memory changes only when it is woken, and then it is looked at again. One that was never looked at is read
//! from the store, some at a time. No label names an offer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Weak,
    time::Duration,
};

use adal_domain::{
    offers::{OfferKind, document::FundedBy},
    promo::{Uses, budget_id},
};
use metrics::gauge;

use crate::app::{App, InForce};

/// How often they are added up.
const EVERY: Duration = Duration::from_secs(5);
/// Promos that are read from the store in one turn, at most.
const READ: usize = 200;

/// Says what each is, once.
pub(crate) fn describe() {
    metrics::describe_gauge!("adal_reservations_open", "Uses that promos and campaigns keep for open holds");
    metrics::describe_gauge!("adal_budget_spent_minor", "What captured carts took from budgets, minor units");
    metrics::describe_gauge!("adal_budget_held_minor", "What open holds keep of budgets, minor units");
}

/// What a promo counts, as it was last seen.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    held: Uses,
    taken: Uses,
}

/// A promo of the catalogue in force.
struct Counted {
    id: String,
    /// Whose uses they are; `None`: a budget that offers share has none of its own.
    kind: Option<OfferKind>,
    /// Who pays, where it has a budget.
    budget: Option<FundedBy>,
}

/// Adds up until the application is gone.
pub(crate) async fn run(app: Weak<App>) {
    let mut seen: HashMap<String, Seen> = HashMap::new();
    loop {
        let Some(app) = app.upgrade() else { return };
        let all = counted(&app.policy.load());
        look(&app, &all, &mut seen).await;
        tell(&all, &seen);
        drop(app);
        tokio::time::sleep(EVERY).await;
    }
}

/// The promos that limits of the catalogue are counted at: one for each offer with a limit, and for each shared budget.
fn counted(in_force: &InForce) -> Vec<Counted> {
    let mut all = Vec::new();
    let mut groups: BTreeMap<String, FundedBy> = BTreeMap::new();
    for (id, entry) in in_force.catalogue.offers() {
        let (limits, funded_by) = (&entry.offer.limits, entry.offer.funded_by);
        if *limits == Default::default() {
            continue;
        }
        if let (Some(group), Some(_)) = (&limits.budget_group, limits.budget_minor) {
            // Of offers that share a budget the first by id says who pays.
            groups.entry(budget_id(group.as_str())).or_insert(funded_by);
        }
        let own = limits.budget_minor.is_some() && limits.budget_group.is_none();
        all.push(Counted { id: id.to_string(), kind: Some(entry.kind), budget: own.then_some(funded_by) });
    }
    all.extend(groups.into_iter().map(|(id, funded_by)| Counted { id, kind: None, budget: Some(funded_by) }));
    all
}

async fn look(app: &App, all: &[Counted], seen: &mut HashMap<String, Seen>) {
    let mut read = 0;
    for one in all {
        let published = match app.promos.glimpse(&one.id) {
            Some(published) => published,
            None if seen.contains_key(&one.id) || read >= READ => continue,
            None => {
                read += 1;
                // Where it cannot be read now, the next turn tries again.
                let Ok(published) = app.promos.read(&one.id).await else { continue };
                published
            }
        };
        seen.insert(one.id.clone(), Seen { held: published.state.held, taken: published.state.taken });
    }
    // Of those that are not of the catalogue any more nothing is told.
    if seen.len() > all.len() {
        let ids: std::collections::HashSet<&str> = all.iter().map(|one| one.id.as_str()).collect();
        seen.retain(|id, _| ids.contains(id.as_str()));
    }
}

fn tell(all: &[Counted], seen: &HashMap<String, Seen>) {
    let of = |one: &Counted| seen.get(&one.id).copied().unwrap_or_default();
    for kind in [OfferKind::Promo, OfferKind::Campaign] {
        let open: u64 = all.iter().filter(|one| one.kind == Some(kind)).map(|one| of(one).held.uses).sum();
        gauge!("adal_reservations_open", "kind" => kind.as_str()).set(float(i64::try_from(open).unwrap_or(i64::MAX)));
    }
    for funded_by in [FundedBy::Platform, FundedBy::Shop, FundedBy::Brand] {
        let (mut held, mut taken) = (Uses::default(), Uses::default());
        for one in all.iter().filter(|one| one.budget == Some(funded_by)).map(of) {
            held += one.held;
            taken += one.taken;
        }
        let name = funded_by.as_str();
        gauge!("adal_budget_spent_minor", "funded_by" => name).set(float(taken.minor));
        gauge!("adal_budget_held_minor", "funded_by" => name).set(float(held.minor));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; sums of money are exact to 2^53 minor units")]
fn float(number: i64) -> f64 {
    number as f64
}
