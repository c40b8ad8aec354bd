//! Tenants of a gate whose slots a fleet shares.

use super::{SPREAD, Tenant, TenantShare, TenantStats, Tenants};
use std::time::{Duration, Instant};

/// What a tenant asks of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantDemand {
    /// Its numbers.
    pub stats: TenantStats,
    /// Since when the first of its calls waits.
    pub since: Option<Instant>,
    /// What it may have.
    pub share: TenantShare,
}

/// What a fleet knows of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantTotals {
    /// Which one.
    pub tenant: Option<u64>,
    /// What it holds here, with what it was granted since.
    pub held: u32,
    /// What it holds elsewhere.
    pub others: u32,
}

/// What a fleet knows of the tenants of a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// How many free slots are to be left here for reserves.
    pub keep: u32,
    /// Those that have called or waited here.
    pub tenants: Vec<TenantTotals>,
}

/// Where a fleet shares the slots.
impl Tenants {
    /// A fleet shares them from now on, or does no more.
    pub(in crate::limit::gate) fn are_shared(&mut self, shared: bool) {
        if self.shared != shared {
            self.shared = shared;
            self.keep.clear();
            for own in self.all.values_mut() {
                (own.others, own.allowed, own.alone) = (0, None, None);
                if shared {
                    own.gives_back();
                }
            }
        }
    }

    /// Whether the fleet says how many free slots are to be left.
    pub(super) fn is_led(&self) -> bool {
        self.shared && self.all.values().all(|own| own.alone.is_none())
    }

    /// What may still be used of maxima here is the fleet's again.
    pub(in crate::limit::gate) fn give_back(&mut self) {
        if self.shared {
            self.all.values_mut().for_each(Tenant::gives_back);
        }
    }

    /// Nothing is left any more for reserves at other accounts than these.
    pub(in crate::limit::gate) fn keep_only_at(&mut self, accounts: impl Fn(usize) -> bool) {
        self.keep.retain(|account, _| accounts(*account));
    }

    /// What the fleet knows, by the word of an account's limiter.
    pub(in crate::limit::gate) fn heard(&mut self, account: usize, crowd: &Crowd) {
        if !self.shared {
            return;
        }
        self.count();
        let _ = self.keep.insert(account, crowd.keep);
        for (tenant, own) in &mut self.all {
            own.alone = None;
            let told = crowd.tenants.iter().find(|told| told.tenant == *tenant);
            own.others = told.map_or(0, |told| told.others);
            own.allowed = own.share.max.map(|_| own.held.max(told.map_or(0, |told| told.held)));
        }
    }

    /// The fleet is lost: each has the part of one gateway. Others may hold more of a maximum than their part until it is settled.
    pub(in crate::limit::gate) fn alone(&mut self, (size, rank): (u32, u32), settled: bool) {
        let size = size.max(1);
        let part = |whole: u32| (whole / size + u32::from(rank < whole % size)).max(u32::from(rank >= size));
        for own in self.all.values_mut() {
            if settled || own.alone.is_none() {
                let most = if settled { u32::MAX } else { own.held };
                own.allowed = own.share.max.map(|max| part(max).min(most));
            }
            (own.others, own.alone) = (0, Some(part(own.share.reserve).min(own.share.reserve)));
        }
    }

    /// What all of them hold and wait for, with the time since when each waits.
    pub(in crate::limit::gate) fn demands(&self, since: impl Fn(Option<u64>) -> Option<Instant>) -> Vec<TenantDemand> {
        let wants = self.all.iter().filter(|(_, own)| own.wants());
        let demand = |(tenant, own): (&Option<u64>, &Tenant)| TenantDemand {
            stats: TenantStats { tenant: *tenant, in_use: own.held, queued: own.waiting },
            since: if own.waiting > 0 { since(*tenant) } else { None },
            share: own.share,
        };
        wants.map(demand).collect()
    }

    /// What a call took of late.
    pub(in crate::limit::gate) fn usual(&self) -> Duration {
        Duration::try_from_secs_f64(self.usual).unwrap_or_default()
    }

    /// A number that changes when others wait than before, and when one with a maximum gives back a slot.
    pub(in crate::limit::gate) fn changes(&self) -> u64 {
        self.waits ^ self.freed.wrapping_mul(SPREAD)
    }
}
