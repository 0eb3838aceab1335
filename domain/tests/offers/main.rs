//! The promotion engine as a shop owner reads it and as it must always hold. One binary, one link step.
//!
//! `shapes` holds what an offer's document may say; `document` runs the tables of `docs/reference/offers.md`; `cases` holds examples that are too fine for that page;
//! `properties` drives what `generate` makes up, and compares with `plain`, a second engine that enumerates pieces and
//! takes its time; `checkout` holds and captures what was quoted, `afterwards` has examples of what comes after a hold. How long it takes is measured in `load-tests`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it finds what must not be"
)]

mod afterwards;
mod cases;
mod checkout;
mod document;
mod generate;
#[path = "../rules/journal.rs"]
#[expect(dead_code, reason = "shared with the rules' tests, which see more of it")]
mod journal;
#[path = "../shared/page.rs"]
mod page;
mod plain;
mod properties;
mod say;
mod shapes;
