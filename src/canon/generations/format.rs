//! Audio formats: how many bytes a second has. What has no fixed rate has none, and nothing is guessed.

/// A format, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Format {
    coding: Coding,
    /// Samples of one channel per second.
    rate: Option<u32>,
    channels: u16,
    /// Bits per second, of codecs with a constant bit rate.
    bit_rate: Option<u32>,
    /// The sender has said so itself.
    declared: bool,
}

/// More samples per second than any provider takes, or more channels, are not believed.
const RATE: u32 = 384_000;
const CHANNELS: u16 = 16;

/// How samples are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// Nothing is known of it, or it has no fixed rate.
    #[default]
    Unknown,
    /// Linear, of so many bytes, little endian.
    Pcm(u8),
    /// Floats of 32 bits.
    Float,
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
    /// MP3 with a constant bit rate.
    Mp3,
}

impl Format {
    /// From the words for it, in any of the ways that providers write them: `pcm_16000`, `pcm_s16le`, `linear16`, `ulaw_8000`,
    /// `mp3_44100_128`, `audio/L16; rate=16000`, `raw-24khz-16bit-mono-pcm`; what the name does not say is given beside it.
    #[must_use]
    pub fn named(name: &str, rate: Option<u32>, bit_rate: Option<u32>, channels: Option<u16>) -> Format {
        let name = name.to_ascii_lowercase();
        let words: Vec<&str> = name.split(|char: char| !char.is_ascii_alphanumeric()).collect();
        let coding = Coding::named(&name, &words);
        let mut numbers = words.iter().filter_map(|word| number(word));
        let said = if matches!(coding, Coding::Mp3) {
            numbers.find(|number| *number >= 8_000).or(rate)
        } else {
            numbers.find(|number| (4_000..=384_000).contains(number))
        };
        // The last number of `mp3_44100_128` and of `audio-24khz-48kbitrate-mono-mp3` are kilobits.
        let kilobits = words.iter().find_map(|word| word.strip_suffix("kbitrate")?.parse::<u32>().ok()).or_else(|| {
            let after = words.iter().skip_while(|word| number(word).is_none_or(|number| number < 8_000)).nth(1);
            after.and_then(|word| word.parse().ok())
        });
        let bit_rate = match (bit_rate, kilobits) {
            (_, Some(kilobits)) if (8..=640).contains(&kilobits) => Some(kilobits * 1000),
            (Some(given), _) => Some(if given <= 640 { given * 1000 } else { given }),
            (None, _) => None,
        };
        let stereo = words.contains(&"stereo").then_some(2);
        let channels = channels.or(stereo).unwrap_or(1).max(1);
        Format { coding, rate: said.or(rate), channels, bit_rate, declared: false }
    }

    /// The same, as the sender itself has declared it.
    pub(crate) fn declared(self) -> Format {
        Format { declared: true, ..self }
    }

    /// Whether no header in the audio says better: it is raw, and declared to be.
    pub(crate) fn is_sure(&self) -> bool {
        self.declared && !matches!(self.coding, Coding::Unknown | Coding::Mp3)
    }

    /// From the header of a WAV: its tag, channels, samples per second and bits of a sample.
    pub(crate) fn wav(tag: u16, channels: u16, rate: u32, bits: u16) -> Format {
        let coding = match (tag, bits) {
            (1 | 0xfffe, 8 | 16 | 24 | 32) => Coding::Pcm((bits / 8) as u8),
            (3, 32) => Coding::Float,
            (6, 8) => Coding::Alaw,
            (7, 8) => Coding::Mulaw,
            _ => Coding::Unknown,
        };
        Format {
            coding,
            rate: Some(rate).filter(|rate| *rate > 0),
            channels: channels.max(1),
            bit_rate: None,
            declared: false,
        }
    }

    pub(crate) fn coding(&self) -> Coding {
        self.coding
    }

