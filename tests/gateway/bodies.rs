//! Bodies of failures that are coded, huge, hostile or endless: always an envelope, always within bounds.

use crate::support::check::{canonical, ensure, rows};
use crate::support::http2::{DATA, END_STREAM, H2, RST_STREAM, frame, request_head, with_method};
use crate::support::world::json_answer;
use crate::support::{Act, Provider, World, envelope};
use std::io::Write;

/// A body in this coding.
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

fn zstd(body: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; zstd_safe::compress_bound(body.len())];
    let length = zstd_safe::compress(&mut coded[..], body, 1).expect("room");
    coded.truncate(length);
    coded
}

/// 20 MB of zeros in Brotli.
const BROTLI_BOMB: &[u8] = b"\xcb\xff\xff\x3f\xf8\x27\x00\xe2\xb1\x40\x20\xf7\xfe\x8f\xff\xff\x7f\xf0\x4f\x00\xc4\x61\x11\x80\xee\xfd\x5f\xfe\xb3\xc4\xe0\x9f\x00\x88\xc3\x02\x00\x5d\x92\x18";
/// `{"detail":{"status":"voice_not_found","message":"No voice."}}` in Brotli.
const BROTLI_ERROR: &[u8] = b"\x1b\x3c\x00\x08\x1d\x07\x76\xc3\xd7\x9d\x76\x38\x6c\x7e\x5c\x84\x50\x8b\x7c\xd1\xed\xcd\x3e\x37\xa7\xd4\x61\x79\x03\x87\x9c\x88\x9c\x6a\x59\x76\xd8\x80\x23\x8c\x93\xdf\x60\xae\x74\x8e\x62\xc6\x7e\xe5\x26\x4e\xf4\xab\x9c\x00";

/// An error answer with a body in some coding.
fn coded(coding: &str, body: &[u8]) -> Vec<Act> {
    let head = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    vec![Act::send([head.as_bytes(), body].concat())]
}

const VOICE: &[u8] = b"{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No voice.\"}}";

#[test]
fn errors_are_understood_in_every_coding() {
    let world = World::start();
    let table = [
        ("gzip", gzip(VOICE)),
        ("x-gzip", gzip(VOICE)),
        ("deflate", zlib(VOICE)),
        ("zstd", zstd(VOICE)),
        ("br", BROTLI_ERROR.to_vec()),
        ("identity", VOICE.to_vec()),
        ("GZIP", gzip(VOICE)),
    ];
    rows(
        table,
        |(coding, _)| (*coding).to_owned(),
        |(coding, body)| {
            world.provider.next(coded(coding, body));
            let error = canonical(&world.get("/p/a"), "voice_not_found")?;
            ensure!(error["message"] == "No voice.", "message {}", error["message"]);
            Ok(())
        },
    );
}

#[test]
fn codings_that_lie_still_give_an_envelope() {
    let world = World::start();
    let mut torn = gzip(VOICE);
    torn.truncate(torn.len() / 2);
    let table = [
        ("gzip", VOICE.to_vec()),
        ("br", VOICE.to_vec()),
        ("zstd", gzip(VOICE)),
        ("deflate", b"\0\0\0\0".to_vec()),
        ("gzip", torn),
        ("unheard-of", VOICE.to_vec()),
        ("gzip, gzip", gzip(&gzip(VOICE))),
        ("gzip", Vec::new()),
        ("gzip", b"\x1f\x8b".to_vec()),
        ("br", b"\xff\xff\xff".to_vec()),
        ("zstd", b"\x28\xb5\x2f\xfd".to_vec()),
    ];
    rows(
        table,
        |(coding, body)| format!("{coding} of {} bytes", body.len()),
        |(coding, body)| {
            world.provider.next(coded(coding, body));
            let answer = world.get("/p/a");
            let error = canonical(&answer, &answer.field("x-error-code"))?;
            ensure!(error["upstream"]["status"] == 404, "upstream {}", error["upstream"]);
            Ok(())
        },
    );
}

