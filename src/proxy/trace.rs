//! A call's trace context, and its events, which are recorded only when the trace is sampled.

use super::headers::{self, Fields};
use crate::canon::{CanonicalError, Code, Origin};
use crate::telemetry::metrics::Initiator;
use crate::telemetry::trace::{SpanRef, TraceContext, Tracer};
use crate::upstream::Exchange;
use http::{HeaderMap, Version};
use opentelemetry::trace::{TraceId, TraceState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Most errors of one call that become events.
const EVENTS: usize = 64;

/// The trace context of a call.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// None when there is no tracer and the client sent no context.
    context: Option<TraceContext>,
    /// Whether this gateway has a span of its own in the trace.
    own: bool,
    pub(super) record: Option<Box<Record>>,
}

/// What is recorded of a call whose trace is sampled.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) tracer: Tracer,
    pub(super) context: TraceContext,
    pub(super) state: TraceState,
    /// Requests to the provider that have not been exported yet, in order.
    pub(super) attempts: Vec<Attempt>,
    /// The total number of requests.
    pub(super) tried: usize,
    pub(super) events: Vec<Event>,
    pub(super) dropped_events: u32,
    /// The session of a WebSocket: its span, and when it began.
    pub(super) session: Option<(SpanRef, Instant)>,
    /// How the session was closed.
    pub(super) close: Option<(u16, Initiator)>,
}

/// One request to the provider.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) span: SpanRef,
    pub(super) number: usize,
    /// The index of the route's upstream.
    pub(super) upstream: usize,
    pub(super) began: Instant,
    /// When it failed or the next attempt replaced it; none while it lasts.
    pub(super) ended: Option<Instant>,
    pub(super) status: Option<u16>,
    pub(super) version: Option<Version>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) error: Option<Code>,
}

/// An error in the course of a call.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) code: Code,
    pub(super) origin: Origin,
    pub(super) retryable: bool,
    pub(super) upstream_code: Option<Arc<str>>,
}

impl Trace {
    /// The trace context of a request with these headers.
    pub(crate) fn begin(tracer: Option<&Tracer>, headers: &HeaderMap, fields: Fields) -> Trace {
        let client = headers::trace_parent(headers, fields).and_then(TraceContext::of);
        let Some(tracer) = tracer else { return Trace { context: client, own: false, record: None } };
        let context = tracer.context(client);
        let record = context.sampled.then(|| {
            Box::new(Record {
                tracer: tracer.clone(),
                context,
                state: headers::trace_state(headers),
                attempts: Vec::new(),
                tried: 0,
                events: Vec::new(),
                dropped_events: 0,
                session: None,
                close: None,
            })
        });
        Trace { context: Some(context), own: true, record }
    }

    /// The trace, for the log line.
    pub(crate) fn id(&self) -> Option<TraceId> {
        self.context.map(|context| context.span.trace_id)
    }

    /// The span of the call, when its trace is sampled.
    pub(crate) fn span(&self) -> Option<SpanRef> {
        self.context.filter(|context| context.sampled).map(|context| context.span)
    }

    /// A request is sent to the provider: it gets a span, and the provider gets the span's `traceparent`. Without a tracer, or if
    /// the client's trace is not sampled, the client's own headers pass through.
    pub(crate) fn attempt(&mut self, headers: &mut HeaderMap, upstream: usize, now: Instant) {
        let Some(context) = self.context.filter(|_| self.own) else { return };
        let Some(record) = &mut self.record else {
            if context.parent.is_none() {
                let _ = headers.insert(headers::TRACEPARENT, context.span.traceparent(false));
            }
            return;
        };
        record.end_attempt(now);
        let span = context.span.sibling();
        let _ = headers.insert(headers::TRACEPARENT, span.traceparent(true));
        let number = record.tried;
        record.tried += 1;
        let (ended, status, version, peer, error) = (None, None, None, None, None);
        record.attempts.push(Attempt { span, number, upstream, began: now, ended, status, version, peer, error });
    }

    /// The provider has responded to the last request.
    pub(crate) fn answered(&mut self, exchange: &Exchange) {
        if let Some(attempt) = self.open() {
            attempt.status = Some(exchange.response.status().as_u16());
            // The response's own version is this hop's; whether it was HTTP/2 is in the facts.
            attempt.version = Some(if exchange.facts.http2 { Version::HTTP_2 } else { exchange.response.version() });
            attempt.peer = exchange.facts.peer;
        }
    }

    /// The last request has failed.
    pub(crate) fn failed(&mut self, code: Code, now: Instant) {
        if let Some(attempt) = self.open() {
            (attempt.error, attempt.ended) = (Some(code), Some(now));
        }
    }

    /// An error of the call.
    pub(crate) fn note(&mut self, error: &CanonicalError) {
        let Some(record) = &mut self.record else { return };
        let told = matches!(error.origin, Origin::Provider | Origin::Network);
        if let (true, Some(attempt)) = (told, record.attempts.last_mut()) {
            let _ = attempt.error.get_or_insert(error.code);
        }
        if record.events.len() >= EVENTS {
            record.dropped_events = record.dropped_events.saturating_add(1);
            return;
        }
        record.events.push(Event {
            at: Instant::now(),
            code: error.code,
            origin: error.origin,
            retryable: error.retryable,
            upstream_code: error.upstream.is_some().then(|| Arc::clone(&error.upstream_label)),
        });
    }

    /// A WebSocket was closed for the first time.
    pub(crate) fn closed(&mut self, code: u16, initiator: Initiator) {
        if let Some(record) = &mut self.record {
            record.close = Some((code, initiator));
        }
    }

    fn open(&mut self) -> Option<&mut Attempt> {
        self.record.as_mut()?.attempts.last_mut().filter(|attempt| attempt.ended.is_none())
    }
}

impl Record {
    /// The last attempt ends at this time, unless it ended before.
    pub(super) fn end_attempt(&mut self, now: Instant) {
        if let Some(attempt) = self.attempts.last_mut() {
            let _ = attempt.ended.get_or_insert(now);
        }
    }
}
