//! The rows of the table, one module each.

mod basket;
mod codes;
mod cql;
mod earn;
mod engine;
mod first_touch;
mod hold;
mod hot;
mod level;
mod memory;
mod quote;
mod refusal;
mod replay;
mod scan;
mod take_over;

use clap::ValueEnum;

use crate::{Done, bench::Bench};

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// The promotion engine alone.
    Engine,
    /// Quotes over HTTP, against a bare handler.
    Quote,
    /// Hold and capture with a shared limit, against raw group commit.
    Hold,
    /// One code that everybody types, against a commit for each.
    Hot,
    /// A million unique codes.
    Codes,
    /// That the public cannot tell by the time why a code does not apply.
    Refusal,
    /// Scans of resident customers, against a bare handler.
    Scan,
    /// Durable earns over many customers and of one, against raw group commit.
    Earn,
    /// The grocer's year.
    Replay,
    /// Real baskets of that year with their coupons.
    Basket,
    /// The first touch of a passivated customer, against a raw read.
    FirstTouch,
    /// Memory of a resident customer.
    Memory,
    /// That a command's cost does not grow with customers or history.
    Level,
    /// Earns and cold customers on Cassandra, against the driver alone.
    Cql,
    /// A server on Cassandra takes the entities of one that died, against the driver alone.
    TakeOver,
}

/// In the order in which they run: the replay's customers are what the later ones store.
pub const ALL: [Name; 15] = [
    Name::Engine,
    Name::Quote,
    Name::Hold,
    Name::Hot,
    Name::Codes,
    Name::Refusal,
    Name::Scan,
    Name::Earn,
    Name::Replay,
    Name::Basket,
    Name::FirstTouch,
    Name::Memory,
    Name::Level,
    Name::Cql,
    Name::TakeOver,
];

impl Name {
    /// Measures it.
    ///
    /// # Errors
    /// What kept it from being measured.
    pub fn run(self, bench: &mut Bench) -> Done {
        match self {
            Self::Engine => engine::run(bench),
            Self::Quote => quote::run(bench),
            Self::Hold => hold::run(bench),
            Self::Hot => hot::run(bench),
            Self::Codes => codes::run(bench),
            Self::Refusal => refusal::run(bench),
            Self::Basket => basket::run(bench),
            Self::Scan => scan::run(bench),
            Self::Earn => earn::run(bench),
            Self::Replay => replay::run(bench),
            Self::FirstTouch => first_touch::run(bench),
            Self::Memory => memory::run(bench),
            Self::Level => level::run(bench),
            Self::Cql => cql::run(bench),
            Self::TakeOver => take_over::run(bench),
        }
    }
}
