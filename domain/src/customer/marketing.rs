//! What a customer keeps of offers: the segments it is in, how often it has used what is limited per customer, its
//! exchanges with promos, and the sales that offers were part of.
//!
//! Absent for a customer who never met an offer, or of whom nothing of it is left. Changed by `apply` alone; what may happen
//! is decided in `holds` and `sales`.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{HoldId, OfferId, Word},
    offers::{
        Limit,
        document::{Limits, Period},
    },
    promo::{Used, book::Book},
    time::{Calendar, Day, Timestamp},
};

/// The most segments of one customer.
pub const MAX_SEGMENTS: usize = 200;

/// The most offers, limited per customer, whose uses are remembered.
pub const MAX_COUNTED: usize = 1000;

/// The most captured holds whose orders never came that are counted: more are no customer's first.
const MAX_CAPTURED: usize = 200;

/// How long the times of uses are of interest: a month, and the days in which a late capture may still count in it.
const PERIOD_DAYS: i64 = 36;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Marketing {
    /// The segments, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Word>,
    /// Uses of offers that are limited per customer: held or taken, and not given back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<OfferUses>,
    /// The exchanges with promos.
    #[serde(default)]
    pub book: Book,
    /// Captured holds with offers, whose orders may still be returned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sales: Vec<Sale>,
    /// When uses of an offer were given back lately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<(OfferId, Timestamp)>,
    /// Captured holds without offers whose orders have not come yet, by the order's fingerprint: an order that counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captured: Vec<(u64, Timestamp)>,
}

/// How often a customer has used an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferUses {
    /// Which.
    pub offer_id: OfferId,
    /// Held or taken, ever.
    pub uses: u32,
    /// When the latest holds with it were made, as far as a period may still count them.
    pub times: Vec<Timestamp>,
    /// Whether they count for ever; else the entry goes with the last of these times.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub ever: bool,
}

impl OfferUses {
    /// Whether a limit may still count one of them at `now`.
    fn counts(&self, now: Timestamp) -> bool {
        self.ever || self.times.iter().any(|at| is_recent(*at, now))
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.micros_since(at) < PERIOD_DAYS * Timestamp::DAY
}

const fn yes() -> bool {
    true
}

/// A captured hold with offers: where it stands in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    /// The order's fingerprint.
    pub key: u64,
    /// When it was captured.
    pub at: Timestamp,
    /// The row that has all of it.
    pub seq: u64,
}

/// A use of an offer that counts for the customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedUse {
    /// Which offer.
    pub offer_id: OfferId,
    /// When its hold was made.
    pub at: Timestamp,
    /// Whether it counts for ever: the offer has a limit per customer that no period ends.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub ever: bool,
}

/// A use that is listed for the usage report: of an offer whose own promo did not count it (`views`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedUse {
    /// The captured hold.
    pub hold_id: HoldId,
    /// Of which offer.
    pub offer_id: OfferId,
    /// The day of the capture.
    pub day: Day,
}

impl ListedUse {
    /// Where it is listed: once, for a hold is captured once. Newest days first.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {} {}", self.day, self.hold_id, self.offer_id)
    }

    /// What it is listed under: the offer and its month, so that neither a list nor what a report asks for grows for ever.
    #[must_use]
    pub fn filter(offer: &OfferId, day: Day) -> String {
        let day = day.to_string();
        format!("{offer} {}", day.get(..7).unwrap_or(&day))
    }
}

/// What is listed of a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The day of the capture.
    pub day: Day,
    /// What it took off, minor units.
    pub minor: i64,
}

/// Whether a use of `offer` is listed: the offer's own promo has not counted it, in a sale that used these.
#[must_use]
pub fn is_listed(offer: &OfferId, used: &[Used]) -> bool {
    used.iter().all(|used| *used.promo != *offer.as_str())
}

/// The day of a sale. Rows of before sales bore one count on their day in UTC.
#[must_use]
pub fn sold_on(day: Option<Day>, at: Timestamp) -> Day {
    let utc = i32::try_from(at.0.div_euclid(Timestamp::DAY)).unwrap_or(i32::MAX);
    day.unwrap_or(Day(utc))
}

