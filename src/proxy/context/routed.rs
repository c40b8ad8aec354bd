//! A request whose route is known: what its route adds to the facts of a request.

use super::RequestContext;
use super::followed::Followed;
use crate::canon::envelope::Stamp;
use crate::canon::{Phase, Profile};
use crate::config::types::Envelope;
use crate::limit::AccountSet;
use crate::proxy::RouteRuntime;
use crate::proxy::headers::{self, Destination, Fields};
use crate::proxy::limits::{Admission, Ledger};
use crate::proxy::redact::ClientKeys;
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

/// A request whose route is known.
pub(crate) struct RoutedContext {
    pub(super) request: RequestContext,
    pub(crate) route: Arc<RouteRuntime>,
    /// Which upstream and which credentials the request goes out with.
    pub(crate) destination: Destination,
    /// The account that it uses.
    pub(crate) guard: Option<AccountGuard>,
    /// Reports the outcome to the upstream's circuit, once a response has begun.
    pub(crate) pass: Option<UpstreamPass>,
    /// Whether the provider's last failure has been counted already, because it is retried.
    pub(crate) counted: bool,
    /// What the limits of its route have granted it.
    pub(crate) admission: Admission,
    /// Whether it is an SDK or a plugin that reads the provider's own errors; asked only where the route's form depends on it.
    pub(super) reads_native: bool,
    /// What the client sent that no error may show when a provider echoes it.
    pub(super) keys: ClientKeys,
    /// The place of a preflight at its provider.
    pub(crate) preflight: Option<OwnedSemaphorePermit>,
    /// The generation that it is, on a route that follows them.
    pub(crate) followed: Option<Box<Followed>>,
    /// When it has to be over, on a route that sets an end.
    pub(crate) end: Option<tokio::time::Instant>,
    /// When it has to be over because its client, one of gRPC, says so.
    pub(crate) deadline: Option<tokio::time::Instant>,
    /// What is left of the limits that counted it, on a route that says so.
    pub(super) rate_limits: Option<Box<HeaderMap>>,
    /// The limits that go on counting it.
    pub(crate) ledger: Option<Box<Ledger>>,
    /// What its tenant's limits charged it, until it goes out.
    pub(crate) begun: Option<Begun>,
    /// The gateway key that its client has shown, so that it is known wherever it stands.
    pub(crate) shown: Option<Arc<[u8]>>,
    /// Whether its client showed its key in the first message of its socket.
    pub(crate) key_followed: bool,
    /// Watches over the key that it came with, where its client has one.
    pub(crate) watch: Option<Watch>,
    pub(super) in_flight: Option<InFlight>,
    pub(super) ended: bool,
}

impl fmt::Debug for RoutedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedContext").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A routed request is a request: it has all of its facts.
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
    /// A route took the request: from here on it counts for that.
    pub(crate) fn new(mut request: RequestContext, route: Arc<RouteRuntime>, headers: &HeaderMap) -> RoutedContext {
        let keys = ClientKeys::new(route.headers.keys(headers, request.fields));
        // An id is in logs and answers. A key is no id.
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
            ended: false,
        }
    }

    /// Whether the deadline of its client is no further away than this.
    pub(crate) fn is_overdue(&self, slack: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= tokio::time::Instant::now() + slack)
    }

    /// Whether it is what a browser asks before its page may call, which is no call: nobody's limits count it, nobody's key goes
    /// out with it, and what is answered binds nobody.
    pub(crate) fn is_preflight(&self) -> bool {
        self.destination.keyless
    }

    /// The members of the first message in which the client of this socket may show its key.
    pub(crate) fn opening(&self) -> Vec<String> {
        let (method, path) = self.request();
        let known = self.route.config.profile.openings.members(method, path).map(str::to_owned);
        known.chain(self.route.headers.first_message_members()).collect()
    }

    /// What keeps gateway keys back in the bytes that go to its provider.
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

    /// The profile in whose words errors are told in this phase, where they are.
    pub(crate) fn compatible(&self, phase: Phase) -> Option<&Profile> {
        (self.form(phase) == Envelope::Compatible).then_some(&*self.route.config.profile)
    }

    /// The first key that the client sent in a header.
    pub(crate) fn key(&self) -> Option<&HeaderValue> {
        self.keys.first()
    }

    /// The head of the provider's response has come.
    pub(crate) fn answered(&mut self, status: u16, headers: &HeaderMap) {
        self.route.limits.answered(&mut self.admission, status, headers);
    }

    /// What is left of the limits that counted it.
    pub(crate) fn has_left(&mut self, headers: HeaderMap) {
        self.rate_limits.get_or_insert_default().extend(headers);
    }

    /// Says in an answer what is left of the limits, unless a refusal has said it.
    pub(crate) fn tell_limits(&mut self, headers: &mut HeaderMap) {
        if let Some(left) = self.rate_limits.take() {
            // Both are lists: what a provider says of its own limits stays.
            headers.extend(*left);
        }
    }

    /// The route's name.
    pub(crate) fn route_name(&self) -> &str {
        &self.route.config.name
    }

    /// What the shell adds to an error of this call.
    pub(crate) fn stamp<'a>(&'a self, timestamp: &'a str) -> Stamp<'a> {
        let route = &self.route.config;
        Stamp {
            provider: Some(&route.provider),
            route: Some(&route.name),
            upstream_body: route.upstream_body,
            ..self.bare_stamp(timestamp)
        }
    }

    /// The accounts that may be used, on a route that has several.
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

    /// The call uses this account, and no longer the one before.
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

    /// What ends the call because its client may not go on, if anything does: asked where something moves.
    pub(crate) fn look_at_key(&mut self) -> Option<Failure> {
        self.watch.as_mut()?.look().map(Failure::of)
    }

    /// The same where the call waits: its task is woken when its key is taken away or ends.
    pub(crate) fn watch_key(&mut self, cx: &mut Context<'_>) -> Option<Failure> {
        self.watch.as_mut()?.poll(cx).map(Failure::of)
    }

    /// A limit of the gateway refused it.
    pub(crate) fn limited(&self, limit: Limit) {
        self.metrics().limited(limit);
    }

    pub(super) fn metrics(&self) -> &crate::telemetry::metrics::RouteMetrics {
        &self.route.metrics
    }
}
