//! Silence on sockets: each kind is told of its generation alone, in time, and counted; the client's own time is nobody's silence.

use crate::support::{Gateway, Peer, down, gateway, provider, up};
use serde_json::{Value, json};
use speechgate::wire::frame::Opcode::{Binary, Close, Text};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const LIMITS: &str = "silence = { first_audio = '600ms', gap = '500ms', empty = true, result = '600ms' }\n";
/// How much later than its limit silence may be told.
const LATE: Duration = Duration::from_millis(250);

/// What a provider does with each text message: what it says, and after how long.
type Script = fn(&Value) -> Vec<(u64, Vec<u8>)>;

async fn speaker(script: Script) -> SocketAddr {
    provider(move |mut peer: Peer, _| async move {
        peer.accept("").await;
        while let Some(frame) = peer.frame().await {
            if frame.opcode == Close {
                return peer.send(&down(Close, frame.payload)).await;
            }
            if frame.opcode == Text {
                for (wait, bytes) in script(&frame.json()) {
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    peer.send(&bytes).await;
                }
            }
        }
    })
    .await
}

fn says(message: &Value) -> Vec<u8> {
    down(Text, message.to_string())
}

fn chunk(context: &str) -> Vec<u8> {
    says(&json!({ "type": "chunk", "done": false, "data": "AQEBAQ==", "context_id": context }))
}

fn done(context: &str) -> Vec<u8> {
    says(&json!({ "type": "done", "done": true, "context_id": context }))
}

async fn open(gateway: &Gateway, path: &str) -> Peer {
    let mut caller = gateway.ask_at(path, "").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 101 "));
    caller
}

async fn say(caller: &mut Peer, message: &Value) {
    caller.send(&up(Text, message.to_string())).await;
}

fn speak(context: &str, more: bool) -> Value {
    json!({ "context_id": context, "transcript": "hello", "continue": more, "model_id": "sonic-3",
            "output_format": { "container": "raw", "encoding": "pcm_s16le", "sample_rate": 8000 } })
}

/// Waits for the error of this code, which comes `limit` after `since` and not much later.
async fn silence(caller: &mut Peer, code: &str, context: Option<&str>, since: Instant, limit: u64) {
    let error = loop {
        let frame = caller.frame().await.expect("an error");
        if frame.opcode == Text && frame.json()["type"] == "error" {
            break frame.json();
        }
    };
    let (took, limit) = (since.elapsed(), Duration::from_millis(limit));
    assert_eq!((error["error"]["code"].as_str(), error["context_id"].as_str()), (Some(code), context), "{error}");
    assert_eq!(error["error"]["origin"], "provider");
    assert!(took + Duration::from_millis(5) >= limit && took < limit + LATE, "{code} after {took:?}");
}

