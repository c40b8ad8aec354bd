//! Pieces of bytes as one.

use bytes::{Bytes, BytesMut};

/// Pieces put together. One alone stays as it is, and is not copied.
#[derive(Debug, Default)]
pub struct Joined {
    first: Bytes,
    rest: BytesMut,
    /// Room that is made when a second piece comes.
    room: usize,
}

impl Joined {
    /// Nothing yet, of which about so many bytes are expected.
    #[must_use]
    pub fn of_about(room: usize) -> Joined {
        Joined { room, ..Joined::default() }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len().max(self.rest.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a piece behind what there is.
    pub fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.room);
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&piece);
    }

    /// All of them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_not_copied_and_several_are_one() {
        let piece = Bytes::from_static(b"one");
        let mut joined = Joined::of_about(16);
        joined.push(Bytes::new());
        joined.push(piece.clone());
        assert_eq!(joined.len(), 3);
        assert_eq!(joined.into_bytes().as_ptr(), piece.as_ptr());
        let mut joined = Joined::default();
        assert!(joined.is_empty());
        [&b"one"[..], b"", b", ", b"two"].into_iter().for_each(|piece| joined.push(Bytes::copy_from_slice(piece)));
        assert_eq!(joined.len(), 8);
        assert_eq!(joined.into_bytes(), "one, two");
    }
}
