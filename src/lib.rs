//! The edges of Adal: configuration, credentials, HTTP, metrics, the command line. The rules are in `adal-domain`, the
//! loop that makes their answers durable in `adal-actors`, the database in `adal-store`.
//!
//! [`app::App`] is everything that a request can reach; [`http::server`] serves it; [`cli`] is the program.

pub mod app;
pub mod auth;
pub mod banners;
pub mod checkout;
pub mod cli;
pub mod clock;
pub mod codes;
pub mod config;
pub mod demo;
pub mod flags;
pub mod folder;
pub mod http;
pub mod logging;
pub mod metrics;
mod promo_gauges;
pub mod ring;
pub mod store;
pub mod usage;
