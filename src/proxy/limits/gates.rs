//! The gates of a route: one with slots for each of its accounts or, if clients bring their own keys, one for each key.
//!
//! A plan belongs to an account, so its slots are not shared with other accounts, and what is learned about one says nothing
//! about another. Keys come from the network: at most [`MOST`] have a gate of their own, and further ones share one. A gate that
//! was idle for [`IDLE`] is dropped, with what was learned for it. If a fleet shares the gates, each needs an agent and is known
//! to the backend, so there are at most [`MOST_SHARED`], dropped after [`IDLE_SHARED`].

use super::Credential;
use crate::fleet::{Fleet, Label};
use crate::limit::gate::{Bounds, Clock, Gate, GateStats, Setup, SlotStats, TenantShare};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many keys have a gate of their own.
pub(super) const MOST: usize = 4096;
/// How long an unused gate is kept.
const IDLE: Duration = Duration::from_secs(600);
/// The same limits if a fleet shares the gates.
const MOST_SHARED: usize = 512;
const IDLE_SHARED: Duration = Duration::from_secs(60);

/// The gates of a route. They outlive its configuration.
pub(super) enum Gates {
    /// One for all accounts.
    Accounts(Arc<Gate>),
    /// One for each key of a client.
    Keys(Keyed),
}

pub(super) struct Keyed {
    state: Mutex<KeyedState>,
}

/// If gates are shared with other gateways: all of them name a gate by its route and key.
pub(super) struct Sharing {
    pub(super) fleet: Arc<Fleet>,
    pub(super) route: String,
}

struct KeyedState {
    setup: Setup,
    learn: bool,
    sharing: Option<Sharing>,
    tenants: Vec<(u64, TenantShare)>,
    gates: HashMap<u64, Kept>,
    /// The gate that all further keys share.
    crowd: Option<Arc<Gate>>,
}

struct Kept {
    gate: Arc<Gate>,
    used: Instant,
}

impl Gates {
    pub(super) fn of_accounts(setup: &Setup, learn: bool) -> Arc<Gates> {
        let gate = Gate::new(setup);
        gate.set_learning(learn);
        Arc::new(Gates::Accounts(gate))
    }

    pub(super) fn of_keys(setup: Setup, learn: bool, sharing: Option<Sharing>) -> Arc<Gates> {
        let state = KeyedState { setup, learn, sharing, tenants: Vec::new(), gates: HashMap::new(), crowd: None };
        Arc::new(Gates::Keys(Keyed { state: Mutex::new(state) }))
    }

    /// Changes the size. What was learned is reset if learning is disabled.
    pub(super) fn reconfigure(&self, setup: &Setup, learn: bool, now: Instant) {
        match self {
            Gates::Accounts(gate) => resize(gate, setup, learn, now),
            Gates::Keys(keyed) => {
                let mut state = keyed.lock();
                (state.setup, state.learn) = (setup.clone(), learn);
                state.all().for_each(|gate| resize(gate, setup, learn, now));
            }
        }
    }

    /// Shares the slots among these tenants.
    pub(super) fn share_among(&self, tenants: &[(u64, TenantShare)]) {
        match self {
            Gates::Accounts(gate) => gate.share_among(tenants, clock()),
            Gates::Keys(keyed) => {
                let mut state = keyed.lock();
                state.tenants = tenants.to_vec();
                state.all().for_each(|gate| gate.share_among(tenants, clock()));
            }
        }
    }

    /// The gate of a credential.
    pub(super) fn of(&self, credential: Credential, now: Instant) -> Arc<Gate> {
        match self {
            Gates::Accounts(gate) => Arc::clone(gate),
            Gates::Keys(keyed) => keyed.of(credential, now),
        }
    }

    /// All current gates.
    pub(super) fn all(&self) -> Vec<Arc<Gate>> {
        match self {
            Gates::Accounts(gate) => vec![Arc::clone(gate)],
            Gates::Keys(keyed) => keyed.lock().all().map(Arc::clone).collect(),
        }
    }

