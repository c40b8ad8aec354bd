//! Response bodies on their way to the client.

use super::cut::Cut;
use super::events::Events;
use super::grpc::Messages;
use crate::canon::Fault;
use crate::config::types::Timeouts;
use crate::proxy::context::RoutedContext;
use crate::proxy::errors;
use crate::proxy::idle::Idle;
use crate::upstream;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A response body. Not boxed: one type for the few kinds there are.
#[derive(Debug)]
pub enum Body {
    /// No body.
    Empty,
    /// A complete body: an error, or a success that was inspected.
    Full(Full),
    /// A provider's body, frame by frame.
    Relay(Box<Relay>),
    /// A provider's stream of events or lines.
    Events(Box<Events>),
    /// A provider's gRPC messages.
    Messages(Box<Messages>),
}

/// A complete body, and the call that ends with it.
#[derive(Debug)]
pub struct Full {
    bytes: Option<Bytes>,
    call: Option<Box<RoutedContext>>,
}

/// A provider's body, frame by frame, with its idle timeout and the call that ends with it.
#[derive(Debug)]
pub struct Relay {
    source: upstream::Body,
    /// Frames that were awaited before the head was sent.
    first: Option<Frame<Bytes>>,
    held: VecDeque<Frame<Bytes>>,
    idle: Idle,
    call: Box<RoutedContext>,
    ended: bool,
}

impl Body {
    /// A complete body.
    pub(crate) fn full(bytes: Bytes, call: Option<Box<RoutedContext>>) -> Body {
        Body::Full(Full { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), call })
    }

    /// A provider's body.
    pub(crate) fn relay(
        source: upstream::Body,
        first: Option<Frame<Bytes>>,
        held: VecDeque<Frame<Bytes>>,
        timeouts: &Timeouts,
        call: Box<RoutedContext>,
    ) -> Body {
        Body::Relay(Box::new(Relay {
            source,
            first,
            held,
            idle: Idle::until(timeouts.idle, call.end),
            call,
            ended: false,
        }))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Full(full) => Poll::Ready(full.next().map(Ok)),
            Body::Relay(relay) => relay.poll(cx),
            Body::Events(events) => events.poll(cx),
            Body::Messages(messages) => messages.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(full) => full.bytes.is_none(),
            Body::Relay(relay) => relay.is_end(),
            Body::Events(events) => events.is_over(),
            Body::Messages(messages) => messages.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(full) => SizeHint::with_exact(full.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Relay(relay) => relay.size_hint(),
            Body::Events(_) | Body::Messages(_) => SizeHint::default(),
        }
    }
}

impl Full {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        let bytes = self.bytes.take()?;
        if let Some(call) = &mut self.call {
            call.sent(bytes.len());
            call.complete();
        }
        Some(Frame::data(bytes))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        // A response without a body (HEAD, 204) is complete with its head.
        if let (None, Some(call)) = (&self.bytes, &mut self.call) {
            call.complete();
        }
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(frame) = self.first.take().or_else(|| self.held.pop_front()) {
            return Poll::Ready(Some(Ok(self.passed(frame))));
        }
        match http_body::Body::poll_frame(Pin::new(&mut self.source), cx) {
            Poll::Ready(Some(Ok(_))) if self.idle.is_over() => {
                let late = self.idle.failure();
                Poll::Ready(Some(Err(self.cut(&late))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.idle.moved();
                let frame = self.passed(frame);
                if let Some(followed) = &mut self.call.followed
                    && let Poll::Ready(silent) = followed.poll_stale(cx)
                {
                    return Poll::Ready(Some(Err(self.cut(&upstream::Failure::of(silent.fault())))));
                }
                if let Some(revoked) = self.call.look_at_key() {
                    return Poll::Ready(Some(Err(self.cut(&revoked))));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(failure))) => Poll::Ready(Some(Err(self.cut(&failure)))),
            Poll::Ready(None) if self.call.followed.as_mut().is_some_and(|followed| followed.is_empty()) => {
                Poll::Ready(Some(Err(self.cut(&upstream::Failure::of(Fault::NoAudio)))))
            }
            Poll::Ready(None) => {
                self.ended = true;
                self.call.complete();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Some(followed) = &mut self.call.followed
                    && let Poll::Ready(silent) = followed.poll_silent(cx)
                {
                    return Poll::Ready(Some(Err(self.cut(&upstream::Failure::of(silent.fault())))));
                }
                if let Some(revoked) = self.call.watch_key(cx) {
                    return Poll::Ready(Some(Err(self.cut(&revoked))));
                }
                self.idle.moved_at(self.source.last_sent());
                if self.idle.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let late = self.idle.failure();
                Poll::Ready(Some(Err(self.cut(&late))))
            }
        }
    }

    fn is_end(&self) -> bool {
        self.first.is_none() && self.held.is_empty() && self.source.is_end_stream()
    }

    fn passed(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(data) = frame.data_ref() {
            if let Some(followed) = &mut self.call.followed {
                followed.passes(data);
            }
            self.call.sent(data.len());
        } else if let Some(trailers) = frame.trailers_mut() {
            self.call.prepare_trailers(trailers);
        }
        frame
    }

    fn cut(&mut self, failure: &upstream::Failure) -> Cut {
        self.ended = true;
        let fault = errors::broken_off(&mut self.call, failure);
        Cut(fault)
    }

    fn size_hint(&self) -> SizeHint {
        let held: u64 =
            self.first.iter().chain(&self.held).filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let rest = self.source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // hyper does not poll again after the last byte of a body of known length.
        if !self.ended && self.is_end() {
            self.call.complete();
        }
    }
}
