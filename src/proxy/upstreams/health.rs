//! What a route remembers of its upstreams and accounts from one call to the next. It outlives a reload: everything that the new
//! configuration still names keeps its state.

use super::accounts::{AccountView, Accounts};
use super::checks::{Checked, bit};
use super::policy::{RetryPolicy, is_broken, was_never_sent};
use super::turns::Turns;
use crate::canon::{Code, Fault, Origin};
use crate::config::types::{CircuitBreaker, Route};
use crate::limit::breaker::{Broken, Condition, Setup};
use crate::limit::{Breaker, Budget, breaker::Pass};
use serde::Serialize;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The health of one route.
pub(crate) struct RouteHealth {
    route: Arc<Route>,
    pub(crate) policy: RetryPolicy,
    pub(crate) accounts: Accounts,
    /// One for each upstream, if `circuit_breaker` is set or another upstream can take over.
    circuits: Vec<Arc<Breaker>>,
    /// Which of the upstreams pass their health checks.
    checked: Arc<Checked>,
    /// The weighted round robin, if upstreams have weights.
    turns: Mutex<Turns>,
    pub(crate) budget: Arc<Budget>,
}

/// The health of a route, for the status page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteHealthView {
    /// Its upstreams, in the order of the configuration.
    pub upstreams: Vec<UpstreamView>,
    /// Its accounts, in the order of the configuration.
    pub accounts: Vec<AccountView>,
}

/// The health of an upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamView {
    /// Host and port.
    pub authority: String,
    /// `closed`, `open` or `half_open`; none where there is no other upstream and no `circuit_breaker`.
    pub circuit: Option<&'static str>,
    /// Whether it passes its health checks; none without health checks.
    pub healthy: Option<bool>,
}

/// An upstream that was chosen.
pub(crate) struct Chosen {
    pub(crate) upstream: usize,
    /// To report the outcome to; none if nothing counts it.
    pub(crate) pass: Option<UpstreamPass>,
}

/// A request to an upstream. Dropped without an outcome, it counts as neither success nor failure.
pub(crate) struct UpstreamPass {
    pass: Pass,
    /// Without `circuit_breaker`, only failures to connect count.
    passive: bool,
}

/// The circuit breaker of an upstream without `circuit_breaker`, which only skips it while it cannot be reached and another one
/// can take over.
const PASSIVE: CircuitBreaker =
    CircuitBreaker { failures: 3, window: Duration::from_secs(30), open: Duration::from_secs(5) };

impl fmt::Debug for RouteHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteHealth").field("route", &self.route.name).finish_non_exhaustive()
    }
}

impl RouteHealth {
    /// The health of a route, with its state `before`, and the state of its account in `others`, which share that account; none
    /// when there is nothing to remember.
    pub(crate) fn of(
        route: &Arc<Route>,
        before: Option<&RouteHealth>,
        others: &[Arc<RouteHealth>],
        now: Instant,
    ) -> Option<Arc<RouteHealth>> {
        let one_way = route.upstreams.len() <= 1 && route.credentials.len() <= 1;
        if one_way && route.retry.is_none() && route.circuit_breaker.is_none() && route.health.is_none() {
            return None;
        }
        let policy = RetryPolicy::of(route);
        let budget =
            before.map_or_else(|| Arc::new(Budget::new(policy.budget, now)), |before| Arc::clone(&before.budget));
        budget.reconfigure(policy.budget);
        let passive = (route.upstreams.len() > 1).then_some(PASSIVE);
        let breaker = route.circuit_breaker.or(passive);
        let circuits = breaker.map_or_else(Vec::new, |breaker| circuits(route, breaker, before));
        Some(Arc::new(RouteHealth {
            policy,
            accounts: accounts(route, before, others),
            circuits,
            checked: Arc::new(checked(route, before)),
            turns: Mutex::new(Turns::new(&route.weights)),
            budget,
            route: Arc::clone(route),
        }))
    }

    /// Whether a route shares an account with this one.
    pub(crate) fn shares_account(&self, route: &Route) -> bool {
        let name = |route: &Route| route.account.as_ref().map(|account| account.name.clone());
        route.account.is_some() && name(&self.route) == name(route)
    }

    /// The number of upstreams.
    pub(crate) fn upstreams(&self) -> usize {
        self.route.upstreams.len()
    }

    /// The first usable upstream, searching from this one on and wrapping around; none of those in `tried`, as bits.
    ///
    /// # Errors
    /// How long until one is usable, when the circuits that the operator configured are all open.
    pub(crate) fn choose(&self, from: usize, tried: u64, now: Instant) -> Result<Chosen, Duration> {
        let count = self.upstreams().max(1);
        let passive = self.route.circuit_breaker.is_none();
        let untried = |index: &usize| tried & bit(*index) == 0;
        let places = || (from..from + count).map(|index| index % count).filter(untried);
        // Upstreams that fail their health checks come last, since the checks may be wrong.
        let healthy = places().filter(|index| self.checked.passes(*index));
        let others = places().filter(|index| !self.checked.passes(*index));
        let (mut wait, mut first) = (Duration::MAX, None);
        for upstream in healthy.chain(others) {
            let Some(circuit) = self.circuits.get(upstream) else { return Ok(Chosen { upstream, pass: None }) };
            match circuit.admit(now) {
                Ok(pass) => return Ok(Chosen { upstream, pass: Some(UpstreamPass { pass, passive }) }),
                Err(Broken { remaining }) => {
                    wait = wait.min(remaining);
                    let _ = first.get_or_insert((upstream, circuit));
                }
            }
        }
        // Without `circuit_breaker` no request is rejected: when no upstream can be reached, each is tried, and the first that
        // responds is used again.
        let tried = |(upstream, circuit): (usize, &Arc<Breaker>)| {
            let pass = UpstreamPass { pass: circuit.admit_regardless(), passive };
            Chosen { upstream, pass: Some(pass) }
        };
        first.filter(|_| passive).map(tried).ok_or(wait)
    }

