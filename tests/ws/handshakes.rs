//! What counts as an upgrade and what does not.

use crate::support::{SWITCHING, closing, down, gateway, provider, up};
use serde_json::Value;
use speechgate::wire::frame::Opcode::{Close, Text};
use std::sync::{Arc, Mutex};

/// A provider that answers every handshake with these bytes, and tells what it was sent.
async fn answering(answer: impl Into<Vec<u8>>) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let answer = answer.into();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let address = provider(move |mut peer, head| {
        seen.lock().expect("not poisoned").push(head);
        let answer = answer.clone();
        async move {
            peer.send(&answer).await;
            let _ = peer.rest().await;
        }
    })
    .await;
    (address, heads)
}

#[tokio::test]
async fn nothing_passes_without_an_answer_to_the_handshake() {
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_owned(),
        SWITCHING.replace("K+xOo=", "K+xOO=") + "\r\n",
        SWITCHING.replace("websocket", "h2c") + "\r\n",
        SWITCHING.replace("Connection: Upgrade\r\n", "") + "\r\n",
        SWITCHING.to_owned() + accept + "\r\n",
        SWITCHING.to_owned() + "Sec-WebSocket-Protocol: unasked\r\n\r\n",
        SWITCHING.to_owned() + "Sec-WebSocket-Protocol: v1, v2\r\n\r\n",
        SWITCHING.to_owned() + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret".to_owned(),
        // What comes before a head is no head.
        format!("secret{SWITCHING}\r\n"),
        format!("{}{SWITCHING}\r\n", String::from_utf8_lossy(&down(Text, "secret"))),
    ] {
        let (address, _) = answering(answer.clone() + "secret").await;
        let gateway = gateway("generic", address, "", "");
        let mut client = gateway.ask("Sec-WebSocket-Protocol: v1, v2\r\nConnection: close\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head} to {answer}");
        let body = client.rest().await;
        let error: Value = serde_json::from_slice(&body).expect("an envelope");
        assert_eq!(error["error"]["code"], "invalid_upstream_response", "{answer}");
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
        let errors = gateway.metric("speechgate_errors_total").await;
        assert!(errors.len() == 1 && errors[0].contains("transport=\"websocket\""), "{errors:?}");
        assert_eq!(gateway.metric("speechgate_websockets_open").await, [""; 0]);
    }
}

#[tokio::test]
async fn a_handshake_passes_end_to_end() {
    let answer = format!(
        "{SWITCHING}Sec-WebSocket-Protocol: v2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Request-Id: theirs\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let (address, heads) = answering([answer.as_bytes(), &down(Text, "at once")].concat()).await;
    let gateway = gateway("elevenlabs", address, "credentials = { header = \"xi-api-key\", value = \"injected\" }", "");
    let lines = "Sec-WebSocket-Protocol: v1, v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\nCookie: c=3\r\n\
                 Origin: https://app.test\r\nxi-api-key: own\r\nx-request-id: ours-1234\r\n";
    let mut client = gateway.ask(lines).await;
    let head = client.head().await.to_ascii_lowercase();
    for line in [
        "http/1.1 101 switching protocols\r\n",
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "sec-websocket-protocol: v2\r\n",
        "set-cookie: a=1\r\n",
        "set-cookie: b=2\r\n",
        "x-request-id: ours-1234\r\n",
        "x-upstream-request-id: theirs\r\n",
    ] {
        assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
    }
    assert!(!head.contains("content-length") && !head.contains("extensions"), "{head}");
    assert_eq!(client.next().await.payload, b"at once");
    let asked = heads.lock().expect("not poisoned").concat().to_ascii_lowercase();
    for line in [
        "get /socket?token=client-secret http/1.1\r\n",
        "sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n",
        "sec-websocket-protocol: v1, v2\r\n",
        "cookie: c=3\r\n",
        "origin: https://app.test\r\n",
        "xi-api-key: injected\r\n",
    ] {
        // The route injects a key, so the client's own in the query is dropped.
        let line = line.replace("?token=client-secret", "");
        assert_eq!(asked.matches(&line).count(), 1, "{line} in {asked}");
    }
    assert!(!asked.contains("extensions"), "{asked}");
}

#[tokio::test]
async fn bytes_sent_before_the_answer_wait_for_it() {
    let address = provider(|mut peer, head| async move {
        assert!(!head.contains("early"), "{head}");
        peer.accept("").await;
        let frame = peer.next().await;
        peer.send(&down(Text, frame.payload)).await;
        let _ = peer.rest().await;
    })
    .await;
    let gateway = gateway("generic", address, "", "");
    let mut client = gateway.ask("").await;
    client.send(&up(Text, "early")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.next().await.payload, b"early");
}

#[tokio::test]
async fn bytes_sent_before_a_refusal_are_not_forwarded() {
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned();
    let (address, heads) = answering(answer).await;
    let gateway = gateway("generic", address, "", "");
    let mut client = gateway.ask("").await;
    client.send(&up(Text, "early")).await;
    client.send(&up(Close, closing(1000, ""))).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 403 ") && head.contains("x-error-code: permission_denied\r\n"), "{head}");
    let _ = client.rest().await;
    let heads = heads.lock().expect("not poisoned");
    assert!(heads.len() == 1 && !heads[0].contains("early"), "{heads:?}");
}

#[tokio::test]
async fn a_redirect_leads_on_through_the_gateway() {
    let (address, _) =
        answering("HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    let gateway = gateway("generic", address, "", "");
    let mut client = gateway.ask("").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 307 ") && head.contains("location: /r/other\r\n"), "{head}");
}

#[tokio::test]
async fn an_invalid_handshake_is_rejected() {
    let (address, heads) = answering(format!("{SWITCHING}\r\n")).await;
    let gateway = gateway("generic", address, "", "");
    for lines in [
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 8\r\n",
        "Connection: sec-websocket-key\r\n",
    ] {
        let mut client = gateway.ask(lines).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head} to {lines}");
    }
    assert!(heads.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn secrets_that_a_provider_echoes_are_hidden() {
    let text = r#"{"type":"error","error":"no client-secret, no subprotocol-secret here"}"#;
    let (address, _) = answering([format!("{SWITCHING}\r\n").as_bytes(), &down(Text, text)].concat()).await;
    let gateway = gateway("breeze", address, "", "");
    let mut client = gateway.ask("Sec-WebSocket-Protocol: v1, breeze-realtime-token.subprotocol-secret\r\n").await;
    let _ = client.head().await;
    let message = String::from_utf8(client.next().await.payload).expect("UTF-8");
    assert!(message.contains("no ***, no *** here") && !message.contains("secret"), "{message}");
}
