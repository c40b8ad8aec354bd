//! What is tried again, what is not, and how often at most.

use crate::support::check::{canonical, ensure, rows, whole_json};
use crate::support::provider::OK;
use crate::support::stage::Stage;
use crate::support::world::{get, json_answer, post};
use crate::support::{Act, Answer, Gateway, Provider, Settings, World, envelope};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

const RETRY: &str = "retry = { attempts = 3 }";
const BODY: &str = "{\"detail\":{\"status\":\"something\",\"message\":\"It failed.\"}}";
/// The bound on what is kept of a body.
const MOST_KEPT: usize = 256 * 1024;

fn failing(status: u16, lines: &str) -> Vec<u8> {
    json_answer(status, lines, BODY)
}

/// A world with a route `/r` that retries.
fn world(lines: &str) -> World {
    World::with(|settings| settings.beside("retrying", "/r", lines))
}

/// How often the retries of the route came to this.
fn retries(world: &World, outcome: &str) -> f64 {
    world.gateway.metric("speechgate_retries_total", &[("route", "retrying"), ("outcome", outcome)])
}

/// Nothing of the route is left.
fn at_rest(world: &World) {
    world.gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "retrying")], 0.0);
}

/// Tries that the client was told of.
fn told(answer: &Answer) -> Option<String> {
    answer.fields.get("x-speechgate-attempts")
}

#[test]
fn a_failure_of_a_named_type_is_tried_again_and_no_other() {
    let named = "retry = { on = [\"unavailable\", \"upstream\", \"conflict\"] }";
    let world = World::with(|settings| settings.beside("retrying", "/r", named).beside("default", "/d", "retry = {}"));
    let partial = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe";
    // Which route, how it fails first, and the status that the client gets when the provider would answer 200 next.
    let table: &[(&str, &str, Vec<Act>, u16)] = &[
        ("named, 503", "/r", vec![Act::send(failing(503, ""))], 200),
        ("named, 502", "/r", vec![Act::send(failing(502, ""))], 200),
        ("named, no answer", "/r", vec![Act::Fin], 200),
        ("named, a torn head", "/r", vec![Act::send("HTTP/1.1 200 OK\r\nConte"), Act::Reset], 200),
        ("named, torn before its first byte", "/r", vec![Act::send(&partial[..38]), Act::Reset], 200),
        ("named, no HTTP", "/r", vec![Act::send("hello\r\n\r\n"), Act::Fin], 200),
        ("a torn error body", "/r", vec![Act::send(&failing(503, "")[..120]), Act::Reset], 200),
        ("not named, 504", "/r", vec![Act::send(failing(504, ""))], 504),
        ("not named, 429", "/r", vec![Act::send(failing(429, ""))], 429),
        ("not named, 500", "/r", vec![Act::send(failing(500, ""))], 500),
        ("the client's, 400", "/r", vec![Act::send(failing(400, ""))], 400),
        ("named but not retryable, 409", "/r", vec![Act::send(failing(409, ""))], 409),
        ("after the first bytes", "/r", vec![Act::send(partial), Act::Reset], 200),
        ("by default, 503", "/d", vec![Act::send(failing(503, ""))], 200),
        ("by default, 502", "/d", vec![Act::send(failing(502, ""))], 200),
        ("by default, 504", "/d", vec![Act::send(failing(504, ""))], 200),
        ("by default, 500", "/d", vec![Act::send(failing(500, ""))], 500),
        ("without `retry`", "/p", vec![Act::send(failing(503, ""))], 503),
    ];
    rows(
        table,
        |(name, ..)| (*name).to_owned(),
        |(name, route, first, status)| {
            let (_, _) = (world.provider.forget(), world.provider.take());
            world.provider.next(first.as_slice());
            // A POST, since the client of the gateway repeats a GET that an old connection lost by itself.
            let answer = world.ask(post(&format!("{route}/x"), "hello"));
            ensure!(answer.status == *status, "answered {}", answer.line);
            let again = *status == 200 && *name != "after the first bytes";
            ensure!(world.provider.take().len() == 1 + usize::from(again), "not sent as often");
            ensure!(told(&answer) == again.then(|| "2".to_owned()), "told of {:?} tries", told(&answer));
            ensure!(answer.cut.is_some() == (*name == "after the first bytes"), "cut: {:?}", answer.cut);
            Ok(())
        },
    );
    at_rest(&world);
    assert_eq!((retries(&world, "success"), retries(&world, "failure")), (7.0, 0.0));
    world.clean();
}

