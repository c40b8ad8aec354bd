//! `[[routes]]`

use super::Reader;
use super::accounts::{Accounts, credentials_of};
use super::headers::headers;
use super::health::health;
use super::{cors, limits, warm};
use crate::canon::Profile;
use crate::config::defaults::route as defaults;
use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::profiles::Profiles;
use crate::config::raw;
use crate::config::types::{
    ClientCertificate, Cors, Cost, Envelope, Envelopes, MOST_PLACES, Protocol, Route, Timeouts, Upstream, Websocket,
};
use crate::config::values;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What counts that which generations use.
pub(super) struct Meters<'a> {
    pub(super) prices: &'a [raw::Price],
    pub(super) tenants: &'a [raw::Tenant],
}

impl Meters<'_> {
    /// Whether anything counts what the generations of this route use: a price, or a budget of somebody who may call it.
    fn count(&self, route: &raw::Route) -> bool {
        let calls = |tenant: &raw::Tenant| {
            tenant.routes.as_ref().is_none_or(|all| all.iter().any(|one| Some(one) == route.name.as_ref()))
        };
        let counts = |budget: &raw::Budget| budget.characters.is_some() || budget.audio_seconds.is_some();
        self.prices.iter().any(|price| price.provider == route.provider)
            || self.tenants.iter().any(|tenant| tenant.budgets.iter().any(counts) && calls(tenant))
    }
}

/// What all routes have in common.
pub(super) struct Shared<'a> {
    pub(super) meters: Meters<'a>,
    pub(super) accounts: &'a Accounts<'a>,
    /// Which pages may call, where the route does not say.
    pub(super) cors: Option<Arc<Cors>>,
}

/// All routes; each on its own, then against each other.
pub(super) fn routes(
    raw: &[raw::Route],
    shared: &Shared<'_>,
    profiles: &Profiles,
    findings: &mut Findings,
) -> Vec<Arc<Route>> {
    let path = Path::of("routes");
    if raw.is_empty() && !findings.any_within(&path) {
        findings.key(&path, "there are no routes").expected("at least one `[[routes]]`");
    }
    unique_names(raw, findings);
    let routes: Vec<Route> =
        raw.iter().enumerate().filter_map(|(index, raw)| route(index, raw, shared, profiles, findings)).collect();
    unique_matches(&routes, findings);
    routes.into_iter().map(Arc::new).collect()
}

fn unique_names(raw: &[raw::Route], findings: &mut Findings) {
    let mut seen = HashMap::new();
    for (index, name) in raw.iter().enumerate().filter_map(|(index, raw)| Some((index, raw.name.as_deref()?))) {
        if let Some(first) = seen.insert(name, index) {
            let path = Path::of("routes").index(index).key("name");
            let what = format!("{} is already the name of `routes[{first}]`", findings.quote(&path, name));
            findings.value(&path, what).expected("a name of its own");
            seen.insert(name, first);
        }
    }
}

fn unique_matches(routes: &[Route], findings: &mut Findings) {
    let mut seen: HashMap<(Option<&str>, &str), usize> = HashMap::new();
    for route in routes {
        let first = *seen.entry((route.host.as_deref(), route.path.as_str())).or_insert(route.index);
        if first != route.index {
            let path = Path::of("routes").index(route.index).key("match");
            let what = format!("the same requests as `routes[{first}]`");
            findings.value(&path, what).expected("a path or a host of its own");
        }
    }
}

