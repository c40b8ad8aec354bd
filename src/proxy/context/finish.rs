//! The end of a call: one count, one line, one span, however it came.

use super::{Call, redact};
use crate::canon::{CanonicalError, Code, Fault};
use crate::telemetry::access::Entry;
use crate::telemetry::metrics::Times;
use std::borrow::Cow;
use std::time::Instant;

impl Call {
    /// The last byte has been handed over.
    pub(crate) fn complete(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.admission.end();
        let now = Instant::now();
        let total = now - self.started;
        let forwarded = self.forwarded.map(|forwarded| forwarded - self.started);
        let times = Times {
            total,
            upstream: forwarded.map(|forwarded| total.saturating_sub(forwarded)),
            first_byte: self.first_byte.map(|first| first - self.started),
            overhead: forwarded.map(|forwarded| forwarded.saturating_sub(self.waited)),
            spot: self.trace.spot(),
        };
        self.metrics().request_finished(&self.method, self.status, &times);
        if self.state.shared.metrics.keeps_semantic() {
            // By the conventions a WebSocket's request has ended with the answer to its handshake.
            let total = self.upgraded.map_or(times.total, |upgraded| upgraded - self.started);
            let code = self.error.as_ref().map(|noted| noted.code);
            self.metrics().request_seen(&self.method, self.tls, self.status, code, total);
        }
        self.export_spans(now);
        self.in_flight = None;
        self.stay = None;
        if let Some(access) = &self.state.shared.access {
            if self.error.is_none() && !access.wants_success() {
                return self.metrics().request_unlogged();
            }
            access.write(&self.entry(&self.shown_target(), &times));
        }
    }

    /// Path and query without secrets.
    pub(super) fn shown_target(&self) -> Cow<'_, str> {
        let Some(target) = self.target.path_and_query() else { return Cow::Borrowed("") };
        if target.query().is_none() {
            return Cow::Borrowed(target.as_str());
        }
        let secrets = self.route.as_ref().map_or(&[][..], |route| route.headers.secret_query());
        redact::redact_query(target.as_str(), secrets)
    }

    fn entry<'a>(&'a self, target: &'a str, times: &Times) -> Entry<'a> {
        let route = self.route.as_ref().map(|runtime| &runtime.route);
        Entry {
            time: self.arrived,
            request_id: self.id_text(),
            upstream_request_id: self.upstream_request_id.as_deref(),
            trace_id: self.trace.id(),
            route: route.map_or("", |route| &route.name),
            provider: route.map_or("", |route| &route.provider),
            protocol: self.protocol,
            method: self.method.as_str(),
            target,
            status: self.status,
            error: self.error.as_ref().map(|noted| (noted.code, noted.origin)),
            detail: self.error.as_ref().and_then(|noted| noted.detail.as_deref()),
            upstream_status: self.upstream_status,
            bytes_in: self.bytes_in(),
            bytes_out: self.sent,
            duration: times.total,
            first_byte: times.first_byte,
            upstream: times.upstream,
            queue_wait: self.queue_wait(),
            retries: self.attempts.saturating_sub(1) + u32::from(self.reconnected),
            client: self.peer.shown.as_deref(),
        }
    }

    pub(super) fn bytes_in(&self) -> u64 {
        self.received + self.upload.as_ref().map_or(0, |progress| progress.received())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        if self.error.is_none() {
            let fault = match self.peer.has_stalled() {
                _ if std::thread::panicking() => Fault::Panic,
                true => Fault::CallerStalled,
                false => Fault::CallerLeft,
            };
            if fault == Fault::Panic && self.status == 0 {
                self.status = fault.code().status();
            }
            self.record(self.phase, &CanonicalError::from_fault(fault), None);
        }
        if self.status == 0 {
            self.status = Code::ClientCancelled.status();
        }
        self.finish();
    }
}
