//! Frames and messages that are too long to be buffered: they are forwarded as they arrive, and passed to the callback meanwhile.

use super::payload::{check_text, masked_pieces};
use super::unit::Suspect;
use super::{FrameReader, HELD, Head, Look, Passing, Unit, Violation, hand_out, text_of};
use crate::wire::frame::Opcode;

impl FrameReader {
    /// Most bytes of this frame that are buffered.
    pub(super) fn room(&self, head: &Head) -> usize {
        if head.part.opcode == Opcode::Text || self.coded == Some(head.part.opcode) { self.most } else { HELD }
    }

    pub(super) fn pass_from_here(&mut self, head: &Head) {
        if head.part.first {
            self.unread = self.look != Look::Nothing
                && (head.part.opcode == Opcode::Text || self.coded == Some(head.part.opcode));
        }
        self.open = true;
        self.passing = Some(Passing { part: head.part, mask: head.header.mask, done: 0, left: head.header.length });
    }

    /// Forwards what has arrived of a long frame, and returns its length.
    pub(super) fn pass_on(&mut self, rest: &[u8], suspect: &mut Suspect<'_>) -> Result<usize, Violation> {
        let Some(passing) = &mut self.passing else { return Ok(0) };
        let length = usize::try_from(passing.left).unwrap_or(usize::MAX).min(rest.len());
        let piece = rest.get(..length).unwrap_or_default();
        passing.left -= length as u64;
        if self.shows_binary && passing.part.opcode == Opcode::Binary {
            let _ = suspect(Opcode::Binary, piece);
        }
        if self.unread {
            masked_pieces(piece, passing.mask, passing.done, &mut |plain| {
                let _ = suspect(Opcode::Continuation, plain);
            });
        }
        check_text(&mut self.checker, &passing.part, piece, passing.mask, passing.done, passing.left == 0)?;
        passing.done += length as u64;
        if passing.left == 0 {
            self.open = !passing.part.last;
            self.unread &= !passing.part.last;
            self.passing = None;
        }
        Ok(length)
    }

    /// Forwards a frame; if it continues a message that is too long to be buffered, it is passed to the callback.
    pub(super) fn pass_unread(&mut self, head: &Head, payload: &[u8], suspect: &mut Suspect<'_>) {
        if self.unread {
            masked_pieces(payload, head.header.mask, 0, &mut |plain| {
                let _ = suspect(Opcode::Continuation, plain);
            });
            self.unread &= !head.part.last;
        }
    }

    /// Forwards the buffered fragments, because the message has become too long.
    pub(super) fn release_unread(&mut self, suspect: &mut Suspect<'_>, take: &mut dyn FnMut(Unit<'_>)) {
        if !self.held.is_empty() {
            self.show_held(suspect);
            self.unread = true;
            hand_out(&std::mem::take(&mut self.held), take);
        }
    }

    /// Passes the buffered fragments to the callback.
    pub(super) fn show_held(&mut self, suspect: &mut Suspect<'_>) {
        if !self.held.is_empty() {
            let _ = suspect(Opcode::Continuation, &text_of(&self.held, self.sender));
        }
    }
}
