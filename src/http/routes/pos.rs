//! A till scans a card. Nothing is written (but a signal, where a card is scanned often): what the till learns is sealed into `scan_id`.

use actix_web::{HttpRequest, http::StatusCode, web::Data};
use adal_domain::{
    card::{Barcode, CardStatus},
    customer::read::{CardView, SignalKind},
    errors::Code,
    ids::CustomerId,
    policy::Tier,
    qr::Scan,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answered, card_of, published,
    scanned::{self, Scanned},
    shown::{OfferFor, offers_at_till},
};
use crate::{
    app::App,
    http::{
        extract::{Body, Principal, Role},
        problem::Problem,
        respond::reply,
        watch::{self, Sight, is_told},
    },
};

/// What was scanned.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanBody {
    /// A QR text or a barcode.
    pub code: String,
}

/// What the till learns.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScanAnswer {
    /// The card: with its points by a QR code, without them by a printed barcode.
    pub card: SeenCard,
    /// Whose.
    #[schema(value_type = String)]
    pub customer_id: CustomerId,
    /// Proof of this scan, for a checkout at this till within 10 minutes.
    pub scan_id: String,
    /// Whether points can be burned with it.
    pub can_burn: bool,
    /// Why not, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<&'static str>,
    /// Campaigns that this customer would be given here now, by priority: 20 at most.
    pub offers: Vec<OfferFor>,
}

/// A card as a till sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant)]
pub enum SeenCard {
    /// By a QR code: the customer's phone showed it.
    Whole(CardView),
    /// By a printed barcode, which anybody may have found or copied.
    Identified(IdentifiedCard),
}

/// A card without its points.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentifiedCard {
    /// Whose.
    #[schema(value_type = String)]
    pub customer_id: CustomerId,
    /// EAN-13.
    #[schema(value_type = String)]
    pub barcode: Barcode,
    /// Active or blocked.
    #[schema(value_type = String)]
    pub status: CardStatus,
    /// Bronze to platinum.
    #[schema(value_type = String)]
    pub tier: Tier,
}

/// Scan a card: who it is, and whether points can be burned. Writes nothing.
#[utoipa::path(
    post, path = "/v1/pos/scan", tag = "loyalty",
    request_body = ScanBody,
    responses((status = 200, description = "Whose card it is.", body = ScanAnswer)),
    extensions(("x-roles" = json!(["pos"])))
)]
pub async fn scan(request: HttpRequest, who: Principal, app: Data<App>, body: Body<ScanBody>) -> Answered {
    who.require(&[Role::Pos])?;
    let terminal = terminal(&who)?;
    let now = app.now();
    let (code, id) = identify(&app, &who, &body.value.code).await?;
    let (customer, now) = (published(&app, &id).await?.0, now);
    let card = card_of(&app, &id, &customer.state, now.max(customer.at))?;
    if card.status == CardStatus::Closed {
        return Err(Problem::new(Code::CardClosed, "the card was closed"));
    }
    let step = code.step(now);
    let why_not = code
        .no_burn(now)
        .or_else(|| customer.state.is_step_used(step).then_some(Code::QrUsed))
        .or_else(|| customer.state.burn_refusal(&app.context(id.as_str()), now));
    let fresh = step.is_fresh(now);
    let scan =
        Scan { customer_id: id.clone(), step, intent: code.intent(), fresh, terminal: terminal.to_owned(), at: now };
    let offers = offers_at_till(&app, &id, who.shop()).await?;
    let answer = ScanAnswer {
        card: seen(code, card),
        customer_id: id,
        scan_id: app.ring.seal_scan(&scan),
        can_burn: why_not.is_none(),
        why_not: why_not.map(Code::as_str),
        offers,
    };
    Ok(reply(&request, StatusCode::OK, &answer, false))
}

/// The key that scans: a scan is bound to it.
pub(super) fn terminal(who: &Principal) -> Result<&str, Problem> {
    match who {
        Principal::Service { key_id, .. } => Ok(key_id),
        Principal::Customer { .. } => Err(Problem::new(Code::Forbidden, "a customer is no till")),
    }
}

/// Reads a code at a till: whose card it is. Counts wrong signatures per terminal and scans per customer.
pub(super) async fn identify(app: &App, who: &Principal, text: &str) -> Result<(Scanned, CustomerId), Problem> {
    let terminal = terminal(who)?;
    let now = app.now();
    app.terminals.check(terminal, now)?;
    let code = scanned::read(app, terminal, text, now)?;
    let inforce = app.policy.load();
    if code.is_older_than(inforce.policy.qr.stale_hours, now) {
        let detail = format!("code: made more than {} h ago", inforce.policy.qr.stale_hours);
        return Err(Problem::new(Code::QrExpired, detail));
    }
    let id = scanned::owner(app, code.barcode()).await?;
    let day = inforce.calendar.day(now);
    if matches!(code, Scanned::Qr(_)) {
        let customer = app.customers.read(id.as_str()).await?;
        let limit = customer.state.scan_limit(&app.context(id.as_str()), now);
        let scans = app.scans.count(&id, day, limit)?;
        // The soft limit is half.
        if is_told(scans, limit / 2 + 1) {
            let detail = format!("{scans} scans on one day, the limit is {limit}");
            watch::tell(app, &id, Sight { kind: SignalKind::Scans, shop_id: who.shop().cloned(), order: None, detail });
        }
    }
    let often = inforce.policy.limits.terminal_scans;
    if often > 0 {
        let scans = app.watch.scanned(&id, terminal, day);
        if is_told(scans, often) {
            let detail = format!("{scans} scans on one day at the terminal {terminal}");
            watch::tell(
                app,
                &id,
                Sight { kind: SignalKind::TerminalScans, shop_id: who.shop().cloned(), order: None, detail },
            );
        }
    }
    Ok((code, id))
}

fn seen(code: Scanned, card: CardView) -> SeenCard {
    match code {
        Scanned::Qr(_) => SeenCard::Whole(card),
        Scanned::Printed(_) => SeenCard::Identified(IdentifiedCard {
            customer_id: card.customer_id,
            barcode: card.barcode,
            status: card.status,
            tier: card.tier,
        }),
    }
}
