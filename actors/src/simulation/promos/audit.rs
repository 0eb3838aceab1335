//! What must hold of holds over several promos: after every row of anybody, and in the end.
//!
//! Two accounts that know nothing of each other are compared: what the rows say, and what the clients were told.

use std::collections::{BTreeMap, HashMap, HashSet};

use adal_domain::{
    customer::{Customer, Event, Reply, State, marketing::Listed},
    entity::{Entity, EntityKind, View, ViewWrite},
    ids::{OfferId, OrderId},
    offers::Offer,
    promo::{
        self, Promo, Uses,
        book::{BookEvent, Part},
        budget_id,
    },
};

use super::{
    POINTS, Task, What,
    catalogue::{HOME_USES, documents, is_at_home, limits},
};
use crate::{
    ports::StoredRow,
    row::{self, Outcome},
    simulation::check::Durable,
};

/// How often uses of one offer come back to a customer.
const GIVE_BACKS: usize = 3;

/// All entities, as of one row after another.
#[derive(Default)]
struct Replay {
    promos: BTreeMap<String, <Promo as Entity>::State>,
    customers: BTreeMap<String, State>,
    /// What live holds keep, by customer and hold.
    live: BTreeMap<(String, String), Vec<Part>>,
    /// What customers have taken and not given back, by promo.
    taken: BTreeMap<String, Uses>,
    /// Orders whose uses came back, with the offers, by customer.
    returned: Vec<(String, u64, Vec<OfferId>)>,
    /// Uses that sales have listed, by their place there: the offer, and what it took off.
    listed: BTreeMap<String, (String, i64)>,
    /// Promos of which all uses were held or taken once.
    full: HashSet<String>,
    /// Exchanges that promos have opened.
    opened: HashSet<(String, String)>,
}

/// What all seeds together went through: a simulation that never came to the hard cases shows nothing.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Seen {
    /// Holds captured.
    pub(super) sold: usize,
    /// Of these, past their time.
    pub(super) late: usize,
    /// Answers that something could not be covered.
    pub(super) uncovered: usize,
    /// Captures of less than was held.
    pub(super) partial: usize,
    /// Uses that came back from cancelled orders.
    pub(super) returned: usize,
    /// Holds that were refused for good.
    pub(super) refused: usize,
    /// Questions of promos about what was past its time.
    pub(super) asked: usize,
    /// Requests that were opened again after their end.
    pub(super) orphans: usize,
    /// Promos of which nothing was left at some moment.
    pub(super) exhausted: usize,
}

impl Seen {
    /// Fails where some hard case was never met; one seed alone need not meet all.
    #[cfg(test)]
    pub(in crate::simulation) fn met_every_case(&self) {
        println!("{self:?}");
        let Self { sold, late, uncovered, partial, returned, refused, asked, orphans, exhausted } = *self;
        let all = [sold, late, uncovered, partial, returned, refused, asked, orphans, exhausted];
        assert!(std::env::var_os("SEED").is_some() || all.iter().all(|n| *n > 0), "{self:?}");
    }
}

pub(super) fn run(durable: &Durable, answered: &[(Task, Outcome<Customer>)], seen: &mut Seen) {
    let mut replay = Replay::default();
    let limits = limits();
    for (key, seq) in &durable.order {
        let stored = &durable.rows[key][usize::try_from(seq - 1).unwrap()];
        match key.kind {
            EntityKind::Customer => replay.customer(&key.id, stored, seen),
            EntityKind::Promo => replay.promo(&key.id, stored, seen),
            kind => panic!("rows of {kind:?}"),
        }
        replay.check(&limits, &format!("after row {seq} of {key}"));
    }
    replay.at_rest();
    seen.exhausted += limits.iter().filter(|(promo, (uses, _))| uses.is_some() && replay.full.contains(*promo)).count();
    for (_, outcome) in answered {
        if let Ok(Reply::Captured { uncovered, .. }) = outcome {
            seen.uncovered += usize::from(!uncovered.is_empty());
        }
    }
    told(&replay, answered);
}

impl Replay {
    fn customer(&mut self, id: &str, stored: &StoredRow, seen: &mut Seen) {
        let state = self.customers.entry(id.to_owned()).or_insert_with(|| Customer::initial(id));
        for event in row::decode::<Customer>(stored).unwrap().events() {
            Customer::apply(state, event, stored.seq);
            for write in Customer::views(id, state, event, stored.seq, 0) {
                list(&mut self.listed, write);
            }
            match event {
                Event::Book(BookEvent::Held(held)) => {
                    self.live.insert((id.to_owned(), held.hold.to_string()), held.parts.clone());
                }
                Event::Book(BookEvent::Ended { hold, used, .. }) => {
                    assert!(self.live.remove(&(id.to_owned(), hold.to_string())).is_some(), "{id}: {hold} ended twice");
                    for used in used {
                        *self.taken.entry(used.promo.to_string()).or_default() += Uses::one(used.minor);
                    }
                }
                Event::Book(BookEvent::ReturnOwed { used, .. }) => {
                    *self.taken.entry(used.promo.to_string()).or_default() -= Uses::one(used.minor);
                }
                Event::Book(BookEvent::Refused { .. }) => seen.refused += 1,
                Event::Sold { hold, lines, .. } => {
                    seen.sold += 1;
                    seen.late += usize::from(hold.expired);
                    seen.partial += usize::from(lines.is_some());
                }
                Event::SaleEnded { key, returned, .. } => {
                    seen.returned += returned.len();
                    self.returned.push((id.to_owned(), *key, returned.clone()));
                }
                _ => {}
            }
        }
    }

