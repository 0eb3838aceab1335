//! A caller: one credential, JSON or MessagePack, over real HTTP.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::Value;
use ureq::http::{HeaderMap, Request};

/// How bodies are sent and answers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Json,
    MsgPack,
}

impl Wire {
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MsgPack => "application/msgpack",
        }
    }
}

/// Somebody with a credential (or none).
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    pub base: String,
    pub token: Option<String>,
    pub wire: Wire,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    /// The body, where it is JSON or MessagePack; else null.
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    pub fn replayed(&self) -> bool {
        self.header("idempotent-replay") == "true"
    }

    /// The answer, if it has this status.
    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self
    }

    /// A problem of this status and code, with all of its members.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code()), (status, code), "{}", String::from_utf8_lossy(&self.bytes));
        assert!(self.header("content-type").starts_with("application/problem+"), "{}", self.header("content-type"));
        assert_eq!(self.body["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(self.body[member].is_string(), "{member}: {}", self.body);
        }
        if matches!(status, 429 | 503) {
            assert!(self.header("retry-after").parse::<u32>().is_ok(), "{status} without Retry-After");
        }
        self
    }
}

static KEYS: AtomicU64 = AtomicU64::new(1);

/// An Idempotency-Key that no other request of this run has.
pub fn fresh_key() -> String {
    format!("k-{}-{}", std::process::id(), KEYS.fetch_add(1, Ordering::Relaxed))
}

impl Client {
    pub fn new(base: &str, token: Option<&str>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_redirects(0)
            .build();
        Self { agent: config.into(), base: base.to_owned(), token: token.map(str::to_owned), wire: Wire::Json }
    }

    pub fn msgpack(&self) -> Self {
        Self { wire: Wire::MsgPack, ..self.clone() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).unwrap()
    }

    /// A change under a key of its own.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_key(path, body, &fresh_key())
    }

    pub fn post_key(&self, path: &str, body: &Value, key: &str) -> Answer {
        self.send("POST", path, &[("Idempotency-Key", key)], Some(body)).unwrap()
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[("Idempotency-Key", &fresh_key())], Some(body)).unwrap()
    }

    /// Any request.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, ureq::Error> {
        let bytes = body.map(|body| self.encode(body));
        let mut all = vec![];
        if bytes.is_some() {
            all.push(("Content-Type", self.wire.content_type()));
        }
        if self.wire == Wire::MsgPack {
            all.push(("Accept", self.wire.content_type()));
        }
        all.extend_from_slice(headers);
        self.raw(method, path, &all, bytes)
    }

    /// Any request, with all of its headers but the body's type given.
    pub fn raw_body(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let bytes = body.map(|body| self.encode(body));
        let mut all = headers.to_vec();
        if bytes.is_some() {
            all.push(("Content-Type", self.wire.content_type()));
        }
        self.raw(method, path, &all, bytes).unwrap()
    }

    fn encode(&self, body: &Value) -> Vec<u8> {
        match self.wire {
            Wire::Json => serde_json::to_vec(body).unwrap(),
            Wire::MsgPack => rmp_serde::to_vec_named(body).unwrap(),
        }
    }

    /// A request of any bytes.
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(bytes) => self.agent.run(request.body(bytes).unwrap())?,
            // A POST without a body, too: `Content-Length: 0`.
            None if method != "GET" => self.agent.run(request.body(Vec::new()).unwrap())?,
            None => self.agent.run(request.body(()).unwrap())?,
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().with_config().limit(64 << 20).read_to_vec()?;
        let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
        let body = if kind.contains("msgpack") {
            rmp_serde::from_slice(&bytes).unwrap()
        } else if kind.contains("json") {
            serde_json::from_slice(&bytes).unwrap()
        } else {
            Value::Null
        };
        Ok(Answer { status, headers, bytes, body })
    }
}
