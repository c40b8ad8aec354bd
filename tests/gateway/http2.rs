//! HTTP/2 from clients: what is malformed is reset, floods end, and the rest is as good as HTTP/1.1.

use crate::support::check::{Outcome, ensure, rows};
use crate::support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, H2, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, block, frame,
    get_fields, request, request_head, with_method,
};
use crate::support::world::json_answer;
use crate::support::{Act, Provider, Wire, World};

/// What an ordinary GET comes to.
fn ordinary(world: &World) -> Fate {
    H2::to(world.gateway.address()).send(request(1, &get_fields("/p/a", &[]))).fate(1)
}

fn ok() -> Fate {
    Fate::Answered(200, b"ok".to_vec())
}

#[test]
fn ordinary_requests_pass() {
    let world = World::start();
    let mut h2 = H2::to(world.gateway.address());
    assert_eq!(h2.send(request(1, &get_fields("/p/a?b=c", &[("x-a", "1"), ("te", "trailers")]))).fate(1), ok());
    let seen = world.provider.one();
    assert_eq!((seen.line.as_str(), seen.fields.get("x-a").as_deref()), ("GET /a?b=c HTTP/1.1", Some("1")));
    assert_eq!(seen.fields.get("x-forwarded-host").as_deref(), Some("gateway.test"));

    let head = request_head(3, &with_method("POST", "/p/clip", &[("content-length", "5")]));
    assert_eq!(h2.send(head).send(frame(DATA, 0, 3, b"hel")).send(frame(DATA, END_STREAM, 3, b"lo")).fate(3), ok());
    assert_eq!(world.provider.one().body, b"hello");

    let _ = h2.send(request_head(5, &with_method("POST", "/p/clip", &[]))).send(frame(DATA, 0, 5, b"hello"));
    assert_eq!(h2.send(frame(HEADERS, END_HEADERS | END_STREAM, 5, &block(&[("x-sum", "1")]))).fate(5), ok());
    assert_eq!(world.provider.one().body, b"hello");
    world.clean();
}

#[test]
fn failures_are_envelopes_there_too() {
    let world = World::start();
    let body = "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No.\"}}";
    world.provider.next([Act::send(json_answer(404, "", body))]);
    let Fate::Answered(status, body) = ordinary(&world) else { panic!("no answer") };
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, body["error"]["code"].as_str()), (404, Some("voice_not_found")));

    let fate = H2::to(world.gateway.address()).send(request(1, &get_fields("/nowhere", &[]))).fate(1);
    assert!(matches!(fate, Fate::Answered(404, _)), "{fate:?}");
}

/// Refused with RST_STREAM, a 4xx, or the end of the connection; and never forwarded.
fn malformed(world: &World, frames: &[u8]) -> Outcome {
    let _ = world.provider.take();
    let mut h2 = H2::to(world.gateway.address());
    let fate = h2.send(frames).fate(1);
    let refused = match &fate {
        Fate::Answered(status, _) => (400..500).contains(status),
        Fate::Reset(status, _) => status.is_none(),
        Fate::GoAway(_) => true,
        Fate::Closed(end) => *end != crate::support::End::Deadline,
    };
    ensure!(refused, "{fate:?}");
    let seen: Vec<String> = world.provider.take().into_iter().map(|seen| seen.line).collect();
    ensure!(seen.is_empty(), "forwarded {seen:?}");
    Ok(())
}

#[test]
fn malformed_fields_are_refused() {
    let world = World::start();
    let more: &[(&str, &str)] = &[
        ("x", "a\r\nevil: 1"),
        ("x", "a\nb"),
        ("x", "a\0b"),
        ("x", "a\rb"),
        ("x\r\nevil", "1"),
        ("x: y", "1"),
        ("X-Upper", "1"),
        ("", "1"),
        ("x y", "1"),
        ("x\0", "1"),
        ("x(", "1"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        (":path", "/again"),
        (":method", "POST"),
        (":unknown", "x"),
        (":status", "200"),
        ("content-length", "5"),
        ("content-length", "x"),
    ];
    rows(more, |field| format!("{field:?}"), |field| malformed(&world, &request(1, &get_fields("/p/a", &[**field]))));
    assert_eq!(ordinary(&world), ok());
    world.clean();
}

#[test]
fn malformed_pseudo_fields_are_refused() {
    let world = World::start();
    let lists: &[&[(&str, &str)]] = &[
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a")],
        &[(":scheme", "http"), (":authority", "a"), (":path", "/p/a")],
        &[(":method", "GET"), (":authority", "a"), (":path", "/p/a")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/p/a")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "p/a")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p/a b")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p/a\r\nevil: 1")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "http://evil/p/a")],
        &[(":method", "G T"), (":scheme", "http"), (":authority", "a"), (":path", "/p/a")],
        &[(":method", "GET / HTTP/1.1\r\nevil: 1"), (":scheme", "http"), (":authority", "a"), (":path", "/p/a")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a b"), (":path", "/p/a")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "u@a"), (":path", "/p/a")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a\r\nb"), (":path", "/p/a")],
        &[("x", "1"), (":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p/a")],
        &[(":method", "CONNECT"), (":authority", "a:443")],
        &[(":method", "CONNECT"), (":scheme", "http"), (":authority", "a"), (":path", "/p/a")],
    ];
    rows(lists, |list| format!("{list:?}"), |list| malformed(&world, &request(1, list)));
    world.clean();
}

