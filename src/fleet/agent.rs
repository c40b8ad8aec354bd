//! One agent for each limiter of this process: it asks the backend for slots when calls wait, and gives back what is idle.

use super::courier::Carried;
use super::inbox::Inbox;
use super::lease::Lease;
use super::link::Link;
use super::scripts::{Scripts, Update};
use super::seed::Label;
use super::setup::{Setup, now};
use super::tally::Tally;
use crate::limit::{Demand, Gate, Heard};
use crate::telemetry::fleet::Fallback;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::time::timeout;

/// What the agents of a process have in common.
pub(super) struct Common {
    pub(super) setup: Setup,
    pub(super) link: Link,
    pub(super) scripts: Arc<Scripts>,
    pub(super) tally: Arc<Tally>,
}

/// Which events rouse an agent, besides a call that starts to wait.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Every slot that is freed.
    slots: AtomicBool,
    /// Any learned plan that differs from this one.
    learned: AtomicU32,
    /// Any tenants that differ from these.
    tenants: AtomicU64,
}

impl Interest {
    /// Whether the current demand for an account should rouse its agent.
    pub(super) fn is_in(&self, demand: &Demand) -> bool {
        demand.waiting > 0
            || self.slots.load(Ordering::Relaxed)
            || demand.tenants != self.tenants.load(Ordering::Relaxed)
            || demand.learned.is_some_and(|learned| learned != self.learned.load(Ordering::Relaxed))
    }
}

/// What a limiter limits. Its key at the backend changes with the seed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limiter {
    /// The membership limiter: every gateway of the fleet registers there, whatever limits it shares.
    Members,
    /// The slots of a route, and the account they belong to.
    Slots(String, Label),
}

/// The agent of one account of one gate.
pub(super) struct Agent {
    pub(super) common: Arc<Common>,
    pub(super) limiter: Limiter,
    /// The limiter's key, the seed version it was made with, and this agent's name at the limiter.
    pub(super) key: String,
    pub(super) seeds: u64,
    pub(super) name: String,
    pub(super) gate: Weak<Gate>,
    pub(super) account: usize,
    pub(super) inbox: Arc<Inbox>,
    pub(super) interest: Arc<Interest>,
}

