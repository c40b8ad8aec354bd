//! `rate_limits`, `concurrency`, `retry`, `circuit_breaker`, `silence` and `[limits]`

use super::Reader;
use crate::canon::{Code, PathTemplate, Profile, Type};
use crate::config::defaults::limits as defaults;
use crate::config::path::Path;
use crate::config::problem::{Findings, alternatives};
use crate::config::raw;
use crate::config::secret::Secret;
use crate::config::types::{CircuitBreaker, Concurrency, Cost, LimitKey, Limits, RateLimit, Retry, WaitScope, Waits};
use crate::config::values::{self, Expected};
use crate::generation::Silence;

/// `rate_limits`; without a profile nothing is said about what it would have to know.
pub(super) fn rate_limits(
    raw: &[raw::RateLimit],
    profile: Option<&Profile>,
    path: &Path,
    findings: &mut Findings,
) -> Vec<RateLimit> {
    raw.iter().enumerate().filter_map(|(index, raw)| rate_limit(raw, profile, &path.index(index), findings)).collect()
}

fn rate_limit(
    raw: &raw::RateLimit,
    profile: Option<&Profile>,
    path: &Path,
    findings: &mut Findings,
) -> Option<RateLimit> {
    let mut reader = Reader { path: path.clone(), findings };
    let per = raw.per.as_ref().map(|text| text.0.as_str());
    let per = reader.read("per", per, values::positive_duration);
    let matches = raw.matches.as_deref().map(|text| template(text, path, reader.findings));
    let key = limit_key(raw.key.as_deref().unwrap_or(defaults::RATE_KEY), path, findings);
    let code = raw.code.as_deref().map(|text| refusal(text, path, findings));
    if let (Some(LimitKey::PathParameter(name)), None | Some(Some(_))) = (&key, &matches) {
        has_parameter(name, matches.as_ref().and_then(Option::as_ref), path, findings);
    }
    let cost = cost(raw.cost.unwrap_or_default(), profile, path, findings);
    let requests = raw.requests?;
    Some(RateLimit {
        requests,
        per: per?,
        burst: raw.burst.unwrap_or(requests),
        matches: matches.flatten(),
        key: key?,
        code: code.unwrap_or(Some(defaults::RATE_CODE))?,
        cost,
    })
}

/// Whether a profile knows what these limits, which are not only its own, count.
pub(super) fn are_counted_by(raw: &[raw::RateLimit], profile: &Profile, path: &Path, findings: &mut Findings) {
    for (index, raw) in raw.iter().enumerate() {
        let path = path.index(index);
        // Once for all routes that share them.
        if !findings.any_within(&path.key("cost")) {
            let _ = cost(raw.cost.unwrap_or_default(), Some(profile), &path, findings);
        }
    }
}

/// What a limit counts; characters can only be counted where the profile says where the text is.
fn cost(raw: raw::Cost, profile: Option<&Profile>, path: &Path, findings: &mut Findings) -> Cost {
    match raw {
        raw::Cost::Requests => Cost::Requests,
        raw::Cost::BodyBytes => Cost::BodyBytes,
        raw::Cost::TextCharacters => {
            if let Some(profile) = profile.filter(|profile| !profile.knows_texts()) {
                let what = format!("the profile `{}` does not say where the text of a request is", profile.name());
                findings
                    .value(&path.key("cost"), what)
                    .expected("`requests`, `body-bytes` or a profile with `[cost] text`");
            }
            Cost::TextCharacters
        }
        raw::Cost::AudioSeconds => {
            if let Some(profile) = profile.filter(|profile| !profile.knows_generations()) {
                let what = format!("the profile `{}` does not say where audio is", profile.name());
                findings.value(&path.key("cost"), what).expected("`requests` or a profile with `[[generations]]`");
            }
            Cost::AudioSeconds
        }
    }
}

/// Which requests a limit counts.
fn template(text: &str, path: &Path, findings: &mut Findings) -> Option<PathTemplate> {
    match PathTemplate::parse(text) {
        Ok(template) => Some(template),
        Err(what) => {
            let path = path.key("match");
            let hidden = findings.secrets.contains(&path);
            findings.value(&path, if hidden { "this value is not a path template".to_owned() } else { what });
            None
        }
    }
}

