//! Bodies of every size and framing, both ways: identical bytes, flat memory, nothing held back, nothing left running.

use crate::support::world::get;
use crate::support::{Act, Conn, Framing, Provider, Wire, World, envelope};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

const SIZE: usize = 100 << 20;
/// A prime length, so that no buffer's size divides it.
const PERIOD: usize = 65_521;
/// What a gateway that does not buffer may grow by: socket buffers, pools, and what a debug build wastes.
const FLAT: usize = 24 << 20;

/// Bytes in which every block differs from its neighbours.
fn pattern() -> Vec<u8> {
    (0..PERIOD).map(|index| (index * 31 % 251) as u8).collect()
}

/// Sends `SIZE` bytes of the pattern, each piece wrapped.
fn pour(wire: &mut Wire, wrap: impl Fn(&[u8]) -> Vec<u8>) -> std::io::Result<()> {
    let block = pattern();
    let mut left = SIZE;
    while left > 0 {
        let piece = &block[..left.min(block.len())];
        wire.send(&wrap(piece))?;
        left -= piece.len();
    }
    Ok(())
}

/// Checks bytes against the pattern as they come.
struct Verifier {
    block: Vec<u8>,
    count: usize,
}

impl Verifier {
    fn new() -> Verifier {
        Verifier { block: pattern(), count: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = &self.block[self.count % PERIOD..];
            let length = expected.len().min(bytes.len());
            assert!(expected[..length] == bytes[..length], "different bytes near {}", self.count);
            self.count += length;
            bytes = &bytes[length..];
        }
    }

    /// Reads and checks everything up to `SIZE`.
    fn drain(&mut self, wire: &mut Wire) {
        while self.count < SIZE {
            let bytes = wire.some().expect("more of the body");
            self.take(&bytes);
        }
    }
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[test]
fn a_hundred_mebibytes_come_down_in_flat_memory() {
    let provider = Provider::with(|mut conn| {
        while conn.request().is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: {SIZE}\r\n\r\n");
            let _ = conn.wire.send(head.as_bytes());
            let _ = pour(&mut conn.wire, <[u8]>::to_vec);
        }
    });
    let world = World::around(provider, |settings| settings);
    let before = world.gateway.memory();
    let mut client = world.client();
    let (status, _, fields) = client.send(get("/p/a")).head().expect("a head");
    assert_eq!((status, fields.get("content-length")), (200, Some(SIZE.to_string())));
    let mut verifier = Verifier::new();
    let mut most = 0;
    while verifier.count < SIZE {
        let bytes = client.wire().some().expect("more of the body");
        verifier.take(&bytes);
        most = most.max(if verifier.count % (8 << 20) < bytes.len() { world.gateway.memory() } else { 0 });
    }
    assert_eq!(verifier.count, SIZE);
    assert!(most < before + FLAT, "from {before} to {most} bytes");
}

