//! The rows of the table, one module each.

mod cql;
mod earn;
mod first_touch;
mod level;
mod memory;
mod replay;
mod scan;

use clap::ValueEnum;

use crate::{Done, bench::Bench};

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Scans of resident customers, against a bare handler.
    Scan,
    /// Durable earns over many customers and of one, against raw group commit.
    Earn,
    /// The grocer's year.
    Replay,
    /// The first touch of a passivated customer, against a raw read.
    FirstTouch,
    /// Memory of a resident customer.
    Memory,
    /// That a command's cost does not grow with customers or history.
    Level,
    /// Earns and cold customers on Cassandra, against the driver alone.
    Cql,
}

/// In the order in which they run: the replay's customers are what the later ones store.
pub const ALL: [Name; 7] =
    [Name::Scan, Name::Earn, Name::Replay, Name::FirstTouch, Name::Memory, Name::Level, Name::Cql];

impl Name {
    /// Measures it.
    ///
    /// # Errors
    /// What kept it from being measured.
    pub fn run(self, bench: &mut Bench) -> Done {
        match self {
            Self::Scan => scan::run(bench),
            Self::Earn => earn::run(bench),
            Self::Replay => replay::run(bench),
            Self::FirstTouch => first_touch::run(bench),
            Self::Memory => memory::run(bench),
            Self::Level => level::run(bench),
            Self::Cql => cql::run(bench),
        }
    }
}
