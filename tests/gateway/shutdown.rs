//! SIGTERM and what follows: running streams finish, idle connections end, and then the program does.

use crate::support::http2::{GOAWAY, H2, get_fields, request};
use crate::support::traffic::Chorus;
use crate::support::world::get;
use crate::support::{Conn, Gateway, Provider, Settings, World};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

/// A provider that sends half an answer, and the rest when the test says so.
fn halting() -> (Provider, Sender<()>) {
    let (say, heard) = channel::<()>();
    let heard = Mutex::new(heard);
    let provider = Provider::with(move |mut conn: Conn| {
        while let Some(seen) = conn.request() {
            if seen.target() == "/long" {
                let _ = conn.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
                let _ = heard.lock().expect("one long answer at a time").recv();
                let _ = conn.wire.send(b"world");
            } else {
                let _ = conn.wire.send(crate::support::provider::OK);
            }
        }
    });
    (provider, say)
}

/// Waits until new connections are refused.
fn deaf(gateway: &Gateway) {
    let deaf = (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        TcpStream::connect(gateway.address()).is_err()
    });
    assert!(deaf, "a draining gateway still accepts");
}

#[test]
fn an_idle_gateway_ends_at_once_and_well() {
    for signal in ["TERM", "INT"] {
        let mut world = World::start();
        assert_eq!(world.get("/p/a").status, 200);
        world.gateway.signal(signal);
        assert_eq!(world.gateway.ended().code(), Some(0), "{signal}");
    }
}

#[test]
fn running_answers_finish_and_idle_connections_end() {
    let (provider, say) = halting();
    let mut world = World::around(provider, |settings| settings.server("drain_timeout = \"20s\""));
    let mut idle = world.client();
    assert_eq!(idle.send(get("/p/a")).answer().status, 200);
    let mut running = world.client();
    let (status, _, _) = running.send(get("/p/long")).head().expect("a head");
    assert_eq!(status, 200);
    assert_eq!(world.gateway.admin("/readyz").status, 200);

    world.gateway.signal("TERM");
    deaf(&world.gateway);
    assert_eq!(world.gateway.admin("/readyz").status, 503, "not ready while draining");
    assert_eq!(world.gateway.admin("/livez").status, 200, "but alive");
    idle.closed().expect("idle connections end");
    say.send(()).expect("the provider listens");
    let mut body = Vec::new();
    running.wire().exact(10, &mut body).expect("the whole answer");
    assert_eq!(body, b"helloworld");
    running.closed().expect("and then the connection ends");
    assert_eq!(world.gateway.ended().code(), Some(0));
}

#[test]
fn requests_that_outlast_the_drain_are_cut() {
    let (provider, _say) = halting();
    let mut world = World::around(provider, |settings| settings.server("drain_timeout = \"300ms\""));
    let mut running = world.client();
    let (status, _, _) = running.send(get("/p/long")).head().expect("a head");
    assert_eq!(status, 200);
    world.gateway.signal("TERM");
    assert!(running.wire().exact(10, &mut Vec::new()).is_err(), "cut, not finished");
    assert_eq!(world.gateway.ended().code(), Some(0));
}

#[test]
fn http2_clients_get_goaway() {
    let mut world = World::start();
    let mut h2 = H2::to(world.gateway.address());
    let _ = h2.send(request(1, &get_fields("/p/a", &[]))).fate(1);
    world.gateway.signal("TERM");
    let told = std::iter::from_fn(|| h2.frame().ok()).filter(|frame| frame.kind == GOAWAY).count();
    assert!(told > 0, "no GOAWAY before the end");
    assert_eq!(world.gateway.ended().code(), Some(0));
}

/// A load balancer that asks `/readyz` has so long to turn away.
#[test]
fn readiness_fails_before_the_listeners_close() {
    let mut world = World::with(|settings| settings.server("drain_delay = \"1s\""));
    let mut kept = world.client();
    assert_eq!(kept.send(get("/p/a")).answer().status, 200);
    world.gateway.signal("TERM");
    let _ = world.gateway.line(|line| line["message"] == "draining");
    assert_eq!(world.gateway.admin("/readyz").status, 503);
    assert_eq!((world.get("/p/a").status, kept.send(get("/p/a")).answer().status), (200, 200), "still taken");
    deaf(&world.gateway);
    assert_eq!(world.gateway.ended().code(), Some(0));
}

#[test]
fn an_answer_that_begins_while_draining_says_that_it_is_the_last() {
    let (say, heard) = channel::<()>();
    let heard = Mutex::new(heard);
    let provider = Provider::with(move |mut conn: Conn| {
        while conn.request().is_some() {
            let _ = heard.lock().expect("one at a time").recv();
            let _ = conn.wire.send(crate::support::provider::OK);
        }
    });
    let mut world = World::around(provider, |settings| settings);
    let mut waiting = world.client();
    let _ = waiting.send(get("/p/a"));
    world.gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "plain")], 1.0);
    world.gateway.signal("TERM");
    deaf(&world.gateway);
    say.send(()).expect("the provider listens");
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.fields.get("connection").as_deref()), (200, Some("close")));
    waiting.closed().expect("the connection ends");
    assert_eq!(world.gateway.ended().code(), Some(0));
}

