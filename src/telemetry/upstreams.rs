//! The metrics of a route's upstreams: which can be reached, and how requests to them ended.

use super::exposition::{Exposition, Kind};
use super::metrics::{RouteMetrics, by_name};
use std::collections::BTreeMap;
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
    const ALL: [Outcome; 3] = [Outcome::Success, Outcome::Failure, Outcome::Unreachable];

    const fn as_str(self) -> &'static str {
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

impl RouteMetrics {
    /// Shows these upstreams from now on, with what was counted of those that were shown before.
    pub fn show_upstreams(&self, names: impl Iterator<Item = String>) -> Vec<Arc<UpstreamMetrics>> {
        let mut shown = self.upstreams.0.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = |name: String| {
            let kept = shown.iter().find(|kept| kept.name == name).map(Arc::clone);
            let new = || UpstreamMetrics { name, up: AtomicBool::new(true), outcomes: Default::default() };
            kept.unwrap_or_else(|| Arc::new(new()))
        };
        let now: Vec<_> = names.map(metrics).collect();
        shown.clone_from(&now);
        now
    }
}

pub(super) fn render(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let all: Vec<_> = by_name(routes)
        .map(|(route, routes)| {
            let mut upstreams: BTreeMap<String, (bool, [u64; 3])> = BTreeMap::new();
            for metrics in
                routes.iter().flat_map(|route| route.upstreams.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
            {
                let (up, totals) = upstreams.entry(metrics.name.clone()).or_insert((false, [0; 3]));
                *up |= metrics.up.load(Relaxed);
                for (total, outcome) in totals.iter_mut().zip(&metrics.outcomes) {
                    *total += outcome.load(Relaxed);
                }
            }
            (route, upstreams)
        })
        .collect();
    let help = "Whether an upstream may be used: it was reached when it was last tried, and its circuit is closed.";
    let _ = out.family("speechgate_upstream_up", Kind::Gauge, help);
    for (route, upstreams) in &all {
        for (name, (up, _)) in upstreams {
            let _ = out.sample(&[("route", route), ("upstream", name)], u64::from(*up));
        }
    }
    let help = "Requests that were sent to an upstream, each try by itself, by how they ended.";
    let _ = out.family("speechgate_upstream_requests_total", Kind::Counter, help);
    for (route, upstreams) in &all {
        for (name, (_, totals)) in upstreams {
            for outcome in Outcome::ALL {
                let labels = [("route", *route), ("upstream", name.as_str()), ("outcome", outcome.as_str())];
                let _ = out.sample(&labels, totals[outcome as usize]);
            }
        }
    }
}
