//! Splits a stream into its pieces, whatever its framing. The relay and `speechgate explain` share it.

use super::{Framing, LIMIT};
use crate::wire::{Piece, Seam, Verdict, event_stream, ndjson, sse};
use bytes::Bytes;
use std::collections::VecDeque;

/// The splitter of one stream. Pieces larger than [`LIMIT`] bytes come in parts.
#[derive(Debug)]
pub enum Splitter {
    /// Of Server-Sent Events.
    Sse(sse::Splitter),
    /// Of lines.
    Ndjson(ndjson::Splitter),
    /// Of AWS messages.
    EventStream(event_stream::Splitter),
}

/// Calls a method of the framing's own splitter. A macro, because each of the three is a type of its own and the methods take
/// closures.
macro_rules! own {
    ($self:expr, $splitter:ident => $call:expr) => {
        match $self {
            Splitter::Sse($splitter) => $call,
            Splitter::Ndjson($splitter) => $call,
            Splitter::EventStream($splitter) => $call,
        }
    };
}

impl Splitter {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new(framing: Framing) -> Splitter {
        match framing {
            Framing::Sse => Splitter::Sse(sse::Splitter::new(LIMIT)),
            Framing::Ndjson => Splitter::Ndjson(ndjson::Splitter::new(LIMIT)),
            Framing::EventStream => Splitter::EventStream(event_stream::Splitter::new(LIMIT)),
        }
    }

    /// Passes the whole units at the beginning of a chunk to `out` if they are `clean`. Returns how many bytes that were; the rest
    /// is for [`Splitter::feed_pieces`].
    pub fn skim(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>, clean: impl FnOnce(&[u8]) -> bool) -> usize {
        own!(self, splitter => splitter.skim(chunk, out, clean))
    }

    /// Takes the next chunk, asks `judge` about each piece, and appends to `out` what is to be sent.
    pub fn feed_pieces(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>, judge: impl FnMut(Piece<'_>) -> Verdict) {
        own!(self, splitter => splitter.feed_pieces(chunk, out, judge));
    }

    /// The incomplete unit at the end of the stream; none when a verdict has ended the stream.
    #[must_use]
    pub fn finish(&mut self) -> Option<Bytes> {
        own!(self, splitter => splitter.finish())
    }

    /// How much of the current unit has been sent.
    #[must_use]
    pub fn seam(&self) -> Seam {
        own!(self, splitter => splitter.seam())
    }

    /// The number of units that were too large to be examined.
    #[must_use]
    pub fn oversized(&self) -> u64 {
        own!(self, splitter => splitter.oversized())
    }
}
