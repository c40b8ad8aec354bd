//! Prepares the headers of a request for the provider.

use super::id::{REQUEST_ID, check_trace};
use super::{Destination, Fields, Identity, RouteHeaders, connection_listed, list};
use crate::proxy::gateway_key;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName,
    HeaderValue, MAX_FORWARDS, SEC_WEBSOCKET_PROTOCOL, UPGRADE, VIA,
};
use http::uri::Authority;
use http::{Method, Version};
use std::net::IpAddr;

/// Where a request came from, in the fields that proxies use for it.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The header fields that describe a client to providers. Computed once per connection, because all its requests share them.
#[derive(Clone, Debug)]
pub struct PeerHeaders {
    /// `X-Forwarded-For`; absent on a Unix socket.
    address: Option<HeaderValue>,
    /// `X-Forwarded-Proto`
    proto: HeaderValue,
    /// `Forwarded`
    forwarded: HeaderValue,
}

impl PeerHeaders {
    /// For a client at this address, over TLS or not.
    #[must_use]
    pub fn new(address: Option<IpAddr>, tls: bool) -> PeerHeaders {
        let proto = if tls { "https" } else { "http" };
        let node = match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(v4)) => v4.to_string(),
            Some(IpAddr::V6(v6)) => format!("\"[{v6}]\""),
            None => "unknown".to_owned(),
        };
        let text = |text: String| HeaderValue::try_from(text).expect("an address is printable");
        PeerHeaders {
            address: address.map(|address| text(address.to_canonical().to_string())),
            proto: HeaderValue::from_static(proto),
            forwarded: text(format!("for={node};proto={proto}")),
        }
    }
}

/// Everything that the headers of the outgoing request depend on.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The request's fields.
    pub fields: Fields,
    /// Its method.
    pub method: &'a Method,
    /// The version it arrived in.
    pub version: Version,
    /// The authority of its target, if it had one: absolute-form or `:authority`.
    pub authority: Option<&'a Authority>,
    /// Whether it is forwarded as a WebSocket handshake.
    pub websocket: bool,
    /// The client.
    pub peer: &'a PeerHeaders,
    /// The route it takes.
    pub route: &'a RouteHeaders,
    /// The destination of the first attempt.
    pub destination: Destination,
    /// This gateway.
    pub identity: &'a Identity,
    /// Its id, from [`super::request_id`].
    pub request_id: &'a HeaderValue,
    /// Whether the client's forwarding fields are trusted.
    pub trust_forwarded: bool,
}

/// Turns the client's headers into those for the provider. The request has been checked, including for loops.
pub fn prepare_request(headers: &mut HeaderMap, out: &Outgoing<'_>) {
    remove_what_ends_here(headers, out);
    if out.route.guards {
        // The subprotocols of a handshake are rewritten later, when they have been read.
        let doomed = |(name, value): &(&HeaderName, &HeaderValue)| {
            (**name != SEC_WEBSOCKET_PROTOCOL || !out.websocket) && gateway_key::key_in(value.as_bytes()).is_some()
        };
        let doomed: Vec<HeaderName> = headers.iter().filter(doomed).map(|(name, _)| name.clone()).collect();
        for name in doomed {
            headers.remove(name);
        }
    }
    if let Some(tenant) = &out.route.tenant {
        headers.remove(tenant);
    }
    let fields = out.fields | out.route.inject(headers, out.destination, out.websocket);
    join_cookies(headers, fields);
    check_trace(headers, fields);
    add_forwarding(headers, out, fields);
    if out.destination.keyless {
        // Any field that the operator sets may be a key.
        super::remove(headers, &out.route.changes.request);
    } else {
        super::change(headers, &out.route.changes.request);
    }
    headers.append(VIA, out.identity.via(out.version));
    headers.insert(REQUEST_ID, out.request_id.clone());
    if out.websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    if out.method == Method::OPTIONS {
        decrement_max_forwards(headers);
    }
}

