//! How offers go together: by priority, each on what the earlier ones left; of a group the best; of the exclusive ones the
//! best alone, or all the others, whichever gives more. "Best" is most money, then most points, then the lesser id.
//!
//! An offer that would change nothing does not count, nor one whose limits forbid this use: the next best of its group
//! takes its place.

use std::{cmp::Reverse, collections::HashMap};

use crate::{
    ids::OfferId,
    offers::{
        basket::Basket,
        candidates::Candidate,
        discount::{Gift, Giving, Left},
        document::OfferKind,
        outcome::{Reason, Use, multiplied},
    },
};

/// Asks whether an offer's limits allow a use.
pub type Uses<'a> = dyn Fn(&Use<'_>) -> Result<(), Reason> + 'a;

/// Where offers are put one after the other.
pub(super) struct Table<'a> {
    pub(super) basket: &'a Basket<'a>,
    pub(super) candidates: &'a [Candidate<'a>],
    pub(super) delivery_minor: i64,
    pub(super) rate_permyriad: Option<u32>,
    pub(super) uses: &'a Uses<'a>,
}

/// What became of some of the candidates; positions are those of the table's.
pub(super) struct Round {
    pub(super) left: Left,
    pub(super) applied: Vec<(usize, Gift)>,
    pub(super) rejected: Vec<(usize, Reason)>,
    /// What offers of each budget group give, minor units.
    budgets: HashMap<u32, i64>,
}

/// What is compared, the better the greater.
type Worth<'a> = (i64, i64, Reverse<(&'a OfferId, OfferKind)>);

impl<'a> Table<'a> {
    pub(super) fn round(&self, cap: i64) -> Round {
        let left = Left { lines: self.basket.subtotal.clone(), delivery: self.delivery_minor, cap };
        Round { left, applied: Vec::new(), rejected: Vec::new(), budgets: HashMap::new() }
    }

    /// A promo and a campaign may have one id.
    fn id(&self, candidate: usize) -> (&'a OfferId, OfferKind) {
        let compiled = self.candidates[candidate].compiled;
        (&compiled.id, compiled.kind)
    }

    fn worth(&self, candidate: usize, gift: &Gift) -> Worth<'a> {
        (gift.minor(), gift.points, Reverse(self.id(candidate)))
    }

    fn gift(&self, candidate: usize, left: &Left) -> Gift {
        let Candidate { compiled, lines, most_minor, .. } = &self.candidates[candidate];
        Giving {
            compiled,
            basket: self.basket,
            delivery_minor: self.delivery_minor,
            left,
            lines,
            rate_permyriad: self.rate_permyriad,
            most_minor: *most_minor,
        }
        .gift()
    }

    /// All candidates, as the rules stack them.
    pub(super) fn play(&self, cap: i64) -> Round {
        let (exclusive, others): (Vec<usize>, Vec<usize>) = (0..self.candidates.len())
            .partition(|candidate| self.candidates[*candidate].compiled.offer.stacking.exclusive);
        let mut together = self.round(cap);
        self.play_together(&others, &mut together);
        if exclusive.is_empty() {
            return together;
        }
        let mut alone = self.round(cap);
        self.play_best(&exclusive, Reason::ExclusiveOutdone, &mut alone);
        let (mut winner, loser) =
            if self.worth_of(&alone) > self.worth_of(&together) { (alone, together) } else { (together, alone) };
        winner.rejected.extend(loser.rejected);
        winner.rejected.extend(loser.applied.into_iter().map(|(outdone, _)| (outdone, Reason::ExclusiveOutdone)));
        winner
    }

    /// One after the other. A group stands where the first of its members stands that has an effect and is allowed there:
    /// one that is not must not move the others.
    fn play_together(&self, others: &[usize], round: &mut Round) {
        let mut groups: HashMap<u32, Vec<usize>> = HashMap::new();
        for candidate in others {
            if let Some(group) = self.candidates[*candidate].compiled.group {
                groups.entry(group).or_default().push(*candidate);
            }
        }
        for candidate in others {
            let Some(group) = self.candidates[*candidate].compiled.group else {
                self.apply(*candidate, round);
                continue;
            };
            let Some(members) = groups.get_mut(&group) else { continue };
            let gift = self.gift(*candidate, &round.left);
            match self.allow(*candidate, &gift, round) {
                Ok(()) => {
                    self.play_best(members, Reason::GroupOutdone, round);
                    groups.remove(&group);
                }
                Err(reason) => {
                    round.rejected.push((*candidate, reason));
                    members.retain(|member| member != candidate);
                }
            }
        }
    }

    /// The best of `members` that its limits allow.
    fn play_best(&self, members: &[usize], outdone: Reason, round: &mut Round) {
        let mut gifts: Vec<(usize, Gift)> =
            members.iter().map(|member| (*member, self.gift(*member, &round.left))).collect();
        gifts.sort_by(|a, b| self.worth(b.0, &b.1).cmp(&self.worth(a.0, &a.1)));
        let mut is_found = false;
        for (member, gift) in gifts {
            if is_found && gift.is_something() {
                round.rejected.push((member, outdone));
            } else {
                is_found |= self.settle(member, gift, round);
            }
        }
    }

    /// One offer on what is left.
    pub(super) fn apply(&self, candidate: usize, round: &mut Round) {
        let gift = self.gift(candidate, &round.left);
        self.settle(candidate, gift, round);
    }

    /// Lets a gift count, or says why not.
    fn settle(&self, candidate: usize, gift: Gift, round: &mut Round) -> bool {
        if let Err(reason) = self.allow(candidate, &gift, round) {
            round.rejected.push((candidate, reason));
            return false;
        }
        for (line, minor) in &gift.shares {
            round.left.lines[*line] -= minor;
        }
        round.left.cap -= gift.lines_minor;
        round.left.delivery -= gift.delivery_minor;
        if let Some(group) = self.candidates[candidate].compiled.budget_group {
            *round.budgets.entry(group).or_default() += gift.minor();
        }
        round.applied.push((candidate, gift));
        true
    }

    /// Whether a gift may count: it changes something, and the offer's limits allow it.
    fn allow(&self, candidate: usize, gift: &Gift, round: &Round) -> Result<(), Reason> {
        if !gift.is_something() {
            return Err(Reason::NoEffect);
        }
        let Candidate { compiled, code, .. } = &self.candidates[candidate];
        let spent = compiled.budget_group.and_then(|group| round.budgets.get(&group));
        (self.uses)(&Use {
            offer_id: &compiled.id,
            kind: compiled.kind,
            offer: &compiled.offer,
            code: *code,
            discount_minor: gift.minor(),
            group_minor: spent.copied().unwrap_or(0),
        })
    }

    /// What a round gives in all. Nothing at all is worth less than anything.
    fn worth_of(&self, round: &Round) -> Option<Worth<'a>> {
        let first = round.applied.iter().map(|(candidate, _)| self.id(*candidate)).min()?;
        let money = round.applied.iter().map(|(_, gift)| gift.minor()).sum();
        let left = |line: &usize| i128::from(round.left.lines[*line]);
        let open: i128 = self.basket.open.iter().map(|line| left(&line)).sum();
        let extra = |gift: &Gift| gift.multiplied.iter().map(left).sum::<i128>() * i128::from(gift.extra_permyriad);
        let added = round.applied.iter().map(|(_, gift)| extra(gift)).sum();
        let bonus: i64 = round.applied.iter().map(|(_, gift)| gift.bonus_points).sum();
        let points = bonus + multiplied(self.rate_permyriad.unwrap_or(0), open, added);
        Some((money, points, Reverse(first)))
    }
}
