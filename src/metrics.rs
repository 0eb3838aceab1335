//! Metrics: one recorder for the process, and a listener of its own for Prometheus.
//!
//! Labels have few values, all known beforehand: a route's pattern and never a path, never the id of a customer, shop,
//! code or issue.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::OnceLock,
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, http::Method, web};
use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{checkout, promo_gauges};

/// Bounds of all histograms of seconds: from a tenth of a millisecond (a quote) to the request time-out.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Bounds of all histograms of how many commands or rows went together.
const COUNTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder, once per process; later calls give the same. Before registries and stores are made: they look
/// their metrics up at start.
///
/// # Errors
/// Where another recorder was installed by someone else.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    // Tests of one process start servers side by side: the first one installs, the others wait for it.
    static FIRST: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _first = FIRST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_commands".to_owned()), &COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), &COUNTS)?
        .install_recorder()?;
    describe();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

fn describe() {
    metrics_process::Collector::default().describe();
    describe_counter!("adal_http_requests_total", "Requests answered, by route pattern, method and status");
    describe_histogram!("adal_http_request_seconds", "From the headers to the answer, by route pattern and method");
    describe_counter!("adal_http_panics_total", "Requests whose handler panicked");
    describe_counter!("adal_problems_total", "Problems answered, by code");
    describe_counter!("adal_auth_refused_total", "Credentials refused");
    describe_counter!("adal_rate_limited_total", "Requests refused by a rate limit, by what was limited");
    describe_counter!("adal_qr_wrong_signature_total", "QR codes with a wrong signature");
    describe_counter!("adal_decisions_total", "Commands decided, by kind of entity and outcome");
    describe_counter!("adal_activations_total", "Entities opened, by kind");
    describe_counter!("adal_passivations_total", "Idle entities that left memory, by kind");
    describe_counter!("adal_quarantined_total", "Entities stopped after repeated panics, by kind");
    describe_counter!("adal_append_retries_total", "Appends repeated because their outcome was in doubt, by kind");
    describe_counter!("adal_snapshots_damaged_total", "Entities opened from all rows, their snapshot being damaged");
    describe_histogram!("adal_batch_commands", "Commands decided together as one journal row, by kind");
    describe_histogram!("adal_decide_seconds", "Deciding and encoding one journal row, by kind");
    describe_gauge!("adal_clock_in_doubt", "1 while the machine's clock is not believed and nothing is changed");
    describe_counter!("adal_clock_leaps_total", "Leaps of the machine's clock: doubted, returned, adopted");
    describe_counter!("adal_signals_lost_total", "Signals that could not be listed, by kind");
    checkout::meters::describe();
    promo_gauges::describe();
    counter!("adal_http_panics_total").absolute(0);
    counter!("adal_auth_refused_total").absolute(0);
    counter!("adal_qr_wrong_signature_total").absolute(0);
}

/// Requests by route, method and status. The handles are kept per thread: looking one up takes longer than many a
/// request.
pub(crate) struct HttpMeter;

type Handles = HashMap<(&'static str, u16), (Counter, Histogram)>;

thread_local! {
    static HANDLES: RefCell<HashMap<Box<str>, Handles>> = RefCell::default();
}

impl HttpMeter {
    /// Counts an answered request. `route` is one of the patterns of the program's own routes: bounded.
    pub(crate) fn record(route: &str, method: &Method, status: u16, seconds: f64) {
        let method = known(method);
        HANDLES.with_borrow_mut(|routes| {
            if !routes.contains_key(route) {
                routes.insert(route.into(), HashMap::new());
            }
            let Some(handles) = routes.get_mut(route) else { return };
            let (count, time) = handles.entry((method, status)).or_insert_with(|| {
                let route = route.to_owned();
                let labels = [("route", route.clone()), ("method", method.to_owned()), ("status", status.to_string())];
                (
                    counter!("adal_http_requests_total", &labels),
                    histogram!("adal_http_request_seconds", "route" => route, "method" => method),
                )
            });
            count.increment(1);
            time.record(seconds);
        });
    }
}

/// A client can send any word for a method; a label takes only these.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

/// The scrape listener.
pub struct Exporter {
    /// Where it listens.
    pub addr: SocketAddr,
    handle: ServerHandle,
}

impl Exporter {
    /// Listens, and has what was measured added up every 5 s also where nobody scrapes.
    ///
    /// # Errors
    /// Where the address is taken.
    pub fn start(prometheus: PrometheusHandle, listen: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let addr = listener.local_addr()?;
        let upkeep = prometheus.clone();
        actix_rt::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(5));
            loop {
                every.tick().await;
                upkeep.run_upkeep();
            }
        });
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(prometheus.clone())).route("/metrics", web::get().to(scrape))
        })
        .workers(1)
        .max_connections(64)
        .disable_signals()
        .shutdown_timeout(1)
        .listen(listener)?
        .run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok(Self { addr, handle })
    }

    /// Stops listening.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn scrape(prometheus: web::Data<PrometheusHandle>) -> HttpResponse {
    metrics_process::Collector::default().collect();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(prometheus.render())
}
