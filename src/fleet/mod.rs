//! Limits that several gateways share through a Redis or Valkey.
//!
//! A [`Gate`] keeps the queue, its order and the priorities of one process; the fleet decides how many slots of the plan
//! that process may use now. An agent for each limiter keeps a lease of slots at the backend. While nobody else waits, the
//! slots in hand are used without asking. As soon as calls wait anywhere, every slot that comes free goes back, and the
//! backend's script gives it to the gateway whose call has waited longest, and notifies it.
//!
//! # What holds
//!
//! `L` is the lease, `patience` twenty times the timeout and at most `L / 3`.
//!
//! * Shares of all gateways never add up to more than the plan while the backend keeps what it was told. A gateway gives
//!   up a slot before the backend hears that it is free, and uses a slot only after the backend has written the grant.
//! * A gateway uses its share until `0.9 L` after its last successful update, by its own monotonic clock. The clock is read before
//!   every slot is given out, so a process that was suspended for longer wakes up without slots. The backend reassigns a gateway's
//!   slots `L` after its last update, by the backend's clock, which may be set without harm. Until then a gateway that does not
//!   answer is granted no more than comes free in one update.
//! * Updates are numbered: a stale request that is read late, after the backend was suspended, changes nothing.
//! * A gateway that gets no answer for `patience`, or no connection, decides alone: for `L` it uses what it was last granted, and no
//!   more than its part of the plan by the size of the fleet that it last heard of; then its part. These parts add up to the plan,
//!   and nobody takes the rest of its part while another may still use it. A client at a gateway with slots in hand does not wait
//!   for the backend at all, and a rate waits for `timeout` at most.
//! * A backend that was away for so long that gateways have decided alone hands out no slot until everybody whom it knew has come back,
//!   and for `L / 2` at most.
//! * A backend that has lost its data hands out no slot until as many gateways have come back as any of them remembers, and
//!   for `L / 2` at most. Until then each uses what it had. A limiter that is new gives slots at once where the backend has known
//!   the fleet for `L`, or nobody else is connected; else as soon as all that are connected have come by, after 200 ms at most.
//! * What a gateway learns of the provider's plan is the fleet's: the backend grants no more, and the others learn it as well.
//!   When two gateways learn at the same time, the lower number counts.
//! * Where there are tenants, the script gives a slot to the one that will have had the least for its weight in all gateways, and tells
//!   each gateway what its tenants hold elsewhere. A maximum is granted call by call, so the fleet never holds more of it; a reserve is
//!   kept from when the backend has heard of its tenant's first call. Alone, each gateway has its part of both, for `L` no more than it
//!   holds of a maximum.
//! * Updates of all agents go to the backend in batches, one at a time. Patience is counted from when a batch was sent.
//! * A grant is written before it is published: a backend that takes no writes grants nothing.
//! * Names at the backend are made with a random seed that the fleet keeps there: nobody who sees one can tell what it stands for, nor
//!   choose a key that meets another's. Nothing is shared before it is known. The oldest seed that a gateway remembers holds, so that
//!   it outlives a loss of data. Where there comes to be another one, slots are handed out as after a loss of data, rates
//!   are counted anew at the backend, which a line in the log says, and what a gateway counts by itself is not affected.
//!
//! # What does not hold
//!
//! * Calls that run when a lease or a connection is lost go on; they are counted again when the gateway is back. So once `L` has
//!   passed without a backend, as many calls more than the plan may run as have been running beyond their gateways' parts for all
//!   that time, and they only become fewer.
//! * A gateway that alone cannot reach the backend uses its local share beside the others, who share the whole.
//! * Priorities hold within a gateway; between gateways it is the tenant's turn, and then the longest wait.
//! * Where a route has several credentials, each is a limiter of its own: two of them may grant the last slot of a tenant's maximum at
//!   one moment; of a tenant's reserve each keeps its part.
//! * A gateway that has never heard of the fleet takes itself for one of ten, and at least one slot.

mod agent;
mod budgets;
mod courier;
mod dial;
mod ears;
mod inbox;
mod lease;
mod link;
mod live;
mod owed;
mod scripts;
mod seed;
mod setup;
mod tally;

