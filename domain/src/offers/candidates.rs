//! Which offers a cart concerns, and on which lines: promos by the codes typed, campaigns by the index. With `explain`
//! every offer is looked at, and whoever does not come in leaves a reason.

use std::collections::{HashMap, hash_map::Entry};

use crate::offers::{
    basket::{Basket, Lines},
    code::NormalCode,
    compile::{Compiled, CompiledOffers, Post},
    conditions::{Facts, check_circumstances, check_lines},
    document::OfferKind,
    outcome::{Reason, Rejected, TypedCode},
};

/// An offer that may apply: only its effect, its limits and the other offers can still stand against it.
pub(super) struct Candidate<'a> {
    pub(super) compiled: &'a Compiled,
    pub(super) lines: Lines,
    pub(super) code: Option<&'a str>,
    /// What it may take off at most, minor units.
    pub(super) most_minor: i64,
}

/// Those who come in, in the order in which offers apply, and those who do not.
pub(super) struct Gathered<'a> {
    pub(super) candidates: Vec<Candidate<'a>>,
    pub(super) rejected: Vec<Rejected>,
}

pub(super) fn rejected(compiled: &Compiled, code: Option<&str>, reason: Reason) -> Rejected {
    Rejected { offer: Some((compiled.id.clone(), compiled.kind)), code: code.map(str::to_owned), reason }
}

/// What of an offer is known before its turn.
enum Seen {
    Not,
    /// Its circumstances forbid it.
    Out,
    /// The lines found so far; `whole` where the index does not tell them all.
    In {
        lines: Lines,
        whole: bool,
    },
}

pub(super) fn gather<'a>(
    set: &'a CompiledOffers,
    basket: &Basket<'_>,
    facts: &Facts<'_>,
    codes: &'a [TypedCode],
    explain: bool,
) -> Gathered<'a> {
    let mut gathered = Gathered { candidates: Vec::new(), rejected: Vec::new() };
    let typed = resolve(set, codes, &mut gathered.rejected);
    let mut numbers: Vec<(u32, Option<Lines>)>;
    if explain {
        numbers = (0..set.offers.len()).filter_map(|number| Some((u32::try_from(number).ok()?, None))).collect();
    } else {
        numbers = concerned(set, basket, facts);
        numbers.extend(typed.keys().map(|number| (*number, None)));
        numbers.sort_unstable_by_key(|(number, _)| *number);
    }
    for (number, lines) in numbers {
        let compiled = &set.offers[number as usize];
        let code = typed.get(&number).copied();
        match admit(compiled, basket, facts, lines, code) {
            Ok(lines) => gathered.candidates.push(Candidate { compiled, lines, code, most_minor: i64::MAX }),
            Err(reason) if explain || code.is_some() => gathered.rejected.push(rejected(compiled, code, reason)),
            Err(_) => {}
        }
    }
    gathered
}

fn admit(
    compiled: &Compiled,
    basket: &Basket<'_>,
    facts: &Facts<'_>,
    lines: Option<Lines>,
    code: Option<&str>,
) -> Result<Lines, Reason> {
    if compiled.kind == OfferKind::Promo && code.is_none() {
        return Err(Reason::CodeMissing);
    }
    check_circumstances(compiled, facts)?;
    let lines = lines.unwrap_or_else(|| basket.select(&compiled.selector));
    check_lines(compiled, basket, &lines)?;
    Ok(lines)
}