#[test]
fn a_hundred_mebibytes_go_up_in_flat_memory() {
    let provider = Provider::with(|mut conn| {
        let Some((_, fields)) = conn.head() else { return };
        assert_eq!(fields.get("content-length"), Some(SIZE.to_string()));
        Verifier::new().drain(&mut conn.wire);
        let _ = conn.wire.send(crate::support::provider::OK);
    });
    let world = World::around(provider, |settings| settings.beside("big", "/b", "max_request_body = \"200MiB\""));
    let before = world.gateway.memory();
    let mut client = world.client();
    let _ = client.send(format!("POST /b/clip HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    pour(client.wire(), <[u8]>::to_vec).expect("the gateway takes the body");
    assert_eq!(client.answer().text(), "ok", "the provider has seen identical bytes");
    let after = world.gateway.memory();
    assert!(after < before + FLAT, "from {before} to {after} bytes");
}

#[test]
fn chunked_bodies_of_any_size_pass_both_ways() {
    let provider = Provider::with(|mut conn| {
        while let Some(seen) = conn.request() {
            let _ = conn.wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            // The body comes back in chunks of another size.
            let body: Vec<u8> = seen.body.chunks(1013).flat_map(chunk).collect();
            let _ = conn.wire.send(&body);
            let _ = conn.wire.send(b"0\r\n\r\n");
        }
    });
    let world = World::around(provider, |settings| settings);
    let mut client = world.client();
    for size in [0, 1, 1012, 1013, 1014, 16_383, 16_384, 16_385, 300_000] {
        let body: Vec<u8> = pattern().into_iter().cycle().take(size).collect();
        let chunks: Vec<u8> = body.chunks(777).flat_map(chunk).collect();
        let head = b"POST /p/clip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let answer = client.send([head, chunks, b"0\r\n\r\n".to_vec()].concat()).answer();
        assert!(answer.body == body && answer.cut.is_none(), "{size} bytes came back as {}", answer.body.len());
    }
    world.clean();
}

#[test]
fn bodies_past_the_routes_limit_are_refused_in_either_framing() {
    let world = World::with(|settings| settings.beside("small", "/s", "max_request_body = \"1KiB\""));
    let answer = world.ask("POST /s/clip HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n");
    let _ = envelope(&answer, "payload_too_large");
    assert_eq!(world.provider.take().len(), 0);
    let head = b"POST /s/clip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let answer = world.ask([head.clone(), chunk(&[b'x'; 1025]), b"0\r\n\r\n".to_vec()].concat());
    let _ = envelope(&answer, "payload_too_large");
    assert_eq!(world.provider.take().len(), 0, "a cut body is never whole");
    let answer = world.ask([head, chunk(&[b'x'; 1024]), b"0\r\n\r\n".to_vec()].concat());
    assert_eq!((answer.status, world.provider.one().body.len()), (200, 1024), "the limit itself passes");
}

#[test]
fn trailers_pass_both_ways() {
    let world = World::start();
    world.provider.next([Act::send(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nKeep-Alive: 5\r\n\r\n",
    )]);
    let request = "POST /p/clip HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\nTrailer: X-Mine\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Mine: 7\r\n\r\n";
    let answer = world.ask(request);
    assert_eq!((answer.text().as_str(), answer.trailers.get("x-sum").as_deref()), ("ok", Some("42")));
    assert!(!answer.fields.has("x-sum"), "trailers are not merged into the head");
    assert_eq!(answer.trailers.0.len(), 1, "what concerns a connection ends with it: {:?}", answer.trailers);
    let seen = world.provider.one();
    assert_eq!((seen.body.as_slice(), seen.trailers.get("x-mine").as_deref()), (&b"hello"[..], Some("7")));
}

#[test]
fn a_client_that_waits_for_100_gets_it() {
    let world = World::start();
    let mut client = world.client();
    let _ = client.send("POST /p/clip HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let (status, ..) = client.head().expect("an informational response");
    assert_eq!(status, 100);
    assert_eq!(client.send("hello").answer().text(), "ok");
    assert_eq!(world.provider.one().body, b"hello");
}

#[test]
fn a_client_that_waits_for_100_may_be_refused_instead() {
    let world = World::start();
    let mut client = world.client();
    let _ = client.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let answer = client.answer();
    let _ = envelope(&answer, "route_not_found");
    assert!(answer.informational.is_empty(), "no body is asked for that nobody reads");
}

#[test]
fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    let provider = Provider::with(|mut conn| {
        if conn.head().is_some() {
            let body = "{\"detail\":{\"status\":\"invalid_api_key\",\"message\":\"No.\"}}";
            let _ = conn.wire.send(&crate::support::world::json_answer(401, "Connection: close\r\n", body));
            conn.wire.finish();
            let _ = conn.hang();
        }
    });
    let world = World::around(provider, |settings| settings);
    let mut client = world.client();
    let _ = client.send("POST /p/clip HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhello");
    let _ = envelope(&client.answer(), "invalid_credentials");
}

#[test]
fn a_client_that_leaves_cancels_the_call() {
    for acts in [
        vec![Act::Hang],
        vec![Act::send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), Act::Hang],
        vec![Act::send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n"), Act::Hang],
        vec![Act::send("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{"), Act::Hang],
    ] {
        for reset in [false, true] {
            let world = World::start();
            world.provider.next(acts.clone());
            let mut client = world.client();
            let _ = client.send(get("/p/a"));
            let _ = world.provider.one();
            if matches!(&acts[0], Act::Send(bytes) if bytes.starts_with(b"HTTP/1.1 200")) {
                let _ = client.head().expect("a head");
            }
            if reset {
                client.reset()
            } else {
                drop(client)
            }
            let _ = world.provider.abandoned();
        }
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_cancels_the_call() {
    let world = World::start();
    for tail in ["Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = world.client();
        let _ = client.send(format!("POST /p/clip HTTP/1.1\r\nHost: a\r\n{tail}"));
        drop(client);
    }
    // Whether or not anything was sent upstream, nothing of it was whole.
    world.sound().expect("others are served");
    world.clean();
}

/// A provider that sends each text of `pieces` only after the test has said so.
fn in_step(
    head: &'static str,
    wrap: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> (Provider, Sender<&'static str>) {
    let (say, heard) = channel::<&'static str>();
    let heard: Mutex<Receiver<&'static str>> = Mutex::new(heard);
    let provider = Provider::with(move |mut conn: Conn| {
        if conn.request().is_none() {
            return;
        }
        let _ = conn.wire.send(head.as_bytes());
        while let Ok(text) = heard.lock().expect("one connection at a time").recv() {
            let _ = conn.wire.send(&wrap(text));
        }
        conn.finish();
    });
    (provider, say)
}

#[test]
fn events_are_passed_at_once() {
    let (provider, say) =
        in_step("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", |text| {
            chunk(text.as_bytes())
        });
    let world = World::around(provider, |settings| settings);
    let mut client = world.client();
    say.send("data: one\n\n").expect("the provider listens");
    let (status, _, _) = client.send(get("/p/a")).head().expect("a head");
    assert_eq!(status, 200);
    for (text, next) in [
        ("data: one\n\n", "data: two\n\n"),
        ("data: two\n\n", "event: x\r\ndata: three\r\n\r\n"),
        ("event: x\r\ndata: three\r\n\r\n", ": bye\n\n"),
    ] {
        read_until(client.wire(), text);
        // The next event is sent only now: a gateway that holds one back to fill a buffer never gets it.
        say.send(next).expect("the provider listens");
    }
    read_until(client.wire(), ": bye\n\n");
}

#[test]
fn events_that_come_together_leave_together() {
    let (provider, say) =
        in_step("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", |text| {
            text.split_inclusive("\n\n").flat_map(|event| chunk(event.as_bytes())).collect()
        });
    let world = World::around(provider, |settings| settings);
    let mut client = world.client();
    say.send(": hello\n\n").expect("the provider listens");
    let _ = client.send(get("/p/a")).head().expect("a head");
    read_until(client.wire(), ": hello\n\n");
    let three = "data: one\n\ndata: two\n\ndata: three\n\n";
    say.send(three).expect("the provider listens");
    // With no line of the chunked coding in between: three chunks have become one, and one write.
    read_until(client.wire(), three);
}

#[test]
fn audio_is_passed_at_once() {
    let (provider, say) =
        in_step("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 12\r\n\r\n", |text| {
            text.as_bytes().to_vec()
        });
    let world = World::around(provider, |settings| settings);
    let mut client = world.client();
    let _ = client.send(get("/p/a"));
    say.send("abcd").expect("the provider listens");
    let (status, _, _) = client.head().expect("a head");
    assert_eq!(status, 200);
    read_until(client.wire(), "abcd");
    say.send("efgh").expect("the provider listens");
    read_until(client.wire(), "efgh");
    say.send("ijkl").expect("the provider listens");
    read_until(client.wire(), "ijkl");
}

/// Reads until `text` has come, whatever its chunks.
fn read_until(wire: &mut Wire, text: &str) {
    let mut seen = Vec::new();
    while !seen.windows(text.len()).any(|part| part == text.as_bytes()) {
        seen.extend(wire.some().expect("what was sent"));
    }
}

#[test]
fn both_directions_flow_at_once() {
    let provider = Provider::with(|mut conn| {
        if conn.head().is_none() {
            return;
        }
        let _ = conn.wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let mut piece = vec![0; 0];
            // "4\r\nping\r\n" comes, "4\r\npong\r\n" goes.
            if conn.wire.exact(9, &mut piece).is_err() || piece != b"4\r\nping\r\n" {
                break;
            }
            let _ = conn.wire.send(&chunk(b"pong"));
        }
        let _ = conn.wire.send(b"0\r\n\r\n");
    });
    let world = World::around(provider, |settings| settings);
    let mut client = world.client();
    let _ = client.send("POST /p/clip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n");
    let (status, _, _) = client.head().expect("a head while the body is still coming");
    assert_eq!(status, 200);
    for _ in 0..5 {
        read_until(client.wire(), "pong");
        let _ = client.send("4\r\nping\r\n");
    }
    read_until(client.wire(), "pong");
}

#[test]
fn an_answer_that_waits_for_the_upload_is_not_idle_while_the_upload_moves() {
    let provider = Provider::with(|mut conn| {
        if conn.head().is_none() {
            return;
        }
        let _ = conn.wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        read_until(&mut conn.wire, "0\r\n\r\n");
        let _ = conn.wire.send(&chunk(b"transcript"));
        let _ = conn.wire.send(b"0\r\n\r\n");
    });
    let world = World::around(provider, |settings| {
        settings.beside("short", "/s", "timeouts = { idle = \"2s\", response = \"2s\" }")
    });
    let mut client = world.client();
    let _ = client.send("POST /s/clip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Half as long again as the provider may be silent.
    for _ in 0..10 {
        let _ = client.send("5\r\naudio\r\n");
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let _ = client.send("0\r\n\r\n");
    read_until(client.wire(), "transcript");
}

#[test]
fn a_coded_success_is_not_touched() {
    let world = World::start();
    let body = b"\x1f\x8bnot really gzip\0\xff";
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    world.provider.next([Act::send([head.as_bytes(), body].concat())]);
    let answer = world.get("/p/a");
    assert_eq!(
        (answer.body.as_slice(), answer.field("content-encoding").as_str(), answer.framing),
        (&body[..], "gzip", Framing::Length(body.len()))
    );
}
