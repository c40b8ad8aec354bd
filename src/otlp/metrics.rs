//! Encodes the registry as an OTLP request: the names and labels that Prometheus gets, and those of the semantic conventions
//! beside them.

use crate::telemetry::exposition::{self, Families, Kind, Labels, Number, Sizes};
use crate::telemetry::metrics::Metrics;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use prost::Message;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is reported, and how often.
#[derive(Debug)]
pub(super) struct Report {
    metrics: Arc<Metrics>,
    resource: ProtoResource,
    interval: Duration,
}

impl Report {
    pub(super) fn new(metrics: Arc<Metrics>, resource: &Resource, interval: Duration) -> Report {
        let attributes = ResourceAttributesWithSchema::from(resource).attributes.0;
        Report { metrics, resource: ProtoResource { attributes, ..ProtoResource::default() }, interval }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// The registry as it is now.
    pub(super) fn encode(&self) -> Bytes {
        let mut messages = Messages {
            start: nanoseconds(self.metrics.started()),
            now: nanoseconds(SystemTime::now()),
            metrics: Vec::new(),
        };
        self.metrics.write(&mut messages);
        self.metrics.write_semantic(&mut messages);
        let metrics = messages.metrics.into_iter().filter(has_points).collect();
        let scope = InstrumentationScope {
            name: "speechgate".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, schema_url: String::new() }],
        };
        Bytes::from(request.encode_to_vec())
    }
}

/// Makes OTLP's messages of families.
struct Messages {
    start: u64,
    now: u64,
    metrics: Vec<Metric>,
}

impl Families for Messages {
    fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) {
        let cumulative = AggregationTemporality::Cumulative as i32;
        let data = match kind {
            Kind::Counter => {
                metric::Data::Sum(Sum { aggregation_temporality: cumulative, is_monotonic: true, ..Sum::default() })
            }
            Kind::Gauge => metric::Data::Gauge(Gauge::default()),
            Kind::Histogram => {
                metric::Data::Histogram(Histogram { aggregation_temporality: cumulative, ..Histogram::default() })
            }
        };
        self.metrics.push(Metric {
            name: name.to_owned(),
            description: help.to_owned(),
            unit: unit(name).to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }

    fn number(&mut self, labels: &Labels<'_>, value: Number, exemplar: Option<&exposition::Exemplar>) {
        let (start, now) = (self.start, self.now);
        let points = match self.metrics.last_mut().and_then(|metric| metric.data.as_mut()) {
            Some(metric::Data::Sum(sum)) => &mut sum.data_points,
            Some(metric::Data::Gauge(gauge)) => &mut gauge.data_points,
            _ => return,
        };
        points.push(NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: start,
            time_unix_nano: now,
            exemplars: exemplar.map(example).into_iter().collect(),
            value: Some(match value {
                Number::Whole(value) => number_data_point::Value::AsInt(value),
                Number::Real(value) => number_data_point::Value::AsDouble(value),
            }),
            ..NumberDataPoint::default()
        });
    }

    fn histogram(&mut self, labels: &Labels<'_>, counts: &Sizes<'_>) {
        let (start, now) = (self.start, self.now);
        let Some(metric::Data::Histogram(histogram)) = self.metrics.last_mut().and_then(|metric| metric.data.as_mut())
        else {
            return;
        };
        histogram.data_points.push(HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: start,
            time_unix_nano: now,
            count: counts.counts.iter().sum(),
            sum: Some(counts.sum),
            bucket_counts: counts.counts.to_vec(),
            // The label of a bound is its decimal text, in seconds.
            explicit_bounds: counts.bounds.iter().map(|(_, label)| label.parse().unwrap_or(f64::NAN)).collect(),
            exemplars: counts.exemplars.iter().flatten().map(example).collect(),
            ..HistogramDataPoint::default()
        });
    }
}

/// A family without samples is left out.
fn has_points(metric: &Metric) -> bool {
    match &metric.data {
        Some(metric::Data::Sum(sum)) => !sum.data_points.is_empty(),
        Some(metric::Data::Gauge(gauge)) => !gauge.data_points.is_empty(),
        Some(metric::Data::Histogram(histogram)) => !histogram.data_points.is_empty(),
        _ => false,
    }
}

/// The unit in the notation of UCUM, which the conventions use.
fn unit(name: &str) -> &'static str {
    let stem = name.trim_end_matches("_total");
    if stem.ends_with("_seconds") || stem.ends_with(".duration") {
        "s"
    } else if stem.ends_with("_bytes") {
        "By"
    } else {
        "1"
    }
}

fn attributes(labels: &Labels<'_>) -> Vec<KeyValue> {
    labels.iter().map(|(name, text)| attribute(name, text)).collect()
}

/// Statuses are numbers in the semantic conventions, and text in labels.
fn attribute(name: &str, text: &str) -> KeyValue {
    let value = match (name, text.parse()) {
        ("http.response.status_code", Ok(status)) => any_value::Value::IntValue(status),
        ("otel.metric.overflow", _) => any_value::Value::BoolValue(true),
        _ => any_value::Value::StringValue(text.to_owned()),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn example(exemplar: &exposition::Exemplar) -> Exemplar {
    Exemplar {
        time_unix_nano: nanoseconds(exemplar.time),
        trace_id: exemplar.trace_id.to_bytes().to_vec(),
        span_id: exemplar.span_id.to_bytes().to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
        ..Exemplar::default()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
