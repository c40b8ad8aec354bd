//! The meter against the provider's own count: requests, streams, contexts, barge-in, retries, cuts.

use crate::support::{Gateway, Peer, down, gateway, provider, up};
use speechgate::proxy::gateway_key;
use speechgate::wire::frame::Opcode::Text;
use speechgate::wire::frame::Sender;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;

const ROUTE: &str = "
retry = { attempts = 2, on = ['unavailable'], budget = '100%' }
[[prices]]
provider = 'acme'
currency = 'EUR'
per_1000_characters = 1.0
[providers.acme]
code = '$.code'
concurrency = { unit = 'context' }
[providers.acme.cost]
text = '$.text'
[[providers.acme.generations]]
path = ['POST /speak', 'POST /again', 'POST /refused', 'POST /cut', 'POST /slow']
audio = 'body'
format = { default = 'pcm_16000' }
[[providers.acme.generations]]
path = 'POST /events'
audio = '$.audio'
format = { default = 'pcm_16000' }
[[providers.acme.generations]]
path = 'GET /socket'
id = '$.id'
begins = { '$.text' = { exists = true } }
last = { '$.last' = true }
cancels = { '$.cancel' = true }
ends = { '$.done' = true }
audio = '$.audio'
format = { default = 'pcm_16000' }
";

/// A tenth of a second of audio.
const AUDIO: usize = 3200;

/// What the provider charges for.
#[derive(Default)]
struct Charged {
    characters: AtomicU64,
    audio_bytes: AtomicU64,
    /// Texts that were refused once.
    again: Mutex<Vec<String>>,
}

impl Charged {
    fn add(&self, text: &str, audio: usize) {
        let _ = self.characters.fetch_add(text.chars().count() as u64, Relaxed);
        let _ = self.audio_bytes.fetch_add(audio as u64, Relaxed);
    }
}

fn base64_audio() -> String {
    // 3200 bytes are 1066 groups of three and one of two.
    format!("{}AAA=", "A".repeat(1066 * 4))
}

/// The provider: one connection, whatever it asks for.
async fn serve(mut peer: Peer, mut head: String, charged: Arc<Charged>) {
    peer.stream.set_nodelay(true).expect("a socket");
    loop {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if path == "/socket" {
            peer.accept("").await;
            return contexts(peer, &charged).await;
        }
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or(0);
        while peer.read.len() < length {
            if !peer.more().await {
                return;
            }
        }
        let body: Vec<u8> = peer.read.drain(..length).collect();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let text = body["text"].as_str().expect("a text");
        let audio =
            |bytes: usize| format!("HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nContent-Length: {bytes}\r\n\r\n");
        let again = path == "/again" && {
            let mut refused = charged.again.lock().expect("not poisoned");
            let first = !refused.iter().any(|known| known == text);
            refused.push(text.to_owned());
            first
        };
        match &*path {
            _ if again => peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await,
            "/refused" => peer.send(b"HTTP/1.1 400 Bad\r\nContent-Length: 14\r\n\r\n{\"code\":\"bad\"}").await,
            "/speak" | "/again" => {
                charged.add(text, AUDIO);
                peer.send(&[audio(AUDIO).as_bytes(), &[1; AUDIO]].concat()).await;
            }
            "/events" => {
                charged.add(text, 2 * AUDIO);
                let event = format!("data: {{\"audio\":\"{}\"}}\n\n", base64_audio());
                let events = format!("{event}{event}");
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n",
                    events.len()
                );
                peer.send(format!("{head}{events}").as_bytes()).await;
            }
            // Half of it, and then nothing: not charged.
            "/cut" => return peer.send(&[audio(AUDIO).as_bytes(), &[1; AUDIO / 2]].concat()).await,
            // The client stops it in the middle: what was taken is charged, and the audio until then.
            _ => {
                charged.add(text, AUDIO / 2);
                peer.send(&[audio(100 * AUDIO).as_bytes(), &[1; AUDIO / 2]].concat()).await;
                let _ = peer.rest().await;
                return;
            }
        }
        head = peer.head().await;
        if head.is_empty() {
            return;
        }
    }
}

