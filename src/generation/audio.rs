//! Measures one direction of a generation's audio: counts bytes, parses and skips the header of a WAV, and examines samples if a
//! level is set.

use crate::canon::generations::{Coding, Format};

/// How many bytes are searched for the header of a WAV.
const HEAD: usize = 4096;

/// Counts audio.
#[derive(Clone, Debug, Default)]
pub struct AudioMeter {
    format: Format,
    /// All bytes that arrived, and how many of them are a header.
    seen: u64,
    skipped: u64,
    /// The beginning, until it is known whether there is a header.
    head: Vec<u8>,
    settled: bool,
    /// Whether some audio was not counted.
    unseen: bool,
    /// The first byte of a sample whose second byte is in the next piece.
    half: Option<u8>,
}

impl AudioMeter {
    /// Audio in this format, unless a header declares another.
    #[must_use]
    pub fn new(format: Format) -> AudioMeter {
        AudioMeter { format, ..AudioMeter::default() }
    }

    /// Some audio passes without being counted, so its amount is unknown.
    pub(super) fn unseen(&mut self) {
        self.unseen = true;
    }

    /// Sets the format, once it is known.
    pub(super) fn is_in(&mut self, format: Format) {
        if self.seen == 0 {
            self.format = format;
        }
    }

    /// Whether the bytes themselves are needed, because they may contain a header.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        !self.settled
    }

    /// Bytes of audio so far; none while they may still be a header.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        if self.settled { self.seen.saturating_sub(self.skipped) } else { 0 }
    }

    /// The duration, if the format has a fixed rate.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        match self.bytes() {
            _ if self.unseen => None,
            0 => Some(0.0),
            bytes => Some(bytes as f64 / self.format.bytes_per_second()?),
        }
    }

    /// Counts a piece of this length, of which these bytes are known. Returns how many more bytes of audio there are.
    pub(super) fn piece(&mut self, length: u64, known: &[u8]) -> u64 {
        let before = self.bytes();
        self.seen += length;
        if !self.settled {
            self.look(known.len() as u64 == length, known);
        }
        self.bytes().saturating_sub(before)
    }

    /// Looks for the header of a WAV.
    fn look(&mut self, all: bool, known: &[u8]) {
        let room = HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(known.get(..room).unwrap_or(known));
        match header(&self.head) {
            // Missing bytes cannot be examined.
            Header::More if self.head.len() < HEAD && all => return,
            Header::None | Header::More => {}
            Header::Here(format, size) => {
                self.skipped = size as u64;
                if !self.format.is_sure() {
                    self.format = format;
                }
            }
        }
        (self.settled, self.head) = (true, Vec::new());
    }

    /// The audio is complete: a beginning that is not a header by now is audio.
    pub(super) fn end(&mut self) {
        let head = std::mem::take(&mut self.head);
        if !self.settled && head.starts_with(b"RIFF") {
            self.skipped = self.seen;
        }
        self.settled = true;
    }

    /// Whether a piece is louder than this, in dB of full scale. Always true in formats other than 16-bit PCM and µ-law.
    pub(super) fn is_louder(&mut self, level: f32, piece: &[u8]) -> bool {
        let limit = 10f32.powf(level / 20.0) * 32_768.0;
        match self.format.coding() {
            Coding::Pcm(2) => {
                let bytes = self.half.into_iter().chain(piece.iter().copied());
                let (mut peak, mut first) = (0, None);
                for byte in bytes {
                    match first.take() {
                        None => first = Some(byte),
                        Some(low) => peak = peak.max(i16::from_le_bytes([low, byte]).unsigned_abs()),
                    }
                }
                self.half = first;
                f32::from(peak) > limit
            }
            Coding::Mulaw => piece.iter().any(|byte| f32::from(magnitude(*byte)) > limit),
            Coding::Unknown | Coding::Pcm(_) | Coding::Float | Coding::Alaw | Coding::Mp3 => !piece.is_empty(),
        }
    }
}

/// The magnitude of a µ-law byte (G.711).
fn magnitude(byte: u8) -> u16 {
    let byte = !byte;
    let (exponent, mantissa) = ((byte >> 4) & 7, u16::from(byte & 15));
    (((mantissa << 3) + 132) << exponent) - 132
}

/// What the beginning is.
enum Header {
    /// No header.
    None,
    /// A header of this length.
    Here(Format, usize),
    /// Not decidable yet.
    More,
}

