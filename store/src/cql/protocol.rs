//! The protocol's decisions, as pure functions: which rows are an entity's history, what who opens it does, whether a
//! claim still stands. The store and the model that searches it (`store/tests/model`) share them.
//!
//! **Why it holds.** An owner verifies after it wrote; a new owner reads after it claimed; so one of the two sees the
//! other. A row that was verified is in every later history: whoever claims later reads it. A row that was not may be
//! seen by one reader and not by the next, as long as its write is unfinished: whoever takes it for a tip writes it again
//! and puts an empty row of its own epoch on top before it serves ([`Standing::Adopt`]), and from then on that row is in
//! every later history too. That holds for what is below as well: under an empty row the writes of earlier adoptions, none
//! of which need have ended, go down to a row in which something was decided, whose writer had the one below it durable
//! ([`unsure`]). What a former owner writes after that names a parent that is no tip any more, and is void.
//! "Ours again" is not "ours since": between two claims of one member another may have written and acknowledged, so a
//! claim is known by the version at which it was made.

use adal_domain::{entity::EntityKey, time::Timestamp};

use super::db::{JournalRow, Link, Place};

/// Entities hash to so many shards. Stored with every one: it never changes.
pub const SHARDS: u16 = 1024;

/// Lists are split into so many partitions, each of 16 shards.
pub const SLICES: u8 = 64;

/// How long a bucket is.
const BUCKET: i64 = 600 * Timestamp::SECOND;

/// The shard of an entity.
#[must_use]
pub fn shard_of(entity: &EntityKey) -> u16 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(entity.kind.as_str().as_bytes());
    sum.update(b"/");
    sum.update(entity.id.as_bytes());
    // Less than 1,024.
    u16::try_from(sum.finalize() % u32::from(SHARDS)).unwrap_or_default()
}

/// The slice of a shard.
#[must_use]
pub fn slice_of(shard: u16) -> u8 {
    // Less than 64.
    u8::try_from(shard / (SHARDS / u16::from(SLICES))).unwrap_or_default()
}

/// The ten minutes of a time.
#[must_use]
pub fn bucket_of(at: Timestamp) -> u32 {
    u32::try_from(at.0.max(0) / BUCKET).unwrap_or(u32::MAX >> 1)
}

/// The stamp of the `n`th write under a claim: greater than every stamp of an earlier claim, so that nothing that a
/// former owner writes late covers what its successor wrote.
#[must_use]
pub fn stamp(epoch: u64, n: u64) -> i64 {
    const BITS: u32 = 40;
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX).min(i64::MAX >> BITS);
    let n = i64::try_from(n).unwrap_or(i64::MAX).min((1 << BITS) - 1);
    (epoch << BITS) | n
}

/// The stamp of what is deleted for good under a claim: no less than any other of it.
#[must_use]
pub fn last_stamp(epoch: u64) -> i64 {
    stamp(epoch, u64::MAX)
}

/// A row as the history sees it.
pub trait Linked {
    /// Where it stands.
    fn place(&self) -> Place;
    /// The epoch of the row before it.
    fn parent_epoch(&self) -> u64;

    /// Where the row before it stands.
    fn parent(&self) -> Place {
        Place { seq: self.place().seq.saturating_sub(1), epoch: self.parent_epoch() }
    }

    /// Whether it is the empty row that an owner put on another's history: nothing else is written there by who was not
    /// the owner when the row before was.
    fn is_adoption(&self) -> bool {
        self.place().seq > 1 && self.place().epoch != self.parent_epoch()
    }
}

impl<L: Linked> Linked for &L {
    fn place(&self) -> Place {
        (**self).place()
    }
    fn parent_epoch(&self) -> u64 {
        (**self).parent_epoch()
    }
}

impl Linked for JournalRow {
    fn place(&self) -> Place {
        self.place
    }
    fn parent_epoch(&self) -> u64 {
        self.parent_epoch
    }
}

impl Linked for Link {
    fn place(&self) -> Place {
        self.place
    }
    fn parent_epoch(&self) -> u64 {
        self.parent_epoch
    }
}

/// Rows that are no history: the parent of one that counts was not among what was read. Read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where it should stand.
    pub missing: Place,
}

