//! What contexts on a socket used, and what that costs.

use crate::support::{down, gateway, provider, up};
use speechgate::wire::frame::Opcode::{Close, Text};

const PRICES: &str = "
[[prices]]
provider = 'acme'
currency = 'USD'
per_1000_characters = 0.5
[providers.acme]
extends = 'elevenlabs'
[[providers.acme.generations]]
path = 'GET /v1/speak'
id = ['$.context_id', '$.contextId']
begins = { '$.text' = { matches = '\\S' } }
last = { '$.close_context' = true }
ends = { '$.isFinal' = true }
audio = '$.audio'
format = { name = 'query:output_format' }
";

/// Of three contexts one ends, one is cancelled in the middle, and the provider fails one.
#[tokio::test]
async fn contexts_are_metered_up_to_their_end_and_failed_ones_cost_nothing() {
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        while let Some(frame) = peer.frame().await {
            if frame.opcode != Text {
                return;
            }
            let said = frame.json();
            let id = said["context_id"].as_str().expect("an id").to_owned();
            let answer = match (&*id, said["close_context"] == true) {
                ("bad", _) => format!(r#"{{"contextId":"{id}","error":"quota_exceeded","message":"Over."}}"#),
                // A second of audio at 16 kHz.
                (_, false) => format!(r#"{{"contextId":"{id}","audio":"{}"}}"#, "A".repeat(42_668)),
                (_, true) => format!(r#"{{"contextId":"{id}","isFinal":true}}"#),
            };
            peer.send(&down(Text, answer)).await;
        }
    })
    .await;
    let gateway = gateway("acme", address, PRICES, "");
    let mut client = gateway.ask_at("/v1/speak?output_format=pcm_16000", "").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    for (id, text) in [("one", "Grüße, Welt. "), ("two", "0123456789"), ("bad", "never spoken")] {
        client.send(&up(Text, format!(r#"{{"context_id":"{id}","text":"{text}"}}"#))).await;
        let _ = client.next().await;
    }
    client.send(&up(Text, r#"{"context_id":"one","close_context":true}"#)).await;
    let _ = client.next().await;
    client.send(&up(Close, [])).await;
    gateway.counts("speechgate_websockets_open", &[]).await;
    let used = |metric: &'static str, label: &'static str, value: &'static str| {
        let gateway = &gateway;
        async move {
            let sample = format!("{{route=\"r\",provider=\"acme\",tenant=\"\"{label}}} {value}");
            gateway.counts(metric, &[&sample]).await;
        }
    };
    used("speechgate_usage_characters_total", "", "23").await;
    used("speechgate_usage_cost_total", ",currency=\"USD\"", "0.0115").await;
    let seconds = gateway.metric("speechgate_usage_audio_seconds_total").await;
    let [out] = &seconds[..] else { panic!("{seconds:?}") };
    let (labels, value) = out.rsplit_once(' ').expect("a sample");
    assert!(labels.contains("direction=\"out\""), "{out}");
    let value: f64 = value.parse().expect("a number");
    assert!((value - 2.0).abs() < 0.001, "{value}");
}

/// A provider of contexts that says nothing but the end of each.
async fn ending() -> std::net::SocketAddr {
    provider(|mut peer, _| async move {
        peer.accept("").await;
        while let Some(frame) = peer.frame().await {
            if frame.opcode != Text {
                return;
            }
            let said = frame.json();
            let id = said["context_id"].as_str().expect("an id").to_owned();
            if said["close_context"] == true {
                // Two and a half seconds of audio at 8 kHz, then the end.
                peer.send(&down(Text, format!(r#"{{"contextId":"{id}","audio":"{}"}}"#, "A".repeat(53_336)))).await;
                peer.send(&down(Text, format!(r#"{{"contextId":"{id}","isFinal":true}}"#))).await;
            }
        }
    })
    .await
}

/// Text on sockets cost nothing, so that a plan of so many characters was exceeded there.
#[tokio::test]
async fn text_on_a_socket_counts_and_a_context_that_has_begun_is_never_cut() {
    let limit =
        format!("rate_limits = [{{ requests = 100, per = '1h', burst = 100, cost = 'text-characters' }}]\n{PRICES}");
    let gateway = gateway("acme", ending().await, &limit, "");
    let mut caller = gateway.ask_at("/v1/speak?output_format=pcm_16000", "").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 101 "));
    let text =
        |id: &str, length: usize| up(Text, format!(r#"{{"context_id":"{id}","text":"{}"}}"#, "x".repeat(length)));
    let end = |id: &str| up(Text, format!(r#"{{"context_id":"{id}","close_context":true}}"#));
    // 60 begin it, 60 more go on with it.
    for bytes in [text("one", 60), text("one", 60), end("one")] {
        caller.send(&bytes).await;
    }
    assert!(caller.next().await.json()["audio"].is_string());
    assert_eq!(caller.next().await.json()["isFinal"], true);
    // 20 too many were said: the next does not begin, and the session goes on.
    for _ in 0..2 {
        caller.send(&text("two", 10)).await;
        caller.send(&end("two")).await;
        let error = caller.next().await.json();
        assert_eq!(error["error"]["code"], "rate_limited");
        assert_eq!(error["context_id"], "two");
        let wait = error["error"]["retry_after_seconds"].as_f64().expect("a wait");
        assert!((1000.0..=1080.0).contains(&wait), "{wait}: 30 characters at 36 s each");
    }
    gateway.counts("speechgate_limit_rejections_total", &["{route=\"r\",limit=\"rate\"} 2"]).await;
    gateway.counts("speechgate_websockets_open", &["{route=\"r\"} 1"]).await;
}

#[tokio::test]
async fn audio_seconds_beyond_the_limit_are_charged_to_later_requests() {
    let limit = format!("rate_limits = [{{ requests = 3, per = '1h', burst = 3, cost = 'audio-seconds' }}]\n{PRICES}");
    let gateway = gateway("acme", ending().await, &limit, "");
    let mut caller = gateway.ask_at("/v1/speak?output_format=pcm_8000", "").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 101 "), "a handshake has no audio");
    let say = |id: &str, rest: &str| up(Text, format!(r#"{{"context_id":"{id}","text":"Hello. "{rest}}}"#));
    for id in ["one", "two"] {
        caller.send(&say(id, "")).await;
    }
    for id in ["one", "two"] {
        caller.send(&up(Text, format!(r#"{{"context_id":"{id}","close_context":true}}"#))).await;
        assert!(caller.next().await.json()["audio"].is_string());
        assert_eq!(caller.next().await.json()["isFinal"], true);
    }
    // Three seconds each, rounded up: six of three.
    caller.send(&say("three", r#","close_context":true"#)).await;
    let error = caller.next().await.json();
    assert_eq!(error["error"]["code"], "rate_limited");
    let wait = error["error"]["retry_after_seconds"].as_f64().expect("a wait");
    assert!((4700.0..=4800.0).contains(&wait), "{wait}: four seconds at 1200 s each");
}

/// A message over 1 MiB was not looked at, and its text cost nothing.
#[tokio::test]
async fn a_text_behind_a_mebibyte_of_white_space_costs_its_length() {
    let padding = " ".repeat(1 << 20);
    let padded = |id: &str| format!(r#"{{"context_id":"{id}",{padding}"text":"Hello."}}"#);
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        while let Some(frame) = peer.frame().await {
            if frame.payload.len() < 100 {
                peer.send(&down(Text, r#"{"contextId":"one","isFinal":true}"#)).await;
            }
        }
    });
    let gateway = gateway("acme", address.await, PRICES, "");
    let mut caller = gateway.ask_at("/v1/speak?output_format=pcm_16000", "").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 101 "));
    let text = padded("one");
    // In one frame, and in two that are each short enough.
    caller.send(&up(Text, text.clone())).await;
    let (first, second) = text.as_bytes().split_at(text.len() / 2);
    let mut fragment = up(Text, first);
    fragment[0] &= 0x7f;
    caller.send(&fragment).await;
    caller.send(&up(speechgate::wire::frame::Opcode::Continuation, second)).await;
    caller.send(&up(Text, r#"{"context_id":"one","close_context":true}"#)).await;
    assert_eq!(caller.next().await.json()["isFinal"], true, "all of it passed");
    caller.send(&up(Close, [])).await;
    let expected = format!("{{route=\"r\",provider=\"acme\",tenant=\"\"}} {}", 2 * text.len());
    gateway.counts("speechgate_usage_characters_total", &[&expected]).await;
}

/// Where what begins is limited, nothing begins unseen.
#[tokio::test]
async fn a_message_too_long_to_be_looked_at_is_refused_where_generations_are_limited() {
    let limit =
        format!("rate_limits = [{{ requests = 100, per = '1h', burst = 100, cost = 'text-characters' }}]\n{PRICES}");
    let gateway = gateway("acme", ending().await, &limit, "");
    let mut caller = gateway.ask_at("/v1/speak?output_format=pcm_16000", "").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 101 "));
    caller.send(&up(Text, format!(r#"{{"context_id":"a",{}"text":"x"}}"#, " ".repeat(1 << 20)))).await;
    assert_eq!(caller.next().await.json()["error"]["code"], "payload_too_large");
    let close = caller.next().await;
    assert_eq!((close.opcode, &close.payload[..2]), (Close, &1009u16.to_be_bytes()[..]));
}
