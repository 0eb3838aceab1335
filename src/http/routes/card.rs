//! A member's card: issue, read, show as a QR code, block, reissue, close.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path},
};
use adal_domain::{
    card::CardStatus,
    customer::{CardChange, Command, Reply, read::CardView},
    errors::Code,
    qr::{Intent, QrCode, STEP_S, Step},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answered, card_of, change, customer_id, no_card, published, unexpected};
use crate::{
    app::App,
    http::{
        extract::{Body, IdempotencyKey, MaybeBody, Principal, Query, Role},
        problem::Problem,
        respond::{JSON, MSGPACK, accept, choose, reply},
    },
};

/// Modules round the symbol and pixels per module: what a till's camera reads from a phone at arm's length.
const PIXELS_PER_MODULE: u32 = 10;

/// Issues a card.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueCard {
    /// Member since, for members of a former system: counts for the card's age alone.
    #[serde(default, with = "adal_domain::time::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

/// Why something is done: 1-200 characters, kept in the journal.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// 1-200 characters.
    pub reason: String,
}

/// A QR code as text.
#[derive(Debug, Serialize, ToSchema)]
pub struct QrText {
    /// What the symbol says.
    pub text: String,
    /// Until when a `pay` code allows paying with points.
    #[serde(with = "adal_domain::time::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// The query of a QR code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QrQuery {
    /// `show` or `pay`.
    pub intent: Option<Intent>,
}

/// Issue a card; where there is one, it is answered as it is.
#[utoipa::path(
    post, path = "/v1/customers/{id}/card", tag = "loyalty",
    params(("id" = String, Path, description = "The customer.")),
    request_body = Option<IssueCard>,
    responses((status = 201, description = "Issued.", body = CardView), (status = 200, description = "It was there.", body = CardView)),
    extensions(("x-roles" = json!(["service"])))
)]
pub async fn issue(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    key: IdempotencyKey,
    body: MaybeBody<IssueCard>,
) -> Answered {
    who.require(&[Role::Service])?;
    let id = customer_id(&path)?;
    let (since, barcode) = (body.value.since, Some(app.free_barcode().await?));
    let told = change(&app, &who, &key, &id, body.print, Command::IssueCard { since, barcode }).await?;
    match told.reply {
        Reply::Card { created, card } => {
            Ok(reply(&request, if created { StatusCode::CREATED } else { StatusCode::OK }, &*card, told.replayed))
        }
        other => Err(unexpected(&other)),
    }
}

/// The card with its points, as of now.
#[utoipa::path(
    get, path = "/v1/customers/{id}/card", tag = "loyalty",
    params(("id" = String, Path, description = "The customer.")),
    responses((status = 200, description = "The card.", body = CardView)),
    extensions(("x-roles" = json!(["service", "pos", "self"])))
)]
pub async fn read(request: HttpRequest, who: Principal, app: Data<App>, path: Path<String>) -> Answered {
    let id = customer_id(&path)?;
    who.may_see_customer(&id, &[Role::Service, Role::Pos])?;
    let (customer, now) = published(&app, &id).await?;
    Ok(reply(&request, StatusCode::OK, &card_of(&app, &id, &customer.state, now)?, false))
}

/// The card's QR code: an SVG or PNG image, or its text, by `Accept`.
#[utoipa::path(
    get, path = "/v1/customers/{id}/card/qr", tag = "loyalty",
    params(
        ("id" = String, Path, description = "The customer."),
        ("intent" = Option<String>, Query, description = "`show` (identify and earn; the default) or `pay`.")
    ),
    responses((status = 200, description = "The code.", content(
        (String = "image/svg+xml"), (Vec<u8> = "image/png"), (QrText = "application/json"), (QrText = "application/msgpack")
    ))),
    extensions(("x-roles" = json!(["self", "service"])))
)]
pub async fn qr(
    request: HttpRequest,
    who: Principal,
    app: Data<App>,
    path: Path<String>,
    query: Query<QrQuery>,
) -> Answered {
    let id = customer_id(&path)?;
    who.may_see_customer(&id, &[Role::Service])?;
    let (customer, now) = published(&app, &id).await?;
    let card = card_of(&app, &id, &customer.state, now)?;
    if card.status == CardStatus::Closed {
        return Err(Problem::new(Code::CardClosed, "a closed card has no code"));
    }
    let barcode = customer.state.barcode().ok_or_else(no_card)?;
    let step = Step::of(now);
    let intent = query.0.intent.unwrap_or(Intent::Show);
    let text = app.ring.encode(QrCode { intent, barcode, step });
    match picture(&request)? {
        // A code is fresh in its own step and one either side: to the end of the next one.
        Picture::Text => {
            let expires_at = step.start().plus_seconds(2 * STEP_S);
            Ok(uncached(reply(&request, StatusCode::OK, &QrText { text, expires_at }, false)))
        }
        Picture::Svg => image(svg(&text)?.into_bytes(), "image/svg+xml"),
        Picture::Png => image(png(&text)?, "image/png"),
    }
}

