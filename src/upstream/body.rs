//! The body of a provider's answer, streaming.

use super::failure::{self, Failure};
use super::http1::Http1Connection;
use super::http2::StreamPermit;
use super::message;
use super::send_progress::SendProgress;
use crate::canon::{Fault, grpc};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// What hyper's body gives.
type Polled = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

/// The body of a provider's answer. Dropping it before its end cancels the call at once: an HTTP/1.1 connection is
/// closed, an HTTP/2 stream is reset. The same happens when it is dropped while the request is still being sent.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    sending: Arc<SendProgress>,
    lifeline: Lifeline,
    /// Bytes that were read since the reader last had to wait.
    read: usize,
    ended: bool,
    /// What was looked at and is still to be read.
    unread: Option<Box<Frame<Bytes>>>,
}

/// What a body keeps of the connection that it comes from.
#[derive(Debug)]
pub(super) enum Lifeline {
    /// The connection, to poll and to close it, and the number of this call on it.
    Http1(Arc<Http1Connection>, u64),
    /// A stream of the connection, counted until this is dropped.
    Http2(StreamPermit),
}

impl Body {
    pub(super) fn new(incoming: Incoming, sending: Arc<SendProgress>, lifeline: Lifeline) -> Body {
        Body { incoming, sending, lifeline, read: 0, ended: false, unread: None }
    }

    /// When the request body last moved: now, while it is the client that keeps the provider waiting. A provider that answers
    /// at once and then waits for the rest of the upload is not silent before that moment.
    #[must_use]
    pub fn last_sent(&self) -> Instant {
        self.sending.last_moved()
    }

    /// Has the frame read again that was read last.
    pub fn put_back(&mut self, frame: Frame<Bytes>) {
        self.unread = Some(Box::new(frame));
    }

    /// Whether these are trailers of HTTP/2 that are too large. HTTP/1 takes no such ones to begin with. A call of gRPC that failed says
    /// so, however much stands beside it.
    fn is_too_large(&self, frame: &Frame<Bytes>) -> bool {
        let large =
            |fields: &HeaderMap| message::is_too_large(fields) && grpc::number(fields).is_none_or(|number| number == 0);
        matches!(self.lifeline, Lifeline::Http2(_)) && frame.trailers_ref().is_some_and(large)
    }

    /// The next frame that has come, if one has.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut incoming = Pin::new(&mut self.incoming);
        let Lifeline::Http1(connection, call) = &self.lifeline else { return incoming.poll_frame(cx) };
        if self.read >= READ_BUDGET {
            // The connection was not asked for more and will not wake this task, so it wakes itself.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // What is ready now needs no waker.
        let mut no_waker = Context::from_waker(Waker::noop());
        // hyper holds one frame at a time, so none is left behind a frame that was just read.
        if self.read == 0
            && let Poll::Ready(next) = connection.defer_wakes(|| incoming.as_mut().poll_frame(&mut no_waker))
        {
            return Poll::Ready(next);
        }
        if connection.call() == *call {
            // An upload has to go on even while nobody reads the answer, so the connection's own task keeps being woken.
            if self.sending.is_ended() {
                connection.poll_for(cx);
            } else {
                connection.poll_by_reader();
            }
            if let Poll::Ready(next) = connection.defer_wakes(|| incoming.as_mut().poll_frame(&mut no_waker)) {
                return Poll::Ready(next);
            }
        }
        incoming.poll_frame(cx)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(frame) = self.unread.take() {
            return Poll::Ready(Some(Ok(*frame)));
        }
        match self.poll_incoming(cx) {
            Poll::Ready(Some(Ok(frame))) if self.is_too_large(&frame) => {
                Poll::Ready(Some(Err(Failure::new(Fault::ResponseTrailersTooLarge, "the trailers are too large"))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.read += frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(failure::of_body(&error, &self.sending)))),
            // hyper takes a reset with NO_ERROR, of the stream or of the connection, for the end of the body, whether the
            // provider had sent END_STREAM or not. Only that flag says that the answer is complete (RFC 9113 8.1).
            Poll::Ready(None) if matches!(self.lifeline, Lifeline::Http2(_)) && !self.incoming.is_end_stream() => {
                Poll::Ready(Some(Err(failure::of_cut_stream(&self.sending))))
            }
            Poll::Ready(None) => {
                self.ended = true;
                if let Lifeline::Http1(connection, call) = &self.lifeline {
                    // The connection may have become free while this task polled it; its own task returns it to the pool.
                    connection.release(*call);
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.read = 0;
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unread.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let complete = self.ended || self.unread.is_none() && self.incoming.is_end_stream();
        let finished = complete && self.sending.is_ended();
        if !finished {
            self.sending.abandon();
        }
        match &mut self.lifeline {
            Lifeline::Http2(stream) if finished => stream.complete(),
            Lifeline::Http1(connection, call) if finished => connection.release(*call),
            Lifeline::Http1(connection, call) => connection.abandon(*call),
            Lifeline::Http2(_) => {}
        }
    }
}

/// Most bytes that a reader takes before it yields to other tasks that are ready.
const READ_BUDGET: usize = 64 * 1024;
