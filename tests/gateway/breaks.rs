//! Streams that break: events and lines end with the canonical error and are then cut, audio is cut, so that every client notices.

use crate::support::check::{Outcome, ensure, rows};
use crate::support::http2::{DATA, Fate, H2, SETTINGS, WINDOW_UPDATE, frame, get_fields, request};
use crate::support::world::{get, get_with, post};
use crate::support::{Act, End, Framing, Provider, World};
use serde_json::Value;

/// Routes for events and for audio, with a short patience.
fn world() -> World {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    World::around(provider, |settings| {
        settings.route_to("events", "/s", "cartesia", &url, "timeouts = { response = \"5s\", idle = \"250ms\" }")
    })
}

const SSE: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";

fn chunk(piece: &str) -> String {
    format!("{:x}\r\n{piece}\r\n", piece.len())
}

/// An answer in chunks, in a length, or up to the end of the connection.
fn begun(media_type: &str, framing: &str, body: &str) -> Act {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n");
    Act::send(match framing {
        "chunked" => format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk(body)),
        "length" => format!("{head}Content-Length: 1000\r\n\r\n{body}"),
        _ => format!("{head}Connection: close\r\n\r\n{body}"),
    })
}

/// How an answer in this framing may break off: what comes, and the code that says so.
fn ends(framing: &str) -> Vec<(Vec<Act>, &'static str)> {
    let mut ends = vec![(vec![Act::Reset], "upstream_disconnected"), (vec![Act::Hang], "upstream_timeout")];
    if framing != "until close" {
        ends.push((vec![Act::Fin], "upstream_disconnected"));
    }
    if framing == "chunked" {
        ends.push((vec![Act::send("zz\r\nbad"), Act::Fin], "invalid_upstream_response"));
        ends.push((vec![Act::send("5\r\nab"), Act::Fin], "upstream_disconnected"));
    }
    ends
}

struct Row {
    name: String,
    acts: Vec<Act>,
    media_type: &'static str,
    passed: &'static str,
    code: &'static str,
}

fn table() -> Vec<Row> {
    let mut table = Vec::new();
    for (media_type, passed, half) in [
        (SSE, "data: {\"type\":\"chunk\"}\n\n", "event: chunk\ndata: {\"type\":\"ch"),
        (SSE, "data: {\"type\":\"chunk\"}\n\n", ""),
        (SSE, "", ""),
        (NDJSON, "{\"audio_base64\":\"AAAA\"}\n", "{\"audio_base64\":\"BB"),
        (NDJSON, "{\"audio_base64\":\"AAAA\"}\n", ""),
    ] {
        let body = format!("{passed}{half}");
        for framing in ["chunked", "length", "until close"] {
            // A reset overtakes what has come before; whether that is seen is a matter of luck.
            for (end, code) in ends(framing) {
                if body.is_empty() && framing == "chunked" {
                    continue;
                }
                let name = format!("{media_type} {body:?} {framing} {end:?}");
                let acts = [vec![begun(media_type, framing, &body)], end].concat();
                table.push(Row { name, acts, media_type, passed, code });
            }
        }
    }
    table
}

/// What passed is there, then the error once, and nothing else.
fn told(row: &Row, body: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(body);
    let reset = row.acts.iter().any(|act| matches!(act, Act::Reset));
    let rest = text.strip_prefix(row.passed).or(reset.then_some(&text));
    let rest = rest.ok_or_else(|| format!("not what passed: {text}"))?;
    let json = match row.media_type {
        SSE => rest.strip_prefix("event: error\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")),
        _ => rest.strip_suffix('\n'),
    };
    let json = json.filter(|json| !json.contains('\n')).ok_or_else(|| format!("not one error: {text}"))?;
    let event: Value = serde_json::from_str(json).map_err(|error| format!("{error}: {text}"))?;
    ensure!(event["type"] == "error", "{event}");
    ensure!(event["error"]["code"] == row.code, "{} instead of {}", event["error"]["code"], row.code);
    ensure!(row.media_type != SSE || event["done"] == true, "done: {}", event["done"]);
    Ok(())
}

