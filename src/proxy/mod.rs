//! One request, from routed to answered.
//!
//! [`Proxy::handle`] is the list of the steps. It cannot fail: every refusal and every failure leaves by `fail`.

mod admit;
mod attempt;
mod context;
pub mod errors;
mod forward;
pub mod headers;
mod idle;
mod informational;
pub mod limits;
pub mod path;
mod public;
pub mod redact;
mod replay;
mod response;
pub mod route;
mod state;
#[cfg(test)]
mod tests;
mod trace;
mod upload;
mod ws;

pub use attempt::{AccountView, StandingView, UpstreamView};
pub use context::Call;
pub use informational::{Interim, Outbox};
pub use response::{Body, Cut, Events};
pub use state::{Peer, RouteRuntime, Shared, State, Stopping};
pub use upload::{CallerFault, Upload};

use headers::Fields;
use limits::Denied;

use crate::canon::{Fault, Phase};
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
    client: Client<Upload>,
}

impl Proxy {
    /// A proxy that follows the running configuration.
    #[must_use]
    pub fn new(state: Arc<ArcSwap<State>>, tls: Arc<TlsShared>) -> Proxy {
        Proxy { state, client: Client::new(tls) }
    }

    /// The answer that stands in for one that a panic took away.
    #[must_use]
    pub fn panicked() -> Response<Body> {
        response::panicked()
    }

    /// The answer to what never became a request, counted and logged: a whole HTTP/1.1 answer.
    #[must_use]
    pub fn refuse(&self, client: Option<SocketAddr>, fault: Fault) -> Bytes {
        errors::refuse(&self.state.load().shared, client, fault)
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
            Err(fault) => return refused(version, fault, response::fault(call, fault)),
        };
        let websocket = checked.websocket;
        match admit::admit(&mut call, &parts, &mut checked.upload, websocket).await {
            Ok(()) => {}
            Err(Denied::Fault(fault)) => return refused(version, fault, response::fault(call, fault)),
            Err(denied @ Denied::Limit(_)) => {
                let finding = errors::Finding::denied(call.phase, denied);
                return response::reject(call, finding);
            }
        }
        let request = match prepare(&mut call, peer, parts, checked) {
            Ok(request) => request,
            Err(fault) => return refused(version, fault, response::fault(call, fault)),
        };
        if websocket {
            // Rare and large: boxed, ordinary requests do not carry it about.
            return Box::pin(ws::relay(&self.client, call, request)).await;
        }
        // Two statements: what a `match` looks at has room beside what its arms wait for.
        let answer = match attempt::send(&self.client, &mut call, request, false).await {
            Ok(answer) => answer,
            Err(failed) => return attempt::answer(call, *failed),
        };
        response::relay(call, answer).await
    }
}

/// A request whose route is known.
struct Checked {
    /// Where it goes at the provider.
    target: PathAndQuery,
    upload: Upload,
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
    if kind.websocket {
        call.phase = Phase::Handshake;
    }
    // Before it could wait for a slot that it holds itself.
    state.shared.identity.check_loop(&parts.headers, call.fields)?;
    let authority = headers::authority(parts);
    let named = authority.as_ref().and_then(|authority| authority.to_str().ok());
    let routed = state.table.resolve(named, parts.uri.path())?;
    let runtime = state.runtime(routed.route);
    call.routed(Arc::clone(&runtime), authority, &parts.headers);
    let route = &runtime.route;
    let upload = Upload::new(body, route.max_request_body, server.body_timeout, &call.peer.bell)?;
    call.uploads(upload.progress());
    let whole = parts.uri.path_and_query();
    let base_path = route.upstreams.get(call.way.upstream).map_or("", |upstream| upstream.base_path.as_str());
    let target = path::upstream_target(base_path, routed.rest(), whole, runtime.headers.drop_query(kind.websocket))?;
    call.provider_target = target.clone().into();
    Ok(Some(Checked { target, upload, websocket: kind.websocket }))
}

/// Turns a request into the one for the provider.
fn prepare(
    call: &mut Call,
    peer: &Peer,
    mut parts: request::Parts,
    checked: Checked,
) -> Result<Request<Upload>, Fault> {
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
