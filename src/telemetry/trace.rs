//! The trace context of a request (W3C Trace Context), and the export of its spans.
//!
//! Whether a request is recorded is decided when its head has arrived. The client's `traceparent` decides; without one, a
//! configured share of the traces that begin here is recorded. A request that is not recorded costs only this decision and, if it
//! has no trace yet, the ids for its log line and for the provider.

use super::exposition::Exemplar;
use http::HeaderValue;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample, SpanData, SpanProcessor};
use std::sync::Arc;
use std::time::SystemTime;

/// A reference to a span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanRef {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
}

/// The trace context of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The request's own span; the client's span when this request is not recorded.
    pub span: SpanRef,
    /// The client's span; none when the trace begins here.
    pub parent: Option<SpanId>,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl SpanRef {
    /// An exemplar that refers to this span.
    #[must_use]
    pub fn exemplar(self, value: f64, time: SystemTime) -> Exemplar {
        Exemplar { trace_id: self.trace_id, span_id: self.span_id, value, time }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn sibling(self) -> SpanRef {
        SpanRef { span_id: new_span_id(), ..self }
    }

    /// `traceparent` with this span as the parent (W3C Trace Context 3.2).
    #[must_use]
    pub fn traceparent(self, sampled: bool) -> HeaderValue {
        let text = format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(sampled));
        HeaderValue::try_from(text).expect("hexadecimal digits and dashes")
    }

    /// This span for the SDK, with the client's `tracestate`.
    #[must_use]
    pub fn context(self, state: TraceState) -> SpanContext {
        SpanContext::new(self.trace_id, self.span_id, TraceFlags::SAMPLED, false, state)
    }
}

impl TraceContext {
    /// The context in a `traceparent` that has been validated.
    #[must_use]
    pub fn of(traceparent: &HeaderValue) -> Option<TraceContext> {
        let mut parts = traceparent.to_str().ok()?.split('-').skip(1);
        let trace_id = TraceId::from_hex(parts.next()?).ok()?;
        let span_id = SpanId::from_hex(parts.next()?).ok()?;
        let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
        Some(TraceContext { span: SpanRef { trace_id, span_id }, parent: Some(span_id), sampled: flags & 1 == 1 })
    }
}

/// Decides which requests are recorded, and receives their spans.
#[derive(Clone, Debug)]
pub struct Tracer {
    sampler: Sampler,
    spans: Arc<dyn SpanProcessor>,
}

impl Tracer {
    /// A tracer that records this share of the traces that begin here.
    #[must_use]
    pub fn new(ratio: f64, spans: Arc<dyn SpanProcessor>) -> Tracer {
        Tracer { sampler: Sampler::TraceIdRatioBased(ratio), spans }
    }

    /// The context of a request, given the client's context or none.
    #[must_use]
    pub fn context(&self, client: Option<TraceContext>) -> TraceContext {
        if let Some(client) = client {
            return TraceContext { span: client.span.sibling(), ..client };
        }
        let trace_id = TraceId::from(fastrand::u128(1..));
        let decided = self.sampler.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        let sampled = decided.decision == SamplingDecision::RecordAndSample;
        TraceContext { span: SpanRef { trace_id, span_id: new_span_id() }, parent: None, sampled }
    }

    /// Exports a completed span, without ever blocking.
    pub fn export(&self, span: SpanData) {
        self.spans.on_end(span);
    }
}

fn new_span_id() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::Context;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::Span;

    #[derive(Debug)]
    struct Nowhere;

    impl SpanProcessor for Nowhere {
        fn on_start(&self, _: &mut Span, _: &Context) {}
        fn on_end(&self, _: SpanData) {}
        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }
        fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn the_client_decides_and_otherwise_the_share_does() {
        let client = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let kept = TraceContext::of(&client).expect("a context");
        assert_eq!(kept.span.traceparent(true), client);
        assert!(kept.sampled && kept.parent == Some(kept.span.span_id));
        let lost = TraceContext { sampled: false, ..kept };
        for ratio in [0.0, 0.25, 1.0] {
            let tracer = Tracer::new(ratio, Arc::new(Nowhere));
            for client in [kept, lost] {
                let context = tracer.context(Some(client));
                assert_eq!((context.span.trace_id, context.sampled), (client.span.trace_id, client.sampled));
                assert!(context.parent == client.parent && context.parent != Some(context.span.span_id));
            }
            let begun = (0..4000).filter(|_| tracer.context(None).sampled).count();
            let expected = (ratio * 4000.0) as usize;
            let slack = if ratio == 0.25 { 300 } else { 0 };
            assert!(begun.abs_diff(expected) <= slack, "{ratio}: {begun}");
        }
    }
}
