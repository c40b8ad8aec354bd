//! How the slots of a gate are shared among tenants.
//!
//! Inside a priority the next slot goes to the tenant that will have had the least service for its weight, as fair schedulers
//! for processors do it. Service is the time for which slots were held; what the calls that are under way will still take is
//! expected to be what calls took of late. So tenants whose calls last longer get fewer of them. Who was away brings no credit
//! along: it starts at the level of whoever was served last.
//!
//! Where a fleet shares the slots, what a tenant holds at other gateways counts as if it held it here, and reserves and maxima are those
//! of the whole fleet: a tenant with a maximum holds no more here than the fleet has granted it, and gives that back call by call.

mod shared;

pub use shared::{Crowd, TenantDemand, TenantTotals};

use super::Priority;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// How much of the expected time of a call comes from the call that ended last.
const NEWEST: f64 = 1.0 / 32.0;

/// Reads the time. Slots come free where nobody has a clock at hand.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Who asks for a slot, and how urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How urgent it is.
    pub priority: Priority,
    /// The tenant, by a number that stays the same when the configuration changes; none where clients show no keys.
    pub tenant: Option<u64>,
}

impl From<Priority> for Claim {
    fn from(priority: Priority) -> Claim {
        Claim { priority, tenant: None }
    }
}

/// What a tenant may have of a gate's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantShare {
    /// Its share beside the weights of the others, from 1.
    pub weight: u32,
    /// Slots that nobody else gets while it has a call or waits for a slot.
    pub reserve: u32,
    /// The most slots that it may hold.
    pub max: Option<u32>,
}

impl Default for TenantShare {
    fn default() -> TenantShare {
        TenantShare { weight: 1, reserve: 0, max: None }
    }
}

/// The state of a tenant at a gate, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantStats {
    /// Which one.
    pub tenant: Option<u64>,
    /// Slots that it holds.
    pub in_use: u32,
    /// How many of its calls wait.
    pub queued: u32,
}

/// Everybody who has a share or a call. Empty where there are no tenants.
#[derive(Default)]
pub(super) struct Tenants {
    all: BTreeMap<Option<u64>, Tenant>,
    clock: Option<Clock>,
    /// Until when service has been counted.
    counted: Option<Instant>,
    /// The service of whoever was served last.
    level: f64,
    /// Slot seconds since a call ended.
    busy: f64,
    /// What calls took of late, in seconds.
    usual: f64,
    /// Whether a fleet shares the slots.
    shared: bool,
    /// How many free slots of each account the fleet wants left here for reserves.
    keep: BTreeMap<usize, u32>,
    /// The sum of those who wait, and how often one with a maximum has given back a slot or shares have changed.
    waits: u64,
    freed: u64,
}

#[derive(Default)]
struct Tenant {
    share: TenantShare,
    /// Whether the configuration has it.
    configured: bool,
    held: u32,
    waiting: u32,
    /// Slot seconds so far, for its weight.
    service: f64,
    /// What it holds at other gateways.
    others: u32,
    /// How many it may hold here by the word of the fleet, if it has a maximum.
    allowed: Option<u32>,
    /// Its part of its reserve while the fleet is lost.
    alone: Option<u32>,
}

impl Tenant {
    fn wants(&self) -> bool {
        self.held > 0 || self.waiting > 0
    }

    fn weight(&self) -> f64 {
        f64::from(self.share.weight.max(1))
    }

    fn is_full(&self) -> bool {
        self.share.max.is_some_and(|max| self.held >= max)
    }

    fn may_hold_more(&self) -> bool {
        self.share.max.is_none_or(|max| self.held < max.min(self.allowed.unwrap_or(u32::MAX)))
    }

    /// Where the fleet is lost, its part of the reserve.
    fn reserve(&self) -> u32 {
        self.alone.unwrap_or(self.share.reserve)
    }

    fn total(&self) -> u32 {
        self.held.saturating_add(self.others)
    }

    /// Nothing more of its maximum may be used here than is.
    fn gives_back(&mut self) {
        if self.alone.is_none() {
            self.allowed = self.share.max.map(|_| self.held);
        }
    }

    /// Slots that are kept for it beside those that it holds.
    fn kept(&self) -> u32 {
        if self.wants() { self.reserve().saturating_sub(self.total()) } else { 0 }
    }
}

