//! A provider that fails at every byte: the client gets an envelope, or an answer that visibly is not whole.

use crate::support::check::{Outcome, canonical, ensure, rows};
use crate::support::world::{get, post};
use crate::support::{Act, End, Framing, Provider, World, envelope};

const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const FAILURE: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 63\r\n\r\n{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No voice x.\"}}";

/// An answer of which the first `cut` bytes come, and then this.
fn broken(answer: &'static [u8], end: &Act) -> impl Iterator<Item = (usize, Vec<Act>)> {
    let end = end.clone();
    (0..answer.len()).map(move |cut| (cut, vec![Act::send(&answer[..cut]), end.clone()]))
}

/// A success cut short is an envelope or a cut answer, never a whole one.
fn never_whole(world: &World, acts: &[Act], codes: &[&str]) -> Outcome {
    world.provider.next(acts);
    let mut client = world.client();
    let answer = client.send(get("/p/a")).try_answer("GET").map_err(|end| format!("no answer: {end:?}"))?;
    if answer.status == 200 {
        ensure!(answer.framing != Framing::UntilClose, "an end that cannot be told from a whole answer");
        ensure!(answer.cut.is_some(), "presented as whole: {:?}", answer.text());
        return Ok(());
    }
    let code = answer.field("x-error-code");
    ensure!(codes.contains(&code.as_str()), "code {code}");
    let _ = canonical(&answer, &code)?;
    Ok(())
}

#[test]
fn an_answer_cut_at_any_byte_is_never_whole() {
    let world = World::start();
    let codes = ["upstream_disconnected", "invalid_upstream_response"];
    for answer in [LENGTH, CHUNKED] {
        for end in [Act::Fin, Act::Reset] {
            rows(
                broken(answer, &end),
                |(cut, _)| format!("{end:?} after {cut}"),
                |(_, acts)| never_whole(&world, acts, &codes),
            );
        }
    }
    world.sound().expect("all is well afterwards");
}

#[test]
fn an_answer_that_stops_at_any_point_is_cut_by_a_deadline() {
    let world =
        World::with(|settings| settings.beside("short", "/s", "timeouts = { response = \"150ms\", idle = \"150ms\" }"));
    for answer in [LENGTH, CHUNKED] {
        let some = broken(answer, &Act::Hang).filter(|(cut, _)| cut % 9 == 0 || *cut + 6 > answer.len());
        rows(
            some,
            |(cut, _)| format!("a pause after {cut}"),
            |(_, acts)| {
                world.provider.next(acts.as_slice());
                let answer = world.get("/s/a");
                let _ = world.provider.abandoned();
                match answer.status {
                    200 => ensure!(answer.cut.is_some(), "presented as whole"),
                    _ => drop(canonical(&answer, "upstream_timeout")?),
                }
                Ok(())
            },
        );
    }
}

#[test]
fn a_failure_cut_at_any_byte_is_still_an_envelope() {
    let world = World::start();
    let head = FAILURE.windows(4).position(|part| part == b"\r\n\r\n").expect("a head") + 4;
    for end in [Act::Fin, Act::Reset] {
        let in_body = broken(FAILURE, &end).filter(|(cut, _)| *cut >= head);
        rows(
            in_body,
            |(cut, _)| format!("{end:?} after {cut}"),
            |(_, acts)| {
                world.provider.next(acts.as_slice());
                let answer = world.get("/p/a");
                let code = answer.field("x-error-code");
                let error = canonical(&answer, &code)?;
                ensure!(error["upstream"]["status"] == 404, "upstream {}", error["upstream"]);
                Ok(())
            },
        );
    }
    world.provider.next([Act::send(FAILURE)]);
    let error = envelope(&world.get("/p/a"), "voice_not_found");
    assert_eq!(error["upstream"]["code"], "voice_not_found", "the whole one is understood");
}

#[test]
fn a_response_other_than_http_is_invalid() {
    let world = World::start();
    let many: String = (0..300).map(|index| format!("X-{index}: y\r\n")).collect();
    let table: &[(&str, Vec<u8>)] = &[
        ("text", b"hello\r\n\r\n".to_vec()),
        ("HTTP/0.9", b"<html>hello</html>".to_vec()),
        ("TLS", b"\x15\x03\x01\x00\x02\x02\x0a".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("Icecast", b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("HTTP/2 settings", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec()),
        ("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("no status", b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("status 099", b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("a length that is no number", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok".to_vec()),
        ("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok".to_vec()),
        ("a signed length", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok".to_vec()),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok".to_vec()),
        ("a length past 64 bits", b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok".to_vec()),
        ("a NUL in a value", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("a CR in a value", b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("a field without a colon", b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("an empty name", b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("a space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok".to_vec()),
        ("obs-fold", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("300 fields", format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\nok").into_bytes()),
        (
            "a field of 2 MB",
            format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(2_000_000)).into_bytes(),
        ),
    ];
    rows(
        table,
        |(name, _)| (*name).to_owned(),
        |(_, bytes)| {
            world.provider.next([Act::send(bytes), Act::Fin]);
            let answer = world.get("/p/a");
            let _ = canonical(&answer, "invalid_upstream_response")?;
            Ok(())
        },
    );
    world.sound().expect("all is well afterwards");
}

#[test]
fn an_answer_with_many_fields_is_an_answer() {
    let world = World::start();
    let many: String = (0..200).map(|number| format!("X-Layer-{number}: {number}\r\n")).collect();
    world.provider.next([Act::send(format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\nok"))]);
    let answer = world.get("/p/a");
    assert_eq!((answer.status, answer.field("x-layer-199").as_str()), (200, "199"));
}

#[test]
fn broken_chunks_of_a_provider_are_never_whole() {
    let world = World::start();
    let bodies = [
        "g\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\nzz\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    ];
    let codes = ["invalid_upstream_response", "upstream_disconnected"];
    rows(
        bodies,
        |body| format!("{body:?}"),
        |body| {
            let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            never_whole(&world, &[Act::send(bytes), Act::Fin], &codes)
        },
    );
    world.sound().expect("all is well afterwards");
}

#[test]
fn a_bad_first_chunk_is_still_an_envelope() {
    let world = World::start();
    world
        .provider
        .next([Act::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"), Act::Fin]);
    let _ = envelope(&world.get("/p/a"), "invalid_upstream_response");
    world.provider.next([Act::send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Act::Fin]);
    let _ = envelope(&world.get("/p/a"), "upstream_disconnected");
}

#[test]
fn both_framings_in_an_answer_leave_nothing_behind() {
    let world = World::start();
    let hidden = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    let heads = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
    ];
    rows(
        heads,
        |head| (*head).to_owned(),
        |head| {
            world.provider.next([
                Act::send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{hidden}")),
                Act::Fin,
            ]);
            let mut client = world.client();
            let first = client.send(get("/p/a")).try_answer("GET").map_err(|end| format!("no answer: {end:?}"))?;
            ensure!(
                first.status != 200
                    || first.text() == "hello"
                    || first.cut.is_some()
                    || first.framing == Framing::UntilClose
                    || first.framing == Framing::Chunked,
                "{}",
                first.text()
            );
            world.provider.forget();
            ensure!(world.get("/p/b").text() == "ok", "the next answer is not its own");
            Ok(())
        },
    );
}

#[test]
fn further_answers_are_not_answers() {
    let world = World::start();
    for _ in 0..10 {
        world.provider.next([Act::send([LENGTH, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"].concat())]);
        let mut client = world.client();
        assert_eq!(client.send(get("/p/a")).answer().text(), "hello");
        assert_eq!(client.send(get("/p/b")).answer().text(), "ok", "what came on an idle connection answers nothing");
    }
}

#[test]
fn informational_responses_pass_and_storms_of_them_end() {
    let world = World::with(|settings| settings.beside("short", "/s", "timeouts = { response = \"500ms\" }"));
    world.provider.next([Act::send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"), Act::send(LENGTH)]);
    let answer = world.get("/p/a");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.informational.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [103]);
    assert_eq!(answer.informational[0].1.get("link").as_deref(), Some("</p/a.css>"), "it leads here");
    assert!(!answer.fields.has("link"), "nothing of it is in the final answer");

    world
        .provider
        .next([Act::send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX: a\0b\r\n\r\n"), Act::send(LENGTH)]);
    let answer = world.get("/p/a");
    assert!(answer.status == 502 && answer.informational.is_empty(), "an invalid one is an invalid answer: {answer:?}");

    let storm = "HTTP/1.1 102 Processing\r\n\r\n".repeat(20);
    world.provider.next([Act::send(&storm), Act::send(LENGTH)]);
    assert!(matches!(world.get("/p/a").status, 200 | 502));

    let memory = world.gateway.memory();
    world.provider.next(vec![Act::send(storm.repeat(1000)), Act::Hang]);
    let answer = world.get("/s/a");
    assert!(matches!(answer.status, 502 | 504), "{}", answer.line);
    assert!(world.gateway.memory() < memory + (32 << 20), "informational responses are not collected");
}

#[test]
fn a_provider_that_closes_between_requests_costs_no_unsafe_repeat() {
    let world = World::start();
    let mut sent = 0;
    for _ in 0..20 {
        world.provider.next([Act::send(LENGTH), Act::Fin]);
        assert_eq!(world.get("/p/a").text(), "hello");
        let _ = world.provider.take();
        sent += 1;
        let answer = world.ask(post("/p/clip", "hello"));
        let whole = world.provider.take().len();
        assert!(whole <= 1, "a POST was sent {whole} times");
        if answer.status != 200 {
            let _ = envelope(&answer, "upstream_disconnected");
        }
    }
    assert_eq!(sent, 20);
}

#[test]
fn a_post_on_a_dying_connection_is_not_repeated() {
    let world = World::around(
        Provider::with(|mut conn| {
            // The second request of a connection is read whole, and then the connection dies.
            if conn.request().is_some() {
                let _ = conn.wire.send(LENGTH);
            }
            let _ = conn.request();
            conn.wire.reset();
        }),
        |settings| settings,
    );
    assert_eq!(world.get("/p/a").text(), "hello");
    let _ = world.provider.take();
    let answer = world.ask(post("/p/clip", "hello"));
    let whole = world.provider.take().len();
    assert_eq!(whole, 1, "a POST that may have been carried out was sent again");
    if world.provider.connections() == 1 {
        let _ = envelope(&answer, "upstream_disconnected");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_passes_whole() {
    let world = World::start();
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        world.provider.next([Act::send(format!("{head}hello")), Act::Fin]);
        let answer = world.get("/p/a");
        assert_eq!((answer.text().as_str(), &answer.cut), ("hello", &None));
        world.provider.next([Act::send(format!("{head}hello")), Act::Reset]);
        let answer = world.get("/p/a");
        assert!(answer.status != 200 || answer.cut.is_some(), "a torn connection is no end: {answer:?}");
    }
}

#[test]
fn a_second_answer_is_dropped_with_its_connection() {
    let world = World::start();
    world.provider.next([
        Act::send("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"),
        Act::Hang,
    ]);
    assert_eq!(world.get("/p/a").status, 204);
    assert_ne!(world.provider.abandoned(), End::Deadline);
    assert_eq!(world.ask(get("/p/b")).text(), "ok");
}
