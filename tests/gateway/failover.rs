//! Several upstreams and several accounts: who takes over for whom.

use crate::support::check::{ensure, rows};
use crate::support::provider::OK;
use crate::support::world::{get, json_answer, post};
use crate::support::{Act, Answer, Gateway, Provider, Settings};

const BODY: &str = "{\"detail\":{\"status\":\"something\",\"message\":\"It failed.\"}}";
const RETRY: &str = "retry = { attempts = 3 }";
const KEYS: &str = "credentials = [{ header = \"xi-api-key\", value = \"key-one-secret\" }, \
                    { header = \"authorization\", value = \"Bearer key-two-secret\" }]";

fn failing(status: u16) -> Act {
    Act::send(json_answer(status, "", BODY))
}

/// The URL of a port where nobody listens.
/// A place where nobody listens, and nobody else will: the socket has the port to the end of the process and takes no connection.
fn nowhere() -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a free port");
    let address = socket.local_addr().expect("bound").as_socket().expect("an address");
    std::mem::forget(socket);
    format!("http://{address}")
}

fn url(provider: &Provider) -> String {
    format!("http://{}", provider.address())
}

fn gateway(urls: &[String], lines: &str) -> Gateway {
    Gateway::start(&Settings::new().over("two", "/t", urls, lines))
}

fn told(answer: &Answer) -> Option<String> {
    answer.fields.get("x-speechgate-attempts")
}

fn at_rest(gateway: &Gateway) {
    gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "two")], 0.0);
}

#[test]
fn another_upstream_takes_over_when_the_first_fails() {
    let (first, second) = (Provider::start(), Provider::start());
    let urls = [url(&first), url(&second)];
    let retrying =
        gateway(&urls, "retry = { on = [\"unavailable\", \"upstream\", \"timeout\", \"rate_limited\", \"internal\"] }");
    let plain = gateway(&urls, "");
    // The gateway, how the first upstream fails, and whether the second one is asked.
    let table: &[(&str, &Gateway, Act, bool)] = &[
        ("503", &retrying, failing(503), true),
        ("502", &retrying, failing(502), true),
        ("504", &retrying, failing(504), true),
        ("500", &retrying, failing(500), true),
        ("no answer", &retrying, Act::Fin, true),
        ("429", &retrying, failing(429), false),
        ("400", &retrying, failing(400), false),
        ("401", &retrying, failing(401), false),
        ("without `retry`, 503", &plain, failing(503), false),
        ("without `retry`, no answer", &plain, Act::Fin, false),
    ];
    rows(
        table,
        |(name, ..)| (*name).to_owned(),
        |(_, gateway, act, moves)| {
            first.next([act.clone()]);
            let answer = gateway.client().send(post("/t/x?a=b", "hello")).answer();
            let (_, seen) = (first.take(), second.take());
            ensure!(seen.len() == usize::from(*moves), "the second was asked {} times", seen.len());
            ensure!(seen.iter().all(|seen| seen.line == "POST /x?a=b HTTP/1.1" && seen.body == b"hello"), "{seen:?}");
            let host = second.address().to_string();
            ensure!(seen.iter().all(|seen| seen.fields.get("host").as_deref() == Some(&host)), "another host");
            ensure!(!moves || answer.status == 200 && told(&answer).as_deref() == Some("2"), "{}", answer.line);
            Ok(())
        },
    );
    at_rest(&retrying);
    assert!(first.flaws().is_empty() && second.flaws().is_empty());
}

#[test]
fn the_wait_of_one_upstream_is_not_that_of_another() {
    let (first, second) = (Provider::start(), Provider::start());
    let gateway = gateway(&[url(&first), url(&second)], RETRY);
    first.always([Act::send(json_answer(503, "Retry-After: 60\r\n", BODY))]);
    for _ in 0..3 {
        let answer = gateway.client().send(get("/t/x")).answer();
        assert_eq!((answer.status, told(&answer).as_deref()), (200, Some("2")));
    }
    assert_eq!((first.take().len(), second.take().len()), (3, 3));
}

