//! An answer, and how it came about.

use super::body::Body;
use http::Response;
use std::net::SocketAddr;
use std::time::Duration;

/// An answer's head, its body to come, and how it came about.
#[derive(Debug)]
pub struct Exchange {
    /// The answer. Informational ones have gone to the request's `hyper::ext::on_informational`.
    pub response: Response<Body>,
    /// For logs and metrics.
    pub facts: Facts,
}

/// How an answer came about. For logs and metrics, not for clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The connection was there before the call.
    pub reused: bool,
    /// An earlier attempt failed without being processed, and the request was sent again.
    pub retried: bool,
    /// What resolving, connecting and TLS took, if that was needed.
    pub connect: Option<Duration>,
    /// HTTP/2 was spoken.
    pub http2: bool,
    /// The provider's address.
    pub peer: Option<SocketAddr>,
}
