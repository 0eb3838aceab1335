//! The listening server: workers, layers, health.
//!
//! Used by `adal serve`, by the demo and by the tests alike. Stopping it refuses new connections and lets requests under
//! way finish; the application behind it is stopped by whoever opened it, afterwards.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{KeepAlive, StatusCode},
    middleware::from_fn,
    web::{self, Data, ServiceConfig},
};
use adal_store::Health;
use serde::Serialize;

use super::{edge, respond::reply};
use crate::app::{App, StartError};

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens: with the port that was given, where 0 was asked for.
    pub addr: SocketAddr,
    handle: ServerHandle,
}

/// Starts the server on `listen` (port 0: any free one). Within an actix `System`.
///
/// # Errors
/// Where the address is taken.
pub fn start(app: Arc<App>, listen: &str) -> Result<Server, StartError> {
    let failed = |source| StartError::Listen { address: listen.to_owned(), source };
    let config = Arc::clone(&app.config);
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let workers = match config.server.workers {
        0 => available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let data = Data::from(app);
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(data.clone())
            // The last one wrapped is the outermost.
            .wrap(from_fn(edge::guard))
            .wrap(from_fn(edge::layer))
            .configure(super::configure)
    })
    .workers(workers)
    // Each worker has its share; the rest waits in the operating system's queue.
    .max_connections(config.server.max_connections.div_ceil(workers))
    .client_request_timeout(Duration::from_secs(config.server.body_timeout_s))
    .client_disconnect_timeout(Duration::from_secs(2))
    .keep_alive(KeepAlive::Timeout(Duration::from_secs(config.server.keep_alive_s)))
    .shutdown_timeout((config.server.stop_within_s / 2).max(1))
    // SIGTERM and SIGINT are `cli::serve`'s: the server is not the only thing to stop.
    .disable_signals()
    .listen(listener)
    .map_err(failed)?
    .run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(Server { addr, handle })
}

impl Server {
    /// Where it listens, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Takes no new connection, answers what is under way (for half of `server.stop_within_s` at most), and ends.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

/// The open routes that say how the server is.
pub(super) fn health(cfg: &mut ServiceConfig) {
    // HEAD too: what some load balancers ask with.
    cfg.service(web::resource("/healthz").route(web::get().to(healthz)).route(web::head().to(healthz)))
        .service(web::resource("/readyz").route(web::get().to(readyz)).route(web::head().to(readyz)));
}

/// `GET /healthz`
#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

/// The process answers: what a supervisor restarts it by.
async fn healthz(req: HttpRequest) -> HttpResponse {
    reply(&req, StatusCode::OK, &Alive { status: "ok" }, false)
}

/// `GET /readyz`
#[derive(Serialize)]
struct Ready {
    ready: bool,
    parts: Parts,
}

#[derive(Serialize)]
struct Parts {
    /// `ok`, or `stopping`.
    server: &'static str,
    /// `ok`, or why it cannot be written.
    store_writes: String,
    /// `ok`, or why it cannot be read.
    store_reads: String,
    /// `ok`, or why nothing is changed by it.
    clock: String,
    /// `ok`, or whose the entities are.
    ownership: String,
}

/// Whether requests can be served in full: what a load balancer looks at. A store that cannot be written still serves
/// reads.
async fn readyz(req: HttpRequest, app: Data<App>) -> HttpResponse {
    let store_writes = match app.store.health() {
        Health::Healthy => "ok".to_owned(),
        Health::ReadOnly { reason } => reason.to_string(),
    };
    let store_reads = match app.store.api_keys_version().await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    let clock = app.clock.doubt().map_or_else(|| "ok".to_owned(), |doubt| doubt.to_string());
    let ownership = app.journal.serves().map_or_else(|error| error.to_string(), |()| "ok".to_owned());
    let server = if app.is_stopping() { "stopping" } else { "ok" };
    let ready = server == "ok" && store_writes == "ok" && store_reads == "ok" && clock == "ok" && ownership == "ok";
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply(&req, status, &Ready { ready, parts: Parts { server, store_writes, store_reads, clock, ownership } }, false)
}
