//! The rules that every world of a fleet keeps: nobody is above the plan, and nobody waits beside a free slot.

use super::*;

/// Until when a rule need not hold.
pub(super) struct Excuse {
    /// Slots may be free.
    pub(super) free: Instant,
    /// More calls may run than the plan has slots.
    pub(super) over: Instant,
    /// The same from then on, for as long as these gateways are cut off.
    pub(super) alone: Vec<(usize, Instant)>,
    /// Since when nobody can use the backend, and whether a gateway has begun meanwhile: one that has never heard of the fleet uses a
    /// slot at least.
    pub(super) outage: Option<(Instant, bool)>,
}

impl Excuse {
    /// Whether more may run than is allowed.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let alone = self.alone.iter().any(|(_, from)| *from <= now);
        now < self.over || alone || self.outage.is_some_and(|(_, begun)| begun)
    }
}

impl World {
    /// One call more or less with this key at a gateway. How many run with it in all.
    pub(super) fn running_with(&self, key: usize, more: i32, index: usize) -> u32 {
        let mut state = self.lock();
        if let Some(gateway) = state.gateways.get_mut(index).and_then(Option::as_mut) {
            gateway.at[key] = gateway.at[key].saturating_add_signed(more);
        }
        state.gateways.iter().flatten().map(|gateway| gateway.at[key]).sum()
    }

    /// One call more or less by the route, which has a bound as the account has a plan. Calls that wait for the account hold one of the
    /// route's for longer than any lease, so where anything goes wrong there may be more.
    pub(super) fn came(&self, index: usize, more: i32) {
        let mut state = self.lock();
        if let Some(gateway) = state.gateways.get_mut(index).and_then(Option::as_mut) {
            gateway.by_route = gateway.by_route.saturating_add_signed(more);
        }
        let running = state.gateways.iter().flatten().map(|one| one.by_route).sum::<u32>();
        if more > 0 && running > self.bound && state.calm {
            self.log.violated(|| format!("g{index} begins call {running} by a route that may have {}", self.bound));
        }
    }

    /// A call goes to the provider, where so many run with it.
    pub(super) fn begins(&self, index: usize, running: u32) {
        let (state, now) = (self.lock(), Instant::now());
        let plan = if now < state.before.1 { state.before.0.max(state.max) } else { state.max };
        if running > plan && !state.excuse.is_over(now) {
            self.log.violated(|| format!("g{index} begins call {running} of a plan of {plan}"));
        }
    }

    /// The same for its tenant, whose maximum is that of the fleet.
    pub(super) fn tenant_begins(&self, index: usize, claim: Claim) {
        let (state, now) = (self.lock(), Instant::now());
        let Some(tenant) = claim.tenant else { return };
        let Some((_, TenantShare { max: Some(max), .. })) = self.shares.get(tenant as usize) else { return };
        let (running, _) = state.of_tenant(tenant as usize);
        // Two keys may grant the last slot at one moment.
        if running >= *max + self.keys as u32 && !state.excuse.is_over(now) {
            self.log.violated(|| format!("g{index} begins call {running} of tenant {tenant}, which may have {max}"));
        }
    }

    /// Whether a slot is free that somebody waits for.
    pub(super) fn look(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        state.buried.retain(|(_, until)| *until > now);
        let buried: u32 = state.buried.iter().map(|(count, _)| count).sum();
        let running: u32 = state.gateways.iter().flatten().map(|gateway| gateway.running).sum();
        let free = (state.max * self.keys as u32).saturating_sub(running + buried);
        let waits = state.gateways.iter().flatten().any(|gateway| {
            let may = |tenant: usize| gateway.tenants[tenant].1 > 0 && self.may_have(&state, tenant, free);
            gateway.waiting > 0 && gateway.paused <= now && (self.shares.is_empty() || (0..TENANTS).any(may))
        });
        let free = free > 0;
        if let Some(since) = state.starving {
            let starved = now.saturating_duration_since(since.max(state.excuse.free));
            if starved > self.patience {
                let (max, waiting) =
                    (state.max, state.gateways.iter().flatten().map(|gateway| gateway.waiting).sum::<u32>());
                self.log.violated(|| {
                    format!(
                        "{waiting} waited for {starved:?} while {running} of {} times {max} slots were in use",
                        self.keys
                    )
                });
            }
        }
        state.starving = if waits && free { state.starving.or(Some(now)) } else { None };
    }

    /// Whether neither its maximum nor a reserve of another keeps a tenant from one of so many free slots.
    pub(super) fn may_have(&self, state: &State, tenant: usize, free: u32) -> bool {
        let kept = |tenant: usize| {
            let (running, waiting) = state.of_tenant(tenant);
            if running + waiting > 0 { self.shares[tenant].1.reserve.saturating_sub(running) } else { 0 }
        };
        let (running, _) = state.of_tenant(tenant);
        let others: u32 = (0..TENANTS).filter(|other| *other != tenant).map(kept).sum();
        self.shares[tenant].1.max.is_none_or(|max| running < max) && (kept(tenant) > 0 || free > others)
    }
}
