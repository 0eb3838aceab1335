//! One order, one customer. An order is known by (shop_id, order_id); the same order sent for two customers would earn
//! twice. The customers cannot see that: each knows its own orders alone. Here is where all events pass.
//!
//! What is durable says [`View::OrderOwner`], written with the first row of an order. What is not durable yet is *claimed*
//! here before its event goes to the customer, so that of two customers at the same moment one is refused: with one
//! server per store, nothing passes beside this. A claim ends with its answer. Where there is none (a deadline, a client
//! that went away), the event may have been taken or not; the claim stays until the customer, asked again, has passed
//! that point of its queue, and the view then knows.
//!
//! The claims are behind one lock that is never held over an await; everything is bounded. No claim is ever decided by
//! time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use adal_actors::{AskError, Request, ports::StoreError};
use adal_domain::{
    customer::{Command, Customer},
    entity::View,
    errors::Code,
    ids::{CustomerId, OrderKey},
};
use quick_cache::sync::Cache;

use super::problem::Problem;
use crate::app::App;

/// Orders whose owner is remembered: an order's later events need not look it up. Some 80 bytes each.
const REMEMBERED: usize = 200_000;

/// Claims at a time; past that, events of new orders are answered 429.
const MOST: usize = 100_000;

/// Unsettled claims looked at in one round of [`settle`].
const ROUND: usize = 256;

/// An order as a key: 128 bits of a hash, of which no two orders share all.
type Key = u128;

fn key_of(order: &OrderKey) -> Key {
    let mut half = [0; 16];
    half.copy_from_slice(&blake3::hash(order.to_string().as_bytes()).as_bytes()[..16]);
    Key::from_le_bytes(half)
}

/// See the module.
pub struct Owners {
    known: Cache<Key, CustomerId>,
    claims: Mutex<HashMap<Key, Claimed>>,
}

struct Claimed {
    customer: CustomerId,
    /// Requests that hold it.
    alive: u32,
    /// How often a request ended without knowing what became of its event; 0: never.
    unknown: u64,
}

impl Default for Owners {
    fn default() -> Self {
        Self { known: Cache::new(REMEMBERED), claims: Mutex::default() }
    }
}

/// Why there is no claim.
#[derive(Debug)]
pub enum Unclaimed {
    /// The order is another customer's.
    Another(CustomerId),
    /// Ask again later.
    Later(Problem),
}

impl From<StoreError> for Unclaimed {
    fn from(error: StoreError) -> Self {
        Self::Later(error.into())
    }
}

impl From<AskError> for Unclaimed {
    fn from(error: AskError) -> Self {
        Self::Later(error.into())
    }
}

/// What a claim meets at first.
enum Begun {
    Known,
    Claimed,
    Another(CustomerId),
    /// Another's, of which nobody knows whether it was taken.
    Unknown(CustomerId, u64),
    Full,
}

impl Owners {
    fn claims(&self) -> MutexGuard<'_, HashMap<Key, Claimed>> {
        // A claim is valid at every moment: a panic elsewhere does not spoil it.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, key: Key, customer: &CustomerId) -> Begun {
        match self.known.get(&key) {
            Some(owner) if owner == *customer => return Begun::Known,
            Some(owner) => return Begun::Another(owner),
            None => {}
        }
        let mut claims = self.claims();
        let full = claims.len() >= MOST;
        match claims.get_mut(&key) {
            Some(claimed) if claimed.customer == *customer => {
                claimed.alive += 1;
                Begun::Claimed
            }
            Some(claimed) if claimed.alive > 0 => Begun::Another(claimed.customer.clone()),
            Some(claimed) => Begun::Unknown(claimed.customer.clone(), claimed.unknown),
            None if full => Begun::Full,
            None => {
                claims.insert(key, Claimed { customer: customer.clone(), alive: 1, unknown: 0 });
                Begun::Claimed
            }
        }
    }

    /// A request lets its claim go. `known`: the view has the order by now; `unknown`: an event was sent, and nobody
    /// knows what became of it.
    fn end(&self, key: Key, customer: &CustomerId, known: bool, unknown: bool) {
        if known {
            // Before the claim goes: there is no moment at which neither says whose the order is.
            self.known.insert(key, customer.clone());
        }
        let mut claims = self.claims();
        let Some(claimed) = claims.get_mut(&key) else { return };
        claimed.alive = claimed.alive.saturating_sub(1);
        claimed.unknown += u64::from(unknown);
        if claimed.alive == 0 && (known || claimed.unknown == 0) {
            claims.remove(&key);
        }
    }

    /// The customer's queue has passed everything that was sent before `unknown` was read.
    fn settled(&self, key: Key, customer: &CustomerId, unknown: u64) {
        let mut claims = self.claims();
        if let Some(claimed) = claims.get_mut(&key)
            && claimed.customer == *customer
            && claimed.unknown == unknown
        {
            claimed.unknown = 0;
            if claimed.alive == 0 {
                claims.remove(&key);
            }
        }
    }

    fn unsettled(&self) -> Vec<(Key, CustomerId, u64)> {
        let claims = self.claims();
        let unsettled = claims.iter().filter(|(_, claimed)| claimed.alive == 0);
        unsettled.take(ROUND).map(|(key, claimed)| (*key, claimed.customer.clone(), claimed.unknown)).collect()
    }
}

