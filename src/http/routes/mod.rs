//! The routes. Each handler parses, authorises, asks one entity (or reads what it published) and answers; the rules are in
//! `adal-domain`, the loop that makes an answer durable in `adal-actors`. Nothing here keeps state, and nothing here
//! decides.
//!
//! Order of checks in every handler: credential (401, by the extractor), shape of the request (400, 413, 415), role and
//! ownership (403, or 404 for what is not the caller's), then the rules (404, 409, 422).

pub mod approvals;
pub mod banners;
pub mod card;
pub mod catalogue;
pub mod checkout;
pub mod codes;
pub mod flags;
pub mod offers;
pub mod order_bodies;
pub mod orders;
pub mod points;
pub mod policy;
pub mod pos;
pub mod scanned;
pub mod segments;
pub mod shown;
pub mod signals;
pub mod state;
pub mod trust;

use crate::{
    app::App,
    http::{
        extract::{IdempotencyKey, Principal},
        problem::Problem,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, ServiceConfig},
};
use adal_actors::{CommandId, Request};
use adal_domain::{
    customer::{Command, Customer, Reply, State},
    errors::Code,
    ids::{CustomerId, InvalidId},
    time::Timestamp,
};

/// What a handler answers.
pub type Answered = Result<HttpResponse, Problem>;

/// The routes as a table: it makes the configuration, and the list that the tests compare with the OpenAPI document. A
/// method that a path does not have is answered 405 with `Allow`.
macro_rules! routes {
    ($($path:literal: $($method:ident $handler:path),+;)+) => {
        /// Every path with its methods.
        pub const ROUTES: &[(&str, &[&str])] = &[$(($path, &[$(stringify!($method)),+])),+];

        /// Adds the routes, and their description.
        pub fn configure(cfg: &mut ServiceConfig) {
            crate::http::openapi::configure(cfg);
            // The router tries one path after the other, and one with a name in it by a regular expression: those
            // without come first, which are what tills and checkouts call.
            for with_names in [false, true] {
                $(if $path.contains('{') == with_names {
                    cfg.service(
                        web::resource($path)
                            $(.route(web::$method().to($handler)))+
                            .default_service(web::to(|| std::future::ready(other_method(&[$(stringify!($method)),+])))),
                    );
                })+
            }
        }
    };
}

routes! {
    "/v1/customers/{id}/card": get card::read, post card::issue;
    "/v1/customers/{id}/card/qr": get card::qr;
    "/v1/customers/{id}/card/block": post card::block;
    "/v1/customers/{id}/card/unblock": post card::unblock;
    "/v1/customers/{id}/card/reissue": post card::reissue;
    "/v1/customers/{id}/card/close": post card::close;
    "/v1/pos/scan": post pos::scan;
    "/v1/customers/{id}/points/adjust": post points::adjust;
    "/v1/customers/{id}/points/statement": get points::statement;
    "/v1/customers/{id}/points/review": get points::reviews;
    "/v1/customers/{id}/points/review/{entry}/release": post points::release;
    "/v1/customers/{id}/points/review/{entry}/void": post points::void;
    "/v1/approvals/{id}": get approvals::read;
    "/v1/approvals/{id}/approve": post approvals::approve;
    "/v1/approvals/{id}/reject": post approvals::reject;
    "/v1/customers/{id}/fraud-flags": post flags::raise;
    "/v1/customers/{id}/fraud-flags/{flag}/confirm": post flags::confirm;
    "/v1/customers/{id}/fraud-flags/{flag}/dismiss": post flags::dismiss;
    "/v1/customers/{id}/state": get state::at;
    "/v1/customers/{id}/trust": get trust::read;
    "/v1/signals": get signals::list;
    "/v1/orders/events": post orders::events;
    "/v1/checkout/quotes": post checkout::quote;
    "/v1/checkout/holds": post checkout::hold;
    "/v1/checkout/holds/{hold_id}": get checkout::read;
    "/v1/checkout/holds/{hold_id}/capture": post checkout::capture;
    "/v1/checkout/holds/{hold_id}/release": post checkout::release;
    "/v1/segments/{id}/customers": post segments::change;
    "/v1/policy": get policy::read, put policy::replace;
    "/v1/catalogue/changes": post catalogue::apply;
    "/v1/promos": get offers::promos::list;
    "/v1/promos/{id}": get offers::promos::read, put offers::promos::put, delete offers::promos::delete;
    "/v1/promos/{id}/usage": get offers::promos::usage;
    "/v1/promos/{id}/history": get offers::promos::history;
    "/v1/promos/{id}/codes": post codes::generate;
    "/v1/promos/{id}/codes.csv": get codes::export;
    "/v1/jobs/{id}": get codes::job, delete codes::cancel;
    "/v1/banners": get banners::list;
    "/v1/banners/{id}": get banners::read, put banners::put, delete banners::delete;
    "/v1/banners/{id}/usage": get banners::usage;
    "/v1/banners/{id}/history": get banners::history;
    "/v1/banners/{id}/events": post banners::event;
    "/v1/campaigns": get offers::campaigns::list;
    "/v1/campaigns/{id}": get offers::campaigns::read, put offers::campaigns::put, delete offers::campaigns::delete;
    "/v1/campaigns/{id}/usage": get offers::campaigns::usage;
    "/v1/campaigns/{id}/history": get offers::campaigns::history;
}

