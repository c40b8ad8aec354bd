//! `/tenants`: who may call, what each has used, and no secrets.

use crate::canon::Code;
use crate::config::types::{Tenant, TenantKey};
use crate::proxy::{State, gateway_key};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// How much of a key's hash tells it from others.
const HASH: usize = "sha256:".len() + 12;

/// One document, made on request.
pub(super) fn render(state: &State, now: SystemTime) -> String {
    let tenant = |tenant: &Tenant| {
        let keys: Vec<Value> = tenant.keys.iter().map(|key| shown(key, now)).collect();
        let budgets = state.tenants.budgets(tenant).into_iter();
        let budgets: Vec<Value> = budgets.map(|(name, used)| json!({ "budget": name, "used_ratio": used })).collect();
        json!({ "name": tenant.name, "keys": keys, "budgets": budgets, "routes": used(state, tenant) })
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

/// What a tenant has used of each route that it may use.
fn used(state: &State, tenant: &Tenant) -> Vec<Value> {
    let routes = state.routes().iter().filter(|route| tenant.may_use(&route.config.name));
    let used = routes.filter_map(|route| {
        let metrics = route.tenants.get(tenant.index)?;
        let errors =
            Code::ROWS.iter().map(|row| (row.name, metrics.errors_of(row.code))).filter(|(_, count)| *count > 0);
        let errors: Map<String, Value> = errors.map(|(name, count)| (name.to_owned(), json!(count))).collect();
        Some(json!({ "route": route.config.name, "requests": metrics.requests(), "errors": errors }))
    });
    used.collect()
}
