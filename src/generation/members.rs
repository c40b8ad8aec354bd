//! Finds audio in base64 in members of a body, or of a stream of events or lines, as the bytes pass and in any chunking.
//!
//! It looks for a quoted name, a colon and a string; [`super::skim`] explains why that cannot be anything else.

use super::one::Generation;
use crate::canon::generations::AudioPlace;
use memchr::{memchr, memchr_iter};
use std::time::Instant;

/// Finds the member, and reports its audio to a generation.
#[derive(Debug)]
pub struct MemberScan {
    /// The quoted name.
    name: Box<[u8]>,
    state: State,
    /// Letters of the current string so far.
    letters: u64,
    /// Total bytes of such strings.
    audio: u64,
    /// Letters that do not form a whole byte yet, if bytes are needed.
    word: u32,
    bits: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// In the name, after this many bytes.
    Seeking(usize),
    /// After the name.
    Named,
    /// After the colon.
    Valued,
    /// In the string.
    Inside,
}

impl MemberScan {
    /// Looks for a member with this quoted name.
    #[must_use]
    pub fn new(name: &[u8]) -> MemberScan {
        MemberScan { name: name.into(), state: State::Seeking(0), letters: 0, audio: 0, word: 0, bits: 0 }
    }

    /// Looks for the member at this place, if the place is a member.
    pub(super) fn of(place: &AudioPlace) -> Option<MemberScan> {
        match place {
            AudioPlace::Member(member) => Some(MemberScan::new(member.name.needle())),
            AudioPlace::Body | AudioPlace::Binary => None,
        }
    }

    /// Takes the next bytes of a response.
    pub fn feed(&mut self, bytes: &[u8], generation: &mut Generation, resumed: Instant, now: Instant) {
        let wants = generation.wants_bytes();
        self.scan(bytes, wants, &mut |length, known| generation.audio(length, known, resumed, now));
    }

    /// Takes the next bytes of a client's message. Returns how many of them are not audio.
    pub(super) fn feed_input(&mut self, bytes: &[u8], generation: &mut Generation) -> u64 {
        let (before, wants) = (self.audio, generation.wants_input());
        self.scan(bytes, wants, &mut |length, known| generation.input(length, known));
        (bytes.len() as u64).saturating_sub(self.audio - before)
    }

    fn scan(&mut self, mut bytes: &[u8], wants: bool, found: &mut dyn FnMut(u64, &[u8])) {
        while let Some((first, rest)) = bytes.split_first() {
            bytes = match self.state {
                State::Seeking(0) => {
                    let Some(at) = memchr(b'"', bytes) else { return };
                    self.state = State::Seeking(1);
                    bytes.get(at + 1..).unwrap_or_default()
                }
                State::Seeking(matched) => {
                    self.state = match self.name.get(matched) == Some(first) {
                        true if matched + 1 == self.name.len() => State::Named,
                        true => State::Seeking(matched + 1),
                        false if *first == b'"' => State::Seeking(1),
                        false => State::Seeking(0),
                    };
                    rest
                }
                State::Named | State::Valued if first.is_ascii_whitespace() => rest,
                State::Named if *first == b':' => {
                    self.state = State::Valued;
                    rest
                }
                State::Valued if *first == b'"' => {
                    (self.state, self.letters, self.word, self.bits) = (State::Inside, 0, 0, 0);
                    rest
                }
                State::Named | State::Valued => {
                    self.state = State::Seeking(0);
                    bytes
                }
                State::Inside => {
                    let end = memchr(b'"', bytes);
                    let text = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
                    self.text(text, wants, found);
                    let Some(end) = end else { return };
                    self.state = State::Seeking(0);
                    bytes.get(end + 1..).unwrap_or_default()
                }
            };
        }
    }

    fn text(&mut self, text: &[u8], wants: bool, found: &mut dyn FnMut(u64, &[u8])) {
        let before = self.letters * 6 / 8;
        let others = memchr_iter(b'=', text).count() + memchr_iter(b'\\', text).count();
        self.letters += text.len().saturating_sub(others) as u64;
        self.audio += text.len() as u64;
        let length = self.letters * 6 / 8 - before;
        let known = if wants { self.decoded(text) } else { Vec::new() };
        if length > 0 {
            found(length, &known);
        }
    }

    fn decoded(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        for sextet in text.iter().filter_map(|letter| super::skim::sextet(*letter)) {
            self.word = self.word << 6 | u32::from(sextet);
            self.bits += 6;
            if self.bits >= 8 {
                self.bits -= 8;
                out.push((self.word >> self.bits & 0xff) as u8);
            }
        }
        out
    }
}
