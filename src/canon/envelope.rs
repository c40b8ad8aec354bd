//! The envelope: one object for every failure, in the form that the route asks for. Rendered without an intermediate tree.

use super::error::{CanonicalError, UpstreamBody, UpstreamError};
use super::evidence::Evidence;
use super::json::{Json, Members};
use super::native::NativeValues;
use super::profile::Profile;
use super::spec::Phase;
use super::write::Object;
use serde_json::{Map, Value};
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

/// The members of the canonical object, in the order of the design.
fn members(to: &mut Object, error: &CanonicalError, stamp: &Stamp<'_>) {
    to.word("type", error.code.kind().as_str());
    to.word("code", error.code.as_str());
    to.value("status", &error.status());
    to.text("message", &error.message);
    to.truth("retryable", error.retryable);
    if let Some(wait) = error.retry_after {
        seconds(to, wait);
    }
    to.word("origin", error.origin.as_str());
    to.optional("provider", stamp.provider);
    to.optional("route", stamp.route);
    to.text("request_id", stamp.request_id);
    to.text("timestamp", stamp.timestamp);
    to.optional("param", error.param.as_deref());
    match (&error.doc_url, stamp.docs) {
        (Some(link), _) => to.text("doc_url", link),
        // The provider gave no link, so the operator's is used.
        (None, Some(docs)) => to.joined("doc_url", docs, error.code.as_str()),
        (None, None) => {}
    }
    if !error.details.is_empty() {
        to.value("details", &error.details);
    }
    if let Some(upstream) = error.upstream.as_deref() {
        to.open("upstream");
        said(to, upstream, stamp.upstream_body);
        to.close();
    }
}

/// What the provider said.
fn said(to: &mut Object, upstream: &UpstreamError, show_body: bool) {
    if let Some(status) = upstream.status {
        to.value("status", &status);
    }
    if let Some(close) = upstream.close {
        to.value("close_code", &close);
    }
    if let Some(grpc) = upstream.grpc {
        to.value("grpc_status", &grpc);
    }
    to.optional("code", upstream.code.as_deref());
    to.optional("type", upstream.kind.as_deref());
    to.optional("request_id", upstream.request_id.as_deref());
    match upstream.body.as_ref().filter(|_| show_body) {
        Some(UpstreamBody::Json(json)) => to.json("body", json),
        Some(UpstreamBody::Text(text)) => to.text("body", text),
        None => {}
    }
    if upstream.truncated {
        to.truth("body_truncated", true);
    }
}

/// Whole seconds as an integer, others with at most three decimals.
fn seconds(to: &mut Object, wait: Duration) {
    let millis = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    if millis.is_multiple_of(1000) {
        to.value("retry_after_seconds", &(millis / 1000));
    } else {
        // Exact for every wait below 142,000 years.
        to.value("retry_after_seconds", &(millis as f64 / 1000.0));
    }
}

/// An estimate of the envelope's length that is nearly always enough, so that the buffer does not grow.
fn size(error: &CanonicalError) -> usize {
    let body = error.upstream.as_ref().and_then(|upstream| upstream.body.as_ref()).map_or(0, |body| match body {
        UpstreamBody::Json(text) | UpstreamBody::Text(text) => text.len(),
    });
    768 + error.message.len() + body
}

/// The canonical object by itself.
#[must_use]
pub fn object(error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    let mut object = Object::new(size(error));
    members(&mut object, error, stamp);
    object.end()
}

/// `{"error":{…}}`
#[must_use]
pub fn canonical(error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    let mut envelope = Object::new(size(error));
    envelope.open("error");
    members(&mut envelope, error, stamp);
    envelope.close();
    envelope.end()
}

/// An event of a stream or a message of a socket: `{"type":"error","done":…,"context_id":…,"error":{…}}`.
#[must_use]
pub fn event(error: &CanonicalError, stamp: &Stamp<'_>, done: Option<bool>) -> Vec<u8> {
    let mut event = Object::new(size(error));
    event.word("type", "error");
    if let Some(done) = done {
        event.truth("done", done);
    }
    event.optional("context_id", error.context_id.as_deref());
    event.open("error");
    members(&mut event, error, stamp);
    event.close();
    event.end()
}

/// RFC 9457, with the canonical object as an extension.
#[must_use]
pub fn problem(error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    let mut problem = Object::new(size(error) + error.message.len());
    problem.joined("type", "urn:speechgate:error:", error.code.as_str());
    problem.text("title", error.code.row().sentence);
    problem.value("status", &error.status());
    problem.text("detail", &error.message);
    problem.joined("instance", "urn:speechgate:request:", stamp.request_id);
    problem.open("error");
    members(&mut problem, error, stamp);
    problem.close();
    problem.end()
}

/// Serialises a tree. Cannot fail: all keys are strings, and writing to a `Vec` always succeeds.
fn write(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec())
}

/// What becomes of a provider's body on a compatible route.
#[derive(Debug, PartialEq, Eq)]
pub enum Compatible {
    /// The provider's object, or its shape, with `gateway_error` added.
    Json(Vec<u8>),
    /// A body that cannot hold a member and that SDKs read as it is: text, an array.
    AsItIs,
}

