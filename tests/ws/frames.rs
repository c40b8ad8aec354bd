//! What passes, what is refused, and who is told.

use crate::support::{Frame, Gateway, closing, down, fragment, gateway, provider, saying, up};
use speechgate::wire::frame::Opcode::{self, Binary, Close, Continuation, Ping, Pong, Text};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// A provider that sends every frame back as it came, and closes when it is closed.
async fn echo() -> SocketAddr {
    provider(|mut peer, _| async move {
        peer.accept("").await;
        while let Some(frame) = peer.frame().await {
            let opcode = if frame.opcode == Ping { Pong } else { frame.opcode };
            peer.send(&fragment(frame.fin, opcode, &frame.payload)).await;
            if frame.opcode == Close {
                return;
            }
        }
    })
    .await
}

/// A provider that tells all the frames that it gets, and how they ended.
async fn hearing() -> (SocketAddr, Arc<Mutex<Vec<Frame>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let address = provider(move |mut peer, _| {
        let sink = Arc::clone(&sink);
        async move {
            peer.accept("").await;
            while let Some(frame) = peer.frame().await {
                sink.lock().expect("not poisoned").push(frame);
            }
        }
    })
    .await;
    (address, heard)
}

/// What a client gets that sends these bytes.
async fn session(gateway: &Gateway, sent: &[u8]) -> Vec<Frame> {
    let mut client = gateway.open().await;
    client.send(sent).await;
    client.frames().await
}

