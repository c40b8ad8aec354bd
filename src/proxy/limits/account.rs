//! The limits that the routes of one account share: its slots with one queue, its rates, and its backoffs.
//!
//! A call takes a slot of its account, and one of its route if the route has a limit of its own. The route's slot is taken first,
//! so that a call waiting for it holds no slot of the account.

use super::gates::Gates;
use super::plan::Plan;
use super::rates::Rates;
use super::{Registry, RouteLimits, fleet_label, meaning};
use crate::canon::Code;
use crate::config::types::{Account, Config};
use crate::fleet::ACCOUNTS;
use crate::limit::Backoffs;
use crate::limit::gate::{Bounds, GateStats, SlotStats, TenantShare};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

/// The limits of one account under one configuration.
pub(crate) struct AccountLimits {
    pub(super) config: Arc<Account>,
    pub(super) rates: Rates,
    pub(super) plan: Plan,
    pub(super) backoffs: Arc<Backoffs<Code>>,
    /// Credentials that were refused on a socket a moment ago.
    pub(super) turned_away: Arc<Backoffs<Code>>,
}

/// The previous state of an account.
struct Before<'a> {
    plan: Option<&'a Plan>,
    /// None if the previous state was a route's, whose rates are counted by other keys.
    rates: Option<&'a Rates>,
    backoffs: &'a Arc<Backoffs<Code>>,
    turned_away: &'a Arc<Backoffs<Code>>,
}

impl std::fmt::Debug for AccountLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountLimits").field("account", &self.config.name).finish_non_exhaustive()
    }
}

impl Registry {
    /// The limits of a configuration's accounts, in its order, with the counts so far: from the account that had one of these
    /// credentials or the name, or else from a route that had them and now names the account.
    pub(crate) fn accounts(&self, config: &Config, now: Instant) -> Vec<Arc<AccountLimits>> {
        let mut known = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut living: Vec<Arc<AccountLimits>> = Vec::new();
        for old in known.iter().filter_map(Weak::upgrade) {
            // Of one account under several configurations, the latest counts.
            if !living.iter().any(|later| later.is_same_as(&old)) {
                living.push(old);
            }
        }
        let all: Vec<Vec<u64>> = config.accounts.iter().map(|account| self.keys_of(account)).collect();
        let before = self.before(config, &all, &living);
        let routes = self.all();
        let new = config.accounts.iter().zip(&all).zip(before).map(|((account, credentials), old)| {
            let moved = || moved(account, credentials, config, &routes);
            let old = match old {
                // An account that has not limited calls so far continues with the calls that its routes have counted.
                Some(old) if account.concurrency.is_some() && old.plan.gates.is_none() => Some(Before {
                    plan: moved().map(|route| &route.own).filter(|own| own.gates.is_some()).or(Some(&old.plan)),
                    ..Before::from(&**old)
                }),
                Some(old) => Some(Before::from(&**old)),
                None => moved().map(|old| Before::of_route(old, account)),
            };
            Arc::new(AccountLimits::new(account, credentials, old.as_ref(), now))
        });
        let new: Vec<_> = new.collect();
        inherit(config, &new, &living, &routes);
        let tenants = Self::shares(&config.tenants);
        new.iter().for_each(|account| self.share(account, &tenants));
        known.retain(|old| old.strong_count() > 0);
        let _ = known.splice(..0, new.iter().map(Arc::downgrade));
        new
    }

