//! Outcomes of retries.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The outcome of a retry that the route's retry policy called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It was made, and the response is not a failure.
    Success,
    /// It was made, and failed too.
    Failure,
    /// The client left before it completed.
    Cancelled,
    /// It was not made, because the retry budget was exhausted.
    OverBudget,
    /// It was not made, because the request's body was too large to be kept for sending again.
    LargeBody,
    /// It was not made, because the provider asked for too long a backoff, or one for all clients.
    LongWait,
}

impl Retry {
    /// All, by index.
    pub const ALL: [Retry; 6] =
        [Retry::Success, Retry::Failure, Retry::Cancelled, Retry::OverBudget, Retry::LargeBody, Retry::LongWait];

    /// The label value.
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

/// Outcomes of one route. They are rare enough to need no shards.
#[derive(Debug, Default)]
pub(super) struct Retries([AtomicU64; Retry::ALL.len()]);

impl Retries {
    /// Counts an outcome.
    pub(super) fn count(&self, outcome: Retry) {
        let _ = self.0[outcome as usize].fetch_add(1, Relaxed);
    }

    /// The number with this outcome.
    pub(super) fn total(&self, outcome: Retry) -> u64 {
        self.0[outcome as usize].load(Relaxed)
    }
}