/// The history in what was read of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Its last row: that with the greatest (epoch, seq), be it a row or the snapshot.
    pub tip: Place,
    /// Its rows after `base`, as indices into what was given, ascending.
    pub rows: Vec<usize>,
}

/// Finds the history: from the tip back by parents to `base` (a snapshot, which counts as a row, and is of durable rows
/// alone) or the first row. `rows` are all that were read with a seq of the snapshot's or later, by place; every other
/// row among them is void. `Ok(None)`: there is nothing.
///
/// # Errors
/// [`Gap`]: a parent is not there.
pub fn history<L: Linked>(base: Option<Place>, rows: &[L]) -> Result<Option<History>, Gap> {
    let by_claim = |place: Place| (place.epoch, place.seq);
    let Some(tip) = rows.iter().map(Linked::place).chain(base).max_by_key(|place| by_claim(*place)) else {
        return Ok(None);
    };
    let end = base.unwrap_or_default();
    let mut found = Vec::new();
    let mut at = tip;
    while at != end {
        let index = rows.binary_search_by_key(&at, Linked::place).ok().filter(|_| at.seq > end.seq);
        let index = index.ok_or(Gap { missing: at })?;
        found.push(index);
        at = rows.get(index).map(Linked::parent).ok_or(Gap { missing: at })?;
    }
    found.reverse();
    Ok(Some(History { tip, rows: found }))
}

/// What who owns a shard since `epoch` does with an entity whose history ends with `tip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has no rows: serve it.
    Empty,
    /// The tip is ours: serve it.
    Serve,
    /// The tip is of an earlier claim, and perhaps its write is unfinished: make it ours, then serve.
    Adopt,
    /// Somebody claimed the shard after us, and has written: we are not the owner.
    Fenced,
}

/// See [`Standing`].
#[must_use]
pub fn standing(tip: Option<Place>, epoch: u64) -> Standing {
    match tip {
        None => Standing::Empty,
        Some(tip) if tip.epoch == epoch => Standing::Serve,
        Some(tip) if tip.epoch < epoch => Standing::Adopt,
        Some(_) => Standing::Fenced,
    }
}

/// The place of a row that an owner since `epoch` puts on a history that ends with `tip`, and its parent's epoch.
#[must_use]
pub fn on_top(tip: Option<Place>, epoch: u64) -> (Place, u64) {
    let tip = tip.unwrap_or_default();
    (Place { seq: tip.seq + 1, epoch }, tip.epoch)
}

/// Where in a history (or the end of one, from a row that is durable on) the rows begin that may be on no quorum: the last
/// one in which something was decided, and the adoptions on it. Who adopts it writes all of them again: of a batch that
/// did not end one replica may have all, the others none.
#[must_use]
pub fn unsure<L: Linked>(history: &[L]) -> usize {
    history.iter().rposition(|row| !row.is_adoption()).unwrap_or(0)
}

/// Whose a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<M> {
    /// The member.
    pub member: M,
    /// The version of the row at which it claimed the shard: its epoch there.
    pub since: u64,
}

/// Whether what `me` claimed at `since` is still its own, given whose the shard is: the same claim, not another of the
/// same member.
#[must_use]
pub fn still_ours<M: PartialEq>(me: &M, since: u64, owner: Option<&Owner<M>>) -> bool {
    owner.is_some_and(|owner| owner.member == *me && owner.since == since)
}

/// Which of several rows with the same seq are history, for who walks a stretch of it from the top: the row at `expected`
/// and its parents. Rows are given with the greatest place first; what does not belong is left out. Answers where the
/// next one below would stand.
pub fn walk_down<L: Linked>(rows: Vec<L>, mut expected: Place) -> Result<(Vec<L>, Place), Gap> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        if row.place() == expected {
            expected = row.parent();
            found.push(row);
        } else if row.place().seq < expected.seq {
            return Err(Gap { missing: expected });
        }
    }
    Ok((found, expected))
}

#[cfg(test)]
mod tests {
    use adal_domain::entity::EntityKind;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct R(u64, u64, u64);

    impl Linked for R {
        fn place(&self) -> Place {
            Place { seq: self.0, epoch: self.1 }
        }
        fn parent_epoch(&self) -> u64 {
            self.2
        }
    }

