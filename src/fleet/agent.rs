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
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use tokio::time::timeout;

/// What the agents of a process have in common.
pub(super) struct Common {
    pub(super) setup: Setup,
    pub(super) link: Link,
    pub(super) scripts: Arc<Scripts>,
    pub(super) tally: Arc<Tally>,
}

/// What an agent wants to hear of, besides that somebody waits.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Every slot that comes free.
    slots: AtomicBool,
    /// Anything that was learned but this.
    learned: AtomicU32,
}

impl Interest {
    /// Whether what is asked of an account now is something to hear of.
    pub(super) fn is_in(&self, demand: &Demand) -> bool {
        demand.waiting > 0
            || self.slots.load(Ordering::Relaxed)
            || demand.learned.is_some_and(|learned| learned != self.learned.load(Ordering::Relaxed))
    }
}

/// What a limiter is about. Its key at the backend is another one with another seed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limiter {
    /// Where all gateways know of each other, whatever they share.
    Members,
    /// Slots of a route, and of which account.
    Slots(String, Label),
}

/// The agent of one account of one gate.
pub(super) struct Agent {
    pub(super) common: Arc<Common>,
    pub(super) limiter: Limiter,
    /// The limiter's key, as of how many changes of the seed; and the name under which this agent is known there.
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

    /// The fleet goes by other names. As after a loss of data: what is held here is told under the new one. Under the old one it stays
    /// until its lease is over there, lest those who still go by that give it to others.
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

    /// Does what there is to do.
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
                    self.shift(gate, lease, change);
                    self.sized(answer.size, answer.rank);
                    continue;
                }
                // Patience is over already.
                Carried::Unanswered => lease.failed(began - setup.patience().min(began.elapsed()), now(), setup),
                // Others lose it at the same moment: all of them go to their local shares, whether somebody waits or not.
                Carried::Refused | Carried::Unsent => lease.failed(now(), now(), setup),
            }
            break;
        }
        self.without_backend(gate, lease);
    }

    /// Decides alone, once the backend is given up.
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
            // The others are taken to use their parts.
            self.hear(gate, &Heard { others: plan.saturating_sub(share), learned: None });
        }
    }

    /// Its limiter has no slots: it is there so that gateways know of each other.
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
        // Before the gate takes slots off the share: each has to be told of.
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
        // What is given back cannot be used any more before the backend hears of it.
        let demand = gate.give_back(self.account, spare, began);
        self.common.link.courier.carry(lease.begin(&self.key, &self.name, &demand)).await
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

    /// Takes a name off a limiter, so that its slots need not wait for the end of its lease.
    pub(super) async fn leave(&self, key: String, name: String) {
        // Whoever is not heard loses its lease by time.
        let _ = timeout(self.setup.lease, self.link.courier.carry(Update::last(key, name))).await;
    }
}
