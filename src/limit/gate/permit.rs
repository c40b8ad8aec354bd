//! A slot that is held, and a place in the queue.

use super::state::Grant;
use super::{Gate, Priority};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A slot. Dropping it gives the slot to the next.
#[must_use = "dropping a permit frees its slot"]
pub struct Permit {
    gate: Arc<Gate>,
    grant: Grant,
    refused: bool,
}

impl Permit {
    pub(super) fn new(gate: Arc<Gate>, grant: Grant) -> Permit {
        Permit { gate, grant, refused: false }
    }

    /// The account whose slot it is.
    #[must_use]
    pub fn lane(&self) -> usize {
        self.grant.lane
    }

    /// The provider has begun to answer: what [`Learn::succeeded`](crate::limit::learn::Learn::succeeded) makes of it, if the
    /// slot was given out under the cap as it is now.
    pub fn succeeded(&self, now: Instant) {
        let Grant { lane, level, changes } = self.grant;
        self.gate.learn(lane, |lane| {
            if lane.learn.changes() == changes {
                lane.learn.succeeded(level, now);
            }
        });
    }

    /// The provider refused for want of a slot there: what [`Learn::refused`](crate::limit::learn::Learn::refused) makes of it.
    pub fn refused(&mut self, now: Instant) {
        let first = !std::mem::replace(&mut self.refused, true);
        self.gate.learn(self.grant.lane, |lane| {
            lane.refused += u32::from(first);
            lane.learn.refused(lane.in_use.saturating_sub(lane.refused), now);
        });
    }

    /// The provider said how many it allows, and perhaps how many it counts: what
    /// [`Learn::told`](crate::limit::learn::Learn::told) makes of it. Under a share of a fleet what it counts is left out:
    /// it is mostly the fleet's own, which the share allows for.
    pub fn told(&self, limit: u32, current: Option<u32>, now: Instant) {
        self.gate.learn(self.grant.lane, |lane| {
            let current = current.filter(|_| lane.share.is_none());
            lane.learn.told(limit, current, lane.in_use.saturating_sub(lane.refused), now);
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.leave(self.grant.lane, self.refused);
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
