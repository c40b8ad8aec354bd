//! What happens at a gate, told to its agents.

use super::agent::Interest;
use super::inbox::Inbox;
use super::setup;
use crate::limit::Gate;
use std::sync::Arc;

/// Tells the agents of a gate what happens at it. The gate owns this, so dropping it tells them that the gate has ended.
pub(super) struct Ears(pub(super) Vec<(usize, Arc<Inbox>, Arc<Interest>)>);

impl Ears {
    /// Something happened at the gate. The clock is read here, because a gate has none.
    pub(super) fn hear(&self, gate: &Gate) {
        gate.wake(setup::now());
        for (account, inbox, interest) in &self.0 {
            if interest.is_in(&gate.demand(*account)) {
                inbox.roused.notify_one();
            }
        }
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        for (_, inbox, _) in &self.0 {
            inbox.roused.notify_one();
        }
    }
}
