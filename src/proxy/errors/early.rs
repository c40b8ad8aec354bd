//! Errors without a route: for bytes that never became a request, and for responses that were lost to a panic.

use super::{Rendered, render};
use crate::canon::envelope::Stamp;
use crate::canon::{CanonicalError, Fault, Phase};
use crate::proxy::context::{RequestContext, record};
use crate::proxy::headers::new_request_id;
use crate::proxy::state::Shared;
use crate::telemetry;
use crate::telemetry::access::Entry;
use bytes::Bytes;
use http::{Method, Response};
use std::net::SocketAddr;
use std::time::SystemTime;

/// The response to a request without a route, counted and logged.
pub(crate) fn unrouted(mut request: RequestContext, fault: Fault) -> Rendered {
    let error = CanonicalError::from_fault(fault);
    request.record_unrouted(&error);
    let now = telemetry::timestamp(SystemTime::now());
    let stamp = request.bare_stamp(&now);
    let mut rendered = match request.phase {
        Phase::Grpc => render::bare_end(error, &stamp),
        _ => render::bare(error, &stamp, request.problem),
    };
    rendered.body = rendered.body.filter(|_| request.method != Method::HEAD);
    request.answers(rendered.status.as_u16());
    request.sent(rendered.body.as_ref().map_or(0, Bytes::len));
    request.complete_unrouted();
    rendered
}

/// The response to bytes that hyper could not parse, or to a connection without a request: a whole HTTP/1.1 response, counted and
/// logged once.
pub(crate) fn refuse(shared: &Shared, client: Option<SocketAddr>, fault: Fault) -> Bytes {
    let id = new_request_id();
    let request_id = id.to_str().unwrap_or_default();
    record::unparsed(shared, &CanonicalError::from_fault(fault), request_id);
    shared.unrouted.request_refused(fault.status());
    if let Some(access) = &shared.access {
        let client = client.map(|client| client.to_string());
        access.write(&Entry::refused(request_id, client.as_deref(), fault));
    }
    on_the_wire(fault, request_id)
}

fn on_the_wire(fault: Fault, request_id: &str) -> Bytes {
    let rendered = nameless(fault, request_id, false);
    let mut bytes = format!("HTTP/1.1 {}\r\n", rendered.status).into_bytes();
    for (name, value) in &rendered.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    bytes.extend_from_slice(format!("date: {date}\r\nconnection: close\r\n\r\n").as_bytes());
    bytes.extend_from_slice(&rendered.body.unwrap_or_default());
    Bytes::from(bytes)
}

/// The response in place of one that was lost to a panic, for a gRPC call or another request. The context counted the panic when
/// it was dropped.
#[must_use]
pub(crate) fn panicked(grpc: bool) -> Response<Bytes> {
    let id = new_request_id();
    let rendered = nameless(Fault::Panic, id.to_str().unwrap_or_default(), grpc);
    let mut response = Response::new(rendered.body.unwrap_or_default());
    (*response.status_mut(), *response.headers_mut()) = (rendered.status, rendered.headers);
    response
}

/// Renders an error for which only the request id is known.
fn nameless(fault: Fault, request_id: &str, grpc: bool) -> Rendered {
    let timestamp = &*telemetry::timestamp(SystemTime::now());
    let stamp = Stamp { request_id, timestamp, provider: None, route: None, upstream_body: false, docs: None };
    let error = CanonicalError::from_fault(fault);
    if grpc { render::bare_end(error, &stamp) } else { render::bare(error, &stamp, false) }
}
