//! The description of this interface: `/openapi.json`, and an interactive page at `/docs` that is part of the binary and
//! loads nothing from elsewhere. `docs/reference/openapi.json` is the same document, checked in; a test compares, and
//! `ADAL_UPDATE=1 cargo test -p adal --test it golden` writes it anew.
//!
//! What all routes share is added here once and not said at each of them: the credential, `Idempotency-Key`, MessagePack
//! beside JSON, and the problems that any route may answer.

use std::sync::{Arc, LazyLock};

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Path, ServiceConfig},
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, Content, HttpMethod, Ref, RefOr, Required, Response,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        schema::{ObjectBuilder, Schema, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    problem::{Problem, ProblemBody},
    respond::{JSON, MSGPACK},
    routes::{self, Answered},
};

/// Changes whose body carries its own id, POSTs that change nothing, and counts on which nothing rests.
const WITHOUT_KEY: [&str; 4] = ["/v1/orders/events", "/v1/pos/scan", "/v1/checkout/quotes", "/v1/banners/{id}/events"];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Adal",
        description = "A real-time engagement engine for shops and marketplaces: cards, points, checkout, orders, trust.\n\n\
            JSON by default; `application/msgpack` (named maps) on every route. Errors are problem details (RFC 9457) with \
            a stable `code`: see the reference of errors. Every change takes `Idempotency-Key`: the same key and body \
            give the recorded answer with `Idempotent-Replay: true`. Money is in minor units, percentages in permyriad, \
            times are RFC 3339 UTC.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        routes::card::issue, routes::card::read, routes::card::qr, routes::card::block, routes::card::unblock,
        routes::card::reissue, routes::card::close, routes::pos::scan, routes::points::adjust,
        routes::points::statement, routes::points::reviews, routes::points::release, routes::points::void,
        routes::approvals::read, routes::approvals::approve, routes::approvals::reject, routes::flags::raise,
        routes::flags::confirm, routes::flags::dismiss, routes::state::at, routes::trust::read, routes::signals::list,
        routes::orders::events, routes::checkout::quote, routes::checkout::hold, routes::checkout::read,
        routes::checkout::capture, routes::checkout::release, routes::segments::change, routes::policy::read, routes::policy::replace,
        routes::catalogue::apply,
        routes::offers::promos::list, routes::offers::promos::read, routes::offers::promos::put,
        routes::offers::promos::delete, routes::offers::promos::usage, routes::offers::promos::history,
        routes::banners::list, routes::banners::read, routes::banners::put, routes::banners::delete,
        routes::banners::usage, routes::banners::history, routes::banners::event,
        routes::codes::generate, routes::codes::export, routes::codes::job, routes::codes::cancel,
        routes::offers::campaigns::list, routes::offers::campaigns::read, routes::offers::campaigns::put,
        routes::offers::campaigns::delete, routes::offers::campaigns::usage, routes::offers::campaigns::history,
        healthz, readyz
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "loyalty", description = "Cards, points, scans."),
        (name = "orders", description = "What the shop's own systems say of orders."),
        (name = "checkout", description = "Quotes, holds, captures."),
        (name = "trust", description = "Trust, fraud flags, signals."),
        (name = "catalogue", description = "The policy, promos, campaigns, banners, codes."),
        (name = "audit", description = "Past states."),
        (name = "health", description = "For whoever runs the server.")
    ),
    modifiers(&Conventions)
)]
struct Document;

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "It lives.")))]
#[allow(dead_code)]
fn healthz() {}

/// The server can do its work.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "It can."), (status = 503, description = "It cannot now."))
)]
#[allow(dead_code)]
fn readyz() {}

struct Conventions;

impl Modify for Conventions {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A service key (`adal_<role>_...`), or a customer's JWT (EdDSA)."))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
        for (path, item) in &mut document.paths.paths {
            if path.starts_with("/v1/") {
                for (method, operation) in operations(item) {
                    describe(path, &method, operation);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let all = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Delete, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
}

fn describe(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let writes = *method != HttpMethod::Get;
    let mut problems = vec![400, 401, 403, 406, 429, 500, 503];
    if path.contains('{') {
        problems.push(404);
    }
    if writes {
        problems.extend([404, 408, 409, 413, 415, 422]);
    }
    for status in problems {
        operation.responses.responses.entry(status.to_string()).or_insert_with(|| RefOr::T(problem(status)));
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && let Some(json) = response.content.get(JSON).cloned()
        {
            response.content.insert(MSGPACK.to_owned(), json);
        }
    }
    if let Some(body) = &mut operation.request_body
        && let Some(json) = body.content.get(JSON).cloned()
    {
        body.content.insert(MSGPACK.to_owned(), json);
    }
    if writes && !WITHOUT_KEY.contains(&path) {
        operation.parameters.get_or_insert_with(Vec::new).push(idempotency_key());
    }
}

fn problem(status: u16) -> Response {
    let content = || Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name("ProblemBody"))));
    let said = match status {
        400 => "The request cannot be read, or a field breaks its rule.",
        401 => "No credential, or not a valid one.",
        403 => "This credential may not do this.",
        404 => "There is nothing there, or it is not yours.",
        406 => "None of the accepted content types can be made.",
        408 => "The body did not arrive in time.",
        409 => "Its state does not allow this.",
        413 => "The body is too large.",
        415 => "Neither JSON nor MessagePack.",
        422 => "Refused by a rule.",
        429 => "Too much at once: see Retry-After.",
        500 => "Something broke here.",
        _ => "Not now: see Retry-After, and repeat with the same key.",
    };
    let mut response = Response::new(said);
    response.content.insert("application/problem+json".to_owned(), content());
    response.content.insert("application/problem+msgpack".to_owned(), content());
    response
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some("1-64 visible ASCII characters: the same key and body give the recorded answer."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64)).build()))
        .build()
}

/// The document as it is served and checked in.
#[must_use]
pub fn json() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut document = Document::openapi();
        document.info.version = env!("CARGO_PKG_VERSION").to_owned();
        document.to_pretty_json().map(|text| text + "\n").unwrap_or_default()
    });
    &TEXT
}

/// `/openapi.json` and `/docs`: both open, for they say nothing of anybody.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/openapi.json", web::get().to(document))
        .route("/docs", web::get().to(|| async { web::Redirect::to("/docs/").permanent() }))
        .route("/docs/{file:.*}", web::get().to(page));
}

async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type(JSON).body(json())
}

/// Swagger UI: its own files alone, and calls to this server alone. Its styles are inline.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

async fn page(file: Path<String>) -> Answered {
    static CONFIG: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> =
        LazyLock::new(|| Arc::new(utoipa_swagger_ui::Config::from("/openapi.json")));
    let name = if file.is_empty() { "index.html" } else { file.as_str() };
    let served = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG))
        .map_err(|error| Problem::internal(format!("the page cannot be served: {error}")))?
        .ok_or_else(|| Problem::not_found("the page has no such file"))?;
    Ok(HttpResponse::Ok()
        .content_type(served.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(served.bytes.into_owned()))
}
