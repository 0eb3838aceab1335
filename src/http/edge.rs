//! The outermost layers around every route.
//!
//! `layer` gives each request an id, a span and a stop-watch, counts its address, and makes of whatever comes back an
//! answer that keeps the rules: problems rendered in the caller's format, security headers, metrics, one log line.
//! `guard`, inside it, ends what takes too long and turns a panic into a 500. Neither knows any route.
//!
//! A request must not be cloned before it is routed (actix then panics): what `layer` needs for a request whose
//! future was dropped, it takes out beforehand, into a [`Trace`] that handlers add to.

use std::{
    cell::OnceCell,
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    rc::Rc,
    time::Duration,
};

use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use adal_domain::{errors::Code, ids::uuid_v7};
use futures_util::FutureExt;
use tracing::Instrument;

use super::{
    extract::Principal,
    problem::Problem,
    respond::{Format, JSON, MSGPACK, accept, choose},
};
use crate::{app::App, clock::Stopwatch, config::Network, metrics::HttpMeter};

/// The header of a request's id.
pub const REQUEST_ID: &str = "X-Request-Id";

/// What is known of a request, also where its future is gone.
#[derive(Debug)]
pub struct Trace {
    /// As the caller named it, or made here.
    pub id: String,
    route: OnceCell<String>,
    who: OnceCell<String>,
}

/// The id of a request: in its answer and in all its log lines.
#[must_use]
pub fn request_id(req: &HttpRequest) -> String {
    trace(req).map(|trace| trace.id.clone()).unwrap_or_default()
}

fn trace(req: &HttpRequest) -> Option<Rc<Trace>> {
    req.extensions().get::<Rc<Trace>>().cloned()
}

/// Notes which route a request took, for the metrics of one that panics.
pub(super) fn note_route(req: &HttpRequest) {
    if let (Some(trace), Some(pattern)) = (trace(req), req.match_pattern()) {
        // Set by the first extractor; the others say the same.
        let _ = trace.route.set(pattern);
    }
}

/// Notes who asks, for the log line.
pub(super) fn note_principal(req: &HttpRequest, principal: &Principal) {
    if let Some(trace) = trace(req) {
        let _ = trace.who.set(match principal {
            Principal::Service { key_id, .. } => key_id.clone(),
            Principal::Customer { .. } => "customer".to_owned(),
        });
    }
}

/// See the module.
pub(super) async fn layer<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<actix_web::body::BoxBody>, Error> {
    let watch = Stopwatch::start();
    let id = given_id(&req).unwrap_or_else(|| new_id(&req));
    let trace = Rc::new(Trace { id, route: OnceCell::new(), who: OnceCell::new() });
    let format = accepted(req.request());
    let method = req.method().clone();
    let span = tracing::info_span!("request", request_id = %trace.id);
    req.extensions_mut().insert(Rc::clone(&trace));
    let admitted = admit(&req);
    async move {
        let outcome = match admitted {
            Ok(()) => next.call(req).await.map(ServiceResponse::map_into_boxed_body),
            Err(problem) => Ok(req.into_response(problem.error_response())),
        };
        match outcome {
            Ok(response) => {
                let pattern = response.request().match_pattern();
                let (request, response) = response.into_parts();
                let mut response = finish(response, format, &trace.id);
                if request.app_data::<Data<App>>().is_some_and(|app| app.is_stopping()) {
                    // A client that keeps its connection would be cut off in the middle of a later request.
                    response.head_mut().set_connection_type(ConnectionType::Close);
                }
                note(&trace, &method, pattern.as_deref(), response.status(), &watch);
                Ok(ServiceResponse::new(request, response))
            }
            // The request is gone (it panicked, or was too slow): the answer travels as an error, rendered already.
            Err(error) => {
                let response = finish(error.error_response(), format, &trace.id);
                note(&trace, &method, None, response.status(), &watch);
                Err(actix_web::error::InternalError::from_response("ended early", response).into())
            }
        }
    }
    .instrument(span)
    .await
}

/// Ends what takes too long, and turns a panic into a 500.
pub(super) async fn guard<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let within = req.app_data::<Data<App>>().map_or(30, |app| app.config.server.request_timeout_s);
    // A handler holds no state of its own that a panic could leave half done: entities catch their own.
    let answer = AssertUnwindSafe(next.call(req)).catch_unwind();
    match tokio::time::timeout(Duration::from_secs(within), answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            metrics::counter!("adal_http_panics_total").increment(1);
            Err(Problem::internal(format!("a handler panicked: {}", message_of(&*panic))).into())
        }
        Err(_) => {
            let detail = format!("no answer within {within} s; repeat the request with the same key");
            Err(Problem::new(Code::Unavailable, detail).into())
        }
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("")
}