/// The promos whose codes were typed. Of several codes of one promo the least in normal form counts, whatever the order.
fn resolve<'a>(set: &CompiledOffers, codes: &'a [TypedCode], rejections: &mut Vec<Rejected>) -> HashMap<u32, &'a str> {
    let mut sorted: Vec<(Option<NormalCode>, &TypedCode)> =
        codes.iter().map(|code| (NormalCode::new(&code.typed), code)).collect();
    sorted.sort_by(|a, b| (&a.0, &a.1.typed, &a.1.offer).cmp(&(&b.0, &b.1.typed, &b.1.offer)));
    let mut typed = HashMap::new();
    for (normal, code) in sorted {
        let number = match (&code.offer, normal) {
            (Some(id), _) => set.position(id, OfferKind::Promo),
            (None, Some(normal)) => set.position_of_code(&normal),
            (None, None) => None,
        };
        let Some(number) = number else {
            rejections.push(Rejected { offer: None, code: Some(code.typed.clone()), reason: Reason::CodeUnknown });
            continue;
        };
        match typed.entry(number) {
            Entry::Vacant(free) => _ = free.insert(code.typed.as_str()),
            Entry::Occupied(_) => {
                let compiled = &set.offers[number as usize];
                rejections.push(rejected(compiled, Some(&code.typed), Reason::CodeDuplicate));
            }
        }
    }
    typed
}

/// The campaigns that a line of the cart names, or that every cart concerns; with their lines, where the index tells.
fn concerned(set: &CompiledOffers, basket: &Basket<'_>, facts: &Facts<'_>) -> Vec<(u32, Option<Lines>)> {
    if !facts.shopper.campaigns {
        return Vec::new();
    }
    let index = &set.index;
    let mut search = Search { set, basket, facts, places: vec![NOWHERE; set.offers.len()], found: Vec::new() };
    for line in basket.open.iter() {
        let keys = &basket.keys[line];
        for post in index.skus.of(keys.sku) {
            search.meet(*post, line);
        }
        for post in index.brands.of(keys.brand) {
            search.meet(*post, line);
        }
        for post in index.categories.of(keys.category) {
            search.meet(*post, line);
        }
        for tag in &basket.tags[keys.tags.0..keys.tags.1] {
            for post in index.tags.of(*tag) {
                search.meet(*post, line);
            }
        }
    }
    let anywhere = index.always.iter().map(|offer| Post { offer: *offer, include: None });
    for post in index.shops.of(basket.shop).iter().copied().chain(anywhere) {
        search.meet(post, 0);
    }
    let known = |(number, seen)| match seen {
        Seen::In { whole: true, .. } => Some((number, None)),
        Seen::In { lines, whole: false } if !lines.is_empty() => Some((number, Some(lines))),
        _ => None,
    };
    search.found.into_iter().filter_map(known).collect()
}

const NOWHERE: u32 = u32::MAX;

struct Search<'a> {
    set: &'a CompiledOffers,
    basket: &'a Basket<'a>,
    facts: &'a Facts<'a>,
    /// For each offer its place in `found`.
    places: Vec<u32>,
    found: Vec<(u32, Seen)>,
}

impl Search<'_> {
    fn meet(&mut self, post: Post, line: usize) {
        let compiled = &self.set.offers[post.offer as usize];
        let mut place = self.places[post.offer as usize];
        if place == NOWHERE {
            place = u32::try_from(self.found.len()).unwrap_or(NOWHERE);
            self.places[post.offer as usize] = place;
            self.found.push((post.offer, Seen::Not));
        }
        let seen = &mut self.found[place as usize].1;
        if matches!(seen, Seen::Not) {
            // Most of a large catalogue's campaigns that a cart names are not on now: no set of lines for those.
            *seen = match check_circumstances(compiled, self.facts) {
                Ok(()) => Seen::In { lines: Lines::none(self.basket.len()), whole: false },
                Err(_) => Seen::Out,
            };
        }
        let Seen::In { lines, whole } = seen else { return };
        let Some(include) = post.include else {
            *whole = true;
            return;
        };
        let (keys, tags, shop) = (&self.basket.keys[line], &self.basket.tags, self.basket.shop);
        if !lines.has(line)
            && compiled.selector.include[include as usize].matches(keys, tags, shop)
            && !compiled.selector.excludes(keys, tags, shop)
        {
            lines.add(line);
        }
    }
}
