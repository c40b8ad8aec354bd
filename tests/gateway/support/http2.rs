//! HTTP/2 by hand: frames with exactly the given bytes, so that malformed ones can be sent too.

use super::wire::{End, Wire};
use std::net::SocketAddr;

/// The client's connection preface.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
/// Frame flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What a stream came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// An answer with its end.
    Answered(u16, Vec<u8>),
    /// RST_STREAM with this code, after the status if there was one.
    Reset(Option<u16>, u32),
    /// GOAWAY with this code.
    GoAway(u32),
    /// The connection ended without a word.
    Closed(End),
}

/// A client that speaks HTTP/2 by prior knowledge.
pub(crate) struct H2 {
    pub(crate) wire: Wire,
    /// The body of the stream whose fate was last asked for, as far as it came.
    pub(crate) came: Vec<u8>,
}

impl H2 {
    /// Connects and sends preface and settings.
    pub(crate) fn to(address: SocketAddr) -> H2 {
        H2::over(Wire::connect(address))
    }

    /// Over an existing connection.
    pub(crate) fn over(mut wire: Wire) -> H2 {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        wire.send(&bytes).expect("a fresh connection takes the preface");
        H2 { wire, came: Vec::new() }
    }

    /// Sends frames; that the gateway has hung up is seen when reading.
    pub(crate) fn send(&mut self, frames: impl AsRef<[u8]>) -> &mut H2 {
        let _ = self.wire.send(frames.as_ref());
        self
    }

    /// The next frame.
    pub(crate) fn frame(&mut self) -> Result<Frame, End> {
        let mut head = Vec::new();
        self.wire.exact(9, &mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = Vec::new();
        self.wire.exact(length, &mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        if (head[3], head[4]) == (PING, 0) {
            // A gateway that is about to close waits for the answer.
            let _ = self.send(frame(PING, 1, 0, &payload));
        }
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until it is clear what became of a stream. Settings are acknowledged on the way.
    pub(crate) fn fate(&mut self, stream: u32) -> Fate {
        let mut status = None;
        self.came.clear();
        loop {
            let frame = match self.frame() {
                Ok(frame) => frame,
                Err(end) => return Fate::Closed(end),
            };
            let code = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four bytes"));
            match frame.kind {
                SETTINGS if frame.flags & 1 == 0 => drop(self.send(self::frame(SETTINGS, 1, 0, &[]))),
                GOAWAY if code(4) != 0 => return Fate::GoAway(code(4)),
                RST_STREAM if frame.stream == stream => return Fate::Reset(status, code(0)),
                HEADERS if frame.stream == stream && status.is_none() => status = status_of(&frame.payload),
                DATA if frame.stream == stream => self.came.extend_from_slice(&frame.payload),
                _ => {}
            }
            if frame.stream == stream && matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return Fate::Answered(status.unwrap_or(0), std::mem::take(&mut self.came));
            }
        }
    }
}

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a test frame is small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A HEADERS frame that is whole and ends the request.
pub(crate) fn request(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields))
}

/// A HEADERS frame that is whole, with a body to follow.
pub(crate) fn request_head(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(fields))
}

/// The pseudo-header fields of a GET, then others.
pub(crate) fn get_fields<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    with_method("GET", path, more)
}

/// The pseudo-header fields of a request, then others.
pub(crate) fn with_method<'a>(method: &'a str, path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":authority", "gateway.test"), (":path", path)];
    fields.extend_from_slice(more);
    fields
}

/// A header block of literals without indexing, names and values exactly as given.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        string(&mut bytes, name.as_bytes());
        string(&mut bytes, value.as_bytes());
    }
    bytes
}

/// RFC 7541 5.1 and 5.2, without Huffman coding.
fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        bytes.push(u8::try_from(length).expect("below 127"));
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push(u8::try_from(length % 128 + 128).expect("below 256"));
            length /= 128;
        }
        bytes.push(u8::try_from(length).expect("below 128"));
    }
    bytes.extend_from_slice(text);
}

/// The status at the front of a header block, which on a fresh connection is static or literal.
pub(crate) fn status_of(block: &[u8]) -> Option<u16> {
    let block = &block[block.iter().take_while(|&&byte| byte & 0xe0 == 0x20).count()..];
    let first = *block.first()?;
    match first {
        0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)]),
        _ => {
            let length = usize::from(block.get(1)? & 0x7f);
            let text = block.get(2..2 + length)?;
            let digits = if block[1] & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) };
            std::str::from_utf8(&digits).ok()?.parse().ok()
        }
    }
}

/// Three digits in the code of RFC 7541 appendix B: 0 to 2 in five bits, 3 to 9 in six.
fn huffman_digits(text: &[u8]) -> Vec<u8> {
    let bits = text.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
    let mut left = text.len() * 8;
    let mut digits = Vec::new();
    let take = |left: usize, count: usize| (bits >> (left - count)) & ((1 << count) - 1);
    while digits.len() < 3 && left >= 5 {
        let five = take(left, 5);
        let (digit, count) = if five < 3 { (five, 5) } else { (take(left, 6) - 0x19 + 3, 6) };
        digits.push(b'0' + u8::try_from(digit).expect("a digit"));
        left -= count;
    }
    digits
}
