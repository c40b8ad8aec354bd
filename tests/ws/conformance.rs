//! RFC 6455, case by case: a client gets through the gateway what it gets from an echo endpoint without it. The classes are
//! those that conformance suites have: framing, control frames, reserved bits, opcodes, fragmentation, UTF-8, closing, sizes.

use crate::support::{Frame, Peer, closing, gateway, provider, up};
use speechgate::wire::close;
use speechgate::wire::frame::Opcode::{self, Binary, Close, Continuation, Ping, Pong, Text};
use speechgate::wire::frame::{Checker, Sender, apply_mask, frame, parse};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A strict endpoint that sends every message back whole, answers pings, and closes as the RFC wants it.
async fn echo() -> SocketAddr {
    provider(|mut peer, _| async move {
        peer.accept("").await;
        let code = match serve(&mut peer).await {
            Ok(None) => return,
            Ok(Some(payload)) => payload,
            Err(code) => closing(code, ""),
        };
        peer.send(&frame(Close, &code, None)).await;
        // What is still on its way is read, so that the close is not lost.
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut peer.stream).await;
        let _ = peer.rest().await;
    })
    .await
}

/// Until a close, whose payload is the answer to it, or until the end.
async fn serve(peer: &mut Peer) -> Result<Option<Vec<u8>>, u16> {
    let (mut checker, mut message) = (Checker::new(false), Vec::new());
    loop {
        let (header, start) = loop {
            match parse(&peer.read, Sender::Client) {
                Ok(Some(found)) => break found,
                Ok(None) if peer.more().await => {}
                Ok(None) => return Ok(None),
                Err(broken) => return Err(broken.close_code()),
            }
        };
        let part = checker.begin(&header).map_err(|broken| broken.close_code())?;
        let end = start + usize::try_from(header.length).expect("a frame that fits");
        while peer.read.len() < end {
            if !peer.more().await {
                return Ok(None);
            }
        }
        let mut payload: Vec<u8> = peer.read.drain(..end).skip(start).collect();
        apply_mask(&mut payload, header.mask.expect("a client masks"), 0);
        checker.payload(&part, &payload, true).map_err(|broken| broken.close_code())?;
        match header.opcode {
            Close => {
                let read = close::read(&payload).map_err(|broken| broken.close_code())?;
                return Ok(Some(read.map_or(Vec::new(), |(code, _)| closing(code, ""))));
            }
            Ping => peer.send(&frame(Pong, &payload, None)).await,
            Pong => {}
            Text | Binary | Continuation => {
                message.extend_from_slice(&payload);
                if part.last {
                    peer.send(&frame(part.opcode, &std::mem::take(&mut message), None)).await;
                }
            }
        }
    }
}

