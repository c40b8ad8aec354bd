//! Detects a request with both Content-Length and Transfer-Encoding (RFC 9112 6.3). hyper applies the coding and drops the
//! length, which hides that another HTTP parser could frame the request differently (request smuggling). Heads are therefore
//! scanned as they arrive, and so are bodies, because a pipelined request arrives right after a body.
//!
//! Bytes that are not HTTP/1 are left to hyper, which refuses them; scanning stops there.

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
/// Bits for the framing fields of a head.
const LENGTH: u8 = 1;
const CODING: u8 = 2;

/// Scans the requests of one HTTP/1 connection.
#[derive(Debug)]
pub(super) struct Heads {
    place: Place,
    has: u8,
    /// The value of the head's Content-Length.
    length: u64,
    /// The number of heads that have ended.
    ended: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a request line; empty lines are skipped.
    Before,
    /// In a line that is skipped.
    Line,
    /// At the start of a line, or after this many bytes of a name that may be the one of this bit.
    Name(u8, u8),
    /// In the value of Content-Length.
    Length,
    /// After a CR at the start of a line.
    Blank,
    /// In a body, with this many bytes left.
    Body(u64),
    /// In the size of a chunk.
    Size(u64),
    /// After the size of a chunk, on its line.
    Extension(u64),
    /// In a chunk, with this many bytes left.
    Chunk(u64),
    /// After the data of a chunk.
    ChunkEnd,
    /// In the trailers; whether the current line is empty so far.
    Trailers(bool),
    /// The framing is not known; the rest is ignored.
    Lost,
}

impl Heads {
    pub(super) fn new() -> Heads {
        Heads { place: Place::Before, has: 0, length: 0, ended: 0 }
    }

    /// Scans more bytes. Returns the number of the first request whose head ended here and has both fields; the connection's
    /// first request has number 0.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Option<u64> {
        let mut both = None;
        while let Some(&byte) = bytes.first().filter(|_| self.place != Place::Lost) {
            let (heads, has) = (self.ended, self.has);
            let (place, taken) = match self.place {
                Place::Before | Place::Line | Place::Name(..) | Place::Length | Place::Blank => {
                    self.in_head(byte, bytes)
                }
                _ => self.in_body(byte, bytes),
            };
            if self.ended > heads && has == LENGTH | CODING {
                both = both.or(Some(heads));
            }
            self.place = place;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        both
    }

    /// The fast path for header lines that have arrived whole, as nearly all have: compares the name of each at once. None where
    /// there is none, as at the end of a head.
    fn whole_lines(&mut self, bytes: &[u8]) -> Option<(Place, usize)> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = bytes.get(start..end).unwrap_or_default();
            match line.first() {
                None | Some(b'\r') => break,
                Some(b'c' | b'C') => {
                    if let Some(value) = value_of(line, CONTENT_LENGTH) {
                        self.has |= LENGTH;
                        match number(value) {
                            Some(length) => self.length = length,
                            None => return Some((Place::Lost, end + 1)),
                        }
                    }
                }
                Some(b't' | b'T') if value_of(line, TRANSFER_ENCODING).is_some() => self.has |= CODING,
                Some(_) => {}
            }
            start = end + 1;
        }
        (start > 0).then_some((Place::Name(0, 0), start))
    }

    /// The next state, and the number of bytes consumed.
    fn in_head(&mut self, byte: u8, bytes: &[u8]) -> (Place, usize) {
        if matches!(self.place, Place::Name(_, 0))
            && let Some(whole) = self.whole_lines(bytes)
        {
            return whole;
        }
        match (self.place, byte) {
            (Place::Before, b'\r' | b'\n') => (Place::Before, 1),
            (Place::Name(_, 0), b'\r') => (Place::Blank, 1),
            (Place::Name(_, 0) | Place::Blank, b'\n') => (self.head_ended(), 1),
            (Place::Name(bit, at), _) => match self.name(bit, at, byte.to_ascii_lowercase()) {
                // The line is skipped from this byte on, because this byte may end it.
                Place::Line => (Place::Line, 0),
                next => (next, 1),
            },
            (Place::Length, b'\n') => (Place::Name(0, 0), 1),
            (Place::Length, b' ' | b'\t' | b'\r') => (Place::Length, 1),
            (Place::Length, b'0'..=b'9') => {
                self.length = self.length.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                (Place::Length, 1)
            }
            (Place::Length, _) => (Place::Lost, 1),
            _ => skip_line(bytes, Place::Line, Place::Name(0, 0)),
        }
    }

    fn in_body(&self, byte: u8, bytes: &[u8]) -> (Place, usize) {
        let part = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        match (self.place, byte) {
            (Place::Body(left), _) => match left - part(left) as u64 {
                0 => (Place::Before, part(left)),
                more => (Place::Body(more), part(left)),
            },
            (Place::Chunk(left), _) => match left - part(left) as u64 {
                0 => (Place::ChunkEnd, part(left)),
                more => (Place::Chunk(more), part(left)),
            },
            (Place::ChunkEnd, b'\r') => (Place::ChunkEnd, 1),
            (Place::ChunkEnd, b'\n') => (Place::Size(0), 1),
            (Place::Size(0) | Place::Extension(0), b'\n') => (Place::Trailers(true), 1),
            (Place::Size(size) | Place::Extension(size), b'\n') => (Place::Chunk(size), 1),
            (Place::Size(size), b';' | b' ' | b'\t' | b'\r') | (Place::Extension(size), _) => {
                (Place::Extension(size), 1)
            }
            (Place::Size(size), _) => match char::from(byte).to_digit(16) {
                Some(digit) => (Place::Size(size.saturating_mul(16).saturating_add(u64::from(digit))), 1),
                None => (Place::Lost, 1),
            },
            (Place::Trailers(true), b'\n') => (Place::Before, 1),
            (Place::Trailers(true), b'\r') => (Place::Trailers(true), 1),
            (Place::Trailers(_), _) => skip_line(bytes, Place::Trailers(false), Place::Trailers(true)),
            _ => (Place::Lost, 1),
        }
    }

    /// The state after the end of a head.
    fn head_ended(&mut self) -> Place {
        self.ended += 1;
        let (has, length) = (std::mem::take(&mut self.has), std::mem::take(&mut self.length));
        match has {
            0 => Place::Before,
            LENGTH if length == 0 => Place::Before,
            LENGTH => Place::Body(length),
            _ => Place::Size(0),
        }
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
                if bit == CODING {
                    return Place::Line;
                }
                self.length = 0;
                Place::Length
            }
            _ => Place::Line,
        }
    }
}

