//! Concurrency counted in the provider's way: contexts and generations take slots, open sockets do not.

use crate::played::{End, played};
use crate::support::{Gateway, Peer, closing, down, gateway, up};
use serde_json::{Value, json};
use speechgate::simulator::{Options, Provider, Simulator};
use speechgate::wire::frame::Opcode::{Binary, Close, Text};
use tokio::sync::mpsc::UnboundedReceiver;

fn route(concurrency: &str) -> String {
    format!("concurrency = {{ {concurrency} }}")
}

fn begin(context: &str, more: bool) -> Value {
    json!({ "context_id": context, "transcript": "hello", "continue": more })
}

fn done(context: &str) -> Value {
    json!({ "type": "done", "done": true, "context_id": context })
}

fn chunk(context: &str) -> Value {
    json!({ "type": "chunk", "done": false, "data": "AAAA", "context_id": context })
}

async fn send(client: &mut Peer, message: &Value) {
    client.send(&up(Text, message.to_string())).await;
}

async fn counts(gateway: &Gateway, in_use: u32, queued: u32) {
    let sample = |count: u32| if count == 0 { Vec::new() } else { vec![format!("{{route=\"r\"}} {count}")] };
    for (name, count) in [("speechgate_concurrency_in_use", in_use), ("speechgate_concurrency_queued", queued)] {
        let samples = sample(count);
        gateway.counts(name, &samples.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

/// A session on the socket whose contexts are counted.
async fn session(gateway: &Gateway, opened: &mut UnboundedReceiver<End>) -> (Peer, End) {
    session_at(gateway, opened, "/tts/websocket").await
}

async fn session_at(gateway: &Gateway, opened: &mut UnboundedReceiver<End>, path: &str) -> (Peer, End) {
    let mut client = gateway.ask_at(path, "").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    (client, opened.recv().await.expect("the provider's end"))
}

#[tokio::test]
async fn a_context_waits_for_a_slot_while_others_continue() {
    let (address, mut opened) = played().await;
    let gateway = gateway("cartesia", address, &route("max = 1, max_wait = \"20s\""), "");
    let (mut client, mut end) = session(&gateway, &mut opened).await;
    counts(&gateway, 0, 0).await;
    send(&mut client, &begin("a", true)).await;
    send(&mut client, &begin("b", false)).await;
    send(&mut client, &begin("a", false)).await;
    end.hears(&begin("a", true)).await;
    counts(&gateway, 1, 1).await;
    end.says(&chunk("a"));
    assert_eq!(client.next().await.json(), chunk("a"));
    // Not even what belongs to a running context overtakes what waits.
    assert!(end.heard.try_recv().is_err());
    end.says(&done("a"));
    assert_eq!(client.next().await.json(), done("a"));
    end.hears(&begin("b", false)).await;
    // Its context has ended, so it begins another, which waits.
    counts(&gateway, 1, 1).await;
    end.says(&done("b"));
    end.hears(&begin("a", false)).await;
    client.send(&up(Close, closing(1000, ""))).await;
    counts(&gateway, 0, 0).await;
}

/// However long its text is, and wherever its context is named: it begins one.
#[tokio::test]
async fn a_long_message_begins_a_context_like_a_short_one() {
    let (address, mut opened) = played().await;
    let gateway = gateway("cartesia", address, &route("max = 1, max_wait = \"20s\""), "");
    let (mut client, mut end) = session(&gateway, &mut opened).await;
    let long = |context: &str, length: usize| {
        let text = "a".repeat(length);
        json!({ "a": text, "transcript": "hello", "continue": false, "context_id": context })
    };
    for (context, length) in [("a", 66_000), ("b", 900_000)] {
        send(&mut client, &long(context, length)).await;
    }
    end.hears(&long("a", 66_000)).await;
    counts(&gateway, 1, 1).await;
    assert!(end.heard.try_recv().is_err());
    end.says(&done("a"));
    end.hears(&long("b", 900_000)).await;
}

#[tokio::test]
async fn without_a_slot_the_context_is_rejected_and_the_session_continues() {
    for (envelope, member) in [("", "error"), ("envelope = \"compatible\"\n", "gateway_error")] {
        let (address, mut opened) = played().await;
        let route = format!("{envelope}{}", route("max = 1, queue = 0"));
        let gateway = gateway("cartesia", address, &route, "");
        let (mut client, mut end) = session(&gateway, &mut opened).await;
        send(&mut client, &begin("a", true)).await;
        for more in [true, true, false] {
            send(&mut client, &begin("b", more)).await;
        }
        let refusal = client.next().await.json();
        assert_eq!(refusal[member]["code"], "concurrency_limited", "{refusal}");
        assert_eq!(refusal[member]["origin"], "gateway", "{refusal}");
        assert_eq!((&refusal["context_id"], refusal.get("done")), (&json!("b"), None), "{refusal}");
        // What was left of it went nowhere, and the context that runs is not disturbed.
        send(&mut client, &begin("a", false)).await;
        end.hears(&begin("a", true)).await;
        end.hears(&begin("a", false)).await;
        end.says(&done("a"));
        assert_eq!(client.next().await.json(), done("a"));
        send(&mut client, &begin("b", false)).await;
        end.hears(&begin("b", false)).await;
        let rejections = gateway.metric("speechgate_limit_rejections_total").await;
        assert_eq!(rejections, ["speechgate_limit_rejections_total{route=\"r\",limit=\"concurrency\"} 1"]);
        drop(client);
        counts(&gateway, 0, 0).await;
    }
}

#[tokio::test]
async fn a_wait_beyond_the_limit_is_rejected() {
    let (address, mut opened) = played().await;
    let gateway = gateway("cartesia", address, &route("max = 1, max_wait = \"50ms\""), "");
    let (mut first, mut end) = session(&gateway, &mut opened).await;
    send(&mut first, &begin("a", true)).await;
    end.hears(&begin("a", true)).await;
    let (mut second, mut other) = session(&gateway, &mut opened).await;
    send(&mut second, &begin("a", false)).await;
    assert_eq!(second.next().await.json()["error"]["code"], "concurrency_limited");
    assert!(other.heard.try_recv().is_err());
    counts(&gateway, 1, 0).await;
}

#[tokio::test]
async fn a_slot_comes_back_however_its_context_ends() {
    for (ending, leaves) in
        [("done", false), ("error", false), ("cancel", false), ("drop", true), ("close", true), ("leave", true)]
    {
        let (address, mut opened) = played().await;
        let gateway = gateway("cartesia", address, &route("max = 1, max_wait = \"20s\""), "");
        let (mut first, mut end) = session(&gateway, &mut opened).await;
        send(&mut first, &begin("a", true)).await;
        end.hears(&begin("a", true)).await;
        let (mut second, mut other) = session(&gateway, &mut opened).await;
        send(&mut second, &begin("a", false)).await;
        counts(&gateway, 1, 1).await;
        let mut end = Some(end);
        match ending {
            "done" => end.as_ref().expect("open").says(&done("a")),
            "error" => end.as_ref().expect("open").says(&json!({
                "type": "error", "done": true, "status_code": 500, "title": "t", "message": "m", "context_id": "a",
            })),
            "cancel" => send(&mut first, &json!({ "context_id": "a", "cancel": true })).await,
            "drop" => end = None,
            "close" => {
                end.as_ref()
                    .expect("open")
                    .say
                    .send(down(Close, closing(1011, "crashed")))
                    .expect("the socket is open");
            }
            _ => first.stream.set_zero_linger().expect("a TCP socket"),
        }
        if ending == "leave" {
            drop(first);
        }
        other.hears(&begin("a", false)).await;
        counts(&gateway, 1, 0).await;
        drop(second);
        counts(&gateway, 0, 0).await;
        assert_eq!(end.is_none(), ending == "drop" && leaves);
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_its_place() {
    let (address, mut opened) = played().await;
    let gateway = gateway("cartesia", address, &route("max = 1, max_wait = \"60s\""), "");
    let (mut first, mut end) = session(&gateway, &mut opened).await;
    send(&mut first, &begin("a", true)).await;
    end.hears(&begin("a", true)).await;
    let (mut second, mut other) = session(&gateway, &mut opened).await;
    send(&mut second, &begin("a", false)).await;
    counts(&gateway, 1, 1).await;
    drop(second);
    counts(&gateway, 1, 0).await;
    assert_eq!(other.heard.recv().await, None);
}

#[tokio::test]
async fn a_refusal_waits_for_the_end_of_a_message_of_the_provider_s() {
    let (address, mut opened) = played().await;
    let gateway = gateway("cartesia", address, &route("max = 1, queue = 0"), "");
    let (mut client, mut end) = session(&gateway, &mut opened).await;
    send(&mut client, &begin("a", true)).await;
    end.hears(&begin("a", true)).await;
    end.say.send(crate::support::fragment(false, Binary, b"half")).expect("open");
    assert_eq!(client.next().await.payload, b"half");
    send(&mut client, &begin("b", false)).await;
    end.say
        .send(crate::support::fragment(true, speechgate::wire::frame::Opcode::Continuation, b"whole"))
        .expect("open");
    assert_eq!(client.next().await.payload, b"whole");
    assert_eq!(client.next().await.json()["context_id"], "b");
}

#[tokio::test]
async fn generations_count_while_they_run() {
    let text = |text: &str| json!({ "text": text });
    let last = || json!({ "audio": null, "isFinal": true });
    for (name, path, opening, begins, ends) in [
        ("elevenlabs", "/v1/text-to-speech/v/stream-input", text(" "), text("hello "), last()),
        (
            "elevenlabs",
            "/v1/text-to-speech/v/multi-stream-input",
            json!({ "text": " ", "context_id": "c" }),
            json!({ "text": "hello ", "context_id": "c" }),
            json!({ "audio": null, "isFinal": true, "contextId": "c" }),
        ),
        (
            "breeze",
            "/v1/text-to-speech/v/stream-input",
            json!({ "type": "session.update", "instructions": "x" }),
            json!({ "type": "turn.start", "turn_id": "t" }),
            json!({ "type": "turn.done", "turn_id": "t" }),
        ),
    ] {
        let (address, mut opened) = played().await;
        let gateway = gateway(name, address, &route("max = 2, queue = 0"), "");
        let (mut client, mut end) = session_at(&gateway, &mut opened, path).await;
        send(&mut client, &opening).await;
        end.hears(&opening).await;
        counts(&gateway, 0, 0).await;
        send(&mut client, &begins).await;
        end.hears(&begins).await;
        counts(&gateway, 1, 0).await;
        send(&mut client, &begins).await;
        end.hears(&begins).await;
        end.says(&ends);
        assert_eq!(client.next().await.json(), ends);
        counts(&gateway, 0, 0).await;
    }
}

#[tokio::test]
async fn a_socket_without_recognisable_units_counts_as_one() {
    let (address, mut opened) = played().await;
    let gateway = gateway("cartesia", address, &route("max = 1, queue = 0"), "");
    let (mut client, _end) = session_at(&gateway, &mut opened, "/stt/websocket").await;
    counts(&gateway, 1, 0).await;
    let head = gateway.ask_at("/stt/websocket", "").await.head().await;
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("x-error-code: concurrency_limited\r\n"), "{head}");
    client.send(&up(Close, closing(1000, ""))).await;
    counts(&gateway, 0, 0).await;
}

#[tokio::test]
async fn one_socket_has_so_many_contexts_and_no_more() {
    let (address, mut opened) = played().await;
    let gateway = gateway("cartesia", address, &route("max = 1000, queue = 0"), "");
    let (mut client, mut end) = session(&gateway, &mut opened).await;
    for context in 0..64 {
        let message = begin(&context.to_string(), false);
        send(&mut client, &message).await;
        end.hears(&message).await;
    }
    send(&mut client, &begin("one too many", false)).await;
    assert_eq!(client.next().await.json()["error"]["code"], "concurrency_limited");
    counts(&gateway, 64, 0).await;
}

/// Begins these contexts on a socket of its own, all at once, and reads until so many have ended. How many were refused.
async fn works(gateway: &Gateway, contexts: usize, until: usize) -> usize {
    let mut client = gateway.ask_at("/tts/websocket", "X-Api-Key: sk_car_test\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    for context in 0..contexts {
        let message = json!({
            "context_id": context.to_string(), "transcript": "hello there", "model_id": "sonic-3",
            "voice": { "mode": "id", "id": "voice-1" },
            "output_format": { "container": "raw", "encoding": "pcm_s16le", "sample_rate": 8000 },
        });
        send(&mut client, &message).await;
    }
    let (mut ended, mut refused) = (0, 0);
    while ended < until {
        let message = client.next().await.json();
        ended += usize::from(message["done"] == true);
        refused += usize::from(message["type"] == "error");
    }
    if until == contexts {
        client.send(&up(Close, closing(1000, ""))).await;
        let _ = client.frames_until_close().await;
    }
    refused
}

#[tokio::test]
async fn many_contexts_of_many_sockets_never_exceed_the_plan() {
    const PLAN: usize = 3;
    let options = Options { plan: Some(PLAN), ..Options::instant() };
    let simulator = Simulator::start(Provider::Cartesia, options).await.expect("a simulator");
    let route = route("max = 3, queue = 1000, max_wait = \"60s\"");
    let gateway = gateway("cartesia", simulator.address(), &route, "");
    let sockets = (0..12).map(|_| works(&gateway, 8, 8));
    let refused: usize = futures_util::future::join_all(sockets).await.iter().sum();
    let stats = simulator.stats();
    assert_eq!((refused, stats.refused, stats.served), (0, 0, 96), "{stats:?}");
    assert!(stats.peak <= PLAN, "{stats:?}");
    counts(&gateway, 0, 0).await;
}

#[tokio::test]
async fn clients_that_vanish_leave_nothing_taken() {
    let options = Options { plan: Some(3), ..Options::instant() };
    let simulator = Simulator::start(Provider::Cartesia, options).await.expect("a simulator");
    let route = route("max = 3, queue = 1000, max_wait = \"60s\"");
    let gateway = gateway("cartesia", simulator.address(), &route, "");
    for until in [0, 1, 3] {
        let sockets = (0..10).map(|number| works(&gateway, 5, if number % 2 == 0 { until } else { 5 }));
        let _ = futures_util::future::join_all(sockets).await;
    }
    counts(&gateway, 0, 0).await;
    assert_eq!(works(&gateway, 5, 5).await, 0);
}

/// The provider ends five contexts of a socket when a sixth begins: it waits until one of them has ended.
#[tokio::test]
async fn a_sixth_context_of_one_socket_waits_and_ends_no_other() {
    let (address, mut opened) = played().await;
    let gateway = gateway("elevenlabs", address, &route("max = 100, max_wait = \"20s\""), "");
    let path = "/v1/text-to-speech/v/multi-stream-input";
    let (mut client, mut end) = session_at(&gateway, &mut opened, path).await;
    let says = |context: usize| json!({ "text": "hello ", "context_id": context.to_string() });
    for context in 0..6 {
        send(&mut client, &says(context)).await;
    }
    for context in 0..5 {
        end.hears(&says(context)).await;
    }
    let audio = json!({ "audio": "AAAA", "contextId": "0" });
    end.says(&audio);
    assert_eq!(client.next().await.json(), audio);
    assert!(end.heard.try_recv().is_err());
    counts(&gateway, 5, 0).await;
    end.says(&json!({ "audio": null, "isFinal": true, "contextId": "0" }));
    end.hears(&says(5)).await;
    counts(&gateway, 5, 0).await;
    // Another socket has five of its own.
    let (mut other, mut its_end) = session_at(&gateway, &mut opened, path).await;
    send(&mut other, &says(9)).await;
    its_end.hears(&says(9)).await;
}