enum Picture {
    Text,
    Svg,
    Png,
}

/// Which form the caller likes best.
fn picture(request: &HttpRequest) -> Result<Picture, Problem> {
    match choose(accept(request).as_deref(), &["image/svg+xml", "image/png", JSON, MSGPACK]) {
        Some(0) => Ok(Picture::Svg),
        Some(1) => Ok(Picture::Png),
        Some(_) => Ok(Picture::Text),
        None => Err(Problem::new(
            Code::NotAcceptable,
            "a QR code is image/svg+xml, image/png, application/json or application/msgpack",
        )),
    }
}

/// Error level M: a scratched or dimmed screen loses up to 15 % of the modules. 32 alphanumeric characters stay in the
/// second smallest symbol (25 modules) at this level, and would not at the next.
fn symbol(text: &str) -> Result<qrcode::QrCode, Problem> {
    qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::M).map_err(Problem::internal)
}

fn svg(text: &str) -> Result<String, Problem> {
    let code = symbol(text)?;
    Ok(code.render::<qrcode::render::svg::Color<'_>>().quiet_zone(true).min_dimensions(264, 264).build())
}

fn png(text: &str) -> Result<Vec<u8>, Problem> {
    let pixels = symbol(text)?
        .render::<image::Luma<u8>>()
        .quiet_zone(true)
        .module_dimensions(PIXELS_PER_MODULE, PIXELS_PER_MODULE)
        .build();
    let mut file = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut file, image::ImageFormat::Png).map_err(Problem::internal)?;
    Ok(file.into_inner())
}

fn image(bytes: Vec<u8>, content_type: &'static str) -> Answered {
    Ok(uncached(HttpResponse::Ok().content_type(content_type).body(bytes)))
}

/// A code lives for a minute and opens somebody's points: no cache keeps it.
fn uncached(mut answer: HttpResponse) -> HttpResponse {
    answer.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
    answer
}

macro_rules! card_changes {
    ($($(#[doc = $doc:literal])+ $name:ident, $path:literal, $change:ident;)+) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            post, path = $path, tag = "loyalty",
            params(("id" = String, Path, description = "The customer.")),
            request_body = Reason,
            responses((status = 200, description = "The card after it.", body = CardView)),
            extensions(("x-roles" = json!(["service", "support"])))
        )]
        pub async fn $name(
            request: HttpRequest,
            who: Principal,
            app: Data<App>,
            path: Path<String>,
            key: IdempotencyKey,
            body: Body<Reason>,
        ) -> Answered {
            change_card(&request, &who, &app, &path, &key, body, CardChange::$change).await
        }
    )+};
}

card_changes! {
    /// Block the card: it earns, and does not burn.
    block, "/v1/customers/{id}/card/block", Block;
    /// Undo a block.
    unblock, "/v1/customers/{id}/card/unblock", Unblock;
    /// Give it a new barcode and secret; the old ones are dead, and points cannot be burned for 24 h.
    reissue, "/v1/customers/{id}/card/reissue", Reissue;
    /// Close it for good.
    close, "/v1/customers/{id}/card/close", Close;
}

async fn change_card(
    request: &HttpRequest,
    who: &Principal,
    app: &App,
    path: &str,
    key: &IdempotencyKey,
    body: Body<Reason>,
    how: CardChange,
) -> Answered {
    who.require(&[Role::Service, Role::Support])?;
    let id = customer_id(path)?;
    let barcode = if how == CardChange::Reissue { Some(app.free_barcode().await?) } else { None };
    let command = Command::ChangeCard { change: how, barcode, reason: body.value.reason, by: who.actor() };
    let told = change(app, who, key, &id, body.print, command).await?;
    match told.reply {
        Reply::Card { card, .. } => Ok(reply(request, StatusCode::OK, &*card, told.replayed)),
        other => Err(unexpected(&other)),
    }
}
