//! One request, from routed to answered.
//!
//! [`Proxy::handle`] is the list of the steps. It cannot fail: every refusal and every failure leaves by `fail`.

mod admit;
mod body;
mod call;
pub mod fail;
mod forward;
pub mod headers;
mod held;
mod interim;
pub mod limits;
pub mod path;
mod public;
pub mod redact;
mod relay_events;
mod relay_http;
mod request_body;
mod retry;
pub mod route;
mod sighting;
mod state;
#[cfg(test)]
mod tests;
mod trace;
mod upstreams;
mod ws;

pub use body::{Body, Cut};
pub use call::Call;
pub use interim::{Interim, Outbox};
pub use relay_events::Events;
pub use request_body::{ClientFault, RequestBody};
pub use state::{Peer, RouteRuntime, Shared, State, Stopping};
pub use upstreams::{AccountView, RouteHealthView, UpstreamView};

use headers::Fields;
use limits::Denied;

use crate::canon::Fault;
use crate::upstream::{Client, TlsShared};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;

/// What one worker needs in order to answer requests. Its connections to providers are its own.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<ArcSwap<State>>,
    client: Client<RequestBody>,
}

impl Proxy {
    /// A proxy that follows the running configuration.
    #[must_use]
    pub fn new(state: Arc<ArcSwap<State>>, tls: Arc<TlsShared>) -> Proxy {
        Proxy { state, client: Client::new(tls) }
    }

    /// The answer to what never became a request, counted and logged: a whole HTTP/1.1 answer.
    #[must_use]
    pub fn refuse(&self, client: Option<SocketAddr>, fault: Fault) -> Bytes {
        fail::refuse(&self.state.load().shared, client, fault)
    }

    /// Answers one request.
    pub async fn handle(
        &self,
        peer: &Arc<Peer>,
        interim: Option<Interim>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let version = parts.version;
        let mut call = Box::new(Call::begin(self.state.load_full(), peer, &parts));
        call.problem = call.fields.may_have(Fields::ACCEPT) && accepts_problem(&parts.headers);
        call.interim = interim;
        let mut checked = match check(&mut call, &parts, body) {
            Ok(Some(checked)) => checked,
            Ok(None) => return answer_here(call),
            Err(fault) => return refused(version, fault, fail::fault(call, fault)),
        };
        let websocket = checked.websocket;
        match admit::admit(&mut call, &parts, &mut checked.upload, websocket).await {
            Ok(()) => {}
            Err(Denied::Limit(refusal)) => return fail::limited(call, *refusal),
            Err(Denied::Fault(fault)) => return refused(version, fault, fail::fault(call, fault)),
        }
        let request = match prepare(&mut call, peer, parts, checked) {
            Ok(request) => request,
            Err(fault) => return refused(version, fault, fail::fault(call, fault)),
        };
        if websocket {
            // Rare and large: boxed, ordinary requests do not carry it about.
            return Box::pin(ws::relay(&self.client, call, request)).await;
        }
        // Two statements: what a `match` looks at has room beside what its arms wait for.
        let answer = match retry::send(&self.client, &mut call, request, false).await {
            Ok(answer) => answer,
            Err(failed) => return retry::answer(call, *failed),
        };
        relay_http::relay(call, answer).await
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

/// Checks a request and finds its route. None when the request was meant for this gateway itself.
fn check(call: &mut Call, parts: &request::Parts, body: Incoming) -> Result<Option<Checked>, Fault> {
    let state = Arc::clone(&call.state);
    let server = &state.config.server;
    let kind = headers::check_request(parts, call.fields, server.max_target_bytes)?;
    if kind.answer_here {
        return Ok(None);
    }
    // Before it could wait for a slot that it holds itself.
    state.shared.identity.check_loop(&parts.headers, call.fields)?;
    let authority = headers::authority(parts);
    let named = authority.as_ref().and_then(|authority| authority.to_str().ok());
    let routed = state.table.resolve(named, parts.uri.path())?;
    let runtime = state.runtime(routed.route);
    call.routed(Arc::clone(&runtime), authority, &parts.headers);
    let route = &runtime.route;
    let upload = RequestBody::new(body, route.max_request_body, server.body_timeout, &call.peer.bell)?;
    call.uploads(upload.progress());
    let whole = parts.uri.path_and_query();
    let base_path = route.upstreams.get(call.way.upstream).map_or("", |upstream| upstream.base_path.as_str());
    let target = path::upstream_target(base_path, routed.rest(), whole, runtime.headers.drop_query(kind.websocket))?;
    call.provider_target = target.clone().into();
    call.base_path = base_path.len();
    Ok(Some(Checked { target, upload, websocket: kind.websocket }))
}

/// Turns a request into the one for the provider.
fn prepare(
    call: &mut Call,
    peer: &Peer,
    mut parts: request::Parts,
    checked: Checked,
) -> Result<Request<RequestBody>, Fault> {
    let state = Arc::clone(&call.state);
    let runtime = call.route.clone().ok_or(Fault::RouteNotFound)?;
    let outgoing = headers::Outgoing {
        fields: call.fields,
        method: &parts.method,
        version: parts.version,
        authority: parts.uri.authority(),
        websocket: checked.websocket,
        peer: &peer.headers,
        route: &runtime.headers,
        way: call.way,
        identity: &state.shared.identity,
        request_id: &call.id,
        trust_forwarded: state.config.server.trust_forwarded,
    };
    headers::prepare_request(&mut parts.headers, &outgoing);
    parts.uri = runtime.headers.target(checked.target, call.way, checked.websocket)?.into();
    parts.version = http::Version::HTTP_11;
    let mut request = Request::from_parts(parts, checked.upload);
    forward::pass_interim(call.interim.as_ref(), &mut request);
    Ok(request)
}

/// Where a request cannot be trusted, neither can what seems to follow it: the connection ends (RFC 9112 6.3).
fn refused(version: Version, fault: Fault, mut answer: Response<Body>) -> Response<Body> {
    if matches!(fault, Fault::BadRequest | Fault::BadHost) && version < Version::HTTP_2 {
        let _ = answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Whether the caller prefers RFC 9457.
fn accepts_problem(headers: &HeaderMap) -> bool {
    const PROBLEM: &[u8] = b"application/problem+json";
    let lines = headers.get_all(header::ACCEPT).iter().filter(|line| line.len() >= PROBLEM.len());
    let mut ranges = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    ranges.any(|range| {
        let mut parameters = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let wanted = parameters.next().is_some_and(|name| name.eq_ignore_ascii_case(PROBLEM));
        // `q=0` means that the caller cannot take it (RFC 9110 12.4.2).
        wanted
            && !parameters.any(|parameter| {
                parameter.strip_prefix(b"q=").is_some_and(|q| q.iter().all(|digit| matches!(digit, b'0' | b'.')))
            })
    })
}

/// `OPTIONS *` and the like (RFC 9110 7.6.2, 9.3.7).
fn answer_here(mut call: Box<Call>) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let _ = response.headers_mut().insert(headers::REQUEST_ID, call.id.clone());
    call.answers(StatusCode::NO_CONTENT.as_u16());
    call.complete();
    response
}
