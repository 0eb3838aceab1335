//! Discounts that count pieces: some of them, groups, bundles. The i-th of a line's q pieces costs floor(left x i / q) -
//! floor(left x (i - 1) / q), so that they add up to what is left: `left mod q` pieces cost one minor unit more than the
//! others. A line is therefore two *runs* of pieces of one price, and a million pieces cost as much to count as two.

use std::cmp::Reverse;

use crate::offers::{
    basket::{Basket, Lines},
    document::{Choose, Pieces},
};

/// What is chosen of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) line: usize,
    /// How many pieces; of a weighed line, none.
    pub(super) pieces: i64,
    /// What they cost where the offer looks: before discounts, or what is left; minor units.
    pub(super) basis: i64,
    /// What is left of them, minor units.
    pub(super) left: i64,
}

/// Groups of pieces that are cheaper together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deal {
    /// The pieces of the groups, which share the discount.
    pub(super) chosen: Vec<Chosen>,
    /// What the cheaper ones cost (buy X get Y), or what the groups cost above their price (bundles); minor units.
    pub(super) minor: i64,
    /// How many groups.
    pub(super) times: i64,
}

/// Where pieces get their prices: what offers look at, and what is left.
#[derive(Clone, Copy)]
pub(super) struct Prices<'a> {
    pub(super) basket: &'a Basket<'a>,
    pub(super) basis: &'a [i64],
    pub(super) left: &'a [i64],
}

/// Pieces of a line of one price.
#[derive(Debug, Clone, Copy)]
struct Run {
    price: i64,
    count: i64,
    line: usize,
}

/// What `taken` of a line's pieces cost together.
fn cost(total: i64, pieces: i64, taken: i64, choose: Choose) -> i64 {
    if pieces == 0 {
        return 0;
    }
    let (price, dearer) = (total / pieces, total % pieces);
    let extra = match choose {
        Choose::Dearest => taken.min(dearer),
        Choose::Cheapest => (taken - (pieces - dearer)).max(0),
    };
    taken * price + extra
}

fn sort(runs: &mut [Run], first: Choose) {
    match first {
        Choose::Dearest => runs.sort_unstable_by_key(|run| (Reverse(run.price), run.line)),
        Choose::Cheapest => runs.sort_unstable_by_key(|run| (run.price, run.line)),
    }
}

/// Pieces counted into lines.
struct Tally {
    pieces: Vec<i64>,
    basis: Vec<i64>,
}

impl Tally {
    fn new(lines: usize) -> Self {
        Self { pieces: vec![0; lines], basis: vec![0; lines] }
    }

    fn take(&mut self, run: &Run, count: i64) {
        self.pieces[run.line] += count;
        self.basis[run.line] += count * run.price;
    }
}

