//! Event streams of AWS (`application/vnd.amazon.eventstream`): binary messages, each with a prelude that tells its lengths, a
//! block of typed header fields, a payload, and checksums over both. They come as bodies over HTTP/2 and as WebSocket messages.
//!
//! The kept crate for it, `aws-smithy-eventstream`, brings nine others and copies every payload; what is needed of it is this page.

use super::cut::{Piece, Seam, Units, Verdict};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::VecDeque;

/// Total length, length of the header block, checksum of the two.
const PRELUDE: usize = 12;
/// The checksum at the end.
const CHECKSUM: usize = 4;
/// The largest message of the protocol: 16 MiB of payload and 128 KiB of fields.
const LARGEST: usize = 16 * 1024 * 1024 + 128 * 1024 + PRELUDE + CHECKSUM;
/// The type of a field whose value is a string.
const STRING: u8 = 7;
/// The longest value of a field.
const MOST_VALUE: usize = u16::MAX as usize;

/// A message taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its fields as they came.
    pub fields: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes a whole message apart; none when it is no message, or its checksums are wrong.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Message<'a>> {
        let (total, fields) = prelude(bytes)?;
        let end = total.checked_sub(CHECKSUM)?;
        if bytes.len() != total || crc32fast::hash(bytes.get(..end)?) != number(bytes, end)? {
            return None;
        }
        let payload = PRELUDE + fields;
        Some(Message { fields: bytes.get(PRELUDE..payload)?, payload: bytes.get(payload..end)? })
    }

    /// The fields whose values are strings, without the colon that those of the protocol begin with: `:exception-type` is
    /// `exception-type`. What is malformed ends the list.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let (mut headers, mut rest) = (HeaderMap::new(), self.fields);
        while let Some(Field { name, value, rest: behind, .. }) = field(rest) {
            rest = behind;
            let name = HeaderName::from_bytes(name.strip_prefix(b":").unwrap_or(name));
            if let (Ok(name), Some(Ok(value))) = (name, value.map(HeaderValue::from_bytes)) {
                let _ = headers.append(name, value);
            }
        }
        headers
    }

    /// The same message with each text, each run of bytes and whatever is malformed among its fields as `clean` gives it; none when
    /// that changes none.
    #[must_use]
    pub fn with_fields(&self, mut clean: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        let (mut fields, mut rest, mut changed) = (Vec::with_capacity(self.fields.len()), self.fields, false);
        while let Some(Field { sized, rest: behind, .. }) = field(rest) {
            let whole = rest.get(..rest.len() - behind.len())?;
            // What has become longer than a field can be is left as empty as it can be told.
            let cleaned =
                sized.and_then(&mut clean).map(|value| if value.len() > MOST_VALUE { Vec::new() } else { value });
            match (sized, cleaned) {
                (Some(value), Some(cleaned)) => {
                    fields.extend_from_slice(whole.get(..whole.len() - value.len() - 2)?);
                    fields.extend_from_slice(&u16::try_from(cleaned.len()).unwrap_or_default().to_be_bytes());
                    fields.extend_from_slice(&cleaned);
                    changed = true;
                }
                _ => fields.extend_from_slice(whole),
            }
            rest = behind;
        }
        let cleaned = if rest.is_empty() { None } else { clean(rest) };
        changed |= cleaned.is_some();
        fields.extend_from_slice(cleaned.as_deref().unwrap_or(rest));
        changed.then(|| write(&fields, self.payload))
    }

    /// The same message with another payload.
    #[must_use]
    pub fn with_payload(&self, payload: &[u8]) -> Vec<u8> {
        write(self.fields, payload)
    }
}

/// An exception of this name with a payload that is JSON.
#[must_use]
pub fn exception(name: &str, payload: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in
        [(":message-type", "exception"), (":exception-type", name), (":content-type", "application/json")]
    {
        // None of the names is longer than a byte can say, and no value than two.
        fields.push(u8::try_from(name.len()).unwrap_or_default());
        fields.extend_from_slice(name.as_bytes());
        fields.push(STRING);
        fields.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        fields.extend_from_slice(value.as_bytes());
    }
    write(&fields, payload)
}

fn write(fields: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = PRELUDE + fields.len() + payload.len() + CHECKSUM;
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut message = Vec::with_capacity(total);
    message.extend_from_slice(&length(total));
    message.extend_from_slice(&length(fields.len()));
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(fields);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message
}