#[test]
fn events_and_lines_that_break_off_say_so_and_are_cut() {
    let world = world();
    rows(
        table(),
        |row| row.name.clone(),
        |row| {
            world.provider.next(row.acts.clone());
            let answer = world.get("/s/a");
            let failed = answer.status == 502 && row.acts.iter().any(|act| matches!(act, Act::Reset));
            if failed {
                // The reset overtook the head.
                ensure!(answer.field("x-error-code") == row.code, "{:?}", answer.fields);
                return Ok(());
            }
            // What a client does not read as an event it reads as a cut: no last chunk.
            ensure!(answer.status == 200 && answer.cut == Some(End::Fin), "{} cut {:?}", answer.line, answer.cut);
            ensure!(answer.framing == Framing::Chunked, "{:?}", answer.framing);
            told(row, &answer.body)
        },
    );
    world.sound().expect("all is well afterwards");
}

#[test]
fn the_same_over_http2() {
    let world = world();
    rows(
        table(),
        |row| row.name.clone(),
        |row| {
            world.provider.next(row.acts.clone());
            let mut client = H2::to(world.gateway.address());
            match client.send(request(1, &get_fields("/s/a", &[]))).fate(1) {
                // The event came before the reset that a client without eyes for it sees.
                Fate::Reset(Some(200), _) => told(row, &client.came),
                Fate::Answered(502, _) if row.acts.iter().any(|act| matches!(act, Act::Reset)) => Ok(()),
                fate => Err(format!("{fate:?}")),
            }
        },
    );
}

/// Audio in every framing, broken off in every way.
fn audio() -> Vec<(String, Vec<Act>)> {
    let mut table = Vec::new();
    for media_type in ["audio/mpeg", "application/octet-stream", "audio/pcm; rate=16000"] {
        for framing in ["chunked", "length", "until close"] {
            for (end, _) in ends(framing) {
                let name = format!("{media_type} {framing} {end:?}");
                table.push((name, [vec![begun(media_type, framing, "\u{1}half of it")], end].concat()));
            }
        }
    }
    table
}

#[test]
fn audio_that_breaks_off_is_visibly_cut() {
    let world = world();
    rows(
        audio(),
        |(name, _)| name.clone(),
        |(_, acts)| {
            world.provider.next(acts.clone());
            let answer = world.ask(get("/s/a"));
            ensure!(answer.status == 200 || answer.status == 502, "{}", answer.line);
            if answer.status == 200 {
                ensure!(answer.framing != Framing::UntilClose, "an end that cannot be told from a whole answer");
                ensure!(matches!(answer.cut, Some(End::Fin | End::Reset)), "presented as whole: {:?}", answer.cut);
            }
            Ok(())
        },
    );
    world.sound().expect("all is well afterwards");
}

#[test]
fn audio_that_breaks_off_over_http2_is_a_reset() {
    let world = world();
    rows(
        audio(),
        |(name, _)| name.clone(),
        |(_, acts)| {
            world.provider.next(acts.clone());
            match H2::to(world.gateway.address()).send(request(1, &get_fields("/s/a", &[]))).fate(1) {
                Fate::Reset(..) | Fate::Answered(502, _) => Ok(()),
                fate => Err(format!("{fate:?}")),
            }
        },
    );
}

#[test]
fn audio_that_breaks_off_is_a_reset_for_a_client_of_http_1_0() {
    // It knows an end from a cut by the reset alone.
    let world = world();
    rows(
        audio(),
        |(name, _)| name.clone(),
        |(_, acts)| {
            world.provider.next(acts.clone());
            let answer = world.ask(String::from_utf8_lossy(&get_with("/s/a", "")).replace("HTTP/1.1", "HTTP/1.0"));
            ensure!(answer.status == 200 || answer.status == 502, "{}", answer.line);
            let noticed = matches!(answer.framing, Framing::Length(_)) || answer.cut == Some(End::Reset);
            ensure!(answer.status == 502 || noticed && answer.cut.is_some(), "presented as whole: {answer:?}");
            Ok(())
        },
    );
}

