//! The rules a second time: every piece on its own, selectors compared as text, discounts shared out round by round, no
//! index, no runs, nothing clever. What is shared with the engine is the document, the codes' normal form and `share_out`.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use adal_domain::{
    ids::OfferId,
    line::{Line, Unit},
    offers::{
        Condition, NormalCode, Offer, OfferKind, Reason, Use,
        document::{Conditions, Status},
    },
};

use crate::say::{Case, almaty};

mod gifts;

/// What one offer gives, by line_id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    pub offer: Option<(OfferId, OfferKind)>,
    pub code: Option<String>,
    pub shares: BTreeMap<String, i64>,
    pub delivery: i64,
    pub bonus: i64,
    pub extra: i64,
    pub multiplied: BTreeSet<String>,
    pub points: i64,
}

impl Given {
    fn minor(&self) -> i64 {
        self.shares.values().sum::<i64>() + self.delivery
    }
}

/// (offer, code, reason).
pub type Refused = (Option<(OfferId, OfferKind)>, Option<String>, Reason);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    pub discounts: BTreeMap<String, i64>,
    pub delivery: i64,
    pub applied: Vec<Given>,
    pub rejected: Vec<Refused>,
}

struct Entry<'a> {
    id: &'a OfferId,
    kind: OfferKind,
    offer: &'a Offer,
    code: Option<String>,
}

#[derive(Clone)]
struct Money {
    left: BTreeMap<String, i64>,
    delivery: i64,
    cap: i64,
    spring: i64,
}

struct World<'a> {
    case: &'a Case,
    /// Lines that are not restricted, by id, with their subtotals.
    lines: BTreeMap<String, (&'a Line, i64)>,
}

impl World<'_> {
    fn refusal(&self, entry: &Entry<'_>) -> Option<Reason> {
        let (case, offer) = (self.case, entry.offer);
        let shopper = &case.shopper;
        if entry.kind == OfferKind::Promo && entry.code.is_none() {
            return Some(Reason::CodeMissing);
        }
        if offer.status != Status::Active {
            return Some(if offer.status == Status::Draft { Reason::Draft } else { Reason::Ended });
        }
        if offer.starts_at.is_some_and(|starts| case.now < starts) {
            return Some(Reason::NotStarted);
        }
        if offer.ends_at.is_some_and(|ends| ends <= case.now) {
            return Some(Reason::Ended);
        }
        let c: &Conditions = &offer.conditions;
        let (day, minute) = almaty().clock(case.now);
        assert_eq!(day.to_string(), "2026-11-23", "a Monday: windows below are read for it alone");
        let window = c.windows.as_ref().is_none_or(|windows| {
            windows.iter().any(|w| {
                let today = w.days.as_ref().is_none_or(|d| d.contains(&adal_domain::offers::document::Weekday::Mon));
                today && w.from.minutes() <= minute && minute < w.to.minutes()
            })
        });
        let orders = shopper.completed_orders + shopper.live_orders;
        let known = shopper.customer_id.is_some();
        let circumstances = [
            (window, Condition::Windows),
            (c.shops.as_ref().is_none_or(|shops| shops.contains(&case.cart.shop_id)), Condition::Shops),
            (c.channels.as_ref().is_none_or(|channels| channels.contains(&case.cart.channel)), Condition::Channels),
            (c.tiers.as_ref().is_none_or(|t| shopper.tier.is_some_and(|tier| t.contains(&tier))), Condition::Tiers),
            (
                c.segments.as_ref().is_none_or(|s| shopper.segments.iter().any(|segment| s.contains(segment))),
                Condition::Segments,
            ),
            (c.min_trust.is_none_or(|least| shopper.trust.is_some_and(|trust| trust >= least)), Condition::MinTrust),
            (!c.first_order || (known && orders == 0), Condition::FirstOrder),
            (c.nth_order.is_none_or(|nth| known && orders + 1 == nth), Condition::NthOrder),
            (
                c.account_age_days.is_none_or(|least| shopper.account_age_days.is_some_and(|age| age >= least)),
                Condition::AccountAgeDays,
            ),
        ];
        if let Some((_, condition)) = circumstances.into_iter().find(|(holds, _)| !holds) {
            return Some(Reason::ConditionNotMet(condition));
        }
        let lines = self.select(&offer.selector);
        if lines.is_empty() {
            return Some(Reason::NoMatchingLines);
        }
        let lines = c.selector.as_ref().map_or(lines, |selector| self.select(selector));
        let found: Vec<_> = lines.iter().map(|line| self.lines[line]).collect();
        let subtotal: i64 = found.iter().map(|(_, s)| s).sum();
        let count: i64 = found.iter().map(|(l, _)| if l.unit == Unit::Piece { l.quantity } else { 1 }).sum();
        let products = found.iter().map(|(l, _)| l.sku.clone()).collect::<BTreeSet<_>>().len();
        let sums = [
            (c.min_subtotal_minor.is_none_or(|least| subtotal >= least), Condition::MinSubtotal),
            (c.max_subtotal_minor.is_none_or(|most| subtotal <= most), Condition::MaxSubtotal),
            (c.min_quantity.is_none_or(|least| count >= least), Condition::MinQuantity),
            (c.min_distinct.is_none_or(|least| i64::try_from(products).unwrap() >= least), Condition::MinDistinct),
        ];
        sums.into_iter().find(|(holds, _)| !holds).map(|(_, condition)| Reason::ConditionNotMet(condition))
    }

    fn money(&self) -> Money {
        let subtotal: i64 = self.lines.values().map(|(_, s)| s).sum();
        let cap = subtotal * i64::from(self.case.policy.checkout.max_discount_permyriad) / 10_000;
        Money { left: self.initial(), delivery: self.case.cart.delivery_minor, cap, spring: 0 }
    }
}

