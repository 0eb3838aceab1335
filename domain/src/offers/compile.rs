//! A catalogue's offers, compiled once per revision for evaluation: in the order in which they apply, codes and selectors
//! indexed, windows resolved. Immutable, and shared by all threads; whoever holds it prices with that revision.
//!
//! The index is what keeps a large catalogue cheap: an offer is looked at where a line of the cart names one of the ids
//! that its selector lists, where its code is typed, or where its selector lists none.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    ids::{OfferId, Sku, Word},
    offers::{
        code::NormalCode,
        document::{Discount, Offer, OfferKind, Weekday, Window},
        select::{Chooser, Picked, Symbols},
    },
    time::{Calendar, Timestamp},
};

/// All offers of a catalogue's revision.
#[derive(Debug)]
pub struct CompiledOffers {
    revision: u64,
    /// In the order in which they apply: priority, highest first, then id, then kind.
    pub(super) offers: Vec<Compiled>,
    pub(super) symbols: Symbols,
    pub(super) index: Index,
    by_id: HashMap<(OfferId, OfferKind), u32>,
    codes: HashMap<NormalCode, u32>,
}

/// An offer.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) id: OfferId,
    pub(super) kind: OfferKind,
    pub(super) offer: Arc<Offer>,
    pub(super) selector: Chooser,
    /// The conditions' own selector, where it is another.
    pub(super) counted: Option<Chooser>,
    /// Where the pieces at full price of "buy X get Y" come from, if not from the selector.
    pub(super) buys: Option<Chooser>,
    /// The product of a free item.
    pub(super) free_sku: Option<(u32, Sku)>,
    pub(super) windows: Option<Box<[Minutes]>>,
    /// Groups of offers, as numbers.
    pub(super) group: Option<u32>,
    pub(super) budget_group: Option<u32>,
}

/// A weekly window: days as bits from Monday, minutes of the day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Minutes {
    days: u8,
    from: u16,
    to: u16,
}

impl Minutes {
    fn of(window: &Window) -> Self {
        let days = window.days.as_deref().map_or(0x7f, |days| days.iter().fold(0, |bits, day| bits | bit(*day)));
        Self { days, from: window.from.minutes(), to: window.to.minutes() }
    }

    pub(super) const fn holds(self, weekday: u8, minute: u16) -> bool {
        (self.days >> weekday) & 1 == 1 && self.from <= minute && minute < self.to
    }
}

const fn bit(day: Weekday) -> u8 {
    1 << day as u8
}

/// Which campaigns a cart can concern.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) skus: Postings,
    pub(super) categories: Postings,
    pub(super) brands: Postings,
    pub(super) tags: Postings,
    pub(super) shops: Postings,
    /// Campaigns that name no id: every cart may concern them.
    pub(super) always: Vec<u32>,
}

/// By the number of an id: the campaigns that name it.
#[derive(Debug, Default)]
pub(super) struct Postings(Vec<Vec<Post>>);

impl Postings {
    fn add(&mut self, number: u32, post: Post) {
        let at = number as usize;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, Vec::new);
        }
        self.0[at].push(post);
    }

    pub(super) fn of(&self, number: u32) -> &[Post] {
        self.0.get(number as usize).map_or(&[], Vec::as_slice)
    }
}

/// A campaign, and which object of its selector named the id; `None`: the id only says that the campaign is to be looked
/// at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Post {
    pub(super) offer: u32,
    pub(super) include: Option<u32>,
}