#[test]
fn an_unreachable_upstream_is_skipped_even_without_retry() {
    let second = Provider::start();
    let gateway = gateway(&[nowhere(), nowhere(), format!("{}/base", url(&second))], "");
    let chunked = "POST /t/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let large = post("/t/x", &"x".repeat(256 * 1024 + 1));
    let answer = gateway.client().send(chunked).answer();
    assert_eq!((answer.status, told(&answer).as_deref()), (200, Some("3")));
    let seen = second.one();
    assert_eq!((seen.line.as_str(), seen.body.as_slice()), ("POST /base/x HTTP/1.1", b"hello".as_slice()));
    let answer = gateway.client().send(get("/t?a=b")).answer();
    assert_eq!((answer.status, second.one().line.as_str()), (200, "GET /base?a=b HTTP/1.1"));
    let answer = gateway.client().send(large).answer();
    assert_eq!((answer.status, second.one().body.len()), (200, 256 * 1024 + 1), "nothing of it had been sent");
    at_rest(&gateway);
}

#[test]
fn addresses_of_every_upstream_lead_back_here() {
    let (first, second) = (Provider::start(), Provider::start());
    let gateway = gateway(&[url(&first), format!("{}/base", url(&second))], RETRY);
    let location = |location: String| {
        Act::send(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
    };
    for (from, expected) in [
        ("/base/y".to_owned(), "/t/y"),
        (format!("{}/base/y", url(&second)), "http://gateway.test/t/y"),
        (format!("{}/y", url(&first)), "http://gateway.test/t/y"),
    ] {
        first.next([failing(503)]);
        second.next([location(from)]);
        assert_eq!(gateway.client().send(get("/t/x")).answer().field("location"), expected);
    }
}

/// Which key a request carried.
fn key(provider: &Provider) -> String {
    let seen = provider.one();
    let keys = ["xi-api-key", "authorization"].map(|name| seen.fields.get(name));
    keys.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

#[test]
fn an_account_that_is_refused_is_set_aside_for_another() {
    for (status, error) in [(401, "invalid_api_key"), (402, "payment_required"), (401, "quota_exceeded")] {
        let provider = Provider::start();
        let gateway = gateway(&[url(&provider)], KEYS);
        let body = format!("{{\"detail\":{{\"status\":\"{error}\",\"message\":\"No.\"}}}}");
        provider.next([Act::send(json_answer(status, "", &body))]);
        let answer = gateway.client().send(post("/t/x", "hello")).answer();
        assert_eq!((answer.status, told(&answer).as_deref()), (200, Some("2")), "{error}");
        assert_eq!([key(&provider), key(&provider)], ["key-one-secret", "Bearer key-two-secret"], "{error}");
        let answer = gateway.client().send(get("/t/x")).answer();
        assert_eq!((answer.status, told(&answer), key(&provider).as_str()), (200, None, "Bearer key-two-secret"));
        provider.always([Act::send(json_answer(status, "", &body))]);
        let answer = gateway.client().send(get("/t/x")).answer();
        assert_eq!((answer.status, told(&answer)), (if error == "quota_exceeded" { 402 } else { status }, None));
        assert_eq!(key(&provider), "Bearer key-two-secret", "nobody else is left");
        let _ = gateway.client().send(get("/t/x")).answer();
        assert_eq!(key(&provider), "key-one-secret", "the one that is due first");
        at_rest(&gateway);
        let shown = format!("{} {}", gateway.log().join("\n"), gateway.admin("/metrics").text());
        assert!(!shown.contains("-secret"), "{shown}");
    }
}

#[test]
fn an_account_that_is_refused_in_the_middle_of_an_answer_is_set_aside_too() {
    let provider = Provider::start();
    let gateway = gateway(&[url(&provider)], KEYS);
    let event = "event: error\ndata: {\"detail\":{\"status\":\"quota_exceeded\",\"message\":\"No.\"}}\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    provider.next([Act::send(format!("{head}Content-Length: {}\r\n\r\n{event}", event.len()))]);
    let answer = gateway.client().send(post("/t/x", "hello")).answer();
    assert!(answer.status == 200 && answer.text().contains("\"quota_exceeded\""), "{}", answer.text());
    assert_eq!((told(&answer), key(&provider).as_str()), (None, "key-one-secret"), "never after the first byte");
    at_rest(&gateway);
    assert_eq!(gateway.client().send(get("/t/x")).answer().status, 200);
    assert_eq!(key(&provider), "Bearer key-two-secret");
}

#[test]
fn errors_unrelated_to_the_account_keep_it_in_use() {
    let provider = Provider::start();
    let gateway = gateway(&[url(&provider)], KEYS);
    for act in [failing(403), failing(429), failing(503), failing(400), Act::Fin] {
        provider.next([act.clone()]);
        let answer = gateway.client().send(post("/t/x", "hello")).answer();
        assert!(answer.status >= 400 && told(&answer).is_none(), "{act:?}");
        assert_eq!(key(&provider), "key-one-secret", "{act:?}");
        at_rest(&gateway);
    }
}

#[test]
fn the_account_with_the_fewest_calls_is_used() {
    let provider = Provider::with(|mut conn| {
        while let Some(seen) = conn.request() {
            match seen.target() {
                "/hang" => drop(conn.hang()),
                _ => drop(conn.wire.send(OK)),
            }
        }
    });
    let gateway = gateway(&[url(&provider)], KEYS);
    let mut waiting = gateway.client();
    let _ = waiting.send(get("/t/hang"));
    assert_eq!(key(&provider), "key-one-secret");
    for _ in 0..2 {
        assert_eq!(gateway.client().send(get("/t/x")).answer().status, 200);
        assert_eq!(key(&provider), "Bearer key-two-secret");
        gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "two")], 1.0);
    }
    waiting.reset();
    at_rest(&gateway);
    assert_eq!(gateway.client().send(get("/t/x")).answer().status, 200);
    assert_eq!(key(&provider), "key-one-secret");
}

