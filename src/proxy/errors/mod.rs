//! The single exit for errors: asks the core what happened, counts, and renders.

mod sample;

use super::context::Call;
use super::limits::Refusal;
use super::response::Body;
use super::state::Shared;
use super::upload::CallerFault;
use crate::canon::envelope::Stamp;
use crate::canon::{CanonicalError, Evidence, Fault, Observed, Phase, resolve};
use crate::config::types::Envelope;
use crate::render::http::{self as render, Form};
use crate::telemetry::access::Entry;
use crate::telemetry::metrics::{Limit, Transport};
use crate::upstream::{Capped, Failure};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// A failure that no provider worded, answered.
pub(crate) fn fault(call: Box<Call>, fault: Fault) -> Response<Body> {
    answer(call, &CanonicalError::from_fault(fault), None, None, None)
}

/// A request that a limit of the route refuses, answered.
pub(crate) fn limited(call: Box<Call>, refusal: Refusal) -> Response<Body> {
    call.limited(refusal.limit);
    answer(call, &refusal.error, Some(refusal.headers), None, None)
}

/// A call that brought no answer, answered.
pub(crate) fn failure(call: Box<Call>, failure: Failure) -> Response<Body> {
    let fault = whose(&failure);
    if fault == Fault::RateExceeded {
        call.limited(Limit::Rate);
    }
    let error = CanonicalError::from_fault(fault);
    answer(call, &error, None, None, Some(failure.detail))
}

/// Every upstream of the route is left alone, for so long.
pub(crate) fn broken(call: Box<Call>, wait: Duration) -> Response<Body> {
    call.limited(Limit::Circuit);
    let error = CanonicalError { retry_after: Some(wait), ..CanonicalError::from_fault(Fault::CircuitOpen) };
    answer(call, &error, None, None, None)
}

/// What a provider's failing answer means.
pub(crate) fn classify(call: &Call, answer: &Answer<'_>) -> CanonicalError {
    match &call.route {
        Some(route) => resolve(&route.route.profile, &Evidence::new(&observed(call, answer))).error,
        None => CanonicalError::from_fault(Fault::Panic),
    }
}

/// A provider's failing answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Its header fields as they came.
    pub(crate) said: &'a HeaderMap,
    /// Its body, decoded and bounded.
    pub(crate) body: &'a [u8],
    /// Whether that is all of it.
    pub(crate) whole: bool,
}

impl<'a> Answer<'a> {
    /// An answer whose body has been read.
    pub(crate) fn of(status: StatusCode, said: &'a HeaderMap, read: &'a Capped) -> Answer<'a> {
        Answer { status: status.as_u16(), said, body: &read.bytes, whole: !read.truncated && !read.incomplete }
    }
}

/// A provider's failing answer, answered: what it means, what it said where that is needed, and the headers that the caller may
/// get.
pub(crate) fn refused(
    call: Box<Call>,
    error: &CanonicalError,
    said: Option<&Answer<'_>>,
    headers: HeaderMap,
) -> Response<Body> {
    let seen = said.map(|said| observed(&call, said));
    let evidence = seen.as_ref().map(Evidence::new);
    if let Some(evidence) = &evidence {
        call.sighted(error, evidence);
    }
    answer(call, error, Some(headers), evidence.as_ref(), None)
}

fn observed<'a>(call: &Call, answer: &Answer<'a>) -> Observed<'a> {
    let mut seen = Observed::http(answer.status, answer.said, answer.body, SystemTime::now());
    seen.truncated = !answer.whole;
    if call.transport == Transport::Websocket {
        seen.phase = Phase::Handshake;
    }
    seen
}

/// An answer that broke off after its head had gone out: counted and logged; the cut itself is the caller's notice.
pub(crate) fn broken_off(call: &mut Call, failure: &Failure) -> Fault {
    let fault = whose(failure);
    call.note(&CanonicalError::from_fault(fault), Some(failure.detail.clone()));
    fault
}

