//! A request body that may have to be sent again: what has come of it is kept, within a bound, until it cannot be needed.
//!
//! Nothing is copied: what is kept are the very buffers that were sent. The rest still comes from the client, so that a body
//! can be sent again at any point, also when none of it was read because no connection could be made.

use super::{BodyProgress, ClientBody, ClientFault, RequestBody};
use crate::canon::Fault;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

type Shared = Arc<Mutex<Buffer>>;

/// Most bytes of a body that are kept. A larger one is sent once.
pub(crate) const MOST_KEPT: u64 = 256 * 1024;
/// Most pieces of it, since a client may send single bytes.
const MOST_PIECES: usize = 8192;

/// A body, and what has come of it.
#[derive(Debug)]
pub(crate) struct ReplayBuffer(Shared);

#[derive(Debug)]
struct Buffer {
    client: ClientBody,
    pieces: Vec<Piece>,
    /// Bytes in `pieces`.
    size: u64,
    /// It cannot be sent again: it was too large, the client's side of it failed, or nobody wants it any more.
    spent: bool,
    /// Something of it has been read for a sending.
    begun: bool,
    /// Which sending of it may read on; those before it have ended.
    sending: u32,
}

/// One frame, as often as it is wanted.
#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

/// One sending of the body.
#[derive(Debug)]
pub(super) struct ReplayBody {
    buffer: Shared,
    sending: u32,
    /// Which piece is next; past the last one, the client is asked.
    next: usize,
}

impl ReplayBuffer {
    /// Of a body that has not been sent; nothing of it is kept unless it may be sent `again`.
    pub(super) fn of(client: ClientBody, again: bool) -> ReplayBuffer {
        let spent = !again || client.size_hint().lower() > MOST_KEPT;
        ReplayBuffer(Arc::new(Mutex::new(Buffer {
            client,
            pieces: Vec::new(),
            size: 0,
            spent,
            begun: false,
            sending: 0,
        })))
    }

    /// The body from its beginning. Whoever still sends it from before gets no more of it.
    pub(crate) fn again(&self) -> RequestBody {
        let mut buffer = lock(&self.0);
        buffer.sending += 1;
        buffer.client.resume();
        RequestBody::of_replay(ReplayBody { buffer: Arc::clone(&self.0), sending: buffer.sending, next: 0 })
    }

    /// Whether it can be sent from its beginning: as long as all of it that was read is kept.
    pub(crate) fn is_possible(&self) -> bool {
        let buffer = lock(&self.0);
        !buffer.spent || !buffer.begun
    }

    /// It will not be sent again: nothing more is kept.
    pub(crate) fn settle(&self) {
        lock(&self.0).spent = true;
    }
}

impl Buffer {
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

impl ReplayBody {
    /// What this is one sending of.
    pub(super) fn replay(self) -> ReplayBuffer {
        ReplayBuffer(self.buffer)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        let mut buffer = lock(&self.buffer);
        if buffer.sending != self.sending {
            return Poll::Ready(Some(Err(ClientFault(Fault::ClientLeft))));
        }
        if let Some(piece) = buffer.pieces.get(self.next).cloned() {
            self.next += 1;
            return Poll::Ready(Some(Ok(match piece {
                Piece::Data(data) => Frame::data(data),
                Piece::Trailers(trailers) => Frame::trailers(*trailers),
            })));
        }
        if buffer.spent {
            buffer.pieces = Vec::new();
        }
        let polled = Pin::new(&mut buffer.client).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                buffer.begun = true;
                buffer.keep(frame);
                self.next += 1;
            }
            Poll::Ready(Some(Err(_))) => (buffer.spent, buffer.begun) = (true, true),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    pub(super) fn progress(&self) -> Arc<BodyProgress> {
        lock(&self.buffer).client.progress()
    }

    pub(super) fn is_end(&self) -> bool {
        let buffer = lock(&self.buffer);
        buffer.sending == self.sending && self.next >= buffer.pieces.len() && buffer.client.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let buffer = lock(&self.buffer);
        let rest = buffer.client.size_hint();
        let again: u64 = buffer.pieces.iter().skip(self.next).map(Piece::len).sum();
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
fn lock(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}
