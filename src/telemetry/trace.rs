//! A request's place in a trace, by the words of W3C Trace Context, and the way of its spans out of the process.
//!
//! Whether a request is recorded is decided when its head has come: the caller's word counts, and where it said none a share
//! of the traces that begin here is taken. A request that is not recorded costs the decision and, where it has no trace yet,
//! the ids that its log line and the provider get.

use super::exposition::Exemplar;
use http::HeaderValue;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample, SpanData, SpanProcessor};
use std::sync::Arc;
use std::time::SystemTime;

/// A span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
}

/// Where a request is in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The request's own span; the caller's when nothing is recorded here.
    pub spot: Spot,
    /// The caller's span; none when the trace begins here.
    pub parent: Option<SpanId>,
    /// Whether the trace is kept.
    pub sampled: bool,
}

impl Spot {
    /// This span as the example of something counted.
    #[must_use]
    pub fn exemplar(self, value: f64, time: SystemTime) -> Exemplar {
        Exemplar { trace_id: self.trace_id, span_id: self.span_id, value, time }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn sibling(self) -> Spot {
        Spot { span_id: new_span_id(), ..self }
    }

    /// `traceparent` with this span as the parent (W3C Trace Context 3.2).
    #[must_use]
    pub fn traceparent(self, sampled: bool) -> HeaderValue {
        let text = format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(sampled));
        HeaderValue::try_from(text).expect("hexadecimal digits and dashes")
    }

    /// This span for the SDK, with the caller's `tracestate`.
    #[must_use]
    pub fn context(self, state: TraceState) -> SpanContext {
        SpanContext::new(self.trace_id, self.span_id, TraceFlags::SAMPLED, false, state)
    }
}

impl Place {
    /// The place that a `traceparent` names, which has been checked before.
    #[must_use]
    pub fn of(traceparent: &HeaderValue) -> Option<Place> {
        let mut parts = traceparent.to_str().ok()?.split('-').skip(1);
        let trace_id = TraceId::from_hex(parts.next()?).ok()?;
        let span_id = SpanId::from_hex(parts.next()?).ok()?;
        let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
        Some(Place { spot: Spot { trace_id, span_id }, parent: Some(span_id), sampled: flags & 1 == 1 })
    }
}

/// Decides which requests are recorded, and takes their spans.
#[derive(Clone, Debug)]
pub struct Tracer {
    sampler: Sampler,
    spans: Arc<dyn SpanProcessor>,
}

impl Tracer {
    /// A tracer that keeps this share of the traces that begin here.
    #[must_use]
    pub fn new(ratio: f64, spans: Arc<dyn SpanProcessor>) -> Tracer {
        Tracer { sampler: Sampler::TraceIdRatioBased(ratio), spans }
    }

    /// The place of a request that came with this one, or with none.
    #[must_use]
    pub fn place(&self, caller: Option<Place>) -> Place {
        if let Some(caller) = caller {
            return Place { spot: caller.spot.sibling(), ..caller };
        }
        let trace_id = TraceId::from(fastrand::u128(1..));
        let decided = self.sampler.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        let sampled = decided.decision == SamplingDecision::RecordAndSample;
        Place { spot: Spot { trace_id, span_id: new_span_id() }, parent: None, sampled }
    }

    /// Takes a span that has ended; never waits.
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
    fn the_callers_word_counts_and_else_the_share_does() {
        let caller = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let kept = Place::of(&caller).expect("a place");
        assert_eq!(kept.spot.traceparent(true), caller);
        assert!(kept.sampled && kept.parent == Some(kept.spot.span_id));
        let lost = Place { sampled: false, ..kept };
        for ratio in [0.0, 0.25, 1.0] {
            let tracer = Tracer::new(ratio, Arc::new(Nowhere));
            for caller in [kept, lost] {
                let place = tracer.place(Some(caller));
                assert_eq!((place.spot.trace_id, place.sampled), (caller.spot.trace_id, caller.sampled));
                assert!(place.parent == caller.parent && place.parent != Some(place.spot.span_id));
            }
            let begun = (0..4000).filter(|_| tracer.place(None).sampled).count();
            let expected = (ratio * 4000.0) as usize;
            let slack = if ratio == 0.25 { 300 } else { 0 };
            assert!(begun.abs_diff(expected) <= slack, "{ratio}: {begun}");
        }
    }
}
