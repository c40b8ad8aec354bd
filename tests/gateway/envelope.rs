//! Every error answer keeps the promises of the envelope, whoever's fault it is and whatever form was asked for.

use crate::support::check::{Outcome, canonical, ensure, members, rows, whole_json};
use crate::support::world::{get, get_with, json_answer, post};
use crate::support::{Act, Answer, Gateway, Provider, Settings, World, envelope};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};

/// A failure that a test can provoke.
struct Failure {
    name: &'static str,
    /// What the client sends, `{}` standing for the route.
    request: &'static str,
    /// What the provider then does.
    acts: Vec<Act>,
    code: &'static str,
    origin: &'static str,
    /// RFC 9209: the error type, or the received status.
    proxy_status: &'static str,
}

const GET: &str = "GET {}/a HTTP/1.1\r\nHost: a\r\n\r\n";
/// Unlike a GET not sent again when a kept connection dies.
const POST: &str = "POST {}/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

fn failures() -> Vec<Failure> {
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
fn world() -> World {
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

fn provoke(world: &World, failure: &Failure, route: &str) -> Result<Answer, String> {
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

fn proxy_status(answer: &Answer, failure: &Failure) -> Outcome {
    let found = answer.fields.get("proxy-status").unwrap_or_default();
    ensure!(found.contains(failure.proxy_status), "proxy-status {found:?}");
    Ok(())
}

/// No address, path, library text, version or control character.
fn harmless(world: &World, answer: &Answer) -> Outcome {
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
fn message(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = ["/error/message", "/gateway_error/message", "/detail/message", "/detail"];
    places.iter().filter_map(|place| body.pointer(place).and_then(Value::as_str)).collect::<Vec<_>>().join(" ")
}

#[test]
fn problem_routes_answer_rfc_9457() {
    let world = world();
    rows(
        failures(),
        |failure| failure.name.to_owned(),
        |failure| {
            let answer = provoke(&world, failure, "/q")?;
            problem(&answer, failure.code)?;
            proxy_status(&answer, failure)?;
            harmless(&world, &answer)
        },
    );
}

fn problem(answer: &Answer, code: &str) -> Outcome {
    let body = whole_json(answer, "application/problem+json")?;
    ensure!(body["status"] == answer.status, "status {}", body["status"]);
    for name in ["type", "title", "detail", "instance"] {
        ensure!(body[name].as_str().is_some_and(|text| !text.is_empty()), "{name} {}", body[name]);
    }
    ensure!(body["error"]["code"] == code, "code {}", body["error"]["code"]);
    members(&body["error"])?;
    crate::support::check::headers(answer, &body["error"])
}

#[test]
fn a_client_can_ask_for_rfc_9457() {
    let world = world();
    for (accept, wanted) in [
        ("application/problem+json", true),
        ("application/problem+json, application/json;q=0.5", true),
        ("application/json", false),
        ("*/*", false),
        ("text/html", false),
        ("application/problem+json;q=0", false),
    ] {
        let answer = world.ask(get_with("/p/..%2fx", &format!("Accept: {accept}\r\n")));
        let checked =
            if wanted { problem(&answer, "invalid_request") } else { canonical(&answer, "invalid_request").map(drop) };
        assert_eq!(checked, Ok(()), "Accept: {accept}");
    }
}

#[test]
fn compatible_routes_speak_the_providers_dialect() {
    let world = world();
    rows(
        failures(),
        |failure| failure.name.to_owned(),
        |failure| {
            let answer = provoke(&world, failure, "/c")?;
            let body = whole_json(&answer, "application/json")?;
            let error = &body["gateway_error"];
            ensure!(error["code"] == failure.code, "code {}", error["code"]);
            ensure!(!body["detail"].is_null() || failure.origin == "provider", "no `detail`: {body}");
            // It keeps the provider's status; what the gateway words itself has the one that this provider would use.
            let status = error["upstream"]["status"].as_u64().unwrap_or(u64::from(answer.status));
            ensure!(answer.status >= 400 && status == u64::from(answer.status), "status {} on the line", answer.status);
            ensure!(answer.field("x-error-code") == failure.code, "x-error-code");
            proxy_status(&answer, failure)?;
            harmless(&world, &answer)
        },
    );
    world.provider.next([Act::send(json_answer(
        404,
        "X-Theirs: 1\r\n",
        "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No.\"}}",
    ))]);
    let answer = world.get("/c/a");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["detail"]["status"], "voice_not_found", "every byte of meaning stays");
    assert_eq!((answer.status, answer.field("x-theirs").as_str()), (404, "1"));
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
fn a_wait_is_told_in_both_places() {
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
fn what_described_the_old_body_goes_and_www_authenticate_stays() {
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
fn hostile_words_of_a_provider_reach_no_header() {
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

/// Who asks decides, request by request on one route.
#[test]
fn auto_answers_sdks_in_the_providers_shape_and_everybody_else_canonically() {
    let provider = Provider::start();
    let settings = Settings::standard(provider.address()).beside("auto", "/o", "envelope = \"auto\"");
    let world = World { gateway: Gateway::start(&settings), provider };
    let quota = "{\"detail\":{\"status\":\"quota_exceeded\",\"message\":\"This exceeds your quota.\"}}";
    for (fields, compatible) in [
        ("", false),
        ("User-Agent: curl/8.14\r\n", false),
        ("User-Agent: python-httpx/0.28\r\nxi-api-key: k\r\n", false),
        ("X-Fern-SDK-Name: elevenlabs\r\n", true),
        ("X-Stainless-Lang: js\r\n", true),
        ("User-Agent: ai/6.0 ai-sdk/provider-utils/4.0 runtime/node.js\r\n", true),
        ("User-Agent: LiveKit Agents\r\nAccept: application/problem+json\r\n", true),
    ] {
        world.provider.next([Act::send(json_answer(401, "Vary: origin\r\n", quota))]);
        let answer = world.ask(get_with("/o/a", fields));
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let (status, member) = if compatible { (401, "gateway_error") } else { (402, "error") };
        assert_eq!((answer.status, &body[member]["code"]), (status, &"quota_exceeded".into()), "{fields} {body}");
        assert_eq!(body.get("detail").is_some(), compatible, "{fields} {body}");
        // An SDK gets the provider's shape whatever it accepts.
        let accept: &[&str] = if compatible { &[] } else { &["accept"] };
        let vary = [&["origin"], accept, &["user-agent, x-fern-sdk-name, x-stainless-lang"]].concat();
        assert_eq!(answer.fields.all("vary"), vary, "{fields}");
    }
}

/// An OpenAI quota is a 429 that everything which looks at the status alone sends again.
#[test]
fn a_compatible_answer_has_the_canonical_status_where_profile_or_route_say_so() {
    let provider = Provider::start();
    let to = format!("http://{}", provider.address());
    let settings = Settings::new()
        .route_to("openai", "/o", "openai", &to, "envelope = \"compatible\"")
        .route_to("groq", "/g", "groq", &to, "envelope = \"compatible\"")
        .route_to("ours", "/u", "groq", &to, "envelope = { http = \"compatible\", status = \"canonical\" }");
    let world = World { gateway: Gateway::start(&settings), provider };
    let quota = "{\"error\":{\"message\":\"You exceeded your current quota.\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}";
    let pace = "{\"error\":{\"message\":\"Slow down.\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}";
    for (path, body, status) in
        [("/o/a", quota, 402), ("/o/a", pace, 429), ("/g/a", quota, 429), ("/u/a", quota, 402), ("/u/a", pace, 429)]
    {
        world.provider.next([Act::send(json_answer(429, "", body))]);
        let answer = world.get(path);
        let told: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer.status, status, "{path} {told}");
        assert!(told["gateway_error"]["status"].is_u64() && told["error"]["message"].is_string(), "{told}");
    }
}

/// A handshake without a key and a method that is refused used to be answered as if no route took them.
#[test]
fn what_is_refused_before_its_route_is_asked_has_the_form_of_that_route() {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let world = World::around(provider, |settings| {
        settings.route_to("native", "/n", "cartesia", &url, "envelope = \"compatible\"").route_to(
            "details",
            "/d",
            "cartesia",
            &url,
            "envelope = \"problem\"",
        )
    });
    let handshake = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for (method, lines) in [
        ("GET", handshake),
        ("TRACE", ""),
        ("A-METHOD-OF-MORE-THAN-SIXTY-FOUR-BYTES-WHICH-NOBODY-KNOWS-AND-NONE-NEEDS-X", ""),
    ] {
        let ask = |path: &str| world.ask(format!("{method} {path}/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        let native: serde_json::Value = serde_json::from_str(&ask("/n").text()).expect("JSON");
        assert_eq!(native["gateway_error"]["route"], "native", "{method}: {native}");
        let details = ask("/d");
        assert_eq!(details.field("content-type"), "application/problem+json", "{method}");
        assert!(details.text().contains("\"route\":\"details\""), "{method}: {}", details.text());
    }
    assert!(world.provider.take().is_empty());
}
