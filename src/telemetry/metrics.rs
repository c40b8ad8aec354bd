//! Every metric: counters and histograms per route, recorded without a lock, an allocation or a hash.
//!
//! Label values come from closed sets: routes and providers from the configuration, codes from the table, methods and
//! statuses from lists. Nothing that the network supplied becomes a label, so the number of series is bounded.

use crate::canon::{Code, Origin};
use http::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where an error was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// An HTTP answer.
    Http,
    /// A Server-Sent Event.
    Sse,
    /// A line of newline-separated JSON.
    Ndjson,
    /// A socket, its handshake included.
    Websocket,
    /// A failure inside a 200.
    Job,
}

impl Transport {
    /// Every transport, in the order of its index.
    pub const ALL: [Transport; 5] =
        [Transport::Http, Transport::Sse, Transport::Ndjson, Transport::Websocket, Transport::Job];

    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Http => "http",
            Transport::Sse => "sse",
            Transport::Ndjson => "ndjson",
            Transport::Websocket => "websocket",
            Transport::Job => "job",
        }
    }
}

/// The values of the label `method`; the last stands for all others.
pub(super) const METHODS: [&str; 10] =
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "other"];

/// Statuses are counted from 100 to 599; the last place stands for all others.
pub(super) const STATUSES: usize = 501;

/// Upper bounds of the buckets of durations, in microseconds: 1 ms to 300 s.
const DURATIONS: &[u64] = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
];

/// Upper bounds of the buckets of what the gateway itself adds, in microseconds: 10 µs to 100 ms.
const OVERHEADS: &[u64] = &[10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 100_000];

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    routes: Mutex<BTreeMap<(String, String), Arc<RouteMetrics>>>,
    /// Unknown codes that have been told already.
    sighted: Mutex<BTreeSet<(String, String)>>,
    pub(super) started: Duration,
    pub(super) reloads: [AtomicU64; 2],
    pub(super) last_reload: AtomicU64,
    pub(super) access_dropped: AtomicU64,
}

/// The metrics of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    pub(super) route: String,
    pub(super) provider: String,
    requests: OnceLock<Box<[AtomicU64]>>,
    errors: OnceLock<Box<[AtomicU64]>>,
    /// Only asked when an error is counted; the keys come from a profile's table.
    upstream_errors: Mutex<BTreeMap<(Arc<str>, Code), u64>>,
    pub(super) unmapped: AtomicU64,
    pub(super) in_flight: AtomicI64,
    pub(super) duration: Histogram,
    pub(super) upstream_duration: Histogram,
    pub(super) time_to_first_byte: Histogram,
    pub(super) overhead: Histogram,
}

/// A histogram of durations.
#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) bounds: &'static [u64],
    /// One per bound and one for what is beyond; not cumulative.
    buckets: Box<[AtomicU64]>,
    micros: AtomicU64,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<RouteMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let _ = self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a finished request took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From its head to its last byte.
    pub total: Duration,
    /// From its way to the provider to its last byte.
    pub upstream: Option<Duration>,
    /// To the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// What the gateway added before the provider was called.
    pub overhead: Option<Duration>,
}

impl Metrics {
    /// Metrics that begin at zero now.
    #[must_use]
    pub fn new(now: SystemTime) -> Arc<Metrics> {
        Arc::new(Metrics {
            routes: Mutex::default(),
            sighted: Mutex::default(),
            started: now.duration_since(UNIX_EPOCH).unwrap_or_default(),
            reloads: Default::default(),
            last_reload: AtomicU64::new(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64),
            access_dropped: AtomicU64::new(0),
        })
    }

    /// The metrics of a route: the same for the same names, so that counters survive a reload.
    #[must_use]
    pub fn route(&self, route: &str, provider: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(RouteMetrics::new(route, provider));
        Arc::clone(routes.entry((route.to_owned(), provider.to_owned())).or_insert_with(fresh))
    }

    /// Whether an unknown code of a route is seen for the first time. At most 1,000 are remembered.
    pub fn first_sight(&self, route: &str, code: &str) -> bool {
        let mut sighted = self.sighted.lock().unwrap_or_else(PoisonError::into_inner);
        sighted.len() < 1000 && sighted.insert((route.to_owned(), code.to_owned()))
    }

    /// A reload went well or did not.
    pub fn reloaded(&self, success: bool, now: SystemTime) {
        let _ = self.reloads[usize::from(success)].fetch_add(1, Ordering::Relaxed);
        if success {
            let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            self.last_reload.store(millis, Ordering::Relaxed);
        }
    }

