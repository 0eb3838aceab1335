//! How a hold's owner (a customer or a guest) and the promos that it uses agree, whatever crashes, comes twice or comes
//! late. The messages stand here and in `command`; `book` is the owner's side as pure functions, the promo's is `decide`.
//!
//! # What is relied on
//!
//! - *Rows*: what an entity answers or owes stands in a durable row first; its time never runs backwards (`Moment::now`
//!   is never before its last row). Clocks of two entities may differ.
//! - *Requests* (`Reserve`, and the owner's hold and refusal) may be lost, copied, delayed for ever and overtake.
//! - *Effects* of one source reach one target: each at least once, and the first copy of each in the order of the rows.
//!   Older copies may come at any later time.
//!
//! # An exchange
//!
//! A *reservation* (its id is the hold's) or a *give-back* (its id is its own) is **open** at a promo from the first
//! request until its owner **ends** it. The promo's answer to a request is the exchange itself: as long as it is open,
//! a repeat gets the same answer. It has a [`Token`], the place in the promo's journal where it was opened; when it has
//! ended nothing is left of it, and a copy of the request that comes later opens another incarnation with another token,
//! which nobody wants: an *orphan*. Two rules keep that harmless:
//!
//! - **Opening only ever takes away.** A reservation counts against every limit at once. A give-back gives nothing yet.
//! - **Ending needs the token**, which fits once. Only a release of a hold that can never be captured goes without.
//!
//! A refusal is no exchange. The promo records none (a sold-out code costs no write): the one that lasts is the owner's.
//!
//! # A hold, step by step
//!
//! 1. *Quote* from published states ([`State::would_reserve`]). The coordinator (it serves the request, and keeps
//!    nothing durable) makes a hold id that was never used, for each attempt another, and its `expires_at`.
//! 2. *Reserve*: it asks each promo with a shared limit [`Command::Reserve`], under that id and that `expires_at`; for one
//!    with unique codes also the code ([`code_id`]), for one with a shared budget also that ([`budget_id`]). Without a
//!    command id: the exchange is the memory. An unknown outcome is repeated, or given up (step 4).
//! 3. *Commit*: all reserved: it asks the owner to hold, with the tokens ([`Part`]). [`Book::hold`] says no to a
//!    hold whose time is over or which it has refused or ended; else the row `Held` is what makes the hold.
//! 4. *Refuse*: anything else (a promo refused, the owner's own limits did, the coordinator gave up): it asks the owner to
//!    refuse, naming the promos asked. [`Book::refuse`]: the row `Refused` **first**, from which on no late step 3
//!    succeeds; the same row owes each promo [`Outcome::Released`] without a token. If the coordinator is gone, step 6
//!    does it.
//! 5. *End*: capture, release and expiry are one row of the owner ([`Book::capture`], [`Book::release`]), which owes each
//!    promo [`Outcome::Taken`] or [`Outcome::Released`] with the hold's token.
//! 6. *Ask*: a promo whose reservation is a minute past its time owes its owner an [`Ask`], and again at doubling
//!    intervals. It never ends anything by itself. [`Book::answer`]: held under that token: nothing yet, the owner's own
//!    timer ends it. A hold that the owner does not have and whose time is not over by its clock: the row `Refused`, then
//!    the release. Else the release of that token; its row's time, past `expires_at`, says no to a late step 3.
//! 7. *Late capture*: past the hold's time its reservations are gone. The coordinator reserves again (`as_far`) under a
//!    new hold id with a short time of its own, whose owner then holds and captures in one row; what a promo refused is
//!    `uncovered`. If that row never comes, step 6 releases it like any other.
//! 8. *Give back*: a row of the owner (cancelled, returned in full) owes each promo a [`Command::GiveBack`]
//!    ([`Book::give_back`]). The promo opens it and owes an [`Ask`] at once; the owner, if that give-back is still owed,
//!    strikes it off and owes [`Outcome::Returned`] with the token, in one row; else it releases it.
//!
//! # Why no limit is exceeded
//!
//! A captured hold has a row `Held` with the tokens of its reservations. Let T be one of them. Between its opening and
//! the end of T, the use counts as held, or as taken after `Taken`; each opening keeps held + taken within the limit. So
//! it must be shown that T never ends as `Released` once `Held` is written, unless a row of the owner gave the use up. A
//! release of T comes from one of four rows: (5) one that ended the hold, which says so. (4) `Refused`: then `Held` cannot
//! follow, and did not precede, or `refuse` would have said so. (6) an answer for a hold that is not there: either it was
//! never held, and cannot be any more (`Refused`, or the row's time); or it has ended, and its own `Taken` of T stands
//! earlier among the effects for the same promo, so that this release comes when T is no more. (6) an answer for a live
//! hold speaks of another token than T. Uses come back by `Returned` alone, once for each give-back owed: the row that
//! sends it strikes it off, and its token fits once.
//!
//! # Why no use is lost
//!
//! `Taken` counts once: T fits once. An open exchange is asked about until its owner has ended it, and every case of
//! [`Book::answer`] ends it but one: a hold that is live under this very token, which its own end will end. Orphans are
//! asked about like all others, and released. So when all that is owed has been brought, what a promo has taken is what
//! was captured less what came back, and nothing is held.
//!
//! `tests/model` searches all orders of all this (two owners, two promos, crashes, losses, copies), and finds the fault
//! when the refusal is left out, when a promo forgets an exchange whose answer is not journaled, when ends need no token,
//! and when effects overtake each other.
//!
//! [`Token`]: super::command::Token
//! [`State::would_reserve`]: super::State::would_reserve
//! [`Command::Reserve`]: super::Command::Reserve
//! [`Command::GiveBack`]: super::Command::GiveBack
//! [`code_id`]: super::code_id
//! [`budget_id`]: super::budget_id
//! [`Outcome::Released`]: super::Outcome::Released
//! [`Outcome::Taken`]: super::Outcome::Taken
//! [`Outcome::Returned`]: super::Outcome::Returned
//! [`Part`]: super::book::Part
//! [`Book::hold`]: super::book::Book::hold
//! [`Book::refuse`]: super::book::Book::refuse
//! [`Book::capture`]: super::book::Book::capture
//! [`Book::release`]: super::book::Book::release
//! [`Book::answer`]: super::book::Book::answer
//! [`Book::give_back`]: super::book::Book::give_back

