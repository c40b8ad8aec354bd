//! One agent for each limiter of this process: it asks the backend for slots when callers wait, and gives back what is idle.

use super::inbox::Inbox;
use super::lease::Lease;
use super::link::{Link, Live};
use super::scripts::{Scripts, Update};
use super::setup::Setup;
use super::tally::Tally;
use crate::limit::Gate;
use crate::telemetry::fleet::Fallback;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::time::timeout;

/// What the agents of a process have in common.
pub(super) struct Common {
    pub(super) setup: Setup,
    pub(super) link: Link,
    pub(super) scripts: Scripts,
    pub(super) tally: Arc<Tally>,
}

/// The agent of one account of one gate.
pub(super) struct Agent {
    pub(super) common: Arc<Common>,
    /// The limiter's key, and the name under which this agent is known there.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) gate: Weak<Gate>,
    pub(super) account: usize,
    pub(super) inbox: Arc<Inbox>,
    /// Whether the agent wants to hear of every slot that comes free.
    pub(super) watches: Arc<AtomicBool>,
}

impl Agent {
    /// Runs until the gate is gone.
    pub(super) async fn run(self) {
        let mut lease = Lease::new(now());
        while let Some(gate) = self.gate.upgrade() {
            self.look(&gate, &mut lease).await;
            self.watches.store(lease.watches(), Ordering::Relaxed);
            drop(gate);
            let due = lease.due(&self.common.setup);
            tokio::select! {
                biased;
                () = self.inbox.roused.notified() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
        self.common.leave(&self.key, &self.name).await;
    }

    /// Does what there is to do.
    async fn look(&self, gate: &Gate, lease: &mut Lease) {
        gate.wake(now());
        if let Some(notice) = self.inbox.take() {
            self.common.tally.sized(notice.size);
            if let Some(change) = lease.notified(&notice) {
                self.shift(gate, lease, change);
            }
        }
        loop {
            let asked = now();
            let answered = match self.common.link.live() {
                Some(_) if !lease.wants_update(&gate.demand(self.account), asked) => break,
                Some(live) => self.update(&live, gate, lease).await,
                // Others lose it at the same moment: all of them go to their local shares, whether somebody waits or not.
                None => false,
            };
            if !answered {
                lease.failed(asked, &self.common.setup);
                break;
            }
        }
        if lease.is_lost(now(), &self.common.setup) {
            let share = lease.local_share(gate.demand(self.account).max, self.common.tally.size());
            gate.set_share(self.account, Some(share));
            self.common.tally.fell_back(Fallback::Slots);
        }
    }

    fn shift(&self, gate: &Gate, lease: &Lease, change: i64) {
        let (until, contested) = lease.terms();
        // Before the gate takes slots off the share: each has to be told of.
        self.watches.store(lease.watches(), Ordering::Relaxed);
        gate.shift_share(self.account, change, until, contested, now());
    }

    /// Sends one update to the backend. False when it was not answered.
    async fn update(&self, live: &Live, gate: &Gate, lease: &mut Lease) -> bool {
        let Common { setup, scripts, tally, .. } = &*self.common;
        let sent = now();
        let spare = lease.spare(&gate.demand(self.account), sent);
        // What is given back cannot be used any more before the backend hears of it.
        let demand = gate.give_back(self.account, spare, sent);
        let (number, known) = lease.begin(&demand);
        let update = Update { key: &self.key, name: &self.name, number, known, demand: &demand, leaving: false };
        let mut connection = live.connection();
        match timeout(setup.patience(), scripts.update(&mut connection, setup, &update, sent)).await {
            Ok(Ok(Some(answer))) => {
                let change = lease.answered(demand.share.unwrap_or(0), &answer, sent, setup);
                self.shift(gate, lease, change);
                tally.sized(answer.size);
                true
            }
            // Only if a later update was sent in this name, which cannot be.
            Ok(Ok(None)) => false,
            Ok(Err(error)) => {
                tally.unreachable(&error.to_string());
                if error.is_io_error() || error.is_unrecoverable_error() {
                    live.give_up();
                }
                false
            }
            Err(_) => {
                live.give_up();
                false
            }
        }
    }
}

impl Common {
    /// Takes a name off a limiter, so that its slots need not wait for the end of its lease.
    pub(super) async fn leave(&self, key: &str, name: &str) {
        let Some(live) = self.link.live() else { return };
        let demand = crate::limit::Demand { share: None, max: 0, in_use: 0, waiting: 0, oldest_wait_since: None };
        let update = Update { key, name, number: Update::LAST, known: 0, demand: &demand, leaving: true };
        let mut connection = live.connection();
        // Whoever is not heard loses its lease by time.
        let _ = timeout(self.setup.patience(), self.scripts.update(&mut connection, &self.setup, &update, now())).await;
    }
}

/// The runtime's clock, which cannot be set.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
