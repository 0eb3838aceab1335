//! Bounds on what callers may send: how much, how fast, how often wrongly.
//!
//! All of it is in memory and bounded in size: a restart forgets, and no flood of new names can grow it. Limits that
//! must hold for ever (points, uses, money) live in the entities.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
};

use actix_web::{HttpRequest, http::Method, web::Data};
use adal_domain::{
    errors::Code,
    ids::CustomerId,
    time::{Day, Timestamp},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};

use super::{extract::Principal, problem::Problem};
use crate::{
    app::App,
    config::{LimitsConfig, Rates},
};

/// The route that takes lists of order events.
pub const BULK_PATH: &str = "/v1/orders/events";
const QUOTES_PATH: &str = "/v1/checkout/quotes";
/// Where the bodies are documents of the catalogue: an offer may list 50,000 products.
const DOCUMENT_PATHS: [&str; 3] = ["/v1/promos/", "/v1/campaigns/", "/v1/catalogue/"];

/// What a request costs, roughly: each class has rates of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Writes nothing.
    Read,
    /// One durable change.
    Write,
    /// A list of order events.
    Bulk,
}

impl Class {
    fn of(method: &Method, path: &str) -> Self {
        match path {
            BULK_PATH => Self::Bulk,
            QUOTES_PATH => Self::Read,
            _ if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) => Self::Read,
            _ => Self::Write,
        }
    }
}

/// The largest body that the request's route takes, in bytes.
pub(crate) fn body_limit(req: &HttpRequest) -> usize {
    let Some(app) = req.app_data::<Data<App>>() else { return 1 << 20 };
    let server = &app.config.server;
    let path = req.path();
    let is_large = path == BULK_PATH || DOCUMENT_PATHS.iter().any(|start| path.starts_with(start));
    if is_large { server.bulk_body_limit_bytes } else { server.body_limit_bytes }
}

/// How long a body may take to arrive, in seconds.
pub(crate) fn body_seconds(req: &HttpRequest) -> u64 {
    req.app_data::<Data<App>>().map_or(10, |app| app.config.server.body_timeout_s)
}

/// Rates per address, per service key and per customer.
pub struct Limits {
    inner: Option<Inner>,
}

struct Inner {
    clock: DefaultClock,
    address: PerClass<IpAddr>,
    key: PerClass<Box<str>>,
    customer: PerClass<CustomerId>,
}

impl Limits {
    /// The limits of a configuration.
    #[must_use]
    pub fn new(config: &LimitsConfig) -> Self {
        let inner = config.enabled.then(|| Inner {
            clock: DefaultClock::default(),
            address: PerClass::new(config, &config.address),
            key: PerClass::new(config, &config.key),
            customer: PerClass::new(config, &config.customer),
        });
        Self { inner }
    }

    /// Counts a request of an address, before anything else is done for it.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(super) fn admit_address(&self, address: IpAddr, method: &Method, path: &str) -> Result<(), Problem> {
        let Some(inner) = &self.inner else { return Ok(()) };
        inner.address.admit(&inner.clock, Class::of(method, path), &network(address), "address")
    }

    /// Counts a request of whoever was authenticated.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(super) fn admit(&self, req: &HttpRequest, principal: &Principal) -> Result<(), Problem> {
        let Some(inner) = &self.inner else { return Ok(()) };
        let class = Class::of(req.method(), req.path());
        match principal {
            Principal::Service { key_id, .. } => {
                inner.key.admit(&inner.clock, class, &key_id.as_str().into(), "service key")
            }
            Principal::Customer { customer_id } => inner.customer.admit(&inner.clock, class, customer_id, "customer"),
        }
    }

    /// Forgets who has not been near a limit lately. To be called every few seconds.
    pub fn forget_idle(&self) {
        let Some(inner) = &self.inner else { return };
        inner.address.forget_idle();
        inner.key.forget_idle();
        inner.customer.forget_idle();
    }
}

/// One IPv6 subscriber has a /64: limited by address it would have no limit.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

struct PerClass<K: Hash + Eq + Clone>([Limiter<K>; 3]);

type Limiter<K> =
    RateLimiter<K, Bounded<K>, DefaultClock, NoOpMiddleware<<DefaultClock as governor::clock::Clock>::Instant>>;

