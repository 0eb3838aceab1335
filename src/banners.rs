//! What is counted of banners, and how often each customer was served one.
//!
//! Owned by the application, shared by all threads under two short locks. A view writes nothing: counts gather here and
//! are added to the store's sums every two seconds, all at once; a `kill -9` loses those of the last seconds, a stop
//! none. Frequencies live in memory alone, for the latest `REMEMBERED` pairs of banner and customer: a restart forgets
//! them, and whoever was pushed out is served once more than the document says. Nothing that costs money rests on either.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use adal_actors::ports::{BannerCounts, Counts, StoreError};
use adal_domain::{
    catalogue::banner::Frequency,
    customer::marketing::first_day,
    ids::{BannerId, CustomerId},
    time::Day,
};
use quick_cache::unsync::Cache;

use crate::app::App;

/// How often counts are added to the store's.
const EVERY: Duration = Duration::from_secs(2);
/// Pairs of banner and customer whose servings are remembered: some 150 bytes each.
const REMEMBERED: usize = 200_000;
/// Days of banners that wait for the store: as many as there are banners, today's and yesterday's. While the store cannot
/// be written nothing beyond is counted.
const MAX_WAITING: usize = 2 * adal_domain::catalogue::MAX_BANNERS;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was in an answer.
    Serving,
    /// It was seen, an app says.
    Impression,
    /// It was clicked, an app says.
    Click,
}

impl Seen {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Impression => "impression",
            Self::Click => "click",
        }
    }

    const fn counts(self) -> BannerCounts {
        match self {
            Self::Serving => BannerCounts { servings: 1, impressions: 0, clicks: 0 },
            Self::Impression => BannerCounts { servings: 0, impressions: 1, clicks: 0 },
            Self::Click => BannerCounts { servings: 0, impressions: 0, clicks: 1 },
        }
    }
}

/// Servings of a banner to a customer in the period that began with `since`.
#[derive(Debug, Clone, Copy)]
struct Served {
    since: Day,
    times: i64,
}

/// See the module.
pub struct BannerCounter {
    waiting: Mutex<HashMap<(BannerId, Day), BannerCounts>>,
    served: Mutex<Cache<(BannerId, CustomerId), Served>>,
}

impl std::fmt::Debug for BannerCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BannerCounter").finish_non_exhaustive()
    }
}

impl Default for BannerCounter {
    fn default() -> Self {
        Self { waiting: Mutex::default(), served: Mutex::new(Cache::new(REMEMBERED)) }
    }
}

impl BannerCounter {
    /// Counts one; false where too much waits for the store.
    pub fn count(&self, banner: &BannerId, day: Day, seen: Seen) -> bool {
        let mut waiting = self.waiting();
        let is_new = !waiting.contains_key(&(banner.clone(), day));
        if is_new && waiting.len() >= MAX_WAITING {
            metrics::counter!("adal_banner_events_dropped_total", "type" => seen.as_str()).increment(1);
            return false;
        }
        add(waiting.entry((banner.clone(), day)).or_default(), seen.counts());
        metrics::counter!("adal_banner_events_total", "type" => seen.as_str()).increment(1);
        true
    }

    /// Takes one serving of what the frequency allows a customer; false where nothing is left of it in this period.
    pub fn may_serve(&self, banner: &BannerId, customer: &CustomerId, frequency: Frequency, today: Day) -> bool {
        let since = first_day(frequency.period, today);
        let key = (banner.clone(), customer.clone());
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let times = served.get(&key).filter(|served| served.since == since).map_or(0, |served| served.times);
        if times >= frequency.uses {
            return false;
        }
        served.insert(key, Served { since, times: times + 1 });
        true
    }

