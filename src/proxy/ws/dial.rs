//! Dials a provider's socket again, with the target, credential and header fields of the client's handshake.
//!
//! Whether that is allowed is checked each time, under the current configuration: whether the route is unchanged, backoff,
//! circuits, rates. The client's session keeps its slot all the time.

use super::handshake::Offer;
use super::prefixed::Prefixed;
use crate::canon::{Code, Origin};
use crate::config::types::Credentials;
use crate::limit::gate::AccountSet;
use crate::proxy::context::RoutedContext;
use crate::proxy::headers::Destination;
use crate::proxy::limits::{Credential, Denied, Subject};
use crate::proxy::upstreams::{Chosen, UpstreamPass, bit, policy, was_never_sent};
use crate::proxy::{RequestBody, RouteRuntime, Shared};
use crate::telemetry::redials::Redial;
use crate::telemetry::upstreams::Outcome;
use crate::upstream::{Capped, Client, Exchange, Limits, read_capped};
use http::header::{CONTENT_ENCODING, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, Request, StatusCode, request, response};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A dial in progress.
pub(super) type Dialling<S> = Pin<Box<dyn Future<Output = Result<S, NotDialled>> + Send>>;

/// Begins a dial.
pub(super) type Dial<S> = Box<dyn Fn() -> Dialling<S> + Send>;

/// Why there is no new socket.
#[derive(Debug)]
pub(super) struct NotDialled {
    pub(super) outcome: Redial,
    /// For the log.
    pub(super) detail: String,
    pub(super) refused: Refused,
}

/// Who has refused it, and in which words.
#[derive(Debug)]
pub(super) enum Refused {
    ByProvider(Box<(response::Parts, Capped)>),
    /// A limit of the route.
    Here(Denied),
    ByNobody,
}

/// How many times a provider that cannot be reached or is unavailable is tried.
const TRIES: u32 = 3;
/// The time limit for all attempts, because the client waits.
const LONGEST: Duration = Duration::from_secs(10);

/// A handshake that can be repeated.
pub(super) struct Redialler {
    client: Client<RequestBody>,
    shared: Arc<Shared>,
    /// The route as it was when the client connected.
    route: Arc<RouteRuntime>,
    parts: request::Parts,
    offer: Offer,
    destination: Destination,
    credential: Credential,
    path: String,
    address: Option<IpAddr>,
    /// The subprotocol that the provider chose.
    chosen: Option<HeaderValue>,
}

impl NotDialled {
    pub(super) fn limited(detail: impl Into<String>) -> NotDialled {
        NotDialled { outcome: Redial::Limited, detail: detail.into(), refused: Refused::ByNobody }
    }

    fn unreachable(detail: impl Into<String>) -> NotDialled {
        NotDialled { outcome: Redial::Unreachable, detail: detail.into(), refused: Refused::ByNobody }
    }

    fn refused(detail: impl Into<String>) -> NotDialled {
        NotDialled { outcome: Redial::Refused, detail: detail.into(), refused: Refused::ByNobody }
    }
}

impl From<Denied> for NotDialled {
    fn from(denied: Denied) -> NotDialled {
        let detail = match &denied {
            Denied::Fault(fault) => fault.sentence().to_owned(),
            Denied::Limit(refusal) => refusal.error.message.clone(),
        };
        NotDialled { refused: Refused::Here(denied), ..NotDialled::limited(detail) }
    }
}

impl Redialler {
    /// `parts` are those of the request as prepared for this destination; `chosen` is the subprotocol that the provider selected.
    pub(super) fn new(
        client: &Client<RequestBody>,
        call: &RoutedContext,
        parts: request::Parts,
        offer: Offer,
        chosen: Option<HeaderValue>,
    ) -> Redialler {
        Redialler {
            client: client.clone(),
            shared: Arc::clone(&call.state.shared),
            route: Arc::clone(&call.route),
            address: call.client_address(&parts.headers),
            parts,
            offer,
            destination: call.destination,
            credential: call.admission.credential(),
            path: call.upstream.limited_path().to_owned(),
            chosen,
        }
    }

    /// Converts it into a function that dials.
    pub(super) fn into_dial(self) -> Dial<Prefixed> {
        let redialler = Arc::new(self);
        Box::new(move || {
            let redialler = Arc::clone(&redialler);
            Box::pin(async move {
                let dialled = tokio::time::timeout(LONGEST, redialler.dial()).await;
                dialled.unwrap_or_else(|_| Err(NotDialled::unreachable("no new socket in time")))
            })
        })
    }

