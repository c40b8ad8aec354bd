//! Who answers the requests of a connection.

use crate::canon::Fault;
use crate::proxy::{InformationalSender, Peer, Proxy};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

/// Who answers requests: [`Proxy`], and scripts in tests.
pub trait Handler: Send + Sync + 'static {
    /// The body of responses.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send + Unpin> + Send + Unpin + 'static;

    /// Answers one request; there is always a response. Informational responses go to `informational`, where that is possible.
    fn handle(
        &self,
        peer: &Arc<Peer>,
        informational: Option<InformationalSender>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The response when [`Handler::handle`] has panicked, to a call of gRPC or another.
    fn panicked(&self, grpc: bool) -> Response<Self::Body>;

    /// The response to what never became a request: a whole HTTP/1.1 response that says that the connection ends.
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
