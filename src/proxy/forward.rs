//! Sends the request to the provider.

use super::RouteRuntime;
use super::call::Call;
use super::upload::Upload;
use crate::canon::Fault;
use crate::upstream::{Client, Exchange, Failure};
use http::Request;
use std::sync::Arc;
use std::time::Instant;

/// Sends a prepared request and waits for the head of the answer. Dropping this cancels the call at once.
pub(crate) async fn send(
    client: &Client<Upload>,
    call: &mut Call,
    request: Request<Upload>,
) -> Result<Exchange, Failure> {
    let route = ready(call)?;
    client.send(&route.route.upstream, &route.route.timeouts, request).await
}

/// The same for a WebSocket handshake.
pub(crate) async fn send_upgrade(
    client: &Client<Upload>,
    call: &mut Call,
    request: Request<Upload>,
) -> Result<Exchange, Failure> {
    let route = ready(call)?;
    client.send_upgrade(&route.route.upstream, &route.route.timeouts, request).await
}

fn ready(call: &mut Call) -> Result<Arc<RouteRuntime>, Failure> {
    call.forwarded = Some(Instant::now());
    call.route.as_ref().map(Arc::clone).ok_or_else(|| Failure::of(Fault::RouteNotFound))
}
