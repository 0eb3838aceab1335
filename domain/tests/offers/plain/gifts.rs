//! What one offer gives, the plain way.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use adal_domain::{
    amounts::share_out,
    ids::Sku,
    line::{Line, Unit},
    offers::{
        Offer,
        document::{Base, Choose, Discount, Per, Pieces, Selection, Selector, Target},
    },
};

use super::{Entry, Given, Money, World};
use crate::say::Case;

/// One piece: its price, its line.
type Piece = (i64, String);

fn hits(selection: &Selection, line: &Line, subtotal: i64, shop: &str) -> bool {
    let unit_price = match (line.unit_price_minor, line.unit) {
        (Some(price), _) => (price, 1),
        (None, Unit::Piece) => (subtotal, line.quantity),
        (None, Unit::Gram) => (subtotal * 1000, line.quantity),
    };
    let word = |list: &Option<Vec<adal_domain::ids::Word>>, word: Option<&adal_domain::ids::Word>| match list {
        None => true,
        Some(list) => list.iter().any(|l| word.is_some_and(|w| w.as_str() == l.as_str())),
    };
    selection.skus.as_ref().is_none_or(|skus| skus.contains(&line.sku))
        && word(&selection.categories, line.category.as_ref())
        && word(&selection.brands, line.brand.as_ref())
        && selection.shops.as_ref().is_none_or(|shops| shops.iter().any(|s| s.as_str() == shop))
        && selection.tags.as_ref().is_none_or(|tags| tags.iter().any(|tag| line.tags.contains(tag)))
        && selection.min_unit_price_minor.is_none_or(|least| unit_price.0 >= least * unit_price.1)
        && selection.max_unit_price_minor.is_none_or(|most| unit_price.0 <= most * unit_price.1)
}

/// The pieces of a line: the i-th costs floor(total x i / q) - floor(total x (i - 1) / q).
fn pieces_of(total: i64, quantity: i64) -> Vec<i64> {
    (1..=quantity).map(|i| total * i / quantity - total * (i - 1) / quantity).collect()
}

fn dearest_first(pieces: &mut [Piece]) {
    pieces.sort_by_key(|(price, line)| (Reverse(*price), line.clone()));
}

fn by_choice(pieces: &mut [Piece], choose: Choose) {
    match choose {
        Choose::Dearest => dearest_first(pieces),
        Choose::Cheapest => pieces.sort_by_key(|(price, line)| (*price, line.clone())),
    }
}

fn half_up(minor: i64, permyriad: u32) -> i64 {
    (minor * i64::from(permyriad) + 5000) / 10_000
}

impl<'a> World<'a> {
    pub(super) fn new(case: &'a Case) -> Self {
        let restricted = &case.policy.restricted;
        let lines = case.cart.lines.iter().zip(case.subtotals());
        let lines = lines.filter(|(line, _)| !line.is_restricted(restricted));
        Self { case, lines: lines.map(|(line, s)| (line.line_id.to_string(), (line, s))).collect() }
    }

    pub(super) fn select(&self, selector: &Selector) -> BTreeSet<String> {
        let shop = self.case.cart.shop_id.as_str();
        let hit = |all: &[Selection], line, s| all.iter().any(|selection| hits(selection, line, s, shop));
        let selected = self.lines.iter().filter(|(_, (line, s))| {
            (selector.include.is_empty() || hit(&selector.include, line, *s)) && !hit(&selector.exclude, line, *s)
        });
        selected.map(|(id, _)| id.clone()).collect()
    }

    fn floor(&self, line: &str) -> i64 {
        let (line, subtotal) = self.lines[line];
        let least = line.min_price_minor.unwrap_or(0);
        let floor = match line.unit {
            Unit::Piece => least * line.quantity,
            Unit::Gram => (least * line.quantity * 2 + 1000) / 2000,
        };
        floor.min(subtotal)
    }

    fn pieces(&self, lines: &BTreeSet<String>, prices: &BTreeMap<String, i64>) -> Vec<Piece> {
        let whole = lines.iter().filter(|id| self.lines[*id].0.unit == Unit::Piece);
        whole
            .flat_map(|id| pieces_of(prices[id], self.lines[id].0.quantity).into_iter().map(|p| (p, id.clone())))
            .collect()
    }

    /// What so many of a line's pieces cost of what is left.
    fn left_of(&self, line: &str, count: usize, choose: Choose, money: &Money) -> i64 {
        let mut pieces = self.pieces(&BTreeSet::from([line.to_owned()]), &money.left);
        by_choice(&mut pieces, choose);
        pieces.iter().take(count).map(|(price, _)| price).sum()
    }

