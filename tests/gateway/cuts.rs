//! However a provider cuts a stream of events or lines, and whatever coding it uses, the client gets the same.

use crate::support::world::get;
use crate::support::{Act, End, Framing, Provider, World};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use regex::Regex;
use speechgate::wire::event_stream::{self, Message};
use std::io::Write as _;

/// Streams and where they are cut.
fn holds(stream: impl Strategy<Value = String>, check: impl Fn(&str, &[Index]) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(stream, vec(any::<Index>(), 0..12)), |(stream, cuts)| check(&stream, &cuts));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

fn any_of(texts: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    proptest::sample::select(texts.to_vec()).prop_map(str::to_owned)
}

/// One line of an event or between events, without its end.
fn line() -> impl Strategy<Value = String> {
    let field =
        (any_of(&["data", "event", "id", "retry", "other", "DATA"]), any_of(&[":", ": ", ":  ", ""]), "[^\r\n]{0,12}");
    prop_oneof![
        4 => field.prop_map(|(name, colon, value)| if colon.is_empty() { name } else { name + &colon + &value }),
        1 => "[^\r\n]{0,12}".prop_map(|comment| format!(":{comment}")),
        3 => any_of(&["data: {\"type\":\"chunk\",\"data\":\"AAAA\"}", "data: {\"type\":\"done\",\"done\":true}", "event: error", "event:chunk"]),
        4 => any_of(&[
            "data: {\"type\":\"error\",\"status_code\":429,\"error_code\":\"concurrency_limited\",\"message\":\"Many.\"}",
            "data:{\"type\":\"error\",\"title\":\"é\",\"context_id\":\"c1\",\"done\":false,\"message\":\"ü\"}",
            "data: {\"type\":\"error\",\ndata: \"message\":\"over two lines\"}",
            "data: {\"type\":\"err",
        ]),
        1 => (65_000..66_000_usize).prop_map(|size| format!("data: {{\"type\":\"error\",\"x\":\"{}\"}}", "A".repeat(size))),
        9 => Just(String::new()),
    ]
}

fn sse() -> impl Strategy<Value = String> {
    let lines = vec((line(), any_of(&["\n", "\r\n", "\r"])), 0..24);
    (any_of(&["", "", "\u{feff}"]), lines).prop_map(|(mark, lines)| {
        lines.into_iter().fold(mark, |stream, (line, end)| stream + &line.replace('\n', &end) + &end)
    })
}

fn ndjson() -> impl Strategy<Value = String> {
    let line = any_of(&[
        "",
        " ",
        "{\"audio_base64\":\"AAAA\",\"alignment\":null}",
        "{\"audio_base64\":\"é\"}",
        "{\"detail\":{\"status\":\"something_went_wrong\",\"message\":\"We are sörry.\"}}",
        " {\"detail\":{\"status\":\"quota_exceeded\",\"message\":\"No more.\"}}",
        "{\"detail\":",
        "no JSON at all",
        "[1,2]",
    ]);
    let lines = vec((line, any_of(&["\n", "\r\n"])), 0..16);
    (lines, any_of(&["", "", "{\"audio_base64\":\"", "{\"audio_base64\":\"A\"}"])).prop_map(|(lines, rest)| {
        lines.into_iter().fold(String::new(), |stream, (line, end)| stream + &line + &end) + &rest
    })
}

fn pieces(media_type: &str, lines: &str, body: &[u8], cuts: &[Index]) -> Vec<Act> {
    let cuts = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([body.len()]).collect();
    divided(media_type, lines, body, cuts)
}

/// A chunk for each piece, sent on its own.
fn divided(media_type: &str, lines: &str, body: &[u8], mut cuts: Vec<usize>) -> Vec<Act> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n{lines}Transfer-Encoding: chunked\r\n\r\n");
    cuts.sort_unstable();
    let (mut acts, mut from) = (vec![Act::send(head)], 0);
    for at in cuts {
        // An empty chunk would be the last.
        if at > from {
            acts.push(Act::send([format!("{:x}\r\n", at - from).as_bytes(), &body[from..at], b"\r\n"].concat()));
            from = at;
        }
    }
    acts.push(Act::send("0\r\n\r\n"));
    acts
}

