//! WebSockets: a handshake is passed on, and when both sides have agreed, frames go both ways until the session is over.
//!
//! [`relay`] is the handshake: a provider's refusal is an ordinary HTTP response, and nothing is upgraded unless the peer has proved
//! that it speaks WebSocket. `session` is what follows, in a task of its own that owns the call: `frames` sorts frames, `side` is one
//! connection, `close` renders errors.
//!
//! Over HTTP/2 a WebSocket would come as an extended CONNECT (RFC 8441). It is not offered (no SETTINGS_ENABLE_CONNECT_PROTOCOL
//! goes out), and a CONNECT that comes all the same is refused with 405 like any other.

mod close;
mod first_message;
mod frames;
mod handshake;
mod pings;
mod session;
mod side;

use super::context::RoutedContext;
use super::request_body::RequestBody;
use super::response::Body;
use super::retry;
use super::{RouteRuntime, headers, response};
use crate::canon::{CanonicalError, Fault, Phase};
use crate::upstream::{Client, Failure};
use close::SessionErrors;
use frames::Sizes;
use handshake::Offer;
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use session::{Limits, Session};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

/// Passes on a checked handshake, and answers it.
pub(super) async fn relay(
    client: &Client<RequestBody>,
    mut call: Box<RoutedContext>,
    mut request: Request<RequestBody>,
) -> Response<Body> {
    let client_upgrade = hyper::upgrade::on(&mut request);
    let route = Arc::clone(&call.route);
    let (keys, replaced) = route.headers.subprotocol_keys(call.destination);
    let injected = route.headers.subprotocol(call.destination);
    let Some(offer) = Offer::of(request.headers_mut(), (keys, replaced), route.headers.guards(), injected) else {
        return response::fault(call, Fault::UpgradeRefused);
    };
    call.hide(offer.secrets(keys));
    let mut answer = match retry::send(client, &mut call, request, true).await {
        Ok(answer) => answer,
        Err(failed) => return response::failed(call, *failed),
    };
    let status = answer.exchange.response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        // A redirect is passed on; any other response that is not a failure is no valid response to a handshake.
        return match status.is_success() {
            true => refuse(call, status, "an answer that is neither 101 nor a failure"),
            false => response::relay(call, answer).await,
        };
    }
    let injected = route.headers.subprotocol(call.destination);
    if let Err(detail) = offer.check(answer.exchange.response.headers(), injected) {
        return refuse(call, status, detail);
    }
    let provider_upgrade = hyper::upgrade::on(&mut answer.exchange.response);
    call.upstream.status = Some(status.as_u16());
    let (mut parts, _) = answer.exchange.response.into_parts();
    headers::prepare_handshake(&mut parts.headers, &call.incoming(parts.version));
    offer.answer(&mut parts.headers, injected);
    call.add_attempts(&mut parts.headers);
    call.tell_limits(&mut parts.headers);
    call.log_response(&parts.headers);
    call.answers(status.as_u16());
    call.upgraded(Instant::now());
    // Not joined: the session ends with its sockets, and the runtime ends what is left.
    drop(tokio::spawn(run(call, route, client_upgrade, provider_upgrade)));
    Response::from_parts(parts, Body::Empty)
}

/// The provider's response is not a valid answer to a handshake.
fn refuse(mut call: Box<RoutedContext>, status: StatusCode, detail: &str) -> Response<Body> {
    call.upstream.status = Some(status.as_u16());
    let failure = Failure { fault: Fault::UpgradeFailed, detail: detail.to_owned(), request_body: None };
    response::failure(call, failure)
}

/// Waits until both connections have been handed over, then runs the session on them.
async fn run(mut call: Box<RoutedContext>, route: Arc<RouteRuntime>, client: OnUpgrade, provider: OnUpgrade) {
    let (client, provider) = match tokio::try_join!(client, provider) {
        Ok(both) => both,
        Err(error) => {
            // The provider's connection is ready as soon as its 101 has arrived, so it was the client that left.
            call.record(Phase::Frame, &CanonicalError::from_fault(Fault::ClientLeft), Some(error.to_string()));
            return call.complete();
        }
    };
    let shared = Arc::clone(&call.state.shared);
    let websocket = route.config.websocket;
    let provider_answers = route.config.profile.answers_pings();
    let limits = Limits {
        idle: route.config.timeouts.websocket_idle,
        write: call.state.config.server.write_timeout,
        ping_client: route.config.client_ping,
        ping_provider: route.config.ping.filter(|_| provider_answers),
        provider_answers,
        sizes: Sizes { frame: websocket.max_frame, message: websocket.max_message },
    };
    let mut watch = call.watch.take();
    let errors = SessionErrors::new(call, Arc::clone(&route));
    let mut session = Session::new(TokioIo::new(client), TokioIo::new(provider), errors, route, limits);
    let mut stopping = pin!(shared.stopping.begun());
    let mut listens = false;
    poll_fn(|cx| {
        // Polled once, so that it wakes this task; its flag says whether it did.
        if !std::mem::replace(&mut listens, true) {
            let _ = stopping.as_mut().poll(cx);
        }
        if shared.stopping.has_begun() {
            session.stop(Fault::ShuttingDown);
        }
        if let Some(fault) = watch.as_mut().and_then(|watch| watch.poll(cx)) {
            watch = None;
            session.stop(fault);
        }
        session.poll(cx)
    })
    .await;
}