/// Two hundred sockets and streams that end by themselves within the time do so whole.
#[test]
fn a_drain_loses_nothing_that_ends_in_time() {
    let chorus = Chorus::start();
    let settings = Settings::standard(chorus.provider.address()).server("drain_timeout = \"20s\"");
    let mut gateway = Gateway::start(&settings);
    let mut traffic = chorus.open(&gateway, 100);
    traffic.round();
    gateway.signal("TERM");
    deaf(&gateway);
    for _ in 0..20 {
        traffic.round();
    }
    assert_eq!(gateway.metric("speechgate_errors_total", &[]), 0.0);
    traffic.finish();
    assert_eq!(gateway.ended().code(), Some(0));
}

/// Those that do not are told, and closed in order.
#[test]
fn sockets_that_outlast_the_drain_get_an_error_and_a_close() {
    let chorus = Chorus::start();
    let settings = Settings::standard(chorus.provider.address()).server("drain_timeout = \"1s\"");
    let mut gateway = Gateway::start(&settings);
    let traffic = chorus.open(&gateway, 20);
    gateway.signal("TERM");
    for (message, close) in traffic.farewells() {
        let message: serde_json::Value = serde_json::from_slice(&message).expect("JSON");
        assert_eq!((&message["type"], &message["error"]["code"]), (&"error".into(), &"shutting_down".into()));
        let reason = close.get(2..).unwrap_or_default();
        assert_eq!(close.get(..2), Some(&1001_u16.to_be_bytes()[..]));
        assert!(reason.starts_with(b"shutting_down: "), "{}", reason.escape_ascii());
    }
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let (provider, _say) = halting();
    let mut world = World::around(provider, |settings| settings.server("drain_timeout = \"1h\"\ndrain_delay = \"1h\""));
    let mut running = world.client();
    assert_eq!(running.send(get("/p/long")).head().expect("a head").0, 200);
    world.gateway.signal("TERM");
    let _ = world.gateway.line(|line| line["message"] == "draining");
    world.gateway.signal("INT");
    assert!(running.wire().exact(10, &mut Vec::new()).is_err(), "cut, not finished");
    assert_eq!(world.gateway.ended().code(), Some(0));
}

/// Streams were cut without a word, and each counted as its client's cancellation.
#[test]
fn streams_that_outlast_the_drain_are_told_and_nobody_has_cancelled_what_is_cut() {
    let provider = Provider::with(|mut conn: Conn| {
        while let Some(seen) = conn.request() {
            let (kind, chunk) = match seen.target() {
                "/events" => ("text/event-stream", "b\r\ndata: {}\n\n\n\r\n"),
                "/lines" => ("application/x-ndjson", "3\r\n{}\n\r\n"),
                _ => ("audio/mpeg", "5\r\naudio\r\n"),
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
            let _ = conn.wire.send(format!("{head}{chunk}").as_bytes());
            let _ = conn.hang();
        }
    });
    let slots = "concurrency = { max = 1, queue = 1, max_wait = \"1m\" }";
    let mut world =
        World::around(provider, |settings| settings.server("drain_timeout = \"1s\"").beside("slots", "/slots", slots));
    let begin = |target: &str| {
        let mut client = world.client();
        assert_eq!(client.send(get(target)).head().expect("a head").0, 200, "{target}");
        client
    };
    let [mut events, mut lines] = ["/p/events", "/p/lines"].map(begin);
    let [mut audio, mut holds] = ["/p/audio", "/slots/audio"].map(begin);
    let mut waits = world.client();
    let _ = waits.send(get("/slots/audio"));
    world.gateway.metric_becomes("speechgate_concurrency_queued", &[("route", "slots")], 1.0);
    world.gateway.signal("TERM");
    for client in [&mut events, &mut lines] {
        let mut text = Vec::new();
        let _ = client.wire().rest(&mut text);
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("\"code\":\"shutting_down\"") && !text.ends_with("0\r\n\r\n"), "{text}");
    }
    let refused = waits.answer();
    assert_eq!((refused.status, refused.field("x-error-code").as_str()), (503, "shutting_down"));
    for client in [&mut audio, &mut holds] {
        let mut bytes = Vec::new();
        let _ = client.wire().rest(&mut bytes);
        assert!(!bytes.ends_with(b"0\r\n\r\n"), "no clean end");
    }
    assert_eq!(world.gateway.ended().code(), Some(0));
    for path in ["/p/events", "/p/lines", "/p/audio", "/slots/audio"] {
        let line = world.gateway.line(|line| line["path"] == path);
        assert_eq!((&line["code"], &line["origin"]), (&"shutting_down".into(), &"gateway".into()), "{line}");
    }
}
