//! Requests and errors, counted for a route or for one of its tenants.

use super::labels::Transport;
use super::slots::{ERROR_SLOTS, METHODS, STATUS_SLOTS, STATUSES, counters, error_slot, method_slot, own};
use super::{Exemplar, lock};
use crate::canon::{Code, Origin};
use crate::telemetry::trace::SpanRef;
use http::Method;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

/// What one worker counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By method and status; a method's row is made when it is first used.
    requests: [OnceLock<Box<[AtomicU64]>>; METHODS.len()],
    /// By code, origin and transport; made at the first error.
    errors: OnceLock<Box<[AtomicU64]>>,
}

impl Tally {
    /// Counts a request that has ended.
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

    pub(super) fn requests(&self, method: usize) -> Option<&[AtomicU64]> {
        self.requests[method].get().map(|counters| &**counters)
    }

    pub(super) fn errors(&self) -> Option<&[AtomicU64]> {
        self.errors.get().map(|counters| &**counters)
    }
}

/// The last traced error of each kind, by its slot. Only errors come here.
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

/// The counters of one tenant on one route. What is counted here is not counted for the route once more: its sum is over all of its
/// tenants and whoever is none.
#[derive(Debug)]
pub struct TenantMetrics {
    pub(super) tenant: String,
    pub(super) shards: Box<[Tally]>,
    pub(super) exemplars: Exemplars,
}

impl TenantMetrics {
    pub(super) fn new(tenant: &str, shards: usize) -> TenantMetrics {
        let shards = std::iter::repeat_with(Tally::default).take(shards).collect();
        TenantMetrics { tenant: tenant.to_owned(), shards, exemplars: Exemplars::default() }
    }

    /// Counts a request that has ended.
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

    /// Requests that have ended.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let rows = self.shards.iter().flat_map(|tally| (0..METHODS.len()).filter_map(|method| tally.requests(method)));
        rows.flatten().map(|count| count.load(Relaxed)).sum()
    }

    /// Errors with this code.
    #[must_use]
    pub fn errors_of(&self, code: Code) -> u64 {
        errors_of(self.shards.iter(), code)
    }
}

/// Errors with this code.
pub(super) fn errors_of<'t>(tallies: impl Iterator<Item = &'t Tally>, code: Code) -> u64 {
    let first = error_slot(code.index(), 0, 0);
    let slots = first..first + Origin::ALL.len() * Transport::ALL.len();
    let of = |tally: &Tally| Some(tally.errors()?[slots.clone()].iter().map(|n| n.load(Relaxed)).sum::<u64>());
    tallies.filter_map(of).sum()
}
