//! Request ids, and the client's trace context.

use super::Fields;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::TraceState;
use std::time::{SystemTime, UNIX_EPOCH};
use ulid::{ULID_LEN, Ulid};

/// This gateway's id of a request, towards clients and providers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The provider's own id, if it used the same name.
pub const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");

/// The number of attempts, if there was more than one.
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("x-speechgate-attempts");

/// The trace context of a request.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest id that is accepted from a client.
const LONGEST_ID: usize = 128;

/// The client's id if there is exactly one and it is safe for logs, headers and JSON; else a new ULID for this time.
#[must_use]
pub fn request_id(headers: &HeaderMap, fields: Fields, now: SystemTime) -> HeaderValue {
    if !fields.may_have(Fields::REQUEST_ID) {
        return new_id(now);
    }
    let mut given = headers.get_all(REQUEST_ID).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if is_fit(id.as_bytes()) => id.clone(),
        _ => new_id(now),
    }
}

fn is_fit(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/+=@".contains(byte);
    (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(allowed)
}

/// A new ULID.
pub(crate) fn new_request_id() -> HeaderValue {
    new_id(SystemTime::now())
}

fn new_id(now: SystemTime) -> HeaderValue {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let ulid = Ulid::from_parts(millis, fastrand::u128(..));
    let mut text = [0; ULID_LEN];
    HeaderValue::from_str(ulid.array_to_str(&mut text)).expect("a ULID is letters and digits")
}

/// The client's `traceparent`, if there is exactly one and it is well-formed.
pub(crate) fn trace_parent(headers: &HeaderMap, fields: Fields) -> Option<&HeaderValue> {
    if !fields.may_have(Fields::TRACEPARENT) {
        return None;
    }
    let mut parents = headers.get_all(TRACEPARENT).iter();
    parents.next().filter(|parent| parents.next().is_none() && is_traceparent(parent.as_bytes()))
}

/// The client's `tracestate` as the SDK's type; empty when it is malformed.
pub(crate) fn trace_state(headers: &HeaderMap) -> TraceState {
    let lines = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok());
    let whole: Vec<&str> = lines.collect();
    if whole.is_empty() || !is_tracestate(headers) {
        return TraceState::default();
    }
    whole.join(",").parse().unwrap_or_default()
}

/// Drops a trace context that is malformed; `tracestate` means nothing without `traceparent` (W3C Trace Context 3.3).
pub(super) fn check_trace(headers: &mut HeaderMap, fields: Fields) {
    if !fields.may_have(Fields::TRACEPARENT | Fields::TRACESTATE) {
        return;
    }
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let valid = match (parents.next(), parents.next()) {
        (None, _) => None,
        (Some(parent), None) => Some(is_traceparent(parent.as_bytes())),
        (Some(_), Some(_)) => Some(false),
    };
    if valid == Some(false) {
        headers.remove(TRACEPARENT);
    }
    if headers.contains_key(TRACESTATE) && (valid != Some(true) || !is_tracestate(headers)) {
        headers.remove(TRACESTATE);
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, without an all-zero id; later versions may append more.
fn is_traceparent(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b'-');
    let mut hex = |length: usize| {
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        parts.next().filter(|part| part.len() == length && part.iter().all(digit))
    };
    let (Some(version), Some(trace), Some(parent), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else { return false };
    let zero = |id: &[u8]| id.iter().all(|digit| *digit == b'0');
    version != b"ff" && !zero(trace) && !zero(parent) && (version != b"00" || value.len() == 55)
}

/// At most 32 members `key=value`, and at most the 512 bytes that every implementation must propagate.
fn is_tracestate(headers: &HeaderMap) -> bool {
    let bytes: usize = headers.get_all(TRACESTATE).iter().map(HeaderValue::len).sum();
    let printable = |member: &[u8]| member.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let is_member =
        |member: &[u8]| printable(member) && member.iter().position(|byte| *byte == b'=').is_some_and(|at| at > 0);
    bytes <= 512 && super::list(headers, &TRACESTATE).all(is_member) && super::list(headers, &TRACESTATE).count() <= 32
}
