//! Pieces of streams that are larger than an error may be, and what stands in front of one: they are looked at as well.

use crate::support::world::get;
use crate::support::{Act, Answer, Gateway, Provider, Settings, World};

const KEY: &str = "sk+operator/0123456789abcdef==";
const ESCAPED: &str = "sk\\u002Boperator\\/0123456789abcdef\\u003d=";
const NDJSON: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream";

/// Below what is looked at, above it, and above what is held until it is whole.
const SIZES: [usize; 4] = [1_000, 70_000, 1_000_000, 5_000_000];

fn world() -> World {
    let provider = Provider::start();
    let credentials = "credentials = { header = \"xi-api-key\", value = \"${SPEECHGATE_TEST_KEY}\" }";
    let settings = Settings::standard(provider.address()).beside("keyed", "/k", credentials);
    let gateway = Gateway::start_with(&settings, &[("SPEECHGATE_TEST_KEY", KEY)]);
    World { gateway, provider }
}

fn streamed(world: &World, kind: &str, pieces: &[&str], reset: bool) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n");
    let mut acts = vec![Act::send(head)];
    acts.extend(pieces.iter().map(Act::send));
    acts.push(if reset { Act::Reset } else { Act::Fin });
    world.provider.next(acts);
    world.ask(get("/k/v1/a"))
}

fn shows(text: &str) -> bool {
    let plain = text.replace("\\u002B", "+").replace("\\/", "/").replace("\\u003d", "=");
    plain.contains(KEY) || plain.contains("operator/0123456789abcdef")
}

/// The end of a text, for messages.
fn tail(text: &str) -> &str {
    text.get(text.len().saturating_sub(300)..).unwrap_or(text)
}

/// What was larger than 64 KiB passed without a look, errors and keys included.
#[test]
fn a_failure_in_a_large_piece_is_reported_without_keys() {
    let world = world();
    for size in SIZES {
        let filler = "x".repeat(size);
        let error = format!(
            "{{\"detail\":{{\"status\":\"quota_exceeded\",\"message\":\"{ESCAPED}\"}},\"x\":\"{filler}{KEY}\"}}"
        );
        for (kind, piece, after) in [
            (SSE, format!("event: error\ndata: {error}\n\n"), "data: {\"after\":1}\n\n"),
            (SSE, format!("data: {error}\r\n\r\n"), "data: {\"after\":1}\r\n\r\n"),
            (NDJSON, format!("{error}\n"), "{\"after\":1}\n"),
        ] {
            let (first, second) = piece.split_at(piece.len() / 2);
            for pieces in [vec![&*piece, after], vec![first, second, after], vec![&*piece], vec![piece.trim_end()]] {
                let answer = streamed(&world, kind, &pieces, false);
                let text = answer.text();
                assert!(text.contains("\"code\":\"quota_exceeded\""), "{kind} {size}: {}", tail(&text));
                assert!(!shows(&text), "{kind} {size}: {}", tail(&text));
                assert!(text.len() < 3_000, "{kind} {size}: what it stands for is gone");
            }
        }
    }
}

/// A piece that turns out to be no failure passes, and keys in it do not.
#[test]
fn a_key_in_a_large_piece_that_passes_is_redacted() {
    let world = world();
    for size in SIZES {
        let filler = "x".repeat(size);
        // The word that looks like a failure stands where it is none.
        let text = format!("{{\"x\":\"{filler}\",\"y\":[{{\"detail\":\"{ESCAPED} {KEY}\"}}],\"z\":\"{filler}{KEY}\"}}");
        for (kind, piece) in [(SSE, format!("data: {text}\n\n")), (NDJSON, format!("{text}\n"))] {
            for (at, cut) in [(10, false), (size / 2 + 7, false), (size + 60, false), (size + 60, true)] {
                let (first, second) = piece.split_at(at);
                let answer = streamed(&world, kind, &[first, second], cut);
                let text = answer.text();
                assert!(!shows(&text), "{kind} {size} {at}: {}", tail(&text));
                assert!(cut || text.contains("\"detail\":\"*** ***\""), "{kind} {size} {at}: {}", tail(&text));
                assert!(cut || text.len() > 2 * size, "{kind} {size} {at}: all of it passes");
            }
        }
    }
}

/// Comments pass at once, also in front of an error.
#[test]
fn a_key_in_a_comment_is_redacted() {
    let world = world();
    let error = "event: error\ndata: {\"detail\":{\"status\":\"quota_exceeded\"}}\n\n";
    for comment in
        [format!(": asked with {KEY}\n"), format!(":{ESCAPED}\r\n\r\n"), format!("id: {KEY}\nretry: 1\n:{KEY}\n")]
    {
        for before in ["", "data: {}\n\n"] {
            let all = format!("{before}{comment}{error}");
            for at in (1..all.len()).step_by(3) {
                let (first, second) = all.split_at(at);
                let text = streamed(&world, SSE, &[first, second], false).text();
                assert!(text.contains("\"code\":\"quota_exceeded\"") && !shows(&text), "{comment:?} at {at}: {text}");
            }
        }
    }
    for (pieces, wanted) in [
        (
            vec![": ping\n\n".to_owned(), "data: {}\n\n: ping\n\n".to_owned()],
            ": ping\n\ndata: {}\n\n: ping\n\n".to_owned(),
        ),
        (
            vec![format!("data: {{}}\n\n: {KEY} and more\n\ndata: {{}}\n\n")],
            "data: {}\n\n: *** and more\n\ndata: {}\n\n".to_owned(),
        ),
        (vec![format!(": {KEY}"), format!("{KEY}\n\n")], ": ******\n\n".to_owned()),
        (vec![format!(": {}", &KEY[..20])], ": ***".to_owned()),
        (vec![format!(": {}", "y".repeat(100_000)), format!("{KEY}\n")], format!(": {}***\n", "y".repeat(100_000))),
    ] {
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let text = streamed(&world, SSE, &pieces, false).text();
        assert!(text == wanted, "{}", tail(&text));
    }
    // The end that breaks off leaves half a key, which is stars too.
    let text = streamed(&world, SSE, &[&format!("data: {{}}\n\n: {}", &KEY[..20])], true).text();
    assert!(!text.contains(&KEY[..8]), "{text}");
}