    const fn at(seq: u64, epoch: u64) -> Place {
        Place { seq, epoch }
    }

    fn seqs(base: Option<Place>, rows: &[R]) -> Result<Option<(Place, Vec<R>)>, Gap> {
        let found = history(base, rows)?;
        Ok(found.map(|found| (found.tip, found.rows.into_iter().map(|index| rows[index]).collect())))
    }

    #[test]
    fn shards_never_move() {
        let shard = |kind, id: &str| shard_of(&EntityKey::new(kind, id));
        let golden = [
            shard(EntityKind::Customer, "c1"),
            shard(EntityKind::Customer, "7700112233"),
            shard(EntityKind::Guest, "c1"),
            shard(EntityKind::Promo, "code/ABC"),
            shard(EntityKind::Catalogue, "main"),
            shard(EntityKind::Customer, "клиент"),
        ];
        assert_eq!(golden, GOLDEN);
        assert_eq!((slice_of(0), slice_of(15), slice_of(16), slice_of(1023)), (0, 0, 1, 63));
        let spread: std::collections::HashSet<u16> =
            (0..20_000).map(|n| shard(EntityKind::Customer, &n.to_string())).collect();
        assert_eq!(spread.len(), usize::from(SHARDS), "every shard has its share");
    }

    /// crc32 (IEEE) of `kind/id`, modulo 1024: worked out with zlib's.
    const GOLDEN: [u16; 6] = [594, 190, 1017, 659, 892, 264];

    #[test]
    fn a_later_claims_stamps_are_greater_whatever_came_before() {
        assert!(stamp(2, 0) > last_stamp(1));
        assert!(stamp(1, 7) > stamp(1, 6));
        assert!(last_stamp(1) >= stamp(1, (1 << 40) - 1));
        assert!(last_stamp(u64::MAX) > 0);
    }

    #[test]
    fn buckets_are_ten_minutes() {
        assert_eq!(bucket_of(Timestamp::from_seconds(599)), 0);
        assert_eq!(bucket_of(Timestamp::from_seconds(600)), 1);
        assert_eq!(bucket_of(Timestamp(-1)), 0);
    }

    #[test]
    fn a_history_is_the_tips_parents_and_the_rest_is_void() {
        assert_eq!(seqs(None, &[]), Ok(None));
        let plain = [R(1, 1, 0), R(2, 1, 1), R(3, 1, 1)];
        assert_eq!(seqs(None, &plain), Ok(Some((at(3, 1), plain.to_vec()))));
        // Owner 2 adopted row 2; a late row 3 of owner 1 is void.
        let late = [R(1, 1, 0), R(2, 1, 1), R(3, 1, 1), R(3, 2, 1), R(4, 2, 2)];
        let expected = vec![R(1, 1, 0), R(2, 1, 1), R(3, 2, 1), R(4, 2, 2)];
        assert_eq!(seqs(None, &late), Ok(Some((at(4, 2), expected))));
        // A void row may have a greater seq than the tip: an adoption that was not finished, on a row that was not.
        let higher = [R(1, 1, 0), R(2, 1, 1), R(2, 4, 1), R(3, 3, 1)];
        assert_eq!(seqs(None, &higher), Ok(Some((at(2, 4), vec![R(1, 1, 0), R(2, 4, 1)]))));
    }

    #[test]
    fn a_history_that_was_begun_anew_is_of_its_new_rows_alone() {
        // An import of owner 1 was cut off at row 3; that of owner 2 has come to row 1, was cut off, and owner 3's to row 2.
        let left = [R(1, 1, 0), R(2, 1, 1), R(3, 1, 1)];
        let rows = [left[0], R(1, 2, 0), left[1], left[2]];
        assert_eq!(seqs(None, &rows), Ok(Some((at(1, 2), vec![R(1, 2, 0)]))));
        let rows = [left[0], R(1, 2, 0), R(1, 3, 0), left[1], R(2, 3, 3), left[2]];
        let anew = vec![R(1, 3, 0), R(2, 3, 3)];
        assert_eq!(seqs(None, &rows), Ok(Some((at(2, 3), anew.clone()))));
        // Somebody had adopted what the first one left: that is void as well.
        let rows = [rows.as_slice(), &[R(4, 2, 1)]].concat();
        assert_eq!(seqs(None, &rows), Ok(Some((at(2, 3), anew))));
    }

