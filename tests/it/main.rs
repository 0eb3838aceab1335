//! End to end: real servers, real HTTP, real files. One binary, one link step; a module per subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it finds what must not be"
)]

mod access;
mod bad_checkout;
mod bad_input;
mod banners;
mod card;
mod catalogue;
mod catalogue_cli;
mod checkout;
mod codes;
mod cql;
mod demo;
mod full_disk;
mod golden;
mod harness;
mod idempotency;
mod msgpack;
mod operations;
mod orders;
mod points;
mod policy;
mod promos;
mod qr;
mod returns;
mod routes;
mod scan;
mod signals;
mod told;
mod torture;
mod transfer;
mod trust;
mod usage;
mod views;
