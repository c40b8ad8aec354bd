//! Traces and metrics on their way to an OpenTelemetry collector: OTLP over HTTP, binary protobuf.
//!
//! ```text
//! proxy::context ─ spans ─ Spans (bounded, counted) ─ the SDK's batch processor and exporter ─┐
//! telemetry::metrics ─ a request every minute ──────────────────────────────────────────────┼─ Collector, a thread of its own
//! ```
//!
//! Spans go through OpenTelemetry's SDK. Metrics do not: its instruments take a lock and a hash for each count, and it takes no
//! histogram that was counted elsewhere; the one registry of this program is written as OTLP's own messages instead.
//!
//! Nothing here holds up a worker. A collector that cannot be reached is told once in the log, and once when it is back.

mod client;
mod metrics;
mod spans;

use crate::config::types::Otlp;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;
use client::Collector;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use spans::Spans;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the last of it may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often metrics are sent, unless `OTEL_METRIC_EXPORT_INTERVAL` says something else in milliseconds.
const INTERVAL: Duration = Duration::from_secs(60);

/// What is being exported.
#[derive(Debug)]
pub struct Export {
    collector: Arc<Collector>,
    spans: Option<Arc<Spans>>,
    ratio: f64,
}

impl Export {
    /// Starts exporting. `instance` tells this process from others of its kind.
    ///
    /// # Errors
    /// When a thread cannot be started, or the SDK refuses its settings from the environment.
    pub fn start(otlp: &Otlp, instance: &str, metrics: &Arc<Metrics>) -> io::Result<Export> {
        let resource = resource(instance);
        let report = otlp.metrics.then(|| metrics::Report::new(Arc::clone(metrics), &resource, interval()));
        let collector = Arc::new(Collector::start(&otlp.endpoint, metrics.exports(), report)?);
        let spans = match otlp.traces {
            true => Some(Arc::new(Spans::start(&collector, &resource, metrics.exports())?)),
            false => None,
        };
        Ok(Export { collector, spans, ratio: otlp.sample_ratio })
    }

    /// What decides and takes spans; none when no traces are exported.
    #[must_use]
    pub fn tracer(&self) -> Option<Tracer> {
        let spans = Arc::clone(self.spans.as_ref()?);
        Some(Tracer::new(self.ratio, spans))
    }

    /// Sends what is left, for as long as a few seconds.
    pub fn end(self) {
        let end = Instant::now() + FAREWELL;
        // Both at once: they do not wait for each other.
        let last = self.collector.last_report();
        if let Some(spans) = &self.spans {
            spans.end(FAREWELL);
        }
        if let Some(last) = last {
            let _ = last.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }
}

/// Who sends: by `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, and else `speechgate`.
fn resource(instance: &str) -> Resource {
    let given = Resource::builder().build();
    let name = given.get(&"service.name".into()).map(|name| name.as_str().into_owned()).unwrap_or_default();
    let mut own = Resource::builder_empty().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    own = own.with_attribute(KeyValue::new("service.instance.id", instance.to_owned()));
    for (key, value) in &given {
        own = own.with_attribute(KeyValue::new(key.clone(), value.clone()));
    }
    if name.is_empty() || name.starts_with("unknown_service") {
        own = own.with_attribute(KeyValue::new("service.name", "speechgate"));
    }
    own.build()
}

fn interval() -> Duration {
    let given = std::env::var("OTEL_METRIC_EXPORT_INTERVAL").ok().and_then(|text| text.trim().parse().ok());
    given.filter(|given| *given > 0).map_or(INTERVAL, Duration::from_millis)
}
