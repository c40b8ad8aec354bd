//! Sends the request to the provider.

use super::context::RoutedContext;
use super::request_body::RequestBody;
use super::upstreams::was_never_sent;
use crate::canon::{self, Fault, Origin, Phase};
use crate::telemetry::upstreams::Outcome;
use crate::upstream::{Client, Exchange, Failure, Kind};
use crate::wire;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::{HeaderMap, Request, StatusCode};
use std::future::ready;
use std::time::Instant;

/// Sends a prepared request, as a WebSocket handshake if `upgrade`, and waits for the head of the response. Dropping the future
/// cancels the call at once.
pub(crate) fn send<'c>(
    client: &'c Client<RequestBody>,
    call: &'c mut RoutedContext,
    mut request: Request<RequestBody>,
    upgrade: bool,
) -> impl Future<Output = Result<Exchange, Failure>> + Send + use<'c> {
    let now = Instant::now();
    let _ = call.upstream.forwarded.get_or_insert(now);
    let number = call.destination.upstream;
    call.trace.attempt(request.headers_mut(), number, now);
    forward_informational(call, &mut request);
    if let Some(deadline) = call.deadline {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let _ = request.headers_mut().insert(wire::grpc::TIMEOUT, wire::grpc::write_timeout(left));
    }
    let kind = match call.phase {
        _ if upgrade => Kind::Upgrade,
        Phase::Grpc => Kind::Grpc,
        _ => Kind::Plain,
    };
    let route = &call.route.config;
    let upstream = route.upstreams.get(number).map(|upstream| (upstream, &route.timeouts));
    // Mapped, not awaited: as async functions, this, `retry::send` and `Client::call` would take 4,688 bytes for each request in
    // flight instead of 2,560, because each would have room for the request twice (server/conn/tests/sizes.rs).
    let sent = match upstream {
        Some((upstream, timeouts)) => Either::Left(client.call(upstream, timeouts, request, kind)),
        None => Either::Right(ready(Err(Failure::of(Fault::RouteNotFound)))),
    };
    sent.map(|outcome| traced(call, outcome))
}

/// Records the outcome of a request to the provider.
pub(crate) fn traced(call: &mut RoutedContext, mut outcome: Result<Exchange, Failure>) -> Result<Exchange, Failure> {
    let ended = match &mut outcome {
        Ok(exchange) => {
            // Before anything else reads it: ids, limits, envelopes and logs are derived from the cleaned head.
            call.clean_head(exchange.response.status(), exchange.response.headers_mut());
            // Nothing uses the reason phrase (RFC 9112 4), and it may echo a key as well.
            let _ = exchange.response.extensions_mut().remove::<hyper::ext::ReasonPhrase>();
            call.trace.answered(exchange);
            let (status, headers) = (exchange.response.status(), exchange.response.headers());
            call.answered(status.as_u16(), headers);
            match call.phase {
                Phase::Grpc if status == StatusCode::OK => ended_at_once(headers),
                _ => Some(of_status(status.as_u16())),
            }
        }
        Err(failure) => {
            call.trace.failed(failure.fault.code(), Instant::now());
            of_failure(failure)
        }
    };
    count(call, ended);
    outcome
}

/// A gRPC call ended after its messages had begun, with this status or without one.
pub(crate) fn call_ended(call: &RoutedContext, number: Option<u16>) {
    count(call, Some(number.map_or(Outcome::Failure, of_number)));
}

/// A gRPC call broke off after its head.
pub(crate) fn call_broke(call: &RoutedContext, failure: &Failure) {
    // Total timeouts, keys that become invalid and the end of this gateway say nothing about the upstream.
    let is_ours = matches!(failure.fault.origin(), Origin::Gateway | Origin::Client);
    count(call, of_failure(failure).filter(|_| !is_ours));
}

fn count(call: &RoutedContext, ended: Option<Outcome>) {
    let upstream = call.route.upstreams.get(call.destination.upstream);
    if let (Some(upstream), Some(ended)) = (upstream, ended) {
        upstream.ended(ended);
    }
}

/// The outcome of a gRPC call by the head of its response; none when it follows in the trailers.
fn ended_at_once(headers: &HeaderMap) -> Option<Outcome> {
    match canon::grpc::number(headers) {
        // A status of 0 in the head of a response with messages is not final.
        Some(0) => None,
        Some(number) => Some(of_number(number)),
        None => (!wire::grpc::is_grpc(headers)).then_some(Outcome::Failure),
    }
}

fn of_number(number: u16) -> Outcome {
    of_status(canon::grpc::http_status(number))
}

fn of_status(status: u16) -> Outcome {
    if status < 500 { Outcome::Success } else { Outcome::Failure }
}

fn of_failure(failure: &Failure) -> Option<Outcome> {
    match failure.fault {
        // The client disconnected: cancellation is no health signal.
        _ if failure.request_body.is_some() => None,
        fault if was_never_sent(fault) => Some(Outcome::Unreachable),
        _ => Some(Outcome::Failure),
    }
}

/// Forwards informational responses of this attempt, if the server can send them to the client. None are forwarded from an HTTP/2
/// provider, because hyper's client does not report them.
fn forward_informational(call: &RoutedContext, request: &mut Request<RequestBody>) {
    if let Some(informational) = call.informational.clone() {
        let prepare = call.informational_fields();
        hyper::ext::on_informational(request, move |answer| {
            let mut fields = answer.headers().clone();
            prepare(answer.status(), &mut fields);
            informational.send(answer.status(), &fields);
        });
    }
}
