//! `[[tenants]]`

use super::Reader;
use crate::canon::Code;
use crate::config::defaults::tenants as defaults;
use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::raw;
use crate::config::types::{Budget, Cost, KeyHash, LimitKey, Listen, Measure, RateLimit, Server, Tenant, TenantKey};
use crate::config::values;
use crate::limit::{Priority, Zone};
use http::HeaderName;
use http::header::CONTENT_TYPE;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

/// All tenants; each on its own, then against each other and the routes.
pub(super) fn tenants(whole: &raw::Raw, findings: &mut Findings) -> Vec<Arc<Tenant>> {
    let raw = &whole.tenants;
    unique_names(raw, findings);
    unique_subjects(raw, findings);
    currencies(raw, &whole.prices, findings);
    let routes: Vec<&str> = whole.routes.iter().filter_map(|route| route.name.as_deref()).collect();
    let mut seen = HashMap::new();
    let tenants = raw.iter().enumerate();
    tenants.filter_map(|(index, raw)| tenant(index, raw, &routes, &mut seen, findings)).map(Arc::new).collect()
}

fn unique_names(raw: &[raw::Tenant], findings: &mut Findings) {
    let mut seen = HashMap::new();
    for (index, name) in raw.iter().enumerate().filter_map(|(index, raw)| Some((index, raw.name.as_deref()?))) {
        let first = *seen.entry(name).or_insert(index);
        if first != index {
            let path = Path::of("tenants").index(index).key("name");
            let what = format!("{} is already the name of `tenants[{first}]`", findings.quote(&path, name));
            findings.value(&path, what).expected("a name of its own");
        }
    }
}

/// A certificate is of one tenant.
fn unique_subjects(raw: &[raw::Tenant], findings: &mut Findings) {
    let mut seen: HashMap<&str, Path> = HashMap::new();
    for (index, tenant) in raw.iter().enumerate() {
        let path = Path::of("tenants").index(index).key("subjects");
        for (index, subject) in tenant.subjects.iter().enumerate() {
            let here = path.index(index);
            if let Some(first) = seen.get(subject.as_str()) {
                findings.value(&here, format!("the same as `{first}`")).expected("a subject of its own");
                continue;
            }
            let _ = seen.insert(subject, here);
        }
    }
}

fn subjects(raw: &[String], path: &Path, findings: &mut Findings) -> Vec<String> {
    for (index, subject) in raw.iter().enumerate() {
        if subject.is_empty() || subject.trim() != subject || subject.contains(char::is_control) {
            let expected = "a name in a certificate, such as `spiffe://prod/support-bot` or `support-bot.internal`";
            findings.not(&path.index(index), subject, expected);
        }
    }
    raw.to_vec()
}

/// `server.tenant`
pub(super) fn header(raw: &raw::TenantNaming, findings: &mut Findings) -> Option<HeaderName> {
    let mut reader = Reader { path: Path::of("server").key("tenant"), findings };
    let name = reader.read("header", raw.header.as_deref(), values::changed_header)?;
    if name == CONTENT_TYPE || values::holds_secret(name.as_str()) || name.as_str().starts_with("x-speechgate-") {
        let path = reader.path.key("header");
        findings.not(&path, name.as_str(), "a header that says nothing else, such as `x-app`");
        return None;
    }
    Some(name)
}

/// Whoever reaches a listener could name any tenant.
pub(super) fn only_trusted_peers(server: &Server, findings: &mut Findings) {
    let certified = server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let is_open =
        |listen: &&Listen| matches!(listen, Listen::Tcp(address) if !address.ip().to_canonical().is_loopback());
    let open = server.listen.iter().find(is_open);
    if let (Some(name), Some(Listen::Tcp(open)), false) = (&server.tenant_header, open, certified) {
        let what = format!("whoever connects to `{open}` could name any tenant in `{name}`");
        findings
            .value(&Path::of("server").key("tenant"), what)
            .expected("a loopback address or a Unix socket in `listen`, or `client_ca` in `[server.tls]`");
    }
}