    /// How many bytes one second has; none where the rate is not fixed or not known.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<f64> {
        let of_samples = |width: u8| {
            let rate = self.rate.filter(|rate| (1..=RATE).contains(rate) && self.channels <= CHANNELS)?;
            Some(f64::from(rate) * f64::from(width) * f64::from(self.channels))
        };
        match self.coding {
            Coding::Unknown => None,
            Coding::Pcm(width) => of_samples(width),
            Coding::Float => of_samples(4),
            Coding::Mulaw | Coding::Alaw => of_samples(1),
            Coding::Mp3 => self.bit_rate.map(|bits| f64::from(bits) / 8.0),
        }
    }
}

/// What a name may tell, in the order in which it counts: the first of these that is told is the coding.
const CODINGS: [Coding; 9] = [
    // What is compressed has no fixed rate, whatever else its name says.
    Coding::Unknown,
    Coding::Mp3,
    Coding::Mulaw,
    Coding::Alaw,
    Coding::Float,
    Coding::Pcm(4),
    Coding::Pcm(3),
    Coding::Pcm(1),
    Coding::Pcm(2),
];

/// The parts of names that tell a coding, by their first letter, and which of [`CODINGS`] it is. Every request names its format, and each
/// part by itself would be a search.
fn parts(first: u8) -> &'static [(&'static str, u8)] {
    match first {
        b'3' => &[("32bit", 5)],
        b'2' => &[("24bit", 6)],
        b'a' => &[("aac", 0), ("adpcm", 0), ("amr", 0), ("alaw", 3), ("a-law", 3)],
        b'f' => &[("flac", 0), ("f32", 4), ("float", 4)],
        b'l' => &[("linear32", 5), ("l24", 6), ("linear8", 7), ("linear", 8)],
        b'm' => &[("m4a", 0), ("mp4", 0), ("mp3", 1), ("mpeg", 1), ("mu-law", 2)],
        b'o' => &[("opus", 0), ("ogg", 0)],
        b'p' => &[("pcm_u8", 7), ("pcm", 8)],
        b's' => &[("speex", 0), ("s32", 5), ("s24", 6), ("s16", 8)],
        b'u' => &[("ulaw", 2)],
        b'v' => &[("vorbis", 0)],
        b'w' => &[("webm", 0)],
        _ => &[],
    }
}

impl Coding {
    /// Of a name in lower case and its words.
    fn named(name: &str, words: &[&str]) -> Coding {
        let mut told = 0_u16;
        for (at, first) in name.bytes().enumerate() {
            let rest = name.as_bytes().get(at..).unwrap_or_default();
            for (part, coding) in parts(first) {
                if rest.starts_with(part.as_bytes()) {
                    told |= 1 << coding;
                }
            }
        }
        for word in words {
            told |= match *word {
                "pcmu" | "basic" => 1 << 2,
                "pcma" => 1 << 3,
                "8bit" => 1 << 7,
                "l16" | "raw" => 1 << 8,
                _ => 0,
            };
        }
        CODINGS.get(told.trailing_zeros() as usize).copied().unwrap_or_default()
    }
}

