//! What becomes of the fields of a request.

use super::*;

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

proptest! {
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