    /// The first upstream for the next request: by weight among the usable ones; without weights the first.
    pub(crate) fn first(&self, now: Instant) -> usize {
        if self.route.weights.is_empty() {
            return 0;
        }
        let usable = |index: &usize| self.checked.passes(*index) && !self.is_open(*index, now);
        let usable = (0..self.upstreams()).filter(usable).fold(0, |set, index| set | bit(index));
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).next(&self.route.weights, usable)
    }

    /// The results of the health checks.
    pub(crate) fn checked(&self) -> Arc<Checked> {
        Arc::clone(&self.checked)
    }

    /// The circuit of an upstream.
    pub(crate) fn circuit(&self, upstream: usize) -> Option<&Arc<Breaker>> {
        self.circuits.get(upstream)
    }

    /// Whether the next request is a probe that others wait for.
    pub(crate) fn probes_next(&self, now: Instant) -> bool {
        self.circuits.iter().any(|circuit| circuit.condition(now) == Condition::HalfOpen)
    }

    /// Whether the circuit of an upstream is open.
    pub(crate) fn is_open(&self, upstream: usize, now: Instant) -> bool {
        self.circuits.get(upstream).is_some_and(|circuit| circuit.condition(now) != Condition::Closed)
    }

    /// The state for the status page.
    pub(crate) fn view(&self, now: Instant) -> RouteHealthView {
        let circuit = |index: usize| self.circuits.get(index).map(|circuit| circuit.condition(now).as_str());
        let upstreams = self.route.upstreams.iter().enumerate();
        RouteHealthView {
            upstreams: upstreams
                .map(|(index, upstream)| UpstreamView {
                    authority: upstream.authority.to_string(),
                    circuit: circuit(index),
                    healthy: self.route.health.as_ref().map(|_| self.checked.passes(index)),
                })
                .collect(),
            accounts: self.accounts.view(now),
        }
    }
}

impl UpstreamPass {
    /// Records the outcome of the request: a response that is not a failure, or this error. An error of the client's or of this
    /// gateway says nothing about the upstream.
    pub(crate) fn ended(self, error: Option<(Code, Origin, Option<Fault>)>, now: Instant) {
        match error {
            None => self.pass.succeeded(),
            Some((code, origin, fault)) if is_broken(code, origin) => {
                if !self.passive || fault.is_some_and(was_never_sent) {
                    self.pass.failed(now);
                } else {
                    self.pass.succeeded();
                }
            }
            Some((_, Origin::Provider, _)) => self.pass.succeeded(),
            Some(_) => {}
        }
    }

    /// The head of a response has arrived, and its end is still to be reported; none when the response closed the circuit, which
    /// needs no more.
    pub(crate) fn begun(self) -> Option<UpstreamPass> {
        if self.pass.closes() {
            self.pass.succeeded();
            return None;
        }
        Some(self)
    }
}

/// The results of the health checks; a new upstream counts as healthy until there are any.
fn checked(route: &Route, before: Option<&RouteHealth>) -> Checked {
    let known = before.filter(|before| before.route.health.is_some() && route.health.is_some());
    Checked::new(route.upstreams.iter().map(|upstream| {
        known.is_none_or(|before| {
            let at = before.route.upstreams.iter().position(|other| other == upstream);
            at.is_none_or(|at| before.checked.passes(at))
        })
    }))
}

fn circuits(route: &Route, breaker: CircuitBreaker, before: Option<&RouteHealth>) -> Vec<Arc<Breaker>> {
    let CircuitBreaker { failures, window, open } = breaker;
    let setup = Setup { failures, window, open };
    let mut circuits = Vec::with_capacity(route.upstreams.len());
    for upstream in &route.upstreams {
        let kept = before.and_then(|before| {
            let at = before.route.upstreams.iter().position(|other| other == upstream)?;
            before.circuits.get(at)
        });
        circuits.push(match kept {
            Some(kept) => {
                kept.reconfigure(setup.clone());
                Arc::clone(kept)
            }
            None => Breaker::new(setup.clone()),
        });
    }
    circuits
}

/// The state that another route has takes precedence: all routes that share an account must agree.
fn accounts(route: &Route, before: Option<&RouteHealth>, others: &[Arc<RouteHealth>]) -> Accounts {
    Accounts::new(route.credentials.iter().map(|credentials| {
        let kept = others.iter().map(|other| &**other).chain(before).find_map(|before| {
            let mut others = before.route.credentials.iter();
            let at = others.position(|other| other.value.reveal() == credentials.value.reveal())?;
            before.accounts.get(at)
        });
        kept.map(Arc::clone).unwrap_or_default()
    }))
}

#[cfg(test)]
mod tests;