/// What a client gets of a stream, but for what is never the same twice, and how it ends when it is cut: in half of a failure it is.
fn seen(world: &World, path: &str, acts: Vec<Act>) -> (String, Option<End>) {
    world.provider.next(acts);
    let answer = world.get(path);
    assert!(!answer.fields.has("content-encoding"), "{:?}", answer.fields);
    assert_eq!((answer.status, answer.framing), (200, Framing::Chunked), "{}", answer.text());
    assert!(matches!(answer.cut, None | Some(End::Fin)), "{:?}: {}", answer.cut, answer.text());
    let own = Regex::new(r#""(request_id":"[0-9A-Z]{26}|timestamp":"[^"]*)""#).expect("a pattern");
    let body = own.replace_all(std::str::from_utf8(&answer.body).expect("UTF-8"), "\"*\"").into_owned();
    (body, answer.cut)
}

fn world(profile: &str) -> World {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    World::around(provider, |settings| {
        let compatible = "envelope = \"compatible\"";
        settings.route_to("events", "/s", profile, &url, "").route_to("native", "/n", profile, &url, compatible)
    })
}

/// Whether there is anything in the stream that a gateway may say otherwise.
fn may_change(stream: &str) -> bool {
    ["error", "err", "detail"].iter().any(|word| stream.contains(word))
}

fn cuts_make_no_difference(profile: &str, media_type: &str, stream: impl Strategy<Value = String>) {
    let world = world(profile);
    holds(stream, |stream, cuts| {
        for path in ["/s/a", "/n/a"] {
            let whole = seen(&world, path, pieces(media_type, "", stream.as_bytes(), &[]));
            prop_assert_eq!(&seen(&world, path, pieces(media_type, "", stream.as_bytes(), cuts)), &whole);
            if !may_change(stream) {
                // Also where the last event or line has no end, which is no reason to call a stream broken that ends in order.
                prop_assert_eq!(&whole, &(stream.to_owned(), None));
            }
        }
        Ok(())
    });
    // Every byte on its own, once.
    let stream = "\u{feff}: é\r\nid: 1\r\rdata: {\"type\":\"error\",\r\ndata:\"message\":\"é\"}\n\r\n{\"detail\":{\"message\":\"é\"}}\r\n\n";
    for path in ["/s/a", "/n/a"] {
        let whole = seen(&world, path, pieces(media_type, "", stream.as_bytes(), &[]));
        let every = divided(media_type, "", stream.as_bytes(), (0..=stream.len()).collect());
        assert_eq!(seen(&world, path, every), whole);
        assert!(whole.0.contains("\"code\":"), "the error was seen: {whole:?}");
    }
}

#[test]
fn events_do_not_depend_on_cuts() {
    cuts_make_no_difference("cartesia", "text/event-stream", sse());
}

#[test]
fn lines_do_not_depend_on_cuts() {
    cuts_make_no_difference("elevenlabs", "application/x-ndjson", ndjson());
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn raw_deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(body: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; zstd_safe::compress_bound(body.len())];
    let length = zstd_safe::compress(&mut coded[..], body, 1).expect("room");
    coded.truncate(length);
    coded
}

/// RFC 7932 9.2: meta-blocks that are not compressed, then one that is empty and the last.
fn brotli(body: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    for (number, block) in body.chunks(100).enumerate() {
        // One bit for the window before the first block; not the last, four nibbles of length, the length, not compressed.
        let header = (block.len() - 1) << 3 | 1 << 19;
        let header = if number == 0 { header << 1 } else { header };
        coded.extend_from_slice(&header.to_le_bytes()[..3]);
        coded.extend_from_slice(block);
    }
    coded.push(if body.is_empty() { 0b110 } else { 0b11 });
    coded
}

#[test]
fn codings_make_no_difference() {
    for (profile, media_type, stream) in
        [("cartesia", "text/event-stream", sse().boxed()), ("elevenlabs", "application/x-ndjson", ndjson().boxed())]
    {
        let world = world(profile);
        holds(stream, |stream, cuts| {
            let plain = seen(&world, "/s/a", pieces(media_type, "", stream.as_bytes(), &[]));
            for (coding, encode) in [
                ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
                ("x-gzip", gzip),
                ("deflate", zlib),
                ("deflate", raw_deflate),
                ("br", brotli),
                ("zstd", zstd),
            ] {
                let acts =
                    pieces(media_type, &format!("Content-Encoding: {coding}\r\n"), &encode(stream.as_bytes()), cuts);
                prop_assert_eq!(&seen(&world, "/s/a", acts), &plain, "{}", coding);
            }
            Ok(())
        });
    }
}

/// An event in each coding, as far as it is there after a flush: the coded data goes on.
fn flushed(event: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    macro_rules! flushed {
        ($encoder:ident) => {{
            let mut encoder = $encoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(event).expect("memory");
            encoder.flush().expect("memory");
            encoder.get_ref().clone()
        }};
    }
    let mut brotli = brotli(event);
    let _ = brotli.pop();
    let mut zstd = vec![0; 1000];
    let mut to = zstd_safe::OutBuffer::around(&mut zstd[..]);
    let mut from = zstd_safe::InBuffer::around(event);
    let flush = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
    zstd_safe::CCtx::create().compress_stream2(&mut to, &mut from, flush).expect("room");
    let length = to.pos();
    zstd.truncate(length);
    [
        ("gzip", flushed!(GzEncoder)),
        ("deflate", flushed!(ZlibEncoder)),
        ("deflate", flushed!(DeflateEncoder)),
        ("br", brotli),
        ("zstd", zstd),
    ]
}

#[test]
fn coded_events_are_passed_at_once() {
    // What is flushed can be read, so it has to come through although the stream goes on.
    let world = world("cartesia");
    for (coding, first) in flushed(b"data: one\n\n") {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let chunk = [format!("{:x}\r\n", first.len()).as_bytes(), &first, b"\r\n"].concat();
        world.provider.next([Act::send(head), Act::send(chunk), Act::Hang]);
        let mut client = world.client();
        let (status, _, _) = client.send(get("/s/a")).head().expect("a head");
        assert_eq!(status, 200);
        let mut came = Vec::new();
        while !came.ends_with(b"data: one\n\n\r\n") {
            came.extend(client.wire().some().expect("the event"));
        }
    }
}

#[test]
fn a_coded_stream_that_stops_at_a_flush_point_is_not_complete() {
    // The transport ends in order, but the coded data does not: an event says so.
    let world = world("cartesia");
    for (coding, first) in flushed(b"data: one\n\n") {
        let lines = format!("Content-Encoding: {coding}\r\n");
        let (body, cut) = seen(&world, "/s/a", pieces("text/event-stream", &lines, &first, &[]));
        assert_eq!(cut, Some(End::Fin), "{coding}");
        assert!(body.starts_with("data: one\n\nevent: error\n"), "{coding}: {body}");
        assert!(body.contains("\"code\":\"upstream_disconnected\""), "{coding}: {body}");
        // Nothing at all is complete in any coding.
        let nothing = seen(&world, "/s/a", pieces("text/event-stream", &lines, b"", &[]));
        assert_eq!(nothing, (String::new(), None), "{coding}");
    }
}

#[test]
fn a_coded_stream_that_must_not_be_changed_passes_unchanged() {
    let world = world("cartesia");
    let body = gzip(b"data: {\"error\":\"no\"}\n\n");
    for (lines, untouched) in [
        ("Content-Encoding: gzip\r\nCache-Control: private, No-Transform\r\n", true),
        ("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", true),
        ("Content-Encoding: gzip\r\nETag: \"a\"\r\nContent-Digest: sha-256=:x:\r\nCache-Control: no-store\r\n", false),
    ] {
        world.provider.next(pieces("text/event-stream", lines, &body, &[]));
        let answer = world.get("/s/a");
        assert_eq!((answer.body == body, answer.fields.has("content-encoding")), (untouched, untouched), "{lines}");
        // What was said of the coded bytes does not outlive them.
        assert!(!answer.fields.has("etag") && !answer.fields.has("content-digest"), "{lines}");
    }
}

/// As many MiB of one letter in a few bytes (RFC 7932): meta-blocks of 16 MiB, each a literal and one long copy of it.
fn brotli_bomb(mib: usize) -> Vec<u8> {
    const LENGTH: u64 = 1 << 24;
    let block = [
        (0, 1),
        (2, 2),
        (LENGTH - 1, 24),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 2),
        (0, 4),
        (0, 2),
        (0, 1),
        (0, 1),
        (1, 2),
        (0, 2),
        (u64::from(b'a'), 8),
        (1, 2),
        (0, 2),
        (399, 10),
        (1, 2),
        (0, 2),
        (16, 6),
        (LENGTH - 1 - 2118, 24),
        (0, 1),
    ];
    let blocks = std::iter::repeat_n(block, mib / 16).flatten();
    let (mut bytes, mut at) = (Vec::new(), 0);
    for (value, bits) in std::iter::once((0xf, 4)).chain(blocks).chain([(3, 2)]) {
        for bit in 0..bits {
            if at % 8 == 0 {
                bytes.push(0);
            }
            bytes[at / 8] |= ((value >> bit & 1) as u8) << (at % 8);
            at += 1;
        }
    }
    bytes
}

