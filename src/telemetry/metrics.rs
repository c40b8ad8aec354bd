//! Every metric: its name, its help, and labels drawn from closed sets.
//!
//! A route's counters are found once, with the configuration, and are plain relaxed atomics from then on: no lock, no hash and
//! no allocation for a request. Each worker has a shard of its own, so that no two threads write to one cache line; a scrape adds
//! the shards up. Label values are indices into tables of this program, so that nothing from the network can become a label.

mod families;
mod labels;
mod totals;

pub use labels::{Direction, Initiator, Limit, Transport};
pub use totals::Totals;

use super::exposition::{Exemplar, Exposition, Families, Format, Kind, Text};
use super::fleet::FleetMetrics;
use super::histogram::{Histogram, OVERHEAD_BOUNDS, REQUEST_BOUNDS};
use super::otlp::Exports;
use super::process;
use super::retries::{self, Retries};
use super::semantic::{self, Kinds, Semantic};
use super::trace::Spot;
use super::upstreams::{self, Upstreams};
use crate::canon::{Code, Origin};
use crate::limit::{Priority, Stats};
use http::Method;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The methods that are labels of their own; any other is `other`.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];
const OTHER_METHOD: usize = METHODS.len() - 1;
/// Statuses that are labels of their own; any other is `other`.
const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;
const STATUS_SLOTS: usize = 501;
/// Close codes that are labels of their own; any other is `other`. 1005 is a close without a code, 1006 an end without a close.
const CLOSE_CODES: [&str; 20] = [
    "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012", "1013",
    "1014", "1015", "3000", "3003", "3008", "other",
];
const CLOSE_SLOTS: usize = CLOSE_CODES.len() * Initiator::ALL.len();
const ERROR_SLOTS: usize = Code::ROWS.len() * Origin::ALL.len() * Transport::ALL.len();
/// Most pairs of upstream code and code for one route: far more than any profile has, and a bound whatever happens.
const UPSTREAM_CODES: usize = 2048;

/// The priorities and their labels, in the order of their index.
const PRIORITIES: [(Priority, &str); 3] =
    [(Priority::High, "high"), (Priority::Normal, "normal"), (Priority::Low, "low")];

/// How long the parts of one request took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From the request's head to the answer's last byte.
    pub total: Duration,
    /// From the request being sent upstream to the last byte of the provider's answer; none when nothing was sent.
    pub upstream: Option<Duration>,
    /// From the request's head to the first byte of the answer's body, or to its head when it has none.
    pub first_byte: Option<Duration>,
    /// What the gateway itself took before it sent the request upstream, waits in a queue left out.
    pub overhead: Option<Duration>,
    /// The request's span, when its trace is kept.
    pub spot: Option<Spot>,
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    version: &'static str,
    started: SystemTime,
    shards: usize,
    routes: Mutex<BTreeMap<(String, String), Arc<RouteMetrics>>>,
    unrouted: Arc<RouteMetrics>,
    reloads: [AtomicU64; 2],
    last_reload: AtomicU64,
    last_reload_failed: AtomicBool,
    access_log_dropped: Arc<AtomicU64>,
    exports: Arc<Exports>,
    /// Whether what only OTLP tells is kept.
    semantic: bool,
    /// Only with shared limits.
    fleet: OnceLock<Arc<FleetMetrics>>,
}

/// The metrics of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    route: String,
    provider: String,
    shards: Box<[Shard]>,
    /// The provider's code as a label, by what it meant. Only errors come here.
    upstream_errors: Mutex<BTreeMap<Code, BTreeMap<Arc<str>, u64>>>,
    unmapped: AtomicU64,
    rejections: [AtomicU64; Limit::ALL.len()],
    /// Asked at a scrape for the slots of the route.
    slots: Mutex<Option<Weak<dyn Stats>>>,
    /// The last traced error of each kind, by its slot. Only errors come here.
    exemplars: Mutex<BTreeMap<usize, Exemplar>>,
    pub(super) retries: Retries,
    pub(super) upstreams: Upstreams,
}