use serde::{Deserialize, Serialize};

use super::command::Token;
use crate::{
    entity::{Effect, EntityKey},
    ids::{ExchangeId, HoldId, InvalidId},
    time::Timestamp,
};

/// "What became of it?" A promo's question to the owner of an open exchange.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// Which promo asks.
    pub promo: Box<str>,
    /// About which exchange.
    pub exchange: ExchangeId,
    /// About which incarnation of it.
    pub token: Token,
    /// Until when the hold lasts; of a give-back: when it was opened.
    pub expires_at: Timestamp,
}

/// What a promo owes an owner, in the form of the owner's own commands: a variant of the same name stands in theirs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToOwner {
    /// See [`Ask`].
    PromoAsks(Ask),
}

/// The effect that brings `command` to `target`.
///
/// # Errors
/// Where the command has no MessagePack form: a fault in its type.
pub fn effect<C: Serialize>(target: &EntityKey, command: &C) -> Result<Effect, String> {
    let command = rmp_serde::to_vec_named(command).map_err(|error| format!("a command cannot be encoded: {error}"))?;
    Ok(Effect { target: target.clone(), command })
}

/// The id under which what a hold took is given back: a hold is given back once.
///
/// # Errors
/// Where the hold's id is too long to add to: none that was made here is.
pub fn give_back_id(hold: &HoldId) -> Result<ExchangeId, InvalidId> {
    ExchangeId::new(&format!("{hold}:back"))
}