pub use budgets::SharedBudget;
pub use dial::{Backend, Connection, Dial, Pushes};
pub use scripts::{Check, Counted};
pub use seed::{Hidden, Label};
pub use setup::ACCOUNTS;

use crate::config::types::Limits;
use crate::limit::rate::Quota;
use crate::limit::{self, Gate, Keys};
use crate::telemetry::fleet::{Fallback, FleetMetrics};
use agent::{Agent, Common, Interest, Limiter};
use dial::Network;
use ears::Ears;
use inbox::{Inbox, Inboxes};
use link::Link;
use owed::Owed;
use scripts::{Counter, Scripts};
use setup::Setup;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tally::Tally;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Why the fleet has not counted a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncounted {
    /// The backend was not asked, or has not counted it. It can be told later with [`Fleet::owe`].
    Unheard,
    /// It was asked and did not answer: if it reads the request later, it counts it then.
    Unanswered,
}

/// The limits of this process that are shared.
pub struct Fleet {
    common: Arc<Common>,
    runtime: Handle,
    connecting: AbortHandle,
    /// Rates that are counted here while the backend cannot be asked.
    keys: Keys,
    /// The agents, by limiter.
    agents: Mutex<BTreeMap<Limiter, Member>>,
    /// How many agents have been started; the number is part of an agent's name.
    names: AtomicU64,
    /// What was admitted while the backend could not be asked.
    owed: Owed,
    /// A gate without slots at the membership limiter, where all gateways of the fleet register, whatever they share.
    members: Arc<Gate>,
}

/// An agent at work.
struct Member {
    name: String,
    gate: Weak<Gate>,
    account: usize,
    inbox: Arc<Inbox>,
    interest: Arc<Interest>,
    task: AbortHandle,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("setup", &self.common.setup).finish_non_exhaustive()
    }
}

impl Fleet {
    /// A fleet whose agents run on this runtime; none without a backend. `process` tells this process from others, and has
    /// no `.` in it.
    ///
    /// # Errors
    /// When the backend's URL is none; the text does not show it.
    pub fn start(
        limits: &Limits,
        process: &str,
        metrics: impl FnOnce() -> Arc<FleetMetrics>,
        runtime: &Handle,
    ) -> Result<Option<Arc<Fleet>>, String> {
        let Some(url) = &limits.backend else { return Ok(None) };
        let certificates = limits.ca_file.as_ref().map(std::fs::read).transpose();
        let certificates = certificates.map_err(|error| format!("limits.ca: {error}"))?;
        let network = Network::new(url.reveal(), certificates)
            .map_err(|_| "limits.backend: not a URL of a Redis or Valkey, or limits.ca: no certificates".to_owned())?;
        Ok(Some(Fleet::start_over(Arc::new(network), limits, process, metrics, runtime)))
    }

    /// The same with another way to connect, for simulations.
    pub fn start_over(
        dial: Arc<dyn Dial>,
        limits: &Limits,
        process: &str,
        metrics: impl FnOnce() -> Arc<FleetMetrics>,
        runtime: &Handle,
    ) -> Arc<Fleet> {
        let setup = Setup {
            id: process.to_owned(),
            prefix: limits.prefix.clone(),
            lease: limits.lease,
            timeout: limits.timeout,
        };
        let (inboxes, tally) = (Arc::new(Inboxes::default()), Arc::new(Tally::new(metrics())));
        let scripts = Arc::new(Scripts::new());
        let link = Link::new(dial, setup.clone(), inboxes, Arc::clone(&tally), Arc::clone(&scripts));
        let common = Arc::new(Common { setup, link, scripts, tally });
        let connected = Arc::clone(&common);
        let connecting = runtime.spawn(async move { connected.link.run().await }).abort_handle();
        let (agents, names, runtime) = (Mutex::default(), AtomicU64::new(0), runtime.clone());
        let members = Gate::new(&limit::Setup { max: 0, queue: 0, accounts: 1 });
        let fleet = Arc::new(Fleet {
            common,
            runtime,
            connecting,
            keys: Keys::new(),
            agents,
            names,
            owed: Owed::default(),
            members,
        });
        fleet.members.set_share(0, Some(0));
        let member = fleet.engage(&Limiter::Members, 0, &fleet.members);
        drop(fleet.lock().insert(Limiter::Members, member));
        fleet
    }

