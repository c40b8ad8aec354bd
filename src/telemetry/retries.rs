//! What became of retries, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a retry that a route's retry policy asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It was made, and brought an answer that is no failure.
    Success,
    /// It was made, and failed too.
    Failure,
    /// The client left before it had ended.
    Cancelled,
    /// It was not made, because the retry budget was used up.
    OverBudget,
    /// It was not made, because the request's body is too large to be sent again.
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

impl Retries {
    /// Counts one.
    pub(super) fn count(&self, outcome: Retry) {
        let _ = self.0[outcome as usize].fetch_add(1, Relaxed);
    }

    /// How many had this outcome.
    pub(super) fn total(&self, outcome: Retry) -> u64 {
        self.0[outcome as usize].load(Relaxed)
    }
}