/// Profiles say which event is the last of a stream; a stream that ended in order without it used to pass for a whole one.
#[test]
fn a_stream_without_its_last_event_is_not_whole() {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let world = World::around(provider, |settings| settings.route_to("rime", "/r", "rime", &url, ""));
    const AUDIO: &str = "event: chunk\ndata: {\"data\":\"AAAA\"}\n\n";
    let large = format!("event: chunk\ndata: {{\"data\":\"{}\"}}\n\n", "A".repeat(70 * 1024));
    rows(
        [
            ("/r/v1/rime-tts", AUDIO.to_owned(), false),
            ("/r/v1/rime-tts", String::from(": nothing but a comment\n\n"), false),
            ("/r/v1/rime-tts", format!("{AUDIO}event: done\ndata: {{\"done\":true}}\n\n"), true),
            ("/r/v1/rime-tts", format!("{AUDIO}event: done\n\n"), true),
            ("/r/v1/rime-tts", format!("{AUDIO}event: done\ndata: {{\"done\":true}}\n"), true),
            // A word of it somewhere else is not it.
            ("/r/v1/rime-tts", format!("{AUDIO}event: chunk\ndata: {{\"text\":\"done\"}}\n\n"), false),
            // What was too large to be looked at may have been the last one.
            ("/r/v1/rime-tts", large, true),
            // Nobody knows the last event of this path.
            ("/r/v1/other", AUDIO.to_owned(), true),
        ],
        |(path, body, _)| format!("{path} {}", &body[..body.len().min(120)]),
        |(path, body, whole)| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {SSE}\r\nContent-Length: {}\r\n\r\n", body.len());
            world.provider.next([Act::send(head + body)]);
            let answer = world.gateway.client().send(post(path, "{\"text\":\"x\"}")).answer();
            let text = String::from_utf8_lossy(&answer.body);
            let rest = text.strip_prefix(body.as_str()).ok_or("it did not pass untouched")?;
            let told = rest.contains("\"code\":\"upstream_disconnected\"");
            ensure!(answer.status == 200 && told != *whole && rest.is_empty() == *whole, "{rest}");
            Ok(())
        },
    );
}

/// Events and lines of speech in base64 are long. A part of one used to be out when the stream broke, and the error was glued to it,
/// where no parser finds it.
#[test]
fn a_break_inside_a_long_event_ends_with_an_error_event_or_only_a_cut() {
    let world = world();
    const KIB: usize = 1024;
    let mut table = Vec::new();
    for (media_type, head, line_ends) in [
        (SSE, "event: audio\ndata: {\"audio_base64\":\"", ["", "\n"]),
        (SSE, "event: audio\r\ndata: {\"audio_base64\":\"", ["", "\r"]),
        (NDJSON, "{\"audio_base64\":\"", ["", ""]),
    ] {
        for size in [63 * KIB, 65 * KIB, 100 * KIB, 1024 * KIB, 5 * 1024 * KIB] {
            for line_end in line_ends {
                let part = format!("{head}{}{line_end}", "A".repeat(size));
                table.push((media_type, size, String::new(), part.clone()));
                table.push((
                    media_type,
                    size,
                    part.clone() + "\"}" + if media_type == SSE { "\n\n" } else { "\n" },
                    part,
                ));
            }
        }
    }
    rows(
        table,
        |(media_type, size, whole, part)| format!("{media_type} {size} {} {}", whole.len(), &part[part.len() - 2..]),
        |(media_type, size, whole, part)| {
            let mut acts = vec![begun(media_type, "chunked", ": first\n\n")];
            let body = whole.clone() + part;
            acts.extend(
                body.as_bytes()
                    .chunks(100_000)
                    .map(|piece| Act::send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())),
            );
            acts.push(Act::Fin);
            world.provider.next(acts);
            let answer = world.get("/s/a");
            ensure!(answer.cut == Some(End::Fin), "not cut: {:?}", answer.cut);
            let passed = String::from(": first\n\n") + whole;
            let row =
                Row { name: String::new(), acts: Vec::new(), media_type, passed: "", code: "upstream_disconnected" };
            let rest = answer.body.strip_prefix(passed.as_bytes()).ok_or("what was whole did not pass untouched")?;
            if *size < 4 * 1024 * KIB {
                return told(&row, rest);
            }
            // Too much to hold: a part is out, to which nothing is added.
            ensure!(part.as_bytes().starts_with(rest), "something was added to {} bytes", rest.len());
            Ok(())
        },
    );
}

/// The same for a comment, part of which is out at once because it may be there to keep the connection alive.
#[test]
fn a_break_inside_a_comment_ends_with_an_error_event() {
    let world = world();
    for comment in [":", ": keep-alive", "data: 1\n\n: keep", "data: 1\r\r:", "data: 1\n\n:\r", ":a\n\n:b\r\n"] {
        world.provider.next([begun(SSE, "chunked", comment), Act::Fin]);
        let answer = world.get("/s/a");
        let text = answer.text();
        let rest = text.strip_prefix(comment).unwrap_or_else(|| panic!("{comment:?}: {text}"));
        assert!(rest.trim_start_matches('\n').starts_with("event: error\ndata: {"), "{comment:?}: {text}");
        let starts_a_line = comment.ends_with(['\r', '\n']) || rest.starts_with('\n');
        assert!(starts_a_line && answer.cut == Some(End::Fin), "{comment:?}: {text}");
    }
}

