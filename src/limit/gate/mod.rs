//! Concurrency slots and the queue for them.
//!
//! A gate has a number of slots for each account at the provider, of which there is usually only one. Who
//! enters gets a [`Permit`] or a place in the queue; dropping a permit frees its slot and hands it to the next in the same
//! step.
//!
//! # What always holds
//!
//! * Slots in use never exceed the cap of their account by a grant; only a cap that shrank leaves them above it for a while.
//! * Work-conserving: no call waits while a slot that it may use, and that no reserve keeps, is free; under a share with an end, from when the time is next
//!   read. So a call that finds a slot overtakes nobody.
//! * First come, first served within a priority, among those who may use the account whose slot came free; where there are
//!   tenants, first come, first served within each of them, and the slot goes to the tenant that has had the least for its weight.
//! * A tenant holds at most its maximum, and nobody else gets the slots of its reserve while it has a call or waits.
//! * Of the slots of one account, at most [`STARVE`] in a row go to higher priorities while a lower one waits for it, and then
//!   the lower one gets one. When both lower ones are due, `low` goes first and `normal` next: so `low` is passed over at
//!   most 8 times, `normal` at most 9 times and `high` at most twice in a row.
//! * A waiter that gives up leaves the queue at once, and a slot that was on its way to it goes to the next.

mod accounts;
mod fleet;
mod heirs;
mod inherit;
mod pace;
mod permit;
mod queue;
mod state;
mod stats;
mod tenants;

pub use accounts::{AccountSet, Heard};
pub use permit::{Permit, Waiting};
pub use stats::{Bounds, Demand, GateStats, SlotStats};
pub use tenants::{Claim, Clock, Crowd, TenantDemand, TenantShare, TenantStats, TenantTotals};

use super::lock;
use accounts::AccountSlots;
use state::{GateState, Grant};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

/// How many grants of an account in a row may pass over a lower priority that waits for it.
pub const STARVE: u32 = 8;

/// The priority of a call. Within one, first come, first served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A live call.
    High,
    /// A call without a stated priority.
    Normal,
    /// A batch job.
    Low,
}

/// How large a gate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Slots of each account.
    pub max: u32,
    /// How many may wait.
    pub queue: u32,
    /// How many accounts there are: at least one is made, and at most [`AccountSet::MOST`].
    pub accounts: usize,
}

/// The result of entering.
pub enum Entry {
    /// With a slot.
    Admitted(Permit),
    /// With a place in the queue.
    Queued(Waiting),
    /// The queue is full, or none of the accounts exists.
    Full,
}

impl SlotStats for Gate {
    fn slot_stats(&self) -> (GateStats, Bounds) {
        (self.stats(), self.bounds())
    }
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// Concurrency slots and a bounded queue for them.
pub struct Gate {
    state: Mutex<GateState>,
}

impl Gate {
    /// A gate with all slots free.
    #[must_use]
    pub fn new(setup: &Setup) -> Arc<Gate> {
        Arc::new(Gate { state: Mutex::new(GateState::new(setup)) })
    }

    /// Changes its size. Permits and waiters stay, and more slots are given out at once.
    ///
    /// What an account has learned stays too, below the new maximum. Accounts go by their number: when a number comes to mean
    /// another account, make a new gate.
    pub fn reconfigure(&self, setup: &Setup, now: Instant) {
        self.change(|state| {
            state.resume(now);
            state.set_up(setup);
        });
    }

    /// A number of which nobody holds or waits for a slot means another account from now on: what was learned of the old one is
    /// forgotten.
    pub fn replace(&self, account: usize) {
        self.change(|state| {
            state.shares_are_unseen();
            if let Some(slots) = state.accounts.get_mut(account) {
                *slots = AccountSlots::new(slots.max);
            }
        });
    }

