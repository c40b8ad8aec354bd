//! Half-open connections, and what keeps idle ones open.

use crate::support::{Frame, Gateway, Peer, down, gateway, provider, up};
use speechgate::wire::frame::Opcode::{Binary, Ping, Pong, Text};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Heard = Arc<Mutex<Vec<(Duration, Frame)>>>;

/// A provider that accepts and notes what it hears and when; `answer` gives what it says to each frame.
async fn noting(answer: fn(&Frame) -> Vec<u8>) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let sink = Arc::clone(&heard);
    let address = provider(move |mut peer, _| {
        let sink = Arc::clone(&sink);
        async move {
            peer.accept("").await;
            let begun = Instant::now();
            while let Some(frame) = peer.frame().await {
                peer.send(&answer(&frame)).await;
                sink.lock().expect("not poisoned").push((begun.elapsed(), frame));
            }
        }
    })
    .await;
    (address, heard)
}

fn pongs(frame: &Frame) -> Vec<u8> {
    if frame.opcode == Ping { down(Pong, &frame.payload) } else { Vec::new() }
}

fn texts(heard: &Heard) -> Vec<String> {
    let heard = heard.lock().expect("not poisoned");
    let texts = heard.iter().filter(|(_, frame)| frame.opcode == Text);
    texts.map(|(_, frame)| String::from_utf8(frame.payload.clone()).expect("UTF-8")).collect()
}

async fn counted_once(gateway: &Gateway, code: &str, kind: &str, origin: &str) {
    let sample = format!(
        "{{route=\"r\",provider=\"cartesia\",type=\"{kind}\",code=\"{code}\",origin=\"{origin}\",transport=\"websocket\"}} 1"
    );
    gateway.counts("speechgate_errors_total", &[&sample]).await;
}