impl Prices<'_> {
    /// The runs of the lines' pieces; weighed lines have none. At most `most` of each line, the ones to `choose`.
    fn runs(&self, lines: &Lines, most: Option<i64>, choose: Choose) -> Vec<Run> {
        let mut runs = Vec::with_capacity(lines.len() * 2);
        for line in lines.iter().filter(|line| self.basket.pieces[*line] > 0) {
            let pieces = self.basket.pieces[line];
            let (price, dearer) = (self.basis[line] / pieces, self.basis[line] % pieces);
            let mut open = most.unwrap_or(pieces).min(pieces);
            let (low, high) = ((price, pieces - dearer), (price + 1, dearer));
            let order = if choose == Choose::Cheapest { [low, high] } else { [high, low] };
            for (price, count) in order {
                let count = count.min(open);
                open -= count;
                if count > 0 {
                    runs.push(Run { price, count, line });
                }
            }
        }
        runs
    }

    fn chosen(&self, tally: &Tally, choose: Choose) -> Vec<Chosen> {
        let taken = tally.pieces.iter().enumerate().filter(|(_, pieces)| **pieces > 0);
        let mut chosen = Vec::with_capacity(tally.pieces.len());
        chosen.extend(taken.map(|(line, pieces)| Chosen {
            line,
            pieces: *pieces,
            basis: tally.basis[line],
            left: cost(self.left[line], self.basket.pieces[line], *pieces, choose),
        }));
        chosen
    }

    /// What percent, amount and fixed price count for: whole lines, or where pieces are limited, those pieces.
    pub(super) fn select(&self, lines: &Lines, limits: &Pieces) -> Vec<Chosen> {
        if limits.is_all() {
            let whole = |line: usize| Chosen {
                line,
                pieces: self.basket.pieces[line],
                basis: self.basis[line],
                left: self.left[line],
            };
            let mut chosen = Vec::with_capacity(lines.len());
            chosen.extend(lines.iter().map(whole));
            return chosen;
        }
        let mut runs = self.runs(lines, limits.max_per_line, limits.choose);
        let all: i64 = runs.iter().map(|run| run.count).sum();
        let counted = limits.max.unwrap_or(all).min(all);
        let mut open = counted - counted % limits.group_of.unwrap_or(1);
        sort(&mut runs, limits.choose);
        let mut tally = Tally::new(self.basket.len());
        for run in &runs {
            let count = run.count.min(open);
            tally.take(run, count);
            open -= count;
        }
        self.chosen(&tally, limits.choose)
    }

    /// Buy X get Y within one selection: its pieces, dearest first, are cut into groups of both.
    pub(super) fn groups(&self, lines: &Lines, deal: &GroupDeal) -> Deal {
        let mut runs = self.runs(lines, None, Choose::Dearest);
        sort(&mut runs, Choose::Dearest);
        let size = deal.buy + deal.get;
        let all: i64 = runs.iter().map(|run| run.count).sum();
        // Groups whose cheaper pieces cost nothing anyway come last, and do not count.
        let worth: i64 = runs.iter().filter(|run| run.price > 0).map(|run| run.count).sum();
        let first = if deal.choose == Choose::Cheapest { deal.buy } else { 0 };
        let times = (all / size).min(deal.max_times).min((worth - first + size - 1).div_euclid(size).max(0));
        let cheaper_before = |position: i64| {
            let rest = position % size;
            let within = match deal.choose {
                Choose::Cheapest => (rest - deal.buy).max(0),
                Choose::Dearest => rest.min(deal.get),
            };
            position / size * deal.get + within
        };
        let (mut position, mut minor) = (0, 0);
        let mut tally = Tally::new(self.basket.len());
        for run in &runs {
            let count = run.count.min(times * size - position);
            if count == 0 {
                break;
            }
            tally.take(run, count);
            minor += (cheaper_before(position + count) - cheaper_before(position)) * run.price;
            position += count;
        }
        Deal { chosen: self.chosen(&tally, Choose::Dearest), minor, times }
    }

    /// Buy X get Y from two selections. A piece in both counts for one of them; as many groups are made as can be. Of the
    /// pieces to `get`, those to choose are taken as far as enough are left to buy; they are cut into groups dearest
    /// first, and so are the pieces bought.
    pub(super) fn groups_of_two(&self, buys: &Lines, gets: &Lines, deal: &GroupDeal) -> Deal {
        let count = |lines: &Lines| -> i64 { lines.iter().map(|line| self.basket.pieces[line]).sum() };
        let mut either = buys.clone();
        gets.iter().for_each(|line| either.add(line));
        let (to_buy, to_get, together) = (count(buys), count(gets), count(&either));
        let made = (to_buy / deal.buy).min(to_get / deal.get).min(together / (deal.buy + deal.get));

        let mut spare = to_buy - made * deal.buy;
        let mut open = made * deal.get;
        let mut got: Vec<Run> = Vec::new();
        let mut runs = self.runs(gets, None, deal.choose);
        sort(&mut runs, deal.choose);
        for run in &runs {
            let mut count = run.count.min(open);
            if buys.has(run.line) {
                count = count.min(spare);
                spare -= count;
            }
            open -= count;
            if count > 0 {
                got.push(Run { count, ..*run });
            }
        }
        sort(&mut got, Choose::Dearest);
        let worth: i64 = got.iter().filter(|run| run.price > 0).map(|run| run.count).sum();
        let times = made.min(deal.max_times).min((worth + deal.get - 1) / deal.get);

        let mut tally = Tally::new(self.basket.len());
        let (mut minor, mut open) = (0, times * deal.get);
        for run in &mut got {
            run.count = run.count.min(open);
            tally.take(run, run.count);
            minor += run.count * run.price;
            open -= run.count;
        }
        self.take_bought(buys, got, times * deal.buy, &mut tally);
        Deal { chosen: self.chosen(&tally, Choose::Dearest), minor, times }
    }

    /// Takes the dearest pieces of `buys` that were not got.
    fn take_bought(&self, buys: &Lines, mut got: Vec<Run>, mut open: i64, tally: &mut Tally) {
        got.sort_unstable_by_key(|run| (run.line, run.price));
        let mut runs = self.runs(buys, None, Choose::Dearest);
        for run in &mut runs {
            if let Ok(at) = got.binary_search_by_key(&(run.line, run.price), |got| (got.line, got.price)) {
                run.count -= got[at].count;
            }
        }
        sort(&mut runs, Choose::Dearest);
        for run in &runs {
            let count = run.count.min(open);
            tally.take(run, count);
            open -= count;
        }
    }

    /// Bundles: the pieces, dearest first, are cut into groups of `size`, each of which costs `price`; groups that would
    /// cost no more without do not count.
    pub(super) fn bundles(&self, lines: &Lines, size: i64, price: i64, max_times: i64) -> Deal {
        let mut runs = self.runs(lines, None, Choose::Dearest);
        sort(&mut runs, Choose::Dearest);
        // (pieces, what they cost) before each run and at the end.
        let mut sums = Vec::with_capacity(runs.len() + 1);
        sums.push((0, 0));
        for run in &runs {
            let (pieces, minor) = sums.last().copied().unwrap_or_default();
            sums.push((pieces + run.count, minor + run.count * run.price));
        }
        let cost_of_first = |pieces: i64| {
            let run = sums.partition_point(|(before, _)| *before <= pieces) - 1;
            let (before, minor) = sums[run];
            minor + runs.get(run).map_or(0, |run| (pieces - before) * run.price)
        };
        let all = sums.last().map_or(0, |(pieces, _)| *pieces);
        // Groups cost less and less: those worth more than their price are the first ones.
        let (mut times, mut beyond) = (0, (all / size).min(max_times) + 1);
        while beyond - times > 1 {
            let middle = times + (beyond - times) / 2;
            let worth = cost_of_first(middle * size) - cost_of_first((middle - 1) * size);
            if worth > price { times = middle } else { beyond = middle }
        }
        let mut open = times * size;
        let minor = cost_of_first(open) - times * price;
        let mut tally = Tally::new(self.basket.len());
        for run in &runs {
            let count = run.count.min(open);
            tally.take(run, count);
            open -= count;
        }
        Deal { chosen: self.chosen(&tally, Choose::Dearest), minor, times }
    }

    /// The pieces of one product that are free: the cheapest, whole ones alone. A piece that a floor or `cap` does not
    /// allow to be free is not given; one that costs nothing is none.
    pub(super) fn free(&self, lines: &Lines, quantity: i64, mut cap: i64) -> Vec<Chosen> {
        let mut runs = self.runs(lines, None, Choose::Cheapest);
        sort(&mut runs, Choose::Cheapest);
        let mut open = quantity;
        let mut tally = Tally::new(self.basket.len());
        for run in runs.iter().filter(|run| run.price > 0) {
            let room = self.left[run.line] - self.basket.floor[run.line] - tally.basis[run.line];
            let count = run.count.min(open).min(room / run.price).min(cap / run.price);
            tally.take(run, count);
            open -= count;
            cap -= count * run.price;
        }
        self.chosen(&tally, Choose::Cheapest)
    }
}

/// Buy X get Y.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupDeal {
    pub(super) buy: i64,
    pub(super) get: i64,
    pub(super) choose: Choose,
    pub(super) max_times: i64,
}
