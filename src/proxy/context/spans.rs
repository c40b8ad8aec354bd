//! The spans of a call: one for the request, one for each request to the provider, one for the session of a WebSocket; with names
//! and attributes by OpenTelemetry's semantic conventions for HTTP.
//!
//! They contain no secrets: queries are redacted as in the log, headers and bodies are left out, and of a provider's error only a
//! code that the profile knows is included.

use super::RequestContext;
use crate::canon::{Code, Phase};
use crate::proxy::trace::{Attempt, Event, Record};
use crate::proxy::{RouteRuntime, redact};
use crate::telemetry::trace::SpanRef;
use http::{Method, Version};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::time::{Instant, SystemTime};

impl RequestContext {
    /// A WebSocket is open: its handshake is exported at once, since the session may last for hours.
    pub(super) fn export_handshake(&mut self, route: &RouteRuntime, now: Instant) {
        self.times.upgraded = Some(now);
        let Some(mut record) = self.trace.record.take() else { return };
        self.export_request(Some(route), &mut record, now);
        record.session = Some((record.context.span.sibling(), now));
        self.trace.record = Some(record);
    }

    /// Exports the spans of a call that has ended.
    pub(super) fn export_spans(&mut self, route: Option<&RouteRuntime>, now: Instant) {
        let Some(mut record) = self.trace.record.take() else { return };
        match record.session {
            Some((own, began)) => {
                let span = self.session(route, &mut record, own, began, now);
                record.tracer.export(span);
            }
            None => self.export_request(route, &mut record, now),
        }
    }

    fn export_request(&self, route: Option<&RouteRuntime>, record: &mut Record, now: Instant) {
        record.end_attempt(now);
        for attempt in std::mem::take(&mut record.attempts) {
            record.tracer.export(self.client(route, record, &attempt, now));
        }
        let mut span = self.span(route, record, record.context.span, SpanKind::Server, self.times.started, now);
        span.parent_span_id = record.context.parent.unwrap_or(SpanId::INVALID);
        span.parent_span_is_remote = record.context.parent.is_some();
        span.name = self.name(route);
        span.attributes.extend(self.server_attributes(route));
        span.status = self.outcome(|code| code.status() >= 500);
        span.events = self.events(record);
        record.tracer.export(span);
    }

