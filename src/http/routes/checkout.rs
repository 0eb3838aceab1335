//! The checkout: a quote prices a cart and writes nothing; a hold keeps it; capture takes it, release gives it back.

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_actors::CommandId;
use adal_domain::{
    catalogue::CatalogueState,
    checkout::{Cart, Channel, LineQuantity, Quote, RejectedOffer, Uncovered},
    customer::{
        Command, Reply,
        read::{HoldState, HoldView},
    },
    entity::{EntityKey, EntityKind, View},
    errors::Code,
    ids::{CustomerId, HoldId, OfferId, OrderId, ShopId, Word},
    line::Line,
    offers::{self, CompiledOffers, Condition, Offer, OfferKind, Reason, document::Status},
    order_event::check_link_keys,
    qr::{Intent, Step},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, approvals::Nothing, path_id, pos, stored, unexpected};
use crate::{
    app::App,
    checkout::{self, Asked, Identity, Terms, Trial, meters},
    http::{
        edge,
        extract::{Body, IdempotencyKey, MaybeBody, Principal, Question, Role, Strict},
        problem::Problem,
        respond::reply,
    },
};

/// A cart to price or to hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckoutBody {
    /// Whose cart; or `code`; neither: a guest's.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub customer_id: Option<CustomerId>,
    /// A QR text or a barcode: a till scans and holds in one call. Only a fresh `pay` code burns, on every channel.
    #[serde(default)]
    pub code: Option<String>,
    /// Where it is bought.
    #[schema(value_type = String)]
    pub shop_id: ShopId,
    /// Where it is paid.
    pub channel: Channel,
    /// Promo codes as typed, at most 20.
    #[serde(default)]
    pub codes: Vec<String>,
    /// Points that the customer wants to burn.
    #[serde(default)]
    pub points_to_burn: Option<i64>,
    /// How it is paid.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub payment_method: Option<Word>,
    /// How it is delivered.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub delivery_method: Option<Word>,
    /// The customer's address, for offers limited per address.
    #[serde(default)]
    pub client_ip: Option<String>,
    /// Opaque hashes of phone or payment means, at most 10.
    #[serde(default)]
    pub link_keys: Vec<String>,
    /// Proof of a pay scan at this till.
    #[serde(default)]
    pub scan_id: Option<String>,
    /// What delivery costs, minor units.
    #[serde(default)]
    pub delivery_minor: Option<i64>,
    /// 1 to 1,000.
    pub lines: Vec<Line>,
    /// Whether `rejected` lists all offers that do not apply: quotes alone.
    #[serde(default)]
    pub explain: bool,
    /// Price as of another time, or with drafts: quotes by an admin.
    #[serde(default)]
    pub dry_run: Option<DryRun>,
    /// Seconds that a hold lasts, 30-3600 (900): holds alone.
    #[serde(default)]
    pub ttl_s: Option<i64>,
    /// The total that the caller saw, minor units; another one is refused with the new quote: holds alone.
    #[serde(default)]
    pub expected_total_minor: Option<i64>,
}

impl Strict for CheckoutBody {
    fn is_strict(&self) -> bool {
        // A draft's document is a tagged union, which serde reads in a way of its own.
        self.dry_run.is_none()
    }
}

/// A trial.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRun {
    /// The time to price at.
    #[serde(default, with = "adal_domain::time::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// Offers to try beside, or instead of, those of the catalogue; at most 100.
    #[serde(default)]
    pub drafts: Vec<Draft>,
}

/// An offer to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Its id: one of the catalogue's is replaced.
    #[schema(value_type = String)]
    pub id: OfferId,
    /// Promo (its codes have to be typed) or campaign; left out: as the catalogue's offer of this id, or else a promo where
    /// the document has codes.
    #[serde(default)]
    pub kind: Option<OfferKind>,
    /// The document.
    pub offer: Offer,
}

impl Draft {
    fn kind(&self, known: &CatalogueState) -> OfferKind {
        let by_codes = if self.offer.codes.is_empty() { OfferKind::Campaign } else { OfferKind::Promo };
        self.kind.or_else(|| known.offer(&self.id).map(|entry| entry.kind)).unwrap_or(by_codes)
    }
}

