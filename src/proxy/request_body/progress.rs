//! How far an upload is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far an upload is, for whoever does not hold it any more.
#[derive(Debug, Default)]
pub(crate) struct BodyProgress {
    pub(super) received: AtomicU64,
    pub(super) ended: AtomicBool,
}

impl BodyProgress {
    /// Bytes that have come.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether all of it has come.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
