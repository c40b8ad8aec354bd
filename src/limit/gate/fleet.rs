//! What a fleet has to do with a gate: it grants slots, and hears what is asked and learned here.

use super::accounts::Share;
use super::tenants::{Crowd, TenantDemand};
use super::{Demand, Gate, Heard, wake_all};
use crate::limit::lock;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Gate {
    /// Sets what the fleet grants this process of an account, without an end; none without a fleet. It may be nothing at all.
    pub fn set_share(&self, account: usize, share: Option<u32>) {
        self.learn(account, None, |account| {
            account.share = share.map(|slots| Share { slots, until: None, contested: false });
            account.unseen = false;
        });
        lock(&self.state).tenants.are_shared(share.is_some());
    }

    /// Whether what providers say counts, so that the fleet is to hear of it.
    pub fn set_learning(&self, learns: bool) {
        lock(&self.state).learns = learns;
    }

    /// The fleet has said what it knows of an account.
    pub fn hear(&self, account: usize, heard: &Heard, now: Instant) {
        self.change(|state| {
            state.resume(now);
            if let Some(account) = state.accounts.get_mut(account) {
                account.heard(heard, now);
            }
        });
    }

    /// Changes by how many slots the fleet grants more or less than before, until when they may be given out, and whether other
    /// processes wait for slots: one that comes free here is then taken off the share. What was taken off it since it was
    /// last asked about stays off.
    pub fn shift_share(&self, account: usize, by: i64, until: Instant, contested: bool, now: Instant) {
        self.change(|state| {
            state.resume(now);
            if let Some(share) = state.accounts.get_mut(account).and_then(|account| account.share.as_mut()) {
                let slots = u32::try_from((i64::from(share.slots) + by).max(0)).unwrap_or(u32::MAX);
                *share = Share { slots, until: Some(until), contested };
            }
            state.resume(now);
        });
    }

    /// Removes the free slots of an account from its share, except this many, and returns the demand that is left.
    #[must_use]
    pub fn give_back(&self, account: usize, spare: u32, now: Instant) -> Demand {
        let mut state = lock(&self.state);
        state.resume(now);
        let wakers = state.dispatch();
        if let Some(account) = state.accounts.get_mut(account)
            && let Some(share) = &mut account.share
        {
            share.slots = share.slots.min(account.in_use.saturating_add(spare));
        }
        state.tenants.give_back();
        let demand = state.demand(account);
        drop(state);
        wake_all(wakers);
        demand
    }

    /// What each tenant holds and waits for in all accounts, and what a call takes of late.
    #[must_use]
    pub fn tenant_demands(&self) -> (Vec<TenantDemand>, Duration) {
        let state = lock(&self.state);
        let since = |tenant| state.queue.first_of(tenant);
        (state.tenants.demands(since), state.tenants.usual())
    }

    /// The fleet has said what its tenants hold, by the word of an account's limiter. `held` is what it has heard and granted of a tenant here: so many it may hold, if it has
    /// a maximum.
    pub fn hear_tenants(&self, account: usize, crowd: &Crowd, now: Instant) {
        self.change(|state| {
            state.resume(now);
            state.tenants.heard(account, crowd);
        });
    }

    /// The fleet is lost: of each maximum and reserve a tenant has the part of one gateway of `size`, at first no more than it holds.
    pub fn tenants_alone(&self, (size, rank): (u32, u32), settled: bool, now: Instant) {
        self.change(|state| {
            state.resume(now);
            state.tenants.alone((size, rank), settled);
        });
    }

    /// What is asked of an account.
    #[must_use]
    pub fn demand(&self, account: usize) -> Demand {
        lock(&self.state).demand(account)
    }

    /// What to call, outside the lock, when somebody queues; and while the fleet has set a share, when a slot is freed, something is
    /// learned, or somebody who waits may have a slot that he could not have before.
    ///
    /// A slot that is freed under a share with an end is given out by [`Gate::wake`] or [`Gate::enter`], which know the time:
    /// so who sets such a share has this call `wake`.
    pub fn on_demand(&self, hook: Arc<dyn Fn() + Send + Sync>) {
        let old = lock(&self.state).hook.replace(hook);
        drop(old);
    }
}