/// The most drafts of one trial.
const MAX_DRAFTS: usize = 100;

/// A capture.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureBody {
    /// The order that it pays.
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// What was sold, where it is less than what was held.
    #[serde(default)]
    pub lines: Option<Vec<LineQuantity>>,
}

/// A capture's answer: the sale as priced, and what could not be taken any more.
#[derive(Debug, Serialize, ToSchema)]
pub struct CaptureAnswer {
    /// The sale.
    #[serde(flatten)]
    pub quote: Quote,
    /// The hold.
    pub hold_id: String,
    /// The order that it paid.
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// `captured`.
    pub state: HoldState,
    /// What could not be taken any more (late captures).
    pub uncovered: Vec<Uncovered>,
}

/// Price a cart. Writes nothing; the same inputs give the same quote.
#[utoipa::path(
    post, path = "/v1/checkout/quotes", tag = "checkout",
    request_body = CheckoutBody,
    responses((status = 200, description = "The quote.", body = Quote)),
    extensions(("x-roles" = json!(["pos", "service", "self", "admin"])))
)]
pub async fn quote(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    Question(body): Question<CheckoutBody>,
) -> Answered {
    for (name, given) in
        [("ttl_s", body.ttl_s.is_some()), ("expected_total_minor", body.expected_total_minor.is_some())]
    {
        if given {
            return Err(Problem::new(Code::UnknownField, format!("unknown: {name} (holds alone have it)")));
        }
    }
    let trial = trial(&app, &who, body.dry_run.as_ref())?;
    let asked = prepare(&app, &who, client(&request, &app), body).await?;
    let priced = checkout::quote(&app, &asked, &trial).await;
    meters::quoted(priced.as_ref());
    let mut quote = priced?;
    if let Principal::Customer { .. } = who {
        uniform(&mut quote);
    }
    Ok(reply(&request, StatusCode::OK, &quote, false))
}

/// Price a cart and hold what it needs, all or nothing.
#[utoipa::path(
    post, path = "/v1/checkout/holds", tag = "checkout",
    request_body = CheckoutBody,
    responses((status = 201, description = "Held: the quote with `hold`.", body = Quote)),
    extensions(("x-roles" = json!(["pos", "service", "self"])))
)]
pub async fn hold(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    key: IdempotencyKey,
    body: Body<CheckoutBody>,
) -> Answered {
    if body.value.dry_run.is_some() {
        return Err(Problem::new(Code::UnknownField, "unknown: dry_run (quotes alone have it)"));
    }
    trial(&app, &who, None)?;
    let Body { value, print } = body;
    let terms = Terms { ttl_s: value.ttl_s, expected_total_minor: value.expected_total_minor };
    let asked = prepare(&app, &who, client(&request, &app), value).await?;
    // A guest is known by nothing but this request.
    let owner = match &asked.customer {
        Some(id) => EntityKey::new(EntityKind::Customer, id.as_str()),
        // The `~` is of no customer id: nobody can take a guest's key for one.
        None => EntityKey::new(EntityKind::Guest, &format!("~{:?}", CommandId::of(&who.scope(), &key.0))),
    };
    let told = checkout::hold(&app, &owner, identity(&who, &key, print), asked, terms).await;
    meters::step("hold", &told);
    let told = told.map_err(|problem| for_caller(&who, problem))?;
    match told.reply {
        Reply::Held(mut quote) => {
            if let Principal::Customer { .. } = who {
                uniform(&mut quote);
            }
            Ok(reply(&request, StatusCode::CREATED, &*quote, told.replayed))
        }
        other => Err(unexpected(&other)),
    }
}