    /// Shares out round by round; `weights`: what is left of what is selected, by line.
    fn share(
        &self,
        total: i64,
        weights: &BTreeMap<String, i64>,
        limits: &BTreeMap<String, i64>,
    ) -> BTreeMap<String, i64> {
        let mut shares = BTreeMap::new();
        let mut left = total.min(limits.values().sum()).max(0);
        loop {
            let open: Vec<&String> = weights.keys().filter(|line| !shares.contains_key(*line)).collect();
            let sum: i128 = open.iter().map(|line| i128::from(weights[*line])).sum();
            let over =
                |line: &&&String| i128::from(left) * i128::from(weights[**line]) > i128::from(limits[**line]) * sum;
            let over: Vec<&String> = open.iter().filter(over).copied().collect();
            if over.is_empty() {
                let open_weights: Vec<i64> = open.iter().map(|line| weights[*line]).collect();
                for (line, share) in open.into_iter().zip(share_out(left, &open_weights)) {
                    shares.insert(line.clone(), share);
                }
                return shares;
            }
            for line in over {
                shares.insert(line.clone(), limits[line]);
                left -= limits[line];
            }
        }
    }

    /// One sum over these lines' weights, with floors and cap.
    fn shared(&self, minor: i64, weights: &BTreeMap<String, i64>, money: &Money) -> Given {
        let limit =
            |(line, weight): (&String, &i64)| (line.clone(), (money.left[line] - self.floor(line)).min(*weight));
        let limits = weights.iter().map(limit).collect();
        Given { shares: self.share(minor.min(money.cap), weights, &limits), ..Given::default() }
    }

    pub(super) fn initial(&self) -> BTreeMap<String, i64> {
        self.lines.iter().map(|(id, (_, subtotal))| (id.clone(), *subtotal)).collect()
    }

    pub(super) fn gift(&self, entry: &Entry<'_>, money: &Money) -> Given {
        let offer = entry.offer;
        let lines = self.select(&offer.selector);
        let prices = if offer.stacking.base == Base::Initial { self.initial() } else { money.left.clone() };
        let rate = self.case.shopper.earn_rate_permyriad;
        let mut given = match &offer.discount {
            Discount::FreeDelivery {} => self.delivery(offer, money),
            _ if offer.target == Target::Delivery => self.delivery(offer, money),
            Discount::Percent { .. } | Discount::Amount { .. } | Discount::FixedPrice { .. } => {
                self.selection(offer, &lines, &prices, money)
            }
            Discount::BuyXGetY { buy_selector: None, .. } => self.groups(offer, &lines, &prices, money),
            Discount::BuyXGetY { buy_selector: Some(buys), .. } => {
                self.two_groups(offer, &self.select(buys), &lines, &prices, money)
            }
            Discount::BundlePrice { quantity, minor, max_times } => {
                let mut pieces = self.pieces(&lines, &prices);
                dearest_first(&mut pieces);
                let groups: Vec<_> = pieces
                    .chunks_exact(usize::try_from(*quantity).unwrap())
                    .map(|group| (group.iter().map(|p| p.0).sum::<i64>() - minor, group.to_vec()))
                    .collect();
                self.best_groups(groups, *max_times, 10_000, money)
            }
            Discount::FreeItem { sku, quantity } => self.free(sku, *quantity, money),
            Discount::BonusPoints { points } => {
                let bonus = if rate.is_some() { *points } else { 0 };
                Given { bonus, points: bonus, ..Given::default() }
            }
            Discount::PointsMultiplier { permyriad } => {
                let extra = i64::from(*permyriad) - 10_000;
                let points = self.cashback(&[(extra, lines.clone())], money) - self.cashback(&[], money);
                Given { extra, multiplied: lines, points, ..Given::default() }
            }
        };
        given.shares.retain(|_, share| *share > 0);
        given.offer = Some((entry.id.clone(), entry.kind));
        given.code.clone_from(&entry.code);
        given
    }

    /// floor(rate x money x multiplier), in points.
    pub(super) fn cashback(&self, extras: &[(i64, BTreeSet<String>)], money: &Money) -> i64 {
        let mut weighed = 0_i128;
        for (line, left) in &money.left {
            let extra: i64 = extras.iter().filter(|(_, lines)| lines.contains(line)).map(|(extra, _)| *extra).sum();
            weighed += i128::from(*left) * i128::from(10_000 + extra);
        }
        let rate = i128::from(self.case.shopper.earn_rate_permyriad.unwrap_or(0));
        i64::try_from(weighed * rate / (10_000 * 10_000 * 100)).unwrap()
    }

