//! What a gate keeps under its lock.

use super::accounts::AccountSlots;
use super::pace::Pace;
use super::queue::{Queue, Waiter};
use super::tenants::{Claim, Tenants};
use super::{AccountSet, Demand, Hook, Priority, Setup, count};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

/// A slot that was taken.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    pub(super) account: usize,
    /// Whose it is.
    pub(super) tenant: Option<u64>,
    /// How many slots of the account were in use with this one.
    pub(super) level: u32,
    /// How often the learned cap of the account had changed by then.
    pub(super) changes: u32,
    /// The number of its call, in the order in which calls came.
    pub(super) ticket: u64,
}

/// Always true between two calls: nobody waits who could use a slot that is to be had.
pub(super) struct GateState {
    pub(super) accounts: Vec<AccountSlots>,
    /// How many accounts are in force; the others are of an earlier setup, and only for those who came under it.
    active: usize,
    /// Those among them that nobody new means any more.
    retired: AccountSet,
    pub(super) queue: Queue,
    pub(super) tenants: Tenants,
    places: usize,
    /// Slots that were given to waiters who have not come for them yet, by ticket.
    granted: BTreeMap<u64, Grant>,
    tickets: u64,
    grants: u64,
    pub(super) pace: Pace,
    pub(super) hook: Option<Hook>,
    /// Whether what is learned here is the fleet's business.
    pub(super) learns: bool,
    /// Whether calls count at other gates as well.
    pub(super) has_heirs: bool,
}

/// What the fleet is told of when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Watched {
    /// Accounts under a share that give out no slots, whatever the fleet grants.
    blocked: AccountSet,
    /// How often anything was learned of all of them.
    learned: u32,
    /// Accounts where a slot waits for somebody who knows the time.
    unseen: AccountSet,
}

impl GateState {
    pub(super) fn new(setup: &Setup) -> GateState {
        let mut state = GateState {
            accounts: Vec::new(),
            active: 0,
            retired: AccountSet::NONE,
            queue: Queue::default(),
            tenants: Tenants::default(),
            places: 0,
            granted: BTreeMap::new(),
            tickets: 0,
            grants: 0,
            pace: Pace::new(),
            hook: None,
            learns: false,
            has_heirs: false,
        };
        state.set_up(setup);
        state
    }

    pub(super) fn set_up(&mut self, setup: &Setup) {
        self.active = setup.accounts.clamp(1, AccountSet::MOST);
        self.places = usize::try_from(setup.queue).unwrap_or(usize::MAX);
        for account in &mut self.accounts {
            account.max = setup.max;
            account.learn.set_max(setup.max);
        }
        while self.accounts.len() < self.active {
            self.accounts.push(AccountSlots::new(setup.max));
        }
    }

    /// Ends the pauses and shares that are over.
    pub(super) fn resume(&mut self, now: Instant) {
        for account in &mut self.accounts {
            account.resume(now);
        }
    }

    /// What is asked of an account.
    pub(super) fn demand(&self, index: usize) -> Demand {
        let Some(account) = self.accounts.get(index) else { return Demand::default() };
        let demand = Demand {
            share: account.share.map(|share| share.slots),
            max: account.max,
            in_use: account.in_use,
            learned: self.learns.then(|| account.without_fleet()),
            tenants: self.tenants.changes(),
            part: self.part(index),
            ..Demand::default()
        };
        if account.is_blocked() {
            return demand;
        }
        let (waiting, oldest_wait_since) = self.queue.waiting(index, |tenant| !self.tenants.is_full(tenant));
        Demand { waiting: count(waiting), oldest_wait_since, ..demand }
    }

    /// The place of an account among those in force, and how many there are.
    fn part(&self, index: usize) -> (u32, u32) {
        let before = self.active().filter(|(other, _)| *other < index).count();
        (count(before), count(self.active().count()))
    }

    /// Nobody has said what time it is: a slot of a share that has an end waits for somebody who does.
    pub(super) fn shares_are_unseen(&mut self) {
        for account in &mut self.accounts {
            account.unseen |= account.share.is_some_and(|share| share.until.is_some());
        }
    }

    pub(super) fn watched(&self) -> Watched {
        let mut watched = Watched { blocked: AccountSet::NONE, learned: 0, unseen: AccountSet::NONE };
        for (index, account) in self.accounts.iter().enumerate().filter(|(_, account)| account.share.is_some()) {
            if account.is_blocked() {
                watched.blocked = watched.blocked.with(index);
            }
            if account.unseen {
                watched.unseen = watched.unseen.with(index);
            }
            watched.learned = watched.learned.wrapping_add(account.learn.changes());
        }
        watched
    }

    /// Whether the fleet has to hear of what has changed since.
    pub(super) fn concerns_fleet(&self, before: Watched) -> bool {
        let now = self.watched();
        let opened = before.blocked.and(now.blocked) != before.blocked || now.unseen.and(before.unseen) != now.unseen;
        self.learns && now.learned != before.learned || opened && !self.queue.is_empty()
    }

    /// The accounts that are in force.
    pub(super) fn active(&self) -> impl Iterator<Item = (usize, &AccountSlots)> {
        self.accounts.iter().enumerate().take(self.active).filter(|(index, _)| !self.retired.contains(*index))
    }

    fn in_force(&self) -> AccountSet {
        AccountSet::first(self.active).minus(self.retired)
    }