#[test]
fn the_last_failure_is_answered_and_says_how_often_it_was_tried() {
    let world = World::with(|settings| {
        settings.beside("retrying", "/r", RETRY).beside("native", "/n", &format!("envelope = \"compatible\"\n{RETRY}"))
    });
    world.provider.always([Act::send(failing(503, "X-Mine: 1\r\n"))]);
    let answer = world.get("/r/x");
    let error = envelope(&answer, "unavailable");
    assert_eq!((told(&answer).as_deref(), error["upstream"]["status"].as_u64()), (Some("3"), Some(503)));
    assert_eq!(answer.field("x-mine"), "1");
    let id = answer.field("x-request-id");
    let line = world.gateway.line(|line| line["request_id"] == id.as_str() && line["status"].is_number());
    assert_eq!((line["retries"].as_u64(), line["code"].as_str()), (Some(2), Some("unavailable")));
    let errors = [("route", "retrying"), ("code", "unavailable")];
    assert_eq!(world.gateway.metric("speechgate_errors_total", &errors), 1.0, "callers saw one");
    assert_eq!(world.gateway.metric("speechgate_upstream_errors_total", &errors), 3.0, "the provider made three");

    let native = world.get("/n/x");
    assert_eq!((native.status, told(&native).as_deref()), (503, Some("3")));
    let body = whole_json(&native, "application/json").expect("JSON");
    assert_eq!(
        (body["detail"]["status"].as_str(), body["gateway_error"]["code"].as_str()),
        (Some("something"), Some("unavailable"))
    );
    world.provider.next([Act::send(failing(503, ""))]);
    world.provider.always([Act::send(OK)]);
    let native = world.get("/n/x");
    assert_eq!((native.status, native.text().as_str(), told(&native).as_deref()), (200, "ok", Some("2")));
    at_rest(&world);
    assert_eq!((retries(&world, "success"), retries(&world, "failure")), (0.0, 2.0));
}

#[test]
fn a_body_within_the_bound_is_sent_again_whole_and_a_larger_one_is_not() {
    let world = world("retry = {}");
    let chunked = "POST /r/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                   5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n";
    let long = |size| post("/r/x", &"x".repeat(size));
    let endless = |size: usize| {
        let head = "POST /r/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{size:x}\r\n{}\r\n0\r\n\r\n", "y".repeat(size)).into_bytes()
    };
    let table: Vec<(&str, Vec<u8>, usize, bool)> = vec![
        ("short", post("/r/x", "hello"), 5, true),
        ("chunked, with trailers", chunked.into(), 11, true),
        ("as large as it may be", long(MOST_KEPT), MOST_KEPT, true),
        ("one byte too large", long(MOST_KEPT + 1), MOST_KEPT + 1, false),
        ("too large, unannounced", endless(MOST_KEPT + 1), MOST_KEPT + 1, false),
    ];
    rows(
        table,
        |(name, ..)| (*name).to_owned(),
        |(name, request, size, again)| {
            world.provider.next([Act::send(failing(503, ""))]);
            let answer = world.ask(request);
            let seen = world.provider.take();
            ensure!(seen.len() == 1 + usize::from(*again), "sent {} times", seen.len());
            ensure!(answer.status == if *again { 200 } else { 503 }, "answered {}", answer.line);
            ensure!(seen.iter().all(|again| again.body.len() == *size && again.body == seen[0].body), "another body");
            if name.contains("trailers") {
                ensure!(seen.iter().all(|seen| seen.trailers.get("x-sum").as_deref() == Some("7")), "no trailers");
            }
            Ok(())
        },
    );
    at_rest(&world);
    assert_eq!((retries(&world, "success"), retries(&world, "large_body")), (3.0, 2.0));
    world.clean();
}

