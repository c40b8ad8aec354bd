//! What the fleet has charged for a request, so that it can be refunded.

use crate::fleet::{Check, Fleet};
use std::sync::Arc;
use tokio::runtime::Handle;

/// What the fleet has charged for a request.
pub(super) struct SharedCharge {
    pub(super) fleet: Arc<Fleet>,
    pub(super) route: String,
    pub(super) checks: Vec<Check>,
}

impl SharedCharge {
    /// Refunds it in the background.
    pub(super) fn give_back(self) {
        // Without a runtime the process is ending.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(async move { self.fleet.give_back(&self.route, &self.checks).await }));
        }
    }
}
