//! The envelope: one object for every failure, in the form that the route asks for. Rendered without an intermediate tree.

use super::error::{CanonicalError, UpstreamBody, UpstreamError};
use super::evidence::Evidence;
use super::native::NativeValues;
use super::profile::Profile;
use super::spec::Phase;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::time::Duration;

/// The member that a compatible answer gains.
pub const GATEWAY_ERROR: &str = "gateway_error";

/// What the shell adds to an error: who asked, when, where.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// This gateway's request id.
    pub request_id: &'a str,
    /// RFC 3339, UTC, milliseconds.
    pub timestamp: &'a str,
    /// The provider's name, when a route matched.
    pub provider: Option<&'a str>,
    /// The route's name, when one matched.
    pub route: Option<&'a str>,
    /// Whether the provider's body is shown.
    pub upstream_body: bool,
    /// Where errors are documented, for those whose provider gave no link: the code follows it.
    pub docs: Option<&'a str>,
}

/// The canonical object with its members in the order of the design.
#[derive(Serialize)]
struct Object<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    code: &'a str,
    status: u16,
    message: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<Seconds>,
    origin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    request_id: &'a str,
    timestamp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doc_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    details: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Upstream<'a>>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    body_truncated: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

/// Whole seconds as an integer, others with at most three decimals.
struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = u64::try_from(self.0.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        if millis.is_multiple_of(1000) {
            serializer.serialize_u64(millis / 1000)
        } else {
            // Exact for every wait below 142,000 years.
            serializer.serialize_f64(millis as f64 / 1000.0)
        }
    }
}

impl<'a> Object<'a> {
    fn new(error: &'a CanonicalError, stamp: &Stamp<'a>) -> Object<'a> {
        Object {
            kind: error.code.kind().as_str(),
            code: error.code.as_str(),
            status: error.status(),
            message: &error.message,
            retryable: error.retryable,
            retry_after_seconds: error.retry_after.map(Seconds),
            origin: error.origin.as_str(),
            provider: stamp.provider,
            route: stamp.route,
            request_id: stamp.request_id,
            timestamp: stamp.timestamp,
            param: error.param.as_deref(),
            doc_url: doc_url(error, stamp),
            details: &error.details,
            upstream: error.upstream.as_deref().map(|upstream| Upstream::new(upstream, stamp.upstream_body)),
        }
    }
}

/// The provider's own link, else the operator's.
fn doc_url<'a>(error: &'a CanonicalError, stamp: &Stamp<'_>) -> Option<Cow<'a, str>> {
    let own = || stamp.docs.map(|docs| Cow::Owned(format!("{docs}{}", error.code)));
    error.doc_url.as_deref().map(Cow::Borrowed).or_else(own)
}

impl<'a> Upstream<'a> {
    fn new(upstream: &'a UpstreamError, show_body: bool) -> Upstream<'a> {
        let body = upstream.body.as_ref().filter(|_| show_body).map(|body| match body {
            UpstreamBody::Json(raw) => Body::Json(raw),
            UpstreamBody::Text(text) => Body::Text(text),
        });
        Upstream {
            status: upstream.status,
            close_code: upstream.close,
            code: upstream.code.as_deref(),
            kind: upstream.kind.as_deref(),
            request_id: upstream.request_id.as_deref(),
            body,
            body_truncated: upstream.truncated,
        }
    }
}

/// Nothing that is serialised here can fail: no map has a key that is not a string, and a `Vec` takes every byte.
fn write(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => bytes,
        Err(_) => b"{}".to_vec(),
    }
}

/// The canonical object by itself.
#[must_use]
pub fn object(error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    write(&Object::new(error, stamp))
}

/// `{"error":{…}}`
#[must_use]
pub fn canonical(error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        error: Object<'a>,
    }
    write(&Envelope { error: Object::new(error, stamp) })
}

/// An event of a stream or a message of a socket: `{"type":"error","done":…,"context_id":…,"error":{…}}`.
#[must_use]
pub fn event(error: &CanonicalError, stamp: &Stamp<'_>, done: Option<bool>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        done: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        context_id: Option<&'a str>,
        error: Object<'a>,
    }
    let error_object = Object::new(error, stamp);
    write(&Event { kind: "error", done, context_id: error.context_id.as_deref(), error: error_object })
}

