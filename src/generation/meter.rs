//! The usage of a generation, and its cost.

use super::prices::{Amounts, Price};
use super::record::{Outcome, Record};
use crate::canon::GenerationKind;

/// The usage of one generation, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Characters, as the provider counts them; none when unknown.
    pub characters: Option<f64>,
    /// Seconds of the client's audio; none without a fixed rate.
    pub audio_in_seconds: Option<f64>,
    /// Seconds of the provider's audio; none without a fixed rate.
    pub audio_out_seconds: Option<f64>,
    /// The currency and the cost; none without a known price.
    pub cost: Option<(String, f64)>,
}

/// The usage of a generation: the provider's own figures where it sent any, else what was counted here.
///
/// A cancelled generation is charged up to that moment. A failed or silent one is not charged, unless the provider charges it
/// (`failed`) or sent a figure.
#[must_use]
pub fn meter(record: &Record, failed: bool, price: Option<&Price>) -> Usage {
    let charged = match record.outcome {
        Outcome::Complete | Outcome::Cancelled => true,
        Outcome::Failed | Outcome::Silent => failed,
    };
    let counted = |amount: Option<f64>| if charged { amount } else { Some(0.0) };
    let told = record.figures.audio_seconds();
    let hears = record.kind == GenerationKind::Stt;
    let characters = match record.kind {
        // Nobody charges for the characters of a transcription.
        GenerationKind::Stt => Some(0.0),
        GenerationKind::Tts | GenerationKind::Agent | GenerationKind::Other => {
            counted(record.characters.map(|characters| characters as f64))
        }
    };
    let mut usage = Usage {
        characters: record.figures.characters().or(characters),
        audio_in_seconds: told.filter(|_| hears).or(counted(record.audio_in_seconds)),
        audio_out_seconds: told.filter(|_| !hears).or(counted(record.audio_out_seconds)),
        cost: None,
    };
    let audio = if hears { usage.audio_in_seconds } else { usage.audio_out_seconds };
    let figures = record.figures.characters().is_some() || told.is_some();
    let amounts = Amounts {
        characters: usage.characters.unwrap_or_default(),
        audio_seconds: audio.unwrap_or_default(),
        requests: if charged || figures { 1.0 } else { 0.0 },
    };
    usage.cost = price.map(|price| (price.currency.clone(), price.cost(amounts)));
    usage
}