    /// A line of the access log had no place.
    pub fn access_line_dropped(&self) {
        let _ = self.access_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> Vec<Arc<RouteMetrics>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl RouteMetrics {
    fn new(route: &str, provider: &str) -> RouteMetrics {
        RouteMetrics {
            route: route.to_owned(),
            provider: provider.to_owned(),
            requests: OnceLock::new(),
            errors: OnceLock::new(),
            upstream_errors: Mutex::default(),
            unmapped: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            duration: Histogram::new(DURATIONS),
            upstream_duration: Histogram::new(DURATIONS),
            time_to_first_byte: Histogram::new(DURATIONS),
            overhead: Histogram::new(OVERHEADS),
        }
    }

    /// A request begins; it is in flight until the guard is dropped.
    #[must_use]
    pub fn request_started(self: &Arc<Self>) -> InFlight {
        let _ = self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A request has ended.
    pub fn request_finished(&self, method: &Method, status: u16, times: &Times) {
        let place = method_index(method) * STATUSES + status_index(status);
        add(self.requests.get_or_init(|| zeros(METHODS.len() * STATUSES)), place);
        self.duration.record(times.total);
        for (histogram, time) in [
            (&self.upstream_duration, times.upstream),
            (&self.time_to_first_byte, times.first_byte),
            (&self.overhead, times.overhead),
        ] {
            if let Some(time) = time {
                histogram.record(time);
            }
        }
    }

    /// An error.
    pub fn error(&self, code: Code, origin: Origin, transport: Transport) {
        let (origins, transports) = (Origin::ALL.len(), Transport::ALL.len());
        let place = (code.index() * origins + origin as usize) * transports + transport as usize;
        add(self.errors.get_or_init(|| zeros(Code::ROWS.len() * origins * transports)), place);
    }

    /// An error in the provider's words; `label` is from its profile's table, or `other` or `none`.
    pub fn upstream_error(&self, label: &Arc<str>, code: Code) {
        let mut errors = self.upstream_errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry((Arc::clone(label), code)).or_insert(0) += 1;
    }

    /// An error whose code the profile does not know.
    pub fn unmapped(&self) {
        let _ = self.unmapped.fetch_add(1, Ordering::Relaxed);
    }

    /// Method, status and number of what has been counted.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&'static str, usize, u64)> {
        let counted = self.requests.get().map_or(&[][..], |all| all).iter().enumerate();
        counted.filter_map(|(place, count)| {
            let count = count.load(Ordering::Relaxed);
            (count > 0).then(|| (METHODS[place / STATUSES], place % STATUSES, count))
        })
    }

    /// Code, origin, transport and number of what has been counted.
    pub(super) fn errors(&self) -> impl Iterator<Item = (Code, Origin, Transport, u64)> {
        let (origins, transports) = (Origin::ALL.len(), Transport::ALL.len());
        let counted = self.errors.get().map_or(&[][..], |all| all).iter().enumerate();
        counted.filter_map(move |(place, count)| {
            let count = count.load(Ordering::Relaxed);
            let (rest, transport) = (place / transports, place % transports);
            let code = Code::ROWS[rest / origins].code;
            (count > 0).then(|| (code, Origin::ALL[rest % origins], Transport::ALL[transport], count))
        })
    }

    /// Label, code and number of what has been counted.
    pub(super) fn upstream_errors(&self) -> Vec<(Arc<str>, Code, u64)> {
        let errors = self.upstream_errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.iter().map(|((label, code), count)| (Arc::clone(label), *code, *count)).collect()
    }
}

fn zeros(places: usize) -> Box<[AtomicU64]> {
    (0..places).map(|_| AtomicU64::new(0)).collect()
}

fn add(counters: &[AtomicU64], place: usize) {
    if let Some(counter) = counters.get(place) {
        let _ = counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

fn status_index(status: u16) -> usize {
    if (100..600).contains(&status) { usize::from(status) - 100 } else { STATUSES - 1 }
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Histogram {
        Histogram { bounds, buckets: zeros(bounds.len() + 1), micros: AtomicU64::new(0) }
    }

    fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        add(&self.buckets, self.bounds.partition_point(|bound| *bound < micros));
        let _ = self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts of the buckets, and the sum in seconds.
    pub(super) fn read(&self) -> (Vec<u64>, f64) {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        (counts, self.micros.load(Ordering::Relaxed) as f64 / 1e6)
    }
}
