//! WebSocket frames (RFC 6455 5): headers, masking, and the rules that frames obey one by one and in sequence.
//!
//! A relay reads a header with [`parse`], shows it to a [`Checker`], and passes the payload on as it comes. Nothing here
//! allocates by what a header announces.

use bytes::{BufMut, Bytes, BytesMut};

/// The longest header: two bytes, a 64-bit length, a key.
pub const MAX_HEADER: usize = 14;

/// The most that a control frame can carry.
pub const MAX_CONTROL: u64 = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 6455 5.2")]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    /// Whether it is close, ping or pong: short, whole, and allowed between the fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A reserved bit that no extension gave a meaning.
    ReservedBit,
    /// An opcode that nobody defined.
    Opcode,
    /// A length that is not in its shortest form, or has its highest bit set.
    Length,
    /// A frame from a client without a mask, or from a server with one.
    Mask,
    /// A control frame that is fragmented or too long.
    Control,
    /// A continuation of nothing, or a new message inside another.
    Sequence,
    /// A close frame with half a code, or with one that may not be sent.
    Close,
    /// Text that is not UTF-8.
    Utf8,
}

impl Broken {
    /// The code to close with (RFC 6455 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Broken::Utf8 => 1007,
            Broken::ReservedBit
            | Broken::Opcode
            | Broken::Length
            | Broken::Mask
            | Broken::Control
            | Broken::Sequence
            | Broken::Close => 1002,
        }
    }

    /// The reason to close with.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Broken::ReservedBit => "a reserved bit is set",
            Broken::Opcode => "unknown opcode",
            Broken::Length => "length not in its shortest form",
            Broken::Mask => "wrong masking",
            Broken::Control => "control frame fragmented or too long",
            Broken::Sequence => "fragments out of sequence",
            Broken::Close => "invalid close code",
            Broken::Utf8 => "text is not UTF-8",
        }
    }
}

/// Who sent a frame: clients mask, servers do not (RFC 6455 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The side that opened the connection.
    Client,
    /// The side that accepted it.
    Server,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last fragment of its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 highest: `0b100` is a message compressed by permessage-deflate.
    pub rsv: u8,
    /// What it is.
    pub opcode: Opcode,
    /// The key its payload is masked with.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub length: u64,
}

/// RSV1, which permessage-deflate gives a meaning (RFC 7692 6).
pub const RSV1: u8 = 0b100;

/// Reads the header at the beginning of `bytes`: with its own length, or nothing when more bytes are needed.
///
/// # Errors
/// When it can never become a legal header, as soon as that can be told.
pub fn parse(bytes: &[u8], sender: Sender) -> Result<Option<(Header, usize)>, Broken> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(Broken::Opcode)?;
    let fin = first & 0x80 != 0;
    if opcode.is_control() && !fin {
        return Err(Broken::Control);
    }
    let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
    let masked = second & 0x80 != 0;
    if masked != (sender == Sender::Client) {
        return Err(Broken::Mask);
    }
    let short = second & 0x7f;
    if opcode.is_control() && u64::from(short) > MAX_CONTROL {
        return Err(Broken::Control);
    }
    let (length, rest) = match short {
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (shortest(u64::from(u16::from_be_bytes(*length)), 126)?, rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (shortest(u64::from_be_bytes(*length), 1 << 16)?, rest),
            None => return Ok(None),
        },
        short => (u64::from(short), rest),
    };
    let (mask, rest) = match (masked, rest.split_first_chunk()) {
        (false, _) => (None, rest),
        (true, Some((key, rest))) => (Some(*key), rest),
        (true, None) => return Ok(None),
    };
    let header = Header { fin, rsv: first >> 4 & 0b111, opcode, mask, length };
    Ok(Some((header, bytes.len() - rest.len())))
}

/// A length that needed its form, and whose highest bit is clear.
const fn shortest(length: u64, least: u64) -> Result<u64, Broken> {
    if length < least || length > i64::MAX as u64 { Err(Broken::Length) } else { Ok(length) }
}

impl Header {
    /// A header for a whole message or a control frame.
    #[must_use]
    pub const fn new(opcode: Opcode, mask: Option<[u8; 4]>, length: u64) -> Header {
        Header { fin: true, rsv: 0, opcode, mask, length }
    }

    /// Writes it, lengths in their shortest form.
    pub fn write(&self, out: &mut impl BufMut) {
        out.put_u8(u8::from(self.fin) << 7 | (self.rsv & 0b111) << 4 | self.opcode.bits());
        let masked = u8::from(self.mask.is_some()) << 7;
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ ..126), _) => out.put_u8(masked | length),
            (_, Ok(length)) => {
                out.put_u8(masked | 126);
                out.put_u16(length);
            }
            _ => {
                out.put_u8(masked | 127);
                out.put_u64(self.length);
            }
        }
        if let Some(key) = self.mask {
            out.put_slice(&key);
        }
    }
}

