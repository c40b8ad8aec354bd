//! Every metric: its name, its help, and labels drawn from closed sets.
//!
//! A route's counters are looked up once, when the configuration is loaded, and are plain relaxed atomics from then on: no lock,
//! no hash and no allocation per request. Each worker has a shard of its own, so that no two threads write to one cache line; a
//! scrape adds the shards up. Label values are indices into tables of this program, so that nothing from the network can become a
//! label.

mod families;
mod generations;
mod labels;
mod registry;
mod shard;
mod slots;
mod tally;
mod totals;

pub use labels::{Direction, Initiator, Limit, Transport};
pub use registry::{Metrics, TenantSample};
pub(super) use slots::own;
pub use slots::use_shard;
pub use tally::{Holds, TenantMetrics, Waits};
pub use totals::{TenantTotals, Totals};

use super::connections::{ConnectionMetrics, OpenConnections, SpareSocket};
use super::exposition::Exemplar;
use super::redials::{Redial, Redials};
use super::retries::{Retries, Retry};
use super::semantic::Kinds;
use super::trace::SpanRef;
use super::upstreams::{UpstreamMetrics, Upstreams};
use super::usage::UsageTotals;
use crate::canon::{Code, Origin};
use crate::generation::Usage;
use crate::limit::{Priority, SlotStats};
use http::Method;
use shard::Shard;
use slots::{CLOSE_SLOTS, METHODS, OTHER_METHOD, close_slot, counters, method_slot};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tally::Exemplars;

/// Most pairs of upstream code and code for one route: far more than any profile has, as a hard bound.
const UPSTREAM_CODES: usize = 2048;

/// How long the parts of one request took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From the request's head to the response's last byte.
    pub total: Duration,
    /// From sending the request upstream to the last byte of the provider's response; none when nothing was sent.
    pub upstream: Option<Duration>,
    /// From the request's head to the first byte of the response's body, or to its head when it has no body.
    pub first_byte: Option<Duration>,
    /// The time that the gateway itself took before it sent the request upstream, without waits in a queue.
    pub overhead: Option<Duration>,
    /// The request's span, when its trace is recorded.
    pub span: Option<SpanRef>,
}

/// The metrics of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    route: String,
    provider: String,
    shards: Box<[Shard]>,
    /// Number of errors by code, and by the provider's own code as a label. Updated only for errors.
    upstream_errors: Mutex<BTreeMap<Code, BTreeMap<Arc<str>, u64>>>,
    unmapped: AtomicU64,
    rejections: [AtomicU64; Limit::ALL.len()],
    /// Read at each scrape for the route's slots.
    slots: Mutex<Option<Weak<dyn SlotStats>>>,
    exemplars: Exemplars,
    /// The counters of each tenant, by name. Like the route's own, they outlive the configuration.
    tenants: Mutex<BTreeMap<String, Arc<TenantMetrics>>>,
    retries: Retries,
    redials: Redials,
    upstreams: Upstreams,
    connections: ConnectionMetrics,
    usage: UsageTotals,
    /// Whether requests are sent with the route's own key.
    lends: AtomicBool,
    /// The account that it shares with other routes.
    account: Mutex<Option<String>>,
}

impl RouteMetrics {
    fn new(route: &str, provider: &str, shards: usize) -> RouteMetrics {
        RouteMetrics {
            route: route.to_owned(),
            provider: provider.to_owned(),
            shards: std::iter::repeat_with(Shard::new).take(shards).collect(),
            upstream_errors: Mutex::default(),
            unmapped: AtomicU64::new(0),
            rejections: Default::default(),
            slots: Mutex::default(),
            exemplars: Exemplars::default(),
            tenants: Mutex::default(),
            retries: Retries::default(),
            redials: Redials::default(),
            upstreams: Upstreams::default(),
            connections: ConnectionMetrics::default(),
            usage: UsageTotals::default(),
            lends: AtomicBool::new(false),
            account: Mutex::default(),
        }
    }

