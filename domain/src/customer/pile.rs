//! A list that may grow long and is copied with every decision: cashback of a day without limits that waits for its
//! midnight, earnings under review that nobody decides.
//!
//! Its latest items stand by themselves; the earlier ones are laid together in blocks that all copies share, each block
//! longer than the next, so that there are few. Below `OPEN` items it is a plain list.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};
use thin_vec::ThinVec;

use crate::time::Day;

/// So many items stand by themselves before the first are laid together.
const OPEN: usize = 32;
/// So many are.
const TOGETHER: usize = 16;

/// See the module.
#[derive(Clone)]
pub struct Pile<T>(ThinVec<Piece<T>>);

/// A block is a pointer, which fits into an item's place.
#[derive(Clone)]
enum Piece<T> {
    One(T),
    /// Before every `One`; never empty.
    Block(Arc<Block<T>>),
}

#[derive(Clone)]
struct Block<T> {
    items: VecDeque<T>,
    soonest: OnceLock<Option<Day>>,
}

/// What has a day on which it falls due.
pub trait Due {
    /// The day.
    fn due(&self) -> Day;
}

impl<T> Piece<T> {
    fn iter(&self) -> impl Iterator<Item = &T> {
        let (ones, more) = match self {
            Self::One(item) => (std::slice::from_ref(item), &[][..]),
            Self::Block(block) => block.items.as_slices(),
        };
        ones.iter().chain(more)
    }
}

impl<T> Pile<T> {
    /// All items, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(Piece::iter)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|piece| if let Piece::Block(block) = piece { block.items.len() } else { 1 }).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Room for so many items is taken.
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
            + self
                .0
                .iter()
                .map(|piece| if let Piece::Block(block) = piece { block.items.capacity() } else { 0 })
                .sum::<usize>()
    }

    /// The first day on which something falls due.
    #[must_use]
    pub fn soonest(&self) -> Option<Day>
    where
        T: Due,
    {
        let day = |piece: &Piece<T>| match piece {
            Piece::One(item) => Some(item.due()),
            Piece::Block(block) => *block.soonest.get_or_init(|| block.items.iter().map(Due::due).min()),
        };
        self.0.iter().filter_map(day).min()
    }
}

impl<T: Clone> Pile<T> {
    /// Puts an item behind the others.
    pub fn push(&mut self, item: T) {
        self.0.push(Piece::One(item));
        let blocks = self.0.iter().take_while(|piece| matches!(piece, Piece::Block(_))).count();
        if self.0.len() - blocks > OPEN {
            self.lay_together(blocks);
        }
    }

    fn lay_together(&mut self, mut blocks: usize) {
        let ones = self.0.drain(blocks..blocks + TOGETHER);
        let mut items: VecDeque<T> =
            ones.filter_map(|piece| if let Piece::One(item) = piece { Some(item) } else { None }).collect();
        // With a block that is not longer, and so on: a thousand items are seven blocks at most.
        while let Some(Piece::Block(last)) = blocks.checked_sub(1).and_then(|last| self.0.get(last))
            && last.items.len() <= items.len()
        {
            let mut longer = last.items.clone();
            longer.append(&mut items);
            items = longer;
            blocks -= 1;
            self.0.remove(blocks);
        }
        self.0.insert(blocks, Piece::Block(Arc::new(Block { items, soonest: OnceLock::new() })));
    }

    /// Changes the first item that `is` wanted; it goes where `stays` says that it does not stay.
    pub fn change(&mut self, is: impl Fn(&T) -> bool, stays: impl FnOnce(&mut T) -> bool) {
        let Some((place, within)) =
            self.0.iter().enumerate().find_map(|(place, piece)| Some((place, piece.iter().position(&is)?)))
        else {
            return;
        };
        let is_gone = match &mut self.0[place] {
            Piece::One(item) => !stays(item),
            Piece::Block(block) => {
                let block = Arc::make_mut(block);
                block.soonest = OnceLock::new();
                if block.items.get_mut(within).is_some_and(|item| !stays(item)) {
                    block.items.remove(within);
                }
                block.items.is_empty()
            }
        };
        if is_gone {
            self.0.remove(place);
        }
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
    }
}

