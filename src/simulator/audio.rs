//! Audio formats: which one a request asks for, and samples written in it.
//!
//! MP3 and Opus are answered with WAV, and the answer says so in `x-simulator-note`: a player is happy either way, and the
//! simulator needs no encoder.

use super::speech::{Spoken, Voice};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) wav: bool,
    pub(crate) encoding: Encoding,
    pub(crate) rate: u32,
    /// Whether something else was asked for.
    pub(crate) instead: bool,
}

/// How one sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    S16,
    F32,
    Mulaw,
    Alaw,
}

impl Encoding {
    fn bytes(self) -> u32 {
        match self {
            Encoding::S16 => 2,
            Encoding::F32 => 4,
            Encoding::Mulaw | Encoding::Alaw => 1,
        }
    }

    /// `WAVE_FORMAT_*`.
    fn tag(self) -> u16 {
        match self {
            Encoding::S16 => 1,
            Encoding::F32 => 3,
            Encoding::Alaw => 6,
            Encoding::Mulaw => 7,
        }
    }

    fn named(name: &str) -> Option<Encoding> {
        Some(match name {
            name if name.contains("f32") => Encoding::F32,
            name if name.contains("alaw") => Encoding::Alaw,
            name if name.contains("ulaw") => Encoding::Mulaw,
            name if name.contains("pcm") || name.contains("s16") => Encoding::S16,
            _ => return None,
        })
    }
}

impl Format {
    /// From `mp3_44100_128`, `pcm_16000`, `ulaw_8000`, `wav`, or `{"container","encoding","sample_rate"}`.
    pub(crate) fn read(asked: &Value) -> Format {
        let text = |key: &str| asked.get(key).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        let (name, encoding, rate) = match asked {
            Value::String(name) => {
                let rate = name.split('_').find_map(|part| part.parse().ok());
                (name.to_ascii_lowercase(), name.to_ascii_lowercase(), rate)
            }
            _ => {
                let rate = asked.get("sample_rate").and_then(Value::as_u64).and_then(|rate| u32::try_from(rate).ok());
                (text("container"), text("encoding"), rate)
            }
        };
        let compressed = ["mp3", "opus", "aac", "flac"].iter().any(|codec| name.starts_with(codec));
        let encoding = Encoding::named(&encoding).filter(|_| !compressed);
        let wav = compressed || name.starts_with("wav") || encoding.is_none();
        let rate = rate.filter(|rate| (8_000..=192_000).contains(rate)).unwrap_or(24_000);
        Format { wav, encoding: encoding.unwrap_or(Encoding::S16), rate, instead: compressed }
    }

    /// `content-type`.
    pub(crate) fn content_type(&self) -> &'static str {
        match (self.wav, self.encoding) {
            (true, _) => "audio/wav",
            (false, Encoding::S16 | Encoding::F32) => "audio/pcm",
            (false, Encoding::Mulaw) => "audio/basic",
            (false, Encoding::Alaw) => "audio/x-alaw-basic",
        }
    }

    /// The 44 bytes before `samples` samples; nothing without a container.
    pub(crate) fn header(&self, samples: usize) -> Bytes {
        let mut out = BytesMut::new();
        if self.wav {
            let width = self.encoding.bytes();
            let size = u32::try_from(samples).unwrap_or(u32::MAX / 8).saturating_mul(width);
            out.put_slice(b"RIFF");
            out.put_u32_le(size.saturating_add(36));
            out.put_slice(b"WAVEfmt ");
            out.put_u32_le(16);
            out.put_u16_le(self.encoding.tag());
            out.put_u16_le(1);
            out.put_u32_le(self.rate);
            out.put_u32_le(self.rate * width);
            out.put_u16_le(width as u16);
            out.put_u16_le(width as u16 * 8);
            out.put_slice(b"data");
            out.put_u32_le(size);
        }
        out.freeze()
    }

    fn write(&self, sample: f32, out: &mut BytesMut) {
        let whole = (sample * 32_767.0) as i16;
        match self.encoding {
            Encoding::S16 => out.put_i16_le(whole),
            Encoding::F32 => out.put_f32_le(sample),
            Encoding::Mulaw => out.put_u8(mulaw(whole)),
            Encoding::Alaw => out.put_u8(alaw(whole)),
        }
    }
}

/// G.711 µ-law.
fn mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let biased = (i32::from(sample).abs() + 132).min(32_767);
    let exponent = (biased >> 7).ilog2();
    let mantissa = (biased >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// G.711 A-law.
fn alaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let value = i32::from(sample).abs().min(32_767) >> 4;
    let coded = if value < 16 {
        value
    } else {
        let exponent = value.ilog2() as i32 - 3;
        (exponent << 4) | ((value >> (exponent - 1)) & 0x0f)
    };
    (coded as u8 | sign) ^ 0x55
}

