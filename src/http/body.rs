//! What a request says: its body, in JSON or MessagePack, and its query.
//!
//! A body is first read into one tree whatever its format, so that both formats are held to the same rules (no key
//! twice, no trailing bytes, bounded depth), give the same errors, and the same content has the same print. The typed
//! value is made from that tree; what the type does not know is refused and named.
//!
//! A [`Question`] changes nothing and needs no print. Where it is JSON and as it should be, it is read without a tree: a
//! cart is quoted far more often than it is held.

use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header,
    web::{Bytes, BytesMut},
};
use adal_domain::errors::Code;
use futures_util::StreamExt;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::{
    limits,
    problem::Problem,
    respond::{Format, JSON, MSGPACK, negotiate},
};

/// How deep a body may be nested: no route needs more than a handful.
const MAX_DEPTH: usize = 64;

/// A body.
#[derive(Debug, Clone)]
pub struct Body<T> {
    /// What it says.
    pub value: T,
    /// A hash of method, path and content: the same key with another print is another request.
    pub print: [u8; 16],
}

/// A type that holds its own JSON to what the tree holds it to: no key twice, and nothing that it does not know.
pub trait Strict: DeserializeOwned {
    /// Whether that is so of all that this value was read from.
    fn is_strict(&self) -> bool;
}

/// The body of a request that changes nothing.
#[derive(Debug, Clone)]
pub struct Question<T>(pub T);

/// A body that may be left out: then `value` is the default.
#[derive(Debug, Clone)]
pub struct MaybeBody<T> {
    /// What it says.
    pub value: T,
    /// As in [`Body`]; no body and an empty map are the same.
    pub print: [u8; 16],
}

/// The query's parameters.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let bytes = collect(&req, payload).await?;
            if bytes.is_empty() {
                return Err(Problem::new(Code::Malformed, "body: this route needs one"));
            }
            let (value, print) = parse(&req, &bytes)?;
            Ok(Self { value, print })
        })
    }
}

impl<T: Strict + 'static> FromRequest for Question<T> {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let bytes = collect(&req, payload).await?;
            if bytes.is_empty() {
                return Err(Problem::new(Code::Malformed, "body: this route needs one"));
            }
            question(content_type(&req)?, &bytes).map(Self)
        })
    }
}

impl<T: DeserializeOwned + Default + 'static> FromRequest for MaybeBody<T> {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let bytes = collect(&req, payload).await?;
            if bytes.is_empty() {
                let print = print(req.method().as_str(), req.path(), &Value::Object(Map::new()));
                return Ok(Self { value: T::default(), print });
            }
            let (value, print) = parse(&req, &bytes)?;
            Ok(Self { value, print })
        })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(query(req.query_string()).map(Self))
    }
}

/// Reads the whole body, within the route's bound and in time.
async fn collect(req: &HttpRequest, mut payload: Payload) -> Result<Bytes, Problem> {
    // Before the command is done, not after it: an answer that cannot be written would hide what was done.
    negotiate(req)?;
    let limit = limits::body_limit(req);
    let too_large = || {
        let max = i64::try_from(limit).unwrap_or(i64::MAX);
        Problem::new(Code::BodyTooLarge, format!("at most {limit} bytes")).with_max(max)
    };
    let announced = req.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    if req.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Problem::new(Code::UnsupportedMediaType, "Content-Encoding: bodies are read as they are"));
    }
    let read = async {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::new(Code::Malformed, format!("body: {error}")))?;
            if bytes.len() + chunk.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    };
    let within = Duration::from_secs(limits::body_seconds(req));
    tokio::time::timeout(within, read).await.unwrap_or_else(|_| {
        Err(Problem::new(Code::RequestTimeout, format!("the body did not arrive within {} s", within.as_secs())))
    })
}

fn parse<T: DeserializeOwned>(req: &HttpRequest, bytes: &[u8]) -> Result<(T, [u8; 16]), Problem> {
    let tree = tree(content_type(req)?, bytes)?;
    let print = print(req.method().as_str(), req.path(), &tree);
    Ok((typed(&tree)?, print))
}

/// What a question says. What the short way does not take goes the long one, which says what is wrong.
fn question<T: Strict>(format: Format, bytes: &[u8]) -> Result<T, Problem> {
    if format == Format::Json
        && let Ok(value) = serde_json::from_slice::<T>(bytes)
        && value.is_strict()
    {
        return Ok(value);
    }
    typed(&tree(format, bytes)?)
}

fn content_type(req: &HttpRequest) -> Result<Format, Problem> {
    let header = req.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match header.split(';').next().unwrap_or_default().trim() {
        essence if essence.eq_ignore_ascii_case(JSON) => Ok(Format::Json),
        essence if essence.eq_ignore_ascii_case(MSGPACK) => Ok(Format::MsgPack),
        _ => Err(Problem::new(Code::UnsupportedMediaType, format!("Content-Type: {JSON} and {MSGPACK} are read"))),
    }
}

