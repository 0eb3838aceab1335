//! Answers: JSON by default, MessagePack (named maps) for those who ask for it.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use adal_domain::errors::Code;
use serde::Serialize;

use super::problem::Problem;

/// The content type of JSON.
pub const JSON: &str = "application/json";
/// The content type of MessagePack.
pub const MSGPACK: &str = "application/msgpack";
/// Set on an answer that was recorded earlier.
pub const REPLAYED: &str = "Idempotent-Replay";

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/msgpack`, named maps.
    MsgPack,
}

/// An answer in the format that the caller accepts; `replayed`: it was recorded by an earlier request with the same
/// key, and the answer says so.
pub fn reply<T: Serialize>(req: &HttpRequest, status: StatusCode, value: &T, replayed: bool) -> HttpResponse {
    let written = negotiate(req).and_then(|format| match format {
        Format::Json => json(value).map(|bytes| (JSON, bytes)).map_err(Problem::internal),
        Format::MsgPack => rmp_serde::to_vec_named(value).map(|bytes| (MSGPACK, bytes)).map_err(Problem::internal),
    });
    match written {
        Ok((content_type, bytes)) => {
            let mut response = HttpResponse::build(status);
            response.content_type(content_type);
            if replayed {
                response.insert_header((REPLAYED, "true"));
            }
            response.body(bytes)
        }
        Err(problem) => problem.error_response(),
    }
}

/// As `serde_json::to_vec`, with room for a quote: that function begins with 128 bytes, and copies at each doubling.
fn json<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    serde_json::to_writer(&mut bytes, value).map(|()| bytes)
}

/// The format that the caller accepts.
///
/// # Errors
/// 406, where it accepts neither.
pub fn negotiate(req: &HttpRequest) -> Result<Format, Problem> {
    match choose(accept(req).as_deref(), &[JSON, MSGPACK]) {
        Some(0) => Ok(Format::Json),
        Some(_) => Ok(Format::MsgPack),
        None => Err(Problem::new(Code::NotAcceptable, format!("{JSON} and {MSGPACK} can be made"))),
    }
}

/// The `Accept` header, several lines joined.
#[must_use]
pub fn accept(req: &HttpRequest) -> Option<Cow<'_, str>> {
    let mut lines = req.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let first = lines.next()?;
    Some(lines.fold(Cow::Borrowed(first), |all, line| Cow::Owned(format!("{all},{line}"))))
}

/// Which of `offers` (best first) an `Accept` header prefers: RFC 9110, 12.5.1. Each offer has the quality of the most
/// specific range that matches it; the highest wins, and among equals the earlier offer. `None`: none is acceptable.
/// No header, or one that cannot be read at all: the first.
#[must_use]
pub fn choose(accept: Option<&str>, offers: &[&str]) -> Option<usize> {
    let ranges: Vec<(&str, u16)> = accept.unwrap_or_default().split(',').filter_map(range).collect();
    if ranges.is_empty() {
        return Some(0);
    }
    let mut best = None;
    for (index, offer) in offers.iter().enumerate() {
        let matching = ranges.iter().filter_map(|(range, quality)| specificity(range, offer).map(|s| (s, *quality)));
        let quality = matching.max_by_key(|(specificity, _)| *specificity).map_or(0, |(_, quality)| quality);
        if quality > best.map_or(0, |(_, q)| q) {
            best = Some((index, quality));
        }
    }
    best.map(|(index, _)| index)
}

/// A media range and its quality in thousandths.
fn range(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| range.contains('/'))?;
    let quality = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    Some((range, quality.map_or(1000, thousandths)))
}

/// "0.5" -> 500. At most three digits count; what is no number is 0.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole == "1" {
        return 1000;
    }
    format!("{fraction:0<3}").get(..3).and_then(|digits| digits.parse().ok()).filter(|_| whole == "0").unwrap_or(0)
}

/// How closely a range names an offer; `None`: not at all.
fn specificity(range: &str, offer: &str) -> Option<u8> {
    if range.eq_ignore_ascii_case(offer) {
        return Some(2);
    }
    let (kind, sub) = range.split_once('/')?;
    match (kind, sub) {
        ("*", "*") => Some(0),
        (kind, "*") if offer.split_once('/').is_some_and(|(own, _)| own.eq_ignore_ascii_case(kind)) => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 2] = [JSON, MSGPACK];

    #[test]
    fn json_is_the_default() {
        for accept in
            [None, Some(""), Some("*/*"), Some("application/*"), Some("nonsense"), Some("text/html, */*;q=0.1")]
        {
            assert_eq!(choose(accept, &OFFERS), Some(0), "{accept:?}");
        }
    }

    #[test]
    fn the_higher_quality_wins_and_the_closer_range_says_it() {
        for (accept, chosen) in [
            ("application/msgpack", Some(1)),
            ("Application/MsgPack", Some(1)),
            ("application/json;q=0.5, application/msgpack", Some(1)),
            ("application/json;q=0.5, application/msgpack;q=0.4", Some(0)),
            ("*/*;q=0.9, application/json;q=0.1", Some(1)),
            ("application/json;q=0, */*", Some(1)),
            ("application/json; charset=utf-8; q=0.2, application/msgpack;q=0.25", Some(1)),
            ("application/json;q=0, application/msgpack;q=0.000", None),
            ("text/html", None),
            ("image/*", None),
        ] {
            assert_eq!(choose(Some(accept), &OFFERS), chosen, "{accept}");
        }
    }
}