#[test]
fn bombs_do_not_go_off() {
    let world = World::start();
    let zeros = vec![0_u8; 20_000_000];
    let spaces = vec![b' '; 20_000_000];
    let table = [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&spaces)),
        ("zstd", zstd(&zeros)),
        ("br", BROTLI_BOMB.to_vec()),
        ("gzip", gzip(&gzip(&zeros))),
    ];
    assert_eq!(world.get("/p/warm").status, 200);
    let before = world.gateway.memory();
    rows(
        table,
        |(coding, _)| (*coding).to_owned(),
        |(coding, body)| {
            world.provider.next(coded(coding, body));
            let answer = world.get("/p/a");
            let error = canonical(&answer, &answer.field("x-error-code"))?;
            ensure!(error["status"] == 404 && answer.body.len() < 64 * 1024, "{} bytes", answer.body.len());
            Ok(())
        },
    );
    let grown = world.gateway.memory().saturating_sub(before);
    assert!(grown < 24 << 20, "grown by {grown} bytes");
}

#[test]
fn errors_of_any_size_and_shape_give_an_envelope_within_bounds() {
    let world = World::start();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let nested = "{\"detail\":".repeat(50_000) + "1" + &"}".repeat(50_000);
    let big = format!("{{\"detail\":{{\"status\":\"voice_not_found\",\"message\":\"{}\"}}}}", "x".repeat(10_000_000));
    let wide = format!("{{{}\"a\":1}}", (0..100_000).map(|index| format!("\"k{index}\":{index},")).collect::<String>());
    let bodies: [(&str, Vec<u8>); 12] = [
        ("deep lists", deep.into_bytes()),
        ("deep objects", nested.into_bytes()),
        ("10 MB", big.into_bytes()),
        ("100,000 members", wide.into_bytes()),
        ("invalid UTF-8", b"\xff\xfe{\"detail\":\"\xc3\x28\"}".to_vec()),
        ("HTML", b"<html><body><h1>502 Bad Gateway</h1></body></html>".to_vec()),
        ("nothing", Vec::new()),
        ("NULs", vec![0; 1000]),
        (
            "control characters",
            b"{\"detail\":{\"status\":\"a\\u0000b\\r\\nX: y\",\"message\":\"c\\u001bd\\r\\n\"}}".to_vec(),
        ),
        ("a torn object", b"{\"detail\":{\"status\":\"voice_not".to_vec()),
        ("a number", b"1e999".to_vec()),
        ("text", b"no such voice".to_vec()),
    ];
    rows(
        bodies,
        |(name, _)| (*name).to_owned(),
        |(_, body)| {
            let head = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            world.provider.next([Act::send([head.as_bytes(), body].concat())]);
            let answer = world.get("/p/a");
            let error = canonical(&answer, &answer.field("x-error-code"))?;
            ensure!(error["upstream"]["status"] == 400, "upstream {}", error["upstream"]);
            ensure!(answer.body.len() <= 64 * 1024, "an envelope of {} bytes", answer.body.len());
            Ok(())
        },
    );
    world.sound().expect("all is well afterwards");
}

