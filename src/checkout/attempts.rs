//! Wrong codes: who typed too many may try none for a while. In memory and bounded: a restart forgets, and where there
//! is no room for a newcomer, nobody new is locked out.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use adal_domain::{checkout::reserve::household, ids::CustomerId, time::Timestamp};

use super::Asked;

/// Seconds in which wrong codes are counted together.
const WINDOW_S: i64 = 600;
/// Seconds that a lock lasts.
const LOCKED_S: i64 = 900;
/// Wrong codes in a window that lock a customer of the standard band (trust scales it), an address, a terminal.
pub(super) const CUSTOMER: i64 = 10;
const ADDRESS: i64 = 30;
const TERMINAL: i64 = 60;
/// Names kept in mind of each kind: those who erred lately. About 10 MB in all.
const MOST: usize = 50_000;
/// Seconds between two looks through all of them for room: a look at each wrong code would make wrong codes slow.
const SWEEP_S: i64 = 1;

/// See the module.
#[derive(Debug, Default)]
pub struct Attempts {
    customers: Counted<CustomerId>,
    addresses: Counted<IpAddr>,
    terminals: Counted<Box<str>>,
}

impl Attempts {
    /// Whether the shopper, its address or the terminal has typed too many wrong codes.
    #[must_use]
    pub fn is_locked(&self, asked: &Asked, now: Timestamp) -> bool {
        let customer = asked.customer.as_ref().is_some_and(|id| self.customers.is_locked(id, now));
        let address = asked.address.map(household).is_some_and(|address| self.addresses.is_locked(&address, now));
        let terminal = asked.terminal.as_ref().is_some_and(|terminal| self.terminals.is_locked(terminal, now));
        customer || address || terminal
    }

    /// Counts wrong codes of one cart; `limit` of them lock its customer. Answers whether these did.
    pub fn wrong(&self, asked: &Asked, count: usize, limit: i64, now: Timestamp) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        metrics::counter!("adal_codes_wrong_total").increment(count.unsigned_abs());
        let locked = [
            asked.customer.clone().is_some_and(|id| self.customers.count(id, count, limit, now)),
            asked.address.map(household).is_some_and(|address| self.addresses.count(address, count, ADDRESS, now)),
            asked.terminal.clone().is_some_and(|terminal| self.terminals.count(terminal, count, TERMINAL, now)),
        ];
        for (kind, _) in ["customer", "address", "terminal"].into_iter().zip(locked).filter(|(_, locked)| *locked) {
            metrics::counter!("adal_codes_locked_total", "kind" => kind).increment(1);
        }
        locked[0]
    }
}

#[derive(Debug)]
struct Counted<K>(Mutex<Known<K>>);

#[derive(Debug)]
struct Known<K> {
    names: HashMap<K, Wrong>,
    swept: Timestamp,
}

impl<K> Default for Counted<K> {
    fn default() -> Self {
        Self(Mutex::new(Known { names: HashMap::new(), swept: Timestamp(0) }))
    }
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    count: i64,
    since: Timestamp,
    locked_until: Timestamp,
}

impl Wrong {
    fn is_over(&self, now: Timestamp) -> bool {
        self.locked_until <= now && now.micros_since(self.since) >= WINDOW_S * Timestamp::SECOND
    }
}

impl<K: Hash + Eq> Counted<K> {
    fn is_locked(&self, key: &K, now: Timestamp) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.names.get(key).is_some_and(|wrong| wrong.locked_until > now)
    }

    /// Counts; answers whether that locked.
    fn count(&self, key: K, count: i64, limit: i64, now: Timestamp) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.names.len() >= MOST && !known.names.contains_key(&key) {
            if now.micros_since(known.swept).abs() >= SWEEP_S * Timestamp::SECOND {
                known.names.retain(|_, wrong| !wrong.is_over(now));
                known.swept = now;
            }
            if known.names.len() >= MOST {
                return false;
            }
        }
        let fresh = Wrong { count: 0, since: now, locked_until: Timestamp(0) };
        let wrong = known.names.entry(key).or_insert(fresh);
        if wrong.is_over(now) {
            *wrong = fresh;
        }
        wrong.count = wrong.count.saturating_add(count);
        if wrong.count < limit || wrong.locked_until > now {
            return false;
        }
        *wrong = Wrong { count: 0, since: now, locked_until: now.plus_seconds(LOCKED_S) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn ten_wrong_codes_in_ten_minutes_lock_for_fifteen_and_nobody_else() {
        let counted = Counted::default();
        for _ in 0..9 {
            assert!(!counted.count("a", 1, CUSTOMER, at(0)));
        }
        assert!(!counted.is_locked(&"a", at(599)));
        assert!(counted.count("a", 1, CUSTOMER, at(599)));
        assert!(counted.is_locked(&"a", at(599 + 899)) && !counted.is_locked(&"b", at(599)));
        assert!(!counted.is_locked(&"a", at(599 + 900)));
    }

    #[test]
    fn where_there_is_no_room_newcomers_wait_until_all_names_are_looked_through_again() {
        let counted = Counted::default();
        for name in 0..MOST {
            counted.count(name, 1, CUSTOMER, at(0));
        }
        // All are over at 600.
        let counts = |millis: i64| counted.count(MOST, CUSTOMER, CUSTOMER, Timestamp(at(599).0 + millis * 1000));
        assert!(!counts(500), "looked through, and there is no room");
        assert!(!counts(1_400), "not looked through again within a second");
        assert!(counts(1_500));
    }

    #[test]
    fn what_was_wrong_longer_ago_is_forgotten() {
        let counted = Counted::default();
        assert!(!counted.count("a", 9, CUSTOMER, at(0)));
        assert!(!counted.count("a", 9, CUSTOMER, at(600)));
        assert!(counted.count("a", 1, CUSTOMER, at(601)));
    }
}