/// What one worker writes. Two cache lines apart from the next, because lines are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    in_flight: AtomicI64,
    duration: Histogram,
    upstream: Histogram,
    first_byte: Histogram,
    overhead: Histogram,
    /// By method and status; a method's row is made when it is first used.
    requests: [OnceLock<Box<[AtomicU64]>>; METHODS.len()],
    /// By code, origin and transport; made at the first error.
    errors: OnceLock<Box<[AtomicU64]>>,
    websockets: AtomicI64,
    /// Messages and bytes by direction.
    websocket_messages: [AtomicU64; 2],
    websocket_bytes: [AtomicU64; 2],
    /// By code and initiator; made at the first close.
    websocket_closes: OnceLock<Box<[AtomicU64]>>,
    /// By priority; made when somebody first asks for a slot.
    queue_wait: OnceLock<[Histogram; PRIORITIES.len()]>,
    semantic: Semantic,
    /// Lines of the access log that were left out on purpose.
    unlogged: AtomicU64,
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// Gives this thread the shard of its worker.
pub fn use_shard(worker: usize) {
    SHARD.set(worker);
}

/// The part of this thread, of parts that are one for each worker. A thread that is none of them shares the first.
pub(super) fn own<T>(parts: &[T]) -> &T {
    parts.get(SHARD.get()).unwrap_or(&parts[0])
}

impl Metrics {
    /// Metrics for as many workers as there will be.
    #[must_use]
    pub fn new(version: &'static str, workers: usize) -> Metrics {
        let shards = workers.max(1);
        Metrics {
            version,
            started: SystemTime::now(),
            shards,
            routes: Mutex::default(),
            unrouted: Arc::new(RouteMetrics::new("", "", shards)),
            reloads: Default::default(),
            last_reload: AtomicU64::new(seconds(SystemTime::now()).to_bits()),
            last_reload_failed: AtomicBool::new(false),
            access_log_dropped: Arc::default(),
            exports: Arc::default(),
            semantic: false,
            fleet: OnceLock::new(),
        }
    }

    /// The same, keeping what only OTLP tells.
    #[must_use]
    pub fn with_semantic(self) -> Metrics {
        Metrics { semantic: true, ..self }
    }

    /// Whether what only OTLP tells is kept.
    #[must_use]
    pub fn keeps_semantic(&self) -> bool {
        self.semantic
    }

    /// Counts what is exported over OTLP.
    #[must_use]
    pub fn exports(&self) -> Arc<Exports> {
        Arc::clone(&self.exports)
    }

    /// When counting began.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// The metrics of a route. They outlive the route, because a counter that vanishes cannot be told from one that was reset.
    #[must_use]
    pub fn route(&self, route: &str, provider: &str) -> Arc<RouteMetrics> {
        let mut routes = lock(&self.routes);
        let metrics = routes
            .entry((route.to_owned(), provider.to_owned()))
            .or_insert_with(|| Arc::new(RouteMetrics::new(route, provider, self.shards)));
        Arc::clone(metrics)
    }

    /// The metrics of requests that no route took.
    #[must_use]
    pub fn unrouted(&self) -> Arc<RouteMetrics> {
        Arc::clone(&self.unrouted)
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, success: bool) {
        let _ = self.reloads[usize::from(!success)].fetch_add(1, Relaxed);
        self.last_reload_failed.store(!success, Relaxed);
        if success {
            self.last_reload.store(seconds(SystemTime::now()).to_bits(), Relaxed);
        }
    }

