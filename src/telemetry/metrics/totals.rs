//! Snapshots of the metrics of each route, so that two moments can be compared.

use super::{Metrics, RouteMetrics, TenantMetrics, tally};
use crate::canon::Code;
use crate::telemetry::histogram::Counts;
use crate::telemetry::usage::Used;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The counters of one route at one moment.
#[derive(Clone, Debug)]
pub struct Totals {
    /// The route's name; empty for requests that matched no route.
    pub route: Arc<str>,
    /// Its provider.
    pub provider: Arc<str>,
    /// Completed requests.
    pub requests: u64,
    /// Requests in flight.
    pub in_flight: i64,
    /// Open WebSockets.
    pub sockets: i64,
    /// Number of errors by code, without zeros, in the order of the table of codes.
    pub errors: Vec<(Code, u64)>,
    /// From the request's head to the last byte of the response.
    pub duration: Counts,
    /// From the request's head to the first byte of the response.
    pub first_byte: Counts,
    /// What each of its tenants did, the silent ones left out, in the order of their names.
    pub tenants: Vec<TenantTotals>,
}

/// The counters of one tenant on one route at one moment.
#[derive(Clone, Debug)]
pub struct TenantTotals {
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// Requests that have ended.
    pub requests: u64,
    /// Errors of them.
    pub errors: u64,
    /// What was used at the provider.
    pub used: Used,
}

impl Metrics {
    /// The counters of every current or former route, ordered by name.
    #[must_use]
    pub fn totals(&self) -> Vec<Totals> {
        let routes: Vec<Arc<RouteMetrics>> =
            std::iter::once(&self.unrouted).chain(super::lock(&self.routes).values()).map(Arc::clone).collect();
        routes.iter().map(|route| route.totals()).collect()
    }
}

impl Totals {
    /// Whether anything has been counted or is in progress.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.requests > 0 || self.in_flight > 0 || self.sockets > 0 || !self.errors.is_empty()
    }

    /// The counters of one of its tenants.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> Option<&TenantTotals> {
        self.tenants.iter().find(|one| &*one.tenant == tenant)
    }

    /// The counters of a route among those of all; none when they are not there.
    #[must_use]
    pub fn find<'t>(all: &'t [Totals], route: &str, provider: &str) -> Option<&'t Totals> {
        let at = all.binary_search_by(|totals| (&*totals.route, &*totals.provider).cmp(&(route, provider)));
        all.get(at.ok()?)
    }
}

impl RouteMetrics {
    fn totals(&self) -> Totals {
        let duration = Counts::of(self.shards.iter().map(|shard| &shard.duration));
        Totals {
            route: Arc::from(&*self.route),
            provider: Arc::from(&*self.provider),
            requests: duration.total(),
            in_flight: self.shards.iter().map(|shard| shard.in_flight.load(Relaxed)).sum(),
            sockets: self.shards.iter().map(|shard| shard.websockets.load(Relaxed)).sum(),
            errors: Code::ROWS.iter().map(|row| (row.code, self.errors_of(row.code))).filter(|(_, n)| *n > 0).collect(),
            duration,
            first_byte: Counts::of(self.shards.iter().map(|shard| &shard.first_byte)),
            tenants: self
                .every_tenant()
                .iter()
                .map(|tenant| self.tenant_totals(tenant))
                .filter(|one| one.requests > 0 || one.errors > 0)
                .collect(),
        }
    }

    fn tenant_totals(&self, tenant: &TenantMetrics) -> TenantTotals {
        TenantTotals {
            tenant: Arc::clone(&tenant.tenant),
            requests: tenant.requests(),
            errors: Code::ROWS.iter().map(|row| tenant.errors_of(row.code)).sum(),
            used: self.usage.of(&tenant.tenant),
        }
    }

    fn errors_of(&self, code: Code) -> u64 {
        let of_tenants: u64 = self.every_tenant().iter().map(|tenant| tenant.errors_of(code)).sum();
        of_tenants + tally::errors_of(self.shards.iter().map(|shard| &shard.tally), code)
    }
}
