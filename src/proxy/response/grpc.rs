//! The messages of a gRPC call, which pass unchanged, and its trailers, which are checked for an error.

use super::cut::Cut;
use crate::canon::{Evidence, Fault, Observed, grpc};
use crate::config::types::Timeouts;
use crate::proxy::context::RoutedContext;
use crate::proxy::errors::{self, Finding};
use crate::proxy::forward;
use crate::proxy::idle::Idle;
use crate::upstream::{self, Failure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as _, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

/// A provider's messages, and the trailers after them.
#[derive(Debug)]
pub struct Messages {
    source: upstream::Body,
    idle: Idle,
    call: Box<RoutedContext>,
    ended: bool,
}

impl Messages {
    pub(super) fn new(source: upstream::Body, timeouts: &Timeouts, call: Box<RoutedContext>) -> Messages {
        Messages { source, idle: Idle::until(timeouts.idle, call.end), call, ended: false }
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut self.source).poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) if self.idle.is_over() => self.failed(self.idle.failure()),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(_) if let Some(ended) = self.call.look_at_end() => self.failed(ended),
                Ok(data) => {
                    self.idle.moved();
                    if let Some(followed) = &mut self.call.followed {
                        followed.passes(&data);
                    }
                    self.call.sent(data.len());
                    Frame::data(data)
                }
                Err(frame) => self.end(frame.into_trailers().unwrap_or_default()),
            },
            Poll::Ready(Some(Err(failure))) => self.failed(failure),
            Poll::Ready(None) => self.end(HeaderMap::new()),
            Poll::Pending => {
                if let Some(ended) = self.call.watch_end(cx) {
                    return Poll::Ready(Some(Ok(self.failed(ended))));
                }
                if let Some(followed) = &mut self.call.followed
                    && let Poll::Ready(silent) = followed.poll_silent(cx)
                {
                    return Poll::Ready(Some(Ok(self.failed(Failure::of(silent.fault())))));
                }
                self.idle.moved_at(self.source.last_sent());
                if self.idle.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.failed(self.idle.failure())
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    /// The provider's stream broke. The client's stream has not, so that the trailers can say why.
    fn failed(&mut self, failure: Failure) -> Frame<Bytes> {
        forward::call_broke(&self.call, &failure);
        let finding = Finding::failure(self.call.phase, failure);
        self.report(finding)
    }

    /// The provider ended the call.
    fn end(&mut self, mut trailers: HeaderMap) -> Frame<Bytes> {
        let number = grpc::number(&trailers);
        forward::call_ended(&self.call, number);
        if number == Some(0) {
            self.call.prepare_trailers(&mut trailers);
            // The status is sent once, however often the provider repeated it.
            let _ = trailers.insert(grpc::STATUS, HeaderValue::from_static("0"));
            self.call.grpc_status = Some(0);
            return self.ended(trailers);
        }
        // A copy for the error, made before the provider's request id is replaced by ours.
        let mut said = trailers.clone();
        self.call.clean_head(StatusCode::OK, &mut said);
        self.call.prepare_trailers(&mut trailers);
        let Some(status) = errors::read_status(&self.call, &mut trailers) else {
            let finding = Finding::fault(self.call.phase, Fault::NotGrpc).with_headers(trailers);
            return self.report(finding);
        };
        let seen = Observed::grpc(&status, &said, SystemTime::now());
        let evidence = Evidence::new(&seen);
        let finding = Finding::of(self.call.phase, errors::meaning(&self.call, &evidence));
        self.report(finding.said(Some(&evidence)).with_headers(trailers))
    }

    fn report(&mut self, finding: Finding<'_>) -> Frame<Bytes> {
        let rendered = errors::report(&mut self.call, finding);
        self.ended(rendered.headers)
    }

    fn ended(&mut self, trailers: HeaderMap) -> Frame<Bytes> {
        self.ended = true;
        self.call.sent(0);
        self.call.complete();
        Frame::trailers(trailers)
    }
}
