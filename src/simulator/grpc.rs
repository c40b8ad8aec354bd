//! Calls of gRPC: every message is answered with one, and a failure that was asked for ends the call in its trailers.
//!
//! A client chooses the failure in its metadata (`x-speechgate-fault`), in the path or in its first message. `fault-<code>` is the whole
//! answer; `fault-open-…` follows the head, `fault-mid-…` the first message, `fault-end-…` all of them. `fault-net-<name>` breaks the
//! connection, `fault-mid-net-<name>` the stream. `fault-silent-<name>` leaves messages out, or has them wait.

mod words;

use super::body::{PacedBody, Reply};
use super::engine::Engine;
use super::fault::{Failure, RequestedFault, Silent, Timing};
use super::script::{FLUSH, Step};
use super::token;
use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Most answers that wait for their client to read.
const WAITING: usize = 16;
/// Bytes before each message.
const PREFIX: usize = 5;

/// Whether a request is a call.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    let of = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    request.version() == Version::HTTP_2 && request.headers().get(CONTENT_TYPE).is_some_and(of)
}

/// Answers a call.
pub(crate) async fn handle(engine: &Arc<Engine>, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let mut messages = Messages { body, read: BytesMut::new() };
    let mut first = None;
    let name = match token::requested(&parts, b"") {
        Some(name) => Some(name),
        None => {
            first = messages.next().await;
            first.as_deref().and_then(token::find)
        }
    };
    engine.plan.count(|stats| stats.requests += 1);
    let fault = match name.as_deref().map(|name| (name, RequestedFault::parse(engine.provider, name))) {
        None => None,
        Some((name, None)) => return refusal(words::no_such_fault(name)).into(),
        Some((name, Some(fault))) => {
            let used_up = engine.count_fault(name, fault.once, parts.uri.path());
            Some(fault).filter(|_| !used_up)
        }
    };
    match fault.map(|fault| (fault.failure, fault.timing)) {
        Some((Failure::Provider(fault), None | Some(Timing::Answer | Timing::Handshake))) => {
            refusal(words::trailers(fault)).into()
        }
        Some((Failure::Network(fault), None | Some(Timing::Answer | Timing::Handshake))) => fault.reply(),
        Some((Failure::Silent(Silent::HalfOpen), None)) => Reply::frozen(),
        other => stream(engine, parts, messages, first, other),
    }
}

/// An answer that is nothing but its end.
fn refusal(mut trailers: HeaderMap) -> Response<PacedBody> {
    trailers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut response = Response::new(PacedBody::whole(Bytes::new()));
    *response.headers_mut() = trailers;
    response
}

/// What the failure of a call that has begun is, and when it comes.
type Later = Option<(Failure, Option<Timing>)>;

/// A call that begins, whatever becomes of it.
fn stream(engine: &Arc<Engine>, parts: Parts, messages: Messages, first: Option<Bytes>, fault: Later) -> Reply {
    let Ok(slot) = engine.plan.take() else { return refusal(words::plan_is_full()).into() };
    let (steps, fed) = mpsc::channel(WAITING);
    // It ends with its client, who drops the other side.
    drop(tokio::spawn(answer(parts, messages, first, fault, steps)));
    let mut response = Response::new(PacedBody::fed(fed).holding(Some(slot)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.into()
}

async fn answer(parts: Parts, mut messages: Messages, first: Option<Bytes>, fault: Later, steps: mpsc::Sender<Step>) {
    let comes = |at: Timing| fault.filter(|(_, timing)| *timing == Some(at)).map(|(failure, _)| failure);
    let silent = fault.and_then(|(failure, timing)| match (failure, timing) {
        (Failure::Silent(silent), None) => Some(silent),
        _ => None,
    });
    let said = words::answer(parts.uri.path());
    let mut next = first;
    let mut answered = 0;
    let ended = loop {
        if let Some(failure) = comes(Timing::Open) {
            break Some(failure);
        }
        if answered == 1
            && let Some(failure) = comes(Timing::Middle)
        {
            break Some(failure);
        }
        let message = match next.take() {
            Some(message) => Some(message),
            None => messages.next().await,
        };
        if message.is_none() {
            break comes(Timing::Middle).or_else(|| comes(Timing::End));
        }
        answered += 1;
        for step in silent.map_or_else(|| vec![Step::Send(said.clone())], |silent| silenced(silent, &said, answered)) {
            if steps.send(step).await.is_err() {
                return;
            }
        }
    };
    let last = match ended {
        None => vec![Step::Trailers(Box::new(words::success()))],
        Some(Failure::Provider(fault)) => vec![Step::Trailers(Box::new(words::trailers(fault)))],
        Some(Failure::Network(fault)) => fault.in_stream(),
        Some(Failure::Silent(Silent::HalfOpen)) => vec![Step::Pause(FLUSH), Step::Freeze],
        Some(Failure::Silent(_)) => vec![Step::Hang],
        Some(Failure::Close(_) | Failure::Wire(_)) => vec![Step::Pause(FLUSH), Step::Cut],
    };
    for step in last {
        if steps.send(step).await.is_err() {
            return;
        }
    }
}

/// What answers a client's message, the first or a later one, where silence was asked for.
fn silenced(silent: Silent, said: &Bytes, number: usize) -> Vec<Step> {
    let said = Step::Send(said.clone());
    match (silent, number) {
        (Silent::Never | Silent::HalfOpen, _) => vec![Step::Hang],
        (Silent::Late(time), 1) => vec![Step::Pause(time), said],
        (Silent::Late(_), _) => vec![said],
        (Silent::Stall(time), 1) => vec![said, time.map_or(Step::Hang, Step::Pause)],
        (Silent::Stall(_), _) => vec![said],
        (Silent::Empty, _) => Vec::new(),
    }
}

/// The messages that a client sends.
struct Messages {
    body: Incoming,
    read: BytesMut,
}

impl Messages {
    /// The next one; none when the client has said all, or has left.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some([_, length @ ..]) = self.read.first_chunk::<PREFIX>() {
                let length = u32::from_be_bytes(*length) as usize;
                if self.read.len() >= PREFIX + length {
                    self.read.advance(PREFIX);
                    return Some(self.read.split_to(length).freeze());
                }
            }
            let data = self.body.frame().await?.ok()?.into_data().ok()?;
            self.read.extend_from_slice(&data);
        }
    }
}
