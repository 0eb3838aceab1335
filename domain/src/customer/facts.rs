//! What is remembered of an ended order: its fingerprint, its own time, what was paid for it net of returns, how it
//! ended, and the journal row in which its lines stand. Tier, trust and first orders follow from these alone.
//!
//! 24 bytes a fact: a customer's year of shopping stays in memory, the lines of it do not (a return reads them back from
//! the journal).

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FactKind {
    /// Paid and delivered.
    Completed,
    /// Cancelled before picking, or by the shop or the system.
    Cancelled,
    /// Cancelled by the customer after picking: counts against trust.
    CancelledAfterPicking,
}

/// An ended order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The order's fingerprint.
    pub key: u64,
    /// Its own time, microseconds since 1970.
    at: i64,
    /// The row in which its record stands (low 24 of 62 bits would do; 2 bits say how it ended).
    packed: u64,
}

/// Bits for the money: 10^11 minor units fit 37.
const PAID_BITS: u32 = 37;
/// Bits for the row's seq: 33 million rows of one customer.
const SEQ_BITS: u32 = 25;

impl Fact {
    /// An ended order. `paid` is net of returns, minor units, below 2^37; `seq` below 2^25.
    #[must_use]
    pub fn new(key: u64, at: Timestamp, paid: i64, seq: u64, kind: FactKind) -> Self {
        let mut fact = Self { key, at: at.0, packed: 0 };
        fact.pack(paid, seq, kind);
        fact
    }

    fn pack(&mut self, paid: i64, seq: u64, kind: FactKind) {
        let paid = u64::try_from(paid).unwrap_or(0).min((1 << PAID_BITS) - 1);
        let seq = seq.min((1 << SEQ_BITS) - 1);
        let kind = match kind {
            FactKind::Completed => 0,
            FactKind::Cancelled => 1,
            FactKind::CancelledAfterPicking => 2,
        };
        self.packed = (kind << (PAID_BITS + SEQ_BITS)) | (seq << PAID_BITS) | paid;
    }

    /// The order's own time.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        Timestamp(self.at)
    }

    /// Money paid net of returns, minor units; 0 for a cancelled order.
    #[must_use]
    pub fn paid(&self) -> i64 {
        i64::try_from(self.packed & ((1 << PAID_BITS) - 1)).unwrap_or(0)
    }

    /// The row in which the order's record stands.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        (self.packed >> PAID_BITS) & ((1 << SEQ_BITS) - 1)
    }

    /// How it ended.
    #[must_use]
    pub const fn kind(&self) -> FactKind {
        match self.packed >> (PAID_BITS + SEQ_BITS) {
            0 => FactKind::Completed,
            1 => FactKind::Cancelled,
            _ => FactKind::CancelledAfterPicking,
        }
    }

    /// The same order with other money (after a return) and the row that says so.
    pub fn update(&mut self, paid: i64, seq: u64) {
        self.pack(paid, seq, self.kind());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_fact_keeps_what_it_is_given(key: u64, at: i64, paid in 0..=crate::amounts::MAX_ORDER_MINOR, seq in 0_u64..1 << 25) {
            for kind in [FactKind::Completed, FactKind::Cancelled, FactKind::CancelledAfterPicking] {
                let fact = Fact::new(key, Timestamp(at), paid, seq, kind);
                prop_assert_eq!((fact.key, fact.at().0, fact.paid(), fact.seq(), fact.kind()), (key, at, paid, seq, kind));
            }
        }
    }
}
