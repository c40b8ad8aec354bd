//! Outcomes of reconnecting a provider's socket while the client keeps its own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The outcome of one such redial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redial {
    /// The session continues on the new socket.
    Success,
    /// The provider refused the handshake.
    Refused,
    /// The provider could not be reached.
    Unreachable,
    /// It was not tried: a limit, a backoff, an open circuit or a new configuration prevented it.
    Limited,
    /// The session ended first.
    Cancelled,
}

impl Redial {
    /// All, by index.
    pub const ALL: [Redial; 5] =
        [Redial::Success, Redial::Refused, Redial::Unreachable, Redial::Limited, Redial::Cancelled];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Redial::Success => "success",
            Redial::Refused => "refused",
            Redial::Unreachable => "unreachable",
            Redial::Limited => "limited",
            Redial::Cancelled => "cancelled",
        }
    }
}

/// Outcomes of one route. They are rare enough to need no shards.
#[derive(Debug, Default)]
pub(super) struct Redials([AtomicU64; Redial::ALL.len()]);

impl Redials {
    /// Counts an outcome.
    pub(super) fn count(&self, outcome: Redial) {
        let _ = self.0[outcome as usize].fetch_add(1, Relaxed);
    }

    /// The number with this outcome.
    pub(super) fn total(&self, outcome: Redial) -> u64 {
        self.0[outcome as usize].load(Relaxed)
    }
}
