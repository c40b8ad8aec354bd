//! The plan that a simulated provider sells, and counts of what reached it.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What a simulator has seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Connections accepted.
    pub connections: u64,
    /// Requests read to their end.
    pub requests: u64,
    /// Bytes of request bodies.
    pub received_bytes: u64,
    /// Slots that the plan sells; none when it does not limit.
    pub plan: Option<usize>,
    /// Slots in use.
    pub in_use: usize,
    /// Most slots that were in use at one time.
    pub peak: usize,
    /// Requests that took a slot.
    pub served: u64,
    /// Requests refused because all slots were in use.
    pub refused: u64,
    /// Requests whose client left before the last byte, or whose answer was broken off on purpose.
    pub unfinished: u64,
    /// Slots in use, summed over time: with `plan` and the elapsed time it shows how well the plan was used.
    pub slot_seconds: f64,
    /// How often each failure was asked for.
    pub faults: BTreeMap<String, u64>,
}

/// The plan and the counts of one simulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    state: Arc<Mutex<PlanState>>,
}

#[derive(Debug, Default)]
struct PlanState {
    stats: Stats,
    since: Option<Instant>,
}

/// One slot of the plan; dropping it gives it back.
pub(crate) struct Slot {
    plan: Plan,
    complete: bool,
}

/// All slots are in use.
pub(crate) struct Full {
    pub(crate) in_use: usize,
}

impl Plan {
    /// A plan of `max` slots, or without a limit.
    pub(crate) fn new(max: Option<usize>) -> Plan {
        let plan = Plan::default();
        plan.set(max);
        plan
    }

    /// Sells another number of slots from now on; those that are in use stay so.
    pub(crate) fn set(&self, max: Option<usize>) {
        self.lock().stats.plan = max;
    }

    /// Takes a slot.
    pub(crate) fn take(&self) -> Result<Slot, Full> {
        let mut state = self.lock();
        state.settle();
        let in_use = state.stats.in_use;
        if state.stats.plan.is_some_and(|max| in_use >= max) {
            state.stats.refused += 1;
            return Err(Full { in_use });
        }
        state.stats.in_use += 1;
        state.stats.served += 1;
        state.stats.peak = state.stats.peak.max(in_use + 1);
        Ok(Slot { plan: self.clone(), complete: false })
    }

    /// Counts something.
    pub(crate) fn count(&self, add: impl FnOnce(&mut Stats)) {
        add(&mut self.lock().stats);
    }

    /// What was seen until now.
    pub(crate) fn stats(&self) -> Stats {
        let mut state = self.lock();
        state.settle();
        state.stats.clone()
    }

    fn lock(&self) -> MutexGuard<'_, PlanState> {
        // Counts stay usable even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlanState {
    /// Adds up the slots in use since the last change.
    fn settle(&mut self) {
        let now = Instant::now();
        if let Some(since) = self.since.replace(now) {
            self.stats.slot_seconds += self.stats.in_use as f64 * (now - since).as_secs_f64();
        }
    }
}

impl Slot {
    /// Gives the slot back; `complete` when the last byte was sent.
    pub(crate) fn end(mut self, complete: bool) {
        self.complete = complete;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.plan.lock();
        state.settle();
        state.stats.in_use -= 1;
        if !self.complete {
            state.stats.unfinished += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn slots_are_counted_and_come_back() {
        let plan = Plan::new(Some(2));
        let first = plan.take().ok().unwrap();
        let second = plan.take().ok().unwrap();
        assert_eq!(plan.take().err().unwrap().in_use, 2);
        tokio::time::advance(Duration::from_secs(3)).await;
        first.end(true);
        drop(second);
        tokio::time::advance(Duration::from_secs(5)).await;
        let stats = plan.stats();
        assert_eq!((stats.in_use, stats.peak, stats.served, stats.refused, stats.unfinished), (0, 2, 2, 1, 1));
        assert!((stats.slot_seconds - 6.0).abs() < 1e-6);
        plan.set(Some(0));
        assert!(plan.take().is_err());
        plan.set(None);
        assert!(plan.take().is_ok());
    }
}
