//! What is left of a generation when it has ended: counts and times, never text or audio.

use super::silence::Silent;
use crate::canon::generations::FIGURES;
use crate::canon::{Code, GenerationKind};
use std::time::{Duration, Instant};

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider brought it to its end.
    Complete,
    /// An error ended it.
    Failed,
    /// It was silent.
    Silent,
    /// The client cancelled it, or left.
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

/// The provider's own figures, each where it told one: its word on what it charges for, which may differ from what was counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures([Option<f64>; FIGURES.len()]);

impl Figures {
    /// Takes a figure down; a later one replaces it.
    pub(super) fn told(&mut self, place: usize, value: f64) {
        if let Some(figure) = self.0.get_mut(place) {
            *figure = Some(value);
        }
    }

    /// Characters that it counted.
    #[must_use]
    pub fn characters(&self) -> Option<f64> {
        self.0.first().copied().flatten()
    }

    /// Seconds of audio that it counted, in or out by the kind of the generation.
    #[must_use]
    pub fn audio_seconds(&self) -> Option<f64> {
        self.0.get(1).copied().flatten()
    }

    /// All that it told, by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        FIGURES.iter().zip(&self.0).filter_map(|(name, value)| Some((*name, (*value)?)))
    }
}

/// One generation that has ended. Times are readings of the clock that it was fed with.
#[derive(Clone, Debug)]
pub struct Record {
    /// What it was.
    pub kind: GenerationKind,
    /// Its id on the socket; empty without one. The client chose it.
    pub id: Box<str>,
    /// The model, where it was named by one short word.
    pub model: Option<Box<str>>,
    /// How long it waited for its slot.
    pub queued: Duration,
    /// When it went to the provider.
    pub began: Instant,
    /// When the provider first had all that it needed for what it was asked.
    pub asked: Option<Instant>,
    /// When the provider first said anything in it.
    pub first_byte: Option<Instant>,
    /// When the first audio came.
    pub first_audio: Option<Instant>,
    /// The longest time between two pieces of audio that was the provider's.
    pub longest_gap: Option<Duration>,
    /// When it ended.
    pub ended: Instant,
    /// Unicode scalar values of the text that went to the provider in it, up to its end or its cancelling; none where the text could not be
    /// read: no JSON, too large, or the profile does not say where it is.
    pub characters: Option<u64>,
    /// Bytes of the client's audio, without a WAV's header and base64.
    pub audio_in_bytes: u64,
    /// The same in seconds; none where the format has no fixed rate or is not known.
    pub audio_in_seconds: Option<f64>,
    /// Bytes of the provider's audio that went to the client, without a WAV's header and base64.
    pub audio_out_bytes: u64,
    /// The same in seconds; none where the format has no fixed rate or is not known.
    pub audio_out_seconds: Option<f64>,
    /// What the provider told.
    pub figures: Figures,
    /// How it ended.
    pub outcome: Outcome,
    /// What kind of silence ended it.
    pub silent: Option<Silent>,
    /// The error that ended it.
    pub code: Option<Code>,
}

impl Record {
    /// Seconds of the audio that it is about: the client's of a transcription, else the provider's. The provider's own figure where it
    /// told one; none where nobody can tell.
    #[must_use]
    pub fn metered_audio_seconds(&self) -> Option<f64> {
        let counted = if self.kind == GenerationKind::Stt { self.audio_in_seconds } else { self.audio_out_seconds };
        self.figures.audio_seconds().or(counted)
    }

    /// How long the first audio took: since the generation went to the provider.
    #[must_use]
    pub fn time_to_first_audio(&self) -> Option<Duration> {
        self.first_audio.map(|first| first.saturating_duration_since(self.began))
    }

    /// How long it took of the provider's own time: since it had all that it needed. None where audio came before.
    #[must_use]
    pub fn provider_time_to_first_audio(&self) -> Option<Duration> {
        let (asked, first) = (self.asked?, self.first_audio?);
        first.checked_duration_since(asked)
    }
}