impl CompiledOffers {
    /// No offers.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            revision: 0,
            offers: Vec::new(),
            symbols: Symbols::default(),
            index: Index::default(),
            by_id: HashMap::new(),
            codes: HashMap::new(),
        }
    }

    /// Compiles the offers of a revision. They have passed [`validate`](super::validate); of two with one id and kind the
    /// later counts (so that drafts go in last), of two with one code the one with the lesser id.
    ///
    /// Windows are by the shop's clock; the calendar that evaluation is given reads it.
    #[must_use]
    pub fn compile(revision: u64, offers: impl IntoIterator<Item = (OfferId, OfferKind, Arc<Offer>)>) -> Self {
        let unique: BTreeMap<(OfferId, OfferKind), Arc<Offer>> =
            offers.into_iter().map(|(id, kind, offer)| ((id, kind), offer)).collect();
        let mut sorted: Vec<_> = unique.into_iter().collect();
        // Stable: the map's order, by id and kind, decides among equal priorities.
        sorted.sort_by_key(|(_, offer)| Reverse(offer.stacking.priority));
        let mut set = Self { revision, ..Self::empty() };
        let (mut groups, mut budgets) = (HashMap::new(), HashMap::new());
        for ((id, kind), offer) in sorted {
            let compiled = set.compile_one(id, kind, offer, &mut groups, &mut budgets);
            let number = u32::try_from(set.offers.len()).unwrap_or(u32::MAX);
            match kind {
                OfferKind::Promo => set.add_codes(&compiled, number),
                OfferKind::Campaign => set.index.add(&compiled, number),
            }
            set.by_id.insert((compiled.id.clone(), kind), number);
            set.offers.push(compiled);
        }
        set
    }

    fn compile_one(
        &mut self,
        id: OfferId,
        kind: OfferKind,
        offer: Arc<Offer>,
        groups: &mut HashMap<Word, u32>,
        budgets: &mut HashMap<Word, u32>,
    ) -> Compiled {
        let number = |numbers: &mut HashMap<Word, u32>, word: Option<&Word>| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            word.map(|word| *numbers.entry(word.clone()).or_insert(next))
        };
        let symbols = &mut self.symbols;
        Compiled {
            selector: symbols.selector(&offer.selector),
            counted: offer.conditions.selector.as_ref().map(|selector| symbols.selector(selector)),
            buys: match &offer.discount {
                Discount::BuyXGetY { buy_selector, .. } => buy_selector.as_ref().map(|s| symbols.selector(s)),
                _ => None,
            },
            free_sku: match &offer.discount {
                Discount::FreeItem { sku, .. } => Some((symbols.sku(sku), sku.clone())),
                _ => None,
            },
            windows: offer.conditions.windows.as_ref().map(|windows| windows.iter().map(Minutes::of).collect()),
            group: number(groups, offer.stacking.group.as_ref()),
            budget_group: number(budgets, offer.limits.budget_group.as_ref()),
            id,
            kind,
            offer,
        }
    }

    fn add_codes(&mut self, compiled: &Compiled, number: u32) {
        for code in compiled.offer.codes.iter().filter_map(|code| NormalCode::new(code)) {
            let holder = self.codes.entry(code).or_insert(number);
            if self.offers.get(*holder as usize).is_some_and(|other| compiled.id < other.id) {
                *holder = number;
            }
        }
    }

    /// The catalogue's revision.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// How many offers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    /// An offer's document.
    #[must_use]
    pub fn get(&self, id: &OfferId, kind: OfferKind) -> Option<&Arc<Offer>> {
        self.position(id, kind).map(|number| &self.offers[number as usize].offer)
    }

    /// The promo that a shared code belongs to.
    #[must_use]
    pub fn promo_of(&self, code: &NormalCode) -> Option<&OfferId> {
        self.codes.get(code).map(|number| &self.offers[*number as usize].id)
    }

    pub(super) fn position(&self, id: &OfferId, kind: OfferKind) -> Option<u32> {
        // A clone of an id is a count, not a copy.
        self.by_id.get(&(id.clone(), kind)).copied()
    }

    pub(super) fn position_of_code(&self, code: &NormalCode) -> Option<u32> {
        self.codes.get(code).copied()
    }
}

impl Index {
    fn add(&mut self, compiled: &Compiled, offer: u32) {
        let look = Post { offer, include: None };
        if let Some((sku, _)) = compiled.free_sku {
            // Without the product in the cart it has no effect, whatever its selector selects.
            return self.skus.add(sku, look);
        }
        let include = &compiled.selector.include;
        if include.is_empty() || include.iter().any(|picked| Self::list(picked).is_none()) {
            return self.always.push(offer);
        }
        for (i, picked) in include.iter().enumerate() {
            let Some((dimension, numbers)) = Self::list(picked) else { continue };
            let include = u32::try_from(i).ok();
            for number in numbers {
                match dimension {
                    Dimension::Sku => self.skus.add(*number, Post { offer, include }),
                    Dimension::Brand => self.brands.add(*number, Post { offer, include }),
                    Dimension::Category => self.categories.add(*number, Post { offer, include }),
                    Dimension::Tag => self.tags.add(*number, Post { offer, include }),
                    Dimension::Shop => self.shops.add(*number, look),
                }
            }
        }
    }

    /// The dimension by which an object of a selector is found: the first, since it tells most.
    fn list(picked: &Picked) -> Option<(Dimension, &[u32])> {
        let Picked { skus, brands, categories, tags, shops, .. } = picked;
        [
            (Dimension::Sku, skus),
            (Dimension::Brand, brands),
            (Dimension::Category, categories),
            (Dimension::Tag, tags),
            (Dimension::Shop, shops),
        ]
        .into_iter()
        .find_map(|(dimension, list)| list.as_deref().map(|list| (dimension, list)))
    }
}

#[derive(Clone, Copy)]
enum Dimension {
    Sku,
    Brand,
    Category,
    Tag,
    Shop,
}

/// Weekday from Monday (0) and minute of the day by the shop's clock.
pub(super) fn clock(calendar: &Calendar, at: Timestamp) -> (u8, u16) {
    let (day, minute) = calendar.clock(at);
    (day.weekday(), minute)
}
