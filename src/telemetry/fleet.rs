//! What is counted about limits that are shared.

use super::exposition::{Exposition, Kind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// Why something was decided here alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// A route's slots went to the local share.
    Slots,
    /// A request was counted against the local share of its rates.
    Rate,
}

/// The state of the fleet as this process sees it.
#[derive(Debug, Default)]
pub struct FleetMetrics {
    connected: AtomicBool,
    size: AtomicU32,
    fallbacks: [AtomicU64; 2],
}

impl FleetMetrics {
    /// Whether the backend answers. Gives whether that is news.
    pub fn connected(&self, connected: bool) -> bool {
        self.connected.swap(connected, Relaxed) != connected
    }

    /// How many gateways there are.
    pub fn sized(&self, size: u32) {
        self.size.store(size, Relaxed);
    }

    /// Something was decided here alone.
    pub fn fell_back(&self, what: Fallback) {
        let [slots, rate] = &self.fallbacks;
        let counter = if what == Fallback::Slots { slots } else { rate };
        let _ = counter.fetch_add(1, Relaxed);
    }

    pub(super) fn render(&self, out: &mut Exposition<'_>) {
        let [slots, rate] = &self.fallbacks;
        let _ = out
            .family("speechgate_fleet_connected", Kind::Gauge, "Whether the backend of shared limits answers.")
            .sample(&[], u8::from(self.connected.load(Relaxed)))
            .family("speechgate_fleet_size", Kind::Gauge, "Gateways that share limits, as last heard.")
            .sample(&[], self.size.load(Relaxed))
            .family(
                "speechgate_fleet_fallbacks_total",
                Kind::Counter,
                "How often the backend did not answer in time: a route's slots went to the local share, or a request was counted against it.",
            )
            .sample(&[("limit", "slots")], slots.load(Relaxed))
            .sample(&[("limit", "rate")], rate.load(Relaxed));
    }
}
