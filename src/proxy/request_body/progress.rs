//! The progress of an upload.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The progress of an upload, for code that no longer owns the body.
#[derive(Debug, Default)]
pub(crate) struct BodyProgress {
    pub(super) received: AtomicU64,
    pub(super) ended: AtomicBool,
}

impl BodyProgress {
    /// Bytes that have arrived.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether the whole body has arrived.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