/// `data: [DONE]` without a last line break, as many language and speech APIs end, and a line with NaN in it used to be thrown away
/// and called a broken stream.
#[test]
fn a_stream_that_ends_in_order_is_whole_whatever_its_last_line_is() {
    let world = world();
    for (media_type, body) in [
        (SSE, "data: {\"n\":1}\n\ndata: [DONE]\n"),
        (SSE, "data: {\"n\":1}\n\ndata: [DONE]"),
        (SSE, "data: {\"n\":1}\n\ndata: {\"n\":"),
        (SSE, "data: {\"n\":1}\n\nevent: done"),
        (SSE, "data: {\"n\":1}\n\n: bye"),
        (SSE, "data: {\"n\":1}\r\rdata: {\"n\":NaN}\r"),
        (SSE, "\u{feff}"),
        (NDJSON, "{\"n\":1}\n{\"audio_base64\":\"AAAA\",\"confidence\":NaN}"),
        (NDJSON, "{\"n\":1}\n{\"text\":\"\\ud83d\"}"),
        (NDJSON, "{\"n\":1}\n{\"n\":1e400}\r"),
        (NDJSON, "{\"n\":1}\n[[["),
        (NDJSON, "{\"n\":1}\n  "),
    ] {
        for framing in ["chunked", "length", "until close"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n");
            let sent = match framing {
                "chunked" => format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk(body)),
                "length" => format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
                _ => format!("{head}Connection: close\r\n\r\n{body}"),
            };
            let mut acts = vec![Act::send(sent)];
            acts.extend((framing == "until close").then_some(Act::Fin));
            world.provider.next(acts);
            let answer = world.get("/s/a");
            assert_eq!((answer.text().as_str(), &answer.cut), (body, &None), "{framing}");
        }
    }
    assert!(
        !world.gateway.metrics().keys().any(|name| name.starts_with("speechgate_errors_total")),
        "a success was counted as an error"
    );
}

/// Half of a failure at the end of a stream is not what the provider had to say.
#[test]
fn half_of_a_failure_at_the_end_of_a_stream_is_a_stream_that_broke() {
    let world = world();
    let half = "event: error\ndata: {\"type\":\"error\",\"done\":true,\"status_code\":500,\"error_c";
    for (body, code) in [
        (half.to_owned(), "upstream_disconnected"),
        (format!("{half}ode\":\"internal_error\"}}"), "internal_error"),
        (format!("{half}ode\":\"internal_error\",\"load\":NaN}}\n"), "internal_error"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {SSE}\r\nContent-Length: {}\r\n\r\n", body.len());
        world.provider.next([Act::send(head + &body)]);
        let text = world.get("/s/a").text();
        let told = text.strip_prefix("event: error\ndata: ").unwrap_or_else(|| panic!("{text}"));
        let told: Value = serde_json::from_str(told.trim_end()).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(told["error"]["code"], code, "{text}");
    }
}

/// What was sent before a cut arrives, however slowly the client's flow control lets it go.
#[test]
fn the_last_event_of_a_broken_stream_reaches_a_client_that_reads_slowly() {
    let world = world();
    world.provider.next([begun(SSE, "chunked", "data: 1\n\n"), Act::Fin]);
    let mut client = H2::to(world.gateway.address());
    let small_window = [0, 4, 0, 0, 0, 20];
    let _ = client.send(frame(SETTINGS, 0, 0, &small_window)).send(request(1, &get_fields("/s/a", &[])));
    let error = [("route", "events"), ("code", "upstream_disconnected"), ("transport", "sse")];
    world.gateway.metric_becomes("speechgate_errors_total", &error, 1.0);
    let mut came = Vec::new();
    while came.len() < 20 {
        let frame = client.frame().expect("a frame");
        came.extend_from_slice(if frame.kind == DATA { &frame.payload } else { &[] });
    }
    let _ = client.send(frame(WINDOW_UPDATE, 0, 1, &50_000_u32.to_be_bytes()));
    assert_eq!(client.fate(1), Fate::Reset(None, 2));
    came.extend_from_slice(&client.came);
    let text = String::from_utf8_lossy(&came);
    assert!(text.starts_with("data: 1\n\nevent: error\ndata: {") && text.ends_with("}\n\n"), "{text}");
}
