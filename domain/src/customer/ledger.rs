//! Points as lots: what can be spent, until when; what is not active yet; what support decides on; what is owed.
//!
//! Everything here only moves numbers as an event says. What an event should say is decided in the sibling modules.

use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

use super::{
    pile::{Due, Pile},
    read::{Cause, Refund},
};
use crate::{
    ids::{Actor, EntryId, OrderKey},
    offers::document::FundedBy,
    time::{Day, Timestamp},
};

/// Points that expire on one day. Lots that expire on one day are one lot; a revived one stays apart, because it is
/// revived once. 8 bytes: a year of shopping makes fifty lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lot {
    /// Twice the day of expiry, and one more where it is revived: lots sort by it.
    key: i32,
    /// Available points: more than 0. What is above 2^32 stands in a second lot of the same key.
    points: u32,
}

impl Lot {
    const fn key_of(expires: Day, revived: bool) -> i32 {
        expires.0.saturating_mul(2).saturating_add(revived as i32)
    }

    /// Expires at 00:00 of this day.
    #[must_use]
    pub const fn expires(self) -> Day {
        Day(self.key.div_euclid(2))
    }

    /// Whether it lives its 30 more days.
    #[must_use]
    pub const fn is_revived(self) -> bool {
        self.key.rem_euclid(2) == 1
    }

    /// Available points: more than 0.
    #[must_use]
    pub const fn points(self) -> i64 {
        self.points as i64
    }

    /// All of it, as a part.
    #[must_use]
    pub const fn part(self) -> LotPart {
        LotPart { expires: self.expires(), revived: self.is_revived(), points: self.points() }
    }
}

/// A part of a lot that came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotPart {
    /// Which lot.
    pub expires: Day,
    /// Which of the two kinds.
    pub revived: bool,
    /// Points; negative where they went.
    pub points: i64,
}

/// Cashback that is not active yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// By which order.
    pub order: OrderKey,
    /// Points: more than 0.
    pub points: i64,
    /// Active at 00:00 of this day.
    pub activates: Day,
    /// Expires at 00:00 of this day.
    pub expires: Day,
    /// What it is.
    #[serde(default, skip_serializing_if = "EarnedBy::is_cashback")]
    pub source: EarnedBy,
}

/// What points of an order are, and who pays for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarnedBy {
    /// Cashback: the platform pays.
    #[default]
    Cashback,
    /// The bonus of an offer, which says who pays.
    Offer(FundedBy),
}

impl EarnedBy {
    /// Whether it is plain cashback.
    #[must_use]
    pub const fn is_cashback(&self) -> bool {
        matches!(self, Self::Cashback)
    }
}

impl Due for Pending {
    fn due(&self) -> Day {
        self.activates
    }
}

/// An earning past a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderReview {
    /// By which it is decided.
    pub entry: EntryId,
    /// By which order.
    pub order: OrderKey,
    /// Points: more than 0.
    pub points: i64,
    /// When it was earned.
    pub at: Timestamp,
    /// The day on whose limits a release counts.
    pub day: Day,
    /// The limit that it would have passed.
    pub limit: Box<str>,
}

/// A change of the balance, as the statement shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique per customer.
    pub entry: EntryId,
    /// When it took effect.
    pub at: Timestamp,
    /// Plus or minus; never 0.
    pub points: i64,
    /// The balance after it.
    pub balance_after: i64,
    /// Why.
    pub cause: Cause,
    /// By which order.
    pub order: Option<OrderKey>,
    /// The reason that a person gave.
    pub reason: Option<Box<str>>,
    /// Who gave it: for the audit, never for the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// What it does to the lots of available points.
    pub lots: Vec<LotPart>,
    /// Who pays for the points, where it is not the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub funded_by: Option<FundedBy>,
    /// What the return that it is of refunds; absent in rows of before it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<Box<Refund>>,
}

/// Points burned for an order, and the lots that they came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burn {
    /// The order's fingerprint.
    pub key: u64,
    /// When.
    pub at: Timestamp,
    /// All points burned for it.
    pub points: i64,
    /// Of these, given back.
    pub given_back: i64,
    /// Where they came from, in the order in which they were spent.
    pub spent: Vec<LotPart>,
}