/// The tree that a body is.
pub(crate) fn tree(format: Format, bytes: &[u8]) -> Result<Value, Problem> {
    let malformed = |text: String| Problem::new(Code::Malformed, format!("body: {text}"));
    match format {
        Format::Json => {
            let mut deserializer = serde_json::Deserializer::from_slice(bytes);
            let Tree(value) = Tree::deserialize(&mut deserializer).map_err(|e| malformed(e.to_string()))?;
            deserializer.end().map_err(|e| malformed(e.to_string()))?;
            within_depth(value, MAX_DEPTH)
        }
        Format::MsgPack => {
            let mut deserializer = rmp_serde::Deserializer::new(std::io::Cursor::new(bytes));
            deserializer.set_max_depth(2 * MAX_DEPTH);
            let Tree(value) = Tree::deserialize(&mut deserializer).map_err(|e| malformed(e.to_string()))?;
            if deserializer.get_ref().position() != bytes.len() as u64 {
                return Err(malformed("bytes follow the value".to_owned()));
            }
            within_depth(value, MAX_DEPTH)
        }
    }
}

fn within_depth(value: Value, depth: usize) -> Result<Value, Problem> {
    fn deeper(value: &Value, left: usize) -> bool {
        let Some(left) = left.checked_sub(1) else { return true };
        match value {
            Value::Array(items) => items.iter().any(|item| deeper(item, left)),
            Value::Object(map) => map.values().any(|item| deeper(item, left)),
            _ => false,
        }
    }
    if deeper(&value, depth) {
        return Err(Problem::new(Code::Malformed, format!("body: nested deeper than {depth}")));
    }
    Ok(value)
}

/// The typed value; every unknown field is refused, also where the type itself would pass over it.
pub(crate) fn typed<T: DeserializeOwned>(tree: &Value) -> Result<T, Problem> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(tree, &mut track);
    let value = serde_ignored::deserialize(tracked, |path| {
        if unknown.len() < 20 {
            unknown.push(written(&path));
        }
    });
    match value {
        Ok(value) if unknown.is_empty() => Ok(value),
        Ok(_) => Err(Problem::new(Code::UnknownField, format!("unknown: {}", unknown.join(", ")))),
        Err(error) => Err(refuse(&track.path().to_string(), &error.to_string())),
    }
}

/// A place in a body, written like the paths of other errors: `lines[0].quantity`.
fn written(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", written(parent)),
        Path::Map { parent, key } => match written(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => written(parent),
    }
}

/// What serde says, as a code: it has no codes of its own, but its texts are stable.
fn refuse(path: &str, text: &str) -> Problem {
    let path = if path == "." || path == "?" { "body" } else { path };
    if let Some(rest) = text.strip_prefix("unknown field `") {
        let name = rest.split('`').next().unwrap_or_default();
        let full = if path == "body" || path.ends_with(name) { path } else { &format!("{path}.{name}") };
        let full = if full == "body" { name } else { full };
        return Problem::new(Code::UnknownField, format!("unknown: {full}"));
    }
    let shape = [
        "invalid type",
        "missing field",
        "unknown variant",
        "invalid length",
        "duplicate field",
        "invalid value",
        "data did not",
    ];
    let code = if shape.iter().any(|start| text.starts_with(start)) { Code::Malformed } else { Code::InvalidField };
    Problem::new(code, format!("{path}: {text}"))
}

fn query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
    let tracked = serde_path_to_error::Deserializer::new(pairs, &mut track);
    let value = serde_ignored::deserialize(tracked, |path| unknown.push(written(&path)));
    match value {
        Ok(value) if unknown.is_empty() => Ok(value),
        Ok(_) => Err(Problem::new(Code::UnknownField, format!("unknown parameters: {}", unknown.join(", ")))),
        Err(error) => {
            let path = track.path().to_string();
            Err(refuse(if path == "." { "query" } else { &path }, &error.to_string()))
        }
    }
}

/// The print of a request: the same for the same content, in whatever format, order of keys or spacing.
pub(crate) fn print(method: &str, path: &str, tree: &Value) -> [u8; 16] {
    let mut bytes = Vec::with_capacity(4096);
    for part in [method, path] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    spell(&mut bytes, tree);
    let mut half = [0; 16];
    // At once: the hash is of blocks, and a tree is of many small pieces.
    half.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..16]);
    half
}

/// Every value is spelled as its kind, its length and its content, so that no two trees look alike.
fn spell(into: &mut Vec<u8>, value: &Value) {
    let head = |into: &mut Vec<u8>, kind: u8, length: usize| {
        into.push(kind);
        into.extend_from_slice(&(length as u64).to_le_bytes());
    };
    match value {
        Value::Null => head(into, b'n', 0),
        Value::Bool(value) => head(into, b'b', usize::from(*value)),
        Value::Number(number) => {
            let text = number.to_string();
            head(into, b'd', text.len());
            into.extend_from_slice(text.as_bytes());
        }
        Value::String(text) => {
            head(into, b's', text.len());
            into.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            head(into, b'a', items.len());
            items.iter().for_each(|item| spell(into, item));
        }
        Value::Object(map) => {
            // serde_json keeps the order of arrival where any crate of the build asks for it.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            head(into, b'o', entries.len());
            for (key, item) in entries {
                head(into, b'k', key.len());
                into.extend_from_slice(key.as_bytes());
                spell(into, item);
            }
        }
    }
}

