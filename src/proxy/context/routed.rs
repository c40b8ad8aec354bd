//! A request that has been routed: its facts, and what its route adds.

use super::RequestContext;
use super::followed::Followed;
use crate::canon::envelope::Stamp;
use crate::canon::{Fault, Phase, Profile};
use crate::config::types::Envelope;
use crate::limit::AccountSet;
use crate::proxy::RouteRuntime;
use crate::proxy::headers::{self, Destination, Fields};
use crate::proxy::limits::{Admission, Ledger};
use crate::proxy::redact::ClientKeys;
use crate::proxy::stopping::Notice;
use crate::proxy::tenants::{Begun, Exit, Watch};
use crate::proxy::upstreams::{AccountGuard, UpstreamPass};
use crate::telemetry::metrics::{InFlight, Limit};
use crate::upstream::Failure;
use crate::wire;
use http::{HeaderMap, HeaderValue};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// A request that has been routed.
pub(crate) struct RoutedContext {
    pub(super) request: RequestContext,
    pub(crate) route: Arc<RouteRuntime>,
    /// The upstream and the credentials that it is sent with.
    pub(crate) destination: Destination,
    /// Its use of an account.
    pub(crate) guard: Option<AccountGuard>,
    /// Reports the outcome to the upstream's circuit, once a response has begun.
    pub(crate) pass: Option<UpstreamPass>,
    /// Whether the provider's last failure has been counted already, because it is retried.
    pub(crate) counted: bool,
    /// What its route's limits have granted it.
    pub(crate) admission: Admission,
    /// Whether the client is an SDK or a plugin that parses the provider's own errors; determined only if the form of errors
    /// depends on it.
    pub(super) reads_native: bool,
    /// Keys that the client sent, which must not be shown in an error if the provider echoes them.
    pub(super) keys: ClientKeys,
    /// The permit for a preflight that is sent to the provider.
    pub(crate) preflight: Option<OwnedSemaphorePermit>,
    /// Its generation, on a route that tracks them.
    pub(crate) followed: Option<Box<Followed>>,
    /// The deadline, on a route with a total timeout.
    pub(crate) end: Option<tokio::time::Instant>,
    /// The deadline that a gRPC client set.
    pub(crate) deadline: Option<tokio::time::Instant>,
    /// The remaining quota of the rate limits, on a route that reports it.
    pub(super) rate_limits: Option<Box<HeaderMap>>,
    /// The limits to which its usage is still charged.
    pub(crate) ledger: Option<Box<Ledger>>,
    /// The charge of its tenant's limits, until the request is sent.
    pub(crate) begun: Option<Begun>,
    /// The gateway key that the client has shown, so that it is recognised anywhere in the request.
    pub(crate) shown: Option<Arc<[u8]>>,
    /// Whether the client showed its key in the first message of its WebSocket.
    pub(crate) key_followed: bool,
    /// Watches the validity of the client's key, if it has one.
    pub(crate) watch: Option<Watch>,
    /// Signals a stream that the gateway stops.
    pub(super) notice: Notice,
    pub(super) in_flight: Option<InFlight>,
    pub(super) ended: bool,
}

impl fmt::Debug for RoutedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedContext").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A routed request has all facts of a request.
impl Deref for RoutedContext {
    type Target = RequestContext;

    fn deref(&self) -> &RequestContext {
        &self.request
    }
}

impl DerefMut for RoutedContext {
    fn deref_mut(&mut self) -> &mut RequestContext {
        &mut self.request
    }
}

impl RoutedContext {
    /// The request has been routed; from here on it counts for the route.
    pub(crate) fn new(mut request: RequestContext, route: Arc<RouteRuntime>, headers: &HeaderMap) -> RoutedContext {
        let keys = ClientKeys::new(route.headers.keys(headers, request.fields));
        // An id appears in logs and responses, so it must not be a key.
        if request.fields.may_have(Fields::REQUEST_ID) && keys.may_be_in(request.id.as_bytes()) {
            request.id = headers::new_request_id();
        }
        let reads_native =
            route.config.envelope.ask_who() && route.config.profile.knows_client(headers, request.target.query());
        let now = tokio::time::Instant::now();
        let keyless = headers::is_preflight(&request.method, headers);
        let is_call = request.phase == Phase::Grpc;
        let deadline = is_call.then(|| now.checked_add(wire::grpc::timeout(headers)?)).flatten();
        let total = route.config.timeouts.total.map(|total| now + total);
        let end = [total, deadline].into_iter().flatten().min();
        RoutedContext {
            request,
            reads_native,
            in_flight: Some(route.metrics.request_started()),
            route,
            destination: Destination { keyless, ..Destination::default() },
            guard: None,
            pass: None,
            counted: false,
            admission: Admission::default(),
            preflight: None,
            followed: None,
            keys,
            end,
            deadline,
            rate_limits: None,
            ledger: None,
            begun: None,
            shown: None,
            key_followed: false,
            watch: None,
            notice: Notice::default(),
            ended: false,
        }
    }

