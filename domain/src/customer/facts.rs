//! What is remembered of an ended order: its fingerprint, its own time, what was paid for it net of returns, how it
//! ended, and the journal row in which its lines stand. Tier, trust and first orders follow from these alone.
//!
//! 20 bytes a fact: a customer's year of shopping stays in memory, the lines of it do not (a return reads them back from
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
///
/// | bytes | what |
/// |---|---|
/// | 7 | the order's fingerprint |
/// | 5 | its own time, milliseconds since 2020 (until 2054) |
/// | 8 | how it ended (2 bits), the row of its record (25), the money paid (37) |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fact(#[serde(with = "serde_bytes")] [u8; 20]);

/// Bits for the money: 10^11 minor units fit 37.
const PAID_BITS: u32 = 37;
/// Bits for the row's seq: 33 million rows of one customer.
const SEQ_BITS: u32 = 25;
/// 2020-01-01T00:00:00Z, seconds since 1970.
const EPOCH_S: i64 = 1_577_836_800;
const MILLISECOND: i64 = 1000;

impl Fact {
    /// An ended order. `key` is its fingerprint, `at` its own time (cut to the millisecond), `paid` net of returns in
    /// minor units, below 2^37; `seq` below 2^25.
    #[must_use]
    pub fn new(key: u64, at: Timestamp, paid: i64, seq: u64, kind: FactKind) -> Self {
        let millis = (at.0 - EPOCH_S * Timestamp::SECOND).div_euclid(MILLISECOND).clamp(0, (1 << 40) - 1);
        let mut fact = Self([0; 20]);
        fact.0[..7].copy_from_slice(&key.to_be_bytes()[1..]);
        fact.0[7..12].copy_from_slice(&millis.to_be_bytes()[3..]);
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
        let packed: u64 = (kind << (PAID_BITS + SEQ_BITS)) | (seq << PAID_BITS) | paid;
        self.0[12..].copy_from_slice(&packed.to_be_bytes());
    }

    /// The eight bytes from `from` as a number, big endian.
    fn eight(&self, from: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[from..from + 8]);
        u64::from_be_bytes(bytes)
    }

    /// The order's fingerprint.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.eight(0) >> 8
    }

    /// The order's own time, to the millisecond.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        let millis = i64::try_from(self.eight(4) & ((1 << 40) - 1)).unwrap_or(0);
        Timestamp(EPOCH_S * Timestamp::SECOND + millis * MILLISECOND)
    }

    /// Money paid net of returns, minor units; 0 for a cancelled order.
    #[must_use]
    pub fn paid(&self) -> i64 {
        i64::try_from(self.eight(12) & ((1 << PAID_BITS) - 1)).unwrap_or(0)
    }

    /// The row in which the order's record stands.
    #[must_use]
    pub fn seq(&self) -> u64 {
        (self.eight(12) >> PAID_BITS) & ((1 << SEQ_BITS) - 1)
    }

    /// How it ended.
    #[must_use]
    pub fn kind(&self) -> FactKind {
        match self.0[12] >> 6 {
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
        fn a_fact_keeps_what_it_is_given(key in 0_u64..1 << 56, millis in 0_i64..1 << 40, paid in 0..=crate::amounts::MAX_ORDER_MINOR, seq in 0_u64..1 << 25) {
            let at = Timestamp(EPOCH_S * Timestamp::SECOND + millis * MILLISECOND);
            for kind in [FactKind::Completed, FactKind::Cancelled, FactKind::CancelledAfterPicking] {
                let fact = Fact::new(key, at, paid, seq, kind);
                prop_assert_eq!((fact.key(), fact.at(), fact.paid(), fact.seq(), fact.kind()), (key, at, paid, seq, kind));
            }
        }
    }
}