/// One route; none when something is wrong that it cannot be without.
fn route(
    index: usize,
    raw: &raw::Route,
    shared: &Shared<'_>,
    profiles: &Profiles,
    findings: &mut Findings,
) -> Option<Route> {
    let path = Path::of("routes").index(index);
    let mut reader = Reader { path: path.clone(), findings };
    let name = reader.read("name", raw.name.as_deref(), |text| values::name(text).map(|()| text.to_owned()));
    let upstreams = upstreams(raw, &mut reader);
    let place = raw.matches.as_ref().and_then(|raw| matches(raw, &path.key("match"), findings));
    let profile = raw.provider.as_deref().and_then(|name| profiles.find(name, &path.key("provider"), findings));
    let websocket = websocket(&raw.websocket, profile.as_deref(), &path.key("websocket"), findings);
    let account = shared.accounts.of(raw, &path, findings);
    if let (Some(account), Some(profile)) = (&account, &profile) {
        shared.accounts.are_counted_by(account, profile, findings);
    }
    let credentials = credentials_of(account.as_ref(), raw, &path, findings);
    let headers = headers(&raw.headers, &credentials, &path.key("headers"), findings);
    let lends = !credentials.is_empty();
    let check = raw.health.as_ref().and_then(|raw| health(raw, lends, &path.key("health"), findings));
    let cors = cors::of_route(raw.cors.as_ref(), shared.cors.as_ref(), path.key("cors"), findings);
    let usual = Defaults::of(profile.as_deref());
    let mut reader = Reader { path: path.clone(), findings };
    let max_request_body =
        reader.size("max_request_body", raw.max_request_body.as_ref(), usual.max_request_body, 1..=u64::MAX);
    let ping = reader.read("ping", raw.ping.as_ref().map(|text| text.0.as_str()), values::ping).flatten();
    let client_ping =
        reader.read("client_ping", raw.client_ping.as_ref().map(|text| text.0.as_str()), values::ping).flatten();
    let warm = warm::warm(&raw.warm, profile.as_deref(), &path.key("warm"), findings);
    let timeouts = timeouts(&raw.timeouts, usual.response, &path.key("timeouts"), findings);
    let rate_limits = limits::rate_limits(&raw.rate_limits, profile.as_deref(), &path.key("rate_limits"), findings);
    let concurrency =
        raw.concurrency.as_ref().and_then(|raw| limits::concurrency(raw, &path.key("concurrency"), findings));
    let waits = match (&raw.waits, &account) {
        (None, Some(account)) => account.waits,
        (waits, _) => limits::waits(waits.as_ref().unwrap_or(&raw::Waits::default()), &path.key("waits"), findings),
    };
    let retry = raw.retry.as_ref().map(|raw| limits::retry(raw, &path.key("retry"), findings));
    let breaker = raw.circuit_breaker.as_ref();
    let circuit_breaker = breaker.map(|raw| limits::circuit_breaker(raw, &path.key("circuit_breaker"), findings));
    let silence = limits::silence(&raw.silence, &path.key("silence"), findings);
    // Without the records of generations there would be nothing to count, and what is no generation has none.
    let of_account = account.iter().flat_map(|account| &account.rate_limits);
    let metered =
        shared.meters.count(raw) || rate_limits.iter().chain(of_account).any(|limit| limit.cost == Cost::AudioSeconds);
    let (host, prefix) = place?;
    Some(Route {
        name: name?,
        index,
        host,
        path: prefix,
        provider: raw.provider.clone()?,
        profile: profile?,
        upstreams: upstreams?,
        weights: weights(raw),
        health: check,
        envelope: envelopes(raw.envelope.as_ref()),
        cors,
        cors_by_provider: matches!(raw.cors, Some(raw::RouteCors::Passed(raw::CorsWord::Provider))),
        upstream_body: raw.upstream_body.unwrap_or(defaults::UPSTREAM_BODY),
        account,
        credentials,
        headers,
        rate_limit_headers: raw.rate_limit_headers.unwrap_or(defaults::RATE_LIMIT_HEADERS),
        timeouts,
        max_request_body,
        websocket,
        ping,
        client_ping,
        warm,
        rate_limits,
        concurrency,
        waits,
        retry,
        circuit_breaker,
        generations: raw.generations.unwrap_or(defaults::GENERATIONS) || silence.is_on() || metered || websocket.redial,
        silence,
    })
}

fn envelopes(raw: Option<&raw::EnvelopeChoice>) -> Envelopes {
    let each = match raw {
        None => return Envelopes::all(envelope(raw::Envelope::default())),
        Some(raw::EnvelopeChoice::One(form)) => return Envelopes::all(envelope(*form)),
        Some(raw::EnvelopeChoice::Each(each)) => each,
    };
    let http = envelope(each.http.unwrap_or_default());
    let or_http = |form: Option<raw::Envelope>| form.map_or(http, envelope);
    Envelopes {
        http,
        sse: or_http(each.sse),
        ndjson: or_http(each.ndjson),
        websocket: or_http(each.websocket),
        grpc: or_http(each.grpc),
        canonical_status: matches!(each.status, Some(raw::EnvelopeStatus::Canonical)),
    }
}

fn envelope(raw: raw::Envelope) -> Envelope {
    match raw {
        raw::Envelope::Canonical => Envelope::Canonical,
        raw::Envelope::Compatible => Envelope::Compatible,
        raw::Envelope::Problem => Envelope::Problem,
        raw::Envelope::Auto => Envelope::Auto,
    }
}

