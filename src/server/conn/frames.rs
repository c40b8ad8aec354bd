//! Finds frame boundaries in what an HTTP/2 client sends (RFC 9113 4.1). h2 reports only complete frames, so half a frame, or
//! HEADERS without END_HEADERS, would keep a connection open for as long as the client acknowledges pings.

/// Length of the preface (RFC 9113 3.4).
pub(super) const PREFACE_LENGTH: usize = 24;
const HEAD_LENGTH: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where the bytes of the last read end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameEnd {
    /// Between two frames, outside of a header block.
    Whole,
    /// In a DATA frame.
    Data,
    /// In another frame, or a header block, that began in this read.
    NewControl,
    /// In another frame, or a header block, that began in an earlier read.
    SameControl,
}

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes left until the next frame header.
    left: usize,
    head: [u8; HEAD_LENGTH],
    head_length: usize,
    /// Whether these bytes are DATA.
    data: bool,
    /// Whether a header block is incomplete.
    block: bool,
    /// Whether the incomplete frame or block was already incomplete at the end of the previous read.
    seen: bool,
}

impl Frames {
    /// Starts at the first byte of the preface.
    pub(super) fn new() -> Frames {
        Frames { left: PREFACE_LENGTH, head: [0; HEAD_LENGTH], head_length: 0, data: false, block: false, seen: false }
    }

    /// Follows more bytes, and returns where they end.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> FrameEnd {
        while !bytes.is_empty() {
            if self.left > 0 {
                let length = self.left.min(bytes.len());
                self.left -= length;
                bytes = &bytes[length..];
            } else {
                let length = (HEAD_LENGTH - self.head_length).min(bytes.len());
                self.head[self.head_length..][..length].copy_from_slice(&bytes[..length]);
                self.head_length += length;
                bytes = &bytes[length..];
                if self.head_length == HEAD_LENGTH {
                    self.begin_frame();
                }
            }
            if self.is_whole() {
                self.seen = false;
            }
        }
        if self.is_whole() {
            FrameEnd::Whole
        } else if self.data && self.left > 0 {
            FrameEnd::Data
        } else if std::mem::replace(&mut self.seen, true) {
            FrameEnd::SameControl
        } else {
            FrameEnd::NewControl
        }
    }

    fn begin_frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.head_length = 0;
        self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.data = kind == DATA;
        match kind {
            HEADERS => self.block = flags & END_HEADERS == 0,
            CONTINUATION if flags & END_HEADERS != 0 => self.block = false,
            _ => {}
        }
    }

    fn is_whole(&self) -> bool {
        self.left == 0 && self.head_length == 0 && !self.block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameEnd::{Data, NewControl, SameControl, Whole};

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload).expect("a short one"), kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD_LENGTH + payload, 0);
        frame
    }

    #[test]
    fn half_frames_and_open_blocks_are_seen_wherever_they_are_cut() {
        let preface = vec![0; PREFACE_LENGTH];
        let (settings, data) = (frame(4, 0, 6), frame(DATA, 0, 20));
        let (headers, open, end) = (frame(HEADERS, 4, 5), frame(HEADERS, 0, 5), frame(CONTINUATION, 4, 5));
        for (reads, expected) in [
            (vec![&preface[..], &settings, &headers], vec![Whole, Whole, Whole]),
            (vec![&preface[..10], &preface[10..]], vec![NewControl, Whole]),
            (
                vec![&preface, &settings[..3], &settings[3..9], &settings[9..]],
                vec![Whole, NewControl, SameControl, Whole],
            ),
            (vec![&preface, &data[..12], &data[12..15], &data[15..]], vec![Whole, Data, Data, Whole]),
            (vec![&preface, &open, &end[..4], &end[4..]], vec![Whole, NewControl, SameControl, Whole]),
            (vec![&preface, &open, &frame(CONTINUATION, 0, 3), &end], vec![Whole, NewControl, SameControl, Whole]),
            // Each of two incomplete frames has its own deadline.
            (
                vec![&preface, &settings[..5], &[&settings[5..], &headers[..3]].concat()],
                vec![Whole, NewControl, NewControl],
            ),
            (vec![&[&preface[..], &settings, &data, &headers, &open].concat(), &end], vec![NewControl, Whole]),
        ] {
            let mut frames = Frames::new();
            let ends: Vec<FrameEnd> = reads.iter().map(|bytes| frames.read(bytes)).collect();
            assert_eq!(ends, expected, "{reads:?}");
        }
    }
}