/// The length of the message that begins here and that of its fields; none when it is not a prelude.
fn prelude(bytes: &[u8]) -> Option<(usize, usize)> {
    let (total, fields) = (number(bytes, 0)? as usize, number(bytes, 4)? as usize);
    let fits = total <= LARGEST && fields.checked_add(PRELUDE + CHECKSUM).is_some_and(|least| least <= total);
    (fits && crc32fast::hash(bytes.get(..8)?) == number(bytes, 8)?).then_some((total, fields))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A field: its name, its value when that is a string, the same when it is a string or bytes, and what follows.
struct Field<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
    sized: Option<&'a [u8]>,
    rest: &'a [u8],
}

/// The first field of a block.
fn field(bytes: &[u8]) -> Option<Field<'_>> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = match kind {
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        9 => (16, rest),
        6 | &STRING => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), rest.get(2..)?),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    let sized = matches!(*kind, 6 | STRING).then_some(value);
    Some(Field { name, value: (*kind == STRING).then_some(value), sized, rest })
}

/// The blocks of fields of the messages that begin here, whole ones or not.
pub fn field_blocks(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (total, fields) = prelude(bytes)?;
        let block = bytes.get(PRELUDE..).map(|rest| rest.get(..fields).unwrap_or(rest));
        bytes = bytes.get(total..).unwrap_or_default();
        block
    })
}

/// Finds the messages of a body.
pub type Splitter = super::cut::Splitter<Messages>;

/// Where messages begin and end.
#[derive(Debug)]
pub struct Messages {
    /// What has come of a prelude.
    prelude: Vec<u8>,
    /// What has not come of a message whose prelude is known.
    left: usize,
    /// What came was none of this: the rest passes as it is.
    broken: bool,
}

impl Default for Messages {
    fn default() -> Messages {
        Messages { prelude: Vec::with_capacity(PRELUDE), left: 0, broken: false }
    }
}

impl Units for Messages {
    fn whole(&self, chunk: &[u8]) -> usize {
        let mut whole = 0;
        if self.left > 0 || !self.prelude.is_empty() || self.broken {
            return whole;
        }
        while let Some((total, _)) = chunk.get(whole..).and_then(prelude)
            && chunk.len() - whole >= total
        {
            whole += total;
        }
        whole
    }

    fn seam(&self, torn: bool) -> Seam {
        if torn || self.broken { Seam::Inside } else { Seam::Between }
    }
}

impl Splitter {
    /// Takes the next chunk; what may go out is put at the end of `out`. `judge` sees every message once, whole.
    pub fn feed(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>, mut judge: impl FnMut(&[u8]) -> Verdict) {
        self.feed_pieces(chunk, out, |piece| match piece {
            Piece::Whole(message) => judge(message),
            Piece::Part { .. } => Verdict::Pass,
        });
    }

