//! The metric of retries.

use super::exposition::{Exposition, Kind};
use super::metrics::{RouteMetrics, by_name};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a retry that a route's rule asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It was made, and brought an answer that is no failure.
    Success,
    /// It was made, and failed too.
    Failure,
    /// The caller left before it had ended.
    Cancelled,
    /// It was not made, because there had been too many.
    OverBudget,
    /// It was not made, because the request's body could not be sent again.
    LargeBody,
    /// It was not made, because the provider asked to wait for too long, or asked others to wait meanwhile.
    LongWait,
}

impl Retry {
    /// All, in the order of their index.
    pub const ALL: [Retry; 6] =
        [Retry::Success, Retry::Failure, Retry::Cancelled, Retry::OverBudget, Retry::LargeBody, Retry::LongWait];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Retry::Success => "success",
            Retry::Failure => "failure",
            Retry::Cancelled => "cancelled",
            Retry::OverBudget => "over_budget",
            Retry::LargeBody => "large_body",
            Retry::LongWait => "long_wait",
        }
    }
}

/// Retries of one route. Rare enough to need no shards.
#[derive(Debug, Default)]
pub(super) struct Retries([AtomicU64; Retry::ALL.len()]);

/// A retry that is being made: counted when it is dropped, as cancelled unless it had ended.
#[derive(Debug)]
pub struct RetryCount {
    metrics: Arc<RouteMetrics>,
    outcome: Retry,
}

impl RouteMetrics {
    /// Counts a retry.
    pub fn retry(&self, outcome: Retry) {
        let _ = self.retries.0[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Counts a retry that is being made, when it ends.
    #[must_use]
    pub fn retry_begins(self: &Arc<Self>) -> RetryCount {
        RetryCount { metrics: Arc::clone(self), outcome: Retry::Cancelled }
    }
}

impl RetryCount {
    /// It is not made after all.
    pub fn not_made(mut self, why: Retry) {
        self.outcome = why;
    }

    /// It has ended, with an answer that is no failure or without.
    pub fn ends(mut self, success: bool) {
        self.outcome = if success { Retry::Success } else { Retry::Failure };
    }
}

impl Drop for RetryCount {
    fn drop(&mut self) {
        self.metrics.retry(self.outcome);
    }
}

pub(super) fn render(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let help = "Retries that the rule of a route asked for, by what became of them; the last three were not made.";
    let _ = out.family("speechgate_retries_total", Kind::Counter, help);
    for (name, routes) in by_name(routes) {
        for outcome in Retry::ALL {
            let total: u64 = routes.iter().map(|route| route.retries.0[outcome as usize].load(Relaxed)).sum();
            if total > 0 {
                let _ = out.sample(&[("route", name), ("outcome", outcome.as_str())], total);
            }
        }
    }
}
