//! Adal's rules: what a command does to an entity, as pure functions.
//!
//! No async, no I/O, no clock, no actor, no store: time, ids, policy and randomness come as arguments, so the same
//! journal gives the same state, bit for bit, for ever. The loop that runs these rules is in `adal-actors`.

pub mod entity;
pub mod flags;
pub mod time;
