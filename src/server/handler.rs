//! The interface between a connection and what handles its requests.

use crate::canon::Fault;
use crate::proxy::{InformationalSender, Peer, Proxy};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

/// Handles requests: [`Proxy`], and scripts in tests.
pub trait Handler: Send + Sync + 'static {
    /// The body of responses.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send + Unpin> + Send + Unpin + 'static;

    /// Handles one request; there is always a response. Informational responses go to `informational`, where the protocol allows
    /// them.
    fn handle(
        &self,
        peer: &Arc<Peer>,
        informational: Option<InformationalSender>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The response when [`Handler::handle`] has panicked, for a gRPC call or any other request.
    fn panicked(&self, grpc: bool) -> Response<Self::Body>;

    /// The response to bytes that never became a request: a whole HTTP/1.1 response that closes the connection.
    fn refusal(&self, client: Option<SocketAddr>, fault: Fault) -> Bytes;
}

impl Handler for Proxy {
    type Body = crate::proxy::Body;

    fn handle(
        &self,
        peer: &Arc<Peer>,
        informational: Option<InformationalSender>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send {
        Proxy::handle(self, peer, informational, request)
    }

    fn panicked(&self, grpc: bool) -> Response<Self::Body> {
        Proxy::panicked(grpc)
    }

    fn refusal(&self, client: Option<SocketAddr>, fault: Fault) -> Bytes {
        self.refuse(client, fault)
    }
}