    /// The previous state of each account. Each previous account continues as at most one, whether it was split, renamed or given
    /// other keys.
    fn before<'l>(
        &self,
        config: &Config,
        all: &[Vec<u64>],
        living: &'l [Arc<AccountLimits>],
    ) -> Vec<Option<&'l Arc<AccountLimits>>> {
        type Fits<'f> = &'f dyn Fn(&AccountLimits, &Account, &[u64]) -> bool;
        let has = |old: &AccountLimits, keys: &[u64]| self.keys_of(&old.config).iter().any(|one| keys.contains(one));
        let passes: [Fits<'_>; 4] = [
            &|old, new, keys| old.config.name == new.name && has(old, keys),
            &|old, _, keys| has(old, keys),
            &|old, _, keys| old.plan.knows(keys),
            &|old, new, _| old.config.name == new.name,
        ];
        let mut found: Vec<Option<&Arc<AccountLimits>>> = vec![None; all.len()];
        for fits in passes {
            for (at, (new, keys)) in config.accounts.iter().zip(all).enumerate() {
                let is_taken = |old: &AccountLimits| found.iter().flatten().any(|one| one.is_same_as(old));
                if found.get(at).is_some_and(Option::is_none) {
                    let old = living.iter().find(|old| fits(old, new, keys) && !is_taken(old));
                    found.iter_mut().skip(at).take(1).for_each(|place| *place = old);
                }
            }
        }
        found
    }

    fn keys_of(&self, account: &Account) -> Vec<u64> {
        account.credentials.iter().map(|one| self.keys.of(meaning(one))).collect()
    }

    /// Shares the slots of an account among tenants, and with other gateways.
    fn share(&self, account: &AccountLimits, tenants: &[(u64, TenantShare)]) {
        if let Some(gates) = &account.plan.gates {
            gates.share_among(tenants);
        }
        if let (Some(fleet), Some(gate)) = (self.fleet.get(), account.plan.gate()) {
            let credentials = account.config.credentials.iter().zip(&account.plan.numbers);
            fleet.share_accounts(ACCOUNTS, credentials.map(|(one, number)| (*number, fleet_label(meaning(one)))), gate);
        }
    }
}

/// Has each account count the calls that run with its credentials and have slots elsewhere: of routes that had them for themselves and
/// name an account now, or are gone, and of accounts that are gone.
fn inherit(
    config: &Config,
    new: &[Arc<AccountLimits>],
    living: &[Arc<AccountLimits>],
    routes: &[(String, Arc<RouteLimits>)],
) {
    let stays = |name: &str| config.routes.iter().any(|route| route.name == name && route.account.is_none());
    let of_routes =
        routes.iter().filter(|(name, old)| !old.account.as_ref().is_some_and(|own| own.counts()) && !stays(name));
    let of_accounts = living.iter().filter(|old| !new.iter().any(|one| one.is_same_as(old)));
    let plans: Vec<&Plan> = of_routes.map(|(_, old)| &old.own).chain(of_accounts.map(|old| &old.plan)).collect();
    for account in new.iter().filter(|account| account.counts()) {
        plans.iter().for_each(|plan| account.plan.inherit(plan));
    }
}

/// The route whose slots and backoffs become an account's: of the routes that now name the account and had its credentials
/// before, or that counted calls where the account did not, the one with the most calls.
fn moved<'r>(
    account: &Account,
    credentials: &[u64],
    config: &Config,
    routes: &'r [(String, Arc<RouteLimits>)],
) -> Option<&'r RouteLimits> {
    let names_it = |name: &str| {
        let mut new = config.routes.iter().filter(|route| route.name == name);
        new.any(|route| route.account.as_ref().is_some_and(|own| own.name == account.name))
    };
    let had = routes.iter().filter(|(name, old)| {
        !old.account.as_ref().is_some_and(|own| own.counts()) && old.own.knows(credentials) && names_it(name)
    });
    let busiest = had.max_by_key(|(_, old)| old.own.gate().map_or(0, |gate| gate.stats().in_use));
    busiest.map(|(_, old)| &**old)
}

impl<'a> From<&'a AccountLimits> for Before<'a> {
    fn from(old: &'a AccountLimits) -> Before<'a> {
        let AccountLimits { plan, rates, backoffs, turned_away, .. } = old;
        Before { plan: Some(plan), rates: Some(rates), backoffs, turned_away }
    }
}