/// RFC 9457, with the canonical object as an extension.
#[must_use]
pub fn problem(error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    struct Problem<'a>(&'a CanonicalError, &'a Stamp<'a>);
    impl Serialize for Problem<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let Problem(error, stamp) = self;
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("type", &format_args!("urn:speechgate:error:{}", error.code))?;
            map.serialize_entry("title", error.code.row().sentence)?;
            map.serialize_entry("status", &error.status())?;
            map.serialize_entry("detail", &error.message)?;
            map.serialize_entry("instance", &format_args!("urn:speechgate:request:{}", stamp.request_id))?;
            map.serialize_entry("error", &Object::new(error, stamp))?;
            map.end()
        }
    }
    write(&Problem(error, stamp))
}

/// What becomes of a provider's body on a compatible route.
#[derive(Debug, PartialEq, Eq)]
pub enum Compatible {
    /// The provider's object, or its shape, with `gateway_error` added.
    Json(Vec<u8>),
    /// A body that has no place for a member and that SDKs read as it is: text, an array.
    AsItIs,
}

/// The provider's own answer with the canonical object added where it cannot be in anybody's way.
#[must_use]
pub fn compatible(profile: &Profile, error: &CanonicalError, stamp: &Stamp<'_>, evidence: &Evidence<'_>) -> Compatible {
    match evidence.tree() {
        Some(Value::Object(map)) if !evidence.truncated => Compatible::Json(spliced(map, error, stamp, evidence.body)),
        Some(Value::Array(_) | Value::String(_)) if !evidence.truncated => Compatible::AsItIs,
        // Where there was nothing, nothing is invented: the SDK finds as much of its provider's words as before.
        _ if evidence.body.trim_ascii().is_empty() => Compatible::Json(spliced(&Map::new(), error, stamp, b"{}")),
        // A page is not the provider's word but that of something in front of it.
        _ if evidence.text().is_none() || evidence.truncated => {
            Compatible::Json(native(profile, evidence.phase, error, stamp))
        }
        _ => Compatible::AsItIs,
    }
}

/// Every byte of the provider's object, and one more member behind them.
fn spliced(map: &Map<String, Value>, error: &CanonicalError, stamp: &Stamp<'_>, body: &[u8]) -> Vec<u8> {
    let member = object(error, stamp);
    let end = body.iter().rposition(|byte| *byte == b'}');
    // What is skipped is not checked for UTF-8, and JSON has to be that (RFC 8259 8.1).
    let text = std::str::from_utf8(body).ok();
    let whole = text.is_some_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    let mut bytes = match end.and_then(|end| body.get(..end)) {
        Some(start) if whole && !map.contains_key(GATEWAY_ERROR) => start.to_vec(),
        _ => {
            let mut map = map.clone();
            let _ = map.remove(GATEWAY_ERROR);
            let mut bytes = write(&map);
            let _ = bytes.pop();
            bytes
        }
    };
    let only_member = map.keys().all(|key| key == GATEWAY_ERROR);
    bytes.extend_from_slice(if only_member { b"\"gateway_error\":" } else { b",\"gateway_error\":" });
    bytes.extend_from_slice(&member);
    bytes.push(b'}');
    bytes
}

/// An error as the provider itself would write it, plus `gateway_error`.
#[must_use]
pub fn native(profile: &Profile, phase: Phase, error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    let values = NativeValues { request_id: stamp.request_id, timestamp: stamp.timestamp };
    let map = profile.native.render(phase, error, values).unwrap_or_default();
    let body = write(&map);
    spliced(&map, error, stamp, &body)
}

/// The same as the refusal of a WebSocket session that has not begun; none when the profile knows no such message.
#[must_use]
pub fn refusal(profile: &Profile, error: &CanonicalError, stamp: &Stamp<'_>) -> Option<Vec<u8>> {
    let values = NativeValues { request_id: stamp.request_id, timestamp: stamp.timestamp };
    let map = profile.native.refuse(error, values)?;
    Some(spliced(&map, error, stamp, &write(&map)))
}

