//! Unmasked payloads: validates text, parses control frames, joins fragments.

use crate::wire::frame::{Broken, Checker, MAX_CONTROL, Opcode, Part, Sender, apply_mask, parse};
use std::borrow::Cow;

/// Validates a piece of text. It is unmasked into a buffer, because the original is forwarded.
pub(super) fn check_text(
    checker: &mut Checker,
    part: &Part,
    piece: &[u8],
    mask: Option<[u8; 4]>,
    offset: u64,
    done: bool,
) -> Result<(), Broken> {
    if part.opcode != Opcode::Text {
        return Ok(());
    }
    if mask.is_none() {
        return checker.payload(part, piece, done);
    }
    let mut valid = Ok(());
    masked_pieces(piece, mask, offset, &mut |plain| {
        if valid.is_ok() {
            valid = checker.payload(part, plain, false);
        }
    });
    valid?;
    checker.payload(part, &[], done)
}

/// Passes part of a payload, at this offset, to `show` without its mask.
pub(super) fn masked_pieces(piece: &[u8], mask: Option<[u8; 4]>, mut offset: u64, show: &mut dyn FnMut(&[u8])) {
    let Some(key) = mask else { return show(piece) };
    let mut buffer = [0; 1024];
    for chunk in piece.chunks(buffer.len()) {
        if let Some(plain) = buffer.get_mut(..chunk.len()) {
            plain.copy_from_slice(chunk);
            apply_mask(plain, key, offset);
            show(plain);
        }
        offset += chunk.len() as u64;
    }
}

/// The payload of a control frame.
pub(super) fn unmasked<'b>(
    buffer: &'b mut [u8; MAX_CONTROL as usize],
    payload: &[u8],
    mask: Option<[u8; 4]>,
) -> &'b [u8] {
    let Some(plain) = buffer.get_mut(..payload.len()) else { return &[] };
    plain.copy_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(plain, key, 0);
    }
    plain
}

pub(super) fn begins_json(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

/// Whether the beginning of a text allows that it is a JSON object.
pub(super) fn may_be_json(text: &[u8]) -> bool {
    text.trim_ascii_start().first().is_none_or(|first| *first == b'{')
}

/// The unmasked payload.
pub(super) fn plain(payload: &[u8], mask: Option<[u8; 4]>) -> Cow<'_, [u8]> {
    let Some(key) = mask else { return Cow::Borrowed(payload) };
    let mut plain = payload.to_vec();
    apply_mask(&mut plain, key, 0);
    Cow::Owned(plain)
}

/// The text of a message in these frames, all of which are valid.
pub(super) fn text_of(mut frames: &[u8], sender: Sender) -> Vec<u8> {
    let mut text = Vec::with_capacity(frames.len());
    while let Ok(Some((header, length))) = parse(frames, sender) {
        let end = length + usize::try_from(header.length).unwrap_or(usize::MAX);
        text.extend_from_slice(&plain(frames.get(length..end).unwrap_or_default(), header.mask));
        frames = frames.get(end..).unwrap_or_default();
    }
    text
}
