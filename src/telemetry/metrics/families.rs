//! Writes the metrics of routes, one family after the other.

use super::labels::{Direction, Initiator, Limit, Transport};
use super::shard::Shard;
use super::slots::{CLOSE_CODES, METHODS, PRIORITIES, STATUS_SLOTS, close_slot, error_slot, status_label};
use super::tally::Tally;
use super::{Exemplar, RouteMetrics, TenantMetrics, by_name, lock};
use crate::canon::{Code, Origin};
use crate::limit::breaker::Condition;
use crate::limit::{Bounds, GateStats};
use crate::telemetry::connections::Open;
use crate::telemetry::exposition::{Exposition, Kind, Labels};
use crate::telemetry::histogram::{self, Histogram};
use crate::telemetry::redials::Redial;
use crate::telemetry::retries::Retry;
use crate::telemetry::upstreams::{Outcome, Shown};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn errors(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let _ = out.family("speechgate_errors_total", Kind::Counter, "Errors, by what they mean.");
    for route in routes {
        let own = route.shards.iter().map(|shard| &shard.tally).collect::<Vec<_>>();
        errors_of(out, route, None, &own, &route.exemplars.all());
        for tenant in route.every_tenant() {
            let tallies = tenant.shards.iter().collect::<Vec<_>>();
            errors_of(out, route, Some(&tenant.tenant), &tallies, &tenant.exemplars.all());
        }
    }
    let _ = out.family(
        "speechgate_upstream_errors_total",
        Kind::Counter,
        "Errors of providers, by the provider's own code.",
    );
    for route in routes {
        for (code, labels) in lock(&route.upstream_errors).iter() {
            for (label, count) in labels {
                let [name, provider] = route.labels();
                counter(out, &[name, provider, ("upstream_code", label), ("code", code.as_str())], *count);
            }
        }
    }
    let _ = out.family(
        "speechgate_unmapped_errors_total",
        Kind::Counter,
        "Errors of providers with a code that no profile knows.",
    );
    for route in routes {
        let _ = out.sample(&route.labels(), route.unmapped.load(Relaxed));
    }
}

/// Writes the errors of a route: those of one tenant, or those without a tenant.
fn errors_of(
    out: &mut Exposition<'_>,
    route: &RouteMetrics,
    tenant: Option<&str>,
    tallies: &[&Tally],
    exemplars: &BTreeMap<usize, Exemplar>,
) {
    if tallies.iter().all(|tally| tally.errors().is_none()) {
        return;
    }
    for row in Code::ROWS {
        for origin in Origin::ALL {
            for transport in Transport::ALL {
                let slot = error_slot(row.code.index(), origin as usize, transport as usize);
                let labels = [
                    ("route", &*route.route),
                    ("provider", &route.provider),
                    ("type", row.kind.as_str()),
                    ("code", row.name),
                    ("origin", origin.as_str()),
                    ("transport", transport.as_str()),
                    ("tenant", tenant.unwrap_or_default()),
                ];
                let labels = if tenant.is_some() { &labels[..] } else { &labels[..6] };
                let total = sum(tallies.iter().filter_map(|tally| tally.errors()), slot);
                if total > 0 {
                    let _ = out.traced(labels, total, exemplars.get(&slot));
                }
            }
        }
    }
}

/// Writes the requests of a route, in the same way.
fn requests_of(out: &mut Exposition<'_>, route: &RouteMetrics, tenant: Option<&str>, tallies: &[&Tally]) {
    for (index, method) in METHODS.into_iter().enumerate() {
        let rows: Vec<&[AtomicU64]> = tallies.iter().filter_map(|tally| tally.requests(index)).collect();
        for slot in (0..STATUS_SLOTS).filter(|_| !rows.is_empty()) {
            let total = sum(rows.iter().copied(), slot);
            if total > 0 {
                let status = status_label(slot);
                let [name, provider] = route.labels();
                let (method, status) = (("method", method), ("status", &*status));
                let labels = [name, provider, method, status, ("tenant", tenant.unwrap_or_default())];
                let _ = out.sample(if tenant.is_some() { &labels[..] } else { &labels[..4] }, total);
            }
        }
    }
}

fn sum<'r>(rows: impl Iterator<Item = &'r [AtomicU64]>, slot: usize) -> u64 {
    rows.map(|row| row[slot].load(Relaxed)).sum()
}

