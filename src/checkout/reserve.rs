//! Asking promos to keep what a cart's offers need (`adal_domain::checkout::reserve` says which, and what).

use adal_actors::{AskError, Request, print_of};
use adal_domain::{
    checkout::{
        HeldOffer,
        reserve::{Marks, Need, PeriodAddress, household, period_ends, together},
    },
    ids::HoldId,
    offers::{Limit, NormalCode},
    promo::{self, KeyHash, Promo, Reserve, book::Part},
    time::{Calendar, Timestamp},
};

use super::Asked;
use crate::{
    app::{App, InForce},
    http::problem::Problem,
};

/// What of a request goes into every reservation for it, where it is made `at`. Addresses where an offer counts them; a
/// trial makes no secrets for them.
///
/// # Errors
/// Where a period's secret cannot be read or kept.
pub(super) async fn marks(
    app: &App,
    asked: &Asked,
    (in_force, at): (&InForce, Timestamp),
    is_dry: bool,
) -> Result<Marks, Problem> {
    let link_keys = asked.link_keys.iter().filter_map(|key| app.hashing.link_key(key).map(KeyHash)).collect();
    let mut addresses = Vec::new();
    let counts = in_force.counts_addresses || is_dry;
    let address = asked.address.filter(|_| counts && super::counts_address(asked.cart.channel)).map(household);
    if let Some(address) = address {
        for until in period_ends(&in_force.calendar, at) {
            let secret = if is_dry { app.addresses.tried(until) } else { app.addresses.of(&*app.store, until).await? };
            let hash = app.hashing.address(&secret, address);
            addresses.extend(hash.map(|hash| PeriodAddress { until, hash: KeyHash(hash) }));
        }
    }
    Ok(Marks { addresses, link_keys })
}

/// A unique code in the id of its promo.
pub(super) fn code_hash(code: &NormalCode) -> KeyHash {
    KeyHash(print_of(code.as_str().as_bytes()))
}

/// What all offers of a hold made `at` need of promos.
pub(super) fn needs_of(marks: &Marks, offers: &[HeldOffer], calendar: &Calendar, at: Timestamp) -> Vec<Need> {
    let of = |held: &HeldOffer| {
        let unique = held.unique_code().map(|code| code_hash(&code));
        marks.needs(&held.offer_id, &held.offer, unique, held.discount_minor, (calendar, at))
    };
    together(offers.iter().flat_map(of).collect())
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

/// A promo's refusal, to whoever asked it, or would.
pub(super) fn said(refusal: promo::Refusal) -> NotKept {
    match limit_of(&refusal) {
        Some(limit) => NotKept::Gone(limit),
        None => match refusal {
            promo::Refusal::Busy | promo::Refusal::TooLate => NotKept::Unknown(Problem::from(AskError::Busy)),
            other => NotKept::Unknown(Problem::internal(other)),
        },
    }
}

/// The limit that stands against a use; `None` where it is not a limit.
const fn limit_of(refusal: &promo::Refusal) -> Option<Limit> {
    match refusal {
        promo::Refusal::Exhausted => Some(Limit::Total),
        promo::Refusal::LinkKey => Some(Limit::PerLinkKey),
        promo::Refusal::Ip => Some(Limit::PerIpIn),
        promo::Refusal::Budget { .. } => Some(Limit::Budget),
        promo::Refusal::TooLate | promo::Refusal::Busy | promo::Refusal::Invalid(_) => None,
    }
}
