//! The store on ScyllaDB or Apache Cassandra: the ports on plain inserts that one row fences.
//!
//! [`db`] is the database as this module sees it: one method per statement. [`protocol`] decides, in pure functions.

mod config;
pub mod db;
pub mod protocol;

pub use self::config::{CqlConfig, CqlError, CqlTls};