    /// Drops the gates of keys that have not been used for long.
    pub(super) fn sweep(&self, now: Instant) {
        if let Gates::Keys(keyed) = self {
            let mut state = keyed.lock();
            let after = state.bounds().1;
            state.forget_idle(now, after);
        }
    }
}

impl Keyed {
    fn of(&self, credential: Credential, now: Instant) -> Arc<Gate> {
        let mut state = self.lock();
        if let Some(kept) = state.gates.get_mut(&credential.key) {
            kept.used = now;
            return Arc::clone(&kept.gate);
        }
        let most = state.bounds().0;
        if state.gates.len() >= most {
            // Otherwise a client that invents keys would make the fleet create and drop a gate for each.
            let after = if state.sharing.is_some() { state.bounds().1 } else { Duration::ZERO };
            state.forget_idle(now, after);
        }
        let own = state.gates.len() < most;
        if let Some(crowd) = state.crowd.as_ref().filter(|_| !own) {
            return Arc::clone(crowd);
        }
        let gate = Gate::new(&state.setup);
        gate.set_learning(state.learn);
        gate.share_among(&state.tenants, clock());
        if let Some(Sharing { fleet, route }) = &state.sharing {
            let own = credential.hidden.filter(|_| own).map(Label::Hidden);
            let label = own.unwrap_or_else(|| Label::Plain("others".to_owned()));
            fleet.share_accounts(route, std::iter::once((0, label)), &gate);
        }
        if own {
            let _ = state.gates.insert(credential.key, Kept { gate: Arc::clone(&gate), used: now });
        } else {
            state.crowd = Some(Arc::clone(&gate));
        }
        gate
    }

    fn lock(&self) -> MutexGuard<'_, KeyedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyedState {
    fn all(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.gates.values().map(|kept| &kept.gate).chain(&self.crowd)
    }

    /// How many keys have a gate of their own, and how long an unused gate is kept.
    fn bounds(&self) -> (usize, Duration) {
        if self.sharing.is_some() { (MOST_SHARED, IDLE_SHARED) } else { (MOST, IDLE) }
    }

    /// Permits and waiters hold a reference to their gate.
    fn forget_idle(&mut self, now: Instant, after: Duration) {
        let used = |kept: &Kept| Arc::strong_count(&kept.gate) > 1 || now.saturating_duration_since(kept.used) < after;
        self.gates.retain(|_, kept| used(kept));
    }
}

impl SlotStats for Gates {
    fn slot_stats(&self) -> (GateStats, Bounds) {
        let keyed = match self {
            Gates::Accounts(gate) => return gate.slot_stats(),
            Gates::Keys(keyed) => keyed,
        };
        let state = keyed.lock();
        let all: Vec<_> = state.all().map(|gate| gate.slot_stats()).collect();
        let sum = |of: fn(&(GateStats, Bounds)) -> u32| all.iter().map(of).fold(0, u32::saturating_add);
        let Setup { max, queue, .. } = state.setup;
        if all.is_empty() {
            // The first call will find all slots free.
            return (GateStats { limit: max, in_use: 0, queued: 0 }, Bounds { max, learned: max, queue });
        }
        let stats =
            GateStats { limit: sum(|of| of.0.limit), in_use: sum(|of| of.0.in_use), queued: sum(|of| of.0.queued) };
        let bounds = Bounds { max: sum(|of| of.1.max), learned: sum(|of| of.1.learned), queue: sum(|of| of.1.queue) };
        (stats, bounds)
    }
}

fn clock() -> Clock {
    Arc::new(|| tokio::time::Instant::now().into_std())
}

fn resize(gate: &Gate, setup: &Setup, learn: bool, now: Instant) {
    gate.set_learning(learn);
    gate.reconfigure(setup, now);
    if !learn {
        (0..setup.accounts).for_each(|account| gate.set_learned(account, setup.max));
    }
}
