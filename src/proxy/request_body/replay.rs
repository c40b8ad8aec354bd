//! A request body that may have to be sent again: what has arrived is buffered, within a bound, until it can no longer be needed.
//!
//! Nothing is copied: the buffers themselves are kept. The rest still comes from the client, so that a body can be sent again at
//! any point, also when none of it was read because there was no connection.

use super::{BodyProgress, ClientBody, ClientFault, RequestBody};
use crate::canon::Fault;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

type Shared = Arc<Mutex<Buffer>>;

/// Most bytes of a body that are buffered. A larger one is sent once.
pub(crate) const MOST_KEPT: u64 = 256 * 1024;
/// Most pieces that are buffered, since a client may send single bytes.
const MOST_PIECES: usize = 8192;

/// A body, and the part of it that has arrived.
#[derive(Debug)]
pub(crate) struct ReplayBuffer(Shared);

#[derive(Debug)]
struct Buffer {
    client: ClientBody,
    pieces: Vec<Piece>,
    /// Total bytes in `pieces`.
    size: u64,
    /// It cannot be sent again: it was too large, it failed on the client's side, or it was settled.
    spent: bool,
    /// Whether any of it has been read for a sending.
    begun: bool,
    /// The sending that may read on; earlier ones have ended.
    sending: u32,
}

/// A buffered frame.
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
    /// The index of the next piece; after the last one, the body reads from the client.
    next: usize,
}

impl ReplayBuffer {
    /// Of an unsent body; nothing is buffered unless it may be sent `again`.
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

    /// The body from its beginning. A sending in progress gets no more of it.
    pub(crate) fn again(&self) -> RequestBody {
        let mut buffer = lock(&self.0);
        buffer.sending += 1;
        buffer.client.resume();
        RequestBody::of_replay(ReplayBody { buffer: Arc::clone(&self.0), sending: buffer.sending, next: 0 })
    }

    /// Whether it can be sent from its beginning, because everything that was read is buffered.
    pub(crate) fn is_possible(&self) -> bool {
        let buffer = lock(&self.0);
        !buffer.spent || !buffer.begun
    }

    /// It will not be sent again: the buffer is dropped.
    pub(crate) fn settle(&self) {
        lock(&self.0).spent = true;
    }
}

impl Buffer {
    /// Buffers a frame, if the body still fits.
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
    /// The replay buffer of this sending.
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

/// No panic can leave the state behind this lock half-changed.
fn lock(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}
