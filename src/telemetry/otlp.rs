//! Metrics of the OTLP export itself.

use super::exposition::{Exposition, Kind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// A kind of data that is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    /// Both, by index.
    pub const ALL: [Signal; 2] = [Signal::Traces, Signal::Metrics];

    /// The label value, and the last segment of the URL path.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
        }
    }
}

/// Why spans were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// The collector did not accept them.
    Refused,
}

/// The counters.
#[derive(Debug, Default)]
pub struct Exports {
    /// Number of requests by signal: accepted, and rejected or failed.
    requests: [[AtomicU64; 2]; 2],
    /// Number of spans by reason.
    dropped: [AtomicU64; 2],
}

impl Exports {
    /// Counts a request to the collector.
    pub fn sent(&self, signal: Signal, accepted: bool) {
        let _ = self.requests[signal as usize][usize::from(!accepted)].fetch_add(1, Relaxed);
    }

    /// Counts spans that were dropped.
    pub fn dropped(&self, spans: usize, reason: DropReason) {
        let _ = self.dropped[reason as usize].fetch_add(spans as u64, Relaxed);
    }

    pub(super) fn write(&self, out: &mut Exposition<'_>) {
        let help = "Requests to the OpenTelemetry collector, by whether it accepted them.";
        let _ = out.family("speechgate_otlp_exports_total", Kind::Counter, help);
        for signal in Signal::ALL {
            for (result, count) in ["success", "failure"].into_iter().zip(&self.requests[signal as usize]) {
                let _ = out.sample(&[("signal", signal.as_str()), ("result", result)], count.load(Relaxed));
            }
        }
        let help = "Spans that were not exported: the queue was full, or the collector refused them.";
        let _ = out.family("speechgate_otlp_dropped_total", Kind::Counter, help);
        for (reason, count) in ["queue_full", "refused"].into_iter().zip(&self.dropped) {
            let _ = out.sample(&[("reason", reason)], count.load(Relaxed));
        }
    }
}
