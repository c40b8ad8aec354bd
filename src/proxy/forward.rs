//! Sends the request to the provider.

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
    let Some(route) = call.route.as_ref().map(Arc::clone) else {
        return Err(Failure::of(Fault::RouteNotFound));
    };
    call.forwarded = Some(Instant::now());
    client.send(&route.route.upstream, &route.route.timeouts, request).await
}
