//! What one offer gives on a cart as the offers before it left it. Nothing is changed here: stacking compares what
//! several would give before one of them counts.

use crate::{
    line::Unit,
    offers::{
        allocate::{Part, allocate},
        basket::{Basket, Lines, price_of},
        compile::Compiled,
        document::{Base, Discount, Per, Target},
        outcome::multiplied,
        pieces::{Chosen, Deal, GroupDeal, Prices},
    },
};

/// What is left of a cart.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// Of each line, minor units.
    pub(super) lines: Vec<i64>,
    /// Of the delivery, minor units.
    pub(super) delivery: i64,
    /// What the order's cap still allows on lines, minor units.
    pub(super) cap: i64,
}

/// What an offer gives.
#[derive(Debug, Clone, Default)]
pub(super) struct Gift {
    /// (line, minor units above 0).
    pub(super) shares: Vec<(usize, i64)>,
    /// Their sum.
    pub(super) lines_minor: i64,
    /// What it takes off the delivery, minor units.
    pub(super) delivery_minor: i64,
    pub(super) bonus_points: i64,
    /// What a multiplier adds to the plain rate, permyriad, on `multiplied`.
    pub(super) extra_permyriad: u32,
    pub(super) multiplied: Vec<usize>,
    /// All points that it would give as the cart stands: what is compared.
    pub(super) points: i64,
    pub(super) pieces: i64,
    pub(super) times: i64,
}

impl Gift {
    pub(super) fn minor(&self) -> i64 {
        self.lines_minor + self.delivery_minor
    }

    /// Whether it changes anything.
    pub(super) fn is_something(&self) -> bool {
        self.minor() > 0 || self.points > 0
    }
}

/// An offer on a cart, with what is left of it.
pub(super) struct Giving<'a> {
    pub(super) compiled: &'a Compiled,
    pub(super) basket: &'a Basket<'a>,
    /// The delivery before discounts, minor units.
    pub(super) delivery_minor: i64,
    pub(super) left: &'a Left,
    /// The lines that the offer's selector selects.
    pub(super) lines: &'a Lines,
    /// The rate at which the shopper earns, permyriad; `None`: not at all.
    pub(super) rate_permyriad: Option<u32>,
    /// What it may take off at most, whatever it would give, minor units.
    pub(super) most_minor: i64,
}

/// Half up.
fn share_of(minor: i64, permyriad: u32) -> i64 {
    let share = (i128::from(minor) * i128::from(permyriad) * 2 + 10_000).div_euclid(20_000);
    i64::try_from(share).unwrap_or(i64::MAX)
}

fn basis(chosen: &[Chosen]) -> i64 {
    chosen.iter().map(|chosen| chosen.basis).sum()
}

