//! WebSockets whose clients show their gateway key in the first message.
//!
//! The handshake is accepted before the client is authenticated, and nothing is sent to a provider until the key is valid. Until
//! then the number of such sockets, their time and the bytes read are bounded. The session begins with the bytes that were read,
//! so that the key is replaced where all keys of first messages are.

use super::close::{CloseMessage, SessionErrors};
use super::frames::{FrameReader, HELD, Look, Sizes, Unit, Violation};
use super::handshake::accept;
use super::prefixed::Prefixed;
use super::side::Side;
use super::{NotOpened, Opened, connect as dial, session};
use crate::canon::{CanonicalError, Fault, Phase};
use crate::proxy::check::Checked;
use crate::proxy::context::RoutedContext;
use crate::proxy::errors::{self, Finding};
use crate::proxy::prepare::prepare;
use crate::proxy::request_body::RequestBody;
use crate::proxy::response::{self, Body, read::read_failure};
use crate::proxy::retry::{Answer, Failed};
use crate::proxy::tenants::UnknownSocket;
use crate::proxy::{admit, authenticate, headers};
use crate::upstream::{Client, Failure};
use crate::wire::frame::{Opcode, Sender};
use bytes::BytesMut;
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL};
use http::{Request, Response, StatusCode, Version, request};
use hyper::upgrade::OnUpgrade;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::{timeout, timeout_at};

/// How long a client may take to show its key. The number of bytes read meanwhile is bounded as well: the message, and a little
/// before it.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST: usize = HELD + 16 * 1024;

/// The same once it has sent something binary, which has no place for a key: audio may be sent by another task than the first message,
/// and be a little ahead of it.
const HURRY: Duration = Duration::from_secs(2);

/// How long a rejected client may take to close.
const LINGERING: Duration = Duration::from_secs(2);

/// How much is read at once.
const READ: usize = 4096;

/// Accepts a handshake, and authenticates the client by its first message.
pub(in crate::proxy) fn open(
    client: Client<RequestBody>,
    mut call: Box<RoutedContext>,
    checked: Checked,
    mut parts: request::Parts,
) -> Response<Body> {
    let address = call.client_address(&parts.headers);
    let Some(place) = call.state.shared.tenants.opens_unknown(address) else {
        return response::fault(call, Fault::TooManyConnections);
    };
    let Some(key) = parts.headers.get(SEC_WEBSOCKET_KEY) else { return response::fault(call, Fault::UpgradeRefused) };
    let mut fields = HeaderMap::new();
    if let Ok(accept) = HeaderValue::try_from(accept(key.as_bytes())) {
        let _ = fields.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    // Some clients reject a response that selects none of their subprotocols; the provider is later offered only this one.
    let chosen = headers::list(&parts.headers, &SEC_WEBSOCKET_PROTOCOL).next().map(<[u8]>::to_vec);
    if let Some(chosen) = chosen.and_then(|chosen| HeaderValue::from_bytes(&chosen).ok()) {
        let _ = parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, chosen.clone());
        let _ = fields.insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    headers::prepare_handshake(&mut fields, &call.incoming(Version::HTTP_11));
    let mut request = Request::from_parts(parts, ());
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, ()) = request.into_parts();
    call.log_response(&fields);
    call.answers(StatusCode::SWITCHING_PROTOCOLS.as_u16());
    // Not joined: it ends in time, or becomes a session.
    drop(tokio::spawn(begin(client, call, (checked, parts), upgrade, place)));
    let mut response = Response::new(Body::Empty);
    (*response.status_mut(), *response.headers_mut()) = (StatusCode::SWITCHING_PROTOCOLS, fields);
    response
}

