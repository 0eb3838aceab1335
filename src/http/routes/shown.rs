//! What is shown to whom: the banners that fit a place, a language, a customer and a moment.
//!
//! Reads alone: what was published of the customer and the promos, on the thread that asks. What it writes is a count in
//! memory (see `crate::banners`).

use actix_web::{HttpRequest, http::StatusCode};
use adal_domain::{
    catalogue::banner::{Viewer, is_open_to},
    checkout::Channel,
    customer::{
        Context,
        marketing::{Marketing, is_counted},
    },
    errors::Code,
    flags::Flag,
    ids::{BannerId, CustomerId, OfferId, ShopId},
    offers::{OfferKind, Shopper, document::Name},
    promo::budget_id,
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answered, banners::BannerQuery, published};
use crate::{
    app::{App, InForce},
    banners::Seen,
    http::{problem::Problem, respond::reply},
};

/// Banners in one answer.
const MOST_SERVED: u32 = 20;
/// Banners in one answer where none is named.
const SERVED: u32 = 10;
/// A banner as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shown {
    /// Which: what events name.
    #[schema(value_type = String)]
    pub id: BannerId,
    /// The headline.
    pub title: String,
    /// What stands below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where the picture is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where a click leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The offer that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub offer_id: Option<OfferId>,
}

/// What is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct Served {
    /// By priority, highest first, then by id.
    pub items: Vec<Shown>,
}

/// Answers what is to be shown, and counts it as served.
pub(super) async fn serve(
    request: &HttpRequest,
    app: &App,
    query: &BannerQuery,
    customer: Option<&CustomerId>,
    in_app: bool,
) -> Answered {
    let missing = |field: &str| Problem::new(Code::InvalidField, format!("{field}: needed"));
    let placement = query.placement.ok_or_else(|| missing("placement"))?;
    let locale = query.locale.ok_or_else(|| missing("locale"))?;
    let limit = match query.limit.unwrap_or(SERVED) {
        limit @ 1..=MOST_SERVED => limit as usize,
        _ => return Err(Problem::new(Code::InvalidField, format!("limit: must be 1 to {MOST_SERVED}"))),
    };
    if !app.flags.enabled(Flag::MarketingBanners, customer.map_or("", CustomerId::as_str)) {
        return Err(Problem::new(Code::FeatureDisabled, "marketing.banners is off"));
    }
    let in_force = app.policy.load_full();
    let Visitor { shopper, marketing, now } = visitor(app, customer).await?;
    let (day, minute) = in_force.calendar.clock(now);
    let viewer = Viewer {
        shopper: &shopper,
        channel: query.channel.or(in_app.then_some(Channel::App)),
        shop: query.shop_id.as_ref(),
        category: query.category.as_ref(),
        clock: (day.weekday(), minute),
    };
    let mut fitting: Vec<_> = in_force
        .catalogue
        .banners(None)
        .filter(|(_, entry)| entry.banner.placement == placement && entry.banner.is_for(&viewer, now))
        .filter_map(|(id, entry)| Some((id, entry, entry.banner.texts.of(locale)?)))
        .collect();
    // Stable: among equals the order of ids, in which they came, stays.
    fitting.sort_by_key(|(_, entry, _)| std::cmp::Reverse(entry.banner.priority));
    let mut items = Vec::new();
    for (id, entry, text) in fitting {
        if items.len() == limit {
            break;
        }
        let banner = &entry.banner;
        if let Some(offer) = &banner.offer
            && !would_be_granted(app, &in_force, offer, (&viewer, &marketing), now).await?
        {
            continue;
        }
        // Last: whoever is not shown it for another reason has not been served.
        if let (Some(frequency), Some(customer)) = (banner.frequency, customer)
            && !app.banners.may_serve(id, customer, frequency, day)
        {
            continue;
        }
        app.banners.count(id, day, Seen::Serving);
        items.push(Shown {
            id: id.clone(),
            title: text.title.clone(),
            text: text.text.clone(),
            image: text.image.clone(),
            link: text.link.clone(),
            offer_id: banner.offer.clone(),
        });
    }
    Ok(reply(request, StatusCode::OK, &Served { items }, false))
}