fn limit_key(text: &str, path: &Path, findings: &mut Findings) -> Option<LimitKey> {
    const KINDS: [&str; 5] = ["route", "client-ip", "credential", "header:", "path:"];
    let read = |text: &str| -> Result<LimitKey, Expected> {
        match text.split_once(':') {
            None if text == "route" => Ok(LimitKey::Route),
            None if text == "client-ip" => Ok(LimitKey::ClientIp),
            None if text == "credential" => Ok(LimitKey::Credential),
            Some(("header", name)) => values::header(name).map(LimitKey::Header),
            Some(("path", name)) if !name.is_empty() => Ok(LimitKey::PathParameter(name.to_owned())),
            Some(_) | None => Err("`route`, `client-ip`, `credential`, `header:NAME` or `path:NAME`".to_owned()),
        }
    };
    match read(text) {
        Ok(key) => Some(key),
        Err(expected) => {
            findings.not(&path.key("key"), text, expected).nearest(text, KINDS);
            None
        }
    }
}

/// `key = "path:id"` needs a `{id}` in the limit's `match`.
fn has_parameter(name: &str, template: Option<&PathTemplate>, path: &Path, findings: &mut Findings) {
    let names: Vec<&str> = template.into_iter().flat_map(PathTemplate::names).collect();
    if !names.contains(&name) {
        let here = path.key("key");
        let what = format!("{} names no part of this limit's `match`", findings.quote(&here, &format!("path:{name}")));
        let expected = if names.is_empty() {
            format!("a `match` with `{{{name}}}` in it")
        } else {
            alternatives(names.iter().map(|name| format!("path:{name}")).collect::<Vec<_>>().iter().map(String::as_str))
        };
        findings.value(&here, what).expected(expected);
    }
}

/// The code with which a rate limit refuses.
fn refusal(text: &str, path: &Path, findings: &mut Findings) -> Option<Code> {
    let code = Code::from_name(text).filter(|code| code.kind() == Type::RateLimited);
    if code.is_none() {
        let fitting = Code::ROWS.iter().filter(|row| row.kind == Type::RateLimited).map(|row| row.name);
        let fitting: Vec<&str> = fitting.collect();
        let finding = findings.not(&path.key("code"), text, alternatives(fitting.iter().copied()));
        finding.nearest(text, fitting);
    }
    code
}

/// `concurrency`
pub(super) fn concurrency(raw: &raw::Concurrency, path: &Path, findings: &mut Findings) -> Option<Concurrency> {
    let mut reader = Reader { path: path.clone(), findings };
    let max_wait = reader.duration("max_wait", raw.max_wait.as_ref(), defaults::MAX_WAIT);
    let settle = reader.duration("settle", raw.settle.as_ref(), defaults::SETTLE);
    let (queue, learn) = (raw.queue.unwrap_or(defaults::QUEUE), raw.learn.unwrap_or(defaults::LEARN));
    Some(Concurrency { max: raw.max?, queue, max_wait, learn, settle })
}

/// A gateway of a fleet is granted slots when a call waits for one, so that without a place to wait no call would ever begin.
pub(super) fn waits_for_the_fleet(raw: &raw::Concurrency, path: &Path, findings: &mut Findings) {
    const WHY: &str = "with a `[limits] backend` a call waits for its first slot";
    if raw.queue == Some(0) {
        findings.value(&path.key("queue"), WHY).expected("at least 1");
    }
    if raw.max_wait.as_ref().and_then(|text| values::duration(&text.0).ok()).is_some_and(|wait| wait.is_zero()) {
        findings.value(&path.key("max_wait"), WHY).expected("a duration longer than zero");
    }
}

/// `waits`
pub(super) fn waits(raw: &raw::Waits, path: &Path, findings: &mut Findings) -> Waits {
    let mut reader = Reader { path: path.clone(), findings };
    Waits {
        enabled: raw.enabled.unwrap_or(defaults::WAITS),
        max_hold: reader.deadline("max_hold", raw.max_hold.as_ref(), defaults::MAX_HOLD),
        scope: match raw.scope.unwrap_or_default() {
            raw::WaitScope::Auto => WaitScope::Auto,
            raw::WaitScope::Path => WaitScope::Path,
            raw::WaitScope::Credential => WaitScope::Credential,
        },
    }
}