#[test]
fn a_content_length_that_lies_is_never_forwarded_whole() {
    let world = World::start();
    let head = |length| request_head(1, &with_method("POST", "/p/clip", &[("content-length", length)]));
    let table = [
        ("too short a body", [head("9"), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        ("too long a body", [head("2"), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        ("no body", request(1, &with_method("POST", "/p/clip", &[("content-length", "5")]))),
        (
            "two lengths",
            request_head(1, &with_method("POST", "/p/clip", &[("content-length", "5"), ("content-length", "6")])),
        ),
    ];
    rows(table, |(name, _)| (*name).to_owned(), |(_, frames)| malformed(&world, frames));
    assert_eq!(ordinary(&world), ok());
    world.clean();
}

#[test]
fn a_host_field_does_not_beat_the_authority() {
    let world = World::start();
    assert_eq!(
        H2::to(world.gateway.address()).send(request(1, &get_fields("/p/a", &[("host", "evil.example")]))).fate(1),
        ok()
    );
    let seen = world.provider.one().fields;
    assert_eq!(seen.get("host"), Some(world.provider.address().to_string()));
    assert_eq!(seen.get("x-forwarded-host").as_deref(), Some("gateway.test"));
}

#[test]
fn cookie_crumbs_are_joined() {
    let world = World::start();
    let crumbs = [("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f")];
    assert_eq!(H2::to(world.gateway.address()).send(request(1, &get_fields("/p/a", &crumbs))).fate(1), ok());
    assert_eq!(world.provider.one().fields.all("cookie"), ["a=b; c=d; e=f"]);
}

#[test]
fn broken_frames_end_the_connection() {
    let world = World::start();
    let get = request(1, &get_fields("/p/a", &[]));
    let table = [
        ("DATA on stream 0", frame(DATA, END_STREAM, 0, b"x")),
        ("HEADERS on stream 0", frame(HEADERS, END_HEADERS | END_STREAM, 0, &block(&get_fields("/p/a", &[])))),
        ("an even stream", frame(HEADERS, END_HEADERS | END_STREAM, 2, &block(&get_fields("/p/a", &[])))),
        ("DATA on an idle stream", frame(DATA, 0, 5, b"x")),
        ("a frame past the size", frame(DATA, 0, 1, &vec![0; 20_000])),
        ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("PING of seven bytes", frame(PING, 0, 0, &[0; 7])),
        ("CONTINUATION alone", frame(CONTINUATION, END_HEADERS, 1, b"")),
        ("a header block that is no HPACK", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 20])),
        ("a frame inside a header block", [frame(HEADERS, END_STREAM, 1, b""), frame(PING, 0, 0, &[0; 8])].concat()),
    ];
    rows(
        table,
        |(name, _)| (*name).to_owned(),
        |(_, frames)| {
            let fate = H2::to(world.gateway.address()).send(frames).fate(1);
            ensure!(
                matches!(fate, Fate::GoAway(_) | Fate::Reset(None, _))
                    || fate == Fate::Closed(crate::support::End::Fin)
                    || fate == Fate::Closed(crate::support::End::Reset),
                "{fate:?}"
            );
            Ok(())
        },
    );
    assert_eq!(H2::to(world.gateway.address()).send(get).fate(1), ok());
    let mut wire = Wire::connect(world.gateway.address());
    let _ = wire.send(&[PREFACE, b"garbage that is no frame"].concat());
    assert_ne!(wire.rest(&mut Vec::new()), crate::support::End::Deadline);
}

/// Sends until the gateway hangs up, at most `count` times.
fn flood(world: &World, count: usize, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let mut wire = Wire::connect(world.gateway.address());
    let _ = wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
    (0..count).any(|round| {
        let bytes: Vec<u8> =
            (0..100).flat_map(|inner| next(u32::try_from(round * 100 + inner).expect("small"))).collect();
        wire.send(&bytes).is_err()
    })
}

#[test]
fn floods_end_and_delay_no_other_client() {
    let world = World::start();
    assert_eq!(ordinary(&world), ok());
    let before = world.gateway.memory();
    let resets = flood(&world, 2000, |index| {
        [request(index * 2 + 1, &get_fields("/p/a", &[])), frame(RST_STREAM, 0, index * 2 + 1, &[0, 0, 0, 8])].concat()
    });
    assert!(resets, "200,000 rapid resets were taken");
    let continuations = flood(&world, 2000, |index| {
        if index == 0 {
            frame(HEADERS, END_STREAM, 1, b"")
        } else {
            frame(CONTINUATION, 0, 1, &block(&[("x", "0123456789")]))
        }
    });
    assert!(continuations, "200,000 continuation frames were taken");
    let empty = flood(&world, 2000, |index| {
        if index == 0 { request_head(1, &with_method("POST", "/p/a", &[])) } else { frame(DATA, 0, 1, b"") }
    });
    assert!(empty, "200,000 empty DATA frames were taken");
    assert_eq!(ordinary(&world), ok());
    let grown = world.gateway.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "grown by {grown} bytes");
}

#[test]
fn a_header_bomb_is_refused() {
    let world = World::start();
    // One big entry of the dynamic table (RFC 7541 6.2.1), then references to it of one byte each.
    let mut bomb = block(&get_fields("/p/a", &[]));
    bomb.extend([0x40, 1, b'x', 0x7f]);
    bomb.extend([0x80 + ((3900_u16 - 127) & 0x7f) as u8, ((3900_u16 - 127) >> 7) as u8]);
    bomb.extend(std::iter::repeat_n(b'y', 3900));
    bomb.extend(std::iter::repeat_n(0xbe, 8000));
    let before = world.gateway.memory();
    let fate = H2::to(world.gateway.address()).send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)).fate(1);
    assert!(!matches!(fate, Fate::Answered(200..=399, _)), "{fate:?}");
    assert_eq!(world.provider.take().len(), 0);
    assert!(world.gateway.memory() < before + (16 << 20));
    assert_eq!(ordinary(&world), ok());
}

