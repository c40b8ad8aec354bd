//! Sockets whose clients show their gateway key in the first message.
//!
//! The handshake is accepted before anybody knows whose it is, and nothing goes to a provider until the key was found to be right.
//! Until then a socket is one of few, has little time, and little of it is read. What was read is what its session begins with, so that
//! the key in it is exchanged where all keys of first messages are.

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
use tokio::time::timeout;

/// How long a client may take to show its key, and what is read of it meanwhile: the message, and a little that came before it.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST: usize = HELD + 16 * 1024;

/// How long a client that was refused may take to close.
const LINGERING: Duration = Duration::from_secs(2);

/// How much is read at once.
const READ: usize = 4096;

/// Accepts a handshake, and finds out whose it is.
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
    // Some clients refuse an answer that names none of those that they offered, and the provider is asked later for this one alone.
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

/// Waits for the first message, and goes on as whoever's it is.
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
    // A call that is dropped is one whose client left.
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
        First::Late => Err(Box::new(Finding::unauthenticated(Phase::Frame, Fault::KeyMissing))),
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

/// What its limits grant, and the provider's side of it.
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

/// What a provider means by an answer that opens nothing.
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

/// Tells a client why its socket opens to nobody, and closes it.
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

/// What came of waiting for the first message.
enum First {
    Message(Vec<u8>),
    /// It broke the protocol, or is too large.
    Wrong(Violation),
    /// It did not come in time.
    Late,
    /// The client has left, or closed.
    Gone,
    /// This gateway ends.
    Stopping,
}

/// A client that has not been let in.
struct Greeting {
    io: Prefixed,
    frames: FrameReader,
    /// All that was read of it.
    read: BytesMut,
}

impl Greeting {
    fn new(io: Prefixed, sizes: Sizes) -> Greeting {
        let mut frames = FrameReader::new(Sender::Client, sizes);
        frames.look(Look::Next);
        Greeting { io, frames, read: BytesMut::new() }
    }

    async fn first_message(&mut self) -> First {
        loop {
            if self.read.len() > MOST {
                return First::Wrong(Violation::TooLarge);
            }
            let before = self.read.len();
            if !poll_fn(|cx| self.poll_more(cx)).await {
                return First::Gone;
            }
            let (mut found, mut gone, stop) = (None, false, Cell::new(false));
            let Greeting { frames, read, .. } = self;
            let new = read.get(before..).unwrap_or_default();
            let fed = frames.feed(new, &mut |_: Opcode, _: &[u8]| false, &stop, &mut |unit| match unit {
                Unit::Suspect(_, text) if found.is_none() => {
                    found = Some(text.to_vec());
                    stop.set(true);
                }
                Unit::Close(..) => gone = true,
                Unit::Suspect(..) | Unit::Pass(_) | Unit::Control(..) => {}
            });
            match (found, fed) {
                (Some(text), _) => return First::Message(text),
                (None, Err(violation)) => return First::Wrong(violation),
                (None, Ok(_)) if gone => return First::Gone,
                (None, Ok(_)) => {}
            }
        }
    }

    /// Reads on while its provider is asked, for the one reason that a client that leaves is noticed.
    async fn left(&mut self) {
        while self.read.len() <= MOST {
            if !poll_fn(|cx| self.poll_more(cx)).await {
                return;
            }
        }
        std::future::pending().await
    }

    /// Reads what there is; false at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut piece = [0; READ];
        let mut buffer = ReadBuf::new(&mut piece);
        let polled = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
        polled.map(|read| {
            self.read.extend_from_slice(buffer.filled());
            read.is_ok() && !buffer.filled().is_empty()
        })
    }

    /// Tells a client that it broke the protocol, or said too much.
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
