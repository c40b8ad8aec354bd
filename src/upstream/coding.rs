//! Content codings (RFC 9110 8.4.1), undone piece by piece within a bound. Pure: bytes in, bytes out.

use crate::wire::coding::Coding;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Coded data that is not of its coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// A decoder for one body. It makes no more output than there is room for, however much a byte of input stands for, and its
/// memory is bounded by the windows that it accepts: 32 KiB, 16 MiB for Brotli, 8 MiB for Zstandard.
pub(super) struct Decoder {
    kind: Kind,
    stage: Stage,
}

enum Kind {
    /// Members follow each other.
    Gzip(Decompress),
    Deflate(Deflate),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    /// Frames follow each other. The number is how many bytes the decoder wants next, which end with a block: what was decoded
    /// before a block that is damaged would be lost with it.
    Zstd(DCtx<'static>, usize),
}

/// "deflate" is zlib data (RFC 9110 8.4.1.2), but some senders leave the zlib header away. The first two bytes tell.
enum Deflate {
    Unknown(Option<u8>),
    Known(Decompress),
}

/// How far the coded data has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Within,
    /// The data is complete; of gzip and Zstandard more may follow.
    End,
}

impl Decoder {
    pub(super) fn new(coding: Coding) -> Decoder {
        let kind = match coding {
            Coding::Gzip => Kind::Gzip(Decompress::new_gzip(WINDOW_BITS)),
            Coding::Deflate => Kind::Deflate(Deflate::Unknown(None)),
            Coding::Brotli => {
                let memory = StandardAlloc::default;
                Kind::Brotli(Box::new(BrotliState::new_strict(memory(), memory(), memory())))
            }
            Coding::Zstd => {
                let mut context = DCtx::create();
                // Cannot fail: the value is within the bounds of the parameter.
                let _ = context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG));
                Kind::Zstd(context, ZSTD_FRAME_HEADER)
            }
        };
        Decoder { kind, stage: Stage::Start }
    }

    /// Whether data that stops here is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.stage != Stage::Within
    }

    /// Decodes from the front of `input`, which moves on, to the front of `out`, and gives how many bytes that made. If `out` was
    /// filled, more may come of what was read already; if not, all of `input` was used. Bytes from before damage count.
    pub(super) fn decode(&mut self, input: &mut &[u8], out: &mut [u8]) -> (usize, Result<(), Damaged>) {
        let mut made = 0;
        while made < out.len() {
            let before = (input.len(), made);
            if let Err(damaged) = self.step(input, out, &mut made) {
                return (made, Err(damaged));
            }
            if input.is_empty() || (input.len(), made) == before {
                break;
            }
        }
        (made, Ok(()))
    }

    fn step(&mut self, input: &mut &[u8], out: &mut [u8], made: &mut usize) -> Result<(), Damaged> {
        if self.stage != Stage::Within && input.is_empty() {
            return Ok(());
        }
        let ended = match &mut self.kind {
            // What begins no further member means nothing (RFC 1952 2.2): some servers pad with zeros.
            Kind::Gzip(_) if self.stage == Stage::End && input.first() != Some(&0x1f) => {
                *input = &[];
                true
            }
            Kind::Gzip(member) => {
                if self.stage == Stage::End {
                    *member = Decompress::new_gzip(WINDOW_BITS);
                }
                inflate(member, input, out, made)?
            }
            Kind::Zstd(context, wanted) => {
                let mut from = InBuffer::around(&input[..input.len().min(*wanted)]);
                let mut to = OutBuffer::around_pos(out, *made);
                let left = context.decompress_stream(&mut to, &mut from).map_err(|_| Damaged)?;
                *made = to.pos();
                *input = &input[from.pos()..];
                *wanted = wanted_next(left);
                left == 0
            }
            Kind::Deflate(_) | Kind::Brotli(_) if self.stage == Stage::End => {
                // Bytes behind the end mean nothing.
                *input = &[];
                true
            }
            Kind::Deflate(deflate) => deflate.step(input, out, made)?,
            Kind::Brotli(state) => {
                let (mut left, mut read) = (input.len(), 0);
                let (mut room, mut total) = (out.len() - *made, 0);
                let result =
                    BrotliDecompressStream(&mut left, &mut read, input, &mut room, made, out, &mut total, state);
                *input = &input[read..];
                match result {
                    BrotliResult::ResultFailure => return Err(Damaged),
                    BrotliResult::ResultSuccess => true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => false,
                }
            }
        };
        self.stage = if ended { Stage::End } else { Stage::Within };
        Ok(())
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Deflate {
    fn step(&mut self, input: &mut &[u8], out: &mut [u8], made: &mut usize) -> Result<bool, Damaged> {
        match self {
            Deflate::Known(inner) => inflate(inner, input, out, made),
            Deflate::Unknown(first) => {
                let Some((&next, rest)) = input.split_first() else { return Ok(false) };
                let Some(first) = first.replace(next) else {
                    *input = rest;
                    return Ok(false);
                };
                let is_zlib = first & 0x0f == 8 && u16::from_be_bytes([first, next]).is_multiple_of(31);
                let mut inner = Decompress::new(is_zlib);
                let _ = inflate(&mut inner, &mut &[first][..], out, made)?;
                let ended = inflate(&mut inner, input, out, made)?;
                *self = Deflate::Known(inner);
                Ok(ended)
            }
        }
    }
}

/// One step of inflating; whether the data has ended.
fn inflate(inner: &mut Decompress, input: &mut &[u8], out: &mut [u8], made: &mut usize) -> Result<bool, Damaged> {
    let (read, written) = (inner.total_in(), inner.total_out());
    let status = inner.decompress(input, &mut out[*made..], FlushDecompress::None);
    *made += usize::try_from(inner.total_out() - written).unwrap_or_default();
    let read = usize::try_from(inner.total_in() - read).unwrap_or_default();
    *input = input.get(read..).unwrap_or_default();
    match status {
        Ok(status) => Ok(status == Status::StreamEnd),
        Err(_) => Err(Damaged),
    }
}

/// How many bytes to give zstd next. It asks for a block together with the header of the one after it, which may be damaged.
fn wanted_next(hint: usize) -> usize {
    match hint {
        0 => ZSTD_FRAME_HEADER,
        1..=ZSTD_BLOCK_HEADER => hint,
        _ => hint - ZSTD_BLOCK_HEADER,
    }
}

/// The largest window of gzip and zlib data.
const WINDOW_BITS: u8 = 15;
/// 8 MiB, which RFC 8878 3.1.1.1.2 asks every decoder to support; a frame may ask for no more of our memory.
const ZSTD_WINDOW_LOG: u32 = 23;
/// As much of a frame's header as tells how long it is.
const ZSTD_FRAME_HEADER: usize = 5;
/// The header of a block.
const ZSTD_BLOCK_HEADER: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    /// What comes of the data in pieces of `size` through an output of `room`, and whether it is complete.
    fn decoded(coding: Coding, data: &[u8], size: usize, room: usize) -> Result<(Vec<u8>, bool), Damaged> {
        let (mut decoder, mut all, mut out) = (Decoder::new(coding), Vec::new(), vec![0; room]);
        for mut piece in data.chunks(size) {
            loop {
                let (made, outcome) = decoder.decode(&mut piece, &mut out);
                all.extend_from_slice(&out[..made]);
                outcome?;
                if made < room {
                    break;
                }
            }
            assert!(piece.is_empty(), "all of the input is used");
        }
        Ok((all, decoder.is_complete()))
    }

    macro_rules! coded {
        ($encoder:ident, $text:expr, $finish:expr) => {{
            let mut encoder = $encoder::new(Vec::new(), Compression::default());
            encoder.write_all($text).expect("memory");
            encoder.flush().expect("memory");
            if $finish { encoder.finish().expect("memory") } else { encoder.get_ref().clone() }
        }};
    }

    fn zstd(text: &[u8], finish: bool) -> Vec<u8> {
        use zstd_safe::zstd_sys::ZSTD_EndDirective::{ZSTD_e_end, ZSTD_e_flush};
        let mut coded = vec![0; zstd_safe::compress_bound(text.len())];
        let mut to = OutBuffer::around(&mut coded[..]);
        let mut context = zstd_safe::CCtx::create();
        let end = if finish { ZSTD_e_end } else { ZSTD_e_flush };
        context.compress_stream2(&mut to, &mut InBuffer::around(text), end).expect("room");
        let length = to.pos();
        coded.truncate(length);
        coded
    }

    /// Each coding, as a whole or cut at a flush point.
    fn all(text: &[u8], finish: bool) -> [(&'static str, Coding, Vec<u8>); 4] {
        [
            ("gzip", Coding::Gzip, coded!(GzEncoder, text, finish)),
            ("zlib", Coding::Deflate, coded!(ZlibEncoder, text, finish)),
            ("deflate without its header", Coding::Deflate, coded!(DeflateEncoder, text, finish)),
            ("zstd", Coding::Zstd, zstd(text, finish)),
        ]
    }

    #[test]
    fn pieces_and_outputs_of_any_size_give_the_same_text() {
        let text: Vec<u8> = (0..2000).flat_map(|n| format!("data: {{\"n\":{n}}}\n\n").into_bytes()).collect();
        for (name, coding, data) in all(&text, true) {
            for (size, room) in [(1, 1), (1, 4096), (7, 100), (1000, 16_384), (data.len(), 1 << 20)] {
                let found = decoded(coding, &data, size, room);
                assert!(found == Ok((text.clone(), true)), "{name} by {size} into {room}");
            }
            for size in [1, data.len() * 2] {
                let found = decoded(coding, &[&data[..], &data[..]].concat(), size, 16_384);
                let expected = if coding == Coding::Deflate { text.clone() } else { text.repeat(2) };
                assert!(found == Ok((expected, true)), "{name} twice by {size}");
            }
        }
    }

    #[test]
    fn what_was_flushed_is_there_at_once_and_is_not_the_end() {
        for (name, coding, data) in all(b"data: 1\n\n", false) {
            for size in [1, data.len()] {
                let found = decoded(coding, &data, size, 4096);
                assert_eq!(found, Ok((b"data: 1\n\n".to_vec(), false)), "{name} by {size}");
            }
        }
        for (name, coding, _) in all(b"", true) {
            assert!(Decoder::new(coding).is_complete(), "{name}: nothing at all is complete");
        }
    }

    #[test]
    fn damage_is_told_after_what_came_before() {
        let text = b"data: 1\n\n".repeat(100);
        for (name, coding, mut data) in all(&text, false) {
            data.extend_from_slice(&[0xff; 64]);
            let (mut decoder, mut out) = (Decoder::new(coding), vec![0; 4096]);
            let (made, outcome) = decoder.decode(&mut &data[..], &mut out);
            assert!(outcome == Err(Damaged) && out[..made].starts_with(&text), "{name}");
        }
        assert!(decoded(Coding::Gzip, b"this is no gzip at all", 100, 100).is_err());
        assert!(decoded(Coding::Zstd, b"this is no zstd at all", 100, 100).is_err());
    }

    #[test]
    fn a_window_that_is_too_large_is_refused() {
        // Brotli's extension to 1 GiB (RFC 9841), and a frame of Zstandard that asks for 16 MiB.
        assert!(decoded(Coding::Brotli, &[0x11, 30, 0, 0, 0, 0, 0, 0], 100, 100).is_err());
        assert!(decoded(Coding::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x70, 0x01, 0, 0], 100, 100).is_err());
    }
}
