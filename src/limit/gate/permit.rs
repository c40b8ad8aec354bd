//! A held slot, and a place in the queue.

use super::state::Grant;
use super::{Gate, Priority};
use crate::limit::settle::Settle;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A slot. Dropping it gives the slot to the next.
#[must_use = "dropping a permit frees its slot"]
pub struct Permit {
    gate: Arc<Gate>,
    grant: Grant,
    /// The provider refused it: it holds a slot here and none there.
    refused: AtomicBool,
    /// The refusal began a pause.
    paused: bool,
}

impl Permit {
    pub(super) fn new(gate: Arc<Gate>, grant: Grant) -> Permit {
        Permit { gate, grant, refused: AtomicBool::new(false), paused: false }
    }

    /// The account whose slot it is.
    #[must_use]
    pub fn account(&self) -> usize {
        self.grant.account
    }

    /// The gate of the slot.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The provider accepts no more calls until one ends: grants no slots until then, or until another slot than this one is
    /// released. Whether somebody has to call [`Gate::wake`] then.
    pub fn pause(&mut self, until: Instant) -> bool {
        self.paused = true;
        let mut state = super::lock(&self.gate.state);
        state.accounts.get_mut(self.grant.account).is_some_and(|account| account.pause(until, true))
    }

    /// Its call was cancelled: how long the slot has to stay taken, by what the configuration says and what was refused of late.
    #[must_use]
    pub fn settles(&self, configured: Duration, now: Instant) -> Duration {
        self.with_settle(|settle| settle.time(configured, now)).unwrap_or(configured)
    }

    /// That time is over.
    pub fn has_settled(self, now: Instant) {
        let _ = self.with_settle(|settle| settle.settled(now));
    }

    /// The provider refused for want of a slot, perhaps because of one that had not settled yet.
    pub fn found_none(&self, configured: Duration, now: Instant) {
        let _ = self.with_settle(|settle| settle.refused(configured, now));
    }

    fn with_settle<T>(&self, change: impl FnOnce(&mut Settle) -> T) -> Option<T> {
        let mut state = super::lock(&self.gate.state);
        state.accounts.get_mut(self.grant.account).map(|account| change(&mut account.settle))
    }

    /// The provider accepted the call: see [`Learn::succeeded`](crate::limit::learn::Learn::succeeded), which counts only if the
    /// slot was granted under the cap as it is now. A call that had been refused before is held by the provider after all.
    pub fn succeeded(&self, now: Instant) {
        let Grant { account, level, changes, .. } = self.grant;
        let was_refused = self.refused.swap(false, Relaxed);
        self.gate.learn(account, Some(now), |account| {
            account.refused = account.refused.saturating_sub(u32::from(was_refused));
            if account.learn.changes() == changes {
                account.learn.succeeded(level.saturating_add(account.others()), now);
            }
        });
    }

    /// The provider refused the call for lack of a slot: see [`Learn::refused`](crate::limit::learn::Learn::refused).
    pub fn refused(&mut self, now: Instant) {
        let first = !self.refused.swap(true, Relaxed);
        let Grant { account, changes, .. } = self.grant;
        self.gate.learn(account, Some(now), |account| {
            account.refused += u32::from(first);
            let held = account.in_use.saturating_sub(account.refused).saturating_add(account.others());
            // What other processes use was heard a while ago; but the provider holds less than the cap, or it would not refuse.
            let fewer =
                if account.learn.changes() == changes { account.learn.cap().saturating_sub(1) } else { u32::MAX };
            account.learn.refused(held.min(fewer), now);
        });
    }

    /// The provider reported how many calls it allows, and perhaps how many it counts: see
    /// [`Learn::reported`](crate::limit::learn::Learn::reported). Under a share of a fleet its count is ignored: it is mostly
    /// the fleet's own, which the share allows for.
    pub fn reported(&self, limit: u32, current: Option<u32>, now: Instant) {
        self.gate.learn(self.grant.account, Some(now), |account| {
            let current = current.filter(|_| account.share.is_none());
            account.learn.reported(limit, current, account.in_use.saturating_sub(account.refused), now);
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let refused = self.refused.load(Relaxed);
        self.gate.leave(self.grant, refused, !refused && !self.paused);
    }
}

/// A place in the queue, and then a slot. Dropping it gives up either.
///
/// After it was ready it stays pending.
#[must_use = "dropping it gives up the place in the queue"]
pub struct Waiting {
    gate: Arc<Gate>,
    priority: Priority,
    /// None once the slot was handed over.
    ticket: Option<u64>,
}

impl Waiting {
    pub(super) fn new(gate: Arc<Gate>, priority: Priority, ticket: u64) -> Waiting {
        Waiting { gate, priority, ticket: Some(ticket) }
    }
}

impl Future for Waiting {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let Some(ticket) = self.ticket else { return Poll::Pending };
        match self.gate.poll(self.priority, ticket, context.waker()) {
            Some(grant) => {
                self.ticket = None;
                Poll::Ready(Permit::new(Arc::clone(&self.gate), grant))
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.gate.give_up(self.priority, ticket);
        }
    }
}
