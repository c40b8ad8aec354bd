//! Credentials that a route puts into a handshake and a first message, and keys that nobody is shown.

use crate::support::{Peer, closing, down, gateway, provider, up};
use speechgate::wire::frame::Opcode::{self, Binary, Close, Continuation, Text};
use speechgate::wire::frame::{Header, apply_mask};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// What a provider was told: the head of the handshake, then its messages.
type Told = Arc<Mutex<Vec<String>>>;

/// A provider that accepts with these header lines, and answers each message with the text, in which `{}` is what it heard so
/// far.
async fn echoing(lines: &'static str, text: &'static str) -> (SocketAddr, Told) {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let address = provider(move |mut peer, head| {
        let heard = Arc::clone(&heard);
        async move {
            heard.lock().expect("not poisoned").push(head);
            peer.accept(lines).await;
            while let Some(frame) = peer.frame().await {
                if frame.opcode == Close {
                    return peer.send(&down(Close, frame.payload)).await;
                }
                let message = String::from_utf8(frame.payload).expect("UTF-8");
                let all = {
                    let mut heard = heard.lock().expect("not poisoned");
                    heard.push(message);
                    heard.join(" ").replace(['"', '\r', '\n'], " ")
                };
                peer.send(&down(Text, text.replace("{}", &all))).await;
            }
        }
    })
    .await;
    (address, told)
}

/// A fragment as the client sends it.
fn piece(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let key = [5, 6, 7, 8];
    let mut bytes = Vec::new();
    Header { fin, ..Header::new(opcode, Some(key), payload.len() as u64) }.write(&mut bytes);
    let mut payload = payload.to_vec();
    apply_mask(&mut payload, key, 0);
    bytes.extend(payload);
    bytes
}

fn heads(told: &Told) -> String {
    told.lock().expect("not poisoned").first().cloned().unwrap_or_default().to_ascii_lowercase()
}

#[tokio::test]
async fn credentials_stand_where_the_route_puts_them() {
    for (credentials, lines, contains, lacks) in [
        ("query = \"token\"", "", &["get /socket?token=sk-1 http"][..], &["caller-secret"][..]),
        ("query = \"k\"", "Authorization: Bearer own\r\n", &["get /socket?k=sk-1 http"], &["caller-secret", "own"]),
        ("header = \"x-k\", query = \"k\"", "", &["?k=sk-1 http", "x-k: sk-1"], &["caller-secret"]),
        ("subprotocol = \"t.\"", "", &["sec-websocket-protocol: t.sk-1\r\n"], &["caller-secret"]),
        (
            "subprotocol = \"t.\"",
            "Sec-WebSocket-Protocol: v1, t.own\r\nSec-WebSocket-Protocol: v2\r\n",
            &["sec-websocket-protocol: v1, v2, t.sk-1\r\n"],
            &["t.own"],
        ),
        (
            "first_message = \"k\"",
            "Authorization: Bearer own\r\n",
            &["get /socket http"],
            &["sk-1", "own", "caller-secret"],
        ),
    ] {
        let (address, told) = echoing("", "{}").await;
        let route = format!("credentials = {{ {credentials}, value = \"sk-1\" }}");
        let gateway = gateway("generic", address, &route, "");
        let head = gateway.ask(lines).await.head().await;
        assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("sk-1"), "{head}");
        let asked = heads(&told);
        contains.iter().for_each(|part| assert!(asked.contains(part), "{part} in {asked}"));
        lacks.iter().for_each(|part| assert!(!asked.contains(part), "no {part} in {asked}"));
    }
}