fn other_method(methods: &[&str]) -> Answered {
    let allow = methods.join(", ").to_ascii_uppercase();
    let mut answer = actix_web::ResponseError::error_response(&Problem::new(
        Code::MethodNotAllowed,
        format!("this path has {allow}"),
    ));
    if let Ok(allow) = header::HeaderValue::from_str(&allow) {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    Ok(answer)
}

/// An answer with the revision that `If-Match` may name.
fn with_etag(mut answer: HttpResponse, revision: u64) -> HttpResponse {
    if let Ok(tag) = header::HeaderValue::from_str(&format!("\"{revision}\"")) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

/// The revision that the caller saw: `If-Match: "3"`; `*` and no header match any. `If-None-Match: *`: there was none,
/// which is revision 0.
fn if_match(request: &HttpRequest) -> Result<Option<u64>, Problem> {
    if let Some(value) = request.headers().get(header::IF_NONE_MATCH) {
        return match value.to_str().map(str::trim) {
            Ok("*") => Ok(Some(0)),
            _ => Err(Problem::new(Code::InvalidField, "If-None-Match: must be * (nothing may be there)")),
        };
    }
    let Some(value) = request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Problem::new(Code::InvalidField, "If-Match: must be a revision in quotes, like \"3\""))
}

/// A typed id from a path.
fn path_id<T>(name: &str, text: &str, make: fn(&str) -> Result<T, InvalidId>) -> Result<T, Problem> {
    make(text).map_err(|rule| Problem::new(Code::InvalidField, format!("{name}: {rule}")))
}

/// The customer of a path.
fn customer_id(text: &str) -> Result<CustomerId, Problem> {
    path_id("id", text, CustomerId::new)
}

/// What a command answered, and whether it is the recorded answer of an earlier request.
struct Told {
    reply: Reply,
    replayed: bool,
}

/// Sends a change to a customer. `print` is the body's, which covers method and path: it tells a repeat from another
/// change under the same key.
async fn change(
    app: &App,
    who: &Principal,
    key: &IdempotencyKey,
    id: &CustomerId,
    print: [u8; 16],
    command: Command,
) -> Result<Told, Problem> {
    let request = Request::<Customer> { id: Some(CommandId::of(&who.scope(), &key.0)), print, command };
    let answer = app.customers.ask(id.as_str(), request).await?;
    match answer.outcome {
        Ok(reply) => Ok(Told { reply, replayed: answer.replayed }),
        Err(refusal) => Err(Problem::from(refusal).replayed(answer.replayed)),
    }
}

/// The rules answered a command with another command's reply: a fault here, never the caller's.
fn unexpected(reply: &impl std::fmt::Debug) -> Problem {
    Problem::internal(format!("the reply of another command: {reply:?}"))
}

/// A customer's published state with the moment to read it at.
async fn published(
    app: &App,
    id: &CustomerId,
) -> Result<(std::sync::Arc<adal_actors::Published<Customer>>, Timestamp), Problem> {
    let read = app.customers.read(id.as_str()).await?;
    // The clock may stand before the last row (it was set back): a state is never read as of before itself.
    let now = app.now().max(read.at);
    Ok((read, now))
}

/// There is no card.
fn no_card() -> Problem {
    Problem::new(Code::CardNotFound, "this customer has no card")
}

/// The whole card as of `now`.
fn card_of(
    app: &App,
    id: &CustomerId,
    state: &State,
    now: Timestamp,
) -> Result<adal_domain::customer::read::CardView, Problem> {
    state.card_view(&app.context(id.as_str()), now).ok_or_else(no_card)
}

/// What a view keeps, read.
fn stored<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, Problem> {
    rmp_serde::from_slice(value).map_err(Problem::internal)
}
