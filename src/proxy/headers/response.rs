//! Prepares the headers of a response for the client.
//!
//! `Date` is unchanged: the HTTP server adds one where it is missing (RFC 9110 6.6.1).

use super::id::{REQUEST_ID, UPSTREAM_REQUEST_ID};
use super::rewrite::{Incoming, rewrite};
use super::{Fields, connection_listed};
use http::Version;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA, WWW_AUTHENTICATE,
};

/// Turns the provider's headers into those for the client. `upstream` has already handled the framing of the body.
pub fn prepare_response(headers: &mut HeaderMap, answer: &Incoming<'_>) {
    turn(headers, answer);
    headers.append(VIA, via(answer.version));
    headers.insert(REQUEST_ID, answer.request_id.clone());
    answer.route.change_response(headers);
}

/// The same for the 101 that completes a WebSocket handshake: fields that frame a body are removed, and `Connection` and
/// `Upgrade` are set anew for this hop.
pub(crate) fn prepare_handshake(headers: &mut HeaderMap, answer: &Incoming<'_>) {
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, SEC_WEBSOCKET_EXTENSIONS] {
        headers.remove(name);
    }
    prepare_response(headers, answer);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// The same for fields outside the head of the final response: those of an informational response, and trailers. They neither
/// frame nor describe a body (RFC 9110 6.5.1, 8.6, RFC 9112 6.1), and CORS is decided in the head alone.
pub(crate) fn prepare_beside(headers: &mut HeaderMap, answer: &Incoming<'_>) {
    turn(headers, answer);
    let settled = |name: &HeaderName| {
        matches!(*name, CONTENT_LENGTH | CONTENT_ENCODING | CONTENT_TYPE | CONTENT_RANGE | TRAILER)
            || *name == REQUEST_ID
            || name.as_str().starts_with("access-control-")
    };
    for name in headers.keys().filter(|name| settled(name)).cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    answer.route.take_from_response(headers);
}

/// Changes that apply to the fields of heads, informational responses and trailers alike.
fn turn(headers: &mut HeaderMap, answer: &Incoming<'_>) {
    let fields = Fields::of(headers);
    remove_what_ends_here(headers, fields);
    if fields.may_have(Fields::REQUEST_ID) {
        let theirs = headers.insert(REQUEST_ID, answer.request_id.clone());
        if let Some(theirs) = theirs.filter(|theirs| theirs != answer.request_id) {
            headers.insert(UPSTREAM_REQUEST_ID, theirs);
        }
    }
    rewrite(headers, fields, answer);
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