#[test]
fn a_call_that_changes_its_account_gives_back_its_slot() {
    let provider = Provider::start();
    let gateway = gateway(&[url(&provider)], &format!("{KEYS}\nconcurrency = {{ max = 1, queue = 0 }}"));
    let used = |slots: f64| gateway.metric_becomes("speechgate_concurrency_in_use", &[("route", "two")], slots);
    provider.next([failing(401)]);
    provider.next([Act::Hang]);
    let mut waiting = gateway.client();
    let _ = waiting.send(post("/t/x", "hello"));
    assert_eq!([key(&provider), key(&provider)], ["key-one-secret", "Bearer key-two-secret"]);
    used(1.0);
    waiting.reset();
    let _ = provider.abandoned();
    used(0.0);
    at_rest(&gateway);
    provider.next([failing(401)]);
    let answer = gateway.client().send(get("/t/x")).answer();
    assert_eq!((answer.status, key(&provider).as_str()), (401, "Bearer key-two-secret"), "nobody else is left");
    used(0.0);
}

#[test]
fn both_go_together() {
    let (first, second) = (Provider::start(), Provider::start());
    let gateway = gateway(&[url(&first), url(&second)], &format!("{KEYS}\n{RETRY}"));
    first.next([failing(503)]);
    second.next([failing(401)]);
    second.next([Act::send(OK)]);
    let answer = gateway.client().send(post("/t/x", "hello")).answer();
    assert_eq!((answer.status, told(&answer).as_deref()), (200, Some("3")));
    assert_eq!(
        [key(&first), key(&second), key(&second)],
        ["key-one-secret", "key-one-secret", "Bearer key-two-secret"]
    );
}

/// What one account may not do more often is no word on the account: it goes on with everything else.
#[test]
fn a_limit_of_one_operation_sets_no_account_aside() {
    let provider = Provider::start();
    let gateway = gateway(&[url(&provider)], KEYS);
    let body = "{\"detail\":{\"status\":\"voice_limit_reached\",\"message\":\"10 / 10\"}}";
    provider.next([Act::send(json_answer(400, "", body))]);
    let answer = gateway.client().send(post("/t/voices/add", "{}")).answer();
    assert_eq!((answer.status, told(&answer), key(&provider).as_str()), (402, None, "key-one-secret"));
    at_rest(&gateway);
    assert_eq!(gateway.client().send(get("/t/x")).answer().status, 200);
    assert_eq!(key(&provider), "key-one-secret");
}

/// No budget is asked where nothing was sent, and a dead upstream is left alone by itself.
#[test]
fn a_dead_first_upstream_loses_no_request() {
    let second = Provider::start();
    let dead = nowhere();
    let gateway = gateway(&[dead.clone(), url(&second)], "");
    for _ in 0..120 {
        assert_eq!(gateway.client().send(get("/t/x")).answer().status, 200);
    }
    let requests = |upstream: &str, outcome: &str| {
        let labels = [("route", "two"), ("upstream", upstream), ("outcome", outcome)];
        gateway.metric("speechgate_upstream_requests_total", &labels)
    };
    let tried = requests(&dead, "unreachable");
    assert!((3.0..=20.0).contains(&tried), "{tried}");
    assert_eq!((requests(&url(&second), "success"), second.take().len()), (120.0, 120));
    let up = |upstream: &str| gateway.metric("speechgate_upstream_up", &[("route", "two"), ("upstream", upstream)]);
    assert_eq!((up(&dead), up(&url(&second))), (0.0, 1.0));
}