/// Parses the header of a WAV, up to its samples.
fn header(bytes: &[u8]) -> Header {
    let riff = bytes.get(..4).unwrap_or(bytes);
    let wave = bytes.get(8..12).unwrap_or_else(|| bytes.get(8..).unwrap_or_default());
    if !b"RIFF".starts_with(riff) || !b"WAVE".starts_with(wave) {
        return Header::None;
    }
    let number = |at: usize| bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    let half = |at: usize| bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).map(u16::from_le_bytes);
    let (mut at, mut format) = (12, None);
    loop {
        let Some((name, size)) = bytes.get(at..at + 4).zip(number(at + 4)) else { return Header::More };
        let inside = at + 8;
        if name == b"data" {
            return match format {
                Some(format) => Header::Here(format, inside),
                None => Header::None,
            };
        }
        if name == b"fmt " {
            let parts = (half(inside), half(inside + 2), number(inside + 4), half(inside + 14));
            let (Some(tag), Some(channels), Some(rate), Some(bits)) = parts else { return Header::More };
            format = Some(Format::wav(tag, channels, rate, bits));
        }
        // Chunks are padded to an even length.
        at = inside.saturating_add(size as usize).saturating_add(size as usize % 2);
        if at > HEAD {
            return Header::None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(samples: &[u8], extra: bool) -> Vec<u8> {
        let mut out = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
        if extra {
            out.extend(b"LIST\x03\0\0\0abc\0");
        }
        out.extend(b"fmt \x10\0\0\0\x01\0\x01\0");
        out.extend(16_000u32.to_le_bytes());
        out.extend(32_000u32.to_le_bytes());
        out.extend([2, 0, 16, 0]);
        out.extend(b"data\xff\xff\xff\xff");
        out.extend(samples);
        out
    }

    #[test]
    fn the_header_of_a_wav_is_no_audio_however_it_is_cut() {
        for extra in [false, true] {
            let whole = wav(&[1; 3200], extra);
            for size in [1, 2, 3, 7, 43, 44, 45, 1000, 10_000] {
                let mut meter = AudioMeter::new(Format::named("mp3_44100_128", None, None, None));
                let counted: u64 = whole.chunks(size).map(|piece| meter.piece(piece.len() as u64, piece)).sum();
                meter.end();
                assert_eq!((meter.bytes(), meter.seconds(), counted), (3200, Some(0.1), 3200), "{size}");
            }
        }
        let mut meter = AudioMeter::new(Format::default());
        assert_eq!(meter.piece(44, &wav(&[], false)), 0);
        meter.end();
        assert_eq!((meter.bytes(), meter.seconds()), (0, Some(0.0)));
    }

    #[test]
    fn a_header_does_not_set_the_meter_of_a_format_that_was_declared() {
        let huge = |rate: u32, channels: u16| {
            let mut whole = wav(&[1; 3200], false);
            whole[22..24].copy_from_slice(&channels.to_le_bytes());
            whole[24..28].copy_from_slice(&rate.to_le_bytes());
            whole
        };
        let declared = Format::named("linear16", Some(8_000), None, None).declared();
        for (format, rate, channels, seconds) in [
            (declared, u32::MAX, 1, Some(0.2)),
            (declared, 16_000, 1, Some(0.2)),
            (Format::default(), 16_000, 2, Some(0.05)),
            (Format::default(), u32::MAX, 1, None),
            (Format::default(), 384_001, 1, None),
            (Format::default(), 16_000, 17, None),
            (Format::named("mp3", None, Some(64_000), None).declared(), 16_000, 1, Some(0.1)),
        ] {
            let mut meter = AudioMeter::new(format);
            let whole = huge(rate, channels);
            let _ = meter.piece(whole.len() as u64, &whole);
            assert_eq!((meter.bytes(), meter.seconds()), (3200, seconds), "{rate} {channels}");
        }
        assert_eq!(Format::named("linear16", Some(u32::MAX), None, None).bytes_per_second(), None);
        assert_eq!(Format::named("linear16", Some(8_000), None, Some(u16::MAX)).bytes_per_second(), None);
    }

    #[test]
    fn what_has_no_header_counts_whole() {
        for bytes in [&b"RIF"[..], b"RIFX-no-wave-at-all", b"\0\0\0\0", b"R"] {
            for size in [1, 2, 100] {
                let mut meter = AudioMeter::new(Format::named("pcm_8000", None, None, None));
                for piece in bytes.chunks(size) {
                    let _ = meter.piece(piece.len() as u64, piece);
                }
                meter.end();
                assert_eq!(meter.bytes(), bytes.len() as u64, "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_level_tells_zeros_from_speech() {
        let mut pcm = AudioMeter::new(Format::named("pcm_16000", None, None, None));
        assert!(!pcm.is_louder(-60.0, &[0; 320]) && pcm.is_louder(-60.0, &1000i16.to_le_bytes()));
        assert!(!pcm.is_louder(-20.0, &1000i16.to_le_bytes()));
        // A sample that is split between two pieces.
        let loud = 20_000i16.to_le_bytes();
        assert!(!pcm.is_louder(-6.0, &[0, 0, loud[0]]) && pcm.is_louder(-6.0, &[loud[1]]));
        let mut mulaw = AudioMeter::new(Format::named("ulaw_8000", None, None, None));
        assert!(!mulaw.is_louder(-60.0, &[0xff, 0x7f]) && mulaw.is_louder(-60.0, &[0xce]));
        let mut mp3 = AudioMeter::new(Format::named("mp3_44100_128", None, None, None));
        assert!(mp3.is_louder(-60.0, &[0; 10]) && !mp3.is_louder(-60.0, &[]));
    }
}