    /// Counts a request as in flight until the guard is dropped.
    #[must_use]
    pub fn request_started(self: &Arc<Self>) -> InFlight {
        let _ = self.shard().in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Counts a completed request, by the status that was sent.
    pub fn request_finished(&self, method: &Method, status: u16, times: &Times) {
        self.shard().tally.request(method_slot(method), status);
        self.request_timed(times);
    }

    /// Counts a completed request of a tenant.
    pub fn request_finished_of(&self, tenant: &TenantMetrics, method: &Method, status: u16, times: &Times) {
        tenant.request(method, status);
        self.request_timed(times);
    }

    fn request_timed(&self, times: &Times) {
        let shard = self.shard();
        match times.span {
            Some(span) => shard.duration.observe_at(times.total, span),
            None => shard.duration.observe(times.total),
        }
        for (histogram, time) in [
            (&shard.upstream, times.upstream),
            (&shard.first_byte, times.first_byte),
            (&shard.overhead, times.overhead),
        ] {
            if let Some(time) = time {
                histogram.observe(time);
            }
        }
    }

    /// Counts a completed request by the semantic conventions of OpenTelemetry.
    pub fn request_seen(&self, method: &Method, tls: bool, status: u16, error: Option<Code>, duration: Duration) {
        // The conventions' value for unknown methods.
        let method = match method_slot(method) {
            OTHER_METHOD => "_OTHER",
            known => METHODS[known],
        };
        self.shard().semantic.observe(Kinds { method, tls, status, error }, duration);
    }

    /// Counts a request that was left out of the access log by sampling.
    pub fn request_unlogged(&self) {
        let _ = self.shard().unlogged.fetch_add(1, Relaxed);
    }

    /// Counts bytes that never became a request, and so have neither a method nor a duration.
    pub fn request_refused(&self, status: u16) {
        self.shard().tally.request(OTHER_METHOD, status);
    }

    /// Counts an error.
    pub fn error(&self, code: Code, origin: Origin, transport: Transport) {
        self.shard().tally.error(code, origin, transport);
    }

    /// Records the span of an error that has been counted.
    pub fn error_at(&self, code: Code, origin: Origin, transport: Transport, span: SpanRef) {
        self.exemplars.keep(code, origin, transport, span);
    }

    /// The counters of a tenant on this route.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> Arc<TenantMetrics> {
        let mut tenants = lock(&self.tenants);
        let new = || Arc::new(TenantMetrics::new(tenant, self.shards.len()));
        Arc::clone(tenants.entry(tenant.to_owned()).or_insert_with(new))
    }

    fn every_tenant(&self) -> Vec<Arc<TenantMetrics>> {
        lock(&self.tenants).values().map(Arc::clone).collect()
    }

    /// Counts a provider's error by its own code: the label is a code in the profile's table, `other`, or `none`.
    pub fn upstream_error(&self, label: &Arc<str>, code: Code) {
        let mut errors = lock(&self.upstream_errors);
        if let Some(count) = errors.get_mut(&code).and_then(|labels| labels.get_mut(&**label)) {
            *count += 1;
            return;
        }
        let full = errors.values().map(BTreeMap::len).sum::<usize>() >= UPSTREAM_CODES;
        let label = if full { Arc::from("other") } else { Arc::clone(label) };
        *errors.entry(code).or_default().entry(label).or_default() += 1;
    }

    /// Counts an open WebSocket until the guard is dropped.
    #[must_use]
    pub fn websocket_opened(self: &Arc<Self>) -> OpenSocket {
        let _ = self.shard().websockets.fetch_add(1, Relaxed);
        OpenSocket(Arc::clone(self))
    }

    /// Counts the traffic of a WebSocket: whole messages, and bytes of frames.
    pub fn websocket_passed(&self, direction: Direction, messages: u64, bytes: u64) {
        let shard = self.shard();
        let _ = shard.websocket_messages[direction as usize].fetch_add(messages, Relaxed);
        let _ = shard.websocket_bytes[direction as usize].fetch_add(bytes, Relaxed);
    }

    /// Counts the first close frame of a WebSocket.
    pub fn websocket_closed(&self, code: u16, initiator: Initiator) {
        let known = match code {
            1000..=1015 => usize::from(code - 1000),
            3000 => 16,
            3003 => 17,
            3008 => 18,
            _ => 19,
        };
        let slot = close_slot(known, initiator as usize);
        let _ = self.shard().websocket_closes.get_or_init(|| counters(CLOSE_SLOTS))[slot].fetch_add(1, Relaxed);
    }

