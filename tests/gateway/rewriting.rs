//! Addresses of the provider in its answers lead back to the gateway, wherever they stand and however they are spelled.

use crate::support::world::{get, get_with, json_answer};
use crate::support::{Act, World};
use std::io::Write as _;

/// A path of the profile whose success body holds a URL.
const REWRITTEN: &str = "/p/v1/convai/conversation/get-signed-url";

/// URLs were looked for in two spellings; every other way to write the same string in JSON left the provider's in it.
#[test]
fn a_url_in_a_body_is_rewritten_however_json_spells_it() {
    let world = World::start();
    let host = world.provider.address().to_string();
    for url in [
        format!("wss://{host}/v1/convai?a=1&b=2"),
        format!("ws:\\/\\/{host}\\/v1\\/convai?a=1&b=2"),
        format!("ws://{host}/v1/convai?a=1\\u0026b=2"),
        format!("ws:\\u002f\\u002F{host}/v1/convai?a\\u003d1\\u0026b=2"),
        format!("\\u0077s://{host}\\/v1/convai?a=1&b=2"),
        format!("WS://{host}/v1/convai?a=1&b=2"),
        format!("Wss://{host}/v1/convai?a=1&b=2"),
    ] {
        world.provider.next([Act::send(json_answer(200, "", &format!("{{\"n\":1.0, \"signed_url\" : \"{url}\"}}")))]);
        let answer = world.get(REWRITTEN);
        let wanted = "{\"n\":1.0, \"signed_url\" : \"ws://gateway.test/p/v1/convai?a=1&b=2\"}";
        assert_eq!(answer.text(), wanted, "{url}");
    }
    for (url, wanted) in [
        (format!("//{host}/v1/convai#x"), "//gateway.test/p/v1/convai#x".to_owned()),
        (format!("HTTP://{host}"), "http://gateway.test/p/".to_owned()),
        (format!("http://{host}?a"), "http://gateway.test/p?a".to_owned()),
        ("//elsewhere.example/v1".to_owned(), "//elsewhere.example/v1".to_owned()),
        (format!("ftp://{host}/v1"), format!("ftp://{host}/v1")),
        (format!("ws://{host}.evil.example/v1"), format!("ws://{host}.evil.example/v1")),
    ] {
        world.provider.next([Act::send(json_answer(200, "", &format!("{{\"signed_url\":\"{url}\"}}")))]);
        assert_eq!(world.get(REWRITTEN).text(), format!("{{\"signed_url\":\"{wanted}\"}}"), "{url}");
    }
}

#[test]
fn a_body_in_a_coding_is_rewritten_and_its_trailers_are_not_announced() {
    let world = World::start();
    let body = format!("{{\"signed_url\":\"ws://{}/v1/convai?a=1\\u0026b=2\"}}", world.provider.address());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body.as_bytes()).expect("memory");
    let coded = encoder.finish().expect("memory");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nETag: \"a\"\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        coded.len()
    );
    world.provider.next([Act::send([head.as_bytes(), &coded, b"\r\n0\r\nX-Sum: 1\r\n\r\n"].concat())]);
    let answer = world.ask(get_with(REWRITTEN, "TE: trailers\r\nConnection: TE\r\n"));
    assert_eq!(answer.text(), "{\"signed_url\":\"ws://gateway.test/p/v1/convai?a=1&b=2\"}");
    for name in ["content-encoding", "etag", "trailer"] {
        assert!(!answer.fields.has(name), "{name}");
    }
    assert!(answer.trailers.0.is_empty());
}

