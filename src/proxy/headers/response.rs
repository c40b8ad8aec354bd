//! The answer's headers, from the provider's to the client's.
//!
//! `Date` is not touched: the HTTP server adds one where it is missing (RFC 9110 6.6.1).

use super::id::{REQUEST_ID, UPSTREAM_REQUEST_ID};
use super::{Fields, RouteHeaders, connection_listed};
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA, WWW_AUTHENTICATE,
};
use http::{Uri, Version};

/// How clients reach this gateway.
#[derive(Clone, Copy, Debug)]
pub struct PublicAddress<'a> {
    /// The configured one; the other two are then of no interest.
    pub url: Option<&'a Uri>,
    /// Whether the client came over TLS.
    pub tls: bool,
    /// The host it asked for, from [`super::authority`].
    pub authority: Option<&'a str>,
}

impl PublicAddress<'_> {
    /// `https://gateway.example/base`, without a slash at the end; empty when the client did not say where it called.
    fn origin(&self) -> String {
        match (self.url, self.authority) {
            (Some(url), _) => url.to_string().trim_end_matches('/').to_owned(),
            (None, Some(authority)) => format!("{}://{authority}", if self.tls { "https" } else { "http" }),
            (None, None) => String::new(),
        }
    }

    fn path(&self) -> &str {
        self.url.map_or("", |url| url.path().trim_end_matches('/'))
    }
}

/// Everything that decides what an answer's headers become.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The version it came in.
    pub version: Version,
    /// The route it came by.
    pub route: &'a RouteHeaders,
    /// Which of the route's upstreams answered.
    pub upstream: usize,
    /// The request's id.
    pub request_id: &'a HeaderValue,
    /// Where locations shall point.
    pub public: PublicAddress<'a>,
}

/// Turns the provider's headers into those for the client. What frames the body has been settled by `upstream`.
pub fn prepare_response(headers: &mut HeaderMap, answer: &Incoming<'_>) {
    let fields = Fields::of(headers);
    remove_what_ends_here(headers, fields);
    headers.append(VIA, via(answer.version));
    let own = headers.insert(REQUEST_ID, answer.request_id.clone());
    if let Some(own) = own.filter(|own| own != answer.request_id) {
        headers.insert(UPSTREAM_REQUEST_ID, own);
    }
    if fields.may_have(Fields::LOCATION) {
        rewrite_location(headers, LOCATION, answer);
    }
    if fields.may_have(Fields::CONTENT_LOCATION) {
        rewrite_location(headers, CONTENT_LOCATION, answer);
    }
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

/// The fields of an interim answer that go on to the client. It has no content, so that none of them may speak of one
/// (RFC 9110 8.6, RFC 9112 6.1).
pub(crate) fn interim_headers(mut headers: HeaderMap) -> HeaderMap {
    let fields = Fields::of(&headers);
    remove_what_ends_here(&mut headers, fields);
    headers.remove(CONTENT_LENGTH);
    headers
}

fn remove_what_ends_here(headers: &mut HeaderMap, fields: Fields) {
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

/// Makes a location at the provider one at this gateway, so that whoever follows it still comes through here.
fn rewrite_location(headers: &mut HeaderMap, name: HeaderName, answer: &Incoming<'_>) {
    let Some(location) = headers.get(&name).and_then(|value| value.to_str().ok()) else { return };
    if let Some(rewritten) = rewritten(location, answer).and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(name, rewritten);
    }
}

/// The location as clients must see it; `None` when it is right as it is or not ours to change.
fn rewritten(location: &str, answer: &Incoming<'_>) -> Option<String> {
    let RouteHeaders { upstreams, prefix, .. } = answer.route;
    let (origin, target, base_path) = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            (answer.public.path().to_owned(), location, &upstreams.get(answer.upstream)?.base_path)
        }
        _ => {
            let named = upstreams.iter().find_map(|at| Some((path_at(location, &at.host, at.port)?, &at.base_path)));
            let (target, base_path) = named?;
            (answer.public.origin(), target, base_path)
        }
    };
    let rest = target.strip_prefix(base_path.as_str())?;
    // `/base` must not swallow the beginning of `/basement`.
    if !(rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
        return None;
    }
    let changed = format!("{origin}{prefix}{rest}");
    let changed = if changed.starts_with(['?', '#']) || changed.is_empty() { format!("/{changed}") } else { changed };
    (changed != location).then_some(changed)
}

/// What follows the authority in an absolute or network-path reference to this host and port.
fn path_at<'l>(location: &'l str, host: &str, port: u16) -> Option<&'l str> {
    let (scheme, rest) = location.split_once("//")?;
    let default_port = match scheme {
        "" => port,
        _ if scheme.eq_ignore_ascii_case("https:") => 443,
        _ if scheme.eq_ignore_ascii_case("http:") => 80,
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority: http::uri::Authority = authority.parse().ok()?;
    let same_host = authority.host().trim_matches(['[', ']']).eq_ignore_ascii_case(host.trim_matches(['[', ']']));
    // A provider that redirects between its own http and https means itself in both.
    let named = authority.port_u16().unwrap_or(default_port);
    let same_port =
        named == port || authority.port_u16().is_none_or(|given| given == default_port) && matches!(port, 80 | 443);
    (same_host && same_port && !authority.as_str().contains('@')).then_some(path)
}
