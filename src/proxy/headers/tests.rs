//! Headers as people write them, in and out.

use super::*;
use crate::canon::ProfileSpec;
use crate::canon::spec::SecretsSpec;
use crate::config::secret::Secret;
use crate::config::types::{Credentials, Spellings, SubprotocolPlace};
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

/// What the check of a request with these parts says.
fn checked(parts: &Parts, max_target_bytes: usize) -> Result<Checked, Fault> {
    check_request(parts, Fields::of(&parts.headers), max_target_bytes)
}

const HANDSHAKE: [&str; 5] = [
    "host: x",
    "connection: keep-alive, Upgrade",
    "upgrade: WebSocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
];

#[test]
fn requests_are_refused_or_pass() {
    let plain = Ok(Checked { websocket: false, answer_here: false });
    let here = Ok(Checked { websocket: false, answer_here: true });
    for (request, headers, expected) in [
        ("GET /x HTTP/1.1", &["host: a.example"][..], plain),
        ("GET /x HTTP/1.1", &["host: a.example:8080"], plain),
        ("GET /x HTTP/1.1", &["host: a_b.example:"], plain),
        ("GET /x HTTP/1.1", &["host: [::1]:80"], plain),
        ("GET /x HTTP/1.0", &[], plain),
        ("GET http://a/x HTTP/1.1", &["host: b"], plain),
        ("GET https://a/x HTTP/2", &[], plain),
        ("GET https://a/x HTTP/2", &["host: b"], plain),
        ("GET /x HTTP/2", &["host: b"], plain),
        ("PURGE /x HTTP/1.1", &["host: a"], plain),
        // Host
        ("GET /x HTTP/1.1", &[], Err(Fault::BadHost)),
        ("GET /x HTTP/2", &[], Err(Fault::BadHost)),
        ("GET http://a/x HTTP/1.1", &[], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a", "host: a"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host:"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a b"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a,b"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a/b"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: user@a"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: http://a"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a:80:80"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a:+80"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a:65536"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: :80"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: [::1"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: [zz]"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: ::1"], Err(Fault::BadHost)),
        ("GET http://u@a/x HTTP/1.1", &["host: a"], Err(Fault::BadHost)),
        // Target and method
        ("GET ftp://a/x HTTP/1.1", &["host: a"], Err(Fault::BadRequest)),
        ("GET a:80 HTTP/1.1", &["host: a"], Err(Fault::BadRequest)),
        ("GET * HTTP/1.1", &["host: a"], Err(Fault::BadPath)),
        ("OPTIONS * HTTP/1.1", &["host: a"], here),
        ("OPTIONS /x HTTP/1.1", &["host: a", "max-forwards: 0"], here),
        ("OPTIONS /x HTTP/1.1", &["host: a", "max-forwards: 1"], plain),
        ("GET /x HTTP/1.1", &["host: a", "max-forwards: 0"], plain),
        ("TRACE /x HTTP/1.1", &["host: a"], Err(Fault::MethodRefused)),
        ("CONNECT a:443 HTTP/1.1", &["host: a:443"], Err(Fault::MethodRefused)),
        ("GET /12345678901234567890123456789012 HTTP/1.1", &["host: a"], Err(Fault::TargetTooLong)),
        // Framing
        ("POST /x HTTP/1.1", &["host: a", "content-length: 5"], plain),
        ("POST /x HTTP/1.1", &["host: a", "transfer-encoding: Chunked"], plain),
        ("POST /x HTTP/1.1", &["host: a", "content-length: 5", "content-length: 5"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "content-length: +5"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "content-length: 5, 5"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "content-length:"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "content-length: 5", "transfer-encoding: chunked"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "transfer-encoding: gzip, chunked"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "transfer-encoding: chunked, chunked"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "transfer-encoding: identity"], Err(Fault::BadRequest)),
        (
            "POST /x HTTP/1.1",
            &["host: a", "transfer-encoding: gzip", "transfer-encoding: chunked"],
            Err(Fault::BadRequest),
        ),
        (
            "POST /x HTTP/1.1",
            &["host: a", "transfer-encoding: chunked", "transfer-encoding: chunked"],
            Err(Fault::BadRequest),
        ),
        (
            "POST /x HTTP/1.1",
            &["host: a", "transfer-encoding: chunked", "transfer-encoding: identity"],
            Err(Fault::BadRequest),
        ),
        ("POST /x HTTP/1.0", &["host: a", "transfer-encoding: chunked"], Err(Fault::BadRequest)),
        // Wishes to upgrade that are ignored
        ("GET /x HTTP/1.1", &["host: a", "upgrade: websocket"], plain),
        ("GET /x HTTP/1.1", &["host: a", "upgrade: h2c", "connection: upgrade, http2-settings"], plain),
    ] {
        assert_eq!(checked(&parts(request, headers), 32), expected, "{request} {headers:?}");
    }
}

#[test]
fn only_a_proper_handshake_upgrades() {
    let check =
        |request: &str, headers: &[&str]| checked(&parts(request, headers), 99).map(|checked| checked.websocket);
    assert_eq!(check("GET /x HTTP/1.1", &HANDSHAKE), Ok(true));
    assert_eq!(check("GET /x HTTP/1.0", &HANDSHAKE), Ok(false));
    assert_eq!(check("POST /x HTTP/1.1", &HANDSHAKE), Err(Fault::UpgradeRefused));
    for (at, wrong) in [
        (3, "x: no version"),
        (4, "sec-websocket-key: c2hvcnQ="),
        (4, "x: no key"),
        (4, "sec-websocket-key: dGhlIHNhbXBsZSBub25j!!=="),
    ] {
        let mut headers = HANDSHAKE;
        headers[at] = wrong;
        assert_eq!(check("GET /x HTTP/1.1", &headers), Err(Fault::UpgradeRefused), "{wrong}");
    }
    let mut headers = HANDSHAKE;
    headers[3] = "sec-websocket-version: 8";
    assert_eq!(check("GET /x HTTP/1.1", &headers), Err(Fault::UpgradeVersion));
    for extra in ["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "content-length: 5", "transfer-encoding: chunked"] {
        let headers: Vec<&str> = HANDSHAKE.into_iter().chain([extra]).collect();
        assert_eq!(check("GET /x HTTP/1.1", &headers), Err(Fault::UpgradeRefused), "{extra}");
    }
}

#[test]
fn the_target_names_the_host_before_the_field_does() {
    for (request, headers, expected) in [
        ("GET /x HTTP/1.1", &["host: b"][..], Some("b")),
        ("GET http://a:1/x HTTP/1.1", &["host: b"], Some("a:1")),
        ("GET https://a/x HTTP/2", &["host: b"], Some("a")),
        ("GET /x HTTP/1.0", &[], None),
    ] {
        assert_eq!(authority(&parts(request, headers)), expected.map(HeaderValue::from_static));
    }
}

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
fn request_headers_change_as_they_must() {
    for (given, expected) in [
        (
            &["accept: */*", "accept-encoding: gzip", "x-unknown: 1", "x-unknown: 2"][..],
            &["accept: */*", "accept-encoding: gzip", "x-unknown: 1", "x-unknown: 2"][..],
        ),
        (&["host: gate.example:8080"], &["x-forwarded-host: gate.example:8080"]),
        // Hop by hop
        (
            &[
                "connection: keep-alive",
                "keep-alive: timeout=5",
                "te: trailers",
                "upgrade: h2c",
                "expect: 100-continue",
            ],
            &[],
        ),
        // Trailers are announced to the provider as they are to us: without that, hyper does not send them.
        (&["trailer: x"], &["trailer: x"]),
        (
            &[
                "transfer-encoding: chunked",
                "proxy-connection: close",
                "proxy-authorization: Basic x",
                "http2-settings: x",
            ],
            &[],
        ),
        (&["connection: x-a, ,X-B", "connection: close", "x-a: 1", "x-b: 2", "x-c: 3"], &["x-c: 3"]),
        (
            &[
                "connection: authorization, xi-api-key, content-length, cookie",
                "authorization: a",
                "xi-api-key: b",
                "content-length: 3",
                "cookie: c=d",
            ],
            &["authorization: a", "content-length: 3", "cookie: c=d", "xi-api-key: b"],
        ),
        (&["connection: x-forwarded-for, x-request-id, via, host, forwarded", "via: 1.1 front"], &["via: 1.1 front"]),
        // What a client cannot claim
        (
            &[
                "x-forwarded-for: 1.2.3.4",
                "x-forwarded-proto: https",
                "x-forwarded-host: evil",
                "x-forwarded-prefix: /",
                "x-forwarded-client-cert: x",
                "forwarded: for=1.2.3.4",
                "x-real-ip: 1.2.3.4",
                "x-original-url: /admin",
                "x-rewrite-url: /admin",
                "x-envoy-internal: true",
                "proxy: http://evil",
                "x-accel-redirect: /x",
                "x-speechgate-anything: 1",
            ],
            &[],
        ),
        (&["x-speechgate-fault: 500", "x-speechgate-priority: high"], &["x-speechgate-fault: 500"]),
        (&["x_api_key: 1", "content_type: x", "transfer_encoding: chunked", "x_forwarded_for: 1.2.3.4"], &[]),
        (&["x_legacy_key: the provider's own spelling"], &["x_legacy_key: the provider's own spelling"]),
        // HTTP/2 crumbs
        (&["cookie: a=1", "cookie: b=2", "cookie: c=3"], &["cookie: a=1; b=2; c=3"]),
        // Trace context
        (
            &["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=b,c@d=e"],
            &["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=b,c@d=e"],
        ),
        (
            &["traceparent: cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
            &["traceparent: cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
        ),
        (&["traceparent: 00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=b"], &[]),
        (&["traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01"], &[]),
        (&["traceparent: 00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"], &[]),
        (&["traceparent: ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], &[]),
        (&["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"], &[]),
        (&["traceparent: a", "traceparent: b"], &[]),
        (&["tracestate: a=b"], &[]),
        (
            &["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: nonsense"],
            &["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        ),
        // Max-Forwards on OPTIONS
        (&["max-forwards: 7"], &["max-forwards: 6"]),
        (&["max-forwards: x"], &[]),
    ] {
        assert_eq!(sent(given, false, false), expected, "{given:?}");
    }
}

#[test]
fn a_trusted_proxy_in_front_is_believed_and_added_to() {
    let given = [
        "x-forwarded-for: 1.2.3.4",
        "x-forwarded-for: 5.6.7.8",
        "x-forwarded-proto: https",
        "x-forwarded-host: a",
        "forwarded: for=1.2.3.4",
        "x-real-ip: 1.2.3.4",
        "x-envoy-internal: true",
        "x-forwarded-client-cert: x",
    ];
    let expected = [
        "forwarded: for=1.2.3.4, for=192.0.2.7;proto=http",
        "x-forwarded-for: 1.2.3.4, 5.6.7.8, 192.0.2.7",
        "x-forwarded-host: a",
        "x-forwarded-proto: https",
        "x-real-ip: 1.2.3.4",
    ];
    assert_eq!(sent(&given, true, false), expected);
}

#[test]
fn injected_credentials_replace_every_key_of_the_caller() {
    let given =
        ["authorization: Bearer mine", "xi-api-key: mine", "xi-api-key: mine too", "x_legacy_key: mine", "x-other: 1"];
    assert_eq!(sent(&given, false, true), ["x-other: 1", "xi-api-key: injected"]);
    let mut kept: Vec<String> = given.iter().map(|line| (*line).to_owned()).collect();
    kept.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
    assert_eq!(sent(&given, false, false), kept);
    // A session's own secret is not the client's key.
    assert_eq!(keyed(true).drop_query(false), ["api_key"]);
    assert!(keyed(false).drop_query(false).is_empty());
    assert!(!format!("{:?}", keyed(true)).contains("injected"));
}

/// A route with two credentials in these places.
fn placed(place: impl Fn(&mut Credentials)) -> RouteHeaders {
    let mut route = route_with("/el", ProfileSpec::default());
    route.credentials = ["sk 1", "sk 2"].map(credentials).to_vec();
    route.credentials.iter_mut().for_each(place);
    RouteHeaders::new(&route).expect("headers")
}

#[test]
fn credentials_go_where_they_are_to_stand() {
    let header = |one: &mut Credentials| one.header = Some(HeaderName::from_static("x-k"));
    let query = |one: &mut Credentials| one.query = Some("token".to_owned());
    let both = |one: &mut Credentials| (header(one), query(one)).0;
    let message = |one: &mut Credentials| one.first_message = Some("key".to_owned());
    let target = |headers: &RouteHeaders, target: &str, websocket| {
        let target = target.parse().expect("a target");
        headers.target(target, Destination::default(), websocket).expect("a target").to_string()
    };
    for (headers, websocket, given, expected) in [
        (placed(header), true, "/x", "/x"),
        (placed(query), false, "/x", "/x?token=sk%201"),
        (placed(query), true, "/x?a=1", "/x?a=1&token=sk%201"),
        (placed(query), true, "/x?", "/x?token=sk%201"),
        (placed(both), true, "/x", "/x?token=sk%201"),
        (placed(both), false, "/x", "/x"),
        (placed(message), true, "/x", "/x"),
    ] {
        assert_eq!(target(&headers, given, websocket), expected);
        assert!(!format!("{headers:?}").contains("sk"), "{headers:?}");
    }
    // What is put in on WebSockets alone takes nothing of the client's anywhere else.
    let drops = |headers: RouteHeaders| [false, true].map(|websocket| !headers.drop_query(websocket).is_empty());
    assert_eq!(drops(placed(both)), [true, true]);
    assert_eq!(placed(message).drop_query(false), [""; 0]);
}

#[test]
fn one_credential_stands_in_for_another() {
    let headers = placed(|one| {
        one.header = Some(HeaderName::from_static("x-k"));
        one.query = Some("token".to_owned());
        one.subprotocol = one.value.reveal().ends_with('2').then(|| SubprotocolPlace::Prefix("t.".to_owned()));
    });
    let [first, second] = [0, 1].map(|account| Destination { account, ..Destination::default() });
    for target in ["/x", "/x?a=1"] {
        let mut parts = http::Request::new(()).into_parts().0;
        parts.uri = headers.target(target.parse().expect("a target"), first, true).expect("a target").into();
        let _ = parts.headers.insert("sec-websocket-protocol", HeaderValue::from_static("v1"));
        let _ = parts.headers.insert("upgrade", HeaderValue::from_static("websocket"));
        let _ = parts.headers.insert("host", HeaderValue::from_static("api.example.com"));
        headers.inject(&mut parts.headers, first, true);
        let before = parts.clone();
        headers.redirect(&mut parts, first, second);
        let separator = if target.contains('?') { '&' } else { '?' };
        assert_eq!(parts.uri.to_string(), format!("{target}{separator}token=sk%202"));
        assert_eq!(parts.headers["x-k"], "sk 2");
        assert_eq!(parts.headers["sec-websocket-protocol"], "v1, t.sk 2");
        headers.redirect(&mut parts, second, first);
        assert_eq!((&parts.uri, &parts.headers), (&before.uri, &before.headers));
    }
}

#[test]
fn a_handshake_keeps_exactly_its_own_upgrade() {
    let mut headers = map(&HANDSHAKE);
    let (peer, identity, id) = (PeerHeaders::new(None, true), Identity::new("I").expect("an id"), new_request_id());
    let out = Outgoing {
        fields: Fields::of(&headers),
        method: &Method::GET,
        version: Version::HTTP_11,
        authority: Some(&"called.example".parse().expect("an authority")),
        websocket: true,
        peer: &peer,
        route: &keyed(false),
        destination: Destination::default(),
        identity: &identity,
        request_id: &id,
        trust_forwarded: false,
    };
    prepare_request(&mut headers, &out);
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "x-forwarded-host: called.example",
        "x-forwarded-proto: https",
        "forwarded: for=unknown;proto=https",
    ] {
        assert!(lines(&headers).iter().any(|there| there == line), "{line}");
    }
    assert!(!headers.contains_key("x-forwarded-for"));
    assert_eq!(identity.check_loop(&headers, Fields::of(&headers)), Err(Fault::Loop));
}

#[test]
fn peers_are_written_as_rfc_7239_wants() {
    for (address, expected) in [
        ("192.0.2.7", "for=192.0.2.7;proto=http"),
        ("2001:db8::7", "for=\"[2001:db8::7]\";proto=http"),
        ("::ffff:192.0.2.7", "for=192.0.2.7;proto=http"),
    ] {
        let peer = PeerHeaders::new(Some(address.parse().expect("an address")), false);
        let identity = Identity::new("I").expect("an id");
        let mut headers = HeaderMap::new();
        let fields = Fields::of(&headers);
        let id = request_id(&headers, fields, SystemTime::now());
        let route = RouteHeaders::new(&route("")).expect("headers");
        let out = Outgoing {
            fields,
            method: &Method::GET,
            version: Version::HTTP_2,
            authority: None,
            websocket: false,
            peer: &peer,
            route: &route,
            destination: Destination::default(),
            identity: &identity,
            request_id: &id,
            trust_forwarded: false,
        };
        prepare_request(&mut headers, &out);
        assert_eq!(headers["forwarded"], expected);
        assert_eq!(headers["via"], "2 speechgate (I)");
    }
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

/// How an answer's headers come out by a route with this prefix and upstream base path.
fn answered(given: &[&str], prefix: &str, base: &str, public: PublicAddress<'_>) -> Vec<String> {
    let mut headers = map(given);
    let mut route = route(prefix);
    base.clone_into(&mut route.upstreams[0].base_path);
    let route = RouteHeaders::new(&route).expect("headers");
    let id = HeaderValue::from_static("ours");
    prepare_response(
        &mut headers,
        &Incoming { version: Version::HTTP_11, route: &route, upstream: 0, request_id: &id, public },
    );
    let mut rest = lines(&headers);
    rest.retain(|line| !matches!(line.as_str(), "via: 1.1 speechgate" | "x-request-id: ours"));
    assert!(headers.get_all(REQUEST_ID).iter().eq([&id]));
    rest
}

/// The list of what ends here is one: fields that `Connection` names beside the upgrade went on to the client of a WebSocket.
#[test]
fn a_completed_handshake_keeps_nothing_of_the_other_hop() {
    let mut headers = map(&[
        "connection: Upgrade, x-private, sec-websocket-accept",
        "upgrade: WebSocket",
        "x-private: 1",
        "sec-websocket-accept: a",
        "sec-websocket-extensions: x",
        "content-length: 7",
        "keep-alive: timeout=5",
    ]);
    let route = RouteHeaders::new(&route("/x")).expect("headers");
    let id = HeaderValue::from_static("ours");
    let answer = Incoming { version: Version::HTTP_11, route: &route, upstream: 0, request_id: &id, public: PUBLIC };
    prepare_handshake(&mut headers, &answer);
    let mut rest = lines(&headers);
    rest.retain(|line| !matches!(line.as_str(), "via: 1.1 speechgate" | "x-request-id: ours"));
    assert_eq!(rest, ["connection: upgrade", "sec-websocket-accept: a", "upgrade: websocket"]);
}

const PUBLIC: PublicAddress<'_> = PublicAddress { url: None, tls: false, authority: Some("gate.example:8080") };

/// Which headers of a success change: these, and no others.
#[test]
fn response_headers_change_as_they_must() {
    for (given, expected) in [
        // Untouched, in order
        (
            &[
                "server: x",
                "date: y",
                "etag: z",
                "content-length: 5",
                "content-encoding: gzip",
                "set-cookie: a=1",
                "set-cookie: b=2; Secure",
            ][..],
            &[
                "content-encoding: gzip",
                "content-length: 5",
                "date: y",
                "etag: z",
                "server: x",
                "set-cookie: a=1",
                "set-cookie: b=2; Secure",
            ][..],
        ),
        (
            &["x-ratelimit-remaining: 1", "request-id: p", "trailer: x"],
            &["request-id: p", "trailer: x", "x-ratelimit-remaining: 1"],
        ),
        // Ends here
        (
            &[
                "connection: close",
                "keep-alive: timeout=5",
                "alt-svc: h3=\":443\"",
                "upgrade: h2c",
                "proxy-authenticate: Basic",
            ],
            &[],
        ),
        (&["connection: x-a", "x-a: 1", "x-b: 2"], &["x-b: 2"]),
        (
            &["connection: content-type, content-length", "content-type: audio/mpeg", "content-length: 1"],
            &["content-length: 1", "content-type: audio/mpeg"],
        ),
        (&["via: 1.1 varnish"], &["via: 1.1 varnish"]),
        // Ids
        (&["x-request-id: theirs"], &["x-upstream-request-id: theirs"]),
        (&["x-request-id: ours"], &[]),
    ] {
        assert_eq!(answered(given, "/el", "", PUBLIC), expected, "{given:?}");
    }
}

#[test]
fn locations_at_the_provider_become_locations_here() {
    for (prefix, base, location, expected) in [
        ("/el", "", "https://api.example.com/v1/x?a=b#c", "http://gate.example:8080/el/v1/x?a=b#c"),
        ("/el", "", "https://API.example.com:443/v1/x", "http://gate.example:8080/el/v1/x"),
        ("/el", "", "http://api.example.com/v1/x", "http://gate.example:8080/el/v1/x"),
        ("/el", "", "//api.example.com/v1", "http://gate.example:8080/el/v1"),
        ("/el", "", "https://api.example.com", "http://gate.example:8080/el"),
        ("/el", "", "/v1/x", "/el/v1/x"),
        ("/el", "/base", "/base/v1", "/el/v1"),
        ("/el", "/base", "/base", "/el"),
        ("", "/base", "/base?x", "/?x"),
        ("", "", "/v1/x", "/v1/x"),
        // Not ours to change
        ("/el", "/base", "/basement", "/basement"),
        ("/el", "", "v2/x", "v2/x"),
        ("/el", "", "?page=2", "?page=2"),
        ("/el", "", "https://cdn.example.com/audio.mp3", "https://cdn.example.com/audio.mp3"),
        ("/el", "", "https://api.example.com:8443/x", "https://api.example.com:8443/x"),
        ("/el", "", "https://api.example.com@evil.example/x", "https://api.example.com@evil.example/x"),
        ("/el", "", "ftp://api.example.com/x", "ftp://api.example.com/x"),
    ] {
        for name in ["location", "content-location"] {
            let lines = answered(&[&format!("{name}: {location}")], prefix, base, PUBLIC);
            assert_eq!(lines, [format!("{name}: {expected}")], "{prefix} {base}");
        }
    }
    let url: http::Uri = "https://speech.example/gate/".parse().expect("an address");
    for (location, expected) in
        [("https://api.example.com/v1", "https://speech.example/gate/el/v1"), ("/v1", "/gate/el/v1")]
    {
        let public = PublicAddress { url: Some(&url), ..PUBLIC };
        assert_eq!(answered(&[&format!("location: {location}")], "/el", "", public), [format!("location: {expected}")]);
    }
}

/// The fields that are asked for by name, and what stands for each.
const ASKED_FOR: [(HeaderName, Fields); 18] = [
    (header::ACCEPT, Fields::ACCEPT),
    (header::AUTHORIZATION, Fields::AUTHORIZATION),
    (header::CONNECTION, Fields::CONNECTION),
    (header::CONTENT_LENGTH, Fields::CONTENT_LENGTH),
    (header::CONTENT_LOCATION, Fields::CONTENT_LOCATION),
    (header::COOKIE, Fields::COOKIE),
    (header::FORWARDED, Fields::FORWARDED),
    (header::LOCATION, Fields::LOCATION),
    (header::TRANSFER_ENCODING, Fields::TRANSFER_ENCODING),
    (header::UPGRADE, Fields::UPGRADE),
    (header::VIA, Fields::VIA),
    (FORWARDED_FOR, Fields::FORWARDED_FOR),
    (HeaderName::from_static("x-forwarded-host"), Fields::FORWARDED_HOST),
    (HeaderName::from_static("x-forwarded-proto"), Fields::FORWARDED_PROTO),
    (HeaderName::from_static("x-speechgate-priority"), Fields::PRIORITY),
    (REQUEST_ID, Fields::REQUEST_ID),
    (TRACEPARENT, Fields::TRACEPARENT),
    (HeaderName::from_static("tracestate"), Fields::TRACESTATE),
];

/// The table of what this proxy removes has a bit for each name; what every hop removes is listed once, in `wire`.
#[test]
fn connection_specific_fields_are_removed_both_ways() {
    for name in &crate::wire::hop::CONNECTION_SPECIFIC {
        let field = Fields::named(name);
        for removed in [Fields::OF_THE_HOP, Fields::OF_THE_ANSWERS_HOP] {
            assert_eq!(field.among(removed).hop_by_hop().collect::<Vec<_>>(), [name]);
        }
    }
}

#[test]
fn every_name_has_its_own_place_among_the_fields() {
    let mut given = Vec::from(ASKED_FOR);
    for name in &fields::HOP_BY_HOP {
        let field = Fields::named(name);
        assert_eq!(field.hop_by_hop().collect::<Vec<_>>(), [name]);
        if !given.iter().any(|(there, _)| there == name) {
            given.push((name.clone(), field));
        }
    }
    for (name, field) in &given {
        // Names are written in any case.
        let shouted = HeaderName::from_bytes(name.as_str().to_ascii_uppercase().as_bytes()).expect("a name");
        assert_eq!(Fields::named(&shouted), *field, "{name}");
        let same = given.iter().filter(|(_, other)| other.may_have(*field)).count();
        assert_eq!(same, 1, "{name}");
        assert!(!field.may_have(Fields::REPEATED), "{name}");
    }
}

proptest! {
    /// A field that is there is never missed, however many others are there and however often it is.
    #[test]
    fn fields_that_are_there_are_seen(given in prop::collection::vec(0..ASKED_FOR.len() + 3, 0..12)) {
        let name = |at: &usize| match ASKED_FOR.get(*at) {
            Some((name, _)) => name.as_str().to_owned(),
            None => format!("x-other-{at}"),
        };
        let given: Vec<String> = given.iter().map(|at| format!("{}: a", name(at))).collect();
        let headers = map(&given.iter().map(String::as_str).collect::<Vec<_>>());
        let fields = Fields::of(&headers);
        for (name, field) in ASKED_FOR {
            prop_assert_eq!(fields.may_have(field), headers.contains_key(&name), "{}", name);
            prop_assert_eq!(fields.repeat(&headers, name.clone()), headers.get_all(&name).iter().count() > 1, "{}", name);
        }
    }

    /// Whatever a client sends, what ends here does not go out, and what the gateway says stands alone.
    #[test]
    fn hygiene_holds_for_any_mixture(
        given in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "connection", "te", "upgrade", "x-forwarded-for", "x-envoy-a", "x_y", "authorization", "xi-api-key", "x-a",
                    "x-b", "host", "via", "x-request-id", "forwarded", "transfer-encoding", "accept", "cookie",
                ]),
                "(x-a|authorization|close|xi-api-key|via|x-forwarded-for|[a-z ,;=]{0,8})",
            ),
            0..12,
        )
    ) {
        let given: Vec<String> = given.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let out = sent(&given, false, false);
        for line in &out {
            let name = line.split(':').next().expect("a name");
            prop_assert!(
                !matches!(name, "connection" | "te" | "upgrade" | "transfer-encoding" | "x-forwarded-for" | "forwarded" | "x-request-id")
                    && !name.contains('_') && !name.starts_with("x-envoy-"),
                "{line}"
            );
        }
        for secret in ["authorization", "xi-api-key"] {
            let before = given.iter().filter(|line| line.split(':').next() == Some(secret)).count();
            let after = out.iter().filter(|line| line.split(':').next() == Some(secret)).count();
            prop_assert_eq!(before, after);
        }
    }
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

#[test]
fn problem_details_are_asked_for_as_rfc_9110_has_it() {
    const JSON: &str = "application/json";
    const PROBLEM: &str = "application/problem+json";
    for (lines, expected) in [
        (&[][..], false),
        (&["*/*"], false),
        (&[JSON], false),
        (&[PROBLEM], true),
        (&["Application/PROBLEM+Json"], true),
        (&["application/json, application/problem+json"], true),
        (&[JSON, PROBLEM], true),
        (&["audio/mpeg", "text/html;level=1, application/problem+json"], true),
        (&["application/problem+json;q=0"], false),
        (&["application/problem+json; Q=0.000"], false),
        (&["application/problem+json;q=0, */*"], false),
        (&["application/problem+json;q=0.5, application/json"], false),
        (&["application/problem+json;q=0.5, application/json;q=0.4"], true),
        (&["application/problem+json;q=0.5, application/json;q=0.5"], true),
        (&["application/problem+json;q=0.5, */*;q=0.1"], true),
        (&["application/problem+json;q=0.5, */*"], false),
        (&["application/problem+json;q=0.5, application/*;q=0.6, */*"], false),
        (&["application/problem+json ; q = 0.001"], true),
        (&["application/json;q=0, */*"], true),
        (&["application/json;q=0, application/*;q=0"], false),
        (&["application/json;q=0.1, application/*;q=0.9"], true),
        (&["application/*, */*;q=0.9"], false),
        (&["application/problem+json;charset=utf-8"], true),
        (&["text/plain;note=\"application/problem+json, x\""], false),
        (&["text/plain;note=\"\\\", application/problem+json;q=1\""], false),
        (&["application/problem+json;q=much"], true),
        (&["application/problem+jsonx, xapplication/problem+json"], false),
    ] {
        let mut headers = HeaderMap::new();
        for line in lines {
            let _ = headers.append("accept", HeaderValue::from_str(line).expect("a value"));
        }
        assert_eq!(request::accepts_problem(&headers), expected, "{lines:?}");
    }
}
