//! The loyalty rules as a shop owner reads them and as they must always hold. One binary, one link step.
//!
//! `document` runs the tables of `docs/reference/points.md` (`scenario` reads and runs one of them); `cases` holds
//! examples that are too fine for that page; `properties` drives generated `sequences` and compares with `plain`. All of
//! them go through `journal`, a customer with its journal in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it finds what must not be"
)]

mod cases;
mod document;
mod journal;
mod level;
mod notation;
#[path = "../shared/page.rs"]
mod page;
mod plain;
mod properties;
mod say;
mod scenario;
mod sequences;
