//! Errors as answered: RFC 9457 problem details.
//!
//! A [`Problem`] is an actix error, so handlers use `?`. It does not know the request: [`super::edge`], the outermost
//! layer, finds it in the response and renders it with the request's id and in the format that the caller accepts.
//! What broke inside is kept as the cause: it is logged with its whole chain and never answered.

use std::{error::Error, fmt, sync::Arc};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use adal_actors::{AskError, ports::StoreError};
use adal_domain::{
    checkout::Quote,
    errors::{Code, Refusal},
};
use serde::Serialize;

use super::respond::{Format, REPLAYED};

/// Why a request was not done.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: String,
    max: Option<i64>,
    quote: Option<Box<Quote>>,
    retry_after_s: Option<u32>,
    status: Option<u16>,
    replayed: bool,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// A problem on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// A URN that ends in the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, the same for every occurrence.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The stable code: `docs/reference/errors.md` lists them all.
    pub code: &'static str,
    /// What exactly happened here; names the field, where there is one.
    pub detail: String,
    /// The most that would have been accepted, where there is such a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// The quote that would hold now (`total_changed` alone).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<Box<Quote>>,
    /// Under which the log lines of this request stand.
    pub request_id: String,
}

impl Problem {
    /// A problem with its detail.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            max: None,
            quote: None,
            retry_after_s: None,
            status: None,
            replayed: false,
            cause: None,
        }
    }

    /// Something broke here: `cause` is logged, and not answered.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "it is logged under the request id").because(cause)
    }

    /// There is nothing there, or it is not the caller's: both look the same.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// The same, with what caused it, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// The same, with the most that would have been accepted.
    #[must_use]
    pub fn with_max(mut self, max: i64) -> Self {
        self.max = Some(max);
        self
    }

    /// The same, with the seconds after which it is worth to try again (at least 1).
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// The same under another code: where this caller is not to know which it was.
    #[must_use]
    pub fn with_code(mut self, code: Code, detail: impl Into<String>) -> Self {
        (self.code, self.detail) = (code, detail.into());
        self
    }

    /// The same, with another status than its code's: where a route fixes one (a refused order event is 422).
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The same; `replayed`: this refusal was recorded by an earlier request with the same key, and the answer says so.
    #[must_use]
    pub const fn replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.unwrap_or_else(|| self.code.status())
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What exactly.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What goes on the wire.
    #[must_use]
    pub fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:adal:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.status(),
            code: self.code.as_str(),
            detail: self.detail.clone(),
            max: self.max,
            quote: self.quote.clone(),
            request_id: request_id.to_owned(),
        }
    }

    /// The answer.
    #[must_use]
    pub fn render(&self, format: Format, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after_or_default() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.replayed {
            response.insert_header((REPLAYED, "true"));
        }
        if self.code == Code::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        let body = self.body(request_id);
        match format {
            Format::MsgPack => match rmp_serde::to_vec_named(&body) {
                Ok(bytes) => response.content_type("application/problem+msgpack").body(bytes),
                Err(_) => response.finish(),
            },
            Format::Json => match serde_json::to_vec(&body) {
                Ok(bytes) => response.content_type("application/problem+json").body(bytes),
                Err(_) => response.finish(),
            },
        }
    }

    /// Every 429 and 503 says when to come back.
    fn retry_after_or_default(&self) -> Option<u32> {
        match self.code.status() {
            429 => Some(self.retry_after_s.unwrap_or(1)),
            503 if self.code == Code::Quarantined => Some(self.retry_after_s.unwrap_or(60)),
            503 => Some(self.retry_after_s.unwrap_or(2)),
            _ => None,
        }
    }

    /// Writes what broke, with its chain, under the current span. Refusals are no errors and leave no line.
    pub(super) fn log(&self) {
        if self.code.status() < 500 {
            return;
        }
        let chain = self.cause.as_deref().map(|cause| chain(cause)).unwrap_or_default();
        if self.code.status() == 500 {
            tracing::error!(code = self.code.as_str(), detail = %self.detail, %chain, "internal error");
        } else {
            tracing::warn!(code = self.code.as_str(), detail = %self.detail, %chain, "unavailable");
        }
    }

    /// The problem that a bare status of the web framework stands for (an unknown route, a wrong method ...).
    pub(super) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status.as_u16() {
            404 => (Code::NotFound, "no route has this path"),
            405 => (Code::MethodNotAllowed, "the Allow header lists the methods of this route"),
            406 => (Code::NotAcceptable, "application/json and application/msgpack can be made"),
            408 => (Code::RequestTimeout, "the request did not arrive in time"),
            413 => (Code::BodyTooLarge, "the body is larger than this route accepts"),
            415 => (Code::UnsupportedMediaType, "application/json and application/msgpack are read"),
            429 => (Code::RateLimited, "too many requests"),
            401 => (Code::Unauthenticated, "Authorization: Bearer is needed"),
            403 => (Code::Forbidden, "this is not allowed"),
            503 => (Code::Unavailable, "the server cannot answer now"),
            400..=499 => (Code::Malformed, "the request cannot be read"),
            _ => return Self::internal(format!("the web framework answered {status}")),
        };
        Self::new(code, detail)
    }
}

