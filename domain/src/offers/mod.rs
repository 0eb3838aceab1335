//! Offers: promos and campaigns, and the engine that applies them to a cart.
//!
//! `document` (with `terms`) is the shape of an offer, `validate` what it may say, `code` how a typed code is compared. `compile` makes a
//! catalogue's revision ready; `evaluate` applies it to a cart: `candidates` finds the offers that the cart concerns and
//! `conditions` checks them, `discount` says what one of them gives (`pieces` where pieces count, `allocate` how it is
//! shared out over the lines), `stacking` puts them together, `outcome` is what comes out, and `explain` says it to people.
//!
//! All of it is pure: no clock, no store, no state of its own. Compiled offers are immutable and shared by threads. What
//! was used and spent is the promos' own state; the engine asks for it through [`Uses`], and changes nothing.

mod allocate;
mod basket;
mod candidates;
pub mod code;
mod compile;
mod conditions;
mod discount;
pub mod document;
mod evaluate;
mod explain;
mod outcome;
mod pieces;
mod select;
mod stacking;
mod terms;
mod validate;

pub use code::NormalCode;
pub use compile::CompiledOffers;
pub(crate) use conditions::check_shopper;
pub use document::{Offer, OfferKind};
pub use evaluate::{Asked, Repriced, Reserved, evaluate, reprice, unlimited};
pub use outcome::{Applied, Bonus, Condition, Limit, Offered, Reason, Rejected, Shopper, TypedCode, Use};
pub use stacking::Uses;
pub use validate::{validate, validate_as, warnings};
