//! Something to hear: a text becomes syllables with pitch and vowels, sung by three resonators over a buzzing source.
//!
//! It is not intelligible, but it is audibly speech-like, as long as the text, and the same every time.

use std::f32::consts::TAU;

/// A character and when it is spoken, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spoken {
    pub(crate) character: char,
    pub(crate) start: f64,
    pub(crate) end: f64,
}

/// The longest text that is spoken to its end, in characters.
const LONGEST: usize = 400;

/// When each character of `text` is spoken.
pub(crate) fn timing(text: &str) -> Vec<Spoken> {
    let mut at = 0.0;
    let text = if text.trim().is_empty() { "la la la" } else { text };
    text.chars()
        .take(LONGEST)
        .map(|character| {
            let start = at;
            at += match character {
                '.' | '!' | '?' | '\n' => 0.28,
                ',' | ';' | ':' => 0.16,
                c if c.is_whitespace() => 0.05,
                c if vowel(c).is_some() => 0.11,
                _ => 0.055,
            };
            Spoken { character, start, end: at }
        })
        .collect()
}

/// How long the whole of it takes, in seconds.
pub(crate) fn duration(timing: &[Spoken]) -> f64 {
    timing.last().map_or(0.0, |last| last.end)
}

/// The three formants of a vowel, in hertz.
fn vowel(character: char) -> Option<[f32; 3]> {
    Some(match character.to_ascii_lowercase() {
        'a' | 'ä' => [800.0, 1200.0, 2500.0],
        'e' | 'é' => [480.0, 1900.0, 2550.0],
        'i' | 'y' => [290.0, 2250.0, 3000.0],
        'o' | 'ö' => [500.0, 900.0, 2400.0],
        'u' | 'ü' => [320.0, 800.0, 2250.0],
        _ => return None,
    })
}

/// What a consonant is made of: how much buzz and how much noise.
fn consonant(character: char) -> (f32, f32) {
    match character.to_ascii_lowercase() {
        's' | 'f' | 'x' | 'h' | 'c' | 'z' => (0.0, 0.35),
        't' | 'k' | 'p' | 'q' => (0.0, 0.12),
        'm' | 'n' | 'l' | 'r' | 'w' | 'j' => (0.55, 0.0),
        'b' | 'd' | 'g' | 'v' => (0.4, 0.06),
        c if c.is_alphanumeric() => (0.5, 0.05),
        _ => (0.0, 0.0),
    }
}

/// The samples of a spoken text, between -1 and 1.
pub(crate) struct Voice {
    spoken: Vec<Spoken>,
    rate: f32,
    at: usize,
    total: usize,
    place: usize,
    phase: f32,
    seed: u32,
    formants: [f32; 3],
    buzz: f32,
    noise: f32,
    resonators: [Resonator; 3],
}

impl Voice {
    /// `spoken` at `rate` samples a second.
    pub(crate) fn new(spoken: Vec<Spoken>, rate: u32) -> Voice {
        let total = (duration(&spoken) * f64::from(rate)) as usize;
        let formants = [500.0, 1500.0, 2500.0];
        let resonators = [Resonator::default(); 3];
        Voice {
            spoken,
            rate: rate as f32,
            at: 0,
            total,
            place: 0,
            phase: 0.0,
            seed: 1,
            formants,
            buzz: 0.0,
            noise: 0.0,
            resonators,
        }
    }

    /// How many samples there will be.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// A sentence falls, its stressed syllables rise.
    fn pitch(&self, time: f32) -> f32 {
        let progress = self.at as f32 / self.total.max(1) as f32;
        let melody = [1.0, 1.12, 0.95, 1.25, 1.05][self.place / 6 % 5];
        let vibrato = 1.0 + 0.012 * (TAU * 5.2 * time).sin();
        132.0 * (1.12 - 0.3 * progress) * melody * vibrato
    }

    /// White noise, the same every time.
    fn random(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.seed >> 8) as f32 / 8_388_608.0 - 1.0
    }

    /// Moves towards the character that is spoken now.
    fn articulate(&mut self, time: f64) {
        while self.spoken.get(self.place).is_some_and(|spoken| time >= spoken.end) {
            self.place += 1;
        }
        let character = self.spoken.get(self.place).map_or(' ', |spoken| spoken.character);
        let (buzz, noise) = if vowel(character).is_some() { (1.0, 0.01) } else { consonant(character) };
        let glide = 140.0 / self.rate;
        if let Some(target) = vowel(character) {
            for (formant, target) in self.formants.iter_mut().zip(target) {
                *formant += (target - *formant) * glide;
            }
        }
        self.buzz += (buzz - self.buzz) * glide * 2.0;
        self.noise += (noise - self.noise) * glide * 4.0;
    }
}

impl Iterator for Voice {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        if self.at >= self.total {
            return None;
        }
        let time = self.at as f32 / self.rate;
        self.articulate(f64::from(time));
        self.phase = (self.phase + self.pitch(time) / self.rate).fract();
        // A pulse of air: rises, falls faster, then the throat is closed.
        let pulse = if self.phase < 0.6 { (self.phase / 0.6 * TAU / 2.0).sin().powi(2) - 0.3 } else { -0.3 };
        let breath = self.random();
        let source = pulse * self.buzz + breath * self.noise;
        let mut sum = 0.0;
        for (i, resonator) in self.resonators.iter_mut().enumerate() {
            let gain = [1.0, 0.6, 0.35][i];
            sum += gain
                * resonator.step(source, self.formants[i].min(self.rate * 0.45), 80.0 + 40.0 * i as f32, self.rate);
        }
        self.at += 1;
        // The throat softens what is too loud.
        Some((sum * 4.0 + breath * self.noise * 0.3).tanh() * 0.9)
    }
}

/// A two-pole filter.
#[derive(Clone, Copy, Default)]
struct Resonator {
    before: f32,
    earlier: f32,
}

impl Resonator {
    fn step(&mut self, input: f32, frequency: f32, width: f32, rate: f32) -> f32 {
        let radius = (-TAU / 2.0 * width / rate).exp();
        let turn = 2.0 * radius * (TAU * frequency / rate).cos();
        // Equally loud at every frequency.
        let level =
            (1.0 - radius) * (1.0 - 2.0 * radius * (2.0 * TAU * frequency / rate).cos() + radius * radius).sqrt();
        let output = input * level + turn * self.before - radius * radius * self.earlier;
        self.earlier = self.before;
        self.before = output;
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_and_never_overdriven() {
        for rate in [8_000, 16_000, 24_000, 44_100] {
            let spoken = timing("Hello, this is speechgate. Everything works!");
            let voice = Voice::new(spoken.clone(), rate);
            let total = voice.total();
            let samples: Vec<f32> = voice.collect();
            assert_eq!(samples.len(), total);
            assert!((total as f64 / f64::from(rate) - duration(&spoken)).abs() < 0.01);
            let power = (samples.iter().map(|s| s * s).sum::<f32>() / total as f32).sqrt();
            let clipped = samples.iter().filter(|s| s.abs() >= 1.0).count();
            assert!((0.04..0.5).contains(&power), "rms {power} at {rate}");
            assert!(clipped * 1000 < total, "{clipped} of {total} clipped at {rate}");
        }
    }
}