/// Take what is held, or less of it. Past its time, for 72 h, what is still there is taken.
#[utoipa::path(
    post, path = "/v1/checkout/holds/{hold_id}/capture", tag = "checkout",
    params(("hold_id" = String, Path, description = "The hold.")),
    request_body = CaptureBody,
    responses((status = 200, description = "Captured.", body = CaptureAnswer)),
    extensions(("x-roles" = json!(["pos", "service", "self"])))
)]
pub async fn capture(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    key: IdempotencyKey,
    body: Body<CaptureBody>,
) -> Answered {
    let (owner, view) = find(&app, &who, &path).await?;
    let CaptureBody { order_id, lines } = body.value;
    let identity = identity(&who, &key, body.print);
    let told = checkout::capture(&app, &owner, identity, (view.hold_id.clone(), order_id), lines).await;
    meters::step("capture", &told);
    let told = told?;
    match told.reply {
        Reply::Captured { quote, uncovered, order_id, .. } => {
            if !told.replayed {
                meters::sold(&quote);
            }
            let hold_id = view.hold_id.to_string();
            let answer = CaptureAnswer { quote: *quote, hold_id, order_id, state: HoldState::Captured, uncovered };
            Ok(reply(&request, StatusCode::OK, &answer, told.replayed))
        }
        other => Err(unexpected(&other)),
    }
}

/// Give back what is held.
#[utoipa::path(
    post, path = "/v1/checkout/holds/{hold_id}/release", tag = "checkout",
    params(("hold_id" = String, Path, description = "The hold.")),
    request_body = Option<Nothing>,
    responses((status = 200, description = "Released.", body = HoldView)),
    extensions(("x-roles" = json!(["pos", "service", "self"])))
)]
pub async fn release(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    key: IdempotencyKey,
    body: MaybeBody<Nothing>,
) -> Answered {
    let (owner, view) = find(&app, &who, &path).await?;
    let command = Command::Release { hold_id: view.hold_id.clone() };
    let told = checkout::tell(&app, &owner, identity(&who, &key, body.print), command).await;
    meters::step("release", &told);
    let told = told?;
    match told.reply {
        Reply::Released(mut released) => {
            released.customer_id = view.customer_id;
            Ok(reply(&request, StatusCode::OK, &released, told.replayed))
        }
        other => Err(unexpected(&other)),
    }
}

/// A hold's state.
#[utoipa::path(
    get, path = "/v1/checkout/holds/{hold_id}", tag = "checkout",
    params(("hold_id" = String, Path, description = "The hold.")),
    responses((status = 200, description = "The hold.", body = HoldView)),
    extensions(("x-roles" = json!(["pos", "service", "self"])))
)]
pub async fn read(request: HttpRequest, who: Principal, app: Data<App>, path: Path<String>) -> Answered {
    let (_, mut view) = find(&app, &who, &path).await?;
    // Its time ran out, and the timer has not written that yet.
    if view.state == HoldState::Held && view.expires_at <= app.now() {
        view.state = HoldState::Expired;
    }
    Ok(reply(&request, StatusCode::OK, &view, false))
}

/// The identity of a change.
fn identity(who: &Principal, key: &IdempotencyKey, print: [u8; 16]) -> Identity {
    Identity { id: CommandId::of(&who.scope(), &key.0), print }
}

/// The address of whoever sent the request, where that is the shopper.
fn client(request: &HttpRequest, app: &App) -> Option<IpAddr> {
    edge::client_address(app, request)
}

/// Whether this caller may check out at all, and what of the world is another for a trial.
fn trial(app: &App, who: &Principal, dry_run: Option<&DryRun>) -> Result<Trial, Problem> {
    match dry_run {
        None if matches!(who, Principal::Customer { .. }) => Ok(Trial::default()),
        None => who.require(&[Role::Pos, Role::Service]).map(|()| Trial::default()),
        Some(dry_run) => {
            who.require(&[Role::Admin])?;
            Ok(Trial { is_dry: true, at: dry_run.at, offers: drafted(app, &dry_run.drafts)? })
        }
    }
}