    /// Adds what waits to the store's sums.
    ///
    /// # Errors
    /// The store's; what waited then waits on.
    pub async fn flush(&self, store: &dyn Counts) -> Result<(), StoreError> {
        let taken = std::mem::take(&mut *self.waiting());
        if taken.is_empty() {
            return Ok(());
        }
        let batch = taken.iter().map(|((banner, day), counts)| (banner.clone(), *day, *counts)).collect();
        let added = store.add_counts(batch).await;
        if added.is_err() {
            let mut waiting = self.waiting();
            for (key, counts) in taken {
                add(waiting.entry(key).or_default(), counts);
            }
        }
        added
    }

    /// Flushes every two seconds, until the application is gone.
    pub(crate) async fn run(self: Arc<Self>, app: Weak<App>) {
        metrics::describe_counter!("adal_banner_events_total", "Banners served, seen and clicked");
        metrics::describe_counter!(
            "adal_banner_events_dropped_total",
            "Those not counted: too much waits for the store"
        );
        metrics::describe_counter!(
            "adal_banner_flush_failures_total",
            "Times that counts could not be added: they wait"
        );
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(app) = app.upgrade() else { return };
            if let Err(error) = self.flush(&*app.store).await {
                metrics::counter!("adal_banner_flush_failures_total").increment(1);
                tracing::warn!(%error, "counts of banners wait for the store");
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<(BannerId, Day), BannerCounts>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to a sum, which stops at the greatest number there is.
pub(crate) const fn add(to: &mut BannerCounts, counts: BannerCounts) {
    to.servings = to.servings.saturating_add(counts.servings);
    to.impressions = to.impressions.saturating_add(counts.impressions);
    to.clicks = to.clicks.saturating_add(counts.clicks);
}

#[cfg(test)]
mod tests {
    use adal_actors::testing::{Fault, MemoryStore, Operation};
    use adal_domain::offers::document::Period;

    use super::*;

    fn banner(n: usize) -> BannerId {
        BannerId::new(&format!("b{n}")).unwrap()
    }

    #[tokio::test]
    async fn counts_gather_are_added_once_and_wait_while_the_store_refuses() {
        let (counter, store) = (BannerCounter::default(), MemoryStore::new());
        for seen in [Seen::Serving, Seen::Serving, Seen::Impression, Seen::Click] {
            assert!(counter.count(&banner(1), Day(1), seen));
        }
        store.follow(|_: Operation| Fault::Unavailable);
        assert!(counter.flush(&store).await.is_err());
        counter.count(&banner(1), Day(1), Seen::Serving);
        let sum = BannerCounts { servings: 3, impressions: 1, clicks: 1 };
        assert_eq!(counter.waiting()[&(banner(1), Day(1))], sum);
        store.heal();
        counter.flush(&store).await.unwrap();
        counter.flush(&store).await.unwrap();
        assert!(counter.waiting().is_empty());
        assert_eq!(store.counts_of(&banner(1), 9).await.unwrap(), [(Day(1), sum)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let counter = BannerCounter::default();
        for n in 0..MAX_WAITING {
            assert!(counter.count(&banner(n), Day(1), Seen::Click));
        }
        assert!(!counter.count(&banner(MAX_WAITING), Day(1), Seen::Click));
        assert!(counter.count(&banner(0), Day(1), Seen::Click), "what is there is counted on");
    }

    #[test]
    fn a_customer_is_served_so_often_a_period_and_the_next_one_anew() {
        let counter = BannerCounter::default();
        let [one, two] = ["c1", "c2"].map(|id| CustomerId::new(id).unwrap());
        let weekly = Frequency { uses: 2, period: Period::Week };
        // 1970-01-05 was a Monday.
        let monday = Day(4);
        let served: Vec<bool> =
            [0, 3, 6, 7].iter().map(|day| counter.may_serve(&banner(1), &one, weekly, monday.plus(*day))).collect();
        assert_eq!(served, [true, true, false, true]);
        assert!(
            counter.may_serve(&banner(1), &two, weekly, monday) && counter.may_serve(&banner(2), &one, weekly, monday)
        );
    }
}