#[test]
fn a_bomb_in_a_stream_costs_no_more_than_its_reader_takes() {
    const MIB: usize = 256;
    let text = vec![b'a'; MIB << 20];
    for (coding, bomb) in [("br", brotli_bomb(MIB)), ("zstd", zstd(&text)), ("gzip", gzip(&text))] {
        let world = world("cartesia");
        let _ = world.get("/s/a");
        let before = world.gateway.memory();
        world.provider.next(divided(
            "text/event-stream",
            &format!("Content-Encoding: {coding}\r\n"),
            &bomb,
            vec![bomb.len()],
        ));
        let mut client = world.client();
        assert_eq!(client.send(get("/s/a")).head().expect("a head").0, 200);
        let mut came = 0;
        while came < 4 << 20 {
            came += client.wire().some().expect("more of it").len();
        }
        // Others are served, and all that there is of it is a window and what sockets hold.
        assert_eq!(world.get("/s/a").status, 200, "{coding}");
        let grown = world.gateway.memory().saturating_sub(before);
        assert!(grown < 48 << 20, "{coding}: {grown} bytes");
    }
}

/// Messages of AWS, one of them an exception, in the form of the route.
#[test]
fn an_event_stream_exception_is_reported_in_its_codec_in_any_chunking() {
    let world = world("aws");
    let event = Message::read(EVENT).expect("a message").with_payload(b"{\"Transcript\":{\"Results\":[]}}");
    let exception = event_stream::exception("ConflictException", b"{\"Message\":\"A new stream has the same id.\"}");
    let stream = [&event[..], &event, &exception, &event].concat();
    for (path, member) in [("/s/a", "error"), ("/n/a", "gateway_error")] {
        for size in [1, 7, 60, stream.len()] {
            let cuts = (0..=stream.len()).step_by(size).chain([stream.len()]).collect();
            world.provider.next(divided("application/vnd.amazon.eventstream", "", &stream, cuts));
            let answer = world.get(path);
            let passed = [&event[..], &event].concat();
            let told = answer.body.strip_prefix(&passed[..]).expect("what passes is as it was");
            // By the service's model nothing follows an exception.
            let told = Message::read(told).expect("one message more");
            let headers = told.headers();
            assert!(headers["message-type"] == "exception" && headers["exception-type"] == "ConflictException");
            let payload: serde_json::Value = serde_json::from_slice(told.payload).expect("JSON");
            assert_eq!(payload[member]["code"], "conflict", "{payload}");
            assert_eq!(payload.get("Message").is_some(), member == "gateway_error");
        }
        world.provider.next([Act::send(EVENT_STREAM), Act::send(&stream[..event.len() + 20]), Act::Reset]);
        let answer = world.get(path);
        let told = answer.body.strip_prefix(&event[..]).expect("what passes is as it was");
        let payload = Message::read(told).expect("one message more").payload;
        let payload: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
        assert_eq!(payload[member]["code"], "upstream_disconnected", "{payload}");
    }
}

