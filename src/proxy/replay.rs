//! A request body that may have to be sent again: what has come of it is kept, within a bound, until it cannot be needed.
//!
//! Nothing is copied: what is kept are the very buffers that were sent. The rest still comes from the caller, so that a body
//! can be sent again at any point, also when none of it was read because no connection could be made.

use super::upload::{CallerFault, Intake, Progress, Upload};
use crate::canon::Fault;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Most bytes of a body that are kept. A larger one is sent once.
pub(crate) const MOST_KEPT: u64 = 256 * 1024;
/// Most pieces of it, since a caller may send single bytes.
const MOST_PIECES: usize = 8192;

/// A body, and what has come of it.
#[derive(Debug)]
pub(crate) struct Replay(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    intake: Intake,
    pieces: Vec<Piece>,
    /// Bytes in `pieces`.
    size: u64,
    /// It cannot be sent again: it was too large, the caller's side of it failed, or nobody wants it any more.
    spent: bool,
    /// Which sending of it may read on; those before it have ended.
    turn: u32,
}

/// One frame, as often as it is wanted.
#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

/// One sending of the body.
#[derive(Debug)]
pub(super) struct Turn {
    kept: Arc<Mutex<Kept>>,
    turn: u32,
    /// Which piece is next; past the last one, the caller is asked.
    next: usize,
}

impl Replay {
    /// Of a body that has not been sent; nothing of it is kept unless it may be sent `again`.
    pub(super) fn of(intake: Intake, again: bool) -> Replay {
        let spent = !again || intake.size_hint().lower() > MOST_KEPT;
        Replay(Arc::new(Mutex::new(Kept { intake, pieces: Vec::new(), size: 0, spent, turn: 0 })))
    }

    /// The body from its beginning. Whoever still sends it from before gets no more of it.
    pub(crate) fn again(&self) -> Upload {
        let mut kept = lock(&self.0);
        kept.turn += 1;
        kept.intake.resume();
        Upload::of_turn(Turn { kept: Arc::clone(&self.0), turn: kept.turn, next: 0 })
    }

    /// Whether it can be sent from its beginning.
    pub(crate) fn is_possible(&self) -> bool {
        !lock(&self.0).spent
    }

    /// It will not be sent again: nothing more is kept.
    pub(crate) fn settle(&self) {
        lock(&self.0).spent = true;
    }
}

impl Kept {
    /// Keeps a frame as long as all of it fits.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.spent {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.size += data.len() as u64;
            self.pieces.push(Piece::Data(data.clone()));
        } else if let Some(trailers) = frame.trailers_ref() {
            self.pieces.push(Piece::Trailers(Box::new(trailers.clone())));
        }
        self.spent = self.size > MOST_KEPT || self.pieces.len() > MOST_PIECES;
    }
}

impl Turn {
    /// What this is a turn of.
    pub(super) fn replay(self) -> Replay {
        Replay(self.kept)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallerFault>>> {
        let mut kept = lock(&self.kept);
        if kept.turn != self.turn {
            return Poll::Ready(Some(Err(CallerFault(Fault::CallerLeft))));
        }
        if let Some(piece) = kept.pieces.get(self.next).cloned() {
            self.next += 1;
            return Poll::Ready(Some(Ok(match piece {
                Piece::Data(data) => Frame::data(data),
                Piece::Trailers(trailers) => Frame::trailers(*trailers),
            })));
        }
        if kept.spent {
            kept.pieces = Vec::new();
        }
        let polled = Pin::new(&mut kept.intake).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                kept.keep(frame);
                self.next += 1;
            }
            Poll::Ready(Some(Err(_))) => kept.spent = true,
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        lock(&self.kept).intake.progress()
    }

    pub(super) fn is_end(&self) -> bool {
        let kept = lock(&self.kept);
        kept.turn == self.turn && self.next >= kept.pieces.len() && kept.intake.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let kept = lock(&self.kept);
        let rest = kept.intake.size_hint();
        let again: u64 = kept.pieces.iter().skip(self.next).map(Piece::len).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + again);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + again);
        }
        hint
    }
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Data(data) => data.len() as u64,
            Piece::Trailers(_) => 0,
        }
    }
}

/// Nothing behind this lock is left half-changed by a panic.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
