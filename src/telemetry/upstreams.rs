//! The metrics of a route's upstreams: whether they can be reached, and how requests to them ended.

use crate::limit::breaker::Condition;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// How a request to an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a response that is not a failure of the upstream's.
    Success,
    /// With a failure of the upstream's, or without a response.
    Failure,
    /// Without a connection.
    Unreachable,
}

impl Outcome {
    /// All, by index.
    pub(super) const ALL: [Outcome; 3] = [Outcome::Success, Outcome::Failure, Outcome::Unreachable];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Unreachable => "unreachable",
        }
    }
}

/// The metrics of one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    name: String,
    /// Whether the last attempt reached it, and its circuit was closed then.
    up: AtomicBool,
    /// Whether it passes its health checks; true without health checks.
    healthy: AtomicBool,
    circuit: Mutex<Option<Circuit>>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

/// The upstreams of a route, in the order of the current configuration.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<Vec<Arc<UpstreamMetrics>>>);

/// Reads the state of a circuit.
struct Circuit(Box<dyn Fn() -> Condition + Send + Sync>);

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Circuit")
    }
}

/// The state of one upstream.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    /// Whether it may be used.
    pub(super) up: bool,
    /// None if it has no circuit.
    pub(super) circuit: Option<Condition>,
    pub(super) outcomes: [u64; Outcome::ALL.len()],
}

impl UpstreamMetrics {
    /// The upstream as configured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets whether it passes its health checks.
    pub fn is_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Relaxed);
    }

    /// Sets where to read the state of its circuit; none when it no longer has one.
    pub fn has_circuit(&self, circuit: Option<Box<dyn Fn() -> Condition + Send + Sync>>) {
        *self.circuit.lock().unwrap_or_else(PoisonError::into_inner) = circuit.map(Circuit);
    }

    /// Counts a completed request to it.
    pub fn ended(&self, outcome: Outcome) {
        let _ = self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        self.is_up(outcome != Outcome::Unreachable);
    }

    /// Sets whether it may be used.
    pub fn is_up(&self, up: bool) {
        if self.up.load(Relaxed) != up {
            self.up.store(up, Relaxed);
        }
    }
}

impl Upstreams {
    /// Shows these upstreams from now on; ones that were shown before keep their counts.
    pub(super) fn show(&self, names: impl Iterator<Item = String>) -> Vec<Arc<UpstreamMetrics>> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = |name: String| {
            let kept = shown.iter().find(|kept| kept.name == name).map(Arc::clone);
            let new = || UpstreamMetrics {
                name,
                up: AtomicBool::new(true),
                healthy: AtomicBool::new(true),
                circuit: Mutex::default(),
                outcomes: Default::default(),
            };
            kept.unwrap_or_else(|| Arc::new(new()))
        };
        let now: Vec<_> = names.map(metrics).collect();
        shown.clone_from(&now);
        now
    }

    /// The state of every upstream that is shown.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shown = |one: &Arc<UpstreamMetrics>| Shown {
            name: one.name.clone(),
            up: one.up.load(Relaxed) && one.healthy.load(Relaxed),
            circuit: one.circuit.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|Circuit(ask)| ask()),
            outcomes: Outcome::ALL.map(|outcome| one.outcomes[outcome as usize].load(Relaxed)),
        };
        all.iter().map(shown).collect()
    }
}