    async fn dial(&self) -> Result<Prefixed, NotDialled> {
        let route = self.route_in_force().ok_or_else(|| NotDialled::limited("the route has changed"))?;
        let accounts = AccountSet::only(self.destination.account);
        let _ = route.limits.free(accounts, self.credential.key, &self.path)?;
        let _ = route.limits.may_open(accounts, self.credential.key, &self.path)?;
        let subject = Subject {
            method: self.parts.method.as_str(),
            path: &self.path,
            provider_path: self.parts.uri.path(),
            headers: &self.parts.headers,
            address: self.address,
            generation: false,
            credential: self.credential,
        };
        let charges = route.limits.charge(&subject, &mut RequestBody::none(), Instant::now()).await?;
        let mut tried = 1;
        loop {
            let pass = self.circuit(&route)?;
            let failed = match self.once(&route, pass).await {
                Ok(io) => {
                    let _ = charges.keep();
                    // It may have changed meanwhile.
                    let _ = self.route_in_force().ok_or_else(|| NotDialled::limited("the route has changed"))?;
                    return Ok(io);
                }
                Err(failed) => failed,
            };
            let unavailable = match &failed.refused {
                Refused::ByProvider(refusal) => refusal.0.status == StatusCode::SERVICE_UNAVAILABLE,
                _ => failed.outcome == Redial::Unreachable,
            };
            let wait = policy::wait(None, tried, LONGEST, fastrand::f64()).filter(|_| unavailable && tried < TRIES);
            let Some(wait) = wait else {
                let _ = charges.keep();
                return Err(failed);
            };
            tried += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// The current route, if it still leads to the same destination with the same credential.
    fn route_in_force(&self) -> Option<Arc<RouteRuntime>> {
        let Destination { upstream, account, .. } = self.destination;
        let was = &self.route.config;
        let routes = self.shared.routes_in_force();
        let now = routes.iter().find(|route| route.config.name == was.name)?;
        let is = &now.config;
        let same = is.provider == was.provider
            && is.websocket.redial
            && is.upstreams.get(upstream) == was.upstreams.get(upstream)
            && is.credentials.is_empty() == was.credentials.is_empty()
            && is.credentials.get(account).map(places) == was.credentials.get(account).map(places);
        same.then(|| Arc::clone(now))
    }

    /// Whether the upstream may be used now.
    fn circuit(&self, route: &RouteRuntime) -> Result<Option<UpstreamPass>, NotDialled> {
        let Some(health) = &route.health else { return Ok(None) };
        let upstream = self.destination.upstream;
        let Chosen { pass, .. } = health
            .choose(upstream, !bit(upstream), now())
            .map_err(|_| NotDialled::limited("the circuit of the upstream is open"))?;
        Ok(pass)
    }

    /// Makes one attempt, and reports its outcome to the circuit, the limits and the metrics.
    async fn once(&self, route: &RouteRuntime, pass: Option<UpstreamPass>) -> Result<Prefixed, NotDialled> {
        let number = self.destination.upstream;
        let Some(upstream) = route.config.upstreams.get(number) else {
            return Err(NotDialled::limited("the route has changed"));
        };
        let request = self.request();
        let sent = self.client.send_upgrade(upstream, &route.config.timeouts, request).await;
        let (ended, error) = match &sent {
            Ok(exchange) if exchange.response.status().is_server_error() => {
                (Outcome::Failure, Some((Code::Unavailable, Origin::Provider, None)))
            }
            Ok(_) => (Outcome::Success, None),
            Err(failure) => {
                let fault = failure.fault;
                let reached = if was_never_sent(fault) { Outcome::Unreachable } else { Outcome::Failure };
                (reached, Some((fault.code(), fault.origin(), Some(fault))))
            }
        };
        if let Some(pass) = pass {
            pass.ended(error, now());
        }
        if let Some(metrics) = route.upstreams.get(number) {
            metrics.ended(ended);
        }
        match sent {
            Ok(exchange) => self.upgraded(exchange).await,
            Err(failure) => Err(NotDialled::unreachable(failure.detail)),
        }
    }

    /// Rebuilds the request.
    fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::none());
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.headers_mut() = self.parts.headers.clone();
        request
    }

    /// The upgraded connection, if the provider's response matches the first one.
    async fn upgraded(&self, exchange: Exchange) -> Result<Prefixed, NotDialled> {
        let mut response = exchange.response;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let (parts, body) = response.into_parts();
            let read = read_capped(body, parts.headers.get(CONTENT_ENCODING), Limits::default()).await;
            let detail = format!("the provider answers {}", parts.status.as_u16());
            let fails = parts.status.is_client_error() || parts.status.is_server_error();
            let refused = if fails { Refused::ByProvider(Box::new((parts, read))) } else { Refused::ByNobody };
            return Err(NotDialled { refused, ..NotDialled::refused(detail) });
        }
        let injected = self.route.headers.subprotocol(self.destination);
        self.offer.check(response.headers(), injected).map_err(NotDialled::refused)?;
        if response.headers().get(SEC_WEBSOCKET_PROTOCOL) != self.chosen.as_ref() {
            return Err(NotDialled::refused("another subprotocol than before"));
        }
        let upgraded = hyper::upgrade::on(&mut response).await;
        upgraded.map(Prefixed::new).map_err(|error| NotDialled::unreachable(error.to_string()))
    }
}

/// The places and values of the credentials, for comparison.
fn places(one: &Credentials) -> impl PartialEq {
    let Credentials { value, header, query, subprotocol, first_message, .. } = one.clone();
    (value, header, query, subprotocol, first_message)
}

/// The current time, as limits use it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
