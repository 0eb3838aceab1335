//! Offers: promos and campaigns, and the engine that applies them to a cart.
//!
//! `document` is the shape of an offer, `validate` what it may say, `code` how a typed code is compared.
//!
//! All of it is pure: no clock, no store, no state of its own.

pub mod code;
pub mod document;
mod validate;

pub use code::NormalCode;
pub use document::{Offer, OfferKind};
pub use validate::{validate, validate_as, warnings};