impl Agent {
    /// Runs until the gate is gone.
    pub(super) async fn run(mut self) {
        let mut lease = Lease::new(now());
        while let Some(gate) = self.gate.upgrade() {
            self.look(&gate, &mut lease).await;
            self.interest.slots.store(lease.watches(), Ordering::Relaxed);
            self.interest.tenants.store(lease.tenants(), Ordering::Relaxed);
            drop(gate);
            let due = lease.due(now(), &self.common.setup);
            tokio::select! {
                biased;
                () = self.inbox.roused.notified() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
        self.common.link.inboxes.close(&self.name, &self.key);
        self.common.leave(self.key, self.name).await;
    }

    /// The fleet's seed has changed, and so have all names. As after a loss of data, slots in use are reported under the new name. The
    /// lease under the old name is left to expire: gateways that still use the old names must not give these slots to others.
    fn moves(&mut self, lease: &mut Lease) {
        let seeds = self.common.link.seed.changes();
        if self.seeds == seeds {
            return;
        }
        self.seeds = seeds;
        let key = self.common.key(&self.limiter);
        if key != self.key {
            self.common.link.inboxes.moves(&self.inbox, &self.key, &key);
            self.key = key;
            lease.is_called();
        }
    }

    /// Does one round of pending work.
    async fn look(&mut self, gate: &Gate, lease: &mut Lease) {
        gate.wake(now());
        self.moves(lease);
        if self.inbox.was_called() {
            lease.is_called();
        }
        if let Some(notice) = self.inbox.take() {
            self.sized(notice.size, notice.rank);
            let max = gate.demand(self.account).max;
            self.hear(gate, &lease.heard_of(&notice.fleet, max, false));
            if let Some(change) = lease.notified(&notice) {
                gate.hear_tenants(self.account, &notice.crowd, now());
                self.shift(gate, lease, change);
            }
        }
        let setup = &self.common.setup;
        while self.common.link.live().is_none() || lease.wants_update(&gate.demand(self.account), now()) {
            let began = now();
            match self.update(gate, lease).await {
                Carried::Answered(answer, sent) => {
                    let max = gate.demand(self.account).max;
                    self.hear(gate, &lease.heard_of(&answer.fleet, max, true));
                    let change = lease.answered(&answer, sent, setup);
                    gate.hear_tenants(self.account, &answer.crowd, now());
                    self.shift(gate, lease, change);
                    self.sized(answer.size, answer.rank);
                    continue;
                }
                // The whole timeout has passed already, so the trouble dates back to the request.
                Carried::Unanswered => lease.failed(began - setup.patience().min(began.elapsed()), now(), setup),
                // All gateways lose the backend at the same moment, so all of them fall back to local shares, even if no call waits.
                Carried::Refused | Carried::Unsent => lease.failed(now(), now(), setup),
            }
            break;
        }
        self.without_backend(gate, lease);
    }

    /// Falls back to the local share, once the backend has been given up.
    fn without_backend(&self, gate: &Gate, lease: &mut Lease) {
        let Common { setup, tally, .. } = &*self.common;
        if lease.give_up(now(), setup) && !self.counts_gateways() {
            tally.fell_back(Fallback::Slots);
        }
        if lease.is_lost() {
            let demand = gate.demand(self.account);
            let plan = demand.max.min(demand.learned.unwrap_or(u32::MAX));
            let share = lease.without_backend(plan, tally.place(), now(), setup);
            if demand.share != Some(share) {
                gate.set_share(self.account, Some(share));
            }
            gate.tenants_alone(lease.place(tally.place()), lease.is_settled(now(), setup), now());
            // Assume that the other gateways use all of their parts.
            self.hear(gate, &Heard { others: plan.saturating_sub(share), learned: None });
        }
    }

    /// Whether this is the membership limiter, which has no slots and only counts gateways.
    fn counts_gateways(&self) -> bool {
        self.limiter == Limiter::Members
    }

    fn sized(&self, size: u32, rank: u32) {
        if self.counts_gateways() {
            self.common.tally.sized(size, rank);
        }
    }

    fn hear(&self, gate: &Gate, heard: &Heard) {
        gate.hear(self.account, heard, now());
        let learned = gate.demand(self.account).learned.unwrap_or(0);
        self.interest.learned.store(learned, Ordering::Relaxed);
    }

    fn shift(&self, gate: &Gate, lease: &Lease, change: i64) {
        let (until, contested) = lease.terms();
        // Set this first: once the gate takes freed slots off the share, the agent must hear of each of them.
        self.interest.slots.store(lease.watches(), Ordering::Relaxed);
        gate.shift_share(self.account, change, until, contested, now());
    }

    /// Sends one update to the backend.
    async fn update(&self, gate: &Gate, lease: &mut Lease) -> Carried {
        if self.common.link.live().is_none() {
            return Carried::Unsent;
        }
        let began = now();
        let spare = lease.spare(&gate.demand(self.account), began);
        // Returned slots must become unusable here before the backend hears that they are free.
        let demand = gate.give_back(self.account, spare, began);
        let update = lease.begin(&self.key, &self.name, &demand, gate.tenant_demands());
        self.common.link.courier.carry(update).await
    }
}

impl Common {
    /// The key of a limiter at the backend.
    pub(super) fn key(&self, limiter: &Limiter) -> String {
        match limiter {
            Limiter::Members => self.setup.members(),
            Limiter::Slots(route, label) => {
                format!("{}:slots:{route}:{}", self.setup.prefix, self.link.seed.name(label))
            }
        }
    }

    /// Deregisters a name from a limiter, so that its slots are free at once instead of when its lease expires.
    pub(super) async fn leave(&self, key: String, name: String) {
        // If this message is lost, the lease expires on its own.
        let _ = timeout(self.setup.lease, self.link.courier.carry(Update::last(key, name))).await;
    }
}
