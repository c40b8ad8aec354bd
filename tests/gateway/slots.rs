//! Concurrency: who runs, who waits, who is next, and how a slot comes back.

use super::support::http2::{self, H2, RST_STREAM};
use super::support::provider::OK;
use super::support::stage::Stage;
use super::support::world::{get, get_with, json_answer};
use super::support::{Act, Client, Gateway, Provider, Settings, World, envelope};
use std::time::{Duration, Instant};

const IN_USE: &str = "speechgate_concurrency_in_use";
const QUEUED: &str = "speechgate_concurrency_queued";

/// A gateway with the route `/s` to this provider, one call at a time unless the lines say otherwise.
fn gateway(provider: &Provider, lines: &str) -> Gateway {
    Gateway::start(&Settings::new().route("slots", "/s", provider.address(), lines))
}

fn becomes(gateway: &Gateway, metric: &str, value: u32) {
    gateway.metric_becomes(metric, &[("route", "slots")], f64::from(value));
}

/// Asks, and comes back when the request waits as the `queued`th.
fn queue(gateway: &Gateway, request: Vec<u8>, queued: u32) -> Client {
    let mut client = gateway.client();
    let _ = client.send(request);
    becomes(gateway, QUEUED, queued);
    client
}

#[test]
fn first_come_first_served_within_a_priority() {
    let stage = Stage::start();
    let gateway = gateway(&stage.provider, "concurrency = { max = 2, max_wait = '20s' }");
    let mut running: Vec<Client> = ["/s/a", "/s/b"]
        .map(|target| {
            let mut client = gateway.client();
            let _ = client.send(get(target));
            assert_eq!(stage.next(1), [target.trim_start_matches("/s")]);
            client
        })
        .into();
    becomes(&gateway, IN_USE, 2);
    let waiting = [
        ("/s/low1", "x-speechgate-priority: low\r\n"),
        ("/s/normal1", ""),
        ("/s/high1", "X-Speechgate-Priority: HIGH\r\n"),
        ("/s/normal2", "x-speechgate-priority: urgent\r\n"),
        ("/s/high2", "x-speechgate-priority: high\r\n"),
        ("/s/low2", "x-speechgate-priority: low\r\n"),
    ];
    for (count, (target, lines)) in (1..).zip(waiting) {
        running.push(queue(&gateway, get_with(target, lines), count));
    }
    let mut order = Vec::new();
    for _ in waiting {
        stage.release(1);
        order.extend(stage.next(1));
    }
    assert_eq!(order, ["/high1", "/high2", "/normal1", "/normal2", "/low1", "/low2"]);
    stage.release(2);
    assert!(running.iter_mut().all(|client| client.answer().status == 200));
    becomes(&gateway, IN_USE, 0);
    let waits = |priority| gateway.metric("speechgate_queue_wait_seconds_count", &[("priority", priority)]);
    assert_eq!((waits("high"), waits("normal"), waits("low")), (2.0, 4.0, 2.0));
    let line = gateway.line(|line| line["path"] == "/s/low2");
    let (waited, upstream) = (line["queue_wait"].as_f64(), line["upstream_duration"].as_f64());
    assert!(waited > Some(0.0) && upstream.is_some(), "{line}");
    let overhead = gateway.metric("speechgate_overhead_seconds_sum", &[("route", "slots")]);
    assert!(overhead < line["queue_wait"].as_f64().unwrap_or_default(), "waits are no overhead: {overhead}, {line}");
}

#[test]
fn the_priority_is_not_for_the_provider() {
    let world = World::with(|settings| settings.beside("slots", "/s", "concurrency = { max = 1 }"));
    assert_eq!(world.ask(get_with("/s/x", "x-speechgate-priority: high\r\n")).status, 200);
    assert!(!world.provider.one().fields.has("x-speechgate-priority"));
}

