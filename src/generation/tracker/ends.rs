//! How the generations of a socket end: well, by an error, with the socket.

use super::{Ended, PAST, Running, Tracker};
use crate::canon::{Code, GenerationKind};
use crate::generation::record::Outcome;
use crate::generation::silence::Silent;
use std::time::Instant;

impl<P: Default> Tracker<P> {
    /// The provider failed a generation with this error. Without an id it is about all that run: the provider does not say which one goes
    /// on, and one that it has given up would keep its slot as long as the socket is open.
    pub fn failed(&mut self, id: Option<&str>, code: Code, now: Instant) {
        // An error may name a turn where the client's messages do not.
        match id.filter(|_| self.rule.have_ids()) {
            Some(id) => {
                if let Some(at) = self.about(Some(id)) {
                    self.take(at, Outcome::Failed, None, Some(code), now);
                }
            }
            None => {
                while !self.running.is_empty() {
                    self.take(0, Outcome::Failed, None, Some(code), now);
                }
            }
        }
    }

    /// The socket ends, and all of them with it. In order is an end only where nobody else says that one ends, and without audio it is
    /// none either.
    pub fn end(&mut self, outcome: Outcome, code: Option<Code>, now: Instant) {
        while let Some(running) = self.running.first() {
            let open = !self.rule.have_ends() || self.rule.kind != GenerationKind::Tts;
            let (outcome, silent) = match outcome {
                Outcome::Complete if running.generation.is_empty() => (Outcome::Silent, Some(Silent::Empty)),
                Outcome::Complete if !open => (Outcome::Failed, None),
                Outcome::Complete | Outcome::Failed | Outcome::Silent | Outcome::Cancelled => (outcome, None),
            };
            self.take(0, outcome, silent, code, now);
        }
        if let Some(Running { generation, slot }) = self.overflow.take() {
            self.ended.push(Ended { record: generation.end(outcome, None, code, now), slot, untold: false });
        }
    }

    /// Those that have ended since this was last asked.
    pub fn take_ended(&mut self) -> Vec<Ended<P>> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn finish(&mut self, at: Option<usize>, outcome: Outcome, now: Instant) {
        let Some(at) = at else { return };
        let empty = outcome == Outcome::Complete && self.running.get(at).is_some_and(|one| one.generation.is_empty());
        match empty {
            true => self.take(at, Outcome::Silent, Some(Silent::Empty), None, now),
            false => self.take(at, outcome, None, None, now),
        }
    }

    pub(super) fn take(
        &mut self,
        at: usize,
        outcome: Outcome,
        silent: Option<Silent>,
        code: Option<Code>,
        now: Instant,
    ) {
        let Running { generation, slot } = self.running.remove(at);
        if !self.rule.have_ids()
            && at == 0
            && let Some(next) = self.running.first_mut()
        {
            next.generation.has_its_turn(now);
        }
        let record = generation.end(outcome, silent, code, now);
        if !record.id.is_empty() {
            self.past.truncate(PAST - 1);
            self.past.push_front(record.id.clone());
        }
        self.ended.push(Ended { record, slot, untold: silent.is_some() });
    }
}
