//! WebSockets: forwards the handshake and, once both sides have agreed, relays frames both ways until the session ends.
//!
//! [`relay`] is the handshake: a provider's refusal is an ordinary HTTP response, and nothing is upgraded unless the peer has
//! proved that it speaks WebSocket. `session` follows, in a task of its own that owns the call: `frames` sorts frames, `side` is
//! one connection, `close` renders errors. `opening` admits clients that show their key in the first message.
//!
//! WebSockets over HTTP/2 (extended CONNECT, RFC 8441) are not offered: SETTINGS_ENABLE_CONNECT_PROTOCOL is not sent, and such a
//! CONNECT is rejected with 405 like any other.

mod close;
mod dial;
mod exit;
mod first_message;
mod frames;
mod handshake;
pub(super) mod opening;
mod openings;
mod pings;
mod prefixed;
mod session;
mod side;

use super::context::RoutedContext;
use super::headers::Destination;
use super::request_body::RequestBody;
use super::response::Body;
use super::retry::{self, Answer, Failed};
use super::{headers, response};
use crate::canon::{CanonicalError, Fault, Phase};
use crate::upstream::{Client, Failure};
use close::SessionErrors;
use dial::{Dial, Redialler};
use frames::Sizes;
use handshake::Offer;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, Request, Response, StatusCode, request, response as head};
use hyper::upgrade::OnUpgrade;
use prefixed::Prefixed;
use session::{Limits, Redial, Session};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

/// Forwards a validated handshake, and responds to it.
pub(super) async fn relay(
    client: &Client<RequestBody>,
    mut call: Box<RoutedContext>,
    mut request: Request<RequestBody>,
) -> Response<Body> {
    let client_upgrade = hyper::upgrade::on(&mut request);
    let Opened { mut head, upgrade, offer, again } = match connect(client, &mut call, request).await {
        Ok(opened) => opened,
        Err(NotOpened::NoOffer) => return response::fault(call, Fault::UpgradeRefused),
        Err(NotOpened::Failed(failed)) => return response::failed(call, *failed),
        Err(NotOpened::Answered(answer)) => return response::relay(call, *answer).await,
        Err(NotOpened::Invalid(status, detail)) => return refuse(call, status, detail),
    };
    let route = Arc::clone(&call.route);
    headers::prepare_handshake(&mut head.headers, &call.incoming(head.version));
    offer.answer(&mut head.headers, route.headers.subprotocol(call.destination));
    call.add_attempts(&mut head.headers);
    call.add_remaining_quota(&mut head.headers);
    call.log_response(&head.headers);
    call.answers(head.status.as_u16());
    call.upgraded(Instant::now());
    // Not joined: the session ends with its sockets, and the runtime ends the rest.
    drop(tokio::spawn(run(call, client_upgrade, upgrade, again)));
    Response::from_parts(head, Body::Empty)
}

/// A provider's side of a WebSocket.
struct Opened {
    head: head::Parts,
    upgrade: OnUpgrade,
    /// The client's offer.
    offer: Offer,
    /// Dials it again, on a route that does so.
    again: Option<Dial<Prefixed>>,
}

