//! What is known about the fleet as a whole, and what is said about it.

use crate::telemetry::fleet::{Fallback, FleetMetrics};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The size of the fleet that a gateway assumes when it has never heard of it.
const UNHEARD: u32 = 10;

/// The state of the fleet, shared within the process.
#[derive(Debug)]
pub(super) struct Tally {
    metrics: Arc<FleetMetrics>,
    /// How many gateways the fleet has (zero: never heard of it), and the rank of this one among them.
    size: AtomicU32,
    rank: AtomicU32,
    /// Whether the loss of the backend has been logged.
    complained: AtomicBool,
}

impl Tally {
    pub(super) fn new(metrics: Arc<FleetMetrics>) -> Tally {
        Tally { metrics, size: AtomicU32::new(0), rank: AtomicU32::new(0), complained: AtomicBool::new(false) }
    }

    /// The last known number of gateways and this one's rank; a gateway that never heard of the fleet counts itself last of many.
    pub(super) fn place(&self) -> (u32, u32) {
        match self.size.load(Ordering::Relaxed) {
            0 => (UNHEARD, UNHEARD),
            size => (size, self.rank.load(Ordering::Relaxed)),
        }
    }

    /// Updates the size of the fleet and this gateway's rank; a size of zero changes nothing.
    pub(super) fn sized(&self, size: u32, rank: u32) {
        if size == 0 {
            return;
        }
        self.rank.store(rank, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        self.metrics.sized(size);
    }

    pub(super) fn connected(&self) {
        self.complained.store(false, Ordering::Relaxed);
        if self.metrics.connected(true) {
            tracing::info!("the backend of shared limits is connected");
        }
    }

    pub(super) fn disconnected(&self) {
        if self.metrics.connected(false) {
            tracing::warn!("the backend of shared limits is lost");
        }
    }

    /// Logs that the backend cannot be reached: once, however often it is tried.
    pub(super) fn unreachable(&self, why: &str) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, "the backend of shared limits cannot be reached");
        }
    }

    pub(super) fn fell_back(&self, what: Fallback) {
        self.metrics.fell_back(what);
    }
}
