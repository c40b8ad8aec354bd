//! Streams that break: events and lines end with the canonical error, audio is cut so that every client notices.

use crate::support::check::{Outcome, ensure, rows};
use crate::support::http2::{Fate, H2, get_fields, request};
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
        if !half.is_empty() {
            // An end in order, but for half an event.
            let acts = vec![begun(media_type, "chunked", &body), Act::send("0\r\n\r\n")];
            let name = format!("{media_type} {body:?} ends in order");
            table.push(Row { name, acts, media_type, passed, code: "upstream_disconnected" });
            let acts = vec![begun(media_type, "until close", &body), Act::Fin];
            let name = format!("{media_type} {body:?} ends with its connection");
            table.push(Row { name, acts, media_type, passed, code: "upstream_disconnected" });
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
fn events_and_lines_that_break_off_say_so_and_end() {
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
            ensure!(answer.status == 200 && answer.cut.is_none(), "{} cut {:?}", answer.line, answer.cut);
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
            match H2::to(world.gateway.address()).send(request(1, &get_fields("/s/a", &[]))).fate(1) {
                Fate::Answered(200, body) => told(row, &body),
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
fn audio_that_breaks_off_is_a_reset_for_a_caller_of_http_1_0() {
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