/// The queue is full, or the wait is over: the same code, and nothing reaches the provider.
#[test]
fn without_a_slot_in_time_it_is_concurrency_limited() {
    let stage = Stage::start();
    for (lines, waits) in [
        ("concurrency = { max = 1, queue = 0, max_wait = '20s' }", Duration::ZERO),
        ("concurrency = { max = 1, queue = 5, max_wait = '300ms' }", Duration::from_millis(300)),
        ("concurrency = { max = 1, queue = 5, max_wait = '0s' }", Duration::ZERO),
    ] {
        let gateway = gateway(&stage.provider, lines);
        let mut first = gateway.client();
        let _ = first.send(get("/s/first"));
        assert_eq!(stage.next(1), ["/first"]);
        let begun = Instant::now();
        let answer = gateway.client().send(get("/s/second")).answer();
        assert!(begun.elapsed() >= waits, "{:?}", begun.elapsed());
        let error = envelope(&answer, "concurrency_limited");
        assert_eq!((&error["origin"], &error["retryable"]), (&"gateway".into(), &true.into()));
        let wait = error["retry_after_seconds"].as_f64().expect("a wait");
        assert!((0.1..=60.0).contains(&wait), "{wait}");
        assert_eq!(answer.field("ratelimit-policy"), "\"concurrency\";q=1;qu=\"concurrent-requests\"");
        assert_eq!(answer.field("ratelimit"), format!("\"concurrency\";r=0;t={}", wait.ceil()));
        assert_eq!(answer.field("proxy-status"), "speechgate; error=connection_limit_reached");
        let refused = [("route", "slots"), ("limit", "concurrency")];
        gateway.metric_becomes("speechgate_limit_rejections_total", &refused, 1.0);
        stage.release(1);
        assert_eq!(first.answer().status, 200);
        becomes(&gateway, IN_USE, 0);
        assert!(stage.provider.take().is_empty());
    }
}

