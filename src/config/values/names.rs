//! Names: of routes, header fields, query parameters, members, fields of the access log.

use super::Expected;
use crate::config::types::AccessField;
use crate::wire::hop::CONNECTION_SPECIFIC;
use http::HeaderName;

/// A name that is fit for labels, headers and logs.
///
/// # Errors
/// What was expected.
pub fn name(text: &str) -> Result<(), String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let fits = (1..=64).contains(&text.len()) && plain;
    if fits { Ok(()) } else { Err("1 to 64 letters, digits, `-`, `_` and `.`".to_owned()) }
}

/// A token (RFC 9110 5.6.2).
pub(in crate::config) fn token(text: &str) -> Result<String, Expected> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_token) {
        true => Ok(text.to_owned()),
        false => Err("letters, digits and !#$%&'*+-.^_`|~ only".to_owned()),
    }
}

/// The name of a query parameter that needs no escapes.
pub(in crate::config) fn parameter(text: &str) -> Result<String, Expected> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("a query parameter of letters, digits, `-`, `.`, `_` and `~`, such as `token`".to_owned()),
    }
}

/// The name of a member of a JSON object.
pub(in crate::config) fn member(text: &str) -> Result<String, Expected> {
    match !text.is_empty() && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("the name of a member, such as `xi_api_key`".to_owned()),
    }
}

/// A header that an operator may set; those of framing and routing are not.
pub(in crate::config) fn header(text: &str) -> Result<HeaderName, Expected> {
    const REFUSED: [&str; 6] = ["content-length", "expect", "host", "te", "trailer", "via"];
    let name: HeaderName = text.parse().map_err(|_| "a header name such as `xi-api-key`".to_owned())?;
    if REFUSED.contains(&name.as_str()) || CONNECTION_SPECIFIC.contains(&name) {
        return Err("a header that is not part of HTTP's own framing".to_owned());
    }
    Ok(name)
}

/// Whether a header of this name holds a secret, as far as its name tells.
pub(in crate::config) fn holds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "cookie", "key", "password", "secret", "token"].iter().any(|word| name.contains(word))
}

/// A header whose value the operator may choose on the way of a request or an answer: none of framing, of a WebSocket's
/// handshake, or of this gateway's own.
pub(in crate::config) fn changed_header(text: &str) -> Result<HeaderName, Expected> {
    const OWN: [&str; 9] = [
        "proxy-status",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "traceparent",
        "tracestate",
        "x-gateway-error",
        "x-request-id",
        "x-should-retry",
    ];
    let name = header(text)?;
    let handshake = name.as_str().starts_with("sec-websocket-");
    if handshake || OWN.contains(&name.as_str()) || name.as_str().starts_with("x-error-") {
        return Err("a header that this gateway does not write itself".to_owned());
    }
    Ok(name)
}

/// A field of the access log: `user_agent`, `upstream`, `close_code`, `header:NAME`, `response_header:NAME`.
pub(in crate::config) fn access_field(text: &str) -> Result<AccessField, Expected> {
    let named = |name: &str| {
        let name: HeaderName = name.parse().map_err(|_| "a header name such as `header:x-tenant`".to_owned())?;
        if holds_secret(name.as_str()) {
            return Err("a header that holds no secret".to_owned());
        }
        Ok(name)
    };
    match text.split_once(':') {
        None if text == "user_agent" => Ok(AccessField::UserAgent),
        None if text == "upstream" => Ok(AccessField::Upstream),
        None if text == "close_code" => Ok(AccessField::CloseCode),
        Some(("header", name)) => named(name).map(AccessField::Header),
        Some(("response_header", name)) => named(name).map(AccessField::ResponseHeader),
        _ => Err("`upstream`, `user_agent`, `close_code`, `header:NAME` or `response_header:NAME`".to_owned()),
    }
}
