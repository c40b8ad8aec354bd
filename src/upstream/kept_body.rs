//! A request body that can be sent once more, when an HTTP/2 provider says that it has not processed the request.
//!
//! Nothing is copied: what is kept are the buffers that were sent. The rest still comes from the client.

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// One sending of the body. Only the last one that was begun may read on.
#[derive(Debug)]
pub(super) struct KeptBody<B> {
    shared: Arc<Mutex<Shared<B>>>,
    /// Which of `pieces` is next.
    next: usize,
}

#[derive(Debug)]
struct Shared<B> {
    inner: B,
    /// What `inner` has given so far.
    pieces: Vec<Piece>,
    /// Bytes in `pieces`.
    size: usize,
    /// Pieces are missing, because the body was larger than what is kept, or has failed.
    incomplete: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl<B: Body<Data = Bytes> + Unpin> KeptBody<B> {
    pub(super) fn new(inner: B) -> KeptBody<B> {
        let incomplete = inner.size_hint().lower() > MOST_KEPT as u64;
        let shared = Shared { inner, pieces: Vec::new(), size: 0, incomplete };
        KeptBody { shared: Arc::new(Mutex::new(shared)), next: 0 }
    }

    /// The body from its beginning, if all of it that was sent is there.
    pub(super) fn again(&self) -> Option<KeptBody<B>> {
        let incomplete = self.lock().incomplete;
        (!incomplete).then(|| KeptBody { shared: Arc::clone(&self.shared), next: 0 })
    }

    /// Whether it can still be sent from its beginning.
    pub(super) fn is_complete(&self) -> bool {
        !self.lock().incomplete
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = shared.pieces.get(self.next).cloned() {
            self.next += 1;
            return Poll::Ready(Some(Ok(match piece {
                Piece::Data(data) => Frame::data(data),
                Piece::Trailers(trailers) => Frame::trailers(trailers),
            })));
        }
        let polled = Pin::new(&mut shared.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                shared.keep(frame);
                self.next = shared.pieces.len();
            }
            Poll::Ready(Some(Err(_))) => shared.forget(),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let shared = self.lock();
        self.next >= shared.pieces.len() && shared.inner.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let shared = self.lock();
        let kept: u64 = shared.pieces.iter().skip(self.next).map(Piece::len).sum();
        let rest = shared.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + kept);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + kept);
        }
        hint
    }

    fn lock(&self) -> MutexGuard<'_, Shared<B>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Shared<B> {
    /// Keeps a frame, as long as all of them fit.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.incomplete {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.size += data.len();
            self.pieces.push(Piece::Data(data.clone()));
        } else if let Some(trailers) = frame.trailers_ref() {
            self.pieces.push(Piece::Trailers(trailers.clone()));
        }
        if self.size > MOST_KEPT || self.pieces.len() > MOST_PIECES {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.incomplete = true;
        self.pieces = Vec::new();
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

/// Most bytes of a body that are kept; a larger one is sent once. Texts and short clips fit.
const MOST_KEPT: usize = 256 * 1024;
/// Most frames of it, because a client may send single bytes.
const MOST_PIECES: usize = 4096;