/// A whole frame, for the messages that a gateway makes itself. A client's frame is masked with `mask`.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Bytes {
    let mut bytes = BytesMut::with_capacity(MAX_HEADER + payload.len());
    Header::new(opcode, mask, payload.len() as u64).write(&mut bytes);
    let start = bytes.len();
    bytes.put_slice(payload);
    if let (Some(key), Some(payload)) = (mask, bytes.get_mut(start..)) {
        apply_mask(payload, key, 0);
    }
    bytes.freeze()
}

/// Masks or unmasks (the same) a part of a payload that begins `offset` bytes into it (RFC 6455 5.3).
pub fn apply_mask(part: &mut [u8], key: [u8; 4], offset: u64) {
    let [a, b, c, d] = key;
    let [a, b, c, d] = match offset % 4 {
        0 => [a, b, c, d],
        1 => [b, c, d, a],
        2 => [c, d, a, b],
        _ => [d, a, b, c],
    };
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = part.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// The rules that one direction of a connection obeys over several frames: reserved bits, fragments, UTF-8.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    /// RSV1 has a meaning: permessage-deflate was agreed on end to end.
    deflate: bool,
    /// The message whose fragments are coming.
    message: Option<Message>,
    utf8: Utf8,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    opcode: Opcode,
    compressed: bool,
}

/// What a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Text or binary for a fragment of any kind, else the frame's own opcode.
    pub opcode: Opcode,
    /// It begins its message.
    pub first: bool,
    /// It ends its message.
    pub last: bool,
    /// Its payload can only be read by whoever agreed on the compression.
    pub compressed: bool,
}

impl Checker {
    /// `deflate` says whether permessage-deflate was agreed on.
    #[must_use]
    pub fn new(deflate: bool) -> Checker {
        Checker { deflate, ..Checker::default() }
    }

    /// Takes the next frame's header.
    ///
    /// # Errors
    /// When the frame may not stand here.
    pub fn begin(&mut self, header: &Header) -> Result<Part, Broken> {
        let compressed = header.rsv == RSV1;
        if header.opcode.is_control() {
            return match header.rsv {
                0 => Ok(Part { opcode: header.opcode, first: true, last: true, compressed: false }),
                _ => Err(Broken::ReservedBit),
            };
        }
        // RSV1 stands on the first frame of a message only (RFC 7692 6.1).
        let first = header.opcode != Opcode::Continuation;
        if header.rsv != 0 && !(compressed && self.deflate && first) {
            return Err(Broken::ReservedBit);
        }
        let message = match (self.message, first) {
            (None, true) => Message { opcode: header.opcode, compressed },
            (Some(message), false) => message,
            (Some(_), true) | (None, false) => return Err(Broken::Sequence),
        };
        self.message = (!header.fin).then_some(message);
        Ok(Part { opcode: message.opcode, first, last: header.fin, compressed: message.compressed })
    }

    /// Takes payload, unmasked, in as many pieces as it comes in; `done` with the frame's last piece.
    ///
    /// # Errors
    /// [`Broken::Utf8`] as soon as text cannot become valid any more.
    pub fn payload(&mut self, part: &Part, bytes: &[u8], done: bool) -> Result<(), Broken> {
        if part.opcode != Opcode::Text || part.compressed {
            return Ok(());
        }
        self.utf8.feed(bytes)?;
        if done && part.last { self.utf8.finish() } else { Ok(()) }
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub fn in_message(&self) -> bool {
        self.message.is_some()
    }
}

/// Validates UTF-8 that comes in pieces, cut anywhere.
#[derive(Clone, Debug, Default)]
pub struct Utf8 {
    /// The beginning of a character.
    begun: [u8; 4],
    length: usize,
}

impl Utf8 {
    /// Takes the next piece.
    ///
    /// # Errors
    /// As soon as no continuation can make it valid.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while self.length > 0 {
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            *self.begun.get_mut(self.length).ok_or(Broken::Utf8)? = byte;
            self.length += 1;
            bytes = rest;
            match str::from_utf8(self.begun.get(..self.length).unwrap_or_default()) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return Err(Broken::Utf8),
                Err(_) => {}
            }
        }
        let Err(error) = str::from_utf8(bytes) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Broken::Utf8);
        }
        let begun = bytes.get(error.valid_up_to()..).unwrap_or_default();
        self.begun.get_mut(..begun.len()).ok_or(Broken::Utf8)?.copy_from_slice(begun);
        self.length = begun.len();
        Ok(())
    }

    /// The text is over; the next piece begins another.
    ///
    /// # Errors
    /// When it ended inside a character.
    pub fn finish(&mut self) -> Result<(), Broken> {
        if std::mem::take(&mut self.length) == 0 { Ok(()) } else { Err(Broken::Utf8) }
    }
}

#[cfg(test)]
mod tests;