    fn promo(&mut self, id: &str, stored: &StoredRow, seen: &mut Seen) {
        let state = self.promos.entry(id.to_owned()).or_insert_with(|| Promo::initial(id));
        for event in row::decode::<Promo>(stored).unwrap().events() {
            Promo::apply(state, event, stored.seq);
            match event {
                promo::Event::Opened(open) => {
                    let again = !self.opened.insert((id.to_owned(), open.exchange.to_string()));
                    seen.orphans += usize::from(again);
                }
                promo::Event::Asked { again, .. } => seen.asked += again.len(),
                _ => {}
            }
        }
        let uses = state.held.uses + state.taken.uses;
        if uses == state.accepted.total {
            self.full.insert(id.to_owned());
        }
    }

    fn check(&self, limits: &HashMap<String, (Option<u64>, Option<i64>)>, place: &str) {
        let mut claimed = self.taken.clone();
        for ((customer, hold), parts) in &self.live {
            for part in parts {
                *claimed.entry(part.promo.to_string()).or_default() += Uses::one(part.minor);
                let open = self.promos.get(&*part.promo).and_then(|promo| promo.open(&hold.parse_id()));
                let kept = open.is_some_and(|open| open.token == part.token);
                assert!(kept, "{place}: {} keeps nothing for the live hold {hold} of {customer}", part.promo);
            }
        }
        for (promo, (uses, minor)) in limits {
            let claimed = claimed.get(promo).copied().unwrap_or_default();
            let counted = self.promos.get(promo).map_or_else(Uses::default, |promo| {
                let mut sum = promo.held;
                sum += promo.taken;
                sum
            });
            for (who, of) in [("customers", claimed), ("the promo", counted)] {
                assert!(uses.is_none_or(|uses| of.uses <= uses), "{place}: {who}: {} uses of {promo}", of.uses);
                assert!(minor.is_none_or(|minor| of.minor <= minor), "{place}: {who}: {} spent of {promo}", of.minor);
            }
        }
    }

    fn at_rest(&self) {
        assert!(self.live.is_empty(), "holds outlived their time: {:?}", self.live);
        for (id, promo) in &self.promos {
            assert_eq!((promo.open_count(), promo.held), (0, Uses::default()), "{id}: something is held for nobody");
            assert_eq!(promo.taken, self.taken.get(id).copied().unwrap_or_default(), "{id}: taken");
        }
        for (id, customer) in &self.customers {
            let returns = customer.marketing().map_or(0, |marketing| marketing.book.returns.len());
            assert_eq!(returns, 0, "{id}: a use did not come back");
        }
    }
}

/// A use that is counted nowhere else is listed, or is not any more.
fn list(listed: &mut BTreeMap<String, (String, i64)>, write: ViewWrite) {
    if write.view != View::OfferUse {
        return;
    }
    match write.value {
        Some(value) => {
            let Listed { minor, .. } = rmp_serde::from_slice(&value).unwrap();
            let (offer, _month) = write.filter.split_once(' ').unwrap();
            assert!(listed.insert(write.key, (offer.to_owned(), minor)).is_none(), "a use is listed twice");
        }
        None => assert!(listed.remove(&write.key).is_some(), "{}: was not listed", write.key),
    }
}

trait ParseId {
    fn parse_id(&self) -> adal_domain::ids::ExchangeId;
}

impl ParseId for String {
    fn parse_id(&self) -> adal_domain::ids::ExchangeId {
        adal_domain::ids::ExchangeId::new(self).unwrap()
    }
}

/// A captured hold, as its client was told.
struct Sale<'a> {
    customer: &'a str,
    order: &'a OrderId,
    /// The offers of which a use was taken, with the money.
    taken: Vec<(OfferId, i64, Option<String>)>,
    points: i64,
}

fn sales<'a>(answered: &'a [(Task, Outcome<Customer>)]) -> Vec<Sale<'a>> {
    let captured = answered.iter().filter_map(|(task, outcome)| match outcome {
        Ok(Reply::Captured { quote, uncovered, order_id, .. }) => Some((task, quote, uncovered, order_id)),
        _ => None,
    });
    captured
        .map(|(task, quote, uncovered, order)| {
            let taken = quote.applied.iter().filter_map(|applied| {
                let gone = uncovered.iter().find(|one| one.offer_id.as_ref() == Some(&applied.offer_id));
                let minor = applied.discount_minor - gone.map_or(0, |one| one.minor);
                (minor > 0).then(|| (OfferId::new(&applied.offer_id).unwrap(), minor, applied.code.clone()))
            });
            let gone: i64 = uncovered.iter().map(|one| one.points).sum();
            Sale { customer: &task.customer, order, taken: taken.collect(), points: quote.points_burned - gone }
        })
        .collect()
}

