//! Wrong codes: who typed too many may try none for a while. In memory and bounded: a restart forgets, and where there
//! is no room for a newcomer, nobody new is locked out.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use adal_domain::{
    checkout::reserve::household, ids::CustomerId, offers::NormalCode, policy::CodePolicy, time::Timestamp,
};

use super::Asked;

/// Names kept in mind of each kind: those who erred lately. With 10, 30 and 60 codes of each, about 30 MB in all.
const MOST: usize = 50_000;
/// Seconds between two looks through all of them for room: a look at each wrong code would make wrong codes slow.
const SWEEP_S: i64 = 1;

/// See the module.
#[derive(Debug, Default)]
pub struct Attempts {
    customers: Counted<CustomerId>,
    addresses: Counted<IpAddr>,
    terminals: Counted<Box<str>>,
    hasher: RandomState,
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

    /// Counts wrong codes of one cart, each once for whoever typed it: a cart that is priced again with the same mistake
    /// guesses nothing. `customer` of them lock the customer. Answers whether these did.
    pub fn wrong(&self, asked: &Asked, codes: &[&str], customer: i64, policy: &CodePolicy, now: Timestamp) -> bool {
        metrics::counter!("adal_codes_wrong_total").increment(codes.len() as u64);
        let typed: Vec<u32> = codes.iter().map(|code| self.print(code)).collect();
        let limit = |most| Limit { most, window_s: policy.window_s, locked_s: policy.locked_s };
        let (of_address, of_terminal) = (limit(policy.wrong_per_address), limit(policy.wrong_per_terminal));
        let locked = [
            asked.customer.clone().is_some_and(|id| self.customers.count(id, &typed, limit(customer), now)),
            asked.address.map(household).is_some_and(|at| self.addresses.count(at, &typed, of_address, now)),
            asked.terminal.clone().is_some_and(|till| self.terminals.count(till, &typed, of_terminal, now)),
        ];
        for (kind, _) in ["customer", "address", "terminal"].into_iter().zip(locked).filter(|(_, locked)| *locked) {
            metrics::counter!("adal_codes_locked_total", "kind" => kind).increment(1);
        }
        locked[0]
    }

    /// Tells codes of one name apart. Two that look the same here (one pair in 4 billion) count as one.
    fn print(&self, code: &str) -> u32 {
        let hash = match NormalCode::new(code) {
            Some(normal) => self.hasher.hash_one(normal.as_str()),
            None => self.hasher.hash_one(code),
        };
        (hash >> 32) as u32
    }
}

/// So many wrong codes in a window lock for a while.
#[derive(Debug, Clone, Copy)]
struct Limit {
    most: i64,
    window_s: i64,
    locked_s: i64,
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

#[derive(Debug, Clone)]
struct Wrong {
    /// Never more than lock.
    typed: Vec<u32>,
    since: Timestamp,
    /// After this all of it is forgotten.
    until: Timestamp,
    locked: bool,
}

impl<K: Hash + Eq> Counted<K> {
    fn is_locked(&self, key: &K, now: Timestamp) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.names.get(key).is_some_and(|wrong| wrong.locked && wrong.until > now)
    }

    /// Counts; answers whether that locked.
    fn count(&self, key: K, typed: &[u32], limit: Limit, now: Timestamp) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.names.len() >= MOST && !known.names.contains_key(&key) {
            if now.micros_since(known.swept).abs() >= SWEEP_S * Timestamp::SECOND {
                known.names.retain(|_, wrong| wrong.until > now);
                known.swept = now;
            }
            if known.names.len() >= MOST {
                return false;
            }
        }
        let fresh = || Wrong { typed: Vec::new(), since: now, until: now.plus_seconds(limit.window_s), locked: false };
        let wrong = known.names.entry(key).or_insert_with(fresh);
        if wrong.until <= now || now < wrong.since {
            *wrong = fresh();
        }
        if wrong.locked {
            return false;
        }
        for code in typed {
            if !wrong.typed.contains(code) {
                wrong.typed.push(*code);
            }
            if i64::try_from(wrong.typed.len()).unwrap_or(i64::MAX) >= limit.most {
                *wrong = Wrong { typed: Vec::new(), since: now, until: now.plus_seconds(limit.locked_s), locked: true };
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    /// As the policy's defaults have it for a customer of the standard band.
    const CUSTOMER: Limit = Limit { most: 10, window_s: 600, locked_s: 900 };

    #[test]
    fn ten_wrong_codes_in_ten_minutes_lock_for_fifteen_and_nobody_else() {
        let counted = Counted::default();
        for code in 0..9 {
            assert!(!counted.count("a", &[code], CUSTOMER, at(0)));
        }
        assert!(!counted.is_locked(&"a", at(599)));
        assert!(counted.count("a", &[9], CUSTOMER, at(599)));
        assert!(counted.is_locked(&"a", at(599 + 899)) && !counted.is_locked(&"b", at(599)));
        assert!(!counted.is_locked(&"a", at(599 + 900)));
    }

    #[test]
    fn the_same_wrong_code_counts_once_in_a_window() {
        let counted = Counted::default();
        for _ in 0..1_000 {
            assert!(!counted.count("a", &[1, 2, 2, 1], CUSTOMER, at(0)));
        }
        assert!(!counted.count("a", &[3, 4, 5, 6, 7, 8, 9], CUSTOMER, at(1)));
        assert!(counted.count("a", &[1, 10], CUSTOMER, at(2)));
        let attempts = Attempts::default();
        assert_eq!(attempts.print("TEMPO1"), attempts.print("t-e-m-p-o-l"), "one code, however it is typed");
        assert_ne!(attempts.print("TEMPO1"), attempts.print("TEMPO2"));
    }

    #[test]
    fn where_there_is_no_room_newcomers_wait_until_all_names_are_looked_through_again() {
        let counted = Counted::default();
        for name in 0..MOST {
            counted.count(name, &[1], CUSTOMER, at(0));
        }
        // All are over at 600.
        let ten: Vec<u32> = (0..10).collect();
        let counts = |millis: i64| counted.count(MOST, &ten, CUSTOMER, Timestamp(at(599).0 + millis * 1000));
        assert!(!counts(500), "looked through, and there is no room");
        assert!(!counts(1_400), "not looked through again within a second");
        assert!(counts(1_500));
    }

    #[test]
    fn what_was_wrong_longer_ago_is_forgotten() {
        let counted = Counted::default();
        let nine: Vec<u32> = (0..9).collect();
        assert!(!counted.count("a", &nine, CUSTOMER, at(0)));
        assert!(!counted.count("a", &nine[..8], CUSTOMER, at(600)));
        assert!(!counted.count("a", &[8], CUSTOMER, at(601)));
        assert!(counted.count("a", &[9], CUSTOMER, at(602)));
    }
}