    /// Counts lines of the access log that had to be dropped.
    #[must_use]
    pub fn access_log_dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.access_log_dropped)
    }

    /// The metrics of shared limits, shown from now on.
    #[must_use]
    pub fn fleet(&self) -> Arc<FleetMetrics> {
        Arc::clone(self.fleet.get_or_init(Arc::default))
    }

    /// Appends every metric in a text format.
    pub fn render(&self, format: Format, text: &mut String) {
        let mut lines = Text::new(text, format);
        self.tell(&mut lines);
        lines.end();
    }

    /// Appends what only OTLP tells, under the names of its conventions.
    pub fn tell_semantic(&self, to: &mut dyn Families) {
        let out = &mut Exposition::new(to);
        semantic::family(out);
        for route in self.every_route() {
            semantic::write(out, route.labels(), route.shards.iter().map(|shard| &shard.semantic));
        }
    }

    fn every_route(&self) -> Vec<Arc<RouteMetrics>> {
        std::iter::once(&self.unrouted).chain(lock(&self.routes).values()).map(Arc::clone).collect()
    }

    /// Hands on every metric.
    pub fn tell(&self, to: &mut dyn Families) {
        let routes = self.every_route();
        let out = &mut Exposition::new(to);
        families::errors(out, &routes);
        families::requests(out, &routes);
        families::times(out, &routes);
        families::websockets(out, &routes);
        families::limits(out, &routes);
        retries::render(out, &routes);
        upstreams::render(out, &routes);
        if let Some(fleet) = self.fleet.get() {
            fleet.render(out);
        }
        self.render_own(out, &routes);
        process::write(out, seconds(self.started));
    }

    fn render_own(&self, out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
        let unlogged =
            routes.iter().flat_map(|route| &route.shards).map(|shard| shard.unlogged.load(Relaxed)).sum::<u64>();
        let help = "Requests that were left out of the access log by `access_successes`.";
        let _ = out.family("speechgate_access_log_skipped_total", Kind::Counter, help).sample(&[], unlogged);
        let _ = out
            .family(
                "speechgate_access_log_dropped_total",
                Kind::Counter,
                "Lines of the access log that nobody took in time.",
            )
            .sample(&[], self.access_log_dropped.load(Relaxed));
        self.exports.write(out);
        let _ = out
            .family(
                "speechgate_config_reloads_total",
                Kind::Counter,
                "Reloads of the configuration, by whether it was valid.",
            )
            .sample(&[("result", "success")], self.reloads[0].load(Relaxed))
            .sample(&[("result", "failure")], self.reloads[1].load(Relaxed))
            .family(
                "speechgate_config_last_reload_successful",
                Kind::Gauge,
                "Whether the last reload of the configuration was valid; 1 before the first.",
            )
            .sample(&[], u8::from(!self.last_reload_failed.load(Relaxed)))
            .family(
                "speechgate_config_last_reload_success_timestamp_seconds",
                Kind::Gauge,
                "When the configuration in force was loaded, in seconds since 1970.",
            )
            .sample(&[], f64::from_bits(self.last_reload.load(Relaxed)))
            .family("speechgate_build_info", Kind::Gauge, "Always 1; the version is a label.")
            .sample(&[("version", self.version)], 1);
    }
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
            exemplars: Mutex::default(),
            retries: Retries::default(),
            upstreams: Upstreams::default(),
        }
    }

    /// Counts a request among those in flight until the guard is dropped.
    #[must_use]
    pub fn request_started(self: &Arc<Self>) -> InFlight {
        let _ = self.shard().in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Counts a request that has ended, by the status that was sent.
    pub fn request_finished(&self, method: &Method, status: u16, times: &Times) {
        let shard = self.shard();
        shard.request(method_slot(method), status);
        match times.spot {
            Some(spot) => shard.duration.observe_at(times.total, spot),
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

    /// Counts the same by the semantic conventions of OpenTelemetry.
    pub fn request_seen(&self, method: &Method, tls: bool, status: u16, error: Option<Code>, duration: Duration) {
        // The conventions' word for a method that is none of the known ones.
        let method = match method_slot(method) {
            OTHER_METHOD => "_OTHER",
            known => METHODS[known],
        };
        self.shard().semantic.observe(Kinds { method, tls, status, error }, duration);
    }

    /// Counts a request that was left out of the access log on purpose.
    pub fn request_unlogged(&self) {
        let _ = self.shard().unlogged.fetch_add(1, Relaxed);
    }

    /// Counts what never became a request, and so has neither a method nor a duration.
    pub fn request_refused(&self, status: u16) {
        self.shard().request(OTHER_METHOD, status);
    }

    /// Counts an error.
    pub fn error(&self, code: Code, origin: Origin, transport: Transport) {
        let slot = error_slot(code.index(), origin as usize, transport as usize);
        let _ = self.shard().errors.get_or_init(|| counters(ERROR_SLOTS))[slot].fetch_add(1, Relaxed);
    }

    /// Remembers where an error that has been counted can be seen.
    pub fn error_at(&self, code: Code, origin: Origin, transport: Transport, spot: Spot) {
        let slot = error_slot(code.index(), origin as usize, transport as usize);
        let _ = lock(&self.exemplars).insert(slot, spot.exemplar(1.0, SystemTime::now()));
    }

    /// Counts a provider's error by its own code: a label from the profile's table, `other`, or `none`.
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

    /// Counts what passed over a WebSocket: whole messages, and bytes of frames.
    pub fn websocket_passed(&self, direction: Direction, messages: u64, bytes: u64) {
        let shard = self.shard();
        let _ = shard.websocket_messages[direction as usize].fetch_add(messages, Relaxed);
        let _ = shard.websocket_bytes[direction as usize].fetch_add(bytes, Relaxed);
    }

    /// Counts the first close of a WebSocket.
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

    /// Counts a request that a limit refused.
    pub fn limited(&self, limit: Limit) {
        let _ = self.rejections[limit as usize].fetch_add(1, Relaxed);
    }

    /// Counts how long a request waited for a slot, whether it got one or not.
    pub fn queue_waited(&self, priority: Priority, wait: Duration) {
        let make = || std::array::from_fn(|_| Histogram::new(REQUEST_BOUNDS));
        self.shard().queue_wait.get_or_init(make)[priority as usize].observe(wait);
    }

    /// Shows these slots from now on; none when the route has no limit.
    pub fn show_slots(&self, slots: Option<&Arc<dyn Stats>>) {
        *lock(&self.slots) = slots.map(Arc::downgrade);
    }

    fn shard(&self) -> &Shard {
        own(&self.shards)
    }

    fn labels(&self) -> [(&str, &str); 2] {
        [("route", &self.route), ("provider", &self.provider)]
    }

    /// The sum of one counter over all shards.
    fn total(&self, row: impl Fn(&Shard) -> Option<&[AtomicU64]>, slot: usize) -> u64 {
        self.shards.iter().filter_map(row).map(|counters| counters[slot].load(Relaxed)).sum()
    }
}

impl Shard {
    fn new() -> Shard {
        Shard {
            in_flight: AtomicI64::new(0),
            duration: Histogram::new(REQUEST_BOUNDS),
            upstream: Histogram::new(REQUEST_BOUNDS),
            first_byte: Histogram::new(REQUEST_BOUNDS),
            overhead: Histogram::new(OVERHEAD_BOUNDS),
            requests: Default::default(),
            errors: OnceLock::new(),
            websockets: AtomicI64::new(0),
            websocket_messages: Default::default(),
            websocket_bytes: Default::default(),
            websocket_closes: OnceLock::new(),
            queue_wait: OnceLock::new(),
            semantic: Semantic::default(),
            unlogged: AtomicU64::new(0),
        }
    }

    fn request(&self, method: usize, status: u16) {
        let other = STATUS_SLOTS - 1;
        let slot = if STATUSES.contains(&status) { usize::from(status - STATUSES.start()) } else { other };
        let _ = self.requests[method].get_or_init(|| counters(STATUS_SLOTS))[slot].fetch_add(1, Relaxed);
    }

    fn errors(&self) -> Option<&[AtomicU64]> {
        self.errors.get().map(|counters| &**counters)
    }
}

/// A request in flight.
#[derive(Debug)]
pub struct InFlight(Arc<RouteMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        // Perhaps not the shard that counted it up: only the sum is right.
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

/// Routes grouped by name: one that changed its provider while the process ran has several entries, next to each other.
pub(super) fn by_name(routes: &[Arc<RouteMetrics>]) -> impl Iterator<Item = (&str, &[Arc<RouteMetrics>])> {
    routes.chunk_by(|a, b| a.route == b.route).map(|routes| (&*routes[0].route, routes))
}

/// The place of a method in [`METHODS`].
fn method_slot(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::CONNECT => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::PATCH => 8,
        _ => OTHER_METHOD,
    }
}

fn status_label(slot: usize) -> String {
    if slot == STATUS_SLOTS - 1 { "other".to_owned() } else { (usize::from(*STATUSES.start()) + slot).to_string() }
}

const fn error_slot(code: usize, origin: usize, transport: usize) -> usize {
    (code * Origin::ALL.len() + origin) * Transport::ALL.len() + transport
}

const fn close_slot(code: usize, initiator: usize) -> usize {
    code * Initiator::ALL.len() + initiator
}

fn counters(count: usize) -> Box<[AtomicU64]> {
    std::iter::repeat_with(AtomicU64::default).take(count).collect()
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Counters have no state that a panic could leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