/// A tree in which no map has a key twice: which of the two counts would depend on the reader.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Self)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("null, a boolean, a number, a text, a list or a map with texts for keys")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Tree(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Tree(item) = entries.next_value()?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key {:?} comes twice",
                    key.chars().take(80).collect::<String>()
                )));
            }
            map.insert(key, item);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Closed {
        points: i64,
        #[serde(default)]
        lines: Vec<Line>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Line {
        quantity: i64,
    }

    fn json(text: &str) -> Result<Closed, Problem> {
        typed(&tree(Format::Json, text.as_bytes())?)
    }

    fn said(text: &str) -> (Code, String) {
        let problem = json(text).unwrap_err();
        (problem.code(), problem.detail().to_owned())
    }

    #[test]
    fn json_and_msgpack_of_the_same_content_have_the_same_value_and_print() {
        let text = r#" {"lines": [{"quantity": 3}], "points": -7} "#;
        let map = rmp_serde::to_vec_named(&serde_json::json!({"points": -7, "lines": [{"quantity": 3}]})).unwrap();
        let (one, two) = (tree(Format::Json, text.as_bytes()).unwrap(), tree(Format::MsgPack, &map).unwrap());
        assert_eq!(print("POST", "/v1/x", &one), print("POST", "/v1/x", &two));
        assert_eq!(typed::<Closed>(&one).unwrap(), typed::<Closed>(&two).unwrap());
        assert_ne!(print("POST", "/v1/x", &one), print("POST", "/v1/y", &one));
    }

    impl Strict for Closed {
        fn is_strict(&self) -> bool {
            // A line passes over what it does not know.
            self.lines.is_empty()
        }
    }

    #[test]
    fn a_question_says_what_its_tree_says() {
        for text in [
            r#"{"points": 1}"#,
            r#"{"points": 1, "lines": [{"quantity": 2}]}"#,
            r#"{"points": 1, "lines": [{"quantity": 2, "x": 1}]}"#,
            r#"{"points": 1, "points": 2}"#,
            r#"{"points": 1, "x": 2}"#,
            r#"{"points": 1} {}"#,
            r#"{"points": 1.5}"#,
            "[1, []]",
            "[1]",
            "null",
            "",
        ] {
            let told = |result: Result<Closed, Problem>| result.map_err(|p| (p.code(), p.detail().to_owned()));
            assert_eq!(told(question(Format::Json, text.as_bytes())), told(json(text)), "{text}");
        }
        let map = rmp_serde::to_vec_named(&serde_json::json!({"points": 7})).unwrap();
        assert_eq!(question::<Closed>(Format::MsgPack, &map).unwrap().points, 7);
    }

    #[test]
    fn errors_name_the_path() {
        assert_eq!(said(r#"{"points": 1, "lines": [{"quantity": "x"}]}"#).0, Code::Malformed);
        let (_, detail) = said(r#"{"points": 1, "lines": [{"quantity": "x"}]}"#);
        assert!(detail.starts_with("lines[0].quantity: invalid type"), "{detail}");
        let (code, detail) = said("{}");
        assert_eq!(code, Code::Malformed);
        assert!(detail.contains("missing field `points`"), "{detail}");
    }

    #[test]
    fn unknown_fields_are_named_whether_the_type_refuses_them_or_not() {
        assert_eq!(said(r#"{"points": 1, "pionts": 2}"#), (Code::UnknownField, "unknown: pionts".to_owned()));
        let (code, detail) = said(r#"{"points": 1, "lines": [{"quantity": 1, "x": 1, "y": {}}]}"#);
        assert_eq!((code, detail.as_str()), (Code::UnknownField, "unknown: lines[0].x, lines[0].y"));
    }

    #[test]
    fn what_readers_could_take_differently_is_refused() {
        for text in
            [r#"{"points": 1, "points": 2}"#, r#"{"points": 1} {}"#, r#"{"points": 1e999}"#, "", "[", "\u{feff}{}"]
        {
            assert_eq!(said(text).0, Code::Malformed, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(said(&deep).0, Code::Malformed);
        let mut trailing = rmp_serde::to_vec_named(&serde_json::json!({"points": 1})).unwrap();
        trailing.push(0xc0);
        assert_eq!(tree(Format::MsgPack, &trailing).unwrap_err().code(), Code::Malformed);
    }

    #[test]
    fn unknown_and_unreadable_parameters_are_refused() {
        #[derive(Debug, Deserialize)]
        struct Parameters {
            limit: Option<u32>,
        }
        assert_eq!(query::<Parameters>("limit=5").unwrap().limit, Some(5));
        assert_eq!(query::<Parameters>("").unwrap().limit, None);
        assert_eq!(query::<Parameters>("limit=5&limti=5").unwrap_err().code(), Code::UnknownField);
        for wrong in ["limit=x", "limit=-1", "limit=1&limit=2"] {
            let problem = query::<Parameters>(wrong).unwrap_err();
            assert!(matches!(problem.code(), Code::Malformed | Code::InvalidField), "{problem}");
        }
    }
}
