//! Concurrency slots, and waiting for one in the route's queue.

use super::{Credential, Denied, Refusal, RouteLimits};
use crate::canon::Fault;
use crate::config::types::Tenant;
use crate::limit::Keys;
use crate::limit::gate::{AccountSet, Claim, Entry, Gate, Permit, Priority, Waiting};
use crate::proxy::headers::Fields;
use crate::telemetry::metrics::RouteMetrics;
use http::{HeaderMap, HeaderName};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The priority in the queue: `high`, `normal` or `low`. The header is between the client and this gateway only.
const PRIORITY: HeaderName = HeaderName::from_static("x-speechgate-priority");

/// The requested priority: the tenant's, which the client can only lower, or else what the client asks for. Unknown values are
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

/// The result of asking for a slot.
pub(crate) enum Asked<'r> {
    /// A slot, released when the permit is dropped.
    Granted(Permit),
    /// A place in the queue.
    Queued(Queued<'r>),
}

/// A place in the queue of a route.
pub(crate) struct Queued<'r> {
    gate: Arc<Gate>,
    waiting: Waiting,
    max_wait: Duration,
    wait: Wait<'r>,
}

impl RouteLimits {
    /// The account whose slot it is, by its place in the configuration.
    pub fn account_of(&self, permit: &Permit) -> usize {
        self.numbers.iter().position(|number| *number == permit.account()).unwrap_or_default()
    }

    /// The gate's numbers of these accounts; where clients bring their own keys each has a gate with one.
    fn numbers_of(&self, accounts: AccountSet) -> AccountSet {
        if self.numbers.is_empty() {
            return AccountSet::only(0);
        }
        let numbers = self.numbers.iter().enumerate().filter(|(account, _)| accounts.contains(*account));
        numbers.fold(AccountSet::NONE, |all, (_, number)| all.with(*number))
    }

    /// The time at which a call that began then asks for its slot: another one where its body was read for its rates or others were
    /// asked about them, for a share of the fleet may be over by now.
    pub(crate) fn asks_at(&self, begun: Instant) -> Instant {
        if self.reads_bodies() || self.fleet.is_some() { Instant::now() } else { begun }
    }

    /// What a call asks for slots with.
    pub(crate) fn claim(&self, priority: Priority, tenant: Option<&Tenant>) -> Claim {
        Claim { priority, tenant: tenant.map(|tenant| tenant_number(&self.keys, tenant)) }
    }

    /// Asks for a slot of one of these accounts.
    pub(crate) fn ask<'r>(
        &'r self,
        gate: Arc<Gate>,
        claim: Claim,
        accounts: AccountSet,
        now: Instant,
    ) -> Result<Asked<'r>, Denied> {
        let priority = claim.priority;
        match gate.enter(claim, self.numbers_of(accounts), now.into_std()) {
            Entry::Admitted(permit) => {
                self.metrics.queue_waited(priority, Duration::ZERO);
                Ok(Asked::Granted(permit))
            }
            Entry::Full => {
                self.metrics.queue_waited(priority, Duration::ZERO);
                Err(refusal(&gate, Fault::QueueFull))
            }
            Entry::Queued(waiting) => {
                let max_wait = self.max_wait();
                Ok(Asked::Queued(Queued {
                    gate,
                    waiting,
                    max_wait,
                    wait: Wait { metrics: &self.metrics, priority, since: now },
                }))
            }
        }
    }

    /// Waits for a slot of one of these accounts, if need be. None when the route does not count calls.
    pub async fn slot(
        &self,
        credential: Credential,
        claim: Claim,
        accounts: AccountSet,
    ) -> Result<Option<Permit>, Denied> {
        let Some(gate) = self.gate(credential) else { return Ok(None) };
        match self.ask(gate, claim, accounts, Instant::now())? {
            Asked::Granted(permit) => Ok(Some(permit)),
            Asked::Queued(queued) => queued.granted().await.map(Some),
        }
    }

    /// Waits for one of a socket's own slots, for at most the route's longest wait.
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

    /// The longest wait for a slot.
    fn max_wait(&self) -> Duration {
        self.route.concurrency.as_ref().map_or(Duration::ZERO, |concurrency| concurrency.max_wait)
    }

    /// The refusal of a route whose queue is full.
    pub(crate) fn full(&self, credential: Credential) -> Denied {
        match self.gate(credential) {
            Some(gate) => refusal(&gate, Fault::QueueFull),
            None => Fault::QueueFull.into(),
        }
    }
}

impl Queued<'_> {
    /// Waits for the slot, for at most the route's longest wait. Dropping this gives up the place in the queue.
    pub(crate) async fn granted(self) -> Result<Permit, Denied> {
        let Queued { gate, waiting, max_wait, wait } = self;
        let granted = tokio::time::timeout(max_wait, waiting).await;
        drop(wait);
        granted.map_err(|_| refusal(&gate, Fault::QueueTimeout))
    }
}

/// The number by which gates know a tenant: it stays the same when a reload gives the tenant another place.
pub(super) fn tenant_number(keys: &Keys, tenant: &Tenant) -> u64 {
    keys.of(("tenant", &*tenant.name))
}

fn refusal(gate: &Arc<Gate>, fault: Fault) -> Denied {
    let expected = gate.expected_wait(Instant::now().into_std());
    Refusal::of_slots(fault, gate.stats().limit, expected).into()
}

/// A wait, counted when it is over, however it ends.
struct Wait<'a> {
    metrics: &'a RouteMetrics,
    priority: Priority,
    since: Instant,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.metrics.queue_waited(self.priority, self.since.elapsed());
    }
}