    /// Whether the client's deadline is at most this far away.
    pub(crate) fn is_overdue(&self, slack: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= tokio::time::Instant::now() + slack)
    }

    /// Whether it is a CORS preflight. A preflight is not a call: it counts for no limit, is sent without any key, and its
    /// response has no effect on other requests.
    pub(crate) fn is_preflight(&self) -> bool {
        self.destination.keyless
    }

    /// The members of a WebSocket's first message in which the client may show its key.
    pub(crate) fn opening(&self) -> Vec<String> {
        let (method, path) = self.request();
        let known = self.route.config.profile.openings.members(method, path).map(str::to_owned);
        known.chain(self.route.headers.first_message_members()).collect()
    }

    /// The filter that keeps gateway keys out of the bytes sent to the provider.
    pub(crate) fn exit(&self) -> Exit {
        Exit::new(&self.state.tenants, self.shown.clone())
    }

    /// The form of errors in this phase; never [`Envelope::Auto`].
    pub(crate) fn form(&self, phase: Phase) -> Envelope {
        match self.route.config.envelope.of(phase) {
            Envelope::Auto if self.reads_native => Envelope::Compatible,
            Envelope::Auto => Envelope::Canonical,
            form => form,
        }
    }

    /// The profile in whose form errors are rendered in this phase, if they are.
    pub(crate) fn compatible(&self, phase: Phase) -> Option<&Profile> {
        (self.form(phase) == Envelope::Compatible).then_some(&*self.route.config.profile)
    }

    /// The first key that the client sent in a header.
    pub(crate) fn key(&self) -> Option<&HeaderValue> {
        self.keys.first()
    }

    /// The head of the provider's response has arrived.
    pub(crate) fn answered(&mut self, status: u16, headers: &HeaderMap) {
        self.route.limits.answered(&mut self.admission, status, headers);
    }

    /// Sets the remaining quota of the rate limits.
    pub(crate) fn set_remaining(&mut self, headers: HeaderMap) {
        self.rate_limits.get_or_insert_default().extend(headers);
    }

    /// Adds the remaining quota to a response, unless a rejection has done so.
    pub(crate) fn add_remaining_quota(&mut self, headers: &mut HeaderMap) {
        if let Some(left) = self.rate_limits.take() {
            // Both fields are lists, so what the provider reports of its own limits is kept.
            headers.extend(*left);
        }
    }

    /// The route's name.
    pub(crate) fn route_name(&self) -> &str {
        &self.route.config.name
    }

    /// The gateway's members of an error envelope.
    pub(crate) fn stamp<'a>(&'a self, timestamp: &'a str) -> Stamp<'a> {
        let route = &self.route.config;
        Stamp {
            provider: Some(&route.provider),
            route: Some(&route.name),
            upstream_body: route.upstream_body,
            ..self.bare_stamp(timestamp)
        }
    }

    /// The usable accounts, on a route that has several.
    pub(crate) fn usable_accounts(&self) -> AccountSet {
        let health = self.route.health.as_ref();
        let accounts = health.map(|health| &health.accounts).filter(|accounts| !accounts.is_empty());
        accounts.map_or(AccountSet::ALL, |accounts| accounts.usable(tokio::time::Instant::now().into_std()))
    }

    /// Uses the one of these accounts with the fewest calls.
    pub(crate) fn use_account(&mut self, among: AccountSet) {
        let Some(health) = self.route.health.clone() else { return };
        if let Some(guard) = health.accounts.least_used(among, tokio::time::Instant::now().into_std()) {
            self.uses(guard);
        }
    }

    /// The call uses this account from now on, in place of the previous one.
    pub(crate) fn uses(&mut self, guard: AccountGuard) {
        self.destination.account = guard.index();
        self.guard = Some(guard);
    }

    /// A WebSocket is open.
    pub(crate) fn upgraded(&mut self, now: Instant) {
        let RoutedContext { request, route, .. } = self;
        request.phase = Phase::Frame;
        request.export_handshake(route, now);
    }

    /// The failure that ends the call because its key is no longer valid, if it is not; checked whenever something is
    /// transferred.
    pub(crate) fn look_at_key(&mut self) -> Option<Failure> {
        self.watch.as_mut()?.look().map(Failure::of)
    }

    /// Like `look_at_key`, and also wakes the task when the key becomes invalid.
    pub(crate) fn watch_key(&mut self, cx: &mut Context<'_>) -> Option<Failure> {
        self.watch.as_mut()?.poll(cx).map(Failure::of)
    }

    /// Checks, when data moves, whether a stream must end because its key became invalid or the gateway stops.
    pub(crate) fn look_at_end(&mut self) -> Option<Failure> {
        let stops = || self.state.shared.stopping.has_begun().then(|| Failure::of(Fault::ShuttingDown));
        stops().or_else(|| self.look_at_key())
    }

    /// The same check while the stream waits; its task is woken when that happens.
    pub(crate) fn watch_end(&mut self, cx: &mut Context<'_>) -> Option<Failure> {
        let RoutedContext { request, notice, .. } = self;
        match notice.poll(&request.state.shared.stopping, cx) {
            true => Some(Failure::of(Fault::ShuttingDown)),
            false => self.watch_key(cx),
        }
    }

    /// Counts a rejection by a limit of the gateway.
    pub(crate) fn limited(&self, limit: Limit) {
        self.metrics().limited(limit);
    }

    pub(super) fn metrics(&self) -> &crate::telemetry::metrics::RouteMetrics {
        &self.route.metrics
    }
}
