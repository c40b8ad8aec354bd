//! Sends the request to the provider.

use super::RouteRuntime;
use super::call::Call;
use super::interim::Interim;
use super::upload::Upload;
use crate::canon::Fault;
use crate::config::types::Upstream;
use crate::upstream::{Client, Exchange, Failure};
use http::Request;
use std::sync::Arc;
use std::time::Instant;

/// Sends a prepared request, as a WebSocket handshake if `upgrade`, and waits for the head of the answer. Dropping this cancels
/// the call at once.
pub(crate) async fn send(
    client: &Client<Upload>,
    call: &mut Call,
    mut request: Request<Upload>,
    upgrade: bool,
) -> Result<Exchange, Failure> {
    let route = ready(call, &mut request)?;
    let outcome = client.call(upstream(&route, call)?, &route.route.timeouts, request, upgrade).await;
    traced(call, outcome)
}

fn ready(call: &mut Call, request: &mut Request<Upload>) -> Result<Arc<RouteRuntime>, Failure> {
    let now = Instant::now();
    let _ = call.forwarded.get_or_insert(now);
    call.trace.attempt(request.headers_mut(), call.way.upstream, now);
    call.route.as_ref().map(Arc::clone).ok_or_else(|| Failure::of(Fault::RouteNotFound))
}

/// Notes how a request to the provider went.
fn traced(call: &mut Call, outcome: Result<Exchange, Failure>) -> Result<Exchange, Failure> {
    match &outcome {
        Ok(exchange) => {
            call.trace.answered(exchange);
            call.answered(exchange.response.status().as_u16(), exchange.response.headers());
        }
        Err(failure) => call.trace.failed(failure.fault.code(), Instant::now()),
    }
    outcome
}

fn upstream<'a>(route: &'a RouteRuntime, call: &Call) -> Result<&'a Upstream, Failure> {
    route.route.upstreams.get(call.way.upstream).ok_or_else(|| Failure::of(Fault::RouteNotFound))
}

/// Has the interim answers to this request passed on where the server has left a way to the caller. A provider that speaks
/// HTTP/2 has none passed on: hyper's client does not tell of them.
pub(crate) fn pass_interim(interim: Option<&Interim>, request: &mut Request<Upload>) {
    if let Some(interim) = interim.cloned() {
        hyper::ext::on_informational(request, move |answer| interim.send(answer.status(), answer.headers()));
    }
}