impl Tenants {
    /// These have shares from now on. Calls of others go on, with a share as if nothing was said of them.
    pub(super) fn set(&mut self, shares: &[(u64, TenantShare)], clock: Clock) {
        self.count();
        self.clock = Some(clock);
        for tenant in self.all.values_mut() {
            (tenant.configured, tenant.share) = (false, TenantShare::default());
        }
        for (tenant, share) in shares {
            let entry = self.all.entry(Some(*tenant)).or_default();
            (entry.configured, entry.share) = (true, *share);
            if self.shared && entry.allowed.is_none() {
                entry.gives_back();
            }
        }
        self.all.retain(|_, tenant| tenant.configured || tenant.wants());
        // The fleet has to hear of other maxima.
        self.freed = self.freed.wrapping_add(1);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a tenant may have one of so many free slots: it is below its maximum, and no other's reserve is used for it.
    pub(super) fn may_have(&self, tenant: Option<u64>, free: u32) -> bool {
        if self.is_empty() {
            return true;
        }
        let own = self.all.get(&tenant);
        if own.is_some_and(|own| !own.may_hold_more()) {
            return false;
        }
        if own.is_some_and(|own| own.total() < own.reserve()) {
            return true;
        }
        if self.is_led() {
            return free > self.keep.values().copied().fold(0, u32::saturating_add);
        }
        let others = self.all.iter().filter(|(other, _)| **other != tenant);
        free > others.map(|(_, other)| other.kept()).fold(0, u32::saturating_add)
    }

    /// Whether only its own maximum keeps a tenant from another slot.
    pub(super) fn is_full(&self, tenant: Option<u64>) -> bool {
        self.all.get(&tenant).is_some_and(Tenant::is_full)
    }

    /// Where a tenant stands among those that may have one of so many free slots: the lowest is next.
    pub(super) fn rank(&self, tenant: Option<u64>, free: u32) -> Option<f64> {
        if self.is_empty() {
            return Some(f64::NEG_INFINITY);
        }
        let rank = |own: &Tenant| match self.is_led() && own.total() < own.reserve() {
            // The fleet may have granted the slot for its reserve.
            true => f64::NEG_INFINITY,
            false => own.service + f64::from(own.total().saturating_add(1)) * self.usual / own.weight(),
        };
        self.may_have(tenant, free).then(|| self.all.get(&tenant).map_or(self.level, rank))
    }

    /// Whether there is a place in the queue for a tenant. One alone never fills it: each takes at most as many places as it
    /// leaves free.
    pub(super) fn may_queue(&self, tenant: Option<u64>, free: usize) -> bool {
        let waiting = self.all.get(&tenant).map_or(0, |own| own.waiting);
        self.all.len() < 2 || usize::try_from(waiting).unwrap_or(usize::MAX) < free
    }

    pub(super) fn queued(&mut self, tenant: Option<u64>) {
        let mut first = false;
        self.change(tenant, |own| {
            first = own.waiting == 0;
            own.waiting += 1;
        });
        if first {
            self.waits ^= mark(tenant);
        }
    }

    pub(super) fn left_queue(&mut self, tenant: Option<u64>) {
        let mut last = false;
        self.change(tenant, |own| {
            last = own.waiting == 1;
            own.waiting = own.waiting.saturating_sub(1);
        });
        if last {
            self.waits ^= mark(tenant);
        }
    }

    /// A tenant gets a slot.
    pub(super) fn granted(&mut self, tenant: Option<u64>) {
        self.count();
        let mut level = self.level;
        self.change(tenant, |own| {
            level = level.max(own.service);
            own.held += 1;
        });
        self.level = level;
    }

    /// A slot of a tenant comes free.
    pub(super) fn released(&mut self, tenant: Option<u64>) {
        self.count();
        self.usual += (self.busy - self.usual) * NEWEST;
        self.busy = 0.0;
        let (shared, mut bounded) = (self.shared, false);
        self.change(tenant, |own| {
            own.held = own.held.saturating_sub(1);
            bounded = own.share.max.is_some() && shared;
            if bounded {
                own.gives_back();
            }
        });
        self.freed = self.freed.wrapping_add(u64::from(bounded));
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = TenantStats> {
        self.all.iter().map(|(tenant, own)| TenantStats { tenant: *tenant, in_use: own.held, queued: own.waiting })
    }

    /// Who holds more than its share while another waits: with a slot less it would still have as many for its weight as the other with
    /// one more.
    pub(super) fn beyond_shares(&self) -> impl Iterator<Item = Option<u64>> {
        let is_beyond = |one: &Tenant, other: &Tenant| {
            let (fewer, more) = (one.total().saturating_sub(1), other.total().saturating_add(1));
            f64::from(fewer) * other.weight() >= f64::from(more) * one.weight()
        };
        let waits = |other: &&Tenant| other.waiting > 0 && !other.is_full();
        let beyond = self.all.iter().filter(move |(name, one)| {
            let others = self.all.iter().filter(|(other, _)| other != name).map(|(_, other)| other);
            one.held > 0 && one.total() > one.share.reserve && others.filter(waits).any(|other| is_beyond(one, other))
        });
        beyond.map(|(tenant, _)| *tenant)
    }

    /// Counts the time since it was last counted for everybody who holds slots.
    fn count(&mut self) {
        let Some(now) = self.clock.as_ref().filter(|_| !self.all.is_empty()).map(|clock| clock()) else { return };
        let since = self.counted.replace(now).map_or(0.0, |before| now.saturating_duration_since(before).as_secs_f64());
        for own in self.all.values_mut().filter(|own| own.total() > 0) {
            own.service += f64::from(own.total()) * since / own.weight();
            self.busy += f64::from(own.held) * since;
        }
    }

    /// Changes what is known of a tenant. Where there are no tenants, nothing is known of anybody.
    fn change(&mut self, tenant: Option<u64>, change: impl FnOnce(&mut Tenant)) {
        if self.is_empty() {
            return;
        }
        let own = self.all.entry(tenant).or_default();
        if !own.wants() {
            own.service = own.service.max(self.level);
        }
        change(own);
        if !own.configured && !own.wants() {
            let _ = self.all.remove(&tenant);
        }
    }
}

/// Odd, with bits everywhere.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn mark(tenant: Option<u64>) -> u64 {
    tenant.map_or(SPREAD, |tenant| tenant.wrapping_mul(SPREAD) | 1)
}