fn contexts(message: &Value) -> Vec<(u64, Vec<u8>)> {
    let id = message["context_id"].as_str().unwrap_or_default();
    let end = message["continue"] == false;
    match id {
        "never" => Vec::new(),
        "late" => vec![(900, chunk(id)), (0, done(id))],
        "stalls" if end => vec![(50, chunk(id)), (50, chunk(id))],
        "empty" if end => vec![(50, done(id))],
        _ if end => vec![(100, chunk(id)), (200, chunk(id)), (100, done(id))],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn each_silent_context_gets_an_error_and_the_others_continue() {
    let gateway = gateway("cartesia", speaker(contexts).await, LIMITS, "");
    for (context, code, limit) in
        [("never", "audio_late", 600), ("stalls", "audio_stalled", 600), ("empty", "no_audio", 50)]
    {
        let mut caller = open(&gateway, "/tts/websocket").await;
        say(&mut caller, &speak(context, false)).await;
        silence(&mut caller, code, Some(context), Instant::now(), limit).await;
        // The socket lives, and another context speaks.
        say(&mut caller, &speak("well", false)).await;
        loop {
            let message = caller.frame().await.expect("the socket is open").json();
            assert_ne!(message["type"], "error", "{message}");
            if message["context_id"] == "well" && message["done"] == true {
                break;
            }
        }
    }
    gateway
        .counts(
            "speechgate_generations_total",
            &[
                "{route=\"r\",provider=\"cartesia\",kind=\"tts\",outcome=\"complete\"} 3",
                "{route=\"r\",provider=\"cartesia\",kind=\"tts\",outcome=\"silent\"} 3",
            ],
        )
        .await;
}

#[tokio::test]
async fn time_that_the_client_takes_is_no_silence() {
    let gateway = gateway("cartesia", speaker(contexts).await, LIMITS, "");
    let mut caller = open(&gateway, "/tts/websocket").await;
    for _ in 0..3 {
        say(&mut caller, &speak("slow", true)).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    say(&mut caller, &speak("slow", false)).await;
    loop {
        let message = caller.frame().await.expect("the socket is open").json();
        assert_ne!(message["type"], "error", "{message}");
        if message["done"] == true {
            break;
        }
    }
    let audio = gateway.metric("speechgate_time_to_first_audio_seconds_count").await;
    assert_eq!(audio.len(), 1, "{audio:?}");
}

#[tokio::test]
async fn where_generations_have_no_ids_the_session_ends_with_the_silence() {
    let gateway = gateway("deepgram", speaker(|_| Vec::new()).await, LIMITS, "");
    let mut caller = open(&gateway, "/v1/speak").await;
    say(&mut caller, &json!({ "type": "Speak", "text": "hello" })).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    say(&mut caller, &json!({ "type": "Flush" })).await;
    silence(&mut caller, "audio_late", None, Instant::now(), 600).await;
    let frame = caller.frame().await.expect("a close");
    assert_eq!((frame.opcode, frame.payload.get(..2)), (Close, Some(&1011u16.to_be_bytes()[..])));
}

#[tokio::test]
async fn binary_audio_counts_and_stalls() {
    fn script(message: &Value) -> Vec<(u64, Vec<u8>)> {
        match message["type"] == "Flush" {
            true => (0..3).map(|_| (300, down(Binary, vec![1; 4800]))).collect(),
            false => Vec::new(),
        }
    }
    let gateway = gateway("deepgram", speaker(script).await, LIMITS, "");
    let mut caller = open(&gateway, "/v1/speak?encoding=linear16&sample_rate=24000").await;
    say(&mut caller, &json!({ "type": "Speak", "text": "hello" })).await;
    say(&mut caller, &json!({ "type": "Flush" })).await;
    silence(&mut caller, "audio_stalled", None, Instant::now(), 1400).await;
}

#[tokio::test]
async fn a_transcription_without_a_result_gets_an_error() {
    let gateway = gateway("deepgram", speaker(|_| Vec::new()).await, LIMITS, "");
    let mut caller = open(&gateway, "/v1/listen?encoding=linear16&sample_rate=16000").await;
    caller.send(&up(Binary, vec![0; 3200])).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    say(&mut caller, &json!({ "type": "Finalize" })).await;
    silence(&mut caller, "no_result", None, Instant::now(), 600).await;
}

#[tokio::test]
async fn without_limits_nothing_is_silent() {
    let gateway = gateway("cartesia", speaker(contexts).await, "", "");
    let mut caller = open(&gateway, "/tts/websocket").await;
    say(&mut caller, &speak("empty", false)).await;
    assert_eq!(caller.frame().await.expect("an end").json()["done"], true);
    let ended = "{route=\"r\",provider=\"cartesia\",kind=\"tts\",outcome=\"complete\"} 1";
    gateway.counts("speechgate_generations_total", &[ended]).await;
}

#[tokio::test]
async fn a_message_too_long_to_be_looked_at_is_no_silence() {
    fn script(message: &Value) -> Vec<(u64, Vec<u8>)> {
        let id = message["context_id"].as_str().unwrap_or_default();
        let long = json!({ "type": "chunk", "done": false, "data": "A".repeat(1_200_000), "context_id": id });
        let long = long.to_string();
        let sent = match id {
            "whole" => down(Text, long),
            _ => {
                // In two fragments, each short enough to be held.
                let (first, second) = long.as_bytes().split_at(600_000);
                let mut first = down(Text, first);
                first[0] &= 0x7f;
                let mut second = down(Text, second);
                second[0] &= 0xf0;
                [first, second].concat()
            }
        };
        // The end comes in the same piece as the end of the long message.
        vec![(50, [sent, done(id)].concat())]
    }
    let gateway = gateway("cartesia", speaker(script).await, LIMITS, "");
    let mut caller = open(&gateway, "/tts/websocket").await;
    for context in ["whole", "parts"] {
        say(&mut caller, &speak(context, false)).await;
        loop {
            let frame = caller.frame().await.expect("the socket is open");
            assert_ne!(frame.opcode, Close);
            let Ok(message) = serde_json::from_slice::<Value>(&frame.payload) else { continue };
            assert_ne!(message["type"], "error", "{message}");
            if message["done"] == true {
                break;
            }
        }
    }
    let told = ["{route=\"r\",provider=\"cartesia\",kind=\"tts\",outcome=\"complete\"} 2"];
    gateway.counts("speechgate_generations_total", &told).await;
}
