//! Headers as people write them, in and out.

mod check;
mod credentials;
mod fields;
mod request;
mod response;

use super::*;
use crate::canon::ProfileSpec;
use crate::canon::spec::SecretsSpec;
use crate::config::secret::Secret;
use crate::config::types::{Credentials, Spellings, SubprotocolPlace, Upstream};
use crate::proxy::tests::{route, route_with};
use http::request::Parts;
use http::{Method, Request};
use proptest::prelude::*;
use std::time::SystemTime;

/// `name: value` lines to a map.
fn map(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("a colon");
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).expect("a value");
        headers.append(name.parse::<HeaderName>().expect("a name"), value);
    }
    headers
}

/// A map to sorted `name: value` lines; same-named ones keep their order.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
    lines
}

/// `GET /x HTTP/1.1` to its parts.
fn parts(request: &str, headers: &[&str]) -> Parts {
    let mut words = request.split(' ');
    let mut word = || words.next().expect("three words");
    let builder = Request::builder().method(word()).uri(word()).version(match word() {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/2" => Version::HTTP_2,
        _ => Version::HTTP_11,
    });
    let (mut parts, ()) = builder.body(()).expect("a request").into_parts();
    parts.headers = map(headers);
    parts
}

const HANDSHAKE: [&str; 5] = [
    "host: x",
    "connection: keep-alive, Upgrade",
    "upgrade: WebSocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// Credentials that are put nowhere yet.
fn credentials(value: &str) -> Credentials {
    let value = Secret::new(value.to_owned());
    Credentials {
        value,
        header: None,
        query: None,
        subprotocol: None,
        first_message: None,
        spellings: Spellings::default(),
    }
}

/// A route whose provider knows the keys `xi-api-key` and `?api_key=`.
fn keyed(inject: bool) -> RouteHeaders {
    let secrets = SecretsSpec {
        headers: vec!["xi-api-key".to_owned(), "x_legacy_key".to_owned()],
        query: vec!["api_key".to_owned(), "client_secret".to_owned()],
        ..SecretsSpec::default()
    };
    let mut route = route_with("/el", ProfileSpec { secrets, ..ProfileSpec::default() });
    let injected = ["injected", "injected too"]
        .map(|value| Credentials { header: Some(HeaderName::from_static("xi-api-key")), ..credentials(value) });
    route.credentials = if inject { injected.to_vec() } else { Vec::new() };
    RouteHeaders::new(&route).expect("headers")
}

/// How a request's headers come out; `Host`, `Via` and the rest that is always there are checked and left out.
fn sent(given: &[&str], trust_forwarded: bool, inject: bool) -> Vec<String> {
    let mut headers = map(given);
    let fields = Fields::of(&headers);
    let id = request_id(&headers, fields, SystemTime::now());
    let peer = PeerHeaders::new(Some([192, 0, 2, 7].into()), false);
    let identity = Identity::new("01INSTANCE").expect("an id");
    let out = Outgoing {
        fields,
        method: &Method::OPTIONS,
        version: Version::HTTP_11,
        authority: None,
        websocket: false,
        peer: &peer,
        route: &keyed(inject),
        destination: Destination::default(),
        identity: &identity,
        request_id: &id,
        trust_forwarded,
    };
    prepare_request(&mut headers, &out);
    assert_eq!(headers.get_all("via").iter().next_back().expect("via"), "1.1 speechgate (01INSTANCE)");
    let mut rest = lines(&headers);
    for always in [
        "host: api.example.com",
        "via: 1.1 speechgate (01INSTANCE)",
        &format!("x-request-id: {}", id.to_str().expect("text")),
    ] {
        let at = rest.iter().position(|line| line == always).unwrap_or_else(|| panic!("{always} in {rest:?}"));
        rest.remove(at);
    }
    if !trust_forwarded {
        for always in ["forwarded: for=192.0.2.7;proto=http", "x-forwarded-for: 192.0.2.7", "x-forwarded-proto: http"] {
            let at = rest.iter().position(|line| line == always).unwrap_or_else(|| panic!("{always} in {rest:?}"));
            rest.remove(at);
        }
    }
    rest
}

#[test]
fn request_ids_are_kept_when_they_are_fit() {
    let long = format!("x-request-id: {}", "a".repeat(129));
    for (given, kept) in [
        (&["x-request-id: 550e8400-e29b-41d4-a716-446655440000"][..], true),
        (&["x-request-id: a/b+c=@d:e._-"], true),
        (&["x-request-id: a", "x-request-id: b"], false),
        (&["x-request-id: a", "x-request-id: a"], false),
        (&["x-request-id:"], false),
        (&["x-request-id: a\"b"], false),
        (&["x-request-id: a b"], false),
        (&["x-request-id: a\tb"], false),
        (&["x-request-id: caf\u{e9}"], false),
        (&[long.as_str()], false),
        (&[], false),
    ] {
        let headers = map(given);
        let id = request_id(&headers, Fields::of(&headers), SystemTime::now());
        let text = id.to_str().expect("text");
        let same = given.first().is_some_and(|line| line.split_once(": ").is_some_and(|(_, value)| value == text));
        assert_eq!(same, kept, "{given:?}");
        assert!(kept || text.len() == 26, "{text}");
    }
    assert_ne!(new_request_id(), new_request_id());
}

#[test]
fn trailers_bring_nothing_that_the_header_section_settles() {
    let mut trailers = HeaderMap::new();
    let spec = SecretsSpec { headers: vec!["xi-api-key".to_owned()], ..SecretsSpec::default() };
    let route =
        RouteHeaders::new(&route_with("", ProfileSpec { secrets: spec, ..ProfileSpec::default() })).expect("headers");
    let names = [
        "x-sum",
        "authorization",
        "host",
        "x-forwarded-for",
        "x-request-id",
        "via",
        "te",
        "x_api_key",
        "cookie",
        "xi-api-key",
    ];
    for name in names {
        trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("a"));
    }
    super::clean_trailers(&mut trailers, &route);
    let left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["x-sum"]);
}
