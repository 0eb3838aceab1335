//! How a discount is shared out over lines: by largest remainder, weighed by what is left of each, ties by line_id, and
//! never more of a line than its limit (its floor, usually): what a limit cuts off goes to the others by the same weights.
//!
//! The division is exact. A line whose share would pass its limit gets the limit; then the rest is shared out anew, until
//! nothing passes. One pass over the lines by limit / weight finds them all: taking such a line out only raises the
//! others' shares, so that the ones with the least limit per weight go first.

/// A line's part in a discount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) line: usize,
    /// What is left of what is selected of it, minor units.
    pub(super) weight: i64,
    /// The most it can take: at most the weight.
    pub(super) limit: i64,
    /// What it gets.
    pub(super) share: i64,
}

/// Shares `total` out, or as much of it as the limits allow; gives what was shared out. Parts are in the order of their
/// lines' ids.
pub(super) fn allocate(total: i64, parts: &mut [Part]) -> i64 {
    let (mut limits, mut weights, mut is_limited) = (0, 0, false);
    for part in parts.iter_mut() {
        limits += part.limit;
        weights += part.weight;
        is_limited |= part.limit < part.weight;
        part.share = 0;
    }
    let total = total.min(limits);
    if total <= 0 {
        return 0;
    }
    // Without floors no share passes its limit: the total is at most the weights' sum.
    if is_limited && parts.iter().any(|part| passes(part, total, weights)) {
        respread(total, weights, parts);
    } else {
        spread(total, weights, parts, |_| true);
    }
    total
}

/// Whether a line's exact share is above its limit.
fn passes(part: &Part, total: i64, weights: i64) -> bool {
    part.limit < part.weight
        && i128::from(total) * i128::from(part.weight) > i128::from(part.limit) * i128::from(weights)
}

fn respread(mut total: i64, mut weights: i64, parts: &mut [Part]) {
    let mut by_limit: Vec<usize> = (0..parts.len()).filter(|i| parts[*i].weight > 0).collect();
    by_limit.sort_by(|a, b| {
        let (a, b) = (parts[*a], parts[*b]);
        (i128::from(a.limit) * i128::from(b.weight)).cmp(&(i128::from(b.limit) * i128::from(a.weight)))
    });
    let mut is_full = vec![false; parts.len()];
    for i in by_limit {
        if !passes(&parts[i], total, weights) {
            break;
        }
        is_full[i] = true;
        parts[i].share = parts[i].limit;
        total -= parts[i].limit;
        weights -= parts[i].weight;
    }
    spread(total, weights, parts, |i| !is_full[i]);
}

/// Largest remainder over the parts that take part, without limits: each gets at most its exact share rounded up.
fn spread(total: i64, weights: i64, parts: &mut [Part], takes_part: impl Fn(usize) -> bool) {
    // Remainder and, below it, the place counted from the end, in one number: the greatest ones are served first.
    let mut claims: Vec<u128> = Vec::with_capacity(parts.len());
    let mut left = total;
    for (i, (part, place)) in parts.iter_mut().zip((0..u64::MAX).rev()).enumerate() {
        if !takes_part(i) {
            continue;
        }
        let (share, remainder) = share(total, part.weight, weights);
        part.share = share;
        left -= share;
        // No remainder, no claim: a part without weight gets nothing.
        if remainder > 0 {
            claims.push((u128::from(remainder) << 64) | u128::from(place));
        }
    }
    let left = usize::try_from(left).unwrap_or(0);
    if left == 0 {
        return;
    }
    if left < claims.len() {
        claims.select_nth_unstable_by(left, |a, b| b.cmp(a));
    }
    for claim in claims.into_iter().take(left) {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the place")]
        let place = u64::MAX - 1 - claim as u64;
        parts[usize::try_from(place).unwrap_or(usize::MAX)].share += 1;
    }
}

/// floor(total x weight / weights) and the remainder.
fn share(total: i64, weight: i64, weights: i64) -> (i64, u64) {
    if weights <= 0 || weight <= 0 {
        return (0, 0);
    }
    // A division in 64 bits takes a fraction of one in 128, and nearly every cart's sums fit.
    if let Some(product) = total.checked_mul(weight) {
        return (product / weights, (product % weights).unsigned_abs());
    }
    let product = i128::from(total) * i128::from(weight);
    let (share, remainder) = (product / i128::from(weights), product % i128::from(weights));
    (i64::try_from(share).unwrap_or(i64::MAX), u64::try_from(remainder).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::amounts::share_out;

    fn parts(numbers: &[(i64, i64)]) -> Vec<Part> {
        let part =
            |(line, (weight, limit)): (usize, &(i64, i64))| Part { line, weight: *weight, limit: *limit, share: 0 };
        numbers.iter().enumerate().map(part).collect()
    }

    fn shares(total: i64, numbers: &[(i64, i64)]) -> Vec<i64> {
        let mut parts = parts(numbers);
        allocate(total, &mut parts);
        parts.iter().map(|part| part.share).collect()
    }

    #[test]
    fn what_a_floor_cuts_off_goes_to_the_others() {
        assert_eq!(shares(90, &[(100, 100), (100, 10), (100, 100)]), [40, 10, 40]);
        assert_eq!(shares(95, &[(100, 100), (100, 10), (100, 100)]), [43, 10, 42]);
        assert_eq!(shares(500, &[(100, 60), (100, 10)]), [60, 10], "more than the floors allow is not given");
        assert_eq!(shares(7, &[(0, 0), (3, 0)]), [0, 0]);
    }

    proptest! {
        #[test]
        fn without_limits_it_is_the_largest_remainder(
            weights in prop::collection::vec(0_i64..100_000_000_000, 1..20), permille in 0_i64..=1000,
        ) {
            let sum: i64 = weights.iter().sum();
            let total = sum / 1000 * permille;
            let numbers: Vec<_> = weights.iter().map(|w| (*w, *w)).collect();
            prop_assert_eq!(shares(total, &numbers), share_out(total, &weights));
        }

        /// One round at a time: whoever's exact share passes its limit gets the limit, the rest is shared out anew.
        #[test]
        fn with_limits_it_is_what_rounds_of_respreading_give(
            numbers in prop::collection::vec((0_i64..1000, 0_i64..1000), 1..12), total in 0_i64..6000,
        ) {
            let numbers: Vec<_> = numbers.into_iter().map(|(weight, limit)| (weight, limit.min(weight))).collect();
            let most: i64 = numbers.iter().map(|n| n.1).sum();
            let mut given = vec![None; numbers.len()];
            let mut left = total.min(most);
            loop {
                let open: Vec<usize> = (0..numbers.len()).filter(|i| given[*i].is_none()).collect();
                let weights: i64 = open.iter().map(|i| numbers[*i].0).sum();
                let over: Vec<usize> =
                    open.iter().copied().filter(|i| left * numbers[*i].0 > numbers[*i].1 * weights).collect();
                if over.is_empty() {
                    let weights: Vec<i64> = open.iter().map(|i| numbers[*i].0).collect();
                    for (i, share) in open.into_iter().zip(share_out(left, &weights)) {
                        given[i] = Some(share);
                    }
                    break;
                }
                for i in over {
                    given[i] = Some(numbers[i].1);
                    left -= numbers[i].1;
                }
            }
            let plain: Vec<i64> = given.into_iter().flatten().collect();
            let found = shares(total, &numbers);
            prop_assert_eq!(found.iter().sum::<i64>(), total.min(most));
            prop_assert!(found.iter().zip(&numbers).all(|(share, (_, limit))| (0..=*limit).contains(share)));
            prop_assert_eq!(found, plain);
        }
    }
}
