//! The end of a request: counts, logs and traces it exactly once, however it ended.

use super::{RequestContext, RoutedContext};
use crate::canon::{CanonicalError, Code, Fault};
use crate::proxy::{RouteRuntime, redact, tenants};
use crate::telemetry::access::{Entry, Further};
use crate::telemetry::metrics::{RouteMetrics, Times};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

impl RoutedContext {
    /// The last byte has been handed to the server.
    pub(crate) fn complete(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.admission.end();
        if self.followed.is_some() {
            self.generation_ends(self.request.error.as_ref().map(|noted| noted.code));
        }
        let RoutedContext { request, route, destination, in_flight, guard, pass, .. } = self;
        let route: &RouteRuntime = route;
        if let Some(pass) = pass.take() {
            let error = request.error.as_ref().map(|noted| (noted.code, noted.origin, noted.fault));
            pass.ended(error, tokio::time::Instant::now().into_std());
        }
        let free = || {
            // Before the log line is written, which may take a moment.
            (*in_flight, *guard) = (None, None);
        };
        let upstream = route.upstreams.get(destination.upstream).filter(|_| request.upstream.forwarded.is_some());
        let upstream = upstream.map(|upstream| upstream.name());
        request.finish(&route.metrics, Some(route), upstream, free);
    }
}

impl RequestContext {
    /// The whole response to a request without a route has been made.
    pub(crate) fn complete_unrouted(&mut self) {
        let unrouted = Arc::clone(&self.state.shared.unrouted);
        self.finish(&unrouted, None, None, || ());
    }

    fn times(&self, now: Instant) -> Times {
        let started = self.times.started;
        let total = now - started;
        let forwarded = self.upstream.forwarded.map(|forwarded| forwarded - started);
        Times {
            total,
            upstream: forwarded.map(|forwarded| total.saturating_sub(forwarded)),
            first_byte: self.times.first_byte.map(|first| first - started),
            overhead: forwarded.map(|forwarded| forwarded.saturating_sub(self.times.waited)),
            span: self.trace.span(),
        }
    }

    /// Updates the metrics, exports the trace and writes the log line.
    fn finish(
        &mut self,
        metrics: &RouteMetrics,
        route: Option<&RouteRuntime>,
        upstream: Option<&str>,
        free: impl FnOnce(),
    ) {
        self.finished = true;
        let now = Instant::now();
        let times = self.times(now);
        match self.tenant_metrics(route) {
            Some(tenant) => metrics.request_finished_of(tenant, &self.method, self.status, &times),
            None => metrics.request_finished(&self.method, self.status, &times),
        }
        if self.state.shared.metrics.keeps_semantic() {
            // By the semantic conventions, the duration of a WebSocket request ends with the response to its handshake.
            let total = self.times.upgraded.map_or(times.total, |upgraded| upgraded - self.times.started);
            let code = self.error.as_ref().map(|noted| noted.code);
            metrics.request_seen(&self.method, self.peer.tls, self.status, code, total);
        }
        self.export_spans(route, now);
        free();
        if let Some(access) = &self.state.shared.access {
            if self.error.is_none() && !access.wants_success() {
                return metrics.request_unlogged();
            }
            access.write(&self.entry(route, &self.shown_target(route), &times, upstream));
        }
    }

