//! Peers that mean harm, or that die at the worst moment.

use crate::support::{Gateway, KEY, Peer, SWITCHING, closing, down, fragment, gateway, provider, up};
use speechgate::wire::frame::Opcode::{Binary, Close, Continuation, Ping, Text};
use speechgate::wire::frame::Sender;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;

type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// A provider that answers whatever it is asked with these bytes, and tells what comes after the head.
async fn agreeing(answer: Vec<u8>) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let sink = Arc::clone(&heard);
    let address = provider(move |mut peer, _| {
        let (sink, answer) = (Arc::clone(&sink), answer.clone());
        async move {
            peer.send(&answer).await;
            let rest = peer.rest().await;
            sink.lock().expect("not poisoned").push(rest);
        }
    })
    .await;
    (address, heard)
}

async fn connect(gateway: &Gateway) -> Peer {
    Peer::new(TcpStream::connect(gateway.address).await.expect("a connection"), Sender::Server)
}

#[tokio::test]
async fn only_a_websocket_becomes_a_tunnel_whatever_the_provider_says() {
    let proper = format!("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n");
    for (first, lines) in [
        ("GET /r/x HTTP/1.1", "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ("GET /r/x HTTP/1.1", "Connection: upgrade\r\nUpgrade: custom/2\r\n"),
        ("GET /r/x HTTP/1.1", "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n"),
        ("GET /r/x HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket-but-not-quite\r\n"),
        ("GET /r/x HTTP/1.1", "Upgrade: websocket\r\n"),
        ("GET /r/x HTTP/1.1", "Connection: keep-alive\r\nUpgrade: websocket\r\n"),
        ("GET /r/x HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n"),
        ("POST /r/x HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n"),
        ("HEAD /r/x HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n"),
        ("CONNECT /r/x HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n"),
        ("CONNECT provider.test:443 HTTP/1.1", ""),
        ("GET /r/x HTTP/1.1", ""),
    ] {
        let token = lines.split("Upgrade: ").nth(1).and_then(|rest| rest.split('\r').next()).unwrap_or("websocket");
        let answer = SWITCHING.replace("websocket", token) + "\r\nfrom behind the 101";
        let (address, heard) = agreeing(answer.into_bytes()).await;
        let gateway = gateway("generic", address, "", "");
        let mut client = connect(&gateway).await;
        client.send(format!("{first}\r\nHost: gateway.test\r\n{lines}{proper}\r\nsmuggled\r\n\r\n").as_bytes()).await;
        let head = client.head().await;
        let status = head.get(9..12).unwrap_or_default();
        assert!(["400", "405", "502"].contains(&status), "{head} to {first} {lines}");
        let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert!(!rest.contains("behind"), "{rest} to {first} {lines}");
        gateway.counts("speechgate_websockets_open", &[]).await;
        drop(client);
        let heard = heard.lock().expect("not poisoned").concat();
        assert!(heard.is_empty(), "{} after {first} {lines}", heard.escape_ascii());
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Death {
    Fin,
    Reset,
}

impl Death {
    fn of(self, peer: Peer) {
        if matches!(self, Death::Reset) {
            let _ = peer.stream.set_zero_linger();
        }
    }
}

/// What a provider says before it dies, whether the client's close has come by then, and what becomes of the client.
fn last_words() -> Vec<(&'static str, Vec<u8>, bool, Told)> {
    let after = |bytes: Vec<u8>| [format!("{SWITCHING}\r\n").into_bytes(), bytes].concat();
    let binary = down(Binary, [7; 1000]);
    let text = fragment(false, Text, b"half of ");
    let close = down(Close, closing(1000, "bye"));
    vec![
        ("before the handshake", Vec::new(), false, Told::Refused),
        ("inside the answer", SWITCHING.as_bytes()[..60].to_vec(), false, Told::Refused),
        ("before the last byte of the answer", format!("{SWITCHING}\r").into_bytes(), false, Told::Refused),
        ("after the handshake", after(Vec::new()), false, Told::Message),
        ("after one byte of a frame", after(binary[..1].to_vec()), false, Told::Message),
        ("inside a header", after(binary[..3].to_vec()), false, Told::Message),
        ("inside a frame", after(binary[..500].to_vec()), false, Told::Message),
        ("before the last byte of a frame", after(binary[..1003].to_vec()), false, Told::Message),
        ("inside a message", after(text.clone()), false, Told::CloseOnly),
        (
            "inside a fragment",
            after([&text[..], &fragment(true, Continuation, b"another")[..3]].concat()),
            false,
            Told::CloseOnly,
        ),
        ("inside a ping", after(down(Ping, "pong")[..4].to_vec()), false, Told::Message),
        ("inside a close", after(close[..3].to_vec()), false, Told::Message),
        ("before the last byte of a close", after(close[..6].to_vec()), false, Told::Message),
        ("after a close of the client's", after(Vec::new()), true, Told::Answered),
        ("inside an answer to a close", after(close[..3].to_vec()), true, Told::Answered),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// An answer that is no 101.
    Refused,
    /// An error message, then a close.
    Message,
    /// Inside a message there is no place for another.
    CloseOnly,
    /// The close that the client began is answered.
    Answered,
}

#[tokio::test]
async fn a_provider_may_die_at_any_moment() {
    for death in [Death::Fin, Death::Reset] {
        for (moment, bytes, closes, told) in last_words() {
            let address = provider(move |mut peer, _| {
                let bytes = bytes.clone();
                async move {
                    if closes {
                        // The answer first, so that there is a session to be closed.
                        let (head, rest) = bytes.split_at(SWITCHING.len() + 2);
                        peer.send(head).await;
                        let _ = peer.frame().await;
                        peer.send(rest).await;
                    } else {
                        peer.send(&bytes).await;
                    }
                    death.of(peer);
                }
            })
            .await;
            let gateway = gateway("cartesia", address, "", "");
            let mut client = gateway.ask("Connection: close\r\n").await;
            let head = client.head().await;
            let case = format!("{death:?} {moment}");
            // A reset may overtake what was sent before it.
            let overtaken = matches!(death, Death::Reset) && head.starts_with("HTTP/1.1 502 ");
            if told == Told::Refused || overtaken {
                assert!(head.starts_with("HTTP/1.1 502 "), "{case}: {head}");
                let body = client.rest().await;
                let error: serde_json::Value = serde_json::from_slice(&body).expect("an envelope");
                assert_eq!(error["error"]["code"], "upstream_disconnected", "{case}");
            } else {
                assert!(head.starts_with("HTTP/1.1 101 "), "{case}: {head}");
                if closes {
                    client.send(&up(Close, closing(1000, "enough"))).await;
                }
                farewell(&mut client, told, death, &case).await;
            }
            drop(client);
            gateway.counts("speechgate_websockets_open", &[]).await;
        }
    }
}

async fn farewell(client: &mut Peer, told: Told, death: Death, case: &str) {
    let frames = client.frames_until_close().await;
    let (close, said) = frames.split_last().expect("a close");
    let said: Vec<_> = said.iter().filter(|frame| frame.fin || frame.payload != b"half of ").collect();
    match told {
        Told::Answered => assert!(said.is_empty() && close.close().0 == 1000, "{case}: {frames:?}"),
        // With a reset the fragment itself may be lost, and then there is a place for the message.
        Told::CloseOnly if matches!(death, Death::Fin) || frames.len() == 2 && said.is_empty() => {
            assert!(said.is_empty() && frames.len() == 2 && close.close().0 == 1014, "{case}: {frames:?}");
        }
        Told::Message | Told::CloseOnly => {
            let [message] = said.as_slice() else { panic!("{case}: {frames:?}") };
            assert_eq!(message.json()["error"]["code"], "upstream_disconnected", "{case}");
            assert_eq!(close.close().0, 1014, "{case}");
            assert!(close.close().1.starts_with("upstream_disconnected: "), "{case}: {frames:?}");
        }
        Told::Refused => panic!("{case}: {frames:?}"),
    }
}

#[tokio::test]
async fn a_client_may_die_at_any_moment() {
    let binary = up(Binary, [7; 1000]);
    let close = up(Close, closing(1000, "bye"));
    let mut first = up(Text, "half of ");
    first[0] &= 0x7f;
    for death in [Death::Fin, Death::Reset] {
        for (moment, bytes) in [
            ("after the handshake", &b""[..]),
            ("after one byte of a frame", &binary[..1]),
            ("inside a header", &binary[..7]),
            ("inside a frame", &binary[..500]),
            ("before the last byte of a frame", &binary[..1007]),
            ("inside a message", &first),
            ("inside a fragment", &[&first[..], &up(Continuation, "another")[..9]].concat()),
            ("inside a close", &close[..7]),
            ("after a close", &close),
        ] {
            let (told, mut ended) = tokio::sync::mpsc::unbounded_channel();
            let address = provider(move |mut peer, _| {
                let told = told.clone();
                async move {
                    peer.accept("").await;
                    let frames = peer.frames().await;
                    let closes = frames.iter().filter(|frame| frame.opcode == Close);
                    let _ = told.send(closes.map(|close| close.close().0).collect::<Vec<u16>>());
                }
            })
            .await;
            let gateway = gateway("cartesia", address, "", "");
            let mut client = gateway.open().await;
            client.send(bytes).await;
            // What was sent arrives before the end does.
            tokio::task::yield_now().await;
            death.of(client);
            let codes = ended.recv().await.expect("the provider is left");
            // A reset may overtake the close before it.
            let expected: &[&[u16]] = match (moment, death) {
                ("after a close", Death::Fin) => &[&[1000]],
                ("after a close", Death::Reset) => &[&[1000], &[1001]],
                _ => &[&[1001]],
            };
            // Told once and in order, whatever was begun.
            assert!(expected.contains(&codes.as_slice()), "{death:?} {moment}: {codes:?}");
            gateway.counts("speechgate_websockets_open", &[]).await;
        }
    }
}

#[tokio::test]
async fn a_client_may_die_before_its_handshake_is_answered() {
    for death in [Death::Fin, Death::Reset] {
        let (told, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let address = provider(move |mut peer, _| {
            let told = told.clone();
            async move {
                let _ = told.send("asked");
                let _ = peer.rest().await;
                let _ = told.send("left");
            }
        })
        .await;
        let gateway = gateway("cartesia", address, "", "");
        let client = gateway.ask("").await;
        assert_eq!(ended.recv().await, Some("asked"));
        death.of(client);
        assert_eq!(ended.recv().await, Some("left"), "{death:?}");
        gateway.counts("speechgate_requests_in_flight", &[]).await;
        assert_eq!(gateway.metric("speechgate_websockets_open").await, [""; 0]);
    }
}