    /// Shares the slots of a gate with the gates of the same name in other processes, account by account. Again after a reload: a
    /// gate that is shared already stays so.
    pub fn share(&self, name: &str, accounts: usize, gate: &Arc<Gate>) {
        self.share_accounts(name, (0..accounts).map(|account| (account, Label::Plain(account.to_string()))), gate);
    }

    /// The same where each account has a name: all gateways mean the same account by it, whatever number it has here.
    pub fn share_accounts(&self, name: &str, accounts: impl Iterator<Item = (usize, Label)>, gate: &Arc<Gate>) {
        let mut agents = self.lock();
        // The agent of a dropped gate has ended, or ends with the calls that hold its slots.
        agents.retain(|_, member| member.gate.strong_count() > 0 || !member.task.is_finished());
        for (account, label) in accounts {
            let limiter = Limiter::Slots(name.to_owned(), label);
            if !agents.get(&limiter).is_some_and(|member| member.gate.ptr_eq(&Arc::downgrade(gate))) {
                // No slots until the backend grants some.
                gate.set_share(account, Some(0));
                self.disengage(&mut agents, account, gate);
                let member = self.engage(&limiter, account, gate);
                // The agent of the previous gate goes on until the calls that hold its slots have ended.
                drop(agents.insert(limiter, member));
            }
        }
        let own = agents.values().filter(|member| member.gate.ptr_eq(&Arc::downgrade(gate)));
        let ears = own.map(|member| (member.account, Arc::clone(&member.inbox), Arc::clone(&member.interest)));
        let (ears, heard) = (Ears(ears.collect()), Arc::downgrade(gate));
        gate.on_demand(Arc::new(move || {
            if let Some(gate) = heard.upgrade() {
                ears.hear(&gate);
            }
        }));
    }

    /// Ends the agent of the account that this number of a gate meant before: nothing of it is held any more.
    fn disengage(&self, agents: &mut BTreeMap<Limiter, Member>, account: usize, gate: &Arc<Gate>) {
        let before = agents.iter().find(|(_, one)| one.account == account && one.gate.ptr_eq(&Arc::downgrade(gate)));
        let Some(limiter) = before.map(|(limiter, _)| limiter.clone()) else { return };
        if let Some(member) = agents.remove(&limiter) {
            member.task.abort();
            let common = Arc::clone(&self.common);
            drop(self.runtime.spawn(async move { common.leave(common.key(&limiter), member.name).await }));
        }
    }

    fn engage(&self, limiter: &Limiter, account: usize, gate: &Arc<Gate>) -> Member {
        let name = format!("{}.{}", self.common.setup.id, self.names.fetch_add(1, Ordering::Relaxed));
        // If the seed changes between the two, the agent moves to its new key at once.
        let (seeds, key) = (self.common.link.seed.changes(), self.common.key(limiter));
        let (inbox, interest) = (self.common.link.inboxes.open(&name, &key), Arc::<Interest>::default());
        let agent = Agent {
            common: Arc::clone(&self.common),
            limiter: limiter.clone(),
            key,
            seeds,
            name: name.clone(),
            gate: Arc::downgrade(gate),
            account,
            inbox: Arc::clone(&inbox),
            interest: Arc::clone(&interest),
        };
        let task = self.runtime.spawn(agent.run());
        Member { name, gate: Arc::downgrade(gate), account, inbox, interest, task: task.abort_handle() }
    }

