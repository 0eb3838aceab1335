//! For tests of this and other crates (feature `testing`): a store in memory whose faults can be scripted, and clocks
//! that tests move.

mod beside;
mod clock;
mod store;

pub use clock::{MachineClock, ManualClock};
pub use store::{Fault, MemoryStore, Operation};