fn remove_what_ends_here(headers: &mut HeaderMap, out: &Outgoing<'_>) {
    let others = if out.trust_forwarded { Fields::KEPT_BACK } else { Fields::KEPT_BACK | Fields::CLAIMS };
    if !out.fields.may_have(Fields::OF_THE_HOP | others) {
        return;
    }
    if out.fields.may_have(Fields::CONNECTION) {
        // A client can neither remove credentials nor change the framing or the type of the body.
        let keep = |name: &HeaderName| {
            matches!(*name, CONTENT_LENGTH | CONTENT_TYPE | COOKIE | HOST | MAX_FORWARDS | VIA)
                || out.route.secrets.contains(name)
        };
        for name in connection_listed(headers, out.fields, keep) {
            headers.remove(name);
        }
    }
    let is_secret = |name: &HeaderName| out.route.secrets.contains(name);
    for name in out.fields.among(Fields::OF_THE_HOP).hop_by_hop().filter(|name| !is_secret(name)) {
        headers.remove(name);
    }
    if out.fields.may_have(others) {
        let ends = |name: &&HeaderName| Fields::named(name).may_have(others) && !is_secret(name);
        let doomed: Vec<HeaderName> = headers.keys().filter(ends).cloned().collect();
        for name in doomed {
            headers.remove(name);
        }
    }
}

/// Removes from the trailers what must not reach a provider: fields that end at this hop or are decided in the header section,
/// because a server may merge trailers into it (RFC 9110 6.5.1). That includes keys, which would compete with the route's own.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap, route: &RouteHeaders) {
    let settled = |name: &HeaderName| {
        route.secrets.contains(name)
            || route.tenant.as_ref() == Some(name)
            || matches!(*name, AUTHORIZATION | CONTENT_LENGTH | CONTENT_TYPE | COOKIE | HOST | MAX_FORWARDS | VIA)
            || *name == REQUEST_ID
            || Fields::named(name).may_have(Fields::OF_THE_HOP | Fields::KEPT_BACK | Fields::CLAIMS)
    };
    let has_key = |value: &HeaderValue| route.guards && gateway_key::has_key(value);
    let doomed = trailers.iter().filter(|(name, value)| settled(name) || has_key(value));
    let doomed: Vec<HeaderName> = doomed.map(|(name, _)| name.clone()).collect();
    for name in doomed {
        trailers.remove(name);
    }
}

/// HTTP/2 clients may split a cookie into several fields; HTTP/1.1 allows one (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap, fields: Fields) {
    if !fields.may_have(Fields::COOKIE) || !fields.repeat(headers, COOKIE) {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// Adds the client's address, the requested host and the protocol (RFC 7239 and its predecessors), and sets the new `Host`.
fn add_forwarding(headers: &mut HeaderMap, out: &Outgoing<'_>, fields: Fields) {
    let given = |headers: &HeaderMap, field, name| fields.may_have(field) && headers.contains_key(name);
    let called = match out.route.hosts.get(out.destination.upstream) {
        Some(host) => headers.insert(HOST, host.clone()),
        None => headers.remove(HOST),
    };
    let called = match out.authority {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => called,
    };
    if let (Some(called), false) = (called, given(headers, Fields::FORWARDED_HOST, FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, called);
    }
    if !given(headers, Fields::FORWARDED_PROTO, FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, out.peer.proto.clone());
    }
    if let Some(address) = &out.peer.address {
        let given = fields.may_have(Fields::FORWARDED_FOR);
        headers.insert(FORWARDED_FOR, if given { longer(headers, &FORWARDED_FOR, address) } else { address.clone() });
    }
    let forwarded = &out.peer.forwarded;
    let given = fields.may_have(Fields::FORWARDED);
    headers.insert(FORWARDED, if given { longer(headers, &FORWARDED, forwarded) } else { forwarded.clone() });
}