/// An order on its way to its customer. Let go when dropped, also with a request whose client went away.
pub struct Claim<'a> {
    owners: &'a Owners,
    key: Key,
    customer: CustomerId,
    /// Something stands behind it; not for an order that was known already.
    held: bool,
    known: bool,
    unanswered: u32,
}

impl Claim<'_> {
    /// Whose the order is.
    #[must_use]
    pub const fn customer(&self) -> &CustomerId {
        &self.customer
    }

    /// An event of the order goes to the customer.
    pub const fn sent(&mut self) {
        self.unanswered += 1;
    }

    /// What became of it is certain; `taken`: the order is this customer's.
    pub const fn answered(&mut self, taken: bool) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.known |= taken;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.held {
            self.owners.end(self.key, &self.customer, self.known, self.unanswered > 0);
        }
    }
}

/// Claims an order for a customer: to be held while an event of it is on its way.
///
/// # Errors
/// See [`Unclaimed`].
pub async fn claim<'a>(app: &'a App, order: &OrderKey, customer: &CustomerId) -> Result<Claim<'a>, Unclaimed> {
    let (owners, key) = (&app.owners, key_of(order));
    loop {
        let held = match owners.begin(key, customer) {
            Begun::Known => false,
            Begun::Claimed => true,
            Begun::Another(owner) => return Err(Unclaimed::Another(owner)),
            Begun::Unknown(owner, unknown) => {
                pass(app, &owner).await?;
                owners.settled(key, &owner, unknown);
                continue;
            }
            Begun::Full => {
                let problem = Problem::new(Code::Busy, "too many new orders are on their way; repeat the request");
                return Err(Unclaimed::Later(problem));
            }
        };
        let mut claim = Claim { owners, key, customer: customer.clone(), held, known: false, unanswered: 0 };
        if held && let Some(row) = app.views.get(View::OrderOwner, &order.to_string()).await? {
            let owner = CustomerId::new(&row.entity.id).map_err(|e| Unclaimed::Later(Problem::internal(e)))?;
            if owner != *customer {
                owners.known.insert(key, owner.clone());
                return Err(Unclaimed::Another(owner));
            }
            claim.known = true;
        }
        return Ok(claim);
    }
}

/// Waits until a customer's queue has passed all that was sent before: commands are decided in the order in which they
/// came, so what was sent is then durable or will never be.
async fn pass(app: &App, customer: &CustomerId) -> Result<(), AskError> {
    let wake = Request::<Customer> { id: None, print: [0; 16], command: Command::Wake };
    app.customers.ask(customer.as_str(), wake).await.map(drop)
}

/// Ends claims of which nobody knew what became of them. To be called every few seconds; a customer that does not
/// answer keeps its own until the next round.
pub async fn settle(app: &App) {
    for (key, customer, unknown) in app.owners.unsettled() {
        if pass(app, &customer).await.is_ok() {
            app.owners.settled(key, &customer, unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> CustomerId {
        CustomerId::new(text).unwrap()
    }

    fn name(begun: &Begun) -> String {
        match begun {
            Begun::Known => "known".to_owned(),
            Begun::Claimed => "claimed".to_owned(),
            Begun::Another(who) => format!("{who}'s"),
            Begun::Unknown(who, times) => format!("{who}'s, unknown {times}"),
            Begun::Full => "full".to_owned(),
        }
    }

    fn begin(owners: &Owners, customer: &str) -> String {
        name(&owners.begin(1, &id(customer)))
    }

    #[test]
    fn while_an_event_is_on_its_way_the_order_is_nobody_elses() {
        let owners = Owners::default();
        assert_eq!(begin(&owners, "a"), "claimed");
        assert_eq!((begin(&owners, "a"), begin(&owners, "b")), ("claimed".to_owned(), "a's".to_owned()));
        owners.end(1, &id("a"), false, false);
        assert_eq!(begin(&owners, "b"), "a's", "one of two requests is under way");
        owners.end(1, &id("a"), false, false);
        assert_eq!(begin(&owners, "b"), "claimed", "both were refused");
        owners.end(1, &id("b"), true, false);
        assert_eq!((begin(&owners, "b"), begin(&owners, "a")), ("known".to_owned(), "b's".to_owned()));
        assert!(owners.claims().is_empty());
    }

    #[test]
    fn a_claim_without_an_answer_stays_until_its_queue_was_passed() {
        let owners = Owners::default();
        begin(&owners, "a");
        owners.end(1, &id("a"), false, true);
        assert_eq!(begin(&owners, "b"), "a's, unknown 1");
        // Meanwhile another request of the same customer ends like that: passing the queue says nothing of that one.
        begin(&owners, "a");
        owners.end(1, &id("a"), false, true);
        owners.settled(1, &id("a"), 1);
        assert_eq!(begin(&owners, "b"), "a's, unknown 2");
        assert_eq!(owners.unsettled().len(), 1);
        owners.settled(1, &id("a"), 2);
        assert_eq!(begin(&owners, "b"), "claimed");
    }

    #[test]
    fn claims_are_bounded() {
        let owners = Owners::default();
        for key in 0..MOST as u128 {
            owners.begin(key, &id("a"));
        }
        assert_eq!(name(&owners.begin(Key::MAX, &id("a"))), "full");
        assert_eq!(name(&owners.begin(7, &id("a"))), "claimed", "those that are there go on");
    }
}
