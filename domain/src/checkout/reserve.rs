//! Which promos keep what for the offers of a hold: an offer's own entity for the limits that customers share, one for a
//! unique code, one for a budget that several offers spend. Pure; whoever coordinates asks the promos.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::HeldOffer;
use crate::{
    customer::marketing::day_after,
    entity::EntityKey,
    ids::{ExchangeId, OfferId},
    offers::{
        NormalCode, Offer,
        document::{Period, PeriodLimit},
    },
    promo::{Counter, InPeriod, KeyHash, Limits, Reserve, budget_id, code_id, is_code},
    time::{Calendar, Timestamp},
};

/// What one promo is asked to keep.
#[derive(Debug, Clone)]
pub struct Need {
    /// Which promo.
    pub promo: String,
    /// What of its limits counts.
    pub limits: Limits,
    /// Minor units.
    pub minor: i64,
    /// The offer it is for: one of them, for a shared budget.
    pub offer: OfferId,
}

/// What of a request goes into every reservation for it.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// The shopper's address, where it counts.
    pub addresses: Vec<PeriodAddress>,
    /// Keyed hashes of phone or payment means.
    pub link_keys: Vec<KeyHash>,
}

/// An address as promos know it in one period: hashed with that period's key, so that two periods cannot be told to be
/// one household's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeriodAddress {
    /// When the period ends.
    pub until: Timestamp,
    /// The hash.
    pub hash: KeyHash,
}

/// What of an address is one household: all of IPv4, the /64 of IPv6.
#[must_use]
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// When the day, the week and the month of `now` end.
#[must_use]
pub fn period_ends(calendar: &Calendar, now: Timestamp) -> [Timestamp; 3] {
    [Period::Day, Period::Week, Period::Month].map(|period| calendar.start(day_after(period, calendar.day(now))))
}

impl Marks {
    /// What a hold has to keep of its address: nothing where none of its offers counts it.
    #[must_use]
    pub fn addresses_of(&self, offers: &[HeldOffer]) -> Vec<PeriodAddress> {
        let counts = offers.iter().any(|held| held.offer.limits.per_ip_in.is_some());
        if counts { self.addresses.clone() } else { Vec::new() }
    }

    /// The request to one promo. `as_far`: see [`Reserve`].
    #[must_use]
    pub fn request(
        &self,
        need: &Need,
        hold: &ExchangeId,
        owner: &EntityKey,
        expires_at: Timestamp,
        as_far: bool,
    ) -> Reserve {
        Reserve {
            exchange: hold.clone(),
            owner: owner.clone(),
            minor: need.minor,
            as_far,
            ip: need.limits.per_ip_in.and_then(|limit| self.address_until(limit.until)),
            link_keys: self.link_keys.clone(),
            expires_at,
            limits: need.limits.clone(),
        }
    }

    fn address_until(&self, until: Timestamp) -> Option<KeyHash> {
        self.addresses.iter().find(|address| address.until == until).map(|address| address.hash)
    }

    /// What an offer needs of promos, for a hold made `at`. `unique`: the hash of the code by which it was found among
    /// unique ones.
    #[must_use]
    pub fn needs(
        &self,
        id: &OfferId,
        offer: &Offer,
        unique: Option<KeyHash>,
        minor: i64,
        (calendar, at): (&Calendar, Timestamp),
    ) -> Vec<Need> {
        let limits = &offer.limits;
        let linked = !self.link_keys.is_empty();
        let period = |limit: &PeriodLimit| InPeriod {
            uses: u32::try_from(limit.uses).unwrap_or(u32::MAX),
            until: calendar.start(day_after(limit.period, calendar.day(at))),
        };
        let own = Limits {
            total: limits.total.map(|total| u64::try_from(total).unwrap_or(0)),
            per_customer: limits.per_customer.filter(|_| linked).map(|uses| u32::try_from(uses).unwrap_or(u32::MAX)),
            per_customer_in: limits.per_customer_in.as_ref().filter(|_| linked).map(period),
            per_ip_in: limits.per_ip_in.as_ref().filter(|_| !self.addresses.is_empty()).map(period),
            budget_minor: limits.budget_minor.filter(|_| limits.budget_group.is_none()),
        };
        let mut needs = Vec::new();
        let need = |promo, limits, minor| Need { promo, limits, minor, offer: id.clone() };
        if own != Limits::default() || unique.is_some() {
            needs.push(need(id.to_string(), own, minor));
        }
        if let Some(hash) = unique {
            needs.push(need(code_id(id.as_str(), hash), Limits { total: Some(1), ..Limits::default() }, 0));
        }
        if let (Some(group), Some(budget)) = (&limits.budget_group, limits.budget_minor) {
            let shared = Limits { budget_minor: Some(budget), ..Limits::default() };
            needs.push(need(budget_id(group.as_str()), shared, minor));
        }
        needs
    }
}