impl Marketing {
    /// Whether an offer's limits per customer allow one more use by a hold made `now`.
    ///
    /// # Errors
    /// The limit that stands against it.
    pub fn allows(&self, id: &OfferId, limits: &Limits, now: Timestamp, calendar: &Calendar) -> Result<(), Limit> {
        let counted = is_counted(limits);
        let known = self.uses.iter().find(|uses| uses.offer_id == *id);
        if counted
            && known.is_none()
            && self.uses.len() >= MAX_COUNTED
            && self.uses.iter().filter(|uses| uses.counts(now)).count() >= MAX_COUNTED
        {
            return Err(Limit::PerCustomer);
        }
        let uses = known.map_or(0, |known| i64::from(known.uses));
        if limits.per_customer.is_some_and(|limit| uses >= limit) {
            return Err(Limit::PerCustomer);
        }
        if let Some(limit) = &limits.per_customer_in {
            let day = calendar.day(now);
            let (from, until) = (first_day(limit.period, day), day_after(limit.period, day));
            let period = calendar.start(from)..calendar.start(until);
            let times = known.map_or(&[][..], |known| &known.times);
            let in_period = times.iter().filter(|at| period.contains(at)).count();
            if i64::try_from(in_period).unwrap_or(i64::MAX) >= limit.uses {
                return Err(Limit::PerCustomerIn);
            }
        }
        Ok(())
    }

    /// Whether an order has captured holds.
    #[must_use]
    pub fn is_sold(&self, key: u64) -> bool {
        self.sales.iter().any(|sale| sale.key == key)
    }

    /// A hold without offers was captured, for an order that has not come yet.
    pub(super) fn note_captured(&mut self, key: u64, at: Timestamp) {
        self.captured.retain(|(known, _)| *known != key);
        if self.captured.len() >= MAX_CAPTURED {
            self.captured.remove(0);
        }
        self.captured.push((key, at));
    }

    /// How often uses of an offer were given back since `from`.
    #[must_use]
    pub fn returned_since(&self, id: &OfferId, from: Timestamp) -> usize {
        self.returned.iter().filter(|(known, at)| known == id && *at >= from).count()
    }

    pub(super) fn count(&mut self, one: &CountedUse) {
        self.uses.retain(|known| known.counts(one.at));
        let known = match self.uses.iter().position(|uses| uses.offer_id == one.offer_id) {
            Some(known) => known,
            None => {
                let (offer_id, ever) = (one.offer_id.clone(), one.ever);
                self.uses.push(OfferUses { offer_id, uses: 0, times: Vec::new(), ever });
                self.uses.len() - 1
            }
        };
        let known = &mut self.uses[known];
        known.uses = known.uses.saturating_add(1);
        known.ever |= one.ever;
        known.times.retain(|at| is_recent(*at, one.at));
        known.times.push(one.at);
    }

    pub(super) fn uncount(&mut self, one: &CountedUse) {
        for known in self.uses.iter_mut().filter(|known| known.offer_id == one.offer_id) {
            let time = known.times.iter().position(|at| *at == one.at);
            // One that no limit counts any more may have gone with its entry: it is not one of those that came after it.
            if known.ever || time.is_some() {
                known.uses = known.uses.saturating_sub(1);
            }
            if let Some(i) = time {
                known.times.remove(i);
            }
        }
        self.uses.retain(|known| known.uses > 0);
    }
}

/// Whether an offer's uses are counted per customer at all.
#[must_use]
pub fn is_counted(limits: &Limits) -> bool {
    limits.per_customer.is_some() || limits.per_customer_in.is_some()
}

/// The first day of the period that `day` is in.
#[must_use]
pub fn first_day(period: Period, day: Day) -> Day {
    match period {
        Period::Day => day,
        Period::Week => day.plus(-i32::from(day.weekday())),
        Period::Month => day.first_of_month(),
    }
}

