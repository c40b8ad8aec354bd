//! Rejects requests that the HTTP library accepts and a gateway must not forward.

use super::{Fields, list};
use crate::canon::Fault;
use crate::proxy::gateway_key;
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, MAX_FORWARDS, ORIGIN,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Version};
use std::net::Ipv6Addr;

/// Longest method that is forwarded.
const MAX_METHOD_BYTES: usize = 64;

/// Marks an HTTP/2 request whose header section is larger than allowed. It is rejected here, because gRPC clients cannot read the
/// library's own response.
#[derive(Clone, Copy, Debug)]
pub struct HeadTooLarge;

/// What kind of request passed the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// A valid WebSocket handshake (RFC 6455 4.2.1). Any other `Upgrade` is ignored.
    pub websocket: bool,
    /// Meant for this gateway itself: `OPTIONS *`, or OPTIONS with `Max-Forwards: 0` (RFC 9110 7.6.2). It is answered
    /// 204 here and never forwarded.
    pub answer_here: bool,
}

/// Rejects what must not be forwarded. `fields` are those of the request.
///
/// # Errors
/// The fault to respond with.
pub fn check_request(parts: &Parts, fields: Fields, max_target_bytes: usize) -> Result<Checked, Fault> {
    if target_length(parts) > max_target_bytes {
        return Err(Fault::TargetTooLong);
    }
    if parts.extensions.get::<HeadTooLarge>().is_some() {
        return Err(Fault::HeadTooLarge);
    }
    // TRACE would reflect credentials (RFC 9110 9.3.8) and CONNECT would open a tunnel. No known method is nearly as long as the
    // limit.
    let method = parts.method.as_str();
    let denied = matches!(parts.method, Method::CONNECT | Method::TRACE) || method.len() > MAX_METHOD_BYTES;
    if denied || gateway_key::is_in(method.as_bytes()) {
        return Err(Fault::MethodRefused);
    }
    check_target(parts)?;
    check_host(parts, fields)?;
    check_framing(parts, fields)?;
    let websocket = check_upgrade(parts, fields)?;
    let last_hop =
        || list(&parts.headers, &MAX_FORWARDS).next().is_some_and(|hops| hops.iter().all(|digit| *digit == b'0'));
    let answer_here = parts.method == Method::OPTIONS && (parts.uri.path() == "*" || last_hop());
    Ok(Checked { websocket, answer_here })
}

/// The host a request is for: the target's when it names one (absolute-form, `:authority`), else `Host`
/// (RFC 9112 3.2.2, RFC 9113 8.3.1).
#[must_use]
pub fn authority(parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(HOST).cloned(),
    }
}

fn target_length(parts: &Parts) -> usize {
    let path = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let scheme = parts.uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    // Over HTTP/2 scheme and authority are fields of their own.
    if parts.version == Version::HTTP_2 { path } else { scheme + authority + path }
}

/// Origin-form, absolute-form with a scheme that is served here, or `OPTIONS *` (RFC 9112 3.2).
fn check_target(parts: &Parts) -> Result<(), Fault> {
    match (parts.uri.scheme_str(), parts.uri.authority()) {
        (None, Some(_)) => return Err(Fault::BadRequest),
        (Some(scheme), _) if !matches!(scheme, "http" | "https") => return Err(Fault::BadRequest),
        _ => {}
    }
    if parts.uri.path() == "*" && parts.method != Method::OPTIONS { Err(Fault::BadPath) } else { Ok(()) }
}

/// Exactly one valid Host in HTTP/1.1 (RFC 9112 3.2); a valid authority wherever one is given.
fn check_host(parts: &Parts, fields: Fields) -> Result<(), Fault> {
    let host = parts.headers.get(HOST);
    if fields.repeat(&parts.headers, HOST) || host.is_some_and(|host| !is_host(host.as_bytes())) {
        return Err(Fault::BadHost);
    }
    match (parts.uri.authority(), host) {
        (Some(authority), _) if !is_host(authority.as_str().as_bytes()) => Err(Fault::BadHost),
        (Some(_), None) if parts.version == Version::HTTP_11 => Err(Fault::BadHost),
        (None, None) if parts.version >= Version::HTTP_11 => Err(Fault::BadHost),
        _ => Ok(()),
    }
}

