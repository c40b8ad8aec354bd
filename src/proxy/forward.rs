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

/// Sends a prepared request and waits for the head of the answer. Dropping this cancels the call at once.
pub(crate) async fn send(
    client: &Client<Upload>,
    call: &mut Call,
    request: Request<Upload>,
) -> Result<Exchange, Failure> {
    let route = ready(call)?;
    let exchange = client.send(upstream(&route, call)?, &route.route.timeouts, request).await?;
    call.answered(exchange.response.status().as_u16(), exchange.response.headers());
    Ok(exchange)
}

/// The same for a WebSocket handshake.
pub(crate) async fn send_upgrade(
    client: &Client<Upload>,
    call: &mut Call,
    request: Request<Upload>,
) -> Result<Exchange, Failure> {
    let route = ready(call)?;
    let exchange = client.send_upgrade(upstream(&route, call)?, &route.route.timeouts, request).await?;
    call.answered(exchange.response.status().as_u16(), exchange.response.headers());
    Ok(exchange)
}

fn ready(call: &mut Call) -> Result<Arc<RouteRuntime>, Failure> {
    let _ = call.forwarded.get_or_insert_with(Instant::now);
    call.route.as_ref().map(Arc::clone).ok_or_else(|| Failure::of(Fault::RouteNotFound))
}

fn upstream<'a>(route: &'a RouteRuntime, call: &Call) -> Result<&'a Upstream, Failure> {
    route.route.upstreams.get(call.way.upstream).ok_or_else(|| Failure::of(Fault::RouteNotFound))
}

/// Has the interim answers to this request passed on where the server has left a way to the caller. A provider that speaks
/// HTTP/2 has none passed on: hyper's client does not tell of them.
pub(crate) fn pass_interim(call: &mut Call, request: &mut Request<Upload>) {
    if let Some(interim) = request.extensions_mut().remove::<Interim>() {
        call.interim = Some(interim.clone());
        hyper::ext::on_informational(request, move |answer| interim.send(answer.status(), answer.headers()));
    }
}
