use super::*;
use crate::wire::frame::{Broken, frame};
use proptest::prelude::*;

const SIZES: Sizes = Sizes { frame: 16 << 20, message: 16 << 20 };

/// The output, with adjacent passing bytes joined.
#[derive(Debug, PartialEq, Eq)]
enum Out {
    Pass(Vec<u8>),
    Suspect(Vec<u8>, Vec<u8>),
    Control(Vec<u8>, Vec<u8>),
    Close(Option<u16>, String),
    Violation(Violation),
}

fn mask(sender: Sender) -> Option<[u8; 4]> {
    (sender == Sender::Client).then_some([9, 8, 7, 6])
}

fn run(sender: Sender, pieces: &[&[u8]]) -> Vec<Out> {
    run_within(SIZES, sender, pieces)
}

fn run_within(sizes: Sizes, sender: Sender, pieces: &[&[u8]]) -> Vec<Out> {
    let mut inbound = FrameReader::new(sender, sizes);
    let mut out = Vec::new();
    for piece in pieces {
        let outcome = inbound.feed(
            piece,
            &mut |_, text| memchr::memmem::find(text, b"bad").is_some(),
            &Cell::new(false),
            &mut |unit| match unit {
                Unit::Pass(bytes) => match out.last_mut() {
                    Some(Out::Pass(before)) => before.extend_from_slice(bytes),
                    _ => out.push(Out::Pass(bytes.to_vec())),
                },
                Unit::Suspect(frames, text) => out.push(Out::Suspect(frames.to_vec(), text.to_vec())),
                Unit::Control(frame, payload) => out.push(Out::Control(frame.to_vec(), payload.to_vec())),
                Unit::Close(_, code, reason) => out.push(Out::Close(code, reason.to_owned())),
            },
        );
        if let Err(violation) = outcome {
            out.push(Out::Violation(violation));
            break;
        }
    }
    out
}

fn fragment(sender: Sender, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(opcode, payload, mask(sender)).to_vec();
    bytes[0] = bytes[0] & 0x7f | u8::from(fin) << 7;
    bytes
}

/// A message in fragments, with a ping before each but the first.
fn message(sender: Sender, opcode: Opcode, payload: &[u8], cuts: &[prop::sample::Index]) -> Vec<u8> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
    ends.push(payload.len());
    ends.sort_unstable();
    let (mut bytes, mut from) = (Vec::new(), 0);
    for (index, end) in ends.iter().enumerate() {
        let opcode = if index == 0 { opcode } else { Opcode::Continuation };
        if index > 0 {
            bytes.extend(fragment(sender, true, Opcode::Ping, b"?"));
        }
        bytes.extend(fragment(sender, index + 1 == ends.len(), opcode, &payload[from..*end]));
        from = *end;
    }
    bytes
}

fn payload() -> impl Strategy<Value = (Opcode, Vec<u8>)> {
    prop_oneof![
        ".{0,40}".prop_map(|text| (Opcode::Text, text.into_bytes())),
        " {0,3}".prop_map(|space| (Opcode::Text, format!("{space}{{\"type\":\"bad\",\"text\":\"né\"}}").into_bytes())),
        Just((Opcode::Text, format!("{{\"bad\":\"{}\"}}", "é".repeat(HELD / 2)).into_bytes())),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| (Opcode::Binary, bytes)),
        Just((Opcode::Binary, vec![0x81; HELD + 1])),
    ]
}

proptest! {
    #[test]
    fn chunking_makes_no_difference(
        client in any::<bool>(),
        messages in prop::collection::vec((payload(), prop::collection::vec(any::<prop::sample::Index>(), 0..4)), 0..5),
        end in prop_oneof![
            Just(vec![0x88, 0]), Just(vec![0x88, 2, 3, 0xe8]), Just(vec![0xc1, 0]), Just(vec![0x80, 0]), Just(vec![0x81, 1, 0xff]),
        ],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let sender = if client { Sender::Client } else { Sender::Server };
        let mut bytes = Vec::new();
        for ((opcode, payload), cuts) in &messages {
            bytes.extend(message(sender, *opcode, payload, cuts));
        }
        if sender == Sender::Server {
            bytes.extend(end);
        }
        let whole = run(sender, &[&bytes]);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.extend([0, bytes.len()]);
        ends.sort_unstable();
        let pieces: Vec<&[u8]> = ends.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(run(sender, &pieces), whole);
    }
}

#[test]
fn passing_frames_are_unchanged() {
    for sender in [Sender::Client, Sender::Server] {
        let bytes = [
            fragment(sender, true, Opcode::Text, b"good"),
            fragment(sender, false, Opcode::Text, b"{\"a\":"),
            fragment(sender, true, Opcode::Continuation, b"1}"),
            fragment(sender, true, Opcode::Binary, &vec![1; HELD + 1]),
            fragment(sender, true, Opcode::Text, b"{}"),
        ]
        .concat();
        assert_eq!(run(sender, &[&bytes]), [Out::Pass(bytes.clone())]);
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(run(sender, &bytewise), [Out::Pass(bytes.clone())]);
    }
}

#[test]
fn only_a_servers_text_that_may_be_an_error_is_inspected() {
    let text = b"{\"bad\":1}";
    let bytes = fragment(Sender::Server, true, Opcode::Text, text);
    assert_eq!(run(Sender::Server, &[&bytes]), [Out::Suspect(bytes.clone(), text.to_vec())]);
    for (sender, opcode, payload) in [
        (Sender::Client, Opcode::Text, &text[..]),
        (Sender::Server, Opcode::Binary, text),
        (Sender::Server, Opcode::Text, b"bad"),
        (Sender::Server, Opcode::Text, b"{\"good\":1}"),
    ] {
        let bytes = fragment(sender, true, opcode, payload);
        assert_eq!(run(sender, &[&bytes]), [Out::Pass(bytes.clone())]);
    }
}

