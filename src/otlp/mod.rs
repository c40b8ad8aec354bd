//! Exports traces and metrics to an OpenTelemetry collector: OTLP over HTTP, binary protobuf.
//!
//! ```text
//! proxy::context ─ spans ─ Spans (bounded, counted) ─ the SDK's batch processor and exporter ─┐
//! telemetry::metrics ─ a request every minute ──────────────────────────────────────────────┼─ Collector, a thread of its own
//! ```
//!
//! Spans go through OpenTelemetry's SDK. Metrics do not: its instruments take a lock and hash the labels for each count, and it
//! accepts no histogram that was counted elsewhere. So the registry of this program is encoded as OTLP messages here.
//!
//! No worker ever waits for an export. The log says once that the collector cannot be reached, and once that it is back.

mod client;
mod metrics;
mod spans;

use crate::config::types::Otlp;
use crate::proxy::path;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;
use client::Collector;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use spans::Spans;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the last export may take when the process ends.
const LAST_EXPORT: Duration = Duration::from_secs(3);
/// How often metrics are sent, unless `OTEL_METRIC_EXPORT_INTERVAL` sets another interval in milliseconds.
const INTERVAL: Duration = Duration::from_secs(60);

/// A running export.
#[derive(Debug)]
pub struct Export {
    collector: Arc<Collector>,
    spans: Option<Arc<Spans>>,
    ratio: f64,
}

impl Export {
    /// Starts exporting. `instance` distinguishes this process from others of its kind.
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

    /// Samples and collects spans; none when no traces are exported.
    #[must_use]
    pub fn tracer(&self) -> Option<Tracer> {
        let spans = Arc::clone(self.spans.as_ref()?);
        Some(Tracer::new(self.ratio, spans))
    }

    /// Sends what is left, within a few seconds.
    pub fn end(self) {
        let end = Instant::now() + LAST_EXPORT;
        // Both at the same time, so that neither waits for the other.
        let last = self.collector.last_report();
        if let Some(spans) = &self.spans {
            spans.end(LAST_EXPORT);
        }
        if let Some(last) = last {
            let _ = last.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }
}

/// The resource of everything that is exported: `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, by default `speechgate`.
fn resource(instance: &str) -> Resource {
    let attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    complete(&Resource::builder().build(), &attributes, instance)
}

/// Completes the resource that the SDK read from the environment: it does not decode percent-encoding, nor name this program.
fn complete(given: &Resource, attributes: &str, instance: &str) -> Resource {
    let name = given.get(&"service.name".into()).map(|name| name.as_str().into_owned()).unwrap_or_default();
    let mut own = Resource::builder_empty().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    own = own.with_attribute(KeyValue::new("service.instance.id", instance.to_owned()));
    for (key, value) in given {
        // OTEL_SERVICE_NAME is not encoded, and takes precedence over the attribute.
        let encoded = encoded_value(attributes, key.as_str()).filter(|encoded| value.as_str() == *encoded);
        let value = encoded.and_then(decoded).map_or_else(|| value.clone(), Value::from);
        own = own.with_attribute(KeyValue::new(key.clone(), value));
    }
    if name.is_empty() || name.starts_with("unknown_service") {
        own = own.with_attribute(KeyValue::new("service.name", "speechgate"));
    }
    own.build()
}

/// The value of an attribute as it is written in `OTEL_RESOURCE_ATTRIBUTES`; of several, the last.
fn encoded_value<'a>(attributes: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = attributes.split(',').filter_map(|pair| pair.split_once('='));
    pairs.rfind(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The text without its percent-encoding; none when what it encodes is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    String::from_utf8(path::decode(text.as_bytes())).ok()
}

fn interval() -> Duration {
    let given = std::env::var("OTEL_METRIC_EXPORT_INTERVAL").ok().and_then(|text| text.trim().parse().ok());
    given.filter(|given| *given > 0).map_or(INTERVAL, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_attributes_are_percent_decoded() {
        for (encoded, expected) in [
            ("eu-west", "eu-west"),
            ("a%2Cb%3Dc%20d", "a,b=c d"),
            ("100%25", "100%"),
            ("Z%C3%BCrich", "Zürich"),
            ("50%", "50%"),
            ("%ff", "%ff"),
        ] {
            let attributes = format!("team=x, region={encoded} ,service.name=my%20gateway");
            // As the SDK reads them: split, but not decoded.
            let given = Resource::builder_empty()
                .with_attribute(KeyValue::new("region", encoded.to_owned()))
                .with_attribute(KeyValue::new("service.name", "my%20gateway"))
                .build();
            let resource = complete(&given, &attributes, "i");
            let value = |key: &'static str| resource.get(&key.into()).map(|value| value.as_str().into_owned());
            assert_eq!(value("region").as_deref(), Some(expected), "{encoded}");
            assert_eq!(value("service.name").as_deref(), Some("my gateway"));
        }
        // OTEL_SERVICE_NAME is taken literally.
        let given = Resource::builder_empty().with_attribute(KeyValue::new("service.name", "50%25")).build();
        let resource = complete(&given, "service.name=other", "i");
        assert_eq!(
            resource.get(&"service.name".into()).map(|name| name.as_str().into_owned()).as_deref(),
            Some("50%25")
        );
    }
}