impl Need {
    /// The same for a capture past its hold's time: it counts in the hold's own periods. What a promo has forgotten (only
    /// a policy with longer times than the default's comes so late) counts nowhere any more.
    #[must_use]
    pub fn late(mut self, now: Timestamp) -> Self {
        let known = |limit: &InPeriod| Counter::is_kept_until(limit.until, now);
        self.limits.per_customer_in = self.limits.per_customer_in.filter(known);
        self.limits.per_ip_in = self.limits.per_ip_in.filter(known);
        self
    }
}

/// What all offers of a hold need, each promo once: one reservation is one exchange.
#[must_use]
pub fn together(needs: Vec<Need>) -> Vec<Need> {
    let mut all: Vec<Need> = Vec::with_capacity(needs.len());
    for need in needs {
        match all.iter_mut().find(|known| known.promo == need.promo) {
            Some(known) => {
                known.minor += need.minor;
                known.limits.budget_minor = known.limits.budget_minor.min(need.limits.budget_minor);
            }
            None => all.push(need),
        }
    }
    all
}

impl HeldOffer {
    /// The code by which it was found among unique ones: of its document's own codes it is none.
    #[must_use]
    pub fn unique_code(&self) -> Option<NormalCode> {
        let code = NormalCode::new(self.code.as_deref()?)?;
        let shared = self.offer.codes.iter().any(|known| NormalCode::new(known).as_ref() == Some(&code));
        (!shared).then_some(code)
    }

    /// Whether `promo` keeps something of it: its uses, one of its codes, the budget of its group.
    #[must_use]
    pub fn is_kept_at(&self, promo: &str) -> bool {
        let group = self.offer.limits.budget_group.as_ref();
        promo == self.offer_id.as_str()
            || self.is_code_at(promo)
            || group.is_some_and(|group| promo == budget_id(group.as_str()))
    }

