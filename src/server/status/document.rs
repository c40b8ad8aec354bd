//! `/status.json`: the document behind the status page, rendered on request.

use super::blame::Blame;
use super::command::command;
use super::routes::{self, Route};
use super::tenants;
use crate::canon::Code;
use crate::proxy::State;
use crate::server::reload::Reload;
use crate::telemetry::history::{self, History};
use crate::telemetry::journal::{self, Run};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the page already has, so that only newer entries are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The number of the last error that it has.
    error: u64,
    /// The number of the last bucket that it has, which was still open.
    bucket: u64,
}

impl Seen {
    /// Reads `error=7&bucket=3`; invalid values count as not seen.
    pub(super) fn from_query(query: &str) -> Seen {
        let value = |name: &str| {
            let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
            pair.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        Seen { error: value("error"), bucket: value("bucket") }
    }
}

/// The state of the process.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// `running` or `draining`.
    pub phase: &'static str,
    /// Connections of clients that are open.
    pub connections: usize,
    /// The result of the last reload.
    pub reload: Option<Arc<Reload>>,
    /// The keys that have changed since the start and take effect after a restart.
    pub waiting: Vec<&'static str>,
}

/// Where the document gets its data.
pub(super) struct Sources<'a> {
    pub(super) state: &'a State,
    pub(super) history: &'a History,
    pub(super) situation: Situation,
    pub(super) started: SystemTime,
    pub(super) now: SystemTime,
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    /// When the process started; if it changes, numbers start over.
    started: u64,
    now: u64,
    phase: &'static str,
    connections: usize,
    reload: Option<Reloaded>,
    /// Changed keys that take effect after a restart.
    restart: Vec<&'static str>,
    failing: Vec<Failing<'a>>,
    last_error: Option<Failing<'a>>,
    /// The period that the numbers of `routes` cover, in seconds.
    window: u64,
    routes: Vec<Route<'a>>,
    /// The number of configured routes that are left out, because there are many and these have no traffic.
    silent: usize,
    tenants: Vec<tenants::Row<'a>>,
    /// Tenants that are left out, because there are many and they do nothing.
    silent_tenants: usize,
    /// The width of a bucket, in seconds.
    step: u64,
    buckets: Vec<Bucket<'a>>,
    errors: Vec<Line<'a>>,
    unmapped: Vec<Unmapped<'a>>,
    /// The type of each code and whether only clients can fix it; sent to a page that has no data yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    codes: Option<BTreeMap<&'static str, (&'static str, bool)>>,
}

#[derive(Serialize)]
struct Reloaded {
    at: u64,
    cause: &'static str,
    ok: bool,
    text: String,
}

#[derive(Serialize)]
struct Failing<'a> {
    route: &'a str,
    provider: &'a str,
    code: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    blame: Blame,
    since: u64,
    last: u64,
    count: u64,
    sentence: &'static str,
    /// What the operator can do.
    advice: &'static str,
}

#[derive(Serialize)]
struct Bucket<'a> {
    number: u64,
    began: u64,
    errors: Vec<(&'a str, &'static str, u64)>,
}

#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    at: u64,
    route: &'a str,
    provider: &'a str,
    code: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    origin: &'static str,
    transport: &'static str,
    request: &'a str,
    status: u16,
    upstream_status: Option<u16>,
    request_id: &'a str,
    upstream_request_id: Option<&'a str>,
    upstream: Option<&'a str>,
    message: &'a str,
    advice: &'static str,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    route: &'a str,
    provider: &'a str,
    upstream_code: &'a str,
    code: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    first: u64,
    last: u64,
    count: u64,
    /// The command to paste into a shell.
    command: String,
}

