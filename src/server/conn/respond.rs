//! The layers between hyper and the proxy, from the outside in. Two layers, plain calls, nothing boxed:
//!
//! 1. `Reply` around the response's body is outermost, because it tracks what hyper really takes: it ends the exchange, and
//!    shows whether hyper waits for the client or for the provider.
//! 2. The panic guard is inside it, so that a panic in the proxy becomes a response like any other, with an envelope. A panic
//!    inside a body cuts the connection (HTTP/1) or resets the stream (HTTP/2), because the head has been sent.
//!
//! Request ids, limits, deadlines and the access log belong to the proxy, which knows the route.

use super::super::handler::Handler;
use super::exchange::{Exchange, Part};
use crate::proxy::Peer;
use crate::wire;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Answers one request; the exchange ends with the response's last byte.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function has room for its arguments twice: 2,672 bytes for each request, not 2,560 (tests/sizes.rs)"
)]
pub(super) fn respond<H: Handler>(
    handler: Arc<H>,
    exchange: Exchange,
    peer: Arc<Peer>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Response<Reply<H::Body>>> + Send {
    async move {
        let version = request.version();
        if request.headers().contains_key(header::TRANSFER_ENCODING) && exchange.is_framed_twice() {
            // Restored, so that the request is refused for having both fields.
            let _ = request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        exchange.set_body_unread(!request.body().is_end_stream());
        // To a client that speaks HTTP/1.0 an informational response would be the final one (RFC 9110 15.2).
        let outbox = exchange.outbox().filter(|_| version == Version::HTTP_11);
        let informational = match outbox {
            Some(outbox) => Some(poll_fn(|cx| Poll::Ready(outbox.open(cx.waker()))).await),
            None => None,
        };
        let grpc = version == Version::HTTP_2 && wire::grpc::is_grpc(request.headers());
        let response = {
            let mut handled = pin!(handler.handle(&peer, informational, request));
            // The future is not polled again after a panic. The handler's shared state consists of atomics and of locks that a
            // panic poisons, so nothing half-changed remains visible.
            let caught = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| handled.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Some),
                Err(_panic) => Poll::Ready(None),
            });
            caught.await.unwrap_or_else(|| handler.panicked(grpc))
        };
        if let Some(outbox) = outbox {
            outbox.close().await;
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            exchange.upgraded();
        }
        // HTTP/1.0 has no chunked coding: without a length, the end of the connection is the end of the response.
        let open_ended = version == Version::HTTP_10 && response.body().size_hint().exact().is_none();
        exchange.set_open_ended(open_ended);
        response.map(|body| Reply { body, exchange, failure: None })
    }
}

/// The body of a response, on its way into hyper.
#[derive(Debug)]
pub(super) struct Reply<B: Body> {
    body: B,
    exchange: Exchange,
    /// A failure that is reported once everything before it has been sent.
    failure: Option<B::Error>,
}

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Body for Reply<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.failure.is_some() {
            ready!(self.exchange.poll_sent(cx));
            return Poll::Ready(self.failure.take().map(Err));
        }
        self.exchange.asked();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.exchange.handed_out();
                // hyper does not poll again after these.
                if frame.is_trailers() {
                    self.exchange.ended();
                }
            }
            Some(Err(_)) => {
                // hyper discards what it has not sent when a body fails, however slowly the client reads. So the failure waits
                // until everything has been sent, and for at least one poll, in which the head goes out.
                self.failure = frame.and_then(Result::err);
                self.exchange.failed();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => self.exchange.ended(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let end = self.body.is_end_stream();
        if end {
            self.exchange.ended();
        }
        end
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The same on HTTP/2, where each part is tracked until the client has taken it.
pub(super) struct StreamReply<B: Body>(pub(super) Reply<B>);

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Body for StreamReply<B> {
    type Data = Part;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Part>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.0.exchange.part(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
