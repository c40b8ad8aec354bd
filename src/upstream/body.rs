//! The body of a provider's answer, streaming.

use super::failure::{self, Failure};
use super::pool::Signal;
use super::shared::Stream;
use super::upload::Upload;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The body of a provider's answer. Dropping it before its end cancels the call at once: an HTTP/1.1 connection is
/// closed, an HTTP/2 stream reset. So does dropping it while the request is still being sent.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    upload: Arc<Upload>,
    hold: Hold,
    ended: bool,
}

/// What a body holds of the connection it comes from.
#[derive(Debug)]
pub(super) enum Hold {
    /// The means to close it, and the number of this call on it.
    Http1(Arc<Signal>, u64),
    /// A place on it. Kept to be dropped.
    Http2(#[expect(dead_code, reason = "held for its Drop")] Stream),
}

impl Body {
    pub(super) fn new(incoming: Incoming, upload: Arc<Upload>, hold: Hold) -> Body {
        Body { incoming, upload, hold, ended: false }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        polled.map(|next| match next {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => Some(Err(failure::of_body(&error, &self.upload))),
            None => {
                self.ended = true;
                None
            }
        })
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
        let complete = self.ended || http_body::Body::is_end_stream(&self.incoming);
        if complete && self.upload.is_ended() {
            return;
        }
        self.upload.abandon();
        if let Hold::Http1(signal, call) = &self.hold {
            signal.abandon(*call);
        }
    }
}