/// `retry`
pub(super) fn retry(raw: &raw::Retry, path: &Path, findings: &mut Findings) -> Retry {
    let mut reader = Reader { path: path.clone(), findings };
    let budget = reader.read("budget", raw.budget.as_ref().map(|text| text.0.as_str()), values::percentage);
    let on = match &raw.on {
        None => defaults::RETRY_ON.to_vec(),
        Some(names) => retried(names, &path.key("on"), findings),
    };
    let attempts = raw.attempts.unwrap_or(defaults::RETRY_ATTEMPTS);
    Retry { attempts, on, budget: budget.unwrap_or(defaults::RETRY_BUDGET) }
}

/// `silence`
pub(super) fn silence(raw: &raw::Silence, path: &Path, findings: &mut Findings) -> Silence {
    let mut reader = Reader { path: path.clone(), findings };
    let first_audio = raw.first_audio.as_ref().map(|text| text.0.as_str());
    let first_audio = reader.read("first_audio", first_audio, values::first_audio);
    let gap = reader.read("gap", raw.gap.as_ref().map(|text| text.0.as_str()), values::silence);
    let result = reader.read("result", raw.result.as_ref().map(|text| text.0.as_str()), values::silence);
    Silence { first_audio, gap, empty: raw.empty.unwrap_or_default(), result, level: raw.level }
}

/// `circuit_breaker`
pub(super) fn circuit_breaker(raw: &raw::CircuitBreaker, path: &Path, findings: &mut Findings) -> CircuitBreaker {
    let mut reader = Reader { path: path.clone(), findings };
    CircuitBreaker {
        failures: raw.failures.unwrap_or(defaults::BREAKER_FAILURES),
        window: reader.deadline("window", raw.window.as_ref(), defaults::BREAKER_WINDOW),
        open: reader.deadline("open", raw.open.as_ref(), defaults::BREAKER_OPEN),
    }
}

/// The types after which it is tried again; those that another try cannot help are refused.
fn retried(names: &[String], path: &Path, findings: &mut Findings) -> Vec<Type> {
    const HOPEFUL: [Type; 7] = [
        Type::Conflict,
        Type::RateLimited,
        Type::ConcurrencyLimited,
        Type::Internal,
        Type::Upstream,
        Type::Unavailable,
        Type::Timeout,
    ];
    if names.is_empty() {
        findings.value(path, "an empty list").expected("at least one type of errors");
    }
    let mut types = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match HOPEFUL.into_iter().find(|kind| kind.as_str() == name) {
            Some(kind) => types.push(kind),
            None => {
                let names = HOPEFUL.map(Type::as_str);
                findings.not(&path.index(index), name, alternatives(names)).nearest(name, names);
            }
        }
    }
    types
}

/// `[limits]`; no message quotes the URL, which may hold a password.
pub(super) fn limits(raw: &raw::Limits, findings: &mut Findings) -> Limits {
    let mut reader = Reader { path: Path::of("limits"), findings };
    let lease = reader.read("lease", raw.lease.as_ref().map(|text| text.0.as_str()), values::lease);
    let lease = lease.unwrap_or(defaults::LEASE);
    let timeout = reader.deadline("timeout", raw.timeout.as_ref(), defaults::TIMEOUT.min(lease / 10));
    if timeout > lease / 10 {
        let expected = format!("at most a tenth of the lease, {}", humantime::format_duration(lease / 10));
        reader.refuse("timeout", &humantime::format_duration(timeout).to_string(), expected);
    }
    let prefix = reader.read("prefix", raw.prefix.as_deref(), values::key_prefix);
    let backend = raw.backend.as_ref().filter(|url| {
        let fits = values::is_backend(url);
        if !fits {
            let path = reader.path.key("backend");
            let finding = reader.findings.value(&path, "this value cannot be used");
            finding.expected("a URL such as `redis://127.0.0.1:6379/0`");
        }
        fits
    });
    let ca_file = reader.pem("ca", raw.ca.as_ref(), "CERTIFICATE");
    if raw.ca.is_some() && !raw.backend.as_ref().is_some_and(|url| url.starts_with("rediss://")) {
        let path = reader.path.key("ca");
        reader.findings.key(&path, "has no use without a `rediss://` backend").expected("`backend = \"rediss://…\"`");
    }
    Limits {
        state: raw.state.as_ref().map(std::path::PathBuf::from),
        ca_file,
        backend: backend.map(|url| Secret::new(url.clone())),
        lease,
        timeout,
        prefix: prefix.unwrap_or_else(|| defaults::PREFIX.to_owned()),
    }
}
