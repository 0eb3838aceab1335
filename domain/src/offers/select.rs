//! Selectors, compiled: ids become numbers once per catalogue, so that matching a line compares integers.

use std::{collections::HashMap, hash::Hash};

use crate::{
    ids::{ShopId, Sku, Word},
    line::{Line, Unit},
    offers::document::{Selection, Selector},
};

/// The number of an id that no selector names.
pub(super) const UNKNOWN: u32 = u32::MAX;

type Numbers<K> = HashMap<K, u32>;

/// The numbers of all ids that selectors of one catalogue name.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    skus: Numbers<Sku>,
    categories: Numbers<Word>,
    brands: Numbers<Word>,
    tags: Numbers<Word>,
    shops: Numbers<ShopId>,
}

fn number<K: Hash + Eq + Clone>(numbers: &mut Numbers<K>, key: &K) -> u32 {
    let next = u32::try_from(numbers.len()).unwrap_or(UNKNOWN - 1);
    *numbers.entry(key.clone()).or_insert(next)
}

fn all<K: Hash + Eq + Clone>(numbers: &mut Numbers<K>, keys: Option<&Vec<K>>) -> Option<Box<[u32]>> {
    keys.map(|keys| {
        let mut found: Vec<u32> = keys.iter().map(|key| number(numbers, key)).collect();
        found.sort_unstable();
        found.dedup();
        found.into_boxed_slice()
    })
}

fn find<K: Hash + Eq>(numbers: &Numbers<K>, key: Option<&K>) -> u32 {
    // Where nothing is named at all, hashing every line's id would be for nothing.
    match key {
        Some(key) if !numbers.is_empty() => numbers.get(key).copied().unwrap_or(UNKNOWN),
        _ => UNKNOWN,
    }
}

impl Symbols {
    pub(super) fn sku(&mut self, sku: &Sku) -> u32 {
        number(&mut self.skus, sku)
    }

    pub(super) fn selector(&mut self, selector: &Selector) -> Chooser {
        Chooser {
            include: selector.include.iter().map(|selection| self.selection(selection)).collect(),
            exclude: selector.exclude.iter().map(|selection| self.selection(selection)).collect(),
        }
    }

    fn selection(&mut self, selection: &Selection) -> Picked {
        Picked {
            skus: all(&mut self.skus, selection.skus.as_ref()),
            categories: all(&mut self.categories, selection.categories.as_ref()),
            brands: all(&mut self.brands, selection.brands.as_ref()),
            tags: all(&mut self.tags, selection.tags.as_ref()),
            shops: all(&mut self.shops, selection.shops.as_ref()),
            min_unit_price: selection.min_unit_price_minor,
            max_unit_price: selection.max_unit_price_minor,
        }
    }

    pub(super) fn shop(&self, shop: &ShopId) -> u32 {
        find(&self.shops, Some(shop))
    }

    pub(super) fn line(&self, line: &Line, tags: &mut Vec<u32>) -> Keys {
        let first = tags.len();
        tags.extend(line.tags.iter().map(|tag| find(&self.tags, Some(tag))).filter(|tag| *tag != UNKNOWN));
        let unit_price = match (line.unit_price_minor, line.line_total_minor) {
            (Some(price), _) => (i128::from(price), 1),
            (None, total) => {
                let per = if line.unit == Unit::Gram { 1000 } else { 1 };
                (i128::from(total.unwrap_or(0)) * per, i128::from(line.quantity.max(1)))
            }
        };
        Keys {
            sku: find(&self.skus, Some(&line.sku)),
            category: find(&self.categories, line.category.as_ref()),
            brand: find(&self.brands, line.brand.as_ref()),
            tags: (first, tags.len()),
            unit_price,
        }
    }
}

/// A line, as selectors see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) sku: u32,
    pub(super) category: u32,
    pub(super) brand: u32,
    /// Where its tags stand in the cart's list of them.
    pub(super) tags: (usize, usize),
    /// Minor units per piece or kilogram, as a fraction: a line's total divided by its quantity need not be whole.
    unit_price: (i128, i128),
}

/// A selector.
#[derive(Debug)]
pub(super) struct Chooser {
    pub(super) include: Box<[Picked]>,
    exclude: Box<[Picked]>,
}

impl Chooser {
    /// Whether it selects every line.
    pub(super) fn is_everything(&self) -> bool {
        self.exclude.is_empty() && (self.include.is_empty() || self.include.iter().any(Picked::is_everything))
    }

    pub(super) fn matches(&self, line: &Keys, tags: &[u32], shop: u32) -> bool {
        (self.include.is_empty() || self.include.iter().any(|picked| picked.matches(line, tags, shop)))
            && !self.excludes(line, tags, shop)
    }

    pub(super) fn excludes(&self, line: &Keys, tags: &[u32], shop: u32) -> bool {
        self.exclude.iter().any(|picked| picked.matches(line, tags, shop))
    }
}

/// One object of a selector; each list is sorted.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) skus: Option<Box<[u32]>>,
    pub(super) categories: Option<Box<[u32]>>,
    pub(super) brands: Option<Box<[u32]>>,
    pub(super) tags: Option<Box<[u32]>>,
    pub(super) shops: Option<Box<[u32]>>,
    min_unit_price: Option<i64>,
    max_unit_price: Option<i64>,
}

fn holds(list: Option<&[u32]>, value: u32) -> bool {
    list.is_none_or(|list| list.binary_search(&value).is_ok())
}

impl Picked {
    fn is_everything(&self) -> bool {
        let Self { skus, categories, brands, tags, shops, min_unit_price, max_unit_price } = self;
        [skus, categories, brands, tags, shops].iter().all(|list| list.is_none())
            && min_unit_price.is_none()
            && max_unit_price.is_none()
    }

    pub(super) fn matches(&self, line: &Keys, tags: &[u32], shop: u32) -> bool {
        let (price, per) = line.unit_price;
        holds(self.skus.as_deref(), line.sku)
            && holds(self.categories.as_deref(), line.category)
            && holds(self.brands.as_deref(), line.brand)
            && holds(self.shops.as_deref(), shop)
            && self.min_unit_price.is_none_or(|least| price >= i128::from(least) * per)
            && self.max_unit_price.is_none_or(|most| price <= i128::from(most) * per)
            && self
                .tags
                .as_deref()
                .is_none_or(|wanted| tags[line.tags.0..line.tags.1].iter().any(|tag| wanted.binary_search(tag).is_ok()))
    }
}
