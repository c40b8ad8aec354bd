//! Concurrency slots, and waiting for one: in the queue of the route, of its account, or first of one and then of the other.

use super::account::Counted;
use super::{Credential, Denied, Refusal, RouteLimits};
use crate::canon::Fault;
use crate::config::types::Tenant;
use crate::limit::Keys;
use crate::limit::gate::{AccountSet, Claim, Entry, Gate, Permit, Priority, Waiting};
use crate::proxy::headers::Fields;
use crate::telemetry::metrics::{Holds, RouteMetrics, TenantMetrics, Waits};
use http::{HeaderMap, HeaderName};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The priority in the queue: `high`, `normal` or `low`. This header is never forwarded.
const PRIORITY: HeaderName = HeaderName::from_static("x-speechgate-priority");

/// The priority of a request: the tenant's, which the client can only lower, or else the client's. Unknown values count as
/// `normal`.
pub(crate) fn priority(headers: &HeaderMap, fields: Fields, tenant: Option<&Tenant>) -> Priority {
    let tenants = tenant.and_then(|tenant| tenant.priority);
    match (asked(headers, fields), tenants) {
        (Some(asked), Some(tenants)) => asked.max(tenants),
        (asked, tenants) => asked.or(tenants).unwrap_or(Priority::Normal),
    }
}

fn asked(headers: &HeaderMap, fields: Fields) -> Option<Priority> {
    if !fields.may_have(Fields::PRIORITY) {
        return None;
    }
    Some(match headers.get(PRIORITY)?.as_bytes().trim_ascii() {
        value if value.eq_ignore_ascii_case(b"high") => Priority::High,
        value if value.eq_ignore_ascii_case(b"low") => Priority::Low,
        _ => Priority::Normal,
    })
}

/// A slot of a call, released on drop.
#[must_use = "dropping a slot frees it"]
pub struct Slot {
    /// The slot of the provider's plan.
    permit: Permit,
    /// What goes with it, if the plan is an account's.
    beside: Option<Box<Beside>>,
    /// Counts it among the slots of its tenant.
    _tenant: Option<Holds>,
}

/// Held along with the slot of an account.
struct Beside {
    /// A slot of the route's own.
    _own: Option<Permit>,
    _counted: Counted,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("account", &self.permit.account()).finish_non_exhaustive()
    }
}

impl Deref for Slot {
    type Target = Permit;

    fn deref(&self) -> &Permit {
        &self.permit
    }
}

impl DerefMut for Slot {
    fn deref_mut(&mut self) -> &mut Permit {
        &mut self.permit
    }
}

impl Slot {
    /// The settle time after the call was cancelled is over.
    pub(super) fn has_settled(self, now: std::time::Instant) {
        self.permit.has_settled(now);
        drop(self.beside);
    }
}

/// The result of asking for a slot.
pub(crate) enum Asked<'r> {
    /// A slot, released when this is dropped.
    Granted(Slot),
    /// A place in the queue.
    Queued(Queued<'r>),
}

/// A place in a queue.
pub(crate) struct Queued<'r> {
    limits: &'r RouteLimits,
    gate: Arc<Gate>,
    waiting: Waiting,
    max_wait: Duration,
    next: Next,
    wait: Wait<'r>,
    /// Counts it among the waiting calls of its tenant.
    tenant: Option<Waits>,
}

/// What follows the wait.
enum Next {
    /// A wait for the account's slot, after one for the route's own.
    OfAccount { gate: Arc<Gate>, claim: Claim, accounts: AccountSet },
    /// Nothing more: the slot that the call has by now, and its count among those waiting for the account.
    Nothing { own: Option<Permit>, waits: Option<Counted> },
}

impl RouteLimits {
    /// The account of a slot, by its index in the configuration.
    pub fn account_of(&self, slot: &Slot) -> usize {
        self.plan().place_of(slot)
    }

    /// The time at which a call asks for its slot: now, if its body was read or the fleet was asked in the meantime, because a
    /// share of the fleet may have expired since it began.
    pub(crate) fn asks_at(&self, begun: Instant) -> Instant {
        if self.reads_bodies() || self.fleet.is_some() { Instant::now() } else { begun }
    }

    /// The claim with which a call asks for slots.
    pub(crate) fn claim(&self, priority: Priority, tenant: Option<&Tenant>) -> Claim {
        Claim { priority, tenant: tenant.map(tenant_number) }
    }