    /// Counts a request of a route by all of these limits, or by none.
    ///
    /// # Errors
    /// When the backend does not answer in time: the request is to be counted here, against [`Fleet::local_quota`].
    pub async fn count(&self, route: &str, checks: &[Check]) -> Result<Counted, Uncounted> {
        let Common { setup, link, scripts, tally } = &*self.common;
        let live = link.live().filter(|live| live.answers());
        let counted = match &live {
            Some(live) => {
                let mut counters = self.counters(route, checks, false);
                for counter in &mut counters {
                    counter.passed = self.owed.take(counter, setup::now());
                }
                let mut connection = live.connection();
                let keys = || counters.iter().map(|counter| counter.key.as_str()).collect::<Vec<_>>();
                match timeout(setup.timeout, scripts.count(&mut connection, &counters)).await {
                    Ok(Ok(counted)) => {
                        tally.answered(Fallback::Rate, None, &keys());
                        Ok(counted)
                    }
                    // The script was not run at all: the backend is out of memory, or a replica.
                    Ok(Err(error)) if !error.is_io_error() => {
                        tally.answered(Fallback::Rate, Some(&error), &keys());
                        counters.iter().for_each(|counter| self.owed.add(counter, counter.passed, setup::now()));
                        Err(Uncounted::Unheard)
                    }
                    Ok(Err(_)) | Err(_) => Err(Uncounted::Unanswered),
                }
            }
            None => Err(Uncounted::Unheard),
        };
        if counted.is_err() {
            tally.fell_back(Fallback::Rate);
        }
        // One that says no has answered.
        if let (Err(Uncounted::Unanswered), Some(live)) = (&counted, live) {
            live.slow();
        }
        counted
    }

    /// A request went out that the backend has not heard of: it is told with the next one that is counted by the same key.
    pub fn owe(&self, route: &str, checks: &[Check]) {
        for counter in self.counters(route, checks, false) {
            self.owed.add(&counter, u32::try_from(counter.cost).unwrap_or(u32::MAX), setup::now());
        }
    }

    /// Gives back what [`Fleet::count`] counted, for a request that was refused for another reason then. What the backend does
    /// not hear of stays counted.
    pub async fn give_back(&self, route: &str, checks: &[Check]) {
        let Common { setup, link, scripts, .. } = &*self.common;
        if let Some(live) = link.live() {
            let counters = self.counters(route, checks, true);
            let _ = timeout(setup.patience(), scripts.count(&mut live.connection(), &counters)).await;
        }
    }

    /// What this fleet makes names with now. Names change with the seed, so do not store them.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.common.link.seed.keys()
    }

    /// This process's part of a rate, by the last known size of the fleet.
    #[must_use]
    pub fn local_quota(&self, quota: &Quota) -> Quota {
        let (size, rank) = self.common.tally.place();
        let burst = quota.burst.get() / size + u32::from(rank < quota.burst.get() % size);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        Quota { amount: quota.amount, per: quota.per.saturating_mul(size), burst }
    }

    /// Gives back all slots, because nothing runs here any more.
    pub async fn leave(&self) {
        let members = std::mem::take(&mut *self.lock());
        leave(&self.common, members).await;
    }

    /// Where a request is counted, and how.
    fn counters(&self, route: &str, checks: &[Check], back: bool) -> Vec<Counter> {
        let prefix = &self.common.setup.prefix;
        let counter = |check: &Check| {
            let whose = check.whose(route);
            let key = format!("{prefix}:rate:{whose}:{}:{:016x}", check.limit, check.name);
            let cost = i64::from(check.cost.get()) * if back { -1 } else { 1 };
            Counter { key, own: self.keys.of((whose, check.limit, check.key)), quota: check.quota, cost, passed: 0 }
        };
        checks.iter().map(counter).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Limiter, Member>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let members = std::mem::take(self.agents.get_mut().unwrap_or_else(PoisonError::into_inner));
        let (common, connecting) = (Arc::clone(&self.common), self.connecting.clone());
        if members.is_empty() {
            connecting.abort();
            return;
        }
        // Nobody waits for this. If the runtime ends first, the slots are freed when the lease expires.
        drop(self.runtime.spawn(async move {
            leave(&common, members).await;
            connecting.abort();
        }));
    }
}

/// Deregisters agents from their limiters.
async fn leave(common: &Common, members: BTreeMap<Limiter, Member>) {
    let gone = members.into_iter().map(|(limiter, member)| {
        member.task.abort();
        common.leave(common.key(&limiter), member.name)
    });
    let _ = futures_util::future::join_all(gone).await;
}
