//! The case groups of the Autobahn suite as tables, against an echo endpoint that another implementation provides: each case
//! says what the client gets, and gets it without the gateway and through it.
//!
//! Groups 12 and 13 are about compression, which is not negotiated; all that is left of them is that it is refused.

mod groups;
mod utf8;

use crate::support::{KEY, Peer, closing, gateway, up};
use futures_util::{SinkExt as _, StreamExt as _};
use speechgate::wire::frame::Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
use speechgate::wire::frame::{Opcode, Sender};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_websockets::{Config, Limits, ServerBuilder};

/// Sends every message back, in frames of at most so many bytes.
async fn echo(frame_size: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tokio::spawn(serve(stream, frame_size)));
        }
    }));
    address
}

async fn serve(stream: TcpStream, frame_size: usize) {
    let limits = Limits::unlimited().max_payload_len(Some(64 << 20));
    let builder = ServerBuilder::new().limits(limits).config(Config::default().frame_size(frame_size));
    let Ok((_, mut socket)) = builder.accept(stream).await else { return };
    while let Some(message) = socket.next().await {
        // After an error the next turn sends the close that belongs to it.
        let Ok(message) = message else { continue };
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
    let mut peer = Peer::new(socket.into_inner(), Sender::Client);
    let _ = peer.stream.shutdown().await;
    let _ = peer.rest().await;
}

/// What the client does.
#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    /// Sends in pieces of so many bytes.
    Chop(usize, Vec<u8>),
    /// Waits for the next answer. What comes after this step would end the connection, and may overtake the answer.
    Await,
}

use Step::{Await, Chop, Send};

/// A message or a control frame that the client gets; of a close the code alone.
type Event = (Opcode, Vec<u8>);

struct Case {
    name: String,
    steps: Vec<Step>,
    expected: Vec<Event>,
    /// What the client gets instead through the gateway, where it is stricter.
    limited: Option<Vec<Event>>,
}

fn case(name: impl Into<String>, steps: impl Into<Vec<Step>>, expected: impl Into<Vec<Event>>) -> Case {
    Case { name: name.into(), steps: steps.into(), expected: expected.into(), limited: None }
}

fn closed(code: u16) -> Event {
    (Close, code.to_be_bytes().to_vec())
}

fn text(text: impl AsRef<[u8]>) -> Event {
    (Text, text.as_ref().to_vec())
}

fn pong(payload: impl AsRef<[u8]>) -> Event {
    (Pong, payload.as_ref().to_vec())
}

/// The bits of the first byte that are given are turned over.
fn turned(bits: u8, mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] ^= bits;
    frame
}

/// A fragment that is not the last.
fn part(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    turned(0x80, up(opcode, payload))
}

/// One message in frames of so many bytes.
fn fragments(opcode: Opcode, payload: &[u8], size: usize) -> Vec<u8> {
    let chunks: Vec<&[u8]> = payload.chunks(size).collect();
    let frame = |(at, chunk): (usize, &&[u8])| {
        let opcode = if at == 0 { opcode } else { Continuation };
        if at + 1 == chunks.len() { up(opcode, chunk) } else { part(opcode, chunk) }
    };
    chunks.iter().enumerate().flat_map(frame).collect()
}

/// A frame whose payload is longer than its own kind allows, so that `up` does not serve.
fn long_control(opcode: u8, size: u8) -> Vec<u8> {
    [&[0x80 | opcode, 0x80 | 126, 0, size, 0, 0, 0, 0][..], &vec![b'*'; size.into()]].concat()
}

/// Everything that the client gets up to the end of the connection, without what the gateway says about an error.
async fn outcome(peer: &mut Peer, steps: &[Step]) -> Vec<Event> {
    let (mut events, mut begun) = (Vec::new(), None);
    peer.stream.set_nodelay(true).expect("a TCP socket");
    for step in steps {
        match step {
            Send(bytes) => peer.send(bytes).await,
            Chop(size, bytes) => {
                for chunk in bytes.chunks(*size) {
                    peer.send(chunk).await;
                }
            }
            Await => {
                let before = events.len();
                while events.len() == before && receive(peer, &mut events, &mut begun).await {}
            }
        }
    }
    peer.send(&up(Close, closing(1000, ""))).await;
    while receive(peer, &mut events, &mut begun).await {}
    assert!(begun.is_none(), "half a message");
    events
}