/// All points of a customer. Thin vectors: an empty one is a pointer, and most of these are empty in most customers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The sum of all entries: available + held.
    pub balance: i64,
    /// Points that later earnings have to pay.
    pub debt: i64,
    /// The number of entries (and reviews) so far: gives them their ids.
    pub entries: u64,
    /// Available points by expiry, soonest first.
    pub lots: ThinVec<Lot>,
    /// Earned, not active yet.
    pub pending: Pile<Pending>,
    /// Past a limit.
    pub reviews: Pile<UnderReview>,
    /// Points voided by support, by order: a return counts them as clawed back.
    pub voided: ThinVec<(u64, i64)>,
    /// Points that expired unspent, by the day on which they did: a return of their order counts them as clawed back.
    pub expired: ThinVec<(Day, i64)>,
    /// Lots that live again: the day they had expired on, the day until which they live.
    pub revived: ThinVec<(Day, Day)>,
    /// Burns of the last 400 days.
    pub burns: ThinVec<Burn>,
}

impl Ledger {
    /// Points that can be spent.
    #[must_use]
    pub fn available(&self) -> i64 {
        self.lots.iter().map(|lot| lot.points()).sum()
    }

    /// Points not active yet.
    #[must_use]
    pub fn pending(&self) -> i64 {
        self.pending.iter().map(|pending| pending.points).sum()
    }

    /// Points under review.
    #[must_use]
    pub fn under_review(&self) -> i64 {
        self.reviews.iter().map(|review| review.points).sum()
    }

    /// The points of one lot.
    #[must_use]
    pub fn lot(&self, expires: Day, revived: bool) -> i64 {
        {
            let key = Lot::key_of(expires, revived);
            self.lots.iter().filter(|lot| lot.key == key).map(|lot| lot.points()).sum()
        }
    }

    /// The burn for an order.
    #[must_use]
    pub fn burn(&self, key: u64) -> Option<&Burn> {
        self.burns.iter().find(|burn| burn.key == key)
    }

    /// `points` from the lots that expire soonest, leaving `skip` alone; as many as there are.
    #[must_use]
    pub fn soonest(&self, points: i64, skip: Option<(Day, bool)>) -> Vec<LotPart> {
        let skip = skip.map(|(expires, revived)| Lot::key_of(expires, revived));
        let mut left = points;
        let mut parts: Vec<LotPart> = Vec::new();
        for lot in self.lots.iter().filter(|lot| Some(lot.key) != skip) {
            if left <= 0 {
                break;
            }
            let taken = LotPart { points: left.min(lot.points()), ..lot.part() };
            left -= taken.points;
            match parts.last_mut().filter(|last| (last.expires, last.revived) == (taken.expires, taken.revived)) {
                Some(last) => last.points += taken.points,
                None => parts.push(taken),
            }
        }
        parts
    }

    /// Moves one lot by a part.
    pub fn move_lot(&mut self, part: LotPart) {
        let key = Lot::key_of(part.expires, part.revived);
        let from = self.lots.partition_point(|lot| lot.key < key);
        let to = self.lots.partition_point(|lot| lot.key <= key);
        let points = self.lots[from..to].iter().map(|lot| lot.points()).sum::<i64>().saturating_add(part.points);
        debug_assert!(points >= 0, "a lot below zero: {part:?}");
        let mut left = u64::try_from(points).unwrap_or(0);
        let mut lots = Vec::new();
        while left > 0 {
            let points = u32::try_from(left).unwrap_or(u32::MAX);
            left -= u64::from(points);
            lots.push(Lot { key, points });
        }
        if lots.len() > to - from {
            // Grown one by one: most customers' lots stay as they are, and half-empty buffers are memory.
            self.lots.reserve_exact(lots.len() - (to - from));
        }
        self.lots.splice(from..to, lots);
    }

    /// Writes an entry.
    pub fn enter(&mut self, entry: &Entry) {
        self.balance = self.balance.saturating_add(entry.points);
        self.entries += 1;
        for part in &entry.lots {
            self.move_lot(*part);
        }
        match entry.cause {
            Cause::DebtPayment => self.debt = self.debt.saturating_add(entry.points).max(0),
            Cause::Expiry => {
                for part in entry.lots.iter().filter(|part| part.points < 0 && !part.revived) {
                    self.note_expired(part.expires, -part.points);
                }
            }
            _ => {}
        }
    }

    /// Remembers points that expired, for as long as a return can ask for them: no order is returned 400 days after it
    /// ended, and none of its points expire before that.
    pub fn note_expired(&mut self, day: Day, points: i64) {
        self.expired.retain(|(expired, _)| expired.plus(400) > day);
        self.revived.retain(|(_, until)| until.plus(400) > day);
        match self.expired.iter_mut().find(|(expired, _)| *expired == day) {
            Some((_, sum)) => *sum = sum.saturating_add(points).max(0),
            None if points > 0 => self.expired.push((day, points)),
            None => {}
        }
        self.expired.retain(|(_, points)| *points > 0);
    }
}
