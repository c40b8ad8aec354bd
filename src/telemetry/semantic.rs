//! `http.server.request.duration` of OpenTelemetry's semantic conventions: exported over OTLP only, and counted only if it is
//! exported.

use super::exposition::{Exposition, Kind};
use super::histogram::{self, Histogram, SEMANTIC_BOUNDS};
use crate::canon::Code;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most label sets of a route and worker; further ones are counted in one overflow series.
const MOST: usize = 1000;

/// The labels of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kinds {
    /// The method's label.
    pub method: &'static str,
    /// Whether the client's connection uses TLS.
    pub tls: bool,
    /// The status that was sent.
    pub status: u16,
    /// What went wrong.
    pub error: Option<Code>,
}

/// The series of one worker. Only that worker takes the lock, except during an export.
#[derive(Debug, Default)]
pub(super) struct Semantic(Mutex<Series>);

#[derive(Debug, Default)]
struct Series {
    known: BTreeMap<Kinds, Histogram>,
    beyond: Option<Histogram>,
}

impl Semantic {
    /// Counts a request.
    pub(super) fn observe(&self, kinds: Kinds, duration: Duration) {
        let new = || Histogram::new(SEMANTIC_BOUNDS);
        let mut series = self.lock();
        let full = series.known.len() >= MOST && !series.known.contains_key(&kinds);
        let histogram = match full {
            true => series.beyond.get_or_insert_with(new),
            false => series.known.entry(kinds).or_insert_with(new),
        };
        histogram.observe(duration);
    }

    fn lock(&self) -> MutexGuard<'_, Series> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins the family.
pub(super) fn family(out: &mut Exposition<'_>) {
    let help = "Duration of HTTP server requests.";
    let _ = out.family("http.server.request.duration", Kind::Histogram, help);
}

/// Writes one route's series, summed over all workers.
pub(super) fn write<'s>(
    out: &mut Exposition<'_>,
    [route, provider]: [(&str, &str); 2],
    workers: impl Iterator<Item = &'s Semantic> + Clone,
) {
    let locked: Vec<_> = workers.map(Semantic::lock).collect();
    let all: BTreeSet<Kinds> = locked.iter().flat_map(|series| series.known.keys().copied()).collect();
    let own = [("speechgate.route", route.1), ("speechgate.provider", provider.1)];
    for kinds in all {
        let status = kinds.status.to_string();
        let mut labels = vec![
            own[0],
            own[1],
            ("http.request.method", kinds.method),
            ("url.scheme", if kinds.tls { "https" } else { "http" }),
            ("http.response.status_code", &*status),
        ];
        labels.extend(kinds.error.map(|code| ("error.type", code.as_str())));
        histogram::write(out, &labels, locked.iter().filter_map(|series| series.known.get(&kinds)));
    }
    let beyond = locked.iter().filter_map(|series| series.beyond.as_ref());
    histogram::write(out, &[own[0], own[1], ("otel.metric.overflow", "true")], beyond);
}
