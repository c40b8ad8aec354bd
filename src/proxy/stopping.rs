//! Signals sessions that the gateway stops.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Signals sessions that the gateway stops, some time before connections are cut, so that each can send a close frame.
#[derive(Debug, Default)]
pub struct Stopping {
    begun: AtomicBool,
    changed: Notify,
}

impl Stopping {
    /// Starts closing sessions.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether sessions are being closed.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Completes when [`Stopping::begin`] has been called.
    pub async fn begun(&self) {
        // Created before the flag is read, so that a change in between is not missed.
        let changed = self.changed.notified();
        if !self.has_begun() {
            changed.await;
        }
    }
}
