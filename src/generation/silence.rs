//! Silence: the operator's limits, and its kinds.

use crate::canon::Fault;
use std::time::Duration;

/// The limits of a route. Each is off unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Silence {
    /// How long the first audio may take once the provider has what it needs.
    pub first_audio: Option<FirstAudio>,
    /// How long audio may pause in the middle.
    pub gap: Option<Duration>,
    /// Whether an end without any audio is an error.
    pub empty: bool,
    /// How long the final result of a transcription may take after it was asked to finish.
    pub result: Option<Duration>,
    /// Samples with a peak below this, in dB of full scale, do not count as audio. Only in PCM and µ-law.
    pub level: Option<f32>,
}

/// How long the first audio may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FirstAudio {
    /// This long.
    After(Duration),
    /// The time that [`super::FirstAudioTimes`] has learned.
    Auto,
}

/// The limits of one generation, with what was learned filled in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Watch {
    /// As in [`Silence`].
    pub first_audio: Option<Duration>,
    /// As in [`Silence`].
    pub gap: Option<Duration>,
    /// As in [`Silence`].
    pub empty: bool,
    /// As in [`Silence`].
    pub result: Option<Duration>,
    /// As in [`Silence`].
    pub level: Option<f32>,
}

/// A kind of silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silent {
    /// No audio came in time.
    Late,
    /// Audio stopped in the middle.
    Stalled,
    /// It ended in order without audio.
    Empty,
    /// No final result came in time.
    NoResult,
}

impl Silence {
    /// Whether anything is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.first_audio.is_some() || self.gap.is_some() || self.empty || self.result.is_some()
    }

    /// The limits of a generation; `learned` is asked where the first audio's is to be learned.
    #[must_use]
    pub fn watch(&self, learned: impl FnOnce() -> Duration) -> Watch {
        let first_audio = self.first_audio.map(|limit| match limit {
            FirstAudio::After(limit) => limit,
            FirstAudio::Auto => learned(),
        });
        Watch { first_audio, gap: self.gap, empty: self.empty, result: self.result, level: self.level }
    }
}

impl Silent {
    /// What it is in the vocabulary of errors.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            Silent::Late => Fault::AudioLate,
            Silent::Stalled => Fault::AudioStalled,
            Silent::Empty => Fault::NoAudio,
            Silent::NoResult => Fault::NoResult,
        }
    }
}
