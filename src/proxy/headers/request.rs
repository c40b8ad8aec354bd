//! The request's headers, from the caller's to the provider's.

use super::id::{REQUEST_ID, check_trace};
use super::{Identity, RouteHeaders, Way, connection_listed, list};
use crate::canon::Fault;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName,
    HeaderValue, MAX_FORWARDS, UPGRADE, VIA,
};
use http::uri::Authority;
use http::{Method, Version};
use std::net::IpAddr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What providers are told about a caller; the same for all requests of a connection.
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
    /// For a caller at this address, over TLS or not.
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

/// Everything that decides what a request's headers become.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The version it came in.
    pub version: Version,
    /// The authority of its target, if it had one: absolute-form or `:authority`.
    pub authority: Option<&'a Authority>,
    /// Whether it is a WebSocket handshake that will be passed on as one.
    pub websocket: bool,
    /// The caller.
    pub peer: &'a PeerHeaders,
    /// The route it takes.
    pub route: &'a RouteHeaders,
    /// Where it goes first.
    pub way: Way,
    /// This gateway.
    pub identity: &'a Identity,
    /// Its id, from [`super::request_id`].
    pub request_id: &'a HeaderValue,
    /// Whether the caller's word on where the request came from counts.
    pub trust_forwarded: bool,
}

/// Turns the caller's headers into those for the provider.
///
/// # Errors
/// [`Fault::Loop`] when the request has been here before.
pub fn prepare_request(headers: &mut HeaderMap, out: &Outgoing<'_>) -> Result<(), Fault> {
    out.identity.check_loop(headers)?;
    remove_what_ends_here(headers, out);
    out.route.inject(headers, out.way, out.websocket);
    join_cookies(headers);
    check_trace(headers);
    add_forwarding(headers, out);
    headers.append(VIA, out.identity.via(out.version));
    headers.insert(REQUEST_ID, out.request_id.clone());
    if out.websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    if out.method == Method::OPTIONS {
        decrement_max_forwards(headers);
    }
    Ok(())
}

fn remove_what_ends_here(headers: &mut HeaderMap, out: &Outgoing<'_>) {
    if headers.contains_key(CONNECTION) {
        // A caller can neither strip credentials nor change how the body is framed or read.
        let keep = |name: &HeaderName| {
            matches!(*name, CONTENT_LENGTH | CONTENT_TYPE | COOKIE | HOST | MAX_FORWARDS | VIA)
                || out.route.secrets.contains(name)
        };
        for name in connection_listed(headers, keep) {
            headers.remove(name);
        }
    }
    let is_secret = |name: &HeaderName| out.route.secrets.contains(name);
    let ends = |name: &&HeaderName| ends_here(name.as_str(), out.trust_forwarded) && !is_secret(name);
    let doomed: Vec<HeaderName> = headers.keys().filter(ends).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// Takes out of the trailers what must not reach a provider in them: whatever ends here or is settled in the header
/// section, because a server may merge the one into the other (RFC 9110 6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let settled = |name: &HeaderName| {
        matches!(*name, AUTHORIZATION | CONTENT_LENGTH | CONTENT_TYPE | COOKIE | HOST | MAX_FORWARDS | VIA)
            || *name == REQUEST_ID
            || ends_here(name.as_str(), false)
    };
    let doomed: Vec<HeaderName> = trailers.keys().filter(|name| settled(name)).cloned().collect();
    for name in doomed {
        trailers.remove(name);
    }
}

/// Whether a field of this name never goes to a provider.
fn ends_here(name: &str, trust_forwarded: bool) -> bool {
    match name {
        // Hop by hop (RFC 9110 7.6.1), or for a proxy (11.7), or settled here (Expect is answered by the HTTP server).
        "connection"
        | "expect"
        | "http2-settings"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "transfer-encoding"
        | "upgrade" => true,
        // Claims about the caller or the target that only a proxy in front may make.
        "forwarded" | "x-real-ip" => !trust_forwarded,
        "client-ip"
        | "proxy"
        | "true-client-ip"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "x-forwarded"
        | "x-host"
        | "x-original-forwarded-for"
        | "x-original-host"
        | "x-original-url"
        | "x-originating-ip"
        | "x-remote-addr"
        | "x-remote-ip"
        | "x-rewrite-url" => true,
        // Words between a caller and this gateway, `x-speechgate-priority` among them; the simulators behind it listen to this
        // one.
        "x-speechgate-fault" => false,
        // A certificate is verified by the listener that received it, however far away that claims to have been.
        "x-forwarded-client-cert" => true,
        _ if name.starts_with("x-") && name.starts_with("x-forwarded-") => !trust_forwarded,
        _ => {
            ["x-accel-", "x-envoy-", "x-speechgate-"].iter().any(|prefix| name.starts_with(prefix))
                // `X_Api_Key` becomes the same variable as `X-Api-Key` behind CGI-like interfaces.
                || name.contains('_')
        }
    }
}

/// HTTP/2 callers may send a cookie in crumbs; HTTP/1.1 allows one field (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// Says who called, by which name and over what (RFC 7239 and what was there before it), and who is called now.
fn add_forwarding(headers: &mut HeaderMap, out: &Outgoing<'_>) {
    let called = match out.route.hosts.get(out.way.upstream) {
        Some(host) => headers.insert(HOST, host.clone()),
        None => headers.remove(HOST),
    };
    let called = match out.authority {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => called,
    };
    if let (Some(called), false) = (called, headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, called);
    }
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, out.peer.proto.clone());
    }
    if let Some(address) = &out.peer.address {
        append_to_list(headers, FORWARDED_FOR, address);
    }
    append_to_list(headers, FORWARDED, &out.peer.forwarded);
}

/// Adds an element to a list field, keeping it on one line because many readers look at one only.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    let value = if headers.contains_key(&name) {
        let mut line: Vec<u8> = list(headers, &name).collect::<Vec<_>>().join(&b", "[..]);
        if !line.is_empty() {
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(element.as_bytes());
        HeaderValue::from_bytes(&line).unwrap_or_else(|_| element.clone())
    } else {
        element.clone()
    };
    headers.insert(name, value);
}

/// RFC 9110 7.6.2; zero never comes here.
fn decrement_max_forwards(headers: &mut HeaderMap) {
    let Some(value) = headers.get(MAX_FORWARDS) else { return };
    let hops: Option<u32> = value.to_str().ok().and_then(|hops| hops.trim().parse().ok());
    match hops.and_then(|hops| hops.checked_sub(1)) {
        Some(left) => headers.insert(MAX_FORWARDS, HeaderValue::from(left)),
        None => headers.remove(MAX_FORWARDS),
    };
}