/// The catalogue with drafts in it.
fn drafted(app: &App, drafts: &[Draft]) -> Result<Option<Arc<CompiledOffers>>, Problem> {
    if drafts.is_empty() {
        return Ok(None);
    }
    if drafts.len() > MAX_DRAFTS {
        return Err(Problem::new(Code::InvalidField, format!("dry_run.drafts: at most {MAX_DRAFTS}")));
    }
    let in_force = app.policy.load();
    for (i, draft) in drafts.iter().enumerate() {
        offers::validate_as(draft.kind(&in_force.catalogue), &draft.offer).map_err(|mut refusal| {
            refusal.detail = format!("dry_run.drafts[{i}].offer.{}", refusal.detail);
            refusal
        })?;
    }
    let known = in_force.catalogue.offers().filter(|(id, _)| drafts.iter().all(|draft| draft.id != **id));
    let known = known.map(|(id, entry)| (id.clone(), entry.kind, Arc::clone(&entry.offer)));
    let tried = drafts.iter().map(|draft| {
        // A draft is tried as if it were in force.
        (
            draft.id.clone(),
            draft.kind(&in_force.catalogue),
            Arc::new(Offer { status: Status::Active, ..draft.offer.clone() }),
        )
    });
    Ok(Some(Arc::new(CompiledOffers::compile(in_force.revision, known.chain(tried)))))
}

async fn prepare(app: &App, who: &Principal, client: Option<IpAddr>, body: CheckoutBody) -> Result<Asked, Problem> {
    bound(who, &body)?;
    let now = app.now();
    let (customer, code) = match (&body.customer_id, &body.code) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(Code::InvalidField, "customer_id, code: one of the two, not both"));
        }
        (None, Some(text)) => {
            let (code, id) = pos::identify(app, who, text).await?;
            (Some(id), Some(code))
        }
        (Some(id), None) => (Some(id.clone()), None),
        (None, None) => (own_id(who), None),
    };
    // A code burns as far as it allows, on every channel; without one, a till alone needs the proof of a scan.
    let (scan_step, no_burn) = match (body.channel, &customer, code) {
        (_, Some(_), Some(code)) => match code.no_burn(now) {
            None => (Some(code.step(now)), None),
            why_not => (None, why_not),
        },
        (Channel::Pos, Some(id), None) => match proof(app, who, id, body.scan_id.as_deref(), now) {
            Ok(step) => (Some(step), None),
            Err(why_not) => (None, Some(why_not)),
        },
        _ => (None, None),
    };
    let (address, terminal) = match who {
        Principal::Customer { .. } => (client, None),
        Principal::Service { key_id, role, .. } => {
            let terminal = (*role == Role::Pos).then(|| key_id.as_str().into());
            (body.client_ip.as_deref().and_then(|ip| ip.parse().ok()), terminal)
        }
    };
    let is_trusted = matches!(who, Principal::Service { .. });
    let cart = Cart {
        shop_id: body.shop_id,
        channel: body.channel,
        codes: body.codes,
        points_to_burn: body.points_to_burn.unwrap_or(0),
        payment_method: body.payment_method,
        delivery_method: body.delivery_method,
        delivery_minor: body.delivery_minor.unwrap_or(0),
        lines: body.lines,
    };
    let (link_keys, explain) = (body.link_keys, body.explain);
    Ok(Asked { customer, cart, scan_step, no_burn, address, link_keys, terminal, is_trusted, explain })
}

/// The public is not told why a code does not apply: that would help to guess one.
fn for_caller(who: &Principal, problem: Problem) -> Problem {
    match (who, problem.code()) {
        (Principal::Customer { .. }, Code::CodeUnknown | Code::PromoNotApplicable) => {
            problem.with_code(Code::PromoNotApplicable, "codes: a code does not apply")
        }
        _ => problem,
    }
}

/// The public is told neither why a code does not apply, nor whose it is, nor which promos wait for one: all of that
/// would help to guess one. Nor of offers that are not for it: the shop's plans, and what it thinks of its customers.
fn uniform(quote: &mut Quote) {
    quote.rejected.retain(|rejected| rejected.code.is_some() || !is_secret(rejected));
    for rejected in quote.rejected.iter_mut().filter(|rejected| rejected.code.is_some()) {
        let (code, reason) = (rejected.code.take(), Code::PromoNotApplicable.as_str().to_owned());
        *rejected = RejectedOffer { offer_id: None, code, reason, condition: None };
    }
    // The engine's order tells codes of offers from others.
    quote.rejected.sort_by(|a, b| a.code.cmp(&b.code));
}

