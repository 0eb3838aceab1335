//! What is watched for at the edge and never refused: counts that are no one customer's own, or that a request which
//! writes nothing adds to. What looks like fraud becomes a signal of the customer, for people to look at.
//!
//! The counts are in memory, shared by all workers and bounded: a restart forgets them, and where there is no room
//! newcomers are not counted. Nothing here may make a caller wait, refuse anything, or fail a request.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
};

use adal_actors::{CommandId, Request};
use adal_domain::{
    customer::{Command, Customer, read::SignalKind},
    ids::{CustomerId, OrderKey, ShopId},
    time::Day,
};

use crate::app::App;

/// Pairs counted at a time. With their keys hashed, about 20 MB each.
const MOST: usize = 500_000;

/// See the module.
#[derive(Default)]
pub struct Watch {
    hasher: RandomState,
    /// A card at a terminal, by day.
    terminals: Counter,
    /// A customer at a shop, by week.
    shops: Counter,
}

impl Watch {
    /// Counts a scan of a card at a terminal, and returns how many there were that day, this one included.
    pub fn scanned(&self, customer: &CustomerId, terminal: &str, day: Day) -> i64 {
        self.terminals.count(self.hasher.hash_one((customer, terminal)), day.0)
    }

    /// Counts an order completed on `day` of the shop, and returns how many there were in that day's week (Monday to
    /// Sunday), this one included; 0 for an order of an earlier week than the latest counted.
    pub fn completed(&self, customer: &CustomerId, shop: &ShopId, day: Day) -> i64 {
        // 1970-01-01, day 0, was a Thursday.
        self.shops.count(self.hasher.hash_one((customer, shop)), (day.0 + 3).div_euclid(7))
    }
}

/// Counts by key within a period; each key remembers its latest period alone.
///
/// A key is a hash: two pairs that share one are taken for one pair, which 64 bits make as rare as can be, and what
/// follows from a count is a look by a person.
#[derive(Default)]
struct Counter(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    by_key: HashMap<u64, (i32, i64)>,
    newest: i32,
    /// Up to which period the counts were last swept.
    swept: i32,
}

impl Counter {
    fn count(&self, key: u64, period: i32) -> i64 {
        // Counts are valid at every moment: a panic elsewhere does not spoil them.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.newest = counts.newest.max(period);
        if let Some((latest, count)) = counts.by_key.get_mut(&key) {
            if *latest < period {
                (*latest, *count) = (period, 0);
            }
            *count += i64::from(*latest == period);
            return if *latest == period { *count } else { 0 };
        }
        if counts.by_key.len() >= MOST {
            // At most once per period: where all are of the newest, a sweep for each newcomer would cost every request.
            if counts.swept >= counts.newest {
                return 0;
            }
            let newest = counts.newest;
            counts.swept = newest;
            counts.by_key.retain(|_, (latest, _)| *latest >= newest);
            if counts.by_key.len() >= MOST {
                return 0;
            }
        }
        counts.by_key.insert(key, (period, 1));
        1
    }
}

/// Whether a count that reached `from` is to be told: when it gets there, and again 1, 2, 4, 8 ... later. The customer
/// lists one signal of a kind a day; the others make up for one that a full queue or a full disk did not take.
#[must_use]
pub const fn is_told(count: i64, from: i64) -> bool {
    let over = count - from;
    over == 0 || (over > 0 && over & (over - 1) == 0)
}

/// Something to be listed for people.
#[derive(Debug)]
pub struct Sight {
    /// What.
    pub kind: SignalKind,
    /// Where.
    pub shop_id: Option<ShopId>,
    /// By which order.
    pub order: Option<OrderKey>,
    /// With the numbers.
    pub detail: String,
}

/// Lists a signal at its customer, at most one of a kind a day. Returns at once: the request that gave cause to it
/// neither waits for it nor fails with it.
pub fn tell(app: &App, customer: &CustomerId, sight: Sight) {
    let Sight { kind, shop_id, order, detail } = sight;
    let day = app.policy.load().calendar.day(app.now());
    // The customer remembers a command's id for longer than a day lasts, and the id names the day.
    let id = CommandId::of("signal", &format!("{} {}", kind.as_str(), day.0));
    let command = Command::Signal { kind, shop_id, order, detail };
    let request = Request::<Customer> { id: Some(id), print: [0; 16], command };
    let (customers, customer) = (app.customers.clone(), customer.clone());
    actix_web::rt::spawn(async move {
        if let Err(error) = customers.ask(customer.as_str(), request).await {
            metrics::counter!("adal_signals_lost_total", "kind" => kind.as_str()).increment(1);
            tracing::warn!(kind = kind.as_str(), %error, "a signal could not be listed");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_counts_within_its_own_period() {
        let counter = Counter::default();
        assert_eq!([counter.count(1, 5), counter.count(1, 5), counter.count(2, 5)], [1, 2, 1]);
        assert_eq!(counter.count(1, 6), 1, "a new period");
        assert_eq!(counter.count(1, 5), 0, "late: of a period that is over for this pair");
        assert_eq!(counter.count(2, 5), 2, "but not for that one: feeds run at their own pace");
    }

    #[test]
    fn a_full_counter_drops_what_is_over_and_else_counts_no_newcomers() {
        let counter = Counter::default();
        for key in 0..MOST as u64 {
            counter.count(key, 1);
        }
        assert_eq!(counter.count(u64::MAX, 1), 0);
        assert_eq!(counter.count(7, 1), 2, "those that are there go on");
        assert_eq!(counter.count(u64::MAX, 2), 1);
        assert_eq!(counter.0.lock().unwrap().by_key.len(), 1);
    }

    #[test]
    fn weeks_begin_on_monday() {
        let watch = Watch::default();
        let (customer, shop) = (CustomerId::new("c").unwrap(), ShopId::new("s").unwrap());
        // Day 4 was Monday, 5 January 1970.
        let counts = [3, 4, 10, 11].map(|day| watch.completed(&customer, &shop, Day(day)));
        assert_eq!(counts, [1, 1, 2, 1]);
    }

    #[test]
    fn what_was_not_taken_is_told_again_ever_more_rarely() {
        let told: Vec<i64> = (0..50).filter(|count| is_told(*count, 10)).collect();
        assert_eq!(told, [10, 11, 12, 14, 18, 26, 42]);
    }
}
