//! Bytes that come in small pieces and go on as one.

use bytes::{Bytes, BytesMut};

/// How much is put together, so that small pieces do not cost a chunk and a write each.
pub(super) const TOGETHER: usize = 16 * 1024;

/// Pieces put together. One alone stays as it is, and is not copied.
#[derive(Debug, Default)]
pub(super) struct Joined {
    first: Bytes,
    rest: BytesMut,
}

impl Joined {
    /// Whether this is small enough to be put behind what there is.
    pub(super) fn has_room(&self, piece: &Bytes) -> bool {
        self.first.len().max(self.rest.len()) + piece.len() <= TOGETHER
    }

    /// Puts it there.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(TOGETHER);
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&piece);
    }

    pub(super) fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}