fn tenant(
    index: usize,
    raw: &raw::Tenant,
    routes: &[&str],
    seen: &mut HashMap<KeyHash, Path>,
    findings: &mut Findings,
) -> Option<Tenant> {
    let path = Path::of("tenants").index(index);
    let keys = keys(&raw.keys, &path.key("keys"), seen, findings);
    let subjects = subjects(&raw.subjects, &path.key("subjects"), findings);
    if let Some(names) = &raw.routes {
        allowed(names, routes, &path.key("routes"), findings);
    }
    let rate_limits = rate_limits(&raw.rate_limits, &path.key("rate_limits"), findings);
    let budgets = budgets(&raw.budgets, &path.key("budgets"), findings);
    let mut reader = Reader { path: path.clone(), findings };
    let name = reader.read("name", raw.name.as_deref(), |text| values::name(text).map(|()| text.to_owned()));
    let reserve = raw.reserve.unwrap_or(defaults::RESERVE);
    if let Some(max) = raw.max.filter(|max| *max < reserve) {
        let what = format!("`{reserve}` is more than the {max} that the tenant may hold");
        reader.findings.value(&path.key("reserve"), what).expected("at most `max`");
    }
    Some(Tenant {
        name: name?,
        index,
        keys,
        subjects,
        routes: raw.routes.clone(),
        weight: raw.weight.unwrap_or(defaults::WEIGHT),
        reserve,
        max: raw.max,
        priority: raw.priority.map(|priority| match priority {
            raw::PriorityName::High => Priority::High,
            raw::PriorityName::Normal => Priority::Normal,
            raw::PriorityName::Low => Priority::Low,
        }),
        rate_limits,
        budgets,
    })
}

fn rate_limits(raw: &[raw::TenantRate], path: &Path, findings: &mut Findings) -> Vec<RateLimit> {
    let mut limits = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let mut reader = Reader { path: path.index(index), findings };
        let per = reader.read("per", raw.per.as_ref().map(|text| text.0.as_str()), values::positive_duration);
        let (Some(requests), Some(per)) = (raw.requests, per) else { continue };
        let burst = raw.burst.unwrap_or(requests);
        let (key, cost) = (LimitKey::Route, Cost::Requests);
        limits.push(RateLimit { requests, per, burst, matches: None, key, code: Code::RateLimited, cost });
    }
    limits
}

/// `budgets`: each of one thing, and of each thing and time one.
fn budgets(raw: &[raw::Budget], path: &Path, findings: &mut Findings) -> Vec<Budget> {
    let mut budgets: Vec<Budget> = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let here = path.index(index);
        let Some(budget) = budget(raw, &here, findings) else { continue };
        let name = budget.name();
        if budgets.iter().any(|other| other.name() == name) {
            findings
                .value(&here, format!("there is a budget of `{name}` already"))
                .expected("one of each kind and time");
        }
        budgets.push(budget);
    }
    budgets
}

#[expect(clippy::cast_precision_loss, reason = "nobody has a budget of 2^53 characters")]
fn budget(raw: &raw::Budget, path: &Path, findings: &mut Findings) -> Option<Budget> {
    let currency = raw.currency.clone();
    let all = [
        raw.characters.map(|amount| (Measure::Characters, amount as f64)),
        raw.audio_seconds.map(|amount| (Measure::AudioSeconds, amount as f64)),
        raw.requests.map(|amount| (Measure::Requests, amount as f64)),
        raw.cost.map(|amount| (Measure::Cost(currency.clone().unwrap_or_default()), amount)),
    ];
    let mut given = all.into_iter().flatten();
    let (Some((measure, amount)), None) = (given.next(), given.next()) else {
        if !findings.any_within(path) {
            findings
                .value(path, "does not say what it counts, or several things")
                .expected("exactly one of `characters`, `audio_seconds`, `requests` and `cost`");
        }
        return None;
    };
    let place = path.key("currency");
    match (&measure, &currency) {
        (Measure::Cost(_), None) => {
            let _ = findings.key(&place, "missing").expected("a currency such as `USD`");
        }
        (Measure::Cost(_), Some(text)) if !is_currency(text) => {
            let _ = findings.not(&place, text, "a currency such as `USD`");
        }
        (Measure::Cost(_), Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            let _ = findings.key(&place, "has no use without `cost`").expected("`cost`");
        }
    }
    if !(amount.is_finite() && amount > 0.0) {
        findings.not(&path.key("cost"), &amount.to_string(), "a number above 0");
    }
    let days = match raw.per? {
        raw::BudgetPeriod::Day => 1,
        raw::BudgetPeriod::Week => 7,
        raw::BudgetPeriod::ThirtyDays => 30,
    };
    let zone = zone(raw.zone.as_deref(), &path.key("zone"), findings)?;
    Some(Budget { measure, amount, days, zone })
}