impl<'a> Before<'a> {
    fn of_route(old: &'a RouteLimits, account: &Account) -> Before<'a> {
        // If the account does not limit calls, the route keeps its slots.
        let plan = Some(&old.own).filter(|_| account.concurrency.is_some());
        Before { plan, rates: None, backoffs: &old.backoffs, turned_away: &old.turned_away }
    }
}

impl AccountLimits {
    fn new(config: &Arc<Account>, credentials: &[u64], old: Option<&Before<'_>>, now: Instant) -> AccountLimits {
        let plan = old.and_then(|old| old.plan);
        let rates = old.and_then(|old| old.rates);
        AccountLimits {
            plan: Plan::new(config.concurrency.as_ref(), credentials, || None, plan, now),
            rates: Rates::new(&config.rate_limits, true, rates, now),
            backoffs: old.map_or_else(Backoffs::new, |old| Arc::clone(old.backoffs)),
            turned_away: old.map_or_else(Backoffs::new, |old| Arc::clone(old.turned_away)),
            config: Arc::clone(config),
        }
    }

    /// Whether these are the limits of the same account under two configurations.
    fn is_same_as(&self, other: &AccountLimits) -> bool {
        Arc::ptr_eq(&self.backoffs, &other.backoffs)
    }

    /// Whether it continues with these slots of a route.
    pub(super) fn has_slots_of(&self, own: &Plan) -> bool {
        self.plan.gates.as_ref().zip(own.gates.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Whether it limits calls.
    pub(super) fn counts(&self) -> bool {
        self.config.concurrency.is_some()
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.rates.sweep(now);
        self.backoffs.sweep(now);
        self.turned_away.sweep(now);
    }
}

/// The calls of one route that hold a slot of its account, or wait for one.
#[derive(Debug, Default)]
pub(super) struct Calls {
    holding: AtomicU32,
    waiting: AtomicU32,
}

/// Counts one such call until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    calls: Arc<Calls>,
    waits: bool,
}

impl Calls {
    pub(super) fn holds(self: &Arc<Self>) -> Counted {
        let _ = self.holding.fetch_add(1, Relaxed);
        Counted { calls: Arc::clone(self), waits: false }
    }

    pub(super) fn waits(self: &Arc<Self>) -> Counted {
        let _ = self.waiting.fetch_add(1, Relaxed);
        Counted { calls: Arc::clone(self), waits: true }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = if self.waits { &self.calls.waiting } else { &self.calls.holding };
        let _ = count.fetch_sub(1, Relaxed);
    }
}

/// The slots of a route with an account, for metrics: the account's limit, and the route's own calls, so that the sum over all
/// routes is the account's.
pub(super) struct RouteSlots {
    pub(super) account: Arc<Gates>,
    /// The route's own slots, in addition to the account's.
    pub(super) own: Option<Arc<Gates>>,
    pub(super) calls: Arc<Calls>,
}

impl SlotStats for RouteSlots {
    fn slot_stats(&self) -> (GateStats, Bounds) {
        let (account, bounds) = self.account.slot_stats();
        let own = self.own.as_ref().map(|own| own.slot_stats());
        let least = |of_account: u32, of_own: fn(&(GateStats, Bounds)) -> u32| {
            own.as_ref().map_or(of_account, |own| of_account.min(of_own(own)))
        };
        let before = own.as_ref().map_or((0, 0), |(now, most)| (now.queued, most.queue));
        let stats = GateStats {
            limit: least(account.limit, |(now, _)| now.limit),
            in_use: self.calls.holding.load(Relaxed),
            queued: self.calls.waiting.load(Relaxed).saturating_add(before.0),
        };
        let bounds = Bounds {
            max: least(bounds.max, |(_, most)| most.max),
            learned: least(bounds.learned, |(_, most)| most.learned),
            queue: bounds.queue.saturating_add(before.1),
        };
        (stats, bounds)
    }
}