#[test]
fn a_body_that_is_still_coming_is_sent_again_with_the_rest_of_it() {
    let (refuse, refused) = sync_channel(1);
    let connections = AtomicUsize::new(0);
    let provider = Provider::with(move |mut conn| {
        if connections.fetch_add(1, Ordering::Relaxed) == 0 {
            // Answered before the body is there.
            let _ = conn.head();
            let _ = conn.wire.send(&failing(503, "Connection: close\r\n"));
            refuse.send(()).expect("the test waits");
            return conn.finish();
        }
        while conn.request().is_some() {
            let _ = conn.wire.send(OK);
        }
    });
    let world = World::around(provider, |settings| settings.beside("retrying", "/r", "retry = {}"));
    let mut client = world.client();
    let _ = client.send("POST /r/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    refused.recv().expect("the provider answers");
    world.gateway.metric_becomes("speechgate_upstream_errors_total", &[("route", "retrying")], 1.0);
    let _ = client.send("6\r\n world\r\n0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, told(&answer).as_deref()), (200, Some("2")));
    assert_eq!(world.provider.one().body, b"hello world");
}

#[test]
fn after_an_informational_response_nothing_is_tried_again() {
    let world = world("retry = {}");
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".to_vec();
    world.provider.next([Act::send([hints, failing(503, "")].concat())]);
    let answer = world.get("/r/x");
    assert_eq!((answer.status, answer.informational.len(), told(&answer)), (503, 1, None));
    assert_eq!(world.provider.take().len(), 1);
}

#[test]
fn a_hint_is_waited_for_and_one_that_is_too_long_is_answered() {
    let world = world("retry = {}");
    world.provider.next([Act::send(failing(503, "Retry-After: 1\r\n"))]);
    let begun = Instant::now();
    assert_eq!(world.get("/r/x").status, 200);
    assert!(begun.elapsed() >= Duration::from_secs(1), "after {:?}", begun.elapsed());
    assert_eq!(retries(&world, "success"), 1.0);
    for long in ["6", "3600"] {
        // One that has not been asked for a pause yet.
        let world = self::world("retry = {}");
        world.provider.next([Act::send(failing(503, &format!("Retry-After: {long}\r\n")))]);
        let answer = world.get("/r/x");
        let error = envelope(&answer, "unavailable");
        assert_eq!((answer.field("retry-after"), told(&answer)), (long.to_owned(), None));
        assert!(error["retry_after_seconds"].is_number());
        assert_eq!(world.provider.take().len(), 1);
        assert_eq!(retries(&world, "long_wait"), 1.0);
    }
}

#[test]
fn no_wait_is_longer_than_the_routes_deadline_for_an_answer() {
    let world = world("retry = {}\ntimeouts = { response = \"500ms\" }");
    world.provider.next([Act::send(failing(503, "Retry-After: 1\r\n"))]);
    assert_eq!(world.get("/r/x").status, 503);
    assert_eq!(retries(&world, "long_wait"), 1.0);
    let world = self::world("retry = {}\ntimeouts = { response = \"500ms\" }");
    world.provider.next([Act::Hang]);
    let answer = world.get("/r/x");
    assert_eq!((answer.status, told(&answer).as_deref()), (200, Some("2")), "each try has the deadline to itself");
}

#[test]
fn a_client_that_leaves_while_it_waits_has_nothing_more_sent() {
    let world = world("retry = {}");
    world.provider.next([Act::send(failing(503, "Retry-After: 4\r\n"))]);
    let mut client = world.client();
    let _ = client.send(post("/r/x", "hello"));
    // The first try has ended, and the wait has begun.
    world.gateway.metric_becomes("speechgate_upstream_errors_total", &[("route", "retrying")], 1.0);
    assert_eq!(world.provider.take().len(), 1);
    client.reset();
    world.gateway.metric_becomes("speechgate_retries_total", &[("route", "retrying"), ("outcome", "cancelled")], 1.0);
    at_rest(&world);
    let errors = [("route", "retrying"), ("code", "client_cancelled")];
    assert_eq!(world.gateway.metric("speechgate_errors_total", &errors), 1.0);
    world.sound().expect("nothing more came");
}

#[test]
fn an_outage_is_not_amplified_past_the_budget() {
    const CALLERS: usize = 20;
    const EACH: usize = 50;
    let world = world("retry = { attempts = 10, budget = \"20%\" }");
    world.provider.always([Act::Fin]);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let _ = scope.spawn(|| {
                let mut client = world.client();
                for _ in 0..EACH {
                    assert_eq!(client.send(get("/r/x")).answer().status, 502);
                }
            });
        }
    });
    let sent = world.provider.take().len();
    // A share of the requests, and what is always allowed: ten, and then one a second.
    let most = (CALLERS * EACH) * 12 / 10 + 10 + begun.elapsed().as_secs() as usize;
    assert!((CALLERS * EACH + 100..=most).contains(&sent), "{sent} calls, of at most {most}");
    at_rest(&world);
    let made = retries(&world, "failure");
    assert_eq!(made, (sent - CALLERS * EACH) as f64);
    assert!(retries(&world, "over_budget") >= 700.0);
}

