//! Who waits, and who is next.

use super::{AccountSet, Priority, STARVE};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

/// Somebody who waits.
pub(super) struct Waiter {
    pub(super) accounts: AccountSet,
    pub(super) tenant: Option<u64>,
    pub(super) since: Instant,
    pub(super) waker: Option<Waker>,
}

/// Waiters by priority and then by ticket; tickets are given out in order, so the lowest has waited longest.
#[derive(Default)]
pub(super) struct Queue {
    classes: [BTreeMap<u64, Waiter>; 3],
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(BTreeMap::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(BTreeMap::is_empty)
    }

    pub(super) fn push(&mut self, priority: Priority, ticket: u64, waiter: Waiter) {
        self.class(priority).insert(ticket, waiter);
    }

    pub(super) fn get(&mut self, priority: Priority, ticket: u64) -> Option<&mut Waiter> {
        self.class(priority).get_mut(&ticket)
    }

    pub(super) fn remove(&mut self, priority: Priority, ticket: u64) -> Option<Waiter> {
        self.class(priority).remove(&ticket)
    }

    /// Those who may use an account and whose tenant `counts`: how many, and since when the first of them waits.
    pub(super) fn waiting(&self, account: usize, counts: impl Fn(Option<u64>) -> bool) -> (usize, Option<Instant>) {
        let counts = |waiter: &&Waiter| waiter.accounts.contains(account) && counts(waiter.tenant);
        let all = self.classes.iter().flat_map(BTreeMap::values).filter(counts);
        all.fold((0, None), |(count, since), waiter| {
            (count + 1, Some(since.map_or(waiter.since, |since: Instant| since.min(waiter.since))))
        })
    }

    /// Since when the first of a tenant's calls waits.
    pub(super) fn first_of(&self, tenant: Option<u64>) -> Option<Instant> {
        let own = self.classes.iter().flat_map(BTreeMap::values).filter(|waiter| waiter.tenant == tenant);
        own.map(|waiter| waiter.since).min()
    }

    /// Takes the next one for a slot of an account out of the queue, of those who `may` have it, and counts whom it passes over.
    /// Inside a priority the lowest `rank` is first; those without one may not have it.
    pub(super) fn next(
        &mut self,
        account: usize,
        may: impl Fn(AccountSet) -> bool,
        rank: impl Fn(Option<u64>) -> Option<f64>,
        passed: &mut [u32; 3],
    ) -> Option<(u64, Waiter)> {
        let first = |class: &BTreeMap<u64, Waiter>| {
            let may = |waiter: &Waiter| waiter.accounts.contains(account) && may(waiter.accounts);
            let mut best = None;
            for (ticket, waiter) in class.iter().filter(|(_, waiter)| may(waiter)) {
                match rank(waiter.tenant) {
                    // Nobody is before the first of the lowest.
                    Some(f64::NEG_INFINITY) => return Some(*ticket),
                    Some(rank) if best.is_none_or(|(lowest, _)| rank < lowest) => best = Some((rank, *ticket)),
                    Some(_) | None => {}
                }
            }
            best.map(|(_, ticket)| ticket)
        };
        let heads = self.classes.each_ref().map(first);
        let waits = || heads.iter().zip(passed.iter()).enumerate().filter(|(_, (head, _))| head.is_some());
        let due = waits().rfind(|(_, (_, passed))| **passed >= STARVE);
        let (chosen, ticket) = due.or_else(|| waits().next()).and_then(|(class, (head, _))| Some((class, (*head)?)))?;
        for (class, (head, passed)) in heads.iter().zip(passed.iter_mut()).enumerate() {
            match head {
                Some(_) if class > chosen => *passed += 1,
                Some(_) if class < chosen => {}
                _ => *passed = 0,
            }
        }
        let waiter = self.classes.get_mut(chosen)?.remove(&ticket)?;
        Some((ticket, waiter))
    }

    fn class(&mut self, priority: Priority) -> &mut BTreeMap<u64, Waiter> {
        let [high, normal, low] = &mut self.classes;
        match priority {
            Priority::High => high,
            Priority::Normal => normal,
            Priority::Low => low,
        }
    }
}
