//! The one loop.
pub mod ports;