impl<K: Hash + Eq + Clone> PerClass<K> {
    fn new(config: &LimitsConfig, rates: &Rates) -> Self {
        let limiter = |per_s: NonZeroU32| {
            let quota = Quota::per_second(per_s).allow_burst(per_s.saturating_mul(config.burst_s));
            RateLimiter::new(quota, Bounded::new(config.remembered), DefaultClock::default())
        };
        Self([limiter(rates.read_per_s), limiter(rates.write_per_s), limiter(rates.bulk_per_s)])
    }

    fn admit(&self, clock: &DefaultClock, class: Class, key: &K, whose: &str) -> Result<(), Problem> {
        self.0[class as usize].check_key(key).map_err(|early| {
            metrics::counter!("adal_rate_limited_total", "by" => whose.replace(' ', "_")).increment(1);
            let wait = early.wait_time_from(clock.now()).as_secs().saturating_add(1);
            let detail = format!("too many requests of this {whose}");
            Problem::new(Code::RateLimited, detail).retry_after(u32::try_from(wait).unwrap_or(u32::MAX))
        })
    }

    fn forget_idle(&self) {
        for limiter in &self.0 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

const SHARDS: usize = 16;

/// A store for governor that never holds more than so many keys. Where it is full, newcomers share one cell: they are
/// limited together, until idle ones are forgotten a few seconds later. That is harsher than fair, and bounded.
struct Bounded<K> {
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
    most: usize,
}

struct Shard<K> {
    cells: HashMap<K, Nanos>,
    shared: Option<Nanos>,
}

impl<K> Bounded<K> {
    fn new(most: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Shard { cells: HashMap::new(), shared: None }));
        Self { hasher: RandomState::new(), shards, most: (most / SHARDS).max(1) }
    }
}

/// What is behind a lock here is valid at every moment: a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Hash + Eq + Clone> StateStore for Bounded<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let place = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let mut shard = lock(&self.shards[place]);
        if let Some(cell) = shard.cells.get_mut(key) {
            let (answer, next) = f(Some(*cell))?;
            *cell = next;
            return Ok(answer);
        }
        if shard.cells.len() >= self.most {
            let (answer, next) = f(shard.shared)?;
            shard.shared = Some(next);
            return Ok(answer);
        }
        let (answer, next) = f(None)?;
        shard.cells.insert(key.clone(), next);
        Ok(answer)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Bounded<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            lock(shard).cells.retain(|_, cell| *cell >= drop_below);
        }
    }

    fn shrink_to_fit(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            if shard.cells.capacity() > 4 * shard.cells.len().max(64) {
                shard.cells.shrink_to_fit();
            }
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).cells.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Slows a terminal that sends codes with a wrong signature: whoever tries to guess one is soon down to one try a
/// minute, while a till that misread a code once or twice notices nothing.
#[derive(Default)]
pub struct TerminalGuard {
    terminals: Mutex<HashMap<Box<str>, Wrong>>,
}

struct Wrong {
    count: u32,
    last: Timestamp,
    until: Timestamp,
}

/// Wrong codes that cost nothing.
const FREE_TRIES: u32 = 5;
/// After so many seconds without a wrong code all is forgotten.
const FORGIVEN_S: i64 = 600;
/// The longest wait, seconds.
const LONGEST_WAIT_S: i64 = 60;
/// Terminals kept in mind: there are as many as there are service keys that erred lately.
const MOST_TERMINALS: usize = 10_000;

impl TerminalGuard {
    /// To be asked before a code of `terminal` (a service key's id) is looked at.
    ///
    /// # Errors
    /// 429 `terminal_slowed`, with the seconds to wait.
    pub fn check(&self, terminal: &str, now: Timestamp) -> Result<(), Problem> {
        let terminals = lock(&self.terminals);
        let Some(wrong) = terminals.get(terminal).filter(|wrong| wrong.until > now) else { return Ok(()) };
        let wait = wrong.until.micros_since(now).div_euclid(Timestamp::SECOND) + 1;
        let detail = format!("{} codes with a wrong signature came from this terminal", wrong.count);
        Err(Problem::new(Code::TerminalSlowed, detail).retry_after(u32::try_from(wait).unwrap_or(u32::MAX)))
    }

