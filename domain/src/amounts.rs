//! Amounts with their units, as types. Integers throughout; arithmetic that could overflow is checked or in 128 bits.

use serde::{Deserialize, Serialize};

macro_rules! amounts {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty);)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) }
        }
    )+};
}

amounts! {
    /// Whole points; 1 point = 1 tenge = 100 minor units. Negative in ledger entries that take.
    Points(i64);
    /// Money in minor units (tiyn for KZT).
    MinorUnits(i64);
    /// A share in ten-thousandths: 1000 = 10 %.
    Permyriad(u32);
    /// Grams.
    Grams(u64);
}

/// Minor units in a point.
pub const MINOR_PER_POINT: i64 = 100;

/// The most that one order, cart or line may be worth: 10^11 minor units (a billion tenge). Larger sums are refused, so
/// that no later arithmetic can overflow.
pub const MAX_ORDER_MINOR: i64 = 100_000_000_000;

/// The most points that one adjustment may move.
pub const MAX_ADJUSTMENT: i64 = 100_000_000;

/// floor(a * b / c) without overflow in between; `c` > 0, `a`, `b` >= 0. Saturates at `i64::MAX`.
#[must_use]
pub fn mul_div_floor(a: i64, b: i64, c: i64) -> i64 {
    if c <= 0 {
        return 0;
    }
    i64::try_from((i128::from(a) * i128::from(b)).div_euclid(i128::from(c))).unwrap_or(i64::MAX)
}

/// `total` shared out by `weights`, by largest remainder: each gets floor(total * weight / sum), and what is left goes one
/// by one to the largest remainders, ties to the lesser position. The shares add up to `total` exactly; where all weights
/// are 0 every share is 0 (and nothing is shared out). `total` and weights are >= 0; callers order the weights by line_id.
#[must_use]
pub fn share_out(total: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i128 = weights.iter().map(|w| i128::from((*w).max(0))).sum();
    if sum == 0 || total <= 0 {
        return vec![0; weights.len()];
    }
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    let mut left = i128::from(total);
    for (position, weight) in weights.iter().enumerate() {
        let product = i128::from(total) * i128::from((*weight).max(0));
        let share = product / sum;
        left -= share;
        remainders.push((product % sum, position));
        shares.push(i64::try_from(share).unwrap_or(i64::MAX));
    }
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, position) in remainders.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        shares[position] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_remainder_gets_the_odd_unit() {
        assert_eq!(share_out(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(share_out(10, &[0, 5, 1]), [0, 8, 2]);
        assert_eq!(share_out(7, &[0, 0]), [0, 0]);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_differ_by_less_than_one(total in 0_i64..MAX_ORDER_MINOR, weights in prop::collection::vec(0_i64..MAX_ORDER_MINOR, 1..30)) {
            let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
            let shares = share_out(total, &weights);
            prop_assume!(sum > 0);
            prop_assert_eq!(shares.iter().sum::<i64>(), total);
            for (share, weight) in shares.iter().zip(&weights) {
                let exact = i128::from(total) * i128::from(*weight);
                prop_assert!((i128::from(*share) * sum - exact).abs() < sum);
            }
        }
    }
}
