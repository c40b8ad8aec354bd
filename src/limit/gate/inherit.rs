//! Calls that count at another gate as well, because that has the slots of their account now: those of routes that became routes of
//! one account, for instance. Their slots are here until they end, and come free there in the same step.
//!
//! A gate is locked while its heir is, never the other way round: an heir has no heirs when it becomes one, so that there is no circle.

use super::heirs::{Heir, Roused};
use super::state::GateState;
use super::{Gate, call, wake_all};
use crate::limit::lock;
use std::sync::Arc;

impl Gate {
    /// Counts the calls of an account of another gate here as well, until they end; those that wait there count from when they have a
    /// slot. No maximum of a tenant counts them.
    pub fn inherit(self: &Arc<Self>, account: usize, from: &Arc<Gate>, its: usize) {
        if Arc::ptr_eq(self, from) || lock(&self.state).has_heirs {
            return;
        }
        let mut state = lock(&from.state);
        let last = state.last_ticket();
        let Some(slots) = state.accounts.get_mut(its) else { return };
        if slots.heir.as_ref().is_some_and(|heir| heir.gate.strong_count() > 0) {
            return;
        }
        let (gate, running) = (Arc::downgrade(self), slots.in_use);
        slots.heir = Some(Heir { gate, account, last, running, known: 0 });
        state.has_heirs = true;
        let roused = state.tell_heirs();
        drop(state);
        wake(roused);
    }

    /// So many of the calls that count here as well run now, where there were so many.
    fn inherited(&self, account: usize, (before, now): (u32, u32), roused: &mut Roused) {
        let mut state = lock(&self.state);
        let Some(slots) = state.accounts.get_mut(account) else { return };
        slots.in_use = slots.in_use.saturating_add(now.saturating_sub(before));
        (now..before).for_each(|_| slots.leave(false, true));
        let shared = slots.share.is_some();
        if now < before {
            state.pace.free();
            roused.hooks.extend(state.hook.clone().filter(|_| shared));
        }
        roused.wakers.extend(state.dispatch());
    }
}

impl GateState {
    /// Tells the heirs what has changed for them.
    pub(super) fn tell_heirs(&mut self) -> Roused {
        let mut roused = Roused::default();
        if !self.has_heirs {
            return roused;
        }
        let over = self.queue.is_empty();
        for slots in &mut self.accounts {
            let Some(heir) = &mut slots.heir else { continue };
            let (before, now) = (std::mem::replace(&mut heir.known, heir.running), heir.running);
            if before != now
                && let Some(gate) = heir.gate.upgrade()
            {
                gate.inherited(heir.account, (before, now), &mut roused);
            }
            if now == 0 && over {
                slots.heir = None;
            }
        }
        self.has_heirs = self.accounts.iter().any(|slots| slots.heir.is_some());
        roused
    }
}

/// Wakes them, under no lock.
pub(super) fn wake(roused: Roused) {
    wake_all(roused.wakers);
    roused.hooks.into_iter().for_each(|hook| call(Some(hook)));
}