pub(super) fn requests(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let _ = out.family(
        "speechgate_requests_total",
        Kind::Counter,
        "Requests that have ended, by the status that was sent.",
    );
    for route in routes {
        let own = route.shards.iter().map(|shard| &shard.tally).collect::<Vec<_>>();
        requests_of(out, route, None, &own);
        for tenant in route.every_tenant() {
            requests_of(out, route, Some(&tenant.tenant), &tenant.shards.iter().collect::<Vec<_>>());
        }
    }
    let _ = out.family("speechgate_requests_in_flight", Kind::Gauge, "Requests that have not ended.");
    for (name, routes) in by_name(routes) {
        let shards = routes.iter().flat_map(|route| &route.shards);
        let _ = out.sample(&[("route", name)], shards.map(|shard| shard.in_flight.load(Relaxed)).sum::<i64>());
    }
}

pub(super) fn times(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    type Pick = fn(&Shard) -> &Histogram;
    let families: [(&'static str, &'static str, Pick); 3] = [
        ("speechgate_request_duration_seconds", "From a request's head to the last byte of its answer.", |shard| {
            &shard.duration
        }),
        (
            "speechgate_upstream_duration_seconds",
            "From sending a request to the last byte from the provider.",
            |shard| &shard.upstream,
        ),
        ("speechgate_time_to_first_byte_seconds", "From a request's head to the first byte of its answer.", |shard| {
            &shard.first_byte
        }),
    ];
    for (name, help, pick) in families {
        let _ = out.family(name, Kind::Histogram, help);
        for route in routes {
            histogram::write(out, &route.labels(), route.shards.iter().map(pick));
        }
    }
    let help = "What the gateway itself took before it sent a request upstream.";
    let _ = out.family("speechgate_overhead_seconds", Kind::Histogram, help);
    for (name, routes) in by_name(routes) {
        let shards = routes.iter().flat_map(|route| &route.shards);
        histogram::write(out, &[("route", name)], shards.map(|shard| &shard.overhead));
    }
}

pub(super) fn websockets(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let shards = |routes: &[Arc<RouteMetrics>], value: &dyn Fn(&Shard) -> u64| -> u64 {
        routes.iter().flat_map(|route| &route.shards).map(value).sum()
    };
    let _ = out.family("speechgate_websockets_open", Kind::Gauge, "WebSockets that are open.");
    for (name, routes) in by_name(routes) {
        let shards = routes.iter().flat_map(|route| &route.shards);
        let _ = out.sample(&[("route", name)], shards.map(|shard| shard.websockets.load(Relaxed)).sum::<i64>());
    }
    type Pick = fn(&Shard) -> &[AtomicU64; 2];
    let families: [(&'static str, &'static str, Pick); 2] = [
        ("speechgate_websocket_messages_total", "WebSocket messages.", |shard| &shard.websocket_messages),
        ("speechgate_websocket_bytes_total", "Bytes of WebSocket frames.", |shard| &shard.websocket_bytes),
    ];
    for (family, help, pick) in families {
        let _ = out.family(family, Kind::Counter, help);
        for (name, routes) in by_name(routes) {
            for direction in Direction::ALL {
                let total = shards(routes, &|shard| pick(shard)[direction as usize].load(Relaxed));
                counter(out, &[("route", name), ("direction", direction.as_str())], total);
            }
        }
    }
    let help = "WebSockets that were closed, by who began and the code; 1006 is an end without a close.";
    let _ = out.family("speechgate_websocket_closes_total", Kind::Counter, help);
    for (name, routes) in by_name(routes) {
        for (index, code) in CLOSE_CODES.into_iter().enumerate() {
            for initiator in Initiator::ALL {
                let slot = close_slot(index, initiator as usize);
                let total = shards(routes, &|shard| {
                    shard.websocket_closes.get().map_or(0, |closes| closes[slot].load(Relaxed))
                });
                let labels = [("route", name), ("code", code), ("initiator", initiator.as_str())];
                counter(out, &labels, total);
            }
        }
    }
}

/// The places in the list of families of those that have series of tenants.
const IN_USE: usize = 1;
const QUEUED: usize = 2;

