//! The first steps of a request: validates it, finds its route and identifies its tenant.

use super::authenticate::{self, Unknown};
use super::context::{RequestContext, RoutedContext};
use super::errors::Finding;
use super::headers::{self, Fields};
use super::informational::InformationalSender;
use super::request_body::RequestBody;
use super::response::{self, Body};
use super::route::Routed;
use super::state::{Peer, RouteRuntime, State};
use super::{gateway_key, path, tenants};
use crate::canon::{Fault, Phase};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::body::Incoming;
use std::sync::Arc;

/// A request that has been routed.
pub(super) struct Checked {
    /// The target at the provider.
    pub(super) target: PathAndQuery,
    pub(super) upload: RequestBody,
    /// Whether it is a WebSocket handshake.
    pub(super) websocket: bool,
    /// Whether the client has to show its key in the first message.
    pub(super) key_follows: bool,
}

/// A request that is rejected.
pub(super) struct Refused {
    pub(super) answer: Response<Body>,
    /// The route that it would have taken, whose CORS rules apply to the response.
    pub(super) route: Option<Arc<RouteRuntime>>,
}

/// Makes the context of a request, and checks it.
///
/// # Errors
/// The response to a request that is refused.
pub(super) fn begin(
    state: Arc<State>,
    peer: &Arc<Peer>,
    informational: Option<InformationalSender>,
    request: Request<Incoming>,
    fields: Fields,
) -> Result<(Box<RoutedContext>, Checked, request::Parts), Box<Refused>> {
    let (parts, body) = request.into_parts();
    let (call, checked) = check(state, peer, informational, &parts, body, fields)?;
    Ok((call, checked, parts))
}

/// Checks a request and finds its route.
///
/// # Errors
/// The response to a request that is refused.
pub(super) fn check(
    state: Arc<State>,
    peer: &Arc<Peer>,
    informational: Option<InformationalSender>,
    parts: &request::Parts,
    body: Incoming,
    fields: Fields,
) -> Result<(Box<RoutedContext>, Checked), Box<Refused>> {
    let mut request = RequestContext::begin(Arc::clone(&state), peer, parts, informational, fields);
    let (routed, websocket) = match find(&state, &mut request, parts) {
        Ok(Some(found)) => found,
        Ok(None) => {
            let route = would_take(&state, parts);
            return Err(Box::new(Refused { answer: answer_here(request), route }));
        }
        Err(fault) => {
            let route = would_take(&state, parts);
            let answer = match route.clone().filter(|_| is_understood(fault)) {
                Some(route) => {
                    request.authority = headers::authority(parts);
                    if fault == Fault::UpgradeRefused {
                        request.phase = Phase::Handshake;
                    }
                    response::fault(Box::new(RoutedContext::new(request, route, &parts.headers)), fault)
                }
                None => response::unrouted(request, fault),
            };
            return Err(Box::new(Refused { answer: refused(parts.version, fault, answer), route }));
        }
    };
    let mut call = Box::new(RoutedContext::new(request, state.runtime(routed.route), &parts.headers));
    let key_follows = match authenticate::authenticate(&mut call, parts) {
        Ok(()) => false,
        // Where the key is expected depends on the path at the provider.
        Err(Unknown { may_follow: true, .. }) if websocket && !call.route.config.credentials.is_empty() => true,
        Err(Unknown { finding, .. }) => {
            let route = Some(Arc::clone(&call.route));
            return Err(Box::new(Refused { answer: response::reject(call, *finding), route }));
        }
    };
    match aim(&mut call, &routed, parts, body, websocket) {
        Ok(_) if key_follows && call.opening().is_empty() => {
            let route = Some(Arc::clone(&call.route));
            let finding = Finding::unauthenticated(call.phase, Fault::KeyMissing);
            Err(Box::new(Refused { answer: response::reject(call, finding), route }))
        }
        Ok(checked) => Ok((call, Checked { key_follows, ..checked })),
        Err(fault) => {
            let route = Some(Arc::clone(&call.route));
            let answer = refused(parts.version, fault, response::fault(call, fault));
            Err(Box::new(Refused { answer, route }))
        }
    }
}

