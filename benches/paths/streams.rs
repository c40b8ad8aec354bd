//! Streams on their way through: events, lines and frames that are no errors, told apart and looked at.

use crate::Table;
use bytes::Bytes;
use speechgate::canon::{Phase, Profile};
use speechgate::config::built_in;
use speechgate::wire::Verdict;
use speechgate::wire::frame::{Checker, Opcode, Sender, apply_mask, frame, parse};
use speechgate::wire::{ndjson, sse};
use std::collections::VecDeque;

/// What a socket gives at one time.
const CHUNK: usize = 16 * 1024;
/// An event or a line: 20 ms of audio in base64, as Cartesia sends it.
const UNIT: usize = 960;
/// Largest event or line that is looked at.
const LARGEST: usize = 64 * 1024;
const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

pub(super) fn show(table: &Table) {
    let profile = built_in("cartesia").expect("a built-in provider").expect("a profile without problems");
    events(table, &profile);
    lines(table, &profile);
    frames(table);
}

fn events(table: &Table, profile: &Profile) {
    let event =
        unit(|audio| format!("event: chunk\ndata: {{\"type\":\"chunk\",\"data\":\"{audio}\",\"done\":false}}\n\n"));
    let mut out = VecDeque::new();
    let (mut splitter, chunks) = (sse::Splitter::new(LARGEST), chunks(&event));
    let mut next = chunks.iter().cycle();
    table.over("sse: events cut anywhere, each judged", CHUNK, || {
        let chunk = next.next().expect("a cycle");
        splitter.feed(chunk, &mut out, |event| pass(profile, Phase::Sse, event.raw()));
        out.clear();
    });
    // Once the first has gone by no byte order mark can come any more.
    let mut splitter = sse::Splitter::new(LARGEST);
    splitter.feed(&chunks[0].slice(..UNIT), &mut out, |_| Verdict::Pass);
    let whole = Bytes::from(event.repeat(CHUNK / UNIT));
    table.over("sse: whole events, judged together", whole.len(), || {
        let skimmed = splitter.skim(&whole, &mut out, |events| !profile.may_be_error(Phase::Sse, events));
        assert_eq!(skimmed, whole.len());
        out.clear();
    });
    let data = event.trim_start_matches("event: chunk\ndata: ").trim_end();
    table.over("sse: an event written", UNIT, || sse::write_event(Some("chunk"), data));
}

fn lines(table: &Table, profile: &Profile) {
    let chunks = chunks(&unit(|audio| format!("{{\"type\":\"chunk\",\"data\":\"{audio}\"}}\n")));
    let (mut splitter, mut out) = (ndjson::Splitter::new(LARGEST), VecDeque::new());
    let mut next = chunks.iter().cycle();
    table.over("ndjson: lines cut anywhere, each judged", CHUNK, || {
        let chunk = next.next().expect("a cycle");
        splitter.feed(chunk, &mut out, |line| pass(profile, Phase::Ndjson, line));
        out.clear();
    });
}

/// A unit of [`UNIT`] bytes with as much audio as it has room for.
fn unit(around: impl Fn(&str) -> String) -> String {
    around(&"U".repeat(UNIT - around("").len()))
}

/// A stream of units that may begin again where it ends, in chunks.
fn chunks(unit: &str) -> Vec<Bytes> {
    let stream = Bytes::from(unit.repeat(CHUNK / 64));
    assert!(stream.len().is_multiple_of(CHUNK), "a unit is so many times 64 bytes");
    (0..stream.len()).step_by(CHUNK).map(|at| stream.slice(at..at + CHUNK)).collect()
}

fn pass(profile: &Profile, phase: Phase, raw: &[u8]) -> Verdict {
    assert!(!profile.may_be_error(phase, raw), "no audio is an error");
    Verdict::Pass
}

fn frames(table: &Table) {
    let (audio, text) = ([7; 640], format!("{{\"text\":\"{}\"}}", "Grüße aus Köln, ".repeat(60)));
    let client = frame(Opcode::Binary, &audio, MASK);
    table.over("frame: binary, header read and checked", audio.len(), || pass_frame(&client, Sender::Client, &mut []));
    let provider = frame(Opcode::Text, text.as_bytes(), None);
    table.over("frame: text of a provider, checked", text.len(), || pass_frame(&provider, Sender::Server, &mut []));
    let client = frame(Opcode::Text, text.as_bytes(), MASK);
    let mut plain = vec![0; text.len()];
    table.over("frame: text of a client, unmasked and checked", text.len(), || {
        pass_frame(&client, Sender::Client, &mut plain)
    });
    table.over("frame: made and masked", audio.len(), || frame(Opcode::Binary, &audio, MASK));
    let mut long = vec![7; CHUNK];
    table.over("frame: mask alone", CHUNK, || apply_mask(&mut long, [1, 2, 3, 4], 1));
}

/// What the relay does with a whole frame before it passes; `plain` takes the payload of a masked text.
fn pass_frame(bytes: &[u8], sender: Sender, plain: &mut [u8]) {
    let (header, length) = parse(bytes, sender).expect("a legal header").expect("a whole header");
    let mut checker = Checker::new(false);
    let part = checker.begin(&header).expect("a message of one frame");
    let payload = &bytes[length..];
    let payload = match header.mask {
        Some(key) if !plain.is_empty() => {
            plain.copy_from_slice(payload);
            apply_mask(plain, key, 0);
            plain
        }
        _ => payload,
    };
    checker.payload(&part, payload, true).expect("UTF-8");
}