/// A provider whose connection was dead was noticed after minutes, by the idle timeout.
#[tokio::test]
async fn a_half_open_provider_is_told_within_two_pings() {
    for working in [true, false] {
        let (address, heard) = noting(|_| Vec::new()).await;
        let gateway = gateway("cartesia", address, "ping = \"400ms\"", "");
        let mut client = gateway.open().await;
        if working {
            client.send(&up(Text, r#"{"context_id":"c","transcript":"Hello."}"#)).await;
        }
        let begun = Instant::now();
        let frames = client.frames_until_close().await;
        let took = begun.elapsed();
        assert!((700..1600).contains(&took.as_millis()), "{took:?}");
        assert_eq!(frames[0].json()["error"]["code"], "upstream_disconnected");
        assert_eq!(frames[0].json()["error"]["origin"], "network");
        assert_eq!(frames[1].close().0, 1014);
        counted_once(&gateway, "upstream_disconnected", "upstream", "network").await;
        let pings = heard.lock().expect("not poisoned").iter().filter(|(_, frame)| frame.opcode == Ping).count();
        assert_eq!(pings, 2);
    }
}

#[tokio::test]
async fn one_unanswered_ping_is_none_and_pongs_are_not_passed_on() {
    static PINGS: Mutex<usize> = Mutex::new(0);
    // Every second ping is answered; the client's own is answered too, and that answer goes to the client.
    let (address, _) = noting(|frame| {
        let mut pings = PINGS.lock().expect("not poisoned");
        *pings += usize::from(frame.opcode == Ping);
        if frame.payload == b"mine" || (*pings).is_multiple_of(2) { pongs(frame) } else { Vec::new() }
    })
    .await;
    let gateway = gateway("cartesia", address, "ping = \"100ms\"", "");
    let mut client = gateway.open().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.send(&up(Ping, "mine")).await;
    let frame = client.next().await;
    assert_eq!((frame.opcode, &frame.payload[..]), (Pong, &b"mine"[..]));
    gateway.counts("speechgate_errors_total", &[]).await;
    gateway.counts("speechgate_websockets_open", &["{route=\"r\"} 1"]).await;
}

#[tokio::test]
async fn a_provider_that_answers_no_pings_is_not_asked() {
    let (address, heard) = noting(|_| Vec::new()).await;
    let own = "ping = \"100ms\"\ntimeouts = { websocket_idle = \"1s\" }\n[providers.mute]\nextends = \"cartesia\"\nwebsocket = { answers_pings = false }";
    let gateway = gateway("mute", address, own, "");
    let mut client = gateway.open().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.send(&up(Text, "still here")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(texts(&heard), ["still here"]);
    assert_eq!(heard.lock().expect("not poisoned").len(), 1, "no ping");
    gateway.counts("speechgate_errors_total", &[]).await;
    // Its silence says nothing; that somebody waits for an answer does.
    tokio::time::sleep(Duration::from_millis(500)).await;
    gateway.counts("speechgate_errors_total", &[]).await;
    let frames = client.frames_until_close().await;
    let told = frames.iter().find(|frame| frame.opcode == Text).expect("an error");
    assert_eq!(told.json()["error"]["code"], "upstream_timeout");
}

#[tokio::test]
async fn a_half_open_client_has_left() {
    let (address, heard) = noting(pongs).await;
    let gateway = gateway("cartesia", address, "client_ping = \"200ms\"", "");
    // One that answers stays; one that does not is gone within two pings.
    let mut alive = gateway.open().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let frame = alive.next().await;
        assert_eq!(frame.opcode, Ping);
        alive.send(&up(Pong, frame.payload)).await;
    }
    gateway.counts("speechgate_websockets_open", &["{route=\"r\"} 1"]).await;
    gateway.counts("speechgate_errors_total", &[]).await;
    gateway.counts("speechgate_websockets_open", &[]).await;
    counted_once(&gateway, "client_cancelled", "cancelled", "client").await;
    let heard = heard.lock().expect("not poisoned");
    let (_, last) = heard.last().expect("a close");
    assert_eq!(last.close().0, 1001);
    drop(alive);
}

/// A ping may stand between fragments, and never inside a frame that is on its way.
#[tokio::test]
async fn no_ping_stands_inside_a_frame() {
    let (address, heard) = noting(pongs).await;
    let gateway = gateway("cartesia", address, "ping = \"100ms\"", "");
    let mut client = gateway.open().await;
    let frame = up(Binary, vec![7; 200_000]);
    for piece in frame.chunks(50_000) {
        client.send(piece).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
    {
        let heard = heard.lock().expect("not poisoned");
        let long = heard.iter().find(|(_, frame)| frame.opcode == Binary).expect("the frame");
        assert!(long.1.payload.iter().all(|byte| *byte == 7) && long.1.payload.len() == 200_000);
    }
    gateway.counts("speechgate_errors_total", &[]).await;
}

async fn open_at(gateway: &Gateway, path: &str) -> Peer {
    let mut client = gateway.ask_at(path, "").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    client
}

#[tokio::test]
async fn an_idle_socket_is_kept_open_in_the_providers_words() {
    let (address, heard) = noting(pongs).await;
    let gateway = gateway("deepgram", address, "websocket = { keep_alive = \"150ms\" }", "");
    let mut client = open_at(&gateway, "/v1/listen").await;
    // While there is audio nothing else is said.
    for _ in 0..10 {
        client.send(&up(Binary, [0; 320])).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert_eq!(texts(&heard), [""; 0]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let kept = texts(&heard);
    assert!((2..=4).contains(&kept.len()) && kept.iter().all(|text| text == r#"{"type":"KeepAlive"}"#), "{kept:?}");
    // Where the provider has no such message nothing is said, and not where it would be charged.
    let mut other = open_at(&gateway, "/v1/speak").await;
    other.send(&up(Text, r#"{"type":"Speak","text":"Hello."}"#)).await;
    drop(client);
    gateway.counts("speechgate_websockets_open", &["{route=\"r\"} 1"]).await;
    let kept = || texts(&heard).into_iter().filter(|text| text.contains("KeepAlive")).count();
    let before = kept();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(kept(), before);
}

#[tokio::test]
async fn a_socket_is_kept_open_between_contexts_and_not_inside_one() {
    const BEGINS: &str = r#"{"context_id":"c","text":"Hello. "}"#;
    const KEPT: &str = r#"{"text":""}"#;
    let (address, heard) = noting(|frame| match frame.opcode {
        Text if frame.payload == b"end" => down(Text, r#"{"contextId":"c","isFinal":true}"#),
        _ => pongs(frame),
    })
    .await;
    let gateway = gateway("elevenlabs", address, "websocket = { keep_alive = \"150ms\" }", "");
    let mut client = open_at(&gateway, "/v1/text-to-speech/v/multi-stream-input").await;
    let pause = || tokio::time::sleep(Duration::from_millis(500));
    pause().await;
    assert_eq!(texts(&heard), [""; 0], "the client speaks first");
    client.send(&up(Text, BEGINS)).await;
    pause().await;
    assert_eq!(texts(&heard), [BEGINS], "inside a context nothing is said");
    client.send(&up(Text, "end")).await;
    let _ = client.next().await;
    pause().await;
    let said = texts(&heard);
    assert!((4..=6).contains(&said.len()) && said[2..].iter().all(|text| text == KEPT), "{said:?}");
    // A single context is not kept open: the blank that does it may be charged.
    let mut single = open_at(&gateway, "/v1/text-to-speech/v/stream-input").await;
    drop(client);
    gateway.counts("speechgate_websockets_open", &["{route=\"r\"} 1"]).await;
    single.send(&up(Text, r#"{"text":" "}"#)).await;
    pause().await;
    let said = texts(&heard);
    assert_eq!(said.iter().filter(|text| *text == r#"{"text":" "}"#).count(), 1, "{said:?}");
}
