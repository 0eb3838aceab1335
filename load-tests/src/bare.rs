//! The limit for scans and quotes: actix-web with nothing behind it. It parses the same JSON and answers JSON of the same
//! size, with the same version of actix-web, the same number of workers, and the server's allocator. Runs as a process of
//! its own.

use std::net::TcpListener;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};

use crate::Done;

/// What is parsed of a scan.
#[derive(Debug, Deserialize)]
struct Scan {
    code: String,
}

/// What is parsed of a quote.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "they are parsed, and that is all")]
struct Quote {
    customer_id: String,
    shop_id: String,
    channel: String,
    codes: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "they are parsed, and that is all")]
struct Line {
    line_id: String,
    sku: String,
    category: String,
    brand: String,
    tags: Vec<String>,
    quantity: i64,
    unit: String,
    unit_price_minor: i64,
}

/// What is answered: a few fields, and a text that makes up the size.
#[derive(Debug, Serialize)]
struct Seen<'a> {
    length: usize,
    can_burn: bool,
    points: [i64; 4],
    filler: &'a str,
}

fn answer(length: usize, filler: &str) -> HttpResponse {
    HttpResponse::Ok().json(Seen { length, can_burn: true, points: [100, 200, 300, 400], filler })
}

async fn scan(body: web::Json<Scan>, filler: web::Data<String>) -> HttpResponse {
    answer(body.code.len(), &filler)
}

async fn quote(body: web::Json<Quote>, filler: web::Data<String>) -> HttpResponse {
    answer(body.lines.len(), &filler)
}

/// Serves until it is killed; prints where it listens.
pub fn serve(body_bytes: usize) -> Done {
    let empty = serde_json::to_string(&Seen { length: 50, can_burn: true, points: [100, 200, 300, 400], filler: "" })?;
    let filler = web::Data::new("x".repeat(body_bytes.saturating_sub(empty.len())));
    actix_rt::System::new().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let app = move || {
            App::new()
                .app_data(filler.clone())
                .route("/v1/pos/scan", web::post().to(scan))
                .route("/v1/checkout/quotes", web::post().to(quote))
        };
        HttpServer::new(app).workers(workers).disable_signals().listen(listener)?.run().await?;
        Ok(())
    })
}
