//! The answer's headers, from the provider's to the client's.
//!
//! `Date` is not touched: the HTTP server adds one where it is missing (RFC 9110 6.6.1).

use super::id::{REQUEST_ID, UPSTREAM_REQUEST_ID};
use super::rewrite::{Incoming, rewrite};
use super::{Fields, connection_listed};
use http::Version;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VIA, WWW_AUTHENTICATE,
};

/// Turns the provider's headers into those for the client. What frames the body has been settled by `upstream`.
pub fn prepare_response(headers: &mut HeaderMap, answer: &Incoming<'_>) {
    let fields = Fields::of(headers);
    remove_what_ends_here(headers, fields);
    headers.append(VIA, via(answer.version));
    let own = headers.insert(REQUEST_ID, answer.request_id.clone());
    if let Some(own) = own.filter(|own| own != answer.request_id) {
        headers.insert(UPSTREAM_REQUEST_ID, own);
    }
    rewrite(headers, fields, answer);
    answer.route.change_response(headers);
}

/// The same for the 101 that completes a WebSocket handshake: what framed a body goes, and what says that the protocol changes
/// is this hop's own again once the provider's has ended here.
pub(crate) fn prepare_handshake(headers: &mut HeaderMap, answer: &Incoming<'_>) {
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, SEC_WEBSOCKET_EXTENSIONS] {
        headers.remove(name);
    }
    prepare_response(headers, answer);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// The fields of an informational response that go on to the client. It has no content, so that none of them may speak of one
/// (RFC 9110 8.6, RFC 9112 6.1).
pub(crate) fn informational_headers(mut headers: HeaderMap) -> HeaderMap {
    let fields = Fields::of(&headers);
    remove_what_ends_here(&mut headers, fields);
    headers.remove(CONTENT_LENGTH);
    headers
}

fn remove_what_ends_here(headers: &mut HeaderMap, fields: Fields) {
    if fields.may_have(Fields::OF_THE_ORIGIN) {
        let ends = |name: &&HeaderName| Fields::named(name).may_have(Fields::OF_THE_ORIGIN);
        for name in headers.keys().filter(ends).cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }
    if !fields.may_have(Fields::OF_THE_ANSWERS_HOP) {
        return;
    }
    if fields.may_have(Fields::CONNECTION) {
        let keep = |name: &HeaderName| {
            matches!(
                *name,
                CONTENT_ENCODING
                    | CONTENT_LENGTH
                    | CONTENT_TYPE
                    | LOCATION
                    | SEC_WEBSOCKET_ACCEPT
                    | SEC_WEBSOCKET_PROTOCOL
                    | SET_COOKIE
                    | VIA
                    | WWW_AUTHENTICATE
            )
        };
        for name in connection_listed(headers, fields, keep) {
            headers.remove(name);
        }
    }
    for name in fields.among(Fields::OF_THE_ANSWERS_HOP).hop_by_hop() {
        headers.remove(name);
    }
}

fn via(received: Version) -> HeaderValue {
    match received {
        Version::HTTP_10 => const { HeaderValue::from_static("1.0 speechgate") },
        Version::HTTP_2 => const { HeaderValue::from_static("2 speechgate") },
        _ => const { HeaderValue::from_static("1.1 speechgate") },
    }
}
