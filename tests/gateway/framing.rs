//! HTTP/1 as RFC 9112 and 9110 have it.

use crate::support::check::{Want, judge, row};
use crate::support::provider::OK;
use crate::support::world::{get, get_with, post};
use crate::support::{Act, Framing, World, envelope};

const CLIP: &str = "POST /clip HTTP/1.1";

/// A chunked POST with these bytes after the head.
fn chunked(body: &str) -> String {
    format!("POST /p/clip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn ordinary_requests_pass() {
    let world = World::start();
    let long = format!("GET /p/{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(2000));
    let hosts =
        ["a", "a:80", "a.example", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a-b.example.", "xn--bcher-kva.example"];
    let table = [
        row("plain", get("/p/a"), Want::Pass("GET /a HTTP/1.1", "")),
        row("a query", get("/p/a?b=c&d=%20e"), Want::Pass("GET /a?b=c&d=%20e HTTP/1.1", "")),
        row("the prefix alone", get("/p"), Want::Pass("GET / HTTP/1.1", "")),
        row("an empty line first", [b"\r\n".to_vec(), get("/p/a")].concat(), Want::Pass("GET /a HTTP/1.1", "")),
        row("absolute-form", "GET http://a/p/a HTTP/1.1\r\nHost: a\r\n\r\n", Want::Pass("GET /a HTTP/1.1", "")),
        row(
            "names in capitals",
            "GET /p/a HTTP/1.1\r\nHOST: a\r\nACCEPT: */*\r\n\r\n",
            Want::Pass("GET /a HTTP/1.1", ""),
        ),
        row("no space after the colon", "GET /p/a HTTP/1.1\r\nHost:a\r\n\r\n", Want::Pass("GET /a HTTP/1.1", "")),
        row("an empty value", get_with("/p/a", "X-Empty:\r\n"), Want::Pass("GET /a HTTP/1.1", "")),
        row("Content-Length", post("/p/clip", "hello"), Want::Pass(CLIP, "hello")),
        row("an empty POST", post("/p/clip", ""), Want::Pass(CLIP, "")),
        row(
            "leading zeros",
            "POST /p/clip HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello",
            Want::Pass(CLIP, "hello"),
        ),
        row("chunked", chunked("5\r\nhello\r\n0\r\n\r\n"), Want::Pass(CLIP, "hello")),
        row(
            "chunked in capitals",
            chunked("5\r\nhello\r\n0\r\n\r\n").replace("chunked", "Chunked"),
            Want::Pass(CLIP, "hello"),
        ),
        row("two chunks", chunked("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), Want::Pass(CLIP, "hello")),
        row("a size with zeros", chunked("0005\r\nhello\r\n000\r\n\r\n"), Want::Pass(CLIP, "hello")),
        row("a size in capitals", chunked("A\r\n0123456789\r\n0\r\n\r\n"), Want::Pass(CLIP, "0123456789")),
        row("a chunk extension", chunked("5;a=b\r\nhello\r\n0;c\r\n\r\n"), Want::Pass(CLIP, "hello")),
        row("a trailer", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), Want::Pass(CLIP, "hello")),
        row("DELETE", "DELETE /p/a HTTP/1.1\r\nHost: a\r\n\r\n", Want::Pass("DELETE /a HTTP/1.1", "")),
        row(
            "PATCH",
            "PATCH /p/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            Want::Pass("PATCH /a HTTP/1.1", "x"),
        ),
        row(
            "a GET with a body",
            "GET /p/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            Want::Pass("GET /a HTTP/1.1", "x"),
        ),
        row("connection: close", get_with("/p/a", "Connection: close\r\n"), Want::PassAndClose("GET /a HTTP/1.1", "")),
        row("HTTP/1.0", "GET /p/a HTTP/1.0\r\nHost: a\r\n\r\n", Want::PassAndClose("GET /a HTTP/1.1", "")),
        row("HTTP/1.0 without Host", "GET /p/a HTTP/1.0\r\n\r\n", Want::PassAndClose("GET /a HTTP/1.1", "")),
    ];
    let hosts = hosts.map(|host| {
        row(
            format!("Host {host}"),
            format!("GET /p/a HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            Want::Pass("GET /a HTTP/1.1", ""),
        )
    });
    judge(&world, table.into_iter().chain(hosts));
    assert_eq!(world.ask(long).status, 200);
}

#[test]
fn malformed_heads_are_refused() {
    let world = World::start();
    let heads: &[(&str, &[u8])] = &[
        ("no version", b"GET /p/a\r\nHost: a\r\n\r\n"),
        ("HTTP/0.9", b"GET /p/a\r\n\r\n"),
        ("HTTP/1.2", b"GET /p/a HTTP/1.2\r\nHost: a\r\n\r\n"),
        ("HTTP/2.0 in a request line", b"GET /p/a HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("HTTP/11", b"GET /p/a HTTP/11\r\nHost: a\r\n\r\n"),
        ("a version in small letters", b"GET /p/a http/1.1\r\nHost: a\r\n\r\n"),
        ("two spaces after the method", b"GET  /p/a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("two spaces before the version", b"GET /p/a  HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a space after the version", b"GET /p/a HTTP/1.1 \r\nHost: a\r\n\r\n"),
        ("a space first", b" GET /p/a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a space in the target", b"GET /p/a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a tab for a space", b"GET\t/p/a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a NUL in the target", b"GET /p/a\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a CR in the target", b"GET /p/a\rb HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a DEL in the target", b"GET /p/a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a target without a slash", b"GET p/a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a method that is no token", b"G@T /p/a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a NUL in a value", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        ("a CR in a value", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
        ("a control character in a value", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n"),
        ("a space before the colon", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
        ("a tab before the colon", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n"),
        ("a space before the first field", b"GET /p/a HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("obs-fold", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
        ("obs-fold with a tab", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n"),
        ("a field without a colon", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        ("an empty name", b"GET /p/a HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("a name that is no token", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX(Y): b\r\n\r\n"),
        ("a name that is not ASCII", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: b\r\n\r\n"),
        ("a NUL in a name", b"GET /p/a HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"),
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ];
    judge(&world, heads.iter().map(|(name, bytes)| row(*name, bytes, Want::Refuse)));
}

#[test]
fn one_valid_host_is_asked_for() {
    let world = World::start();
    let hosts = [
        "", "a b", "a/b", "a@b", "user@a", "a?b", "a#b", "a\\b", "a:b", "a:99999", "a:-1", "[::1", "::1", "a,b",
        "a%00b", "a\tb", "<a>", "http://a",
    ];
    let invalid = hosts
        .map(|host| row(format!("Host {host:?}"), format!("GET /p/a HTTP/1.1\r\nHost: {host}\r\n\r\n"), Want::Refuse));
    let table = [
        row("none", "GET /p/a HTTP/1.1\r\nAccept: */*\r\n\r\n", Want::Refuse),
        row("two", "GET /p/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Want::Refuse),
        row("two that agree", "GET /p/a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Want::Refuse),
        // RFC 9112 3.2.2: the target wins, and Host is ignored.
        row(
            "another than the target's",
            "GET http://a/p/a HTTP/1.1\r\nHost: b\r\n\r\n",
            Want::Pass("GET /a HTTP/1.1", ""),
        ),
        row("an empty port", "GET /p/a HTTP/1.1\r\nHost: a:\r\n\r\n", Want::Pass("GET /a HTTP/1.1", "")),
        row("user information in the target", "GET http://u@a/p/a HTTP/1.1\r\nHost: a\r\n\r\n", Want::Refuse),
    ];
    judge(&world, invalid.into_iter().chain(table));
}

#[test]
fn heads_past_their_bounds_are_refused() {
    let world = World::with(|settings| {
        settings.server("max_target_bytes = 1000").server("max_header_bytes = 8192").server("max_headers = 50")
    });
    let many: String = (0..60).map(|index| format!("X-{index}: y\r\n")).collect();
    let enough: String = (0..40).map(|index| format!("X-{index}: y\r\n")).collect();
    let table = [
        ("a target of 2,000 bytes", get(&format!("/p/{}", "x".repeat(2000))), 414),
        ("a target of 70,000 bytes", get(&format!("/p/{}", "x".repeat(70_000))), 414),
        ("a field of 10,000 bytes", get_with("/p/a", &format!("X: {}\r\n", "x".repeat(10_000))), 431),
        ("a field of 1 MB", get_with("/p/a", &format!("X: {}\r\n", "x".repeat(1_000_000))), 431),
        ("60 fields", get_with("/p/a", &many), 431),
        ("40 fields", get_with("/p/a", &enough), 200),
        ("a field of 4,000 bytes", get_with("/p/a", &format!("X: {}\r\n", "x".repeat(4000))), 200),
        ("a target of 900 bytes", get(&format!("/p/{}", "x".repeat(900))), 200),
    ];
    for (name, bytes, status) in table {
        assert_eq!(world.ask(bytes).status, status, "{name}");
    }
    world.clean();
}

#[test]
fn bodies_with_broken_chunks_never_pass_as_whole() {
    let world = World::start();
    let bodies = [
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("not hexadecimal", "g\r\nhello\r\n0\r\n\r\n"),
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("negative", "-5\r\nhello\r\n0\r\n\r\n"),
        ("past 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("past 64 bits with zeros", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("a space first", " 5\r\nhello\r\n0\r\n\r\n"),
        ("longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
        ("no CRLF after the data", "5\r\nhello0\r\n\r\n"),
        ("LF after the size", "5\nhello\r\n0\r\n\r\n"),
        ("LF after the data", "5\r\nhello\n0\r\n\r\n"),
        ("CR alone after the size", "5\rhello\r\n0\r\n\r\n"),
        ("LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a bad second chunk", "5\r\nhello\r\nzz\r\n0\r\n\r\n"),
        ("a bad trailer", "5\r\nhello\r\n0\r\nno colon\r\n\r\n"),
    ];
    judge(&world, bodies.map(|(name, body)| row(name, chunked(body), Want::BadBody)));
}

#[test]
fn lengths_that_are_no_numbers_are_refused() {
    let world = World::start();
    let values = [
        "+5",
        "-5",
        "0x5",
        "5.0",
        "5 5",
        "5,6",
        "5, 6",
        "five",
        "5;",
        "18446744073709551621",
        "99999999999999999999999",
        "\"5\"",
        "５",
    ];
    let with = |line: &str| format!("POST /p/clip HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\nhello");
    let table = values.map(|value| row(format!("{value:?}"), with(&format!("Content-Length: {value}")), Want::Refuse));
    let two = row("two that differ", with("Content-Length: 5\r\nContent-Length: 6"), Want::Refuse);
    let same = row("two that agree", with("Content-Length: 5\r\nContent-Length: 5"), Want::Pass(CLIP, "hello"));
    let list = row("a list that agrees", with("Content-Length: 5, 5"), Want::RefuseOr(CLIP, "hello"));
    judge(&world, table.into_iter().chain([two, same, list]));
}

#[test]
fn answers_come_in_the_order_of_pipelined_requests() {
    let world = World::start();
    for text in ["one", "two", "three"] {
        world.provider.next([Act::send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))]);
    }
    let mut client = world.client();
    let _ = client.send([get("/p/1"), post("/p/2", "hello"), get("/p/3")].concat());
    let texts: Vec<String> = (0..3).map(|_| client.answer().text()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let targets: Vec<String> = world.provider.take().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(targets, ["/1", "/2", "/3"]);
}

#[test]
fn nothing_after_a_closing_request_is_answered() {
    let world = World::start();
    let mut client = world.client();
    let _ = client.send([get_with("/p/1", "Connection: close\r\n"), get("/p/2")].concat());
    assert_eq!(client.answer().status, 200);
    client.closed().expect("the connection ends with the first answer");
    assert_eq!(world.provider.take().len(), 1);
}

#[test]
fn requests_may_come_byte_by_byte() {
    let world = World::start();
    let mut client = world.client();
    let _ = client.dribble(chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").as_bytes());
    assert_eq!(client.answer().status, 200);
    assert_eq!(world.provider.one().body, b"hello");
}

#[test]
fn answers_may_come_byte_by_byte() {
    let world = World::start();
    world
        .provider
        .next([Act::Dribble(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec())]);
    let answer = world.get("/p/a");
    assert_eq!((answer.status, answer.text().as_str(), answer.cut), (200, "ok", None));
}

#[test]
fn heads_without_bodies_keep_the_connection_in_step() {
    let world = World::start();
    let mut client = world.client();
    world.provider.next([Act::send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")]);
    let head = client.send("HEAD /p/a HTTP/1.1\r\nHost: a\r\n\r\n").answer_to_head();
    assert_eq!((head.status, head.field("content-length").as_str()), (200, "1000"));
    for (line, status) in [("204 No Content", 204), ("304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1000", 304)] {
        world.provider.next([Act::send(format!("HTTP/1.1 {line}\r\n\r\n"))]);
        let answer = client.send(get("/p/a")).answer();
        assert_eq!((answer.status, answer.framing, answer.body.len()), (status, Framing::None, 0));
    }
    assert_eq!(client.send(get("/p/a")).answer().text(), "ok");
    world.clean();
}

#[test]
fn clients_of_http_1_0_get_no_transfer_coding_and_no_informational_response() {
    let world = World::start();
    world.provider.next([
        Act::send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        Act::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ]);
    let answer = world.ask("GET /p/a HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.text().as_str(), answer.informational.len()), (200, "ok", 0));
    assert!(!answer.fields.has("transfer-encoding"));
}

#[test]
fn unknown_statuses_and_methods_pass() {
    let world = World::start();
    for status in [218, 299] {
        world.provider.next([Act::send(format!("HTTP/1.1 {status} Odd\r\nContent-Length: 2\r\n\r\nok"))]);
        assert_eq!(world.get("/p/a").status, status);
    }
    let answer = world.ask("get /p/a HTTP/1.1\r\nHost: a\r\n\r\n");
    let seen = world.provider.take().pop().expect("a request").line;
    assert_eq!((answer.status, seen.as_str()), (200, "get /a HTTP/1.1"), "methods are case-sensitive");
}

#[test]
fn connect_and_trace_are_refused() {
    let world = World::start();
    let table = [
        row("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Want::Worded("method_not_allowed")),
        row("CONNECT with a path", "CONNECT /p/a HTTP/1.1\r\nHost: a\r\n\r\n", Want::Worded("method_not_allowed")),
        row(
            "TRACE",
            "TRACE /p/a HTTP/1.1\r\nHost: a\r\nAuthorization: secret\r\n\r\n",
            Want::Worded("method_not_allowed"),
        ),
    ];
    judge(&world, table);
}

#[test]
fn forwards_options_are_counted_down() {
    let world = World::start();
    let options = |hops: &str| format!("OPTIONS /p/a HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n");
    assert_eq!(world.ask(options("5")).status, 200);
    assert_eq!(world.provider.one().fields.get("max-forwards").as_deref(), Some("4"));
    let last = world.ask(options("0"));
    assert!(last.status < 300, "the last hop answers itself: {}", last.line);
    assert_eq!(world.provider.take().len(), 0);
}

#[test]
fn an_answer_without_a_date_gets_one() {
    let world = World::start();
    assert!(world.get("/p/a").fields.has("date"));
    world.provider.next([Act::send(
        String::from_utf8_lossy(OK).replace("Content-Type", "Date: Sat, 21 Nov 2026 09:30:00 GMT\r\nContent-Type"),
    )]);
    assert_eq!(world.get("/p/a").field("date"), "Sat, 21 Nov 2026 09:30:00 GMT");
}

#[test]
fn only_websocket_upgrades() {
    let world = World::start();
    let upgrade = |version: &str, lines: &str| format!("GET /p/a HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    let table = [
        ("h2c", upgrade("1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")),
        ("an unknown token", upgrade("1.1", "Connection: upgrade\r\nUpgrade: foo\r\n")),
        ("without Connection", upgrade("1.1", &format!("Upgrade: websocket\r\n{key}"))),
        ("in HTTP/1.0", upgrade("1.0", &format!("Connection: upgrade\r\nUpgrade: websocket\r\n{key}"))),
    ];
    for (name, bytes) in table {
        assert_eq!(world.ask(bytes).status, 200, "{name}");
        let fields = world.provider.one().fields;
        for gone in ["upgrade", "http2-settings", "connection"] {
            assert!(!fields.has(gone), "{name}: {gone} was forwarded");
        }
    }
}

#[test]
fn an_unrequested_101_is_a_failure() {
    let world = World::start();
    world.provider.next([
        Act::send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        Act::Hang,
    ]);
    let _ = envelope(&world.get("/p/a"), "invalid_upstream_response");
}
