//! The store on ScyllaDB or Apache Cassandra: the ports on plain inserts that one row fences.
//!
//! [`db`] is the database as this module sees it: one method per statement. [`protocol`] decides, in pure functions. Below
//! [`db`], the driver sends each statement through a session; [`migrate`] makes the tables.

mod config;
#[cfg(test)]
mod contract;
pub mod db;
mod driver;
mod failure;
mod migrate;
mod policy;
pub mod protocol;
#[cfg(test)]
mod real;
mod session;
mod statements;

pub use self::{
    config::{CqlConfig, CqlError, CqlTls},
    driver::open,
    migrate::{MigrateReport, migrate},
};
