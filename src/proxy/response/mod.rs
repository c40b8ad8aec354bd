//! Relays a provider's response to the client: a success is streamed, a failure is read within bounds and rendered anew.

mod body;
mod cut;
mod events;
mod grpc;
mod inspect;
mod judge;
mod member;
pub(super) mod read;

pub use body::Body;
pub use cut::Cut;
pub use events::Events;
pub use grpc::Messages;

use super::context::{RequestContext, RoutedContext};
use super::cors::Own;
use super::errors::{self, Finding, Rendered, Said};
use super::retry::{Answer, Failed};
use super::{forward, headers};
use crate::canon::{self, CanonicalError, Evidence, Fault, Phase};
use crate::detect::Form;
use crate::upstream::{Capped, Failure};
use bytes::Bytes;
use futures_util::future::Either;
use http::{Method, Response, StatusCode, header, response};
use http_body::{Body as _, Frame};
use read::{form, next_frame, read_failure};
use std::collections::VecDeque;
use std::sync::Arc;

/// Relays the provider's response.
pub(crate) fn relay(call: Box<RoutedContext>, answer: Answer) -> impl Future<Output = Response<Body>> + Send {
    // Not awaited, because each kind of request would reserve space for the other.
    match call.phase {
        Phase::Grpc => Either::Left(Box::pin(relay_call(call, answer))),
        _ => Either::Right(relay_answer(call, answer)),
    }
}

async fn relay_answer(mut call: Box<RoutedContext>, answer: Answer) -> Response<Body> {
    let Answer { exchange, mut first, form: known } = answer;
    call.upstream.reconnected |= exchange.facts.retried;
    let (mut parts, mut body) = exchange.response.into_parts();
    let route = Arc::clone(&call.route);
    call.upstream.status = Some(parts.status.as_u16());
    if !inspect::settle_part(&call, &route, &mut parts) {
        return fault(call, Fault::ResponseHeadInvalid);
    }
    let form = known.unwrap_or_else(|| form(&call, &route, parts.status.as_u16(), &parts.headers));
    if form == Form::Error {
        // Boxed like everything that a success does not need.
        let read = Box::pin(read_failure(&call, &parts, body)).await;
        return refusal(call, parts, &read, None);
    }
    // A copy of the provider's header fields, made before its request id is replaced by ours.
    let said = inspect::concerns(form, &call, &route, &parts).then(|| parts.headers.clone());
    prepare(&call, &mut parts);
    call.add_attempts(&mut parts.headers);
    call.add_remaining_quota(&mut parts.headers);
    call.log_response(&parts.headers);
    call.answers(parts.status.as_u16());
    if call.method == Method::HEAD
        && route.config.profile.rewrites(Method::GET.as_str(), call.provider_path()).is_some()
    {
        // The header fields that describe a body do not apply to what a GET would return.
        inspect::forget_the_bytes(&mut parts.headers);
    }
    if form == Form::Empty || first.is_none() && body.is_end_stream() {
        return Response::from_parts(parts, Body::full(Bytes::new(), Some(call)));
    }
    if parts.status.is_redirection() && call.lends_keys() {
        return Box::pin(inspect::redirect(call, parts, body)).await;
    }
    if let Form::Stream(framing) = form {
        let events = Events::new(framing, body, &mut parts.headers, call);
        return Response::from_parts(parts, Body::Events(Box::new(events)));
    }
    if let Some(said) = said {
        return Box::pin(inspect::relay(call, &route, inspect::Head { parts, said }, first, body)).await;
    }
    let timeouts = &route.config.timeouts;
    // Waits for the first bytes while an error can still be rendered. A client that is still sending may wait for the head before
    // it continues.
    if first.is_none() && call.upload_ended() {
        match next_frame(&mut body, timeouts, call.end).await {
            Ok(frame) => first = frame,
            Err(broken) => return failure(call, broken),
        }
    }
    if body.is_end_stream()
        && let Some(whole) = first.as_ref().and_then(Frame::data_ref)
    {
        // A small answer is all here: nothing is left to be waited for.
        call.followed.iter_mut().for_each(|followed| followed.passes(whole));
        return Response::from_parts(parts, Body::full(whole.clone(), Some(call)));
    }
    Response::from_parts(parts, Body::relay(body, first, VecDeque::new(), timeouts, call))
}

/// Relays the response to a gRPC call. The head is sent at once, because the client may wait for it before it continues.
async fn relay_call(mut call: Box<RoutedContext>, answer: Answer) -> Response<Body> {
    let exchange = answer.exchange;
    call.upstream.reconnected |= exchange.facts.retried;
    let (mut parts, body) = exchange.response.into_parts();
    if read::is_refusal(&call, parts.status, &parts.headers) {
        let read = Box::pin(read_failure(&call, &parts, body)).await;
        return refusal(call, parts, &read, None);
    }
    call.upstream.status = Some(parts.status.as_u16());
    let over = canon::grpc::number(&parts.headers).is_some() && body.is_end_stream();
    prepare(&call, &mut parts);
    // It would not match an end that is rendered anew.
    let _ = parts.headers.remove(header::CONTENT_LENGTH);
    // A response with messages has its status in the trailers.
    let said = parts.headers.remove(canon::grpc::STATUS);
    parts.headers.extend(said.filter(|_| over).map(|said| (canon::grpc::STATUS, said)));
    call.add_attempts(&mut parts.headers);
    call.add_remaining_quota(&mut parts.headers);
    call.log_response(&parts.headers);
    call.answers(parts.status.as_u16());
    if over {
        forward::call_ended(&call, Some(0));
        call.grpc_status = Some(0);
        return Response::from_parts(parts, Body::full(Bytes::new(), Some(call)));
    }
    let timeouts = call.route.config.timeouts;
    Response::from_parts(parts, Body::Messages(Box::new(Messages::new(body, &timeouts, call))))
}

