//! Every error answer keeps the promises of the envelope, whoever's fault it is and whatever form was asked for.

use crate::support::check::{Outcome, canonical, ensure, rows};
use crate::support::world::{get, json_answer, post};
use crate::support::{Act, Answer, Gateway, Provider, Settings, World, envelope};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};

/// A failure that a test can provoke.
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    /// What the client sends, `{}` standing for the route.
    pub(crate) request: &'static str,
    /// What the provider then does.
    pub(crate) acts: Vec<Act>,
    pub(crate) code: &'static str,
    pub(crate) origin: &'static str,
    /// RFC 9209: the error type, or the received status.
    pub(crate) proxy_status: &'static str,
}

pub(crate) const GET: &str = "GET {}/a HTTP/1.1\r\nHost: a\r\n\r\n";
/// Unlike a GET not sent again when a kept connection dies.
pub(crate) const POST: &str = "POST {}/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

pub(crate) fn failures() -> Vec<Failure> {
    let answer = |status: u16, body: &str| vec![Act::send(json_answer(status, "", body))];
    let voice = "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No voice x.\"}}";
    let with =
        |name, request, acts, code, origin, proxy_status| Failure { name, request, acts, code, origin, proxy_status };
    vec![
        with("worded", GET, answer(404, voice), "voice_not_found", "provider", "received-status=404"),
        with("unworded", GET, answer(503, ""), "unavailable", "provider", "received-status=503"),
        with("rate limit", GET, answer(429, "{}"), "rate_limited", "provider", "received-status=429"),
        with("closed", POST, vec![Act::Fin], "upstream_disconnected", "network", "error=connection_terminated"),
        with("reset", POST, vec![Act::Reset], "upstream_disconnected", "network", "error=connection_terminated"),
        with(
            "garbage",
            GET,
            vec![Act::send("garbage\r\n\r\n"), Act::Fin],
            "invalid_upstream_response",
            "network",
            "error=http_protocol_error",
        ),
        with(
            "half a head",
            GET,
            vec![Act::send("HTTP/1.1 200 OK\r\nX: "), Act::Fin],
            "upstream_disconnected",
            "network",
            "error=http_response_incomplete",
        ),
        with("silence", GET, vec![Act::Hang], "upstream_timeout", "network", "error=http_response_timeout"),
        with(
            "a bad chunk",
            "POST {}/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            vec![],
            "malformed_body",
            "client",
            "error=http_request_error",
        ),
        with(
            "too large",
            "POST {}/a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n",
            vec![],
            "payload_too_large",
            "gateway",
            "error=http_request_denied",
        ),
        with(
            "no body in time",
            "POST {}/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
            vec![],
            "request_timeout",
            "client",
            "error=connection_read_timeout",
        ),
    ]
}

/// Short deadlines, small bodies, and the three envelopes.
pub(crate) fn world() -> World {
    let lines = "max_request_body = \"10KiB\"\ntimeouts = { response = \"400ms\", idle = \"400ms\" }\n";
    let provider = Provider::start();
    let to = provider.address();
    let settings = Settings::new()
        .server("body_timeout = \"400ms\"")
        .route("plain", "/p", to, lines)
        .route("compatible", "/c", to, &format!("{lines}envelope = \"compatible\""))
        .route("problem", "/q", to, &format!("{lines}envelope = \"problem\""));
    World { gateway: Gateway::start(&settings), provider }
}

pub(crate) fn provoke(world: &World, failure: &Failure, route: &str) -> Result<Answer, String> {
    world.provider.forget();
    if !failure.acts.is_empty() {
        world.provider.next(failure.acts.as_slice());
    }
    let mut client = world.client();
    client.send(failure.request.replace("{}", route)).try_answer("GET").map_err(|end| format!("no answer: {end:?}"))
}