    fn delivery(&self, offer: &Offer, money: &Money) -> Given {
        let initial = self.case.cart.delivery_minor;
        let basis = if offer.stacking.base == Base::Initial { initial } else { money.delivery };
        let minor = match &offer.discount {
            Discount::Percent { permyriad, max_minor, .. } => {
                half_up(basis, *permyriad).min(max_minor.unwrap_or(i64::MAX))
            }
            Discount::Amount { minor, .. } => *minor,
            Discount::FixedPrice { minor, .. } => basis - minor,
            _ => basis,
        };
        Given { delivery: minor.max(0).min(money.delivery), ..Given::default() }
    }

    /// Of each line: pieces that count (none of a weighed one), what they cost, what is left of them.
    fn chosen(
        &self,
        limits: &Pieces,
        lines: &BTreeSet<String>,
        prices: &BTreeMap<String, i64>,
        money: &Money,
    ) -> BTreeMap<String, (i64, i64, i64)> {
        if limits.is_all() {
            let whole = |line: &String| {
                let found = self.lines[line].0;
                let pieces = if found.unit == Unit::Piece { found.quantity } else { 0 };
                (line.clone(), (pieces, prices[line], money.left[line]))
            };
            return lines.iter().map(whole).collect();
        }
        let mut pool = Vec::new();
        for line in lines {
            let mut pieces = self.pieces(&BTreeSet::from([line.clone()]), prices);
            by_choice(&mut pieces, limits.choose);
            pieces.truncate(limits.max_per_line.map_or(usize::MAX, |most| usize::try_from(most).unwrap()));
            pool.extend(pieces);
        }
        by_choice(&mut pool, limits.choose);
        pool.truncate(limits.max.map_or(usize::MAX, |most| usize::try_from(most).unwrap()));
        let group = limits.group_of.map_or(1, |group| usize::try_from(group).unwrap());
        pool.truncate(pool.len() / group * group);
        let mut chosen = BTreeMap::new();
        for (price, line) in pool {
            let (pieces, basis, _) = chosen.entry(line).or_insert((0, 0, 0));
            *pieces += 1;
            *basis += price;
        }
        for (line, (pieces, _, left)) in &mut chosen {
            *left = self.left_of(line, usize::try_from(*pieces).unwrap(), limits.choose, money);
        }
        chosen
    }

    fn selection(
        &self,
        offer: &Offer,
        lines: &BTreeSet<String>,
        prices: &BTreeMap<String, i64>,
        money: &Money,
    ) -> Given {
        let chosen = self.chosen(&offer.discount.pieces(), lines, prices, money);
        let weights = chosen.iter().map(|(line, (_, _, left))| (line.clone(), *left)).collect();
        let sum: i64 = chosen.values().map(|(_, basis, _)| basis).sum();
        let each = |minor: &dyn Fn(&String, i64, i64) -> i64| {
            let wanted: BTreeMap<String, i64> = chosen
                .iter()
                .map(|(line, (pieces, basis, left))| {
                    let most = (money.left[line] - self.floor(line)).min(*left);
                    (line.clone(), minor(line, *pieces, *basis).min(most).max(0))
                })
                .collect();
            Given { shares: self.share(money.cap, &wanted, &wanted), ..Given::default() }
        };
        match &offer.discount {
            Discount::Percent { permyriad, max_minor, .. } => {
                self.shared(half_up(sum, *permyriad).min(max_minor.unwrap_or(i64::MAX)), &weights, money)
            }
            Discount::Amount { minor, per: Per::Selection, .. } => self.shared(*minor, &weights, money),
            Discount::Amount { minor, per: Per::Piece, .. } => each(&|_, pieces, _| pieces * minor),
            Discount::Amount { minor, per: Per::Line, .. } => each(&|_, _, _| *minor),
            Discount::FixedPrice { minor, .. } if offer.target == Target::Lines => each(&|line, pieces, basis| {
                let line = self.lines[line].0;
                match line.unit {
                    Unit::Piece => basis - pieces * minor,
                    Unit::Gram => basis - (minor * line.quantity * 2 + 1000) / 2000,
                }
            }),
            Discount::FixedPrice { minor, .. } => self.shared(sum - minor, &weights, money),
            other => panic!("{other:?}"),
        }
    }

