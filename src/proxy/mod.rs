//! One request, from routed to answered.

use crate::canon::{CanonicalError, Fault};
use crate::config::types::Config;
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::Metrics;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// The body of an answer.
pub type Body = Full<Bytes>;

/// Who is calling, and how the call came in.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The caller's address; none on a Unix socket.
    pub addr: Option<SocketAddr>,
    /// The address that the caller connected to; none on a Unix socket.
    pub local: Option<SocketAddr>,
    /// Whether the caller speaks TLS to us.
    pub tls: bool,
    /// Set before an answer is dropped because the caller stopped reading it.
    pub stalled: Arc<AtomicBool>,
}

impl Peer {
    /// Whether the answer ended because the caller stopped reading, rather than because it left.
    #[must_use]
    pub fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }
}

/// What one worker needs in order to answer requests.
#[derive(Debug)]
pub struct Proxy {
    running: Arc<ArcSwap<Config>>,
    metrics: Arc<Metrics>,
    access: Option<AccessLog>,
}

impl Proxy {
    /// A proxy that follows the running configuration.
    #[must_use]
    pub fn new(running: Arc<ArcSwap<Config>>, metrics: Arc<Metrics>, access: Option<AccessLog>) -> Proxy {
        Proxy { running, metrics, access }
    }

    /// Answers one request.
    pub async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let _ = (peer, request, &self.running, &self.metrics, &self.access);
        self.fault(Fault::RouteNotFound)
    }

    /// The answer to a failure that no route is known for.
    #[must_use]
    pub fn fault(&self, fault: Fault) -> Response<Body> {
        let mut response = Response::new(Full::new(Bytes::from(envelope(fault))));
        *response.status_mut() =
            StatusCode::from_u16(fault.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/json");
        let _ = response.headers_mut().insert(header::CONTENT_TYPE, json);
        let code = HeaderValue::from_static(fault.code().as_str());
        let _ = response.headers_mut().insert("x-error-code", code);
        response
    }

    /// The answer to a request that never became one, as bytes of a whole HTTP/1.1 response that ends the connection.
    #[must_use]
    pub fn raw(&self, fault: Fault) -> Bytes {
        let body = envelope(fault);
        let status = StatusCode::from_u16(fault.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\nx-error-code: {}\r\nx-error-type: {}\r\n\
             content-length: {}\r\ndate: {}\r\nconnection: close\r\n\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or(""),
            fault.code(),
            fault.code().kind(),
            body.len(),
            httpdate::fmt_http_date(SystemTime::now()),
        );
        Bytes::from(head + &body)
    }
}

fn envelope(fault: Fault) -> String {
    let error = CanonicalError::from_fault(fault);
    serde_json::json!({ "error": {
        "type": error.code.kind().as_str(),
        "code": error.code.as_str(),
        "status": error.code.status(),
        "message": error.message,
        "retryable": error.retryable,
        "origin": error.origin.as_str(),
        "request_id": ulid::Ulid::from_parts(0, u128::from(fastrand::u64(..))).to_string(),
        "timestamp": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
    } })
    .to_string()
}
