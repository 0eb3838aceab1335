//! The HTTP interface.
//!
//! ```text
//! request -> edge::layer   id, span, stop-watch, rate of its address; afterwards: problems, headers, metrics, log line
//!         -> edge::guard   deadline, panics
//!         -> extract       who asks (401), their rate (429), key, query, body (400, 413, 415)
//!         -> routes        may they (403, 404); ask the entity; respond
//! ```
//!
//! Everything here runs on the threads of actix-web's workers and never blocks them: entities are asked through the
//! registries, the store through its own threads. No handler keeps state.

pub(crate) mod body;
pub mod cursor;
pub mod edge;
pub mod extract;
pub mod limits;
pub mod openapi;
pub mod owners;
pub mod problem;
pub mod respond;
pub mod routes;
pub mod server;
pub mod watch;

use actix_web::web::ServiceConfig;

/// All routes. The layers around them are `server`'s.
pub fn configure(cfg: &mut ServiceConfig) {
    routes::configure(cfg);
    server::health(cfg);
}