impl Giving<'_> {
    pub(super) fn gift(&self) -> Gift {
        let offer = &self.compiled.offer;
        match &offer.discount {
            Discount::FreeDelivery {} => self.on_delivery(),
            Discount::PointsMultiplier { permyriad } => self.multiplier(*permyriad),
            Discount::BonusPoints { points } => self.bonus(*points),
            _ if offer.target == Target::Delivery => self.on_delivery(),
            Discount::Percent { .. } | Discount::Amount { .. } | Discount::FixedPrice { .. } => self.on_selection(),
            Discount::BuyXGetY { buy, get, permyriad, choose, max_times, .. } => {
                let deal = GroupDeal {
                    buy: *buy,
                    get: *get,
                    choose: choose.unwrap_or_default(),
                    max_times: max_times.unwrap_or(i64::MAX),
                };
                let found = match &self.compiled.buys {
                    None => self.prices().groups(self.lines, &deal),
                    Some(buys) => self.prices().groups_of_two(&self.basket.select(buys), self.lines, &deal),
                };
                let minor = share_of(found.minor, *permyriad);
                let pieces = found.times * get;
                self.deal(&found, minor, pieces)
            }
            Discount::BundlePrice { quantity, minor, max_times } => {
                let most = max_times.unwrap_or(i64::MAX - 1);
                let found = self.prices().bundles(self.lines, *quantity, *minor, most);
                let pieces = found.times * quantity;
                self.deal(&found, found.minor, pieces)
            }
            Discount::FreeItem { quantity, .. } => self.free_item(*quantity),
        }
    }

    fn base(&self) -> Base {
        self.compiled.offer.stacking.base
    }

    /// What it may take off lines.
    fn cap(&self) -> i64 {
        self.left.cap.min(self.most_minor)
    }

    fn prices(&self) -> Prices<'_> {
        let basis = match self.base() {
            Base::Discounted => &self.left.lines,
            Base::Initial => &self.basket.subtotal,
        };
        Prices { basket: self.basket, basis, left: &self.left.lines }
    }

    fn on_delivery(&self) -> Gift {
        let basis = match self.base() {
            Base::Discounted => self.left.delivery,
            Base::Initial => self.delivery_minor,
        };
        let minor = match &self.compiled.offer.discount {
            Discount::Percent { permyriad, max_minor, .. } => {
                share_of(basis, *permyriad).min(max_minor.unwrap_or(i64::MAX))
            }
            Discount::Amount { minor, .. } => *minor,
            Discount::FixedPrice { minor, .. } => basis - minor,
            _ => basis,
        };
        Gift { delivery_minor: minor.clamp(0, self.left.delivery.min(self.most_minor)), ..Gift::default() }
    }

    /// Percent, amount and fixed price on lines.
    fn on_selection(&self) -> Gift {
        let discount = &self.compiled.offer.discount;
        let limits = discount.pieces();
        let chosen = self.prices().select(self.lines, &limits);
        let mut gift = match discount {
            Discount::Percent { permyriad, max_minor, .. } => {
                let minor = share_of(basis(&chosen), *permyriad).min(max_minor.unwrap_or(i64::MAX));
                self.shared(minor, &chosen)
            }
            Discount::Amount { minor, per: Per::Selection, .. } => self.shared(*minor, &chosen),
            Discount::Amount { minor, per: Per::Piece, .. } => {
                self.each(&chosen, |chosen| price_of(*minor, chosen.pieces, Unit::Piece))
            }
            Discount::Amount { minor, per: Per::Line, .. } => self.each(&chosen, |_| *minor),
            Discount::FixedPrice { minor, .. } if self.compiled.offer.target == Target::Lines => {
                self.each(&chosen, |chosen| {
                    let price = match chosen.pieces {
                        0 => price_of(*minor, self.basket.grams[chosen.line], Unit::Gram),
                        pieces => price_of(*minor, pieces, Unit::Piece),
                    };
                    chosen.basis - price
                })
            }
            Discount::FixedPrice { minor, .. } => self.shared(basis(&chosen) - minor, &chosen),
            _ => Gift::default(),
        };
        if !limits.is_all() {
            gift.pieces = chosen.iter().map(|chosen| chosen.pieces).sum();
            gift.times = limits.group_of.map_or(0, |group| gift.pieces / group);
        }
        gift
    }

    fn deal(&self, deal: &Deal, minor: i64, pieces: i64) -> Gift {
        Gift { pieces, times: deal.times, ..self.shared(minor, &deal.chosen) }
    }

    fn part(&self, chosen: &Chosen) -> Part {
        let room = self.left.lines[chosen.line] - self.basket.floor[chosen.line];
        Part { line: chosen.line, weight: chosen.left, limit: room.min(chosen.left), share: 0 }
    }

    /// One sum, shared out over what is chosen.
    fn shared(&self, minor: i64, chosen: &[Chosen]) -> Gift {
        let mut parts: Vec<Part> = chosen.iter().map(|chosen| self.part(chosen)).collect();
        given(minor.min(self.cap()), &mut parts)
    }

    /// A sum for each line; the order's cap cuts them in proportion.
    fn each(&self, chosen: &[Chosen], minor: impl Fn(&Chosen) -> i64) -> Gift {
        let mut parts: Vec<Part> = chosen
            .iter()
            .map(|chosen| {
                let part = self.part(chosen);
                let wanted = minor(chosen).clamp(0, part.limit);
                Part { weight: wanted, limit: wanted, ..part }
            })
            .collect();
        given(self.cap(), &mut parts)
    }

    fn free_item(&self, quantity: i64) -> Gift {
        let mut lines = Lines::none(self.basket.len());
        if let Some((number, _)) = &self.compiled.free_sku {
            self.basket
                .open
                .iter()
                .filter(|line| self.basket.keys[*line].sku == *number)
                .for_each(|line| lines.add(line));
        }
        // What is free costs nothing, whatever it cost at first.
        let prices = Prices { basis: &self.left.lines, ..self.prices() };
        let chosen = prices.free(&lines, quantity, self.cap());
        let shares: Vec<(usize, i64)> = chosen.iter().map(|chosen| (chosen.line, chosen.basis)).collect();
        let pieces = chosen.iter().map(|chosen| chosen.pieces).sum();
        Gift { lines_minor: basis(&chosen), shares, pieces, ..Gift::default() }
    }

    fn bonus(&self, points: i64) -> Gift {
        let points = if self.rate_permyriad.is_some() { points } else { 0 };
        Gift { bonus_points: points, points, ..Gift::default() }
    }

    fn multiplier(&self, permyriad: u32) -> Gift {
        let extra_permyriad = permyriad.saturating_sub(10_000);
        let left = |lines: &Lines| -> i128 { lines.iter().map(|line| i128::from(self.left.lines[line])).sum() };
        let added = left(self.lines) * i128::from(extra_permyriad);
        let points = multiplied(self.rate_permyriad.unwrap_or(0), left(&self.basket.open), added);
        let mut multiplied = Vec::with_capacity(self.lines.len());
        multiplied.extend(self.lines.iter());
        Gift { extra_permyriad, multiplied, points, ..Gift::default() }
    }
}

fn given(minor: i64, parts: &mut [Part]) -> Gift {
    let lines_minor = allocate(minor, parts);
    let mut shares = Vec::with_capacity(parts.len());
    shares.extend(parts.iter().filter(|part| part.share > 0).map(|part| (part.line, part.share)));
    Gift { shares, lines_minor, ..Gift::default() }
}