/// Whether why an offer does not apply is the shop's own: it waits for a code, is not on, or is for others.
fn is_secret(rejected: &RejectedOffer) -> bool {
    let reasons = [Reason::CodeMissing, Reason::Draft, Reason::NotStarted, Reason::Ended];
    let audiences = [Condition::Segments, Condition::Tiers, Condition::MinTrust];
    reasons.iter().any(|reason| rejected.reason == reason.as_str())
        || audiences
            .into_iter()
            .map(Reason::ConditionNotMet)
            .any(|reason| rejected.condition.as_deref() == reason.condition())
}

fn own_id(who: &Principal) -> Option<CustomerId> {
    match who {
        Principal::Customer { customer_id } => Some(customer_id.clone()),
        Principal::Service { .. } => None,
    }
}

/// The channel, the shop and the customer that a caller is bound to; fields that no later check looks at.
fn bound(who: &Principal, body: &CheckoutBody) -> Result<(), Problem> {
    let forbidden = |detail: &str| Err(Problem::new(Code::Forbidden, detail));
    match who {
        Principal::Customer { .. } if body.channel == Channel::Pos => {
            return forbidden("channel: a customer pays in the app or on the web");
        }
        Principal::Customer { .. } if body.code.is_some() || body.scan_id.is_some() => {
            return forbidden("code, scan_id: for tills");
        }
        Principal::Customer { .. } if body.client_ip.is_some() => {
            return forbidden("client_ip: for the shop's own systems");
        }
        Principal::Customer { .. } => {
            if let Some(id) = &body.customer_id {
                who.may_see_customer(id, &[])?;
            }
        }
        Principal::Service { role: Role::Pos, shop, .. } => {
            if body.channel != Channel::Pos {
                return forbidden("channel: a till is pos");
            }
            if shop.as_ref() != Some(&body.shop_id) {
                return forbidden("shop_id: a till sells in its own shop");
            }
        }
        Principal::Service { .. } => {}
    }
    if body.client_ip.as_ref().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_err()) {
        return Err(Problem::new(Code::InvalidField, "client_ip: not an IP address"));
    }
    Ok(check_link_keys(&body.link_keys)?)
}

/// The step of a fresh pay scan of this customer at this till.
fn proof(app: &App, who: &Principal, id: &CustomerId, scan_id: Option<&str>, now: Timestamp) -> Result<Step, Code> {
    let scan = app.ring.open_scan(scan_id.ok_or(Code::ScanRequired)?).map_err(|_| Code::ScanInvalid)?;
    let terminal = pos::terminal(who).map_err(|_| Code::ScanInvalid)?;
    let age = now.micros_since(scan.at);
    let valid = app.policy.load().policy.qr.scan_id_s.saturating_mul(Timestamp::SECOND);
    if scan.customer_id != *id || scan.terminal != terminal || age < 0 || age > valid {
        return Err(Code::ScanInvalid);
    }
    match (scan.intent, scan.fresh) {
        (Intent::Show, _) => Err(Code::QrShowOnly),
        (Intent::Pay, false) => Err(Code::QrExpired),
        (Intent::Pay, true) => Ok(scan.step),
    }
}

/// A hold that the caller may see, and whose it is.
async fn find(app: &App, who: &Principal, path: &str) -> Result<(EntityKey, HoldView), Problem> {
    let missing = || Problem::new(Code::HoldNotFound, "no hold has this id, or it is not yours");
    trial(app, who, None)?;
    let id = path_id("hold_id", path, HoldId::new)?;
    let row = app.views.get(View::HoldById, id.as_str()).await?.ok_or_else(missing)?;
    let view: HoldView = stored(&row.value)?;
    let visible = match who {
        Principal::Customer { customer_id } => view.customer_id.as_ref() == Some(customer_id),
        Principal::Service { role: Role::Pos, shop, .. } => shop.as_ref() == Some(&view.shop_id),
        Principal::Service { .. } => true,
    };
    if visible { Ok((row.entity, view)) } else { Err(missing()) }
}