/// Renders what is newer than the page already has.
pub(super) fn render(sources: &Sources<'_>, seen: Seen) -> String {
    let shared = &sources.state.shared;
    let (journal, totals) = (&shared.journal, shared.metrics.totals());
    let (then, before) = sources.history.then();
    let buckets = sources.history.buckets(seen.bucket, &totals);
    let (errors, samples, mut runs) = (journal.errors(seen.error), journal.samples(), journal.failing(sources.now));
    // Within each level of urgency, most errors first.
    runs.sort_by_key(|run| Blame::of(run.code, run.origin));
    let last_error = journal.last_error();
    let (routes, silent) = routes::rows(sources.state, &totals, &before);
    let (tenants, silent_tenants) = tenants::rows(sources.state, &totals, &before);
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        started: millis(sources.started),
        now: millis(sources.now),
        phase: sources.situation.phase,
        connections: sources.situation.connections,
        restart: sources.situation.waiting.clone(),
        reload: sources.situation.reload.as_deref().map(|reload| Reloaded {
            at: millis(reload.at),
            cause: reload.cause.as_str(),
            ok: reload.outcome.is_ok(),
            text: reload.to_string(),
        }),
        failing: runs.iter().map(failing).collect(),
        last_error: last_error.as_ref().map(failing),
        window: sources.now.duration_since(then).unwrap_or_default().as_secs().max(1),
        routes,
        silent,
        tenants,
        silent_tenants,
        step: history::STEP.as_secs(),
        buckets: buckets.iter().map(bucket).collect(),
        errors: errors.iter().map(|error| line(error)).collect(),
        unmapped: samples.iter().map(unmapped).collect(),
        codes: (seen == Seen::default()).then(codes),
    };
    // Serialization cannot fail: all keys are strings.
    serde_json::to_string(&document).unwrap_or_default()
}

fn codes() -> BTreeMap<&'static str, (&'static str, bool)> {
    Code::ROWS.iter().map(|row| (row.name, (row.kind.as_str(), row.kind.is_clients()))).collect()
}

fn failing(run: &Run) -> Failing<'_> {
    let (row, blame) = (run.code.row(), Blame::of(run.code, run.origin));
    Failing {
        route: &run.route,
        provider: &run.provider,
        code: row.name,
        kind: row.kind.as_str(),
        blame,
        since: millis(run.since),
        last: millis(run.last),
        count: run.count,
        sentence: row.sentence,
        advice: blame.advice(run.code),
    }
}

fn bucket(bucket: &history::Bucket) -> Bucket<'_> {
    let errors = bucket.errors.iter().map(|(route, code, count)| (&**route, code.as_str(), *count));
    Bucket { number: bucket.number, began: millis(bucket.began), errors: errors.collect() }
}

fn line(error: &journal::Error) -> Line<'_> {
    let row = error.code.row();
    Line {
        number: error.number,
        at: millis(error.at),
        route: &error.route,
        provider: &error.provider,
        code: row.name,
        kind: row.kind.as_str(),
        origin: error.origin.as_str(),
        transport: error.transport.as_str(),
        request: &error.request,
        status: error.status,
        upstream_status: error.upstream_status,
        request_id: &error.request_id,
        upstream_request_id: error.upstream_request_id.as_deref(),
        upstream: error.upstream.as_deref(),
        message: &error.message,
        advice: row.advice,
    }
}

fn unmapped(sample: &journal::Sample) -> Unmapped<'_> {
    Unmapped {
        route: &sample.route,
        provider: &sample.provider,
        upstream_code: &sample.upstream_code,
        code: sample.code.as_str(),
        kind: sample.code.kind().as_str(),
        first: millis(sample.first),
        last: millis(sample.last),
        count: sample.count,
        command: command(sample),
    }
}

/// Milliseconds since 1970, as JavaScript counts.
fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_queries_count_as_nothing_seen() {
        for (query, error, bucket) in
            [("", 0, 0), ("error=7&bucket=3", 7, 3), ("bucket=3", 0, 3), ("error=-1&bucket=x", 0, 0), ("error", 0, 0)]
        {
            assert_eq!(Seen::from_query(query), Seen { error, bucket }, "{query}");
        }
    }
}