/// A tenth of a second of a spoken text.
pub(crate) struct Chunk {
    pub(crate) audio: Bytes,
    /// What begins to be spoken in it.
    pub(crate) spoken: Vec<Spoken>,
    /// How long it plays, in seconds.
    pub(crate) seconds: f64,
}

/// A spoken text in pieces of a tenth of a second.
pub(crate) struct Chunks {
    voice: Voice,
    spoken: std::iter::Peekable<std::vec::IntoIter<Spoken>>,
    format: Format,
    sent: usize,
}

impl Chunks {
    pub(crate) fn new(spoken: Vec<Spoken>, format: Format) -> Chunks {
        let voice = Voice::new(spoken.clone(), format.rate);
        Chunks { voice, spoken: spoken.into_iter().peekable(), format, sent: 0 }
    }
}

impl Iterator for Chunks {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let total = self.voice.total();
        if self.sent >= total {
            return None;
        }
        let count = (self.format.rate as usize / 10).min(total - self.sent);
        let mut audio = BytesMut::with_capacity(44 + count * self.format.encoding.bytes() as usize);
        if self.sent == 0 {
            audio.put(self.format.header(total));
        }
        for sample in self.voice.by_ref().take(count) {
            self.format.write(sample, &mut audio);
        }
        self.sent += count;
        let until = self.sent as f64 / f64::from(self.format.rate);
        let last = self.sent >= total;
        let mut spoken: Vec<Spoken> = Vec::new();
        // A word belongs to the chunk in which it begins.
        let within = |spoken: &[Spoken], next: &Spoken| {
            spoken.last().is_some_and(|before| !before.character.is_whitespace() && !next.character.is_whitespace())
        };
        while let Some(next) = self.spoken.next_if(|next| last || next.start < until || within(&spoken, next)) {
            spoken.push(next);
        }
        Some(Chunk { audio: audio.freeze(), spoken, seconds: count as f64 / f64::from(self.format.rate) })
    }
}

/// Base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().chain([&0, &0]).take(3).fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        for i in 0..4 {
            let sextet = (word >> (18 - 6 * i)) as usize & 63;
            out.push(if i <= three.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::speech::{duration, timing};
    use serde_json::json;

    #[test]
    fn formats_are_read_as_the_providers_write_them() {
        let format = |asked: Value| {
            let f = Format::read(&asked);
            (f.wav, f.encoding, f.rate, f.instead)
        };
        assert_eq!(format(json!("mp3_44100_128")), (true, Encoding::S16, 44_100, true));
        assert_eq!(format(json!("opus_48000_32")), (true, Encoding::S16, 48_000, true));
        assert_eq!(format(json!("pcm_16000")), (false, Encoding::S16, 16_000, false));
        assert_eq!(format(json!("ulaw_8000")), (false, Encoding::Mulaw, 8_000, false));
        assert_eq!(format(json!("wav_44100")), (true, Encoding::S16, 44_100, false));
        assert_eq!(format(json!(null)), (true, Encoding::S16, 24_000, false));
        let raw = json!({"container":"raw","encoding":"pcm_f32le","sample_rate":44100});
        assert_eq!(format(raw), (false, Encoding::F32, 44_100, false));
        let wav = json!({"container":"wav","encoding":"pcm_alaw","sample_rate":8000});
        assert_eq!(format(wav), (true, Encoding::Alaw, 8_000, false));
        assert_eq!(format(json!({"container":"mp3","bit_rate":128000})), (true, Encoding::S16, 24_000, true));
    }

    #[test]
    fn chunks_make_one_whole_wav() {
        let spoken = timing("Good morning, five providers.");
        let format = Format::read(&json!("wav_16000"));
        let chunks: Vec<Chunk> = Chunks::new(spoken.clone(), format).collect();
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.audio.to_vec()).collect();
        let size = u32::from_le_bytes(bytes[40..44].try_into().unwrap()) as usize;
        assert_eq!((&bytes[..4], &bytes[8..16], bytes.len()), (&b"RIFF"[..], &b"WAVEfmt "[..], 44 + size));
        assert_eq!(chunks.iter().flat_map(|chunk| chunk.spoken.clone()).collect::<Vec<_>>(), spoken);
        let seconds: f64 = chunks.iter().map(|chunk| chunk.seconds).sum();
        assert!((seconds - duration(&spoken)).abs() < 0.001);
    }

    #[test]
    fn companding_and_base64_agree_with_their_standards() {
        let mu: Vec<u8> = [0, 1000, -1000, 32_767, -32_768].map(mulaw).to_vec();
        assert_eq!(mu, [0xff, 0xce, 0x4e, 0x80, 0x00]);
        let a: Vec<u8> = [0, 1000, -1000, 32_767, -32_768].map(alaw).to_vec();
        assert_eq!(a, [0xd5, 0xfa, 0x7a, 0xaa, 0x2a]);
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