    /// Counts an error whose code no profile knows.
    pub fn unmapped(&self) {
        let _ = self.unmapped.fetch_add(1, Relaxed);
    }

    /// Counts the outcome of a retry, or the reason that none was made.
    pub fn retry(&self, outcome: Retry) {
        self.retries.count(outcome);
    }

    /// Counts a retry when the guard is dropped, by its outcome.
    #[must_use]
    pub fn retry_begins(self: &Arc<Self>) -> RetryCount {
        RetryCount { metrics: Arc::clone(self), outcome: Retry::Cancelled }
    }

    /// Counts the outcome of reconnecting a provider's socket, or the reason that it was not tried.
    pub fn redial(&self, outcome: Redial) {
        self.redials.count(outcome);
    }

    /// Counts a request that a limit rejected.
    pub fn limited(&self, limit: Limit) {
        let _ = self.rejections[limit as usize].fetch_add(1, Relaxed);
    }

    /// Counts how long a request of no tenant waited for a slot, whether it got one or not.
    pub fn queue_waited(&self, priority: Priority, wait: Duration) {
        self.shard().tally.waited(priority, wait);
    }

    /// Sets whether requests are sent with the route's own key instead of the client's, and the account of that key.
    pub fn lends_key(&self, lends: bool, account: Option<&str>) {
        self.lends.store(lends, Relaxed);
        *lock(&self.account) = account.map(str::to_owned);
    }

    /// Shows these upstreams from now on; ones that were shown before keep their counts.
    pub fn show_upstreams(&self, names: impl Iterator<Item = String>) -> Vec<Arc<UpstreamMetrics>> {
        self.upstreams.show(names)
    }

    /// Shows the connections of this source from now on.
    pub fn show_connections(&self, connections: &Arc<dyn OpenConnections>) {
        self.connections.show(connections);
    }

    /// Counts a spare WebSocket until the guard is dropped.
    #[must_use]
    pub fn socket_spared(&self) -> SpareSocket {
        self.connections.spare()
    }

    /// Shows the slots of this source from now on; none when the route has no limit.
    pub fn show_slots(&self, slots: Option<&Arc<dyn SlotStats>>) {
        *lock(&self.slots) = slots.map(Arc::downgrade);
    }

    fn shard(&self) -> &Shard {
        own(&self.shards)
    }

    /// Adds a tenant's usage at the provider; without tenants the name is empty.
    pub fn used(&self, tenant: &str, usage: &Usage) {
        self.usage.add(tenant, usage);
    }

    fn labels(&self) -> [(&'static str, &str); 2] {
        [("route", &self.route), ("provider", &self.provider)]
    }
}

/// A request in flight.
#[derive(Debug)]
pub struct InFlight(Arc<RouteMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        // The thread may use another shard than the one that counted up; only the sum over shards is meaningful.
        let _ = self.0.shard().in_flight.fetch_sub(1, Relaxed);
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct OpenSocket(Arc<RouteMetrics>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        let _ = self.0.shard().websockets.fetch_sub(1, Relaxed);
    }
}

/// Counts a retry when dropped, as cancelled unless its outcome has been set.
#[derive(Debug)]
pub struct RetryCount {
    metrics: Arc<RouteMetrics>,
    outcome: Retry,
}

impl RetryCount {
    /// The retry is not made after all.
    pub fn not_made(mut self, why: Retry) {
        self.outcome = why;
    }

    /// The retry ended; `success`: with a response that is not a failure.
    pub fn ends(mut self, success: bool) {
        self.outcome = if success { Retry::Success } else { Retry::Failure };
    }
}

impl Drop for RetryCount {
    fn drop(&mut self) {
        self.metrics.retry(self.outcome);
    }
}

/// Groups the routes by name. A route whose provider was changed by a reload has several entries, next to each other.
fn by_name(routes: &[Arc<RouteMetrics>]) -> impl Iterator<Item = (&str, &[Arc<RouteMetrics>])> {
    routes.chunk_by(|a, b| a.route == b.route).map(|routes| (&*routes[0].route, routes))
}

/// Counters have no state that a panic could leave half-changed, so poisoning is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