#[test]
fn a_refused_handshake_is_tried_again() {
    let world = world("retry = {}");
    let handshake = "GET /r/socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    world.provider.next([Act::send(failing(503, ""))]);
    world.provider.next([Act::send(switching), Act::Hang]);
    let mut client = world.client();
    let (status, _, fields) = client.send(handshake).head().expect("a head");
    assert_eq!((status, fields.get("x-speechgate-attempts").as_deref()), (101, Some("2")));
    client.reset();
    let _ = world.provider.abandoned();
    world.provider.always([Act::send(failing(503, ""))]);
    let answer = world.ask(handshake);
    let _ = canonical(&answer, "unavailable").expect("an envelope");
    assert_eq!(told(&answer).as_deref(), Some("2"));
    at_rest(&world);
    assert_eq!((retries(&world, "success"), retries(&world, "failure")), (1.0, 1.0));
}

/// Ten calls that are refused together come back together; one of them tries, and the others have their answer.
#[test]
fn retries_wait_for_the_one_that_tries() {
    let stage = Stage::start();
    let lines = "retry = { on = [\"rate_limited\"] }";
    let gateway = Gateway::start(&Settings::new().route("retrying", "/r", stage.provider.address(), lines));
    let mut clients: Vec<_> = (0..5)
        .map(|_| {
            let mut client = gateway.client();
            let _ = client.send(get("/r/x"));
            client
        })
        .collect();
    assert_eq!(stage.next(5).len(), 5);
    let refusal = json_answer(429, "Retry-After: 1\r\n", "{\"detail\":{\"code\":\"rate_limit_exceeded\"}}");
    (0..5).for_each(|_| stage.say(refusal.clone()));
    assert_eq!(stage.next(1).len(), 1, "the one that tries");
    let made = [("route", "retrying"), ("outcome", "long_wait")];
    gateway.metric_becomes("speechgate_retries_total", &made, 4.0);
    stage.release(1);
    let mut statuses: Vec<u16> = clients.iter_mut().map(|client| client.answer().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 429, 429, 429, 429]);
    let upstream = [("route", "retrying"), ("code", "rate_limited")];
    assert_eq!(gateway.metric("speechgate_upstream_errors_total", &upstream), 5.0, "each is counted once");
}