/// `match`: the host, and the path without a slash at its end.
fn matches(raw: &raw::Match, path: &Path, findings: &mut Findings) -> Option<(Option<String>, String)> {
    if raw.path.is_none() && raw.host.is_none() {
        if !findings.any_within(path) {
            let _ =
                findings.value(path, "matches nothing").expected("`path`, `host` or both; `path = \"/\"` takes all");
        }
        return None;
    }
    let mut reader = Reader { path: path.clone(), findings };
    let host = raw.host.as_deref().map(|text| reader.read("host", Some(text), values::host));
    let prefix = raw.path.as_deref().map(|text| reader.read("path", Some(text), values::prefix));
    match (host, prefix) {
        (Some(None), _) | (_, Some(None)) => None,
        (host, prefix) => Some((host.flatten(), prefix.flatten().unwrap_or_default())),
    }
}

/// `upstream` or `upstreams`, `protocol` and `upstream_tls`
fn upstreams(raw: &raw::Route, reader: &mut Reader<'_>) -> Option<Vec<Upstream>> {
    let upstreams = addresses(raw, reader);
    let mut tls = Reader { path: reader.path.key("upstream_tls"), findings: reader.findings };
    let ca_file = raw.upstream_tls.as_ref().and_then(|raw| tls.pem("ca", raw.ca.as_ref(), "CERTIFICATE"));
    let client_certificate = raw.upstream_tls.as_ref().and_then(|raw| client_certificate(raw, &mut tls));
    let mut upstreams = upstreams?;
    if raw.upstream_tls.is_some() && upstreams.iter().all(|upstream| !upstream.tls) {
        let path = reader.path.key("upstream_tls");
        reader.findings.key(&path, "has no use for an `http://` upstream").expected("an `https://` upstream");
    }
    let protocol = match raw.protocol.unwrap_or_default() {
        raw::Protocol::Auto => Protocol::Auto,
        raw::Protocol::Http1 => Protocol::Http1,
        raw::Protocol::Http2 => Protocol::Http2,
    };
    for upstream in &mut upstreams {
        upstream.ca_file.clone_from(&ca_file);
        upstream.client_certificate.clone_from(&client_certificate);
        upstream.protocol = protocol;
    }
    Some(upstreams)
}

/// `certificate` and `private_key` of `upstream_tls`: both, or neither.
fn client_certificate(raw: &raw::UpstreamTls, tls: &mut Reader<'_>) -> Option<ClientCertificate> {
    if raw.ca.is_none() && raw.certificate.is_none() && raw.private_key.is_none() && !tls.findings.any_within(&tls.path)
    {
        tls.findings
            .value(&tls.path, "says nothing")
            .expected("`ca`, or `certificate` and `private_key`, or all three");
    }
    for (given, other, name) in
        [(&raw.certificate, &raw.private_key, "private_key"), (&raw.private_key, &raw.certificate, "certificate")]
    {
        if given.is_some() && other.is_none() {
            tls.findings.key(&tls.path.key(name), "missing").expected("the path of a file");
        }
    }
    let certificate = tls.pem("certificate", raw.certificate.as_ref(), "CERTIFICATE");
    let private_key = tls.pem("private_key", raw.private_key.as_ref(), "PRIVATE KEY");
    Some(ClientCertificate { certificate: certificate?, private_key: private_key? })
}

/// What part of the requests each upstream takes; empty where nothing is said.
fn weights(raw: &raw::Route) -> Vec<u32> {
    let entries = raw.upstreams.as_deref().unwrap_or_default();
    match entries.iter().any(|entry| entry.weight().is_some()) {
        true => entries.iter().map(|entry| entry.weight().unwrap_or(1)).collect(),
        false => Vec::new(),
    }
}

/// Where requests go: one of two keys says it.
fn addresses(raw: &raw::Route, reader: &mut Reader<'_>) -> Option<Vec<Upstream>> {
    let (one, several) = (reader.path.key("upstream"), reader.path.key("upstreams"));
    let urls = match (&raw.upstream, &raw.upstreams) {
        (Some(url), None) => return reader.read("upstream", Some(&url.0), values::upstream).map(|only| vec![only]),
        (None, Some(urls)) => urls,
        (Some(_), Some(_)) => {
            reader.findings.key(&several, "stands beside `upstream`").expected("one of the two");
            return None;
        }
        (None, None) => {
            if !reader.findings.any_within(&one) && !reader.findings.any_within(&several) {
                let expected = "a URL such as `https://api.example.com`, or several in `upstreams`";
                reader.findings.key(&one, "missing").expected(expected);
            }
            return None;
        }
    };
    if !(1..=MOST_PLACES).contains(&urls.len()) {
        let what = format!("a list of {} cannot be used", urls.len());
        reader.findings.value(&several, what).expected(format!("1 to {MOST_PLACES} URLs"));
        return None;
    }
    let mut found: Vec<Upstream> = Vec::with_capacity(urls.len());
    if urls.iter().all(|entry| entry.weight() == Some(0)) {
        reader.findings.value(&several, "no upstream has a weight").expected("a weight above 0 for one of them");
    }
    for (index, entry) in urls.iter().enumerate() {
        let path = several.index(index);
        let Some(url) = entry.url() else { continue };
        match values::upstream(url) {
            Err(expected) => {
                let path = if matches!(entry, raw::UpstreamEntry::Url(_)) { path } else { path.key("url") };
                reader.findings.not(&path, url, expected);
            }
            Ok(upstream) => {
                alike(&upstream, &found, &path, reader.findings);
                found.push(upstream);
            }
        }
    }
    (found.len() == urls.len()).then_some(found)
}

