//! The body of a provider's answer, streaming.

use super::failure::{self, Failure};
use super::link::Link;
use super::shared::Stream;
use super::upload::Upload;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What hyper says.
type Polled = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

/// The body of a provider's answer. Dropping it before its end cancels the call at once: an HTTP/1.1 connection is
/// closed, an HTTP/2 stream reset. So does dropping it while the request is still being sent.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    upload: Arc<Upload>,
    hold: Hold,
    /// Bytes that were taken since it last had to be waited for.
    taken: usize,
    ended: bool,
}

/// What a body holds of the connection it comes from.
#[derive(Debug)]
pub(super) enum Hold {
    /// The means to close it, and the number of this call on it.
    Http1(Arc<Link>, u64),
    /// A place on it. Kept to be dropped.
    Http2(#[expect(dead_code, reason = "held for its Drop")] Stream),
}

impl Body {
    pub(super) fn new(incoming: Incoming, upload: Arc<Upload>, hold: Hold) -> Body {
        Body { incoming, upload, hold, taken: 0, ended: false }
    }

    /// The next frame that has come, if one has.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut incoming = Pin::new(&mut self.incoming);
        let Hold::Http1(link, call) = &self.hold else { return incoming.poll_frame(cx) };
        if self.taken >= TURN {
            // Its next turn comes of itself: nothing was asked of the connection that could bring it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Nobody has to be woken for what is found here and now.
        let mut quiet = Context::from_waker(Waker::noop());
        // Behind a frame that has just been taken there is none yet.
        if self.taken == 0
            && let Poll::Ready(next) = link.quietly(|| incoming.as_mut().poll_frame(&mut quiet))
        {
            return Poll::Ready(next);
        }
        if link.call() == *call {
            // An upload has to go on even if nobody asks for more of the answer: that is for the connection's own task.
            if self.upload.is_ended() {
                link.attend(cx);
            } else {
                link.drive();
            }
            if let Poll::Ready(next) = link.quietly(|| incoming.as_mut().poll_frame(&mut quiet)) {
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
        match self.poll_incoming(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.taken += frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(failure::of_body(&error, &self.upload)))),
            Poll::Ready(None) => {
                self.ended = true;
                if let Hold::Http1(link, call) = &self.hold {
                    // The connection may have become free in a turn of ours, and has to be brought back.
                    link.leave(*call);
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.taken = 0;
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let complete = self.ended || self.incoming.is_end_stream();
        let finished = complete && self.upload.is_ended();
        if !finished {
            self.upload.abandon();
        }
        match &self.hold {
            Hold::Http1(link, call) if finished => link.leave(*call),
            Hold::Http1(link, call) => link.abandon(*call),
            Hold::Http2(_) => {}
        }
    }
}

/// Most bytes that are taken in one turn of a reader's; then whatever else is ready has its turn.
const TURN: usize = 64 * 1024;