/// Takes the next frame, if one comes.
async fn receive(peer: &mut Peer, events: &mut Vec<Event>, begun: &mut Option<Event>) -> bool {
    let Some(mut frame) = peer.frame().await else { return false };
    match frame.opcode {
        Close => frame.payload.truncate(2),
        Ping | Pong => {}
        opcode => {
            let message = begun.get_or_insert((opcode, Vec::new()));
            message.1.extend_from_slice(&frame.payload);
            if frame.fin {
                let message = begun.take().expect("just put there");
                events.extend((!message.1.starts_with(br#"{"type":"error","error":{"#)).then_some(message));
            }
            return true;
        }
    }
    events.push((frame.opcode, frame.payload));
    true
}

/// An open session with the endpoint itself.
async fn direct(address: SocketAddr) -> Peer {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let mut peer = Peer::new(stream, Sender::Server);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: echo.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    peer.send(request.as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    peer
}

async fn check(frame_size: usize, cases: Vec<Case>) {
    let address = echo(frame_size).await;
    let gateway = gateway("generic", address, "", "");
    let mut wrong = Vec::new();
    for Case { name, steps, expected, limited } in &cases {
        let without = outcome(&mut direct(address).await, steps).await;
        let through = outcome(&mut gateway.open().await, steps).await;
        let wanted = limited.as_ref().unwrap_or(expected);
        for (place, seen, wanted) in [("without", &without, expected), ("through", &through, wanted)] {
            if seen != wanted {
                wrong.push(format!("{name}: {place} the gateway {} instead of {}", short(seen), short(wanted)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases fail\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    gateway.counts("speechgate_websockets_open", &[]).await;
}

fn short(events: &[Event]) -> String {
    let shown = events.iter().map(|(opcode, payload)| {
        format!("{opcode:?} of {}: {}", payload.len(), payload[..payload.len().min(20)].escape_ascii())
    });
    format!("[{}]", shown.collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn group_1_framing() {
    check(usize::MAX, groups::framing()).await;
}

#[tokio::test]
async fn group_2_pings_and_pongs() {
    check(usize::MAX, groups::pings()).await;
}

#[tokio::test]
async fn groups_3_and_4_reserved_bits_and_opcodes() {
    check(usize::MAX, groups::bits_and_opcodes()).await;
}

#[tokio::test]
async fn group_5_fragmentation() {
    check(usize::MAX, groups::fragmentation()).await;
}

#[tokio::test]
async fn group_6_utf8() {
    check(usize::MAX, utf8::utf8()).await;
}

#[tokio::test]
async fn group_7_closes() {
    check(usize::MAX, groups::closes()).await;
}

#[tokio::test]
async fn group_9_limits() {
    check(usize::MAX, groups::sizes()).await;
}

#[tokio::test]
async fn group_10_fragments_of_the_endpoints_making() {
    let mut cases = Vec::new();
    for opcode in [Text, Binary] {
        for size in [0, 1299, 1300, 1301, 65_536] {
            let message = "κ*".repeat(size).into_bytes();
            let expected = [(opcode, message.clone()), closed(1000)];
            cases.push(case(format!("10.1 {opcode:?} of {size}"), [Send(up(opcode, &message))], expected));
        }
    }
    check(1300, cases).await;
}

#[tokio::test]
async fn groups_12_and_13_compression_is_not_negotiated() {
    let gateway = gateway("generic", echo(usize::MAX).await, "", "");
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=9",
    ] {
        let mut client = gateway.ask(&format!("Sec-WebSocket-Extensions: {offer}\r\n")).await;
        let head = client.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 ") && !head.contains("extensions"), "{head}");
        // "Hello" as RFC 7692 7.2.3.1 compresses it.
        let compressed = turned(0x40, up(Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00"));
        let steps = [Send(up(Text, "plain")), Await, Send(compressed)];
        assert_eq!(outcome(&mut client, &steps).await, [text("plain"), closed(1002)]);
    }
}
