//! The one loop: every entity is an actor, and every change takes the same way.
//!
//! ```text
//! command (with a command id)
//!   -> answered before?  the recorded reply, refusals included      actor.rs, memory.rs
//!   -> decide(&state, command, &context)                            batch.rs, core.rs: pure, synchronous
//!   -> journal.append(row)                                          actor.rs: durable, or no answer
//!   -> publish the new state; reply; hand the effects on            slot.rs, effects.rs
//! ```
//!
//! Who runs where: an entity belongs to the arbiter (a thread with an event loop) that its id hashes to; its state, its
//! queue and its row in flight are touched by that thread alone. What other threads see is its slot: an address, the
//! published state, and a gate that counts who is inside. [`Registry`] keeps the slots of one kind; [`Timers`] and
//! [`Effects`] are tasks that talk to registries through a [`Router`], as bytes.
//!
//! What is deliberately absent: no entity knows another, no rule knows of time or storage, and nothing here knows of a
//! database or of HTTP. The ports that the loop needs are in [`ports`]; `adal-store` implements them.

mod actor;
mod ask;
mod batch;
mod core;
mod effects;
#[cfg(test)]
mod golden;
pub mod memory;
mod meters;
pub mod ports;
mod registry;
pub mod replay;
mod route;
pub mod row;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod slot;
pub mod steady;
mod sweep;
#[cfg(any(test, feature = "testing", feature = "simulation"))]
pub mod testing;
mod timers;

pub use crate::{
    ask::{Answer, AskError, CommandId, Origin, Published, Request, print_of},
    effects::Effects,
    registry::{ContextOf, Entropy, Registry, RegistryConfig, Stopped},
    route::{Router, Target},
    row::{Outcome, Recorded, Row},
    timers::Timers,
};
