//! Frames as bytes, whole and cut.

use super::*;
use proptest::prelude::*;

#[test]
fn headers_are_read_or_broken() {
    let text = |fin, length| Header { fin, rsv: 0, opcode: Opcode::Text, mask: None, length };
    for (bytes, expected) in [
        (&b""[..], Ok(None)),
        (b"\x81", Ok(None)),
        (b"\x81\x05", Ok(Some((text(true, 5), 2)))),
        (b"\x01\x05hello", Ok(Some((text(false, 5), 2)))),
        (b"\x81\x7e\x00", Ok(None)),
        (b"\x81\x7e\x00\x7e", Ok(Some((text(true, 126), 4)))),
        (b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00", Ok(None)),
        (b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", Ok(Some((text(true, 65536), 10)))),
        (b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", Ok(Some((text(true, i64::MAX as u64), 10)))),
        (b"\xc1\x00", Ok(Some((Header { rsv: RSV1, ..text(true, 0) }, 2)))),
        (b"\x81\x7e\x00\x7d", Err(Broken::Length)),
        (b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", Err(Broken::Length)),
        (b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", Err(Broken::Length)),
        (b"\x81\x85", Err(Broken::Mask)),
        (b"\x83", Err(Broken::Opcode)),
        (b"\x8b", Err(Broken::Opcode)),
        (b"\x09", Err(Broken::Control)),
        (b"\x89\x7e", Err(Broken::Control)),
        (b"\x88\x7d", Ok(Some((Header::new(Opcode::Close, None, 125), 2)))),
    ] {
        assert_eq!(parse(bytes, Sender::Server), expected, "{bytes:x?}");
    }
    let masked = Header::new(Opcode::Binary, Some([1, 2, 3, 4]), 0);
    assert_eq!(parse(b"\x82\x80\x01\x02\x03", Sender::Client), Ok(None));
    assert_eq!(parse(b"\x82\x80\x01\x02\x03\x04", Sender::Client), Ok(Some((masked, 6))));
    assert_eq!(parse(b"\x82\x00", Sender::Client), Err(Broken::Mask));
}

/// `text!` is final, `text+` is not; `*` is compressed.
fn header(word: &str) -> Header {
    let opcode = match word.trim_end_matches(['+', '*', '3']) {
        "text" => Opcode::Text,
        "bin" => Opcode::Binary,
        "more" => Opcode::Continuation,
        "ping" => Opcode::Ping,
        _ => Opcode::Close,
    };
    let rsv = if word.contains('*') { RSV1 } else { u8::from(word.contains('3')) };
    Header { fin: !word.contains('+'), rsv, opcode, mask: None, length: 0 }
}

#[test]
fn frames_come_in_sequence() {
    for (deflate, words, expected) in [
        (false, "text bin ping close", Ok("text bin ping close")),
        (false, "text+ ping more+ more text", Ok("text+ ping text+ text text")),
        (false, "more", Err(Broken::Sequence)),
        (false, "text more", Err(Broken::Sequence)),
        (false, "text+ bin", Err(Broken::Sequence)),
        (false, "bin+ text+", Err(Broken::Sequence)),
        (false, "text*", Err(Broken::ReservedBit)),
        (false, "ping*", Err(Broken::ReservedBit)),
        (true, "text* bin+* more text", Ok("text* bin+* bin* text")),
        (true, "text+ more*", Err(Broken::ReservedBit)),
        (true, "ping*", Err(Broken::ReservedBit)),
        (true, "text3", Err(Broken::ReservedBit)),
    ] {
        let mut checker = Checker::new(deflate);
        let parts: Result<Vec<String>, Broken> = words
            .split(' ')
            .map(|word| {
                let part = checker.begin(&header(word))?;
                let name = match part.opcode {
                    Opcode::Text => "text",
                    Opcode::Binary => "bin",
                    Opcode::Ping => "ping",
                    _ => "close",
                };
                Ok(format!("{name}{}{}", if part.last { "" } else { "+" }, if part.compressed { "*" } else { "" }))
            })
            .collect();
        assert_eq!(parts.map(|parts| parts.join(" ")), expected.map(str::to_owned), "{words}");
    }
}

#[test]
fn text_is_validated_across_fragments_and_nothing_else_is() {
    let euro = "€".as_bytes();
    for (words, payloads, expected) in [
        ("text+ more", [&euro[..1], &euro[1..]], Ok(())),
        ("text+ more", [&euro[..2], &euro[..1]], Err(Broken::Utf8)),
        ("text text", [&euro[..2], &euro[2..]], Err(Broken::Utf8)),
        ("bin+ more", [&euro[..1], &b"\xff"[..]], Ok(())),
        ("text+* more", [&b"\xff"[..], &b"\xff"[..]], Ok(())),
        ("text+ ping", [&euro[..1], &b"\xff"[..]], Ok(())),
    ] {
        let mut checker = Checker::new(true);
        let outcome = words.split(' ').zip(payloads).try_for_each(|(word, payload)| {
            let part = checker.begin(&header(word))?;
            checker.payload(&part, payload, true)
        });
        assert_eq!(outcome, expected, "{words}");
    }
}

#[test]
fn utf8_that_cannot_become_valid_is_told_at_once() {
    for bytes in [&b"\xff"[..], b"\xc0", b"\xe0\x80", b"\xed\xa0", b"\xf4\x90", b"\xf0\x8f", b"a\x80", b"\xe2\x82a"] {
        let mut whole = Utf8::default();
        assert_eq!(whole.feed(bytes), Err(Broken::Utf8), "{bytes:x?}");
        let mut pieces = Utf8::default();
        assert_eq!(bytes.iter().try_for_each(|byte| pieces.feed(&[*byte])), Err(Broken::Utf8), "{bytes:x?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        fin: bool, rsv in 0u8..8, opcode in 0u8..16, mask: Option<[u8; 4]>,
        length in prop_oneof![0u64..200, 60_000u64..70_000, 0..i64::MAX as u64], more in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let Some(opcode) = Opcode::from_bits(opcode) else { return Ok(()) };
        let (fin, length) = if opcode.is_control() { (true, length.min(MAX_CONTROL)) } else { (fin, length) };
        let header = Header { fin, rsv, opcode, mask, length };
        let sender = if mask.is_some() { Sender::Client } else { Sender::Server };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        prop_assert!(bytes.len() <= MAX_HEADER);
        for cut in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..cut], sender), Ok(None));
        }
        let end = bytes.len();
        bytes.extend(more);
        prop_assert_eq!(parse(&bytes, sender), Ok(Some((header, end))));
    }

    #[test]
    fn masking_is_by_position_and_undoes_itself(payload in prop::collection::vec(any::<u8>(), 0..64), key: [u8; 4], cut in 0usize..64) {
        let naive: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        let mut masked = payload.clone();
        let cut = cut.min(masked.len());
        let (head, tail) = masked.split_at_mut(cut);
        apply_mask(head, key, 0);
        apply_mask(tail, key, cut as u64);
        prop_assert_eq!(&masked, &naive);
        apply_mask(&mut masked, key, 1 << 40);
        prop_assert_eq!(masked, payload);
    }

    #[test]
    fn utf8_is_judged_alike_however_it_is_cut(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            ".{0,8}".prop_map(String::into_bytes),
            (".{0,6}", 0usize..24).prop_map(|(text, end)| text.as_bytes()[..end.min(text.len())].to_vec()),
        ],
        size in 1usize..5,
    ) {
        let mut utf8 = Utf8::default();
        let outcome = bytes.chunks(size).try_for_each(|piece| utf8.feed(piece)).and_then(|()| utf8.finish());
        prop_assert_eq!(outcome.is_ok(), str::from_utf8(&bytes).is_ok());
    }

    #[test]
    fn own_frames_are_frames(payload in prop::collection::vec(any::<u8>(), 0..300), key: [u8; 4]) {
        let bytes = frame(Opcode::Binary, &payload, Some(key));
        let (header, at) = parse(&bytes, Sender::Client).expect("legal").expect("whole");
        let mut read = bytes[at..].to_vec();
        apply_mask(&mut read, key, 0);
        prop_assert_eq!((header.length, read), (payload.len() as u64, payload));
    }
}