    /// Path and query, with secrets redacted.
    pub(super) fn shown_target(&self, route: Option<&RouteRuntime>) -> Cow<'_, str> {
        let Some(target) = self.target.path_and_query() else { return Cow::Borrowed("") };
        let target = match self.state.tenants.guard() {
            true => tenants::shown(target.as_str()),
            false => Cow::Borrowed(target.as_str()),
        };
        if !target.contains('?') {
            return target;
        }
        let secrets = route.map_or(&[][..], |route| route.headers.secret_query());
        match redact::redact_query(&target, secrets) {
            Cow::Owned(redacted) => Cow::Owned(redacted),
            Cow::Borrowed(_) => target,
        }
    }

    fn entry<'a>(
        &'a self,
        route: Option<&'a RouteRuntime>,
        target: &'a str,
        times: &Times,
        upstream: Option<&'a str>,
    ) -> Entry<'a> {
        let route = route.map(|runtime| &runtime.config);
        Entry {
            time: self.times.arrived,
            request_id: self.id_text(),
            upstream_request_id: self.upstream.request_id.as_deref(),
            trace_id: self.trace.id(),
            tenant: self.tenant.as_ref().map(|identity| identity.tenant.name.as_str()),
            route: route.map_or("", |route| &route.name),
            provider: route.map_or("", |route| &route.provider),
            protocol: self.protocol,
            method: self.method.as_str(),
            target,
            status: self.status,
            grpc_status: self.grpc_status,
            error: self.error.as_ref().map(|noted| (noted.code, noted.origin)),
            detail: self.error.as_ref().and_then(|noted| noted.detail.as_deref()),
            upstream_status: self.upstream.status,
            bytes_in: self.bytes_in(),
            bytes_out: self.sent,
            duration: times.total,
            first_byte: times.first_byte,
            upstream: times.upstream,
            queue_wait: self.queue_wait(),
            retries: self.upstream.attempts.saturating_sub(1) + u32::from(self.upstream.reconnected),
            client: self.peer.shown.as_deref(),
            further: Further { upstream, close_code: self.close_code, headers: Some(&self.logged) },
        }
    }

    pub(super) fn bytes_in(&self) -> u64 {
        self.received + self.upload.as_ref().map_or(0, |progress| progress.received())
    }
}

/// A panic before routing drops the request unfinished; it is counted and logged here.
impl Drop for RequestContext {
    fn drop(&mut self) {
        if !self.finished && std::thread::panicking() {
            self.record_unrouted(&CanonicalError::from_fault(Fault::Panic));
            self.answers(Fault::Panic.status());
            self.complete_unrouted();
        }
    }
}

impl Drop for RoutedContext {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        if self.upstream.attempts > 0 {
            // The provider counts the call until its connection is closed.
            self.route.limits.settle(&mut self.admission);
        }
        if self.error.is_none() {
            let fault = match self.peer.has_stalled() {
                _ if std::thread::panicking() => Fault::Panic,
                _ if self.state.shared.stopping.is_cut() => Fault::ShuttingDown,
                true => Fault::ClientStalled,
                false => Fault::ClientLeft,
            };
            if matches!(fault, Fault::Panic | Fault::ShuttingDown) && self.status == 0 {
                self.status = fault.code().status();
            }
            self.record(self.phase, &CanonicalError::from_fault(fault), None);
        }
        if self.status == 0 {
            self.status = Code::ClientCancelled.status();
        }
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;
    use crate::proxy::headers::{Fields, Identity};
    use crate::proxy::{Peer, Shared, State};
    use crate::telemetry::exposition::Format;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn a_panic_before_a_route_was_found_is_counted_once() {
        let metrics = Arc::new(Metrics::new("test", 1));
        let shared = Shared::new(Arc::clone(&metrics), None, Identity::new("test").expect("an identity"));
        let text =
            "[[routes]]\nname = 't'\nmatch = { path = '/t' }\nprovider = 'generic'\nupstream = 'https://a.example'\n";
        let loaded = load_str(&[("t.toml", text)], []).expect("a configuration");
        let state = Arc::new(State::new(Arc::new(loaded.config), shared).expect("a state"));
        let panics = std::thread::spawn(move || {
            let (parts, ()) = http::Request::new(()).into_parts();
            let _request = RequestContext::begin(state, &Peer::new(None, false), &parts, None, Fields::default());
            panic!("in the middle of routing");
        });
        assert!(panics.join().is_err());
        let mut page = String::new();
        metrics.render(Format::Prometheus, &mut page);
        let counted: Vec<&str> = page.lines().filter(|line| line.starts_with("speechgate_errors_total{")).collect();
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert!(counted[0].contains("code=\"internal_error\"") && counted[0].ends_with("} 1"), "{counted:?}");
    }
}