/// Of several upstreams, each is another place and speaks as the first does.
fn alike(upstream: &Upstream, before: &[Upstream], path: &Path, findings: &mut Findings) {
    if let Some(same) = before.iter().position(|other| other == upstream) {
        findings.value(path, format!("the same place as `upstreams[{same}]`")).expected("a place of its own");
    } else if before.first().is_some_and(|first| first.tls != upstream.tls) {
        let what = "`https://` and `http://` upstreams in one list";
        findings.value(path, what).expected("all `https://` or all `http://`");
    }
}

fn websocket(raw: &raw::Websocket, profile: Option<&Profile>, path: &Path, findings: &mut Findings) -> Websocket {
    let mut reader = Reader { path: path.clone(), findings };
    let keep_alive =
        reader.read("keep_alive", raw.keep_alive.as_ref().map(|text| text.0.as_str()), values::ping).flatten();
    if let Some(profile) = profile.filter(|profile| keep_alive.is_some() && !profile.sockets().have_keep_alive()) {
        let what =
            format!("the profile `{}` has no message that keeps a socket open and costs nothing", profile.name());
        reader
            .findings
            .value(&path.key("keep_alive"), what)
            .expected("`off`, or a profile with `[[websocket.keep_alive]]`");
    }
    let redial = raw.redial.unwrap_or(defaults::WEBSOCKET_REDIAL);
    if let Some(profile) = profile.filter(|profile| redial && !profile.sockets().have_redial()) {
        let what = format!("the profile `{}` does not say which of its sockets may be dialled again", profile.name());
        reader.findings.value(&path.key("redial"), what).expected("`false`, or a profile with `[[websocket.redial]]`");
    }
    let mut size = |key, raw, default| reader.size(key, raw, default, 1..=u64::MAX);
    Websocket {
        max_frame: size("max_frame", raw.max_frame.as_ref(), defaults::WEBSOCKET_MAX_FRAME),
        max_message: size("max_message", raw.max_message.as_ref(), defaults::WEBSOCKET_MAX_MESSAGE),
        keep_alive,
        redial,
    }
}

/// What a route uses where its configuration says nothing.
struct Defaults {
    response: Duration,
    max_request_body: u64,
}

impl Defaults {
    /// Where the profile says what its provider's own SDKs wait, and what the provider takes, that is better than a guess: a call is cut
    /// neither before its client would give up, nor for being as large as the provider allows.
    fn of(profile: Option<&Profile>) -> Defaults {
        let said = profile.map(|profile| &profile.spec().defaults);
        let response = said.and_then(|said| values::positive_duration(said.response.as_deref()?).ok());
        let max_request_body = said.and_then(|said| values::size(said.max_request_body.as_deref()?).ok());
        Defaults {
            response: response.unwrap_or(defaults::RESPONSE_TIMEOUT),
            max_request_body: max_request_body.filter(|size| *size > 0).unwrap_or(defaults::MAX_REQUEST_BODY),
        }
    }
}

fn timeouts(raw: &raw::Timeouts, response: Duration, path: &Path, findings: &mut Findings) -> Timeouts {
    let mut reader = Reader { path: path.clone(), findings };
    Timeouts {
        connect: reader.deadline("connect", raw.connect.as_ref(), defaults::CONNECT_TIMEOUT),
        response: reader.deadline("response", raw.response.as_ref(), response),
        idle: reader.deadline("idle", raw.idle.as_ref(), defaults::IDLE_TIMEOUT),
        websocket_idle: reader.deadline(
            "websocket_idle",
            raw.websocket_idle.as_ref(),
            defaults::WEBSOCKET_IDLE_TIMEOUT,
        ),
        total: raw.total.as_ref().map(|text| reader.deadline("total", Some(text), Duration::MAX)),
    }
}