    /// These accounts are not meant by anybody new any more.
    pub(super) fn retire(&mut self, accounts: AccountSet) {
        self.retired = accounts;
        let in_force = self.in_force();
        self.tenants.keep_only_at(|account| in_force.contains(account));
    }

    /// Slots in use on all accounts, those of earlier setups included.
    pub(super) fn in_use(&self) -> u32 {
        self.accounts.iter().map(|account| account.in_use).sum()
    }

    /// Slots in all.
    pub(super) fn cap(&self) -> u32 {
        self.active().map(|(_, account)| account.cap()).fold(0, u32::saturating_add)
    }

    /// Slots in all by the configuration.
    pub(super) fn max(&self) -> u32 {
        self.active().map(|(_, account)| account.max).fold(0, u32::saturating_add)
    }

    /// Slots in all by the provider's word.
    pub(super) fn learned(&self) -> u32 {
        self.active().map(|(_, account)| account.without_fleet()).fold(0, u32::saturating_add)
    }

    /// How many may wait.
    pub(super) const fn places(&self) -> usize {
        self.places
    }

    /// Takes a slot of one of these accounts. Whoever waits has been served before.
    pub(super) fn take(&mut self, tenant: Option<u64>, accounts: AccountSet) -> Option<Grant> {
        if !self.tenants.is_empty() && !self.tenants.may_have(tenant, self.free()) {
            return None;
        }
        let index = self.freest(accounts.and(self.in_force()))?;
        self.tickets += 1;
        self.grant(index, tenant, self.tickets)
    }

    /// The number of the call that came last.
    pub(super) const fn last_ticket(&self) -> u64 {
        self.tickets
    }

    /// Slots that can be given out now.
    fn free(&self) -> u32 {
        let open = self.active().filter(|(_, account)| account.open());
        open.map(|(_, account)| account.cap().saturating_sub(account.in_use)).fold(0, u32::saturating_add)
    }

    /// Puts a waiter into the queue; none when it is full, or no account will ever do.
    pub(super) fn join(&mut self, claim: Claim, accounts: AccountSet, now: Instant) -> Option<u64> {
        let Claim { priority, tenant } = claim;
        let places = self.places.saturating_sub(self.queue.len());
        if places == 0 || !self.tenants.may_queue(tenant, places) || accounts.and(self.in_force()).is_empty() {
            return None;
        }
        self.tickets += 1;
        self.queue.push(priority, self.tickets, Waiter { accounts, tenant, since: now, waker: None });
        self.tenants.queued(tenant);
        Some(self.tickets)
    }

    /// A waiter leaves the queue without a slot.
    pub(super) fn remove(&mut self, priority: Priority, ticket: u64) -> Option<Waiter> {
        let waiter = self.queue.remove(priority, ticket)?;
        self.tenants.left_queue(waiter.tenant);
        Some(waiter)
    }

    /// The slot of a waiter that comes for it.
    pub(super) fn collect(&mut self, ticket: u64) -> Option<Grant> {
        self.granted.remove(&ticket)
    }

    /// Gives a slot back.
    pub(super) fn leave(&mut self, grant: Grant, refused: bool, held: bool) {
        self.tenants.released(grant.tenant);
        if let Some(account) = self.accounts.get_mut(grant.account) {
            account.leave(refused, held);
            account.heir.iter_mut().for_each(|heir| heir.loses(grant.ticket));
            self.pace.free();
        }
    }

    /// Gives out what slots there are, and tells whom to wake.
    pub(super) fn dispatch(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.queue.is_empty() {
            return wakers;
        }
        let in_force = self.in_force();
        let mut accounts = AccountSet::ALL;
        while let Some(index) = self.freest(accounts) {
            let free = if self.tenants.is_empty() { 0 } else { self.free() };
            let Some(account) = self.accounts.get_mut(index) else { break };
            // Who may use none of those in force came before the others were taken away, and would wait in vain for ever.
            let may = |accounts: AccountSet| in_force.contains(index) || accounts.and(in_force).is_empty();
            let rank = |tenant| self.tenants.rank(tenant, free);
            match self.queue.next(index, may, rank, &mut account.passed) {
                Some((ticket, waiter)) => {
                    let tenant = waiter.tenant;
                    wakers.extend(waiter.waker);
                    let grant = self.grant(index, tenant, ticket);
                    self.tenants.left_queue(tenant);
                    self.granted.extend(grant.map(|grant| (ticket, grant)));
                }
                None => accounts = accounts.without(index),
            }
        }
        wakers
    }

    /// The least loaded of these accounts that has a slot.
    fn freest(&self, accounts: AccountSet) -> Option<usize> {
        let open = self.accounts.iter().enumerate();
        let open = open.filter(|(index, account)| accounts.contains(*index) && account.open());
        open.reduce(|best, other| if other.1.freer_than(best.1) { other } else { best }).map(|(index, _)| index)
    }

    fn grant(&mut self, index: usize, tenant: Option<u64>, ticket: u64) -> Option<Grant> {
        let account = self.accounts.get_mut(index)?;
        self.grants += 1;
        account.last_grant = self.grants;
        account.in_use += 1;
        account.heir.iter_mut().for_each(|heir| heir.gets(ticket));
        self.tenants.granted(tenant);
        let (level, changes) = (account.in_use, account.learn.changes());
        Some(Grant { account: index, tenant, level, changes, ticket })
    }
}
