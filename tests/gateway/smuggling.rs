//! Requests that two servers would read differently: each is refused, or forwarded in the one way that has no second reading.

use crate::support::check::{Row, Want, judge, row};
use crate::support::world::{get, post};
use crate::support::{Act, World};

/// What an attacker would like the provider to see as a request of its own.
const HIDDEN: &str = "GET /p/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const CLIP: &str = "POST /clip HTTP/1.1";

/// A POST with these header lines and these bytes after the head.
fn with(lines: &str, rest: &str) -> String {
    format!("POST /p/clip HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{rest}")
}

fn refuse(name: &str, lines: &str) -> Row {
    row(name, with(lines, &format!("0\r\n\r\n{HIDDEN}")), Want::Refuse)
}

#[test]
fn length_and_transfer_coding_together() {
    let world = World::start();
    let body = "5\r\nhello\r\n0\r\n\r\n";
    // RFC 9112 6.3: two readers could take it for two different requests, whatever the order, also where the head comes in parts.
    let table = [
        row("CL.TE", with("Content-Length: 15\r\nTransfer-Encoding: chunked", body), Want::Refuse),
        row("TE.CL", with("Transfer-Encoding: chunked\r\nContent-Length: 15", body), Want::Refuse),
        row(
            "CL.TE with a tail",
            with("Content-Length: 60\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{HIDDEN}")),
            Want::Refuse,
        ),
        row(
            "TE.CL with a tail",
            with("Transfer-Encoding: chunked\r\nContent-Length: 4", &format!("0\r\n\r\n{HIDDEN}")),
            Want::Refuse,
        ),
        row(
            "CL.TE in HTTP/1.0",
            "POST /p/clip HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Want::Refuse,
        ),
        row(
            "TE in HTTP/1.0",
            "POST /p/clip HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Want::Refuse,
        ),
    ];
    judge(&world, table);
}

/// hyper read them from its own buffer, where nobody looked: it took the coding, served the request and closed.
#[test]
fn length_and_transfer_coding_together_behind_a_body() {
    let world = World::start();
    let both = with("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n");
    let chunked = with("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n");
    let fine = with("Transfer-Encoding: chunked", "0\r\n\r\n");
    for first in [with("Content-Length: 5", "hello"), chunked, String::from_utf8(get("/p/a")).expect("text")] {
        for between in ["", "\r\n", &fine] {
            let all = format!("{first}{between}{both}{HIDDEN}");
            // In one segment, and cut in the first request, at its end and in the second.
            for cut in [all.len(), 40, first.len() - 1, first.len(), first.len() + between.len() + 30, all.len() - 20] {
                let mut client = world.client();
                client.wire().send(&all.as_bytes()[..cut]).expect("taken");
                let mut answers = Vec::new();
                if cut < first.len() {
                    let _ = client.send(&all.as_bytes()[cut..]);
                    answers.push(client.answer().status);
                } else {
                    answers.push(client.answer().status);
                    let _ = client.send(&all.as_bytes()[cut..]);
                }
                if between == fine {
                    answers.push(client.answer().status);
                }
                assert!(answers.iter().all(|status| *status == 200), "{first:?} {between:?} {cut}: {answers:?}");
                let last = client.answer();
                assert_eq!(
                    (last.status, last.field("connection").as_str()),
                    (400, "close"),
                    "{first:?} {between:?} {cut}"
                );
                assert_eq!(world.provider.take().len(), answers.len(), "{first:?} {between:?} {cut}");
            }
        }
    }
}

