//! Proxies one request.
//!
//! [`Proxy::handle`] lists the steps. It cannot fail: every failure becomes a response.

mod admit;
mod authenticate;
mod check;
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
mod preflight;
mod prepare;
mod public;
pub mod redact;
mod request_body;
mod response;
mod retry;
pub mod route;
mod state;
mod stopping;
pub mod tenants;
#[cfg(test)]
mod tests;
mod trace;
pub mod upstreams;
mod warm;
mod ws;

pub use checker::check_health;
pub use informational::{InformationalSender, Outbox};
pub use request_body::{ClientFault, RequestBody};
pub use response::{Body, Cut, Events, Messages};
pub use state::{Peer, RouteRuntime, Shared, State};
pub use stopping::Stopping;
pub use upstreams::{AccountView, RouteHealthView, UpstreamView};
pub use warm::keep_warm;

use check::{Checked, answer_here, begin, check, refused};
use context::{RequestContext, RoutedContext};
use cors::Page;
use headers::Fields;
use idle::within;
use limits::Denied;
use pages::{add_cors, addresses, rules_for, rules_of_nowhere};
use prepare::prepare;
use retry::{Answer, Failed};

use crate::canon::{Fault, Phase};
use crate::upstream::{Client, Failure, TlsShared};
use crate::wire::grpc;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{Either, lazy, ready};
use http::{Request, Response, Version, request};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Serves the requests of one worker. Each worker has its own connections to providers.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<ArcSwap<State>>,
    client: Client<RequestBody>,
}

impl Proxy {
    /// A proxy that always uses the current configuration.
    #[must_use]
    pub fn new(state: Arc<ArcSwap<State>>, tls: Arc<TlsShared>) -> Proxy {
        let connections = Arc::clone(&state.load().shared.connections);
        Proxy { state, client: Client::sharing(tls, connections) }
    }

    /// The response in place of one that was lost to a panic, for a gRPC call or another request.
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
        if state.tenants.guard() {
            tenants::strip_fields(request.headers_mut(), |name| state.tenants.is_place(name));
        }
        let fields = Fields::of(request.headers());
        if state.has_cors || fields.may_have(Fields::ORIGIN | Fields::SEC_FETCH_SITE) {
            // Boxed, because most requests are not sent by a page.
            Either::Left(Box::pin(self.answer_page(state, peer, informational, request, fields)))
        } else {
            Either::Right(self.answer(state, peer, informational, request, fields))
        }
    }

    /// Answers a request that a page in a browser may have sent.
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
        let asks = state.tenants.ask();
        let checked = check(Arc::clone(&state), peer, informational, &parts, body, fields);
        let route = match &checked {
            Ok((call, _)) => Some(Arc::clone(&call.route)),
            Err(refused) => refused.route.clone(),
        };
        let (rules, foreign) = rules_for(&state, &page, route.as_deref(), &parts);
        let grpc = parts.version == Version::HTTP_2 && grpc::is_grpc(&parts.headers);
        let mut answer = match checked {
            Ok((call, _)) if foreign => response::fault(call, Fault::OriginRefused),
            // Where clients need keys, nothing is forwarded without one, and a preflight never has one.
            Ok((call, _)) if page.is_preflight() && (rules.is_some() || asks) => response::no_content(call),
            Ok((call, checked)) => {
                // A page must be able to read the response after a panic, too. Nothing is polled again.
                let answer = AssertUnwindSafe(self.forward(call, checked, peer, parts)).catch_unwind();
                answer.await.unwrap_or_else(|_panic| response::panicked(grpc))
            }
            Err(refused) => refused.answer,
        };
        add_cors(&page, rules.as_deref(), route.as_deref(), &mut answer);
        answer
    }

    /// Answers a request that was not sent by a page. It is checked in the first poll, where panics are caught; what the check
    /// needed is then dropped to make room (`conn/tests/sizes.rs`).
    fn answer<'s, 'p>(
        &'s self,
        state: Arc<State>,
        peer: &'p Arc<Peer>,
        informational: Option<InformationalSender>,
        request: Request<Incoming>,
        fields: Fields,
    ) -> impl Future<Output = Response<Body>> + Send + use<'s, 'p> {
        let begun = lazy(move |_| begin(state, peer, informational, request, fields));
        begun.then(move |begun| match begun {
            Ok((call, checked, parts)) => Either::Left(self.forward(call, checked, peer, parts)),
            Err(refused) => Either::Right(ready(refused.answer)),
        })
    }

    /// Forwards a routed request, unless a limit rejects it.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async function has room for its arguments twice (conn/tests/sizes.rs)"
    )]
    fn forward<'s, 'p>(
        &'s self,
        mut call: Box<RoutedContext>,
        mut checked: Checked,
        peer: &'p Peer,
        parts: request::Parts,
    ) -> impl Future<Output = Response<Body>> + Send + use<'s, 'p> {
        async move {
            let version = parts.version;
            let websocket = checked.websocket;
            if checked.key_follows {
                return ws::opening::open(self.client.clone(), call, checked, parts);
            }
            let admitted = match call.end {
                // A preflight takes no slot and counts for no rate.
                _ if call.is_preflight() => Box::pin(preflight::admit(&mut call)).await.map_err(Denied::Fault),
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
                // Rare and large, so boxed: ordinary requests do not reserve space for it.
                return Box::pin(ws::relay(&self.client, call, request)).await;
            }
            let answer = {
                // A block: otherwise the future would reserve space for the result of `send` while it awaits `relay`.
                // A call of gRPC has no other way to be told than an answer.
                let sent = match call.watch.is_some() || call.phase == Phase::Grpc {
                    true => Box::pin(sent_while_allowed(&self.client, &mut call, request)).await,
                    false => retry::send(&self.client, &mut call, request, false).await,
                };
                match sent {
                    Ok(answer) => answer,
                    Err(failed) => return response::failed(call, *failed),
                }
            };
            response::relay(call, answer).await
        }
    }
}

/// The result of sending a request, unless the client's key becomes invalid or the gateway stops first.
async fn sent_while_allowed(
    client: &Client<RequestBody>,
    call: &mut RoutedContext,
    request: Request<RequestBody>,
) -> Result<Answer, Box<Failed>> {
    // Taken out of the call for as long as the request borrows the call.
    let (mut watch, stopping) = (call.watch.take(), Arc::clone(&call.state.shared.stopping));
    let sent = tokio::select! {
        biased;
        sent = retry::send(client, call, request, false) => sent,
        fault = admit::no_longer(&mut watch, &stopping) => Err(Box::new(Failed::Lost(Failure::of(fault)))),
    };
    call.watch = watch;
    sent
}