    /// Method and route, and not the path, which may contain anything.
    fn name(&self, route: Option<&RouteRuntime>) -> Cow<'static, str> {
        let method = method(&self.method);
        match route.map(|runtime| runtime.config.path.as_str()).filter(|path| !path.is_empty()) {
            Some(path) => format!("{method} {path}").into(),
            None => method.into(),
        }
    }

    fn server_attributes(&self, route: Option<&RouteRuntime>) -> Vec<KeyValue> {
        let target = self.shown_target(route);
        let (path, query) = target.split_once('?').map_or((&*target, None), |(path, query)| (path, Some(query)));
        let mut attributes = vec![
            KeyValue::new("url.scheme", if self.peer.tls { "https" } else { "http" }),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("network.protocol.version", version(self.protocol)),
            KeyValue::new("http.response.status_code", i64::from(self.status)),
            KeyValue::new("http.request.body.size", int(self.bytes_in())),
            KeyValue::new("http.response.body.size", int(self.sent)),
        ];
        attributes.extend(self.rpc());
        attributes.extend(query.map(|query| KeyValue::new("url.query", query.to_owned())));
        attributes.extend(route.map(|runtime| KeyValue::new("http.route", runtime.config.path.clone())));
        attributes.extend(self.peer.address.map(|peer| KeyValue::new("client.address", peer.ip().to_string())));
        if let Some(authority) = self.authority.as_ref().and_then(|authority| authority.to_str().ok()) {
            let authority: Option<http::uri::Authority> = authority.parse().ok();
            attributes.extend(authority.iter().map(|own| KeyValue::new("server.address", own.host().to_owned())));
            let port = authority.and_then(|own| own.port_u16());
            attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        }
        attributes
    }

    /// The attributes of a gRPC call.
    fn rpc(&self) -> Vec<KeyValue> {
        if self.phase != Phase::Grpc {
            return Vec::new();
        }
        let mut attributes = vec![KeyValue::new("rpc.system", "grpc")];
        let mut names = self.path().rsplit('/');
        if let (Some(method), Some(service)) = (names.next(), names.next()) {
            attributes.push(KeyValue::new("rpc.service", service.to_owned()));
            attributes.push(KeyValue::new("rpc.method", method.to_owned()));
        }
        let status = self.grpc_status.map(|status| KeyValue::new("rpc.grpc.status_code", i64::from(status)));
        attributes.extend(status);
        attributes
    }

    /// One request to the provider.
    fn client(&self, route: Option<&RouteRuntime>, record: &Record, attempt: &Attempt, now: Instant) -> SpanData {
        let ended = attempt.ended.unwrap_or(now);
        let mut span = self.span(route, record, attempt.span, SpanKind::Client, attempt.began, ended);
        span.parent_span_id = record.context.span.span_id;
        span.name = method(&self.method).into();
        // The outcome of the whole call belongs to its own span.
        span.attributes.retain(|attribute| attribute.key.as_str() != "error.type");
        let route = route.map(|runtime| &runtime.config);
        if let Some((route, upstream)) = route.and_then(|route| Some((route, route.upstreams.get(attempt.upstream)?))) {
            let scheme = if upstream.tls { "https" } else { "http" };
            let target = self.upstream.target.path_and_query().map_or("", |target| target.as_str());
            let target = redact::redact_query(target, &route.profile.spec().secrets.query);
            let url = format!("{scheme}://{}{target}", upstream.authority);
            span.attributes.push(KeyValue::new("url.full", url));
            span.attributes.push(KeyValue::new("server.address", upstream.host.clone()));
            span.attributes.push(KeyValue::new("server.port", i64::from(upstream.port)));
        }
        let status = attempt.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status)));
        span.attributes.extend(status);
        let spoken = attempt.version.map(|spoken| KeyValue::new("network.protocol.version", version(spoken)));
        span.attributes.extend(spoken);
        let peer = attempt.peer.map(|peer| KeyValue::new("network.peer.address", peer.ip().to_string()));
        span.attributes.extend(peer);
        if attempt.number > 0 {
            let resent = i64::try_from(attempt.number).unwrap_or(i64::MAX);
            span.attributes.push(KeyValue::new("http.request.resend_count", resent));
        }
        if let Some(code) = attempt.error {
            span.attributes.push(KeyValue::new("error.type", code.as_str()));
            span.status = Status::error(code.row().sentence);
        }
        span
    }

    /// The session of a WebSocket, from its opening to its end.
    fn session(
        &self,
        route: Option<&RouteRuntime>,
        record: &mut Record,
        own: SpanRef,
        began: Instant,
        now: Instant,
    ) -> SpanData {
        let mut span = self.span(route, record, own, SpanKind::Internal, began, now);
        span.parent_span_id = record.context.span.span_id;
        span.name = match route {
            None => "websocket".into(),
            Some(runtime) => format!("websocket {}", runtime.config.name).into(),
        };
        span.attributes.push(KeyValue::new("speechgate.websocket.bytes_received", int(self.received)));
        span.attributes.push(KeyValue::new("speechgate.websocket.bytes_sent", int(self.sent)));
        if let Some((code, initiator)) = record.close {
            span.attributes.push(KeyValue::new("speechgate.websocket.close_code", i64::from(code)));
            span.attributes.push(KeyValue::new("speechgate.websocket.close_initiator", initiator.as_str()));
        }
        span.status = self.outcome(|code| code != Code::ClientCancelled);
        span.events = self.events(record);
        span
    }

    /// Makes a span with what all spans of a call have in common.
    pub(super) fn span(
        &self,
        route: Option<&RouteRuntime>,
        record: &Record,
        own: SpanRef,
        kind: SpanKind,
        began: Instant,
        ended: Instant,
    ) -> SpanData {
        let mut attributes = vec![
            KeyValue::new("http.request.method", method(&self.method)),
            KeyValue::new("speechgate.request_id", self.id_text().to_owned()),
        ];
        if let Some(route) = route.map(|runtime| &runtime.config) {
            attributes.push(KeyValue::new("speechgate.route", route.name.clone()));
            attributes.push(KeyValue::new("speechgate.provider", route.provider.clone()));
        }
        if let Some(identity) = &self.tenant {
            attributes.push(KeyValue::new("speechgate.tenant", identity.tenant.name.clone()));
        }
        let upstream = self.upstream.request_id.as_ref();
        attributes.extend(upstream.map(|id| KeyValue::new("speechgate.upstream_request_id", id.clone())));
        attributes.extend(self.error.as_ref().map(|noted| KeyValue::new("error.type", noted.code.as_str())));
        SpanData {
            span_context: own.context(record.state.clone()),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: kind,
            name: Cow::Borrowed(""),
            start_time: self.moment(began),
            end_time: self.moment(ended),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope(),
        }
    }

    fn outcome(&self, is_error: impl Fn(Code) -> bool) -> Status {
        match self.error.as_ref().map(|noted| noted.code).filter(|code| is_error(*code)) {
            Some(code) => Status::error(code.row().sentence),
            None => Status::Unset,
        }
    }

    fn events(&self, record: &mut Record) -> SpanEvents {
        let mut events = SpanEvents::default();
        events.events.extend(record.events.drain(..).map(|event| self.event(event)));
        events.dropped_count = std::mem::take(&mut record.dropped_events);
        events
    }

    fn event(&self, event: Event) -> opentelemetry::trace::Event {
        let mut attributes = vec![
            KeyValue::new("error.type", event.code.as_str()),
            KeyValue::new("speechgate.error.type", event.code.kind().as_str()),
            KeyValue::new("speechgate.error.origin", event.origin.as_str()),
            KeyValue::new("speechgate.error.retryable", event.retryable),
        ];
        attributes.extend(event.upstream_code.map(|code| KeyValue::new("speechgate.upstream_code", code)));
        opentelemetry::trace::Event::new("speechgate.error", self.moment(event.at), attributes, 0)
    }

    /// Converts a time of the call to wall-clock time, whose clock may be set during the call.
    pub(super) fn moment(&self, at: Instant) -> SystemTime {
        self.times.arrived + at.saturating_duration_since(self.times.started)
    }
}

/// The instrumentation scope.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("speechgate").with_version(env!("CARGO_PKG_VERSION")).build()
}

/// The method; the conventions' value for an unknown one is `_OTHER`.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn int(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
