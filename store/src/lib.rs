//! Adal's ports on real storage.
//!
//! [`sqlite`] is the embedded store: `adal serve` with no configuration uses it. [`cql`] is the one for several machines.
//! [`Storage`] is all that the server knows of a store. [`conformance`] is the one suite that
//! any implementation of `adal_actors::ports::{Journal, Views}` has to pass.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod cql;
pub mod sqlite;
mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use self::storage::{Health, Storage};
