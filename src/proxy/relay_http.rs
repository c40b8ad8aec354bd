//! A provider's answer on its way to the caller: a success streams, a failure is read within bounds and worded anew.

use super::body::{Body, Idle};
use super::call::Call;
use super::relay_events::{Events, Framing};
use super::{fail, headers, held};
use crate::config::types::Timeouts;
use crate::upstream::{self, Exchange, Failure, Limits};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header, response};
use http_body::{Body as _, Frame};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Answers a call with what the provider answered.
pub(crate) async fn relay(mut call: Box<Call>, exchange: Exchange) -> Response<Body> {
    call.retried = exchange.facts.retried;
    let (mut parts, body) = exchange.response.into_parts();
    let Some(route) = call.route.clone() else { return fail::fault(call, crate::canon::Fault::Panic) };
    call.upstream_status = Some(parts.status.as_u16());
    call.answered(parts.status.as_u16(), &parts.headers);
    // What the provider said of itself, before its request id makes room for ours.
    let failed = parts.status.as_u16() >= 400;
    let said = (failed || held::concerns(&call, &route, &parts)).then(|| parts.headers.clone());
    let answer = headers::Incoming {
        version: parts.version,
        route: &route.headers,
        upstream: call.way.upstream,
        request_id: &call.id,
        public: call.public_address(),
    };
    if let Err(fault) = headers::prepare_response(&mut parts.headers, &answer) {
        return fail::fault(call, fault);
    }
    // The version is this hop's own (RFC 9112 2.3): 1.0 would cost the caller the framing that shows a cut.
    parts.version = http::Version::HTTP_11;
    if let (true, Some(said)) = (failed, &said) {
        return refuse(call, parts, said, body).await;
    }
    call.answers(parts.status.as_u16());
    if has_no_body(&call.method, parts.status) || body.is_end_stream() {
        return Response::from_parts(parts, Body::full(Vec::new(), Some(call)));
    }
    let lines = route.route.profile.streams_lines(call.method.as_str(), call.provider_path());
    if let Some(framing) = Framing::of(&parts.headers, lines) {
        let events = Events::new(framing, body, &mut parts.headers, call);
        return Response::from_parts(parts, Body::Events(Box::new(events)));
    }
    if let Some(said) = said {
        return held::relay(call, &route, held::Head { parts, said }, body).await;
    }
    stream(call, parts, body, &route.route.timeouts).await
}

/// A failure: read within bounds, worded anew.
async fn refuse(call: Box<Call>, parts: response::Parts, said: &HeaderMap, body: upstream::Body) -> Response<Body> {
    let encoding = parts.headers.get(header::CONTENT_ENCODING).cloned();
    let read = if call.method == Method::HEAD {
        upstream::Capped::default()
    } else {
        upstream::read_capped(body, encoding.as_ref(), Limits::default()).await
    };
    let bytes = call.redacted(read.bytes);
    let answer =
        fail::Answer { status: parts.status.as_u16(), said, body: &bytes, whole: !read.truncated && !read.incomplete };
    fail::refused(call, &answer, parts.headers)
}

/// A success: its first bytes are waited for while an error can still be worded, then it streams.
async fn stream(
    call: Box<Call>,
    parts: response::Parts,
    mut body: upstream::Body,
    timeouts: &Timeouts,
) -> Response<Body> {
    let mut held = VecDeque::new();
    // A caller that is still sending may wait for the head before it goes on.
    if call.upload_ended() {
        match next_frame(&mut body, timeouts).await {
            Ok(first) => held.extend(first),
            Err(failure) => return fail::failure(call, failure),
        }
    }
    Response::from_parts(parts, Body::relay(body, held, timeouts, call))
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
