//! WebSockets: the handshake, and one connection played to its end.
//!
//! The frames are made and read by a codec that is none of the gateway's, so that both cannot be wrong in the same way.

mod row;
mod session;
mod wish;

pub(crate) use row::{End, Socket};
pub(crate) use wish::Wish;
pub use wish::{WIRE_FAULTS, WireFault};

use super::audio::base64;
use super::choose::{chosen, decode};
use super::dialect::query;
use super::engine::{Engine, Reply, add_ids, answer, set, strip};
use super::net::Sabotage;
use super::stream::Played;
use super::template::Vars;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use session::{Act, Opened, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_websockets::{CloseCode, Error, Limits, Message, ServerBuilder, WebSocketStream};
use wish::{What, When};

/// How long a caller may take to answer a close frame.
const GOODBYE: Duration = Duration::from_secs(5);
/// The longest message that is read.
const LONGEST: usize = 16 * 1024 * 1024;
/// What RFC 6455 appends to a key before it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A socket whose handshake has been answered.
pub(crate) struct Opening {
    upgrade: OnUpgrade,
    session: Session,
}

impl Engine {
    /// The kind of socket that the request asks for, with the segments that its path names.
    pub(crate) fn socket(&self, request: &Request<Incoming>) -> Option<(&'static Socket, Vars)> {
        let asks =
            request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if !asks || request.version() != Version::HTTP_11 || request.method() != Method::GET {
            return None;
        }
        self.dialect.socket(request.uri())
    }

    /// Answers a handshake.
    pub(crate) async fn upgrade(
        self: &Arc<Self>,
        socket: &'static Socket,
        mut vars: Vars,
        mut request: Request<Incoming>,
    ) -> Reply {
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        self.plan.count(|stats| stats.requests += 1);
        let wish = match chosen(&parts, b"") {
            Some(name) => match self.socket_wish(&name) {
                Some(wish) => wish,
                None => return answer(self.no_such(&name)),
            },
            None => None,
        };
        match wish.map(|wish| (wish.what, wish.when, wish.explicit)) {
            Some((What::Fault(fault), When::Handshake, _)) => return answer(self.failure(fault, &parts).await),
            Some((What::Net(fault), When::Handshake, _) | (What::Net(fault), _, false)) => {
                return match fault.sabotage() {
                    Sabotage::Answer(answer) => Reply::Answer(answer),
                    Sabotage::Raw { steps, reset } => Reply::Raw { steps, reset },
                };
            }
            _ => {}
        }
        let authorised = socket.open || self.dialect.authorised(&parts.headers, &parts.uri) || token(socket, &parts);
        if !authorised && wish.is_none() && socket.first_message_auth.is_empty() {
            return answer(self.named(&self.dialect.auth.missing, &parts).await);
        }
        let (Some(accept), true) = (accept(&parts.headers), versioned(&parts.headers)) else {
            return answer(self.plain(400, Some("text/plain"), "This is no WebSocket handshake.\n"));
        };
        add_ids(&mut vars);
        vars.insert("authority".into(), self.address.to_string().into());
        let mut response = Response::new(Played::whole(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        set(headers, &self.dialect.headers, &vars);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = protocol(socket, &parts) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let format = query(&parts.uri, "output_format").map(|value| String::from_utf8_lossy(&decode(value)).into());
        let legacy = self.dialect.legacy(&parts.headers, &parts.uri).is_some();
        let opened = Opened { vars, format, legacy, authorised: authorised || wish.is_some(), wish };
        let session = Session::new(Arc::clone(self), socket, opened);
        Reply::Socket(Box::new(response), Box::new(Opening { upgrade, session }))
    }

    /// What `name` stands for on a socket; nothing the second time when it begins with `once-`. The outer none is for a name
    /// that nobody knows.
    pub(crate) fn socket_wish(&self, name: &str) -> Option<Option<Wish>> {
        let (once, rest) = strip(name, "once-");
        let wish = Wish::read(self.provider, rest)?;
        self.plan.count(|stats| *stats.faults.entry(rest.to_owned()).or_default() += 1);
        let used_up = once && self.visit(&format!("once socket {name}")) > 0;
        Some((!used_up).then_some(wish))
    }
}

/// Plays a socket to its end. Whether the connection is to be reset.
pub(crate) async fn run(opening: Opening) -> bool {
    let Opening { upgrade, mut session } = opening;
    let Ok(upgraded) = upgrade.await else { return false };
    let limits = Limits::default().max_payload_len(Some(LONGEST));
    let mut stream = ServerBuilder::new().limits(limits).serve(TokioIo::new(upgraded));
    let ending = play(&mut stream, &mut session).await.unwrap_or(Ending::Gone);
    match ending {
        Ending::Reset => return true,
        Ending::Gone => {}
        Ending::Mute => while matches!(stream.next().await, Some(Ok(_))) {},
        Ending::Dead => std::future::pending().await,
        Ending::Closed => {
            // What the caller still says is read, so that its close frame is found behind it.
            let goodbye = async { while matches!(stream.next().await, Some(Ok(_))) {} };
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
    }
    false
}

enum Ending {
    Gone,
    Closed,
    Reset,
    Mute,
    Dead,
}

type Stream = WebSocketStream<TokioIo<Upgraded>>;

async fn play(stream: &mut Stream, session: &mut Session) -> Result<Ending, Error> {
    loop {
        let due = session.due();
        // What is due leaves before anything is read, so that the same session always looks the same.
        if due.is_none_or(|due| due > Instant::now()) {
            tokio::select! {
                message = stream.next() => match message {
                    None => return Ok(Ending::Gone),
                    Some(Err(error)) => {
                        // A breach of protocol is answered by the codec; that answer still has to leave.
                        let _ = stream.flush().await;
                        return Err(error);
                    }
                    Some(Ok(message)) if message.is_text() => session.hear(Some(message.as_payload())),
                    Some(Ok(message)) if message.is_binary() => session.hear(None),
                    Some(Ok(_)) => {}
                },
                () = until(due) => {}
            }
            continue;
        }
        let Some(act) = session.next() else { continue };
        match act {
            Act::Text(text) => stream.send(Message::text(text)).await?,
            Act::Binary(bytes) => stream.send(Message::binary(bytes)).await?,
            // The session waits by itself.
            Act::Pause(_) => {}
            Act::Raw(bytes) => {
                stream.flush().await?;
                stream.get_mut().write_all(&bytes).await.map_err(Error::Io)?;
                stream.get_mut().flush().await.map_err(Error::Io)?;
            }
            Act::Close(code, reason) => {
                close(stream, code, &reason).await?;
                return Ok(Ending::Closed);
            }
            Act::Drop => return Ok(Ending::Gone),
            Act::Reset => return Ok(Ending::Reset),
            Act::Mute => return Ok(Ending::Mute),
            Act::Dead => return Ok(Ending::Dead),
        }
    }
}

/// Waits until something is due; without anything, forever.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Sends a close frame, whatever its code: the codec refuses those that must not be sent.
async fn close(stream: &mut Stream, code: u16, reason: &str) -> Result<(), Error> {
    match CloseCode::try_from(code).ok().filter(|code| !code.is_reserved()) {
        Some(legal) => stream.send(Message::close(Some(legal), reason)).await,
        None => {
            let len = u8::try_from(reason.len() + 2).unwrap_or(2);
            let mut frame = vec![0x88, len];
            frame.extend_from_slice(&code.to_be_bytes());
            frame.extend_from_slice(&reason.as_bytes()[..usize::from(len) - 2]);
            stream.flush().await?;
            stream.get_mut().write_all(&frame).await.map_err(Error::Io)
        }
    }
}

/// The answer to the caller's key.
fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    HeaderValue::from_str(&base64(hash.finish().as_ref())).ok()
}

fn versioned(headers: &HeaderMap) -> bool {
    headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
}

/// The subprotocols that the caller offers.
fn offered<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',').map(str::trim))
}

/// Whether a subprotocol carries the credentials.
fn token(socket: &Socket, parts: &Parts) -> bool {
    let Some(wanted) = &socket.subprotocol else { return false };
    offered(&parts.headers, &SEC_WEBSOCKET_PROTOCOL)
        .any(|protocol| protocol.strip_prefix(wanted.token.as_str()).is_some_and(|token| !token.is_empty()))
}

/// The subprotocol to answer, when it was offered.
fn protocol(socket: &Socket, parts: &Parts) -> Option<HeaderValue> {
    let answer = &socket.subprotocol.as_ref()?.answer;
    offered(&parts.headers, &SEC_WEBSOCKET_PROTOCOL).find(|protocol| protocol == answer)?;
    HeaderValue::from_str(answer).ok()
}