    #[test]
    fn a_snapshot_counts_as_a_row() {
        let rows = [R(5, 1, 1), R(6, 1, 1), R(6, 2, 1)];
        assert_eq!(seqs(Some(at(5, 1)), &rows), Ok(Some((at(6, 2), vec![R(6, 2, 1)]))));
        assert_eq!(seqs(Some(at(5, 1)), &[]), Ok(Some((at(5, 1), vec![]))));
        // It says that its row is durable, where that row is not seen.
        assert_eq!(seqs(Some(at(6, 2)), &[R(6, 1, 1)]), Ok(Some((at(6, 2), vec![]))));
    }

    #[test]
    fn a_parent_that_is_not_there_is_a_gap() {
        assert_eq!(seqs(None, &[R(1, 1, 0), R(3, 1, 1)]), Err(Gap { missing: at(2, 1) }));
        assert_eq!(seqs(None, &[R(1, 1, 0), R(2, 2, 2)]), Err(Gap { missing: at(1, 2) }));
        assert_eq!(seqs(Some(at(2, 1)), &[R(2, 2, 1), R(3, 2, 2)]), Err(Gap { missing: at(2, 2) }));
    }

    #[test]
    fn whoever_opens_serves_its_own_adopts_what_is_older_and_yields_to_what_is_newer() {
        assert_eq!(standing(None, 3), Standing::Empty);
        assert_eq!(standing(Some(at(9, 3)), 3), Standing::Serve);
        assert_eq!(standing(Some(at(9, 2)), 3), Standing::Adopt);
        assert_eq!(standing(Some(at(1, 4)), 3), Standing::Fenced);
    }

    #[test]
    fn ours_again_is_not_ours_since() {
        let owner = Owner { member: 'a', since: 5 };
        assert!(still_ours(&'a', 5, Some(&owner)));
        assert!(!still_ours(&'a', 3, Some(&owner)));
        assert!(!still_ours(&'b', 5, Some(&owner)));
        assert!(!still_ours(&'a', 5, None));
    }

    /// Histories as owners make them, with void rows strewn in, in any cut: walking down from the top finds the same.
    #[test]
    fn whatever_was_left_behind_the_history_is_what_its_owners_made() {
        let mut random = 1_u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..2_000 {
            let (mut rows, mut chain): (Vec<R>, Vec<R>) = (Vec::new(), Vec::new());
            for epoch in 1..=draw(5) + 1 {
                for _ in 0..draw(4) {
                    let (place, parent) = on_top(chain.last().map(Linked::place), epoch);
                    chain.push(R(place.seq, place.epoch, parent));
                }
                // A row that this owner left behind, and nobody saw before the next one's.
                let next = on_top(chain.last().map(Linked::place), epoch);
                let adopted_later = chain.last().is_some_and(|tip| tip.1 == epoch);
                if draw(2) == 0 && adopted_later {
                    rows.push(R(next.0.seq, epoch, next.1));
                    let (place, parent) = on_top(chain.last().map(Linked::place), epoch + 1);
                    chain.push(R(place.seq, epoch + 1, parent));
                }
            }
            rows.extend(chain.iter().copied());
            rows.sort_by_key(|row| (row.0, row.1));
            rows.dedup();
            let found = seqs(None, &rows).unwrap();
            assert_eq!(found.as_ref().map(|(_, rows)| rows.clone()).unwrap_or_default(), chain);
            let Some((tip, chain)) = found else { continue };
            let mut down = rows.clone();
            down.reverse();
            let (mut walked, below) = walk_down(down, tip).unwrap();
            walked.reverse();
            assert_eq!((walked, below), (chain.clone(), Place::default()));
            // From any snapshot of it the rest is found.
            let cut = usize::try_from(draw(chain.len() as u64)).unwrap();
            let base = chain[cut].place();
            let above: Vec<R> = rows.iter().copied().filter(|row| row.0 >= base.seq).collect();
            assert_eq!(seqs(Some(base), &above).unwrap().unwrap(), (tip, chain[cut + 1..].to_vec()));
        }
    }
}