/// What a client gets: all frames up to the end of the connection, without the gateway's own words on an error.
async fn outcome(peer: &mut Peer, pieces: &[&[u8]]) -> Vec<(Opcode, Vec<u8>)> {
    let (good, mut frames) = (up(Text, "good"), Vec::new());
    for piece in pieces {
        peer.send(piece).await;
        tokio::task::yield_now().await;
        // What comes behind it is wrong, and may end the connection before this is answered.
        if *piece == good {
            frames.push(peer.next().await);
        }
    }
    let own = |frame: &Frame| frame.opcode == Text && frame.payload.starts_with(br#"{"type":"error","error":{"#);
    frames.extend(peer.frames().await);
    let shown = |frame: Frame| match frame.opcode {
        // The gateway says more in the reason.
        Close => (Close, frame.payload.into_iter().take(2).collect()),
        opcode => (opcode, frame.payload),
    };
    frames.into_iter().filter(|frame| !own(frame)).map(shown).collect()
}

async fn direct(address: SocketAddr) -> Peer {
    let mut peer = Peer::new(TcpStream::connect(address).await.expect("a connection"), Sender::Server);
    peer.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    peer
}

fn with(first: u8, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[0] = first;
    bytes
}

fn part(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let whole = up(opcode, payload);
    with(whole[0] & 0x7f, whole)
}

fn cases() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let text = "Hello-µ@ßöäüàá-UTF-8!!".as_bytes();
    let (cut, rest) = text.split_at(7);
    let mut cases = vec![
        ("several in one piece", vec![[up(Text, "a"), up(Binary, "b"), up(Ping, "c"), up(Text, "")].concat()]),
        ("byte by byte", up(Text, text).chunks(1).map(<[u8]>::to_vec).collect()),
        ("empty fragments", vec![part(Text, b""), part(Continuation, b""), up(Continuation, "")]),
        ("cut character", vec![part(Text, cut), up(Continuation, rest)]),
        (
            "ping between fragments",
            vec![part(Text, b"1"), up(Ping, "p"), part(Continuation, b"2"), up(Ping, ""), up(Continuation, "3")],
        ),
        ("pong that nobody asked for", vec![up(Pong, "x"), up(Ping, "y")]),
        ("ping of 125 bytes", vec![up(Ping, [0xfe; 125])]),
        ("ping of 126 bytes", vec![vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0]]),
        ("ten pings at once", vec![up(Ping, "p").repeat(10)]),
        ("ping in two frames", vec![part(Ping, b"p"), up(Continuation, "q")]),
        ("continuation of nothing", vec![up(Text, "good"), up(Continuation, "x")]),
        ("text inside text", vec![part(Text, b"1"), up(Text, "2")]),
        ("binary inside text", vec![part(Text, b"1"), up(Binary, "2")]),
        ("close inside a message", vec![part(Text, b"1"), up(Close, closing(1000, ""))]),
        ("text after a close", vec![up(Close, closing(1000, "")), up(Text, "late")]),
        ("ping after a close", vec![up(Close, closing(1000, "")), up(Ping, "late")]),
        ("close without a code", vec![up(Close, "")]),
        ("close with half a code", vec![up(Close, [3])]),
        ("close with a long reason", vec![up(Close, closing(1000, &"r".repeat(123)))]),
        ("close of 126 bytes", vec![vec![0x88, 0xfe, 0, 126, 0, 0, 0, 0]]),
        ("close with a reason that is not UTF-8", vec![up(Close, b"\x03\xe8\xce\xba\xed\xa0\x80")]),
        ("frame without a mask", vec![vec![0x81, 1, b'x']]),
        ("length that is too long for its form", vec![vec![0x81, 0xfe, 0, 1, 0, 0, 0, 0, b'x']]),
    ];
    for bits in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] {
        cases.push(("reserved bits", vec![up(Text, "good"), with(0x81 | bits, up(Text, "bad"))]));
        cases.push(("reserved bits on a ping", vec![with(0x89 | bits, up(Ping, "bad"))]));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(("unknown opcode", vec![up(Text, "good"), with(0x80 | opcode, up(Text, "")), up(Ping, "")]));
    }
    for code in
        [0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65535]
    {
        cases.push(("close code", vec![up(Close, closing(code, ""))]));
    }
    for size in [0, 125, 126, 127, 128, 65535, 65536, 70_000, 1 << 20] {
        cases.push(("binary size", vec![up(Binary, vec![0xfe; size])]));
        cases.push(("text size", vec![up(Text, vec![b'*'; size])]));
    }
    let pieces = vec![b'*'; 200_000];
    let fragments =
        pieces.chunks(997).enumerate().map(|(at, piece)| part(if at == 0 { Text } else { Continuation }, piece));
    cases.push(("many fragments", fragments.chain([up(Continuation, "")]).collect()));
    for bad in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xf4\x90\x80\x80",
        b"\xc0\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xff\xfe",
        b"\xe2\x82",
        b"\x80",
    ] {
        cases.push(("text that is not UTF-8", vec![up(Text, "good"), up(Text, bad)]));
        cases.push(("the same in fragments", vec![part(Text, &bad[..1]), up(Continuation, &bad[1..])]));
    }
    for good in ["\u{7f}\u{7ff}\u{fffd}\u{ffff}\u{10ffff}", "\u{d7ff}\u{e000}", "\u{0}"] {
        cases.push(("text at the edges of UTF-8", vec![up(Text, good)]));
    }
    cases
}

#[tokio::test]
async fn every_case_is_as_without_the_gateway() {
    let address = echo().await;
    let gateway = gateway("generic", address, "", "");
    for (name, mut pieces) in cases() {
        // Whatever has not ended is closed.
        pieces.push(up(Close, closing(1000, "")));
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let expected = outcome(&mut direct(address).await, &pieces).await;
        let seen = outcome(&mut gateway.open().await, &pieces).await;
        assert!(expected.last().is_some_and(|(opcode, _)| *opcode == Close), "{name}: {expected:?}");
        assert!(seen == expected, "{name}: {} instead of {}", short(&seen), short(&expected));
    }
    gateway.counts("speechgate_websockets_open", &[]).await;
}

fn short(frames: &[(Opcode, Vec<u8>)]) -> String {
    let shown: Vec<_> =
        frames.iter().map(|(opcode, payload)| (opcode, payload.len(), &payload[..payload.len().min(20)])).collect();
    format!("{shown:?}")
}
