//! Generations: what a provider was asked for, followed from its beginning to its end. Pure: what passes and a clock reading in,
//! records and deadlines out.
//!
//! # Design
//!
//! A **generation** is one piece of work: a request, a stream of events, a context or a turn on a socket, an utterance of a
//! transcription. Which one a message is about, and what in it is text, audio, a beginning or an end, is data of the profile
//! ([`crate::canon::GenerationRule`]); nothing here knows a provider.
//!
//! [`Generation`] is one of them: it is told of text, of the client's having said all, of audio and of the end, and says when
//! something is due ([`Generation::due`]). [`Tracker`] holds those of one socket: it finds out which generation a message is
//! about, and hands out the ended ones. An HTTP request has one [`Generation`] and no tracker. Whoever moves the bytes feeds both, keeps the
//! slots and asks when to wake up.
//!
//! **Whose time it is.** The provider's time begins when it has what it needs: the client's last word in the generation, a flush
//! (with text that no audio has come for), or the end of an upload. It stops while the client does not read. As long as more text may
//! come, nothing is due: a provider may wait for the rest of a sentence. Where neither applies, silence is nobody's fault and no
//! limit runs. Over HTTP only audio restarts the clock: comments, words and timestamps between do not. A deadline found passed is
//! looked at once more a moment later, so that a pause of the gateway's own is not the provider's silence.
//!
//! **What silence is.** [`Silent::Late`]: no audio although the provider's time has run for `first_audio`. [`Silent::Stalled`]: audio
//! came, the client has said all, and for `gap` neither audio nor the end came. [`Silent::Empty`]: the end came, without audio,
//! although there was something to speak. [`Silent::NoResult`]: a transcription was asked to finish and gave no final result for
//! `result`. Each ends the generation. The samples are looked at only where a level is set.
//!
//! **What it costs.** A message with audio is not parsed: the member is found by its name, its length tells how much it is
//! ([`skim`]). Everything else is parsed only when a byte test says that it may matter. The same pieces cut in any way give
//! the same record.
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