/// The one limit of the made-up offers that a test knows: a budget group's, and a total of 13 that is reached.
pub fn limits(asked: &Use<'_>) -> Result<(), Reason> {
    let limits = &asked.offer.limits;
    if limits.total == Some(13) {
        return Err(Reason::LimitReached(adal_domain::offers::Limit::Total));
    }
    if limits.budget_minor.is_some_and(|budget| budget < asked.discount_minor + asked.group_minor) {
        return Err(Reason::LimitReached(adal_domain::offers::Limit::Budget));
    }
    Ok(())
}

/// What became of some offers: what was given, in order, and why the rest was not.
#[derive(Default)]
struct Played {
    applied: Vec<Given>,
    rejected: Vec<Refused>,
}

impl Played {
    fn refuse(&mut self, entry: &Entry<'_>, reason: Reason) {
        self.rejected.push((Some((entry.id.clone(), entry.kind)), entry.code.clone(), reason));
    }

    /// The best of these that its limits allow.
    fn best(&mut self, world: &World<'_>, members: &[&Entry<'_>], outdone: Reason, money: &mut Money) {
        let mut gifts: Vec<(&Entry<'_>, Given)> = members.iter().map(|e| (*e, world.gift(e, money))).collect();
        gifts.sort_by_key(|(entry, given)| (Reverse(given.minor()), Reverse(given.points), entry.id, entry.kind));
        let mut found = false;
        for (entry, given) in gifts {
            if given.minor() == 0 && given.points == 0 {
                self.refuse(entry, Reason::NoEffect);
                continue;
            }
            if found {
                self.refuse(entry, outdone);
                continue;
            }
            let spends = entry.offer.limits.budget_group.is_some();
            let asked = Use {
                offer_id: entry.id,
                kind: entry.kind,
                offer: entry.offer,
                code: None,
                discount_minor: given.minor(),
                group_minor: if spends { money.spring } else { 0 },
            };
            if let Err(reason) = limits(&asked) {
                self.refuse(entry, reason);
                continue;
            }
            found = true;
            for (line, share) in &given.shares {
                *money.left.get_mut(line).unwrap() -= share;
                money.cap -= share;
            }
            money.delivery -= given.delivery;
            money.spring += if spends { given.minor() } else { 0 };
            self.applied.push(given);
        }
    }

    fn worth(&self, world: &World<'_>, money: &Money) -> (i64, i64) {
        let extras: Vec<_> = self.applied.iter().map(|given| (given.extra, given.multiplied.clone())).collect();
        let bonus: i64 = self.applied.iter().map(|given| given.bonus).sum();
        let points = bonus + world.cashback(&extras, money) - world.cashback(&[], money);
        (self.applied.iter().map(Given::minor).sum(), points)
    }

    fn first(&self) -> Option<&(OfferId, OfferKind)> {
        self.applied.iter().filter_map(|given| given.offer.as_ref()).min()
    }
}