/// The route of a request, and whether the request is a WebSocket handshake. None when the request is for this gateway itself.
fn find<'s>(
    state: &'s State,
    request: &mut RequestContext,
    parts: &'s request::Parts,
) -> Result<Option<(Routed<'s>, bool)>, Fault> {
    let kind = headers::check_request(parts, request.fields, state.config.server.max_target_bytes)?;
    if kind.answer_here {
        return Ok(None);
    }
    if kind.websocket {
        request.phase = Phase::Handshake;
    }
    // First, because a looping request could otherwise wait for a slot that it occupies itself.
    state.shared.identity.check_loop(&parts.headers, request.fields)?;
    request.authority = headers::authority(parts);
    if state.tenants.guard() && request.authority.as_ref().is_some_and(gateway_key::has_key) {
        request.authority = None;
        return Err(Fault::BadHost);
    }
    if state.config.server.trust_forwarded {
        request.told = headers::Told::of(&parts.headers, request.fields).map(Box::new);
    }
    let named = request.authority.as_ref().and_then(|authority| authority.to_str().ok());
    Ok(Some((state.table.resolve(named, parts.uri.path())?, kind.websocket)))
}

/// Whether the request was understood despite this fault: the rejection then has the form of its route. Otherwise nothing in the
/// request can be trusted.
fn is_understood(fault: Fault) -> bool {
    matches!(fault, Fault::UpgradeRefused | Fault::MethodRefused | Fault::Loop)
}

/// The route that the request would have taken.
fn would_take(state: &State, parts: &request::Parts) -> Option<Arc<RouteRuntime>> {
    let authority = headers::authority(parts);
    let host = authority.as_ref().and_then(|authority| authority.to_str().ok());
    state.table.resolve(host, parts.uri.path()).ok().map(|routed| state.runtime(routed.route))
}

/// The target at the provider, and the body.
fn aim(
    call: &mut RoutedContext,
    routed: &Routed<'_>,
    parts: &request::Parts,
    body: Incoming,
    websocket: bool,
) -> Result<Checked, Fault> {
    let runtime = Arc::clone(&call.route);
    let route = &runtime.config;
    let body_timeout = call.state.config.server.body_timeout;
    let (waker, headers) = (&call.peer.waker, &runtime.headers);
    let upload = RequestBody::new(body, parts.version, route.max_request_body, body_timeout, waker, headers)?;
    let upload = match headers.guards() {
        true => upload.guarded(|| call.exit()),
        false => upload,
    };
    let upload = match call.phase {
        Phase::Grpc => upload.of_call(route.max_request_body, route.timeouts.websocket_idle),
        _ => upload,
    };
    call.uploads(upload.progress());
    let whole = parts.uri.path_and_query();
    let base_path = route.upstreams.get(call.destination.upstream).map_or("", |upstream| upstream.base_path.as_str());
    let target = path::upstream_target(base_path, routed.rest(), whole, runtime.headers.drop_query(websocket))?;
    let target = if call.state.tenants.guard() { tenants::clean_target(target)? } else { target };
    call.upstream.target = target.clone().into();
    call.upstream.base_path = base_path.len();
    Ok(Checked { target, upload, websocket, key_follows: false })
}

/// Completes the response to a request that is rejected. If the request's framing cannot be trusted, neither can the bytes after
/// it, so the connection is closed (RFC 9112 6.3). A client that speaks another WebSocket version is told the supported one (RFC
/// 6455 4.4, RFC 9110 15.5.22).
pub(super) fn refused(version: Version, fault: Fault, mut answer: Response<Body>) -> Response<Body> {
    if fault == Fault::UpgradeVersion {
        let fields =
            [(header::SEC_WEBSOCKET_VERSION, "13"), (header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")];
        answer.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    }
    if matches!(fault, Fault::BadRequest | Fault::BadHost) && version < Version::HTTP_2 {
        let _ = answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// `OPTIONS *` and the like (RFC 9110 7.6.2, 9.3.7).
pub(super) fn answer_here(mut request: RequestContext) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let _ = response.headers_mut().insert(headers::REQUEST_ID, request.id.clone());
    request.answers(StatusCode::NO_CONTENT.as_u16());
    request.complete_unrouted();
    response
}