    /// The groups worth most, at most so many: (worth, pieces).
    fn best_groups(
        &self,
        mut groups: Vec<(i64, Vec<Piece>)>,
        max_times: Option<i64>,
        permyriad: u32,
        money: &Money,
    ) -> Given {
        groups.retain(|(worth, _)| *worth > 0);
        groups.sort_by_key(|(worth, _)| Reverse(*worth));
        groups.truncate(max_times.map_or(usize::MAX, |times| usize::try_from(times).unwrap()));
        let minor = half_up(groups.iter().map(|(worth, _)| worth).sum(), permyriad);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (_, line) in groups.into_iter().flat_map(|(_, pieces)| pieces) {
            *counts.entry(line).or_default() += 1;
        }
        let weight =
            |(line, count): (&String, &usize)| (line.clone(), self.left_of(line, *count, Choose::Dearest, money));
        let weights = counts.iter().map(weight).collect();
        self.shared(minor, &weights, money)
    }

    fn groups(&self, offer: &Offer, lines: &BTreeSet<String>, prices: &BTreeMap<String, i64>, money: &Money) -> Given {
        let Discount::BuyXGetY { buy, get, permyriad, choose, max_times, .. } = &offer.discount else { unreachable!() };
        let (buy, get) = (usize::try_from(*buy).unwrap(), usize::try_from(*get).unwrap());
        let mut pieces = self.pieces(lines, prices);
        dearest_first(&mut pieces);
        let worth = |group: &[Piece]| -> i64 {
            let cheaper = match choose.unwrap_or_default() {
                Choose::Cheapest => &group[buy..],
                Choose::Dearest => &group[..get],
            };
            cheaper.iter().map(|(price, _)| price).sum()
        };
        let groups = pieces.chunks_exact(buy + get).map(|group| (worth(group), group.to_vec())).collect();
        self.best_groups(groups, *max_times, *permyriad, money)
    }

    fn two_groups(
        &self,
        offer: &Offer,
        buys: &BTreeSet<String>,
        gets: &BTreeSet<String>,
        prices: &BTreeMap<String, i64>,
        money: &Money,
    ) -> Given {
        let Discount::BuyXGetY { buy, get, permyriad, choose, max_times, .. } = &offer.discount else { unreachable!() };
        let (buy, get) = (usize::try_from(*buy).unwrap(), usize::try_from(*get).unwrap());
        let mut to_get = self.pieces(gets, prices);
        by_choice(&mut to_get, choose.unwrap_or_default());
        // As many groups as some way of sorting out the pieces that are in both allows.
        let both = to_get.iter().filter(|(_, line)| buys.contains(line)).count();
        let (only_get, all_buy) = (to_get.len() - both, self.pieces(buys, prices).len());
        let can = |times: usize| (0..=both).any(|got| only_get + got >= times * get && all_buy - got >= times * buy);
        let made = (0..=to_get.len()).filter(|times| can(*times)).max().unwrap();
        let mut rest = all_buy;
        let mut got = Vec::new();
        for piece in to_get {
            let is_bought = buys.contains(&piece.1);
            if got.len() < made * get && (!is_bought || rest > made * buy) {
                rest -= usize::from(is_bought);
                got.push(piece);
            }
        }
        dearest_first(&mut got);
        let mut groups: Vec<(i64, Vec<Piece>)> =
            got.chunks(get).map(|group| (group.iter().map(|p| p.0).sum(), group.to_vec())).collect();
        groups.retain(|(worth, _)| *worth > 0);
        groups.truncate(max_times.map_or(usize::MAX, |times| usize::try_from(times).unwrap()));
        let mut left = self.pieces(buys, prices);
        for piece in groups.iter().flat_map(|(_, pieces)| pieces) {
            if let Some(at) = left.iter().position(|other| other == piece) {
                left.remove(at);
            }
        }
        dearest_first(&mut left);
        for (i, (_, group)) in groups.iter_mut().enumerate() {
            group.extend(left.iter().skip(i * buy).take(buy).cloned());
        }
        self.best_groups(groups, None, *permyriad, money)
    }

    fn free(&self, sku: &Sku, quantity: i64, money: &Money) -> Given {
        let lines: BTreeSet<String> =
            self.lines.iter().filter(|(_, (line, _))| line.sku == *sku).map(|(id, _)| id.clone()).collect();
        let mut pieces = self.pieces(&lines, &money.left);
        by_choice(&mut pieces, Choose::Cheapest);
        let mut given = Given::default();
        let mut open = quantity;
        for (price, line) in pieces {
            let before = given.shares.get(&line).copied().unwrap_or(0);
            let room = money.left[&line] - self.floor(&line) - before;
            if price > 0 && open > 0 && price <= room && given.minor() + price <= money.cap {
                given.shares.insert(line, before + price);
                open -= 1;
            }
        }
        given
    }
}
