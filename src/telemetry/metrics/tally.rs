//! Requests, errors and waits for slots, counted for a route or for one of its tenants.

use super::labels::Transport;
use super::slots::{ERROR_SLOTS, METHODS, PRIORITIES, STATUS_SLOTS, STATUSES, counters, error_slot, method_slot, own};
use super::{Exemplar, lock};
use crate::canon::{Code, Origin};
use crate::limit::Priority;
use crate::telemetry::histogram::{Histogram, REQUEST_BOUNDS};
use crate::telemetry::trace::SpanRef;
use http::Method;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

/// The counters of one worker.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Number by method and status; a method's row is allocated when it is first used.
    requests: [OnceLock<Box<[AtomicU64]>>; METHODS.len()],
    /// Number by code, origin and transport; allocated at the first error.
    errors: OnceLock<Box<[AtomicU64]>>,
    /// How long calls waited for a slot, by priority; made when one first asks for a slot.
    waits: OnceLock<Box<[Histogram; PRIORITIES.len()]>>,
}

impl Tally {
    /// Counts a completed request.
    pub(super) fn request(&self, method: usize, status: u16) {
        let other = STATUS_SLOTS - 1;
        let slot = if STATUSES.contains(&status) { usize::from(status - STATUSES.start()) } else { other };
        let _ = self.requests[method].get_or_init(|| counters(STATUS_SLOTS))[slot].fetch_add(1, Relaxed);
    }

    /// Counts an error.
    pub(super) fn error(&self, code: Code, origin: Origin, transport: Transport) {
        let slot = error_slot(code.index(), origin as usize, transport as usize);
        let _ = self.errors.get_or_init(|| counters(ERROR_SLOTS))[slot].fetch_add(1, Relaxed);
    }

    /// Counts how long a call waited for a slot, whether it got one or not.
    pub(super) fn waited(&self, priority: Priority, wait: Duration) {
        let make = || Box::new(std::array::from_fn(|_| Histogram::new(REQUEST_BOUNDS)));
        self.waits.get_or_init(make)[priority as usize].observe(wait);
    }

    pub(super) fn waits(&self) -> Option<&[Histogram; PRIORITIES.len()]> {
        self.waits.get().map(|waits| &**waits)
    }

    pub(super) fn requests(&self, method: usize) -> Option<&[AtomicU64]> {
        self.requests[method].get().map(|counters| &**counters)
    }

    pub(super) fn errors(&self) -> Option<&[AtomicU64]> {
        self.errors.get().map(|counters| &**counters)
    }
}

/// The last traced error of each kind, by its slot. Updated only for errors.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Mutex<BTreeMap<usize, Exemplar>>);

impl Exemplars {
    pub(super) fn keep(&self, code: Code, origin: Origin, transport: Transport, span: SpanRef) {
        let slot = error_slot(code.index(), origin as usize, transport as usize);
        let _ = lock(&self.0).insert(slot, span.exemplar(1.0, SystemTime::now()));
    }

    pub(super) fn all(&self) -> BTreeMap<usize, Exemplar> {
        lock(&self.0).clone()
    }
}

/// The counters of one tenant on one route. They are not counted for the route a second time: the route's sum is over all tenants
/// and the requests without one.
#[derive(Debug)]
pub struct TenantMetrics {
    pub(super) tenant: Arc<str>,
    pub(super) shards: Box<[Tally]>,
    pub(super) exemplars: Exemplars,
    holding: AtomicU32,
    waiting: AtomicU32,
}

/// A call of a tenant that holds a slot, counted until this is dropped.
#[derive(Debug)]
pub struct Holds(Arc<TenantMetrics>);

/// A call of a tenant that waits for a slot, counted until this is dropped.
#[derive(Debug)]
pub struct Waits(Arc<TenantMetrics>);

impl Drop for Holds {
    fn drop(&mut self) {
        let _ = self.0.holding.fetch_sub(1, Relaxed);
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let _ = self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl TenantMetrics {
    pub(super) fn new(tenant: &str, shards: usize) -> TenantMetrics {
        let shards = std::iter::repeat_with(Tally::default).take(shards).collect();
        let (holding, waiting) = (AtomicU32::new(0), AtomicU32::new(0));
        TenantMetrics { tenant: Arc::from(tenant), shards, exemplars: Exemplars::default(), holding, waiting }
    }

    /// Counts a completed request.
    pub fn request(&self, method: &Method, status: u16) {
        own(&self.shards).request(method_slot(method), status);
    }

    /// Counts an error.
    pub fn error(&self, code: Code, origin: Origin, transport: Transport, span: Option<SpanRef>) {
        own(&self.shards).error(code, origin, transport);
        if let Some(span) = span {
            self.exemplars.keep(code, origin, transport, span);
        }
    }

    /// Counts a call that holds a slot.
    #[must_use]
    pub fn holds(self: &Arc<Self>) -> Holds {
        let _ = self.holding.fetch_add(1, Relaxed);
        Holds(Arc::clone(self))
    }

    /// Counts a call that waits for a slot.
    #[must_use]
    pub fn waits(self: &Arc<Self>) -> Waits {
        let _ = self.waiting.fetch_add(1, Relaxed);
        Waits(Arc::clone(self))
    }

    /// Counts how long a call waited for a slot, whether it got one or not.
    pub fn waited(&self, priority: Priority, wait: Duration) {
        own(&self.shards).waited(priority, wait);
    }

    /// How many of its calls hold a slot, and how many wait for one.
    #[must_use]
    pub fn slots(&self) -> (u32, u32) {
        (self.holding.load(Relaxed), self.waiting.load(Relaxed))
    }

    /// Whether a call of it has ever asked for a slot.
    pub(super) fn has_asked(&self) -> bool {
        self.shards.iter().any(|tally| tally.waits().is_some()) || self.slots() != (0, 0)
    }

    /// Requests that have ended.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let rows = self.shards.iter().flat_map(|tally| (0..METHODS.len()).filter_map(|method| tally.requests(method)));
        rows.flatten().map(|count| count.load(Relaxed)).sum()
    }

    /// Number of errors with this code.
    #[must_use]
    pub fn errors_of(&self, code: Code) -> u64 {
        errors_of(self.shards.iter(), code)
    }
}

/// Number of errors with this code, over several tallies.
pub(super) fn errors_of<'t>(tallies: impl Iterator<Item = &'t Tally>, code: Code) -> u64 {
    let first = error_slot(code.index(), 0, 0);
    let slots = first..first + Origin::ALL.len() * Transport::ALL.len();
    let of = |tally: &Tally| Some(tally.errors()?[slots.clone()].iter().map(|n| n.load(Relaxed)).sum::<u64>());
    tallies.filter_map(of).sum()
}