/// A request body that failed on the caller's side is the caller's fault, whatever the upstream call made of it.
pub(crate) fn whose(failure: &Failure) -> Fault {
    let caller = failure.request_body.as_ref().and_then(|error| error.downcast_ref::<CallerFault>());
    caller.map_or(failure.fault, |caller| caller.0)
}

/// RFC 3339, UTC, milliseconds.
pub(crate) fn timestamp() -> String {
    crate::telemetry::timestamp(SystemTime::now())
}

/// The headers that tell of a failure whose answer keeps its own status and body.
pub(crate) fn describe(headers: &mut HeaderMap, error: &CanonicalError) {
    render::describe(error, headers);
}

fn answer(
    mut call: Box<Call>,
    error: &CanonicalError,
    received: Option<HeaderMap>,
    evidence: Option<&Evidence<'_>>,
    detail: Option<String>,
) -> Response<Body> {
    call.note(error, detail);
    let timestamp = timestamp();
    let route = call.route.clone();
    let stamp = call.stamp(&timestamp);
    let form = match route.as_ref().map(|route| route.route.envelope) {
        Some(Envelope::Compatible) => match &route {
            Some(route) => Form::Compatible(&route.route.profile, evidence),
            None => Form::Canonical,
        },
        Some(Envelope::Problem) => Form::Problem,
        Some(Envelope::Canonical) | None if call.problem => Form::Problem,
        Some(Envelope::Canonical) | None => Form::Canonical,
    };
    let (mut parts, body) = render::response(error, &stamp, form, received).into_parts();
    call.tell_attempts(&mut parts.headers);
    call.answers(parts.status.as_u16());
    let body =
        if call.method == Method::HEAD { Body::full(Vec::new(), Some(call)) } else { Body::full(body, Some(call)) };
    Response::from_parts(parts, body)
}

/// An error for a request that hyper could not parse, or that came before there was a call: a whole HTTP/1.1 answer.
#[must_use]
pub fn raw(fault: Fault) -> Bytes {
    raw_with_id(fault, super::headers::new_request_id().to_str().unwrap_or_default())
}

/// The same, counted and logged: the one line and the one count of a request of which nothing is known.
pub(crate) fn refuse(shared: &Shared, client: Option<SocketAddr>, fault: Fault) -> Bytes {
    let id = super::headers::new_request_id();
    let request_id = id.to_str().unwrap_or_default();
    let (code, origin) = (fault.code(), fault.origin());
    shared.unrouted.error(code, origin, Transport::Http);
    shared.unrouted.request_refused(fault.status());
    sample::refused(shared, request_id, fault);
    if let Some(access) = &shared.access {
        let client = client.map(|client| client.to_string());
        access.write(&Entry::refused(request_id, client.as_deref(), fault));
    }
    raw_with_id(fault, request_id)
}

fn raw_with_id(fault: Fault, request_id: &str) -> Bytes {
    let timestamp = timestamp();
    let stamp =
        Stamp { request_id, timestamp: &timestamp, provider: None, route: None, upstream_body: false, docs: None };
    let response = render::response(&CanonicalError::from_fault(fault), &stamp, Form::Canonical, None);
    let (parts, body) = response.into_parts();
    let mut bytes = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    for (name, value) in &parts.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    bytes.extend_from_slice(format!("date: {date}\r\nconnection: close\r\n\r\n").as_bytes());
    bytes.extend_from_slice(&body);
    Bytes::from(bytes)
}

/// The answer that stands in for one that a panic took away: no call is left to ask.
#[must_use]
pub fn panicked() -> Response<Body> {
    let timestamp = timestamp();
    let id = super::headers::new_request_id();
    let request_id = id.to_str().unwrap_or_default();
    let stamp =
        Stamp { request_id, timestamp: &timestamp, provider: None, route: None, upstream_body: false, docs: None };
    let error = CanonicalError::from_fault(Fault::Panic);
    render::response(&error, &stamp, Form::Canonical, None).map(|body| Body::full(body, None))
}