/// Gives the codes to the promos that they belong to.
fn resolve(case: &Case, entries: &mut [Entry<'_>], rejected: &mut Vec<Refused>) {
    let mut codes: Vec<_> = case.codes.iter().collect();
    codes.sort_by_key(|code| (NormalCode::new(&code.typed), code.typed.clone(), code.offer.clone()));
    for code in codes {
        let normal = NormalCode::new(&code.typed);
        let has = |entry: &&mut Entry<'_>| {
            entry.kind == OfferKind::Promo
                && match &code.offer {
                    Some(id) => entry.id == id,
                    None => entry.offer.codes.iter().any(|c| NormalCode::new(c) == normal),
                }
        };
        match entries.iter_mut().find(has) {
            None => rejected.push((None, Some(code.typed.clone()), Reason::CodeUnknown)),
            Some(entry) if entry.code.is_some() => {
                let offer = Some((entry.id.clone(), entry.kind));
                rejected.push((offer, Some(code.typed.clone()), Reason::CodeDuplicate));
            }
            Some(entry) => entry.code = Some(code.typed.clone()),
        }
    }
}

/// What the engine must say, with `explain`.
pub fn evaluate(case: &Case) -> Outcome {
    let world = World::new(case);
    let mut rejected = Vec::new();
    let mut entries: Vec<Entry<'_>> =
        case.offers.iter().map(|(id, kind, offer)| Entry { id, kind: *kind, offer, code: None }).collect();
    entries.sort_by_key(|entry| (Reverse(entry.offer.stacking.priority), entry.id, entry.kind));
    resolve(case, &mut entries, &mut rejected);
    let mut able = Vec::new();
    for entry in &entries {
        match world.refusal(entry) {
            Some(reason) => rejected.push((Some((entry.id.clone(), entry.kind)), entry.code.clone(), reason)),
            None => able.push(entry),
        }
    }
    let (exclusive, others): (Vec<_>, Vec<_>) = able.into_iter().partition(|entry| entry.offer.stacking.exclusive);
    let (mut together, mut money) = (Played::default(), world.money());
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for (i, entry) in others.iter().enumerate() {
        let Some(group) = entry.offer.stacking.group.as_ref().map(|group| group.as_str()) else {
            together.best(&world, &[*entry], Reason::GroupOutdone, &mut money);
            continue;
        };
        if done.contains(group) {
            continue;
        }
        // Tried alone, and thrown away: a member that cannot apply here leaves the place to the next.
        let (mut trial, mut trial_money) = (Played::default(), money.clone());
        trial.best(&world, &[*entry], Reason::GroupOutdone, &mut trial_money);
        if trial.applied.is_empty() {
            together.rejected.extend(trial.rejected);
            continue;
        }
        done.insert(group);
        let is_member = |e: &&&Entry<'_>| e.offer.stacking.group.as_ref().is_some_and(|g| g.as_str() == group);
        let members: Vec<&Entry<'_>> = others[i..].iter().filter(is_member).copied().collect();
        together.best(&world, &members, Reason::GroupOutdone, &mut money);
    }
    let (mut alone, mut money_alone) = (Played::default(), world.money());
    alone.best(&world, &exclusive, Reason::ExclusiveOutdone, &mut money_alone);
    let is_alone = match (alone.first(), together.first()) {
        (Some(id), Some(other)) => {
            let (a, b) = (alone.worth(&world, &money_alone), together.worth(&world, &money));
            a > b || (a == b && id < other)
        }
        (Some(_), None) => true,
        (None, _) => false,
    };
    let (winner, loser) = if is_alone { (alone, together) } else { (together, alone) };
    if is_alone {
        money = money_alone;
    }
    rejected.extend(winner.rejected);
    rejected.extend(loser.rejected);
    rejected.extend(loser.applied.into_iter().map(|given| (given.offer, given.code, Reason::ExclusiveOutdone)));
    rejected.sort_by_key(|(offer, code, _)| (offer.is_none(), offer.clone(), code.clone()));
    let discounts = world.lines.iter().map(|(id, (_, s))| (id.clone(), s - money.left[id])).filter(|(_, d)| *d > 0);
    Outcome { discounts: discounts.collect(), delivery: money.delivery, applied: winner.applied, rejected }
}