impl<T> Default for Pile<T> {
    fn default() -> Self {
        Self(ThinVec::new())
    }
}

impl<T: Clone> FromIterator<T> for Pile<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut pile = Self::default();
        items.into_iter().for_each(|item| pile.push(item));
        pile
    }
}

/// How the items are laid makes no difference.
impl<T: PartialEq> PartialEq for Pile<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Pile<T> {}

impl<T: fmt::Debug> fmt::Debug for Pile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A plain list.
impl<T: Serialize> Serialize for Pile<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|item| list.serialize_element(item))?;
        list.end()
    }
}

impl<'de, T: Clone + Deserialize<'de>> Deserialize<'de> for Pile<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ThinVec::<T>::deserialize(deserializer).map(|items| items.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Due for (u32, i32) {
        fn due(&self) -> Day {
            Day(self.1)
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push(i32),
        Change(usize, bool),
        Keep,
    }

    proptest! {
        #[test]
        fn it_is_what_a_plain_list_is(
            ops in prop::collection::vec(
                prop_oneof![
                    12 => (0..9999).prop_map(Op::Push),
                    4 => (0_usize..1000, any::<bool>()).prop_map(|(i, stays)| Op::Change(i, stays)),
                    4 => (0_usize..3, Just(false)).prop_map(|(i, stays)| Op::Change(i, stays)),
                    1 => Just(Op::Keep),
                ],
                0..400,
            ),
        ) {
            let (mut pile, mut plain) = (Pile::default(), Vec::new());
            let mut copies = Vec::new();
            for (n, op) in (0_u32..).zip(ops) {
                match op {
                    Op::Push(day) => {
                        pile.push((n, day));
                        plain.push((n, day));
                    }
                    Op::Change(i, stays) if i < plain.len() => {
                        let (id, _) = plain[i];
                        plain[i].1 += 700;
                        if !stays {
                            plain.remove(i);
                        }
                        pile.change(|item| item.0 == id, |item| { item.1 += 700; stays });
                    }
                    Op::Change(..) => pile.change(|item| item.0 == u32::MAX, |_| unreachable!()),
                    Op::Keep => copies.push((pile.clone(), plain.clone())),
                }
                prop_assert_eq!(pile.soonest(), plain.iter().map(Due::due).min());
            }
            copies.push((pile, plain));
            for (pile, plain) in copies {
                prop_assert!(pile.iter().eq(&plain));
                prop_assert_eq!((pile.len(), pile.is_empty()), (plain.len(), plain.is_empty()));
                let stored = rmp_serde::to_vec(&pile).unwrap();
                prop_assert_eq!(&stored, &rmp_serde::to_vec(&plain).unwrap());
                prop_assert_eq!(rmp_serde::from_slice::<Pile<(u32, i32)>>(&stored).unwrap(), pile);
            }
        }
    }

    #[test]
    fn a_few_are_a_plain_list_and_thousands_are_few_pieces() {
        use crate::customer::ledger::{Pending, UnderReview};
        assert_eq!(size_of::<Piece<Pending>>(), size_of::<Pending>());
        assert_eq!(size_of::<Piece<UnderReview>>(), size_of::<UnderReview>());
        let mut pile: Pile<(u32, i32)> = (0..32).map(|n| (n, 1)).collect();
        assert!(pile.0.iter().all(|piece| matches!(piece, Piece::One(_))));
        (32..5000).for_each(|n| pile.push((n, 1)));
        assert!(pile.0.len() <= OPEN + 9, "{}", pile.0.len());
        assert!(pile.capacity() < 5000 * 3 / 2, "{}", pile.capacity());
    }
}