#[test]
fn an_answer_cut_short_is_a_reset() {
    let world = World::start();
    for (answer, end) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", Act::Fin),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Act::Fin),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Act::Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", Act::Fin),
    ] {
        world.provider.next([Act::send(answer), end]);
        let fate = ordinary(&world);
        assert!(matches!(fate, Fate::Reset(..) | Fate::Answered(502, _)), "{answer:?}: {fate:?}");
    }
    assert_eq!(ordinary(&world), ok());
}

#[test]
fn a_client_that_resets_its_stream_cancels_the_call() {
    let world = World::start();
    world.provider.next([Act::send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"), Act::Hang]);
    let mut h2 = H2::to(world.gateway.address());
    let _ = h2.send(request(1, &get_fields("/p/a", &[])));
    while h2.frame().expect("frames").kind != HEADERS {}
    let _ = h2.send(frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    let _ = world.provider.abandoned();
    assert_eq!(h2.send(request(3, &get_fields("/p/a", &[]))).fate(3), ok(), "the connection goes on");
}

#[test]
fn answers_have_no_field_of_the_connection() {
    let world = World::around(
        Provider::with(|mut conn| {
            while conn.request().is_some() {
                let _ = conn.wire.send(b"HTTP/1.1 200 OK\r\nConnection: keep-alive, x-mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
            }
        }),
        |settings| settings,
    );
    // The h2 crate refuses such an answer as malformed, so that its taking it is the proof.
    let fields = library_get(&world, "/p/a");
    for gone in ["connection", "keep-alive", "x-mine", "upgrade", "transfer-encoding"] {
        assert!(!fields.contains_key(gone), "{gone} in {fields:?}");
    }
    assert!(fields.contains_key("date"));
}

/// The header fields of an answer, by a client that decodes HPACK.
fn library_get(world: &World, path: &str) -> http::HeaderMap {
    let address = world.gateway.address();
    let uri = format!("http://gateway.test{path}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let socket = tokio::net::TcpStream::connect(address).await.expect("the listener accepts");
        let (mut client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
        drop(tokio::spawn(connection));
        let request = http::Request::get(uri).body(()).expect("a request");
        let (answer, _) = client.send_request(request, true).expect("room for a stream");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.headers().clone()
    })
}

#[test]
fn streams_past_the_limit_wait_or_are_refused() {
    let world = World::with(|settings| settings.server("http2 = { max_streams = 10 }"));
    let mut h2 = H2::to(world.gateway.address());
    for index in 0..40_u32 {
        let _ = h2.send(request(index * 2 + 1, &get_fields("/p/a", &[])));
    }
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 40 {
        match h2.frame() {
            Ok(frame) if frame.kind == RST_STREAM => refused += 1,
            Ok(frame) if frame.flags & END_STREAM != 0 && matches!(frame.kind, DATA | HEADERS) => answered += 1,
            Ok(_) => {}
            Err(end) => panic!("{answered} answered, {refused} refused, then {end:?}"),
        }
    }
    assert!(answered >= 10, "{answered} answered");
}