pub(super) fn limits(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    // A route whose provider was changed has the same slots in several entries.
    let slots = |routes: &[Arc<RouteMetrics>]| routes.iter().find_map(|route| lock(&route.slots).as_ref()?.upgrade());
    let stats: Vec<_> = by_name(routes)
        .filter_map(|(name, routes)| Some((name, slots(routes)?)))
        .map(|(name, slots)| (name, slots.slot_stats()))
        .collect();
    type Pick = fn(&(GateStats, Bounds)) -> u32;
    let families: [(&'static str, &'static str, Pick); 6] = [
        (
            "speechgate_concurrency_limit",
            "Calls that may run at one time, by the configuration and what was learned.",
            |(now, _)| now.limit,
        ),
        ("speechgate_concurrency_in_use", "Calls that run and count towards the limit.", |(now, _)| now.in_use),
        ("speechgate_concurrency_queued", "Calls that wait for a slot.", |(now, _)| now.queued),
        ("speechgate_concurrency_max", "Calls that may run at one time by the configuration.", |(_, most)| most.max),
        (
            "speechgate_concurrency_learned",
            "Calls that may run at one time, as learned from the provider's answers.",
            |(_, most)| most.learned,
        ),
        ("speechgate_concurrency_queue_max", "Calls that may wait for a slot.", |(_, most)| most.queue),
    ];
    let tenants: BTreeMap<&str, TenantSlots> = by_name(routes).map(|(name, all)| (name, slots_of(all))).collect();
    for (index, (name, help, pick)) in families.into_iter().enumerate() {
        let _ = out.family(name, Kind::Gauge, help);
        for (route, stats) in &stats {
            // Calls of tenants are counted by themselves, and without this label are those of whoever is none.
            let of_tenants = tenants.get(route).filter(|_| index == IN_USE || index == QUEUED);
            let each = of_tenants
                .into_iter()
                .flatten()
                .map(|(tenant, (held, waiting))| (&**tenant, if index == IN_USE { *held } else { *waiting }));
            let sum = each.clone().map(|(_, count)| count).fold(0, u32::saturating_add);
            let _ = out.sample(&[("route", route)], pick(stats).saturating_sub(sum));
            for (tenant, count) in each {
                let _ = out.sample(&[("route", route), ("tenant", tenant)], count);
            }
        }
    }
    waits(out, routes);
    let help = "Requests that were refused by a limit of the gateway.";
    let _ = out.family("speechgate_limit_rejections_total", Kind::Counter, help);
    for (name, routes) in by_name(routes) {
        for limit in Limit::ALL {
            let total = routes.iter().map(|route| route.rejections[limit as usize].load(Relaxed)).sum();
            counter(out, &[("route", name), ("limit", limit.as_str())], total);
        }
    }
}

/// The slots that each tenant of a route holds, and those that it waits for.
type TenantSlots = BTreeMap<Arc<str>, (u32, u32)>;

/// Those of the tenants that have asked for any.
fn slots_of(routes: &[Arc<RouteMetrics>]) -> TenantSlots {
    let mut all = TenantSlots::new();
    for tenant in routes.iter().flat_map(|route| route.every_tenant()).filter(|tenant| tenant.has_asked()) {
        let (held, waiting) = tenant.slots();
        let sum = all.entry(Arc::clone(&tenant.tenant)).or_default();
        *sum = (sum.0.saturating_add(held), sum.1.saturating_add(waiting));
    }
    all
}

/// How long calls waited: those of each tenant, and those of whoever is none.
fn waits(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let help = "How long calls waited for a slot, including those that left without one.";
    let _ = out.family("speechgate_queue_wait_seconds", Kind::Histogram, help);
    for (name, routes) in by_name(routes) {
        let mut tenants: BTreeMap<Arc<str>, Vec<Arc<TenantMetrics>>> = BTreeMap::new();
        for tenant in routes.iter().flat_map(|route| route.every_tenant()) {
            tenants.entry(Arc::clone(&tenant.tenant)).or_default().push(tenant);
        }
        let own: Vec<&Tally> = routes.iter().flat_map(|route| &route.shards).map(|shard| &shard.tally).collect();
        let of_tenants = tenants
            .iter()
            .map(|(tenant, all)| (Some(&**tenant), all.iter().flat_map(|one| &one.shards).collect::<Vec<&Tally>>()));
        for (tenant, tallies) in std::iter::once((None, own)).chain(of_tenants) {
            let waits: Vec<_> = tallies.iter().filter_map(|tally| tally.waits()).collect();
            for (priority, label) in PRIORITIES {
                let labels = [("route", name), ("priority", label), ("tenant", tenant.unwrap_or_default())];
                let labels = if tenant.is_some() { &labels[..] } else { &labels[..2] };
                histogram::write(out, labels, waits.iter().map(|all| &all[priority as usize]));
            }
        }
    }
}

pub(super) fn retries(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let help =
        "Retries that the retry policy of a route asked for, by what became of them; the last three were not made.";
    let _ = out.family("speechgate_retries_total", Kind::Counter, help);
    for (name, routes) in by_name(routes) {
        for outcome in Retry::ALL {
            let total = routes.iter().map(|route| route.retries.total(outcome)).sum();
            counter(out, &[("route", name), ("outcome", outcome.as_str())], total);
        }
    }
}