/// The provider's own answer with the canonical object added where clients ignore it.
#[must_use]
pub fn compatible(profile: &Profile, error: &CanonicalError, stamp: &Stamp<'_>, evidence: &Evidence<'_>) -> Compatible {
    // Clients that parse such a body understand no other form.
    let binary = evidence.coded.is_some() && matches!(evidence.phase, Phase::Http | Phase::Handshake);
    match evidence.tree() {
        _ if binary => Compatible::AsItIs,
        Some(Json::Object(own)) if !evidence.truncated => Compatible::Json(spliced(open(own, evidence), error, stamp)),
        Some(Json::List(_) | Json::Text(_)) if !evidence.truncated => Compatible::AsItIs,
        // An empty body stays empty of provider members: the SDK finds what it would have found without the gateway.
        _ if evidence.body.trim_ascii().is_empty() => Compatible::Json(spliced(open_ended(Map::new()), error, stamp)),
        // An HTML page comes from a proxy in front of the provider, not from the provider.
        _ if evidence.text().is_none() || evidence.truncated => {
            Compatible::Json(native(profile, evidence.phase, error, stamp))
        }
        _ => Compatible::AsItIs,
    }
}

/// An object without its last bracket, and whether it has no member.
type Open = (Vec<u8>, bool);

/// Every byte of the provider's object, unless a member must be removed, something follows it, or it is not UTF-8 (JSON
/// must be, RFC 8259 8.1).
fn open(own: &Members<'_>, evidence: &Evidence<'_>) -> Open {
    let as_it_is = own.get(GATEWAY_ERROR).is_none() && evidence.is_json();
    let end = evidence.body.iter().rposition(|byte| *byte == b'}').filter(|_| as_it_is);
    match end.and_then(|end| evidence.body.get(..end)) {
        Some(start) => (start.to_vec(), own.is_empty()),
        None => open_ended(own.to_map()),
    }
}

fn open_ended(mut map: Map<String, Value>) -> Open {
    let _ = map.remove(GATEWAY_ERROR);
    let mut bytes = write(&map);
    let _ = bytes.pop();
    (bytes, map.is_empty())
}

/// The object with one more member at its end.
fn spliced((mut body, is_empty): Open, error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    body.reserve(size(error));
    let mut object = Object::behind(body, is_empty);
    object.open(GATEWAY_ERROR);
    members(&mut object, error, stamp);
    object.close();
    object.end()
}

/// An error as the provider itself would write it, plus `gateway_error`.
#[must_use]
pub fn native(profile: &Profile, phase: Phase, error: &CanonicalError, stamp: &Stamp<'_>) -> Vec<u8> {
    let values = NativeValues { request_id: stamp.request_id, timestamp: stamp.timestamp };
    let map = profile.native.render(phase, error, values).unwrap_or_default();
    spliced(open_ended(map), error, stamp)
}

/// The same as the refusal of a WebSocket session that has not begun; none when the profile knows no such message.
#[must_use]
pub fn refusal(profile: &Profile, error: &CanonicalError, stamp: &Stamp<'_>) -> Option<Vec<u8>> {
    let values = NativeValues { request_id: stamp.request_id, timestamp: stamp.timestamp };
    let map = profile.native.refuse(error, values)?;
    Some(spliced(open_ended(map), error, stamp))
}

/// What follows the provider's own error `message` where SDKs wait for a refusal and do not take it for one. The canonical
/// object is in that message already.
#[must_use]
pub fn refusal_after(profile: &Profile, message: &[u8], error: &CanonicalError, stamp: &Stamp<'_>) -> Option<Vec<u8>> {
    let message: Map<String, Value> = serde_json::from_slice(message).ok()?;
    let values = NativeValues { request_id: stamp.request_id, timestamp: stamp.timestamp };
    profile.native.refuse(error, values).filter(|_| !profile.native.is_refusal(&message)).map(|map| write(&map))
}

/// The HTTP status of an error on a compatible route: the provider's own, or the one that it would have used; the canonical one
/// where the profile says so.
#[must_use]
pub fn compatible_status(profile: &Profile, error: &CanonicalError) -> u16 {
    if profile.native.has_canonical_status(error) {
        return error.status();
    }
    let answered = error.upstream.as_ref().and_then(|upstream| upstream.status);
    answered.filter(|status| *status >= 400).unwrap_or_else(|| profile.native.status(error))
}

/// A 2xx body that holds a failure, with the canonical object in place of the error.
///
/// The member that held the error now holds the object. Missing parents are created, and a parent
/// that is not an object is kept as `value`. `added` leaves the provider's members alone and adds `gateway_error`.
#[must_use]
pub fn in_body(
    tree: &Json<'_>,
    member: Option<&super::path::Path>,
    added: bool,
    error: &CanonicalError,
    stamp: &Stamp<'_>,
) -> Vec<u8> {
    let object = serde_json::from_slice(&object(error, stamp)).unwrap_or_default();
    let mut tree = tree.to_value();
    let keys = member.and_then(super::path::Path::keys).unwrap_or_else(|| vec!["error"]);
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
mod tests;
