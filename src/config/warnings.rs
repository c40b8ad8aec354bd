//! What does not prevent a configuration from running and is hardly what was meant.

use super::path::Path;
use super::problem::Findings;
use super::profiles::is_built_in;
use super::raw::Raw;
use super::resolve::value_of;
use super::shadowed;
use super::types::{Config, Listen, Route, Tenant};
use crate::canon::ProfileSpec;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;

/// Every warning; `filled` says whether a value came from outside.
pub(super) fn all(raw: &Raw, config: &Config, filled: &dyn Fn(&Path) -> bool, warnings: &mut Findings) {
    in_the_clear(&config.routes, warnings);
    open_to_others(config, warnings);
    tenants(config, warnings);
    reserves(config, warnings);
    accounts(config, warnings);
    keys_in_plain_text(raw, config, filled, warnings);
    signal_paths(config, warnings);
    profiles(raw, warnings);
}

/// Credentials that would leave the machine in the clear.
fn in_the_clear(routes: &[Arc<Route>], warnings: &mut Findings) {
    for route in routes.iter().filter(|route| !route.credentials.is_empty()) {
        let clear = route.upstreams.iter().position(|upstream| !upstream.tls && !is_here(&upstream.host));
        if let Some(at) = clear {
            let path = Path::of("routes").index(route.index);
            let several = path.key("upstreams").index(at);
            let path = if route.upstreams.len() > 1 { several } else { path.key("upstream") };
            warnings.value(&path, "the route's credentials are sent unencrypted").expected("an `https://` upstream");
        }
    }
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A listener that other machines reach, before routes that lend their key to whoever asks.
fn open_to_others(config: &Config, warnings: &mut Findings) {
    let server = &config.server;
    let open = server.listen.iter().any(|listen| matches!(listen, Listen::Tcp(address) if !address.ip().is_loopback()));
    let certified = server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let authenticated = server.authenticate || certified;
    let lent: Vec<&str> =
        config.routes.iter().filter(|route| !route.credentials.is_empty()).map(|route| &*route.name).collect();
    if open && !authenticated && !lent.is_empty() {
        let what = format!(
            "other machines can connect, and whoever does uses the credentials of {}",
            super::problem::alternatives(lent.iter().copied()).replace(" or ", " and ")
        );
        let path = Path::of("server").key("listen");
        warnings
            .value(&path, what)
            .expected("a loopback address, or clients that are known by the keys of `[[tenants]]` or by `client_ca` in `[server.tls]`");
    }
}

/// Tenants whom nobody asks for their keys, or a gateway that asks for keys that nobody has.
fn tenants(config: &Config, warnings: &mut Findings) {
    let path = Path::of("server").key("authenticate");
    let certified = config.server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let is_known = |tenant: &Arc<Tenant>| !tenant.keys.is_empty() || certified && !tenant.subjects.is_empty();
    let has_key = config.server.tenant_header.is_some() || config.tenants.iter().any(is_known);
    if config.server.authenticate && !has_key {
        let what = "no tenant has a key, so that every request is refused";
        warnings
            .value(&path, what)
            .expected("`keys` of `[[tenants]]`, as `speechgate key new --tenant NAME` prints them");
    } else if !config.server.authenticate && !config.tenants.is_empty() {
        warnings.value(&path, "the tenants are not asked for their keys").expected("`tenants`, or no `[[tenants]]`");
    }
    let has_subject = |tenant: &Arc<Tenant>| !tenant.subjects.is_empty();
    if let Some(at) = config.tenants.iter().position(has_subject).filter(|_| !certified) {
        let path = Path::of("tenants").index(at).key("subjects");
        warnings.value(&path, "no client is asked for a certificate").expected("`client_ca` in `[server.tls]`");
    }
    let has_budget = |tenant: &Arc<Tenant>| !tenant.budgets.is_empty();
    if let Some(at) = config
        .tenants
        .iter()
        .position(has_budget)
        .filter(|_| config.limits.state.is_none() && config.limits.backend.is_none())
    {
        let path = Path::of("tenants").index(at).key("budgets");
        warnings
            .value(&path, "a restart forgets what was used of it")
            .expected("`state = \"/var/lib/speechgate/state.json\"` in `[limits]`");
    }
}

/// Reserves that leave nothing for anybody else.
fn reserves(config: &Config, warnings: &mut Findings) {
    let plan = |max: u32, credentials: usize| max.saturating_mul(u32::try_from(credentials.max(1)).unwrap_or(u32::MAX));
    let routes = config.routes.iter().filter_map(|route| {
        // Beside an account's slots those of a route are a bound for all of its credentials.
        let credentials = if route.account.is_some() { 1 } else { route.credentials.len() };
        let name = format!("route `{}`", route.name);
        Some((name, plan(route.concurrency.as_ref()?.max, credentials), vec![&*route.name]))
    });
    let accounts = config.accounts.iter().filter_map(|account| {
        let uses = |route: &&Arc<Route>| route.account.as_ref().is_some_and(|used| used.name == account.name);
        let routes = config.routes.iter().filter(uses).map(|route| &*route.name).collect();
        let name = format!("account `{}`", account.name);
        Some((name, plan(account.concurrency.as_ref()?.max, account.credentials.len()), routes))
    });
    for (name, slots, routes) in routes.chain(accounts) {
        let may = |tenant: &&Arc<Tenant>| routes.iter().any(|route| tenant.may_use(route));
        let users: Vec<&Arc<Tenant>> = config.tenants.iter().filter(may).collect();
        let reserved = users.iter().map(|tenant| tenant.reserve).fold(0, u32::saturating_add);
        let has_none = users.iter().any(|tenant| tenant.reserve == 0);
        let last = users.iter().rfind(|tenant| tenant.reserve > 0);
        if let Some(last) = last.filter(|_| reserved > slots || reserved == slots && has_none) {
            let path = Path::of("tenants").index(last.index).key("reserve");
            let what = format!("{reserved} of the {slots} slots of {name} are reserved, so that others may get none");
            warnings.value(&path, what).expected(format!("less than {slots} in all"));
        }
    }
}

/// Accounts that nobody uses.
fn accounts(config: &Config, warnings: &mut Findings) {
    for account in &config.accounts {
        let uses = |route: &Arc<Route>| route.account.as_ref().is_some_and(|used| used.name == account.name);
        if !config.routes.iter().any(uses) {
            let path = Path::of("accounts").index(account.index).key("name");
            let expected = format!("`account = \"{}\"` in a route, or no such account", account.name);
            warnings.value(&path, "no route uses this account").expected(expected);
        }
    }
}

/// Keys that stand in the file itself, where they are committed, copied and shown.
fn keys_in_plain_text(raw: &Raw, config: &Config, filled: &dyn Fn(&Path) -> bool, warnings: &mut Findings) {
    let routes = config.routes.iter().filter(|route| route.account.is_none());
    let routes = routes.map(|route| {
        let written = raw.routes.get(route.index).and_then(|raw| raw.credentials.as_ref());
        ("routes", route.index, &route.credentials, written)
    });
    let accounts = config.accounts.iter().map(|account| {
        let written = raw.accounts.get(account.index).and_then(|raw| raw.credentials.as_ref());
        ("accounts", account.index, &account.credentials, written)
    });
    for (table, index, credentials, written) in routes.chain(accounts) {
        let path = Path::of(table).index(index).key("credentials");
        for (at, one) in credentials.iter().enumerate() {
            let path = value_of(written, at, &path);
            if filled(&path) {
                continue;
            }
            let name = one
                .value
                .reveal()
                .strip_prefix('$')
                .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            match name.filter(|name| !name.is_empty()) {
                Some(_) => {
                    warnings.value(&path, "is sent as it is written: a variable stands in braces").expected("`${NAME}`")
                }
                None => {
                    warnings.value(&path, "a key stands in the file itself").expected("`${NAME}` or `${file:/path}`")
                }
            };
        }
    }
}

/// The exporter adds the path of each signal itself.
fn signal_paths(config: &Config, warnings: &mut Findings) {
    let Some(otlp) = &config.telemetry.otlp else { return };
    if let Some(base) =
        ["/v1/traces", "/v1/metrics", "/v1/logs"].iter().find_map(|end| otlp.endpoint.base_path.strip_suffix(end))
    {
        let scheme = if otlp.endpoint.tls { "https" } else { "http" };
        let path = Path::of("telemetry").key("otlp").key("endpoint");
        let expected = format!("the collector's address alone, `{scheme}://{}{base}`", otlp.endpoint.authority);
        warnings
            .value(&path, "ends with the path of one signal, and `/v1/traces` or `/v1/metrics` is added to it")
            .expected(expected);
    }
}

/// Profiles that replace more than was meant, and rules that never have a say.
fn profiles(raw: &Raw, warnings: &mut Findings) {
    for (name, value) in &raw.providers {
        let Ok(spec) = ProfileSpec::deserialize(value.clone()) else { continue };
        let path = Path::of("providers").key(name);
        if is_built_in(name) && spec.extends.is_none() {
            let what = format!("replaces the built-in profile `{name}` as a whole");
            warnings.key(&path, what).expected(format!("`extends = \"{name}\"` in it, to build on that profile"));
        }
        for (list, pairs) in [("rules", shadowed::rules(&spec)), ("errors", shadowed::detectors(&spec))] {
            for (at, earlier) in pairs {
                let what =
                    format!("can never match: `{list}[{earlier}]`, which is asked before, takes all that it would");
                warnings.value(&path.key(list).index(at), what).expected("the narrower one first");
            }
        }
    }
}