    /// Counts a code with a wrong signature.
    pub fn wrong(&self, terminal: &str, now: Timestamp) {
        metrics::counter!("adal_qr_wrong_signature_total").increment(1);
        let mut terminals = lock(&self.terminals);
        let forgotten = |wrong: &Wrong| wrong.last.plus_seconds(FORGIVEN_S) < now;
        if terminals.len() >= MOST_TERMINALS && !terminals.contains_key(terminal) {
            terminals.retain(|_, wrong| !forgotten(wrong));
            if terminals.len() >= MOST_TERMINALS {
                return;
            }
        }
        let wrong = terminals.entry(terminal.into()).or_insert(Wrong { count: 0, last: now, until: now });
        if forgotten(wrong) {
            wrong.count = 0;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = now;
        let over = wrong.count.saturating_sub(FREE_TRIES);
        if over > 0 {
            wrong.until = now.plus_seconds((1_i64 << over.min(6)).min(LONGEST_WAIT_S));
        }
    }
}

/// Scans of each customer's code on the current day of the shop.
#[derive(Default)]
pub struct ScanCounter {
    today: Mutex<(Day, HashMap<CustomerId, i64>)>,
}

/// Customers counted a day; past that, newcomers are not limited. About 60 MB.
const MOST_SCANNED: usize = 500_000;

impl ScanCounter {
    /// Counts a scan and returns how many there were today, this one included.
    ///
    /// # Errors
    /// 429 `scan_limit`, where `limit` is reached already; then nothing is counted.
    pub fn count(&self, customer: &CustomerId, day: Day, limit: i64) -> Result<i64, Problem> {
        let mut today = lock(&self.today);
        if today.0 < day {
            *today = (day, HashMap::new());
        }
        if today.1.len() >= MOST_SCANNED && !today.1.contains_key(customer) {
            return Ok(1);
        }
        let count = today.1.entry(customer.clone()).or_insert(0);
        if *count >= limit {
            let detail = format!("the card was scanned {count} times today; at most {limit}");
            return Err(Problem::new(Code::ScanLimit, detail).with_max(limit).retry_after(3600));
        }
        *count += 1;
        Ok(*count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_full_store_holds_no_more_and_limits_newcomers_together() {
        let quota = Quota::per_hour(NonZeroU32::new(2).unwrap());
        let limiter: Limiter<u64> = RateLimiter::new(quota, Bounded::new(SHARDS), DefaultClock::default());
        let admitted = (0..10_000_u64).filter(|key| limiter.check_key(key).is_ok()).count();
        assert_eq!(limiter.len(), SHARDS);
        assert_eq!(admitted, SHARDS * (1 + 2), "each shard's own key once, and the shared cell's burst of two");
    }

    #[test]
    fn one_subscriber_has_one_limit() {
        let parse = |text: &str| network(text.parse().unwrap());
        assert_eq!(parse("2001:db8:1:2::1"), parse("2001:db8:1:2:ffff::9"));
        assert_ne!(parse("2001:db8:1:2::1"), parse("2001:db8:1:3::1"));
        assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
    }

    #[test]
    fn a_terminal_that_guesses_is_slowed_and_later_forgiven() {
        let guard = TerminalGuard::default();
        for _ in 0..5 {
            guard.wrong("till", at(0));
        }
        assert!(guard.check("till", at(0)).is_ok());
        guard.wrong("till", at(0));
        assert_eq!(guard.check("till", at(1)).unwrap_err().code(), Code::TerminalSlowed);
        assert!(guard.check("till", at(2)).is_ok());
        assert!(guard.check("other", at(1)).is_ok());
        for _ in 0..20 {
            guard.wrong("till", at(10));
        }
        assert!(guard.check("till", at(69)).is_err());
        assert!(guard.check("till", at(70)).is_ok());
        guard.wrong("till", at(2000));
        assert!(guard.check("till", at(2000)).is_ok(), "all was forgotten");
    }

    #[test]
    fn scans_count_per_customer_and_day() {
        let (scans, customer) = (ScanCounter::default(), CustomerId::new("c1").unwrap());
        assert_eq!(scans.count(&customer, Day(1), 2).unwrap(), 1);
        assert_eq!(scans.count(&customer, Day(1), 2).unwrap(), 2);
        assert_eq!(scans.count(&customer, Day(1), 2).unwrap_err().code(), Code::ScanLimit);
        assert!(scans.count(&CustomerId::new("c2").unwrap(), Day(1), 2).is_ok());
        assert_eq!(scans.count(&customer, Day(2), 2).unwrap(), 1);
    }

    #[test]
    fn classes_follow_what_a_route_does() {
        assert_eq!(Class::of(&Method::POST, QUOTES_PATH), Class::Read);
        assert_eq!(Class::of(&Method::POST, BULK_PATH), Class::Bulk);
        assert_eq!(Class::of(&Method::PUT, "/v1/policy"), Class::Write);
        assert_eq!(Class::of(&Method::GET, "/v1/policy"), Class::Read);
    }
}