#[tokio::test]
async fn whichever_subprotocol_a_provider_chooses_the_client_gets_one_of_its_own() {
    for (offered, chosen, answered) in [
        ("", "t.sk-1", None),
        ("v1", "t.sk-1", Some("v1")),
        ("v1", "v1", Some("v1")),
        ("v1, t.own", "t.sk-1", Some("t.own")),
        ("v1", "", None),
    ] {
        let line = if chosen.is_empty() { String::new() } else { format!("Sec-WebSocket-Protocol: {chosen}\r\n") };
        let (address, _) = echoing(line.leak(), "{}").await;
        let gateway = gateway("generic", address, "credentials = { subprotocol = \"t.\", value = \"sk-1\" }", "");
        let line = if offered.is_empty() { String::new() } else { format!("Sec-WebSocket-Protocol: {offered}\r\n") };
        let head = gateway.ask(&line).await.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 ") && !head.contains("sk-1"), "{head}");
        let found = head.split("sec-websocket-protocol: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        assert_eq!(found, answered, "{offered} {chosen}");
    }
}

#[tokio::test]
async fn the_first_text_message_carries_the_key_however_it_is_cut() {
    let text = r#"{"text":"h€llo","xi_api_key":"own"}"#.as_bytes();
    let (a, b) = text.split_at(9);
    let cut = [piece(false, Text, a), up(Opcode::Ping, "p"), piece(true, Continuation, b)].concat();
    let audio = [up(Binary, "audio"), up(Text, text)].concat();
    for sent in [up(Text, text), cut, audio] {
        let (address, told) = echoing("", "ok").await;
        let route = "credentials = { header = \"xi-api-key\", first_message = \"xi_api_key\", value = \"sk-1\" }";
        let gateway = gateway("elevenlabs", address, route, "");
        let mut client = gateway.open().await;
        for byte in sent.chunks(7) {
            client.send(byte).await;
        }
        client.send(&[up(Text, r#"{"text":"more"}"#), up(Close, closing(1000, ""))].concat()).await;
        assert_eq!(client.frames_until_close().await.last().expect("a close").close().0, 1000);
        let told = told.lock().expect("not poisoned");
        let mut messages: Vec<&str> =
            told.iter().skip(1).map(String::as_str).filter(|text| text.contains('{')).collect();
        assert_eq!(messages.pop(), Some(r#"{"text":"more"}"#));
        assert_eq!(messages, [r#"{"text":"h€llo","xi_api_key":"sk-1"}"#]);
        assert!(told[0].to_ascii_lowercase().contains("xi-api-key: sk-1\r\n"), "{told:?}");
    }
}

#[tokio::test]
async fn a_first_message_without_a_place_for_the_key_is_refused() {
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(64 * 1024));
    let (start, end) = long.as_bytes().split_at(40_000);
    let in_fragments = [piece(false, Text, start), piece(true, Continuation, end)].concat();
    for (route, member) in [("", "error"), ("envelope = \"compatible\"", "gateway_error")] {
        for (sent, code, close) in [
            (up(Text, "hello"), "malformed_body", 1007),
            (up(Text, "[1]"), "malformed_body", 1007),
            (up(Text, r#"{"text":"#), "malformed_body", 1007),
            (up(Text, &long), "payload_too_large", 1009),
            (in_fragments.clone(), "payload_too_large", 1009),
        ] {
            let (address, told) = echoing("", "ok").await;
            let credentials = "credentials = { first_message = \"xi_api_key\", value = \"sk-1\" }";
            let gateway = gateway("elevenlabs", address, &format!("{route}\n{credentials}"), "");
            let mut client = gateway.open().await;
            client.send(&[sent, up(Text, "{}")].concat()).await;
            let frames = client.frames_until_close().await;
            let [message, closed] = frames.as_slice() else { panic!("{frames:?}") };
            assert_eq!(message.json()[member]["code"], code, "{message:?}");
            assert_eq!(closed.close().0, close);
            assert_eq!(told.lock().expect("not poisoned").len(), 1, "nothing reaches the provider");
        }
    }
}

/// What a client reads that sends these messages to a provider that echoes everything in errors.
async fn echoed(name: &str, text: &'static str, route: &str, lines: &str, messages: &[&str]) -> String {
    let (address, _) = echoing("", text).await;
    let gateway = gateway(name, address, route, "");
    let mut client: Peer = gateway.ask(lines).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    let mut read = String::new();
    for message in messages {
        client.send(&up(Text, message)).await;
        read.push_str(&String::from_utf8(client.next().await.payload).expect("UTF-8"));
    }
    client.send(&up(Close, closing(1000, ""))).await;
    let _ = client.frames_until_close().await;
    read + &gateway.metric("speechgate").await.join("\n")
}

#[tokio::test]
async fn no_error_shows_a_key_of_a_message_a_query_or_a_subprotocol() {
    const ELEVENLABS: &str = r#"{"message":"denied: {}","error":"invalid_api_key","code":1008}"#;
    const BREEZE: &str = r#"{"type":"error","code":"AUTH_REQUIRED","message":"denied: {}"}"#;
    let with_keys = [
        r#"{"text":" ","xi_api_key":"own-secret-1","x":{"authorization":"Bearer own-secret-2"}}"#,
        r#"{"context_id":"b","xi_api_key":"own-secret-3"}"#,
    ];
    let token = "Sec-WebSocket-Protocol: v1, breeze-realtime-token.own-secret-4\r\n";
    let places = ["query = \"token\"", "subprotocol = \"t.\"", "first_message = \"xi_api_key\"", "header = \"x-k\""];
    for envelope in ["", "envelope = \"compatible\"\n"] {
        let injected =
            places.map(|place| format!("{envelope}credentials = {{ {place}, value = \"injected-secret+1\" }}"));
        for route in injected.iter().map(String::as_str).chain([envelope]) {
            for (name, text, lines, messages) in
                [("elevenlabs", ELEVENLABS, "", with_keys), ("breeze", BREEZE, token, ["{}", "{}"])]
            {
                let read = echoed(name, text, route, lines, &messages).await;
                assert!(read.contains("denied") && read.contains("***"), "{route} {name}: {read}");
                assert!(!read.contains("-secret"), "{route} {name}: {read}");
            }
        }
    }
}