/// What follows the colon in a line with this name.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    rest.strip_prefix(b":").filter(|_| start.eq_ignore_ascii_case(name))
}

/// The length that a value says, read as leniently as its bytes are one by one.
fn number(value: &[u8]) -> Option<u64> {
    value.iter().try_fold(0_u64, |length, byte| match byte {
        b' ' | b'\t' | b'\r' => Some(length),
        b'0'..=b'9' => Some(length.saturating_mul(10).saturating_add(u64::from(byte - b'0'))),
        _ => None,
    })
}

/// Skips to the end of a line; the state is `inside` while the end has not arrived, `behind` after it.
fn skip_line(bytes: &[u8], inside: Place, behind: Place) -> (Place, usize) {
    memchr::memchr(b'\n', bytes).map_or((inside, bytes.len()), |end| (behind, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn a_length_beside_a_coding_is_found_in_any_chunking_and_after_any_request() {
        let length = "POST / HTTP/1.1\r\nContent-Length: 12\r\nte: chunked\r\n\r\n";
        let coded = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = "5;a=\"b\"\r\nhello\r\n0A\r\n0123456789\r\n0\r\n";
        for (bytes, expected) in [
            (BOTH.to_owned(), Some(0)),
            ("\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nX: y\r\nCONTENT-LENGTH:4\r\n\r\n".to_owned(), Some(0)),
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\nPOST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 1\n\n".to_owned(), Some(1)),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nx-content-length: 4\r\n\r\n".to_owned(), None),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-lengths: 4\r\ncontent-len: 1\r\n\r\n".to_owned(),
                None,
            ),
            ("GET /content-length:transfer-encoding: HTTP/1.1\r\n\r\n".to_owned(), None),
            (
                "POST / HTTP/1.1\r\nc\r\nTransfer-Encoding: chunked\r\n\rcontent-length: 1\r\ncontent-length: 1\r\n\r\n"
                    .to_owned(),
                Some(0),
            ),
            // Behind bodies, which may look like heads.
            (format!("{length}hello, body!{BOTH}"), Some(1)),
            (format!("{length}te: chunked\n\r\n{BOTH}{BOTH}"), Some(1)),
            (format!("{length}{length}"), None),
            (format!("{coded}{chunks}\r\n{BOTH}"), Some(1)),
            (format!("{coded}{chunks}Content-Length: 4\r\nx: y\r\n\r\n{BOTH}"), Some(1)),
            (format!("{coded}{chunks}\r\n\r\n{length}0123456789ab{coded}0\r\n\r\n{BOTH}"), Some(3)),
            (format!("{coded}{:x}\r\n{BOTH}\r\n0\r\n\r\n{coded}", BOTH.len()), None),
            (format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{BOTH}{coded}", BOTH.len()), None),
            (format!("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n{BOTH}"), Some(1)),
            // Nobody serves what follows these.
            (format!("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n{BOTH}"), None),
            (format!("{coded}zz\r\n{BOTH}"), None),
            (format!("{coded}99999999999999999999\r\n{BOTH}"), None),
        ] {
            for size in 1..=bytes.len() {
                let mut heads = Heads::new();
                let found: Vec<u64> = bytes.as_bytes().chunks(size).filter_map(|piece| heads.read(piece)).collect();
                assert_eq!(found.first().copied(), expected, "{bytes:?} by {size}");
            }
        }
    }
}
