//! One request, from routed to answered.
//!
//! [`Proxy::handle`] lists the steps. It cannot fail: every failure becomes a response.

mod admit;
mod authenticate;
mod checker;
mod context;
mod cors;
pub mod errors;
mod forward;
pub mod gateway_key;
pub mod headers;
mod idle;
mod informational;
pub mod limits;
mod pages;
pub mod path;
mod public;
pub mod redact;
mod request_body;
mod response;
mod retry;
pub mod route;
mod state;
pub mod tenants;
#[cfg(test)]
mod tests;
mod trace;
pub mod upstreams;
mod ws;

pub use checker::check_health;
pub use informational::{InformationalSender, Outbox};
pub use request_body::{ClientFault, RequestBody};
pub use response::{Body, Cut, Events, Messages};
pub use state::{Peer, RouteRuntime, Shared, State, Stopping};
pub use upstreams::{AccountView, RouteHealthView, UpstreamView};

use context::{RequestContext, RoutedContext};
use cors::Page;
use headers::Fields;
use idle::within;
use limits::Denied;
use pages::{addresses, rules_for, rules_of_nowhere, tell};
use route::Routed;

use crate::canon::{Fault, Phase};
use crate::upstream::{Client, TlsShared};
use crate::wire::grpc;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// What one worker needs to serve requests. Each worker has its own connections to providers.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<ArcSwap<State>>,
    client: Client<RequestBody>,
}

impl Proxy {
    /// A proxy that uses the configuration in force.
    #[must_use]
    pub fn new(state: Arc<ArcSwap<State>>, tls: Arc<TlsShared>) -> Proxy {
        Proxy { state, client: Client::new(tls) }
    }

    /// The response in place of one that was lost to a panic, to a call of gRPC or another.
    #[must_use]
    pub fn panicked(grpc: bool) -> Response<Body> {
        response::panicked(grpc)
    }

    /// The response to bytes that never became a request, counted and logged: a whole HTTP/1.1 response.
    #[must_use]
    pub fn refuse(&self, client: Option<SocketAddr>, fault: Fault) -> Bytes {
        errors::refuse(&self.state.load().shared, client, fault)
    }