/// Uses, money and points are what the clients were told.
fn told(replay: &Replay, answered: &[(Task, Outcome<Customer>)]) {
    let sales = sales(answered);
    let cancelled: HashSet<&OrderId> = answered
        .iter()
        .filter_map(|(task, outcome)| match &task.what {
            What::Cancel { order_id } if outcome.is_ok() => Some(order_id),
            _ => None,
        })
        .collect();
    points(replay, &sales, &cancelled, answered);
    uses(replay, &sales, &cancelled);
}

fn points(replay: &Replay, sales: &[Sale<'_>], cancelled: &HashSet<&OrderId>, answered: &[(Task, Outcome<Customer>)]) {
    for (id, state) in &replay.customers {
        let given = answered
            .iter()
            .filter(|(task, outcome)| task.customer == *id && matches!(task.what, What::Points) && outcome.is_ok());
        let kept = sales.iter().filter(|sale| sale.customer == id && !cancelled.contains(sale.order));
        let burned: i64 = kept.map(|sale| sale.points).sum();
        let given = POINTS * i64::try_from(given.count()).unwrap();
        assert_eq!(state.ledger.balance, given - burned, "{id}: points");
        assert_eq!(state.ledger.available(), state.ledger.balance, "{id}: points are held for nobody");
    }
}

fn uses(replay: &Replay, sales: &[Sale<'_>], cancelled: &HashSet<&OrderId>) {
    let documents: HashMap<OfferId, std::sync::Arc<Offer>> =
        documents().into_iter().map(|(id, _, offer)| (id, offer)).collect();
    let mut by_customer: BTreeMap<(&str, &OfferId), usize> = BTreeMap::new();
    let mut may_return: BTreeMap<(&str, &OfferId), usize> = BTreeMap::new();
    let mut money: BTreeMap<String, i64> = BTreeMap::new();
    let mut limited: BTreeMap<String, usize> = BTreeMap::new();
    for sale in sales {
        for (offer, minor, _) in &sale.taken {
            *by_customer.entry((sale.customer, offer)).or_default() += 1;
            *may_return.entry((sale.customer, offer)).or_default() += usize::from(cancelled.contains(sale.order));
            let limits = &documents[offer].limits;
            let group = limits.budget_group.as_ref().map(|group| budget_id(group.as_str()));
            for promo in [Some(offer.to_string()), group].into_iter().flatten() {
                *money.entry(promo).or_default() += minor;
            }
            *limited.entry(offer.to_string()).or_default() += 1;
        }
    }
    let mut returned: BTreeMap<(&str, &OfferId), usize> = BTreeMap::new();
    for (customer, _, offers) in &replay.returned {
        for offer in offers {
            *returned.entry((customer, offer)).or_default() += 1;
        }
    }
    for (place, may) in may_return {
        let back = returned.get(&place).copied().unwrap_or_default();
        assert_eq!(back, may.min(GIVE_BACKS), "{place:?}: uses that came back");
    }
    for (id, state) in &replay.customers {
        let known = |offer: &OfferId| {
            let uses = state.marketing().into_iter().flat_map(|marketing| &marketing.uses);
            uses.filter(|uses| uses.offer_id == *offer).map(|uses| uses.uses as usize).sum::<usize>()
        };
        for (offer, document) in &documents {
            let limits = &document.limits;
            let place = (id.as_str(), offer);
            let left = by_customer.get(&place).copied().unwrap_or_default()
                - returned.get(&place).copied().unwrap_or_default();
            let counted = limits.per_customer.is_some() || limits.per_customer_in.is_some();
            assert_eq!(known(offer), if counted { left } else { 0 }, "{id}: uses of {offer}");
            let most = limits.per_customer.unwrap_or(i64::MAX);
            assert!(i64::try_from(left).unwrap() <= most, "{id}: {left} uses of {offer}");
        }
    }
    for (promo, uses) in limited {
        let back: usize = returned.iter().filter(|((_, offer), _)| offer.as_str() == promo).map(|(_, n)| n).sum();
        let mut reported = replay.promos.get(&promo).map_or_else(Uses::default, |state| state.taken);
        reported +=
            replay.listed.values().filter(|(offer, _)| *offer == promo).map(|(_, minor)| Uses::one(*minor)).sum();
        assert_eq!(reported.uses, (uses - back) as u64, "{promo}: of {uses}, {back} came back");
        if back == 0 {
            assert_eq!(reported.minor, money[&promo], "{promo}: money");
        }
    }
    let home = OfferId::new("home").unwrap();
    let at_home = |of: &BTreeMap<(&str, &OfferId), usize>| {
        of.iter().filter(|((who, offer), _)| is_at_home(who) && **offer == home).map(|(_, n)| n).sum::<usize>()
    };
    let left = at_home(&by_customer) - at_home(&returned);
    assert!(left <= HOME_USES, "{left} uses from one address");
}
