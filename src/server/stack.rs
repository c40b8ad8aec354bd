//! What stands between hyper and the proxy, from the outside in. Two layers, plain calls, nothing boxed:
//!
//! 1. `Reply` around the answer's body is outermost, because it follows what hyper really takes: it ends the exchange, and
//!    it shows whether hyper waits for the caller or for the provider.
//! 2. The guard against panics is inside it, so that a panic in the proxy becomes an answer like any other, with an envelope. A
//!    panic inside a body cuts the connection (HTTP/1) or resets the stream (HTTP/2): its head is out, and nothing can be said any more.
//!
//! Request ids, limits, deadlines and the log stand in the proxy, which knows the route.

use super::pulse::Exchange;
use crate::canon::Fault;
use crate::proxy::{Interim, Peer, Proxy};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Who answers requests: [`Proxy`], and scripts in tests.
pub trait Handler: Send + Sync + 'static {
    /// The body of answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send + Unpin> + Send + Unpin + 'static;

    /// Answers one request; there is always an answer. Interim answers go to `interim`, where that is possible.
    fn handle(
        &self,
        peer: &Arc<Peer>,
        interim: Option<Interim>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The answer when [`Handler::handle`] has panicked.
    fn panicked(&self) -> Response<Self::Body>;

    /// The answer to what never became a request: a whole HTTP/1.1 response that says that the connection ends.
    fn refusal(&self, client: Option<SocketAddr>, fault: Fault) -> Bytes;
}

impl Handler for Proxy {
    type Body = crate::proxy::Body;

    fn handle(
        &self,
        peer: &Arc<Peer>,
        interim: Option<Interim>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send {
        Proxy::handle(self, peer, interim, request)
    }

    fn panicked(&self) -> Response<Self::Body> {
        Proxy::panicked()
    }

    fn refusal(&self, client: Option<SocketAddr>, fault: Fault) -> Bytes {
        self.refuse(client, fault)
    }
}

/// Answers one request; the exchange ends with the answer's last byte.
#[expect(clippy::manual_async_fn, reason = "an async function has room for its arguments twice, and this is moved")]
pub(super) fn answer<H: Handler>(
    handler: Arc<H>,
    exchange: Exchange,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Reply<H::Body>>> + Send {
    async move {
        let version = request.version();
        exchange.set_body_unread(!request.body().is_end_stream());
        // To a caller that speaks HTTP/1.0 an interim answer would be the final one (RFC 9110 15.2).
        let outbox = exchange.outbox().filter(|_| version == Version::HTTP_11);
        let interim = match outbox {
            Some(outbox) => Some(poll_fn(|cx| Poll::Ready(outbox.open(cx.waker()))).await),
            None => None,
        };
        let response = {
            let mut handled = pin!(handler.handle(&peer, interim, request));
            // The future is not polled again after it has panicked, and the handler keeps nothing half-changed that others would see:
            // its shared state is made of atomics and of locks that a panic poisons.
            let caught = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| handled.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Some),
                Err(_panic) => Poll::Ready(None),
            });
            caught.await.unwrap_or_else(|| handler.panicked())
        };
        if let Some(outbox) = outbox {
            outbox.close().await;
        }
        // A caller that speaks HTTP/1.0 knows no chunks: without a length, the end of the connection is the end of the answer.
        let open_ended = version == Version::HTTP_10 && response.body().size_hint().exact().is_none();
        exchange.set_open_ended(open_ended);
        response.map(|body| Reply { body, exchange, failure: None })
    }
}

/// The body of an answer on its way into hyper.
#[derive(Debug)]
pub(super) struct Reply<B: Body> {
    body: B,
    exchange: Exchange,
    /// A failure that is told at the next turn.
    failure: Option<B::Error>,
}

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Body for Reply<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.exchange.asked();
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.exchange.handed_out(),
            Some(Err(_)) => {
                // hyper throws away what it has not sent when a body fails; one turn later it has sent all that went before.
                self.failure = frame.and_then(Result::err);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => self.exchange.set_open_ended(false),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let end = self.body.is_end_stream();
        if end {
            self.exchange.set_open_ended(false);
        }
        end
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