    /// Retires these accounts: new calls get none of their slots, and they count for nothing. A call that came before and may use
    /// no other account still gets one. The other accounts are not affected.
    pub fn retire(&self, accounts: AccountSet) {
        self.change(|state| {
            state.shares_are_unseen();
            state.retire(accounts);
        });
    }

    /// Shares the slots among these tenants from now on, by the time that they hold them. Permits and waiters stay. The clock is
    /// read under a lock.
    pub fn share_among(&self, tenants: &[(u64, TenantShare)], clock: Clock) {
        self.change(|state| {
            state.shares_are_unseen();
            state.tenants.set(tenants, clock);
        });
        // Who waited because of a maximum that is another now, waits for the fleet.
        let hook = lock(&self.state).hook.clone();
        call(hook);
    }

    /// What each tenant holds and waits for.
    #[must_use]
    pub fn tenant_stats(&self) -> Vec<TenantStats> {
        lock(&self.state).tenants.stats().collect()
    }

    /// The tenants that hold more than their shares while others wait, of the whole fleet as far as it is known here.
    #[must_use]
    pub fn beyond_shares(&self) -> Vec<u64> {
        lock(&self.state).tenants.beyond_shares().flatten().collect()
    }

    /// Asks for a slot of one of these accounts: of those with a free slot, the one that is least loaded relative to its slots.
    #[must_use]
    pub fn enter(self: &Arc<Self>, claim: impl Into<Claim>, accounts: AccountSet, now: Instant) -> Entry {
        let claim = claim.into();
        let mut state = lock(&self.state);
        let in_use = state.in_use();
        state.pace.seen(in_use, now);
        state.resume(now);
        let wakers = state.dispatch();
        let slot = state.take(claim.tenant, accounts);
        let ticket = if slot.is_some() { None } else { state.join(claim, accounts, now) };
        let hook = state.hook.clone().filter(|_| ticket.is_some());
        let heirs = state.tell_heirs();
        drop(state);
        wake_all(wakers);
        inherit::wake(heirs);
        call(hook);
        match (slot, ticket) {
            (Some(grant), _) => Entry::Admitted(Permit::new(Arc::clone(self), grant)),
            (None, Some(ticket)) => Entry::Queued(Waiting::new(Arc::clone(self), claim.priority, ticket)),
            (None, None) => Entry::Full,
        }
    }

    /// Sets the learned cap of an account. At least one slot is left.
    pub fn set_learned(&self, account: usize, cap: u32) {
        self.learn(account, None, |account| account.learn.set(cap));
    }

    /// Grants no slots of an account until then. Permits and waiters are not affected.
    ///
    /// The end of a pause is noticed by [`Gate::enter`] and [`Gate::wake`], which know the time; so somebody has to call
    /// `wake` at [`Gate::resumes`].
    pub fn pause(&self, account: usize, until: Instant) {
        if let Some(account) = lock(&self.state).accounts.get_mut(account) {
            let _ = account.pause(until, false);
        }
    }

    /// Ends the pauses of all accounts, and returns how many there were.
    pub fn end_pauses(&self) -> usize {
        let mut ended = 0;
        self.change(|state| {
            state.shares_are_unseen();
            for account in &mut state.accounts {
                ended += usize::from(account.paused.take().is_some());
            }
        });
        ended
    }

    /// When the next pause ends.
    #[must_use]
    pub fn resumes(&self) -> Option<Instant> {
        lock(&self.state).accounts.iter().filter_map(|account| account.paused).min()
    }

    /// Ends the pauses and shares that are over, and grants the slots that this frees.
    pub fn wake(&self, now: Instant) {
        self.change(|state| state.resume(now));
    }

    /// Its state.
    #[must_use]
    pub fn stats(&self) -> GateStats {
        let state = lock(&self.state);
        GateStats { limit: state.cap(), in_use: state.in_use(), queued: count(state.queue.len()) }
    }

    /// What it is measured against.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let state = lock(&self.state);
        Bounds { max: state.max(), learned: state.learned(), queue: count(state.places()) }
    }