#[test]
fn every_kind_of_failure_is_an_envelope() {
    let world = world();
    rows(
        failures(),
        |failure| failure.name.to_owned(),
        |failure| {
            let answer = provoke(&world, failure, "/p")?;
            let error = canonical(&answer, failure.code)?;
            ensure!(error["origin"] == failure.origin, "origin {}", error["origin"]);
            ensure!(
                error["route"] == "plain" && error["provider"] == "elevenlabs",
                "route {}, provider {}",
                error["route"],
                error["provider"]
            );
            proxy_status(&answer, failure)?;
            harmless(&world, &answer)
        },
    );
}

pub(crate) fn proxy_status(answer: &Answer, failure: &Failure) -> Outcome {
    let found = answer.fields.get("proxy-status").unwrap_or_default();
    ensure!(found.contains(failure.proxy_status), "proxy-status {found:?}");
    Ok(())
}

/// No address, path, library text, version or control character.
pub(crate) fn harmless(world: &World, answer: &Answer) -> Outcome {
    let text = answer.text();
    let port = world.provider.address().port().to_string();
    for leak in [
        "127.0.0.1",
        "hyper",
        "rustls",
        "tokio",
        "os error",
        "src/",
        ".rs",
        "panicked",
        "Some(",
        "Err(",
        env!("CARGO_PKG_VERSION"),
        &port,
    ] {
        let headers = answer.fields.0.iter().any(|(_, value)| String::from_utf8_lossy(value).contains(leak));
        // A version or a port can be part of a time or an id; of a message it cannot.
        let message = message(&answer.body);
        ensure!(!message.contains(leak), "{leak} in {message:?}");
        ensure!(
            !headers || leak.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'),
            "{leak} in {:?}",
            answer.fields
        );
    }
    ensure!(
        !answer.fields.has("server") || !answer.field("server").contains(char::is_numeric),
        "server {:?}",
        answer.fields.get("server")
    );
    ensure!(!text.chars().any(char::is_control), "a control character in {text:?}");
    Ok(())
}

/// Every message of a body of any of the three forms.
pub(crate) fn message(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = ["/error/message", "/gateway_error/message", "/detail/message", "/detail"];
    places.iter().filter_map(|place| body.pointer(place).and_then(Value::as_str)).collect::<Vec<_>>().join(" ")
}

#[test]
fn no_route_is_an_envelope_without_route_and_provider() {
    let world = World::start();
    for target in ["/nowhere", "/", "/c2/a"] {
        let error = envelope(&world.get(target), "route_not_found");
        assert!(error.get("route").is_none() && error.get("provider").is_none(), "{error}");
        assert_eq!(error["origin"], "gateway");
    }
}

#[test]
fn head_gets_the_headers_without_the_body() {
    let world = world();
    for target in ["/nowhere", "/p/../x"] {
        let mut client = world.client();
        let get = client.send(get(target)).answer();
        let head = world.client().send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n")).answer_to_head();
        assert_eq!((head.status, head.field("x-error-code")), (get.status, get.field("x-error-code")));
        assert_eq!(head.field("content-type"), get.field("content-type"));
    }
    // A provider's own refusal of a HEAD has no body to read either.
    world.provider.next([Act::send("HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n")]);
    let mut client = world.client();
    let head = client.send("HEAD /p/a HTTP/1.1\r\nHost: a\r\n\r\n").answer_to_head();
    assert_eq!((head.status, head.field("x-error-type").as_str()), (404, "not_found"));
    assert_eq!(client.send(get("/p/a")).answer().text(), "ok", "in step");
}

