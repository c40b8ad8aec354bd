//! Records an error: counts it, adds it to the journal and the trace, and reports it to the limits and the account of its call.
//! Once for each error, whatever response follows.

use super::{Noted, RequestContext, RoutedContext};
use crate::canon::{CanonicalError, Phase};
use crate::proxy::redact::redact_tokens;
use crate::proxy::state::Shared;
use crate::proxy::tenants;
use crate::proxy::upstreams::{is_broken, is_refused_account};
use crate::telemetry::journal::Error;
use crate::telemetry::metrics::{RouteMetrics, TenantMetrics, Transport};
use crate::telemetry::trace::SpanRef;
use crate::telemetry::upstreams::UpstreamMetrics;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Longest message, request and id that are kept, in characters.
const MESSAGE: usize = 300;
pub(crate) const REQUEST: usize = 200;
pub(crate) const ID: usize = 128;

impl RoutedContext {
    /// Records an error.
    pub(crate) fn record(&mut self, phase: Phase, error: &CanonicalError, detail: Option<String>) {
        count(self.metrics(), self.tenant_metrics(Some(&self.route)), phase, error, self.trace.span());
        if !std::mem::take(&mut self.counted) {
            self.count_provider(phase, error);
        }
        // Immediately, and not at the end of a stream or session that may last: the next retry should find the circuit open.
        if let Some(pass) = self.pass.take_if(|_| is_broken(error.code, error.origin)) {
            pass.ended(Some((error.code, error.origin, error.fault)), tokio::time::Instant::now().into_std());
        }
        let names = self.names();
        let upstreams = &self.route.upstreams;
        let sent = upstreams.len() > 1 && self.request.upstream.forwarded.is_some();
        let upstream = upstreams.get(self.destination.upstream).filter(|_| sent).map(Arc::clone);
        self.request.remember((names, upstream), phase, error, detail);
    }

    /// Records a failed attempt that is retried: the provider's error counts, though the client never sees it.
    pub(crate) fn record_try(&mut self, error: &CanonicalError) {
        self.trace.failed(error.code, Instant::now());
        self.count_provider(self.phase, error);
        self.counted = true;
    }

    fn count_provider(&mut self, phase: Phase, error: &CanonicalError) {
        // A failed job that is reported in a 200 failed in the past, so it causes no backoff now.
        if phase != Phase::Job {
            let RoutedContext { request, route, admission, guard, .. } = self;
            route.limits.failed(admission, request.upstream.limited_path(), error);
            if request.times.upgraded.is_some() && is_refused_account(error) {
                route.limits.turn_away(admission, request.upstream.limited_path(), error);
            }
            if let Some(guard) = guard {
                guard.record_error(error);
            }
        }
        let metrics = self.metrics();
        if error.upstream.is_some() {
            metrics.upstream_error(&error.upstream_label, error.code);
        }
        if error.unmapped {
            metrics.unmapped();
            self.state.shared.unmapped(self.route_name(), self.id_text(), error);
        }
    }

    /// Records that the provider refused another socket for an open session. The refusal applies to the next requests, while this
    /// client is told how its old socket ended.
    pub(crate) fn record_redial(&mut self, error: &CanonicalError) {
        self.count_provider(Phase::Handshake, error);
    }

    /// The names of its route and its provider.
    pub(crate) fn names(&self) -> (Arc<str>, Arc<str>) {
        self.route.names.clone()
    }
}

impl RequestContext {
    /// Records an error that occurred before routing.
    pub(crate) fn record_unrouted(&mut self, error: &CanonicalError) {
        count(&self.state.shared.unrouted, None, self.phase, error, self.trace.span());
        self.remember((nobody(), None), self.phase, error, None);
    }

    fn remember(&mut self, whose: Whose, phase: Phase, error: &CanonicalError, detail: Option<String>) {
        let request = || match self.state.tenants.ask() {
            true => format!("{} {}", self.method, tenants::shown(self.path())),
            false => format!("{} {}", self.method, self.path()),
        };
        journal(&self.state.shared, whose, phase, error, self.id_text(), request);
        let upstream_id = error.upstream.as_ref().and_then(|upstream| upstream.request_id.as_ref());
        self.upstream.request_id = upstream_id.cloned();
        self.trace.note(error);
        self.error = Some(Noted { code: error.code, origin: error.origin, fault: error.fault, detail });
    }
}

/// Records an error of bytes that never became a request.
pub(crate) fn unparsed(shared: &Shared, error: &CanonicalError, request_id: &str) {
    count(&shared.unrouted, None, Phase::Http, error, None);
    journal(shared, (nobody(), None), Phase::Http, error, request_id, String::new);
}

/// The names of a route and its provider, and the upstream that was used if there are several.
type Whose = ((Arc<str>, Arc<str>), Option<Arc<UpstreamMetrics>>);

fn nobody() -> (Arc<str>, Arc<str>) {
    (Arc::from(""), Arc::from(""))
}

/// Counts an error. Nothing else does.
fn count(
    metrics: &RouteMetrics,
    tenant: Option<&TenantMetrics>,
    phase: Phase,
    error: &CanonicalError,
    seen_at: Option<SpanRef>,
) {
    let transport = Transport::from(phase);
    if let Some(tenant) = tenant {
        return tenant.error(error.code, error.origin, transport, seen_at);
    }
    metrics.error(error.code, error.origin, transport);
    if let Some(span) = seen_at {
        metrics.error_at(error.code, error.origin, transport, span);
    }
}

/// Adds an error to the journal.
fn journal(
    shared: &Shared,
    ((route, provider), from): Whose,
    phase: Phase,
    error: &CanonicalError,
    request_id: &str,
    request: impl Fn() -> String,
) {
    let at = SystemTime::now();
    let upstream = error.upstream.as_ref();
    shared.journal.error(&route, &provider, error.code, error.origin, at, || Error {
        number: 0,
        at,
        route: Arc::clone(&route),
        provider: Arc::clone(&provider),
        code: error.code,
        origin: error.origin,
        transport: phase.into(),
        request: cut(&request(), REQUEST),
        status: error.status(),
        upstream_status: upstream.and_then(|upstream| upstream.status),
        request_id: cut(request_id, ID),
        upstream_request_id: upstream.and_then(|upstream| upstream.request_id.as_deref()).map(|id| cut(id, ID)),
        upstream: from.as_ref().map(|upstream| upstream.name().to_owned()),
        message: cut(&redact_tokens(&error.message), MESSAGE),
    });
}

/// The first characters of a text, up to this number.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