/// `name[:port]` or `[v6][:port]`. Narrower than RFC 3986 3.2.2: no user, no escapes, no sub-delimiters, not empty.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !value.ends_with(b"]") => value.split_at(colon),
        _ => (value, &b""[..]),
    };
    // `name:` with an empty port is allowed by the grammar.
    let port = port.strip_prefix(b":").unwrap_or(port);
    let number = port.iter().try_fold(0_u16, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u16::from(byte - b'0')),
        _ => None,
    });
    let host_fits = match host {
        [b'[', literal @ .., b']'] => str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok()),
        _ => {
            let allowed =
                |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'A'..=b'Z' | b'_' | b'~');
            !host.is_empty() && host.iter().all(allowed)
        }
    };
    host_fits && number.is_some()
}

/// The body's framing must be unambiguous (RFC 9112 6.3).
fn check_framing(parts: &Parts, fields: Fields) -> Result<(), Fault> {
    if !fields.may_have(Fields::CONTENT_LENGTH | Fields::TRANSFER_ENCODING) {
        return Ok(());
    }
    let length = parts.headers.get(CONTENT_LENGTH);
    let digits = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if fields.repeat(&parts.headers, CONTENT_LENGTH) || length.is_some_and(|length| !digits(length)) {
        return Err(Fault::BadRequest);
    }
    if fields.may_have(Fields::TRANSFER_ENCODING)
        && (parts.version != Version::HTTP_11 || length.is_some() || !is_just_chunked(&parts.headers))
    {
        return Err(Fault::BadRequest);
    }
    Ok(())
}

/// Whether `Transfer-Encoding` is `chunked` once and alone: no other coding is needed, and servers disagree on them.
fn is_just_chunked(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    let first = lines.next();
    lines.next().is_none() && first.is_some_and(|line| line.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The method for logs and metrics: one that contains a gateway key, with any escapes, is redacted.
pub(crate) fn shown_method(method: &Method) -> Method {
    match gateway_key::has_key(method.as_str()) {
        true => Method::from_bytes(b"***").unwrap_or(Method::TRACE),
        false => method.clone(),
    }
}

/// Whether a request is a CORS preflight, which the browser sends on its own account and without any key.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether a request says that it is a WebSocket handshake, proper or not.
pub(crate) fn is_websocket(parts: &Parts) -> bool {
    list(&parts.headers, &UPGRADE).any(|element| element.eq_ignore_ascii_case(b"websocket"))
}

/// Whether this is a WebSocket handshake. An `Upgrade` that is not hop-by-hop (HTTP/1.0, no `Connection: upgrade`) or is for
/// something else (`h2c`) is ignored (RFC 9110 7.8); an invalid handshake is rejected.
fn check_upgrade(parts: &Parts, fields: Fields) -> Result<bool, Fault> {
    if !fields.may_have(Fields::UPGRADE) {
        return Ok(false);
    }
    let headers = &parts.headers;
    let names = |name, token: &[u8]| list(headers, name).any(|element| element.eq_ignore_ascii_case(token));
    if parts.version != Version::HTTP_11 || !names(&UPGRADE, b"websocket") || !names(&CONNECTION, b"upgrade") {
        return Ok(false);
    }
    let single = |name| {
        let mut lines = headers.get_all(name).iter();
        lines.next().filter(|_| lines.next().is_none()).map(HeaderValue::as_bytes)
    };
    let version = single(SEC_WEBSOCKET_VERSION);
    if parts.method == Method::GET && version.is_some_and(|version| version != b"13") {
        return Err(Fault::UpgradeVersion);
    }
    let proper = parts.method == Method::GET
        && version.is_some()
        && single(SEC_WEBSOCKET_KEY).is_some_and(is_key)
        && !headers.contains_key(TRANSFER_ENCODING)
        && headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    if proper { Ok(true) } else { Err(Fault::UpgradeRefused) }
}

/// 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key
            .strip_suffix(b"==")
            .is_some_and(|bytes| bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')))
}
