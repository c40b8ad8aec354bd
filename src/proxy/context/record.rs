//! What is remembered of an error: its count, its line in the journal, its place in the trace, and what the limits and the
//! account of its call make of it. Once for each error, whatever becomes of its answer.

use super::{Call, Noted};
use crate::canon::{CanonicalError, Phase};
use crate::proxy::limits;
use crate::proxy::redact::redact_tokens;
use crate::proxy::state::Shared;
use crate::telemetry::journal::Error;
use crate::telemetry::metrics::{RouteMetrics, Transport};
use crate::telemetry::trace::Spot;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Longest message, request and id that are kept, in characters.
const MESSAGE: usize = 300;
pub(crate) const REQUEST: usize = 200;
pub(crate) const ID: usize = 128;

impl Call {
    /// An error happened.
    pub(crate) fn record(&mut self, phase: Phase, error: &CanonicalError, detail: Option<String>) {
        count(self.metrics(), phase, error, self.trace.spot());
        self.count_provider(error);
        let names = self.names();
        let request = || format!("{} {}", self.method, self.path());
        journal(&self.state.shared, names, phase, error, self.id_text(), request);
        let upstream_id = error.upstream.as_ref().and_then(|upstream| upstream.request_id.as_ref());
        self.upstream_request_id = upstream_id.cloned();
        self.trace.note(error);
        self.error = Some(Noted { code: error.code, origin: error.origin, detail });
    }

    /// A try failed that is followed by another: what the provider said counts, though the client never sees it.
    pub(crate) fn record_try(&mut self, error: &CanonicalError) {
        self.trace.failed(error.code, Instant::now());
        self.count_provider(error);
    }

    fn count_provider(&mut self, error: &CanonicalError) {
        if let Some(route) = &self.route {
            let path = limits::below_prefix(&route.route, self.provider_target.path());
            route.limits.failed(&mut self.admission, path, error);
        }
        if let Some(stay) = &mut self.stay {
            stay.told(error);
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

    /// The names of its route and its provider.
    pub(crate) fn names(&self) -> (Arc<str>, Arc<str>) {
        self.route.as_ref().map_or_else(|| (Arc::from(""), Arc::from("")), |runtime| runtime.names.clone())
    }
}

/// Records an error of what has no route.
pub(crate) fn unrouted(shared: &Shared, phase: Phase, error: &CanonicalError, request_id: &str, request: &str) {
    count(&shared.unrouted, phase, error, None);
    journal(shared, (Arc::from(""), Arc::from("")), phase, error, request_id, || request.to_owned());
}

/// The one place that counts errors.
fn count(metrics: &RouteMetrics, phase: Phase, error: &CanonicalError, seen_at: Option<Spot>) {
    let transport = Transport::from(phase);
    metrics.error(error.code, error.origin, transport);
    if let Some(spot) = seen_at {
        metrics.error_at(error.code, error.origin, transport, spot);
    }
}

/// Leaves a line about an error.
fn journal(
    shared: &Shared,
    (route, provider): (Arc<str>, Arc<str>),
    phase: Phase,
    error: &CanonicalError,
    request_id: &str,
    request: impl Fn() -> String,
) {
    let at = SystemTime::now();
    let upstream = error.upstream.as_ref();
    shared.journal.error(&route, &provider, error.code, at, || Error {
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
        message: cut(&redact_tokens(&error.message), MESSAGE),
    });
}

/// At most so many characters of a text.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