#[test]
fn a_wait_is_reported_in_header_and_body() {
    for (lines, seconds, header) in
        [("Retry-After: 7\r\n", 7.0, "7"), ("Retry-After: 1.5\r\n", 1.5, "2"), ("Retry-After: 0\r\n", 0.0, "0")]
    {
        // A gateway for each: it would answer the next request itself, until the wait is over.
        let world = World::start();
        world.provider.next([Act::send(json_answer(429, lines, "{}"))]);
        let answer = world.get("/p/a");
        let error = envelope(&answer, "rate_limited");
        if lines.contains('.') && error.get("retry_after_seconds").is_none() {
            continue;
        }
        assert_eq!(
            (error["retry_after_seconds"].as_f64(), answer.fields.get("retry-after").as_deref()),
            (Some(seconds), Some(header)),
            "{lines}"
        );
    }
    let world = World::start();
    for nonsense in ["x", "-1", "99999999999999999999999", "", "1e400", "NaN", "inf"] {
        world.provider.next([Act::send(json_answer(429, &format!("Retry-After: {nonsense}\r\n"), "{}"))]);
        let _ = envelope(&world.get("/p/a"), "rate_limited");
    }
}

#[test]
fn fields_of_the_old_body_are_removed_and_www_authenticate_is_kept() {
    let world = World::start();
    let lines = "ETag: \"x\"\r\nLast-Modified: Sat, 21 Nov 2026 09:30:00 GMT\r\nContent-Language: en\r\nContent-MD5: x\r\nDigest: x\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nX-Theirs: 1\r\nSet-Cookie: a=b\r\n";
    world.provider.next([Act::send(json_answer(401, lines, "{}"))]);
    let answer = world.get("/p/a");
    let _ = envelope(&answer, &answer.field("x-error-code"));
    assert_eq!(answer.field("www-authenticate"), "Bearer realm=\"x\"");
    for gone in ["etag", "last-modified", "content-md5", "digest", "content-language"] {
        assert!(!answer.fields.has(gone), "{gone} stayed");
    }
}

#[test]
fn hostile_provider_text_reaches_no_header() {
    let world = World::start();
    for code in ["a\\r\\nX-Evil: 1", "\\u0000", "\\u001b[31m", "\\ud83d\\ude00", "\\\"", "\\u2028"] {
        let body = format!("{{\"detail\":{{\"status\":\"{code}\",\"message\":\"{code}\"}}}}");
        world.provider.next([Act::send(json_answer(400, "Request-Id: a\"b\r\n", &body))]);
        let answer = world.get("/p/a");
        let _ = envelope(&answer, &answer.field("x-error-code"));
        assert!(!answer.fields.has("x-evil"));
    }
}

/// A port that nobody listens on.
fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[test]
fn a_provider_that_cannot_be_reached_is_an_envelope() {
    let plain = Provider::start();
    let gateway = Gateway::start(
        &Settings::new()
            .route("refused", "/refused", closed_port(), "")
            .route_to("dns", "/dns", "cartesia", "http://no-such-host.invalid", "timeouts = { connect = \"5s\" }")
            .route_to("tls", "/tls", "corti", &format!("https://{}", plain.address()), ""),
    );
    let world = World { gateway, provider: plain };
    let table = [
        ("/refused", "upstream_unreachable", "error=connection_refused"),
        ("/dns", "upstream_unreachable", "error=dns_error"),
        ("/tls", "upstream_tls_error", "error=tls_protocol_error"),
    ];
    rows(
        table,
        |(target, ..)| (*target).to_owned(),
        |(target, code, status)| {
            let answer = world.ask(post(target, "hello"));
            let error = canonical(&answer, code)?;
            ensure!(error["origin"] == "network" && error["retryable"] == true, "{error}");
            ensure!(answer.field("proxy-status").contains(status), "proxy-status {}", answer.field("proxy-status"));
            harmless(&world, &answer)
        },
    );
}

#[test]
fn the_same_failure_is_worded_alike_on_a_kept_connection() {
    let world = World::start();
    let mut client = world.client();
    for _ in 0..3 {
        world.provider.next([Act::send(json_answer(
            404,
            "",
            "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No.\"}}",
        ))]);
        let _ = envelope(&client.send(get("/p/a")).answer(), "voice_not_found");
        assert_eq!(client.send(get("/p/a")).answer().text(), "ok", "a failure does not end the connection");
    }
}
