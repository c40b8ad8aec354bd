//! The end of the gateway, as sessions learn of it.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Tells sessions that the gateway is stopping, some time before connections are cut, so that each can be closed in order.
#[derive(Debug, Default)]
pub struct Stopping {
    begun: AtomicBool,
    changed: Notify,
}

impl Stopping {
    /// Sessions are closed now.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether they are.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Until [`Stopping::begin`].
    pub async fn begun(&self) {
        // Created before the flag is read, so that a change in between is not missed.
        let changed = self.changed.notified();
        if !self.has_begun() {
            changed.await;
        }
    }
}
