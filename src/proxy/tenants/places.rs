//! Where a request has its gateway key: where its SDK puts the provider's, or in a header of its own.

use crate::proxy::gateway_key::key_in;
use crate::proxy::headers::{Fields, RouteHeaders, list};
use crate::proxy::path::{decode, is_one_of, parameter_name};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderName, request};

/// The header for clients that also send a key of the provider. It is never forwarded.
pub(crate) const OWN: HeaderName = HeaderName::from_static("x-speechgate-key");

/// The key in a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A gateway key, or something that looks like one.
    Key(Vec<u8>, Place),
    /// A key of another kind.
    Other,
    /// None.
    Nothing,
}

/// Where a key was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the header for gateway keys.
    Own,
    /// Where the provider's key belongs.
    Provider,
}

/// The gateway key of a request on this route. The header for gateway keys takes precedence; of several keys in the provider's
/// places, the first counts.
pub(crate) fn find(parts: &request::Parts, fields: Fields, route: &RouteHeaders) -> Sent {
    if let Some(value) = parts.headers.get(OWN) {
        return key_in(value.as_bytes()).map_or(Sent::Other, |key| Sent::Key(key, Place::Own));
    }
    let mut any = false;
    let mut look = |value: &[u8]| {
        any |= !value.trim_ascii().is_empty();
        key_in(value)
    };
    let in_headers = route.keys(&parts.headers, fields).find_map(|value| look(value.as_bytes()));
    let found = in_headers.or_else(|| {
        let pairs = parts.uri.query().unwrap_or_default().split(['&', ';']);
        let mut pairs = pairs.filter(|pair| is_one_of(&parameter_name(pair), route.secret_query()));
        pairs.find_map(|pair| look(&decode(pair.split_once('=').map_or("", |(_, value)| value).as_bytes())))
    });
    let found = found.or_else(|| {
        let offered: Vec<Vec<u8>> = list(&parts.headers, &SEC_WEBSOCKET_PROTOCOL).map(<[u8]>::to_vec).collect();
        route.subprotocol_places().secrets(&offered).iter().find_map(|secret| look(secret.as_bytes()))
    });
    match found {
        Some(key) => Sent::Key(key, Place::Provider),
        None if any => Sent::Other,
        None => Sent::Nothing,
    }
}