pub(super) fn redials(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let help = "Sockets of providers that ended between generations and were dialled again, by what became of it.";
    let _ = out.family("speechgate_socket_redials_total", Kind::Counter, help);
    for (name, routes) in by_name(routes) {
        for outcome in Redial::ALL {
            let total = routes.iter().map(|route| route.redials.total(outcome)).sum();
            counter(out, &[("route", name), ("outcome", outcome.as_str())], total);
        }
    }
}

/// Writes a counter unless it is zero.
fn counter(out: &mut Exposition<'_>, labels: &Labels<'_>, total: u64) {
    if total > 0 {
        let _ = out.sample(labels, total);
    }
}

pub(super) fn info(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let help = "Always 1; whose key requests of a route go out with: the route's own, or the client's; and the account that it names.";
    let _ = out.family("speechgate_route_info", Kind::Gauge, help);
    for route in routes.iter().filter(|route| !route.route.is_empty()) {
        let whose = if route.lends.load(Relaxed) { "route" } else { "client" };
        let [name, provider] = route.labels();
        let account = lock(&route.account);
        let labels = [name, provider, ("credentials", whose), ("account", account.as_deref().unwrap_or_default())];
        // A label without a value is omitted.
        let _ = out.sample(labels.get(..if account.is_some() { 4 } else { 3 }).unwrap_or_default(), 1);
    }
}

pub(super) fn upstreams(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let of_route = |routes: &[Arc<RouteMetrics>]| {
        let mut upstreams: BTreeMap<String, Shown> = BTreeMap::new();
        for shown in routes.iter().flat_map(|route| route.upstreams.shown()) {
            let Some(entry) = upstreams.get_mut(&shown.name) else {
                let _ = upstreams.insert(shown.name.clone(), shown);
                continue;
            };
            entry.up |= shown.up;
            entry.circuit = entry.circuit.or(shown.circuit);
            entry.outcomes.iter_mut().zip(shown.outcomes).for_each(|(total, more)| *total += more);
        }
        upstreams
    };
    let all: Vec<_> = by_name(routes).map(|(route, routes)| (route, of_route(routes))).collect();
    let help = "Whether an upstream may be used: it was reached when it was last tried, its circuit is closed, and it passes its health checks.";
    let _ = out.family("speechgate_upstream_up", Kind::Gauge, help);
    for (route, upstreams) in &all {
        for (name, Shown { up, .. }) in upstreams {
            let _ = out.sample(&[("route", route), ("upstream", name)], u64::from(*up));
        }
    }
    connections(out, routes);
    let help = "The state of an upstream's circuit: 1 for the one that it is in.";
    let _ = out.family("speechgate_upstream_circuit", Kind::Gauge, help);
    for (route, upstreams) in &all {
        for (name, Shown { circuit, .. }) in upstreams {
            for state in circuit.iter().flat_map(|_| [Condition::Closed, Condition::Open, Condition::HalfOpen]) {
                let labels = [("route", *route), ("upstream", name.as_str()), ("state", state.as_str())];
                let _ = out.sample(&labels, u64::from(*circuit == Some(state)));
            }
        }
    }
    let help = "Requests that were sent to an upstream, each attempt by itself, by how they ended.";
    let _ = out.family("speechgate_upstream_requests_total", Kind::Counter, help);
    for (route, upstreams) in &all {
        for (name, Shown { outcomes, .. }) in upstreams {
            for outcome in Outcome::ALL {
                let labels = [("route", *route), ("upstream", name.as_str()), ("outcome", outcome.as_str())];
                let _ = out.sample(&labels, outcomes[outcome as usize]);
            }
        }
    }
}

fn connections(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let help = "Connections to the upstreams of a route: idle ones wait for their next call, active ones carry calls or are sockets, warm ones are ready and have carried nothing yet, spare ones would be WebSockets that wait for a client: none are kept yet. What routes share is shown for each.";
    let _ = out.family("speechgate_upstream_connections", Kind::Gauge, help);
    for (route, routes) in by_name(routes).filter(|(route, _)| !route.is_empty()) {
        let spares = routes.iter().map(|route| route.connections.spares()).sum();
        let Open { idle, active, warm } = routes.iter().find_map(|route| route.connections.open()).unwrap_or_default();
        for (state, count) in [("idle", idle), ("active", active), ("warm", warm), ("spare", spares)] {
            let _ = out.sample(&[("route", route), ("state", state)], count);
        }
    }
}
