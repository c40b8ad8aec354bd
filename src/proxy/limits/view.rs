//! The state of a route's limits, for the status page.

use super::slots::tenant_number;
use super::{Registry, RouteLimits};
use crate::config::types::Tenant;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// How many accounts or keys are shown at most.
const SHOWN: usize = 64;

/// The limits of one route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitView {
    /// The route.
    pub route: String,
    /// Its account, if it names one; slots and backoffs are then shared with other routes.
    pub account: Option<String>,
    /// Slots of all accounts, as far as known; none when calls are not counted.
    pub limit: Option<u32>,
    /// What the operator allows each account.
    pub max: Option<u32>,
    /// Slots that are taken.
    pub in_use: u32,
    /// Calls that wait.
    pub queued: u32,
    /// The accounts, in the order of `credentials`; if clients bring their own keys, some of those in use.
    pub accounts: Vec<AccountSlotsView>,
    /// Backoffs in force.
    pub backoffs: Vec<BackoffView>,
}

/// The slots of one account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountSlotsView {
    /// Slots that it has now.
    pub cap: u32,
    /// Slots that the provider seems to allow.
    pub learned: u32,
    /// Slots that are taken.
    pub in_use: u32,
}

/// A backoff that a provider asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackoffView {
    /// The code with which affected requests are rejected.
    pub code: &'static str,
    /// How long it lasts; zero while a probe is out.
    pub remaining_seconds: f64,
}

impl Registry {
    /// The limits of all routes, by name.
    #[must_use]
    pub fn view(&self, now: Instant) -> Vec<LimitView> {
        self.all().into_iter().map(|(route, limits)| limits.view(route, now)).collect()
    }
}

impl Registry {
    /// Tenants that hold more slots than their share while others wait.
    pub(crate) fn beyond_shares(&self, tenants: &[Arc<Tenant>]) -> BTreeSet<String> {
        let gates = self
            .all()
            .into_iter()
            .filter(|(_, limits)| limits.counts())
            .flat_map(|(_, limits)| limits.plan().gates.as_ref().map(|gates| gates.all()).unwrap_or_default());
        let beyond: BTreeSet<u64> = gates.flat_map(|gate| gate.beyond_shares()).collect();
        let named = tenants.iter().filter(|tenant| beyond.contains(&tenant_number(tenant)));
        named.map(|tenant| tenant.name.clone()).collect()
    }
}

impl RouteLimits {
    fn view(&self, route: String, now: Instant) -> LimitView {
        let plan = self.plan();
        let gates = plan.gates.as_ref().filter(|_| self.counts());
        let all = self.slots().map(|slots| slots.slot_stats().0);
        // If clients bring their own keys, one entry for each key in use.
        let accounts = gates.map(|gates| gates.all()).unwrap_or_default().into_iter().flat_map(|gate| {
            let numbers = if plan.numbers.is_empty() { &[0][..] } else { &plan.numbers };
            numbers.iter().map(move |number| AccountSlotsView {
                cap: gate.cap(*number),
                learned: gate.learned(*number),
                in_use: gate.demand(*number).in_use,
            })
        });
        let view = |(code, remaining): (crate::canon::Code, std::time::Duration)| BackoffView {
            code: code.as_str(),
            remaining_seconds: remaining.as_secs_f64(),
        };
        LimitView {
            route,
            account: self.account.as_ref().map(|account| account.config.name.clone()),
            limit: all.map(|all| all.limit),
            max: self.concurrency().map(|concurrency| concurrency.max),
            in_use: all.map_or(0, |all| all.in_use),
            queued: all.map_or(0, |all| all.queued),
            accounts: accounts.take(SHOWN).collect(),
            backoffs: self.backoffs.in_force(now).into_iter().map(view).collect(),
        }
    }
}
