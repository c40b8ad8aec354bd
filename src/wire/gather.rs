//! Small vectored writes as plain ones.

use std::io::IoSlice;

/// What is copied rather than handed to the kernel in pieces. Up to here `send(2)` of one copy costs less than `writev(2)`,
/// which goes through the kernel's file layer: some 5 % of a small request. A body of several kilobytes is better not copied.
pub const SMALL: usize = 2048;

/// The pieces as one, copied into `room`; none where there is nothing to gain, or too much to copy.
#[must_use]
pub fn gather<'r>(pieces: &[IoSlice<'_>], room: &'r mut [u8; SMALL]) -> Option<&'r [u8]> {
    let mut end = 0;
    for piece in pieces {
        room.get_mut(end..end + piece.len())?.copy_from_slice(piece);
        end += piece.len();
    }
    room.get(..end)
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
            let mut room = [0; SMALL];
            let expected = small.then(|| pieces.concat());
            assert_eq!(gather(&slices, &mut room), expected.as_deref(), "{} pieces", pieces.len());
        }
    }
}