/// A number of hertz: `16000`, `24khz`.
fn number(word: &str) -> Option<u32> {
    if !word.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    match word.strip_suffix("khz") {
        Some(thousands) => thousands.parse::<u32>().ok()?.checked_mul(1000),
        None => word.strip_suffix("hz").unwrap_or(word).parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coding, each part asked for by itself.
    fn asked_one_by_one(name: &str, words: &[&str]) -> Coding {
        let has = |part: &str| name.contains(part);
        let is = |word: &str| words.contains(&word);
        if ["opus", "ogg", "vorbis", "aac", "flac", "webm", "amr", "speex", "m4a", "mp4", "adpcm"]
            .iter()
            .any(|codec| has(codec))
        {
            return Coding::Unknown;
        }
        match () {
            () if has("mp3") || has("mpeg") => Coding::Mp3,
            () if has("ulaw") || has("mu-law") || is("pcmu") || is("basic") => Coding::Mulaw,
            () if has("alaw") || has("a-law") || is("pcma") => Coding::Alaw,
            () if has("f32") || has("float") => Coding::Float,
            () if has("linear32") || has("s32") || has("32bit") => Coding::Pcm(4),
            () if has("s24") || has("l24") || has("24bit") => Coding::Pcm(3),
            () if has("pcm_u8") || has("linear8") || is("8bit") => Coding::Pcm(1),
            () if has("linear") || has("s16") || has("pcm") || is("l16") || is("raw") || is("lpcm") => Coding::Pcm(2),
            () => Coding::Unknown,
        }
    }

    #[test]
    fn one_look_over_a_name_finds_what_a_search_for_each_part_does() {
        let parts: Vec<&str> = (0..=u8::MAX).flat_map(|first| parts(first).iter().map(|(part, _)| *part)).collect();
        let pieces: Vec<&str> =
            parts.into_iter().chain(["pcmu", "basic", "pcma", "8bit", "l16", "raw", "lpcm", "x", ""]).collect();
        for one in &pieces {
            for other in &pieces {
                for between in ["", "_", "-", "16", "/x"] {
                    let name = format!("{one}{between}{other}");
                    let words: Vec<&str> = name.split(|char: char| !char.is_ascii_alphanumeric()).collect();
                    assert_eq!(Coding::named(&name, &words), asked_one_by_one(&name, &words), "{name}");
                }
            }
        }
    }

    #[test]
    fn formats_are_read_as_the_providers_write_them() {
        for (name, rate, bit_rate, expected) in [
            ("pcm_16000", None, None, Some(32_000.0)),
            ("pcm_24000", None, None, Some(48_000.0)),
            ("ulaw_8000", None, None, Some(8_000.0)),
            ("alaw_8000", None, None, Some(8_000.0)),
            ("mp3_44100_128", None, None, Some(16_000.0)),
            ("mp3_22050_32", None, None, Some(4_000.0)),
            ("mp3", Some(44_100), None, None),
            ("mp3", Some(44_100), Some(128_000), Some(16_000.0)),
            ("mp3", None, Some(64), Some(8_000.0)),
            ("opus_48000_128", None, None, None),
            ("opus", Some(48_000), Some(64_000), None),
            ("pcm_s16le", Some(22_050), None, Some(44_100.0)),
            ("pcm_f32le", Some(44_100), None, Some(176_400.0)),
            ("pcm_mulaw", Some(8_000), None, Some(8_000.0)),
            ("linear16", Some(24_000), None, Some(48_000.0)),
            ("LINEAR16", Some(16_000), None, Some(32_000.0)),
            ("MULAW", Some(8_000), None, Some(8_000.0)),
            ("audio/L16; rate=16000", None, None, Some(32_000.0)),
            ("audio/pcm;rate=24000", None, None, Some(48_000.0)),
            ("audio/basic", Some(8_000), None, Some(8_000.0)),
            ("g711_ulaw", Some(8_000), None, Some(8_000.0)),
            ("raw-24khz-16bit-mono-pcm", None, None, Some(48_000.0)),
            ("raw-8khz-8bit-mono-mulaw", None, None, Some(8_000.0)),
            ("audio-24khz-48kbitrate-mono-mp3", None, None, Some(6_000.0)),
            ("ogg-24khz-16bit-mono-opus", None, None, None),
            ("pcm", None, None, None),
            ("wav", Some(24_000), None, None),
            ("aac", Some(44_100), Some(128_000), None),
            ("flac", Some(48_000), None, None),
            ("", None, None, None),
        ] {
            assert_eq!(Format::named(name, rate, bit_rate, None).bytes_per_second(), expected, "{name}");
        }
        assert_eq!(Format::named("pcm_16000", None, None, Some(2)).bytes_per_second(), Some(64_000.0));
    }
}
