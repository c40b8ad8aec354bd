//! Tenants: who may call, what each uses and may use, who waits, and no secrets.

use crate::canon::Code;
use crate::config::types::{Tenant, TenantKey};
use crate::proxy::tenants::TenantLimitsView;
use crate::proxy::{State, gateway_key};
use crate::telemetry::metrics::Totals;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

/// How much of a key's hash is shown, to tell keys apart.
const HASH: usize = "sha256:".len() + 12;

/// How many tenants are shown even without traffic.
const SILENT: usize = 100;

/// One tenant on the status page.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    name: &'a str,
    weight: u32,
    reserve: u32,
    max: Option<u32>,
    /// Whether it holds more slots than its share while others wait.
    over_share: bool,
    #[serde(flatten)]
    limits: TenantLimitsView,
    /// What it does on each route, the silent ones left out.
    routes: Vec<OnRoute<'a>>,
}

/// What a tenant does on one route: what it used within the window, and its slots now.
#[derive(Serialize)]
struct OnRoute<'a> {
    route: &'a str,
    requests: u64,
    errors: u64,
    characters: f64,
    audio_seconds: f64,
    /// By currency.
    cost: BTreeMap<String, f64>,
    in_use: u32,
    queued: u32,
}

/// The tenants of the configuration in its order. Of many, silent ones are only counted, beside the others.
pub(super) fn rows<'a>(state: &'a State, totals: &'a [Totals], before: &[Totals]) -> (Vec<Row<'a>>, usize) {
    let (all, now) = (&state.config.tenants, Instant::now());
    if all.is_empty() {
        return (Vec::new(), 0);
    }
    let beyond = state.shared.limits.beyond_shares(all);
    let row = |tenant: &'a Tenant| {
        let routes = state.routes().iter().filter_map(|route| {
            let (name, provider) = (&*route.config.name, &*route.config.provider);
            let (held, waiting) = route.tenants.get(tenant.index)?.slots();
            let (then, now) = (Totals::find(before, name, provider), Totals::find(totals, name, provider));
            Some(on_route(&tenant.name, now?, then, (held, waiting)))
        });
        Row {
            name: &tenant.name,
            weight: tenant.weight,
            reserve: tenant.reserve,
            max: tenant.max,
            over_share: beyond.contains(&tenant.name),
            limits: state.tenants.limits_view(tenant, now),
            routes: routes.filter(OnRoute::is_active).collect(),
        }
    };
    let rows = all.iter().map(|tenant| row(tenant)).filter(|row| all.len() <= SILENT || !row.routes.is_empty());
    let rows: Vec<Row<'_>> = rows.collect();
    let silent = all.len() - rows.len();
    (rows, silent)
}

fn on_route<'a>(tenant: &str, now: &'a Totals, then: Option<&Totals>, (held, waiting): (u32, u32)) -> OnRoute<'a> {
    let (now, route) = (now.of_tenant(tenant), &*now.route);
    let then = then.and_then(|then| then.of_tenant(tenant));
    let since =
        |of: fn(&crate::telemetry::metrics::TenantTotals) -> f64| (now.map_or(0.0, of) - then.map_or(0.0, of)).max(0.0);
    let count = |now: Option<u64>, then: Option<u64>| now.unwrap_or(0).saturating_sub(then.unwrap_or(0));
    let costs = now.into_iter().flat_map(|now| &now.used.costs).map(|(currency, cost)| {
        let before = then.and_then(|then| then.used.costs.get(currency)).copied().unwrap_or(0.0);
        (currency.clone(), (cost - before).max(0.0))
    });
    OnRoute {
        route,
        requests: count(now.map(|now| now.requests), then.map(|then| then.requests)),
        errors: count(now.map(|now| now.errors), then.map(|then| then.errors)),
        characters: since(|one| one.used.characters),
        audio_seconds: since(|one| one.used.audio_seconds.iter().sum()),
        cost: costs.filter(|(_, cost)| *cost > 0.0).collect(),
        in_use: held,
        queued: waiting,
    }
}

impl OnRoute<'_> {
    fn is_active(&self) -> bool {
        let used = self.characters > 0.0 || self.audio_seconds > 0.0 || !self.cost.is_empty();
        self.requests > 0 || self.errors > 0 || self.in_use > 0 || self.queued > 0 || used
    }
}

/// `/tenants`: one document, made on request.
pub(super) fn render(state: &State, now: SystemTime) -> String {
    let clock = Instant::now();
    let tenant = |tenant: &Tenant| {
        let keys: Vec<Value> = tenant.keys.iter().map(|key| shown(key, now)).collect();
        let TenantLimitsView { rates, budgets } = state.tenants.limits_view(tenant, clock);
        json!({
            "name": tenant.name, "weight": tenant.weight, "reserve": tenant.reserve, "max": tenant.max, "keys": keys,
            "rates": rates, "budgets": budgets, "routes": used(state, tenant),
        })
    };
    let tenants: Vec<Value> = state.config.tenants.iter().map(|one| tenant(one)).collect();
    let document = json!({ "authenticate": state.tenants.ask(), "tenants": tenants });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn shown(key: &TenantKey, now: SystemTime) -> Value {
    let hash = gateway_key::shown(&key.hash);
    json!({
        "hash": format!("{}…", hash.get(..HASH).unwrap_or_default()),
        "expires": key.expires.map(|end| humantime::format_rfc3339_seconds(end).to_string()),
        "expired": key.expires.is_some_and(|end| end <= now),
    })
}

/// What a tenant has used on each route that it may use.
fn used(state: &State, tenant: &Tenant) -> Vec<Value> {
    let routes = state.routes().iter().filter(|route| tenant.may_use(&route.config.name));
    let used = routes.filter_map(|route| {
        let metrics = route.tenants.get(tenant.index)?;
        let errors =
            Code::ROWS.iter().map(|row| (row.name, metrics.errors_of(row.code))).filter(|(_, count)| *count > 0);
        let errors: Map<String, Value> = errors.map(|(name, count)| (name.to_owned(), json!(count))).collect();
        let (in_use, queued) = metrics.slots();
        Some(json!({
            "route": route.config.name, "requests": metrics.requests(), "errors": errors, "in_use": in_use, "queued": queued,
        }))
    });
    used.collect()
}