/// A list field with one more element, on one line because many readers look at only one.
fn longer(headers: &HeaderMap, name: &HeaderName, element: &HeaderValue) -> HeaderValue {
    let mut line: Vec<u8> = list(headers, name).collect::<Vec<_>>().join(&b", "[..]);
    if !line.is_empty() {
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(element.as_bytes());
    HeaderValue::from_bytes(&line).unwrap_or_else(|_| element.clone())
}

/// RFC 9110 7.6.2; a request with zero never gets here.
fn decrement_max_forwards(headers: &mut HeaderMap) {
    let Some(value) = headers.get(MAX_FORWARDS) else { return };
    let hops: Option<u32> = value.to_str().ok().and_then(|hops| hops.trim().parse().ok());
    match hops.and_then(|hops| hops.checked_sub(1)) {
        Some(left) => headers.insert(MAX_FORWARDS, HeaderValue::from(left)),
        None => headers.remove(MAX_FORWARDS),
    };
}

/// Whether the client prefers RFC 9457 to plain JSON (RFC 9110 12.5.1). With equal weights it gets the type that it names.
pub(crate) fn accepts_problem(headers: &HeaderMap) -> bool {
    const PROBLEM: &[u8] = b"application/problem+json";
    let lines = || headers.get_all(http::header::ACCEPT).iter().map(HeaderValue::as_bytes);
    // Nearly every `Accept` is shorter than that.
    if !lines().any(|line| line.len() >= PROBLEM.len() || memchr::memchr(b';', line).is_some()) {
        return false;
    }
    let ranges = || lines().flat_map(|line| unquoted(line, b',')).filter_map(Range::parse);
    let weight = |name: &[u8]| {
        let of = |range: &Range<'_>| Some((range.precision(name)?, range.weight));
        ranges().filter_map(|range| of(&range)).max_by_key(|(precision, _)| *precision)
    };
    let json = weight(b"application/json").map_or(0, |(_, weight)| weight);
    weight(PROBLEM).is_some_and(|(precision, weight)| {
        let named = precision > Range::WILD;
        weight > json || named && weight == json && weight > 0
    })
}

/// One media range of `Accept`.
struct Range<'a> {
    name: &'a [u8],
    /// Number of parameters of the media type; the types in question have none.
    parameters: u8,
    /// In thousandths; an invalid one counts as absent.
    weight: u16,
}

impl<'a> Range<'a> {
    /// The precision of `application/*`; above it, a type is named.
    const WILD: u8 = 1;

    fn parse(range: &'a [u8]) -> Option<Range<'a>> {
        let mut parts = unquoted(range, b';').map(<[u8]>::trim_ascii);
        let mut range = Range { name: parts.next()?, parameters: 0, weight: 1000 };
        for part in parts.filter(|part| !part.is_empty()) {
            match part {
                [b'q' | b'Q', rest @ ..] if rest.trim_ascii_start().starts_with(b"=") => {
                    let value = rest.trim_ascii_start().strip_prefix(b"=").unwrap_or_default();
                    range.weight = thousandths(value.trim_ascii()).unwrap_or(1000);
                }
                _ => range.parameters = range.parameters.saturating_add(1),
            }
        }
        Some(range)
    }

    /// How precisely it names this type; none when it does not. A range with other parameters still matches the type, unless the
    /// type is also listed without them.
    fn precision(&self, name: &[u8]) -> Option<u8> {
        match self.name {
            b"*/*" => Some(0),
            own if own.eq_ignore_ascii_case(b"application/*") => Some(Range::WILD),
            own if own.eq_ignore_ascii_case(name) => Some(Range::WILD + if self.parameters == 0 { 2 } else { 1 }),
            _ => None,
        }
    }
}

/// The parts of a field value between separators outside of quoted strings.
fn unquoted(value: &[u8], mark: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'\\' if quoted && !was_escaped => escaped = true,
            _ => {}
        }
        *byte == mark && !quoted
    })
}

/// `0.85` as 850 (RFC 9110 12.4.2).
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, rest) = weight.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let place = |(at, digit): (usize, &u8)| digit.is_ascii_digit().then(|| u16::from(digit - b'0') * [100, 10, 1][at]);
    let fraction = digits.iter().enumerate().map(place).sum::<Option<u16>>()?;
    match whole {
        b'0' => Some(fraction),
        b'1' if fraction == 0 => Some(1000),
        _ => None,
    }
}
