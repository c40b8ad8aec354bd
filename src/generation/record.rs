//! The record of a completed generation: counts and times, never text or audio.

use super::silence::Silent;
use crate::canon::generations::FIGURES;
use crate::canon::{Code, GenerationKind};
use std::time::{Duration, Instant};

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider completed it.
    Complete,
    /// An error ended it.
    Failed,
    /// It was silent for too long.
    Silent,
    /// The client cancelled it or disconnected.
    Cancelled,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Outcome; 4] = [Outcome::Complete, Outcome::Failed, Outcome::Silent, Outcome::Cancelled];

    /// The spelling in labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Failed => "failed",
            Outcome::Silent => "silent",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// The provider's own figures, as far as it sent any: they state what it charges, and may differ from what was counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures([Option<f64>; FIGURES.len()]);

impl Figures {
    /// Records a figure; a later one replaces it.
    pub(super) fn told(&mut self, place: usize, value: f64) {
        if let Some(figure) = self.0.get_mut(place) {
            *figure = Some(value);
        }
    }

    /// Characters counted by the provider.
    #[must_use]
    pub fn characters(&self) -> Option<f64> {
        self.0.first().copied().flatten()
    }

    /// Seconds of audio counted by the provider, in or out according to the kind of generation.
    #[must_use]
    pub fn audio_seconds(&self) -> Option<f64> {
        self.0.get(1).copied().flatten()
    }

    /// All figures, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        FIGURES.iter().zip(&self.0).filter_map(|(name, value)| Some((*name, (*value)?)))
    }
}

/// A completed generation. Times are readings of the clock that was passed to it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its kind.
    pub kind: GenerationKind,
    /// Its id on the WebSocket, chosen by the client; empty without one.
    pub id: Box<str>,
    /// The model, if it was given as one short word.
    pub model: Option<Box<str>>,
    /// How long it waited for its slot.
    pub queued: Duration,
    /// When it was sent to the provider.
    pub began: Instant,
    /// When the provider first had all the input that it needed.
    pub asked: Option<Instant>,
    /// When the provider first sent anything for it.
    pub first_byte: Option<Instant>,
    /// When the first audio arrived.
    pub first_audio: Option<Instant>,
    /// The longest gap between two pieces of audio for which the provider is responsible.
    pub longest_gap: Option<Duration>,
    /// When it ended.
    pub ended: Instant,
    /// Unicode scalar values of the text that was sent to the provider, up to its end or cancellation; none when the text could
    /// not be read: not JSON, too large, or not located by the profile.
    pub characters: Option<u64>,
    /// Bytes of the client's audio, without WAV header and base64.
    pub audio_in_bytes: u64,
    /// The client's audio in seconds; none when the format is unknown or has no fixed rate.
    pub audio_in_seconds: Option<f64>,
    /// Bytes of the provider's audio that were sent to the client, without WAV header and base64.
    pub audio_out_bytes: u64,
    /// The provider's audio in seconds; none when the format is unknown or has no fixed rate.
    pub audio_out_seconds: Option<f64>,
    /// The provider's own figures.
    pub figures: Figures,
    /// How it ended.
    pub outcome: Outcome,
    /// The kind of silence that ended it.
    pub silent: Option<Silent>,
    /// The error that ended it.
    pub code: Option<Code>,
}

impl Record {
    /// Seconds of the audio that the generation is about: the client's for a transcription, else the provider's. The provider's
    /// own figure if it sent one; none when unknown.
    #[must_use]
    pub fn metered_audio_seconds(&self) -> Option<f64> {
        let counted = if self.kind == GenerationKind::Stt { self.audio_in_seconds } else { self.audio_out_seconds };
        self.figures.audio_seconds().or(counted)
    }

    /// The time to first audio, since the generation was sent to the provider.
    #[must_use]
    pub fn time_to_first_audio(&self) -> Option<Duration> {
        self.first_audio.map(|first| first.saturating_duration_since(self.began))
    }

    /// The time to first audio, since the provider had all the input that it needed. None when audio came before.
    #[must_use]
    pub fn provider_time_to_first_audio(&self) -> Option<Duration> {
        let (asked, first) = (self.asked?, self.first_audio?);
        first.checked_duration_since(asked)
    }
}