    /// Asks for a slot of one of these accounts at their gate, and first for one of the route's own if the route limits its part
    /// of an account.
    pub(crate) fn ask<'r>(
        &'r self,
        gate: Arc<Gate>,
        claim: Claim,
        accounts: AccountSet,
        now: Instant,
    ) -> Result<Asked<'r>, Denied> {
        let tenant = claim.tenant.and_then(|tenant| self.tenants.get(&tenant));
        let wait = Wait { metrics: &self.metrics, tenant, priority: claim.priority, since: now };
        let Some(own) = self.beside() else { return self.ask_plan(gate, claim, (accounts, None), now, wait) };
        match own.enter(claim, self.own.numbers_of(AccountSet::ALL), now.into_std()) {
            Entry::Admitted(permit) => self.ask_plan(gate, claim, (accounts, Some(permit)), now, wait),
            Entry::Full => Err(wait.refused(own, now)),
            Entry::Queued(waiting) => {
                let max_wait = self.route.concurrency.as_ref().map_or(Duration::ZERO, |own| own.max_wait);
                let next = Next::OfAccount { gate, claim, accounts };
                let (gate, tenant) = (Arc::clone(own), tenant.map(TenantMetrics::waits));
                Ok(Asked::Queued(Queued { limits: self, gate, waiting, max_wait, next, wait, tenant }))
            }
        }
    }

    /// Asks for a slot of the provider's plan, and for one of the route's own if it needs that.
    fn ask_plan<'r>(
        &'r self,
        gate: Arc<Gate>,
        claim: Claim,
        (accounts, own): (AccountSet, Option<Permit>),
        now: Instant,
        wait: Wait<'r>,
    ) -> Result<Asked<'r>, Denied> {
        match gate.enter(claim, self.plan().numbers_of(accounts), now.into_std()) {
            Entry::Admitted(permit) => {
                let tenant = wait.tenant;
                wait.ended(now);
                Ok(Asked::Granted(self.slot_of(permit, own, tenant)))
            }
            Entry::Full => Err(wait.refused(&gate, now)),
            Entry::Queued(waiting) => {
                let waits = self.shown.as_ref().map(|_| self.calls.waits());
                let (max_wait, next) = (self.max_wait(), Next::Nothing { own, waits });
                let tenant = wait.tenant.map(TenantMetrics::waits);
                Ok(Asked::Queued(Queued { limits: self, gate, waiting, max_wait, next, wait, tenant }))
            }
        }
    }

    fn slot_of(&self, permit: Permit, own: Option<Permit>, tenant: Option<&Arc<TenantMetrics>>) -> Slot {
        let beside = self.shown.as_ref().map(|_| Box::new(Beside { _own: own, _counted: self.calls.holds() }));
        Slot { permit, beside, _tenant: tenant.map(TenantMetrics::holds) }
    }

    /// Waits for a slot of one of these accounts, if necessary. None when the route has no concurrency limit.
    pub async fn slot(
        &self,
        credential: Credential,
        claim: Claim,
        accounts: AccountSet,
    ) -> Result<Option<Slot>, Denied> {
        let Some(gate) = self.gate(credential) else { return Ok(None) };
        match self.ask(gate, claim, accounts, Instant::now())? {
            Asked::Granted(slot) => Ok(Some(slot)),
            Asked::Queued(queued) => queued.granted().await.map(Some),
        }
    }

    /// Waits for a slot of a WebSocket's own limit, for at most the route's longest wait.
    pub(crate) async fn slot_in(&self, socket: &Arc<Gate>, claim: Claim) -> Result<Permit, Denied> {
        match socket.enter(claim, AccountSet::ALL, Instant::now().into_std()) {
            Entry::Admitted(permit) => Ok(permit),
            Entry::Full => Err(refusal(socket, Fault::QueueFull)),
            Entry::Queued(waiting) => {
                let granted = tokio::time::timeout(self.max_wait(), waiting).await;
                granted.map_err(|_| refusal(socket, Fault::QueueTimeout))
            }
        }
    }

    /// The longest wait for a slot of the provider's plan.
    fn max_wait(&self) -> Duration {
        self.concurrency().map_or(Duration::ZERO, |concurrency| concurrency.max_wait)
    }

    /// The rejection by a route whose queue is full.
    pub(crate) fn full(&self, credential: Credential) -> Denied {
        match self.gate(credential) {
            Some(gate) => refusal(&gate, Fault::QueueFull),
            None => Fault::QueueFull.into(),
        }
    }
}

impl<'r> Queued<'r> {
    /// Waits for the slot, in each queue for at most its longest wait. Dropping the future leaves the queue.
    pub(crate) async fn granted(mut self) -> Result<Slot, Denied> {
        loop {
            let Queued { limits, gate, waiting, max_wait, next, wait, tenant } = self;
            let granted = tokio::time::timeout(max_wait, waiting).await;
            let permit = granted.map_err(|_| refusal(&gate, Fault::QueueTimeout))?;
            drop(tenant);
            let asked = match next {
                Next::Nothing { own, waits } => {
                    drop(waits);
                    return Ok(limits.slot_of(permit, own, wait.tenant));
                }
                Next::OfAccount { gate, claim, accounts } => {
                    limits.ask_plan(gate, claim, (accounts, Some(permit)), Instant::now(), wait)?
                }
            };
            match asked {
                Asked::Granted(slot) => return Ok(slot),
                Asked::Queued(queued) => self = queued,
            }
        }
    }
}

/// The number by which gates identify a tenant: the same in all gateways and after a reload.
pub(super) fn tenant_number(tenant: &Tenant) -> u64 {
    Keys::of_fleet((0, 0)).of(("tenant", &*tenant.name))
}

fn refusal(gate: &Arc<Gate>, fault: Fault) -> Denied {
    let expected = gate.expected_wait(Instant::now().into_std());
    Refusal::of_slots(fault, gate.stats().limit, expected).into()
}

/// Measures a wait for a slot, and counts it once, however it ends.
struct Wait<'a> {
    metrics: &'a RouteMetrics,
    tenant: Option<&'a Arc<TenantMetrics>>,
    priority: Priority,
    since: Instant,
}

impl Wait<'_> {
    /// The wait ended at this time, which saves reading the clock.
    fn ended(self, now: Instant) {
        self.count(now.saturating_duration_since(self.since));
        std::mem::forget(self);
    }

    fn count(&self, wait: Duration) {
        match self.tenant {
            Some(tenant) => tenant.waited(self.priority, wait),
            None => self.metrics.queue_waited(self.priority, wait),
        }
    }

    /// The wait ended because the queue is full.
    fn refused(self, gate: &Arc<Gate>, now: Instant) -> Denied {
        self.ended(now);
        refusal(gate, Fault::QueueFull)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.count(self.since.elapsed());
    }
}