/// Responds to a call with an error.
pub(crate) fn reject(mut call: Box<RoutedContext>, finding: Finding<'_>) -> Response<Body> {
    // A request that was never sent is refunded before its client can ask again.
    drop(call.begun.take());
    let mut rendered = errors::report(&mut call, finding);
    if call.phase == Phase::Grpc {
        rendered = errors::trailers_only(rendered);
    }
    let Rendered { status, mut headers, body, .. } = rendered;
    call.add_attempts(&mut headers);
    call.add_remaining_quota(&mut headers);
    call.route.headers.change_response(&mut headers);
    call.log_response(&headers);
    call.answers(status.as_u16());
    let body = body.filter(|_| call.method != Method::HEAD).unwrap_or_default();
    let mut response = Response::new(Body::full(body, Some(call)));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    let _ = response.extensions_mut().insert(Own);
    response
}

/// Responds to a call that is completed here, without a body.
pub(crate) fn no_content(mut call: Box<RoutedContext>) -> Response<Body> {
    call.answers(StatusCode::NO_CONTENT.as_u16());
    let id = call.id.clone();
    let mut response = Response::new(Body::full(Bytes::new(), Some(call)));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let _ = response.headers_mut().insert(headers::REQUEST_ID, id);
    response
}

/// Responds to a call with a fault of ours or of the network.
pub(crate) fn fault(call: Box<RoutedContext>, fault: Fault) -> Response<Body> {
    let finding = Finding::fault(call.phase, fault);
    reject(call, finding)
}

/// Responds to a call without a response from the provider.
pub(crate) fn failure(call: Box<RoutedContext>, failure: Failure) -> Response<Body> {
    let finding = Finding::failure(call.phase, failure);
    reject(call, finding)
}

/// Responds to a request without a route.
pub(crate) fn unrouted(request: RequestContext, fault: Fault) -> Response<Body> {
    let Rendered { status, headers, body, .. } = errors::unrouted(request, fault);
    let mut response = Response::new(Body::full(body.unwrap_or_default(), None));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    let _ = response.extensions_mut().insert(Own);
    response
}

/// The response to a request that was lost to a panic.
pub(crate) fn panicked(grpc: bool) -> Response<Body> {
    let mut response = errors::panicked(grpc).map(|body| Body::full(body, None));
    let _ = response.extensions_mut().insert(Own);
    response
}

/// Prepares the head of a response for the client.
fn prepare(call: &RoutedContext, parts: &mut response::Parts) {
    headers::prepare_response(&mut parts.headers, &call.incoming(parts.version));
    // The version belongs to this hop (RFC 9112 2.3): 1.0 would lose the framing by which the client notices a cut.
    parts.version = http::Version::HTTP_11;
}

/// Responds with a failure that has been read; `known` is its meaning, if that was determined before.
fn refusal(
    mut call: Box<RoutedContext>,
    mut parts: response::Parts,
    read: &Capped,
    known: Option<Box<CanonicalError>>,
) -> Response<Body> {
    let status = parts.status.as_u16();
    call.upstream.status = Some(status);
    let error = known.map_or_else(|| errors::classify(&call, status, &parts.headers, read), |known| *known);
    // For most errors the canonical error is enough. For the others the provider's fields are kept, while its headers are
    // prepared for the client.
    let again = error.unmapped || call.compatible(call.phase).is_some();
    let heard = again.then(|| parts.headers.clone());
    prepare(&call, &mut parts);
    let said = heard.as_ref().map(|headers| (headers, Said::of(&call, headers, read)));
    said.iter().for_each(|(_, said)| said.clean(&mut parts.headers));
    let seen = said.as_ref().map(|(headers, said)| said.observed(&call, status, headers, read));
    let evidence = seen.as_ref().map(Evidence::new);
    let finding = Finding::of(call.phase, error).said(evidence.as_ref()).with_headers(parts.headers);
    reject(call, finding)
}

/// Responds to a call with the failure of its last attempt.
pub(crate) fn failed(call: Box<RoutedContext>, failed: Failed) -> Response<Body> {
    match failed {
        Failed::Refused(parts, read, known) => refusal(call, parts, &read, known),
        Failed::Lost(lost) => failure(call, lost),
        Failed::Broken(wait) => {
            let finding = Finding::circuit_open(call.phase, wait);
            reject(call, finding)
        }
    }
}