/// Waits for the first message, and continues for the tenant that it identifies.
async fn begin(
    client: Client<RequestBody>,
    mut call: Box<RoutedContext>,
    (checked, parts): (Checked, request::Parts),
    upgrade: OnUpgrade,
    place: UnknownSocket,
) {
    let shared = Arc::clone(&call.state.shared);
    let sizes = call.route.config.websocket;
    let sizes = Sizes { frame: sizes.max_frame, message: sizes.max_message };
    // A call that is dropped counts as disconnected by its client.
    let Ok(Ok(upgraded)) = timeout(PATIENCE, upgrade).await else { return };
    let mut greeting = Greeting::new(Prefixed::new(upgraded), sizes);
    let first = tokio::select! {
        biased;
        first = timeout(PATIENCE, greeting.first_message()) => first.unwrap_or(First::Late),
        () = shared.stopping.begun() => First::Stopping,
    };
    let known = match first {
        First::Message(text) => {
            let members = call.opening();
            authenticate::authenticate_first(&mut call, &text, &members)
        }
        First::Late | First::Binary => Err(Box::new(Finding::unauthenticated(Phase::Frame, Fault::KeyMissing))),
        First::Stopping => Err(Box::new(Finding::fault(Phase::Frame, Fault::ShuttingDown))),
        First::Wrong(violation) => return greeting.broken(call, violation, sizes).await,
        First::Gone => return,
    };
    drop(place);
    if let Err(finding) = known {
        return refuse(call, greeting.io, *finding, sizes).await;
    }
    call.key_followed = true;
    let dialled = tokio::select! {
        biased;
        dialled = connect(&client, &mut call, checked, parts) => dialled,
        () = greeting.left() => return,
    };
    let (upgraded, again) = match dialled {
        Ok(Opened { upgrade, again, .. }) => (upgrade.await, again),
        Err(finding) => return refuse(call, greeting.io, *finding, sizes).await,
    };
    match upgraded {
        Ok(provider) => {
            call.upgraded(Instant::now());
            let Greeting { io, read, .. } = greeting;
            session(call, io.again(read.freeze()), Prefixed::new(provider), again).await;
        }
        Err(error) => {
            let detail = Some(error.to_string());
            let finding = Finding::fault(Phase::Frame, Fault::UpgradeFailed).with_detail(detail);
            refuse(call, greeting.io, finding, sizes).await;
        }
    }
}

/// Asks the limits, then connects to the provider.
async fn connect(
    client: &Client<RequestBody>,
    call: &mut RoutedContext,
    mut checked: Checked,
    parts: request::Parts,
) -> Result<Opened, Box<Finding<'static>>> {
    let fault = |fault| Box::new(Finding::fault(Phase::Frame, fault));
    let admitted = admit::admit(call, &parts, &mut checked.upload, true).await;
    admitted.map_err(|denied| Box::new(Finding::denied(Phase::Frame, denied)))?;
    let peer = Arc::clone(&call.peer);
    let request = prepare(call, &peer, parts, checked).map_err(fault)?;
    match dial(client, call, request).await {
        Ok(opened) => Ok(opened),
        Err(NotOpened::NoOffer) => Err(fault(Fault::UpgradeRefused)),
        Err(NotOpened::Invalid(_, detail)) => {
            let failure = Failure { fault: Fault::UpgradeFailed, detail: detail.to_owned(), request_body: None };
            Err(Box::new(Finding::failure(Phase::Frame, failure)))
        }
        Err(NotOpened::Answered(answer)) => Err(refused(call, *answer).await),
        Err(NotOpened::Failed(failed)) => Err(Box::new(match *failed {
            Failed::Lost(failure) => Finding::failure(Phase::Frame, failure),
            Failed::Broken(wait) => Finding::circuit_open(Phase::Frame, wait),
            Failed::Refused(parts, read, known) => {
                call.upstream.status = Some(parts.status.as_u16());
                let meaning = || errors::classify(call, parts.status.as_u16(), &parts.headers, &read);
                Finding::of(Phase::Frame, known.map_or_else(meaning, |known| *known))
            }
        })),
    }
}

/// The error for a provider's response that opened no socket.
async fn refused(call: &mut RoutedContext, answer: Answer) -> Box<Finding<'static>> {
    let (parts, body) = answer.exchange.response.into_parts();
    call.upstream.status = Some(parts.status.as_u16());
    if parts.status.is_redirection() {
        return Box::new(Finding::fault(Phase::Frame, Fault::UpgradeFailed));
    }
    let read = read_failure(call, &parts, body).await;
    let error = errors::classify(call, parts.status.as_u16(), &parts.headers, &read);
    Box::new(Finding::of(Phase::Frame, error))
}

/// Sends a client the reason that its socket is not admitted, and closes it.
async fn refuse(mut call: Box<RoutedContext>, io: Prefixed, finding: Finding<'static>, sizes: Sizes) {
    drop(call.begun.take());
    call.phase = Phase::Frame;
    let route = Arc::clone(&call.route);
    let mut errors = SessionErrors::new(call, route);
    let closing = errors.refused(finding);
    let code = closing.code;
    farewell(errors, io, (closing, code), sizes).await;
}