/// A part of a body was rewritten beside the `Content-Range` of the one that the provider has, and HEAD told its length.
#[test]
fn parts_and_heads_of_a_body_that_is_rewritten_tell_no_lies() {
    let world = World::start();
    let body = format!("{{\"signed_url\":\"ws://{}/v1/convai\"}}", world.provider.address());
    let wanted = "{\"signed_url\":\"ws://gateway.test/p/v1/convai\"}";
    // A part that nobody asked for passed as it was, with the provider's URLs, although it may be all of the body.
    for (range, expected) in [
        (format!("bytes 0-{}/{}", body.len() - 1, body.len()), 200),
        (format!("bytes 0-{}/{}", body.len() - 1, body.len() + 1), 502),
        (format!("bytes 0-{}/*", body.len() - 1), 502),
        ("bytes 1-0/1".to_owned(), 502),
        ("bytes 0-18446744073709551615/0".to_owned(), 502),
        (String::new(), 502),
    ] {
        let part = format!("Content-Range: {range}\r\nETag: \"a\"\r\n");
        world.provider.next([Act::send(json_answer(206, &part, &body))]);
        let answer = world.ask(get_with(REWRITTEN, "Range: bytes=0-9\r\nIf-Range: \"a\"\r\n"));
        assert_eq!(answer.status, expected, "{range}");
        match expected {
            200 => assert_eq!(answer.text(), wanted),
            _ => assert_eq!(answer.field("x-error-code"), "invalid_upstream_response", "{range}"),
        }
        assert!(!answer.fields.has("content-range"), "{range}");
        let seen = world.provider.one();
        assert!(!seen.fields.has("range") && !seen.fields.has("if-range"), "none is asked for");
    }
    world.provider.next([Act::send(json_answer(206, "Content-Range: bytes 0-1/9\r\n", "{}"))]);
    assert_eq!(world.get("/p/v1/a").status, 206, "elsewhere a part is one");
    let _ = world.provider.one();
    let _ = world.ask(get_with("/p/v1/a", "Range: bytes=0-9\r\n"));
    assert!(world.provider.one().fields.has("range"), "elsewhere it is");
    for (target, kept) in [(REWRITTEN, false), ("/p/v1/a", true)] {
        let lines = format!("Content-Length: {}\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n", body.len());
        world.provider.next([Act::send(format!("HTTP/1.1 200 OK\r\n{lines}\r\n"))]);
        let mut client = world.client();
        let answer =
            client.send(String::from_utf8(get(target)).expect("text").replacen("GET", "HEAD", 1)).answer_to_head();
        for name in ["content-length", "etag", "accept-ranges"] {
            assert_eq!(answer.fields.has(name), kept, "{target} {name}");
        }
    }
}

#[test]
fn links_of_informational_responses_and_trailers_lead_here() {
    let world = World::start();
    let provider = world.provider.address();
    let lines = format!(
        "Link: <http://{provider}/v1/a>; rel=preload\r\nLocation: /v1/a\r\nStrict-Transport-Security: max-age=9\r\n\
         Alt-Svc: h3=\":443\"\r\nSet-Cookie: a=1; Domain=provider.example\r\n"
    );
    let names = "Link, Location, Strict-Transport-Security, Alt-Svc, Set-Cookie";
    world.provider.next([Act::send(format!(
        "HTTP/1.1 103 Early Hints\r\n{lines}\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: {names}\r\n\r\n2\r\nok\r\n0\r\n{lines}\r\n"
    ))]);
    let answer = world.ask(get_with("/p/v1/a", "TE: trailers\r\nConnection: TE\r\n"));
    let [(103, hints)] = answer.informational.as_slice() else { panic!("{answer:?}") };
    for (place, fields) in [("103", hints), ("trailers", &answer.trailers)] {
        assert_eq!(fields.get("link").as_deref(), Some("<http://gateway.test/p/v1/a>; rel=preload"), "{place}");
        assert_eq!(fields.get("location").as_deref(), Some("/p/v1/a"), "{place}");
        // hyper writes no cookie into trailers.
        assert_eq!(fields.get("set-cookie").as_deref(), Some("a=1").filter(|_| place == "103"), "{place}");
        for name in ["strict-transport-security", "alt-svc"] {
            assert!(!fields.has(name), "{name} in {place}");
        }
    }
}

/// A cache in between gave one client's form of an error to another.
#[test]
fn a_negotiated_response_has_vary() {
    let world = World::start();
    for _ in 0..2 {
        world.provider.next([Act::send(json_answer(404, "", "{}"))]);
    }
    for target in ["/nowhere", "/p/v1/a"] {
        for accept in ["application/json", "application/problem+json"] {
            let answer = world.ask(get_with(target, &format!("Accept: {accept}\r\n")));
            assert!(answer.status >= 400);
            assert_eq!(answer.fields.all("vary"), ["accept"], "{target} {accept}");
        }
    }
}