#[test]
fn an_error_that_dribbles_is_bounded_in_total_time() {
    let world = World::around(
        Provider::with(|mut conn| {
            if conn.request().is_none() {
                return;
            }
            let _ = conn
                .wire
                .send(b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
            // Each byte is well within the idle deadline; 60 s in all would be.
            for _ in 0..600 {
                std::thread::sleep(std::time::Duration::from_millis(100));
                if conn.wire.send(b"1\r\n \r\n").is_err() {
                    break;
                }
            }
            let _ = conn.hang();
        }),
        |settings| settings,
    );
    let answer = world.get("/p/a");
    let error = envelope(&answer, &answer.field("x-error-code"));
    assert_eq!(error["upstream"]["status"], 503);
    let _ = world.provider.abandoned();
}

#[test]
fn unknown_failures_pass_the_ladder() {
    let world = World::start();
    for (status, code) in
        [(418, "invalid_request"), (499, "invalid_request"), (599, "upstream_error"), (505, "upstream_error")]
    {
        world.provider.next([Act::send(json_answer(status, "", "{}"))]);
        let answer = world.get("/p/a");
        let error = envelope(&answer, &answer.field("x-error-code"));
        assert_eq!(error["upstream"]["status"], status, "{code} or a neighbour of it");
    }
}

/// The rest of an error body is waited for as long as the route says, where that is shorter than the bound for reading errors.
#[test]
fn an_error_body_that_stops_half_way_is_answered_within_the_limits_of_its_route() {
    for timeouts in ["response = \"400ms\", idle = \"30s\"", "response = \"30s\", idle = \"400ms\""] {
        let provider = Provider::start();
        let url = format!("http://{}", provider.address());
        let timeouts = format!("timeouts = {{ {timeouts} }}");
        let world = World::around(provider, |settings| settings.route_to("hasty", "/h", "generic", &url, &timeouts));
        let half = "HTTP/1.1 429 Slow Down\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"code\":";
        world.provider.next([Act::send(half), Act::Hang]);
        let began = std::time::Instant::now();
        let answer = world.get("/h/a");
        assert_eq!(envelope(&answer, "rate_limited")["upstream"]["body_truncated"], true);
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}

/// A body that is read whole and is too large for the envelope used to be left out without a word.
#[test]
fn a_body_that_is_left_out_of_the_envelope_is_marked() {
    let world = World::start();
    for (size, marked) in [(1000, false), (16_000, false), (17_000, true), (60_000, true), (100_000, true)] {
        let body = format!("{{\"code\":\"busy\",\"filler\":\"{}\"}}", "f".repeat(size));
        world.provider.next([Act::send(json_answer(503, "", &body))]);
        let answer = world.get("/p/a");
        let error = envelope(&answer, &answer.field("x-error-code"));
        let (truncated, shown) = (&error["upstream"]["body_truncated"], error["upstream"].get("body").is_some());
        assert_eq!((truncated == true, shown), (marked, !marked), "{size} bytes");
    }
}

/// hyper sends no body with a GET or HEAD whose length nobody announced.
#[test]
fn a_body_of_unannounced_length_reaches_the_provider_with_every_method() {
    let world = World::start();
    for method in ["GET", "POST", "DELETE", "OPTIONS", "REPORT", "HEAD"] {
        let chunked = format!(
            "{method} /p/clip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n, x\r\n0\r\n\r\n"
        );
        let head = chunked.as_str();
        let _ = world.client().send(head).head().expect("an answer");
        assert_eq!(world.provider.one().body, b"hello, x", "{method} over HTTP/1.1");
        let fields = with_method(method, "/p/clip", &[]);
        let mut client = H2::to(world.gateway.address());
        let _ = client.send(request_head(1, &fields)).send(frame(DATA, 0, 1, b"hello"));
        let _ = client.send(frame(DATA, END_STREAM, 1, b", x")).fate(1);
        assert_eq!(world.provider.one().body, b"hello, x", "{method} over HTTP/2");
    }
    // A body that turns out to be none is none: many providers refuse a GET that announces one.
    let chunked = "GET /p/clip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(world.ask(chunked).status, 200);
    let fields = with_method("GET", "/p/clip", &[]);
    let mut client = H2::to(world.gateway.address());
    let _ = client.send(request_head(1, &fields)).send(frame(DATA, END_STREAM, 1, b"")).fate(1);
    for _ in 0..2 {
        let seen = world.provider.one();
        assert!(!seen.fields.has("transfer-encoding") && !seen.fields.has("content-length"), "{:?}", seen.fields);
    }
    world.clean();
}

/// hyper takes the reset of an upload with NO_ERROR or CANCEL for its end, and half a recording was transcribed as a whole one.
#[test]
fn an_upload_that_its_client_resets_does_not_look_finished_to_the_provider() {
    for route in ["", "retry = { attempts = 2 }"] {
        let (tell, told) = std::sync::mpsc::channel();
        let provider = Provider::with(move |mut conn| {
            let mut came = Vec::new();
            while !came.ends_with(b"half of it\r\n") {
                match conn.wire.some() {
                    Ok(some) => came.extend(some),
                    Err(_) => return,
                }
            }
            let _ = tell.send(String::new());
            let _ = conn.wire.rest(&mut came);
            let _ = tell.send(String::from_utf8_lossy(&came).into_owned());
        });
        let url = format!("http://{}", provider.address());
        let world = World::around(provider, |settings| settings.route_to("again", "/h", "generic", &url, route));
        for code in [0_u32, 8, 2] {
            let mut client = H2::to(world.gateway.address());
            let fields = with_method("POST", "/h/clip", &[]);
            let _ = client.send(request_head(1, &fields)).send(frame(DATA, 0, 1, b"half of it"));
            let _ = told.recv().expect("the provider has the first half");
            let _ = client.send(frame(RST_STREAM, 0, 1, &code.to_be_bytes()));
            let all = told.recv().expect("the connection ended");
            assert!(all.ends_with("half of it\r\n"), "reset with {code}: {all}");
        }
        world.gateway.metric_becomes("speechgate_errors_total", &[("code", "client_cancelled")], 3.0);
    }
}
