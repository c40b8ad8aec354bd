//! Metrics of the limits that gateways share.

use super::exposition::{Exposition, Kind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// A decision that was made without the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// A route used its local share of slots.
    Slots,
    /// A request was counted against the local share of a rate.
    Rate,
    /// A request was admitted by the last known state of a budget.
    Budget,
}

impl Fallback {
    /// Its label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Fallback::Slots => "slots",
            Fallback::Rate => "rate",
            Fallback::Budget => "budget",
        }
    }
}

/// The state of the fleet as this process sees it.
#[derive(Debug, Default)]
pub struct FleetMetrics {
    connected: AtomicBool,
    size: AtomicU32,
    fallbacks: [AtomicU64; 3],
    refusals: [AtomicU64; 3],
}

impl FleetMetrics {
    /// Records whether the backend can be reached. Returns whether that has changed.
    pub fn connected(&self, connected: bool) -> bool {
        self.connected.swap(connected, Relaxed) != connected
    }

    /// Records how many gateways there are.
    pub fn sized(&self, size: u32) {
        self.size.store(size, Relaxed);
    }

    /// Counts a fallback.
    pub fn fell_back(&self, what: Fallback) {
        let _ = one_of(&self.fallbacks, what).fetch_add(1, Relaxed);
    }

    /// Counts an answer of the backend that was an error.
    pub fn refused(&self, what: Fallback) {
        let _ = one_of(&self.refusals, what).fetch_add(1, Relaxed);
    }

    pub(super) fn render(&self, out: &mut Exposition<'_>) {
        let [slots, rate, budget] = &self.fallbacks;
        let refusals = &self.refusals;
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
            .sample(&[("limit", "budget")], budget.load(Relaxed))
            .family(
                "speechgate_fleet_refusals_total",
                Kind::Counter,
                "How often the backend answered with an error, because it takes no writes for instance, or something else stands at a key.",
            )
            .sample(&[("limit", "slots")], one_of(refusals, Fallback::Slots).load(Relaxed))
            .sample(&[("limit", "rate")], one_of(refusals, Fallback::Rate).load(Relaxed))
            .sample(&[("limit", "budget")], one_of(refusals, Fallback::Budget).load(Relaxed));
    }
}

fn one_of(counters: &[AtomicU64; 3], what: Fallback) -> &AtomicU64 {
    let [slots, rate, budget] = counters;
    match what {
        Fallback::Slots => slots,
        Fallback::Rate => rate,
        Fallback::Budget => budget,
    }
}