/// What follows the provider's own error `message` where SDKs wait for a refusal and do not take it for one. The canonical
/// object is in that message already.
#[must_use]
pub fn refusal_after(profile: &Profile, message: &[u8], error: &CanonicalError, stamp: &Stamp<'_>) -> Option<Vec<u8>> {
    let message: Map<String, Value> = serde_json::from_slice(message).ok()?;
    let values = NativeValues { request_id: stamp.request_id, timestamp: stamp.timestamp };
    profile.native.refuse(error, values).filter(|_| !profile.native.is_refusal(&message)).map(|map| write(&map))
}

/// The HTTP status of an error on a compatible route: the provider's own, or the one that it would have used.
#[must_use]
pub fn compatible_status(profile: &Profile, error: &CanonicalError) -> u16 {
    let answered = error.upstream.as_ref().and_then(|upstream| upstream.status);
    answered.filter(|status| *status >= 400).unwrap_or_else(|| profile.native.status(error))
}

/// A 2xx body in which a failure hides, with the canonical object in the place of the error.
///
/// The member that held the error now holds the object; what is missing on the way to it is made, and what is there
/// but is no object is kept as its `value`. `added` leaves the provider's members alone and adds `gateway_error`.
#[must_use]
pub fn in_body(
    tree: &Value,
    member: Option<&super::select::Path>,
    added: bool,
    error: &CanonicalError,
    stamp: &Stamp<'_>,
) -> Vec<u8> {
    let object = serde_json::to_value(Object::new(error, stamp)).unwrap_or_default();
    let mut tree = tree.clone();
    let keys = member.and_then(super::select::Path::keys).unwrap_or_else(|| vec!["error"]);
    place(&mut tree, if added { &[GATEWAY_ERROR] } else { &keys }, object);
    write(&tree)
}

fn place(tree: &mut Value, keys: &[&str], object: Value) {
    let Some((key, rest)) = keys.split_first() else {
        *tree = object;
        return;
    };
    if !tree.is_object() {
        let before = std::mem::take(tree);
        let mut map = Map::new();
        if !before.is_null() {
            let _ = map.insert("value".to_owned(), before);
        }
        *tree = Value::Object(map);
    }
    if let Value::Object(map) = tree {
        place(map.entry(*key).or_insert(Value::Null), rest, object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Observed, ProfileSpec, resolve};
    use http::HeaderMap;
    use std::time::SystemTime;

    #[test]
    fn the_operators_link_stands_in_for_the_providers() {
        let stamp = Stamp {
            request_id: "r",
            timestamp: "t",
            provider: None,
            route: None,
            upstream_body: true,
            docs: Some("https://x.example/"),
        };
        let mut error = CanonicalError::from_fault(crate::canon::Fault::Loop);
        let link = |error: &CanonicalError| {
            let value: Value = serde_json::from_slice(&object(error, &stamp)).expect("JSON");
            value["doc_url"].as_str().map(str::to_owned)
        };
        assert_eq!(link(&error).as_deref(), Some("https://x.example/invalid_request"));
        error.doc_url = Some("https://provider.example".to_owned());
        assert_eq!(link(&error).as_deref(), Some("https://provider.example"));
    }

    #[test]
    fn a_compatible_body_with_broken_utf8_is_json_all_the_same() {
        let profile = Profile::compile("test", ProfileSpec::default()).expect("an empty profile");
        let headers = HeaderMap::new();
        let stamp =
            Stamp { request_id: "r", timestamp: "t", provider: None, route: None, upstream_body: true, docs: None };
        for (body, member) in [
            (&b"{\"a\x9b\":\"b\",\"code\":\"x\"}"[..], "code"),
            (b"{\"gateway_error\":1,\"code\":\"x\"}", "code"),
            (b"{}", GATEWAY_ERROR),
            (b" {\"code\":\"}\"} ", "code"),
            (b"{\"code\":1} trailing }", "code"),
        ] {
            let seen = Observed::http(400, &headers, body, SystemTime::UNIX_EPOCH);
            let evidence = Evidence::new(&seen);
            let error = resolve(&profile, &evidence).error;
            let Compatible::Json(json) = compatible(&profile, &error, &stamp, &evidence) else {
                panic!("{body:?} has a place for a member");
            };
            let value: Value = serde_json::from_slice(&json).expect("JSON");
            assert_eq!(value[GATEWAY_ERROR]["status"], 400, "{value}");
            assert!(value.get(member).is_some(), "{value}");
        }
    }
}