/// The first day after the period that `day` is in.
#[must_use]
pub fn day_after(period: Period, day: Day) -> Day {
    match period {
        Period::Day => day.plus(1),
        Period::Week => first_day(Period::Week, day).plus(7),
        // 31 days after a month's first day it is the next month, whatever its length.
        Period::Month => day.first_of_month().plus(31).first_of_month(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offers::document::PeriodLimit;

    fn day(text: &str) -> Day {
        Calendar::new("UTC").unwrap().day(Timestamp::parse(&format!("{text}T12:00:00Z")).unwrap())
    }

    #[test]
    fn periods_begin_and_end_where_the_calendar_says() {
        let of = |period, at: &str| (first_day(period, day(at)).to_string(), day_after(period, day(at)).to_string());
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(of(Period::Day, "2026-02-28"), pair("2026-02-28", "2026-03-01"));
        assert_eq!(of(Period::Week, "2026-11-29"), pair("2026-11-23", "2026-11-30"));
        assert_eq!(of(Period::Month, "2026-02-15"), pair("2026-02-01", "2026-03-01"));
        assert_eq!(of(Period::Month, "2026-12-31"), pair("2026-12-01", "2027-01-01"));
    }

    #[test]
    fn a_use_counts_until_it_is_given_back_and_in_its_own_period_alone() {
        let calendar = Calendar::new("UTC").unwrap();
        let id = OfferId::new("o").unwrap();
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let daily = Limits { per_customer_in: Some(PeriodLimit { uses: 1, period: Period::Day }), ..Limits::default() };
        let twice = Limits { per_customer: Some(2), ..Limits::default() };
        let mut marketing = Marketing::default();
        let first = CountedUse { offer_id: id.clone(), at: at("2026-11-23T23:59:59Z"), ever: true };
        marketing.count(&first);
        assert_eq!(marketing.allows(&id, &daily, at("2026-11-23T23:59:59Z"), &calendar), Err(Limit::PerCustomerIn));
        assert_eq!(marketing.allows(&id, &daily, at("2026-11-24T00:00:00Z"), &calendar), Ok(()));
        let second = CountedUse { offer_id: id.clone(), at: at("2026-11-24T00:00:00Z"), ever: true };
        marketing.count(&second);
        assert_eq!(marketing.allows(&id, &twice, second.at, &calendar), Err(Limit::PerCustomer));
        marketing.uncount(&first);
        assert_eq!(marketing.allows(&id, &twice, second.at, &calendar), Ok(()));
        marketing.uncount(&second);
        assert_eq!(marketing, Marketing::default());
    }

    #[test]
    fn uses_that_a_period_alone_counts_make_room_when_it_is_over() {
        let calendar = Calendar::new("UTC").unwrap();
        let daily = Limits { per_customer_in: Some(PeriodLimit { uses: 1, period: Period::Day }), ..Limits::default() };
        let ever = Limits { per_customer: Some(1), ..Limits::default() };
        let start = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
        let days = |days: i64| start.plus_seconds(days * 86_400);
        let one = |n: usize, at, ever| CountedUse { offer_id: OfferId::new(&format!("o{n}")).unwrap(), at, ever };
        let mut marketing = Marketing::default();
        (0..MAX_COUNTED).for_each(|n| marketing.count(&one(n, start, n == 0)));
        let new = OfferId::new("new").unwrap();
        assert_eq!(marketing.allows(&new, &daily, days(35), &calendar), Err(Limit::PerCustomer), "no room");
        assert_eq!(marketing.allows(&new, &daily, days(36), &calendar), Ok(()));
        marketing.count(&one(1, days(36), false));
        let left: Vec<&str> = marketing.uses.iter().map(|uses| uses.offer_id.as_str()).collect();
        assert_eq!(left, ["o0", "o1"]);
        // What counts for ever stays; a use that comes back after its entry went takes no other's place.
        assert_eq!(
            marketing.allows(&OfferId::new("o0").unwrap(), &ever, days(400), &calendar),
            Err(Limit::PerCustomer)
        );
        marketing.uncount(&one(1, start, false));
        assert_eq!(marketing.uses[1].uses, 1);
        // Rows of before say nothing of it: their uses stay.
        let old: OfferUses = serde_json::from_str(r#"{"offer_id": "o", "uses": 1, "times": []}"#).unwrap();
        assert!(old.ever && old.counts(days(9_999)));
    }
}
