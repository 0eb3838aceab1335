//! Which promos keep what for the offers of a hold: an offer's own entity for the limits that customers share, one for a
//! unique code, one for a budget that several offers spend. Pure; whoever coordinates asks the promos.

use std::net::{IpAddr, Ipv6Addr};

use super::HeldOffer;
use crate::{
    customer::marketing::{day_after, is_counted},
    entity::EntityKey,
    ids::{ExchangeId, OfferId},
    offers::{NormalCode, Offer, document::PeriodLimit},
    promo::{InPeriod, KeyHash, Limits, Reserve, budget_id, code_id, is_code},
    qr::KeyRing,
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
    pub ip: Option<IpAddr>,
    /// Keyed hashes of phone or payment means.
    pub link_keys: Vec<KeyHash>,
}

impl Marks {
    /// The address as the promo knows it: hashed for its period alone, so that two periods cannot be told to be one
    /// household's. IPv6 by /64, which is one household.
    fn ip_hash(&self, ring: &KeyRing, until: Timestamp) -> Option<KeyHash> {
        let network = match self.ip? {
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => IpAddr::V4(v4),
                None => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
            },
            v4 @ IpAddr::V4(_) => v4,
        };
        ring.blind(&format!("address until {}", until.0), &network.to_string()).map(KeyHash)
    }

    /// The request to one promo. `as_far`: see [`Reserve`].
    #[must_use]
    pub fn request(
        &self,
        ring: &KeyRing,
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
            ip: need.limits.per_ip_in.and_then(|limit| self.ip_hash(ring, limit.until)),
            link_keys: self.link_keys.clone(),
            expires_at,
            limits: need.limits.clone(),
        }
    }

    /// What an offer needs of promos. `unique`: the hash of the code by which it was found among unique ones.
    #[must_use]
    pub fn needs(
        &self,
        id: &OfferId,
        offer: &Offer,
        unique: Option<KeyHash>,
        minor: i64,
        (calendar, now): (&Calendar, Timestamp),
    ) -> Vec<Need> {
        let limits = &offer.limits;
        let linked = !self.link_keys.is_empty();
        let period = |limit: &PeriodLimit| InPeriod {
            uses: u32::try_from(limit.uses).unwrap_or(u32::MAX),
            until: calendar.start(day_after(limit.period, calendar.day(now))),
        };
        let own = Limits {
            total: limits.total.map(|total| u64::try_from(total).unwrap_or(0)),
            per_customer: limits.per_customer.filter(|_| linked).map(|uses| u32::try_from(uses).unwrap_or(u32::MAX)),
            per_customer_in: limits.per_customer_in.as_ref().filter(|_| linked).map(period),
            per_ip_in: limits.per_ip_in.as_ref().filter(|_| self.ip.is_some()).map(period),
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

    /// Whether `promos` are all that it cannot do without: its own where it has a total (or a limit per customer, and
    /// the hold is `linked` to keys that count for customers), its budget, its unique code.
    #[must_use]
    pub fn has_all<'a>(&self, linked: bool, promos: impl Iterator<Item = &'a str> + Clone) -> bool {
        let has = |wanted: &str| promos.clone().any(|promo| promo == wanted);
        let limits = &self.offer.limits;
        let own = limits.total.is_some() || (linked && is_counted(limits));
        (!own || has(self.offer_id.as_str()))
            && self.budget().is_none_or(|budget| has(&budget))
            && (self.unique_code().is_none() || promos.clone().any(|promo| self.is_code_at(promo)))
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

    fn has(held: &HeldOffer, promos: &[&str]) -> bool {
        held.has_all(false, promos.iter().copied())
    }

    #[test]
    fn an_offer_is_left_where_all_that_limits_it_is() {
        let (plain, total) = (held("{}", "one"), held(r#"{"total": 1}"#, "one"));
        assert_eq!((has(&plain, &[]), has(&total, &[]), has(&total, &["o"])), (true, false, true));
        let mine = held(r#"{"per_customer": 1}"#, "one");
        assert_eq!((has(&mine, &[]), mine.has_all(true, [].into_iter())), (true, false));
        let unique = held("{}", "two");
        assert_eq!((has(&unique, &["o"]), has(&unique, &["p/00"]), has(&unique, &["o", "o/00"])), (false, false, true));
        let group = held(r#"{"budget_minor": 5, "budget_group": "g"}"#, "one");
        assert_eq!((has(&group, &["o"]), has(&group, &["~budget/g"])), (false, true));
        assert_eq!(held(r#"{"budget_minor": 5}"#, "one").budget().as_deref(), Some("o"));
        assert!(group.is_kept_at("~budget/g") && unique.is_kept_at("o/00") && !unique.is_kept_at("o2/00"));
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
