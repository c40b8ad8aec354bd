//! Generations: tracks what a provider was asked for, from its beginning to its end. Pure: what passes and a clock reading in,
//! records and deadlines out.
//!
//! # Design
//!
//! A **generation** is one piece of work: a request, a stream of events, a context or a turn on a WebSocket, an utterance of a
//! transcription. Which generation a message is about, and what in it is text, audio, a beginning or an end, is data of the
//! profile ([`crate::canon::GenerationRule`]); nothing here knows a provider.
//!
//! [`Generation`] is one of them: it gets text, the end of the client's input, audio and the end, and tells when something is due
//! ([`Generation::due`]). [`Tracker`] has those of one socket: it finds out which generation a message is about, and hands out
//! completed ones. An HTTP request has one [`Generation`] and no tracker. The code that moves the bytes feeds both, manages the
//! slots and schedules the wake-ups.
//!
//! **When the clock runs.** The provider's time begins when it has its input: the client's last message of the generation, a
//! flush (with text for which no audio has come), or the end of an upload. It stops while the client does not read. As long as
//! more text may come, nothing is due, because a provider may wait for the rest of a sentence; then silence is nobody's fault and
//! no limit runs. Over HTTP only audio restarts the clock; comments, words and timestamps do not. A passed deadline is checked
//! once more a moment later, so that a pause of the gateway's own does not count as the provider's silence.
//!
//! **Kinds of silence.** [`Silent::Late`]: no audio within `first_audio` of the provider's time. [`Silent::Stalled`]: audio came,
//! the client has sent everything, and for `gap` neither audio nor the end came. [`Silent::Empty`]: the end came without audio,
//! although there was something to speak. [`Silent::NoResult`]: a transcription was asked to finish and sent no final result
//! within `result`. Each ends the generation. Samples are examined only if a level is set.
//!
//! **Cost.** A message with audio is not parsed: the member is found by its name, and its length gives the amount ([`skim`]).
//! Everything else is parsed only if a byte test says that it may matter. The record does not depend on how the bytes were split.
//!
//! **What is recorded.** A [`Record`] for each generation, with counts and times, and never text or audio.

// What cannot fail needs neither unwrap nor index, and a new variant must be asked about everywhere.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm
    )
)]

mod audio;
mod facts;
mod learned;
mod members;
mod meter;
mod one;
mod prices;
mod record;
mod silence;
mod skim;
mod tracker;

pub use crate::canon::generations::Format;
pub use audio::AudioMeter;
pub use facts::{Asked, Facts};
pub use learned::FirstAudioTimes;
pub use members::MemberScan;
pub use meter::{Usage, meter};
pub use one::{Generation, Said};
pub use prices::{Amounts, ModelName, Price, Prices};
pub use record::{Figures, Outcome, Record};
pub use silence::{FirstAudio, Silence, Silent, Watch};
pub use skim::{Skimmed, skim};
pub use tracker::{Beginning, Ended, Tracker, Verdict};
