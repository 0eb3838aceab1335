//! Which promos keep what for a cart: an offer's own entity for the limits that customers share, one for a unique code,
//! one for a budget that several offers spend.

use std::net::{IpAddr, Ipv6Addr};

use adal_actors::{AskError, Request, print_of};
use adal_domain::{
    checkout::HeldOffer,
    customer::marketing::day_after,
    entity::EntityKey,
    ids::{ExchangeId, HoldId, OfferId},
    offers::{Limit, NormalCode, Offer, document::PeriodLimit},
    promo::{self, InPeriod, KeyHash, Limits, Promo, Reserve, book::Part, budget_id, code_id},
    qr::KeyRing,
    time::{Calendar, Timestamp},
};

use super::Asked;
use crate::{app::App, http::problem::Problem};

/// What one promo is asked to keep.
#[derive(Debug, Clone)]
pub(super) struct Need {
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
pub(super) struct Marks {
    ip: Option<IpAddr>,
    link_keys: Vec<KeyHash>,
}

impl Marks {
    pub(super) fn of(ring: &KeyRing, asked: &Asked) -> Self {
        let link_keys = asked.link_keys.iter().filter_map(|key| ring.blind("link key", key).map(KeyHash)).collect();
        Self { ip: asked.address.filter(|_| super::counts_address(asked.cart.channel)), link_keys }
    }

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

    /// The request to one promo.
    pub(super) fn request(
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

    /// What an offer needs of promos. `unique`: the code by which it was found among unique ones.
    pub(super) fn needs(
        &self,
        id: &OfferId,
        offer: &Offer,
        unique: Option<&NormalCode>,
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
        if let Some(code) = unique {
            let hash = KeyHash(code_hash(code));
            needs.push(need(code_id(id.as_str(), hash), Limits { total: Some(1), ..Limits::default() }, 0));
        }
        if let (Some(group), Some(budget)) = (&limits.budget_group, limits.budget_minor) {
            let shared = Limits { budget_minor: Some(budget), ..Limits::default() };
            needs.push(need(budget_id(group.as_str()), shared, minor));
        }
        needs
    }
}

/// A unique code in the id of its promo.
fn code_hash(code: &NormalCode) -> [u8; 16] {
    print_of(code.as_str().as_bytes())
}

/// What all offers of a hold need, each promo once: one reservation is one exchange.
pub(super) fn together(needs: Vec<Need>) -> Vec<Need> {
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

/// What has been asked of promos for a hold so far.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The hold's id.
    pub hold_id: HoldId,
    /// Until when it would last.
    pub expires_at: Timestamp,
    /// The promos that may keep something for it.
    pub asked: Vec<Box<str>>,
    /// What they keep for certain.
    pub parts: Vec<Part>,
}

/// Why a promo keeps nothing.
#[derive(Debug)]
pub(super) enum NotKept {
    /// It has nothing left of this.
    Gone(Limit),
    /// It does not say, or cannot now.
    Unknown(Problem),
}

/// Asks one promo.
pub(super) async fn reserve(app: &App, need: &Need, request: Reserve, prepared: &mut Prepared) -> Result<(), NotKept> {
    prepared.asked.push(need.promo.as_str().into());
    let command = promo::Command::Reserve(Box::new(request.clone()));
    let asked = Request::<Promo> { id: None, print: [0; 16], command };
    match app.promos.ask(&need.promo, asked).await {
        Ok(answer) => match answer.outcome {
            Ok(promo::Reply::Reserved { token, minor }) => {
                prepared.parts.push(Part::new(&need.promo, &request, token, minor));
                Ok(())
            }
            Ok(other) => Err(NotKept::Unknown(Problem::internal(format!("the reply of another command: {other:?}")))),
            Err(refusal) => Err(said(refusal)),
        },
        Err(error) => Err(NotKept::Unknown(error.into())),
    }
}

fn said(refusal: promo::Refusal) -> NotKept {
    match limit_of(&refusal) {
        Some(limit) => NotKept::Gone(limit),
        None => match refusal {
            promo::Refusal::Busy | promo::Refusal::TooLate => NotKept::Unknown(Problem::from(AskError::Busy)),
            other => NotKept::Unknown(Problem::internal(other)),
        },
    }
}

/// The limit that stands against a use; `None` where it is not a limit.
pub(super) const fn limit_of(refusal: &promo::Refusal) -> Option<Limit> {
    match refusal {
        promo::Refusal::Exhausted => Some(Limit::Total),
        promo::Refusal::LinkKey => Some(Limit::PerLinkKey),
        promo::Refusal::Ip => Some(Limit::PerIpIn),
        promo::Refusal::Budget { .. } => Some(Limit::Budget),
        promo::Refusal::TooLate | promo::Refusal::Busy | promo::Refusal::Invalid(_) => None,
    }
}

/// The offers of a hold that its promos may be asked for again.
pub(super) fn unique_code(held: &HeldOffer) -> Option<NormalCode> {
    let code = NormalCode::new(held.code.as_deref()?)?;
    let shared = held.offer.codes.iter().any(|known| NormalCode::new(known).as_ref() == Some(&code));
    (!shared).then_some(code)
}