    /// How many slots an account has now: the least of all limits.
    #[must_use]
    pub fn cap(&self, account: usize) -> u32 {
        lock(&self.state).accounts.get(account).map_or(0, AccountSlots::cap)
    }

    /// How many slots of an account the provider seems to allow.
    #[must_use]
    pub fn learned(&self, account: usize) -> u32 {
        lock(&self.state).accounts.get(account).map_or(0, |account| account.learn.cap())
    }

    /// The expected wait of a new call, from 100 ms to a minute: until everybody before it and then itself gets a slot, at the
    /// rate at which slots have been coming free; or until the pauses of all accounts are over.
    #[must_use]
    pub fn expected_wait(&self, now: Instant) -> Duration {
        let mut state = lock(&self.state);
        let in_use = state.in_use();
        state.pace.seen(in_use, now);
        let wait = state.pace.wait(state.queue.len() + 1, state.cap());
        let pause = state
            .active()
            .map(|(_, account)| account.paused.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)));
        wait.max(pause.min().unwrap_or_default())
    }

    /// Takes the slot of a waiter, or else registers its waker.
    fn poll(&self, priority: Priority, ticket: u64, waker: &Waker) -> Option<Grant> {
        // Cloning a waker is foreign code: not under the lock.
        let mut fresh = Some(waker.clone());
        let mut state = lock(&self.state);
        let grant = state.collect(ticket);
        if grant.is_none()
            && let Some(waiter) = state.queue.get(priority, ticket)
        {
            std::mem::swap(&mut waiter.waker, &mut fresh);
        }
        drop(state);
        drop(fresh);
        grant
    }

    /// A waiter leaves, and gives back the slot that it may have been granted meanwhile.
    fn give_up(&self, priority: Priority, ticket: u64) {
        let mut state = lock(&self.state);
        let waiter = state.remove(priority, ticket);
        let slot = state.collect(ticket);
        // A reserve is kept only for those who want it.
        let wakers = if state.tenants.is_empty() { Vec::new() } else { state.dispatch() };
        let heirs = state.tell_heirs();
        drop(state);
        drop(waiter);
        wake_all(wakers);
        inherit::wake(heirs);
        if let Some(grant) = slot {
            self.leave(grant, false, false);
        }
    }

    /// A slot is given back.
    fn leave(&self, grant: Grant, refused: bool, held: bool) {
        let mut state = lock(&self.state);
        state.leave(grant, refused, held);
        let wakers = state.dispatch();
        let shared = state.accounts.get(grant.account).is_some_and(|account| account.share.is_some());
        let hook = state.hook.clone().filter(|_| shared);
        let heirs = state.tell_heirs();
        drop(state);
        wake_all(wakers);
        inherit::wake(heirs);
        call(hook);
    }

    /// Changes what an account may do, and gives out the slots that this brings.
    fn learn(&self, account: usize, now: Option<Instant>, change: impl FnOnce(&mut AccountSlots)) {
        self.change(|state| {
            match now {
                Some(now) => state.resume(now),
                None => state.shares_are_unseen(),
            }
            if let Some(account) = state.accounts.get_mut(account) {
                change(account);
            }
        });
    }

    /// Changes something, gives out what slots this brings, and lets the fleet know where it matters to it.
    fn change(&self, change: impl FnOnce(&mut GateState)) {
        let mut state = lock(&self.state);
        let before = state.watched();
        change(&mut state);
        let wakers = state.dispatch();
        let hook = state.hook.clone().filter(|_| state.concerns_fleet(before));
        let heirs = state.tell_heirs();
        drop(state);
        wake_all(wakers);
        inherit::wake(heirs);
        call(hook);
    }
}

/// A waker is foreign code: if it panics, the others are woken all the same, and no unwinding drop is unwound again.
fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

fn call(hook: Option<Hook>) {
    if let Some(hook) = hook {
        let _ = catch_unwind(AssertUnwindSafe(|| hook()));
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