    /// Answers one request.
    pub fn handle<'s, 'p>(
        &'s self,
        peer: &'p Arc<Peer>,
        informational: Option<InformationalSender>,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send + use<'s, 'p> {
        let state = self.state.load_full();
        if state.tenants.ask() {
            tenants::strip_fields(request.headers_mut(), |name| state.tenants.is_place(name));
        }
        let fields = Fields::of(request.headers());
        if state.has_cors || fields.may_have(Fields::ORIGIN | Fields::SEC_FETCH_SITE) {
            // Boxed: most requests are of no page.
            Either::Left(Box::pin(self.answer_page(state, peer, informational, request, fields)))
        } else {
            Either::Right(self.answer(state, peer, informational, request, fields))
        }
    }

    /// Answers a request that may be of a page of a browser.
    async fn answer_page(
        &self,
        state: Arc<State>,
        peer: &Arc<Peer>,
        informational: Option<InformationalSender>,
        request: Request<Incoming>,
        fields: Fields,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let page = Page::of(&parts, addresses(&state, &parts, fields).iter().map(String::as_str));
        if let Some(rules) = rules_of_nowhere(&state, &parts, fields).filter(|_| page.is_preflight()) {
            let mut answer = answer_here(RequestContext::begin(state, peer, &parts, informational, fields));
            page.allow(&rules, answer.headers_mut());
            return answer;
        }
        let checked = check(Arc::clone(&state), peer, informational, &parts, body, fields);
        let route = match &checked {
            Ok((call, _)) => Some(Arc::clone(&call.route)),
            Err(refused) => refused.route.clone(),
        };
        let (rules, foreign) = rules_for(&state, &page, route.as_deref(), &parts);
        let grpc = parts.version == Version::HTTP_2 && grpc::is_grpc(&parts.headers);
        let mut answer = match checked {
            Ok((call, _)) if foreign => response::fault(call, Fault::OriginRefused),
            Ok((call, _)) if rules.is_some() && page.is_preflight() => response::no_content(call),
            Ok((call, checked)) => {
                // The answer in place of one that a panic took away is for the page to read as well. Nothing is polled again.
                let answer = AssertUnwindSafe(self.forward(call, checked, peer, parts)).catch_unwind();
                answer.await.unwrap_or_else(|_panic| response::panicked(grpc))
            }
            Err(refused) => refused.answer,
        };
        tell(&page, rules.as_deref(), route.as_deref(), answer.headers_mut());
        answer
    }

    async fn answer(
        &self,
        state: Arc<State>,
        peer: &Arc<Peer>,
        informational: Option<InformationalSender>,
        request: Request<Incoming>,
        fields: Fields,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match check(state, peer, informational, &parts, body, fields) {
            Ok((call, checked)) => self.forward(call, checked, peer, parts).await,
            Err(refused) => refused.answer,
        }
    }

    /// Forwards a request whose route is known, as far as the limits let it.
    async fn forward(
        &self,
        mut call: Box<RoutedContext>,
        mut checked: Checked,
        peer: &Peer,
        parts: request::Parts,
    ) -> Response<Body> {
        let version = parts.version;
        let websocket = checked.websocket;
        // A browser asks before its page may: that is no call, takes no slot and counts for no rate.
        call.destination.keyless = headers::is_preflight(&parts.method, &parts.headers);
        let admitted = match call.end {
            _ if call.destination.keyless => Ok(()),
            None => admit::admit(&mut call, &parts, &mut checked.upload, websocket).await,
            Some(end) => {
                let admitted = Box::pin(admit::admit(&mut call, &parts, &mut checked.upload, websocket));
                within(end, admitted).await.unwrap_or_else(|fault| Err(fault.into()))
            }
        };
        match admitted {
            Ok(()) => {}
            Err(Denied::Fault(fault)) => return refused(version, fault, response::fault(call, fault)),
            Err(denied @ Denied::Limit(_)) => {
                let finding = errors::Finding::denied(call.phase, denied);
                return response::reject(call, finding);
            }
        }
        let settled = checked.upload.settle_whether_empty(&parts.method).await;
        let request = match settled.and_then(|()| prepare(&mut call, peer, parts, checked)) {
            Ok(request) => request,
            Err(fault) => return refused(version, fault, response::fault(call, fault)),
        };
        if websocket {
            // Rare and large: boxed, so that ordinary requests do not reserve space for it.
            return Box::pin(ws::relay(&self.client, call, request)).await;
        }
        // Two statements: otherwise the future would reserve space for the result of `send` while it awaits `relay`.
        let answer = match retry::send(&self.client, &mut call, request, false).await {
            Ok(answer) => answer,
            Err(failed) => return response::failed(call, *failed),
        };
        response::relay(call, answer).await
    }
}

/// A request whose route is known.
struct Checked {
    /// Where it goes at the provider.
    target: PathAndQuery,
    upload: RequestBody,
    /// Whether it is a WebSocket handshake.
    websocket: bool,
}

/// A request that goes no further.
struct Refused {
    answer: Response<Body>,
    /// The route that it would have taken, which says what pages of browsers may read of the answer.
    route: Option<Arc<RouteRuntime>>,
}

/// Checks a request and finds its route.
///
/// # Errors
/// The response to a request that is refused.
fn check(
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
    if let Err(finding) = authenticate::authenticate(&mut call, parts) {
        let route = Some(Arc::clone(&call.route));
        return Err(Box::new(Refused { answer: response::reject(call, *finding), route }));
    }
    match aim(&mut call, &routed, parts, body, websocket) {
        Ok(checked) => Ok((call, checked)),
        Err(fault) => {
            let route = Some(Arc::clone(&call.route));
            let answer = refused(parts.version, fault, response::fault(call, fault));
            Err(Box::new(Refused { answer, route }))
        }
    }
}

/// The route of a request, and whether that is a WebSocket handshake. None when the request was meant for this gateway itself.
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
    // Before a looping request could wait for a slot that it holds itself.
    state.shared.identity.check_loop(&parts.headers, request.fields)?;
    request.authority = headers::authority(parts);
    if state.tenants.ask() && request.authority.as_ref().is_some_and(|host| gateway_key::is_in(host.as_bytes())) {
        request.authority = None;
        return Err(Fault::BadHost);
    }
    if state.config.server.trust_forwarded {
        request.told = headers::Told::of(&parts.headers, request.fields).map(Box::new);
    }
    let named = request.authority.as_ref().and_then(|authority| authority.to_str().ok());
    Ok(Some((state.table.resolve(named, parts.uri.path())?, kind.websocket)))
}

