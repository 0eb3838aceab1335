//! Adal's rules: what a command does to an entity, as pure functions.
//!
//! No async, no I/O, no clock, no actor, no store: time, ids, policy and randomness come as arguments, so the same
//! journal gives the same state, bit for bit, for ever. The loop that runs these rules is in `adal-actors`.
//!
//! `entity` says what every entity is; `customer`, `promo` and `catalogue` are the entities; `checkout` prices carts,
//! `offers` lowers the prices; `policy` has every number; `errors` every refusal; `invariants` what must always hold.

pub mod amounts;
pub mod card;
pub mod catalogue;
pub mod checkout;
pub mod customer;
pub mod entity;
pub mod errors;
pub mod flags;
pub mod hashing;
pub mod hex;
pub mod ids;
pub mod invariants;
pub mod line;
pub mod offers;
pub mod order_event;
pub mod policy;
pub mod promo;
pub mod qr;
pub mod time;