    fn is_code_at(&self, promo: &str) -> bool {
        is_code(promo) && promo.strip_prefix(self.offer_id.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The promo whose budget pays for it, if one does.
    #[must_use]
    pub fn budget(&self) -> Option<String> {
        let limits = &self.offer.limits;
        limits.budget_minor?;
        Some(limits.budget_group.as_ref().map_or_else(|| self.offer_id.to_string(), |group| budget_id(group.as_str())))
    }

    /// Whether of the promos that were `asked`, all that keep something of it are among those that `kept` it.
    #[must_use]
    pub fn has_all<'a>(
        &self,
        asked: impl IntoIterator<Item = &'a str>,
        kept: impl Iterator<Item = &'a str> + Clone,
    ) -> bool {
        asked.into_iter().filter(|promo| self.is_kept_at(promo)).all(|promo| kept.clone().any(|known| known == promo))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{offers::OfferKind, promo::is_budget};

    fn held(limits: &str, code: &str) -> HeldOffer {
        let document = format!(
            r#"{{"name": "o", "codes": ["ONE"], "discount": {{"type": "percent", "permyriad": 1000}}, "limits": {limits}}}"#
        );
        HeldOffer {
            offer_id: OfferId::new("o").unwrap(),
            kind: OfferKind::Promo,
            offer: Box::new(serde_json::from_str(&document).unwrap()),
            code: Some(code.to_owned()),
            discount_minor: 100,
        }
    }

    #[test]
    fn an_offer_is_left_where_all_that_was_asked_keeps_it() {
        let has = |held: &HeldOffer, asked: &[&'static str], kept: &[&'static str]| {
            held.has_all(asked.iter().copied(), kept.iter().copied())
        };
        let plain = held("{}", "one");
        assert!(has(&plain, &[], &[]) && has(&plain, &["p", "o2"], &[]), "what others need is not its own");
        assert!(has(&plain, &["o", "p"], &["o"]) && !has(&plain, &["o"], &["p"]));
        let unique = held("{}", "two");
        assert!(!has(&unique, &["o", "o/00"], &["o"]) && has(&unique, &["o", "o/00"], &["o", "o/00"]));
        let group = held(r#"{"budget_minor": 5, "budget_group": "g"}"#, "one");
        assert!(!has(&group, &["o", "~budget/g"], &["o"]) && has(&group, &["~budget/g"], &["~budget/g"]));
        assert_eq!(held(r#"{"budget_minor": 5}"#, "one").budget().as_deref(), Some("o"));
        assert!(group.is_kept_at("~budget/g") && unique.is_kept_at("o/00") && !unique.is_kept_at("o2/00"));
    }

    #[test]
    fn a_late_capture_counts_in_the_periods_of_its_hold_as_long_as_they_are_known() {
        let calendar = Calendar::new("UTC").unwrap();
        let held = held(
            r#"{"per_ip_in": {"uses": 1, "period": "day"}, "per_customer_in": {"uses": 2, "period": "week"}, "total": 9}"#,
            "one",
        );
        let at = Timestamp::parse("2026-11-28T23:00:00Z").unwrap();
        let [day, week, month] = period_ends(&calendar, at);
        assert_eq!(
            [day, week, month].map(|end| end.to_string()),
            ["2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"]
        );
        let address = |until, n| PeriodAddress { until, hash: KeyHash([n; 16]) };
        let marks = Marks { addresses: vec![address(week, 2), address(day, 1)], link_keys: vec![KeyHash([7; 16])] };
        assert_eq!(marks.addresses_of(std::slice::from_ref(&held)), marks.addresses);
        let needs = || marks.needs(&OfferId::new("o").unwrap(), &held.offer, None, 5, (&calendar, at));
        let owner = EntityKey::new(crate::entity::EntityKind::Guest, "g");
        let counted = |now| {
            let need = needs().remove(0).late(now);
            let request = marks.request(&need, &ExchangeId::new("late").unwrap(), &owner, now, true);
            assert_eq!(request.limits.total, Some(9));
            request.counted().into_iter().map(|(counter, limit)| (counter.until, counter.hash.0[0], limit)).collect()
        };
        let both: Vec<(Timestamp, u8, u32)> = counted(at.plus_seconds(73 * 3600));
        assert_eq!(both, [(week, 7, 2), (day, 1, 1)]);
        let one: Vec<(Timestamp, u8, u32)> = counted(at.plus_seconds(75 * 3600));
        assert_eq!(one, [(week, 7, 2)], "the day is forgotten");
        let plain = super::tests::held("{}", "one");
        assert!(marks.addresses_of(&[plain]).is_empty(), "an address that counts nowhere is not kept");
    }

    #[test]
    fn offers_that_share_a_budget_ask_it_once() {
        let marks = Marks::default();
        let calendar = Calendar::new("UTC").unwrap();
        let held = held(r#"{"budget_minor": 500, "budget_group": "g", "total": 3}"#, "one");
        let needs = |id: &str, minor| {
            marks.needs(&OfferId::new(id).unwrap(), &held.offer, None, minor, (&calendar, Timestamp(0)))
        };
        let all = together([needs("a", 10), needs("b", 20)].concat());
        let all: Vec<_> = all.iter().map(|need| (need.promo.as_str(), need.minor, need.limits.total)).collect();
        assert_eq!(all, [("a", 10, Some(3)), ("~budget/g", 30, None), ("b", 20, Some(3))]);
        assert!(is_budget("~budget/g") && !is_budget("a"));
    }
}