#[test]
fn a_violation_is_reported_as_soon_as_the_header_is_complete() {
    for (header, violation) in [
        (&[0xc1][..], None),
        (&[0xc1, 5], Some(Violation::Broken(Broken::ReservedBit))),
        (&[0x80, 5], Some(Violation::Broken(Broken::Sequence))),
        (&[0x82, 127, 0, 0, 0, 0, 1, 0, 0, 1], Some(Violation::TooLarge)),
        (&[0x82, 127, 0, 0, 0, 0, 1, 0, 0, 0], None),
    ] {
        let seen = run(Sender::Server, &[header]).pop();
        match violation {
            Some(violation) => assert_eq!(seen, Some(Out::Violation(violation))),
            None => assert!(!matches!(seen, Some(Out::Violation(_))), "{seen:?}"),
        }
    }
    // All fragments together.
    let fragment = fragment(Sender::Server, false, Opcode::Binary, &vec![0; 9 << 20]);
    let next = [0x80, 127, 0, 0, 0, 0, 0, 0x70, 0, 1];
    let seen = run(Sender::Server, &[&fragment, &next]);
    assert_eq!(seen, [Out::Pass(fragment), Out::Violation(Violation::TooLarge)]);
}

#[test]
fn nothing_is_read_after_a_close() {
    let bytes = [fragment(Sender::Server, true, Opcode::Close, b""), vec![0xff; 10]].concat();
    assert_eq!(run(Sender::Server, &[&bytes, b"more"]), [Out::Close(None, String::new())]);
}

#[test]
fn frames_and_messages_have_a_largest_size() {
    let sizes = Sizes { frame: 10, message: 25 };
    let text = |fin, first, length: usize| {
        let opcode = if first { Opcode::Text } else { Opcode::Continuation };
        fragment(Sender::Client, fin, opcode, &vec![b'a'; length])
    };
    let large = |pieces: &[Vec<u8>]| {
        let bytes = pieces.concat();
        let whole = run_within(sizes, Sender::Client, &[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let offended = |out: &[Out]| out.contains(&Out::Violation(Violation::TooLarge));
        assert_eq!(offended(&whole), offended(&run_within(sizes, Sender::Client, &single)));
        offended(&whole)
    };
    for (pieces, expected) in [
        (vec![text(true, true, 10)], false),
        (vec![text(true, true, 11)], true),
        (vec![text(false, true, 10), text(false, false, 10), text(true, false, 5)], false),
        (vec![text(false, true, 10), text(false, false, 10), text(true, false, 6)], true),
        // The size limit applies to each message; control frames have only the limit of the RFC.
        (vec![text(true, true, 10), text(true, true, 10), text(true, true, 10)], false),
        (vec![fragment(Sender::Client, true, Opcode::Ping, &[0; 125])], false),
    ] {
        assert_eq!(large(&pieces), expected, "{pieces:?}");
    }
}

#[test]
fn positions_for_frames_of_our_own_are_known() {
    let state = |pieces: &[&[u8]]| {
        let mut inbound = FrameReader::new(Sender::Server, SIZES);
        for piece in pieces {
            let _ = inbound.feed(piece, &mut |_, _| true, &Cell::new(false), &mut |_| {}).expect("good frames");
        }
        (inbound.is_between_frames(), inbound.is_between_messages())
    };
    let held = fragment(Sender::Server, false, Opcode::Text, b"{");
    let passed = fragment(Sender::Server, false, Opcode::Binary, b"1");
    let long = fragment(Sender::Server, true, Opcode::Binary, &vec![1; HELD + 1]);
    for (pieces, expected) in [
        (&[][..], (true, true)),
        (&[&held[..]], (true, true)),
        (&[&passed[..1]], (true, true)),
        (&[&passed[..2]], (true, true)),
        (&[&passed[..]], (true, false)),
        (&[&passed[..], &fragment(Sender::Server, true, Opcode::Continuation, b"2")[..2]], (true, false)),
        (&[&passed[..], &fragment(Sender::Server, true, Opcode::Continuation, b"2")], (true, true)),
        (&[&long[..5000]], (false, false)),
        (&[&long[..]], (true, true)),
    ] {
        assert_eq!(state(pieces), expected, "{pieces:?}");
    }
}

#[test]
fn a_long_text_is_inspected_on_request() {
    let looked_at = |most: usize| {
        let mut reader = FrameReader::new(Sender::Server, SIZES);
        reader.hold(most, false);
        let text = format!("{{\"long\":\"{}\"}}", "a".repeat(HELD));
        let whole = fragment(Sender::Server, true, Opcode::Text, text.as_bytes());
        let (first, rest) = text.as_bytes().split_at(HELD / 2);
        let parts = [
            fragment(Sender::Server, false, Opcode::Text, first),
            fragment(Sender::Server, true, Opcode::Continuation, rest),
        ];
        let mut seen = Vec::new();
        for piece in whole.chunks(1000).chain(parts.concat().chunks(1000)) {
            let mut take = |unit: Unit<'_>| {
                if let Unit::Suspect(_, looked_at) = unit {
                    seen.push(looked_at == text.as_bytes());
                }
            };
            let _ = reader.feed(piece, &mut |_, _| true, &Cell::new(false), &mut take).expect("good frames");
        }
        seen
    };
    assert!(looked_at(HELD).is_empty(), "too long to be held");
    assert_eq!(looked_at(2 * HELD), [true, true], "whole and in fragments");
}
