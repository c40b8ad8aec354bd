//! Small vectored writes as plain ones.

use std::cell::RefCell;
use std::io::IoSlice;

/// What is copied rather than handed to the kernel in pieces. Up to here `send(2)` of one copy costs less than `writev(2)`,
/// which goes through the kernel's file layer: some 5 % of a small request. A body of several kilobytes is better not copied.
const SMALL: usize = 2048;

thread_local! {
    /// Kept, because clearing two kilobytes for each write costs more than copying into them.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes the pieces as one; none, and nothing is written, where that would be too much to copy.
pub fn gathered<T>(pieces: &[IoSlice<'_>], write: impl FnOnce(&[u8]) -> T) -> Option<T> {
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > SMALL {
        return None;
    }
    let mut room = ROOM.take();
    room.clear();
    pieces.iter().for_each(|piece| room.extend_from_slice(piece));
    let written = write(&room);
    ROOM.set(room);
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_become_one_and_large_ones_stay() {
        let half = [7; SMALL / 2];
        let cases: [(&[&[u8]], bool); 6] = [
            (&[], true),
            (&[b"head\r\n\r\n", b"", b"body"], true),
            (&[&half, &half], true),
            (&[&half, &half, b"!"], false),
            (&[&[0; SMALL + 1]], false),
            (&[&half, &[1; 1 << 20]], false),
        ];
        for (pieces, small) in cases {
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let expected = small.then(|| pieces.concat());
            assert_eq!(gathered(&slices, <[u8]>::to_vec), expected, "{} pieces", pieces.len());
        }
    }
}
