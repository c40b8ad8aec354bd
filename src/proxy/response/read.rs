//! Reads from a provider's response: a failure within bounds, the first bytes of a success, the next frame before the timeout.

use crate::canon::{Fault, Phase, grpc};
use crate::config::types::Timeouts;
use crate::detect::Form;
use crate::proxy::RouteRuntime;
use crate::proxy::context::RoutedContext;
use crate::proxy::idle::Idle;
use crate::upstream::{self, Capped, Failure, Limits};
use crate::wire;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header, response};
use http_body::{Body as _, Frame};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::Instant;

/// Reads the body of a failure within bounds, and redacts it.
pub(crate) async fn read_failure(call: &RoutedContext, parts: &response::Parts, body: upstream::Body) -> Capped {
    let read = read_within(call, &parts.headers, body).await;
    let cut_off = read.truncated || read.incomplete;
    Capped { bytes: call.redacted_part(read.bytes, cut_off), ..read }
}

/// Reads the body of a response within the bounds of an error.
pub(super) async fn read_within(call: &RoutedContext, headers: &HeaderMap, body: upstream::Body) -> Capped {
    // The status of a gRPC call is all there is to read.
    if call.method == Method::HEAD || call.phase == Phase::Grpc && grpc::number(headers).is_some() {
        return Capped::default();
    }
    let encoding = headers.get(header::CONTENT_ENCODING);
    let own = Limits::default();
    // A provider that stalls delays the client no longer than the route's timeouts.
    let Timeouts { response, idle, .. } = call.route.config.timeouts;
    let limits = Limits { time: own.time.min(response).min(idle), ..own };
    upstream::read_capped(body, encoding, limits).await
}

/// Whether a response is a failure: by its status, or for a gRPC call by a status other than 0 in the head, or by not being gRPC.
pub(crate) fn is_refusal(call: &RoutedContext, status: StatusCode, headers: &HeaderMap) -> bool {
    if call.phase != Phase::Grpc {
        return status.as_u16() >= 400;
    }
    match grpc::number(headers) {
        Some(number) => number != 0,
        None => status != StatusCode::OK || !wire::grpc::is_grpc(headers),
    }
}

/// The first bytes of a success, if `response::relay` would wait for them, and its form: until they arrive, the request can still be
/// retried.
pub(crate) async fn first(
    call: &mut RoutedContext,
    response: &mut Response<upstream::Body>,
) -> Result<(Option<Frame<Bytes>>, Option<Form>), Failure> {
    if call.phase == Phase::Grpc {
        call.followed.iter_mut().for_each(|followed| followed.answered_call());
        return Ok((None, None));
    }
    let route = Arc::clone(&call.route);
    let form = form(call, &route, response.status().as_u16(), response.headers());
    if let Some(followed) = &mut call.followed {
        followed.answered(response.headers(), form);
    }
    let watched = call.followed.is_some() && route.config.silence.is_on();
    // For a redirect, the head is enough.
    let redirected = response.status().is_redirection();
    let body =
        !redirected && (matches!(form, Form::Inspected | Form::Plain) || watched && matches!(form, Form::Stream(_)));
    let ended = response.body().is_end_stream();
    let mut first = None;
    if body && !ended && call.upload_ended() {
        first = next_frame(response.body_mut(), &route.config.timeouts, call.end).await?;
        if first.is_none() && call.followed.as_mut().is_some_and(|followed| followed.is_empty()) {
            return Err(Failure::of(Fault::NoAudio));
        }
    } else if ended && !redirected && call.followed.as_mut().is_some_and(|followed| followed.is_empty()) {
        return Err(Failure::of(Fault::NoAudio));
    }
    if matches!(form, Form::Stream(_))
        && let Some(frame) = first.take()
    {
        // The rest of the pipeline reads a stream from its beginning.
        response.body_mut().put_back(frame);
    }
    if let Some(followed) = &mut call.followed {
        followed.handed_over();
    }
    Ok((first, Some(form)))
}

pub(super) fn form(call: &RoutedContext, route: &RouteRuntime, status: u16, headers: &HeaderMap) -> Form {
    Form::of(&route.config.profile, Some(call.request()), status, headers)
}

/// The next frame of a body, or the failure if none arrives in time.
pub(crate) async fn next_frame(
    body: &mut upstream::Body,
    timeouts: &Timeouts,
    end: Option<Instant>,
) -> Result<Option<Frame<Bytes>>, Failure> {
    let mut idle = Idle::until(timeouts.idle, end);
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(next) => Poll::Ready(next.transpose()),
        Poll::Pending => {
            idle.moved_at(body.last_sent());
            idle.poll(cx).map(|()| Err(idle.failure()))
        }
    })
    .await
}
