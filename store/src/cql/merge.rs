//! Lists that stand in many partitions, read as one: each partition in its order, the least of all heads first.
//!
//! A list is hundreds of reads. Where each fails now and then, one that began anew whenever one of them did would never
//! come to its end: so the reads are repeated one by one, here, for all lists.

use std::pin::Pin;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{db::Failed, retry};

/// Partitions that are read at the same time.
const AT_ONCE: usize = 32;

/// What one read of a partition gives.
pub(super) type Read<'a, T> = Pin<Box<dyn Future<Output = Result<Vec<T>, Failed>> + Send + 'a>>;

struct Part<T> {
    /// What was read and not given yet; the next one last.
    left: Vec<T>,
    last: Option<T>,
    /// It was read to its end.
    ended: bool,
}

/// The first `limit` rows of all `parts` by `key`. `read(part, after, count)` gives rows of a partition after a row of
/// it, at most so many, in the order of `key`; fewer: there are no more. A read that fails is repeated for as long as there is
/// now until `deadline`, each: a database that is away ends the list by then, and one that is slow does not.
pub(super) async fn merged<'a, T, K>(
    parts: usize,
    limit: usize,
    deadline: Instant,
    key: impl Fn(&T) -> K,
    read: impl Fn(usize, Option<T>, usize) -> Read<'a, T> + Sync,
) -> Result<Vec<T>, Failed>
where
    T: Clone + Send + Sync + 'a,
    K: Ord,
{
    // A page's share of each, doubled: most pages then need one read of each.
    let mut count = (limit / parts.max(1)).saturating_mul(2).saturating_add(8).min(limit.max(1));
    let patience = deadline.saturating_duration_since(Instant::now());
    let read = |part: usize, after: Option<T>, count: usize| {
        let read = &read;
        async move { retry::until(Instant::now() + patience, "list", || read(part, after.clone(), count)).await }
    };
    let reads: Vec<_> = (0..parts).map(|part| read(part, None, count)).collect();
    // The first that is given up ends the list: the parts behind it would wait as long once more.
    let first = stream::iter(reads).buffered(AT_ONCE).map_ok(|rows| part(rows, count));
    let mut open: Vec<_> = first.try_collect().await?;
    let mut found = Vec::new();
    while found.len() < limit {
        let least = open.iter().enumerate().filter_map(|(at, part)| Some((key(part.left.last()?), at))).min();
        let Some((_, at)) = least else { break };
        let Some(from) = open.get_mut(at) else { break };
        found.extend(from.left.pop());
        if from.left.is_empty() && !from.ended && found.len() < limit {
            count = count.saturating_mul(2).min(limit);
            *from = part(read(at, from.last.clone(), count).await?, count);
        }
    }
    Ok(found)
}

fn part<T: Clone>(mut rows: Vec<T>, asked: usize) -> Part<T> {
    let (last, ended) = (rows.last().cloned(), rows.len() < asked);
    rows.reverse();
    Part { left: rows, last, ended }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whatever_the_cut_the_order_is_that_of_all() {
        let parts: Vec<Vec<u32>> =
            (0..7).map(|part| (0..part * part * 9).map(|n| n * 13 + part * 5).collect()).collect();
        let mut all: Vec<(u32, usize)> =
            parts.iter().enumerate().flat_map(|(at, part)| part.iter().map(move |n| (*n, at))).collect();
        all.sort_unstable();
        for limit in [0, 1, 2, 7, 50, 333, 10_000, usize::MAX] {
            let read = |part: usize, after: Option<(u32, usize)>, count: usize| -> Read<'_, (u32, usize)> {
                let rows = parts[part].iter().map(move |n| (*n, part));
                let rows: Vec<_> = rows.filter(|row| after.is_none_or(|after| *row > after)).take(count).collect();
                Box::pin(async move { Ok(rows) })
            };
            let found = merged(parts.len(), limit, Instant::now(), |row| *row, read).await.unwrap();
            assert_eq!(found, all[..limit.min(all.len())], "{limit}");
        }
        let broken = |part, _, _| -> Read<'_, u32> {
            Box::pin(async move { if part == 1 { Err(Failed::NotDone("x".into())) } else { Ok(vec![]) } })
        };
        assert!(merged(2, 5, Instant::now(), |row| *row, broken).await.is_err());
    }
}
