//! Content-Length beside Transfer-Encoding (RFC 9112 6.3). hyper takes the coding and drops the length, and then nobody sees that two
//! readers could have taken the request for two different ones; so heads are followed here as they arrive.
//!
//! What has been pipelined behind a body is not followed: hyper reads that from its own buffer, takes the coding and closes.

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
/// Bits of what a head has.
const LENGTH: u8 = 1;
const CODING: u8 = 2;

/// Follows the heads of one connection of HTTP/1.
#[derive(Debug)]
pub(super) struct Heads {
    place: Place,
    has: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a request line, where empty lines are skipped.
    Before,
    /// In a line that is skipped.
    Line,
    /// At the start of a line, or behind so many bytes of a name that may be the one of this bit.
    Name(u8, u8),
    /// Behind a CR that begins a line.
    Blank,
    /// Behind a head with a body.
    Body,
}

impl Heads {
    pub(super) fn new() -> Heads {
        Heads { place: Place::Before, has: 0 }
    }

    /// Reads on, where a head is awaited. Whether a head ended that has both.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> bool {
        if self.place == Place::Body {
            *self = Heads::new();
        }
        let mut both = false;
        while let Some((&byte, rest)) = bytes.split_first() {
            match (self.place, byte) {
                (Place::Body, _) => return both,
                (Place::Before, b'\r' | b'\n') => bytes = rest,
                (Place::Before | Place::Line, _) => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.place = Place::Line;
                        return both;
                    };
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                    self.place = Place::Name(0, 0);
                }
                (Place::Name(_, 0), b'\r') => {
                    self.place = Place::Blank;
                    bytes = rest;
                }
                (Place::Name(_, 0) | Place::Blank, b'\n') => {
                    both |= self.has == LENGTH | CODING;
                    self.place = if self.has == 0 { Place::Before } else { Place::Body };
                    self.has = 0;
                    bytes = rest;
                }
                (Place::Name(bit, at), _) => {
                    self.place = self.name(bit, at, byte.to_ascii_lowercase());
                    // A line that is of no interest is skipped from where it is, since this byte may end it.
                    if self.place != Place::Line {
                        bytes = rest;
                    }
                }
                (Place::Blank, _) => self.place = Place::Line,
            }
        }
        both
    }

    fn name(&mut self, bit: u8, at: u8, byte: u8) -> Place {
        let bit = match (at, byte) {
            (0, b'c') => LENGTH,
            (0, b't') => CODING,
            (0, _) => return Place::Line,
            _ => bit,
        };
        let name = if bit == LENGTH { CONTENT_LENGTH } else { TRANSFER_ENCODING };
        match name.get(usize::from(at)) {
            Some(&expected) if expected == byte => Place::Name(bit, at + 1),
            None if byte == b':' => {
                self.has |= bit;
                Place::Line
            }
            _ => Place::Line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beside_a_coding_is_seen_wherever_the_head_is_cut() {
        for (heads, expected) in [
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
            ("\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nX: y\r\nCONTENT-LENGTH:4\r\n\r\n", true),
            (
                "GET / HTTP/1.1\r\nhost: x\r\n\r\nPOST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 1\n\n",
                true,
            ),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nx-content-length: 4\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-lengths: 4\r\ncontent-len: 1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\nte: chunked\r\n\r\nTransfer-Encoding: x\r\n\r\n", false),
            ("GET /content-length:transfer-encoding: HTTP/1.1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 4\r\n\r\n", false),
            (
                "POST / HTTP/1.1\r\nc\r\nTransfer-Encoding: chunked\r\n\rcontent-length: 1\r\ncontent-length: 1\r\n\r\n",
                true,
            ),
        ] {
            for size in 1..=heads.len() {
                let mut scan = Heads::new();
                // What follows a body is not read here: the connection awaits no head then.
                let mut both = false;
                for piece in heads.as_bytes().chunks(size) {
                    both |= scan.place != Place::Body && scan.read(piece);
                }
                assert_eq!(both, expected, "{heads:?} by {size}");
            }
        }
    }
}