/// Why there is no provider's side.
enum NotOpened {
    /// The client's handshake has no key.
    NoOffer,
    Failed(Box<Failed>),
    /// A failure that is not retried, or a redirect.
    Answered(Box<Answer>),
    /// An invalid response to a handshake.
    Invalid(StatusCode, &'static str),
}

/// Sends a prepared handshake to the provider, and validates its response.
async fn connect(
    client: &Client<RequestBody>,
    call: &mut RoutedContext,
    mut request: Request<RequestBody>,
) -> Result<Opened, NotOpened> {
    let route = Arc::clone(&call.route);
    let (keys, replaced) = route.headers.subprotocol_keys(call.destination);
    let injected = route.headers.subprotocol(call.destination);
    let offer = Offer::of(request.headers_mut(), (keys, replaced), route.headers.guards(), injected);
    let offer = offer.ok_or(NotOpened::NoOffer)?;
    call.hide(offer.secrets(keys));
    let again = repeatable(call, &request);
    let mut answer = retry::send(client, call, request, true).await.map_err(NotOpened::Failed)?;
    let status = answer.exchange.response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        // A redirect is forwarded; any other response that is not a failure is not a valid response to a handshake.
        return Err(match status.is_success() {
            true => NotOpened::Invalid(status, "an answer that is neither 101 nor a failure"),
            false => NotOpened::Answered(Box::new(answer)),
        });
    }
    let injected = route.headers.subprotocol(call.destination);
    let checked = offer.check(answer.exchange.response.headers(), injected);
    checked.map_err(|detail| NotOpened::Invalid(status, detail))?;
    let upgrade = hyper::upgrade::on(&mut answer.exchange.response);
    call.upstream.status = Some(status.as_u16());
    let (head, _) = answer.exchange.response.into_parts();
    let chosen = || head.headers.get(SEC_WEBSOCKET_PROTOCOL).cloned();
    let again = again.map(|again| redialler(client, call, again, &offer, chosen()));
    Ok(Opened { head, upgrade, offer, again })
}

/// The head of the handshake and its destination, if the provider's socket may be dialled again.
fn repeatable(call: &RoutedContext, request: &Request<RequestBody>) -> Option<(request::Parts, Destination)> {
    let config = &call.route.config;
    let (method, path) = call.request();
    let _ = config.profile.redial(method, path).filter(|_| config.websocket.redial)?;
    let mut again = Request::new(());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some((again.into_parts().0, call.destination))
}

/// A redialler for the handshake as it was finally sent, perhaps to another destination than it was prepared for.
fn redialler(
    client: &Client<RequestBody>,
    call: &RoutedContext,
    (mut parts, prepared): (request::Parts, Destination),
    offer: &Offer,
    chosen: Option<HeaderValue>,
) -> Dial<Prefixed> {
    if call.destination != prepared {
        call.route.headers.redirect(&mut parts, prepared, call.destination);
    }
    Redialler::new(client, call, parts, offer.clone(), chosen).into_dial()
}

/// Responds with an error, because the provider's response is not valid for a handshake.
fn refuse(mut call: Box<RoutedContext>, status: StatusCode, detail: &str) -> Response<Body> {
    call.upstream.status = Some(status.as_u16());
    let failure = Failure { fault: Fault::UpgradeFailed, detail: detail.to_owned(), request_body: None };
    response::failure(call, failure)
}

/// Waits until both connections have been handed over, then runs the session on them.
async fn run(mut call: Box<RoutedContext>, client: OnUpgrade, provider: OnUpgrade, again: Option<Dial<Prefixed>>) {
    match tokio::try_join!(client, provider) {
        Ok((client, provider)) => session(call, Prefixed::new(client), Prefixed::new(provider), again).await,
        Err(error) => {
            // The provider's connection is ready as soon as its 101 has arrived, so it was the client that disconnected.
            call.record(Phase::Frame, &CanonicalError::from_fault(Fault::ClientLeft), Some(error.to_string()));
            call.complete();
        }
    }
}

/// Runs a session until it is over.
async fn session(mut call: Box<RoutedContext>, client: Prefixed, provider: Prefixed, again: Option<Dial<Prefixed>>) {
    let route = Arc::clone(&call.route);
    let shared = Arc::clone(&call.state.shared);
    let websocket = route.config.websocket;
    let provider_answers = route.config.profile.sockets().answer_pings();
    let limits = Limits {
        idle: route.config.timeouts.websocket_idle,
        write: call.state.config.server.write_timeout,
        ping_client: route.config.client_ping,
        ping_provider: route.config.ping.filter(|_| provider_answers),
        provider_answers,
        sizes: Sizes { frame: websocket.max_frame, message: websocket.max_message },
    };
    let mut watch = call.watch.take();
    let redial = again.and_then(|again| Redial::of(&call, again));
    let errors = SessionErrors::new(call, Arc::clone(&route));
    let mut session = Session::new(client, provider, errors, route, limits).redialling(redial);
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
