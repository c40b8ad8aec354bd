//! What becomes of the fields of a response.

use super::*;

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

/// The hop-by-hop list used to be a second one here: fields that `Connection` names beside the upgrade reached the client of a
/// WebSocket.
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

/// Trailers and informational responses used to have a list of their own, which covered few of the fields removed from heads.
#[test]
fn fields_beside_the_head_are_treated_like_those_in_it() {
    let given = [
        "alt-svc: h3=\":443\"",
        "strict-transport-security: max-age=9",
        "clear-site-data: \"*\"",
        "x-accel-redirect: /secret",
        "x-sendfile: /etc/passwd",
        "connection: x-private",
        "x-private: 1",
        "te: trailers",
        "proxy-authenticate: Basic",
        "set-cookie: a=1; Domain=api.example.com; Path=/v1",
        "location: http://API.example.com/v1/a?b#c",
        "content-location: /v1/a",
        "link: <https://api.example.com/v1/a>; rel=next",
        "refresh: 5 /v1/a",
        "x-sum: 1",
        // Only the head describes the body, the call and CORS.
        "content-length: 5",
        "content-encoding: gzip",
        "content-type: text/html",
        "content-range: bytes 0-1/2",
        "trailer: x-sum",
        "transfer-encoding: chunked",
        "access-control-allow-origin: *",
        "x-request-id: theirs",
    ];
    let mut headers = map(&given);
    let mut route = route("/x");
    "/v1".clone_into(&mut route.upstreams[0].base_path);
    let route = RouteHeaders::new(&route).expect("headers");
    let id = HeaderValue::from_static("ours");
    let answer = Incoming { version: Version::HTTP_11, route: &route, upstream: 0, request_id: &id, public: PUBLIC };
    prepare_beside(&mut headers, &answer);
    let in_head = answered(&given[..15], "/x", "/v1", PUBLIC);
    let mut beside = lines(&headers);
    assert!(beside.contains(&"x-upstream-request-id: theirs".to_owned()), "{beside:?}");
    beside.retain(|line| !line.starts_with("x-upstream-request-id"));
    assert_eq!(beside, in_head);
    assert!(beside.contains(&"location: http://gate.example:8080/x/a?b#c".to_owned()), "{beside:?}");
    assert!(beside.contains(&"set-cookie: a=1; Path=/x".to_owned()), "{beside:?}");
}

/// Only `url=` used to be recognised, although browsers need neither the word nor the semicolon.
#[test]
fn a_refresh_leads_here_however_it_is_spelled() {
    for (given, wanted) in [
        ("5; url=/v1/a", "5; url=/x/a"),
        ("5 /v1/a", "5 /x/a"),
        ("5, URL = /v1/a", "5, URL = /x/a"),
        ("5;/v1/a", "5;/x/a"),
        ("0.5  ;  uRl\t=\t'/v1/a' and more", "0.5  ;  uRl\t=\t/x/a"),
        ("5;\"/v1/a", "5;/x/a"),
        ("5,url=\"https://api.example.com/v1/a?b=url=c\"", "5,url=http://gate.example:8080/x/a?b=url=c"),
        (".; url=/v1/a", ".; url=/x/a"),
        ("5;; /v1/a", "5;; /v1/a"),
        ("5/v1/a", "5/v1/a"),
        ("url=/v1/a", "url=/v1/a"),
        ("5", "5"),
        ("5;", "5;"),
        ("", ""),
        ("5; url", "5; url"),
        ("5; url=/elsewhere", "5; url=/elsewhere"),
    ] {
        let refresh = format!("refresh: {given}");
        assert_eq!(answered(&[&refresh], "/x", "/v1", PUBLIC), [format!("refresh: {wanted}")], "{given}");
    }
}

const PUBLIC: PublicAddress<'_> = PublicAddress { url: None, tls: false, authority: Some("gate.example:8080") };

/// The header fields of a success that change, and no others.
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

/// Only the first upstream at a host used to be considered, and its port was used for references without one.
#[test]
fn locations_are_those_of_the_upstream_that_answered() {
    let mut route = route("/el");
    let of = |tls, port, base: &str| Upstream { tls, port, base_path: base.to_owned(), ..route.upstreams[0].clone() };
    route.upstreams =
        vec![of(false, 80, "/one"), of(true, 443, "/two"), of(true, 443, "/three"), of(true, 8443, "/four")];
    let route = RouteHeaders::new(&route).expect("headers");
    let id = HeaderValue::from_static("ours");
    for (upstream, location, expected) in [
        (1, "//api.example.com/two/x", "http://gate.example:8080/el/x"),
        (1, "https://api.example.com/two/x", "http://gate.example:8080/el/x"),
        (2, "https://api.example.com/three/x", "http://gate.example:8080/el/x"),
        (2, "/three/x", "/el/x"),
        (2, "//api.example.com:443/three/x", "http://gate.example:8080/el/x"),
        (3, "//api.example.com/four/x", "http://gate.example:8080/el/x"),
        (3, "https://api.example.com:8443/four/x", "http://gate.example:8080/el/x"),
        (3, "//api.example.com/two/x", "http://gate.example:8080/el/x"),
        (1, "https://api.example.com/four/x", "https://api.example.com/four/x"),
        (1, "https://api.example.com:8443/two/x", "https://api.example.com:8443/two/x"),
        (0, "/two/x", "/two/x"),
    ] {
        let mut headers = map(&[&format!("location: {location}")]);
        let answer = Incoming { version: Version::HTTP_11, route: &route, upstream, request_id: &id, public: PUBLIC };
        prepare_response(&mut headers, &answer);
        assert_eq!(headers["location"], expected, "{upstream} {location}");
    }
}

/// `Location` and a few others were rewritten; a client that polled an Azure operation went past the gateway.
#[test]
fn every_field_that_holds_a_url_leads_here() {
    let spec = ProfileSpec { url_headers: vec!["X-Next-Page".to_owned()], ..ProfileSpec::default() };
    let route = RouteHeaders::new(&route_with("/x", spec)).expect("headers");
    let id = HeaderValue::from_static("ours");
    let answer = Incoming { version: Version::HTTP_11, route: &route, upstream: 0, request_id: &id, public: PUBLIC };
    for name in [
        "Location",
        "Content-Location",
        "Operation-Location",
        "Azure-AsyncOperation",
        "X-Goog-Upload-URL",
        "X-Goog-Upload-Control-URL",
        "SourceMap",
        "X-Next-Page",
    ] {
        let mut headers = map(&[&format!("{name}: https://api.example.com/v1/a?b"), &format!("{name}: /v1/a")]);
        prepare_response(&mut headers, &answer);
        let found: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(found, ["http://gate.example:8080/x/v1/a?b", "/x/v1/a"], "{name}");
    }
    let mut headers = map(&["x-other: https://api.example.com/v1/a"]);
    prepare_response(&mut headers, &answer);
    assert_eq!(headers["x-other"], "https://api.example.com/v1/a");
}