/// Who asks, as checkouts know customers.
struct Visitor {
    shopper: Shopper,
    marketing: Marketing,
    now: Timestamp,
}

async fn visitor(app: &App, customer: Option<&CustomerId>) -> Result<Visitor, Problem> {
    let Some(id) = customer else {
        let Context { promos, campaigns, .. } = app.context("");
        let shopper = Shopper { promos, campaigns, ..Shopper::guest() };
        return Ok(Visitor { shopper, marketing: Marketing::default(), now: app.now() });
    };
    let (read, now) = published(app, id).await?;
    let shopper = read.state.shopper(&app.context(id.as_str()), now);
    Ok(Visitor { shopper, marketing: read.state.marketing().cloned().unwrap_or_default(), now })
}

/// Campaigns in the answer to a scan, at most.
const MOST_OFFERS: usize = 20;
/// Campaigns that are open to a customer and looked at for it, at most: some may have run out.
const MOST_LOOKED_AT: usize = 100;

/// An offer that a till may name to its customer.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfferFor {
    /// The campaign.
    #[schema(value_type = String)]
    pub offer_id: OfferId,
    /// What people read.
    pub name: Name,
    /// The first moment at which it no longer applies.
    #[serde(with = "adal_domain::time::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
}

/// Campaigns that the engine would grant this customer at a till of `shop` now, by priority, then by id. Promos wait for
/// a code, which the till does not know.
pub(super) async fn offers_at_till(
    app: &App,
    customer: &CustomerId,
    shop: Option<&ShopId>,
) -> Result<Vec<OfferFor>, Problem> {
    let in_force = app.policy.load_full();
    let Visitor { shopper, marketing, now } = visitor(app, Some(customer)).await?;
    let (day, minute) = in_force.calendar.clock(now);
    let clock = (day.weekday(), minute);
    let viewer = Viewer { shopper: &shopper, channel: Some(Channel::Pos), shop, category: None, clock };
    let mut open: Vec<_> = in_force
        .catalogue
        .offers()
        .filter(|(_, entry)| entry.kind == OfferKind::Campaign && is_open_to(entry.kind, &entry.offer, &viewer, now))
        .collect();
    // Stable: among equals the order of ids, in which they came, stays.
    open.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.offer.stacking.priority));
    let mut offers = Vec::new();
    for (id, entry) in open.into_iter().take(MOST_LOOKED_AT) {
        if offers.len() == MOST_OFFERS {
            break;
        }
        if would_be_granted(app, &in_force, id, (&viewer, &marketing), now).await? {
            let (name, ends_at) = (entry.offer.name.clone(), entry.offer.ends_at);
            offers.push(OfferFor { offer_id: id.clone(), name, ends_at });
        }
    }
    Ok(offers)
}

/// Whether the engine would grant an offer: by its conditions that look at no cart, and by what is left of it for this
/// customer and for all. What a cart or an address decides is left to the checkout.
async fn would_be_granted(
    app: &App,
    in_force: &InForce,
    id: &OfferId,
    (viewer, marketing): (&Viewer<'_>, &Marketing),
    now: Timestamp,
) -> Result<bool, Problem> {
    let Some(entry) = in_force.catalogue.offer(id) else { return Ok(false) };
    let limits = &entry.offer.limits;
    if !is_open_to(entry.kind, &entry.offer, viewer, now)
        || is_counted(limits) && viewer.shopper.customer_id.is_none()
        || marketing.allows(id, limits, now, &in_force.calendar).is_err()
    {
        return Ok(false);
    }
    if limits.total.is_none() && limits.budget_minor.is_none() {
        return Ok(true);
    }
    let own = app.promos.read(id.as_str()).await?;
    let used = own.state.held.uses.saturating_add(own.state.taken.uses);
    if limits.total.is_some_and(|total| used >= total.unsigned_abs()) {
        return Ok(false);
    }
    Ok(match (limits.budget_minor, &limits.budget_group) {
        (None, _) => true,
        (Some(budget), None) => own.state.budget_left(budget) > 0,
        (Some(budget), Some(group)) => app.promos.read(&budget_id(group.as_str())).await?.state.budget_left(budget) > 0,
    })
}