fn chain(cause: &dyn Error) -> String {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// A body for where no [`super::edge`] is around; the edge renders it anew from the extension.
    fn error_response(&self) -> HttpResponse {
        let mut response = self.render(Format::Json, "");
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        if refusal.code == Code::Internal {
            // A fault of ours, for the log: the detail is none that a caller could use.
            return Self::internal(refusal);
        }
        let Refusal { code, detail, max, quote } = refusal;
        Self { max, quote, ..Self::new(code, detail) }
    }
}

const REPEAT: &str = "repeat the request with the same key: nothing takes effect twice";

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let (code, detail) = match &error {
            AskError::Busy => (Code::Busy, "too much is waiting; repeat the request with the same key"),
            AskError::Unavailable { .. } | AskError::Deadline => (Code::Unavailable, REPEAT),
            AskError::KeyReused => {
                (Code::IdempotencyKeyReused, "the key was used for another request within the last 24 hours")
            }
            AskError::Quarantined => (Code::Quarantined, "its rules failed repeatedly; a person has to look at it"),
            AskError::Stopping => (Code::Stopping, REPEAT),
            AskError::Panicked | AskError::Corrupt { .. } | AskError::NotRecorded => return Self::internal(error),
        };
        Self::new(code, detail).because(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt(_) => Self::internal(error),
            StoreError::Fenced(_) | StoreError::InDoubt(_) | StoreError::Unavailable(_) => {
                Self::new(Code::Unavailable, REPEAT).because(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;

    use super::*;

    fn bytes(response: HttpResponse) -> Vec<u8> {
        response.into_body().try_into_bytes().unwrap().to_vec()
    }

    #[test]
    fn every_code_renders_with_its_status_and_members() {
        for code in Code::ALL {
            let response = Problem::new(*code, "what happened").render(Format::Json, "r-1");
            assert_eq!(response.status().as_u16(), code.status());
            assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+json");
            let waits = matches!(code.status(), 429 | 503);
            assert_eq!(response.headers().contains_key("retry-after"), waits, "{code:?}");
            let body: serde_json::Value = serde_json::from_slice(&bytes(response)).unwrap();
            let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names.len(), 6, "{names:?}");
            assert_eq!(body["type"], format!("urn:adal:problem:{}", code.as_str()));
            assert_eq!(body["title"], code.title());
            assert_eq!(body["status"], code.status());
            assert_eq!(body["code"], code.as_str());
            assert_eq!(body["detail"], "what happened");
            assert_eq!(body["request_id"], "r-1");
        }
    }

    #[test]
    fn msgpack_problems_are_named_maps() {
        let problem: Problem = Refusal::new(Code::PointsOverShare, "at most 7").with_max(7).into();
        let response = problem.render(Format::MsgPack, "r-1");
        assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+msgpack");
        let body: serde_json::Value = rmp_serde::from_slice(&bytes(response)).unwrap();
        assert_eq!(body["max"], 7);
        assert_eq!(body["code"], "points_over_share");
    }

    #[test]
    fn what_broke_inside_is_not_answered() {
        let problem = Problem::from(StoreError::Corrupt("page 7 of /srv/secret.db".into()));
        assert_eq!(problem.code(), Code::Internal);
        let text = String::from_utf8(bytes(problem.render(Format::Json, "r-1"))).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert!(chain(&problem).contains("secret"), "but it is in the log's chain");
    }

    #[test]
    fn a_recorded_refusal_says_that_it_is_one() {
        let refusal = Refusal::new(Code::OrderEnded, "completed");
        let response = Problem::from(refusal).replayed(true).with_status(422).render(Format::Json, "r-1");
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers().get_all(REPLAYED).collect::<Vec<_>>(), ["true"]);
        let body: serde_json::Value = serde_json::from_slice(&bytes(response)).unwrap();
        assert_eq!((&body["status"], &body["code"]), (&422.into(), &"order_ended".into()));
    }

    #[test]
    fn an_unauthenticated_caller_is_told_how() {
        let response = Problem::new(Code::Unauthenticated, "no credential").render(Format::Json, "r-1");
        assert_eq!(response.headers().get("www-authenticate").unwrap(), "Bearer");
    }
}
