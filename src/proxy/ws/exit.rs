//! Removes gateway keys from the frames sent to a provider, whatever they carry: audio, or text too long to be parsed.
//!
//! It is the last step before the socket, where frames are bytes: it parses headers, searches unmasked payloads, and replaces
//! only the bytes of a key, without changing the length. Of a frame that is sent in pieces, bytes that may begin a key are held
//! back until the next piece.

use crate::proxy::tenants::{Exit, Passage};
use crate::wire::frame::{MAX_HEADER, Sender, apply_mask, parse};
use std::borrow::Cow;

/// The filter for the frames of one socket.
#[derive(Debug)]
pub(super) struct FrameExit {
    passage: Passage,
    /// The part of a header that has arrived.
    head: Vec<u8>,
    /// The frame in progress.
    open: Option<OpenFrame>,
}

#[derive(Debug)]
struct OpenFrame {
    mask: Option<[u8; 4]>,
    /// Payload bytes that have been sent, and that are still to come.
    done: u64,
    left: u64,
}

impl FrameExit {
    pub(super) fn new(exit: Exit) -> FrameExit {
        FrameExit { passage: Passage::new(exit), head: Vec::new(), open: None }
    }

    /// The following frames are sent on another connection, from the beginning of a frame.
    pub(super) fn begin(&mut self) {
        self.head.clear();
        self.open = None;
        let _ = self.passage.rest();
    }

    /// The bytes to send in place of these.
    pub(super) fn pass<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let mut out = Cow::Borrowed(bytes);
        // The position in `bytes`, and the part that has been copied once something was replaced.
        let mut at = 0;
        let mut copied: Option<Vec<u8>> = None;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.open.is_none() {
                let taken = self.header(rest);
                copied.iter_mut().for_each(|copied| copied.extend_from_slice(rest.get(..taken).unwrap_or_default()));
                at += taken;
                continue;
            }
            let Some(open) = &mut self.open else { break };
            let length = usize::try_from(open.left).unwrap_or(usize::MAX).min(rest.len());
            let piece = rest.get(..length).unwrap_or_default();
            let changed = open.payload(piece, &mut self.passage);
            match (changed, &mut copied) {
                (Some(other), Some(copied)) => copied.extend(other),
                (Some(other), None) => copied = Some([bytes.get(..at).unwrap_or_default(), &other].concat()),
                (None, Some(copied)) => copied.extend_from_slice(piece),
                (None, None) => {}
            }
            if open.left == 0 {
                self.open = None;
            }
            at += length;
        }
        if let Some(copied) = copied {
            out = Cow::Owned(copied);
        }
        out
    }

    /// Parses more of a header, and returns how many bytes belong to it.
    fn header(&mut self, rest: &[u8]) -> usize {
        let known = self.head.len();
        self.head.extend_from_slice(rest.get(..MAX_HEADER.min(rest.len())).unwrap_or_default());
        match parse(&self.head, Sender::Client) {
            Ok(Some((header, length))) => {
                self.head.clear();
                if header.length > 0 {
                    self.open = Some(OpenFrame { mask: header.mask, done: 0, left: header.length });
                }
                length.saturating_sub(known).max(1)
            }
            Ok(None) => self.head.len() - known,
            // Every frame was validated when it arrived.
            Err(_) => rest.len(),
        }
    }
}

impl OpenFrame {
    /// The bytes to send in place of a piece of payload; none when it is unchanged.
    fn payload(&mut self, piece: &[u8], passage: &mut Passage) -> Option<Vec<u8>> {
        self.left -= piece.len() as u64;
        let mut plain = piece.to_vec();
        if let Some(mask) = self.mask {
            apply_mask(&mut plain, mask, self.done + passage.held() as u64);
        }
        let Some(mut out) = passage.pass(&plain, self.left == 0) else {
            self.done += piece.len() as u64;
            return None;
        };
        if let Some(mask) = self.mask {
            apply_mask(&mut out, mask, self.done);
        }
        self.done += out.len() as u64;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::gateway_key::make;
    use crate::wire::frame::{Opcode, frame};
    use std::sync::Arc;

    fn payloads(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Ok(Some((header, length))) = parse(bytes, Sender::Client) {
            let (payload, rest) = bytes[length..].split_at(usize::try_from(header.length).expect("small"));
            let mut payload = payload.to_vec();
            apply_mask(&mut payload, header.mask.expect("a client's"), 0);
            all.push(payload);
            bytes = rest;
        }
        assert!(bytes.is_empty(), "whole frames");
        all
    }

    #[test]
    fn no_frame_carries_a_key_in_any_chunking() {
        let key = make().expect("random bytes");
        let exit = Exit::new(&Arc::default(), Some(Arc::from(key.as_bytes())));
        let long = [vec![7; 70_000], key.as_bytes().to_vec(), vec![8; 300]].concat();
        let messages = [
            b"audio".to_vec(),
            key.as_bytes().to_vec(),
            Vec::new(),
            format!("a{key}{key}b").into_bytes(),
            key.as_bytes()[..20].to_vec(),
            long,
            b"end".to_vec(),
        ];
        let mut sent = Vec::new();
        for (message, mask) in
            messages.iter().zip([[0; 4], [1, 2, 3, 4], [9; 4], [5, 0, 5, 0], [4; 4], [3, 3, 1, 1], [2; 4]])
        {
            sent.extend_from_slice(&frame(Opcode::Binary, message, Some(mask)));
        }
        for size in [1, 2, 3, 7, 50, 4096, 16 * 1024, sent.len()] {
            let mut frames = FrameExit::new(exit.clone());
            let out: Vec<u8> = sent.chunks(size).flat_map(|piece| frames.pass(piece).into_owned()).collect();
            assert_eq!(out.len(), sent.len(), "{size}");
            for (came, went) in messages.iter().zip(payloads(&out)) {
                assert_eq!(came.len(), went.len());
                let starred = String::from_utf8_lossy(came).replace(&key, &"*".repeat(key.len()));
                // Of a key that arrives in pieces of a few bytes, the first pieces may have been sent.
                let apart = went.iter().zip(starred.as_bytes()).filter(|(went, wanted)| went != wanted).count();
                assert!(apart == 0 || size < 50 && apart <= 14, "{size}: {apart}");
                assert!(!String::from_utf8_lossy(&went).contains(&key[..8]) || came.len() == 20, "{size}");
            }
        }
        let mut frames = FrameExit::new(exit);
        let audio = frame(Opcode::Binary, &[5; 640], Some([1, 2, 3, 4]));
        assert!(matches!(frames.pass(&audio), Cow::Borrowed(_)), "what has no key is not copied");
    }
}
