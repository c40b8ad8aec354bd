//! Metrics of shared limits.

use super::exposition::{Exposition, Kind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// What was decided without the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// A route fell back to its local share of slots.
    Slots,
    /// A request was counted against the local share of its rates.
    Rate,
    /// A request was let in by what was last known of a budget.
    Budget,
}

/// The state of the fleet as this process sees it.
#[derive(Debug, Default)]
pub struct FleetMetrics {
    connected: AtomicBool,
    size: AtomicU32,
    fallbacks: [AtomicU64; 3],
}

impl FleetMetrics {
    /// Sets whether the backend answers. Whether that is a change.
    pub fn connected(&self, connected: bool) -> bool {
        self.connected.swap(connected, Relaxed) != connected
    }

    /// Sets how many gateways there are.
    pub fn sized(&self, size: u32) {
        self.size.store(size, Relaxed);
    }

    /// Counts a fallback.
    pub fn fell_back(&self, what: Fallback) {
        let [slots, rate, budget] = &self.fallbacks;
        let counter = match what {
            Fallback::Slots => slots,
            Fallback::Rate => rate,
            Fallback::Budget => budget,
        };
        let _ = counter.fetch_add(1, Relaxed);
    }

    pub(super) fn render(&self, out: &mut Exposition<'_>) {
        let [slots, rate, budget] = &self.fallbacks;
        let _ = out
            .family("speechgate_fleet_connected", Kind::Gauge, "Whether the backend of shared limits answers.")
            .sample(&[], u8::from(self.connected.load(Relaxed)))
            .family("speechgate_fleet_size", Kind::Gauge, "Gateways that share limits, as last heard.")
            .sample(&[], self.size.load(Relaxed))
            .family(
                "speechgate_fleet_fallbacks_total",
                Kind::Counter,
                "How often the backend did not answer in time, so that a route fell back to its local share of slots or of a rate, or a request to what was last known of a budget.",
            )
            .sample(&[("limit", "slots")], slots.load(Relaxed))
            .sample(&[("limit", "rate")], rate.load(Relaxed))
            .sample(&[("limit", "budget")], budget.load(Relaxed));
    }
}