/// Contexts on a socket: each piece of text is charged as it comes, and audio comes with the last.
async fn contexts(mut peer: Peer, charged: &Charged) {
    while let Some(frame) = peer.frame().await {
        if frame.opcode != Text {
            return;
        }
        let said = frame.json();
        charged.add(said["text"].as_str().unwrap_or_default(), 0);
        if said["last"] == true {
            charged.add("", AUDIO);
            let id = said["id"].as_str().expect("an id");
            peer.send(&down(Text, format!(r#"{{"id":"{id}","audio":"{}"}}"#, base64_audio()))).await;
            peer.send(&down(Text, format!(r#"{{"id":"{id}","done":true}}"#))).await;
        }
    }
}

/// A request through the gateway; reads to the end, or so many bytes at least.
async fn ask(address: SocketAddr, path: &str, text: &str, stop: Option<usize>) {
    let mut peer = Peer::new(TcpStream::connect(address).await.expect("a connection"), Sender::Server);
    peer.stream.set_nodelay(true).expect("a socket");
    let body = serde_json::json!({ "text": text }).to_string();
    let head = format!(
        "POST /r/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    peer.send(format!("{head}{body}").as_bytes()).await;
    let answer = peer.head().await;
    assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
    while stop.is_none_or(|stop| peer.read.len() < stop) && peer.more().await {}
}

async fn total(gateway: &Gateway, metric: &str) -> f64 {
    let samples = gateway.metric(metric).await;
    samples.iter().filter_map(|sample| sample.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn close(found: f64, truth: f64) -> bool {
    (found - truth).abs() <= truth * 0.005
}

/// `SPEECHGATE_GENERATIONS` sets how many; 10,000 take some seconds.
#[tokio::test]
async fn the_meter_agrees_with_the_providers_own_count() {
    let wanted = std::env::var("SPEECHGATE_GENERATIONS").ok().and_then(|number| number.parse().ok());
    let generations: u64 = wanted.unwrap_or(600);
    let charged = Arc::new(Charged::default());
    let theirs = Arc::clone(&charged);
    let address = provider(move |peer, head| serve(peer, head, Arc::clone(&theirs))).await;
    let gateway = gateway("acme", address, ROUTE, "");
    let mut socket = gateway.ask_at("/socket", "").await;
    socket.stream.set_nodelay(true).expect("a socket");
    assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
    for number in 0..generations {
        let text = format!("{number} Grüße 🎙 {}", "wörter ".repeat((number % 37) as usize));
        let say = |rest: &str| up(Text, format!(r#"{{"id":"{number}","text":"{text}"{rest}}}"#));
        match number % 10 {
            0..=2 => ask(gateway.address, "speak", &text, None).await,
            3 => ask(gateway.address, "events", &text, None).await,
            4 => ask(gateway.address, "again", &text, None).await,
            5 => ask(gateway.address, "refused", &text, None).await,
            6 => ask(gateway.address, "cut", &text, None).await,
            7 => ask(gateway.address, "slow", &text, Some(AUDIO / 2)).await,
            8 => {
                socket.send(&say("")).await;
                socket.send(&say(r#","last":true"#)).await;
                assert!(socket.next().await.json()["audio"].is_string());
                assert_eq!(socket.next().await.json()["done"], true);
            }
            _ => {
                socket.send(&say("")).await;
                socket.send(&up(Text, format!(r#"{{"id":"{number}","cancel":true}}"#))).await;
            }
        }
    }
    drop(socket);
    gateway.counts("speechgate_websockets_open", &[]).await;
    gateway.counts("speechgate_requests_in_flight", &[]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let characters = charged.characters.load(Relaxed) as f64;
    let seconds = charged.audio_bytes.load(Relaxed) as f64 / 32_000.0;
    let found = total(&gateway, "speechgate_usage_characters_total").await;
    assert!(close(found, characters), "{found} characters instead of {characters}");
    let cost = total(&gateway, "speechgate_usage_cost_total").await;
    assert!(close(cost, characters / 1000.0), "{cost} instead of {}", characters / 1000.0);
    let heard = total(&gateway, "speechgate_usage_audio_seconds_total").await;
    assert!(close(heard, seconds), "{heard} seconds instead of {seconds}");
}

#[tokio::test]
async fn an_open_socket_meets_the_budget_of_its_tenant() {
    let key = gateway_key::make().expect("random bytes");
    let charged = Arc::new(Charged::default());
    let theirs = Arc::clone(&charged);
    let address = provider(move |peer, head| serve(peer, head, Arc::clone(&theirs))).await;
    let hash = gateway_key::shown(&gateway_key::hash(key.as_bytes()));
    let tenants = "[[tenants]]\nname = 'a'\nbudgets = [{ characters = 10, per = '30d' }]\n";
    let gateway = gateway("acme", address, &format!("{ROUTE}{tenants}keys = ['{hash}']\n"), "");
    let mut socket = gateway.ask_at("/socket", &format!("x-speechgate-key: {key}\r\n")).await;
    assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
    let say = |id: &str| up(Text, format!(r#"{{"id":"{id}","text":"123456","last":true}}"#));
    for id in ["one", "two"] {
        socket.send(&say(id)).await;
        assert!(socket.next().await.json()["audio"].is_string(), "{id}");
        assert_eq!(socket.next().await.json()["done"], true);
    }
    socket.send(&say("three")).await;
    let refused = socket.next().await.json();
    assert_eq!((&refused["error"]["code"], &refused["context_id"]), (&"quota_exceeded".into(), &"three".into()));
    assert_eq!(charged.characters.load(Relaxed), 12, "nothing of it went to the provider");
}
