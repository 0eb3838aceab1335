//! What must not change unnoticed: the description of the interface, the table of errors and the command line's help, as
//! checked in. (That docs/reference/metrics.md lists the metrics there are is checked by scripts/check-docs.py.)
//! `ADAL_UPDATE=1 cargo test -p adal --test it golden` writes them anew.

use std::path::{Path, PathBuf};

use adal_domain::errors::Code;
use serde_json::Value;

use crate::harness::Server;

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name)
}

fn compare(name: &str, text: &str) {
    let file = reference(name);
    if std::env::var_os("ADAL_UPDATE").is_some() {
        std::fs::write(&file, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = kept
        .lines()
        .zip(text.lines())
        .position(|(a, b)| a != b)
        .unwrap_or(kept.lines().count().min(text.lines().count()));
    assert!(
        kept == text,
        "docs/reference/{name} differs from line {} on; ADAL_UPDATE=1 cargo test -p adal --test it golden writes it anew",
        differs + 1
    );
}

#[test]
fn the_description_is_the_one_checked_in() {
    compare("openapi.json", adal::http::openapi::json());
    let server = Server::start();
    let served = server.nobody().get("/openapi.json").ok(200);
    assert_eq!(String::from_utf8(served.bytes).unwrap(), adal::http::openapi::json());
}

#[test]
fn the_errors_are_the_ones_checked_in() {
    let mut text = String::from(
        "# Errors\n\nEvery error is a problem (RFC 9457): `{type, title, status, code, detail, request_id}`, for some also \
         `max` (the most that\nwould have been accepted) or `quote`. `code` is stable: write clients against it, not \
         against `title` or `detail`.\n\nRefusals by a rule are recorded under their `Idempotency-Key` and repeat alike \
         for 24 hours; 401, 403 without a command, 429\nand 503 are not recorded, nor are `feature_disabled`, \
         `too_many_open` and `internal`: repeat the request, with\nthe same key, when that is over. 429 and 503 carry \
         `Retry-After`. One order event alone that a rule refuses is answered\n422, whatever the status below.\n\nMade from \
         `domain/src/errors.rs` by `ADAL_UPDATE=1 cargo test -p adal --test it golden`.\n\n| code | status | when \
         |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        text += &format!("| `{}` | {} | {} |\n", code.as_str(), code.status(), code.meaning().trim());
    }
    compare("errors.md", &text);
}

/// What the program prints as the help of a command and of those under it.
fn help_of(command: &clap::Command, words: &[&str], to: &mut String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_adal")).args(words).arg("--help").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    *to += &format!("$ adal {}\n{help}\n", [words, &["--help"]].concat().join(" "));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        help_of(below, &[words, &[below.get_name()]].concat(), to);
    }
}

#[test]
fn the_help_of_the_command_line_is_the_one_checked_in() {
    let mut text = String::new();
    help_of(&<adal::cli::Cli as clap::CommandFactory>::command(), &[], &mut text);
    compare("help.txt", &text);
}

#[test]
fn the_page_at_docs_is_whole_and_loads_nothing_from_elsewhere() {
    let server = Server::start();
    let redirected = server.nobody().raw("GET", "/docs", &[], None).unwrap();
    assert_eq!((redirected.status, redirected.header("location")), (308, "/docs/"));
    let page = server.nobody().get("/docs/").ok(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("script-src 'self'"));
    let html = String::from_utf8(page.bytes).unwrap();
    let mut files = 0;
    for attribute in ["src=\"", "href=\""] {
        for part in html.split(attribute).skip(1) {
            let file = part.split('"').next().unwrap();
            assert!(!file.contains("//"), "{file} is elsewhere");
            server.nobody().get(&format!("/docs/{}", file.trim_start_matches("./"))).ok(200);
            files += 1;
        }
    }
    assert!(files >= 4, "styles and scripts: {html}");
    let initializer = server.nobody().get("/docs/swagger-initializer.js").ok(200);
    assert!(String::from_utf8(initializer.bytes).unwrap().contains("/openapi.json"));
    server.nobody().get("/docs/no-such-file.js").problem(404, "not_found");
}

#[test]
fn every_operation_says_what_it_may_answer() {
    let document: Value = serde_json::from_str(adal::http::openapi::json()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1/")) {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "401", "403", "429", "500", "503"] {
                assert!(responses.contains_key(status), "{method} {path} without {status}");
            }
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
            // A table is a table, whatever is accepted.
            let in_both = responses.iter().filter(|(status, _)| status.starts_with('2') && !path.ends_with(".csv"));
            for (status, response) in in_both {
                let content = response["content"].as_object().unwrap_or_else(|| panic!("{method} {path} {status}"));
                assert!(
                    content.contains_key("application/json") && content.contains_key("application/msgpack"),
                    "{method} {path}"
                );
            }
        }
    }
}
