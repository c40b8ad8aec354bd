//! What the status page shows of each route: its recent traffic, and its current state.

use crate::config::types;
use crate::proxy::limits::LimitView;
use crate::proxy::{RouteHealthView, State};
use crate::telemetry::histogram::Counts;
use crate::telemetry::metrics::Totals;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// One route.
#[derive(Serialize)]
pub(super) struct Route<'a> {
    name: &'a str,
    provider: &'a str,
    /// Its configuration; none for a route that has been removed, and for requests that matched no route.
    configured: Option<Configured<'a>>,
    /// The health of its upstreams and accounts; none when there is nothing to choose from or to retry.
    health: Option<RouteHealthView>,
    /// Its limits.
    limits: Option<LimitView>,
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
    /// Host and path that clients use.
    at: String,
    upstreams: Vec<&'a str>,
}

/// How many configured routes are shown even without traffic.
const SILENT: usize = 100;

/// The configured routes in their order, then removed routes that had traffic. Of a long configuration, routes without traffic
/// are only counted; the count is returned too.
pub(super) fn rows<'a>(state: &'a State, totals: &'a [Totals], before: &[Totals]) -> (Vec<Route<'a>>, usize) {
    let all = &state.config.routes;
    let mut limits: BTreeMap<String, LimitView> =
        state.shared.limits.view(Instant::now()).into_iter().map(|limits| (limits.route.clone(), limits)).collect();
    let configured = all.iter().filter_map(|route| {
        let health = state.shared.health_view(&route.name);
        let totals = Totals::find(totals, &route.name, &route.provider)?;
        Some(Route { health, limits: limits.remove(&route.name), ..row(totals, Some(route), before) })
    });
    let mut rows: Vec<Route<'_>> = configured.filter(|row| all.len() <= SILENT || row.is_active()).collect();
    let silent = all.len() - rows.len();
    let names: BTreeSet<(&str, &str)> = all.iter().map(|route| (&*route.name, &*route.provider)).collect();
    let gone = totals.iter().filter(|totals| !names.contains(&(&*totals.route, &*totals.provider)));
    rows.extend(gone.map(|totals| row(totals, None, before)).filter(Route::is_active));
    (rows, silent)
}

fn row<'a>(now: &'a Totals, route: Option<&'a types::Route>, before: &[Totals]) -> Route<'a> {
    let before = Totals::find(before, &now.route, &now.provider);
    let errors = now.errors.iter().map(|(code, count)| {
        let known = before.and_then(|before| before.errors.iter().find(|(known, _)| known == code));
        (code.as_str(), count.saturating_sub(known.map_or(0, |(_, count)| *count)))
    });
    Route {
        name: &now.route,
        provider: &now.provider,
        configured: route.map(configured),
        health: None,
        limits: None,
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
    fn is_active(&self) -> bool {
        self.requests > 0 || self.in_flight > 0 || self.sockets > 0 || !self.errors.is_empty()
    }
}
