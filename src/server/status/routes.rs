//! What the status page says of each route: its traffic of the last minutes, and what it is doing now.

use crate::config::types;
use crate::proxy::{StandingView, State};
use crate::telemetry::histogram::Counts;
use crate::telemetry::history::earlier;
use crate::telemetry::metrics::Totals;
use serde::Serialize;
use std::time::Duration;

/// One route.
#[derive(Serialize)]
pub(super) struct Route<'a> {
    name: &'a str,
    provider: &'a str,
    /// What is configured; none for a route that is not any more, and for requests that no route took.
    configured: Option<Configured<'a>>,
    /// How its upstreams and accounts stand; none when it has nothing to choose or to retry.
    standing: Option<StandingView>,
    in_flight: i64,
    sockets: i64,
    /// Requests that ended within the window.
    requests: u64,
    /// Errors in the window by code.
    errors: Vec<(&'static str, u64)>,
    /// Median and 95th percentile of whole requests, then of the time to the first byte, in seconds.
    duration: [Option<f64>; 2],
    first_byte: [Option<f64>; 2],
}

#[derive(Serialize)]
struct Configured<'a> {
    /// Host and path that callers use.
    at: String,
    upstreams: Vec<&'a str>,
}

/// The routes of the configuration in its order, then those that are gone but not silent.
pub(super) fn rows<'a>(state: &'a State, totals: &'a [Totals], before: &[Totals]) -> Vec<Route<'a>> {
    let of = |route: &types::Route| totals.iter().find(|totals| is_of(totals, route));
    let configured = state.config.routes.iter().filter_map(|route| {
        let standing = state.shared.standing_view(&route.name);
        Some(Route { standing, ..row(of(route)?, Some(route), before) })
    });
    let gone = totals.iter().filter(|totals| !state.config.routes.iter().any(|route| is_of(totals, route)));
    let speaking = gone.map(|totals| row(totals, None, before)).filter(Route::speaks);
    configured.chain(speaking).collect()
}

fn is_of(totals: &Totals, route: &types::Route) -> bool {
    *totals.route == *route.name && *totals.provider == *route.provider
}

fn row<'a>(now: &'a Totals, route: Option<&'a types::Route>, before: &[Totals]) -> Route<'a> {
    let before = earlier(before, now);
    let errors = now.errors.iter().map(|(code, count)| {
        let known = before.and_then(|before| before.errors.iter().find(|(known, _)| known == code));
        (code.as_str(), count.saturating_sub(known.map_or(0, |(_, count)| *count)))
    });
    Route {
        name: &now.route,
        provider: &now.provider,
        configured: route.map(configured),
        standing: None,
        in_flight: now.in_flight,
        sockets: now.sockets,
        requests: now.requests.saturating_sub(before.map_or(0, |before| before.requests)),
        errors: errors.filter(|(_, count)| *count > 0).collect(),
        duration: quantiles(&now.duration, before.map(|before| &before.duration)),
        first_byte: quantiles(&now.first_byte, before.map(|before| &before.first_byte)),
    }
}

fn configured(route: &types::Route) -> Configured<'_> {
    let path = if route.path.is_empty() { "/" } else { &route.path };
    Configured {
        at: format!("{}{path}", route.host.as_deref().unwrap_or_default()),
        upstreams: route.upstreams.iter().map(|upstream| upstream.authority.as_str()).collect(),
    }
}

fn quantiles(now: &Counts, before: Option<&Counts>) -> [Option<f64>; 2] {
    let counted = before.map(|before| now.since(before));
    [0.5, 0.95].map(|share| counted.as_ref().unwrap_or(now).quantile(share).as_ref().map(Duration::as_secs_f64))
}

impl Route<'_> {
    fn speaks(&self) -> bool {
        self.requests > 0 || self.in_flight > 0 || self.sockets > 0 || !self.errors.is_empty()
    }
}