/// Whether a request that is refused so was understood: the refusal then has the form of its route. Of any other nothing that it
/// says can be trusted.
fn is_understood(fault: Fault) -> bool {
    matches!(fault, Fault::UpgradeRefused | Fault::MethodRefused | Fault::Loop)
}

/// The route that a request would have taken.
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
    let upload = match call.phase {
        Phase::Grpc => upload.of_call(route.max_request_body, route.timeouts.websocket_idle),
        _ => upload,
    };
    call.uploads(upload.progress());
    let whole = parts.uri.path_and_query();
    let base_path = route.upstreams.get(call.destination.upstream).map_or("", |upstream| upstream.base_path.as_str());
    let target = path::upstream_target(base_path, routed.rest(), whole, runtime.headers.drop_query(websocket))?;
    let target = if call.state.tenants.ask() { tenants::clean_target(target)? } else { target };
    call.upstream.target = target.clone().into();
    call.upstream.base_path = base_path.len();
    Ok(Checked { target, upload, websocket })
}

/// Turns a request into the one for the provider.
fn prepare(
    call: &mut RoutedContext,
    peer: &Peer,
    mut parts: request::Parts,
    checked: Checked,
) -> Result<Request<RequestBody>, Fault> {
    let state = Arc::clone(&call.state);
    let runtime = Arc::clone(&call.route);
    let outgoing = headers::Outgoing {
        fields: call.fields,
        method: &parts.method,
        version: parts.version,
        authority: parts.uri.authority(),
        websocket: checked.websocket,
        peer: &peer.headers,
        route: &runtime.headers,
        destination: call.destination,
        identity: &state.shared.identity,
        request_id: &call.id,
        trust_forwarded: state.config.server.trust_forwarded,
    };
    headers::prepare_request(&mut parts.headers, &outgoing);
    if call.phase == Phase::Grpc {
        // For this hop: servers refuse calls without it.
        let _ = parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    parts.uri = runtime.headers.target(checked.target, call.destination, checked.websocket)?.into();
    parts.version = http::Version::HTTP_11;
    if call.fields.may_have(Fields::RANGE)
        && runtime.config.profile.rewrites(call.method.as_str(), call.provider_path()).is_some()
    {
        // A part of a body whose URLs are rewritten has neither the bytes nor the places that the client asks for.
        for name in [header::RANGE, header::IF_RANGE] {
            let _ = parts.headers.remove(name);
        }
    }
    Ok(Request::from_parts(parts, checked.upload))
}

/// Where a request cannot be trusted, neither can what seems to follow it: the connection ends (RFC 9112 6.3). Who speaks another
/// version of the WebSocket protocol learns which one is spoken here (RFC 6455 4.4, RFC 9110 15.5.22).
fn refused(version: Version, fault: Fault, mut answer: Response<Body>) -> Response<Body> {
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
fn answer_here(mut request: RequestContext) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let _ = response.headers_mut().insert(headers::REQUEST_ID, request.id.clone());
    request.answers(StatusCode::NO_CONTENT.as_u16());
    request.complete_unrouted();
    response
}
