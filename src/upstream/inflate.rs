//! Undoing a content coding piece by piece, for streams whose events have to be read.

use bytes::Bytes;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http::HeaderValue;
use std::fmt;
use std::io::{self, Write};

/// So much input is decoded at a time: a kilobyte of it makes a megabyte at most, or little more.
const STEP: usize = 1024;

/// A decoder for one body.
pub(crate) struct Inflate(Decoder);

enum Decoder {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Deflate(Box<ZlibDecoder<Vec<u8>>>),
    Brotli(Box<brotli_decompressor::DecompressorWriter<Vec<u8>>>),
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Decoder::Gzip(_) => "Inflate(gzip)",
            Decoder::Deflate(_) => "Inflate(deflate)",
            Decoder::Brotli(_) => "Inflate(br)",
        })
    }
}

impl Inflate {
    /// The decoder for a coding; none for one that cannot be undone piece by piece here (zstd, several at once).
    pub(crate) fn new(coding: &HeaderValue) -> Option<Inflate> {
        let coding = coding.to_str().ok()?.trim().to_ascii_lowercase();
        Some(Inflate(match coding.as_str() {
            "gzip" | "x-gzip" => Decoder::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            "deflate" => Decoder::Deflate(Box::new(ZlibDecoder::new(Vec::new()))),
            "br" => Decoder::Brotli(Box::new(brotli_decompressor::DecompressorWriter::new(Vec::new(), 4096))),
            _ => return None,
        }))
    }

    /// Decodes the next piece; `each` gets what came of it, in parts of a bounded size.
    pub(crate) fn feed(&mut self, piece: &[u8], mut each: impl FnMut(Bytes)) -> io::Result<()> {
        for step in piece.chunks(STEP) {
            let out = match &mut self.0 {
                Decoder::Gzip(decoder) => {
                    decoder.write_all(step)?;
                    // What has been decoded goes out at once: an event must not wait for the next one.
                    decoder.flush()?;
                    std::mem::take(decoder.get_mut())
                }
                Decoder::Deflate(decoder) => {
                    decoder.write_all(step)?;
                    decoder.flush()?;
                    std::mem::take(decoder.get_mut())
                }
                Decoder::Brotli(decoder) => {
                    decoder.write_all(step)?;
                    decoder.flush()?;
                    std::mem::take(decoder.get_mut())
                }
            };
            if !out.is_empty() {
                each(Bytes::from(out));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    fn decoded(coding: &'static str, body: &[u8], size: usize) -> Vec<u8> {
        let mut inflate = Inflate::new(&HeaderValue::from_static(coding)).expect("a known coding");
        let mut all = Vec::new();
        for piece in body.chunks(size) {
            inflate.feed(piece, |part| all.extend_from_slice(&part)).expect("valid data");
        }
        all
    }

    #[test]
    fn pieces_of_any_size_give_the_same_text() {
        let text: Vec<u8> = (0..2000).flat_map(|n| format!("data: {{\"n\":{n}}}\n\n").into_bytes()).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text).expect("a Vec takes all");
        let gzip = gzip.finish().expect("a Vec takes all");
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).expect("a Vec takes all");
        let zlib = zlib.finish().expect("a Vec takes all");
        for size in [1, 7, 1000, gzip.len()] {
            assert_eq!(decoded("gzip", &gzip, size), text, "gzip by {size}");
            assert_eq!(decoded("deflate", &zlib, size), text, "deflate by {size}");
        }
        assert!(Inflate::new(&HeaderValue::from_static("zstd")).is_none());
    }

    #[test]
    fn an_event_does_not_wait_for_the_next() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"data: 1\n\n").expect("a Vec takes all");
        gzip.flush().expect("a Vec takes all");
        assert_eq!(decoded("gzip", gzip.get_ref(), usize::MAX), b"data: 1\n\n");
    }

    #[test]
    fn damage_is_told() {
        let mut inflate = Inflate::new(&HeaderValue::from_static("gzip")).expect("a known coding");
        assert!(inflate.feed(b"this is no gzip at all, and long enough to be sure", |_| {}).is_err());
    }
}