/// A caller's own id, where it is 1-64 characters that may stand in a log line as they are.
fn given_id(req: &ServiceRequest) -> Option<String> {
    let id = req.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    ((1..=64).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}

/// A UUIDv7, so that ids sort by time in logs.
fn new_id(req: &ServiceRequest) -> String {
    let now = req.app_data::<Data<App>>().map(|app| app.now()).unwrap_or_default();
    uuid_v7(now, rand::random())
}

/// The format for problems: JSON, unless MessagePack is what the caller accepts.
fn accepted(req: &HttpRequest) -> Format {
    match choose(accept(req).as_deref(), &[JSON, MSGPACK]) {
        Some(1) => Format::MsgPack,
        _ => Format::Json,
    }
}

fn admit(req: &ServiceRequest) -> Result<(), Problem> {
    let Some(app) = req.app_data::<Data<App>>() else { return Ok(()) };
    if matches!(req.path(), "/healthz" | "/readyz") {
        return Ok(());
    }
    match client_address(app, req.request()) {
        Some(address) => app.limits.admit_address(address, req.method(), req.path()),
        None => Ok(()),
    }
}

/// The address that a request comes from; `None`: a trusted proxy asks for itself.
pub(super) fn client_address(app: &App, req: &HttpRequest) -> Option<IpAddr> {
    let peer = req.peer_addr()?.ip();
    let forwarded = req.headers().get_all("X-Forwarded-For").filter_map(|value| value.to_str().ok());
    behind(peer, forwarded, &app.config.server.trusted_proxies)
}

/// The peer's address; where the peer is a trusted proxy, the last address that it names which is none itself: what
/// stands before that, a client can have written.
fn behind<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, proxies: &[Network]) -> Option<IpAddr> {
    let trusted = |address: &IpAddr| proxies.iter().any(|network| network.contains(address.to_canonical()));
    if !trusted(&peer) {
        return Some(peer);
    }
    let chain: Vec<&str> = forwarded.flat_map(|line| line.split(',')).map(str::trim).collect();
    if chain.is_empty() {
        return None;
    }
    let read = |text: &str| text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let mut named = chain.into_iter().rev().map_while(read);
    Some(named.find(|address| !trusted(address)).unwrap_or(peer))
}