async fn farewell(mut errors: SessionErrors, io: Prefixed, (closing, code): (CloseMessage, u16), sizes: Sizes) {
    let mut side = Side::new(io, Sender::Client, sizes, None);
    let mut said = false;
    let closed = poll_fn(|cx| {
        if !std::mem::replace(&mut said, true) {
            closing.messages.iter().for_each(|message| side.tell(cx, message));
            side.close(cx, Some(code), closing.reason.as_deref().unwrap_or_default());
        }
        let _ = side.write(cx);
        side.drain_to_close(cx);
        side.poll_end(cx)
    });
    let _ = timeout(LINGERING, closed).await;
    errors.call.close_code = Some(code);
    errors.call.complete();
}

/// The result of waiting for the first message.
enum First {
    Message(Vec<u8>),
    /// It violated the protocol, or was too large.
    Wrong(Violation),
    /// It was binary, which has no place for a key, and no other came behind it.
    Binary,
    /// It did not arrive in time.
    Late,
    /// The client disconnected or closed.
    Gone,
    /// The gateway is stopping.
    Stopping,
}

/// A client that has not been admitted yet.
struct Greeting {
    io: Prefixed,
    frames: FrameReader,
    /// All bytes read from it.
    read: BytesMut,
}

impl Greeting {
    fn new(io: Prefixed, sizes: Sizes) -> Greeting {
        let mut frames = FrameReader::new(Sender::Client, sizes);
        frames.look(Look::Next);
        Greeting { io, frames, read: BytesMut::new() }
    }

    async fn first_message(&mut self) -> First {
        let mut until = None;
        loop {
            if self.read.len() > MOST {
                return First::Wrong(Violation::TooLarge);
            }
            let before = self.read.len();
            let more = poll_fn(|cx| self.poll_more(cx));
            let more = match until {
                None => Ok(more.await),
                Some(until) => timeout_at(until, more).await,
            };
            match more {
                Err(_) => return First::Binary,
                Ok(false) => return First::Gone,
                Ok(true) => {}
            }
            let (mut found, mut binary, mut gone, stop) = (None, false, false, Cell::new(false));
            let Greeting { frames, read, .. } = self;
            let new = read.get(before..).unwrap_or_default();
            let fed = frames.feed(new, &mut |_: Opcode, _: &[u8]| false, &stop, &mut |unit| match unit {
                Unit::Suspect(_, text) if found.is_none() => {
                    found = Some(text.to_vec());
                    stop.set(true);
                }
                // Every text is looked at, so this is none.
                Unit::Pass(_) => binary = true,
                Unit::Close(..) => gone = true,
                Unit::Suspect(..) | Unit::Control(..) => {}
            });
            match (found, fed) {
                (Some(text), _) => return First::Message(text),
                (None, Err(violation)) => return First::Wrong(violation),
                (None, Ok(_)) if gone => return First::Gone,
                (None, Ok(_)) if binary => {
                    let _ = until.get_or_insert_with(|| tokio::time::Instant::now() + HURRY);
                }
                (None, Ok(_)) => {}
            }
        }
    }

    /// Keeps reading while the provider is dialled, only to notice that the client disconnects.
    async fn left(&mut self) {
        while self.read.len() <= MOST {
            if !poll_fn(|cx| self.poll_more(cx)).await {
                return;
            }
        }
        std::future::pending().await
    }

    /// Reads what is there; false at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut piece = [0; READ];
        let mut buffer = ReadBuf::new(&mut piece);
        let polled = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
        polled.map(|read| {
            self.read.extend_from_slice(buffer.filled());
            read.is_ok() && !buffer.filled().is_empty()
        })
    }

    /// Closes the socket of a client that violated the protocol or sent too much.
    async fn broken(self, mut call: Box<RoutedContext>, violation: Violation, sizes: Sizes) {
        call.phase = Phase::Frame;
        let fault = match violation {
            Violation::TooLarge => Fault::ClientSocketTooLarge,
            Violation::Broken(_) => Fault::ClientSocketInvalid,
        };
        let route = Arc::clone(&call.route);
        let mut errors = SessionErrors::new(call, route);
        let closing = errors.refused(Finding::of(Phase::Frame, CanonicalError::from_fault(fault)));
        farewell(errors, self.io, (closing, violation.close_code()), sizes).await;
    }
}