    /// The same where `judge` sees messages that are too large too, in parts.
    pub fn feed_pieces(
        &mut self,
        chunk: &Bytes,
        out: &mut VecDeque<Bytes>,
        mut judge: impl FnMut(Piece<'_>) -> Verdict,
    ) {
        if self.cutter.ended() {
            return;
        }
        let Messages { prelude: begun, left, broken } = &mut self.units;
        let mut cut = self.cutter.cut(chunk, out);
        let mut at = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty() && !*broken) {
            if *left == 0 {
                let more = rest.get(..PRELUDE - begun.len()).unwrap_or(rest);
                begun.extend_from_slice(more);
                at += more.len();
                if begun.len() < PRELUDE {
                    break;
                }
                match prelude(begun) {
                    Some((total, _)) => *left = total - PRELUDE,
                    None => *broken = true,
                }
                begun.clear();
                continue;
            }
            let taken = rest.len().min(*left);
            (at, *left) = (at + taken, *left - taken);
            if *left == 0 {
                let _ = cut.unit(at, 0, &mut judge);
                if cut.ended() {
                    break;
                }
            }
        }
        if *broken {
            cut.pass(chunk.len());
        }
        cut.finish(&mut judge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The message of the protocol's own test suite (awslabs, aws-c-event-stream: `payload_one_str_header`).
    const KNOWN: &[u8] = &[
        0x00, 0x00, 0x00, 0x3d, 0x00, 0x00, 0x00, 0x20, 0x07, 0xfd, 0x83, 0x96, 0x0c, b'c', b'o', b'n', b't', b'e',
        b'n', b't', b'-', b't', b'y', b'p', b'e', 0x07, 0x00, 0x10, b'a', b'p', b'p', b'l', b'i', b'c', b'a', b't',
        b'i', b'o', b'n', b'/', b'j', b's', b'o', b'n', b'{', b'\'', b'f', b'o', b'o', b'\'', b':', b'\'', b'b', b'a',
        b'r', b'\'', b'}', 0x8d, 0x9c, 0x08, 0xb1,
    ];

    #[test]
    fn a_message_of_the_protocols_own_tests() {
        let message = Message::read(KNOWN).expect("a message");
        assert_eq!(message.payload, b"{'foo':'bar'}");
        assert_eq!(message.headers()["content-type"], "application/json");
        assert_eq!(message.with_payload(message.payload), KNOWN);
        for at in 0..KNOWN.len() {
            let mut bad = KNOWN.to_vec();
            bad[at] ^= 1;
            assert_eq!(Message::read(&bad), None, "byte {at}");
            assert_eq!(Message::read(&KNOWN[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn fields_of_every_type() {
        let mut fields = Vec::new();
        for (kind, value) in
            [(0, &b""[..]), (1, b""), (2, b"1"), (3, b"12"), (4, b"1234"), (5, b"12345678"), (6, b"\0\x01x")]
        {
            fields.extend_from_slice(&[2, b':', b'a' + kind, kind]);
            fields.extend_from_slice(value);
        }
        fields
            .extend_from_slice(b"\x02:s\x07\x00\x02ok\x02:t\x0812345678\x02:u\x090123456789abcdef\x02:v\x07\x00\x01v");
        let written = write(&fields, b"");
        let headers = Message::read(&written).expect("a message").headers();
        assert_eq!((headers.len(), &headers["s"], &headers["v"]), (2, &"ok".parse().unwrap(), &"v".parse().unwrap()));
    }

    fn run(stream: &[u8], size: usize, max: usize) -> (Vec<u8>, Vec<Vec<u8>>, Option<usize>, u64) {
        let (mut splitter, mut out, mut seen) = (Splitter::new(max), VecDeque::new(), Vec::new());
        for chunk in stream.chunks(size) {
            let chunk = Bytes::copy_from_slice(chunk);
            splitter.feed(&chunk, &mut out, |message| {
                let payload = Message::read(message).expect("a message").payload;
                seen.push(payload.to_vec());
                match payload {
                    b"error" => Verdict::Replace(Bytes::from_static(b"<replaced>")),
                    b"fatal" => Verdict::End(Bytes::from_static(b"<end>")),
                    _ => Verdict::Pass,
                }
            });
        }
        let left = splitter.finish().map(|left| left.len());
        (out.into_iter().flatten().collect(), seen, left, splitter.oversized())
    }

    #[test]
    fn what_is_no_event_stream_passes() {
        let stream = [&exception("A", b"one")[..], b"this is none of it, however long it goes on"].concat();
        for size in 1..stream.len() {
            let (out, seen, left, _) = run(&stream, size, 1000);
            assert_eq!((&out, seen.len(), left), (&stream, 1, None), "{size}");
        }
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(
            payloads in prop::collection::vec(prop::sample::select(vec!["", "error", "fatal", "audio", "a much longer payload than the others"]), 0..8),
            cut in 0usize..40,
            size in 1usize..90,
        ) {
            let mut stream: Vec<u8> = payloads.iter().flat_map(|payload| exception("X", payload.as_bytes())).collect();
            stream.truncate(stream.len().saturating_sub(cut));
            let whole = run(&stream, usize::MAX, 120);
            prop_assert_eq!(&run(&stream, size, 120), &whole);
            let (mut splitter, mut out) = (Splitter::new(4096), VecDeque::new());
            for chunk in stream.chunks(size) {
                let chunk = Bytes::copy_from_slice(chunk);
                let passed = splitter.skim(&chunk, &mut out, |_| true);
                splitter.feed(&chunk.slice(passed..), &mut out, |_| Verdict::Pass);
            }
            let out: Vec<u8> = out.into_iter().chain(splitter.finish()).flatten().collect();
            prop_assert_eq!(out, stream);
        }
    }
}
