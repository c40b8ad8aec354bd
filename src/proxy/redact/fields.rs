//! Removes keys from header fields of responses, informational responses and trailers.

use super::{ClientKeys, Instead, RouteKeys, clean};
use http::StatusCode;
use http::header::{DATE, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE};

/// The keys that must not be shown in response fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hidden<'k> {
    /// The keys of the route.
    pub(crate) route: &'k RouteKeys,
    /// The keys of the client.
    pub(crate) client: &'k ClientKeys,
    /// The keys in the client's query; used for errors only.
    pub(crate) query: &'k [String],
}

/// Removes keys from response fields; `has_url` tells whether clients follow URLs in a field.
pub(crate) fn clean_fields(
    headers: &mut HeaderMap,
    status: StatusCode,
    hidden: Hidden<'_>,
    has_url: impl Fn(&HeaderName) -> bool,
) {
    let Hidden { route, client, query } = hidden;
    if route.is_empty() && client.is_empty() && query.is_empty() {
        return;
    }
    // A client needs its own key in a URL to follow and in a cookie to send back, so only an error is cleaned of it.
    let errors = (status.is_client_error() || status.is_server_error()).then(|| client.with(query));
    let in_names: Vec<HeaderName> = headers.keys().filter(|name| route.is_in_name(name)).cloned().collect();
    for name in in_names {
        let _ = headers.remove(name);
    }
    let mut in_date = false;
    for (name, value) in headers.iter_mut() {
        // The handshake still needs the selected subprotocol, and later replaces it with the client's own.
        if *name == SEC_WEBSOCKET_PROTOCOL && status == StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let may_be_theirs = || client.may_be_in(value.as_bytes()) && !has_url(name) && *name != SET_COOKIE;
        let success = (errors.is_none() && may_be_theirs()).then(|| client.with(&[]));
        let client = errors.as_ref().or(success.as_ref());
        // No spelling is shorter than the key itself.
        if client.is_none() && (route.is_empty() || value.len() < route.shortest) {
            continue;
        }
        let instead = if has_url(name) { Instead::Nothing } else { Instead::Stars };
        if let Some(cleaned) = clean(value.as_bytes(), route, client, instead) {
            in_date |= *name == DATE;
            *value = HeaderValue::from_bytes(&cleaned).unwrap_or(HeaderValue::from_static(super::STARS));
        }
    }
    // A redacted date is invalid; without one, this gateway sets it (RFC 9110 6.6.1).
    if in_date {
        let _ = headers.remove(DATE);
    }
}