const SECURITY: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Renders a problem, and sets the headers that every answer has. A handler's own headers stay.
fn finish(mut response: HttpResponse, format: Format, id: &str) -> HttpResponse {
    let problem = response.extensions().get::<Problem>().cloned().or_else(|| bare(&response));
    if let Some(problem) = problem {
        problem.log();
        metrics::counter!("adal_problems_total", "code" => problem.code().as_str()).increment(1);
        let rendered = problem.render(format, id);
        let allow = response.headers().get(header::ALLOW).cloned();
        response = rendered;
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// The problem that an error of the framework stands for: such an answer has no body that a client could read.
fn bare(response: &HttpResponse) -> Option<Problem> {
    let status = response.status();
    let readable =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|t| !t.as_bytes().starts_with(b"text/plain"));
    ((status.is_client_error() || status.is_server_error()) && !readable).then(|| Problem::of_status(status))
}

/// Metrics and the log line of an answered request.
fn note(trace: &Trace, method: &Method, pattern: Option<&str>, status: StatusCode, watch: &Stopwatch) {
    let route = pattern.or_else(|| trace.route.get().map(String::as_str)).unwrap_or("unmatched");
    let seconds = watch.seconds();
    HttpMeter::record(route, method, status.as_u16(), seconds);
    let who = trace.who.get().map_or("", String::as_str);
    let ms = (seconds * 1e6).round() / 1e3;
    // A line costs as much as a scan itself: what went well and wrote nothing has its numbers in the metrics.
    if status.is_success() && is_read(method, route) && seconds < SLOW_S {
        tracing::debug!(target: "adal::access", %method, route, status = status.as_u16(), ms, who, "answered");
    } else {
        tracing::info!(target: "adal::access", %method, route, status = status.as_u16(), ms, who, "answered");
    }
}

/// Seconds from which on a read has a line of its own.
const SLOW_S: f64 = 0.5;

/// Whether a request of this route writes nothing.
fn is_read(method: &Method, route: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        || matches!(route, "/v1/pos/scan" | "/v1/checkout/quotes")
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpServer,
        middleware::from_fn,
        test::{TestRequest, call_service, init_service, read_body, try_call_service},
        web,
    };

    use super::*;

    async fn fails() -> Result<HttpResponse, Problem> {
        Err(Problem::new(Code::CardClosed, "closed"))
    }

    async fn panics(req: HttpRequest) -> HttpResponse {
        note_route(&req);
        panic!("at the till")
    }

    fn routes(cfg: &mut web::ServiceConfig) {
        cfg.route("/fails", web::get().to(fails))
            .route("/panics", web::get().to(panics))
            .service(web::resource("/one").route(web::get().to(HttpResponse::Ok)));
    }

    macro_rules! edge {
        () => {
            init_service(App::new().wrap(from_fn(guard)).wrap(from_fn(layer)).configure(routes)).await
        };
    }

    async fn code(response: ServiceResponse) -> (u16, String, serde_json::Value) {
        let status = response.status().as_u16();
        let id = response.headers().get(REQUEST_ID).unwrap().to_str().unwrap().to_owned();
        assert_eq!(response.headers().get(header::X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
        let body = read_body(response).await;
        (status, id, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn a_client_cannot_choose_its_address() {
        let proxies = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let of = |peer: &str, lines: &[&str]| {
            behind(peer.parse().unwrap(), lines.iter().copied(), &proxies).map(|address| address.to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("203.0.113.9", &["198.51.100.1"]), some("203.0.113.9"), "no proxy of ours: not believed");
        assert_eq!(of("127.0.0.1", &["198.51.100.1"]), some("198.51.100.1"));
        assert_eq!(of("127.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.7"]), some("198.51.100.1"));
        assert_eq!(of("127.0.0.1", &["1.1.1.1", "198.51.100.1:4711"]), some("198.51.100.1"));
        assert_eq!(of("127.0.0.1", &["1.1.1.1, unknown"]), some("127.0.0.1"));
        assert_eq!(of("127.0.0.1", &[]), None);
    }

    #[actix_web::test]
    async fn a_problem_has_the_callers_request_id_and_format() {
        let edge = edge!();
        let request = TestRequest::get().uri("/fails").insert_header((REQUEST_ID, "till-7:42"));
        let (status, id, body) = code(call_service(&edge, request.to_request()).await).await;
        assert_eq!((status, id.as_str()), (409, "till-7:42"));
        assert_eq!((body["code"].as_str(), body["request_id"].as_str()), (Some("card_closed"), Some("till-7:42")));

        let request = TestRequest::get().uri("/fails").insert_header((header::ACCEPT, MSGPACK)).to_request();
        let response = call_service(&edge, request).await;
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), "application/problem+msgpack");
    }

    #[actix_web::test]
    async fn a_request_id_that_is_not_plain_is_replaced() {
        let edge = edge!();
        let long = "a".repeat(65);
        for given in ["", "two words", "\"quoted\"", "{json}", &long] {
            let request = TestRequest::get().uri("/fails").insert_header((REQUEST_ID, given)).to_request();
            let (_, id, body) = code(call_service(&edge, request).await).await;
            assert_ne!(id, given);
            assert_eq!(id.len(), 36);
            assert_eq!(body["request_id"], id);
        }
    }

    #[actix_web::test]
    async fn what_the_framework_refuses_is_a_problem_too() {
        let edge = edge!();
        for (request, status, name) in [
            (TestRequest::get().uri("/nothing"), 404, "not_found"),
            (TestRequest::delete().uri("/one"), 405, "method_not_allowed"),
        ] {
            let (got, _, body) = code(call_service(&edge, request.to_request()).await).await;
            assert_eq!((got, body["code"].as_str()), (status, Some(name)));
        }
    }

    #[actix_web::test]
    async fn a_panic_is_a_500_that_does_not_tell() {
        let edge = edge!();
        let error = try_call_service(&edge, TestRequest::get().uri("/panics").to_request()).await.unwrap_err();
        let response = error.error_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = response.into_body().try_into_bytes().unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.contains("\"internal\"") && !text.contains("till"), "{text}");
    }

    #[actix_web::test]
    async fn a_panic_reaches_the_client_as_it_was_rendered() {
        let server = HttpServer::new(|| App::new().wrap(from_fn(guard)).wrap(from_fn(layer)).configure(routes));
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/panics", server.addrs()[0]);
        let running = server.run();
        let handle = running.handle();
        actix_rt::spawn(running);
        let answer = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut answer = agent.get(&url).call().unwrap();
            let kind = answer.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
            (answer.status().as_u16(), kind, answer.body_mut().read_to_string().unwrap())
        });
        let (status, kind, body) = answer.await.unwrap();
        assert_eq!((status, kind.as_str()), (500, "application/problem+json"));
        assert!(body.contains("request_id"), "{body}");
        handle.stop(false).await;
    }
}
