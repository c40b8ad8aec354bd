//! Errors of what has no route: bytes that never became a request, and answers that a panic took away.

use super::render;
use crate::canon::{CanonicalError, Fault, Phase};
use crate::proxy::context::record;
use crate::proxy::headers::new_request_id;
use crate::proxy::state::Shared;
use crate::telemetry::access::Entry;
use bytes::Bytes;
use http::Response;
use std::net::SocketAddr;
use std::time::SystemTime;

/// The answer to what hyper could not parse, or what came before there was a request: a whole HTTP/1.1 answer, counted and
/// logged with the one line and the one count of a request of which nothing is known.
pub(crate) fn refuse(shared: &Shared, client: Option<SocketAddr>, fault: Fault) -> Bytes {
    let id = new_request_id();
    let request_id = id.to_str().unwrap_or_default();
    record::unrouted(shared, Phase::Http, &CanonicalError::from_fault(fault), request_id, "");
    shared.unrouted.request_refused(fault.status());
    if let Some(access) = &shared.access {
        let client = client.map(|client| client.to_string());
        access.write(&Entry::refused(request_id, client.as_deref(), fault));
    }
    on_the_wire(fault, request_id)
}

fn on_the_wire(fault: Fault, request_id: &str) -> Bytes {
    let rendered = render::bare(fault, request_id);
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

/// The answer that stands in for one that a panic took away. The context counted the panic when it was dropped.
#[must_use]
pub(crate) fn panicked() -> Response<Bytes> {
    let id = new_request_id();
    let rendered = render::bare(Fault::Panic, id.to_str().unwrap_or_default());
    let mut response = Response::new(rendered.body.unwrap_or_default());
    (*response.status_mut(), *response.headers_mut()) = (rendered.status, rendered.headers);
    response
}
