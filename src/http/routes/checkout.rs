//! The checkout: a quote prices a cart and writes nothing; a hold keeps it; capture takes it, release gives it back.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use adal_actors::{CommandId, Request};
use adal_domain::{
    checkout::{self, Cart, Channel, LineQuantity, Quote, Standing, Uncovered},
    customer::{
        Command, Customer, Guest, HoldRequest, Reply,
        read::{HoldState, HoldView},
    },
    entity::{EntityKey, EntityKind, View},
    errors::Code,
    ids::{CustomerId, HoldId, OrderId, ShopId, Word},
    line::Line,
    order_event::check_link_keys,
    qr::{Intent, Step},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, Told, approvals::Nothing, path_id, pos, published, stored, unexpected};
use crate::{
    app::App,
    http::{
        extract::{Body, IdempotencyKey, MaybeBody, Principal, Role},
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
    /// Whether `rejected` lists all offers that do not apply.
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

/// A trial.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRun {
    /// The time to price at.
    #[serde(default, with = "adal_domain::time::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// Offers to try. There are no offers yet: none is accepted.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub drafts: Vec<serde_json::Value>,
}

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
pub async fn quote(request: HttpRequest, who: Principal, app: Data<App>, body: Body<CheckoutBody>) -> Answered {
    let body = body.value;
    for (name, given) in
        [("ttl_s", body.ttl_s.is_some()), ("expected_total_minor", body.expected_total_minor.is_some())]
    {
        if given {
            return Err(Problem::new(Code::UnknownField, format!("unknown: {name} (holds alone have it)")));
        }
    }
    let trial = trial(&who, body.dry_run.as_ref())?;
    let asked = prepare(&app, &who, body).await?;
    let inforce = app.policy.load_full();
    let (standing, now) = match &asked.customer {
        Some(id) => standing(&app, id, &asked, trial).await?,
        None => (Standing::guest(), trial.unwrap_or_else(|| app.now())),
    };
    let mut quote = checkout::quote(&asked.cart, &standing, &inforce.policy, inforce.revision, now)?;
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
    trial(&who, None)?;
    let Body { value, print } = body;
    let (ttl_s, expected_total_minor) = (value.ttl_s, value.expected_total_minor);
    let asked = prepare(&app, &who, value).await?;
    // A guest is known by nothing but this request.
    let owner = match &asked.customer {
        Some(id) => EntityKey::new(EntityKind::Customer, id.as_str()),
        // The `~` is of no customer id: nobody can take a guest's key for one.
        None => EntityKey::new(EntityKind::Guest, &format!("~{:?}", CommandId::of(&who.scope(), &key.0))),
    };
    let Asked { cart, scan_step, no_burn, .. } = asked;
    let command = Command::Hold(HoldRequest { cart, ttl_s, expected_total_minor, scan_step, no_burn });
    let told = ask_owner(&app, &who, &key, &owner, print, command).await.map_err(|problem| match who {
        Principal::Customer { .. } if problem.code() == Code::CodeUnknown => {
            problem.with_code(Code::PromoNotApplicable, "codes: a code does not apply")
        }
        _ => problem,
    })?;
    match told.reply {
        Reply::Held(quote) => Ok(reply(&request, StatusCode::CREATED, &*quote, told.replayed)),
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
    let command = Command::Capture { hold_id: view.hold_id.clone(), order_id, lines };
    let told = ask_owner(&app, &who, &key, &owner, body.print, command).await?;
    match told.reply {
        Reply::Captured { quote, uncovered, order_id, .. } => {
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
    let told = ask_owner(&app, &who, &key, &owner, body.print, command).await?;
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

/// What is asked for, checked as far as the edge can.
struct Asked {
    customer: Option<CustomerId>,
    cart: Cart,
    scan_step: Option<Step>,
    no_burn: Option<Code>,
}

/// Whether this caller may check out at all, and the time of a trial.
fn trial(who: &Principal, dry_run: Option<&DryRun>) -> Result<Option<Timestamp>, Problem> {
    match dry_run {
        None if matches!(who, Principal::Customer { .. }) => Ok(None),
        None => who.require(&[Role::Pos, Role::Service]).map(|()| None),
        Some(dry_run) => {
            who.require(&[Role::Admin])?;
            if !dry_run.drafts.is_empty() {
                return Err(Problem::new(Code::InvalidField, "dry_run.drafts: there are no offers yet"));
            }
            Ok(dry_run.at)
        }
    }
}

async fn prepare(app: &App, who: &Principal, body: CheckoutBody) -> Result<Asked, Problem> {
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
    Ok(Asked { customer, cart, scan_step, no_burn })
}

/// The public is not told why a code does not apply: that would help to guess one.
fn uniform(quote: &mut Quote) {
    for rejected in quote.rejected.iter_mut().filter(|rejected| rejected.code.is_some()) {
        Code::PromoNotApplicable.as_str().clone_into(&mut rejected.reason);
    }
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

/// What of the customer a quote is made of, and the time that it is made at.
async fn standing(
    app: &App,
    id: &CustomerId,
    asked: &Asked,
    trial: Option<Timestamp>,
) -> Result<(Standing, Timestamp), Problem> {
    let (customer, now) = published(app, id).await?;
    let now = trial.unwrap_or(now);
    let mut standing = customer.state.standing(&app.context(id.as_str()), now);
    let used = asked.scan_step.filter(|step| customer.state.is_step_used(*step)).map(|_| Code::QrUsed);
    standing.no_burn = standing.no_burn.or(asked.no_burn).or(used);
    Ok((standing, now))
}

/// A hold that the caller may see, and whose it is.
async fn find(app: &App, who: &Principal, path: &str) -> Result<(EntityKey, HoldView), Problem> {
    let missing = || Problem::new(Code::HoldNotFound, "no hold has this id, or it is not yours");
    trial(who, None)?;
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

/// Asks the customer or the guest that a hold belongs to.
async fn ask_owner(
    app: &App,
    who: &Principal,
    key: &IdempotencyKey,
    owner: &EntityKey,
    print: [u8; 16],
    command: Command,
) -> Result<Told, Problem> {
    let id = Some(CommandId::of(&who.scope(), &key.0));
    let (outcome, replayed) = match owner.kind {
        EntityKind::Guest => {
            let answer = app.guests.ask(&owner.id, Request::<Guest> { id, print, command }).await?;
            (answer.outcome, answer.replayed)
        }
        EntityKind::Customer => {
            let answer = app.customers.ask(&owner.id, Request::<Customer> { id, print, command }).await?;
            (answer.outcome, answer.replayed)
        }
        EntityKind::Catalogue | EntityKind::Promo => return Err(Problem::internal("only shoppers hold carts")),
    };
    match outcome {
        Ok(reply) => Ok(Told { reply, replayed }),
        Err(refusal) => Err(Problem::from(refusal).replayed(replayed)),
    }
}
