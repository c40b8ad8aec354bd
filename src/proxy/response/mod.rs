//! A provider's answer on its way to the caller: a success streams, a failure is read within bounds and worded anew.

mod body;
mod events;
mod inspect;

pub use body::{Body, Cut};
pub use events::Events;

use super::attempt::Answer;
use super::context::Call;
use super::idle::Idle;
use super::{RouteRuntime, errors, headers};
use crate::canon::{CanonicalError, Fault};
use crate::config::types::{Envelope, Timeouts};
use crate::upstream::{self, Capped, Failure, Limits};
use bytes::Bytes;
use events::Framing;
use http::{HeaderMap, Method, Response, StatusCode, header, response};
use http_body::{Body as _, Frame};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Answers a call with what the provider answered.
pub(crate) async fn relay(mut call: Box<Call>, answer: Answer) -> Response<Body> {
    let Answer { exchange, mut first } = answer;
    call.reconnected |= exchange.facts.retried;
    let (mut parts, mut body) = exchange.response.into_parts();
    let Some(route) = call.route.clone() else { return errors::fault(call, Fault::Panic) };
    call.upstream_status = Some(parts.status.as_u16());
    if parts.status.as_u16() >= 400 {
        // Boxed like all that a success does not need.
        let read = Box::pin(read_failure(&call, &parts, body)).await;
        return refusal(call, parts, &read, None);
    }
    // What the provider said of itself, before its request id makes room for ours.
    let said = inspect::concerns(&call, &route, &parts).then(|| parts.headers.clone());
    if let Err(fault) = prepare(&call, &route, &mut parts) {
        return errors::fault(call, fault);
    }
    call.tell_attempts(&mut parts.headers);
    call.answers(parts.status.as_u16());
    if has_no_body(&call.method, parts.status) || first.is_none() && body.is_end_stream() {
        return Response::from_parts(parts, Body::full(Vec::new(), Some(call)));
    }
    if let Some(framing) = framing(&call, &route, &parts.headers) {
        let events = Events::new(framing, body, &mut parts.headers, call);
        return Response::from_parts(parts, Body::Events(Box::new(events)));
    }
    if let Some(said) = said {
        return Box::pin(inspect::relay(call, &route, inspect::Head { parts, said }, first, body)).await;
    }
    let timeouts = &route.route.timeouts;
    // The first bytes are waited for while an error can still be worded. A caller that is still sending may wait for the head
    // before it goes on.
    if first.is_none() && call.upload_ended() {
        match next_frame(&mut body, timeouts).await {
            Ok(frame) => first = frame,
            Err(failure) => return errors::failure(call, failure),
        }
    }
    Response::from_parts(parts, Body::relay(body, first, VecDeque::new(), timeouts, call))
}

/// Turns the head of an answer into the one for the caller.
fn prepare(call: &Call, route: &RouteRuntime, parts: &mut response::Parts) -> Result<(), Fault> {
    let answer = headers::Incoming {
        version: parts.version,
        route: &route.headers,
        upstream: call.way.upstream,
        request_id: &call.id,
        public: call.public_address(),
    };
    headers::prepare_response(&mut parts.headers, &answer)?;
    // The version is this hop's own (RFC 9112 2.3): 1.0 would cost the caller the framing that shows a cut.
    parts.version = http::Version::HTTP_11;
    Ok(())
}

/// Reads the body of a failure within bounds, and takes out of it what must not be shown.
pub(crate) async fn read_failure(call: &Call, parts: &response::Parts, body: upstream::Body) -> Capped {
    if call.method == Method::HEAD {
        return Capped::default();
    }
    let encoding = parts.headers.get(header::CONTENT_ENCODING);
    let read = upstream::read_capped(body, encoding, Limits::default()).await;
    Capped { bytes: call.redacted(read.bytes), ..read }
}

/// A failure that has been read, worded anew; `known` is what it means, where that was asked before.
pub(crate) fn refusal(
    mut call: Box<Call>,
    mut parts: response::Parts,
    read: &Capped,
    known: Option<Box<CanonicalError>>,
) -> Response<Body> {
    let Some(route) = call.route.clone() else { return errors::fault(call, Fault::Panic) };
    call.upstream_status = Some(parts.status.as_u16());
    let status = parts.status;
    let error =
        known.unwrap_or_else(|| Box::new(errors::classify(&call, &errors::Answer::of(status, &parts.headers, read))));
    // Most errors say all that there is to know. For the others what the provider said is kept, while its headers become those
    // for the caller.
    let again = error.unmapped || route.route.envelope == Envelope::Compatible;
    let said = again.then(|| parts.headers.clone());
    if let Err(fault) = prepare(&call, &route, &mut parts) {
        return errors::fault(call, fault);
    }
    let said = said.as_ref().map(|said| errors::Answer::of(status, said, read));
    errors::refused(call, &error, said.as_ref(), parts.headers)
}

/// The first bytes of a success where `relay` would wait for them: until they are there, it can still be tried again.
pub(crate) async fn first(
    call: &Call,
    response: &mut Response<upstream::Body>,
) -> Result<Option<Frame<Bytes>>, Failure> {
    let Some(route) = &call.route else { return Ok(None) };
    let bare = has_no_body(&call.method, response.status()) || response.body().is_end_stream();
    if bare || !call.upload_ended() || framing(call, route, response.headers()).is_some() {
        return Ok(None);
    }
    next_frame(response.body_mut(), &route.route.timeouts).await
}

/// Whether an answer is a stream of events or lines.
fn framing(call: &Call, route: &RouteRuntime, headers: &HeaderMap) -> Option<Framing> {
    Framing::of(headers, || route.route.profile.streams_lines(call.method.as_str(), call.provider_path()))
}

/// The next frame of a body, or why there is none in time.
pub(crate) async fn next_frame(
    body: &mut upstream::Body,
    timeouts: &Timeouts,
) -> Result<Option<Frame<Bytes>>, Failure> {
    let mut idle = Idle::new(timeouts.idle);
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(next) => Poll::Ready(next.transpose()),
        Poll::Pending => idle.poll(cx).map(|()| Err(Failure::stalled())),
    })
    .await
}

/// Whether an answer has no content by its nature (RFC 9110 6.4.1).
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