#[tokio::test]
async fn frames_pass_as_they_come() {
    let gateway = gateway("cartesia", echo().await, "", "");
    let mut client = gateway.open().await;
    let long = vec![7; 300_000];
    for (fin, opcode, payload) in [
        (true, Text, "hello".as_bytes()),
        (true, Text, b""),
        (true, Binary, &[0, 255, 1]),
        (true, Binary, &[0; 126]),
        (true, Binary, &long),
        (false, Text, "h\u{e9}".as_bytes().split_at(2).0),
        (false, Continuation, b""),
        (true, Continuation, "\u{e9}".as_bytes().split_at(1).1),
        (false, Text, br#"{"type":"error"#),
        (true, Continuation, br#"s are not meant"}"#),
        (true, Text, br#"{"type":"chunk","data":"error"}"#),
    ] {
        let mut bytes = up(opcode, payload);
        bytes[0] = bytes[0] & 0x7f | u8::from(fin) << 7;
        client.send(&bytes).await;
        if payload.starts_with(br#"{"type":"error"#) && !fin {
            // Held until it is whole.
            continue;
        }
        if opcode == Continuation && payload.ends_with(b"meant\"}") {
            assert_eq!(client.next().await, Frame { fin: false, opcode: Text, payload: br#"{"type":"error"#.to_vec() });
        }
        assert_eq!(client.next().await, Frame { fin, opcode, payload: payload.to_vec() });
    }
    client.send(&[up(Ping, "between"), up(Pong, "unasked")].concat()).await;
    assert_eq!(client.next().await, Frame { fin: true, opcode: Pong, payload: b"between".to_vec() });
    assert_eq!(client.next().await, Frame { fin: true, opcode: Pong, payload: b"unasked".to_vec() });
    client.send(&up(Close, closing(4321, "bye"))).await;
    assert_eq!(client.next().await.close(), (4321, "bye".to_owned()));
    assert_eq!(client.frame().await, None);
    gateway.counts("speechgate_errors_total", &[]).await;
    gateway.counts("speechgate_websocket_closes_total", &["{route=\"r\",code=\"other\",initiator=\"caller\"} 1"]).await;
    gateway
        .counts(
            "speechgate_websocket_messages_total",
            &["{route=\"r\",direction=\"upstream\"} 8", "{route=\"r\",direction=\"downstream\"} 8"],
        )
        .await;
    gateway.counts("speechgate_websockets_open", &[]).await;
}

#[tokio::test]
async fn control_frames_pass_between_fragments_that_are_held() {
    let script = [
        fragment(false, Text, br#" {"type":"#),
        fragment(true, Ping, b"p"),
        fragment(false, Continuation, br#""error","message":"#),
        fragment(true, Continuation, br#""boom"}"#),
        fragment(true, Close, &closing(1000, "")),
    ];
    let gateway = gateway("cartesia", saying(script.concat()).await, "", "");
    let mut client = gateway.open().await;
    assert_eq!(client.next().await.opcode, Ping);
    let message = client.next().await;
    assert!(message.fin && message.json()["error"]["message"] == "boom", "{message:?}");
    assert_eq!(client.next().await.close().0, 1000);
}

#[tokio::test]
async fn a_message_that_is_too_large_to_be_looked_at_passes() {
    let padding = " ".repeat(70_000);
    let text = format!(r#"{{"type":"error","message":"{padding}"}}"#);
    let (first, rest) = text.as_bytes().split_at(40_000);
    for script in [down(Text, &text), [fragment(false, Text, first), fragment(true, Continuation, rest)].concat()] {
        let gateway = gateway("cartesia", saying([script, down(Close, closing(1000, ""))].concat()).await, "", "");
        let frames = gateway.open().await.frames_until_close().await;
        let data = frames.iter().filter(|frame| frame.opcode != Close);
        let payload: Vec<u8> = data.flat_map(|frame| frame.payload.clone()).collect();
        assert!(payload == text.as_bytes());
        gateway.counts("speechgate_errors_total", &[]).await;
    }
}

/// Bytes that break the protocol, the code that they are closed with, and a word of the reason.
fn offences(from: fn(Opcode, &[u8]) -> Vec<u8>, mask: u8) -> Vec<(Vec<u8>, u16, &'static str)> {
    let with = |first: u8, mut bytes: Vec<u8>| {
        bytes[0] = first;
        bytes
    };
    let key: &[u8] = if mask == 0 { &[] } else { &[0; 4] };
    let large = [&[0x82, mask | 127], &(16 * 1024 * 1024 + 1_u64).to_be_bytes()[..], key].concat();
    vec![
        (with(0xc1, from(Text, b"rsv1")), 1002, "reserved bit"),
        (with(0x91, from(Text, b"rsv3")), 1002, "reserved bit"),
        (with(0x83, from(Text, b"op")), 1002, "opcode"),
        (with(0x8f, from(Text, b"op")), 1002, "opcode"),
        (vec![0x82, mask | 126, 0, 5], 1002, "length"),
        (vec![0x82, mask | 127, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002, "length"),
        (vec![0x82, (mask ^ 0x80) | 1], 1002, "masking"),
        (with(0x09, from(Ping, b"x")), 1002, "control"),
        (vec![0x89, mask | 126, 0, 126], 1002, "control"),
        (with(0x80, from(Continuation, b"of nothing")), 1002, "sequence"),
        (from(Text, b"\xff"), 1007, "UTF-8"),
        (from(Text, b"cut \xe2\x82"), 1007, "UTF-8"),
        (from(Close, b"\x03"), 1002, "close"),
        (from(Close, &closing(1005, "")), 1002, "close"),
        (from(Close, &closing(1015, "")), 1002, "close"),
        (from(Close, &closing(999, "")), 1002, "close"),
        (from(Close, b"\x03\xe8\xff"), 1007, "UTF-8"),
        (large, 1009, "too large"),
    ]
}

#[tokio::test]
async fn a_client_protocol_violation_closes_and_the_frame_is_not_forwarded() {
    for (bytes, code, word) in offences(|opcode, payload| up(opcode, payload), 0x80) {
        let (address, heard) = hearing().await;
        let gateway = gateway("cartesia", address, "", "");
        let frames = session(&gateway, &[up(Text, "good"), bytes.clone(), up(Text, "late")].concat()).await;
        let [message, close] = frames.as_slice() else { panic!("{frames:?} to {bytes:?}") };
        let expected = if code == 1009 { "payload_too_large" } else { "invalid_request" };
        assert_eq!(message.json()["error"]["code"], expected, "{bytes:?}");
        let (said, reason) = close.close();
        assert!(said == code && reason.starts_with(expected) && reason.contains(word), "{said} {reason} to {bytes:?}");
        gateway.counts("speechgate_websockets_open", &[]).await;
        let heard = heard.lock().expect("not poisoned");
        let [good, close] = heard.as_slice() else { panic!("{heard:?} of {bytes:?}") };
        // A message over the bound ends 1009 on both sides.
        let expected = if code == 1009 { 1009 } else { 1001 };
        assert_eq!((good.payload.as_slice(), close.close().0), (&b"good"[..], expected));
    }
}

#[tokio::test]
async fn a_provider_protocol_violation_closes_with_an_error_to_the_client() {
    for (bytes, code, word) in offences(|opcode, payload| down(opcode, payload), 0) {
        let closes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&closes);
        let script = [down(Text, "good"), bytes.clone(), down(Text, "late")].concat();
        let address = provider(move |mut peer, _| {
            let (sink, script) = (Arc::clone(&sink), script.clone());
            async move {
                peer.accept("").await;
                peer.send(&script).await;
                let frames = peer.frames().await;
                sink.lock().expect("not poisoned").extend(frames);
            }
        })
        .await;
        let gateway = gateway("cartesia", address, "", "");
        let mut client = gateway.open().await;
        let frames = client.frames_until_close().await;
        let [good, message, close] = frames.as_slice() else { panic!("{frames:?} to {bytes:?}") };
        assert_eq!(good.payload, b"good");
        let error = &message.json()["error"];
        assert_eq!((&error["code"], &error["origin"]), (&"invalid_upstream_response".into(), &"network".into()));
        let (said, reason) = close.close();
        let expected = if code == 1009 { 1009 } else { 1014 };
        let worded = reason.starts_with("invalid_upstream_response: ");
        assert!(said == expected && worded, "{said} {reason} to {bytes:?}");
        drop(client);
        gateway.counts("speechgate_websockets_open", &[]).await;
        let closes = closes.lock().expect("not poisoned");
        let [close] = closes.as_slice() else { panic!("{closes:?} of {bytes:?}") };
        let (said, reason) = close.close();
        assert!(said == code && reason.contains(word), "{said} {reason} of {bytes:?}");
    }
}

#[tokio::test]
async fn a_route_sets_the_largest_frame_and_message() {
    let half = |first: bool| {
        let opcode = if first { Binary } else { Continuation };
        let mut frame = up(opcode, [7; 60]);
        frame[0] = frame[0] & 0x7f | u8::from(!first) << 7;
        frame
    };
    for (limits, bytes, passes) in [
        ("max_frame = 60, max_message = 120", [half(true), half(false)].concat(), true),
        ("max_frame = 60, max_message = 119", [half(true), half(false)].concat(), false),
        ("max_frame = 59, max_message = \"1KiB\"", [half(true), half(false)].concat(), false),
        ("max_message = 60", up(Binary, [7; 61]), false),
        ("max_frame = \"20MiB\", max_message = \"20MiB\"", up(Binary, vec![7; 17 << 20]), true),
    ] {
        let gateway = gateway("cartesia", echo().await, &format!("websocket = {{ {limits} }}"), "");
        let frames = session(&gateway, &[bytes, up(Close, closing(1000, ""))].concat()).await;
        let (close, back) = frames.split_last().expect("a close");
        let back: usize = back.iter().filter(|frame| frame.opcode != Text).map(|frame| frame.payload.len()).sum();
        assert_eq!(close.close().0, if passes { 1000 } else { 1009 }, "{limits}");
        assert!(back > 0 || !passes, "{limits}");
    }
}

#[tokio::test]
async fn an_oversized_provider_message_is_reported_as_such() {
    let script = saying([down(Text, "good"), down(Binary, [0; 129])].concat()).await;
    let gateway = gateway("cartesia", script, "websocket = { max_message = 128 }", "");
    let frames = gateway.open().await.frames_until_close().await;
    let [good, message, close] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(good.payload, b"good");
    assert_eq!(message.json()["error"]["code"], "invalid_upstream_response");
    assert!(close.close().1.contains("larger than this gateway passes on"), "{close:?}");
}

#[tokio::test]
async fn inside_a_message_only_the_close_reports_the_error() {
    let script = [fragment(false, Binary, b"part"), fragment(true, Text, b"another")].concat();
    let gateway = gateway("cartesia", saying(script).await, "", "");
    let frames = gateway.open().await.frames_until_close().await;
    let [part, close] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(part.payload, b"part");
    assert_eq!(close.close().0, 1014);
}

#[tokio::test]
async fn fragments_and_cuts_make_no_difference() {
    let text = r#"{"type":"error","message":"h€llo","context_id":"c"}"#.as_bytes();
    for at in 0..=text.len() {
        let (first, second) = text.split_at(at);
        let bytes =
            [fragment(false, Text, first), fragment(true, Continuation, second), down(Close, closing(1000, ""))]
                .concat();
        let cut = at * bytes.len() / text.len();
        let address = provider(move |mut peer, _| {
            let bytes = bytes.clone();
            async move {
                peer.accept("").await;
                let _ = peer.stream.set_nodelay(true);
                peer.send(&bytes[..cut]).await;
                tokio::task::yield_now().await;
                peer.send(&bytes[cut..]).await;
                let _ = peer.rest().await;
            }
        })
        .await;
        let gateway = gateway("cartesia", address, "", "");
        let mut client = gateway.open().await;
        let message = client.next().await.json();
        assert_eq!((&message["error"]["message"], &message["context_id"]), (&"h€llo".into(), &"c".into()));
        assert_eq!(client.next().await.close().0, 1000);
    }
}