/// In the words of the provider, with a wait that its SDK understands.
#[test]
fn on_a_compatible_route_the_refusal_is_in_the_providers_shape() {
    let stage = Stage::start();
    let gateway = gateway(&stage.provider, "envelope = 'compatible'\nconcurrency = { max = 1, queue = 0 }");
    let mut first = gateway.client();
    let _ = first.send(get("/s/first"));
    assert_eq!(stage.next(1), ["/first"]);
    let answer = gateway.client().send(get("/s/second")).answer();
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &body["detail"]["code"]), (429, &"concurrent_limit_exceeded".into()));
    assert_eq!(body["gateway_error"]["origin"], "gateway");
    assert!(answer.field("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    assert!(answer.fields.has("ratelimit-policy"));
    stage.release(1);
}

/// A client that leaves gives up its place at once, while the slot is still taken.
#[test]
fn who_leaves_the_queue_is_gone() {
    let stage = Stage::start();
    let gateway = gateway(&stage.provider, "concurrency = { max = 1, max_wait = '20s' }");
    let mut first = gateway.client();
    let _ = first.send(get("/s/first"));
    assert_eq!(stage.next(1), ["/first"]);
    let half = b"POST /s/half HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 9\r\n\r\nhalf".to_vec();
    for request in [get("/s/left"), half] {
        queue(&gateway, request.clone(), 1).reset();
        becomes(&gateway, QUEUED, 0);
        drop(queue(&gateway, request, 1));
        becomes(&gateway, QUEUED, 0);
    }
    let mut h2 = H2::to(gateway.address());
    let _ = h2.send(http2::request(1, &http2::get_fields("/s/reset", &[])));
    becomes(&gateway, QUEUED, 1);
    let _ = h2.send(http2::frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    becomes(&gateway, QUEUED, 0);
    let _ = h2.send(http2::request(3, &http2::get_fields("/s/gone", &[])));
    becomes(&gateway, QUEUED, 1);
    drop(h2);
    becomes(&gateway, QUEUED, 0);
    let mut last = queue(&gateway, get("/s/last"), 1);
    stage.release(2);
    assert_eq!((first.answer().status, last.answer().status), (200, 200));
    assert_eq!(stage.next(1), ["/last"]);
    becomes(&gateway, IN_USE, 0);
    let line = gateway.line(|line| line["path"] == "/s/left");
    assert_eq!((&line["code"], line["queue_wait"].is_number()), (&"client_cancelled".into(), true));
}

/// What the provider does, and what the client does then.
struct End {
    name: &'static str,
    request: &'static [u8],
    acts: Vec<Act>,
    leaves: Option<Leave>,
}

#[derive(Clone, Copy)]
enum Leave {
    BeforeHead,
    MidBody,
}

fn ends() -> Vec<End> {
    let get = b"GET /s/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
    let head = b"HEAD /s/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let end = |name, acts: Vec<Act>| End { name, request: get, acts, leaves: None };
    vec![
        end("a whole answer", vec![Act::send(OK)]),
        end("chunks", vec![Act::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")]),
        end("until close", vec![Act::send("HTTP/1.1 200 OK\r\n\r\nok"), Act::Fin]),
        end("nothing", vec![Act::send("HTTP/1.1 204 No Content\r\n\r\n")]),
        end("not modified", vec![Act::send("HTTP/1.1 304 Not Modified\r\n\r\n")]),
        end(
            "an event stream",
            vec![Act::send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"), Act::Fin],
        ),
        End {
            name: "HEAD",
            request: head,
            acts: vec![Act::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")],
            leaves: None,
        },
        end("an error", vec![Act::send(json_answer(400, "", "{\"detail\":\"no\"}"))]),
        end("no head", vec![Act::Reset]),
        end("no whole head", vec![Act::send("HTTP/1.1 200"), Act::Fin]),
        end("half a body", vec![Act::send(half), Act::Reset]),
        end("half an error", vec![Act::send("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf"), Act::Fin]),
        end("no answer in time", vec![Act::Hang]),
        end("no more of a body", vec![Act::send(half), Act::Hang]),
        End { leaves: Some(Leave::BeforeHead), ..end("the client leaves", vec![Act::Hang]) },
        End { leaves: Some(Leave::MidBody), ..end("the client leaves in the body", vec![Act::send(half), Act::Hang]) },
    ]
}

/// There is one slot: whoever did not give it back would be noticed by all that follow.
#[test]
fn a_slot_comes_back_however_a_call_ends() {
    let provider = Provider::start();
    let lines = "timeouts = { response = '400ms', idle = '400ms' }\nconcurrency = { max = 1, max_wait = '10s' }";
    let gateway = gateway(&provider, lines);
    for End { name, request, acts, leaves } in ends() {
        // A request that the gateway had to send again has been seen twice.
        drop(provider.take());
        provider.next(acts);
        let mut client = gateway.client();
        let _ = client.send(request);
        let _ = provider.one();
        match leaves {
            None => drop(client.try_answer(if name == "HEAD" { "HEAD" } else { "GET" })),
            Some(Leave::BeforeHead) => client.reset(),
            Some(Leave::MidBody) => {
                let _ = client.head().expect("a head");
                client.reset();
            }
        }
        becomes(&gateway, IN_USE, 0);
        assert_eq!(gateway.client().send(get("/s/next")).answer().status, 200, "after: {name}");
    }
}

const HANDSHAKE: &[u8] =
    b"GET /s/socket HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A close with 1000, from a client and from a server.
const CLOSE: [&[u8]; 2] = [&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8], &[0x88, 2, 3, 0xe8]];

/// Where a socket is what counts, it holds its slot to its end; where work on it counts, none is held.
#[test]
fn a_socket_keeps_its_slot_until_it_ends() {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let lines = "concurrency = { max = 1, queue = 0 }";
    let settings = Settings::new().route_to("slots", "/s", "corti", &url, lines);
    let gateway = Gateway::start(&settings.route_to("work", "/w", "elevenlabs", &url, lines));
    for (name, acts, frame) in [
        ("the client closes", vec![Act::Hang], Some(CLOSE[0])),
        ("the client is lost", vec![Act::Hang], None),
        ("the provider closes", vec![Act::send(CLOSE[1]), Act::Fin], Some(CLOSE[0])),
        ("the provider is lost", vec![Act::Fin], None),
    ] {
        let hangs = matches!(acts.as_slice(), [Act::Hang]);
        provider.next([&[Act::send(SWITCHING)], acts.as_slice()].concat());
        let mut client = gateway.client();
        let _ = client.send(HANDSHAKE);
        assert_eq!(client.head().expect("a head").0, 101, "{name}");
        if hangs {
            becomes(&gateway, IN_USE, 1);
            assert_eq!(gateway.client().send(HANDSHAKE).answer().status, 429, "{name}: the socket has the slot");
        }
        if let Some(frame) = frame {
            let _ = client.send(frame);
        }
        if !hangs {
            let _ = client.wire().rest(&mut Vec::new());
        }
        drop(client);
        becomes(&gateway, IN_USE, 0);
        assert_eq!(gateway.client().send(get("/s/next")).answer().status, 200, "after: {name}");
    }
    provider.next([Act::send(json_answer(401, "", "{}"))]);
    assert_eq!(gateway.client().send(HANDSHAKE).answer().status, 401);
    becomes(&gateway, IN_USE, 0);
    provider.next([Act::send(SWITCHING), Act::Hang]);
    let mut idle = gateway.client();
    let _ =
        idle.send(String::from_utf8_lossy(HANDSHAKE).replace("/s/socket", "/w/v1/text-to-speech/voice/stream-input"));
    assert_eq!(idle.head().expect("a head").0, 101);
    assert_eq!(gateway.metric(IN_USE, &[("route", "work")]), 0.0);
}

/// Slots that are taken stay taken, waiters stay, and a larger plan lets them in at once.
#[test]
fn a_reload_keeps_slots_and_waiters() {
    let stage = Stage::start();
    let text = |max: u32, queue: u32| {
        let lines = format!("concurrency = {{ max = {max}, queue = {queue}, max_wait = '20s' }}");
        Settings::new().route("slots", "/s", stage.provider.address(), &lines).text()
    };
    let gateway = Gateway::start_text(&text(1, 8), &[]);
    let reload = |max, queue| {
        std::fs::write(gateway.file("gateway.toml"), text(max, queue)).expect("written");
        assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
        becomes(&gateway, "speechgate_concurrency_limit", max);
    };
    let mut clients = vec![gateway.client()];
    let _ = clients[0].send(get("/s/first"));
    assert_eq!(stage.next(1), ["/first"]);
    clients.push(queue(&gateway, get("/s/second"), 1));
    clients.push(queue(&gateway, get("/s/third"), 2));
    reload(1, 4);
    assert_eq!((gateway.metric(IN_USE, &[]), gateway.metric(QUEUED, &[])), (1.0, 2.0));
    reload(2, 4);
    assert_eq!(stage.next(1), ["/second"]);
    becomes(&gateway, QUEUED, 1);
    reload(1, 4);
    assert_eq!(gateway.metric(IN_USE, &[]), 2.0, "nobody is thrown out");
    stage.release(1);
    becomes(&gateway, IN_USE, 1);
    assert_eq!(gateway.metric(QUEUED, &[]), 1.0, "one may run, and does");
    stage.release(2);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    becomes(&gateway, IN_USE, 0);
}

/// A waiter that could go is never passed by one that comes later.
#[test]
fn nobody_jumps_the_queue() {
    let stage = Stage::start();
    let gateway = gateway(&stage.provider, "concurrency = { max = 1, queue = 64, max_wait = '20s' }");
    let mut clients = vec![gateway.client()];
    let _ = clients[0].send(get("/s/0"));
    assert_eq!(stage.next(1), ["/0"]);
    for number in 1..=20 {
        clients.push(queue(&gateway, get(&format!("/s/{number}")), 1));
        stage.release(1);
        assert_eq!(stage.next(1), [format!("/{number}")]);
    }
    stage.release(1);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
}