#[test]
fn transfer_codings_with_two_readings() {
    let world = World::start();
    let codings = [
        "identity",
        "gzip",
        "chunked, identity",
        "chunked, gzip",
        "gzip, chunked",
        "chunked, chunked",
        "xchunked",
        "chunkedx",
        "chunk",
        "\"chunked\"",
        "chunked;q=1",
        "chunked x",
        "'chunked'",
        ", chunked",
        "chunked,",
        "",
        "\u{b}chunked",
        "chunked\u{b}",
        "chunKed, ",
        "identity, chunked",
    ];
    let table = codings.map(|coding| refuse(&format!("{coding:?}"), &format!("Transfer-Encoding: {coding}")));
    let twice = [
        refuse("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        refuse("chunked, then identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        refuse("identity, then chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        refuse("a space before the colon", "Transfer-Encoding : chunked"),
        refuse("folded", "Transfer-Encoding:\r\n chunked"),
        refuse("folded after another field", "X: y\r\n Transfer-Encoding: chunked"),
        refuse("a NUL in the name", "Transfer-Encoding\0: chunked"),
        refuse("after a CR alone", "X: y\rTransfer-Encoding: chunked"),
    ];
    judge(&world, table.into_iter().chain(twice));
}

#[test]
fn fields_that_look_like_framing_are_not_passed_on() {
    let world = World::start();
    for line in ["Transfer_Encoding: chunked", "Content_Length: 60", "transfer_encoding: chunked", "CONTENT_LENGTH: 4"]
    {
        let answer = world.ask(with(&format!("{line}\r\nContent-Length: 5"), "hello"));
        let seen = world.provider.take();
        let twin = seen.iter().any(|seen| seen.fields.0.iter().any(|(name, _)| name.contains('_')));
        assert!((answer.status == 200 || answer.status == 400) && !twin, "{line}: {} {seen:?}", answer.line);
    }
    world.sound().expect("in step");
}

#[test]
fn requests_hidden_in_bodies_are_forwarded_as_bodies() {
    let world = World::start();
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let table = [
        row("in a length", post("/p/clip", HIDDEN), Want::Pass(CLIP, HIDDEN)),
        row("in a chunk", with("Transfer-Encoding: chunked", &chunk), Want::Pass(CLIP, HIDDEN)),
        row(
            "in a GET",
            format!("GET /p/clip HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            Want::Pass("GET /clip HTTP/1.1", HIDDEN),
        ),
        row(
            "in a DELETE",
            format!("DELETE /p/clip HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            Want::Pass("DELETE /clip HTTP/1.1", HIDDEN),
        ),
        row(
            "in a trailer",
            with("Transfer-Encoding: chunked", "0\r\nX: GET /p/smuggled HTTP/1.1\r\n\r\n"),
            Want::Pass(CLIP, ""),
        ),
        row(
            "in an extension",
            with("Transfer-Encoding: chunked", "5;GET=/p/smuggled\r\nhello\r\n0\r\n\r\n"),
            Want::Pass(CLIP, "hello"),
        ),
    ];
    judge(&world, table);
}

#[test]
fn framing_fields_in_trailers_change_nothing() {
    let world = World::start();
    for field in [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Authorization: x",
        "Connection: close",
        "X-Forwarded-For: 1.2.3.4",
    ] {
        let answer = world.ask(with("Transfer-Encoding: chunked", &format!("5\r\nhello\r\n0\r\n{field}\r\n\r\n")));
        assert!(answer.status == 200 || answer.status == 400, "{field}: {}", answer.line);
        for seen in world.provider.take() {
            let name = field.split(':').next().expect("a name");
            assert!(!seen.trailers.has(name), "{field} was passed on as a trailer");
        }
    }
    world.sound().expect("in step");
    world.clean();
}

#[test]
fn a_refused_request_ends_its_connection_with_its_body_unread() {
    let world = World::start();
    // CL.0 and 0.CL: the answer comes before the body, and the body must not be taken for the next request.
    let length = HIDDEN.len();
    let targets = ["/nowhere", "/p/../../etc"];
    for target in targets {
        let mut client = world.client();
        let _ = client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"));
        assert!(matches!(client.answer().status, 400 | 404), "{target}");
        if let Ok(next) = client.send(get("/p/next")).try_answer("GET") {
            assert_eq!(next.status, 200, "{target}: {}", next.line);
        }
        let lines: Vec<String> = world.provider.take().into_iter().map(|seen| seen.line).collect();
        assert!(lines.iter().all(|line| line == "GET /next HTTP/1.1"), "{target}: {lines:?}");
    }
}

#[test]
fn an_answer_before_the_end_of_the_body_leaves_nothing_behind() {
    let world = World::around(
        crate::support::Provider::with(|mut conn| {
            while let Some((line, fields)) = conn.head() {
                let early = line.starts_with("POST");
                let _ = conn.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                if early && conn.body(line, fields).is_none() {
                    return;
                }
            }
        }),
        |settings| settings,
    );
    let mut client = world.client();
    let _ = client.send(format!("POST /p/clip HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", HIDDEN.len()));
    assert_eq!(client.answer().text(), "ok");
    let _ = client.send(HIDDEN).send(get("/p/next"));
    if let Ok(next) = client.try_answer("GET") {
        assert_eq!(next.text(), "ok");
        client.closed().expect_err("one answer for one request, and the connection stays");
    }
    world.clean();
}

#[test]
fn bytes_after_an_upgrade_request_wait_for_the_101() {
    let world = World::start();
    let upgrade = "GET /p/ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    world.provider.always([Act::send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")]);
    let answer = world.ask(format!("{upgrade}{HIDDEN}"));
    assert!(answer.status >= 400, "{}", answer.line);
    let seen = world.provider.take();
    assert!(seen.iter().all(|seen| seen.target() != "/smuggled") || seen.len() == 2, "{seen:?}");
    world.clean();
}

#[test]
fn line_ends_that_are_not_crlf() {
    let world = World::start();
    // RFC 9112 2.2 lets a recipient take a single LF for a line's end, and hyper's parser does; it never forwards one.
    let table = [
        row("LF", "POST /p/clip HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello", Want::Pass(CLIP, "hello")),
        row(
            "LF and CRLF",
            "POST /p/clip HTTP/1.1\r\nHost: a\nContent-Length: 5\r\n\r\nhello",
            Want::Pass(CLIP, "hello"),
        ),
        row("CR alone", "POST /p/clip HTTP/1.1\rHost: a\rContent-Length: 5\r\r\r\n\r\n", Want::Refuse),
    ];
    judge(&world, table);
}

#[test]
fn a_pipelined_request_is_validated_on_its_own() {
    let world = World::start();
    let bad = "POST /p/clip HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello";
    let mut client = world.client();
    let _ = client.send([get("/p/first"), bad.as_bytes().to_vec(), get("/p/smuggled")].concat());
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 400);
    client.closed().expect("nothing after a refusal");
    assert_eq!(world.provider.take().len(), 1);
}
