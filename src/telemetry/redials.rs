//! What became of the provider's sockets that were dialled again, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a socket that was dialled again while its client kept its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redial {
    /// The session goes on with the new one.
    Success,
    /// The provider refused the handshake.
    Refused,
    /// The provider could not be reached.
    Unreachable,
    /// It was not dialled: a limit, a wait, an open circuit or a new configuration forbade it.
    Limited,
    /// The session ended before.
    Cancelled,
}

impl Redial {
    /// All, in the order of their index.
    pub const ALL: [Redial; 5] =
        [Redial::Success, Redial::Refused, Redial::Unreachable, Redial::Limited, Redial::Cancelled];

    /// The label.
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

/// Redials of one route. Rare enough to need no shards.
#[derive(Debug, Default)]
pub(super) struct Redials([AtomicU64; Redial::ALL.len()]);

impl Redials {
    /// Counts one.
    pub(super) fn count(&self, outcome: Redial) {
        let _ = self.0[outcome as usize].fetch_add(1, Relaxed);
    }

    /// How many had this outcome.
    pub(super) fn total(&self, outcome: Redial) -> u64 {
        self.0[outcome as usize].load(Relaxed)
    }
}
