//! The metrics of a route's upstreams: which can be reached, and how requests to them ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// How a request to an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer that is no failure of the upstream's own.
    Success,
    /// With a failure of its own, or without an answer.
    Failure,
    /// There was no connection.
    Unreachable,
}

impl Outcome {
    /// All, in the order of their index.
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
    up: AtomicBool,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

/// Those of a route, in the order of the configuration that is in force.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<Vec<Arc<UpstreamMetrics>>>);

impl UpstreamMetrics {
    /// A request to it has ended.
    pub fn ended(&self, outcome: Outcome) {
        let _ = self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        self.is_up(outcome != Outcome::Unreachable);
    }

    /// Whether it may be used.
    pub fn is_up(&self, up: bool) {
        if self.up.load(Relaxed) != up {
            self.up.store(up, Relaxed);
        }
    }
}

impl Upstreams {
    /// Shows these from now on, with what was counted of those that were shown before.
    pub(super) fn show(&self, names: impl Iterator<Item = String>) -> Vec<Arc<UpstreamMetrics>> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = |name: String| {
            let kept = shown.iter().find(|kept| kept.name == name).map(Arc::clone);
            let new = || UpstreamMetrics { name, up: AtomicBool::new(true), outcomes: Default::default() };
            kept.unwrap_or_else(|| Arc::new(new()))
        };
        let now: Vec<_> = names.map(metrics).collect();
        shown.clone_from(&now);
        now
    }

    /// Each that is shown: its name, whether it may be used, and how many requests had each outcome.
    pub(super) fn totals(&self) -> Vec<(String, bool, [u64; Outcome::ALL.len()])> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = |one: &Arc<UpstreamMetrics>| {
            (
                one.name.clone(),
                one.up.load(Relaxed),
                Outcome::ALL.map(|outcome| one.outcomes[outcome as usize].load(Relaxed)),
            )
        };
        shown.iter().map(totals).collect()
    }
}
