//! Real servers for tests, of this crate and of others (feature `testing`).

pub mod cassandra;
