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
