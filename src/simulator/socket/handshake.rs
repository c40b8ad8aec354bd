//! The opening handshake of a WebSocket, which is answered or refused as the provider does.

use super::session::{Opened, Session};
use crate::simulator::audio::base64;
use crate::simulator::body::{PacedBody, Reply};
use crate::simulator::dialect::SocketEndpoint;
use crate::simulator::engine::{Engine, add_ids, set_headers};
use crate::simulator::fault::{Failure, RequestedFault, Timing};
use crate::simulator::template::Vars;
use crate::simulator::token;
use crate::simulator::uri::{percent_decode, query};
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;

/// What RFC 6455 appends to a key before it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A socket whose handshake has been answered.
pub(crate) struct Opening {
    pub(crate) upgrade: OnUpgrade,
    pub(crate) session: Session,
}

/// The kind of socket that the request asks for, with the segments that its path names.
pub(crate) fn endpoint(engine: &Engine, request: &Request<Incoming>) -> Option<(&'static SocketEndpoint, Vars)> {
    let asks = request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !asks || request.version() != Version::HTTP_11 || request.method() != Method::GET {
        return None;
    }
    engine.dialect.socket(request.uri())
}

/// Answers a handshake; refused, with what the client gets instead.
pub(crate) async fn handshake(
    engine: &Arc<Engine>,
    endpoint: &'static SocketEndpoint,
    mut vars: Vars,
    mut request: Request<Incoming>,
) -> Result<(Response<PacedBody>, Opening), Reply> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    engine.plan.count(|stats| stats.requests += 1);
    let fault = requested_fault(engine, &parts)?;
    match fault.map(|fault| (fault.failure, fault.timing)) {
        Some((Failure::Provider(fault), Some(Timing::Handshake))) => {
            return Err(engine.failure(fault, &parts).await.into());
        }
        Some((Failure::Network(fault), Some(Timing::Handshake) | None)) => return Err(fault.reply()),
        _ => {}
    }
    let authorised = endpoint.open
        || engine.dialect.authorised(&parts.headers, &parts.uri)
        || subprotocol_token(endpoint, &parts)
        || fault.is_some();
    if !authorised && endpoint.first_message_auth.is_empty() {
        return Err(engine.named_failure(&engine.dialect.auth.missing, &parts).await.into());
    }
    let (Some(accept), true) = (accept(&parts.headers), version_13(&parts.headers)) else {
        return Err(engine.plain(400, Some("text/plain"), "This is no WebSocket handshake.\n").into());
    };
    add_ids(&mut vars);
    vars.insert("authority".into(), engine.address.to_string().into());
    let mut response = Response::new(PacedBody::whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    set_headers(headers, &engine.dialect.headers, &vars);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = chosen_subprotocol(endpoint, &parts) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let format = query(&parts.uri, "output_format").map(|value| String::from_utf8_lossy(&percent_decode(value)).into());
    let legacy = engine.dialect.legacy(&parts.headers, &parts.uri).is_some();
    let opened = Opened { vars, format, legacy, authorised, fault };
    let session = Session::new(Arc::clone(engine), endpoint, opened);
    Ok((response, Opening { upgrade, session }))
}

/// The failure that the handshake asks for; refused when nothing has that name.
fn requested_fault(engine: &Engine, parts: &Parts) -> Result<Option<RequestedFault>, Reply> {
    let Some(name) = token::requested(parts, b"") else { return Ok(None) };
    let fault = RequestedFault::parse(engine.provider, &name).filter(RequestedFault::on_socket);
    let fault = fault.ok_or_else(|| engine.no_such_fault(&name))?;
    let used_up = engine.count_fault(&name, fault.once, "socket");
    Ok((!used_up).then_some(fault))
}

/// The answer to the client's key.
fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    HeaderValue::from_str(&base64(hash.finish().as_ref())).ok()
}

fn version_13(headers: &HeaderMap) -> bool {
    headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
}

/// The subprotocols that the client offers.
fn offered<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',').map(str::trim))
}

/// Whether a subprotocol carries the credentials.
fn subprotocol_token(endpoint: &SocketEndpoint, parts: &Parts) -> bool {
    let Some(wanted) = &endpoint.subprotocol else { return false };
    offered(&parts.headers, &SEC_WEBSOCKET_PROTOCOL)
        .any(|protocol| protocol.strip_prefix(wanted.token.as_str()).is_some_and(|token| !token.is_empty()))
}

/// The subprotocol to answer, when it was offered.
fn chosen_subprotocol(endpoint: &SocketEndpoint, parts: &Parts) -> Option<HeaderValue> {
    let answer = &endpoint.subprotocol.as_ref()?.answer;
    offered(&parts.headers, &SEC_WEBSOCKET_PROTOCOL).find(|protocol| protocol == answer)?;
    HeaderValue::from_str(answer).ok()
}
