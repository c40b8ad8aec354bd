//! Undoing content codings within a bound. Pure and synchronous: bytes and a header value in, bytes out, never an error.

use super::coding::Decoder;
use crate::wire::coding::Coding;
use bytes::Bytes;
use http::HeaderValue;

/// What became of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The content, at most as long as the bound; the body as it came when it could not be decoded.
    pub bytes: Bytes,
    /// There was more than the bound.
    pub truncated: bool,
    /// The coded data broke off or broke down; what was decoded before that is there.
    pub incomplete: bool,
    /// The coding is unknown, or nothing could be decoded.
    pub undecodable: bool,
}

/// Decodes `body` as `Content-Encoding` says, to at most `most` bytes.
///
/// Labels are not believed: text that claims to be compressed is returned as it is, and what begins like gzip or
/// Zstandard is decoded without a label.
#[must_use]
pub fn decode(body: Bytes, encoding: Option<&HeaderValue>, most: usize) -> Decoded {
    let Some(codings) = codings(encoding) else {
        return Decoded { undecodable: true, ..bounded(body, most) };
    };
    let mut decoded = Decoded { bytes: body, ..Decoded::default() };
    if codings.is_empty() {
        if let Some(coding) = unlabelled(&decoded.bytes) {
            decoded.undo(coding, most);
        }
    } else {
        // The last coding named was applied last.
        for coding in codings.into_iter().rev() {
            decoded.undo(coding, most);
        }
    }
    let Decoded { bytes, truncated, incomplete, undecodable } = decoded;
    let bounded = bounded(bytes, most);
    Decoded { truncated: truncated || bounded.truncated, incomplete, undecodable, ..bounded }
}

impl Decoded {
    fn undo(&mut self, coding: Coding, most: usize) {
        if self.bytes.is_empty() || self.undecodable || !may_be(coding, &self.bytes) {
            // Empty bodies, and bodies that are not what their label says.
            self.undecodable |= !self.bytes.is_empty() && !is_text(&self.bytes);
            return;
        }
        let (bytes, broken) = read(coding, &self.bytes, most);
        if bytes.is_empty() && broken {
            self.undecodable = true;
            return;
        }
        self.truncated |= bytes.len() > most;
        self.incomplete |= broken;
        self.bytes = bytes.into();
    }
}

/// Whether the bytes can be of this coding, as far as their beginning tells.
fn may_be(coding: Coding, bytes: &[u8]) -> bool {
    match coding {
        Coding::Gzip => bytes.starts_with(GZIP),
        Coding::Zstd => bytes.starts_with(ZSTD) || is_skippable(bytes),
        // Neither has a signature, but neither looks like text for long.
        Coding::Deflate | Coding::Brotli => !is_text(bytes),
    }
}

/// At most one byte more than `most`, so that the caller sees whether there was more, and whether the data broke down or
/// broke off before its end.
fn read(coding: Coding, mut coded: &[u8], most: usize) -> (Vec<u8>, bool) {
    let mut decoder = Decoder::new(coding);
    let mut bytes = Vec::new();
    let mut step = [0; STEP];
    while bytes.len() <= most {
        let room = STEP.min(most + 1 - bytes.len());
        let (made, outcome) = decoder.decode(&mut coded, &mut step[..room]);
        bytes.extend_from_slice(&step[..made]);
        if outcome.is_err() {
            return (bytes, true);
        }
        if made < room {
            return (bytes, !decoder.is_complete());
        }
    }
    (bytes, false)
}

/// The codings in the order in which they were applied. None when one is unknown or there are too many.
fn codings(encoding: Option<&HeaderValue>) -> Option<Vec<Coding>> {
    let Some(encoding) = encoding else {
        return Some(Vec::new());
    };
    let names = encoding.to_str().ok()?.to_ascii_lowercase();
    let named = names.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "identity"));
    let codings = named.map(Coding::named).take(MOST_CODINGS + 1).collect::<Option<Vec<_>>>()?;
    (codings.len() <= MOST_CODINGS).then_some(codings)
}

fn unlabelled(bytes: &[u8]) -> Option<Coding> {
    [Coding::Gzip, Coding::Zstd].into_iter().find(|coding| may_be(*coding, bytes))
}

/// A Zstandard frame that carries no data stands before the first that does (RFC 8878 3.1.2).
fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Whether the bytes are plain text: UTF-8 that may be cut at the end, without control characters. Under eight bytes
/// compressed data may look like that, so that short text must begin like JSON or markup.
fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    valid
        && (bytes.len() >= 8 || matches!(bytes.first(), Some(b'{' | b'[' | b'<' | b'"')))
        && !bytes.iter().any(|byte| *byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n'))
}

fn bounded(mut bytes: Bytes, most: usize) -> Decoded {
    let truncated = bytes.len() > most;
    bytes.truncate(most);
    Decoded { bytes, truncated, ..Decoded::default() }
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// More than one is rare already.
const MOST_CODINGS: usize = 3;
/// Bytes decoded at a time.
const STEP: usize = 4096;