/// The zone of this name; UTC when none is given.
fn zone(name: Option<&str>, path: &Path, findings: &mut Findings) -> Option<Zone> {
    let name = name.unwrap_or(defaults::ZONE);
    if name == defaults::ZONE {
        return Some(Zone::UTC);
    }
    let zone = Zone::named(name);
    if zone.is_none() {
        let names = Zone::names();
        let names = names.iter().map(String::as_str);
        findings.not(path, name, "the name of a zone such as `Europe/Berlin`, or `UTC`").nearest(name, names);
    }
    zone
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A budget of money in which nothing has its price would never end.
fn currencies(raw: &[raw::Tenant], prices: &[raw::Price], findings: &mut Findings) {
    let path = Path::of("tenants");
    for (index, tenant) in raw.iter().enumerate() {
        let path = path.index(index).key("budgets");
        for (index, budget) in tenant.budgets.iter().enumerate().filter(|(_, budget)| budget.cost.is_some()) {
            let Some(currency) = budget.currency.as_deref().filter(|text| is_currency(text)) else { continue };
            if prices.iter().all(|price| price.currency.as_deref() != Some(currency)) {
                findings
                    .value(&path.index(index).key("currency"), format!("nothing has a price in `{currency}`"))
                    .expected(format!("`[[prices]]` with `currency = \"{currency}\"`"));
            }
        }
    }
}

/// `routes`: each is there.
fn allowed(names: &[String], routes: &[&str], path: &Path, findings: &mut Findings) {
    if names.is_empty() {
        findings.value(path, "an empty list").expected("the name of at least one route; all when the key is left out");
    }
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !routes.contains(&name.as_str())) {
        let here = path.index(index);
        let what = format!("{} is the name of no route", findings.quote(&here, name));
        findings.value(&here, what).nearest(name, routes.iter().copied());
    }
}

/// `keys`; `seen` has those of the tenants before.
fn keys(
    raw: &[raw::TenantKey],
    path: &Path,
    seen: &mut HashMap<KeyHash, Path>,
    findings: &mut Findings,
) -> Vec<TenantKey> {
    let mut keys = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let here = path.index(index);
        let (place, text, expires) = match raw {
            raw::TenantKey::Hash(text) => (here, Some(text), None),
            raw::TenantKey::Expiring(raw) => {
                let expires = raw.expires.as_deref().map(|text| (here.key("expires"), text));
                (here.key("hash"), raw.hash.as_ref(), expires)
            }
        };
        let expires = expires.and_then(|(path, text)| end(text, &path, findings));
        let Some(hash) = text.and_then(|text| hash(text, &place, findings)) else { continue };
        match seen.get(&hash) {
            Some(first) => {
                findings.value(&place, format!("the same key as `{first}`")).expected("a key of its own");
            }
            None => {
                let _ = seen.insert(hash, place);
            }
        }
        keys.push(TenantKey { hash, expires });
    }
    keys
}

/// `sha256:` and 64 hexadecimal digits. What is none may be a key: no message quotes it.
fn hash(text: &str, path: &Path, findings: &mut Findings) -> Option<KeyHash> {
    let hash = text.strip_prefix("sha256:").and_then(from_hex);
    if hash.is_none() {
        let what = match text.trim_start().starts_with(KEY_PREFIX) {
            true => "a gateway key in plain text",
            false => "this value is not the hash of a key",
        };
        let expected =
            "`sha256:` and 64 hexadecimal digits, as `speechgate key new --tenant NAME` prints them with a new key";
        findings.value(path, what).expected(expected);
    }
    hash
}

/// How every gateway key begins.
const KEY_PREFIX: &str = "sg_";

fn from_hex(text: &str) -> Option<KeyHash> {
    let mut hash = KeyHash::default();
    let pairs = text.as_bytes().chunks(2);
    if text.len() != 2 * hash.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// `2027-01-01T00:00:00Z`
fn end(text: &str, path: &Path, findings: &mut Findings) -> Option<SystemTime> {
    let end = humantime::parse_rfc3339(text.trim()).ok();
    if end.is_none() {
        findings.not(path, text, "a time in UTC such as `2027-01-01T00:00:00Z`");
    }
    end
}
