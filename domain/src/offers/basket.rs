//! A cart as the engine works on it: lines in the order of their ids (so that the order of the request cannot matter),
//! with what is left of each, and sets of lines as bits. Restricted goods are in no set: they get no offer, and count for
//! none.

use std::{
    cell::OnceCell,
    collections::{HashMap, hash_map::Entry},
};

use crate::{
    checkout::Cart,
    line::{Line, Unit},
    offers::select::{Chooser, Keys, Symbols},
};

/// A set of lines of one basket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines(Vec<u64>);

impl Lines {
    pub(super) fn none(lines: usize) -> Self {
        Self(vec![0; lines.div_ceil(64)])
    }

    pub(super) fn add(&mut self, line: usize) {
        self.0[line / 64] |= 1 << (line % 64);
    }

    pub(super) fn has(&self, line: usize) -> bool {
        (self.0[line / 64] >> (line % 64)) & 1 == 1
    }

    /// How many there are: what a list of something for each needs room for.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros() as usize;
                    left &= left - 1;
                    i * 64 + bit
                })
            })
        })
    }
}

/// Sums and counts that conditions ask for, of undiscounted lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) subtotal: i64,
    /// A weighed line counts as one.
    pub(super) pieces: i64,
}

/// The cart.
pub(super) struct Basket<'a> {
    cart: &'a Cart,
    /// For each line here its place in the cart.
    pub(super) place: Vec<usize>,
    /// Undiscounted, minor units.
    pub(super) subtotal: Vec<i64>,
    /// What no discount may go below, minor units; at most the subtotal.
    pub(super) floor: Vec<i64>,
    pub(super) has_floors: bool,
    /// Pieces; 0 for a weighed line, which has none.
    pub(super) pieces: Vec<i64>,
    /// Grams of a weighed line.
    pub(super) grams: Vec<i64>,
    pub(super) keys: Vec<Keys>,
    pub(super) tags: Vec<u32>,
    pub(super) shop: u32,
    /// The lines that are not restricted.
    pub(super) open: Lines,
    /// All of them together.
    pub(super) whole: Counted,
    products: OnceCell<Vec<usize>>,
}

impl<'a> Basket<'a> {
    /// `subtotals` are those of [`check_cart`](crate::checkout::check_cart), in the cart's order: bounded, so that sums
    /// of them fit.
    pub(super) fn new(
        cart: &'a Cart,
        subtotals: &[i64],
        symbols: &Symbols,
        is_restricted: impl Fn(&Line) -> bool,
    ) -> Self {
        let mut place: Vec<usize> = (0..cart.lines.len().min(subtotals.len())).collect();
        place.sort_unstable_by(|a, b| cart.lines[*a].line_id.cmp(&cart.lines[*b].line_id));
        let count = place.len();
        let mut basket = Self {
            cart,
            subtotal: Vec::with_capacity(count),
            floor: Vec::with_capacity(count),
            has_floors: false,
            pieces: Vec::with_capacity(count),
            grams: Vec::with_capacity(count),
            keys: Vec::with_capacity(count),
            tags: Vec::new(),
            shop: symbols.shop(&cart.shop_id),
            open: Lines::none(count),
            whole: Counted::default(),
            products: OnceCell::new(),
            place: Vec::new(),
        };
        for (i, from) in place.iter().enumerate() {
            let line = &cart.lines[*from];
            basket.push(line, subtotals[*from], symbols);
            if !is_restricted(line) {
                basket.open.add(i);
                basket.whole.add(basket.subtotal[i], basket.pieces[i]);
            }
        }
        basket.place = place;
        basket
    }

    fn push(&mut self, line: &Line, subtotal: i64, symbols: &Symbols) {
        let floor = line.min_price_minor.map_or(0, |least| price_of(least, line.quantity, line.unit).min(subtotal));
        let (pieces, grams) = if line.unit == Unit::Piece { (line.quantity, 0) } else { (0, line.quantity) };
        self.subtotal.push(subtotal);
        self.floor.push(floor);
        self.has_floors |= floor > 0;
        self.pieces.push(pieces);
        self.grams.push(grams);
        let keys = symbols.line(line, &mut self.tags);
        self.keys.push(keys);
    }

    pub(super) fn len(&self) -> usize {
        self.place.len()
    }

    pub(super) fn line(&self, line: usize) -> &Line {
        &self.cart.lines[self.place[line]]
    }

    pub(super) fn select(&self, chooser: &Chooser) -> Lines {
        if chooser.is_everything() {
            return self.open.clone();
        }
        let mut lines = Lines::none(self.len());
        for line in self.open.iter().filter(|line| chooser.matches(&self.keys[*line], &self.tags, self.shop)) {
            lines.add(line);
        }
        lines
    }

    pub(super) fn count(&self, lines: &Lines) -> Counted {
        if *lines == self.open {
            return self.whole;
        }
        let mut counted = Counted::default();
        lines.iter().for_each(|line| counted.add(self.subtotal[line], self.pieces[line]));
        counted
    }

    /// How many different products the lines are of.
    pub(super) fn distinct(&self, lines: &Lines) -> i64 {
        let products = self.products.get_or_init(|| {
            let mut numbers = HashMap::with_capacity(self.len());
            (0..self.len())
                .map(|line| {
                    let next = numbers.len();
                    match numbers.entry(&self.line(line).sku) {
                        Entry::Occupied(number) => *number.get(),
                        Entry::Vacant(free) => *free.insert(next),
                    }
                })
                .collect()
        });
        let mut seen = Lines::none(self.len());
        lines.iter().for_each(|line| seen.add(products[line]));
        i64::try_from(seen.iter().count()).unwrap_or(i64::MAX)
    }
}

impl Counted {
    fn add(&mut self, subtotal: i64, pieces: i64) {
        self.subtotal = self.subtotal.saturating_add(subtotal);
        self.pieces = self.pieces.saturating_add(pieces.max(1));
    }
}

/// What so much costs at a unit price: per piece, or per kilogram rounded half up. Saturates.
pub(super) fn price_of(unit_price: i64, quantity: i64, unit: Unit) -> i64 {
    let product = i128::from(unit_price) * i128::from(quantity);
    let price = match unit {
        Unit::Piece => product,
        Unit::Gram => (product * 2 + 1000) / 2000,
    };
    i64::try_from(price).unwrap_or(i64::MAX)
}