const EVENT_STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n\r\n";

/// `:message-type` is `event`, and nothing else.
const EVENT: &[u8] = b"\x00\x00\x00&\x00\x00\x00\x16\xdfw\xb0\x9c\x0d:message-type\x07\x00\x05event\x08\x07\xc7\x04";

/// It stayed open until the longest silence.
#[test]
fn a_stream_that_has_failed_ends_although_the_provider_leaves_it_open() {
    let world = world("cartesia");
    let event = "event: error\ndata: {\"type\":\"error\",\"status_code\":500,\"message\":\"It broke.\"}\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    world.provider.next([Act::send(head), Act::send(event), Act::Hang]);
    let began = std::time::Instant::now();
    let answer = world.get("/s/a");
    assert!(answer.text().contains("\"code\":\"internal_error\""), "{}", answer.text());
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

/// The first bytes tell: audio passes at once, and JSON is no audio whatever it calls itself.
#[test]
fn json_that_calls_itself_audio_is_an_error_where_the_profile_says_so() {
    let profile = "[providers.acme]\nextends = \"generic\"\n[[providers.acme.errors]]\nphase = \"job\"\n\
        path = \"GET /speech\"\nwhen = { \"$.error\" = { exists = true } }\n\
        [[providers.acme.errors]]\nphase = \"job\"\npath = \"GET /speech\"\nwhen = { \"text.title\" = { exists = true } }";
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let world = World::around(provider, |settings| settings.route_to("acme", "/acme", "acme", &url, profile));
    for (body, code) in [
        (&b"{\"error\":{\"code\":\"voice_not_found\",\"message\":\"There is none.\"}}"[..], Some("voice_not_found")),
        (b"<html><title>502 Bad Gateway</title></html>", Some("upstream_error")),
        (b"{\"\x00\x01\x02 pcm that begins so\xff", None),
        (b"{ not json", None),
        (b"ID3\x04 {\"error\":1}", None),
        (b"{\"audio\":\"AAAA\"}", None),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: {}\r\n\r\n", body.len());
        world.provider.next([Act::send([head.as_bytes(), body].concat())]);
        let answer = world.get("/acme/speech");
        assert_eq!(
            (answer.status, answer.fields.get("x-error-code").as_deref()),
            (200, code),
            "{:?}",
            String::from_utf8_lossy(body)
        );
        assert!(code.is_some() || answer.body == body, "audio passes as it is");
    }
}
