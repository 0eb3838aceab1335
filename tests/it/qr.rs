//! QR codes: what is drawn is what two independent readers read.

use std::process::Command;

use crate::harness::{Answer, Server};

fn image(server: &Server, accept: &str) -> Answer {
    server.customer("c1").send("GET", "/v1/customers/c1/card/qr?intent=pay", &[("Accept", accept)], None).unwrap()
}

#[test]
fn the_png_is_read_by_rqrr() {
    let server = Server::start();
    server.issue("c1");
    let png = image(&server, "image/png").ok(200);
    assert_eq!(png.header("content-type"), "image/png");
    let pixels = image::load_from_memory(&png.bytes).unwrap().to_luma8();
    assert!(pixels.width() >= 8 * 33, "25 modules and a quiet zone of 4 each side, 8 px or more each");
    let mut prepared = rqrr::PreparedImage::prepare(pixels);
    let grids = prepared.detect_grids();
    assert_eq!(grids.len(), 1);
    let (meta, text) = grids[0].decode().unwrap();
    assert_eq!(text, server.code("c1", "pay"));
    // 0: level M, as the standard numbers them.
    assert_eq!(meta.ecc_level, 0);
}

#[test]
fn the_png_is_read_by_zbarimg() {
    let server = Server::start();
    server.issue("c1");
    let file = server.dir.path().join("code.png");
    std::fs::write(&file, image(&server, "image/png").ok(200).bytes).unwrap();
    let output = Command::new("zbarimg").args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"]).arg(&file).output();
    let output = output.expect("zbarimg is needed: the setup script installs zbar-tools");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n'), server.code("c1", "pay"));
}

#[test]
fn the_form_goes_by_accept_and_svg_is_the_default() {
    let server = Server::start();
    server.issue("c1");
    for (accept, kind) in [
        ("*/*", "image/svg+xml"),
        ("image/*", "image/svg+xml"),
        ("image/svg+xml", "image/svg+xml"),
        ("image/png;q=0.9, image/svg+xml;q=0.5", "image/png"),
        ("application/json", "application/json"),
        ("application/msgpack", "application/msgpack"),
    ] {
        let answer = image(&server, accept).ok(200);
        assert_eq!(answer.header("content-type"), kind, "{accept}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    image(&server, "text/html").problem(406, "not_acceptable");
    let plain = server.customer("c1").get("/v1/customers/c1/card/qr").ok(200);
    assert_eq!(plain.header("content-type"), "image/svg+xml");
    assert!(String::from_utf8(plain.bytes).unwrap().contains("<svg"));
}

#[test]
fn the_text_is_short_alphanumeric_and_new_every_30_seconds() {
    let server = Server::start();
    server.issue("c1");
    let answer = image(&server, "application/json").ok(200).body;
    let text = answer["text"].as_str().unwrap();
    assert_eq!(text.len(), 32);
    assert!(text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || " $%*+-./:".contains(c)));
    assert_eq!(answer["expires_at"], server.clock.at(60), "START begins a step; fresh until the next one's end");
    server.clock.advance(29);
    assert_eq!(server.code("c1", "pay"), text);
    server.clock.advance(1);
    assert_ne!(server.code("c1", "pay"), text);
    assert_ne!(server.code("c1", "show"), server.code("c1", "pay"));
}

#[test]
fn the_intent_is_show_or_pay() {
    let server = Server::start();
    server.issue("c1");
    let me = server.customer("c1");
    me.get("/v1/customers/c1/card/qr?intent=steal").problem(400, "malformed");
    me.get("/v1/customers/c1/card/qr?size=9").problem(400, "unknown_field");
    server.service().get("/v1/customers/c1/card/qr").ok(200);
    server.customer("c2").get("/v1/customers/c2/card/qr").problem(404, "card_not_found");
}
